"""Locks for another Python or platform."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tilth.client.checks.locks import check_lock
from tilth.environments import foreign, probe
from tilth.home import Home

if TYPE_CHECKING:
    from tilth.client.checks import Finding
    from tilth.environments import Interpreter


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return probe(Path(sys.executable), Home(tmp_path_factory.mktemp("probe")))


def document(*packages: str, head: str = "") -> str:
    return "\n".join(['lock-version = "1.0"', 'created-by = "tests"', head, *packages]) + "\n"


def package(name: str, *files: str, more: str = "") -> str:
    wheels = ", ".join(f'{{ url = "https://e.org/{each}", hashes = {{ sha256 = "00" }} }}' for each in files)
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{more}\nwheels = [{wheels}]'


def check(text: str, interpreter: Interpreter) -> list[Finding]:
    found = check_lock(text, "training", interpreter)
    assert all((each.level, each.check, each.environment) == ("error", "lock", "training") for each in found)
    return found


def test_a_lock_that_fits_gives_nothing(here: Interpreter) -> None:
    fitting = [
        package("pure", "pure-1.0-py3-none-any.whl"),
        package("other", f"other-1.0-{here.tags[0]}.whl", "other-1.0-cp27-cp27m-win32.whl"),
        package(
            "elsewhere", "elsewhere-1.0-cp27-cp27m-win32.whl", more="marker = \"sys_platform == 'win32'\""
        ),
        package("source").replace(
            "wheels = []", 'sdist = { url = "https://e.org/source-1.0.tar.gz", hashes = { sha256 = "00" } }'
        ),
    ]
    assert check(document(*fitting, head=f'requires-python = ">={here.minor}"'), here) == []


def test_every_package_without_a_usable_file_is_named(here: Interpreter) -> None:
    text = document(
        package("one", "one-1.0-cp312-cp312-win_amd64.whl"),
        package("two", "two-1.0-cp27-cp27m-manylinux1_x86_64.whl"),
        package("fine", "fine-1.0-py3-none-any.whl"),
    )
    found = check(text, here)
    assert [each.what.partition(" 1.0")[0] for each in found] == ["`one`", "`two`"]
    assert "cp312 on win_amd64" in found[0].why


def test_a_lock_of_another_python_is_told_as_a_whole_and_by_package(here: Interpreter) -> None:
    text = document(
        package("pure", "pure-1.0-py3-none-any.whl", more='requires-python = ">=3.99"'),
        head='requires-python = ">=3.98"',
    )
    whole, one = check(text, here)
    assert whole.what == "the lock of environment `training` is for Python >=3.98"
    assert "`pure` 1.0" in one.what
    assert "needs Python >=3.99" in one.what


def test_a_lock_of_other_machines_is_told(here: Interpreter) -> None:
    (found,) = check(document("packages = []", head="environments = [\"sys_platform == 'win32'\"]"), here)
    assert "other machines" in found.what


def test_a_lock_is_checked_for_a_platform_that_is_elsewhere() -> None:
    wheel = package("one", "one-1.0-cp312-cp312-manylinux_2_17_aarch64.whl")
    assert check(document(wheel), foreign("aarch64-manylinux", "3.12")) == []
    assert len(check(document(wheel), foreign("x86_64-manylinux", "3.12"))) == 1
    assert len(check(document(wheel), foreign("aarch64-manylinux", "3.13"))) == 1


@pytest.mark.parametrize("text", ["not toml [", 'lock-version = "1.0"'])
def test_what_is_no_lock_is_said_to_be_none(text: str, here: Interpreter) -> None:
    (found,) = check(text, here)
    assert "not valid PEP 751" in found.what
