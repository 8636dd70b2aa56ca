"""No way in which a value is usually written gets past the mask, and nothing else is changed."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, strategies as st

from tilth.runtime.masking import Mask

VALUE = 'hünter "2"\\ & co/+'


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        repr(VALUE),
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
    ],
)
def test_a_value_is_hidden_however_it_is_quoted(written: str) -> None:
    mask = Mask([VALUE])
    hidden = mask.text(f"before {written} after")
    assert "nter" not in hidden
    assert "***" in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert mask.bytes(written.encode()).decode() == mask.text(written)


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
def test_the_middle_of_a_value_is_hidden_in_basic_auth(user: str) -> None:
    header = base64.b64encode(f"{user}:correct-horse-battery".encode()).decode()
    hidden = Mask(["correct-horse-battery"]).text(f"Basic {header}").removeprefix("Basic ")
    left = hidden.split("***")
    assert len(left) == 2
    assert len(left[1]) <= 4
    assert b"orrec" not in base64.b64decode(left[0] + "=" * (-len(left[0]) % 4))


@given(
    value=st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4),
    before=st.text(), after=st.text(),
)  # fmt: skip
def test_a_value_is_hidden_wherever_it_stands(value: str, before: str, after: str) -> None:
    assume("*" not in value)
    assert value not in Mask([value]).text(before + value + after)


@given(st.lists(st.text("ab", min_size=4, max_size=8), min_size=1, max_size=4), st.text("abc ", max_size=60))
def test_values_that_overlap_leave_nothing_of_each_other(values: list[str], text: str) -> None:
    hidden = Mask(values).text(text)
    covered = set()
    for value in values:
        covered |= {
            at + i for at in range(len(text)) if text.startswith(value, at) for i in range(len(value))
        }
    kept = "".join(each for at, each in enumerate(text) if at not in covered)
    assert hidden.replace("***", "") == kept


def test_each_line_of_a_value_is_hidden() -> None:
    mask = Mask(["-----BEGIN KEY-----\nMIIEvQIBADANBg\n ab \n-----END KEY-----\n"])
    assert mask.text("MIIEvQIBADANBg\r") == "***\r"
    assert mask.text("about ab") == "about ab"  # too short to be one


def test_short_values_are_left_alone() -> None:
    mask = Mask(["abc", ""])
    assert not mask
    assert mask.text("abc") == "abc"


def test_json_is_hidden_in_keys_and_values_and_numbers_only_as_a_whole() -> None:
    mask = Mask(["12345678"])
    assert mask.plain({"a12345678": [12345678, 0.12345678, True, None, "x", ("12345678",)]}) == {
        "a***": ["***", 0.12345678, True, None, "x", ["***"]]
    }
    value = {"a": (1, 2)}
    assert Mask().plain(value) is value
