"""`tilth env check`, as people use it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from inline_snapshot import snapshot
from tests.index import build_sdist, build_wheel
from tests.simple_index import SimpleIndex
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Tilth = Any  # see `tests/conftest.py`

FLOW = """
from __future__ import annotations

from typing import TYPE_CHECKING

from tilth import Environment, pipeline, step

if TYPE_CHECKING:
    from sklearn.svm import SVC

training = Environment("training", requirements=["scikit-learn==1.5.0"])
serving = Environment("serving", requirements=["scikit-learn==1.2.2"])
future = Environment("future", requirements=[], python="3.98")
farther = Environment("farther", requirements=[], python="3.97")


@step(environment=training)
def fit() -> SVC:
    from sklearn import svm


@step(environment=serving)
def serve(model: SVC) -> int:
    return 1


@step(environment=serving)
def plot(model: SVC) -> int:
    import matplotlib


@step(environment=future)
def far() -> int:
    return 1


@step(environment=farther)
def farthest() -> int:
    return 1


@step
def tell(x: int = 1) -> int:
    return x


@pipeline
def plain():
    tell()


@pipeline
def serving_it():
    serve(fit())


@pipeline
def plotting():
    plot(fit())
    far()
    farthest()
"""


@pytest.fixture
def links(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that uv takes packages from, and no other place."""
    folder = tmp_path_factory.mktemp("links")
    for version in ("1.2.2", "1.5.0"):
        build_wheel(folder, "scikit-learn", version, files={"sklearn/__init__.py": "", "sklearn/svm.py": ""})
    settings = tmp_path_factory.mktemp("uv") / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(folder))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(settings.parent / "cache"))
    return folder


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "tilth.toml").touch()
    (tmp_path / "flow.py").write_text(FLOW)
    return tmp_path


def test_a_pipeline_that_is_fine_is_said_to_be(tilth: Tilth, flow: Path, links: Path) -> None:
    checked = tilth("env", "check", "flow.py:plain")
    assert (checked.stdout, checked.stderr) == (
        "",
        "checked pipeline `plain`: 1 environment, 1 step; nothing is wrong\n",
    )
    assert tilth("env", "check", "flow.py:plain", "--json").json == []
    assert tilth("runs", "list", "--json").json == []


def test_a_warning_is_told_and_fails_only_where_that_is_asked_for(
    tilth: Tilth, flow: Path, links: Path
) -> None:
    checked = tilth("env", "check", "flow.py:serving_it")
    first, *others = checked.stdout.splitlines()
    assert first == (
        "warning: step `serve` may not read what step `fit` gives: `scikit-learn` 1.5.0 writes it in environment "
        "`training`, 1.2.2 reads it in environment `serving`"
    )
    assert others == snapshot(
        [
            "  scikit-learn does not promise to read models of another minor version; it is of type `sklearn.svm.SVC`",
            "  hint: require the same version of `scikit-learn` in both, or hand on something simpler",
        ]
    )
    assert checked.stderr.endswith("2 environments, 2 steps; 1 warning\n")
    tilth("env", "check", "flow.py:serving_it", "--strict", code=1)
    assert "step `serve` may not read" in tilth("plan", "flow.py:serving_it").stderr


def test_every_error_is_in_the_list(tilth: Tilth, flow: Path, links: Path) -> None:
    # What its wheel holds is known once it was installed.
    tilth("run", "flow.py:serving_it", code=None)
    found = tilth("env", "check", "flow.py:plotting", "--json", code=1).json
    errors = [
        (each["check"], each["environment"], each["step"]) for each in found if each["level"] == "error"
    ]
    assert errors == [("python", "farther", ""), ("python", "future", ""), ("imports", "serving", "plot")]
    assert "no Python 3.98 is installed" in found[1]["what"]
    assert "environment `future` is that of step `far`" in found[1]["why"]
    assert found[2]["mend"].startswith("add `matplotlib` to the requirements of environment `serving`")
    refused = tilth("run", "flow.py:plotting", code=1).stderr
    assert "no Python 3.98 is installed" in refused
    assert "no Python 3.97 is installed" in refused
    assert "no Python 3.97 is installed" in tilth("plan", "flow.py:plotting", code=1).stderr


