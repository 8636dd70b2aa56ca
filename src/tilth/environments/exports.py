"""Locks that other tools keep, in the one form tilth reads: PEP 751. The tools themselves translate theirs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.environments import uv
from tilth.environments.names import normalised
from tilth.errors import DefinitionError, EnvironmentBroken, LockStale, SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.environments.interpreters import Interpreter

_HASH = re.compile(r"\s*\\?\s*--hash=(\S+)")
_STALE = ("needs to be updated", "changed significantly since", "is out of date", "out-of-date")


def export(
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    target: Path,
    offline: bool,
) -> Pins | None:
    """Write the lock that a declaration names to `target`, as PEP 751, or give what it pins.

    Args:
        target: Relative paths in what is written are relative to its folder.
    Returns:
        None when it is written; the pins of a tool whose locks do not say where files are.
    Raises:
        LockStale: It does not answer what it was made from any more.
        SetupError: The tool that reads it cannot be had.
    """
    path = root / environment["lock"]
    if not path.is_file():
        raise DefinitionError(
            f"environment `{environment['name']}` names the lock `{environment['lock']}`, which is not there",
            mend="relative paths are relative to the folder that holds the project",
        )
    if path.name == "poetry.lock":
        return _of_poetry(environment, path, offline)
    if path.name == "Pipfile.lock":
        return _of_pipenv(environment, path, offline)
    if path.name.endswith(".lock"):
        _of_uv(environment, path, interpreter, target, offline)
    else:
        target.write_text(_moved(path.read_text(encoding="utf-8"), path.parent), encoding="utf-8")
    return None


class Pins:
    """Lines that pin every package, and which files of each may be taken."""

    def __init__(self, text: str, *, of: str = "lock") -> None:
        self._of = of  # what names the files: `lock` or `requirements`
        self.lines: list[str] = []
        self._allowed: dict[str, set[str]] = {}  # by normalised name; `sha256` hexadecimal digits
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            bare = _HASH.sub("", line).strip()
            if not bare or bare.startswith("#"):
                continue
            self.lines.append(bare)
            hashes = {each.partition(":")[2] for each in _HASH.findall(line) if each.startswith("sha256:")}
            if hashes:
                name = re.split(r"[\s=<>!~;@\[]", bare, maxsplit=1)[0]
                self._allowed[normalised(name)] = hashes

    def only(self, text: str, name: str) -> str:
        """A PEP 751 document without files that the lock does not name.

        Raises:
            LockStale: None of a package's files is one of those that were locked.
        """
        head, *packages = text.split("[[packages]]")
        return "[[packages]]".join([head, *(self._of_package(each, name) for each in packages)])

    def _of_package(self, body: str, name: str) -> str:
        package = re.search(r'(?m)^name = "([^"]+)"', body)
        allowed = self._allowed.get(normalised(package[1])) if package else None
        if allowed is None:
            return body
        kept = 0

        def judge(match: re.Match[str]) -> str:
            nonlocal kept
            is_good = match["digest"] in allowed
            kept += is_good
            return match[0] if is_good else ""

        file = r'\{ (?:url|path|name) = [^{}]*hashes = \{ sha256 = "(?P<digest>[0-9a-f]{64})" \} \}'
        body = re.sub(rf"(?m)^sdist = {file}\n", judge, body)
        body = re.sub(rf"(?m)^    {file},\n", judge, body)
        body = re.sub(rf"(?<=wheels = \[){file}(?=\])", judge, body)
        if not kept:
            assert package is not None
            if self._of != "lock":
                raise EnvironmentBroken(
                    f"no file of `{package[1]}` on the index has a hash that the requirements of environment "
                    f"`{name}` name",
                    why="the files were replaced, or the hashes are of another version",
                    mend="correct the hashes, or the version they are of",
                )
            raise LockStale(
                f"no file of `{package[1]}` on the index is one that the lock of environment `{name}` names",
                why="the files were replaced after they were locked, or the index is another one",
                mend="lock again with the tool that keeps the lock",
            )
        return re.sub(r"(?m)^wheels = \[\s*\]\n", "", body)


def _of_uv(
    environment: Mapping[str, Any], path: Path, interpreter: Interpreter, target: Path, offline: bool
) -> None:
    options = [f"--extra={each}" for each in environment.get("extras", ())]
    options += [f"--group={each}" for each in environment.get("groups", ())]
    if path.name == "uv.lock":
        package = environment.get("package")
        options += ["--no-default-groups", "--no-emit-project"]
        options += ["--package", package, "--no-emit-package", package] if package else []
    else:
        options += ["--script", path.name.removesuffix(".lock")]
    python = ["--python", interpreter.executable] if interpreter.executable else []
    call: list[str | Path] = [
        "export",
        "--format",
        "pylock.toml",
        "--no-header",
        "--output-file",
        target,
        *python,
        *options,
    ]
    result = uv.call([*call, "--locked", *(["--offline"] if offline else [])], root=path.parent)
    if result.code == 0:
        return
    if any(sign in result.errors for sign in _STALE):
        raise _stale(
            environment, path, "uv lock" + (f" --script {path.name[:-5]}" if path.name != "uv.lock" else "")
        )
    if any(sign in result.errors for sign in uv.DOWN):
        # Whether it is stale cannot be told without the index; what it says can be used all the same.
        result = uv.call([*call, "--frozen", "--offline"], root=path.parent)
        if result.code == 0:
            return
    raise _not_read(environment, path, result.errors)


def _of_poetry(environment: Mapping[str, Any], path: Path, offline: bool) -> Pins:
    groups = ",".join(environment.get("groups", ()))
    options = ["--format", "requirements.txt", *(["--with", groups] if groups else [])]
    for extra in environment.get("extras", ()):
        options += ["--extras", extra]
    tool = ["--from", "poetry", "--with", "poetry-plugin-export", "poetry", "export", "--no-ansi"]
    return _exported(environment, path, [*tool, *options], offline, again="poetry lock")


def _of_pipenv(environment: Mapping[str, Any], path: Path, offline: bool) -> Pins:
    groups = environment.get("groups", ())
    options = ["--categories", " ".join(["packages", *groups])] if groups else []
    return _exported(
        environment, path, ["pipenv", "requirements", "--hash", *options], offline, again="pipenv lock"
    )


def _exported(
    environment: Mapping[str, Any], path: Path, command: list[str], offline: bool, *, again: str
) -> Pins:
    """What another tool prints; uv keeps the tool in an environment of its own."""
    tool = next(each for each in ("poetry", "pipenv") if each in command)
    result = uv.call(
        ["tool", "run", "--no-progress", *(["--offline"] if offline else []), *command], root=path.parent
    )
    text = f"{result.output}\n{result.errors}"
    if any(sign in text for sign in _STALE):
        raise _stale(environment, path, again)
    if result.code == 0:
        return Pins(result.output)
    if any(sign in result.errors for sign in (*uv.DOWN, "resolving tool dependencies")):
        raise SetupError(
            f"`{path.name}` of environment `{environment['name']}` is read by `{tool}`, which is not here",
            why="it is fetched from the package index once, and the index does not answer",
            mend=f"fetch it with a network: `uv tool run {tool} --version`; or export a `pylock.toml` and name that",
        )
    raise _not_read(environment, path, text)


def _stale(environment: Mapping[str, Any], path: Path, again: str) -> LockStale:
    return LockStale(
        f"`{path.name}`, the lock of environment `{environment['name']}`, is stale",
        why=f"the project in `{path.parent.name}` asks for something else than when it was locked",
        mend=f"run `{again}`",
    )


def _not_read(environment: Mapping[str, Any], path: Path, told: str) -> DefinitionError:
    lines = [line.strip() for line in uv.without_credentials(told).splitlines() if line.strip()]
    kept = [
        line.removeprefix("error: ")
        for line in lines
        if not line.startswith(("hint:", "Using CPython", "warning:"))
    ]
    return DefinitionError(
        f"`{path.name}`, the lock of environment `{environment['name']}`, cannot be used",
        why="\n".join(kept[:6]),
    )


def _moved(text: str, folder: Path) -> str:
    """A document with its relative paths made absolute."""
    from tilth.environments.pylocks import with_paths

    return with_paths(text, lambda path: str(Path(folder, path).resolve()))
