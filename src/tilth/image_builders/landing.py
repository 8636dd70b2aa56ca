"""The first that runs on another machine: makes tilth's environment there, or finds it, and becomes tilth.

It is sent as text, with a call of `land` at its end, to a Python that has nothing but its standard library. What it
says goes out in the frames of `tilth.image_builders.frames`, which is not there yet.

CACHE/KEY/venv/     tilth as it is where the order comes from, and the same versions of what it needs
CACHE/uv-VERSION/   uv, where that machine has none
CACHE/home/         wheels, layers and bases, for the next build
"""

from __future__ import annotations

import fcntl
import hashlib
import html.parser
import io
import json
import os
import platform
import re
import select
import shutil
import signal
import ssl
import struct
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, NoReturn

PYPI = "https://pypi.org/simple"
_SHOWN = 8  # lines of what uv says when it fails


class Failed(Exception):
    """What cannot be done, as `TilthError` has it."""

    def __init__(self, summary: str, why: str = "", mend: str = "", type: str = "SetupError") -> None:  # noqa: A002
        super().__init__(summary)
        self.told = {"type": type, "summary": summary, "why": why, "mend": mend}


def land(given: dict[str, Any]) -> NoReturn:
    """Make what is not there yet, and go on as the program that is given.

    Args:
        given: `cache`, `key`, `uv`, `version` of uv, `index`, `program`, `arguments`, `place`.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # what is started here ends with it
    if ssl.get_default_verify_paths().cafile:
        # What the system trusts there counts for uv too, as for this program: the authority of a company, a mirror.
        for name in ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"):
            os.environ.setdefault(name, "true")
    _write(b"\0tilth 1\0")
    try:
        python = _environment(given)
    except Failed as failure:
        _tell(b"E", failure.told)
        sys.exit(1)
    except OSError as error:
        full = error.errno in (28, 122)  # ENOSPC, EDQUOT
        _tell(
            b"E",
            {
                "type": "DiskFull" if full else "SetupError",
                "summary": f"tilth's environment on `{given['place']}` cannot be written"
                + (": the disk is full" if full else ""),
                "why": str(error),
                "mend": "make room there, or name another folder there with the setting `cache`",
            },
        )
        sys.exit(1)
    os.execv(python, [python, "-m", given["program"], *given["arguments"]])  # noqa: S606


def _environment(given: dict[str, Any]) -> str:
    cache = Path(given["cache"]).expanduser()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = cache / f"{given['key']}-{sys.implementation.cache_tag}"
    python = folder / "venv" / "bin" / "python"
    with open(cache / f"{folder.name}.lock", "w") as lock:
        if _alone(lock) and (folder / "whole").exists() and python.exists():
            _tell(b"A", {"wants": False})
            return str(python)
        _tell(b"A", {"wants": True})
        files, wanted = _read_part(), json.loads(_read_part())
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _say(f"tilth's environment on `{given['place']}` is made, once")
        uv = _uv(given, cache)
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], given)
        for name in ("wanted", "pins"):
            (folder / f"{name}.txt").write_text("\n".join([*wanted[name], ""]))
        command = [uv, "pip", "install", "--quiet", "--python", str(python), "--link-mode", "copy"]
        command += ["--default-index", given["index"]] if given["index"] else []
        _run(
            [*command, "-r", str(folder / "wanted.txt"), "--constraint", str(folder / "pins.txt")],
            given,
        )
        library = next((folder / "venv" / "lib").glob("python3*")) / "site-packages"
        with zipfile.ZipFile(io.BytesIO(files)) as archive:
            archive.extractall(library)
        (folder / "whole").touch()
        return str(python)


def _alone(lock: io.TextIOBase | Any) -> bool:
    """Wait for whoever makes the same environment."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(lock, fcntl.LOCK_EX)
    return True


# uv


def _uv(given: dict[str, Any], cache: Path) -> str:
    found: str | None
    if given["uv"]:
        found = shutil.which(os.path.expanduser(given["uv"]))  # noqa: PTH111 - it may be a name alone
        if found is None:
            raise Failed(
                f"there is no `{given['uv']}` on `{given['place']}`",
                mend="mend the setting `uv` of the image builder, or leave it out: uv is fetched where it is missing",
            )
        return found
    for each in ("uv", "~/.local/bin/uv", "~/.cargo/bin/uv"):
        found = shutil.which(os.path.expanduser(each))  # noqa: PTH111
        if found is not None:
            return found
    folder = cache / f"uv-{given['version']}"
    if not (folder / "uv").exists():
        _fetch_uv(given, folder)
    return str(folder / "uv")


