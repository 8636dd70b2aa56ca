"""The compiled pipeline: plain data that reads back equal, and graphs that cannot run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from tilth.errors import DefinitionError
from tilth.ir.pipeline import Node, Output, Pipeline, check, references
from tilth.ir.values import encode

TEXT = strategies.text(max_size=8)
NAMES = strategies.from_regex(r"[a-z][a-z_0-9]{0,6}", fullmatch=True)
LITERALS = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | TEXT,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
).map(encode)


@strategies.composite
def pipelines(draw: Any) -> Pipeline:
    """Graphs that can run: each step may use outputs of those before it."""
    environments = draw(strategies.lists(NAMES, unique=True, max_size=2))
    nodes: list[Node] = []
    for name in draw(strategies.lists(NAMES, unique=True, max_size=4)):
        outputs = draw(strategies.lists(NAMES, unique=True, max_size=2))
        inputs = draw(strategies.dictionaries(NAMES, LITERALS, max_size=2))
        given_ = [(node.id, output.name) for node in nodes for output in node.outputs]
        if given_:
            used = draw(strategies.lists(strategies.sampled_from(given_), max_size=2))
            inputs["used"] = [{"$output": list(each)} for each in used]
        nodes.append(
            Node(
                id=name,
                function=f"module:{name}",
                inputs=inputs,
                outputs=tuple(Output(each, type=draw(TEXT), tags=(draw(TEXT),)) for each in outputs),
                map=tuple(sorted(inputs))[: draw(strategies.integers(0, 1))],
                after=tuple(node.id for node in nodes if draw(strategies.booleans())),
                environment=draw(strategies.sampled_from([None, *environments])),
                cache=draw(strategies.booleans()),
                timeout_s=draw(strategies.none() | strategies.floats(0.1, 10)),
                tags=tuple(draw(strategies.lists(TEXT, max_size=2))),
                extra=draw(strategies.dictionaries(NAMES, LITERALS, max_size=1)),
            )
        )
    return Pipeline(
        name=draw(TEXT),
        function="module:flow",
        parameters=draw(strategies.dictionaries(NAMES, LITERALS, max_size=2)),
        nodes=tuple(nodes),
        environments={each: {"name": each} for each in environments},
        sources={"module": "sha256:1"},
        dynamic=tuple(draw(strategies.lists(NAMES, max_size=1))),
    )


@settings(max_examples=50)
@given(pipelines())
def test_a_pipeline_reads_back_equal_from_json(pipeline: Pipeline) -> None:
    text = json.dumps(pipeline.to_json())
    again = Pipeline.from_json(json.loads(text))
    assert again == pipeline
    assert again.digest() == pipeline.digest()


@settings(max_examples=50)
@given(pipelines(), strategies.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_names(pipeline: Pipeline, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(each)) for key, each in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(each) for each in value] if isinstance(value, list) else value

    data = json.loads(json.dumps(pipeline.to_json()))
    assert Pipeline.from_json(shuffled(data)).digest() == pipeline.digest()


@settings(max_examples=50)
@given(pipelines())
def test_each_step_waits_for_what_it_uses(pipeline: Pipeline) -> None:
    before: set[str] = set()
    for node in pipeline.nodes:
        assert node.upstream() <= before
        assert node.upstream() == set(node.after) | {name for name, _ in node.sources()}
        before.add(node.id)


def test_any_change_of_the_graph_changes_the_digest() -> None:
    node = Node(id="a", function="m:a", inputs={"x": 1}, outputs=(Output("o"),))
    base = Pipeline(name="p", function="m:p", nodes=(node,))
    changed = [
        replace(base, name="q"),
        replace(base, parameters={"x": 1}),
        replace(base, nodes=(replace(node, inputs={"x": 1.0}),)),
        replace(base, nodes=(replace(node, inputs={"x": True}),)),
        replace(base, nodes=(replace(node, cache=False),)),
        replace(base, nodes=(replace(node, outputs=(Output("o", tags=("t",)),)),)),
        replace(base, nodes=(replace(node, secrets={"A": "a"}),)),
        replace(base, nodes=(replace(node, secrets={"A": "b"}),)),
        replace(base, sources={"m": "sha256:1"}),
    ]
    assert len({each.digest() for each in [base, *changed]}) == len(changed) + 1


def test_a_pipeline_without_secrets_is_written_and_read_as_before_there_were_any() -> None:
    pipeline = Pipeline(name="p", function="m:p", nodes=(Node(id="a", function="m:a"),))
    data = pipeline.to_json()
    assert "secrets" not in data["nodes"][0]
    assert Pipeline.from_json(data) == pipeline
    with_one = replace(pipeline, nodes=(Node(id="a", function="m:a", secrets={"A": "a"}),))
    assert Pipeline.from_json(with_one.to_json()) == with_one


def test_references_are_found_at_any_depth_in_order() -> None:
    expression = {
        "$dict": [["k", {"$output": ["a", "x"]}], ["l", {"$tuple": [1, {"$output": ["b", "y"]}]}]],
        "z": None,
    }
    assert list(references(expression)) == [("a", "x"), ("b", "y")]
    assert list(references([{"$outputs": ["a", "x"]}, "$output", {"$output": ["c", "z"], "more": 1}])) == []


def using(name: str, *inputs: tuple[str, str], after: tuple[str, ...] = (), **more: Any) -> Node:
    expressions = {f"i{index}": {"$output": list(each)} for index, each in enumerate(inputs)}
    return Node(
        id=name, function=f"m:{name}", inputs=expressions, outputs=(Output("o"),), after=after, **more
    )


BROKEN = [
    ([using("a"), using("a")], "two steps of pipeline `p` have the id `a`"),
    ([using("a", ("b", "o"))], "step `a` needs output `o` of `b`, which does not exist"),
    ([using("b"), using("a", ("b", "x"))], "step `a` needs output `x` of `b`, which does not exist"),
    ([using("a", after=("b",))], "step `a` waits for `b`, which does not exist"),
    ([using("a", environment="x")], "step `a` names environment `x`, which is not declared"),
    ([using("a", ("a", "o"))], "wait for each other: `a` -> `a`"),
    ([using("a", ("b", "o")), using("b", ("a", "o"))], "wait for each other: `a` -> `b` -> `a`"),
    (
        [
            using("s"), using("a", ("s", "o"), after=("c",)), using("b", ("a", "o")), using("c", ("b", "o")),
            using("e", ("c", "o")),
        ],
        "wait for each other: `a` -> `c` -> `b` -> `a`",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_a_graph_that_cannot_run_is_refused(nodes: list[Node], told: str) -> None:
    pipeline = Pipeline(name="p", function="m:p", nodes=tuple(nodes))
    with pytest.raises(DefinitionError, match=told):
        check(pipeline)
    with pytest.raises(DefinitionError, match=told):
        Pipeline.from_json(json.loads(json.dumps(pipeline.to_json())))


def test_a_long_chain_is_no_cycle() -> None:
    nodes = [using("n0"), *(using(f"n{i}", (f"n{i - 1}", "o")) for i in range(1, 20_000))]
    check(Pipeline(name="p", function="m:p", nodes=tuple(reversed(nodes))))


def test_a_pipeline_of_another_version_is_refused() -> None:
    data = {**Pipeline(name="p", function="m:p").to_json(), "version": 99}
    with pytest.raises(DefinitionError, match="version `99`"):
        Pipeline.from_json(data)
