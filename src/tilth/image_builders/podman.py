"""Podman as an image builder, or Buildah, which it is made of: no daemon, and no root where the machine allows that."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tilth.errors import EngineUnavailable
from tilth.image_builders.commands import ask, run_logged
from tilth.image_builders.deriving import derive
from tilth.image_builders.docker import arguments, empty, failed, pinned, staged
from tilth.image_builders.package_managers import packages_dockerfile
from tilth.stack.flavors import Flavor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.image_builders import Derived, Work
    from tilth.image_builders.deriving import Bench
    from tilth.image_builders.recipes import Recipe
    from tilth.stack.flavors import Context, Finding

# The engine copies itself into memory to start a command, and on a busy machine fails to seal the copy now and then:
# nothing was run.
_BUSY, _ATTEMPTS = "sealing memfd copy", 3
# Where an image lies, as the tools of containers/image write it.
_TRANSPORTS = {
    "oci:": "oci:",
    "podman:": "containers-storage:",
    "docker:": "docker-daemon:",
    "docker-archive:": "docker-archive:",
}


class PodmanBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the image builder `podman`.

    Attributes:
        program: `podman` or `buildah`, or the path of one; by default the first that is installed.
        network: That commands of a build see: `host`, `none`; by default the engine's.
        isolation: `chroot` where no container can be started.
        verify_tls: Of registries that a `FROM` names.
    """

    program: str = ""
    network: str = ""
    isolation: Literal["", "oci", "rootless", "chroot"] = ""
    verify_tls: bool = True