def _fetch_uv(given: dict[str, Any], folder: Path) -> None:
    """Take uv out of its wheel."""
    index = given["index"] or os.environ.get("UV_DEFAULT_INDEX") or PYPI
    page = index.rstrip("/") + "/uv/"
    libc = "musllinux" if "musl" in (platform.libc_ver()[0] or _musl()) else "manylinux"
    fitting = re.compile(
        rf"uv-{re.escape(given['version'])}-py3-none-\S*"
        + (libc if sys.platform == "linux" else "macosx")
        + rf"\S*_{platform.machine()}\.whl"
    )
    try:
        asked = urllib.request.Request(  # noqa: S310 - whatever the setting names
            page, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            files = _listed(answer.read(), answer.headers.get_content_type(), answer.geturl())
        chosen = [(url, digest) for name, url, digest in files if fitting.fullmatch(name)]
        if not chosen:
            raise Failed(
                f"`{given['place']}` has no uv, and `{page}` has no uv {given['version']} for it",
                mend="install uv there: https://docs.astral.sh/uv/getting-started/installation/",
            )
        url, digest = chosen[0]
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
            wheel = answer.read()
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Failed(
            f"`{given['place']}` has no uv, and it cannot be fetched from `{page}`",
            why=str(getattr(error, "reason", error)),
            mend="install uv there, or name a package index that it reaches with the setting `index`",
            type="IndexUnavailable",
        ) from error
    if digest and hashlib.sha256(wheel).hexdigest() != digest:
        raise Failed(f"what `{url}` gave is not what `{page}` promises", type="IndexUnavailable")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".data/scripts/uv"))
        aside = folder / f"uv.{os.getpid()}"
        aside.write_bytes(archive.read(name))
        aside.chmod(0o755)
        aside.rename(folder / "uv")


def _musl() -> str:
    return "musl" if any(Path("/lib").glob("ld-musl-*")) else ""


def _listed(content: bytes, type_: str, page: str) -> list[tuple[str, str, str]]:
    """Name, address and SHA-256 of each file of an index page.

    Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/
    """
    if type_.endswith("json"):
        return [
            (each["filename"], urllib.parse.urljoin(page, each["url"]), each["hashes"].get("sha256", ""))
            for each in json.loads(content)["files"]
        ]
    found: list[tuple[str, str, str]] = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            link = dict(attrs).get("href") if tag == "a" else None
            if link:
                url, _, fragment = urllib.parse.urljoin(page, link).partition("#")
                name = urllib.parse.unquote(url.rpartition("/")[2])
                found.append((name, url, fragment.removeprefix("sha256=") if "sha256=" in fragment else ""))

    Links().feed(content.decode(errors="replace"))
    return found


def _run(command: list[str], given: dict[str, Any]) -> None:
    """Run uv, as long as whoever ordered listens."""
    done = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.stdout is not None
    said = b""
    while True:
        output = done.stdout.fileno()
        ready = select.select([0, output], [], [], 120)[0]
        if not ready or (0 in ready and not os.read(0, 1 << 10)):
            os.killpg(0, signal.SIGKILL)  # nobody listens any more
        if output in ready:
            part = os.read(output, 1 << 16)
            if not part:
                break
            said += part
    lines = said.decode(errors="replace").strip().splitlines()[-_SHOWN:]
    if done.wait():
        full = "No space left on device" in said.decode(errors="replace")
        raise Failed(
            f"tilth's environment could not be made on `{given['place']}`"
            + (": the disk is full" if full else ""),
            why="\n".join(lines),
            mend="make room there, or name another folder there with the setting `cache`"
            if full
            else "see what uv says; the settings `index` and `uv` of the image builder may mend it",
            type="DiskFull" if full else "SetupError",
        )


# the conversation, as in `frames`


def _tell(kind: bytes, what: object) -> None:
    content = json.dumps(what).encode()
    _write(struct.pack(">cI", kind, len(content)) + content)


def _say(line: str) -> None:
    content = line.encode()
    _write(struct.pack(">cI", b"L", len(content)) + content)


def _write(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


def _read(amount: int) -> bytes:
    found = bytearray()
    while len(found) < amount:
        part = os.read(0, min(1 << 20, amount - len(found)))
        if not part:
            sys.exit(1)  # nobody listens any more
        found += part
    return bytes(found)


def _read_part() -> bytes:
    """Content behind its length and the mark that no beat is."""
    while _read(1) != b"O":
        pass
    return _read(struct.unpack(">I", _read(4))[0])
