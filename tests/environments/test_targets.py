"""Locks for machines that are not this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_sdist, build_wheel

from tilth.environments import foreign, locks
from tilth.errors import DefinitionError, UnknownOption, Unresolvable

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter

Here = Any  # see conftest.py


def test_this_platform_described_from_afar_takes_the_same_wheels(interpreter: Interpreter) -> None:
    if interpreter.platform != "linux-x86_64":
        pytest.skip("compares with Linux on x86_64")
    there = foreign("x86_64-manylinux", interpreter.minor)
    assert there.platform == interpreter.platform
    assert set(there.tags) <= set(interpreter.tags)
    ours = [tag for tag in interpreter.tags if tag in set(there.tags)]
    assert list(there.tags) == ours  # also in the order of preference
    assert {
        key: there.markers[key] for key in ("sys_platform", "platform_machine", "os_name", "python_version")
    } == {
        key: interpreter.markers[key]
        for key in ("sys_platform", "platform_machine", "os_name", "python_version")
    }


@pytest.mark.parametrize(
    ("name", "tag", "platform"),
    [
        ("aarch64-manylinux", "manylinux_2_28_aarch64", "linux-aarch64"),
        ("aarch64-manylinux_2_35", "manylinux_2_35_aarch64", "linux-aarch64"),
        ("x86_64-manylinux2014", "manylinux_2_17_x86_64", "linux-x86_64"),
        ("x86_64-musllinux", "musllinux_1_2_x86_64", "linux-x86_64-musl"),
        ("macos", "macosx_14_0_arm64", "macos-arm64"),
        ("macos-x86_64", "macosx_14_0_x86_64", "macos-x86_64"),
    ],
)
def test_a_platform_by_name_has_its_best_tag_first(name: str, tag: str, platform: str) -> None:
    there = foreign(name, "3.12")
    tags = [each for each in there.tags if not each.endswith(("-linux_x86_64", "-linux_aarch64"))]
    assert tags[0] == f"cp312-cp312-{tag}"
    assert there.platform == platform
    assert "py3-none-any" in there.tags


def test_an_old_glibc_takes_no_wheel_of_a_newer_one() -> None:
    assert not any("2_28" in tag for tag in foreign("x86_64-manylinux2014", "3.12").tags)
    assert "cp312-cp312-manylinux2014_x86_64" in foreign("x86_64-manylinux", "3.12").tags


def test_a_misspelt_platform_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="did you mean `aarch64-manylinux`"):
        foreign("arch64-manylinux", "3.12")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    for tag in (
        "cp312-cp312-manylinux_2_28_aarch64",
        "cp312-cp312-macosx_11_0_arm64",
        "cp311-cp311-manylinux_2_17_x86_64",
    ):
        build_wheel(folder, "native", "1.0", tag=tag)
    build_sdist(folder, "only-source", "1.0")
    return folder


def lock_for(here: Here, platform: str, python: str, wheels: Path, *requirements: str) -> locks.Locked:
    declared = {"name": "x", "requirements": list(requirements), "find_links": [str(wheels)]}
    return locks.lock(declared, root=here.root, interpreter=foreign(platform, python), home=here.home)


def test_a_lock_for_elsewhere_names_the_wheel_of_there(here: Here, wheels: Path) -> None:
    linux = lock_for(here, "aarch64-manylinux", "3.12", wheels, "native")
    macos = lock_for(here, "macos", "3.12", wheels, "native")
    assert linux.packages[0].file == "native-1.0-cp312-cp312-manylinux_2_28_aarch64.whl"
    assert macos.packages[0].file == "native-1.0-cp312-cp312-macosx_11_0_arm64.whl"
    assert linux.digest != macos.digest
    assert (linux.platform, linux.python) == ("linux-aarch64", "3.12")


def test_markers_are_those_of_there(here: Here, wheels: Path) -> None:
    lines = ["alpha ; sys_platform == 'darwin'", "gamma-ray ; platform_machine == 'aarch64'"]
    linux = lock_for(here, "aarch64-manylinux", "3.12", wheels, *lines)
    macos = lock_for(here, "macos", "3.12", wheels, *lines)
    assert {each.name for each in linux.packages} == {"gamma-ray"}
    assert {each.name for each in macos.packages} == {"alpha", "beta"}


def test_what_has_no_wheel_for_there_is_named(here: Here, wheels: Path) -> None:
    with pytest.raises(Unresolvable) as caught:
        lock_for(here, "x86_64-manylinux", "3.12", wheels, "native")
    assert "native" in str(caught.value)
    with pytest.raises(DefinitionError) as refused:
        lock_for(here, "aarch64-manylinux", "3.12", wheels, "only-source")
    assert "`only-source` of environment `x` has no wheel for linux-aarch64" in str(refused.value)
