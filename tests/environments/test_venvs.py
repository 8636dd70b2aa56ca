"""Locks to venvs: what is in them, who may change them, and what happens when somebody does."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.index import build_wheel

from tilth.environments import find_interpreter, locks, uv, venvs, wheels
from tilth.environments.files import remove_tree
from tilth.errors import DiskFull, EnvironmentBroken, IndexUnavailable, SetupError
from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.environments.conftest import Here

    from tilth.environments.interpreters import Interpreter

# Realises `alpha` and `from-source` in a process of its own: arguments are home, root, interpreter.
REALISE = """
import sys
from pathlib import Path
from tilth.define.environments import Environment
from tilth.environments import lock, probe, realise
from tilth.home import Home
home, root, python = Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
environment = Environment("training", requirements=["alpha", "from-source"]).to_json()
made = realise(lock(environment, root=root, interpreter=probe(python, home), home=home), home)
print(int(made.created), made.path)
"""


USE = """
import sys, time
from pathlib import Path
from tilth.environments.files import Shared
held = Shared(Path(%r, "environments", ".%s.users"))
print("uses", flush=True)
time.sleep(60)
"""


def start(here: Here) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", REALISE, here.home.root, here.root, here.interpreter.executable],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def library(realised: venvs.Realised) -> Path:
    (folder,) = realised.path.glob("lib/python*/site-packages")
    return folder


def leftovers(home: Home) -> list[Path]:
    return [each for folder in (home.environments, home.wheels) for each in folder.glob("**/.tmp-*")]


def test_a_realised_environment_imports_what_was_locked_and_nothing_else(here: Here) -> None:
    made = here.realise("alpha==1.0")
    assert made.created
    assert run(made.python, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 2.0"
    assert run(made.python, "import sys; print(sys.prefix)") == str(made.path)
    assert run(made.python, "from importlib.metadata import distributions as d; print(len(list(d())))") == "2"
    missing = subprocess.run([made.python, "-c", "import pip"], capture_output=True, check=False)
    assert b"ModuleNotFoundError" in missing.stderr


def test_an_existing_environment_is_used_as_it_is(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = here.lock("alpha")
    assert not venvs.is_realised(lock, here.home)
    made = venvs.realise(lock, here.home)
    assert venvs.is_realised(lock, here.home)
    monkeypatch.setattr(uv, "call", lambda *arguments, **options: pytest.fail("uv was called"))
    again = venvs.realise(lock, here.home)
    assert (again.path, again.created) == (made.path, False)


def test_wheels_in_the_store_are_not_fetched_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.realise("alpha")
    lock = here.lock("beta")
    monkeypatch.setattr(uv, "call", lambda *arguments, **options: pytest.fail("uv was called"))
    made = venvs.realise(lock, here.home, offline=True)
    assert made.created
    inode = (library(made) / "beta.py").stat().st_ino
    (stored,) = here.home.wheels.glob("*/*/tree/lib/python*/site-packages/beta.py")
    assert inode == stored.stat().st_ino or made.path.stat().st_dev != stored.stat().st_dev


def test_scripts_data_and_headers_are_in_their_places(here: Here) -> None:
    made = here.realise("alpha")
    for script, said in (("alpha-run", f"alpha {made.path}"), ("hello", "hello")):
        done = subprocess.run([made.path / "bin" / script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said
    assert (made.path / "share/alpha.txt").read_text() == "shared"
    assert [each.read_text() for each in made.path.glob("include/**/alpha.h")] == ["h"]


def test_scripts_work_from_a_long_path_with_spaces(here: Here, tmp_path: Path) -> None:
    here.home = Home(tmp_path / ("a long name " * 12) / "home")
    made = here.realise("alpha")
    done = subprocess.run([made.path / "bin" / "alpha-run"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"alpha {made.path}"


def test_a_venv_made_elsewhere_works_where_it_is_moved_to_and_may_be_written_to(
    here: Here, tmp_path: Path
) -> None:
    aside, place = tmp_path / "aside", tmp_path / "kept" / ".venv"
    venvs.make_at(here.lock("alpha"), aside, here.home, moves_to=place)
    place.parent.mkdir()
    aside.rename(place)
    done = subprocess.run([place / "bin" / "alpha-run"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"alpha {place}"
    assert not list(here.home.environments.glob("[!.]*"))
    (site,) = place.glob("lib/python*/site-packages")
    assert stat.S_IMODE(site.stat().st_mode) == 0o755


def test_a_venv_made_elsewhere_outlives_the_home_folder(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = here.lock("alpha==1.0")
    venvs.realise(lock, here.home)
    monkeypatch.setattr(uv, "call", lambda *arguments, **options: pytest.fail("uv was called"))
    venvs.make_at(lock, tmp_path / "kept", here.home, offline=True)
    remove_tree(here.home.root)
    python = tmp_path / "kept" / "bin" / "python"
    assert run(python, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 2.0"


def test_a_venv_made_elsewhere_is_of_whole_wheels(here: Here, tmp_path: Path) -> None:
    """A file of the store that was lost is fetched again rather than left out."""
    lock = here.lock("alpha==1.0")
    venvs.realise(lock, here.home)
    (lost,) = here.home.wheels.glob("*/*/tree/lib/python*/site-packages/beta.py")
    lost.parent.chmod(0o755)
    lost.unlink()
    venvs.make_at(lock, tmp_path / "kept", here.home)
    assert run(tmp_path / "kept" / "bin" / "python", "import beta; print(beta.VERSION)") == "2.0"


def test_pth_files_and_shared_namespaces_work(here: Here) -> None:
    made = here.realise("hooked", "space-one", "space-two")
    code = "import sys, space.one, space.two; print(sys.hooked, space.one.ONE, space.two.TWO)"
    assert run(made.python, code) == "True 1 2"


def test_of_two_wheels_with_one_file_the_later_name_wins(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    made = here.realise("clash-a", "clash-b")
    assert run(made.python, "import clash, a_only, b_only; print(clash.OWNER)") == "b"
    assert "`clash-b` replaces" in caplog.text
    alone = here.realise("clash-a")
    assert run(alone.python, "import clash; print(clash.OWNER)") == "a"


def test_bytecode_is_there_unchecked_and_used(here: Here) -> None:
    made = here.realise("alpha")
    compiled = library(made) / "alpha" / "__pycache__" / f"__init__.{here.interpreter.cache_tag}.pyc"
    assert compiled.read_bytes()[4:8] == (1).to_bytes(4, "little")  # PEP 552: by hash, unchecked
    trace = subprocess.run(
        [made.python, "-v", "-c", "import alpha"], capture_output=True, text=True, check=True
    )
    assert "code object from" in trace.stderr
    assert str(compiled) in trace.stderr
    assert run(made.python, "import alpha; print(alpha.main.__code__.co_filename)") == str(
        library(made) / "alpha" / "__init__.py"
    )
    assert not list(library(made).glob("alpha/**/template.*.pyc")), "what does not compile is left alone"


def test_bytecode_is_the_same_in_every_home(here: Here, tmp_path: Path) -> None:
    first = here.realise("alpha", "beta")
    here.home = Home(tmp_path / "elsewhere")
    second = here.realise("alpha")
    names = [each.relative_to(first.path) for each in first.path.rglob("*.pyc")]
    assert names
    assert all((first.path / each).read_bytes() == (second.path / each).read_bytes() for each in names)


def test_everything_is_read_only_and_uvs_cache_is_not(here: Here, uv_folder: Path) -> None:
    made = here.realise("alpha")
    for folder, _, names in os.walk(made.path):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            if not path.is_symlink():
                assert not path.stat().st_mode & 0o222, path
    cached = [each for each in uv_folder.rglob("*") if each.is_file() and not each.is_symlink()]
    assert cached
    inodes = {each.stat().st_ino for each in made.path.rglob("*") if each.is_file()}
    assert inodes.isdisjoint(each.stat().st_ino for each in cached)


def test_record_names_what_is_there(here: Here) -> None:
    made = here.realise("alpha")
    files = run(
        made.python,
        "from importlib.metadata import files\nfor each in files('alpha'): print(each.locate().resolve())",
    ).splitlines()
    assert all(Path(each).exists() for each in files)
    assert str(made.path / "bin" / "alpha-run") in files
    assert not any(each.endswith(("direct_url.json", "REQUESTED")) for each in files)


def test_an_untouched_environment_has_no_changed_files(here: Here) -> None:
    made = here.realise("alpha")
    run(made.python, "import alpha, beta")
    assert venvs.changed_files(made) == []


def test_what_a_step_writes_is_found_put_aside_and_made_anew(here: Here) -> None:
    made = here.realise("alpha")
    other = here.realise("beta")  # shares its file with the first
    folder = library(made)
    below = folder.relative_to(made.path).as_posix()
    code = (
        "import os, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for each in (folder, folder / 'beta.py', folder / 'alpha'): each.chmod(0o755)\n"
        "(folder / 'new.py').write_text('x = 1')\n"
        "(folder / 'beta.py').write_text('VERSION = 666')\n"
        "(folder / 'alpha' / '__init__.py').unlink()\n"
    )
    subprocess.run([made.python, "-c", code, folder], check=True)
    changed = venvs.changed_files(made)
    assert changed == [f"{below}/alpha/__init__.py", f"{below}/beta.py", f"{below}/new.py"]

    aside = venvs.quarantine(made, here.home)
    assert aside is not None
    assert (aside / below / "new.py").exists()
    assert not venvs.is_realised(here.lock("alpha"), here.home)
    clean = here.realise("alpha")
    assert clean.created
    assert venvs.changed_files(clean) == []
    assert run(clean.python, "import alpha, beta; print(beta.VERSION)") == "2.0"

    # The other one is looked at again, since the step reached it through the shared file.
    if (library(other) / "beta.py").read_text() == "VERSION = 666":
        assert not venvs.is_realised(here.lock("beta"), here.home)
    assert run(here.realise("beta").python, "import beta; print(beta.VERSION)") == "2.0"


def test_an_environment_that_others_use_is_not_taken_away(here: Here) -> None:
    lock = here.lock("alpha")
    made, held = venvs.use(lock, here.home)
    _, other = venvs.use(lock, here.home)
    library(made).chmod(0o755)
    (library(made) / "new.py").write_text("x = 1")
    held.close()
    assert venvs.quarantine(made, here.home) is None
    assert run(made.python, "import alpha; print(1)") == "1"
    with pytest.raises(EnvironmentBroken, match="another run still uses it"):
        venvs.realise(lock, here.home)
    assert made.path.exists()
    other.close()
    again, _ = venvs.use(lock, here.home)
    assert again.created
    assert venvs.changed_files(again) == []


def test_a_process_that_ended_uses_no_environment(here: Here) -> None:
    code = USE % (str(here.home.root), here.lock("alpha").digest.rpartition(":")[2])
    made = here.realise("alpha")
    user = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert user.stdout is not None
    assert user.stdout.readline() == b"uses\n"
    assert venvs.quarantine(made, here.home) is None
    user.kill()
    user.communicate()
    assert venvs.quarantine(made, here.home) is not None


def test_a_suspected_environment_that_is_unchanged_is_kept(here: Here) -> None:
    made = here.realise("alpha")
    (here.home.environments / f".{made.path.name}.suspect").touch()
    again = here.realise("alpha")
    assert not again.created
    assert venvs.is_realised(here.lock("alpha"), here.home)


@pytest.mark.parametrize("damage", ["gone", "longer", "no entry", "torn entry"])
def test_a_damaged_wheel_in_the_store_is_made_anew(here: Here, damage: str) -> None:
    made = here.realise("alpha")
    venvs.quarantine(made, here.home)
    (stored,) = here.home.wheels.glob("*/*/tree/lib/python*/site-packages/beta.py")
    stored.parent.chmod(0o755)
    entry = next(each for each in stored.parents if each.name == "tree").parent / "entry.json"
    if damage == "gone":
        stored.unlink()
    elif damage == "longer":
        stored.chmod(0o644)
        stored.write_text(stored.read_text() + "x = 1\n")
        stored.chmod(0o444)
    elif damage == "no entry":
        entry.unlink()
    else:
        entry.write_bytes(entry.read_bytes()[:40])
    again = here.realise("alpha")
    assert run(again.python, "import beta; print(beta.VERSION, hasattr(beta, 'x'))") == "2.0 False"


def test_an_interpreter_that_was_removed_makes_the_environment_anew(here: Here, tmp_path: Path) -> None:
    made = here.realise("alpha")
    made.path.joinpath("bin").chmod(0o755)
    made.python.unlink()
    made.python.symlink_to(tmp_path / "removed")
    assert not venvs.is_realised(here.lock("alpha"), here.home)
    again = here.realise("alpha")
    assert again.created
    assert run(again.python, "import alpha; print(1)") == "1"


def test_a_file_replaced_on_the_index_is_refused(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "links"
    build_wheel(links, "delta", "1.0")
    lock = here.lock("delta", find_links=["links"])
    build_wheel(links, "delta", "1.0", files={"delta.py": "import os  # evil\n"})
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))  # else uv still has the right one
    with pytest.raises(EnvironmentBroken, match="not the one that was locked"):
        venvs.realise(lock, here.home)
    assert list(here.home.environments.glob("[!.]*")) == []
    assert leftovers(here.home) == []


def test_a_wheel_that_cannot_be_had_leaves_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = here.lock("alpha")
    source = 'wheels = [{ url = "http://127.0.0.1:9/beta-2.0-py3-none-any.whl", hashes = { sha256 = "%s" } }]'
    bare = [each.digest.partition(":")[2] for each in lock.packages]
    sources = (lock.sources[0], source % bare[1])
    lock = locks.msgspec.structs.replace(lock, sources=sources)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(IndexUnavailable):
        venvs.realise(lock, here.home)
    assert list(here.home.environments.glob("[!.]*")) == []
    assert leftovers(here.home) == []


def test_the_modules_of_a_lock_are_known_once_a_wheel_was_seen(here: Here) -> None:
    lock = here.lock("alpha", "space-one")
    assert locks.modules(lock, here.home) == {"alpha": None, "beta": None, "space-one": None}
    venvs.realise(lock, here.home)
    known = {"alpha": frozenset({"alpha"}), "beta": frozenset({"beta"}), "space-one": frozenset({"space"})}
    assert locks.modules(lock, here.home) == known
    remove_tree(here.home.wheels)
    assert locks.modules(lock, here.home) == known


def test_a_built_wheel_that_was_lost_is_built_again(here: Here) -> None:
    made = here.realise("from-source")
    venvs.quarantine(made, here.home)
    remove_tree(here.home.wheels)
    assert run(here.realise("from-source").python, "import from_source; print(1)") == "1"


def test_threads_that_ask_at_once_get_one_environment(here: Here) -> None:
    overlapping = [here.lock(*each) for each in (("alpha",), ("alpha", "space-one"), ("beta", "space-one"))]
    results: list[venvs.Realised] = []
    threads = [
        threading.Thread(target=lambda lock=lock: results.append(venvs.realise(lock, here.home)))
        for lock in overlapping * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 9
    assert sum(each.created for each in results) == 3
    assert len({each.path for each in results}) == 3


def test_ten_processes_that_ask_at_once_make_it_once(here: Here) -> None:
    processes = [start(here) for _ in range(10)]
    answers = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, answers
    said = [answer.split() for answer, _ in answers]
    assert sorted(created for created, _ in said) == ["0"] * 9 + ["1"]
    assert len({path for _, path in said}) == 1
    assert leftovers(here.home) == []


@pytest.mark.faults
def test_a_kill_at_any_moment_leaves_nothing_that_is_used(here: Here) -> None:
    seed = random.randrange(2**32)
    random.seed(seed)
    began = time.perf_counter()
    first = start(here)
    first.communicate(timeout=600)
    assert first.returncode == 0
    whole = time.perf_counter() - began
    for _ in range(8):
        remove_tree(here.home.environments)
        if random.random() < 0.5:
            remove_tree(here.home.wheels)
        if random.random() < 0.5:
            remove_tree(here.home.locks)
        process = start(here)
        time.sleep(random.uniform(0.1, whole))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        lock = here.lock("alpha", "from-source")
        made = venvs.realise(lock, here.home)
        said = run(made.python, "import alpha, beta, from_source; print(beta.VERSION)")
        assert said == "2.0", f"seed {seed}"
        assert venvs.changed_files(made) == [], f"seed {seed}"
        assert leftovers(here.home) == [], f"seed {seed}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.faults
def test_a_full_disk_is_named_and_leaves_nothing(here: Here, small_disk: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    build_wheel(links, "bulky", "1.0", files={"bulky.bin": random.randbytes(300_000), "bulky.py": ""})
    here.home = Home(small_disk / "home")
    lock = here.lock("bulky", "alpha", find_links=["links"])
    for left in (8_000, 60_000, 120_000, 200_000, 280_000):
        (small_disk / "taken").unlink(missing_ok=True)
        (small_disk / "taken").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - left))
        with pytest.raises(DiskFull, match="no space left") as caught:
            venvs.realise(lock, here.home)
        assert len(str(caught.value).splitlines()) < 15
        assert list(here.home.environments.glob("[!.]*")) == []
        assert leftovers(here.home) == []


def test_a_lock_for_another_python_is_realised_with_its_own(here: Here) -> None:
    other = _another_python(here)
    here.interpreter = other
    made = here.realise("alpha")
    assert run(made.python, "import sys, alpha; print('%d.%d' % sys.version_info[:2])") == other.minor
    assert (library(made) / "alpha" / "__pycache__" / f"__init__.{other.cache_tag}.pyc").exists()


def _another_python(here: Here) -> Interpreter:
    for version in ("3.12", "3.13", "3.10", "3.11"):
        if version == here.interpreter.minor:
            continue
        try:
            return find_interpreter(version, here.interpreter, here.home)
        except SetupError:
            continue
    pytest.skip("there is one Python on this machine")


@pytest.mark.network
def test_a_package_of_the_real_index(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    made = here.realise("six==1.17.0")
    assert run(made.python, "import six; print(six.__version__)") == "1.17.0"


def test_entries_are_complete_when_they_are_seen(here: Here) -> None:
    here.realise("alpha")
    folders = [
        each
        for each in here.home.wheels.glob("*/*")
        if each.is_dir() and not each.parent.name.startswith(".")
    ]
    assert folders
    for folder in folders:
        entry = wheels.read_entry(folder)
        assert entry is not None
        assert not wheels.changed(folder, entry)
        present = {
            each.relative_to(folder / "tree").as_posix()
            for each in (folder / "tree").rglob("*")
            if each.is_file()
        }
        assert present == set(entry.files)
        assert stat.S_IMODE((folder / "tree").stat().st_mode) == 0o555
