"""Sources to wheels: real sdists, repositories and folders, built in environments that are locked too."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.index import build_sdist, build_wheel, write_project
from tests.simple_index import SimpleIndex

from tilth.environments import builders_of, locks, uv, venvs
from tilth.environments.building import backends
from tilth.environments.files import remove_tree
from tilth.errors import DefinitionError, EnvironmentBroken, IndexUnavailable, SetupError, Unresolvable

if TYPE_CHECKING:
    from tests.environments.conftest import Here

    from tilth.records import Package


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """A folder of packages beside the index, which tests may fill: `find_links=["links"]`."""
    folder = tmp_path / "links"
    build_wheel(folder, "helper", "1.0")
    build_wheel(folder, "helper", "2.0", requires=["beta"])
    build_wheel(folder, "asked", "1.0")
    return folder


def package(lock: locks.Locked, name: str) -> Package:
    return next(each for each in lock.packages if each.name == name)


def versions(lock: locks.Locked) -> dict[str, str]:
    return {each.name: each.version for each in lock.packages}


def value(here: Here, lock: locks.Locked, expression: str) -> str:
    """What an expression with imports in front is in the environment: `import a; a.X`."""
    statements, _, last = expression.rpartition(";")
    python = venvs.realise(lock, here.home).python
    done = subprocess.run(
        [python, "-c", f"{statements}\nprint({last})"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", folder, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "more")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hooks of backends that are called."""
    called: list[str] = []
    call = backends._variables

    def note(venv: Path, temporary: Path) -> dict[str, str]:
        called.append(venv.name)
        return call(venv, temporary)

    monkeypatch.setattr(backends, "_variables", note)
    return called


def test_what_an_sdist_is_built_with_is_locked_hashed_and_recorded(here: Here, links: Path) -> None:
    build_sdist(links, "needy", "1.0", build_requires=["helper"])
    lock = here.lock("needy", find_links=["links"])
    assert value(here, lock, "import needy_built; needy_built.WITH") == "{'helper': '2.0'}"
    (builder,) = builders_of(lock, here.home)
    assert builder.digest == package(lock, "needy").builder
    assert (builder.name, versions(builder)) == ("build-needy", {"beta": "2.0", "helper": "2.0"})
    assert all(each.digest.startswith("sha256:") for each in builder.packages)
    assert builder.text.count("sha256 = ") == 2
    assert builder.python == lock.python


def test_the_digest_is_that_of_the_wheel_that_was_built(here: Here) -> None:
    lock = here.lock("from-source")
    built = package(lock, "from-source")
    (kept,) = (here.home.wheels / ".kept").glob("*/*.whl")
    assert built.digest == "sha256:" + hashlib.sha256(kept.read_bytes()).hexdigest()
    assert built.file == kept.name == "from_source-1.0-py3-none-any.whl"


def test_what_the_backend_asks_for_besides_is_there_when_it_builds(here: Here, links: Path) -> None:
    build_sdist(links, "dynamic", "1.0", build_requires=["helper<2"], dynamic_requires=["asked"])
    lock = here.lock("dynamic", find_links=["links"])
    told = value(here, lock, "import dynamic_built; dynamic_built.WITH")
    assert told == "{'helper': '1.0', 'asked': '1.0'}"
    (builder,) = builders_of(lock, here.home)
    assert versions(builder) == {"asked": "1.0", "helper": "1.0"}


def test_the_builder_is_apart_from_the_environment_that_wants_the_package(here: Here, links: Path) -> None:
    build_sdist(links, "needy", "1.0", build_requires=["helper"])
    lock = here.lock("needy", "helper==1.0", find_links=["links"])
    assert versions(lock) == {"helper": "1.0", "needy": "1.0"}
    assert value(here, lock, "import needy_built; needy_built.WITH") == "{'helper': '2.0'}"


