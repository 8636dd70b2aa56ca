"""Declarations to locks, with the real uv against a folder of wheels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomllib
from packaging.pylock import Pylock
from tests.index import build_wheel

from tilth.define.environments import Environment
from tilth.environments import locks, uv
from tilth.errors import DefinitionError, EnvironmentBroken, IndexUnavailable, Unresolvable

if TYPE_CHECKING:
    from tests.environments.conftest import Here


def versions(lock: locks.Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.packages}


def test_a_list_of_requirements_is_resolved_with_what_it_requires(here: Here) -> None:
    lock = here.lock("alpha")
    assert versions(lock) == {"alpha": "2.0", "beta": "2.0"}
    assert all(each.digest.startswith("sha256:") and each.file.endswith(".whl") for each in lock.packages)


def test_a_lock_is_valid_pep_751_and_names_no_patch_release(here: Here) -> None:
    lock = here.lock("alpha")
    document = Pylock.from_dict(tomllib.loads(lock.text))
    assert [str(each.name) for each in document.packages] == ["alpha", "beta"]
    assert str(document.requires_python) == f">={here.interpreter.minor}"
    assert "uv pip compile" not in lock.text


def test_a_lock_is_found_again_without_asking_anybody(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment("training", requirements=["alpha"])
    assert here.find(environment) is None
    made = here.lock_of(environment)
    monkeypatch.setattr(uv, "call", lambda *arguments, **options: pytest.fail("uv was called"))
    assert here.find(environment) == made
    assert here.lock_of(environment) == made
    other = here.find(environment.with_options(name="other"))
    assert other is not None
    assert (other.name, other.digest) == ("other", made.digest)


def test_time_does_not_change_a_lock_but_an_upgrade_does(here: Here, tmp_path: Path) -> None:
    links = tmp_path / "links"
    build_wheel(links, "delta", "1.0")
    environment = Environment("training", requirements=["delta"], find_links=["links"])
    before = here.lock_of(environment)
    build_wheel(links, "delta", "1.1")
    assert here.lock_of(environment) == before
    after = here.lock_of(environment, upgrade=True)
    assert versions(after) == {"delta": "1.1"}
    assert after.digest != before.digest
    assert here.find(environment) == after


def test_a_requirements_file_with_includes_and_constraints(here: Here, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/base.txt\n-c more/limits.txt\n")
    (tmp_path / "more/base.txt").write_text("alpha  # a comment\n")
    limits = tmp_path / "more/limits.txt"
    limits.write_text("alpha<2\n")
    environment = Environment("training", requirements="requirements.txt")
    assert versions(here.lock_of(environment)) == {"alpha": "1.0", "beta": "2.0"}
    limits.write_text("alpha<3\n")
    assert here.find(environment) is None
    assert versions(here.lock_of(environment)) == {"alpha": "2.0", "beta": "2.0"}


def test_a_pyproject_with_extras_and_groups(here: Here, tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    text = (
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["beta<2"]\n'
        '[project.optional-dependencies]\nrays = ["gamma-ray"]\n'
        '[dependency-groups]\ndev = ["space-one"]\n[tool.ruff]\nline-length = 100\n'
    )
    project.write_text(text)
    plain = Environment("plain", pyproject="pyproject.toml")
    full = Environment("full", pyproject="pyproject.toml", extras=["rays"], groups=["dev"])
    assert versions(here.lock_of(plain)) == {"beta": "1.0"}
    assert versions(here.lock_of(full)) == {"beta": "1.0", "gamma-ray": "1.0", "space-one": "1.0"}
    project.write_text(text.replace("line-length = 100", "line-length = 110"))
    assert here.find(full) is not None, "a table that says nothing of dependencies does not matter"
    project.write_text(text.replace("beta<2", "beta"))
    assert here.find(full) is None


def test_extras_of_a_requirement(here: Here) -> None:
    assert versions(here.lock("beta[more]")) == {"beta": "2.0", "gamma-ray": "1.0"}


def test_two_environments_may_pin_versions_that_exclude_each_other(here: Here) -> None:
    old, new = here.lock("alpha==1.0", "beta==1.0"), here.lock("alpha==2.0")
    assert (versions(old)["beta"], versions(new)["beta"]) == ("1.0", "2.0")
    assert old.digest != new.digest


def test_variables_are_part_of_the_environment_and_not_of_the_resolution(here: Here) -> None:
    plain, other = here.lock("beta"), here.lock("beta", variables={"A": "1"})
    assert plain.lock == other.lock
    assert plain.digest != other.digest


def test_where_a_package_comes_from_is_no_part_of_the_digest(here: Here, index: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    for wheel in index.glob("beta-*.whl"):
        (tmp_path / "copy" / wheel.name).write_bytes(wheel.read_bytes())
    here_lock = here.lock("beta")
    wheel = next((tmp_path / "copy").glob("beta-2.0-*.whl"))
    there_lock = here.lock(f"beta @ {wheel.as_uri()}")
    assert here_lock.digest == there_lock.digest
    assert here_lock.lock != there_lock.lock


def test_an_sdist_is_built_once_and_the_built_wheel_counts(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = here.lock("from-source")
    source = next(each for each in first.packages if each.name == "from-source")
    assert source.file == "from_source-1.0-py3-none-any.whl"
    calls = []
    call = uv.call
    monkeypatch.setattr(
        uv, "call", lambda arguments, **options: calls.append(arguments) or call(arguments, **options)
    )
    second = here.lock("from-source==1.0")
    assert second.digest == first.digest
    assert {arguments[1] for arguments in calls} == {"compile"}


def test_a_torn_or_altered_lock_entry_is_made_anew(here: Here) -> None:
    made = here.lock("alpha")
    (entry,) = here.home.locks.glob("*.json")
    whole = entry.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", whole.replace(b'"2.0"', b'"9.9"', 1)):
        entry.write_bytes(broken)
        assert here.find(Environment("training", requirements=["alpha"])) is None
        assert here.lock("alpha") == made


def test_a_lock_is_opened_from_its_text(here: Here) -> None:
    made = here.lock("alpha")
    opened = locks.open_lock(
        made.text, {"name": "training"}, root=here.root, interpreter=here.interpreter, home=here.home
    )
    assert (opened.digest, opened.lock, opened.packages) == (made.digest, made.lock, made.packages)


def test_an_environment_may_be_empty(here: Here) -> None:
    assert here.lock().packages == ()


def test_nothing_but_the_lock_is_left_in_the_home(here: Here) -> None:
    here.lock("alpha")
    assert len([each for each in here.home.locks.iterdir() if not each.name.startswith(".")]) == 1
    assert not list(here.home.locks.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("requirements", "kind", "said"),
    [
        (["alfa"], Unresolvable, "no index has a package `alfa`"),
        (["alpha==2.0", "beta<2"], Unresolvable, "asks for `beta>=2`"),
        (["too-new"], Unresolvable, ">=3.99"),
        (["alpha=2"], DefinitionError, "alpha=2"),
        (["never-builds"], EnvironmentBroken, "zlib.h: No such file"),
        (["beta @ file:///nowhere/beta-2.0-py3-none-any.whl"], EnvironmentBroken, "/nowhere/beta-2.0"),
    ],
)
def test_a_requirement_that_cannot_be_met_is_said_in_few_lines(
    here: Here, requirements: list[str], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        here.lock(*requirements)
    text = str(caught.value)
    assert said in text
    assert "`training`" in text
    assert len(text.splitlines()) < 15
    assert here.find(Environment("training", requirements=requirements)) is None


def test_a_missing_requirements_file_is_named(here: Here) -> None:
    with pytest.raises(DefinitionError, match=r"nothing-here\.txt"):
        here.lock_of(Environment("training", requirements="nothing-here.txt"))


def test_an_index_that_is_down_is_told_from_a_package_that_is_not_there(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.realise("beta")
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://somebody:secret@127.0.0.1:9/simple")
    with pytest.raises(IndexUnavailable) as caught:
        here.lock("alpha")
    text = str(caught.value)
    assert "127.0.0.1:9" in text
    assert "cached: 1 earlier lock and 1 package; what uses them still runs" in text
    assert "TILTH_OFFLINE=1" in text
    assert "secret" not in text
    assert len(text.splitlines()) < 15


def test_offline_says_so(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    with pytest.raises(IndexUnavailable, match="offline"):
        here.lock("a-package-nobody-cached", offline=True)


def test_credentials_of_an_index_are_written_nowhere(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "http://somebody:hunter2@127.0.0.1:9/simple")
    here.realise("beta")
    for folder, _, names in os.walk(here.home.root):
        for name in names:
            assert b"hunter2" not in (Path(folder) / name).read_bytes()
