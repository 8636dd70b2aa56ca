"""The rule of layers, for any set of packages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from tilth.errors import DefinitionError
from tilth.images.grouping import OURS, SHARED, early_ones, group, room_above
from tilth.images.settings import MOST_LAYERS

names = st.integers(0, 100_000).map(lambda number: f"package-{number}")
sizes = st.dictionaries(names, st.integers(0, 10**9), min_size=0, max_size=300)
rooms = st.integers(1, 97)


def changed(before: list[tuple[str, ...]], after: list[tuple[str, ...]], name: str) -> set[tuple[str, ...]]:
    """The layers that have to be sent: those that were not there, and those with the package that changed."""
    return {each for each in after if name in each or each not in before}


@settings(deadline=None)
@given(sizes, rooms)
def test_every_package_is_in_one_layer_and_there_are_not_too_many(sizes: dict[str, int], room: int) -> None:
    groups = group(sizes, room)
    assert sorted(name for each in groups for name in each) == sorted(sizes)
    assert len(groups) <= room
    assert all(each for each in groups)


@settings(deadline=None)
@given(sizes, rooms, st.randoms())
def test_the_order_of_packages_does_not_matter(sizes: dict[str, int], room: int, random: object) -> None:
    shuffled = list(sizes.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert group(dict(shuffled), room) == group(sizes, room)


@settings(deadline=None)
@given(sizes, rooms)
def test_while_there_is_room_each_has_its_own(sizes: dict[str, int], room: int) -> None:
    if len(sizes) <= room:
        assert group(sizes, room) == [(name,) for name in sorted(sizes)]


@settings(deadline=None)
@given(sizes, rooms, names, st.integers(0, 10**9))
def test_one_package_more_or_less_changes_three_layers_at_most(
    sizes: dict[str, int], room: int, name: str, size: int
) -> None:
    without = {key: value for key, value in sizes.items() if key != name}
    bigger = {**without, name: size}
    if len(without) == room:
        return  # where sharing begins: see below
    added = changed(group(without, room), group(bigger, room), name)
    assert len(added) <= 2
    taken = changed(group(bigger, room), group(without, room), name)
    assert len(taken) <= 2


@settings(deadline=None)
@given(sizes, rooms, st.data())
def test_a_bump_changes_three_layers_at_most(sizes: dict[str, int], room: int, data: st.DataObject) -> None:
    if not sizes:
        return
    name = data.draw(st.sampled_from(sorted(sizes)))
    bumped = {**sizes, name: data.draw(st.integers(0, 10**9))}
    assert len(changed(group(sizes, room), group(bumped, room), name)) <= 3


@settings(deadline=None)
@given(st.dictionaries(names, st.integers(1, 10**9), min_size=60, max_size=98))
def test_where_sharing_begins_only_the_smallest_move(sizes: dict[str, int]) -> None:
    room = len(sizes) - 1
    moved = {name for each in group(sizes, room) if len(each) > 1 for name in each}
    smallest = sorted(sizes, key=lambda name: (-sizes[name], name))[-(SHARED + 1) :]
    assert moved <= set(smallest)


def test_a_large_package_never_shares_a_layer_with_a_small_one() -> None:
    sizes = {f"small-{index}": 1000 for index in range(200)} | {"large": 10**8, "larger": 10**9}
    groups = group(sizes, 50)
    assert ("large",) in groups
    assert ("larger",) in groups


@settings(deadline=None)
@given(st.integers(0, 120))
def test_the_bases_layers_and_ours_are_counted(base: int) -> None:
    if base + OURS + 1 > MOST_LAYERS:
        with pytest.raises(DefinitionError, match="layers"):
            room_above(base, "huge")
    else:
        assert base + OURS + room_above(base, "some") == MOST_LAYERS < 100


@settings(deadline=None)
@given(sizes, rooms)
def test_what_is_packed_early_has_a_layer_of_its_own_where_sizes_are_as_they_seem(
    sizes: dict[str, int], room: int
) -> None:
    early = early_ones(sizes, room)
    assert {(name,) for name in early} <= set(group(sizes, room))
    if len(sizes) <= room:
        assert early == set(sizes)
