"""An image that another machine makes and brings into the registry: `python -m tilth.client.elsewhere HOME` there.

What goes there is the lock, and of its packages those that are on no index. There the same code makes the image as
here, from wheels and layers that the machine keeps; back comes what is recorded of the build.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec

from tilth.client.building import Destination, Images, Wanted
from tilth.environments.indexes import Index
from tilth.environments.locks import Locked  # noqa: TC001 - msgspec reads the annotations
from tilth.environments.pylocks import with_paths
from tilth.errors import EnvironmentBroken, ImageNotFound
from tilth.home import Home
from tilth.image_builders.elsewhere import serve
from tilth.images.bases import Base  # noqa: TC001 - msgspec reads the annotations
from tilth.images.settings import ImageSettings  # noqa: TC001 - msgspec reads the annotations
from tilth.oci.access import Access  # noqa: TC001 - msgspec reads the annotations
from tilth.oci.references import parse
from tilth.records import Build, State, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tilth.image_builders import Elsewhere
    from tilth.image_builders.frames import Teller
    from tilth.oci.layers import Compression
    from tilth.oci.registry import Registry

_PROGRAM = "tilth.client.elsewhere"
_EPOCH = "SOURCE_DATE_EPOCH"  # of the client: it is in the key


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An image to make. Logins travel in it, and in nothing else."""

    names: tuple[str, ...]
    lock: Locked  # its sources that are files are relative to what comes along
    base: Base
    settings: ImageSettings
    key: str
    code: str  # file of the bundle that goes into it
    why: str
    repository: str
    registries: tuple[Access, ...]  # the first is that of the image
    indexes: dict[str, tuple[str, str]]  # user and password by host
    attach: bool
    offline: bool
    epoch: str


class _OpenedIndex(Index, frozen=True, kw_only=True):
    """Places whose logins have come along: there are no secrets here."""

    opened: dict[str, tuple[str, str]]

    def logins(self, home: Home) -> dict[str, tuple[str, str]]:  # noqa: ARG002
        return self.opened


def make_elsewhere(
    wanted: Wanted, images: Images, builder: Elsewhere, *, tell: Callable[[str], None]
) -> Build:
    """Have an image made and pushed; gives what is to be recorded of it.

    Args:
        tell: Is told what is done there.
    Raises:
        TilthError: As it would fail here.
    """
    assert images.to.registry is not None
    registry, repository = images.to.registry, images.to.registry.repository(images.to.repository)
    client = images.registries(registry.host)
    client.prepare(repository)
    lock, files = carried(wanted.lock, images.home)
    base, below = _carried_base(wanted.base, client, repository, images.home)
    hosts = {registry.host: client}
    for place in {base.source, *(each.source for each in base.layers)}:
        if place.startswith("registry:"):
            host = parse(place.partition(":")[2]).registry
            hosts.setdefault(host, images.registries(host))
    order = Order(
        names=wanted.names,
        lock=lock,
        base=base,
        settings=wanted.settings,
        key=wanted.key,
        code=wanted.code.name if wanted.code else "",
        why=images.why(wanted),
        repository=repository,
        registries=tuple(each.access() for each in hosts.values()),
        indexes=wanted.lock.index.logins(images.home),
        attach=images.attach,
        offline=images.offline,
        epoch=os.environ.get(_EPOCH, ""),
    )
    if wanted.code is not None:
        files.append((wanted.code, wanted.code.name))
    answer = builder.run(_PROGRAM, msgspec.json.encode(order), [*files, *below], tell)
    made = msgspec.json.decode(answer, type=Build)
    return msgspec.structs.replace(made, builder=images.builder, created_at=now(), base=wanted.base.reference)


def carried(lock: Locked, home: Home) -> tuple[Locked, list[tuple[Path, str]]]:
    """A lock for another machine, and the wheels that only this one has: local ones, and what was built here.

    Raises:
        EnvironmentBroken: One of them is gone.
    """
    from tilth.environments.building.builds import kept_wheel

    files: list[tuple[Path, str]] = []
    sources = []

    def along(path: Path, package: str) -> str:
        if not path.is_file():
            raise EnvironmentBroken(
                f"a wheel of environment `{lock.name}` is gone: `{package}`",
                why=f"there is no file `{path}`",
                mend="put it back, or lock again with `--upgrade`",
            )
        name = f"wheels/{len(files)}/{path.name}"
        files.append((path, name))
        return name

    for package, source in zip(lock.packages, lock.sources, strict=True):
        if package.digest.rpartition(":")[2] not in source:  # it was built
            wheel = kept_wheel(package.digest, home) or Path(package.file)
            sources.append(_wheel(along(wheel, package.name), package.digest))
        elif local := _local(source):
            sources.append(_wheel(along(local, package.name), package.digest))
        else:
            sources.append(source)
    index = lock.index
    index = msgspec.structs.replace(
        index,
        default="" if index.default.startswith("file:") else index.default,
        extra=tuple(each for each in index.extra if not each.startswith("file:")),
        links=tuple(each for each in index.links if "://" in each and not each.startswith("file:")),
        credentials={},
    )
    return msgspec.structs.replace(lock, sources=tuple(sources), index=index), files


