"""What a step may ask and say while it runs."""

from __future__ import annotations

import datetime
import enum
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

import tilth
from tilth.errors import DefinitionError
from tilth.materializers.artifacts import read_manifest
from tilth.runtime import context
from tilth.runtime.folder import read_events

Steps = Any  # see conftest.py


def test_outside_a_step_there_is_no_context_and_metadata_goes_nowhere() -> None:
    with pytest.raises(DefinitionError, match="there is no step context here") as caught:
        tilth.get_step_context()
    assert caught.value.mend
    tilth.log_metadata({"a": 1})
    with pytest.raises(DefinitionError, match="there is no step context here"):
        tilth.save_artifact(1, "x")


@pytest.mark.parametrize("given_", [None, [("a", 1)], {1: 2}, "a"])
def test_metadata_is_a_dict_of_names(given_: Any) -> None:
    with pytest.raises(DefinitionError, match="takes a dict with texts as keys"):
        tilth.log_metadata(given_)


def test_a_step_sees_itself_and_the_parameters_as_they_were(steps: Steps) -> None:
    text = """
    from tilth import get_step_context
    def f():
        context = get_step_context()
        assert repr(context) == "<step `f`[3] of run `flow-1`, attempt 2>"
        given = context.parameters
        return [repr(given["path"]), given["rate"], context.extra, context.tags,
            context.index, context.run_id, context.pipeline]
    """
    result = steps.call(
        text, outputs=["output"], index=3, attempt=2, tags=["a"],
        parameters={"path": {"$path": "a/b"}, "rate": {"$float": "nan"}}, extra={"seen": {"$tuple": [1]}},
    )  # fmt: skip
    assert result["state"] == "completed", result
    path, rate, *rest = steps.output()
    assert path == "PosixPath('a/b')"
    assert math.isnan(rate)
    assert rest == [{"seen": (1,)}, ("a",), 3, "run", "flow"]
    with pytest.raises(DefinitionError):
        tilth.get_step_context()


def test_what_a_step_says_is_kept_in_order_also_when_it_fails(steps: Steps) -> None:
    result = steps.call(
        """
        from tilth import log_metadata, save_artifact
        def f():
            log_metadata({"a": 1})
            log_metadata({"b": [1, 2]}, output="model")
            log_metadata({"c": None}, run=True)
            save_artifact([1, 2], "checkpoint", tags=["t"], metadata={"epoch": 3})
            raise ValueError
        """,
        outputs=["model"],
    )
    assert result["state"] == "failed"
    events = read_events(steps.last)
    manifest = events[-1].pop("manifest")
    assert manifest["digest"] == read_manifest(steps.last / "saved" / "1")["digest"]
    assert events == [
        {"event": "metadata", "metadata": {"a": 1}},
        {"event": "metadata", "metadata": {"b": [1, 2]}, "output": "model"},
        {"event": "metadata", "metadata": {"c": None}, "run": True},
        {
            "event": "artifact",
            "folder": "saved/1",
            "name": "checkpoint",
            "tags": ["t"],
            "metadata": {"epoch": 3},
        },
    ]


def test_an_unknown_output_names_the_nearest(steps: Steps) -> None:
    text = "from tilth import log_metadata\ndef f(): log_metadata({'a': 1}, output='modle')"
    result = steps.call(text, outputs=["model"])
    assert result["message"] == "step `f` has no output `modle`"
    assert result["mend"] == "did you mean `model`?"


class Colour(enum.Enum):
    RED = 1


PLAIN = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text()
    | strategies.floats(allow_nan=False, allow_infinity=False),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
def test_plain_metadata_stays_as_it_is(value: Any) -> None:
    assert context._plain("key", value) == value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, 2), [1, 2]), ({1: {2}}, {"1": [2]}), (math.nan, "nan"), (-math.inf, "-inf"), (Path("a/b"), "a/b"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
    ],
)  # fmt: skip
def test_what_is_nearly_plain_is_made_so(value: Any, plain: Any) -> None:
    assert context._plain("key", value) == plain


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    given_ = {
        "a": numpy.float32(0.5),
        "b": numpy.arange(3),
        "c": numpy.bool_(True),
        "d": numpy.float64("nan"),
    }
    assert context._plain("key", given_) == {"a": 0.5, "b": [0, 1, 2], "c": True, "d": "nan"}


@pytest.mark.parametrize("value", [object(), {"a": [open]}, Colour.RED, b"x"])
def test_what_json_cannot_hold_is_told_by_its_key(value: Any) -> None:
    with pytest.raises(DefinitionError, match="metadata `key") as caught:
        tilth.log_metadata({"key": value})
    assert caught.value.mend
