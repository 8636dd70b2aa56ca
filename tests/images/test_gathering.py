"""Which wheels are fetched together, and what is known of them when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st
from tests.images.locked import workshop as workshop

from tilth.environments.choices import Choice
from tilth.images.gathering import gather, shares
from tilth.images.settings import ImageSettings

if TYPE_CHECKING:
    from tests.images.locked import Workshop

    from tilth.images.layers import Wheel


def choice(name: str, size: int, wheel: bool = True) -> Choice:
    file = f"{name}-1-py3-none-any.whl" if wheel else f"{name}-1.tar.gz"
    return Choice(name, "1", f"sha256:{name}", file, f"{{ sha256 = {name} }}", size)


choices = st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), max_size=60).map(
    lambda found: [choice(f"p{number}", *each) for number, each in enumerate(found)]
)


@given(choices)
def test_everything_is_in_one_share_and_what_has_to_be_built_in_its_own(choices: list[Choice]) -> None:
    divided = shares(choices)
    assert sorted(each for share in divided for each in share) == sorted(choices)
    assert all(len({each.is_wheel for each in share}) == 1 for share in divided)


@given(choices, st.randoms())
def test_shares_do_not_depend_on_the_order(choices: list[Choice], random: object) -> None:
    shuffled = list(choices)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert shares(shuffled) == shares(choices)


def test_large_wheels_are_fetched_first_and_small_ones_together() -> None:
    sizes = {"small": 1_000, "huge": 900_000_000, "tiny": 10, "large": 30_000_000}
    divided = shares([choice(name, size) for name, size in sizes.items()])
    assert [[each.name for each in share] for share in divided] == [["huge"], ["large"], ["small", "tiny"]]


def test_each_wheel_is_told_of_when_it_is_there(workshop: Workshop) -> None:
    workshop.wheel("alpha", requires=["beta"])
    workshop.wheel("beta")
    came: dict[str, Wheel] = {}
    lock = workshop.lock("alpha")
    found, warnings = gather(
        lock, workshop.interpreter, ImageSettings(), workshop.home, came=came.__setitem__
    )
    assert came == found
    assert set(found) == {"alpha", "beta"}
    assert warnings == []