def test_an_environment_that_cannot_be_locked_is_one_finding_among_others(
    tilth: Tilth, flow: Path, links: Path
) -> None:
    (flow / "flow.py").write_text(FLOW.replace("scikit-learn==1.2.2", "scikit-lern"))
    (found,) = tilth("env", "check", "flow.py:serving_it", "--json", code=1).json
    assert (found["level"], found["check"], found["environment"]) == ("error", "environment", "serving")
    assert "no index has a package `scikit-lern`" in found["why"]
    assert "environment `serving` is that of step `serve`" in found["why"]
    assert found["mend"] == "did you mean `scikit-learn`?"


def test_a_lock_in_the_project_that_does_not_fit_names_each_package(
    tilth: Tilth, flow: Path, links: Path
) -> None:
    wheel = "https://e.org/scikit_learn-1.2.2-cp27-cp27m-win32.whl"
    (flow / "pylock.serving.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "scikit-learn"\nversion = "1.2.2"\n'
        f'wheels = [{{ url = "{wheel}", hashes = {{ sha256 = "00" }} }}]\n'
    )
    (found,) = tilth("env", "check", "flow.py:serving_it", "--json", code=1).json
    assert (found["check"], found["environment"]) == ("lock", "serving")
    assert "its wheels are for cp27 on win32" in found["why"]
    alone = tilth("env", "check", "pylock.serving.toml", code=1)
    assert "has no file for" in alone.stdout
    elsewhere = tilth(
        "env", "check", "pylock.serving.toml", "--platform", "aarch64-manylinux", "--python", "3.12", code=1
    )
    assert "has no file for linux-aarch64, Python 3.12" in elsewhere.stdout
    assert "no platform" in tilth("env", "check", "pylock.serving.toml", "--platform", "x", code=1).stderr
    assert (
        "is for a lock file" in tilth("env", "check", "flow.py:plain", "--platform", "macos", code=2).stderr
    )


def test_known_vulnerabilities_are_told_where_a_source_is_set(
    tilth: Tilth, flow: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {
        "id": "PYSEC-2024-7",
        "summary": "a model may run code",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "scikit-learn"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.5.0"}]}],
            }
        ],
    }
    (flow / "osv.json").write_text(json.dumps(record))
    checked = tilth("env", "check", "flow.py:serving_it", env={"TILTH_ADVISORIES": "osv.json"})
    assert checked.stdout.splitlines()[-4:] == snapshot(
        [
            "warning: `scikit-learn` 1.2.2 has a known vulnerability: PYSEC-2024-7",
            "  a model may run code",
            "  in environment `serving`",
            "  hint: require `scikit-learn>=1.5.0`",
        ]
    )
    service = {"TILTH_ADVISORIES": "http://user:hunter2@127.0.0.1:9"}
    down = tilth("env", "check", "flow.py:serving_it", env=service)
    assert "the advisory service does not answer" in down.stdout
    assert "hunter2" not in str(down)
    assert "hunter2" not in tilth("settings", env=service).stdout
    assert "since tilth is offline" in tilth("env", "check", "flow.py:plain", "--offline", env=service).stdout
    assert "advisor" not in str(tilth("plan", "flow.py:plain", env=service))


def test_a_run_is_checked_by_its_records(tilth: Tilth, flow: Path, links: Path) -> None:
    tilth("run", "flow.py:serving_it", code=None)
    checked = tilth("env", "check", "serving_it-1")
    assert "step `serve` may not read what step `fit` gives" in checked.stdout
    assert checked.stderr.startswith("checked run `serving_it-1`: 2 environments, 2 steps")
    assert "there is no file and no run `nothing`" in tilth("env", "check", "nothing", code=1).stderr
    assert "there is no file `nothing.py`" in tilth("env", "check", "nothing.py", code=2).stderr


