from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from inline_snapshot import snapshot
from tests.cli.env.conftest import NEW

import tilth
from tilth.records import Environment, Package
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.home import Home

Cli = Any  # see conftest.py
Project = Any


def test_environments_are_listed(cli: Cli, history: Home) -> None:
    assert cli("env", "list").out == snapshot("""\
role       environment  digest               python  platform      packages  state          runs
execution  training     sha256:3f0c3f0c3f0c  3.11    linux-x86_64  2         not made here  2, newest churn-2
client     client       sha256:c11ec11ec11e  3.11    linux-x86_64  1         gone           2, newest churn-2
""")
    python = history.environments / ("3f0c" * 16) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere")  # its interpreter is gone: it is none any more
    assert "  not made here  " in cli("env", "list").out
    python.unlink()
    python.symlink_to(sys.executable)
    assert "  made  " in cli("env", "list").out


def test_an_environment_shows_what_was_asked_for_and_what_it_holds(cli: Cli, history: Home) -> None:
    assert cli("env", "show", "training").out == snapshot("""\
environment training
  digest        sha256:3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c
  role          execution: runs steps
  python        3.11
  platform      linux-x86_64
  requirements  pandas<3
  variables     OMP_NUM_THREADS=1
  packages      2
  lock          sha256:10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc
  recorded      2026-05-04 12:00:00
  folder        not made here
  used by       churn-2
                churn-1

pandas 2.2.3  requested: pandas<3; what it requires is not known
numpy 2.1.0   why it is there is not known; what it requires is not known
""")
    assert cli("env", "show", "training", "--flat").out.partition("\n\n")[2] == snapshot("""\
package  version  why                  digest     file
numpy    2.1.0    not known            sha256:11  numpy-2.1.0-cp311.whl
pandas   2.2.3    requested: pandas<3  sha256:22  pandas-2.2.3-cp311.whl
""")


@pytest.mark.parametrize("wanted", ["training", "sha256:3f0c3f", "3f0c3f0c", "sha256:" + "3f0c" * 16])
def test_an_environment_is_found_by_name_and_digest(cli: Cli, history: Home, wanted: str) -> None:
    assert cli("env", "show", wanted, "--json").json["name"] == "training"


def test_an_unknown_environment_names_the_nearest(cli: Cli, history: Home) -> None:
    assert cli("env", "show", "trainig") == (
        1,
        "",
        "error: there is no environment and no run `trainig`\n  hint: did you mean `training`?\n",
    )


def test_without_environments_the_list_is_empty(cli: Cli) -> None:
    assert cli("env", "list", "--json").json == []


def test_what_a_run_used_is_listed_by_role(past: Project) -> None:
    def rows(target: str) -> list[tuple[str, str, str, list[str], int, str]]:
        listed = past("list", target, "--json").json
        keys = ("role", "name", "state", "steps", "runs", "newest_run")
        return [tuple(each[key] for key in keys) for each in listed]

    assert rows("churn-1") == [
        ("client", "client", "as it was", ["load"], 2, "churn-2"),
        ("execution", "scoring", "made", ["score"], 2, "churn-2"),
        ("execution", "training", "made", ["train"], 1, "churn-1"),
    ]
    # Those of the newest run come first.
    assert rows("churn") == [
        ("client", "client", "as it was", ["load"], 2, "churn-2"),
        ("execution", "scoring", "made", ["score"], 2, "churn-2"),
        ("execution", "training", "made", ["train"], 1, "churn-2"),
        ("execution", "training", "made", ["train"], 1, "churn-1"),
    ]
    assert {each["name"] for each in past("list", "--json").json} == {"client", "training", "scoring"}
    said = past("list", "churn-3", code=1).stderr
    assert said == "error: there is no run and no pipeline `churn-3`\n  hint: did you mean `churn-2`?\n"


def test_what_a_file_would_use_is_listed_and_nothing_is_made(project: Project, home: Path) -> None:
    listed = {each["name"]: each for each in project("list", "pipeline.py", "--json").json}
    assert list(listed) == ["client", "scoring", "training"]
    assert listed["training"]["state"] == "to be locked"
    assert listed["training"]["id"] == ""
    assert listed["training"]["steps"] == ["train"]
    assert listed["client"]["steps"] == ["load"]
    assert "  to be locked  " in project("list", "pipeline.py:churn").stdout
    assert not (home / "tilth.db").exists()
    assert not (home / "locks").exists()
    project.tilth("run", "pipeline.py")
    listed = {each["name"]: each for each in project("list", "pipeline.py", "--json").json}
    assert [listed[name]["state"] for name in ("client", "training")] == ["as it was", "made"]
    assert listed["training"]["runs"] == 1
    project.write(NEW)
    assert {each["name"]: each["state"] for each in project("list", "pipeline.py", "--json").json} == {
        "client": "as it was",
        "training": "to be locked",
        "scoring": "made",
    }


