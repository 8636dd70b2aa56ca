"""Has uv resolve a declaration, or another tool's lock translated: gives PEP 751 text. Remembers nothing."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from tilth.environments import exports, uv, wheels
from tilth.environments.building import local
from tilth.environments.conda_packages import interpreter_of, read_tables, write_tables
from tilth.environments.declarations import declared_lines
from tilth.environments.explaining.origins import Asked
from tilth.environments.files import scratch
from tilth.environments.indexes import declared_index
from tilth.environments.pylocks import with_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter
    from tilth.errors import TilthError
    from tilth.home import Home
    from tilth.records import SystemPackage

logger = logging.getLogger(__name__)

_EMPTY = 'lock-version = "1.0"\ncreated-by = "tilth"\npackages = []\n'


def resolve(
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool = False,
    upgrade: Sequence[str] | bool = False,
    before: str = "",
    universal: bool = False,
) -> str:
    """What a declaration resolves to. Paths in it are absolute, and no URL holds a password.

    Args:
        environment: Expanded, as by `sources.expand`.
        root: The code root.
        interpreter: What it is for; it may be elsewhere.
        offline: Resolve with what uv has cached.
        upgrade: Whether, or for which packages, newer versions than in `before` are taken.
        before: An earlier lock whose versions are kept where they still answer.
        universal: For every platform, and this minor version of Python or a newer one.
    Raises:
        Unresolvable, IndexUnavailable, DefinitionError, LockStale, EnvironmentBroken: With uv's own reason.
    """
    with scratch(home.locks) as folder, ExitStack() as held:
        system: Sequence[SystemPackage] = ()
        provided: Mapping[str, Path] = {}
        if environment.get("system"):
            held.enter_context(
                closing(wheels.keep(home))
            )  # the prefix stays while pip's part is resolved with it
            place = (environment, root, interpreter, home, folder)
            system, interpreter, provided = _conda(*place, offline, upgrade, before)
        target = folder / "pylock.toml"
        pins = None
        if "lock" in environment:
            pins = exports.export(
                environment, root=root, interpreter=interpreter, target=target, offline=offline
            )
            environment = _pinned(environment, pins.lines) if pins is not None else environment
        if "lock" in environment:
            text = _absolute(target.read_text(encoding="utf-8"), folder)
        else:
            if not isinstance(environment.get("requirements", ()), str):
                local.check_requirements(environment.get("requirements", ()), root, name=environment["name"])
            command = _Command(environment, root, interpreter, folder, universal, provided)
            if before and upgrade is not True:
                target.write_text(before, encoding="utf-8")
            text = _compile(command, target, home, upgrade, offline=offline)
            # uv writes every file that the index has, whatever hashes the requirements name.
            hashed = "\n".join(line for line in declared_lines(environment, root) if "--hash" in line)
            for each in (pins, exports.Pins(hashed, of="requirements") if hashed else None):
                text = each.only(text, environment["name"]) if each is not None else text
    return _tidy(text, interpreter) + write_tables(system)


def _conda(
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    folder: Path,
    offline: bool,
    upgrade: Sequence[str] | bool,
    before: str,
) -> tuple[Sequence[SystemPackage], Interpreter, Mapping[str, Path]]:
    """What conda installs, the Python among it, and what stands for its distributions when pip's part is resolved.

    They are installed for that: only then is it known which distributions a package of conda is.
    """
    from tilth.environments import channels, prefixes  # here for cost: few environments have such packages

    name = environment["name"]
    kept = read_tables(before, name, interpreter) if upgrade is not True else ()
    upgraded = () if isinstance(upgrade, bool) else upgrade
    kept = tuple(each for each in kept if each.name not in upgraded)
    place: dict[str, Any] = {"root": root, "interpreter": interpreter, "home": home}
    system = channels.solve(environment, **place, offline=offline, kept=kept)
    if not any(environment.get(each) for each in ("requirements", "pyproject", "script")):
        return system, interpreter_of(system, interpreter, name), {}
    python = prefixes.install(system, interpreter, home, name=name, offline=offline)
    return system, python, prefixes.write_stand_ins(python, folder)


def _pinned(environment: Mapping[str, Any], lines: list[str]) -> dict[str, Any]:
    """A declaration of what another tool's lock pins; groups and extras were chosen by that tool."""
    kept = {key: value for key, value in environment.items() if key not in ("lock", "extras", "groups")}
    return {**kept, "requirements": lines, "complete": True}


