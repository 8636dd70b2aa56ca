from __future__ import annotations

import pytest

from tilth.client.snapshots import local_parts
from tilth.records import Component
from tilth.stack.assembled import AssembledStack


def stack(**components):
    made = {
        type_: Component(project="p", type=type_, name=type_, flavor=flavor, settings=settings)
        for type_, (flavor, settings) in components.items()
    }
    return AssembledStack("mine", made)


def test_a_stack_that_others_reach_has_no_local_part():
    cloud = stack(
        orchestrator=("docker", {"platform": "linux/amd64"}),
        artifact_store=("s3", {"bucket": "models", "endpoint": "https://s3.example.com"}),
    )
    assert local_parts(cloud) == []


@pytest.mark.parametrize(
    ("components", "told"),
    [
        ({"orchestrator": ("local", {})}, "its orchestrator `orchestrator` runs steps on the machine"),
        ({"artifact_store": ("local", {"path": "/home/ada/a"})}, "a place on this machine: `/home/ada/a`"),
        ({"artifact_store": ("fsspec", {"url": "file:///srv"})}, "a place on this machine"),
        ({"artifact_store": ("s3", {"endpoint": "http://localhost:9000"})}, "an address of this machine"),
        ({"container_registry": ("oci", {"uri": "127.0.0.1:5000/x"})}, "an address of this machine"),
        ({"artifact_store": ("x", {"a": {"b": ["~/data"]}})}, "a place on this machine: `~/data`"),
    ],
)
def test_what_is_of_this_machine_alone_is_named(components, told):
    (found,) = local_parts(stack(**components))
    assert told in found


def test_steps_may_be_let_run_anywhere():
    assert local_parts(stack(orchestrator=("local", {})), anywhere=True) == []
    assert local_parts(stack(artifact_store=("local", {"path": "/a"})), anywhere=True)
