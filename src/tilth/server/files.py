"""What a server keeps in files: objects under keys, and logs of runs; each project in a folder of its own.

FOLDER/PROJECT/objects/KEY        what clients put there: artifacts, bundles, compiled pipelines
FOLDER/PROJECT/digests/KEY        the digest of each
FOLDER/PROJECT/coming/DIGEST      an object that is still being sent
FOLDER/PROJECT/logs/RUN/NAME      what steps print
FOLDER/PROJECT/build-logs/BUILD   what was told while an image was made
FOLDER/PROJECT/builds/ORDER/…     streams of builds on runners; see `relay`

PROJECT is a digest of the project's name, which may hold what no file name may.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tilth.artifact_stores.objects import checked_key, checked_prefix
from tilth.artifact_stores.parts import file_digest
from tilth.errors import Conflict, DefinitionError, DiskFull, NotFound, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[^/\0]{1,240}")
_ABANDONED_S = 7 * 86_400  # after which what was never sent to its end is thrown away
_locks = [threading.Lock() for _ in range(64)]  # writes to one log or object go one after another


class Object(NamedTuple):
    """What is known of an object without reading it."""

    key: str
    size: int  # bytes
    digest: str


class BuildLog(NamedTuple):
    """A part of what was told of a build."""

    content: bytes
    size: int  # of the whole, in bytes
    heard_at: float  # when something came last, in seconds since 1970


class Files:
    """The files of one project."""

    def __init__(self, folder: Path, project: str) -> None:
        self.root = folder / hashlib.sha256(project.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def put(self, key: str, content: bytes, *, digest: str, size: int, offset: int) -> int:
        """Take a part of an object, from `offset` on; it is there when all of it has come and has its digest.

        Returns:
            How many bytes of it are here: where the next part has to begin.
        Raises:
            DefinitionError: The whole is not what `digest` says; what came of it is thrown away.
            DiskFull: No space left; what came before stays.
        """
        place = self._object(key)
        if not _DIGEST.fullmatch(digest):
            raise DefinitionError(f"`{digest[:80]}` is no digest", mend="give `sha256:` and 64 hex digits")
        coming = self.root / "coming" / digest.removeprefix("sha256:")
        with self._lock(digest), explained():
            have = coming.stat().st_size if coming.exists() else 0
            if offset == have:
                coming.parent.mkdir(parents=True, exist_ok=True)
                with open(coming, "ab") as file:
                    file.write(content[: max(size - have, 0)])
                    file.flush()
                    os.fsync(file.fileno())
                have = coming.stat().st_size
            if have < size:
                return have
            if file_digest(coming) != digest:
                coming.unlink()
                raise DefinitionError(
                    f"what was sent as `{key}` is not what its digest says", mend="send it again"
                )
            self._settle(coming, place, key, digest)
            return size

    def have(self, digest: str) -> int:
        """How many bytes have come of an object that is still being sent."""
        if not _DIGEST.fullmatch(digest):
            raise DefinitionError(f"`{digest[:80]}` is no digest", mend="give `sha256:` and 64 hex digits")
        try:
            return (self.root / "coming" / digest.removeprefix("sha256:")).stat().st_size
        except FileNotFoundError:
            return 0

    def find(self, key: str) -> Object | None:
        """What is under a key, or None."""
        place = self._object(key)
        with explained():
            try:
                size = place.stat().st_size if place.is_file() else None
                digest = (self.root / "digests" / key).read_text("ascii")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        return None if size is None else Object(key, size, digest)

    def path(self, key: str) -> tuple[Path, Object]:
        """The file of an object.

        Raises:
            NotFound: There is none.
        """
        found = self.find(key)
        if found is None:
            raise NotFound(f"there is no object `{key}`")
        return self._object(key), found

    def list(self, prefix: str = "", after: str = "", most: int = 1000) -> list[Object]:
        """The objects whose keys begin with `prefix`, in order, from behind `after` on."""
        try:
            top = self.root / "objects" / checked_prefix(prefix)
        except ValueError as error:
            raise DefinitionError(str(error)) from None
        found: list[Object] = []
        base = self.root / "objects"
        for key in sorted(_keys(top, base)):
            if key > after and (each := self.find(key)) is not None:
                found.append(each)
                if len(found) >= most:
                    break
        return found

    def delete(self, key: str) -> None:
        """Forget an object; nothing happens when it is not there."""
        place = self._object(key)
        for top, path in (("digests", self.root / "digests" / key), ("objects", place)):
            with explained(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            with contextlib.suppress(OSError):
                for folder in path.relative_to(self.root / top).parents[:-1]:
                    (self.root / top / folder).rmdir()  # as long as they are empty

    def append_log(self, run: str, name: str, content: bytes, offset: int) -> int:
        """Add what a step printed, from `offset` on; the same part sent again changes nothing.

        Returns:
            How many bytes are here.
        """
        return self._append(self._log(run, name), content, offset)

    def append_build_log(self, build: str, content: bytes, offset: int) -> int:
        """Add what was told of a build, as `append_log` does. No content says that its maker lives."""
        path = self._build_log(build)
        have = self._append(path, content, offset)
        with explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return have

    def build_log(self, build: str, offset: int, most: int) -> BuildLog | None:
        """Whole lines of what was told of a build, from `offset` on; None where nothing has come of it."""
        path = self._build_log(build)
        with explained():
            try:
                with open(path, "rb") as file:
                    about = os.fstat(file.fileno())
                    file.seek(offset)
                    content = file.read(most)
            except FileNotFoundError:
                return None
        whole = content[: content.rfind(b"\n") + 1] if len(content) < most or b"\n" in content else content
        return BuildLog(whole, about.st_size, about.st_mtime)

    def delete_build(self, build: str) -> None:
        """Forget what was told of a build."""
        if _is_name(build):
            with explained():
                self._build_log(build).unlink(missing_ok=True)

    def _append(self, path: Path, content: bytes, offset: int) -> int:
        with self._lock(f"{path.parent.name}/{path.name}"), explained():
            have = path.stat().st_size if path.exists() else 0
            if offset > have or offset + len(content) <= have:
                return have
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write(content[have - offset :])
            return path.stat().st_size

    def logs(self, run: str) -> dict[str, int]:
        """The logs of a run, and their sizes in bytes."""
        folder = self._log(run, "x").parent
        with explained():
            try:
                return {each.name: each.stat().st_size for each in sorted(folder.iterdir())}
            except FileNotFoundError:
                return {}

    def log(self, run: str, name: str) -> Path:
        """The file of a log.

        Raises:
            NotFound: There is none.
        """
        path = self._log(run, name)
        with explained():
            there = path.is_file()
        if not there:
            raise NotFound(f"there is no log `{name}` of this run")
        return path

    def delete_run(self, run: str) -> None:
        """Forget what is kept of one run alone: its logs, and the objects under its name. Artifacts stay."""
        if not _is_name(run):
            return  # nothing can be kept under it
        for folder in self._of_runs():
            shutil.rmtree(folder / run, ignore_errors=True)

    def runs(self, *, untouched_s: float) -> set[str]:
        """Ids of runs of which something is kept that nobody has added to for so long, in seconds."""
        found: dict[str, float] = {}
        for folder in self._of_runs():
            with contextlib.suppress(FileNotFoundError):
                for each in os.scandir(folder):
                    with contextlib.suppress(FileNotFoundError):
                        found[each.name] = max(found.get(each.name, 0.0), _touched_at(Path(each.path)))
        return {run for run, touched_at in found.items() if touched_at < time.time() - untouched_s}

    def _settle(self, coming: Path, place: Path, key: str, digest: str) -> None:
        kept = self.root / "digests" / key
        for folder in (place.parent, kept.parent):
            folder.mkdir(parents=True, exist_ok=True)
        aside = self.root / "coming" / f"{os.urandom(8).hex()}.digest"
        aside.write_text(digest, "ascii")
        coming.replace(place)
        aside.replace(kept)
        _sweep(self.root / "coming")

    def _object(self, key: str) -> Path:
        try:
            return self.root / "objects" / checked_key(key)
        except ValueError as error:
            raise DefinitionError(str(error)[:300]) from None

    def _log(self, run: str, name: str) -> Path:
        for each in (run, name):
            if not _is_name(each):
                raise DefinitionError(f"`{each[:80]}` is no name of a run or log")
        return self.root / "logs" / run / name

    def _build_log(self, build: str) -> Path:
        if not _is_name(build):
            raise DefinitionError(f"`{build[:80]}` is no name of a build")
        return self.root / "build-logs" / build

    def _of_runs(self) -> tuple[Path, ...]:
        """Folders with one folder for each run."""
        return self.root / "logs", self.root / "objects" / "runs", self.root / "digests" / "runs"

    def _lock(self, what: str) -> threading.Lock:
        return _locks[hash((self.root, what)) % len(_locks)]


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and text not in (".", "..")


def _touched_at(folder: Path) -> float:
    """When something in a folder was written last, in seconds since 1970."""
    return max(each.stat().st_mtime for each in (folder, *folder.rglob("*")))


def _keys(top: Path, base: Path) -> Iterator[str]:
    for folder, _, names in os.walk(top):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), base)  # noqa: PTH118 - there may be thousands


def _sweep(folder: Path) -> None:
    for each in folder.iterdir():
        with contextlib.suppress(OSError):
            if each.stat().st_mtime < time.time() - _ABANDONED_S:
                each.unlink()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Say of what goes wrong with files what that means."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                "no space left for the files of the server",
                why="what came before is kept",
                mend="make room where `TILTH_SERVER_DATA_FOLDER` is",
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise DefinitionError("a name is too long to be kept in a file") from None
        if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
            raise Conflict("an object cannot have a name that others have as their folder") from None
        if isinstance(error, (FileNotFoundError,)):
            raise
        raise SetupError(
            "the files of the server cannot be read or written",
            why=error.strerror or str(error),
            mend="see `TILTH_SERVER_DATA_FOLDER` on the server",
        ) from error
