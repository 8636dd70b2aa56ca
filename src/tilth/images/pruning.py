"""What images leave on this machine and in its engines, which of it may go, and taking it away.

images/.users       held by whoever makes images, or runs steps in them: nothing of images is taken away meanwhile

As in `environments.pruning`: `survey` looks, `decide` judges and touches nothing, `remove` does what was decided. A
build asks for each thing before it trusts in it, so one that is killed in between leaves nothing that misleads.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import disk
from tilth.environments.files import (
    Shared,
    alone,
    explaining_full_disk,
    is_used,
    read_bytes,
    remove_tree,
    sweep,
    throw_away,
)
from tilth.environments.pruning import Decision, Removed, Thing, listed, written
from tilth.errors import TilthError
from tilth.images.bases import Base
from tilth.images.engines import Engine, containerd
from tilth.images.making import ENVIRONMENT
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import DIGEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tilth.environments.pruning import Wishes
    from tilth.home import Home

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_ABANDONED_S = 3600  # nobody takes this long to write one blob without growing it
_FROM = "docker:tilth-base:from-"  # what the Docker builder calls a base of a layout while it builds on it
_OWN = ("docker", "podman")  # engines of this machine, which builders leave what they made in


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an image that was made here."""

    digest: str  # of its manifest
    environment: str  # digest
    name: str  # of the environment
    layers: frozenset[str]  # digests, the base's too
    base: str  # digest of the base
    names: tuple[str, ...]  # in engines, as `docker:tilth/small:1f2e`
    last_used: datetime


class Piece(Thing, frozen=True, kw_only=True):
    """A thing that images left. Kinds: image, built base, layer, note, leftover of images."""

    environment: str = ""  # of an image: digest
    names: tuple[str, ...] = ()  # in engines that have it
    needs: frozenset[str] = frozenset()  # digests of blobs, and of an image's base
    known_as: frozenset[str] = frozenset()  # of a base: its digests, here and in engines


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """What is there."""

    things: tuple[Piece, ...]
    trees: dict[Path, disk.Tree]
    used: bool  # whether somebody makes images or runs in them
    silent: tuple[str, ...] = ()  # engines that do not answer

    def of(self, kind: str) -> list[Piece]:
        """The things of one kind."""
        return [each for each in self.things if each.kind == kind]


def keep(home: Home) -> Shared:
    """What keeps all that images left there until it is closed."""
    with explaining_full_disk("that images are in use", home.images):
        home.images.mkdir(parents=True, exist_ok=True)
        return Shared(users_file(home))


def users_file(home: Home) -> Path:
    """Where those who need what images left say so, while they do."""
    return home.images / ".users"


def survey(home: Home, made: Iterable[Made], *, used: bool | None = None) -> Stock:
    """Look at everything; changes nothing.

    Args:
        used: Whether somebody works with images; who holds `users_file` alone knows, others look.
    """
    if not home.images.is_dir():
        return Stock(things=(), trees={}, used=False)
    made = list(made)
    bases = [*_built_bases(home), *_built_upon(home)]
    wanted = {name for each in (*(e.names for e in made), *(e.names for e in bases)) for name in each}
    engines = _Engines(wanted)
    trees: dict[Path, disk.Tree] = {}
    things: list[Piece] = []
    things += _images(made, engines, home)
    for base in bases:
        there = _with_engine(base, engines)
        if there.names or there.path.is_dir() or _beside(there)[0].exists():
            things.append(there)
    things += [*_blobs(home), *_notes(home), *_leftovers(home)]
    for at, thing in enumerate(things):
        if thing.kind == "image":  # it is made of blobs, which are counted
            continue
        tree = disk.measure(thing.path, *_beside(thing))
        trees[thing.path] = tree
        things[at] = msgspec.structs.replace(thing, size=tree.size)
    sizes = {each.digest: each.size for each in things if each.kind == "layer"}
    for at, thing in enumerate(things):
        if thing.kind == "image":
            things[at] = msgspec.structs.replace(thing, size=sum(sizes.get(each, 0) for each in thing.needs))
    return Stock(
        things=tuple(things),
        trees=trees,
        used=is_used(users_file(home)) if used is None else used,
        silent=tuple(sorted(engines.silent)),
    )


