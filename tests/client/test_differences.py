"""What differs between two environments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from tilth.client.differences import Pinned, Side, compare, compare_all, side_of_environment, side_of_lock
from tilth.environments.contents.lockfiles import LockedFile, LockedPackage
from tilth.records import Environment, Package

VERSIONS = st.sampled_from(["1.0", "2.0"])
PINS = st.builds(
    Pinned,
    version=VERSIONS,
    digests=st.frozensets(st.sampled_from("abc"), max_size=1),
    origin=st.sampled_from(["", "/src/x", "1a2b"]),
)
SIDES = st.builds(
    Side,
    name=st.just("training"),
    role=st.just("execution"),
    packages=st.dictionaries(st.sampled_from(["numpy", "pandas", "scipy"]), PINS),
    python=st.sampled_from([None, "3.11", "3.12"]),
    platform=st.sampled_from([None, "linux-x86_64"]),
    variables=st.none() | st.dictionaries(st.sampled_from("AB"), st.sampled_from("01")),
)


@given(SIDES)
def test_nothing_differs_from_itself(side: Side) -> None:
    assert compare(side, side).count == 0


@given(SIDES, SIDES)
def test_the_way_back_undoes_the_way_there(left: Side, right: Side) -> None:
    turned = {"added": "removed", "removed": "added"}
    there, back = compare(left, right), compare(right, left)
    assert there.count == back.count
    assert [
        (each.name, each.left, each.right, turned.get(each.kind, each.kind)) for each in there.packages
    ] == [(each.name, each.right, each.left, each.kind) for each in back.packages]


@given(SIDES, SIDES)
def test_every_package_of_one_side_alone_is_named(left: Side, right: Side) -> None:
    named = {each.name for each in compare(left, right).packages if each.kind in ("added", "removed")}
    assert named == left.packages.keys() ^ right.packages.keys()


def package(**given: Any) -> Package:
    return Package(**{"name": "numpy", "version": "2.1.0", **given})


def side(**given: Any) -> Side:
    return side_of_environment(Environment(id="sha256:1", name="training", packages=(package(**given),)))


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        ({}, {"version": "2.2.0"}, ["version"]),
        ({"digest": "sha256:1"}, {"digest": "sha256:2"}, ["file"]),
        ({"digest": "sha256:1"}, {}, []),  # the client does not know which wheel it was
        ({"digest": "sha256:1"}, {"origin": "/src/numpy"}, ["file"]),  # an editable one is no wheel
        ({"digest": "sha256:1"}, {"origin": "1a2b3c"}, []),
        ({"origin": "1a2b3c"}, {"origin": "4d5e6f"}, ["file"]),
        # What was built of one source may differ.
        (
            {"digest": "sha256:1", "file": "numpy-2.1.0.tar.gz"},
            {"digest": "sha256:2", "file": "numpy-2.1.0.tar.gz"},
            ["file"],
        ),
    ],
)
def test_one_version_may_be_two_packages(
    left: dict[str, str], right: dict[str, str], kind: list[str]
) -> None:
    assert [each.kind for each in compare(side(**left), side(**right)).packages] == kind


def test_a_lock_offers_several_files_and_one_of_them_is_enough() -> None:
    def lock(*files: tuple[str, str]) -> Side:
        offered = tuple(LockedFile(name=name, digest=digest) for name, digest in files)
        return side_of_lock("pylock.toml", [LockedPackage(name="numpy", version="2.1.0", files=offered)])

    both = lock(("numpy-2.1.0-linux.whl", "sha256:1"), ("numpy-2.1.0.tar.gz", "sha256:9"))
    assert not compare(both, side(digest="sha256:1", file="numpy-2.1.0-linux.whl")).count
    assert compare(both, side(digest="sha256:2", file="numpy-2.1.0-linux.whl")).count == 1
    # The digest is then that of what was built from it.
    built = side(digest="sha256:77", file="numpy-2.1.0-py3.whl", builder="sha256:b")
    assert not compare(both, built).count
    assert compare(lock(("numpy-2.1.0-linux.whl", "sha256:1")), built).count == 1


def test_runs_are_compared_by_name_and_role() -> None:
    def named(name: str, role: str = "execution", version: str = "1") -> Side:
        return Side(name=name, role=role, packages={"numpy": Pinned(version)})

    found = compare_all(
        [named("client", "client"), named("training"), named("old")],
        [named("training", version="2"), named("new"), named("client")],
    )
    assert [(each.role, each.name, each.count) for each in found] == [
        ("client", "client", 0),  # every run has one: it was not recorded
        ("execution", "training", 1),
        ("execution", "old", 1),
        ("execution", "new", 1),
        ("execution", "client", 1),
    ]
