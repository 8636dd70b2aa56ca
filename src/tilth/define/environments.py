"""What a step's environment should hold, as declared. Inert: looks at no file, index or interpreter."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, NoReturn

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PYTHON = re.compile(r"3\.(\d+)(\.\d+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# User information of an http(s) URL, or a password in any other: `git+ssh://git@host` names nobody's secret.
_CREDENTIALS = re.compile(r"https?://[^/\s@]+@|://[^/\s@:]+:[^/\s@]+@")
_LOOKS_REQUIRED = re.compile(r"[=<>~!]=|[<>;,@\[\]]|\s")
OLDEST_PYTHON = 10  # 3.10: what the part of tilth that enters a step's interpreter needs


class Environment:
    """The packages, Python and variables a step runs with. Immutable; equal when declared equal.

    Args:
        name: Lower-case letters, digits and single hyphens: `training`, `gpu-2`.
        requirements: PEP 508 lines, as `["pandas<3"]`, or the path of a requirements file.
        pyproject: Path of a `pyproject.toml` whose dependencies to take.
        extras: Its optional dependencies to take too.
        groups: Its dependency groups to take too.
        python: `3.12` or `3.12.4`; by default the project's.
        variables: Environment variables of the step. Recorded as they are: never a secret.
        find_links: Folders or pages with wheels, asked beside the index.
        index_url: The package index; by default uv's.
        extra_index_urls: Further indexes, asked first.

    Relative paths are relative to the code root, the folder that holds the project.
    """

    __slots__ = ("_options", "name")

    name: str
    _options: tuple[tuple[str, Any], ...]  # of those given, sorted by name

    def __init__(
        self,
        name: str,
        *,
        requirements: Sequence[str] | str | Path = (),
        pyproject: str | Path | None = None,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
        python: str | None = None,
        variables: Mapping[str, str] | None = None,
        find_links: Sequence[str | Path] = (),
        index_url: str | None = None,
        extra_index_urls: Sequence[str] = (),
        **unknown: NoReturn,
    ) -> None:
        if unknown:
            wrong = next(iter(unknown))
            raise UnknownOption(f"`Environment` has no option `{wrong}`", mend=nearest(wrong, option_names()))
        _check_name(name)
        given: dict[str, Any] = {
            "requirements": _requirements(name, requirements),
            "pyproject": _path(name, "pyproject", pyproject),
            "extras": _texts(name, "extras", extras),
            "groups": _texts(name, "groups", groups),
            "python": _python(name, python),
            "variables": _variables(name, variables),
            "find_links": tuple(
                _path(name, "find_links", each) for each in _sequence(name, "find_links", find_links)
            ),
            "index_url": index_url,
            "extra_index_urls": _texts(name, "extra_index_urls", extra_index_urls),
        }
        if (given["extras"] or given["groups"]) and not given["pyproject"]:
            given["pyproject"] = "pyproject.toml"
        _refuse_credentials(name, given)
        options = tuple(sorted((key, value) for key, value in given.items() if value not in (None, ())))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_options", options)

    def with_requirements(self, *lines: str, name: str | None = None) -> Environment:
        """The same environment with more requirements, under the same or another name."""
        before: tuple[str, ...] | str = dict(self._options).get("requirements", ())
        if isinstance(before, str):
            before = (f"-r {before}",)
        return self.with_options(name=name or self.name, requirements=(*before, *lines))

    def with_options(self, **options: Any) -> Environment:
        """The same environment with some options replaced; `name` is one of them."""
        name = options.pop("name", self.name)
        return Environment(name, **{**self._arguments(), **options})

    def to_json(self) -> dict[str, Any]:
        """What was given, sorted by name, in types JSON has."""
        plain = {
            key: dict(value) if key == "variables" else list(value) if isinstance(value, tuple) else value
            for key, value in self._options
        }
        return dict(sorted({"name": self.name, **plain}.items()))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Environment:
        """Read back what `to_json` gave."""
        options = dict(document)
        return cls(options.pop("name"), **options)

    def _arguments(self) -> dict[str, Any]:
        return {key: dict(value) if key == "variables" else value for key, value in self._options}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Environment does not change: use `with_options({name}=…)`")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("an Environment does not change")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Environment):
            return NotImplemented
        return (self.name, self._options) == (other.name, other._options)

    def __hash__(self) -> int:
        return hash((self.name, self._options))

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.to_json().items() if key != "name")
        return f"Environment({self.name!r}{options})"

    def __reduce__(self) -> tuple[object, ...]:
        return Environment.from_json, (self.to_json(),)


def option_names() -> list[str]:
    """The options that `Environment` takes beside its name."""
    return list(Environment.__init__.__kwdefaults__ or ())


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"`{name}` is no name for an environment",
            mend="use lower-case letters and digits, with single hyphens between them",
        )


def _sequence(name: str, option: str, value: object) -> list[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise DefinitionError(
            f"`{option}` of environment `{name}` is {type(value).__name__}, not a list",
            mend=f"write `{option}=[{value!r}]`",
        )
    return list(value)


def _texts(name: str, option: str, value: object) -> tuple[str, ...]:
    items = _sequence(name, option, value)
    for each in items:
        if not isinstance(each, str) or not each.strip():
            raise DefinitionError(f"`{option}` of environment `{name}` holds {each!r}, which is not text")
    return tuple(each.strip() for each in items)


def _path(name: str, option: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise DefinitionError(f"`{option}` of environment `{name}` holds {value!r}, which is not a path")
    path = os.fspath(value)
    # Windows writes `a\b` for the same folder, and the digest of a pipeline must not depend on that.
    return path if isinstance(value, str) else path.replace(os.sep, "/")


def _requirements(name: str, value: object) -> tuple[str, ...] | str:
    if not isinstance(value, (str, os.PathLike)):
        return _texts(name, "requirements", value)
    path = _path(name, "requirements", value)
    assert path is not None
    if isinstance(value, str) and not path.endswith((".txt", ".in")) and _LOOKS_REQUIRED.search(path):
        raise DefinitionError(
            f"`requirements` of environment `{name}` is text, which names a requirements file",
            mend=f"write `requirements=[{path!r}]`",
        )
    return path


def _python(name: str, value: object) -> str | None:
    if value is None:
        return None
    match = _PYTHON.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise DefinitionError(
            f"`python` of environment `{name}` is {value!r}", mend='write a version as text, such as "3.12"'
        )
    if int(match[1]) < OLDEST_PYTHON:
        raise DefinitionError(
            f"environment `{name}` asks for Python {value}",
            why=f"steps need Python 3.{OLDEST_PYTHON} or newer",
        )
    return match[0]


def _variables(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    for key, text in dict(value).items():
        if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
            raise DefinitionError(f"`variables` of environment `{name}` names {key!r}, which cannot be set")
        if not isinstance(text, str) or "\0" in text:
            raise DefinitionError(
                f"variable `{key}` of environment `{name}` is {type(text).__name__}, not text",
                mend="give a text",
            )
    return tuple(sorted(value.items()))


def _refuse_credentials(name: str, given: dict[str, Any]) -> None:
    for option in ("requirements", "index_url", "extra_index_urls", "find_links"):
        value = given[option] or ()
        if any(_CREDENTIALS.search(each) for each in ([value] if isinstance(value, str) else value)):
            raise DefinitionError(
                f"`{option}` of environment `{name}` holds a user name or password",
                why="what is declared is recorded and shown",
                mend="give the URL without it, the credentials in `~/.netrc` or uv's `UV_INDEX_*` variables",
            )
