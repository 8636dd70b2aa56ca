"""The wheels of a lock, unpacked in the store: fetched in a few shares, so that work on the first begins early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.environments import background, wheels as wheel_store
from tilth.environments.choices import Choice
from tilth.errors import EnvironmentBroken, SetupError
from tilth.images.layers import Wheel, lacks_bytecode
from tilth.images.overlaps import find_overlaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked
    from tilth.home import Home
    from tilth.images.settings import ImageSettings

_SHARE = 24_000_000  # bytes of wheels that are fetched together: more shares would cost a start of uv each
_FETCHING = 2  # shares at once: one unpacks while the next comes


def gather(
    lock: Locked,
    interpreter: Interpreter,
    settings: ImageSettings,
    home: Home,
    *,
    offline: bool = False,
    came: Callable[[str, Wheel], None] = lambda _name, _wheel: None,
) -> tuple[dict[str, Wheel], list[str]]:
    """The wheels of a lock by name, and what there is to warn of.

    Args:
        came: Called with each wheel and its name as it is there, from several threads; what it raises ends the
            gathering. Whether another wheel replaces files of it is not known then.
    """
    if settings.bytecode and wheel_store.compiler_of(interpreter, home) is None:
        raise SetupError(
            f"no Python {interpreter.minor} on this machine can write bytecode for environment `{lock.name}`",
            why="the image shall have it: `bytecode` is set",
            mend=f"install Python {interpreter.minor} here, or leave `bytecode` off",
        )
    choices = [
        Choice(each.name, each.version, each.digest, each.file, source, each.size, each.builder)
        for each, source in zip(lock.packages, lock.sources, strict=True)
    ]
    found: dict[str, Wheel] = {}

    def bring(share: Sequence[Choice]) -> None:
        brought = _bring(share, lock, interpreter, settings, home, offline)
        found.update(brought)
        for name, wheel in brought.items():
            came(name, wheel)

    background.at_once(bring, shares(choices), threads=_FETCHING)
    overlaps = find_overlaps({name: (each.tree, each.entry) for name, each in found.items()})
    for name, paths in overlaps.left_out.items():
        found[name] = msgspec.structs.replace(found[name], left_out=frozenset(paths))
    return found, overlaps.warnings


def shares(choices: Sequence[Choice]) -> list[list[Choice]]:
    """What is fetched together: the largest first, then more at a time. What has to be built comes by itself."""
    divided: list[list[Choice]] = []
    room = 0
    for choice in sorted(choices, key=lambda each: (not each.is_wheel, -each.size, each.name)):
        if room <= 0 or choice.is_wheel != divided[-1][0].is_wheel:
            divided.append([])
            room = _SHARE
        divided[-1].append(choice)
        room -= choice.size
    return divided


def _bring(
    choices: Sequence[Choice],
    lock: Locked,
    interpreter: Interpreter,
    settings: ImageSettings,
    home: Home,
    offline: bool,
) -> dict[str, Wheel]:
    """Wheels that are whole: what was changed since it was unpacked is fetched again, once."""
    for attempt in range(2):
        wheel_store.fetch(
            choices,
            interpreter,
            home,
            name=lock.name,
            index=lock.index,
            offline=offline,
            bytecode=settings.bytecode,  # writing it takes longer than all else
        )
        brought: dict[str, Wheel] = {}
        for choice in choices:
            folder = wheel_store.entry_folder(choice.digest, interpreter, home)
            entry = wheel_store.read_entry(folder)
            whole = entry is not None and not wheel_store.changed(folder, entry)
            if entry is not None and settings.bytecode and not attempt:
                whole = whole and not lacks_bytecode(entry, interpreter.library)
            if entry is not None and whole:
                brought[choice.name] = Wheel(entry=entry, tree=folder / "tree", bytecode=settings.bytecode)
            elif attempt:
                raise EnvironmentBroken(
                    f"the image of environment `{lock.name}` cannot be made",
                    why=f"files of `{choice.name}` in `{home.wheels}` change while they are used",
                )
            else:
                wheel_store.discard(folder, home)  # fetched again
        if len(brought) == len(choices):
            break
    return brought
