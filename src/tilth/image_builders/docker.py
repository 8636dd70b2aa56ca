"""The Docker engine as an image builder, by its command line: BuildKit where it has it, the classic builder else."""

from __future__ import annotations

import re
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tilth.errors import BuildFailed, Conflict, EngineUnavailable, SetupError
from tilth.image_builders.archives import archive_from_layout, layout_from_archive
from tilth.image_builders.commands import ask, run_logged
from tilth.image_builders.contexts import BuildContext
from tilth.image_builders.deriving import derive
from tilth.image_builders.failures import explain
from tilth.image_builders.package_managers import OURS, packages_dockerfile
from tilth.stack.flavors import Flavor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.image_builders import Derived, Work
    from tilth.image_builders.commands import Finished
    from tilth.image_builders.deriving import Bench
    from tilth.image_builders.recipes import Recipe
    from tilth.stack.flavors import Context, Finding

_ELSEWHERE = re.compile(r"(oci|docker|podman|docker-archive):")
_PLUGIN_ONLY = 23  # clients from here on have BuildKit as the plugin buildx alone


class DockerBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the image builder `docker`.

    Attributes:
        program: The command line to use.
        host: The engine, as `DOCKER_HOST` has it: `unix:///…`, `ssh://user@machine`; by default the client's.
        network: That commands of a build see: `host`, `none`; by default the engine's.
        buildkit: Whether BuildKit is used where the engine has it.
    """

    program: str = "docker"
    host: str = ""
    network: str = ""
    buildkit: Literal["auto", "never"] = "auto"


class DockerBuilder:
    """Builds in a Docker engine. What it made stays there too, under a name of its own."""

    name = "docker"

    def __init__(self, settings: DockerBuilderSettings | None = None) -> None:
        self.settings = settings or DockerBuilderSettings()

    def check(self) -> None:
        """See whether the engine answers."""
        answer = ask(self._docker("version", "--format", "{{.Server.Version}}"), timeout_s=30)
        if answer.returncode != 0:
            raise EngineUnavailable(
                "the image builder `docker` needs a Docker engine, and none answers",
                why=answer.stderr.strip() or answer.stdout.strip(),
                mend="start it, or see whether this user may use it; environments without `system_packages` and "
                "`dockerfile` need none: the native builder makes their images",
            )

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """The base that a recipe gives; the engine is asked only when it is not remembered."""
        return derive(recipe, work, self.name, lambda bench: self._build(recipe, bench))

    def image_id(self, name: str) -> str | None:
        """The id of an image in the engine; empty when it has none of that name."""
        answer = ask(self._docker("image", "inspect", "--format", "{{.Id}}", "--", name), timeout_s=30)
        if answer.returncode == 0:
            return answer.stdout.strip()
        self.check()
        return ""

    @cached_property
    def buildkit(self) -> Literal["plugin", "client", ""]:
        """Where BuildKit comes from; empty for the classic builder."""
        if self.settings.buildkit == "never":
            return ""
        if ask(self._docker("buildx", "version"), timeout_s=30).returncode == 0:
            return "plugin"
        told = ask(self._docker("version", "--format", "{{.Client.Version}}"), timeout_s=30).stdout
        major = re.match(r"\d+", told)
        return "client" if major and int(major[0]) < _PLUGIN_ONLY else ""

    def _build(self, recipe: Recipe, bench: Bench) -> str:
        self.check()
        if recipe.secrets and not self.buildkit:
            raise SetupError(
                f"the Dockerfile of environment `{recipe.owner}` gets secrets, and this Docker builds without BuildKit",
                why="only BuildKit can show a secret to a command without keeping it in a layer",
                mend="install the plugin `docker-buildx`, or use the image builder `podman`",
            )
        name = f"tilth-base:{recipe.key[:20]}"
        if recipe.dockerfile:
            base = f"{name}-dockerfile" if recipe.packages else name
            self._run(recipe, bench, recipe.pinned, staged(recipe, bench), base, arguments(recipe, bench))
            user = ""
        else:
            base, user = self._base(recipe), recipe.base_user
        if recipe.packages:
            try:
                if recipe.dockerfile:
                    user = self._answer("image", "inspect", "--format", "{{.Config.User}}", base).strip()
                text = packages_dockerfile(base, recipe.packages, user=user)
                self._run(recipe, bench, text, empty(bench), name, [])
            finally:
                if recipe.dockerfile:
                    ask(self._docker("image", "rm", "--no-prune", base))
        archive = bench.folder / "image.tar"
        self._answer("save", "--output", str(archive), name)
        layout_from_archive(archive, bench.layout, recipe.tag, bench.known, bench.home)
        archive.unlink()
        return name

    def _run(
        self, recipe: Recipe, bench: Bench, text: str, context: Path, name: str, more: list[str]
    ) -> None:
        file = bench.folder / "Dockerfile"
        file.write_text(text, encoding="utf-8")
        # The context was chosen already; a file of this name goes before its `.dockerignore`.
        file.with_name("Dockerfile.dockerignore").touch()
        command = ["buildx", "build", "--load"] if self.buildkit == "plugin" else ["build"]
        command += ["--progress", "plain"] if self.buildkit else ["--force-rm"]
        if bench.refresh:
            command += ["--no-cache"]
        if recipe.platform:
            command += ["--platform", recipe.platform]
        if self.settings.network:
            command += ["--network", self.settings.network]
        finished = run_logged(
            self._docker(*command, "--tag", name, "--file", str(file), *more, str(context)),
            log=bench.log,
            tell=bench.tell,
            hide=bench.hide,
            variables={"DOCKER_BUILDKIT": "1" if self.buildkit else "0"},
        )
        if finished.code != 0:
            raise failed(recipe, finished, bench)

    def _base(self, recipe: Recipe) -> str:
        """What `FROM` takes in this engine."""
        place = _ELSEWHERE.match(recipe.base)
        if place is None:
            return pinned(recipe)
        if place[1] == "docker":
            return recipe.base.removeprefix("docker:")
        name = f"tilth-base:from-{recipe.base_digest.removeprefix('sha256:')[:20]}"
        layout = _layout_path(recipe)
        if layout is None:
            told = self._answer("load", "--input", recipe.base.removeprefix("docker-archive:"))
            return told.strip().splitlines()[-1].split(": ", 1)[1]
        loading = subprocess.Popen(
            self._docker("load"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with loading:
            assert loading.stdin is not None
            assert loading.stdout is not None
            try:
                archive_from_layout(layout, recipe.base_digest, name, loading.stdin)
                loading.stdin.close()
            except BrokenPipeError:
                pass  # what the engine says is the reason
            told = loading.stdout.read().decode(errors="replace")
        if loading.returncode != 0:
            raise EngineUnavailable(f"the engine does not take the base `{recipe.base}`", why=told.strip())
        return name

    def _answer(self, *arguments: str) -> str:
        answer = ask(self._docker(*arguments))
        if answer.returncode != 0:
            raise EngineUnavailable(
                f"`{self.settings.program} {arguments[0]}` failed",
                why=answer.stderr.strip() or answer.stdout.strip(),
            )
        return answer.stdout

    def _docker(self, *arguments: str) -> list[str]:
        host = ["--host", self.settings.host] if self.settings.host else []
        return [self.settings.program, *host, *arguments]


class DockerFlavor(Flavor[DockerBuilderSettings]):
    """The flavor `docker`."""

    type = "image_builder"
    name = "docker"
    title = "a Docker engine, with BuildKit where it has that"
    settings = DockerBuilderSettings

    def make(self, settings: DockerBuilderSettings, context: Context) -> DockerBuilder:  # noqa: ARG002
        """The builder; nothing is started yet."""
        return DockerBuilder(settings)

    def check(self, settings: DockerBuilderSettings, context: Context) -> Sequence[Finding]:
        """Whether it could build."""
        self.make(settings, context).check()
        return ()


def staged(recipe: Recipe, bench: Bench) -> Path:
    """A copy of the build context. What a recipe copies nothing from may have changed: an engine is given it all the
    same, for what a base does `ONBUILD`.

    Raises:
        Conflict: It is not the one that the recipe was made of.
    """
    folder = bench.folder / "context"
    folder.mkdir()
    digest = BuildContext(Path(recipe.context), Path(recipe.dockerfile_path)).stage(folder)
    if recipe.context_digest and digest != recipe.context_digest:
        raise Conflict(
            f"the build context of environment `{recipe.owner}` changed while its image was planned",
            why=f"another process wrote into `{recipe.context}`",
            mend="start again; what changes by itself belongs in `.dockerignore`",
        )
    return folder


def arguments(recipe: Recipe, bench: Bench) -> list[str]:
    """What the build of a Dockerfile is told, as Docker, Podman and Buildah have it."""
    told = [f"--build-arg={key}={value}" for key, value in recipe.build_args.items()]
    told += [f"--secret=id={key},src={path}" for key, path in bench.secrets.items()]
    return [*told, "--target", recipe.target] if recipe.target else told


def pinned(recipe: Recipe) -> str:
    """A base in a registry by its digest: the tag may have moved since it was looked at."""
    repository = recipe.source.removeprefix("registry:")
    return f"{repository}@{recipe.base_digest}"


def failed(recipe: Recipe, finished: Finished, bench: Bench) -> BuildFailed:
    """What to tell of a build that ended badly."""
    told = explain([line for line in finished.lines if OURS not in line])
    code = f" with exit code {told.code}" if told.code is not None else ""
    if not recipe.dockerfile or any(OURS in line for line in finished.lines):
        listed = ", ".join(f"`{each}`" for each in recipe.packages)
        what, at = f"the system packages of environment `{recipe.owner}`", f": {listed}"
    else:
        what = f"the Dockerfile `{recipe.dockerfile_path}` of environment `{recipe.owner}`"
        at = f", at `{told.instruction}`{code}" if told.instruction else code
    return BuildFailed(
        f"{what} could not be built{at}",
        why="\n".join(told.lines),
        mend=f"the whole log is in `{bench.log.name}`",
    )


def empty(bench: Bench) -> Path:
    """The context of a Dockerfile that copies nothing."""
    folder = bench.folder / "empty"
    folder.mkdir(exist_ok=True)
    return folder


def _layout_path(recipe: Recipe) -> Path | None:
    if recipe.source.startswith("layout:"):
        path = Path(recipe.source.removeprefix("layout:"))
        return path if path.is_dir() else None
    return None
