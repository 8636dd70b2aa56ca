"""What an environment says of its image, filled in; and what is told where no container runs it."""

from __future__ import annotations

import pytest

from tilth import Environment
from tilth.errors import DefinitionError
from tilth.images.options import ContainerOptions, container_options, unused_without_containers
from tilth.images.settings import ImageSettings


def test_an_environment_that_says_nothing_of_images_leaves_all_open() -> None:
    options = container_options(Environment("x", requirements=["a"], variables={"A": "1"}).to_json())
    assert options == ContainerOptions()
    assert not options.needs_engine
    assert options.settings() == ImageSettings()


def test_everything_said_is_taken_and_the_order_of_packages_does_not_count() -> None:
    environment = Environment(
        "x", dockerfile="docker/Dockerfile", build_args={"A": "1"}, build_context="docker", build_target="last",
        build_secrets=["token"], system_packages=["b", "a", "b"], user="1000", working_directory="/srv",
        labels={"team": "x"}, bytecode=True, platform="linux/arm64",
    )  # fmt: skip
    assert container_options(environment.to_json()) == ContainerOptions(
        dockerfile="docker/Dockerfile", build_args={"A": "1"}, build_context="docker", build_target="last",
        build_secrets={"token": "token"}, system_packages=("a", "b"), user="1000", working_directory="/srv",
        labels={"team": "x"}, bytecode=True, platform="linux/arm64",
    )  # fmt: skip


def test_the_environment_says_it_before_the_stack_does() -> None:
    stack = ImageSettings(
        user="1", labels={"a": "stack", "b": "stack"}, bytecode=True, working_directory="/w"
    )
    said = ContainerOptions(user="2", labels={"a": "environment"}, bytecode=False)
    assert said.settings(stack) == ImageSettings(
        user="2", labels={"a": "environment", "b": "stack"}, bytecode=False, working_directory="/w"
    )


def test_without_containers_what_lies_below_the_packages_is_told_once() -> None:
    def told(**options: object) -> str:
        return unused_without_containers(Environment("x", **options).to_json())  # type: ignore[arg-type]

    assert told(requirements=["a"], user="1000", labels={"a": "b"}) == ""
    assert told(base_image="a", system_packages=["b"]) == (
        "environment `x`: `base_image` and `system_packages` count in containers alone, and its steps run without"
    )
    assert "`dockerfile`" in told(dockerfile="Dockerfile")


def test_without_containers_a_ready_image_is_refused() -> None:
    with pytest.raises(DefinitionError, match="without containers") as caught:
        unused_without_containers(Environment("x", image="a").to_json())
    assert "tilth stack set docker-local" in caught.value.mend
