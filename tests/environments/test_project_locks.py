"""Locks that a project keeps beside its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tomllib
from packaging.pylock import Pylock
from tests.index import build_wheel

from tilth.define.environments import Environment
from tilth.environments import declared_facts, lock_path, resolve, write_project_lock
from tilth.errors import DefinitionError, LockStale, Unresolvable

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments.locks import Locked

Here = Any  # see conftest.py


def keep(here: Here, environment: Environment, **options: Any) -> Path:
    """Do what `tilth env lock` does."""
    declared = environment.to_json()
    text = resolve(
        declared, root=here.root, interpreter=here.interpreter, home=here.home, universal=True, **options
    )
    path = lock_path(here.root, environment.name)
    facts = declared_facts(declared, root=here.root, home=here.home)
    write_project_lock(path, text, facts=facts, source="pipeline.py")
    return path


def versions(lock: Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.packages}


def stale(here: Here, environment: Environment) -> str:
    with pytest.raises(LockStale) as caught:
        here.lock_of(environment)
    with pytest.raises(LockStale):
        here.find(environment)
    return str(caught.value)


def test_a_lock_in_the_project_goes_before_what_would_be_resolved_now(here: Here, tmp_path: Path) -> None:
    own = tmp_path / "own"
    build_wheel(own, "one", "1.0")
    environment = Environment("training", requirements=["one"], find_links=["own"])
    keep(here, environment)
    build_wheel(own, "one", "2.0")
    found = here.find(environment)  # without asking uv
    assert versions(found) == {"one": "1.0"}
    assert found.origin == "pylock.training.toml"
    assert here.lock_of(environment) == found
    assert here.realise("one", find_links=["own"]).digest == found.digest


def test_a_lock_in_the_project_is_for_the_environment_of_its_name(here: Here) -> None:
    keep(here, Environment("training", requirements=["alpha<2"]))
    other = here.lock("alpha<2", name="other")
    assert other.origin == ""


def test_a_lock_is_a_pylock_and_says_what_it_answers(here: Here) -> None:
    path = keep(here, Environment("training", requirements=["Alpha < 2"], constraints=["beta<2"]))
    document = tomllib.loads(path.read_text())
    Pylock.from_dict(document).validate()
    assert document["tool"]["tilth"] == {
        "source": "pipeline.py",
        "declared": ["constraint: beta<2", "requirement: alpha<2"],
    }


def test_spelling_makes_no_lock_stale(here: Here) -> None:
    keep(here, Environment("training", requirements=["alpha<2", "Gamma.Ray"]))
    lock = here.lock_of(Environment("training", requirements=["gamma-ray", "ALPHA <2"]))
    assert lock.origin == "pylock.training.toml"


def test_a_stale_lock_is_told_with_the_difference(here: Here) -> None:
    keep(here, Environment("training", requirements=["alpha<2", "gamma-ray"]))
    told = stale(
        here, Environment("training", requirements=["alpha>=2", "space-one"], constraints=["beta<3"])
    )
    assert "`alpha>=2` is asked for, no longer `alpha<2`; it pins alpha 1.0" in told
    assert "`space-one` is asked for, which it does not know" in told
    assert "`gamma-ray` is no longer asked for" in told
    assert "declared since it was made: `constraint: beta<3`" in told
    assert "tilth env lock pipeline.py" in told


def test_a_lock_of_another_tool_is_asked_whether_it_has_what_is_declared(here: Here) -> None:
    text = here.lock("alpha<2", name="other").text
    lock_path(here.root, "training").write_text(text)
    assert versions(here.lock("alpha", "beta>=2 ; python_version >= '3'")) == {"alpha": "1.0", "beta": "2.0"}
    assert versions(here.lock("alpha", "space-one ; python_version < '3'")) == {"alpha": "1.0", "beta": "2.0"}
    told = stale(here, Environment("training", requirements=["alpha>=2", "gamma-ray"]))
    assert "`alpha>=2` is asked for; it pins alpha 1.0" in told
    assert "`gamma-ray` is asked for; it has no gamma-ray" in told


def test_a_lock_for_another_python_is_told(here: Here) -> None:
    path = keep(here, Environment("training", requirements=["alpha"]))
    path.write_text(path.read_text().replace(f">={here.interpreter.minor}", ">=3.99"))
    with pytest.raises(Unresolvable, match=r"3\.99"):
        here.lock("alpha")


@pytest.mark.parametrize("content", [b"[", b"\xff\xfe"])
def test_a_lock_that_cannot_be_read_is_told(here: Here, content: bytes) -> None:
    lock_path(here.root, "training").write_bytes(content)
    with pytest.raises(DefinitionError, match=r"pylock\.training\.toml"):
        here.lock("alpha")


def test_a_lock_edited_by_hand_is_taken_as_it_is_now(here: Here) -> None:
    environment = Environment("training", requirements=["alpha"])
    path = keep(here, environment)
    first = here.lock_of(environment)
    head, _, rest = path.read_text().partition('[[packages]]\nname = "beta"')
    path.write_text(head + rest[rest.index("[tool.tilth]") :])
    assert versions(first) == {"alpha": "2.0", "beta": "2.0"}
    assert versions(here.lock_of(environment)) == {"alpha": "2.0"}


def test_a_run_does_not_change_what_the_project_keeps(here: Here) -> None:
    environment = Environment("training", requirements=["alpha"])
    before = keep(here, environment).read_text()
    with pytest.raises(LockStale, match="tilth env lock training --upgrade"):
        here.lock_of(environment, upgrade=True)
    assert lock_path(here.root, "training").read_text() == before


def test_paths_in_a_lock_are_relative_to_it(here: Here, tmp_path: Path) -> None:
    build_wheel(tmp_path / "own", "one", "1.0")
    path = keep(here, Environment("training", requirements=["one"], find_links=["own"]))
    assert 'path = "own/one-1.0-py3-none-any.whl"' in path.read_text()
    assert str(tmp_path) not in path.read_text()


def test_a_declared_lock_may_be_the_one_in_the_project(here: Here) -> None:
    keep(here, Environment("training", requirements=["alpha"]))
    lock = here.lock(lock="pylock.training.toml")
    assert versions(lock) == {"alpha": "2.0", "beta": "2.0"}
