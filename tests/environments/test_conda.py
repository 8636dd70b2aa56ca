"""Conda's part of environments, from a channel in a folder."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import tomllib
from packaging.pylock import Pylock
from tests.channel import MINOR, PLACEHOLDER, SUBDIR, VERSION, build_package, build_python
from tests.index import build_wheel

from tilth.define.environments import Environment
from tilth.environments import locks, prefixes, pruning, venvs
from tilth.environments.sources import expand
from tilth.errors import (
    DefinitionError,
    DiskFull,
    EnvironmentBroken,
    IndexUnavailable,
    LockStale,
    Unresolvable,
)
from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Ended
    from tests.environments.conftest import Here

    from tilth.environments.locks import Locked

pytest.importorskip("rattler")


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages that every test may ask for, and none may change."""
    folder = tmp_path_factory.mktemp("channels") / "a channel"
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    build_python(folder)
    for version in ("3.8", "3.9"):
        build_package(
            folder,
            "geo",
            version,
            files={
                "share/geo.txt": f"geo {version} in {PLACEHOLDER}\n",
                "bin/geo-info": f"#!/bin/sh\ncat {PLACEHOLDER}/share/geo.txt\n",
            },
            executable=["bin/geo-info"],
        )
    # Its distribution is called otherwise, and asks for what no index has.
    build_package(
        folder,
        "pylib",
        "1.5",
        python=True,
        distribution="beta",
        requires=["nowhere-to-be-had>=1", "gamma-ray; extra == 'more'"],
        files={"beta_of_conda.py": "WHERE = __file__\n"},
        depends=["geo >=3"],
    )
    build_package(folder, "needs-old", "1.0", depends=["geo <3.9"])
    build_package(folder, "needs-cuda", "1.0", depends=["__cuda >=12"])
    build_package(folder, "needs-nothing-there", "1.0", depends=["void >=7"])


