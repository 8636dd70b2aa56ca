"""Where the files of an artifact lie on a server, if they do, and each of them by its name.

A server has what clients put among its objects, and, where its records are those of a home folder, what lies there.
What is in a store of another kind it does not open: it has none of the credentials.
"""

from __future__ import annotations

import json
import stat
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.artifact_stores.objects import checked_key
from tilth.errors import LoadError, NotFound
from tilth.home import Home
from tilth.materializers.files import MANIFEST, escape, unescape
from tilth.server.access import DEFAULT_PROJECT
from tilth.settings import home_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

    from tilth.records import ComponentUsed
    from tilth.server.requests import ProjectRequest

_LARGEST_MANIFEST = 32 << 20  # bytes
_BLOCK = 1 << 18
_MOST_LOOKS = 200


class ArtifactFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of an artifact. `problem` says what is wrong with it, if its size tells."""

    name: str
    size: int  # bytes
    problem: str = ""
    link: str = ""  # where it leads, of a symbolic link


class Elsewhere(msgspec.Struct, frozen=True):
    """The store that has files which this server has not."""

    flavor: str
    place: str  # for people: `s3://bucket/prefix`


@dataclass(frozen=True, slots=True)
class ArtifactFolder:
    """The files of one artifact, on the server's own disk."""

    digest: str
    place: Path
    escaped: bool  # whether files are called as the manifest calls them

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of its `artifact.json`.

        Raises:
            LoadError: It is torn, or unreasonably large.
        """
        path = self.place / MANIFEST
        try:
            if path.stat().st_size > _LARGEST_MANIFEST:
                raise ValueError(f"it has {path.stat().st_size:,} bytes")
            manifest = json.loads(path.read_bytes())
            names = [*manifest["files"]]
            if not all(isinstance(each["size"], int) for each in manifest["files"].values()):
                raise TypeError("a size is no number")
            for name in names:
                checked_key(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LoadError(
                "this artifact is broken",
                why=f"its `{MANIFEST}` is missing or torn: {error}",
                mend="run the step that made it again",
            ) from error
        return dict(manifest)

    def files(self) -> tuple[ArtifactFile, ...]:
        """Its files as they should be, and what is wrong with them."""
        return tuple(
            ArtifactFile(name, told["size"], link=unescape(told["link"]))
            if "link" in told
            else ArtifactFile(name, told["size"], self._problem(name, told["size"]))
            for name, told in self.manifest["files"].items()
        )

    def looks(self) -> tuple[ArtifactFile, ...]:
        """What there is to look at beside it."""
        found = []
        for path in sorted(self._looks.rglob("*"))[:_MOST_LOOKS] if self._looks.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(self._looks).as_posix()
                found.append(ArtifactFile(name if self.escaped else escape(name), path.stat().st_size))
        return tuple(found)

    def file(self, name: str) -> Path:
        """One of its files.

        Raises:
            NotFound: There is none of that name, or it is a link.
        """
        return self._within(self.place, name)

    def look(self, name: str) -> Path:
        """One of the files beside it; raises as `file` does."""
        return self._within(self._looks, name)

    def zipped(self) -> Iterator[bytes]:
        """All of its files as a ZIP, in blocks, while they are read; links stay links."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w") as archive:
            for each in self.files():
                entry = zipfile.ZipInfo(unescape(each.name).encode("utf-8", "replace").decode())
                if each.link:
                    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                    archive.writestr(entry, each.link.encode("utf-8", "surrogateescape"))
                    continue
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                with (
                    open(self.file(each.name), "rb") as source,
                    archive.open(entry, "w", force_zip64=True) as target,
                ):
                    while block := source.read(_BLOCK):
                        target.write(block)
                        yield sink.taken()
                yield sink.taken()
        yield sink.taken()

    @property
    def _looks(self) -> Path:
        return self.place.with_name(f"{self.place.name}.visualizations")

    def _problem(self, name: str, size: int) -> str:
        try:
            found = self.file(name).stat().st_size
        except NotFound:
            return "missing"
        return "" if found == size else f"has {found:,} bytes instead of {size:,}"

    def _within(self, folder: Path, name: str) -> Path:
        gone = NotFound(f"this artifact has no file `{name[:200]}`")
        try:
            path = folder / checked_key(name if self.escaped else unescape(name))
            # What is a link, or behind one, may lead anywhere on this machine.
            if path.resolve() != folder.resolve() / path.relative_to(folder) or not path.is_file():
                raise gone
        except (ValueError, OSError) as error:
            raise gone from error
        return path


class _Sink:
    """A file that is written to and gives away what was written."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def write(self, data: Buffer) -> int:
        self._blocks.append(bytes(data))
        return len(self._blocks[-1])

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is open."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        blocks, self._blocks = self._blocks, []
        return b"".join(blocks)


def find_folder(asked: ProjectRequest, digest: str) -> ArtifactFolder | None:
    """Where the files of an artifact of this project are here; None where they are elsewhere."""
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or not name.isalnum() or not name.isascii():
        return None
    key = f"artifacts/{name[:2]}/{name}"
    if asked.files.find(f"{key}/{MANIFEST}") is not None:
        return ArtifactFolder(digest, asked.files.root / "objects" / key, escaped=True)
    # Runs that were made without a server keep theirs in the home folder: of project `default`, and nobody else's.
    home = Home(home_folder())
    if (
        asked.project == DEFAULT_PROJECT
        and getattr(asked.access.store.database, "path", None) == home.database
    ):
        place = home.artifacts / name[:2] / name
        if place.is_dir():
            return ArtifactFolder(digest, place, escaped=False)
    return None


def elsewhere(used: ComponentUsed | None) -> Elsewhere:
    """What is told of a store that the server does not open."""
    if used is None:
        return Elsewhere("local", "the home folder of the machine where the run was driven")
    settings = {key: str(each) for key, each in used.settings.items() if isinstance(each, str)}
    name = settings.get("bucket", settings.get("container", ""))
    if used.flavor == "local":
        place = f"the folder `{settings.get('path', '')}`"
    elif used.flavor == "server":
        place = "this server, which has it no more"
    elif name:
        scheme = {"s3": "s3", "gcs": "gs", "azure": "az"}.get(used.flavor, used.flavor)
        place = "/".join(filter(None, (f"{scheme}://{name}", settings.get("prefix", "").strip("/"))))
    else:
        place = settings.get("url", "") or f"a store of flavor `{used.flavor}`"
    return Elsewhere(used.flavor, place)
