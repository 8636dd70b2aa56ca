"""Durations, sizes, resources and retries."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies

from tilth.define.quantities import Resources, Retry, byte_count, seconds
from tilth.errors import DefinitionError, UnknownOption


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0), (1.5, 1.5), ("90", 90), ("90s", 90), ("30m", 1800), ("30min", 1800), ("1h30m", 5400),
        ("1 h 30 m", 5400), ("500ms", 0.5), ("2d", 172800), ("0.5h", 1800), (timedelta(minutes=2), 120),
    ],
)  # fmt: skip
def test_a_duration_is_read(value: Any, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "s", "5x", "5 parsecs", "-5s", "-5", -1, "1h-30m", "1.2.3s", "nan", "inf", "1e3s", True, None,
        [], float("nan"), float("inf"), 10**400, "9" * 400 + "s", timedelta(seconds=-1), "5s later",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(DefinitionError, match="is no timeout") as caught:
        seconds(value, "timeout")
    assert caught.value.mend


@given(strategies.integers(0, 99), strategies.integers(0, 59), strategies.integers(0, 59))
def test_a_duration_in_parts_is_their_sum(hours: int, minutes: int, left: int) -> None:
    same = timedelta(hours=hours, minutes=minutes, seconds=left)
    assert seconds(f"{hours}h{minutes}m{left}s") == seconds(same)
    assert seconds(f"{hours}h {minutes}min {left}s") == seconds(
        timedelta(hours=hours, minutes=minutes, seconds=left)
    )


@given(
    strategies.one_of(strategies.text(), strategies.integers(), strategies.floats(), strategies.booleans())
)
def test_a_duration_is_a_finite_number_or_refused(value: Any) -> None:
    try:
        found = seconds(value)
    except DefinitionError:
        return
    assert 0 <= found < float("inf")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0), (17, 17), ("17", 17), ("17B", 17), ("4GiB", 4 << 30), ("4 GiB", 4 << 30), ("4gib", 4 << 30),
        ("500MB", 500_000_000), ("500mb", 500_000_000), ("1.5G", 3 << 29), ("2Ti", 2 << 40), ("1KB", 1000),
        ("1k", 1024),
    ],
)  # fmt: skip
def test_a_size_is_read(value: Any, expected: int) -> None:
    assert byte_count(value) == expected


@pytest.mark.parametrize(
    "value", ["", "GiB", "4 GiBs", "1.2.3G", "-4G", -4, 4.5, True, None, "inf", "9" * 400, "4G 3M", "½G"]
)
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(DefinitionError, match="is no size"):
        byte_count(value)


@given(strategies.integers(0, 1 << 50), strategies.sampled_from(["", "B", "K", "KiB", "MB", "GB", "Ti"]))
def test_a_size_with_a_unit_is_that_many(amount: int, unit: str) -> None:
    one = byte_count(f"1{unit}")
    assert abs(byte_count(f"{amount}{unit}") - amount * one) <= amount * one * 1e-15


@given(strategies.text())
def test_text_is_a_size_or_refused(value: str) -> None:
    with contextlib.suppress(DefinitionError):
        assert byte_count(value) >= 0


@pytest.mark.parametrize(
    "given_",
    [
        {"cpu": -1}, {"cpu": "2"}, {"cpu": True}, {"cpu": float("nan")}, {"cpu": float("inf")}, {"gpu": 0.5},
        {"gpu": -1}, {"gpu": True}, {"memory": "much"}, {"memory": -1}, {"memory": 1.5}, {"memory": 0},
    ],
)  # fmt: skip
def test_resources_that_no_machine_could_give_are_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        Resources(**given_)


@pytest.mark.parametrize(
    "given_",
    [
        {"max_retries": -1}, {"max_retries": 1.5}, {"max_retries": True}, {"max_retries": "3"}, {"delay": "soon"},
        {"backoff": 0.5}, {"backoff": float("inf")}, {"backoff": True}, {"max_delay": -1},
    ],
)  # fmt: skip
def test_retries_that_make_no_sense_are_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        Retry(**given_)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="`Resources` has no option `memry`") as caught:
        Resources(memry="4GiB")  # type: ignore[arg-type]
    assert caught.value.mend == "did you mean `memory`?"
    with pytest.raises(UnknownOption) as caught:
        Retry(retries=3)  # type: ignore[arg-type]
    assert caught.value.mend == "did you mean `max_retries`?"


@given(
    strategies.builds(
        Resources,
        cpu=strategies.floats(0, 100),
        memory=strategies.none() | strategies.integers(1),
        gpu=strategies.integers(0, 8),
    ),
    strategies.builds(Resources, cpu=strategies.integers(0, 3), gpu=strategies.integers(0, 2)),
)
def test_equal_resources_are_those_that_ask_for_the_same(one: Resources, other: Resources) -> None:
    assert (one == other) == (one.to_json() == other.to_json())
    assert hash(one) == hash(Resources(**one.to_json()))  # type: ignore[arg-type]
    assert one == Resources(**one.to_json())  # type: ignore[arg-type]


def test_equal_retries_are_those_that_do_the_same() -> None:
    assert Retry(3, delay="1m") == Retry(3, delay=60)
    assert hash(Retry(3, max_delay="5m")) == hash(Retry(3))
    assert Retry(3) != Retry(2)
    assert repr(Retry(2, delay="1s")) == "Retry(2, delay=1.0, backoff=2)"
    assert repr(Resources(memory="1KiB")) == "Resources(cpu=1, memory=1024, gpu=0)"