class Conda:
    """A project with an `environment.yml`."""

    def __init__(self, here: Here, channel: Path) -> None:
        self.here = here
        self.channel = channel

    def declare(self, *lines: str, channels: list[str] | None = None, **options: Any) -> dict[str, Any]:
        document: dict[str, Any] = {
            "channels": channels if channels is not None else [self.channel.as_uri(), "nodefaults"],
            "dependencies": [each for each in lines if not each.startswith("pip:")],
        }
        pip = [each.removeprefix("pip:") for each in lines if each.startswith("pip:")]
        if pip:
            document["dependencies"] += ["pip", {"pip": pip}]
        document.update({key: options.pop(key) for key in ("variables",) if key in options})
        (self.here.root / "environment.yml").write_text(json.dumps(document))  # which is YAML, too
        declared = Environment("training", conda="environment.yml", **options).to_json()
        return expand(declared, root=self.here.root, client=None, imported=tuple)  # type: ignore[arg-type]

    def lock(self, *lines: str, **options: Any) -> Locked:
        call = {key: options.pop(key) for key in ("upgrade", "offline") if key in options}
        return self.here.lock_declared(self.declare(*lines, **options), **call)

    def run(self, lock: Locked, code: str) -> str:
        python = venvs.realise(lock, self.here.home).python
        return subprocess.run(
            [python, "-I", "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture
def conda(here: Here, channel: Path) -> Conda:
    return Conda(here, channel)


def versions(lock: Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.system}


def test_a_lock_has_what_conda_installs_with_its_python(conda: Conda) -> None:
    lock = conda.lock("geo", "pylib")
    assert versions(lock) == {"geo": "3.9", "pylib": "1.5", "python": VERSION}
    assert lock.python == MINOR
    assert lock.packages == ()
    geo = lock.system[0]
    assert geo.subdir == SUBDIR
    assert geo.digest.startswith("sha256:")
    assert geo.url == f"{conda.channel.as_uri()}/{SUBDIR}/geo-3.9-0.tar.bz2"


def test_the_prefix_stands_where_its_files_say_it_does_and_the_venv_sees_it(conda: Conda) -> None:
    lock = conda.lock("geo", "pylib")
    prefix = prefixes.prefix_folder(lock.system, conda.here.home)
    code = "import sys, beta_of_conda as b; print(sys.base_prefix); print(b.WHERE); print(sys.prefix)"
    base, where, venv = conda.run(lock, code).splitlines()
    assert base == str(prefix)
    assert where == f"{prefix}/lib/python{MINOR}/site-packages/beta_of_conda.py"
    assert Path(venv).parent == conda.here.home.environments
    assert (prefix / "share" / "geo.txt").read_text() == f"geo 3.9 in {prefix}\n"


def test_pip_s_part_stands_on_conda_s_without_installing_it_twice(conda: Conda) -> None:
    # alpha 1.0 asks for beta>=1, which is what the distribution in `pylib` is called.
    lock = conda.lock("pylib", "pip:alpha==1.0")
    assert [(each.name, each.version) for each in lock.packages] == [("alpha", "1.0")]
    assert conda.run(lock, "import alpha, beta_of_conda; print(alpha.VERSION)") == "1.0"
    assert locks.modules(lock, conda.here.home)["beta"] == {"beta_of_conda"}


def test_an_extra_of_what_conda_installs_is_pip_s_matter(conda: Conda) -> None:
    lock = conda.lock("pylib", "pip:beta[more]")
    assert [each.name for each in lock.packages] == ["gamma-ray"]


def test_what_was_uploaded_later_is_not_taken(conda: Conda) -> None:
    with pytest.raises(Unresolvable):
        conda.lock("geo", exclude_newer="2023-12-31")
    assert versions(conda.lock("geo", exclude_newer="2024-01-02"))["geo"] == "3.9"


def test_a_machine_without_a_gpu_locks_for_one_with(conda: Conda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "11.8")
    with pytest.raises(Unresolvable, match="__cuda"):
        conda.lock("needs-cuda")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    assert versions(conda.lock("needs-cuda"))["needs-cuda"] == "1.0"


def test_pip_s_part_that_wants_another_version_than_conda_gives_is_refused_with_both(conda: Conda) -> None:
    with pytest.raises(Unresolvable) as caught:
        conda.lock("pylib", "pip:alpha==2.0")  # beta>=2
    assert "beta>=2" in str(caught.value)
    assert "conda installs beta 1.5" in str(caught.value)


def test_a_source_distribution_is_built_with_conda_s_python(conda: Conda, index: Path) -> None:
    lock = conda.lock("geo", "pip:from-source")
    assert {each.name for each in lock.packages} == {"beta", "from-source"}
    assert conda.run(lock, "import from_source; print(from_source.VERSION)") == "1.0"


def test_a_lock_is_found_again_without_asking_and_without_rattler(
    conda: Conda, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = conda.declare("pylib", "pip:alpha==1.0")
    made = conda.here.lock_declared(declared)
    monkeypatch.setitem(sys.modules, "rattler", None)
    found = locks.find_lock(
        declared, root=conda.here.root, interpreter=conda.here.interpreter, home=conda.here.home
    )
    assert found == made
    assert venvs.realise(found, conda.here.home).created
    opened = locks.open_lock(
        made.text, declared, root=conda.here.root, interpreter=conda.here.interpreter, home=conda.here.home
    )
    assert (opened.digest, opened.system, opened.packages) == (made.digest, made.system, made.packages)


def test_what_conda_installs_counts_in_the_digest(conda: Conda) -> None:
    assert conda.lock("geo").digest != conda.lock("geo=3.8").digest
    assert conda.lock("geo").digest == conda.lock("geo>=3.9").digest


def test_an_environment_without_packages_of_conda_has_the_digest_it_always_had(
    conda: Conda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rattler", None)
    lock = conda.lock("python", "pip", "pip:alpha==1.0")
    assert lock.system == ()
    assert lock.digest == conda.here.lock("alpha==1.0").digest


def test_without_the_extra_packages_of_conda_are_refused_with_how_to_get_it(
    conda: Conda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tilth.environments.conda.find_spec", lambda name: None)
    with pytest.raises(DefinitionError) as caught:
        conda.declare("geo", "pytorch=2.4")
    assert "`geo`, `pytorch=2.4`" in str(caught.value)
    assert "pip install 'tilth[conda]'" in str(caught.value)
    assert '"geo" "torch==2.4.*"' in str(caught.value)


def test_the_declared_python_goes_before_that_of_the_file(conda: Conda) -> None:
    declared = conda.declare("python=3.7", "geo", python=MINOR)
    assert declared["system"]["specs"] == ["geo", f"python {MINOR}.*", "python >=3.10"]
    assert "python" not in declared
    assert conda.here.lock_declared(declared).python == MINOR


def test_a_name_that_no_channel_has_is_an_error_with_the_nearest(conda: Conda) -> None:
    with pytest.raises(Unresolvable, match="did you mean `geo`"):
        conda.lock("geoo")


def test_a_version_that_no_channel_has_is_an_error_with_those_there_are(conda: Conda) -> None:
    with pytest.raises(Unresolvable, match=r"there is geo 3\.9, 3\.8"):
        conda.lock("geo>=4")


def test_packages_that_exclude_each_other_are_an_error_in_the_solver_s_words(conda: Conda) -> None:
    with pytest.raises(Unresolvable) as caught:
        conda.lock("geo=3.9", "needs-old")
    assert "needs-old" in str(caught.value)
    assert "geo <3.9" in str(caught.value)


def test_what_a_package_needs_and_no_channel_has_is_named(conda: Conda) -> None:
    with pytest.raises(Unresolvable, match="void"):
        conda.lock("needs-nothing-there")


def test_a_spec_that_is_none_is_refused(conda: Conda) -> None:
    with pytest.raises(DefinitionError, match="`geo>=>1`"):
        conda.lock("geo>=>1")


def test_a_channel_that_is_not_there_is_an_error(conda: Conda, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no channel `file:///nowhere/at/all/`"):
        conda.lock("geo", channels=["file:///nowhere/at/all"])


def test_a_channel_that_does_not_answer_is_an_error(conda: Conda) -> None:
    with pytest.raises(IndexUnavailable, match=r"the channel `http://127\.0\.0\.1:9/geo/`.* does not answer"):
        conda.lock("geo", channels=["http://127.0.0.1:9/geo"])


def test_a_channel_on_the_network_is_not_asked_offline(conda: Conda) -> None:
    with pytest.raises(IndexUnavailable, match="tilth is offline"):
        conda.lock("geo", channels=["http://127.0.0.1:9/geo"], offline=True)


@pytest.mark.parametrize("url", ["https://me:secret@example.org/geo", "https://example.org/t/tk-123/geo"])
def test_a_channel_with_a_password_is_refused_without_showing_it(conda: Conda, url: str) -> None:
    with pytest.raises(DefinitionError, match="holds a password") as caught:
        conda.declare("geo", channels=[url])
    assert "secret" not in str(caught.value)
    assert "tk-123" not in str(caught.value)


def test_a_channel_may_be_a_path_beside_the_file(here: Here) -> None:
    fill(here.root / "here")
    lock = Conda(here, here.root).lock("geo", channels=["./here"])
    assert versions(lock) == {"geo": "3.9", "python": VERSION}


def test_a_spec_may_name_a_channel_that_is_in_no_list(here: Here, channel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build_package(other, "rare", "1.0")
    lock = Conda(here, channel).lock(f"{other.as_uri()}::rare")
    assert versions(lock) == {"python": VERSION, "rare": "1.0"}


def test_an_upgrade_of_one_package_leaves_the_others(here: Here) -> None:
    folder = here.root / "here"
    build_python(folder)
    for name in ("one", "two"):
        build_package(folder, name, "1.0")
    conda = Conda(here, folder)
    conda.lock("one", "two")
    for name in ("one", "two"):
        build_package(folder, name, "2.0")
    assert versions(conda.lock("one", "two"))["one"] == "1.0"
    upgraded = versions(conda.lock("one", "two", upgrade=["two"]))
    assert (upgraded["one"], upgraded["two"]) == ("1.0", "2.0")
    assert versions(conda.lock("one", "two", upgrade=True))["one"] == "2.0"


def test_a_package_that_was_replaced_is_refused_and_nothing_half_made_stays(here: Here) -> None:
    folder = here.root / "here"
    fill(folder)
    conda = Conda(here, folder)
    lock = conda.lock("geo")
    build_package(folder, "geo", "3.9", files={"share/geo.txt": "something else"})
    with pytest.raises(EnvironmentBroken, match="not the one that was locked"):
        venvs.realise(lock, here.home)
    assert not prefixes.is_installed(lock.system, here.home)
    assert [each.name for each in here.home.conda.iterdir() if not each.name.startswith(".")] == []
    assert list(here.home.conda.glob(".tmp-*")) == []


def test_the_prefix_is_read_only_and_has_bytecode(conda: Conda) -> None:
    lock = conda.lock("pylib")
    prefix = prefixes.install(lock.system, conda.here.interpreter, conda.here.home, name="x").prefix
    writable = [
        path for path in Path(prefix).rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222
    ]
    assert writable == []
    library = Path(prefix) / "lib" / f"python{MINOR}" / "site-packages"
    assert list((library / "__pycache__").glob("beta_of_conda.*.pyc"))


def test_ten_at_once_make_a_prefix_once(conda: Conda) -> None:
    lock = conda.lock("pylib")
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: venvs.realise(lock, conda.here.home), range(10)))
    assert sum(each.created for each in made) == 1
    assert conda.run(lock, "import beta_of_conda") == ""


def test_processes_at_once_make_a_prefix_once(conda: Conda) -> None:
    lock = conda.lock("pylib")
    (conda.here.root / "lock.json").write_bytes(locks.msgspec.json.encode(lock))
    code = (
        "import sys, msgspec; from pathlib import Path; from tilth.home import Home\n"
        "from tilth.environments.locks import Locked; from tilth.environments.venvs import realise\n"
        "lock = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Locked)\n"
        "print(realise(lock, Home(Path(sys.argv[2]))).created)\n"
    )
    arguments = [sys.executable, "-c", code, str(conda.here.root / "lock.json"), str(conda.here.home.root)]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [each.communicate()[0].strip() for each in running]
    assert sorted(told) == ["False", "False", "False", "True"]


def test_a_prefix_that_was_taken_away_is_made_again(conda: Conda) -> None:
    lock = conda.lock("pylib")
    venvs.realise(lock, conda.here.home)
    prefixes.remove_tree(prefixes.prefix_folder(lock.system, conda.here.home))
    assert venvs.realise(lock, conda.here.home).created
    assert conda.run(lock, "import beta_of_conda") == ""


def test_killed_in_the_middle_nothing_half_made_is_used(conda: Conda) -> None:
    lock = conda.lock("pylib")
    (conda.here.root / "lock.json").write_bytes(locks.msgspec.json.encode(lock))
    code = (
        "import sys, msgspec; from pathlib import Path; from tilth.home import Home\n"
        "from tilth.environments.locks import Locked; from tilth.environments.venvs import realise\n"
        "import rattler, tilth.environments.prefixes\n"
        "lock = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Locked)\n"
        "print('go', flush=True)\n"
        "realise(lock, Home(Path(sys.argv[2])))\n"
    )
    arguments = [sys.executable, "-c", code, str(conda.here.root / "lock.json"), str(conda.here.home.root)]
    unfinished = 0
    for delay in (0.01, 0.04, 0.08, 0.15, 0.25):
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.communicate()
        unfinished += not prefixes.is_installed(lock.system, conda.here.home)
    assert unfinished
    assert conda.run(lock, "import beta_of_conda") == ""
    assert list(conda.here.home.conda.glob(".tmp-*")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.faults
def test_a_full_disk_is_named_and_leaves_nothing(here: Here, small_disk: Path) -> None:
    folder = here.root / "here"
    fill(folder)
    # Text, so that it is rewritten for its place and not linked from the cache.
    body = PLACEHOLDER + "".join(random.choices("abcdefghij", k=600_000))
    build_package(folder, "bulky", "1.0", files={"share/bulky.txt": body})
    here.home = Home(small_disk / "home")
    lock = Conda(here, folder).lock("bulky", "pylib")
    for left in (20_000, 400_000, 700_000, 1_000_000):
        (small_disk / "taken").unlink(missing_ok=True)
        (small_disk / "taken").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - left))
        with pytest.raises(DiskFull, match="no space left"):
            venvs.realise(lock, here.home)
        assert not prefixes.is_installed(lock.system, here.home)
        assert list(here.home.conda.glob(".tmp-*")) == []
        prefixes.remove_tree(here.home.cache / "conda" / "packages")
    (small_disk / "taken").unlink()
    assert venvs.realise(lock, here.home).created


def test_what_no_environment_needs_any_more_is_pruned(conda: Conda) -> None:
    home = conda.here.home
    kept, gone = conda.lock("pylib"), conda.lock("geo=3.8")
    venvs.realise(kept, home)
    venvs.realise(gone, home)
    stock = pruning.survey(home)
    assert [each.thing.path for each in pruning.decide(stock, pruning.Wishes()) if each.goes] == []
    wishes = pruning.Wishes(only=frozenset({gone.digest}))
    done = pruning.remove(stock, pruning.decide(stock, wishes), home)
    assert {(each.thing.kind, each.thing.name) for each in done.gone if each.thing.kind != "environment"} == {
        ("prefix", ""),
        ("conda package", "geo-3.8-0"),
    }
    assert not prefixes.is_installed(gone.system, home)
    assert conda.run(kept, "import beta_of_conda") == ""
    stock = pruning.survey(home)
    pruning.remove(stock, pruning.decide(stock, pruning.Wishes(all=True)), home)
    assert [each for each in home.conda.iterdir() if not each.name.startswith(".users")] == []
    assert [each for each in prefixes.packages_folder(home).iterdir() if each.is_dir()] == []
    assert venvs.realise(kept, home).created


def test_a_lock_of_another_platform_is_refused(conda: Conda) -> None:
    declared = conda.declare("geo")
    lock = conda.here.lock_declared(declared)
    text = lock.text.replace(f'subdir = "{SUBDIR}"', 'subdir = "win-64"')
    with pytest.raises(Unresolvable, match=f"is for win-64; this machine is {SUBDIR}"):
        locks.open_lock(
            text, declared, root=conda.here.root, interpreter=conda.here.interpreter, home=conda.here.home
        )


PIPELINE = """
from tilth import Environment, pipeline, step

environment = Environment("geo", conda="environment.yml", find_links=["wheels"])

@step(environment=environment)
def look() -> list:
    import os, subprocess, sys
    import beta_of_conda, wheely
    told = subprocess.run(["geo-info"], check=True, capture_output=True, text=True).stdout
    assert os.environ["CONDA_PREFIX"] == sys.base_prefix
    folders = os.environ["PATH"].split(":")
    assert folders[:2] == [sys.prefix + "/bin", sys.base_prefix + "/bin"]
    print("told:", told.split(" in ")[0], wheely.VERSION, os.environ["GEO_LEVEL"])
    return []

@pipeline
def main():
    look()
"""


@pytest.fixture
def project(tmp_path: Path, channel: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '1'\n")
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    build_wheel(tmp_path / "wheels", "wheely", "1.0", requires=["beta>=1.5"])
    (tmp_path / "environment.yml").write_text(
        f"""
channels: ["{channel.as_uri()}", nodefaults]
dependencies: [python, pylib, pip, {{pip: [wheely]}}]
variables: {{GEO_LEVEL: "7"}}
"""
    )
    return tmp_path


def executed(tilth: Callable[..., Ended]) -> list[dict[str, Any]]:
    """The recorded environments of steps."""
    return [each for each in tilth("env", "list", "--json").json if each["role"] == "execution"]


def test_a_step_uses_what_conda_and_what_pip_installed(
    project: Path, tilth: Callable[..., Ended], home: Path
) -> None:
    assert "told: geo 3.9 1.0 7" in tilth("run", "pipeline.py").stdout
    recorded = executed(tilth)[0]
    assert {each["name"] for each in recorded["system"]} == {"geo", "pylib", "python"}
    assert re.search(r"conda +geo 3\.9 0\n", tilth("env", "show", "geo").stdout)


def test_a_run_is_repeated_and_resumed_offline(project: Path, tilth: Callable[..., Ended]) -> None:
    (project / "fail").touch()
    source = (project / "pipeline.py").read_text()
    failing = "    assert not os.path.exists('fail')\n    told ="
    (project / "pipeline.py").write_text(source.replace("    told =", failing))
    tilth("run", "pipeline.py", code=1)
    (project / "fail").unlink()
    first = executed(tilth)[0]["id"]
    tilth("runs", "resume", "main-1", "--offline")
    assert [each["id"] for each in executed(tilth)] == [first]
    again = tilth("run", "pipeline.py", "--no-cache", "--offline")
    assert "environment geo: reused" in again.stderr
    assert re.search(r"conda packages +3 ", tilth("cache", "info").stdout)
    assert tilth("env", "shell", "geo", "--", "geo-info").stdout.startswith("geo 3.9 in ")
    tilth("env", "checkout", "main-2/look", "there", "--offline")
    done = subprocess.run([project / "there" / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "told: geo 3.9 1.0 7" in done.stdout + done.stderr
    tilth("env", "check", "pipeline.py", "--offline")
    tilth("env", "check", "main-1", "--offline")


def test_what_is_cached_is_installed_again_offline_with_the_channel_gone(here: Here) -> None:
    folder = here.root / "here"
    fill(folder)
    lock = Conda(here, folder).lock("pylib")
    venvs.realise(lock, here.home)
    prefixes.remove_tree(here.home.conda)
    prefixes.remove_tree(here.home.environments)
    prefixes.remove_tree(folder)
    assert venvs.realise(lock, here.home, offline=True).created
    assert Conda(here, folder).run(lock, "import beta_of_conda") == ""


class Channel(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture
def served(here: Here) -> Iterator[tuple[Path, str]]:
    """A channel on HTTP: its folder, its URL."""
    folder = here.root / "here"
    fill(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Channel, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_channel_on_http_is_solved_and_installed_and_used_offline(
    here: Here, served: tuple[Path, str]
) -> None:
    folder, url = served
    conda = Conda(here, folder)
    lock = conda.lock("pylib", channels=[url])
    assert lock.system[0].url == f"{url}/{SUBDIR}/geo-3.9-0.tar.bz2"
    with pytest.raises(IndexUnavailable, match=r"not cached: geo-3\.9-0\.tar\.bz2"):
        venvs.realise(lock, here.home, offline=True)
    venvs.realise(lock, here.home)
    prefixes.remove_tree(here.home.conda)
    prefixes.remove_tree(here.home.environments)
    assert venvs.realise(lock, here.home, offline=True).created
    # Another declaration is solved with what is known of the channel.
    assert versions(conda.lock("geo", channels=[url], offline=True))["geo"] == "3.9"


def test_a_download_that_is_not_what_was_locked_is_refused(here: Here, served: tuple[Path, str]) -> None:
    folder, url = served
    lock = Conda(here, folder).lock("geo", channels=[url])
    build_package(folder, "geo", "3.9", files={"share/geo.txt": "something else"})
    with pytest.raises(EnvironmentBroken, match="not the one that was locked"):
        venvs.realise(lock, here.home)
    assert not prefixes.is_installed(lock.system, here.home)


def test_a_download_that_is_gone_is_an_error(here: Here, served: tuple[Path, str]) -> None:
    folder, url = served
    lock = Conda(here, folder).lock("geo", channels=[url])
    (folder / SUBDIR / "geo-3.9-0.tar.bz2").unlink()
    with pytest.raises(EnvironmentBroken, match=r"is gone\n(.*\n)*.*geo-3\.9"):
        venvs.realise(lock, here.home)


def test_the_project_keeps_a_lock_with_conda_s_part_for_this_platform(
    project: Path, tilth: Callable[..., Ended], channel: Path
) -> None:
    written = tilth("env", "lock", "pipeline.py", "--json").json
    assert written[0]["packages"] == 4
    text = (project / "pylock.geo.toml").read_text()
    document = tomllib.loads(text)
    Pylock.from_dict(document).validate()
    assert [each["name"] for each in document["packages"]] == ["wheely"]
    assert [each["name"] for each in document["tool"]["tilth"]["conda"]] == ["geo", "pylib", "python"]
    assert document["tool"]["tilth"]["platform"]
    places = [each["url"] for each in document["tool"]["tilth"]["conda"]]
    assert places[0] == "path:" + quote(os.path.relpath(channel / SUBDIR / "geo-3.9-0.tar.bz2", project))
    tilth("run", "pipeline.py")
    assert tilth("env", "lock", "pipeline.py", "--json").json[0]["state"] == "unchanged"
    (project / "environment.yml").write_text(
        (project / "environment.yml").read_text().replace("pylib,", "pylib, geo=3.8,")
    )
    ended = tilth("run", "pipeline.py", code=1)
    assert "the lock of environment `geo` is stale" in ended.stderr
    assert "`conda: geo=3.8`" in ended.stderr
    changed = tilth("env", "lock", "pipeline.py", "--json").json
    assert changed[0]["changes"] == ["geo 3.9 -> 3.8"]
    tilth("run", "pipeline.py", "--no-cache", code=None)
    assert "~ geo 3.9 0 → 3.8 0 (conda)" in tilth("env", "diff", "main-1", "main-2").stdout
    exported = tilth("env", "export", "main-1/look", "--format", "requirements")
    assert "what conda installs beneath it is not in it: geo, pylib, python" in exported.stderr


def test_a_lock_for_another_platform_is_refused_for_conda_s_part(
    project: Path, tilth: Callable[..., Ended]
) -> None:
    ended = tilth("env", "lock", "pipeline.py", "--platform", "aarch64-manylinux", code=1)
    assert "locked for this machine alone" in ended.stderr


def test_another_tool_s_lock_without_conda_s_part_does_not_answer(conda: Conda) -> None:
    declared = conda.declare("geo")
    (conda.here.root / "pylock.training.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "other"\npackages = []\n'
    )
    with pytest.raises(LockStale, match="conda is asked for packages"):
        conda.here.lock_declared(declared)