def test_the_cut_off_date_holds_for_what_is_built_with(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "served"
    build_wheel(folder, "helper", "1.0")
    build_wheel(folder, "helper", "2.0")
    monkeypatch.delenv("UV_CONFIG_FILE")
    sdist = build_sdist(folder, "needy", "1.0", build_requires=["helper"])
    with SimpleIndex(folder) as index:
        index.uploaded = {
            "helper-1.0-py3-none-any.whl": "2024-01-01T00:00:00Z",
            "helper-2.0-py3-none-any.whl": "2025-06-01T00:00:00Z",
            sdist.name: "2024-01-01T00:00:00Z",
        }
        options = {"index_url": index.url}
        early = here.lock("needy", exclude_newer="2025-01-01", **options)
        late = here.lock("needy", exclude_newer="2025-12-01", **options)
        now = here.lock("needy", **options)
        assert value(here, early, "import needy_built; needy_built.WITH") == "{'helper': '1.0'}"
        assert value(here, late, "import needy_built; needy_built.WITH") == "{'helper': '2.0'}"
    assert early.lock == late.lock, "the sdist itself is the same one"
    assert early.digest != late.digest, "what it was built with counts"
    assert now.digest == late.digest


def test_a_build_is_shared_by_environments_and_made_once(here: Here, links: Path, hooks: list[str]) -> None:
    build_sdist(links, "needy", "1.0", build_requires=["helper"])
    build_sdist(links, "other", "1.0", build_requires=["helper"])
    one = here.lock("needy", find_links=["links"])
    assert len(hooks) == 2, "asked once, built once"
    two = here.lock("needy", "alpha", find_links=["links"])
    assert len(hooks) == 2
    assert package(one, "needy") == package(two, "needy")
    three = here.lock("other", find_links=["links"])
    assert len(hooks) == 4
    assert package(three, "other").builder == package(one, "needy").builder, "builders are shared"


def test_ten_processes_at_once_build_once(here: Here, links: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    sdist = build_sdist(links, "counted", "1.0", build_requires=["helper"])
    add_to_backend(
        sdist,
        f"import os\nopen({os.fspath(marks)!r} + '/' + str(os.getpid()), 'w').close()\n",
        hook="build_wheel",
    )
    code = f"""
import json, sys
from pathlib import Path
from tilth.environments import lock, probe
from tilth.home import Home
home = Home(Path({os.fspath(here.home.root)!r}))
name = "training-" + sys.argv[1]
declared = {{"name": name, "requirements": ["counted", "alpha" if int(sys.argv[1]) % 2 else "beta"],
             "find_links": ["links"]}}
made = lock(declared, root=Path({os.fspath(tmp_path)!r}), interpreter=probe(Path(sys.executable), home), home=home)
print(next(each.digest for each in made.packages if each.name == "counted"))
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(each)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for each in range(10)
    ]
    answers = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, answers
    assert len({digest for digest, _ in answers}) == 1
    assert len(list(marks.iterdir())) == 1


def add_to_backend(sdist: Path, code: str, *, hook: str = "") -> None:
    """Put code at the end of an sdist's backend, or at the beginning of one of its hooks."""
    with tarfile.open(sdist) as archive:
        entries = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}  # type: ignore[union-attr]
    (name,) = (each for each in entries if each.endswith("/backend.py"))
    text = entries[name].decode()
    if hook:
        lines = code.splitlines()
        start = text.index(f"def {hook}(")
        end = text.index("\n", start) + 1
        text = text[:end] + "".join(f"    {line}\n" for line in lines) + text[end:]
    else:
        text += code
    entries[name] = text.encode()
    with tarfile.open(sdist, "w:gz") as archive:
        for path, body in entries.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))


@pytest.mark.faults
def test_a_kill_in_the_middle_of_a_build_leaves_nothing_half_made(
    here: Here, links: Path, tmp_path: Path
) -> None:
    sdist = build_sdist(links, "slow", "1.0", build_requires=["helper"])
    started = tmp_path / "started"
    add_to_backend(
        sdist,
        f"import os, time\nfirst = not os.path.exists({os.fspath(started)!r})\n"
        f"open({os.fspath(started)!r}, 'w').close()\ntime.sleep(600 if first else 0)\n",
        hook="build_wheel",
    )
    code = f"""
import sys
from pathlib import Path
from tilth.environments import lock, probe
from tilth.home import Home
home = Home(Path({os.fspath(here.home.root)!r}))
declared = {{"name": "training", "requirements": ["slow"], "find_links": ["links"]}}
lock(declared, root=Path({os.fspath(tmp_path)!r}), interpreter=probe(Path(sys.executable), home), home=home)
"""
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 300
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.exists()
    time.sleep(random.uniform(0, 0.3))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lock = here.lock("slow", find_links=["links"])
    assert value(here, lock, "import slow_built; slow_built.WITH") == "{'helper': '2.0'}"
    assert not list(here.home.wheels.glob(".tmp-*"))


