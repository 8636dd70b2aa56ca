"""From a source to a wheel: an sdist, a commit or a folder is built once, in an environment that is locked too.

    wheels/built/KEY.json           what a source was built to
    wheels/.kept/DIGEST/NAME.whl    the wheel that was built
    cache/requires/KEY.json         what a source needs to be built

What a source needs to be built (PEP 517, PEP 518) is resolved like any environment, under the same cut-off date
and with the same indexes, so it is cached, hashed, shared by builds that need the same, and usable offline.
"""

from __future__ import annotations

import contextvars
import hashlib
import re
import shutil
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import uv, uv_settings
from tilth.environments.building.backends import BackendFailed, call_hook
from tilth.environments.building.builders import find_builder, keep_builder
from tilth.environments.building.source_trees import Needs, SourceTree, Wish
from tilth.environments.files import (
    explaining_full_disk,
    locked,
    move_folder,
    read_bytes,
    remember,
    remove_tree,
    scratch,
    write_atomic,
)
from tilth.environments.names import normalised
from tilth.errors import EnvironmentBroken, TilthError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.environments.building.uv_sources import Placed
    from tilth.environments.choices import Choice
    from tilth.environments.locks import Locked
    from tilth.home import Home

_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that was built here."""

    name: str
    version: str
    digest: str  # of the wheel
    file: str  # its name
    size: int  # in bytes
    builder: str  # digest of the environment that built it


def build(choice: Choice, wish: Wish) -> Built:
    """The wheel of a source, built now if it never was; it is at `kept_wheel`.

    Raises:
        EnvironmentBroken: The source is not what was locked, does not build, or needs itself to be built.
        DefinitionError: It is a folder that is no package.
    """
    what = f"`{choice.name}` of environment `{wish.name}`"
    with SourceTree(choice, wish, what) as source, _no_circle(choice.name, source.key):
        if source.is_wheel:
            return _keep(source.archive(), source.file, choice, wish.home, what, builder="")
        # What was built before is built again by the very same packages.
        builder = find_builder(choice.builder, wish.home) or _builder_of(source, choice, wish, what)
        key = hashlib.sha256(f"{source.key}\n{builder.digest}".encode()).hexdigest()
        remembered = wish.home.wheels / "built" / f"{key}.json"
        found = _read(remembered, wish)
        if found is not None:
            return found
        with (
            explaining_full_disk(what, wish.home.wheels),
            locked(wish.home.wheels / ".locks" / key),
        ):
            found = _read(remembered, wish)  # whoever held the lock before may have built it
            if found is None:
                found = _make(source, builder, choice, wish, what)
                write_atomic(remembered, msgspec.json.encode(found))
    return found


def kept_wheel(digest: str, home: Home) -> Path | None:
    """The wheel of this digest that was built here, if it still is."""
    return next(iter(_place(digest, home).glob("*.whl")), None)


def discard_torn(digest: str, home: Home) -> None:
    """Take a kept wheel away that is not what it was, as a machine that lost power may leave it."""
    wheel = kept_wheel(digest, home)
    if wheel is not None and _sha256(wheel) != digest.rpartition(":")[2]:
        remove_tree(wheel.parent)


def _place(digest: str, home: Home) -> Path:
    return home.wheels / ".kept" / digest.rpartition(":")[2]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_building: contextvars.ContextVar[tuple[tuple[str, str], ...]] = contextvars.ContextVar(
    "building", default=()
)


@contextmanager
def _no_circle(name: str, key: str) -> Iterator[None]:
    """Refuse to build what is being built: something that it needs for that needs it."""
    around = _building.get()
    keys = [each for _, each in around]
    if key in keys:
        circle = [each for each, _ in around[keys.index(key) :]] + [name]
        raise EnvironmentBroken(
            f"`{name}` cannot be built: it needs itself for that",
            why="\n".join(f"`{one}` needs `{other}` to be built" for one, other in pairwise(circle)),
            mend=f"ask for a version of {' or '.join(f'`{each}`' for each in sorted(set(circle)))} that has a wheel",
        )
    token = _building.set((*around, (name, key)))
    try:
        yield
    finally:
        _building.reset(token)


def _builder_of(source: SourceTree, choice: Choice, wish: Wish, what: str) -> Locked:
    """The environment that builds a source: what it says it needs, and what its backend asks for besides."""
    needs = _needs(source, wish)
    builder = _lock_builder(choice, source.place(needs), wish)
    if builder.digest not in needs.dynamic:
        with locked(wish.home.wheels / ".locks" / source.key):
            needs = _needs(source, wish)
            if builder.digest not in needs.dynamic:
                needs = _ask(source, needs, builder, what, wish)
    asked = needs.dynamic[builder.digest]
    if asked:
        builder = _lock_builder(choice, source.place(needs, asked), wish)
    keep_builder(builder, wish.home)
    return builder


def _ask(source: SourceTree, needs: Needs, builder: Locked, what: str, wish: Wish) -> Needs:
    """Add what the backend says it needs besides."""
    hook = "get_requires_for_build_wheel"
    answer = _call(hook, source, needs, builder, what, wish)
    asked = tuple(each for each in msgspec.convert(answer or [], list[str]) if each not in needs.requires)
    needs = msgspec.structs.replace(needs, dynamic={**needs.dynamic, builder.digest: asked})
    remember(_needs_file(source, wish), msgspec.json.encode(needs))
    return needs


def _call(
    hook: str,
    source: SourceTree,
    needs: Needs,
    builder: Locked,
    what: str,
    wish: Wish,
    out: Path | None = None,
) -> Any:
    try:
        return call_hook(
            hook,
            needs.backend,
            source.folder(),
            builder,
            wish.home,
            settings=source.settings,
            out=out,
            offline=wish.offline,
        )
    except BackendFailed as failure:
        lines = [line for line in uv.without_credentials(failure.output).splitlines() if line.strip()]
        said = lines[-12:] or [f"its backend ended with exit code {failure.code} and said nothing"]
        used = ", ".join(f"{each.name} {each.version}" for each in builder.packages)
        told = f"built with: {used or 'the standard library alone, as its source asks'}"
        # What is known of the failures of builds is known of those that uv makes.
        text = "\n".join([f"error: Failed to build `{source.name}`", *lines])
        known = uv.explain(uv.Result(failure.code, "", text), wish.name)
        if not isinstance(known, EnvironmentBroken):
            raise known from failure
        mend = known.mend
        if source.is_local and "a version that has a wheel" in mend:
            # Of a local package there is no such version; what the build lacks of the system is told all the same.
            lacks, found, _ = mend.partition(", or ask for a version that has a wheel")
            mend = lacks if found else "mend its build, or install what it lacks"
        raise EnvironmentBroken(
            f"{what} comes as source, and does not build", why="\n".join([*said, told]), mend=mend
        ) from failure


def _needs_file(source: SourceTree, wish: Wish) -> Path:
    return wish.home.cache / "requires" / f"{source.key}.json"


def _needs(source: SourceTree, wish: Wish) -> Needs:
    content = read_bytes(_needs_file(source, wish))
    if content is not None:
        try:
            return source.needs(msgspec.json.decode(content, type=Needs))
        except msgspec.MsgspecError:
            pass  # torn, or of an earlier form: read again
    return source.needs(None)


def _lock_builder(choice: Choice, wanted: Placed, wish: Wish) -> Locked:
    from tilth.environments import locks, pylocks, resolution

    declaration = {
        **wish.declared(),
        "name": f"build-{choice.name}",
        "requirements": list(wanted.lines),
        "constraints": uv_settings.build_constraints(wish.root),
    }
    # Of the environment's packages with an index of their own, those alone that build this: each is asked for.
    names = {normalised(re.split(r"[\s=<>!~;@\[(]", line, maxsplit=1)[0]) for line in wanted.lines}
    single = {name: url for name, url in wish.index.single.items() if name in names}
    declaration["package_indexes"] = {**single, **wanted.indexes}
    place: dict[str, Any] = {"root": wish.root, "interpreter": wish.interpreter, "home": wish.home}
    found = locks.find_lock(declaration, **place)
    if found is not None:
        return found
    try:
        # What comes as source among them is built before the lock is taken that is held while it is made: or two
        # processes that go round a circle from opposite sides would wait for each other.
        text = resolution.resolve(declaration, **place, offline=wish.offline)
        for each in pylocks.choose(text, declaration["name"], wish.interpreter):
            if not each.is_wheel:
                build(each, wish)
        return locks.lock(declaration, **place, offline=wish.offline)
    except TilthError as error:
        needed = f"`{choice.name}` of environment `{wish.name}` comes as source, and needs it to be built"
        if needed not in error.why and "needs itself" not in error.summary:
            error.why = "\n".join(filter(None, (error.why, needed)))
        raise


def _read(remembered: Path, wish: Wish) -> Built | None:
    content = read_bytes(remembered)
    if content is None:
        return None
    try:
        built = msgspec.json.decode(content, type=Built)
    except msgspec.MsgspecError:
        return None
    # A wheel that was unpacked is as good as the file it came from.
    entry = wish.home.wheels / built.digest.rpartition(":")[2] / wish.interpreter.cache_tag / "entry.json"
    if not entry.exists() and kept_wheel(built.digest, wish.home) is None:
        return None
    return built


def _make(source: SourceTree, builder: Locked, choice: Choice, wish: Wish, what: str) -> Built:
    home = wish.home
    needs = _needs(source, wish)
    with scratch(home.wheels) as aside:
        out = aside / "out"
        out.mkdir()
        _call("build_wheel", source, needs, builder, what, wish, out=out)
        wheels = sorted(out.glob("*.whl"))
        if len(wheels) != 1:
            raise EnvironmentBroken(
                f"building {what} gave {len(wheels)} wheels", why=f"its backend is `{needs.backend.name}`"
            )
        return _keep(wheels[0], wheels[0].name, choice, home, what, builder=builder.digest)


def _keep(wheel: Path, file: str, choice: Choice, home: Home, what: str, *, builder: str) -> Built:
    """Put a copy of a wheel where `kept_wheel` finds it, under the name `file`."""
    name, version = _name_and_version(file, choice, what)
    bare = _sha256(wheel)
    kept = _place(bare, home)
    with scratch(home.wheels) as aside, locked(home.wheels / ".locks" / f"kept-{bare}"):
        if not kept.exists():
            only = aside / "only"
            only.mkdir()
            shutil.copyfile(wheel, only / file)
            (only / file).chmod(0o444)
            move_folder(only, kept)
    size = wheel.stat().st_size
    return Built(name=name, version=version, digest=f"sha256:{bare}", file=file, size=size, builder=builder)


def _name_and_version(file: str, choice: Choice, what: str) -> tuple[str, str]:
    from packaging.version import InvalidVersion, Version

    match = _WHEEL.fullmatch(file)
    if match is None:
        raise EnvironmentBroken(f"building {what} gave `{file}`, which is no name of a wheel")
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    version = match["version"]
    try:
        fits = not choice.version or Version(version) == Version(choice.version)
    except InvalidVersion:
        fits = version == choice.version
    if name != choice.name or not fits:
        wanted = f"{choice.name} {choice.version}".strip()
        raise EnvironmentBroken(
            f"building {what} gave another package",
            why=f"wanted: `{wanted}`; built: `{name} {version}`",
            mend="correct the name in the requirement, or in the source of the package",
        )
    return name, version
