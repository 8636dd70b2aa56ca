"""Which images a Dockerfile stands on and copies from, and the same Dockerfile with each of them by its digest.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from e2b_dockerfile_utils import DockerfileInstruction

_SYNTAX = re.compile(r"\s*#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_USUAL_SYNTAX = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:|$)")
_VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<braced>\w+)(?::?(?P<sign>[-+])(?P<word>[^{}]*))?\})")
_TRANSPORT = re.compile(
    r"[a-z-]+:/"
)  # where an image lies, as Buildah takes it: nothing that a registry knows
_MOUNT_FROM = re.compile(r"(?:^|,)from=([^,]*)")


class Use(msgspec.Struct, frozen=True):
    """A place in a Dockerfile that names an image."""

    image: str  # variables filled in: `python:3.12`; empty where that cannot be done
    line: int  # of the beginning of its instruction, from 1
    end: int  # of the end of it
    kind: str  # `FROM`, `COPY`, `RUN`


class _Stage(msgspec.Struct, kw_only=True):
    name: str = ""
    below: int | None = None  # the stage it goes on from
    uses: list[Use] = []
    stages: set[int] = set()  # that it copies from
    copies: bool = False  # from the context


def uses_of(
    text: str,
    *,
    build_args: Mapping[str, str],
    target: str = "",
    platform: str = "",
    file: str = "Dockerfile",
) -> tuple[tuple[Use, ...], bool]:
    """Where a Dockerfile names images that its result depends on, in order, and whether its context goes into it.

    `scratch` and stages are no images. One with a `# syntax=` of its own is no Dockerfile to us: it names none, and may
    copy anything.

    Args:
        target: The stage that is built; by default the last.
        platform: Built for, for those variables that every build has, as `TARGETARCH`.
        file: For messages.
    Raises:
        DefinitionError: It cannot be read, has no such stage, or a `FROM` names nothing.
    """
    told = _SYNTAX.match(text)
    if told is not None and not _USUAL_SYNTAX.match(told[1]):
        return (), True
    stages = _stages(_instructions(text, file), build_args, platform, file)
    last = _last(stages, target, file)
    needed: set[int] = set()
    waiting = [last]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            below = stages[index].below
            waiting += [*stages[index].stages, *([] if below is None else [below])]
    uses = tuple(use for index in sorted(needed) for use in stages[index].uses)
    return uses, any(stages[index].copies for index in needed)


def begins_with(
    text: str,
    *,
    build_args: Mapping[str, str],
    target: str = "",
    platform: str = "",
    file: str = "Dockerfile",
) -> str:
    """The image that the result has its lowest layers from; empty where that is none, or not known."""
    if not uses_of(text, build_args=build_args, target=target, platform=platform, file=file)[0]:
        return ""
    stages = _stages(_instructions(text, file), build_args, platform, file)
    stage = stages[_last(stages, target, file)]
    while stage.below is not None:
        stage = stages[stage.below]
    return next((use.image for use in stage.uses if use.kind == "FROM"), "")


def pin(text: str, uses: Sequence[Use], pinned: Mapping[str, str]) -> str:
    """A Dockerfile with images replaced; its lines keep their numbers.

    Args:
        uses: As `uses_of` gave them.
        pinned: What stands for an image, by what it is called; others stay.
    """
    lines = text.splitlines(keepends=True)
    for use in uses:
        if use.image not in pinned:
            continue
        first, end = use.line - 1, use.end
        said = "".join(lines[first:end])
        if use.kind == "FROM":
            changed = _from_line(said, pinned[use.image]) + "\n" * said.count("\n")
        else:
            named = re.escape(use.image)
            pattern = (
                rf"(--from=[\"']?){named}(?=[\"'\s])"
                if use.kind == "COPY"
                else rf"(--mount=\S*?\bfrom=[\"']?){named}(?=[\"',\s])"
            )
            changed = re.sub(pattern, rf"\g<1>{pinned[use.image]}", said)
        # As many lines as before, so that what an engine says of a line holds for the user's file.
        new = changed.splitlines(keepends=True)
        lines[first:end] = [*new[: end - first - 1], "".join(new[end - first - 1 :])]
    return "".join(lines)


def _last(stages: Sequence[_Stage], target: str, file: str) -> int:
    """The stage that is built."""
    last = _index(target, stages) if target else len(stages) - 1
    if last is None:
        names = [each.name for each in stages if each.name]
        raise DefinitionError(
            f"`{file}` has no stage `{target}`, which `build_target` names", mend=nearest(target, names)
        )
    return last


def _from_line(said: str, image: str) -> str:
    (instruction,) = _instructions(said, "Dockerfile")
    return " ".join(["FROM", *instruction.flags, image, *instruction.args[1:]])


def _instructions(text: str, file: str) -> list[DockerfileInstruction]:
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast  # few environments have one

    try:
        return parse_dockerfile_ast(text).instructions
    except DockerfileSyntaxError as error:
        raise DefinitionError(
            f"the Dockerfile `{file}` cannot be read",
            why=str(error).replace("Dockerfile parse error on ", ""),
        ) from error


def _platform_arguments(platform: str) -> dict[str, str]:
    """The variables that every build has without declaring them."""
    os, architecture, variant = [*(platform or "linux/amd64").split("/"), "", ""][:3]
    parts = {"PLATFORM": platform or "linux/amd64", "OS": os, "ARCH": architecture, "VARIANT": variant}
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in parts.items()}


def _stages(
    instructions: Sequence[DockerfileInstruction], build_args: Mapping[str, str], platform: str, file: str
) -> list[_Stage]:
    variables = _platform_arguments(platform)
    stages: list[_Stage] = []
    for each in instructions:
        if each.name == "ARG" and not stages:
            for argument in each.args:
                name, equals, default = argument.partition("=")
                if name in build_args:
                    variables[name] = build_args[name]
                elif equals or name not in variables:
                    variables[name] = _expanded(default, variables)
        elif each.name == "FROM":
            stages.append(_begun(each, stages, variables, file))
        elif stages and each.name in ("ADD", "COPY", "RUN"):
            stages[-1].copies = stages[-1].copies or _copies_from_context(each)
            for name in _copied_from(each):
                index = _index(name, stages[:-1])
                if index is not None:
                    stages[-1].stages.add(index)
                elif name.lower() != "scratch":
                    stages[-1].uses.append(_use("" if "$" in name else name, each))
    if not stages:
        raise DefinitionError(f"the Dockerfile `{file}` has no `FROM`", mend="begin it with one")
    return stages


def _begun(
    each: DockerfileInstruction, stages: list[_Stage], variables: Mapping[str, str], file: str
) -> _Stage:
    written = each.args[0] if each.args else ""
    image = _expanded(written, variables)
    if not image:
        raise DefinitionError(
            f"line {each.start_line} of the Dockerfile `{file}` names no image: `{each.original.strip()}`",
            mend="give the variable a value in `build_args`, or a default: `ARG NAME=VALUE` before the first `FROM`"
            if "$" in written
            else "write `FROM IMAGE`",
        )
    name = each.args[2].lower() if len(each.args) > 2 and each.args[1].lower() == "as" else ""
    # A number names a stage for `COPY --from` alone.
    below = None if image.isdigit() else _index(image, stages)
    uses = (
        [] if below is not None or image.lower() == "scratch" else [_use("" if "$" in image else image, each)]
    )
    return _Stage(name=name, below=below, uses=uses)


def _copied_from(each: DockerfileInstruction) -> Iterator[str]:
    for flag in each.flags:
        key, _, value = flag.partition("=")
        if each.name == "COPY" and key == "--from":
            yield value
        elif each.name == "RUN" and key == "--mount":
            yield from (hit[1] for hit in _MOUNT_FROM.finditer(value) if hit[1])


def _copies_from_context(each: DockerfileInstruction) -> bool:
    if each.name == "RUN":
        mounts = [flag.partition("=")[2] for flag in each.flags if flag.startswith("--mount=")]
        # `bind` is what a mount is that says nothing else.
        return any(
            ("type=" not in mount or "type=bind" in mount) and not _MOUNT_FROM.search(mount)
            for mount in mounts
        )
    return not any(flag.startswith("--from=") for flag in each.flags)


def _use(image: str, each: DockerfileInstruction) -> Use:
    end = each.end_line - sum(heredoc.content.count("\n") + 1 for heredoc in each.heredocs)
    return Use("" if _TRANSPORT.match(image) else image, each.start_line, end, each.name)


def _index(name: str, stages: Sequence[_Stage]) -> int | None:
    """The stage of a name or number; of two with one name the later."""
    if name.isdigit():
        return int(name) if int(name) < len(stages) else None
    found = [index for index, stage in enumerate(stages) if stage.name and stage.name == name.lower()]
    return found[-1] if found else None


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """A word with its variables filled in; what is not understood stays, with its `$`."""

    def value(hit: re.Match[str]) -> str:
        found = variables.get(hit["plain"] or hit["braced"], "")
        if hit["sign"] == "-":
            return found or _expanded(hit["word"], variables)
        if hit["sign"] == "+":
            return _expanded(hit["word"], variables) if found else ""
        return found

    return _VARIABLE.sub(value, text).replace('"', "").replace("'", "")