def _compile(
    command: _Command, target: Path, home: Home, upgrade: Sequence[str] | bool, *, offline: bool
) -> str:
    """Have uv resolve; versions in `target` are kept where they still answer."""
    if not command.sources:
        return _EMPTY
    options = ["--upgrade"] if upgrade is True else []
    if not isinstance(upgrade, bool):
        options += [f"--upgrade-package={each}" for each in upgrade]
    options += ["--offline"] if offline else []
    result = uv.call(
        [*command.arguments(), "--format", "pylock.toml", "--output-file", target, *options],
        root=command.root,
        text=command.text,
        variables=command.index.variables(home),
    )
    if result.code != 0:
        raise command.explain(result, home)
    _warn(result.errors, command.name)
    text = _absolute(target.read_text(encoding="utf-8"), target.parent)
    return _with_dependencies(text, command, target.parent)


def _absolute(text: str, folder: Path) -> str:
    """uv names local files relative to the lock's folder; ours is kept elsewhere."""
    return with_paths(text, lambda path: os.path.normpath(folder / path))


class _Command:
    """A resolution, as uv is asked for it."""

    def __init__(
        self,
        environment: Mapping[str, Any],
        root: Path,
        interpreter: Interpreter,
        folder: Path,
        universal: bool,
        provided: Mapping[str, Path],
    ) -> None:
        self.name = environment["name"]
        self.root = root
        self.index = declared_index(environment, root)
        self._environment = environment
        self._interpreter = interpreter
        self._universal = universal
        self._folder = folder
        self._provided = provided  # wheel by name: what is there already, and is not to be locked again
        self.text: str | None = None  # for standard input
        self.sources = self._sources()

    def arguments(self) -> list[str | Path]:
        """All but the form and place of what is written."""
        environment, interpreter = self._environment, self._interpreter
        # What is elsewhere cannot be asked; this one stands in where something must be built to be asked.
        python = interpreter.executable or sys.executable
        options: list[str | Path] = ["pip", "compile", *self.sources, "--no-header", "--python", python]
        options.append("--no-python-downloads")
        if self._universal:
            options += ["--universal", "--python-version", interpreter.minor]
        elif interpreter.elsewhere:
            options += ["--python-platform", interpreter.elsewhere, "--python-version", interpreter.version]
        options += [f"--extra={each}" for each in environment.get("extras", ())]
        options += [
            f"--group={environment.get('pyproject')}:{each}" for each in environment.get("groups", ())
        ]
        if environment.get("complete"):
            options.append("--no-deps")
        if environment.get("exclude_newer"):
            options += ["--exclude-newer", environment["exclude_newer"]]
        for option in ("constraints", "overrides"):
            given = environment.get(option, ())
            if given:
                options += [
                    f"--{option}",
                    self.root / given if isinstance(given, str) else self._file(option, given),
                ]
        if self._provided:
            wheels = [f"{name} @ {path.as_uri()}" for name, path in self._provided.items()]
            options += ["--constraints", self._file("provided", wheels)]
            options += [f"--no-emit-package={name}" for name in self._provided]
        return [*options, *self.index.resolving()]

    def explain(self, result: uv.Result, home: Home) -> TilthError:
        """The error for a failed call."""
        asked = Asked(self._environment, self.root, self._interpreter, home)
        error = uv.explain(result, self.name, usable=_usable(home), asked=asked)
        named = [
            path.name.split("-")[:2]
            for name, path in self._provided.items()
            if re.search(rf"\b{re.escape(name)}\b", error.why)
        ]
        if named:
            given = ", ".join(f"{name.replace('_', '-')} {version}" for name, version in named)
            error.why += f"\nconda installs {given}"
        return error

    def _sources(self) -> list[str | Path]:
        environment = self._environment
        requirements = environment.get("requirements", ())
        lines = [f"-r {requirements}"] if isinstance(requirements, str) else sorted(requirements)
        sources: list[str | Path] = [
            environment[each] for each in ("pyproject", "script") if environment.get(each)
        ]
        if self.index.single:
            lines = self._in_single_indexes(lines)
            sources.append(self._folder / "pyproject.toml")
        if isinstance(requirements, str) and lines:
            sources.append(requirements)
        elif lines:
            sources.append("-")
            self.text = "".join(f"{each}\n" for each in lines)
        return sources

    def _in_single_indexes(self, lines: list[str]) -> list[str]:
        """Move what must come from one index to a project of its own, where uv has words for that."""
        single = self.index.single
        moved = {name: [each for each in lines if _name(each) == name] for name in single}
        dependencies = [line for name, found in moved.items() for line in found or [name]]
        document = ["[project]", 'name = "tilth-single-indexes"', 'version = "0"',
                    f'requires-python = ">={self._interpreter.minor}"',
                    f"dependencies = {json.dumps(dependencies)}", "[tool.uv.sources]"]  # fmt: skip
        document += [f"{name} = {{ index = 'tilth-single-{i}' }}" for i, name in enumerate(single)]
        for i, url in enumerate(single.values()):
            document += [
                "[[tool.uv.index]]",
                f"name = 'tilth-single-{i}'",
                f"url = {json.dumps(url)}",
                "explicit = true",
            ]
        (self._folder / "pyproject.toml").write_text("\n".join(document) + "\n", encoding="utf-8")
        return [each for each in lines if each not in dependencies]

    def _file(self, option: str, lines: Sequence[str]) -> Path:
        path = self._folder / f"{option}.txt"
        path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
        return path