def test_a_lost_wheel_is_built_again_from_what_is_cached_with_the_network_down(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hooks: list[str]
) -> None:
    folder = tmp_path / "served"
    build_wheel(folder, "helper", "1.0")
    build_sdist(folder, "needy", "1.0", build_requires=["helper"])
    monkeypatch.delenv("UV_CONFIG_FILE")
    with SimpleIndex(folder) as index:
        lock = here.lock("needy", index_url=index.url)
    remove_tree(here.home.wheels)
    again = venvs.realise(lock, here.home, offline=True)
    assert again.created
    assert value(here, lock, "import needy_built; needy_built.WITH") == "{'helper': '1.0'}"
    assert len(hooks) == 3, "asked once, built twice"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_lost_wheel_of_an_archive_by_address_is_built_again(
    here: Here, links: Path, tmp_path: Path, zipped: bool
) -> None:
    archive = build_sdist(links, "by-address", "1.0", build_requires=["helper"])
    if zipped:
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path / "unpacked", filter="data")
        for each in (tmp_path / "unpacked").rglob("*"):
            os.utime(each, (1_700_000_000, 1_700_000_000))  # a zip file holds no moment before 1980
        made = shutil.make_archive(str(tmp_path / "by_address-1.0"), "zip", tmp_path / "unpacked")
        archive = Path(made)
    lock = here.lock(f"by-address @ {archive.as_uri()}", find_links=["links"])
    remove_tree(here.home.wheels)
    assert value(here, lock, "import by_address_built; by_address_built.WITH") == "{'helper': '2.0'}"


def test_a_kept_wheel_is_unpacked_and_not_built_again(here: Here, hooks: list[str]) -> None:
    lock = here.lock("from-source")
    bare = package(lock, "from-source").digest.rpartition(":")[2]
    remove_tree(here.home.wheels / bare)
    assert value(here, lock, "import from_source; from_source.VERSION") == "1.0"
    assert len(hooks) == 2


def test_a_kept_wheel_that_was_torn_is_built_again(here: Here) -> None:
    lock = here.lock("from-source")
    bare = package(lock, "from-source").digest.rpartition(":")[2]
    remove_tree(here.home.wheels / bare)
    (kept,) = (here.home.wheels / ".kept").glob("*/*.whl")
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes()[:100])
    assert value(here, lock, "import from_source; from_source.VERSION") == "1.0"


def test_a_build_that_is_not_reproducible_is_told_once_its_wheel_is_lost(here: Here, links: Path) -> None:
    sdist = build_sdist(links, "random-one", "1.0")
    code = "import os\nbuilder.Path('content/random_one.py').write_text(f'X = {os.urandom(8)!r}')\n"
    add_to_backend(sdist, code, hook="build_wheel")
    lock = here.lock("random-one", find_links=["links"])
    remove_tree(here.home.wheels)
    with pytest.raises(EnvironmentBroken, match="builds to something else than before"):
        venvs.realise(lock, here.home)


def test_an_archive_that_is_not_the_locked_one_is_refused_before_anything_of_it_runs(
    here: Here, links: Path, tmp_path: Path
) -> None:
    build_sdist(links, "swapped", "1.0")
    lock = here.lock("swapped", find_links=["links"])
    remove_tree(here.home.wheels)
    remove_tree(here.home.cache / "sources")
    evil = tmp_path / "it-ran"
    sdist = build_sdist(links, "swapped", "1.0")
    add_to_backend(sdist, f"open({os.fspath(evil)!r}, 'w').close()\n")
    with pytest.raises(EnvironmentBroken, match="is not the file that was locked") as caught:
        venvs.realise(lock, here.home)
    assert "sha256 wanted" in str(caught.value)
    assert not evil.exists()
    assert not list((here.home.cache / "sources").glob("[!.]*"))


@pytest.mark.parametrize(
    "name", ["../outside.py", "/tmp/outside-of-everything.py", "escape-1.0/../../outside.py"]
)
def test_an_archive_that_leads_outside_of_its_folder_is_refused(here: Here, links: Path, name: str) -> None:
    build_sdist(links, "escape", "1.0", more={name: b"OUT = 1\n"})
    with pytest.raises(SetupError) as caught:
        here.lock("escape", find_links=["links"])
    assert "unsafe" in str(caught.value)
    assert not list(here.home.root.rglob("outside*"))
    assert not Path("/tmp/outside-of-everything.py").exists()


