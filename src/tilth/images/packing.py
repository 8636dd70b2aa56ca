"""The layers of one image, made by several threads: that of a wheel as soon as it is there, where it has its own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tilth.environments import background
from tilth.images.grouping import group
from tilth.images.layers import Wheel, code_layer, skeleton_layer, wheels_layer
from tilth.images.settings import CODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home
    from tilth.images.settings import ImageSettings
    from tilth.oci.layers import Layer

_Key: TypeAlias = tuple[tuple[str, frozenset[str]], ...]

_NAMED = 3  # packages that the title of a shared layer names


class Packed(NamedTuple):
    """A layer, and what is in it."""

    title: str
    layer: Layer
    now: bool  # whether it was made now, and not found


class Packing:
    """The layers that are made for one image, while the block runs; those that are being made then are ended.

    Args:
        note: Called with each layer as it is there, once, from several threads.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        settings: ImageSettings,
        home: Home,
        note: Callable[[Packed], None] = lambda _: None,
    ) -> None:
        cores = os.cpu_count() or 1
        self._interpreter = interpreter
        self._settings = settings
        self._home = home
        self._note = note
        self._crew = background.Crew(cores)
        self._compressing = ThreadPoolExecutor(cores, thread_name_prefix="layers")
        self._begun: set[_Key] = set()
        self._made: dict[_Key, Packed] = {}

    def __enter__(self) -> Packing:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()
        self._compressing.shutdown()

    def begin(self, *wheels: Wheel) -> None:
        """Make a layer of wheels in the background; once, however often it is asked for.

        Raises:
            BaseException: What made another one fail.
        """
        key = _key(wheels)
        if key not in self._begun:
            self._begun.add(key)
            # Biggest first, or the last to begin would be waited for alone.
            self._crew.begin(lambda: self._make(wheels), urgency=sum(each.size for each in wheels))

    def finish(self, wheels: Mapping[str, Wheel], room: int, code: Path | None) -> list[Packed]:
        """All layers, in their order in the image.

        Args:
            wheels: By name of their packages.
            room: The most layers of wheels.
            code: A bundle whose files are the last layer.
        """
        names = group({name: wheel.size for name, wheel in wheels.items()}, room)
        groups = [[wheels[name] for name in each] for each in names]
        for members in groups:
            self.begin(*members)
        first = self._noted("skeleton", *skeleton_layer(self._interpreter, self._settings, self._home))
        self._crew.wait()
        packed = [first, *(self._made[_key(members)] for members in groups)]
        if code is not None:
            packed.append(self._noted("code", *code_layer(code, CODE, self._settings, self._home)))
        return packed

    def _make(self, wheels: Sequence[Wheel]) -> None:
        layer, now = wheels_layer(wheels, self._interpreter, self._settings, self._home, self._compressing)
        self._made[_key(wheels)] = self._noted(_title(wheels), layer, now)

    def _noted(self, title: str, layer: Layer, now: bool) -> Packed:
        packed = Packed(title, layer, now)
        self._note(packed)
        return packed


def _key(wheels: Sequence[Wheel]) -> _Key:
    return tuple((each.entry.digest, each.left_out) for each in wheels)


def _title(members: Sequence[Wheel]) -> str:
    if len(members) == 1:
        return f"{members[0].entry.name} {members[0].entry.version}"
    names = [each.entry.name for each in members]
    return f"{len(names)} packages: " + ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
