"""Room on one machine: never more is taken than there is, and all of it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tilth.engine.resources import Capacity, this_machine
from tilth.errors import SetupError
from tilth.ir.pipeline import Node

GIB = 1 << 30
asked = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from([0.1, 0.5, 1, 2, 3.3, 8]),
        "memory": st.sampled_from([0, 1, GIB, 3 * GIB, 8 * GIB]),
        "gpu": st.sampled_from([0, 1, 2]),
    },
)


def node(**resources: float) -> Node:
    return Node(id="step", function="m:f", resources=dict(resources))


@given(st.lists(asked, max_size=30))
def test_what_is_taken_fits_and_all_of_it_comes_back(all_asked: list[dict[str, float]]) -> None:
    capacity = Capacity(4, 8 * GIB, 2)
    nodes = [node(**each) for each in all_asked]
    taken = [each for each in nodes if capacity.take(each)]
    assert sum(min(each.resources.get("cpu", 1), 4) for each in taken) <= 4 + 1e-6
    assert sum(each.resources.get("memory", 0) for each in taken) <= 8 * GIB
    assert sum(each.resources.get("gpu", 0) for each in taken) <= 2
    for each in taken:
        capacity.give_back(each)
    assert capacity.take(node(cpu=4, memory=8 * GIB, gpu=2))


@given(asked)
def test_any_step_that_is_not_refused_fits_an_idle_machine(resources: dict[str, float]) -> None:
    capacity = Capacity(2, 4 * GIB, 1)
    try:
        capacity.check([node(**resources)])
    except SetupError:
        assert resources.get("memory", 0) > 4 * GIB or resources.get("gpu", 0) > 1
        return
    assert capacity.take(node(**resources))


def test_a_refusal_names_the_step_what_it_asks_for_and_what_there_is() -> None:
    with pytest.raises(SetupError) as refused:
        Capacity(2, 4 * GIB, 0).check([node(memory=40 * GIB)])
    assert "`step`" in refused.value.summary
    assert "40.0 GiB" in refused.value.why
    assert "4.0 GiB" in refused.value.why


def test_this_machine_has_memory() -> None:
    assert this_machine(2).memory > 1 << 28
    assert this_machine(2).cpu == 2