def test_a_link_in_an_archive_that_leads_outside_is_refused(here: Here, links: Path) -> None:
    sdist = build_sdist(links, "linked", "1.0")
    with tarfile.open(sdist) as archive:
        entries = [(each, archive.extractfile(each).read()) for each in archive]  # type: ignore[union-attr]
    with tarfile.open(sdist, "w:gz") as archive:
        for entry, body in entries:
            archive.addfile(entry, io.BytesIO(body))
        link = tarfile.TarInfo("linked-1.0/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc"
        archive.addfile(link)
    with pytest.raises(SetupError, match="linked"):
        here.lock("linked", find_links=["links"])


def test_build_requirements_that_come_as_source_are_built_too(here: Here, links: Path) -> None:
    build_sdist(links, "tool", "1.0", build_requires=["helper"])
    build_sdist(links, "product", "1.0", build_requires=["tool"])
    lock = here.lock("product", find_links=["links"])
    assert value(here, lock, "import product_built; product_built.WITH") == "{'tool': '1.0'}"
    assert [each.name for each in builders_of(lock, here.home)] == ["build-product", "build-tool"]


def test_a_circle_of_build_requirements_is_named(here: Here, links: Path) -> None:
    build_sdist(links, "hen", "1.0", build_requires=["egg"])
    build_sdist(links, "egg", "1.0", build_requires=["nest"])
    build_sdist(links, "nest", "1.0", build_requires=["hen"])
    with pytest.raises(EnvironmentBroken) as caught:
        here.lock("hen", find_links=["links"])
    text = str(caught.value)
    for line in ("`hen` needs `egg`", "`egg` needs `nest`", "`nest` needs `hen`"):
        assert line in text
    assert len(text.splitlines()) < 12


def test_two_that_go_round_a_circle_from_opposite_sides_do_not_wait_for_each_other(
    here: Here, links: Path
) -> None:
    build_sdist(links, "hen", "1.0", build_requires=["egg"])
    build_sdist(links, "egg", "1.0", build_requires=["hen"])
    failures: list[Exception] = []

    def ask(name: str) -> None:
        try:
            here.lock(name, name=f"wants-{name}", find_links=["links"])
        except EnvironmentBroken as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in ("hen", "egg") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)
    assert ["needs itself" in str(each) for each in failures] == [True] * 4


def test_a_build_that_fails_says_so_with_its_last_lines(here: Here, links: Path) -> None:
    build_sdist(
        links,
        "broken",
        "1.0",
        build_requires=["helper"],
        broken="fatal error: ffi.h: No such file or directory",
    )
    with pytest.raises(EnvironmentBroken) as caught:
        here.lock("broken", find_links=["links"])
    text = str(caught.value)
    assert "`broken` of environment `training` comes as source, and does not build" in text
    assert "fatal error: ffi.h: No such file or directory" in text
    assert "built with: beta 2.0, helper 2.0" in text
    assert len(text.splitlines()) < 18


def test_a_local_package_that_does_not_build_is_told_what_the_system_lacks(here: Here) -> None:
    folder = here.root / "broken"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(
        "def build_wheel(*arguments):\n    raise SystemExit('fatal error: ffi.h: No such file or directory')\n"
    )
    with pytest.raises(EnvironmentBroken) as caught:
        here.lock("./broken")
    assert "`apt-get install libffi-dev`" in str(caught.value)
    assert "has a wheel" not in str(caught.value)


def test_a_build_requirement_that_is_not_there_is_said_with_who_needs_it(here: Here, links: Path) -> None:
    build_sdist(links, "needy", "1.0", build_requires=["a-thing-nobody-made"])
    with pytest.raises(Unresolvable) as caught:
        here.lock("needy", find_links=["links"])
    text = str(caught.value)
    assert "a-thing-nobody-made" in text
    assert "`needy` of environment `training` comes as source, and needs it to be built" in text


