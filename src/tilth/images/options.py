"""What an environment says of the image that it becomes, with what was left out filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import DefinitionError
from tilth.images.settings import ImageSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

_BELOW = ("base_image", "dockerfile", "system_packages")  # what a step may notice the absence of


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an `Environment` that are about images. Empty means: not said."""

    base_image: str = ""  # by default the stack's
    image: str = ""  # a ready one: nothing is built or locked
    dockerfile: str = ""  # relative to the code root, as is the context
    build_args: dict[str, str] = {}
    build_context: str = "."
    build_target: str = ""
    build_secrets: dict[str, str] = {}  # name of the secret by id
    system_packages: tuple[str, ...] = ()
    user: str = ""
    working_directory: str = ""
    labels: dict[str, str] = {}
    bytecode: bool | None = None
    platform: str = ""  # as images have it

    @property
    def needs_engine(self) -> bool:
        """Whether something below the Python packages has to be built by running commands."""
        return bool(self.dockerfile or self.system_packages)

    def settings(self, defaults: ImageSettings | None = None) -> ImageSettings:
        """The settings of the image: what the environment says before what the stack says."""
        given = defaults or ImageSettings()
        return msgspec.structs.replace(
            given,
            user=self.user or given.user,
            working_directory=self.working_directory or given.working_directory,
            labels={**given.labels, **self.labels},
            bytecode=given.bytecode if self.bytecode is None else self.bytecode,
        )


def container_options(environment: Mapping[str, Any]) -> ContainerOptions:
    """Those of an environment, from what its `to_json` gave; packages sorted and each once."""
    known = {
        field: environment[field] for field in ContainerOptions.__struct_fields__ if field in environment
    }
    if "system_packages" in known:
        known["system_packages"] = tuple(sorted(set(known["system_packages"])))
    return msgspec.convert(known, ContainerOptions)


def unused_without_containers(environment: Mapping[str, Any]) -> str:
    """What to tell of an environment whose steps run on this machine in a venv; empty when nothing is.

    Raises:
        DefinitionError: It is a ready image, which only a container can run.
    """
    options, name = container_options(environment), environment["name"]
    if options.image:
        raise DefinitionError(
            f"environment `{name}` is the image `{options.image}`, and its steps would run without containers",
            why="only a stack whose orchestrator runs containers can use a ready image",
            mend="use one, as with `tilth stack set docker-local`, or declare what the environment holds",
        )
    unused = [f"`{option}`" for option in _BELOW if getattr(options, option)]
    if not unused:
        return ""
    listed = " and ".join(filter(None, [", ".join(unused[:-1]), unused[-1]]))
    return f"environment `{name}`: {listed} count in containers alone, and its steps run without"
