"""A `Path` as the file or folder it points to."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from tilth.errors import OutputError
from tilth.materializers.files import open_hashed
from tilth.materializers.protocol import Format, Materializer

_CHUNK = 4 << 20


class PathMaterializer(Materializer):
    """The content behind a path, under the name it had. Loads as a path to the stored, read-only content.

    Symbolic links in a folder are kept where they lead inside it, and refused where they lead out: the
    artifact would be something else on another machine.
    """

    formats = (Format("path"),)

    def save(self, value: Path, folder: Path) -> None:
        try:
            source = value.resolve(strict=True)
        except FileNotFoundError as error:
            raise OutputError(
                f"`{value}` does not exist",
                why="a returned `Path` stands for the file or folder it points to",
                mend="write it before returning its path, or return `str(path)` to pass on the name alone",
            ) from error
        except RuntimeError as error:  # Python 3.10 to 3.12, for links that go round in circles
            raise OutputError(f"`{value}` is a link that leads back to itself") from error
        content = folder / "content"
        content.mkdir()
        _copy(source, content / (value.name or source.name or "root"), source)

    def load(self, folder: Path) -> Path:
        (found,) = (folder / "content").iterdir()
        return found

    def metadata(self, value: Path) -> dict[str, Any]:
        return {"name": os.fsencode(value.name).decode("utf-8", "replace"), "folder": value.is_dir()}


def _copy(source: Path, target: Path, root: Path) -> None:
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        inside = Path(os.path.realpath(source))
        if inside != root and root not in inside.parents:
            raise OutputError(
                f"`{source}` is a link that leads outside the returned folder",
                why=f"it leads to `{inside}`, which is not part of the artifact",
                mend="copy the file there instead of linking to it",
            )
        text = os.readlink(source)  # noqa: PTH115 - kept as it was written
        if os.path.isabs(text):  # noqa: PTH117 - it is text
            text = os.path.relpath(inside, source.parent)
        target.symlink_to(text)
    elif stat.S_ISDIR(status.st_mode):
        target.mkdir()
        for entry in source.iterdir():
            _copy(entry, target / entry.name, root)
    elif stat.S_ISREG(status.st_mode):
        buffer = bytearray(min(_CHUNK, status.st_size + 1))
        view = memoryview(buffer)
        with source.open("rb", buffering=0) as reader, open_hashed(target) as writer:
            while count := reader.readinto(buffer):
                writer.write(view[:count])
    else:
        raise OutputError(
            f"`{source}` is neither a file nor a folder",
            why="sockets, pipes and devices cannot be stored",
        )