@pytest.fixture
def venv(tmp_path: Path, links: Path) -> Callable[..., None]:
    """A virtual environment of the project's own, and a way to install into it."""
    subprocess.run([find_uv_bin(), "venv", "-q", tmp_path / ".venv"], check=True)

    def install(*requirements: str) -> None:
        command = [find_uv_bin(), "pip", "install", "-q", "--python", tmp_path / ".venv", *requirements]
        subprocess.run(command, check=True)

    return install


def test_what_changed_in_the_client_since_the_last_run_is_told_once(
    tilth: Tilth, flow: Path, links: Path, venv: Callable[..., None]
) -> None:
    python = {"TILTH_PYTHON": str(flow / ".venv/bin/python")}
    venv("scikit-learn==1.2.2")
    tilth("run", "flow.py:plain", env=python)
    assert tilth("env", "check", "flow.py:plain", env=python).stdout == ""
    venv("scikit-learn==1.5.0")
    told = "the client's environment is not what run `plain-1` was compiled with"
    checked = tilth("env", "check", "flow.py:plain", env=python).stdout
    assert told in checked
    assert "1 package changed: `scikit-learn` 1.2.2 -> 1.5.0" in checked
    assert told in tilth("env", "check", "plain-1", env=python).stdout
    assert told in tilth("plan", "flow.py:plain", env=python).stderr
    assert told in tilth("run", "flow.py:plain", env=python).stderr
    assert "the client's environment" not in tilth("run", "flow.py:plain", env=python).stderr


def test_the_client_is_compared_with_the_lock_of_the_project(
    tilth: Tilth, flow: Path, links: Path, venv: Callable[..., None]
) -> None:
    build_wheel(links, "left-pad", "1.0")
    (flow / "pyproject.toml").write_text(
        '[project]\nname = "flow"\nversion = "1"\nrequires-python = ">=3.10"\n'
        'dependencies = ["scikit-learn==1.5.0"]\n[dependency-groups]\nextra = ["left-pad"]\n'
    )
    uv = [find_uv_bin(), "lock", "-q", "--no-index", "--find-links", links]
    subprocess.run(
        uv, cwd=flow, check=True, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(flow / ".venv")}
    )
    python = {"TILTH_PYTHON": str(flow / ".venv/bin/python")}
    venv("scikit-learn==1.2.2", "left-pad")
    checked = tilth("env", "check", "flow.py:plain", env=python).stdout
    assert "the client's environment is not what `uv.lock` says" in checked
    assert "1 package changed: `scikit-learn` 1.5.0 -> 1.2.2" in checked
    assert "left-pad" not in checked
    venv("scikit-learn==1.5.0")
    assert tilth("env", "check", "flow.py:plain", env=python).stdout == ""
    (flow / "uv.lock").write_text("version = ")
    assert "`uv.lock` cannot be read" in tilth("env", "check", "flow.py:plain", env=python).stdout


def test_a_yanked_pin_is_a_warning_of_the_run_and_no_other_version_an_error(
    tilth: Tilth, flow: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    with SimpleIndex(links) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        index.yank("scikit_learn-1.5.0-py3-none-any.whl", "it forgets")
        said = tilth("run", "flow.py:serving_it", code=None).stderr
        assert '`scikit-learn==1.5.0` is yanked (reason: "it forgets")' in said
        (flow / "flow.py").write_text(FLOW.replace("scikit-learn==1.5.0", "scikit-learn>1.3"))
        refused = tilth("run", "flow.py:serving_it", code=1).stderr
        assert "`scikit-learn` 1.5.0 was yanked: it forgets" in refused
        assert "environment `training` is that of step `fit`" in refused


def test_a_source_that_does_not_build_says_what_the_system_lacks(
    tilth: Tilth, flow: Path, links: Path
) -> None:
    build_sdist(links, "shiny", "1.0", broken="fatal error: ffi.h: No such file or directory")
    (flow / "flow.py").write_text(FLOW.replace("scikit-learn==1.2.2", "shiny"))
    refused = tilth("run", "flow.py:serving_it", code=1).stderr
    assert "fatal error: ffi.h: No such file or directory" in refused
    assert "`apt-get install libffi-dev`" in refused
