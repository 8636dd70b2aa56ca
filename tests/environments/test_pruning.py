"""Which environments go, what goes with them, and that whoever uses one never notices."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from tests.index import build_wheel

from tilth.environments import disk, pruning, venvs, wheels
from tilth.environments.files import locked, scratch
from tilth.environments.pruning import Stock, Thing, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.environments.conftest import Here

    from tilth.environments.venvs import Realised

NOW = datetime(2026, 5, 4, tzinfo=timezone.utc)


def prune(here: Here, **wishes: Any) -> pruning.Removed:
    stock = pruning.survey(here.home)
    return pruning.remove(stock, pruning.decide(stock, Wishes(**wishes)), here.home)


def unused_for(made: Realised, days: float) -> None:
    """Let it look as if it was last used so many days ago."""
    then = time.time() - days * 86400
    users = made.path.parent / f".{made.path.name}.users"
    users.touch()
    for path in (users, made.path):
        os.utime(path, (then, then))


def environments(here: Here) -> list[Path]:
    return [each for each in here.home.environments.iterdir() if not each.name.startswith(".")]


def stored(here: Here) -> set[str]:
    """The names of the wheels in the store."""
    entries = (wheels.read_entry(each) for each in here.home.wheels.glob("[!.]*/cpython-*"))
    return {each.name for each in entries if each}


def why(decisions: list[pruning.Decision]) -> dict[str, tuple[bool, str]]:
    return {each.thing.name: (each.goes, each.why) for each in decisions if each.thing.kind == "environment"}


def blocks(*folders: Path) -> int:
    """As `du` counts them."""
    done = subprocess.run(
        ["du", "-s", "-c", "--block-size=1", *map(str, folders)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1].split()[0])


def test_without_a_wish_what_can_be_used_again_stays(here: Here) -> None:
    here.realise("alpha")
    removed = prune(here)
    assert removed.gone == ()
    assert stored(here) == {"alpha", "beta"}
    assert len(environments(here)) == 1


def test_a_pruned_environment_is_made_again_when_it_is_needed(here: Here) -> None:
    lock = here.lock("alpha")
    venvs.realise(lock, here.home)
    prune(here, all=True)
    assert environments(here) == []
    assert stored(here) == set()
    assert not venvs.is_realised(lock, here.home)
    again, _ = venvs.use(lock, here.home)
    assert again.created
    assert venvs.changed_files(again) == []
    done = subprocess.run([again.python, "-c", "import alpha, beta"], check=False)
    assert done.returncode == 0


def test_age_is_that_of_the_last_use_and_not_of_the_making(here: Here) -> None:
    old, used = here.lock("alpha", name="old"), here.lock("space-one", name="used")
    for lock in (old, used):
        unused_for(venvs.realise(lock, here.home), days=40)
    _, held = venvs.use(used, here.home)
    held.close()
    removed = prune(here, unused_since=datetime.now(timezone.utc) - timedelta(days=30))
    assert [each.thing.name for each in removed.gone if each.thing.kind == "environment"] == ["old"]
    assert venvs.is_realised(used, here.home)


def test_the_end_of_a_use_counts_as_use(here: Here) -> None:
    made, held = venvs.use(here.lock("alpha"), here.home)
    unused_for(made, days=40)
    held.close()
    assert prune(here, unused_since=datetime.now(timezone.utc) - timedelta(days=30)).gone == ()


def test_what_is_in_use_stays_with_its_wheels(here: Here) -> None:
    made, held = venvs.use(here.lock("alpha"), here.home)
    stock = pruning.survey(here.home)
    decisions = pruning.decide(stock, Wishes(all=True))
    assert why(decisions) == {"training": (False, "it is in use")}
    assert pruning.remove(stock, decisions, here.home).gone == ()
    assert venvs.changed_files(made) == []
    held.close()
    assert {each.thing.kind for each in prune(here, all=True).gone} == {"environment", "wheel"}


def test_what_comes_into_use_after_the_decision_stays(here: Here) -> None:
    lock = here.lock("alpha")
    venvs.realise(lock, here.home)
    stock = pruning.survey(here.home)
    decisions = pruning.decide(stock, Wishes(all=True))
    made, held = venvs.use(lock, here.home)
    removed = pruning.remove(stock, decisions, here.home)
    assert removed.gone == ()
    assert {each.why for each in removed.kept} == {"it is in use", "an environment needs it by now"}
    held.close()
    removed = pruning.remove(stock, decisions, here.home)
    assert {each.why for each in removed.kept} == {"it was used meanwhile", "an environment needs it by now"}
    assert venvs.changed_files(made) == []
    assert removed.freed == 0


def test_wheels_stay_while_an_environment_needs_them(here: Here) -> None:
    here.realise("alpha", name="first")
    here.realise("beta", name="second")
    removed = prune(here, only=frozenset({here.lock("alpha").digest}))
    assert {each.thing.name for each in removed.gone} == {"first", "alpha 2.0"}
    assert stored(here) == {"beta"}


def test_wheels_stay_while_an_environment_is_being_made(here: Here) -> None:
    here.realise("alpha")
    held = wheels.keep(here.home)
    removed = prune(here, all=True)
    assert {each.thing.kind for each in removed.gone} == {"environment"}
    assert stored(here) == {"alpha", "beta"}
    held.close()
    assert {each.thing.kind for each in prune(here).gone} == {"wheel"}


def test_a_wheel_built_here_stays_unless_it_is_asked_for(here: Here) -> None:
    here.realise("from-source")
    prune(here, all=True)
    assert stored(here) == {"from-source"}
    assert len(list((here.home.wheels / ".kept").iterdir())) == 1
    prune(here, built=True)
    assert stored(here) == set()
    assert list((here.home.wheels / ".kept").iterdir()) == []
    assert venvs.realise(here.lock("from-source"), here.home).created


def test_an_environment_that_is_being_made_or_looked_at_stays(here: Here) -> None:
    made = here.realise("alpha")
    with locked(venvs.lock_file(made.path, here.home)):
        assert prune(here, all=True).gone == ()


def test_the_least_recently_used_go_until_the_rest_is_small_enough(here: Here, tmp_path: Path) -> None:
    links = tmp_path / "links"
    made = {}
    for days, name in enumerate(("newest", "middle", "oldest")):
        build_wheel(links, name, "1.0", files={f"{name}.bin": random.randbytes(400_000), f"{name}.py": ""})
        made[name] = here.realise(name, name=name, find_links=["links"])
        unused_for(made[name], days)
    whole = pruning.total(pruning.survey(here.home))
    assert whole == blocks(*environments(here), *here.home.wheels.glob("[!.]*/*"))
    stock = pruning.survey(here.home)
    decided = why(pruning.decide(stock, Wishes(max_size=whole - 500_000)))
    assert decided == {
        "oldest": (True, "it was used least recently"),
        "middle": (True, "it was used least recently"),
        "newest": (False, "there is room for it"),
    }
    decided = why(pruning.decide(stock, Wishes(max_size=whole - 300_000)))
    assert [name for name, (goes, _) in decided.items() if goes] == ["oldest"]
    assert not any(goes for goes, _ in why(pruning.decide(stock, Wishes(max_size=whole))).values())


def test_what_is_said_to_come_free_does(here: Here) -> None:
    here.realise("alpha", "space-one", name="first")
    here.realise("alpha", name="second")
    before = blocks(here.home.environments, here.home.wheels)
    stock = pruning.survey(here.home)
    decisions = pruning.decide(stock, Wishes(only=frozenset({here.lock("alpha", "space-one").digest})))
    planned = pruning.freed(stock, decisions)
    removed = pruning.remove(stock, decisions, here.home)
    # The folders above are not counted as things: removing may shrink them.
    assert removed.freed == planned
    assert 0 <= before - blocks(here.home.environments, here.home.wheels) - removed.freed <= 8192


def test_a_file_that_somebody_linked_elsewhere_does_not_come_free(here: Here, tmp_path: Path) -> None:
    made = here.realise("alpha")
    (file,) = made.path.glob("lib/python*/site-packages/beta.py")
    stock = pruning.survey(here.home)
    everything = pruning.freed(stock, pruning.decide(stock, Wishes(all=True)))
    os.link(file, tmp_path / "mine.py")
    stock = pruning.survey(here.home)
    assert (
        everything - pruning.freed(stock, pruning.decide(stock, Wishes(all=True)))
        == file.stat().st_blocks * 512
    )


@pytest.mark.parametrize("damage", ["interpreter", "record", "suspected", "quarantined"])
def test_what_nobody_can_use_goes_without_being_asked_for(here: Here, tmp_path: Path, damage: str) -> None:
    made = here.realise("alpha")
    if damage == "interpreter":
        (made.path / "bin").chmod(0o755)
        made.python.unlink()
        made.python.symlink_to(tmp_path / "removed")
    elif damage == "record":
        (made.path / "tilth.json").chmod(0o644)
        (made.path / "tilth.json").write_text("{")
    elif damage == "suspected":
        venvs.suspect_file(made.path, here.home).touch()
    else:
        assert venvs.quarantine(made, here.home)
    removed = prune(here)
    assert len([each for each in removed.gone if each.thing.kind != "wheel"]) == 1
    assert environments(here) == []
    assert list((here.home.environments).glob(".quarantine/*")) == []
    assert list(here.home.environments.glob(".*.*")) == []
    assert venvs.realise(here.lock("alpha"), here.home).created


def test_a_changed_environment_is_told_of_before_it_goes_and_takes_no_other_along(here: Here) -> None:
    made, other = here.realise("alpha"), here.realise("beta", name="other")
    (file,) = made.path.glob("lib/python*/site-packages/beta.py")
    file.chmod(0o644)
    with open(file, "a") as opened:
        opened.write("evil = 1\n")  # and so in the store and in the other one, where it is the same file
    told = []
    stock = pruning.survey(here.home)
    decisions = pruning.decide(stock, Wishes(only=frozenset({made.digest})))

    def changed(realised: Realised, files: list[str]) -> None:
        assert realised.path.exists()
        told.append((realised.digest, [Path(each).name for each in files]))

    pruning.remove(stock, decisions, here.home, changed=changed)
    assert told == [(made.digest, ["beta.py"])]
    again = venvs.realise(here.lock("beta", name="other"), here.home)
    assert again.created
    assert venvs.changed_files(again) == []
    assert other.path == again.path


def test_what_a_killed_command_left_goes_and_what_a_living_one_does_stays(here: Here) -> None:
    here.realise("alpha")
    abandoned = here.home.environments / ".tmp-dead"
    (abandoned / "venv").mkdir(parents=True)
    with scratch(here.home.wheels) as alive:
        removed = prune(here)
        assert alive.exists()
    assert [each.thing.path for each in removed.gone] == [abandoned]
    assert not abandoned.exists()


def test_locks_of_environments_that_are_gone_are_removed(here: Here) -> None:
    made = here.realise("alpha")
    for kind in ("lock", "users", "suspect"):
        (here.home.environments / f".{'ab' * 32}.{kind}").touch()
    prune(here)
    assert {each.name for each in here.home.environments.iterdir()} == {
        made.path.name,
        f".{made.path.name}.lock",
    }


def test_an_empty_home_has_nothing_to_prune_and_stays_empty(here: Here) -> None:
    assert prune(here, all=True, built=True) == pruning.Removed(gone=(), kept=(), freed=0)
    assert not here.home.root.exists()


@st.composite
def stocks(draw: st.DrawFn) -> Stock:
    """Environments and wheels that share inodes, as hard links do."""
    things: list[Thing] = []
    trees: dict[Path, disk.Tree] = {}
    count = draw(st.integers(0, 5))
    for number in range(count):
        tree = disk.Tree()
        tree.inodes = {(1, number): (draw(st.integers(0, 9)) * 4096, 1, 9)}
        trees[Path(f"wheel{number}")] = tree
        built = draw(st.booleans())
        things.append(
            Thing(kind="wheel", path=Path(f"wheel{number}"), digest=f"{number}", tag="t", built=built)
        )
    for number in range(draw(st.integers(0, 6))):
        needs = draw(st.sets(st.integers(0, count - 1))) if count else set()
        tree = disk.Tree()
        tree.inodes = {(1, each): (trees[Path(f"wheel{each}")].inodes[1, each][0], 1, 9) for each in needs}
        tree.inodes[1, 100 + number] = (4096, 1, 1)
        path = Path(f"environment{number}")
        trees[path] = tree
        state = draw(st.sampled_from([pruning.READY, pruning.READY, pruning.SUSPECTED, pruning.UNUSABLE]))
        things.append(
            Thing(
                kind="environment",
                path=path,
                digest=f"e{number}",
                tag=draw(st.sampled_from(["t", ""])),
                wheels=tuple(map(str, sorted(needs))),
                used=draw(st.booleans()),
                state=state,
                last_used=NOW - timedelta(days=draw(st.integers(0, 50))),
            )
        )
    return Stock(things=tuple(things), trees=trees, making=draw(st.booleans()))


@given(
    stock=stocks(),
    wishes=st.builds(
        Wishes,
        all=st.booleans(),
        unused_since=st.none() | st.integers(0, 60).map(lambda days: NOW - timedelta(days=days)),
        max_size=st.none() | st.integers(0, 60_000),
        only=st.none() | st.frozensets(st.sampled_from([f"e{number}" for number in range(6)])),
        built=st.booleans(),
    ),
)
def test_whatever_is_wished_what_is_used_or_needed_stays(stock: Stock, wishes: Wishes) -> None:
    decisions = pruning.decide(stock, wishes)
    assert sorted(each.thing.path for each in decisions) == sorted(stock.trees)
    stay = [each.thing for each in decisions if not each.goes]
    go = [each.thing for each in decisions if each.goes]
    assert not any(each.used for each in go)
    needed = {digest for each in stay if each.kind == "environment" for digest in each.wheels}
    assert not needed & {each.digest for each in go if each.kind == "wheel"}
    if wishes.only is not None:
        assert {each.digest for each in go if each.kind == "environment"} <= wishes.only
    if wishes.all and wishes.only is None:
        assert all(each.used for each in stay if each.kind == "environment")
    if wishes.max_size is not None:
        left = disk.total(stock.trees[each.path] for each in stay)
        free = [
            each
            for each in stay
            if each.kind == "environment"
            and not each.used
            and (wishes.only is None or each.digest in wishes.only)
        ]
        assert left <= wishes.max_size or not free
        ready = [each for each in go if each.kind == "environment" and each.state == pruning.READY]
        if free and ready and not wishes.all and wishes.unused_since is None:
            assert max(each.last_used for each in ready if each.last_used) <= min(
                each.last_used for each in free if each.last_used
            )


USE = """
import subprocess, sys, time
from pathlib import Path
from tilth.define.environments import Environment
from tilth.environments import lock, probe, use, changed_files
from tilth.home import Home
home, root, python = Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
for turn in range(6):
    wanted = ["alpha"] if (turn + int(sys.argv[4])) % 2 else ["beta", "space-one"]
    environment = Environment("training", requirements=wanted).to_json()
    made, held = use(lock(environment, root=root, interpreter=probe(python, home), home=home), home)
    subprocess.run([made.python, "-c", "import beta; assert beta.VERSION == '2.0'"], check=True)
    assert changed_files(made) == [], changed_files(made)
    held.close()