class PodmanBuilder:
    """Builds with Podman or Buildah. The result is a layout; nothing else stays."""

    name = "podman"

    def __init__(self, settings: PodmanBuilderSettings | None = None) -> None:
        self.settings = settings or PodmanBuilderSettings()

    @cached_property
    def program(self) -> str:
        """The one that is used."""
        if self.settings.program:
            return self.settings.program
        found = next(filter(shutil.which, ("podman", "buildah")), None)
        if found is None:
            raise EngineUnavailable(
                "the image builder `podman` needs Podman or Buildah, and neither is installed",
                mend="install one, or name another image builder; environments without `system_packages` and "
                "`dockerfile` need none: the native builder makes their images",
            )
        return found

    def check(self) -> None:
        """See whether it is there and has a place for images."""
        answer = ask([self.program, "info"], timeout_s=60)
        if answer.returncode != 0:
            raise EngineUnavailable(
                f"the image builder `podman` needs `{self.program}`, which does not work here",
                why=answer.stderr.strip(),
                mend="see `podman info`; environments without `system_packages` and `dockerfile` need none",
            )

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """The base that a recipe gives; nothing is started when it is remembered."""
        return derive(recipe, work, self.name, lambda bench: self._build(recipe, bench))

    def image_id(self, name: str) -> str | None:
        """The id of an image of this machine; empty when there is none of that name."""
        if "podman" in self.program.rpartition("/")[2]:
            answer = ask([self.program, "image", "inspect", "--format", "{{.Id}}", name], timeout_s=60)
        else:
            answer = ask(
                [self.program, "inspect", "--type", "image", "--format", "{{.FromImageID}}", name],
                timeout_s=60,
            )
        if answer.returncode == 0:
            return f"sha256:{answer.stdout.strip().removeprefix('sha256:')}"
        self.check()
        return ""

    def _build(self, recipe: Recipe, bench: Bench) -> str:
        self.check()
        made: list[str] = []  # what is to go again, and last the result
        try:
            if recipe.dockerfile:
                told = arguments(recipe, bench)
                base = self._run(recipe, bench, recipe.pinned, staged(recipe, bench), "dockerfile", told)
                made.append(base)
                user = self._user(base)
            else:
                base, user = self._base(recipe, made), recipe.base_user
            if recipe.packages:
                text = packages_dockerfile(base, recipe.packages, user=user)
                made.append(self._run(recipe, bench, text, empty(bench), "packages", []))
            self._answer("push", "--quiet", made[-1], f"oci:{bench.layout}:{recipe.tag}")
        finally:
            for image in reversed(made):
                ask([self.program, "rmi", image])  # what is in use elsewhere stays
        return ""

    def _run(self, recipe: Recipe, bench: Bench, text: str, context: Path, name: str, more: list[str]) -> str:
        """Build; gives the id of the image."""
        file, ignore, result = (bench.folder / f"{name}{each}" for each in (".Dockerfile", ".ignore", ".id"))
        file.write_text(text, encoding="utf-8")
        ignore.touch()  # the context was chosen already
        command = [self.program, "build", "--format=oci", "--layers=false"]
        command += [f"--ignorefile={ignore}", f"--iidfile={result}"]
        if recipe.platform:
            command += ["--platform", recipe.platform]
        if self.settings.network:
            command += ["--network", self.settings.network]
        if self.settings.isolation:
            command += ["--isolation", self.settings.isolation]
        if not self.settings.verify_tls:
            command += ["--tls-verify=false"]
        for _ in range(_ATTEMPTS):
            finished = run_logged(
                [*command, *more, "--file", str(file), str(context)],
                log=bench.log,
                tell=bench.tell,
                hide=bench.hide,
            )
            if finished.code == 0 or not any(_BUSY in line for line in finished.lines):
                break
        if finished.code != 0:
            raise failed(recipe, finished, bench)
        return result.read_text().strip().removeprefix("sha256:")

    def _base(self, recipe: Recipe, made: list[str]) -> str:
        """The base among the images of this machine; gives its id, and adds a name that it got for this only."""
        command = ["pull", "--quiet", *([] if self.settings.verify_tls else ["--tls-verify=false"])]
        place = next((each for each in _TRANSPORTS if recipe.base.startswith(each)), None)
        if place is None:
            return self._answer(*command, f"docker://{pinned(recipe)}").split()[-1]
        rest = recipe.base.removeprefix(place)
        if place == "podman:":
            return rest
        if place != "oci:":
            return self._answer(*command, _TRANSPORTS[place] + rest).split()[-1]
        # Podman makes a name of the path, and refuses a path that is none, as one with `.cache` in it.
        layout = Path(recipe.source.removeprefix("layout:"))
        plain = Path(tempfile.gettempdir()) / f"tilth-{os.urandom(8).hex()}"
        plain.symlink_to(layout.resolve())
        made.append(f"localhost{plain}:latest")
        try:
            transport = "oci:" if layout.is_dir() else "oci-archive:"
            return self._answer(*command, f"{transport}{plain}{rest.removeprefix(str(layout))}").split()[-1]
        finally:
            plain.unlink()

    def _user(self, image: str) -> str:
        if "podman" in self.program.rpartition("/")[2]:
            return self._answer("image", "inspect", "--format", "{{.Config.User}}", image).strip()
        return self._answer("inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", image).strip()

    def _answer(self, *arguments: str) -> str:
        answer = ask([self.program, *arguments])
        if answer.returncode != 0:
            raise EngineUnavailable(f"`{self.program} {arguments[0]}` failed", why=answer.stderr.strip())
        return answer.stdout


class PodmanFlavor(Flavor[PodmanBuilderSettings]):
    """The flavor `podman`."""

    type = "image_builder"
    name = "podman"
    title = "Podman or Buildah: no daemon, and no root"
    settings = PodmanBuilderSettings

    def make(self, settings: PodmanBuilderSettings, context: Context) -> PodmanBuilder:  # noqa: ARG002
        """The builder; nothing is started yet."""
        return PodmanBuilder(settings)

    def check(self, settings: PodmanBuilderSettings, context: Context) -> Sequence[Finding]:
        """Whether it could build."""
        self.make(settings, context).check()
        return ()
