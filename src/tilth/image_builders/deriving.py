"""Bases that were built, remembered by the key of their recipe: a change of a Python package builds none again.

images/derived/KEY/            an OCI layout with one image, less those of its layers that a registry has
images/derived/KEY.json        what is remembered of it
images/derived/KEY.log         what its build wrote
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from tilth.environments.files import (
    explaining_full_disk,
    locked,
    move_folder,
    read_bytes,
    remove_tree,
    write_atomic,
)
from tilth.errors import ImageBroken
from tilth.image_builders import Derived
from tilth.image_builders.archives import manifest_of, seal
from tilth.image_builders.commands import hiding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tilth.home import Home
    from tilth.image_builders import Work
    from tilth.image_builders.recipes import Recipe
    from tilth.images.bases import Base, BaseLayer
    from tilth.oci.registry import Registry

RECIPE = "dev.tilth.recipe"  # annotation: the key of the recipe that a base was made by


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Where one recipe is being built."""

    home: Home
    layout: Path  # an empty folder that becomes the result
    folder: Path  # scratch
    refresh: bool  # take nothing from the engine's own cache
    known: Mapping[str, BaseLayer]  # see `Work.known`
    secrets: dict[str, Path]  # file with the value, by id
    log: IO[str]
    tell: Callable[[str], None]
    hide: Callable[[str], str]


def find_derived(recipe: Recipe, home: Home) -> Derived | None:
    """The base that a recipe gave before; None when it is not known here, or is not whole any more."""
    derived = _remembered(_note(recipe.key, home))
    if derived is None:
        return None
    if derived.base.source.startswith("layout:"):
        own = {each.descriptor.digest for each in derived.base.layers if not each.source}
        try:
            digest, _ = manifest_of(_folder(home) / recipe.key, own=own)
        except ImageBroken:
            return None
        if digest != derived.digest:
            return None
    return msgspec.structs.replace(derived, made=False)


def derived_called(reference: str, home: Home) -> Derived | None:
    """The base that was built here and is called so: `oci:PATH:NAME`; None when that is another image's name."""
    path = Path(reference.removeprefix("oci:").rpartition(":")[0])
    found = _remembered(_note(path.name, home)) if path.parent == _folder(home) else None
    return found if found is not None and found.reference == reference else None


def remember_derived(derived: Derived, home: Home) -> None:
    """Note what is known of a base."""
    _folder(home).mkdir(parents=True, exist_ok=True)
    write_atomic(_note(derived.key, home), msgspec.json.encode(derived))


def moved_since(recipe: Recipe, home: Home) -> tuple[str, ...]:
    """The images that the same recipe was built on before, and that are others now; empty when it never was."""
    before = [
        derived
        for note in _folder(home).glob("*.json")
        if (derived := _remembered(note)) is not None and derived.asked == recipe.asked
    ]
    if not before:
        return ()
    latest = max(before, key=lambda each: _note(each.key, home).stat().st_mtime)
    now = stands_on(recipe)
    return tuple(name for name, what in now.items() if latest.stands_on.get(name, what) != what)


def stands_on(recipe: Recipe) -> dict[str, str]:
    """What each image that a recipe names is now."""
    return recipe.images if recipe.dockerfile else {recipe.base: recipe.base_identity}


def derive(recipe: Recipe, work: Work, builder: str, build: Callable[[Bench], str]) -> Derived:
    """Find the base of a recipe, or have it built, by one process at a time.

    Args:
        builder: Its name, for the record.
        build: Fills the layout; gives what the image is called in the engine, empty when it does not stay there.
    """
    folder = _folder(work.home)
    folder.mkdir(parents=True, exist_ok=True)
    with explaining_full_disk("the base image", folder), locked(folder / f"{recipe.key}.lock"):
        found = None if work.refresh else find_derived(recipe, work.home)
        if found is not None:
            return found
        started = time.monotonic()
        with tempfile.TemporaryDirectory(
            prefix=".building-", dir=folder, ignore_cleanup_errors=True
        ) as scratch:
            layout = Path(scratch) / "layout"
            layout.mkdir()
            known = work.known()
            with _bench(recipe, work, layout, Path(scratch), known) as bench:
                engine = build(bench)
            base = _sealed(recipe, layout, known, work.home)
            target = folder / recipe.key
            if target.exists():
                remove_tree(target)
            move_folder(layout, target)
        derived = Derived(
            key=recipe.key,
            base=msgspec.structs.replace(
                base, reference=f"oci:{target}:{recipe.tag}", source=f"layout:{target}"
            ),
            asked=recipe.asked,
            stands_on=stands_on(recipe),
            engine=engine,
            builder=builder,
            seconds=round(time.monotonic() - started, 3),
            made=True,
        )
        remember_derived(derived, work.home)
        return derived


def _sealed(recipe: Recipe, layout: Path, known: Mapping[str, BaseLayer], home: Home) -> Base:
    """What was built as a base. In its layout, layers that are `known` get the digests that registries know them by,
    and what was found in it is written down, so that nobody who has it from a registry need read its layers."""
    from tilth.images.inspecting import LIBC, PYTHON, VERSION, inspect_base

    base = inspect_base(
        f"oci:{layout}:{recipe.tag}", registry=_nobody, home=home, platform=recipe.platform, offline=True
    )
    said = {PYTHON: base.python, VERSION: base.version, LIBC: base.libc, RECIPE: recipe.key}
    digest, layers = seal(layout, recipe.tag, base.layers, known, said)
    return msgspec.structs.replace(base, digest=digest, layers=layers)


def _nobody(host: str) -> Registry:
    raise AssertionError(f"`{host}` is asked for a layout")


def _remembered(note: Path) -> Derived | None:
    content = read_bytes(note)
    try:
        return None if content is None else msgspec.json.decode(content, type=Derived)
    except msgspec.MsgspecError:
        return None


def _folder(home: Home) -> Path:
    return home.images / "derived"


def _note(key: str, home: Home) -> Path:
    return _folder(home) / f"{key}.json"


@contextmanager
def _bench(
    recipe: Recipe, work: Work, layout: Path, scratch: Path, known: Mapping[str, BaseLayer]
) -> Iterator[Bench]:
    values = {each: work.secret(name) for each, name in sorted(recipe.secrets.items())}
    log = work.log or work.home.images / "derived" / f"{recipe.key}.log"
    with _mounted(values) as files, open(log, "w", encoding="utf-8") as file:
        yield Bench(
            home=work.home,
            layout=layout,
            folder=scratch,
            refresh=work.refresh,
            known=known,
            secrets=files,
            log=file,
            tell=work.tell,
            hide=hiding(values.values()),
        )


@contextmanager
def _mounted(values: dict[str, str]) -> Iterator[dict[str, Path]]:
    """The values as files that only this user can read, in memory where there is a folder for that; gone afterwards."""
    if not values:
        yield {}
        return
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, closed to everybody else
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tilth-", dir=place) as folder:
        files = {}
        for each, value in values.items():
            files[each] = Path(folder) / each
            descriptor = os.open(files[each], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(value)
        yield files
