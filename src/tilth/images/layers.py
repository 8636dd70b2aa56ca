"""Layers of wheels, of the skeleton of an environment and of code: made once, then known by what they are made of.

images/layers/KEY.json      {digest, diff_id, size, media_type} of the layer that came of it

The trees in the wheel store are read as they are, so a machine that ran an environment has nothing to unpack.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from tilth.environments import skeleton
from tilth.environments.files import locked, read_bytes, remember
from tilth.errors import BuildFailed, EnvironmentBroken
from tilth.oci.blobs import BlobStore
from tilth.oci.layers import FORMAT, File, Folder, Layer, Link, method, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from concurrent.futures import Executor

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.wheels import Entry
    from tilth.home import Home
    from tilth.images.settings import ImageSettings
    from tilth.oci.descriptors import Descriptor
    from tilth.oci.layers import Readable

Entries = list[File | Link | Folder]


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel in the store, as it goes into one image."""

    entry: Entry
    tree: Path
    left_out: frozenset[str] = frozenset()  # of its files, those that another wheel has its own of
    bytecode: bool = False

    @property
    def files(self) -> list[str]:
        """Paths below the prefix of what goes into the image."""
        return [
            path
            for path in self.entry.files
            if path not in self.left_out and (self.bytecode or not is_bytecode(path))
        ]

    @property
    def size(self) -> int:
        """Bytes it unpacks to, without bytecode: what does not depend on the machine."""
        return sum(size for path, (size, _, _) in self.entry.files.items() if not is_bytecode(path))

    @property
    def identity(self) -> tuple[object, ...]:
        """What its part of a layer depends on."""
        # Bytecode is of whichever patch release of Python wrote it, so it counts as the files it is.
        written = [(path, *self.entry.files[path]) for path in self.files if is_bytecode(path)]
        return self.entry.digest, sorted(self.left_out), written


def is_bytecode(path: str) -> bool:
    """Whether a file is what Python made of a module."""
    return path.endswith(".pyc") and posixpath.basename(posixpath.dirname(path)) == "__pycache__"


def wheels_layer(
    wheels: Sequence[Wheel],
    interpreter: Interpreter,
    settings: ImageSettings,
    home: Home,
    threads: Executor | None = None,
) -> tuple[Layer, bool]:
    """The layer of some wheels, and whether it was made now."""
    identity = ("wheels", interpreter.library, [each.identity for each in wheels])

    def entries() -> Entries:
        shebang = skeleton.shebang(Path(settings.prefix, "bin", "python"))
        below = settings.prefix.lstrip("/")
        found: Entries = []
        folders: set[str] = {""}
        for wheel in wheels:
            for path in wheel.files:
                found.append(_file(wheel, path, f"{below}/{path}", shebang))
                if posixpath.dirname(path) not in folders:
                    folders.update(_parents(path))
        return found + [Folder(path=f"{below}/{each}".rstrip("/")) for each in folders]

    return _layer(identity, entries, settings, home, threads)


def skeleton_layer(interpreter: Interpreter, settings: ImageSettings, home: Home) -> tuple[Layer, bool]:
    """The layer that makes the prefix a virtual environment, and whether it was made now."""
    links = skeleton.links(interpreter, linux=True)
    config = skeleton.config(interpreter).encode()
    below = settings.prefix.lstrip("/")

    def entries() -> Entries:
        folders = ["", "bin", *_parents(f"{interpreter.library}/")]
        return [
            *(Folder(path=f"{below}/{each}".rstrip("/")) for each in folders),
            *(Link(path=f"{below}/{path}", target=target) for path, target in links.items()),
            File(path=f"{below}/pyvenv.cfg", size=len(config), open=lambda: io.BytesIO(config)),
        ]

    return _layer(("skeleton", interpreter.library, links, config.decode()), entries, settings, home)


def code_layer(bundle: Path, place: str, settings: ImageSettings, home: Home) -> tuple[Layer, bool]:
    """The layer of a project's files, and whether it was made now.

    Args:
        bundle: An archive that is named by the digest of what is in it; that it is so is the caller's to know.
        place: Folder in the image.
    Raises:
        BuildFailed: A path or link in it leads outside of its folder.
    """
    below = place.strip("/")
    with _open_bundle(bundle) as archive:

        def entries() -> Entries:
            found: Entries = []
            folders: set[str] = {""}
            links: set[str] = set()
            for member in archive:
                found.append(_code(archive, member, below, bundle))
                folders.update(_parents(member.name))
                links.update([member.name] if member.issym() else [])
            with open(bundle, "rb") as file:  # the reader takes half a header for the end
                file.seek(archive.offset)
                end = file.read()
            if len(end) < 2 * tarfile.BLOCKSIZE or any(end):
                raise _hostile(bundle, "it is torn: its end is missing")
            through = folders & links
            if through:
                raise _hostile(bundle, f"`{min(through)}` is a link, and a folder")
            return found + [Folder(path=f"{below}/{each}".rstrip("/")) for each in folders]

        return _layer(("code", bundle.stem, place), entries, settings, home)


