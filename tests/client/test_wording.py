from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tilth.client.wording import (
    assignments,
    clipped,
    counted,
    duration,
    moment,
    short_digest,
    size,
    value_text,
)
from tilth.ir.values import encode


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0451, "45 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (-0.001, "0 ms"),
    ],
)
def test_a_duration_reads_in_its_own_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (9949, "9.9 KB"),
        (9960, "10 KB"),
        (999_499, "999 KB"),
        (999_600, "1.0 MB"),
        (212_000_000, "212 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_has_three_digits_at_most(count: int, text: str) -> None:
    assert size(count) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert [counted(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert counted(2, "retry", "retries") == "2 retries"


def test_a_moment_is_in_the_readers_time_zone() -> None:
    when = datetime(2026, 5, 4, 12, 30, 15, tzinfo=timezone.utc)
    assert moment(when) == when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert moment(None) == ""


def test_a_short_digest_keeps_its_algorithm() -> None:
    assert short_digest("sha256:" + "0123456789abcdef" * 4) == "sha256:0123456789ab"
    assert short_digest("") == ""


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_clipped_text_is_one_line_that_fits_and_says_what_it_lacks(text: str, width: int) -> None:
    short = clipped(text, width)
    assert "\n" not in short
    assert len(short) <= width
    assert short.endswith("…") or short == text.strip()


def test_inputs_read_as_they_might_be_written() -> None:
    inputs = {
        "alpha": 0.1,
        "name": "é",
        "frame": {"$artifact": "sha256:" + "a" * 64, "id": "x", "from": "load.frame"},
        "later": {"$output": ["train", "model"]},
        "many": [{"$artifact": "sha256:" + "b" * 64, "from": "fold.part"}, 2],
        "large": {"$large": "sha256:1", "size": 5000},
        "nothing": None,
    }
    assert assignments(inputs) == (
        'alpha = 0.1, name = "é", frame = load.frame, later = train.model, '
        "many = [fold.part, 2], large = (5.0 KB), nothing = null"
    )


def test_a_long_value_is_cut() -> None:
    assert len(value_text("x" * 500)) == 80


class Colour(enum.Enum):
    RED = "r"


@dataclass
class Config:
    rate: float
    colour: Colour
    data: Path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Config(0.1, Colour.RED, Path("a/b")), "Config(rate=0.1, colour=Colour.RED, data=a/b)"),
        ((1, "x"), '(1, "x")'),
        (date(2026, 3, 1), "2026-03-01"),
        (float("nan"), "nan"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_a_value_reads_as_what_it_is_and_not_as_its_record(value: object, text: str) -> None:
    assert value_text(encode(value)) == text