def decide(stock: Stock, wishes: Wishes, bases: Iterable[str]) -> list[Decision]:
    """What goes, what stays, and why.

    Args:
        wishes: Its `max_size` is what all of images may take on disk.
        bases: Digests of what environments that stay stand on.
    """
    goes: dict[Path, str] = {}
    stays: dict[Path, str] = {}
    images = sorted(stock.of("image"), key=_by_use)
    built = sorted(stock.of("built base"), key=_by_use)
    for each in images:
        why, free = _judge(each, wishes, stock)
        (goes if free else stays)[each.path] = why
    _judge_rest(stock, wishes, frozenset(bases), built, goes, stays)
    if wishes.max_size is not None and not stock.used:
        # Images first: the packages in them are in the store of wheels too, what a base has would be built again.
        for each in (*images, *built):
            if _left(stock, goes) <= wishes.max_size:
                break
            if each.path in goes or each.path not in stays or not _is_open(each, wishes, stays):
                continue
            del stays[each.path]
            goes[each.path] = "it was used least recently"
            _judge_rest(stock, wishes, frozenset(bases), built, goes, stays)
    return [
        Decision(thing=each, goes=each.path in goes, why=goes.get(each.path) or stays[each.path])
        for each in (*images, *built, *(e for e in stock.things if e.kind not in ("image", "built base")))
    ]


def freed(stock: Stock, decisions: Iterable[Decision]) -> int:
    """Bytes on disk that come free when what goes is gone; engines keep their own account."""
    return disk.freed(
        stock.trees[each.thing.path] for each in decisions if each.goes and each.thing.path in stock.trees
    )


def total(stock: Stock) -> int:
    """Bytes on disk of everything together."""
    return disk.total(stock.trees.values())


def remove(stock: Stock, decisions: Iterable[Decision], home: Home) -> Removed:
    """Take away what was decided to go; whoever calls holds `users_file` alone.

    What an engine refuses to give up, as it runs a container of it, stays with all that it needs.
    """
    decisions = list(decisions)
    gone: list[Decision] = []
    kept: list[Decision] = []
    needed: set[str] = set()
    for each in decisions:
        thing = each.thing
        assert isinstance(thing, Piece)
        if not each.goes or not thing.names:
            continue
        refused = _take_from_engines(thing.names)
        if refused:
            kept.append(msgspec.structs.replace(each, goes=False, why=refused))
            needed |= thing.needs
    refused_paths = {each.thing.path for each in kept}
    blobs = BlobStore(home.images)
    aside: list[Path] = []
    # Notes before what they tell of, and what is made of blobs before the blobs.
    for each in sorted((e for e in decisions if e.goes), key=lambda e: _ORDER.index(e.thing.kind)):
        thing = each.thing
        if thing.path in refused_paths:
            continue
        if thing.digest in needed:
            kept.append(msgspec.structs.replace(each, goes=False, why="an image needs it"))
            continue
        if thing.kind == "layer":
            blobs.remove(thing.digest)
        elif thing.kind == "built base":
            for path in _beside(thing):
                path.unlink(missing_ok=True)
            if thing.path.is_dir():
                aside.append(throw_away(thing.path, home.images))
        elif thing.path.is_dir():
            aside.append(throw_away(thing.path, home.images))
        elif thing.kind != "image":
            thing.path.unlink(missing_ok=True)
        gone.append(each)
    for path in aside:
        remove_tree(path)
    sweep(home.images)
    _remove_strays(home)
    return Removed(gone=tuple(gone), kept=tuple(kept), freed=freed(stock, gone))


_ORDER = ("image", "note", "built base", "layer", "leftover of images")


def _by_use(piece: Piece) -> tuple[datetime, Path]:
    return piece.last_used or _LONG_AGO, piece.path


def _judge(image: Piece, wishes: Wishes, stock: Stock) -> tuple[str, bool]:
    """(why, whether an image goes), whatever the size of all."""
    if wishes.only is not None and image.environment not in wishes.only:
        return "it was not asked for", False
    return _by_age(image, wishes, stock)


def _by_age(piece: Piece, wishes: Wishes, stock: Stock) -> tuple[str, bool]:
    if stock.used:
        return "images are being made or used now", False
    if wishes.all:
        return "all were asked for", True
    if wishes.unused_since is not None:
        if (piece.last_used or _LONG_AGO) < wishes.unused_since:
            return "it was not used for so long", True
        return "it was used since", False
    if wishes.only is not None and wishes.max_size is None:
        return "it was asked for", True
    return ("there is room for it" if wishes.max_size is not None else "it can be used again"), False


def _is_open(piece: Piece, wishes: Wishes, stays: dict[Path, str]) -> bool:
    """Whether a thing that stays may go to make room."""
    if wishes.only is not None:
        return piece.environment in wishes.only
    return "needs it" not in stays[piece.path]


