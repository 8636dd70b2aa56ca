"""How a file that users made is sent to a browser, such that nothing in it acts as a page of this server. Pure.

A page of theirs may run scripts of its own, as plots do, in an origin of its own: `Content-Security-Policy: sandbox`
holds also where it is opened by itself. It reaches no network, no cookie, and no page around it. Source: CSP level 3,
and HTML's "Sandboxing".
"""

from __future__ import annotations

from urllib.parse import quote

_ALONE = "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_PAGE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; media-src data: blob:; "
    f"worker-src blob:; {_ALONE}"
)
_PICTURE = f"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; {_ALONE}"
_TEXT = f"sandbox; default-src 'none'; {_ALONE}"
_PICTURES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "svg": "image/svg+xml",
}
_TEXTS = ("txt", "md", "csv", "tsv", "json", "jsonl", "log", "yaml", "yml", "toml", "xml", "py", "sql", "ini")


def shown_as(name: str, *, download: bool = False) -> tuple[str, dict[str, str]]:
    """The media type of a file, by its name, and the headers that keep it harmless.

    Args:
        download: Whether it is to be saved, not shown. What is neither page, picture nor text always is.
    """
    ending = name.rpartition("/")[2].lower().rpartition(".")[2]
    if ending in ("html", "htm"):
        media, policy = "text/html; charset=utf-8", _PAGE
    elif ending in _PICTURES:
        media, policy = _PICTURES[ending], _PICTURE
    elif ending in _TEXTS:
        media, policy = "text/plain; charset=utf-8", _TEXT
    else:
        media, policy, download = "application/octet-stream", _TEXT, True
    return media, {
        "Content-Disposition": attachment(name) if download else "inline",
        "Content-Security-Policy": policy,
        "X-Frame-Options": "SAMEORIGIN",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def attachment(name: str) -> str:
    """The header that has a browser save what it gets, under a name of any letters (RFC 6266, RFC 8187)."""
    last = name.rpartition("/")[2] or "file"
    return f"attachment; filename*=UTF-8''{quote(last.encode('utf-8', 'replace'), safe='')}"
