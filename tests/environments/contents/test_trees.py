"""Why each package is in an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from tilth.environments.contents.lockfiles import markers
from tilth.environments.contents.trees import Graph, make_graph, tree_lines
from tilth.records import Package

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = [f"p{number}" for number in range(6)]


def graph_of(
    requires: Mapping[str, Sequence[str] | None], requirements: Sequence[str] = (), **more: Any
) -> Graph:
    """From METADATA lines by package; None where there is none."""
    return make_graph(
        [Package(name=name, version="1") for name in requires],
        requirements=requirements,
        locked=more.pop("locked", {}),
        metadata=lambda package: requires[package.name],
        markers=lambda: markers("3.11", "linux-x86_64"),
        **more,
    )


def drawn(graph: Graph) -> list[str]:
    return [f"{line.indent}{line.name} {line.note}".rstrip() for line in tree_lines(graph)]


def test_a_package_is_there_because_it_was_requested_or_another_requires_it() -> None:
    graph = graph_of({"pandas": ["numpy>=1.26", "six"], "numpy": [], "six": []}, ["Pandas<3", "numpy"])
    assert graph.why("pandas") == "requested: Pandas<3"
    assert graph.why("numpy") == "requested: numpy; required by pandas"
    assert graph.why("six") == "required by pandas"
    assert drawn(graph) == [
        "pandas requested: Pandas<3",
        "├── numpy >=1.26",
        "└── six",
        "numpy requested: numpy",
    ]


def test_markers_are_those_of_the_environment() -> None:
    lines = ["b; python_version < '3.11'", "c; sys_platform == 'linux'", "d; platform_machine == 'arm64'"]
    requires = {"a": lines, "b": [], "c": [], "d": []}
    assert graph_of(requires).requires["a"] == {"c": ""}
    here = make_graph(
        [Package(name=name, version="1") for name in requires],
        requirements=(),
        locked={},
        metadata=lambda package: requires[package.name],
        markers=lambda: markers("3.10", "macos-arm64"),
    )
    assert here.requires["a"] == {"b": "", "d": ""}


def test_an_extra_counts_when_somebody_asks_for_it_however_late() -> None:
    requires = {
        "a": ["b; extra == 'more'"],
        "b": [],
        "c": ["a[more]>=1"],
        "d": ["c"],
    }
    assert graph_of({name: requires[name] for name in "ab"}, ["a"]).requires["a"] == {}
    assert graph_of({name: requires[name] for name in "ab"}, ["a[More]"]).requires["a"] == {"b": ""}
    graph = graph_of(requires, ["d"])
    assert graph.requires["a"] == {"b": ""}
    assert graph.requires["c"] == {"a": "[more]>=1"}


def test_the_lock_is_asked_before_the_packages() -> None:
    graph = graph_of({"a": ["c"], "b": [], "c": []}, locked={"a": ("b",), "b": (), "c": None})
    assert graph.requires == {"a": {"b": ""}, "b": {}, "c": {}}


def test_what_is_not_known_is_said_and_not_guessed() -> None:
    graph = graph_of({"a": None, "b": []}, ["-r requirements.txt"])
    assert graph.unknown == ["a"]
    assert graph.why("b") == ""  # `a` may require it
    assert drawn(graph) == [
        "a why it is there is not known; what it requires is not known",
        "b why it is there is not known",
    ]
    # When all that packages require is known, only the file can have asked for the rest.
    assert graph_of({"a": ["c"], "b": [], "c": []}, ["-r requirements.txt"]).why("b") == (
        "requested in requirements.txt"
    )


def test_packages_that_require_each_other_end() -> None:
    graph = graph_of({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["d"]})
    assert drawn(graph) == [
        "a required by c",
        "└── b",
        "    └── c",
        "        └── a (as above)",
        "d required by d",
        "└── d (as above)",
    ]


def test_a_long_chain_is_no_matter_of_recursion() -> None:
    count = 3000
    requires = {f"p{n}": [f"p{n + 1}"] if n + 1 < count else [] for n in range(count)}
    assert len(drawn(graph_of(requires, ["p0"]))) == count


@pytest.mark.parametrize("line", ["./libs/features", "../x.whl", "-e .", "git+https://example.com/a"])
def test_what_names_no_package_is_no_reason_for_one(line: str) -> None:
    graph = graph_of({"libs": [], "git": [], "a": []}, [line])
    assert graph.requested == {}
    assert graph.sources == (line,)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES)), min_size=1), st.data())
def test_every_package_is_in_the_tree_and_expanded_once(requires: dict[str, list[str]], data: Any) -> None:
    asked = data.draw(st.lists(st.sampled_from(sorted(requires)), unique=True))
    graph = graph_of(requires, asked)
    lines = list(tree_lines(graph))
    assert {line.name for line in lines} == set(requires)
    edges = sum(len(needs or ()) for needs in graph.requires.values())
    tops = sum(not line.indent for line in lines)
    assert len(lines) == edges + tops
