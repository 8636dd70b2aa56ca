from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from inline_snapshot import snapshot

if TYPE_CHECKING:
    from tilth.home import Home

Cli = Any  # see conftest.py


def test_environments_are_listed(cli: Cli, history: Home) -> None:
    assert cli("env", "list").out == snapshot("""\
environment  digest               python  platform      packages  state          created
training     sha256:3f0c3f0c3f0c  3.11    linux-x86_64  2         not made here  2026-05-04 12:00:00
""")
    (history.environments / ("3f0c" * 16)).mkdir(parents=True)
    assert "  made   " in cli("env", "list").out


def test_an_environment_shows_what_was_asked_for_and_what_it_holds(cli: Cli, history: Home) -> None:
    assert cli("env", "show", "training").out == snapshot("""\
environment training
  digest        sha256:3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c
  python        3.11
  platform      linux-x86_64
  requirements  pandas<3
  variables     OMP_NUM_THREADS=1
  lock          sha256:10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc10cc
  created       2026-05-04 12:00:00
  folder        not made here

package  version  digest     file
numpy    2.1.0    sha256:11  numpy-2.1.0-cp311.whl
pandas   2.2.3    sha256:22  pandas-2.2.3-cp311.whl
""")


@pytest.mark.parametrize("wanted", ["training", "sha256:3f0c3f", "3f0c3f0c", "sha256:" + "3f0c" * 16])
def test_an_environment_is_found_by_name_and_digest(cli: Cli, history: Home, wanted: str) -> None:
    assert cli("env", "show", wanted, "--json").json["name"] == "training"


def test_an_unknown_environment_names_the_nearest(cli: Cli, history: Home) -> None:
    assert cli("env", "show", "trainig") == (
        1,
        "",
        "error: there is no environment `trainig`\n  hint: did you mean `training`?\n",
    )


def test_without_environments_the_list_is_empty(cli: Cli) -> None:
    assert cli("env", "list", "--json").json == []
