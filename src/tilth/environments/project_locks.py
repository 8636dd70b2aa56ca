"""The locks a project keeps itself: `pylock.NAME.toml` beside its code, for the environment NAME.

Any tool may write one. In those that tilth writes, `[tool.tilth]` says what they answer, so that any change of the
declaration shows; of another's it is asked whether it has what is declared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tilth.environments.conda_packages import has_tables, with_places
from tilth.environments.files import read_bytes, write_atomic
from tilth.environments.names import normalised
from tilth.errors import DefinitionError, LockStale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tilth.environments.interpreters import Interpreter

_REQUIREMENT = "requirement: "
_SHOWN = 6  # differences; more say no more


class ProjectLock(NamedTuple):
    """A lock in the project."""

    path: Path
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def noted(self) -> dict[str, Any]:
        """What tilth wrote about it; empty when another tool made it.

        Raises:
            DefinitionError: It is not TOML.
        """
        import tomllib  # here for cost: a lock that was accepted before is not parsed again

        try:
            document = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise DefinitionError(
                f"the lock `{self.path.name}` cannot be read", why=str(error), mend="lock again, or delete it"
            ) from error
        noted = document.get("tool", {}).get("tilth", {})
        return noted if isinstance(noted, dict) else {}

    def text_with_paths(self) -> str:
        """Its text with paths that hold wherever it is kept."""
        from tilth.environments.pylocks import with_paths

        folder = self.path.parent
        text = with_paths(self.text, lambda path: os.path.normpath(folder / path))
        return with_places(
            text, lambda place: Path(os.path.normpath(folder / unquote(place.removeprefix("path:")))).as_uri()
        )

    def check(self, facts: Sequence[str], name: str, interpreter: Interpreter) -> None:
        """See whether it answers what is declared.

        Args:
            facts: As `declarations.declared_facts` gives them.
        Raises:
            LockStale: With the difference.
        """
        noted = self.noted()
        if "declared" in noted:
            found = _changes(noted["declared"], facts, _pins(self.text))
        else:
            found = list(_unanswered(facts, self.text, name, interpreter))
        if any(each.startswith("conda: ") for each in facts) and not has_tables(self.text):
            found.append("conda is asked for packages; it has none")
        if found:
            more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            raise LockStale(
                f"the lock of environment `{name}` is stale",
                why="\n".join([*found[:_SHOWN], *more]),
                mend=f"run `tilth env lock {noted.get('source') or name}`, or delete `{self.path.name}`",
            )


def lock_path(root: Path, name: str) -> Path:
    """Where the lock of an environment is, or would be."""
    return root / f"pylock.{name}.toml"


def find_project_lock(environment: Mapping[str, Any], root: Path) -> ProjectLock | None:
    """The project's own lock of an environment, if it has one; it goes before every other."""
    path = lock_path(root, environment["name"])
    if environment.get("lock") and os.path.normpath(root / environment["lock"]) == str(path):
        return None  # it is declared, and needs no check against itself
    content = read_bytes(path)
    if content is None:
        return None
    try:
        return ProjectLock(path, content.decode())
    except UnicodeDecodeError as error:
        raise DefinitionError(
            f"the lock `{path.name}` is not UTF-8 text", mend="lock again, or delete it"
        ) from error


def write_project_lock(
    path: Path, text: str, *, facts: Sequence[str], source: str, platform: str = ""
) -> None:
    """Write a lock with what it answers.

    Args:
        text: PEP 751, with absolute paths; they are written relative to the lock's folder.
        source: The file whose pipeline declares the environment, relative to the code root.
        platform: What it was made for, when it is not for all.
    """
    from tilth.environments.pylocks import with_paths

    text = re.sub(
        r'(?<=[{,] )url = "(file://[^"]+)"',
        lambda match: f"path = {json.dumps(unquote(urlsplit(match[1]).path), ensure_ascii=False)}",
        text,
    )
    text = with_paths(text, lambda each: os.path.relpath(each, path.parent))
    text = with_places(
        text, lambda place: f"path:{quote(os.path.relpath(unquote(urlsplit(place).path), path.parent))}"
    )
    body = text.rstrip("\n")
    lines = ["[tool.tilth]", f"source = {json.dumps(source)}"]
    lines += [f"platform = {json.dumps(platform)}"] if platform else []
    lines += ["declared = [", *(f"    {json.dumps(fact, ensure_ascii=False)}," for fact in facts), "]"]
    head = "# Made by `tilth env lock`; what is declared is at the end.\n"
    write_atomic(path, (head + body + "\n\n" + "\n".join(lines) + "\n").encode())
    path.chmod(0o644)


def not_upgraded_here(lock: ProjectLock, name: str) -> LockStale:
    """The error for an upgrade of what the project itself keeps."""
    return LockStale(
        f"environment `{name}` is locked by `{lock.path.name}`, which a run does not change",
        mend=f"run `tilth env lock {name} --upgrade`",
    )


def _changes(before: Iterable[str], now: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """What is declared now and was not, and the other way round, in sentences."""
    old, new = set(before), set(now)
    replaced = {_name(each): each for each in old - new if each.startswith(_REQUIREMENT)}
    told = []
    for fact in sorted(new - old):
        if not fact.startswith(_REQUIREMENT):
            told.append(f"declared since it was made: `{fact}`")
            continue
        line, name = fact.removeprefix(_REQUIREMENT), _name(fact)
        was = replaced.pop(name, "").removeprefix(_REQUIREMENT)
        pinned = f"; it pins {name} {pins[name]}" if name in pins else ""
        told.append(
            f"`{line}` is asked for"
            + (f", no longer `{was}`" if was else ", which it does not know")
            + pinned
        )
    kept = set(replaced.values())
    for fact in sorted(old - new):
        if not fact.startswith(_REQUIREMENT):
            told.append(f"no longer declared: `{fact}`")
        elif fact in kept:
            told.append(f"`{fact.removeprefix(_REQUIREMENT)}` is no longer asked for")
    return told


def _unanswered(facts: Iterable[str], text: str, name: str, interpreter: Interpreter) -> Iterable[str]:
    """What another tool's lock lacks of what is declared."""
    from packaging.requirements import InvalidRequirement, Requirement

    from tilth.environments.pylocks import choose

    pins = {each.name: each.version for each in choose(text, name, interpreter)}
    for fact in facts:
        if not fact.startswith(_REQUIREMENT):
            continue
        line = fact.removeprefix(_REQUIREMENT)
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # a path: only its build tells what it is called
        if wanted.marker is not None and not wanted.marker.evaluate({**interpreter.markers, "extra": ""}):
            continue
        version = pins.get(normalised(wanted.name))
        if version is None:
            yield f"`{line}` is asked for; it has no {wanted.name}"
        elif version and wanted.url is None and not wanted.specifier.contains(version, prereleases=True):
            yield f"`{line}` is asked for; it pins {wanted.name} {version}"


def _pins(text: str) -> dict[str, str]:
    """Package -> its version; versions, where that depends on Python or platform."""
    import tomllib

    found: dict[str, list[str]] = {}
    for each in tomllib.loads(text).get("packages", ()):
        found.setdefault(str(each.get("name")), []).append(str(each.get("version", "")))
    return {name: " or ".join(versions) for name, versions in found.items()}


def _name(fact: str) -> str:
    return normalised(re.split(r"[\s=<>!~;@\[(]", fact.removeprefix(_REQUIREMENT), maxsplit=1)[0])
