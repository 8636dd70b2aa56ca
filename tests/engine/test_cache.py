"""Keys and reasons: pure decisions, for all inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from tilth.engine import cache
from tilth.ir.pipeline import Node, Output, Pipeline
from tilth.records import Package, State, StepRun

parts = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)
NODE = Node(id="fit", function="steps:fit", outputs=(Output(name="output"),))
PIPELINE = Pipeline(
    name="p",
    function="steps:p",
    nodes=(NODE,),
    sources={"steps": "1", "helper": "2", "other": "3"},
    closures={"steps": ("steps", "helper"), "other": ("other",)},
)


def fixed(pipeline: Pipeline = PIPELINE, node: Node = NODE, **options: object) -> dict[str, str]:
    given: dict[str, object] = {"environment": "", "packages": (), "python": "3.11", "bundle": "b", **options}
    return cache.fixed_parts(pipeline, node, **given)  # type: ignore[arg-type]


@given(parts)
def test_a_key_does_not_depend_on_the_order_of_its_parts(found: dict[str, str]) -> None:
    assert cache.key(found) == cache.key(dict(reversed(found.items())))


@given(parts, parts)
def test_two_keys_are_equal_only_when_all_parts_are(one: dict[str, str], other: dict[str, str]) -> None:
    assert (cache.key(one) == cache.key(other)) == (one == other)


@given(parts, parts)
def test_every_difference_is_named_up_to_four(one: dict[str, str], other: dict[str, str]) -> None:
    before = StepRun(run="r", step="s", state=State.COMPLETED, cache_key="k", cache_parts=other)
    told = cache.explain(one, before)
    differing = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if not other:
        assert told == "its last run was not recorded with what it depends on"
    elif not differing:
        assert told == "its stored outputs are gone"
    elif len(differing) <= 4:
        for name in differing:
            assert name in told
    else:
        assert told.endswith(f"{len(differing) - 4} more")


def test_many_packages_do_not_hide_what_else_has_changed() -> None:
    many = {f"package `{name}`": "1" for name in "abcdef"}
    before = StepRun(run="r", step="s", state=State.COMPLETED, cache_parts={"Python": "3.10", **many})
    told = cache.explain({"Python": "3.11", "extra": "1", "package `z`": "1"}, before)
    assert told == "Python changed, extra is new, package `z` is new, 6 packages are gone"


@pytest.mark.parametrize(
    "other",
    [
        fixed(replace(PIPELINE, sources={**PIPELINE.sources, "helper": "changed"})),
        fixed(replace(PIPELINE, dynamic=("helper",))),
        fixed(node=replace(NODE, extra={"a": 1})),
        fixed(node=replace(NODE, materializers={"steps:Mine": 2})),
        fixed(node=replace(NODE, outputs=(Output(name="other"),))),
        fixed(python="3.12"),
        fixed(node=replace(NODE, environment="e"), environment="sha256:1"),
        fixed(packages=[Package(name="numpy", version="2.0")]),
    ],
)
def test_what_a_step_depends_on_changes_its_key(other: dict[str, str]) -> None:
    assert cache.key(other) != cache.key(fixed())


@pytest.mark.parametrize(
    "same",
    [
        fixed(replace(PIPELINE, sources={**PIPELINE.sources, "other": "changed"})),
        fixed(replace(PIPELINE, name="renamed", tags=("t",))),
        fixed(
            node=replace(
                NODE, id="fit_2", tags=("t",), retry={"max_retries": 3}, timeout_s=1.0, worker="fresh"
            )
        ),
        fixed(node=replace(NODE, resources={"cpu": 2})),
        fixed(bundle="other"),
    ],
)
def test_what_a_step_does_not_depend_on_leaves_its_key(same: dict[str, str]) -> None:
    assert cache.key(same) == cache.key(fixed())
