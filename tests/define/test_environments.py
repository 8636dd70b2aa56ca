"""How an environment is declared."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tilth.define.environments import Environment, option_names
from tilth.errors import DefinitionError, UnknownOption

texts = st.lists(st.from_regex(r"[a-z]{1,5}(==[0-9])?", fullmatch=True), max_size=3)
environments = st.builds(
    Environment,
    st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)?", fullmatch=True),
    requirements=texts | st.just("requirements.txt"),
    pyproject=st.sampled_from([None, "pyproject.toml"]),
    extras=texts,
    groups=texts,
    python=st.sampled_from([None, "3.12", "3.12.4"]),
    variables=st.none() | st.dictionaries(st.sampled_from(["A", "B"]), st.text("xyz")),
    find_links=texts,
    index_url=st.sampled_from([None, "https://example.org/simple"]),
    extra_index_urls=st.just(()) | st.just(["https://example.org/more"]),
)


@given(environments)
def test_it_reads_back_equal(environment: Environment) -> None:
    document = json.loads(json.dumps(environment.to_json()))
    for again in (
        Environment.from_json(document),
        pickle.loads(pickle.dumps(environment)),
        environment.with_options(),
    ):
        assert again == environment
        assert hash(again) == hash(environment)
        assert again.to_json() == environment.to_json()


@given(environments, environments)
def test_two_are_equal_when_declared_equal(one: Environment, other: Environment) -> None:
    assert (one == other) == (one.to_json() == other.to_json())


def test_the_json_holds_only_what_was_given() -> None:
    assert Environment("plain").to_json() == {"name": "plain"}
    assert list(
        Environment("full", variables={"B": "2", "A": "1"}, python="3.12", extras=["x"]).to_json()
    ) == [
        "extras",
        "name",
        "pyproject",
        "python",
        "variables",
    ]


def test_it_does_not_change() -> None:
    environment = Environment("training", requirements=["a"])
    with pytest.raises(AttributeError, match="with_options"):
        environment.name = "other"
    with pytest.raises(AttributeError):
        environment.anything = 1
    with pytest.raises(AttributeError):
        del environment.name


def test_others_are_derived_from_it() -> None:
    base = Environment("base", requirements=["a"], python="3.12")
    more = base.with_requirements("b<2", name="more")
    assert more == Environment("more", requirements=["a", "b<2"], python="3.12")
    assert base.to_json()["requirements"] == ["a"]
    assert base.with_options(python=None) == Environment("base", requirements=["a"])
    from_file = Environment("file", requirements=Path("deps") / "r.txt").with_requirements("b")
    assert from_file.to_json()["requirements"] == ["-r deps/r.txt", "b"]


def test_an_unknown_option_offers_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="`requirments`") as caught:
        Environment("training", requirments=["a"])
    assert "did you mean `requirements`?" in str(caught.value)
    with pytest.raises(UnknownOption):
        Environment("training").with_options(pyton="3.12")


def test_every_option_is_documented() -> None:
    assert Environment.__doc__ is not None
    assert all(f"        {option}: " in Environment.__doc__ for option in option_names())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Training", {}),
        ("", {}),
        ("a_b", {}),
        ("-a", {}),
        ("../a", {}),
        (None, {}),
        ("a", {"requirements": "pandas<3"}),
        ("a", {"requirements": [1]}),
        ("a", {"requirements": [""]}),
        ("a", {"requirements": 3}),
        ("a", {"extras": "one"}),
        ("a", {"pyproject": 1}),
        ("a", {"python": 3.12}),
        ("a", {"python": "3.9"}),
        ("a", {"python": "three"}),
        ("a", {"variables": {"A": 1}}),
        ("a", {"variables": {"A=B": "1"}}),
        ("a", {"index_url": "https://me:secret@example.org/simple"}),
        ("a", {"extra_index_urls": ["https://token@example.org/simple"]}),
        ("a", {"find_links": ["https://me:secret@example.org/"]}),
        ("a", {"requirements": ["x @ git+https://token@example.org/x"]}),
    ],
)
def test_what_cannot_be_is_refused_at_once(name: str, options: dict[str, object]) -> None:
    with pytest.raises(DefinitionError) as caught:
        Environment(name, **options)
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_a_user_name_without_a_password_is_no_secret() -> None:
    Environment("a", requirements=["x @ git+ssh://git@example.org/x.git"])


def test_nothing_is_read_when_it_is_declared() -> None:
    Environment(
        "a", requirements="no-such-file.txt", pyproject="no/such/pyproject.toml", find_links=["nowhere"]
    )


def test_declaring_imports_next_to_nothing() -> None:
    code = (
        "import sys; import tilth.errors; before = set(sys.modules); import tilth.define.environments as e;"
        "e.Environment('a', requirements=['b'], variables={'A': '1'}).to_json();"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('tilth')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        set(eval(done.stdout)) & {"pathlib", "dataclasses", "inspect", "typing", "json", "urllib.parse"}
        == set()
    )