def test_a_missing_file_is_a_misuse(project: Project) -> None:
    assert "there is no file `pipelin.py`" in project("list", "pipelin.py", code=2).stderr


def test_the_tree_says_why_each_package_is_there_and_ends_in_a_cycle(past: Project) -> None:
    said = past("show", "churn-1/train").stdout
    tree = said.partition("\n\n")[2]
    assert re.sub(r" +\d+(\.\d)? (KB|bytes)", "", tree) == snapshot("""\
alpha 1.0  requested: alpha[more]==1.0
├── beta 2.0  >=1
└── delta 1.0
    └── epsilon 1.0
        └── delta 1.0  (as above)
from-source 1.0  requested: from-source
└── beta 2.0
""")
    packages = {each["name"]: each for each in past("show", "churn-1/train", "--json").json["packages"]}
    assert packages["alpha"]["requested"] == ["alpha[more]==1.0"]
    # `delta` is there for the extra alone, and `epsilon` and `delta` require each other.
    assert packages["alpha"]["requires"] == {"beta": ">=1", "delta": ""}
    assert packages["delta"]["required_by"] == ["alpha", "epsilon"]
    assert packages["beta"]["required_by"] == ["alpha", "from-source"]
    assert all(each["unpacked_size"] > 0 for each in packages.values())


def test_what_a_lock_says_is_known_without_the_packages(past: Project, home: Path) -> None:
    shutil.rmtree(home / "wheels")
    said = past("show", "churn-2/train").stdout
    assert "alpha 2.0        requested: alpha==2.0\n└── beta 2.0\n" in said
    assert past("show", "churn-2/train", "--json").json["packages"][1]["requires"] == {}


def test_what_nobody_knows_is_said(past: Project, home: Path) -> None:
    lock = past.root / "pylock.toml"
    text = past("export", "churn-2/train", "--format", "pylock").stdout
    lock.write_text(re.sub(r"(?m)^dependencies = .*\n", "", text))
    shutil.rmtree(home / "wheels")
    said = past("show", "pylock.toml").stdout
    assert "alpha 2.0" in said
    assert "why it is there is not known; what it requires is not known\n" in said


def test_how_it_was_made_and_who_used_it_is_shown(past: Project) -> None:
    said = past("show", "scoring").stdout
    assert "used by       churn-2: score\n                churn-1: score\n" in said
    assert re.search(r"made +with Python 3\.\d+\.\d+ \(/.*\), .*tilth ", said)
    assert "packages      1, " in said
    assert "from-source 1.0 from from_source-1.0.tar.gz" in past("show", "training").stdout
    document = past("show", "scoring", "--json").json
    assert document["steps"] == {"churn-2": ["score"], "churn-1": ["score"]}
    assert document["realisation"]["tilth"] == tilth.__version__
    assert document["folder"].endswith(document["id"].removeprefix("sha256:"))


def test_a_builder_is_shown_with_what_it_built(cli: Cli, history: Home) -> None:
    builder = Environment(
        id="sha256:" + "b" * 64,
        name="builder",
        role="builder",
        python="3.11",
        packages=(Package(name="hatchling", version="1.27"),),
    )
    with open_store(history) as store:
        (training,) = store.find(Environment, name="training")
        built = Package(name="pandas", version="2.2.3", file="pandas-2.2.3.tar.gz", builder=builder.id)
        changed = msgspec.structs.replace(training, packages=(training.packages[0], built))
        store.write([Put(builder), Put(changed)])
    listed = cli("env", "list", "churn-1", "--json").json
    assert [(each["role"], each["name"], each["runs"]) for each in listed] == [
        ("client", "client", 2),
        ("execution", "training", 2),
        ("builder", "builder", 2),
    ]
    assert (
        "  built         pandas 2.2.3 from pandas-2.2.3.tar.gz in sha256:bbbbbbbbbbbb (hatchling 1.27)\n"
        in cli("env", "show", "training").out
    )


def test_the_client_is_shown_as_it_is_now(past: Project) -> None:
    said = past("show", "client").stdout
    assert "  role      client: compiles the pipeline and starts the run\n" in said
    assert f"  folder    {sys.prefix} (as it was)\n" in said
    assert "├── packaging" in said
    assert past("show", "client", "--json").json["id"] == past("list", "churn-1", "--json").json[0]["id"]
