"""What finds a lock again: the same for every spelling, another for anything that changes the result."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tilth.define.environments import Environment
from tilth.environments.declarations import declaration_digest, declared_facts, normalise
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here

NAMES = ["alpha", "beta", "gamma-ray", "x.y", "Zope_Interface"]
SPECIFIERS = ["==1.0", ">=1.2", "<3", "!=2.1", "~=1.4", "==1.7.*"]
MARKERS = ["", 'python_version >= "3.10"', 'sys_platform == "linux"']

requirements = st.tuples(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(["one", "two"]), unique=True),
    st.lists(st.sampled_from(SPECIFIERS), unique=True, max_size=3),
    st.sampled_from(MARKERS),
)


def spell(requirement: tuple[str, list[str], list[str], str], chance: random.Random) -> str:
    """One of the many ways to write a requirement."""
    name, extras, specifiers, marker = requirement
    blank = lambda: " " * chance.randrange(3)  # noqa: E731
    name = "".join(
        chance.choice("-_.") if each in "-_." else chance.choice((each.upper, each.lower))() for each in name
    )
    extras, specifiers = chance.sample(extras, len(extras)), chance.sample(specifiers, len(specifiers))
    text = name + blank()
    if extras:
        text += "[" + f"{blank()},{blank()}".join(extras) + "]" + blank()
    written = f"{blank()},{blank()}".join(
        each if chance.random() < 0.5 else _spaced(each) for each in specifiers
    )
    text += f"({written})" if specifiers and chance.random() < 0.2 else written
    if marker:
        text += f"{blank()};{blank()}{marker.replace(chr(34), chance.choice((chr(34), chr(39))))}"
    return blank() + text + blank()


def _spaced(specifier: str) -> str:
    operator = specifier.rstrip("0123456789.*")
    return f"{operator} {specifier[len(operator) :]}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chosen=st.lists(requirements, min_size=1, max_size=5), seed=st.integers())
def test_order_and_spelling_do_not_matter(
    here: Here, chosen: list[tuple[str, list[str], list[str], str]], seed: int
) -> None:
    chance = random.Random(seed)
    lines = [spell(each, chance) for each in chosen]
    again = [spell(each, chance) for each in chance.sample(chosen, len(chosen))]
    assert digest(here, requirements=lines) == digest(here, requirements=again)


@given(first=requirements, second=requirements, seed=st.integers())
def test_different_requirements_are_normalised_differently(
    first: tuple[str, list[str], list[str], str], second: tuple[str, list[str], list[str], str], seed: int
) -> None:
    def meaning(each: tuple[str, list[str], list[str], str]) -> object:
        return each[0], frozenset(each[1]), frozenset(each[2]), each[3]

    chance = random.Random(seed)
    same = normalise(spell(first, chance)) == normalise(spell(second, chance))
    assert same == (meaning(first) == meaning(second))


def digest(here: Here, **options: object) -> str:
    environment = Environment("any", **options).to_json()
    return declaration_digest(environment, root=here.root, interpreter=here.interpreter, home=here.home)


def test_every_option_but_name_and_variables_matters(here: Here, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\ndependencies = []\n')
    (tmp_path / "r.txt").write_text("alpha\n")
    (tmp_path / "pylock.toml").write_text("1")
    (tmp_path / "uv.lock").write_text("2")
    (tmp_path / "s.py").write_text("# /// script\n# dependencies = []\n# ///\n")
    digests = [
        digest(here),
        digest(here, requirements=["alpha"]),
        digest(here, requirements=["alpha<2"]),
        digest(here, requirements=["alpha[more]"]),
        digest(here, requirements=["alpha @ https://example.org/alpha-1.0-py3-none-any.whl"]),
        digest(here, pyproject="pyproject.toml"),
        digest(here, extras=["a"]),
        digest(here, groups=["a"]),
        digest(here, find_links=["a"]),
        digest(here, index_url="https://example.org/simple"),
        digest(here, extra_index_urls=["https://example.org/simple"]),
        digest(here, package_indexes={"alpha": "https://example.org/simple"}),
        digest(here, package_indexes={"beta": "https://example.org/simple"}),
        digest(here, constraints=["alpha<2"]),
        digest(here, constraints=["alpha<3"]),
        digest(here, overrides=["alpha<2"]),
        digest(here, exclude_newer="2026-01-01"),
        digest(here, exclude_newer="2026-01-02"),
        digest(here, python="3.11"),
        digest(here, lock="pylock.toml"),
        digest(here, lock="uv.lock"),
        digest(here, lock="uv.lock", package="member"),
        digest(here, lock="uv.lock", groups=["a"]),
        digest(here, script="s.py"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(here, requirements="r.txt") == digest(here, requirements=["alpha"])
    assert digest(here, constraints="r.txt") == digest(here, constraints=["alpha"])
    for unimportant in ({"variables": {"A": "1"}}, {"secrets": ["A"]}, {"credentials": {"example.org": "a"}}):
        assert digest(here, **unimportant) == digest(here)


@pytest.mark.parametrize("variable", ["UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_INDEX", "UV_DEFAULT_INDEX"])
def test_uvs_own_settings_matter(here: Here, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    before = digest(here, requirements=["alpha"])
    monkeypatch.setenv(variable, "2024-01-01")
    assert digest(here, requirements=["alpha"]) != before


def test_a_password_in_uvs_settings_does_not_matter(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "https://me:one@example.org/simple")
    before = digest(here, requirements=["alpha"])
    monkeypatch.setenv("UV_INDEX", "https://me:two@example.org/simple")
    assert digest(here, requirements=["alpha"]) == before


def test_the_project_s_uv_settings_matter_wherever_they_are(here: Here, tmp_path: Path) -> None:
    digests = {digest(here, requirements=["alpha"])}
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nprerelease = "allow"\n')
    digests.add(digest(here, requirements=["alpha"]))
    (tmp_path / "uv.toml").write_text('prerelease = "disallow"\n')
    digests.add(digest(here, requirements=["alpha"]))
    assert len(digests) == 3


def test_a_requirements_file_that_includes_itself_ends(here: Here, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("alpha \\\n  <3\n-r r.txt\n# nothing\n")
    assert digest(here, requirements="r.txt") == digest(here, requirements=["alpha<3"])


def test_a_wheel_named_by_path_matters_by_what_it_is(here: Here, tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"one")
    before = digest(here, requirements=["./a-1-py3-none-any.whl"])
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"another")
    assert digest(here, requirements=["./a-1-py3-none-any.whl"]) != before


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("humanize", '`requirements=["humanize"]`'),
        ("requirements.txt", "relative to the folder that holds the project"),
    ],
)
def test_a_requirement_where_a_file_is_named_is_told_from_a_missing_file(
    tmp_path: Path, here: Here, text: str, hint: str
) -> None:
    environment = Environment("training", requirements=text).to_json()
    with pytest.raises(DefinitionError, match="names the file") as caught:
        declaration_digest(environment, root=tmp_path, interpreter=here.interpreter, home=here.home)
    assert hint in caught.value.mend


FACTS = [
    {"requirements": ["alpha"]}, {"requirements": ["beta"]}, {"constraints": ["alpha<2"]}, {"overrides": ["alpha"]},
    {"exclude_newer": "2026-01-01"}, {"index_url": "https://example.org/a"}, {"index_url": "https://example.org/b"},
    {"extra_index_urls": ["https://example.org/a"]}, {"find_links": ["a"]}, {"extras": ["a"]}, {"groups": ["a"]},
    {"package_indexes": {"alpha": "https://example.org/a"}}, {"python": "3.12"}, {"python": "3.12.1"},
]  # fmt: skip
parts = st.lists(st.sampled_from(FACTS), max_size=4, unique_by=lambda each: next(iter(each)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(first=parts, second=parts)
def test_two_declarations_have_the_same_facts_exactly_when_they_ask_for_the_same(
    here: Here, first: list[dict[str, object]], second: list[dict[str, object]]
) -> None:
    (here.root / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\ndependencies = []\n')

    def facts(chosen: list[dict[str, object]]) -> list[str]:
        options: dict[str, object] = {}
        for each in chosen:
            options |= each
        return declared_facts(Environment("any", **options).to_json(), root=here.root, home=here.home)

    same = {str(each) for each in first} == {str(each) for each in second}
    assert (facts(first) == facts(second)) == same


def test_a_path_in_an_included_file_starts_where_the_file_is(here: Here, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r.txt").write_text("./lib\n")
    assert digest(here, requirements="one/r.txt") != digest(here, requirements="two/r.txt")


def test_what_is_said_of_images_finds_the_same_lock(here: Here) -> None:
    plain = digest(here, requirements=["alpha"])
    on_base = {
        "base_image": "python:3.12-slim",
        "system_packages": ["git"],
        "user": "1000",
        "labels": {"a": "b"},
    }
    built = {"dockerfile": "nowhere/Dockerfile", "build_args": {"A": "1"}, "build_secrets": ["token"]}
    assert digest(here, requirements=["alpha"], **on_base) == plain
    assert digest(here, requirements=["alpha"], **built) == plain
    assert digest(here, requirements=["alpha"], bytecode=True, platform="linux/arm64") == plain