print("done")
"""

PRUNE = """
import sys, time
from pathlib import Path
from tilth.environments import pruning
from tilth.home import Home
home = Home(Path(sys.argv[1]))
count = 0
until = time.monotonic() + float(sys.argv[2])
over = Path(sys.argv[3])  # there when nobody uses environments any more
is_last = False
while not is_last:
    # On a slow machine nothing may have been there in that time.
    is_last = over.exists() or (count > 0 and time.monotonic() > until)
    stock = pruning.survey(home)
    removed = pruning.remove(stock, pruning.decide(stock, pruning.Wishes(all=True)), home)
    count += len(removed.gone)
print(count)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for each in processes:
        if each.poll() is None:
            each.kill()
        each.communicate()


@pytest.mark.slow
@pytest.mark.faults
def test_ten_processes_that_use_and_prune_at_once_never_miss_a_file(
    here: Here, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    where = (here.home.root, here.root, here.interpreter.executable)
    users = [start(USE, *where, number) for number in range(6)]
    pruners = [start(PRUNE, here.home.root, 8, tmp_path / "over") for _ in range(4)]
    started += [*users, *pruners]
    for each in users:
        out, errors = each.communicate(timeout=600)
        assert (each.returncode, out) == (0, "done\n"), errors
    (tmp_path / "over").touch()
    removed = 0
    for each in pruners:
        out, errors = each.communicate(timeout=600)
        assert each.returncode == 0, errors
        removed += int(out)
    assert removed > 0
    prune(here, all=True)
    assert environments(here) == []


@pytest.mark.faults
def test_a_prune_that_is_killed_leaves_nothing_half_removed_in_use(
    here: Here, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    links = tmp_path / "links"
    many = {f"many/part{number}.py": "" for number in range(1500)}
    build_wheel(links, "many", "1.0", files={"many/__init__.py": "", **many})
    lock = here.lock("many", "alpha", find_links=["links"])
    other = here.lock("alpha", name="other")
    cut = turn = 0
    while turn < 6 or not cut:  # when a prune has gone how far depends on how busy the machine is
        assert turn < 100, "no prune was cut in the middle: the test did not test anything"
        turn += 1
        venvs.realise(lock, here.home)
        venvs.realise(other, here.home)
        (environment,) = (each for each in environments(here) if each.name in lock.digest)
        process = start(PRUNE, here.home.root, 0.5, tmp_path / "over")
        started.append(process)
        deadline = time.monotonic() + 180
        while environment.exists() and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(turn % 6 * 0.004)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        cut += any(here.home.environments.glob(".tmp-*")) or any(here.home.wheels.glob(".tmp-*"))
        for each in environments(here):  # whatever is still in its place is whole
            realised = venvs.Realised(
                path=each, python=each / "bin/python", digest="", created=False, seconds=0
            )
            assert venvs.changed_files(realised) == []
        for wanted in (lock, other):
            made, held = venvs.use(wanted, here.home)
            assert venvs.changed_files(made) == []
            subprocess.run([made.python, "-c", "import alpha, beta"], check=True)
            held.close()
    prune(here)
    assert list(here.home.environments.glob(".tmp-*")) == []
    assert list(here.home.wheels.glob(".tmp-*")) == []
