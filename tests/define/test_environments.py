"""Environments as declared: inert, equal when declared equal, never with a secret."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies

from tilth import Environment
from tilth.errors import DefinitionError, UnknownOption

if TYPE_CHECKING:
    from pathlib import Path

NAMES = strategies.from_regex(r"[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,2}", fullmatch=True)
WORDS = strategies.lists(strategies.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), max_size=3)
VARIABLES = strategies.dictionaries(
    strategies.from_regex(r"[A-Z_]{1,5}", fullmatch=True), strategies.text("abc =", max_size=5)
)
ENVIRONMENTS = strategies.builds(
    Environment,
    NAMES,
    requirements=WORDS,
    extras=WORDS,
    groups=WORDS,
    python=strategies.sampled_from([None, "3.10", "3.12.4"]),
    variables=strategies.none() | VARIABLES,
    find_links=WORDS,
)  # fmt: skip


@given(ENVIRONMENTS)
def test_an_environment_is_read_back_equal(environment: Environment) -> None:
    again = Environment.from_json(json.loads(json.dumps(environment.to_json())))
    assert again == environment
    assert hash(again) == hash(environment)
    assert pickle.loads(pickle.dumps(environment)) == environment
    assert copy.deepcopy(environment) == environment
    assert environment.with_options() == environment
    assert environment.with_options(name="other-name") != environment


def test_the_order_of_what_has_none_does_not_count() -> None:
    one = Environment("x", variables={"A": "1", "B": "2"}, python="3.12")
    other = Environment("x", python="3.12", variables={"B": "2", "A": "1"})
    assert one == other
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


def test_an_environment_does_not_change() -> None:
    environment = Environment("x", requirements=["a"])
    with pytest.raises(AttributeError, match="with_options"):
        environment.name = "y"
    with pytest.raises(AttributeError):
        del environment.name
    more = environment.with_requirements("b", name="y")
    assert more == Environment("y", requirements=["a", "b"])
    assert environment == Environment("x", requirements=["a"])
    assert Environment("x", requirements="base.txt").with_requirements("b").to_json()["requirements"] == [
        "-r base.txt",
        "b",
    ]


def test_a_declaration_looks_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = Environment(
        "x", requirements="nowhere.txt", pyproject=tmp_path / "none.toml", python="3.99"
    )
    assert environment.to_json()["requirements"] == "nowhere.txt"
    assert Environment("x", extras=["gpu"]).to_json()["pyproject"] == "pyproject.toml"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Training", {}), ("a b", {}), ("a--b", {}), ("-a", {}), ("", {}), (3, {}),
        ("x", {"requirements": "pandas<3"}), ("x", {"requirements": "numpy, pandas"}), ("x", {"requirements": [1]}),
        ("x", {"requirements": [""]}), ("x", {"requirements": 3}), ("x", {"extras": "gpu"}),
        ("x", {"groups": {"a": 1, 2: 3}}),
        ("x", {"python": 3.12}), ("x", {"python": "3"}), ("x", {"python": "3.9"}), ("x", {"python": ">=3.12"}),
        ("x", {"variables": {"A": 1}}), ("x", {"variables": {"A=B": "1"}}), ("x", {"variables": {"A": "\0"}}),
        ("x", {"pyproject": 3}), ("x", {"pyproject": ""}), ("x", {"find_links": "wheels"}),
        ("x", {"index_url": "https://user:hunter2@example.org/simple"}),
        ("x", {"extra_index_urls": ["https://token@example.org/simple"]}),
        ("x", {"requirements": ["a @ git+https://me:hunter2@example.org/a"]}),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(name: Any, options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError) as caught:
        Environment(name, **options)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownOption) as caught:
        Environment("x", requirement=["a"])  # type: ignore[arg-type]
    assert caught.value.mend == "did you mean `requirements`?"
