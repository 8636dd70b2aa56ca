"""Locks that other tools keep, taken as they are."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.simple_index import SimpleIndex

from tilth.define.environments import Environment
from tilth.environments import exports, uv
from tilth.errors import DefinitionError, LockStale, SetupError, Unresolvable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.environments.locks import Locked

Here = Any  # see conftest.py

PROJECT = """\
[project]
name = "project"
version = "0.1"
requires-python = ">=3.10"
dependencies = ["gamma-ray"]
[project.optional-dependencies]
extra = ["space-one"]
[dependency-groups]
old = ["alpha<2"]
new = ["alpha>=2"]
dev = ["space-two"]
[tool.uv]
conflicts = [[{ group = "old" }, { group = "new" }]]
"""


def versions(lock: Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.packages}


def run_uv(*arguments: str, cwd: Path) -> None:
    subprocess.run([uv.binary(), *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def project(here: Here) -> Path:
    (here.root / "pyproject.toml").write_text(PROJECT)
    run_uv("lock", cwd=here.root)
    root: Path = here.root
    return root


def test_one_uv_lock_serves_environments_whose_groups_exclude_each_other(here: Here, project: Path) -> None:
    old = here.lock(name="old", lock="uv.lock", groups=["old"])
    new = here.lock(name="new", lock="uv.lock", groups=["new"])
    assert versions(old) == {"alpha": "1.0", "beta": "2.0", "gamma-ray": "1.0"}
    assert versions(new) == {"alpha": "2.0", "beta": "2.0", "gamma-ray": "1.0"}
    assert old.origin == "uv.lock"


def test_extras_of_a_uv_lock_are_taken_when_asked_for_and_development_never_is(
    here: Here, project: Path
) -> None:
    assert versions(here.lock(lock="uv.lock")) == {"gamma-ray": "1.0"}
    assert versions(here.lock(lock="uv.lock", extras=["extra"])) == {"gamma-ray": "1.0", "space-one": "1.0"}


def test_a_uv_lock_is_used_again_until_its_file_changes(
    here: Here, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment("training", lock="uv.lock")
    first = here.lock_of(environment)
    assert here.find(environment) == first
    (project / "pyproject.toml").write_text(PROJECT.replace('"gamma-ray"', '"gamma-ray", "beta"'))
    run_uv("lock", cwd=project)
    assert here.find(environment) is None
    assert versions(here.lock_of(environment)) == {"beta": "2.0", "gamma-ray": "1.0"}


def test_a_uv_lock_that_does_not_answer_its_project_is_stale(here: Here, project: Path) -> None:
    (project / "pyproject.toml").write_text(PROJECT.replace('"gamma-ray"', '"gamma-ray", "beta"'))
    with pytest.raises(LockStale) as caught:
        here.lock(lock="uv.lock")
    assert "run `uv lock`" in str(caught.value)


def test_a_uv_lock_that_was_used_before_is_stale_once_its_project_changes(here: Here, project: Path) -> None:
    here.lock(lock="uv.lock", groups=["old"])
    (project / "pyproject.toml").write_text(PROJECT.replace('"gamma-ray"', '"beta"'))
    with pytest.raises(LockStale):
        here.lock(lock="uv.lock", groups=["old"])


def test_the_lock_of_a_script_that_was_used_before_is_stale_once_its_script_changes(here: Here) -> None:
    script = here.root / "train.py"
    text = '# /// script\n# requires-python = ">=3.10"\n# dependencies = ["beta"]\n# ///\n'
    script.write_text(text)
    run_uv("lock", "--script", "train.py", cwd=here.root)
    here.lock(lock="train.py.lock")
    script.write_text(text.replace("beta", "alpha"))
    with pytest.raises(LockStale):
        here.lock(lock="train.py.lock")


def test_a_group_that_the_project_does_not_have_is_named(here: Here, project: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        here.lock(lock="uv.lock", groups=["odl"])
    assert "`odl`" in str(caught.value)


def test_groups_that_exclude_each_other_are_not_one_environment(here: Here, project: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        here.lock(lock="uv.lock", groups=["old", "new"])
    assert "incompatible" in str(caught.value)


def test_the_lock_of_a_script_is_taken(here: Here) -> None:
    (here.root / "train.py").write_text(
        '# /// script\n# requires-python = ">=3.10"\n# dependencies = ["alpha<2"]\n# ///\n'
    )
    run_uv("lock", "--script", "train.py", cwd=here.root)
    assert versions(here.lock(lock="train.py.lock")) == {"alpha": "1.0", "beta": "2.0"}


def test_any_pylock_is_taken_and_its_paths_are_relative_to_it(
    here: Here, index: Path, tmp_path: Path
) -> None:
    folder = here.root / "locks"
    folder.mkdir()
    wheel = next(index.glob("beta-1.0-*.whl"))
    relative = os.path.relpath(wheel, folder)
    import hashlib

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "by hand"\n[[packages]]\nname = "beta"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{wheel.name}", path = "{relative}", hashes = {{ sha256 = "{digest}" }} }}]\n'
    )
    lock = here.lock(lock="locks/pylock.toml")
    assert versions(lock) == {"beta": "1.0"}
    assert lock.packages[0].digest == f"sha256:{digest}"
    realised = here.realise(lock="locks/pylock.toml")
    assert (realised.path / here.interpreter.library / "beta.py").exists()


def test_a_pylock_may_offer_extras_and_groups(here: Here, index: Path) -> None:
    import hashlib

    def package(file: str, marker: str) -> str:
        wheel = index / file
        name, version, *_ = file.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        return (
            f'[[packages]]\nname = "{name}"\nversion = "{version}"\nmarker = "{marker}"\n'
            f'wheels = [{{ name = "{file}", path = "{wheel}", hashes = {{ sha256 = "{digest}" }} }}]\n'
        )

    (here.root / "pylock.all.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "by hand"\nextras = ["more"]\ndependency-groups = ["train"]\n'
        + package("alpha-1.0-py3-none-any.whl", "'more' in extras")
        + package("beta-1.0-py3-none-any.whl", "'train' in dependency_groups")
    )
    assert versions(here.lock(lock="pylock.all.toml")) == {}
    assert versions(here.lock(lock="pylock.all.toml", extras=["more"])) == {"alpha": "1.0"}
    assert versions(here.lock(lock="pylock.all.toml", groups=["train"])) == {"beta": "1.0"}


def test_a_pylock_for_another_python_does_not_fit(here: Here) -> None:
    (here.root / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\nrequires-python = ">=3.99"\npackages = []\n'
    )
    with pytest.raises(Unresolvable) as caught:
        here.lock(lock="pylock.toml")
    assert "3.99" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pylock.toml", "lock-version = "), ("pylock.toml", 'lock-version = "9.0"\n'), ("uv.lock", "{")],
)
def test_a_lock_that_cannot_be_read_is_told(here: Here, project: Path, name: str, text: str) -> None:
    (here.root / name).write_text(text)
    with pytest.raises(DefinitionError, match=r"training"):
        here.lock(lock=name)


def test_a_lock_that_is_not_there_is_told(here: Here) -> None:
    with pytest.raises(DefinitionError, match=r"uv\.lock"):
        here.lock(lock="uv.lock")


@pytest.mark.parametrize(
    "options",
    [
        {"requirements": ["alpha"]}, {"pyproject": "pyproject.toml"}, {"script": "train.py"}, {"source": "client"},
        {"constraints": ["alpha"]}, {"exclude_newer": "2026-01-01"},
    ],
)  # fmt: skip
def test_a_lock_and_what_would_be_resolved_beside_it_exclude_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="a lock is taken as it is"):
        Environment("x", lock="uv.lock", **options)


def test_lines_of_other_tools_are_read_with_their_hashes() -> None:
    one, two = "0" * 64, "1" * 64
    pins = exports.Pins(
        "# made by a tool\n-i https://example.org/simple\n"
        f"alpha==1.0 ; python_version >= '3.9' \\\n    --hash=sha256:{one} \\\n"
        f"    --hash=sha256:{two}\nspace-one==2 --hash=sha256:{one}\n\n"
    )
    assert pins.lines == [
        "-i https://example.org/simple",
        "alpha==1.0 ; python_version >= '3.9'",
        "space-one==2",
    ]
    text = (
        '[[packages]]\nname = "alpha"\n'
        f'sdist = {{ url = "https://x/a.tar.gz", hashes = {{ sha256 = "{"2" * 64}" }} }}\n'
        f'wheels = [\n    {{ url = "https://x/a.whl", hashes = {{ sha256 = "{one}" }} }},\n'
        f'    {{ url = "https://x/b.whl", hashes = {{ sha256 = "{"3" * 64}" }} }},\n]\n'
        f'[[packages]]\nname = "space-one"\nwheels = [{{ url = "https://x/s.whl", hashes = {{ sha256 = "{one}" }} }}]\n'
    )
    kept = pins.only(text, "training")
    assert one in kept
    assert "2" * 64 not in kept
    assert "3" * 64 not in kept
    assert "https://x/s.whl" in kept
    with pytest.raises(LockStale, match="no file of `space-one`"):
        pins.only(text.replace(one, "4" * 64).replace('name = "alpha"', 'name = "other"'), "training")


@pytest.fixture
def served(index: Path, uv_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleIndex]:
    """The folder of wheels behind HTTP, as Poetry and Pipenv want it; the tools themselves come from elsewhere."""
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.delenv("UV_CACHE_DIR")
    with SimpleIndex(index) as served:
        yield served


@pytest.mark.network
@pytest.mark.slow
def test_a_poetry_lock_is_exported_by_poetry(
    here: Here, served: SimpleIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = ["gamma-ray"]\n'
        '[dependency-groups]\ntrain = ["alpha<2"]\n[tool.poetry]\npackage-mode = false\n'
        f'[[tool.poetry.source]]\nname = "served"\nurl = "{served.url}"\npriority = "primary"\n'
    )
    monkeypatch.setenv("POETRY_CACHE_DIR", str(here.root / "poetry"))
    command = ["tool", "run", "--from", "poetry", "--with", "poetry-plugin-export", "poetry"]
    run_uv(*command, "lock", cwd=here.root)
    assert versions(here.lock(lock="poetry.lock")) == {"gamma-ray": "1.0"}
    lock = here.lock(name="train", lock="poetry.lock", groups=["train"])
    assert versions(lock) == {"alpha": "1.0", "beta": "2.0", "gamma-ray": "1.0"}
    text = (here.root / "pyproject.toml").read_text()
    (here.root / "pyproject.toml").write_text(text.replace('["gamma-ray"]', '["gamma-ray", "space-one"]'))
    (here.root / "poetry.lock").write_text((here.root / "poetry.lock").read_text() + "\n")
    with pytest.raises(LockStale, match="poetry lock"):
        here.lock(lock="poetry.lock")


@pytest.mark.network
@pytest.mark.slow
def test_a_pipfile_lock_is_exported_by_pipenv_and_its_hashes_hold(
    here: Here, served: SimpleIndex, index: Path
) -> None:
    import hashlib

    alpha = hashlib.sha256((index / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    locked = {
        "_meta": {"hash": {"sha256": "x"}, "pipfile-spec": 6, "requires": {},
                  "sources": [{"name": "served", "url": served.url, "verify_ssl": False}]},
        "default": {"alpha": {"version": "==1.0", "hashes": [f"sha256:{alpha}"]}},
        "train": {"gamma-ray": {"version": "==1.0", "hashes": ["sha256:" + "0" * 64]}},
    }  # fmt: skip
    (here.root / "Pipfile").write_text(
        f'[[source]]\nname = "served"\nurl = "{served.url}"\nverify_ssl = false\n'
    )
    (here.root / "Pipfile.lock").write_text(json.dumps(locked))
    assert versions(here.lock(lock="Pipfile.lock")) == {"alpha": "1.0"}
    with pytest.raises(LockStale, match="no file of `gamma-ray`"):
        here.lock(name="train", lock="Pipfile.lock", groups=["train"])


def test_a_tool_that_cannot_be_fetched_is_told_with_what_to_do(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_TOOL_DIR", str(here.root / "tools"))
    (here.root / "poetry.lock").write_text("")
    with pytest.raises(SetupError) as caught:
        here.lock(lock="poetry.lock", offline=True)
    assert "uv tool run poetry" in str(caught.value)
