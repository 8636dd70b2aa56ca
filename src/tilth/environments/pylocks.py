"""Reading PEP 751 documents: which file of each package an interpreter takes. Asks nobody, writes nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import tomllib
from packaging.pylock import (
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.tags import Tag

from tilth.environments.choices import Choice
from tilth.errors import DefinitionError, Unresolvable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packaging.markers import Environment as Markers

    from tilth.environments.interpreters import Interpreter


def choose(
    text: str,
    name: str,
    interpreter: Interpreter,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> list[Choice]:
    """What `interpreter` takes of the lock of environment `name`, sorted by package name.

    Args:
        extras, groups: Of the project, where the lock itself offers several; by default its default groups.
    """
    try:
        pylock = Pylock.from_dict(tomllib.loads(text))
        tags = [Tag(*tag.split("-")) for tag in interpreter.tags]
        selected = list(
            pylock.select(
                environment=cast("Markers", interpreter.markers),
                tags=tags,
                extras=extras,
                dependency_groups=groups,
            )
        )
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise DefinitionError(
            f"the lock of environment `{name}` is not valid PEP 751", why=str(error)
        ) from error
    except PylockSelectError as error:
        raise Unresolvable(
            f"the lock of environment `{name}` does not fit this interpreter: "
            f"Python {interpreter.version} on {interpreter.platform}",
            why=str(error),
            mend="ask for a version that has a wheel for it, or declare another `python`",
        ) from error
    choices = []
    for package, source in selected:
        digest, file = "", ""
        if not isinstance(source, (PackageDirectory, PackageVcs)):
            digest = next((f"{kind}:{value}" for kind, value in _best_first(source.hashes)), "")
            file = getattr(source, "filename", "") or _file_name(source.url or source.path or "")
        size = getattr(source, "size", None) or 0
        choices.append(Choice(package.name, str(package.version or ""), digest, file, _write(source), size))
    return sorted(choices)


def with_paths(text: str, change: Callable[[str], str]) -> str:
    """A document with every local path replaced by what `change` makes of it."""
    return re.sub(
        r'(?<=[{,] )path = ("(?:[^"\\\\]|\\\\.)+")',
        lambda match: f"path = {json.dumps(change(json.loads(match[1])), ensure_ascii=False)}",
        text,
    )


def _best_first(hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(hashes.items(), key=lambda item: item[0] != "sha256")


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _write(source: PackageArchive | PackageDirectory | PackageSdist | PackageVcs | PackageWheel) -> str:
    if isinstance(source, PackageVcs):
        names = ("type", "url", "path", "requested_revision", "commit_id", "subdirectory")
        return f"vcs = {{ {_pairs(source, names)} }}"
    if isinstance(source, PackageDirectory):
        return f"directory = {{ {_pairs(source, ('path', 'subdirectory'))} }}"
    hashes = ", ".join(f"{kind} = {json.dumps(value)}" for kind, value in sorted(source.hashes.items()))
    body = f"{{ {_pairs(source, ('name', 'url', 'path', 'subdirectory'))}, hashes = {{ {hashes} }} }}"
    if isinstance(source, PackageWheel):
        return f"wheels = [{body}]"
    return f"{'sdist' if isinstance(source, PackageSdist) else 'archive'} = {body}"


def _pairs(source: object, names: tuple[str, ...]) -> str:
    given = ((name, getattr(source, name, None)) for name in names)
    return ", ".join(
        f"{name.replace('_', '-')} = {json.dumps(value)}" for name, value in given if value is not None
    )
