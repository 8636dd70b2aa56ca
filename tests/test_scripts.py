"""What `scripts/test` makes of tests that fail: run on a small suite, with the real pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--leave-out", action="append", default=[])
"""
# Fails until there is a file of its name.
ONCE = """
from pathlib import Path
import pytest

def once(name):
    there = Path(name).exists()
    Path(name).touch()
    assert there

def test_good():
    pass
"""


class Suite:
    """A checkout with `scripts/test` and tests of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("scripts", "tests", ".venv"):
            (root / folder).mkdir()
        (root / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        shutil.copy(Path(__file__).parents[1] / "scripts" / "test", root / "scripts" / "test")
        (root / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
        (root / "tests" / "conftest.py").write_text(CONFTEST)

    def run(self, source: str, *arguments: str, ci: str = "1") -> tuple[int, str]:
        (self.root / "tests" / "test_it.py").write_text(ONCE + dedent(source))
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))
        }
        done = subprocess.run(
            [self.root / "scripts" / "test", *arguments],
            env={
                **variables,
                "LEAVE_OUT": "network docker registry objects swift dashboard",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_PLUGINS": "xdist.plugin",
                **({"CI": ci} if ci else {}),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def excused(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("failed once")]


FLAKY = """
def test_flaky():
    once("a")

@pytest.mark.parametrize("name", ["b c", "d[e]"])
def test_of_many(name):
    once(name)
"""


def test_tests_that_failed_and_pass_alone_are_named_and_hold_nothing_up(suite: Suite) -> None:
    code, said = suite.run(FLAKY)
    assert code == 0, said
    assert sorted(excused(said)) == [
        "failed once, passed alone: tests/test_it.py::test_flaky",
        "failed once, passed alone: tests/test_it.py::test_of_many[b c]",
        "failed once, passed alone: tests/test_it.py::test_of_many[d[e]]",
    ]
    assert "3 failed, 1 passed" in said
    code, said = suite.run(FLAKY)
    assert (code, excused(said), "once more" in said) == (0, [], False)


@pytest.mark.parametrize(
    "source",
    [
        "def test_flaky():\n    once('a')\ndef test_bad():\n    assert False",
        "@pytest.mark.parametrize('n', range(6))\ndef test_many(n):\n    once(str(n))",
        "def test_flaky():\n    once('a')\nonce('module')",  # at least one worker cannot collect it
        "def test_flaky():\n    once('a')\nraise RuntimeError",
        "def test_skipped_then():\n    if Path('a').exists():\n        pytest.skip('not now')\n    once('a')",
        "def test_breaks():\n    pytest.exit('over', returncode=3)",
        "@pytest.fixture\ndef bad():\n    raise OSError\ndef test_needs_it(bad):\n    pass",
        "import os\ndef test_kills_its_worker():\n    os._exit(1)",
    ],
    ids=[
        "fails again",
        "six",
        "not collected once",
        "not collected",
        "skipped then",
        "ended",
        "fixture",
        "killed",
    ],
)
def test_what_else_fails_fails_the_run(suite: Suite, source: str) -> None:
    code, said = suite.run(source)
    assert code != 0, said
    assert excused(said) == []


def test_nothing_is_excused_where_others_did_not_run_or_elsewhere_than_in_ci(suite: Suite) -> None:
    code, said = suite.run("def test_flaky():\n    once('a')", "-x")
    assert (code, excused(said)) == (2, []), said
    code, said = suite.run("def test_flaky():\n    once('c')", "-x", "-n", "0")
    assert (code, excused(said)) == (1, []), said
    code, said = suite.run("def test_flaky():\n    once('b')", ci="")
    assert (code, excused(said)) == (1, []), said


def test_what_is_chosen_by_arguments_is_chosen_again(suite: Suite) -> None:
    code, said = suite.run(FLAKY, "-k", "flaky")
    assert code == 0, said
    assert excused(said) == ["failed once, passed alone: tests/test_it.py::test_flaky"]


def test_what_failed_in_a_run_before_is_not_counted(suite: Suite) -> None:
    assert suite.run("def test_bad():\n    assert False", ci="")[0] == 1
    code, said = suite.run("def test_flaky():\n    once('a')")
    assert code == 0, said
    assert excused(said) == ["failed once, passed alone: tests/test_it.py::test_flaky"]