def _local(source: str) -> Path | None:
    """The file of this machine that a source names."""
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    with_paths(source, note)
    if found:
        return Path(found[0])
    _, is_file, rest = source.partition('url = "file:')
    return Path(unquote(urlsplit(f"file:{rest.partition(chr(34))[0]}").path)) if is_file else None


def _wheel(path: str, digest: str) -> str:
    return (
        f"wheels = [{{ path = {msgspec.json.encode(path).decode()}, "
        f'hashes = {{ sha256 = "{digest.rpartition(":")[2]}" }} }}]'
    )


def _carried_base(
    base: Base, client: Registry, repository: str, home: Home
) -> tuple[Base, list[tuple[Path, str]]]:
    """A base for another machine, and what of it goes along: layers that no registry has."""
    from tilth.oci.blobs import BlobStore

    files = []
    for each in base.layers:
        digest = each.descriptor.digest
        kind, _, place = base.place(digest).partition(":")
        if kind == "registry" or client.has_blob(repository, digest):
            continue
        name = f"blobs/sha256/{digest.partition(':')[2]}"
        path = home.images / name if BlobStore(home.images).has(digest) else Path(place) / name
        if kind not in ("layout", "engine") or not path.is_file():
            raise ImageNotFound(
                f"the layers of the base image `{base.reference}` cannot be had for another machine",
                why=f"they are in `{base.source}`, which gives none out",
                mend="push it to a registry, and name it there",
            )
        files.append((path, f"base/{name}"))
    return base if base.source.startswith("registry:") else msgspec.structs.replace(
        base, source="layout:base"
    ), files


# there


class _Given:
    """The registry of an order."""

    def __init__(self, client: Registry, repository: str, compression: Compression) -> None:
        self.host = client.host
        self.compression = compression
        self._client = client
        self._repository = repository

    def repository(self, name: str) -> str:  # noqa: ARG002 - there is one
        return self._repository

    def registry(self) -> Registry:
        return self._client

    def check(self) -> None:
        self._client.check()


class _Images(Images):
    """Makes what is ordered, for the reason that whoever orders has."""

    reason = ""

    def why(self, wanted: Wanted) -> str:  # noqa: ARG002
        return self.reason

    @contextmanager
    def _begun(self, wanted: Wanted) -> Iterator[Build]:
        yield self._record(wanted, state=State.RUNNING)  # whoever orders keeps it, and what is told


def _make(content: bytes, folder: Path, teller: Teller, home: Home) -> bytes:
    from tilth.oci.registry import Registry
    from tilth.store import open_store

    order = msgspec.json.decode(content, type=Order)
    if order.epoch:
        os.environ[_EPOCH] = order.epoch
    clients = {each.host: each.registry(folder) for each in order.registries}
    to = clients[order.registries[0].host]
    base = order.base
    if base.source.startswith("layout:"):
        base = msgspec.structs.replace(base, source=f"layout:{folder / 'base'}")
        (folder / "base").mkdir(exist_ok=True)
    wanted = Wanted(
        order.names,
        _landed(order.lock, order.indexes, folder),
        base,
        order.settings,
        order.key,
        folder / order.code if order.code else None,
    )
    # Its records are for whoever orders: nothing is kept of them here.
    with closing(open_store(Home(folder / "records"))) as store:
        images = _Images(
            Destination(
                registry=_Given(to, order.repository, order.settings.compression), repository=order.repository
            ),
            store,
            home,
            lambda host: clients[host] if host in clients else Registry(host),
            teller.line,
            offline=order.offline,
            attach=order.attach,
        )
        images.reason = order.why
        made = images.make(wanted)
    for client in clients.values():
        client.close()
    return msgspec.json.encode(made)


def _landed(lock: Locked, logins: dict[str, tuple[str, str]], folder: Path) -> Locked:
    """A lock that came along, with the files and the interpreter of this machine."""
    elsewhere = lock.elsewhere
    if elsewhere is not None:
        elsewhere = msgspec.structs.replace(elsewhere, here=sys.executable)
    index: dict[str, Any] = {name: getattr(lock.index, name) for name in Index.__struct_fields__}
    return msgspec.structs.replace(
        lock,
        sources=tuple(with_paths(each, lambda path: str(folder / path)) for each in lock.sources),
        index=_OpenedIndex(**index, opened=logins),
        elsewhere=elsewhere,
    )


def main(arguments: Sequence[str]) -> int:
    """Make the image that is ordered."""
    home = Home(Path(arguments[0]).expanduser())
    return serve(lambda content, folder, teller: _make(content, folder, teller, home))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
