"""What uv is asked, and what the locks say afterwards."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tomllib
from packaging.pylock import Pylock
from tests.index import build_wheel
from tests.simple_index import SimpleIndex

from tilth.define.environments import Environment
from tilth.environments import resolution, resolve, uv
from tilth.errors import DefinitionError, EnvironmentBroken, Unresolvable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.environments.locks import Locked

Here = Any  # see conftest.py


def versions(lock: Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.packages}


@pytest.mark.parametrize("as_file", [False, True])
def test_constraints_limit_without_asking(here: Here, as_file: bool) -> None:
    (here.root / "limits.txt").write_text("beta<2\ngamma-ray==1.0\n")
    constraints = "limits.txt" if as_file else ["beta<2", "gamma-ray==1.0"]
    assert versions(here.lock("alpha<2", constraints=constraints)) == {"alpha": "1.0", "beta": "1.0"}


@pytest.mark.parametrize("as_file", [False, True])
def test_overrides_replace_what_packages_ask_of_each_other(here: Here, as_file: bool) -> None:
    (here.root / "instead.txt").write_text("beta==1.0\n")
    with pytest.raises(Unresolvable):
        here.lock("alpha==2.0", "beta==1.0")
    overrides = "instead.txt" if as_file else ["beta==1.0"]
    assert versions(here.lock("alpha==2.0", overrides=overrides)) == {"alpha": "2.0", "beta": "1.0"}


@pytest.fixture
def served(index: Path, uv_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleIndex]:
    settings = uv_folder / "served.toml"
    settings.write_text("")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    with SimpleIndex(index) as served:
        yield served


def test_what_is_newer_than_the_cut_off_is_not_taken(here: Here, served: SimpleIndex) -> None:
    for file, when in (("beta-1.0", "2024-01-01"), ("beta-2.0", "2026-01-01")):
        served.uploaded[f"{file}-py3-none-any.whl"] = f"{when}T00:00:00Z"
    assert versions(here.lock("beta", index_url=served.url)) == {"beta": "2.0"}
    older = here.lock("beta", index_url=served.url, exclude_newer="2025-06-01")
    assert versions(older) == {"beta": "1.0"}
    assert older.exclude_newer == "2025-06-01"


def test_a_package_comes_from_its_own_index_and_others_do_not(
    here: Here, served: SimpleIndex, tmp_path: Path
) -> None:
    build_wheel(tmp_path / "own", "beta", "1.5")
    build_wheel(tmp_path / "own", "gamma-ray", "9.0")
    with SimpleIndex(tmp_path / "own") as own:
        lock = here.lock(
            "beta>=1", "gamma-ray", "alpha<2", index_url=served.url, package_indexes={"Beta": own.url}
        )
        assert versions(lock) == {"alpha": "1.0", "beta": "1.5", "gamma-ray": "1.0"}
        realised = here.realise(
            "beta>=1", "gamma-ray", "alpha<2", index_url=served.url, package_indexes={"Beta": own.url}
        )
        assert "1.5" in (realised.path / here.interpreter.library / "beta.py").read_text()
        with pytest.raises(Unresolvable):
            here.lock("beta>=2", index_url=served.url, package_indexes={"beta": own.url})


def test_a_package_with_an_index_of_its_own_is_asked_for(here: Here, served: SimpleIndex) -> None:
    lock = here.lock("gamma-ray", index_url=served.url, package_indexes={"beta": served.url})
    assert versions(lock) == {"beta": "2.0", "gamma-ray": "1.0"}


def test_credentials_are_for_a_host_that_is_asked(here: Here) -> None:
    with pytest.raises(DefinitionError, match=r"credentials for `example\.org`"):
        here.lock("beta", credentials={"example.org": "a"})


def test_a_lock_says_which_package_asked_for_which(here: Here) -> None:
    text = here.lock("alpha", "beta[more]").text
    found = {each["name"]: each["dependencies"] for each in tomllib.loads(text)["packages"]}
    assert found == {"alpha": [{"name": "beta"}], "beta": [{"name": "gamma-ray"}], "gamma-ray": []}
    Pylock.from_dict(tomllib.loads(text)).validate()


def test_uvs_annotations_are_read() -> None:
    text = (
        "numpy==2.4.6\n    # via pandas\npandas==2.3.3\n    # via -r r.txt\ntzdata==2026.6\n    # via\n"
        "    #   pandas\n    #   python-dateutil\n-e ./libs/x\n    # via (stdin)\n"
    )
    found = resolution.dependencies(text)
    assert found["pandas"] == {"numpy", "tzdata"}
    assert found["python-dateutil"] == {"tzdata"}


def test_an_upgrade_of_one_package_leaves_the_others(here: Here, index: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    build_wheel(own, "one", "1.0")
    build_wheel(own, "two", "1.0")
    environment = Environment("x", requirements=["one", "two"], find_links=[str(own)])
    here.lock_of(environment)
    build_wheel(own, "one", "2.0")
    build_wheel(own, "two", "2.0")
    assert versions(here.lock_of(environment)) == {"one": "1.0", "two": "1.0"}  # time changes nothing
    assert versions(here.lock_of(environment, upgrade=["two"])) == {"one": "1.0", "two": "2.0"}
    assert versions(here.lock_of(environment)) == {"one": "1.0", "two": "2.0"}
    assert versions(here.lock_of(environment, upgrade=True)) == {"one": "2.0", "two": "2.0"}


def test_a_yanked_version_that_is_pinned_is_warned_of(
    here: Here, served: SimpleIndex, caplog: pytest.LogCaptureFixture
) -> None:
    served.yanked["beta-1.0-py3-none-any.whl"] = "it deletes files"
    with caplog.at_level(logging.WARNING):
        here.lock("beta==1.0", index_url=served.url)
    assert "it deletes files" in caplog.text


def test_a_universal_lock_has_what_each_platform_needs(here: Here) -> None:
    text = resolve(
        {
            "name": "x",
            "requirements": ["alpha ; sys_platform == 'win32'", "gamma-ray ; sys_platform == 'linux'"],
        },
        root=here.root,
        interpreter=here.interpreter,
        home=here.home,
        universal=True,
    )
    document = tomllib.loads(text)
    assert {each["name"] for each in document["packages"]} == {"alpha", "beta", "gamma-ray"}
    assert document["requires-python"] == f">={here.interpreter.minor}"


def test_uv_installs_a_lock_of_ours(here: Here, tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(here.lock("alpha<2", "space-one").text)
    venv = tmp_path / "venv"
    subprocess.run([uv.binary(), "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run(
        [
            uv.binary(),
            "pip",
            "sync",
            "--quiet",
            "--python",
            venv / "bin" / "python",
            tmp_path / "pylock.toml",
        ],
        check=True,
    )
    code = "import alpha, beta, space.one; print(alpha.VERSION, beta.VERSION, space.one.ONE)"
    done = subprocess.run([venv / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "1.0 2.0 1\n"


def test_pip_installs_a_lock_of_ours(here: Here, tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(here.lock("alpha<2", "space-one").text)
    target = tmp_path / "target"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
         "--target", target, "-r", tmp_path / "pylock.toml"],
        check=True,
    )  # fmt: skip
    assert (target / "beta.py").read_text() == "VERSION = '2.0'\n"
    assert (target / "space" / "one.py").exists()


def test_a_wheel_and_a_source_archive_by_url_are_locked_with_their_hashes(
    here: Here, served: SimpleIndex
) -> None:
    files = served.url.replace("/simple/", "/files/")
    lock = here.lock(
        f"beta @ {files}beta-1.0-py3-none-any.whl",
        f"from-source @ {files}from_source-1.0.tar.gz",
        index_url=served.url,
    )
    assert versions(lock) == {"beta": "1.0", "from-source": "1.0"}
    assert all(each.digest.startswith("sha256:") for each in lock.packages)


def test_hashes_of_requirements_hold(here: Here, served: SimpleIndex) -> None:
    right = hashlib.sha256((served.folder / "beta-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    for digest in (right, "0" * 64):
        (here.root / "r.txt").write_text(f"beta==1.0 \\\n    --hash=sha256:{digest}\n")
        if digest == right:
            assert versions(here.lock(requirements="r.txt", index_url=served.url)) == {"beta": "1.0"}
            continue
        with pytest.raises(EnvironmentBroken, match="no file of `beta` on the index has a hash"):
            here.lock(requirements="r.txt", index_url=served.url)


def test_a_password_in_an_included_file_is_refused(here: Here) -> None:
    (here.root / "r.txt").write_text("--index-url https://me:hunter2@example.org/simple\nbeta\n")
    with pytest.raises(DefinitionError, match=r"`r\.txt`") as caught:
        here.lock(requirements="r.txt")
    assert "hunter2" not in str(caught.value)
    (here.root / "r.txt").write_text("--extra-index-url https://${WHO}:${WHAT}@example.org/simple\nbeta\n")
    assert here.find(Environment("training", requirements="r.txt")) is None
