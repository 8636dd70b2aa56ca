"""Which packages share a layer, decided so that one package that changes leaves the others' layers as they are.

Each has a layer of its own while there is room. When there is none for all, the smallest share a fixed number of
layers, each in the one that its name says: never by position, which every change would shift.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError
from tilth.images.settings import MOST_LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS = 2  # the skeleton, and the code: its place is kept whether it is there or not, or adding it would shift others
SHARED = 24  # layers for the small ones; more of them would leave fewer to packages alone


def room_above(base_layers: int, reference: str = "") -> int:
    """How many layers there may be for packages on a base.

    Raises:
        DefinitionError: None.
    """
    room = MOST_LAYERS - OURS - base_layers
    if room < 1:
        raise DefinitionError(
            f"the base `{reference}` has {base_layers} layers",
            why=f"container engines refuse images of more than about 125, so {MOST_LAYERS} is the most here, "
            f"of which an environment needs at least {OURS + 1}",
            mend="take a base of fewer layers, or make it one layer, for instance with `docker export`",
        )
    return room


def group(sizes: Mapping[str, int], room: int) -> list[tuple[str, ...]]:
    """Names of packages by layer: at most `room` groups, each sorted, in the order of their first names.

    One package that is added, taken away or bumped changes its own layer. When they are too many for a layer each,
    it may also change the layers of the one or two that it moves between the lone and the shared.

    Args:
        sizes: Name -> bytes it unpacks to.
        room: The most layers, at least 1.
    """
    names = sorted(sizes, key=lambda name: (-sizes[name], name))  # biggest first
    shared = min(SHARED, -(-room // 3)) if len(names) > room else 0
    alone = names[: room - shared] if shared else names
    buckets: dict[int, list[str]] = {}
    for name in names[len(alone) :]:
        buckets.setdefault(_bucket(name, shared), []).append(name)
    return sorted([*((name,) for name in alone), *(tuple(sorted(each)) for each in buckets.values())])


def early_ones(sizes: Mapping[str, int], room: int) -> set[str]:
    """Those that will have a layer of their own, as far as sizes of packed wheels tell; sizes of unpacked ones decide.

    Args:
        sizes: Name -> bytes of the wheel; 0 where it is not known.
    """
    if len(sizes) <= room:
        return set(sizes)
    alone = room - min(SHARED, -(-room // 3))
    # The larger half of those alone: wheels are packed to a third on average, and hardly ever to a tenth.
    return set(sorted(sizes, key=lambda name: (-sizes[name], name))[: alone // 2])


def _bucket(name: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % buckets
