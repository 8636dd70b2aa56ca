"""Declarations that take what they ask for from somewhere else."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tilth.define.environments import Environment
from tilth.environments import expand, find_interpreter, inventory, probe
from tilth.environments.inventories import Installed, Inventory
from tilth.environments.uv import binary
from tilth.errors import DefinitionError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Here = Any  # see conftest.py


def expanded(
    environment: Environment, root: Path, *packages: Installed, imported: Iterable[str] = ()
) -> dict[str, Any]:
    found = Inventory(packages=tuple(sorted(packages, key=lambda each: each.name)))
    return expand(environment.to_json(), root=root, client=lambda: found, imported=lambda: imported)


def test_the_client_s_environment_is_what_is_installed_without_tilth_and_what_only_it_requires(
    tmp_path: Path,
) -> None:
    packages = [
        Installed(name="tilth", version="0.1.0", requires=("click", "rich")),
        Installed(name="click", version="8.1"),
        Installed(name="rich", version="14.0", requires=("pygments",)),
        Installed(name="pygments", version="2.19"),
        Installed(name="flask", version="3.1", requires=("click",)),
        Installed(name="pip", version="26.0"),
    ]
    assert expanded(Environment.from_client(), tmp_path, *packages) == {
        "name": "client",
        "requirements": ["click==8.1", "flask==3.1"],
        "complete": True,
    }


def test_what_tilth_requires_stays_when_it_was_asked_for_by_name(tmp_path: Path) -> None:
    packages = [
        Installed(name="tilth", version="0.1.0", requires=("rich",)),
        Installed(name="rich", version="14.0", requires=("pygments",), requested=True),
        Installed(name="pygments", version="2.19"),
    ]
    found = expanded(Environment.from_client(), tmp_path, *packages)
    assert found["requirements"] == ["pygments==2.19", "rich==14.0"]


def test_packages_that_require_each_other_are_no_endless_way(tmp_path: Path) -> None:
    packages = [
        Installed(name="a", version="1", requires=("b",), modules=("a",)),
        Installed(name="b", version="2", requires=("a",)),
    ]
    assert expanded(Environment.from_client(), tmp_path, *packages)["requirements"] == ["a==1", "b==2"]
    found = expanded(Environment.infer(), tmp_path, *packages, imported=["a"])
    assert found["requirements"] == ["a==1", "b==2"]


def test_an_inferred_environment_has_what_its_steps_import_and_what_that_requires(tmp_path: Path) -> None:
    packages = [
        Installed(name="scikit-learn", version="1.7", requires=("numpy",), modules=("sklearn",)),
        Installed(name="numpy", version="2.2", modules=("numpy",)),
        Installed(name="torch", version="2.9", modules=("torch",)),
    ]
    found = expanded(Environment.infer("used"), tmp_path, *packages, imported={"sklearn"})
    assert found["requirements"] == ["numpy==2.2", "scikit-learn==1.7"]


def test_an_inferred_environment_needs_what_its_steps_import_to_be_installed(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        expanded(Environment.infer(), tmp_path, imported=["sklearn"])
    assert "`sklearn` is not installed here" in str(caught.value)


def test_more_requirements_beside_the_client_s_are_resolved(tmp_path: Path) -> None:
    found = expanded(
        Environment.from_client().with_requirements("beta>1"), tmp_path, Installed(name="alpha", version="1")
    )
    assert found == {"name": "client", "requirements": ["alpha==1", "beta>1"]}


def test_what_came_from_a_folder_or_a_repository_is_asked_for_there_again(tmp_path: Path) -> None:
    packages = [
        Installed(name="mine", version="0.1", editable=str(tmp_path / "my libs")),
        Installed(name="theirs", version="1", url="git+https://example.org/theirs@abc"),
    ]
    assert expanded(Environment.from_client(), tmp_path, *packages)["requirements"] == [
        f"mine @ file://{tmp_path}/my%20libs",
        "theirs @ git+https://example.org/theirs@abc",
    ]


def test_an_inventory_knows_where_packages_come_from_and_which_were_asked_for(
    here: Here, tmp_path: Path, index: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    wheel = next(index.glob("beta-2.0-*.whl"))
    project = tmp_path / "mine"
    project.mkdir()
    (project / "mine.py").touch()
    for arguments in (
        ["venv", "--quiet", "--python", here.interpreter.executable, tmp_path / "venv"],
        ["pip", "install", "--quiet", "--python", python, "alpha==2.0", f"beta @ {wheel.as_uri()}"],
    ):
        subprocess.run([binary(), *arguments], check=True)
    found = {each.name: each for each in inventory(probe(python, here.home), here.home).packages}
    assert found["beta"].url == wheel.as_uri()
    assert found["alpha"].url == ""
    assert found["alpha"].requested
    assert found["alpha"].requires == ("beta",)


def test_a_credential_in_a_recorded_url_goes_no_further(here: Here, tmp_path: Path) -> None:
    info = tmp_path / "site" / "gamma-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gamma\nVersion: 1.0\n")
    (info / "direct_url.json").write_text(
        json.dumps(
            {
                "url": "https://me:hunter2@example.org/gamma.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
            }
        )
    )
    import msgspec

    interpreter = msgspec.structs.replace(here.interpreter, site_packages=(str(tmp_path / "site"),))
    [found] = inventory(interpreter, here.home).packages
    assert found.url == "git+https://example.org/gamma.git@abc"


SCRIPT = """\
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "alpha>=2",
# ]
# ///
import alpha
"""


def test_a_script_says_itself_what_it_needs(here: Here) -> None:
    (here.root / "train.py").write_text(SCRIPT)
    lock = here.lock(script="train.py")
    assert {each.name: each.version for each in lock.packages} == {"alpha": "2.0", "beta": "2.0"}
    (here.root / "train.py").write_text(SCRIPT + "print(alpha)\n")
    assert here.find(Environment("training", script="train.py")) == lock  # its code is not its metadata
    (here.root / "train.py").write_text(SCRIPT.replace("alpha>=2", "alpha<2"))
    assert here.find(Environment("training", script="train.py")) is None


def test_a_script_may_ask_for_another_python(here: Here) -> None:
    (here.root / "train.py").write_text(SCRIPT.replace(">=3.11", ">=3.99"))
    found = expanded(Environment("x", script="train.py"), here.root)
    assert found["python"] == ">=3.99"
    with pytest.raises(SetupError) as caught:
        find_interpreter(found["python"], here.interpreter, here.home)
    assert "no Python >=3.99 is installed" in str(caught.value)


def test_a_specifier_is_met_by_the_interpreter_at_hand_when_that_fits(here: Here) -> None:
    assert find_interpreter(f">={here.interpreter.minor}", here.interpreter, here.home) == here.interpreter


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import alpha\n", "no inline metadata"),
        (SCRIPT + SCRIPT, "inline metadata twice"),
        (SCRIPT.replace('"alpha>=2"', "alpha"), "not valid TOML"),
    ],
)
def test_a_script_without_readable_metadata_is_refused(here: Here, text: str, told: str) -> None:
    (here.root / "train.py").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        expanded(Environment("x", script="train.py"), here.root)
    assert told in str(caught.value)


CONDA = """\
name: training
channels: [conda-forge]
dependencies:
  - python=3.12
  - pip
  - pip:
      - alpha>=2
      - -r more.txt
      - ./libs/features