def lacks_bytecode(entry: Entry, library: str) -> bool:
    """Whether a wheel was unpacked when there was no Python to write the bytecode of its modules."""
    modules = [
        path
        for path in entry.files
        if path.endswith(".py") and path.startswith(library) and "tests" not in path.split("/")[:-1]
    ]
    return bool(modules) and not any(is_bytecode(path) for path in entry.files)


def remembered(key: str, home: Home) -> Layer | None:
    """The layer of a key, if it is whole as far as its size tells."""
    content = read_bytes(_note(key, home))
    if content is None:
        return None
    try:
        layer = msgspec.json.decode(content, type=Layer)
        size = BlobStore(home.images).path(layer.descriptor.digest).stat().st_size
    except (msgspec.MsgspecError, ValueError, OSError):
        return None
    return layer if size == layer.descriptor.size else None


def verify_layers(descriptors: Collection[Descriptor], home: Home) -> list[str]:
    """Read layers that were made here, and throw away those that are broken: they are made again when asked for.

    Returns:
        Digests of those that were broken or missing.
    """
    blobs = BlobStore(home.images)
    broken = []
    for descriptor in descriptors:
        if not blobs.has(descriptor.digest) or not blobs.verify(descriptor.digest):
            blobs.remove(descriptor.digest)
            broken.append(descriptor.digest)
    return broken


def _layer(
    identity: tuple[object, ...],
    entries: Callable[[], Entries],
    settings: ImageSettings,
    home: Home,
    threads: Executor | None = None,
) -> tuple[Layer, bool]:
    what = [FORMAT, settings.prefix, method(settings.compression), identity]
    key = hashlib.sha256(msgspec.json.encode(what)).hexdigest()
    layer = remembered(key, home)
    if layer is not None:
        return layer, False
    # Six environments with one wheel in common are made at once: its layer is made once.
    with locked(home.images / "layers" / ".locks" / key):
        layer = remembered(key, home)
        if layer is not None:
            return layer, False
        try:
            layer = write_layer(entries(), BlobStore(home.images), settings.compression, threads=threads)
        except ValueError as error:
            why = f"{error}: it changes while it is read"
            raise BuildFailed("a layer of an image cannot be made", why=why, mend="try again") from error
        remember(_note(key, home), msgspec.json.encode(layer))
        return layer, True


def _note(key: str, home: Home) -> Path:
    return home.images / "layers" / f"{key}.json"


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _file(wheel: Wheel, path: str, place: str, shebang: bytes) -> File | Link:
    source = wheel.tree / path
    size, modified, mode = wheel.entry.files[path]
    try:
        status = source.lstat()
        if stat.S_ISLNK(status.st_mode):
            return Link(path=place, target=str(source.readlink()))
    except OSError:
        status = None
    if status is None or (status.st_size, status.st_mtime_ns) != (size, modified):
        raise EnvironmentBroken(
            f"`{wheel.entry.name}` in the wheel store is not what it was when it was unpacked",
            why=f"`{source}` is gone or was changed",
            mend="`tilth env prune` throws it away; it is fetched again when it is needed",
        )
    if path in wheel.entry.scripts:
        return File(
            path=place,
            size=size + len(shebang),
            open=lambda: io.BytesIO(shebang + source.read_bytes()),
            executable=True,
        )
    return File(
        path=place, size=size, open=lambda: open(source, "rb", buffering=0), executable=bool(mode & 0o111)
    )


@contextmanager
def _open_bundle(bundle: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(bundle, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            yield archive
    except tarfile.TarError as error:
        raise _hostile(bundle, str(error)) from error
    except FileNotFoundError:
        raise BuildFailed(f"there is no code bundle `{bundle}`", mend="start a new run") from None


def _code(archive: tarfile.TarFile, member: tarfile.TarInfo, below: str, bundle: Path) -> File | Link:
    name = member.name
    if name.startswith("/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise _hostile(bundle, f"the path `{name}` leads outside")
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.linkname.startswith("/") or target.split("/")[0] == "..":
            raise _hostile(bundle, f"the link `{name}` leads outside")
        return Link(path=f"{below}/{name}", target=member.linkname)
    if not member.isreg():
        raise _hostile(bundle, f"`{name}` is no file and no link")

    def opened() -> Readable:
        file = archive.extractfile(member)
        assert file is not None
        return cast("Readable", file)  # its stub knows less than it can

    executable = bool(member.mode & 0o100)
    return File(path=f"{below}/{name}", size=member.size, open=opened, executable=executable)


def _hostile(bundle: Path, why: str) -> BuildFailed:
    return BuildFailed(
        f"the code bundle `{bundle.stem[:12]}` cannot be put into an image", why=why, mend="start a new run"
    )
