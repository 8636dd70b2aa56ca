"""Source archives: downloaded whole, verified before anything of them is read, and unpacked into one folder.

cache/sources/DIGEST        archives as they came, named by their digest: what was built can be built again
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tilth.environments.building.accounts import authorization
from tilth.environments.files import explaining_full_disk, locked, scratch, sweep
from tilth.environments.uv import without_credentials
from tilth.errors import EnvironmentBroken, IndexUnavailable, SetupError

if TYPE_CHECKING:
    import tarfile
    import zipfile
    from collections.abc import Mapping
    from http.client import HTTPMessage
    from typing import IO
    from urllib.request import OpenerDirector, Request

    from tilth.home import Home

_ATTEMPTS = 3  # at a connection that breaks
_TIMEOUT_S = 60
_BEST = ("sha256", "sha512", "sha384", "blake2b", "md5")  # what indexes give, in the order it is looked at
_REFUSED = frozenset({400, 401, 403, 404, 405, 407, 410})


def get(
    url: str,
    hashes: Mapping[str, str],
    home: Home,
    *,
    what: str,
    credentials: Mapping[str, tuple[str, str]] | None = None,
    root: Path | None = None,
    offline: bool = False,
) -> Path:
    """The archive at `url`, whose content is what `hashes` say; from the cache when it was here before.

    Args:
        hashes: By algorithm, in hexadecimal digits.
        what: It is, for messages: "`alpha` of environment `training`".
        credentials: User and password by host. `~/.netrc` and uv's own settings are asked too.
        root: The folder whose uv settings hold, and that relative paths are relative to.
    Raises:
        EnvironmentBroken: It is another file than was locked, or is gone.
        IndexUnavailable: Its host does not answer, or refuses to.
    """
    algorithm = next((each for each in _BEST if hashes.get(each)), None)
    if algorithm is None:
        raise EnvironmentBroken(
            f"{what} is locked without a hash that can be checked",
            why=f"its hashes: {', '.join(sorted(hashes)) or 'none'}; wanted: one of {', '.join(_BEST)}",
            mend="lock again with `--upgrade`, from an index that gives SHA-256",
        )
    wanted = hashes[algorithm].lower()
    place = home.cache / "sources" / wanted
    if _digest(place, algorithm) == wanted:
        return place
    parts = urlsplit(url)
    if offline and parts.scheme not in ("", "file"):
        raise IndexUnavailable(
            f"{what} has to be downloaded, and tilth is offline",
            why=without_credentials(url),
            mend="leave out `--offline`, or unset `TILTH_OFFLINE`",
        )
    with (
        explaining_full_disk(what, home.cache),
        locked(home.cache / "sources" / ".locks" / wanted[:32]),
    ):
        if _digest(place, algorithm) == wanted:
            return place
        sweep(place.parent)
        with scratch(place.parent) as folder:
            aside = folder / "archive"
            if parts.scheme in ("", "file"):
                path = unquote(parts.path) if parts.scheme else url
                _copy(root / path if root else Path(path), aside, what)
            else:
                _download(url, aside, what, credentials or {}, root)
            found = _digest(aside, algorithm)
            if found != wanted:
                raise EnvironmentBroken(
                    f"{what} is not the file that was locked",
                    why=f"{without_credentials(url)}\n{algorithm} wanted: {wanted}\n{algorithm} found: {found}",
                    mend="somebody replaced it; lock again with `--upgrade` if that is meant",
                )
            aside.replace(place)
    return place


def unpack(archive: Path, folder: Path, *, file: str, what: str) -> Path:
    """Unpack an archive into the new folder `folder`; returns the one that holds the project.

    Args:
        file: The archive's own name, which tells a zip file from a tar file.
        what: As for `get`.
    Raises:
        EnvironmentBroken: It is damaged, or holds a name or link that leads outside. Nothing of it is left.
    """
    import tarfile
    import zipfile

    folder.mkdir(parents=True)
    try:
        if file.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                _unpack_zip(opened, folder)
        else:
            with tarfile.open(archive) as opened_tar:
                _unpack_tar(opened_tar, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise EnvironmentBroken(
            f"{what} cannot be unpacked",
            why=f"`{file}`: {error}",
            mend="ask for another version of it, or for one that has a wheel",
        ) from error
    entries = [each for each in folder.iterdir() if each.name != "pax_global_header"]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unpack_tar(archive: tarfile.TarFile, folder: Path) -> None:
    import tarfile

    if not hasattr(tarfile, "data_filter"):
        raise SetupError(
            "this Python cannot unpack archives safely",
            why="the filters of `tarfile` came with 3.10.12 and 3.11.4",
            mend="install a newer patch release",
        )
    for member in archive:
        _refuse_outside(member.name)
        archive.extract(member, folder, filter="data")


def _unpack_zip(archive: zipfile.ZipFile, folder: Path) -> None:
    for member in archive.infolist():
        _refuse_outside(member.filename)
        path = archive.extract(member, folder)
        mode = member.external_attr >> 16
        if stat.S_ISREG(mode) and mode & 0o111:
            os.chmod(path, 0o755)  # noqa: PTH101, S103 - a program of the archive, such as `configure`


def _refuse_outside(name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts:
        raise ValueError(f"it holds `{name}`, which leads outside of its folder")


def _digest(path: Path, algorithm: str) -> str | None:
    """None when there is no such file."""
    found = hashlib.new(algorithm)
    try:
        with open(path, "rb") as file:
            for block in iter(partial(file.read, 1 << 20), b""):
                found.update(block)
    except FileNotFoundError:
        return None
    return found.hexdigest()


def _copy(source: Path, target: Path, what: str) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise EnvironmentBroken(
            f"the source of {what} is gone",
            why=f"there is no `{source}`",
            mend="put it back, or lock again with `--upgrade`",
        ) from error


def _download(
    url: str, target: Path, what: str, credentials: Mapping[str, tuple[str, str]], root: Path | None
) -> None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    opener = _opener(credentials, root)
    shown = without_credentials(url)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with (
                opener.open(Request(shown, headers={"User-Agent": "tilth"}), timeout=_TIMEOUT_S) as answer,  # noqa: S310
                open(target, "wb") as file,
            ):
                shutil.copyfileobj(answer, file, 1 << 20)
            return
        except (HTTPError, URLError, HTTPException, OSError) as error:
            if not isinstance(error, (URLError, HTTPException, ConnectionError, TimeoutError)):
                raise  # this disk, not that host
            status = error.code if isinstance(error, HTTPError) else 0
            if attempt < _ATTEMPTS and status not in _REFUSED:
                continue
            if status in (404, 410):
                raise EnvironmentBroken(
                    f"the source of {what} is gone",
                    why=f"{shown} is not there any more",
                    mend="lock again with `--upgrade`",
                ) from error
            refused = status in (401, 403)
            raise IndexUnavailable(
                f"{what} cannot be downloaded",
                why=f"{shown}: {without_credentials(str(error))}",
                mend="give user name and password in `~/.netrc`, or as a secret with `credentials=`"
                if refused
                else "try again later; `TILTH_OFFLINE=1` uses only what is cached",
            ) from error


def _opener(credentials: Mapping[str, tuple[str, str]], root: Path | None) -> OpenerDirector:
    from urllib.request import HTTPRedirectHandler, build_opener

    class Authorized(HTTPRedirectHandler):
        """Shows each host what opens that host, and no other: a redirect may lead to somebody else's."""

        def http_request(self, request: Request) -> Request:
            value = authorization(request.full_url, credentials, root)
            if value:
                request.add_unredirected_header("Authorization", value)
            return request

        https_request = http_request

        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            if urlsplit(newurl).scheme not in ("http", "https"):
                raise ValueError(f"a redirect leads to {without_credentials(newurl)}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return build_opener(Authorized)