variables:
  OMP_NUM_THREADS: 1
"""


def test_a_conda_file_gives_its_python_its_pip_part_and_its_variables(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text(CONDA)
    found = expanded(Environment("x", conda="environment.yml", variables={"A": "b"}), tmp_path)
    assert found == {
        "name": "x",
        "python": "3.12",
        "requirements": ["alpha>=2", f"-r {tmp_path}/more.txt", f"{tmp_path}/libs/features"],
        "variables": {"OMP_NUM_THREADS": "1", "A": "b"},
    }


def test_a_conda_file_that_asks_conda_for_packages_is_refused_with_how_they_may_be_called_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tilth.environments.conda.find_spec", lambda name: None)
    (tmp_path / "environment.yml").write_text(
        "dependencies: [python=3.11, conda-forge::gdal, pytorch=2.4, 'numpy>=1.26', {pip: [alpha]}]\n"
    )
    with pytest.raises(DefinitionError) as caught:
        expanded(Environment("x", conda="environment.yml"), tmp_path)
    assert "`conda-forge::gdal`, `pytorch=2.4`, `numpy>=1.26`" in str(caught.value)
    assert '"gdal" "torch==2.4.*" "numpy>=1.26"' in str(caught.value)


@pytest.mark.parametrize("text", ["dependencies: [", "- a\n- b\n", "dependencies: 3\n"])
def test_a_conda_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "environment.yml").write_text(text)
    with pytest.raises(DefinitionError, match=r"environment\.yml"):
        expanded(Environment("x", conda="environment.yml"), tmp_path)


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("python=3.11", "3.11"),
        ("python==3.11.7", "3.11.7"),
        ("python 3.12.*", "3.12"),
        ("conda-forge::python=3.10=h1234_0_cpython", "3.10"),
        ("python", None),
    ],
)
def test_every_spelling_of_conda_s_python_is_understood(
    tmp_path: Path, line: str, python: str | None
) -> None:
    (tmp_path / "environment.yml").write_text(f"dependencies: ['{line}']\n")
    assert expanded(Environment("x", conda="environment.yml"), tmp_path).get("python") == python


def test_the_client_s_environment_can_be_locked_and_made(here: Here, tmp_path: Path, index: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    for arguments in (
        ["venv", "--quiet", "--python", here.interpreter.executable, tmp_path / "venv"],
        ["pip", "install", "--quiet", "--python", python, "alpha==1.0", "beta==1.0"],
    ):
        subprocess.run([binary(), *arguments], check=True)
    client = probe(python, here.home)
    found = expand(
        Environment.from_client().to_json(),
        root=here.root,
        client=lambda: inventory(client, here.home),
        imported=lambda: (),
    )
    lock = here.lock_declared(found)
    assert {each.name: each.version for each in lock.packages} == {"alpha": "1.0", "beta": "1.0"}
