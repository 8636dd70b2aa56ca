"""What conda installs for an environment, as it stands in a lock: `[[tool.tilth.conda]]`, which other tools skip."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import DefinitionError, Unresolvable
from tilth.records import SystemPackage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tilth.environments.interpreters import Interpreter

_TABLE = "[[tool.tilth.conda]]"
_SUBDIRS = {
    "linux-x86_64": "linux-64",
    "linux-aarch64": "linux-aarch64",
    "linux-ppc64le": "linux-ppc64le",
    "macos-x86_64": "osx-64",
    "macos-arm64": "osx-arm64",
}
_NOT_CPYTHON = re.compile(r"pypy|graalpy|_cp3\d+t$")


def subdir_of(interpreter: Interpreter, name: str) -> str:
    """What conda calls the platform of an interpreter.

    Raises:
        DefinitionError: There are no conda packages for it, or it is not this machine's.
    """
    if interpreter.elsewhere:
        raise DefinitionError(
            f"environment `{name}` has packages of conda, which are locked for the machine they are locked on",
            mend="lock it on such a machine",
        )
    if interpreter.platform not in _SUBDIRS:
        raise DefinitionError(
            f"environment `{name}` asks conda for packages, and there are none for {interpreter.platform}"
        )
    return _SUBDIRS[interpreter.platform]


def write_tables(packages: Iterable[SystemPackage]) -> str:
    """The packages as the end of a PEP 751 document."""
    tables = []
    for each in packages:
        fields = msgspec.to_builtins(each)
        tables.append("\n".join([_TABLE, *(f"{key} = {_toml(value)}" for key, value in fields.items())]))
    return "".join(f"\n{table}\n" for table in tables)


def has_tables(text: str) -> bool:
    """Whether conda installs something for the environment of a lock. Costs nothing."""
    return _TABLE in text


def read_tables(text: str, name: str, interpreter: Interpreter) -> tuple[SystemPackage, ...]:
    """What conda installs for the environment of a lock, sorted by name; mostly nothing.

    Raises:
        Unresolvable: It was locked for another platform.
        DefinitionError: The tables cannot be read.
    """
    if not has_tables(text):
        return ()
    import tomllib  # here for cost: few locks have such tables

    try:
        tables = tomllib.loads(text)["tool"]["tilth"]["conda"]
        packages = msgspec.convert(tables, type=tuple[SystemPackage, ...])
    except (tomllib.TOMLDecodeError, LookupError, TypeError, msgspec.ValidationError) as error:
        raise DefinitionError(
            f"the lock of environment `{name}` cannot be read",
            why=str(error),
            mend="lock again, or delete it",
        ) from error
    here = subdir_of(interpreter, name)
    other = next((each.subdir for each in packages if each.subdir not in ("noarch", here)), "")
    if other:
        raise Unresolvable(
            f"the lock of environment `{name}` is for {other}; this machine is {here}",
            why="it has packages of conda, which are locked for one platform",
            mend="lock it on this machine too, under another name",
        )
    return packages


def taking(text: str, name: str, interpreter: Interpreter) -> Interpreter:
    """The interpreter that takes the files of a lock on the machine of `interpreter`: conda's, where it brings one.

    Raises:
        Unresolvable, DefinitionError: As `read_tables`.
    """
    packages = read_tables(text, name, interpreter)
    return interpreter_of(packages, interpreter, name) if packages else interpreter


def with_places(text: str, change: Callable[[str], str]) -> str:
    """A document in which `change` is made to where packages of conda are that come from folders.

    They stand in a lock as `file://` URLs, and in a project's own relative to it, as `path:…`.
    """
    head, table, tables = text.partition(_TABLE)
    return (
        head
        + table
        + re.sub(
            r'(?m)^url = "((?:file|path):[^"]*)"$', lambda match: f"url = {_toml(change(match[1]))}", tables
        )
    )


def python_of(packages: Sequence[SystemPackage], name: str) -> SystemPackage:
    """The Python among them.

    Raises:
        DefinitionError: It is none that steps can run in.
    """
    python = next((each for each in packages if each.name == "python"), None)
    if python is None:
        raise DefinitionError(f"the lock of environment `{name}` has packages of conda, and no Python")
    if _NOT_CPYTHON.search(python.build):
        raise DefinitionError(
            f"environment `{name}` gets Python {python.version} as `{python.build}` from conda",
            why="steps run in CPython with the interpreter lock",
            mend="ask for another build: `python=3.12=*_cpython`",
        )
    return python


def interpreter_of(packages: Sequence[SystemPackage], host: Interpreter, name: str) -> Interpreter:
    """What conda's Python will be on the machine of `host`, told without installing it.

    Its `executable` is empty: it may not be there yet.
    """
    from packaging.tags import compatible_tags, cpython_tags

    python = python_of(packages, name)
    major, small = python.version.split(".")[:2]
    minor = f"{major}.{small}"
    version = (int(major), int(small))
    platforms = list(dict.fromkeys(tag.rpartition("-")[2] for tag in host.tags if not tag.endswith("-any")))
    tags = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{major}{small}", platforms),
    ]
    markers = {
        **host.markers,
        "implementation_name": "cpython",
        "implementation_version": python.version,
        "platform_python_implementation": "CPython",
        "python_full_version": python.version,
        "python_version": minor,
    }
    return msgspec.structs.replace(
        host,
        executable="",
        base="",
        version=python.version,
        minor=minor,
        implementation="cpython",
        cache_tag=f"cpython-{major}{small}",
        prefix="",
        library=python.library or f"lib/python{minor}/site-packages",
        site_packages=(),
        markers=markers,
        tags=tuple(dict.fromkeys(map(str, tags))),
    )


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
