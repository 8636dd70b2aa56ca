"""Serves the dashboard: a built application of static files, and one page for all of its addresses."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from tilth.errors import NotFound

pages = APIRouter(include_in_schema=False)
_HERE = Path(__file__).parents[1]
WEB = _HERE / "web"  # made by `make dashboard`; in the wheel
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
# Their names say what is in them.
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))


@pages.get("/")
@pages.get("/p/{path:path}")
@pages.get("/settings")
@pages.get("/settings/{path:path}")
@pages.get("/setup")
async def application() -> Response:
    """The page of every address; which one it shows, the application knows."""
    built = WEB / "index.html"
    return FileResponse(built if built.is_file() else _HERE / "pages" / "no-dashboard.html")


@pages.get("/theme.js")
@pages.get("/sprout.svg")
async def loose(request: Request) -> Response:
    """What the page needs before all else."""
    return _file(request, request.url.path.removeprefix("/"), WEB, {"Cache-Control": "max-age=3600"})


@pages.get("/assets/{name}")
async def part(request: Request, name: str) -> Response:
    """A part of the application, compressed as the browser takes it."""
    return _file(request, name, WEB / "assets", _FOREVER)


def _file(request: Request, name: str, folder: Path, headers: dict[str, str]) -> Response:
    file = folder / name
    kind = _TYPES.get(file.suffix)
    # A name in an address has no `/`; the folder is not left.
    if kind is None or file.parent != folder or not file.is_file():
        raise NotFound(
            f"the dashboard has no part `{name[:100]}`",
            why="it was made anew since the page was opened, or was never made",
            mend="load the page again; where a clone of tilth serves it, `make dashboard` makes it",
        )
    taken = request.headers.get("accept-encoding", "")
    told = {**headers, "Vary": "Accept-Encoding"}
    for encoding, suffix in _ENCODINGS:
        if encoding in taken and (packed := file.with_name(name + suffix)).is_file():
            return FileResponse(packed, media_type=kind, headers={**told, "Content-Encoding": encoding})
    return FileResponse(file, media_type=kind, headers=told)