def test_a_build_sees_no_settings_of_indexes_and_no_other_interpreter(
    here: Here, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = build_sdist(links, "nosy", "1.0")
    code = (
        "import json, os, sys\n"
        "builder.Path('content/nosy.py').write_text(f'ENV = {dict(os.environ)!r}\\nPATH = {sys.path!r}\\n')\n"
    )
    add_to_backend(sdist, code, hook="build_wheel")
    monkeypatch.setenv("UV_INDEX_COMPANY_PASSWORD", "hunter2")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hunter2@pypi.example.com/simple")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    lock = here.lock("nosy", find_links=["links"])
    (kept,) = (here.home.wheels / ".kept").glob("*/nosy-*.whl")
    assert b"hunter2" not in kept.read_bytes()
    environment = json.loads(value(here, lock, "import json, nosy; json.dumps(nosy.ENV)"))
    assert environment["SOURCE_DATE_EPOCH"] == "315532800"
    assert environment["PATH"].split(":")[0].startswith(os.fspath(here.home.environments))
    assert "PYTHONPATH" not in environment
    path = json.loads(value(here, lock, "import json, nosy; json.dumps(nosy.PATH)"))
    assert "" not in path
    assert not [each for each in path if "site-packages" in each and "/environments/" not in each]


def test_a_package_that_is_not_what_its_name_says_is_refused(here: Here, tmp_path: Path) -> None:
    write_project(tmp_path / "libs/other", "other", "1.0")
    text = (tmp_path / "libs/other/backend.py").read_text().replace("'other'", "'unexpected'")
    (tmp_path / "libs/other/backend.py").write_text(text)
    with pytest.raises(EnvironmentBroken, match="gave another package") as caught:
        here.lock("./libs/other")
    assert "built: `unexpected 1.0`" in str(caught.value)


def test_a_commit_of_a_repository_is_built_from_its_subdirectory(
    here: Here, tmp_path: Path, links: Path
) -> None:
    repository = tmp_path / "repository"
    write_project(repository / "python/pkg", "from-git", "3.1", build_requires=["helper"])
    first = commit_all(repository)
    (repository / "python/pkg/content/from_git.py").write_text("VERSION = 'newer'\n")
    commit_all(repository)
    line = f"from-git @ git+{repository.as_uri()}@{first}#subdirectory=python/pkg"
    lock = here.lock(line, find_links=["links"])
    built = package(lock, "from-git")
    assert (built.version, built.file) == ("3.1", "from_git-3.1-py3-none-any.whl")
    assert value(here, lock, "import from_git; from_git.VERSION") == "3.1"
    assert value(here, lock, "import from_git_built; from_git_built.WITH") == "{'helper': '2.0'}"
    newer = here.lock(line.replace(first, "main"), find_links=["links"])
    assert value(here, newer, "import from_git; from_git.VERSION") == "newer"
    assert newer.digest != lock.digest


def test_a_package_that_takes_its_version_from_history_has_it(here: Here, tmp_path: Path) -> None:
    repository = write_project(tmp_path / "repository", "from-git", "1.0", sources="# by setuptools_scm\n")
    backend = repository / "backend.py"
    text = backend.read_text()
    end = text.index("\n", text.index("def build_wheel(")) + 1
    describe = (
        "    import subprocess\n"
        "    told = subprocess.run(['git', 'describe', '--tags'], capture_output=True, text=True).stdout\n"
        "    builder.Path('content/described.py').write_text(f'TOLD = {told.strip()!r}\\n')\n"
    )
    backend.write_text(text[:end] + describe + text[end:])
    commit_all(repository)
    git(repository, "tag", "v1.0")
    (repository / "content/more.py").write_text("")
    commit_all(repository)
    lock = here.lock(f"from-git @ git+{repository.as_uri()}")
    assert value(here, lock, "import described; described.TOLD").startswith("v1.0-1-g")


def test_a_commit_that_was_fetched_is_built_again_without_its_repository(here: Here, tmp_path: Path) -> None:
    repository = write_project(tmp_path / "repository", "from-git", "1.0")
    commit_all(repository)
    lock = here.lock(f"from-git @ git+{repository.as_uri()}")
    remove_tree(here.home.wheels)
    remove_tree(repository)
    assert value(here, lock, "import from_git; from_git.VERSION") == "1.0"


def test_a_repository_that_is_gone_is_told(here: Here, tmp_path: Path) -> None:
    repository = write_project(tmp_path / "repository", "from-git", "1.0")
    commit_all(repository)
    lock = here.lock(f"from-git @ git+{repository.as_uri()}")
    remove_tree(here.home.wheels)
    remove_tree(here.home.cache / "repositories")
    remove_tree(repository)
    with pytest.raises(IndexUnavailable, match="cannot be fetched from its repository"):
        venvs.realise(lock, here.home)


def test_a_source_without_a_build_system_is_built_by_setuptools(here: Here, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/setup.py").write_text("from setuptools import setup\nsetup(name='old', version='1')\n")
    with pytest.raises((Unresolvable, EnvironmentBroken), match="setuptools"):
        here.lock("./old")  # the index of the tests has none


def test_an_sdist_of_an_index_that_needs_a_password_is_downloaded_with_it(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "served"
    build_sdist(folder, "private-one", "1.0")
    monkeypatch.delenv("UV_CONFIG_FILE")
    with SimpleIndex(folder) as index:
        index.login = ("user", "hunter2")
        address = index.url.replace("http://", "http://user:hunter2@")
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        lock = here.lock("private-one")
        assert value(here, lock, "import private_one; private_one.VERSION") == "1.0"
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        netrc = tmp_path / "netrc"
        netrc.write_text(
            "machine 127.0.0.1 login user password hunter2\nmachine localhost login user password hunter2\n"
        )
        netrc.chmod(0o600)
        remove_tree(here.home.root)
        with pytest.raises(IndexUnavailable):
            venvs.realise(lock, here.home)
        monkeypatch.setenv("NETRC", os.fspath(netrc))
        venvs.realise(lock, here.home)
    for path in here.home.root.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_a_folder_that_is_not_there_or_no_package_is_told_with_what_to_do(here: Here, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((DefinitionError, SetupError)) as caught:
        here.lock("./empty")
    assert "empty" in str(caught.value)
    with pytest.raises((DefinitionError, SetupError)) as caught:
        here.lock("./nowhere")
    assert "nowhere" in str(caught.value)


def test_what_uv_is_told_of_builds_holds(
    here: Here, index: Path, links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = build_sdist(links, "needy", "1.0", build_requires=["helper"])
    add_to_backend(
        sdist,
        "builder.Path('content/told.py').write_text(f'SETTINGS = {config_settings!r}\\n')\n"
        "builder.Path('content/extra.py').write_text(f'VERSION = {importlib.import_module(\"asked\").VERSION!r}\\n')\n",
        hook="build_wheel",
    )
    monkeypatch.delenv("UV_CONFIG_FILE")
    (tmp_path / "uv.toml").write_text(
        f'no-index = true\nfind-links = ["{index}", "links"]\n'
        'build-constraint-dependencies = ["helper<2"]\n'
        '[extra-build-dependencies]\nNeedy = ["asked"]\n'
        '[config-settings]\nspeed = "high"\n[config-settings-package.needy]\nlevel = ["1", "2"]\n'
    )
    lock = here.lock("needy")
    assert value(here, lock, "import needy_built; needy_built.WITH") == "{'helper': '1.0'}"
    assert value(here, lock, "import extra; extra.VERSION") == "1.0"
    assert value(here, lock, "import told; told.SETTINGS") == "{'speed': 'high', 'level': ['1', '2']}"
    constraints = tmp_path / "limits.txt"
    constraints.write_text("helper>1,<3\n")
    build_wheel(links, "helper", "3.0")
    monkeypatch.setenv("UV_BUILD_CONSTRAINT", str(constraints))
    other = here.lock("needy")
    assert value(here, other, "import needy_built; needy_built.WITH") == "{'helper': '2.0'}"


def test_uv_is_not_asked_to_build(here: Here, monkeypatch: pytest.MonkeyPatch, links: Path) -> None:
    build_sdist(links, "needy", "1.0", build_requires=["helper"])
    calls = []
    call = uv.call
    monkeypatch.setattr(
        uv, "call", lambda arguments, **options: calls.append(arguments) or call(arguments, **options)
    )
    venvs.realise(here.lock("needy", find_links=["links"]), here.home)
    documents = [
        Path(each) for arguments in calls for each in map(str, arguments) if each.endswith("pylock.toml")
    ]
    assert documents
    assert {arguments[1] for arguments in calls} == {"compile", "sync"}