def _with_dependencies(text: str, command: _Command, folder: Path) -> str:
    """The document with which packages each of them asked for: uv tells that in another of its formats only.

    It is asked for the same versions, from its cache alone; what it does not know then is left out.
    """
    pins = re.findall(r'(?m)^\[\[packages\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', text)
    if not pins:
        return text
    target = folder / "requirements.txt"
    target.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf-8")
    result = uv.call(
        [*command.arguments(), "--offline", "--annotation-style", "split", "--output-file", target],
        root=command.root,
        text=command.text,
    )
    if result.code != 0:
        return text
    asked = dependencies(target.read_text(encoding="utf-8"))
    known = {name for name, _ in pins}

    def add(match: re.Match[str]) -> str:
        names = sorted(asked.get(match["name"], set()) & known)
        listed = ", ".join(f'{{ name = "{each}" }}' for each in names)
        return f"{match[0]}dependencies = [{listed}]\n"

    return re.sub(
        r'(?m)^\[\[packages\]\]\nname = "(?P<name>[^"]+)"\n(?:(?:version|marker|requires-python) = .*\n)*',
        add,
        text,
    )


def dependencies(annotated: str) -> dict[str, set[str]]:
    """Package -> those it asked for, from uv's requirements with `# via` lines."""
    asked: dict[str, set[str]] = {}
    name = ""
    for line in annotated.splitlines():
        via = re.fullmatch(r"    #(?: via|  ) ?\s*(\S*)", line)
        if via is None:
            name = _name(line)
        elif via[1]:
            asked.setdefault(via[1], set()).add(name)
    return asked


def _name(line: str) -> str:
    """The normalised name of a requirement; of an editable one, nothing."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;@\[(]", line.strip(), maxsplit=1)[0]).lower()


def _tidy(text: str, interpreter: Interpreter) -> str:
    # uv writes the patch release it resolved with; another patch release of the same minor may use the lock.
    text = re.sub(
        rf'(?m)^requires-python = ">={re.escape(interpreter.minor)}(\.\d+)?"$',
        f'requires-python = ">={interpreter.minor}"',
        text,
    )
    # What a prefix of conda has is told by its own tables.
    text = re.sub(r"\n# The following packages were excluded from the output:\n(?:# .*\n)*", "", text)
    return uv.without_credentials(text)


def _warn(errors: str, name: str) -> None:
    for line in errors.splitlines():
        if line.startswith("warning:"):
            logger.warning("environment `%s`: %s", name, uv.without_credentials(line[8:].strip()))


def _usable(home: Home) -> str:
    count = sum(1 for each in home.locks.glob("*.json"))
    wheels = sum(1 for each in home.wheels.glob("*/*/entry.json")) if home.wheels.is_dir() else 0
    if not count:
        return "nothing is cached yet"
    locks = f"{count} earlier lock{'' if count == 1 else 's'}"
    packages = f"{wheels} package{'' if wheels == 1 else 's'}"
    return f"cached: {locks} and {packages}; what uses them still runs"