def _judge_rest(
    stock: Stock,
    wishes: Wishes,
    bases: frozenset[str],
    built: list[Piece],
    goes: dict[Path, str],
    stays: dict[Path, str],
) -> None:
    """What becomes of all that is not an image, given what becomes of those."""
    standing = [each for each in stock.of("image") if each.path not in goes]
    needed = {digest for each in standing for digest in each.needs}
    for each in built:
        if each.path in goes:
            continue
        if each.known_as & bases:
            why, free = "an environment needs it", False
        elif each.known_as & needed:
            why, free = "an image needs it", False
        elif wishes.only is not None:
            why, free = "it was not asked for", False
        else:
            why, free = _by_age(each, wishes, stock)
        stays.pop(each.path, None)
        (goes if free else stays)[each.path] = why
    needed |= {digest for each in built if each.path not in goes for digest in each.needs}
    for each in (*stock.of("layer"), *stock.of("note"), *stock.of("leftover of images")):
        if each.used:
            why, free = "somebody works in it", False
        elif stock.used:
            why, free = "images are being made or used now", False
        elif each.digest in needed:
            why, free = "an image needs it", False
        elif each.kind == "leftover of images":
            why, free = "its maker is gone", True
        else:
            why, free = "no image needs it", True
        stays.pop(each.path, None)
        (goes if free else stays)[each.path] = why


def _left(stock: Stock, goes: dict[Path, str]) -> int:
    return total(stock) - disk.freed(tree for path, tree in stock.trees.items() if path in goes)


def _images(made: Iterable[Made], engines: _Engines, home: Home) -> Iterator[Piece]:
    """Those of which something is here."""
    blobs = BlobStore(home.images)
    for each in made:
        names = tuple(name for name in each.names if engines.has(name, each.environment))
        here = DIGEST.fullmatch(each.digest) and blobs.has(each.digest)
        if not (here or names):
            continue
        needs = {each.digest, each.base, *each.layers}
        if here:
            try:
                manifest = msgspec.json.decode(blobs.read(each.digest), type=Manifest)
                needs |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
            except msgspec.MsgspecError:
                pass  # it is broken: what is known of it has to do
        yield Piece(
            kind="image",
            path=blobs.root / "made" / each.digest,  # a name for it: its blobs are things of their own
            name=each.name,
            digest=each.digest,
            environment=each.environment,
            last_used=each.last_used,
            names=names,
            needs=frozenset(needs),
        )


class _Derived(msgspec.Struct):
    """The part of what `image_builders.deriving` remembers that is needed here."""

    base: Base
    builder: str
    engine: str = ""
    engine_ids: dict[str, str] = {}


def _built_bases(home: Home) -> Iterator[Piece]:
    folder = home.images / "derived"
    names = [each.name for each in listed(folder) if not each.name.startswith(".")]
    for key in sorted({each.partition(".")[0] for each in names}):
        note = folder / f"{key}.json"
        try:
            known = msgspec.json.decode(read_bytes(note) or b"", type=_Derived)
        except msgspec.MsgspecError:
            known = None
        if known is None and not (folder / key).is_dir():
            continue  # the log of a build that failed
        yield Piece(
            kind="built base",
            path=folder / key,
            name=key[:12],
            digest=known.base.digest if known else "",
            last_used=written(note),
            names=(f"{known.builder}:{known.engine}",)
            if known and known.engine and known.builder in _OWN
            else (),
            known_as=frozenset(
                {known.base.digest, known.base.identity, *known.engine_ids.values()} if known else ()
            ),
            needs=frozenset(each.descriptor.digest for each in known.base.layers) if known else frozenset(),
        )


def _built_upon(home: Home) -> Iterator[Piece]:
    """Bases of layouts that the Docker builder has lent its engine: only of those known here, others have theirs."""
    if not (home.images / "derived").is_dir():
        return
    for path in listed(home.images / "bases"):
        try:
            base = msgspec.json.decode(read_bytes(path) or b"", type=Base) if path.suffix == ".json" else None
        except msgspec.MsgspecError:
            continue
        if base is not None and base.source.startswith("layout:"):
            digits = base.digest.removeprefix("sha256:")[:20]
            place = home.images / "derived" / f"from-{digits}"
            yield Piece(
                kind="built base", path=place, name=f"from {base.reference}", names=(f"{_FROM}{digits}",)
            )


def _with_engine(base: Piece, engines: _Engines) -> Piece:
    names = tuple(name for name in base.names if engines.has(name))
    ids = {engines.identity(name) for name in names}
    return msgspec.structs.replace(base, names=names, known_as=base.known_as | ids)


def _blobs(home: Home) -> Iterator[Piece]:
    folder = home.images / "blobs" / "sha256"
    for path in listed(folder):
        if path.name.startswith("."):
            yield Piece(kind="leftover of images", path=path, last_used=written(path), used=_is_written(path))
        else:
            yield Piece(kind="layer", path=path, digest=f"sha256:{path.name}", last_used=written(path))


