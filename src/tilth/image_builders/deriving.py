"""Bases that were built, remembered by the key of their recipe: a change of a Python package builds none again.

images/derived/KEY/            an OCI layout with one image
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
from tilth.image_builders.archives import manifest_of
from tilth.image_builders.commands import hiding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tilth.home import Home
    from tilth.image_builders import Work
    from tilth.image_builders.recipes import Recipe


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Where one recipe is being built."""

    home: Home
    layout: Path  # an empty folder that becomes the result
    folder: Path  # scratch
    refresh: bool  # take nothing from the engine's own cache
    secrets: dict[str, Path]  # file with the value, by id
    log: IO[str]
    tell: Callable[[str], None]
    hide: Callable[[str], str]


def find_derived(recipe: Recipe, home: Home) -> Derived | None:
    """The base that a recipe gave before; None when it was never built here, or is not whole any more."""
    folder = home.images / "derived"
    content = read_bytes(folder / f"{recipe.key}.json")
    if content is None:
        return None
    try:
        derived = msgspec.json.decode(content, type=Derived)
        digest, _ = manifest_of(folder / recipe.key)
    except (msgspec.MsgspecError, ImageBroken):
        return None
    return msgspec.structs.replace(derived, made=False) if digest == derived.digest else None


def derive(recipe: Recipe, work: Work, builder: str, build: Callable[[Bench], str]) -> Derived:
    """Find the base of a recipe, or have it built, by one process at a time.

    Args:
        builder: Its name, for the record.
        build: Fills the layout; gives what the image is called in the engine, empty when it does not stay there.
    """
    folder = work.home.images / "derived"
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
            with _bench(recipe, work, layout, Path(scratch)) as bench:
                engine = build(bench)
            digest, _ = manifest_of(layout)
            target = folder / recipe.key
            if target.exists():
                remove_tree(target)
            move_folder(layout, target)
        derived = Derived(
            key=recipe.key,
            reference=f"oci:{target}:{recipe.tag}",
            digest=digest,
            engine=engine,
            builder=builder,
            seconds=round(time.monotonic() - started, 3),
            made=True,
        )
        write_atomic(folder / f"{recipe.key}.json", msgspec.json.encode(derived))
        return derived


@contextmanager
def _bench(recipe: Recipe, work: Work, layout: Path, scratch: Path) -> Iterator[Bench]:
    values = {each: work.secret(name) for each, name in sorted(recipe.secrets.items())}
    log = work.log or work.home.images / "derived" / f"{recipe.key}.log"
    with _mounted(values) as files, open(log, "w", encoding="utf-8") as file:
        yield Bench(
            home=work.home,
            layout=layout,
            folder=scratch,
            refresh=work.refresh,
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