def _notes(home: Home) -> Iterator[Piece]:
    """What says which layer something became, and which blobs a base has: of use as long as these are there."""
    for path in listed(home.images / "layers"):
        if path.suffix == ".json":
            try:
                told = msgspec.json.decode(read_bytes(path) or b"", type=dict[str, Any])
                digest = str(told.get("digest") or told["descriptor"]["digest"])
            except (msgspec.MsgspecError, KeyError, TypeError):
                digest = "unknown"
            yield Piece(kind="note", path=path, digest=digest, last_used=written(path))
    own = f"layout:{home.images}"
    for path in listed(home.images / "bases"):
        if path.suffix != ".json":
            continue
        try:
            base = msgspec.json.decode(read_bytes(path) or b"", type=Base)
        except msgspec.MsgspecError:
            continue
        if base.source == own:
            yield Piece(kind="note", path=path, digest=base.digest, last_used=written(path))


def _leftovers(home: Home) -> Iterator[Piece]:
    for path in listed(home.images):
        if path.name.startswith(".tmp-"):
            yield Piece(kind="leftover of images", path=path, last_used=written(path), used=is_used(path))
    for path in listed(home.images / "derived"):
        if path.name.startswith(".building-"):  # who builds holds `users_file`
            yield Piece(kind="leftover of images", path=path, last_used=written(path))


def _is_written(path: Path) -> bool:
    """Whether the process that a blob's file is named for may write it still."""
    process = path.name[1:].partition("-")[0]
    if time.time() - written(path).timestamp() > _ABANDONED_S:
        return False
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _beside(thing: Thing) -> tuple[Path, ...]:
    if thing.kind != "built base":
        return ()
    return tuple(thing.path.with_name(f"{thing.path.name}.{each}") for each in ("json", "log", "lock"))


class _Engines:
    """What engines of this machine have of some names, each written as `docker:NAME`."""

    def __init__(self, names: Iterable[str]) -> None:
        self.silent: set[str] = set()
        self._found: dict[str, dict[str, Any]] = {}
        by_engine: dict[str, list[str]] = {}
        for name in sorted(names):
            engine, _, image = name.partition(":")
            by_engine.setdefault(engine, []).append(image)
        for engine, images in by_engine.items():
            try:
                self._look(engine, images)
            except TilthError:
                self.silent.add(engine)

    def _look(self, engine: str, images: list[str]) -> None:
        if engine == "containerd":
            listed = set(_containerd("images", "list", "--quiet").split())
            self._found.update({f"{engine}:{each}": {} for each in images if each in listed})
            return
        for image in images:
            ended = _engine(engine).run("image", "inspect", "--", image, check=False)
            if ended.returncode == 0:
                self._found[f"{engine}:{image}"] = msgspec.json.decode(ended.stdout)[0]

    def has(self, name: str, environment: str = "") -> bool:
        """Whether there is an image of that name; with an environment, one that is made of it."""
        found = self._found.get(name)
        if not found:
            return found is not None
        labels = (found.get("Config") or {}).get("Labels") or {}
        return not environment or labels.get(ENVIRONMENT) == environment

    def identity(self, name: str) -> str:
        """What the engine calls it."""
        told = str(self._found[name].get("Id", ""))
        return told if told.startswith("sha256:") else f"sha256:{told}"


def _take_from_engines(names: Iterable[str]) -> str:
    """Remove images by their names; why not, where an engine refuses."""
    for name in names:
        engine, _, image = name.partition(":")
        try:
            if engine == "containerd":
                _containerd("images", "remove", "--sync", image)
                continue
            ended = _engine(engine).run("image", "rm", "--", image, check=False)
        except TilthError as error:
            return f"{engine}: {error.why.splitlines()[0] if error.why else error.summary}"
        told = ended.stderr.strip()
        if ended.returncode != 0 and "no such image" not in told.lower() and "not known" not in told.lower():
            return f"{engine} keeps it: {told.splitlines()[-1] if told else 'it does not say why'}"
    return ""


def _engine(kind: str) -> Engine:
    return Engine(kind="podman" if kind == "podman" else "docker", needed_for="looking for images in it")


def _containerd(*arguments: str) -> str:
    return containerd(*arguments, needed_for="looking for images in it")


def _remove_strays(home: Home) -> None:
    """Remove locks of layers that are gone; who waits for one finds out."""
    for path in listed(home.images / "layers" / ".locks"):
        if not (home.images / "layers" / f"{path.name}.json").exists():
            with alone(path) as unused:
                if unused:
                    path.unlink(missing_ok=True)
