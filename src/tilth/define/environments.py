"""What a step's environment should hold, as declared. Inert: looks at no file, index or interpreter."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tilth.define import containers
from tilth.errors import DefinitionError, UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path
    from typing import Any, NoReturn

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PYTHON = re.compile(r"3\.(\d+)(\.\d+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# User information of an http(s) URL, or a password in any other: `git+ssh://git@host` names nobody's secret.
CREDENTIALS = re.compile(r"https?://[^/\s@]+@|://[^/\s@:]+:[^/\s@]+@")
_LOOKS_REQUIRED = re.compile(r"[=<>~!]=|[<>;,@\[\]]|\s")
_MAPPINGS = (
    "build_args", "build_secrets", "credentials", "labels", "package_indexes", "secrets", "variables",
)  # fmt: skip
_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")
_LOCKS = ("uv.lock", "poetry.lock", "Pipfile.lock")
SOURCES = ("client", "imports")
OLDEST_PYTHON = 10  # 3.10: what the part of tilth that enters a step's interpreter needs


class Environment:
    """The packages, Python and variables a step runs with. Immutable; equal when declared equal.

    Args:
        name: Lower-case letters, digits and single hyphens: `training`, `gpu-2`.
        requirements: PEP 508 lines, as `["pandas<3"]`, or the path of a requirements file. A local package is
            a path or `name @ path`: `["./libs/features"]`.
        pyproject: Path of a `pyproject.toml` whose dependencies to take.
        script: Path of a script whose inline metadata (PEP 723) says what to take.
        conda: Path of a conda `environment.yml`.
        lock: Path of a lock that another tool keeps: `uv.lock`, `SCRIPT.py.lock`, any `pylock.toml`, `poetry.lock`
            or `Pipfile.lock`. Nothing is resolved then.
        source: `"client"` for what the client's interpreter has installed, `"imports"` for the part of it that
            the steps import. See `from_client` and `infer`.
        extras: Optional dependencies of the project to take too.
        groups: Its dependency groups to take too; of `Pipfile.lock` its categories.
        package: The member of a `uv.lock`'s workspace whose dependencies to take; by default its root.
        python: `3.12` or `3.12.4`; by default the project's.
        constraints: Lines or a file that limit versions without asking for packages.
        overrides: Lines or a file that replace what packages ask of each other.
        exclude_newer: Take only what was uploaded before this date or time, as `2026-05-01`.
        variables: Environment variables of the step. Recorded as they are: never a secret.
        secrets: Secrets that the step gets as variables: names, as `["HF_TOKEN"]`, or name of the secret by
            variable, as `{"HF_TOKEN": "hugging-face"}`.
        find_links: Folders or pages with wheels, asked beside the index.
        index_url: The package index; by default uv's.
        extra_index_urls: Further indexes, asked first.
        package_indexes: Index URL by package, for those that must come from there and nowhere else.
        credentials: Name of the secret that opens an index by its host: `{"pypi.example.com": "company-index"}`.
            The secret is `user:password`, or a token alone.
        base_image: The image that containers of this environment stand on: `python:3.12-slim`, a digest instead of
            the tag, `oci:PATH` for a layout, `docker:NAME` for one in the engine, `docker-archive:PATH`.
        image: A ready image, used as it is, with the Python in it. Excludes everything that says what to install.
        dockerfile: Path of a Dockerfile to build instead of naming a `base_image`; the packages go on top.
        build_args: Values of its `ARG`s. Recorded as they are: never a secret.
        build_context: Folder that it may copy from; by default the code root. `.dockerignore` is followed.
        build_target: The stage of it to take; by default the last.
        build_secrets: Secrets that its `RUN --mount=type=secret,id=…` sees: names, or name of the secret by id.
            They are in no layer, history or log.
        system_packages: Packages that the base's own package manager installs: `["libgomp1"]`.
        user: Who a container runs as: `1000:1000`, or a name that the image knows; by default the image's.
        working_directory: Where a container starts; by default the image's.
        labels: Labels of the image.
        bytecode: Whether the image holds compiled modules: larger, and first imports are faster.
        platform: Of the image, where the stack has several: `linux/arm64`.

    What is said of images has no effect on steps that run without a container, and does not change a lock but by
    the Python and platform of the base. Relative paths are relative to the code root, the folder that holds the
    project.
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
        script: str | Path | None = None,
        conda: str | Path | None = None,
        lock: str | Path | None = None,
        source: str | None = None,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
        package: str | None = None,
        python: str | None = None,
        constraints: Sequence[str] | str | Path = (),
        overrides: Sequence[str] | str | Path = (),
        exclude_newer: str | date | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Sequence[str] | Mapping[str, str] = (),
        find_links: Sequence[str | Path] = (),
        index_url: str | None = None,
        extra_index_urls: Sequence[str] = (),
        package_indexes: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        base_image: str | None = None,
        image: str | None = None,
        dockerfile: str | Path | None = None,
        build_args: Mapping[str, str] | None = None,
        build_context: str | Path | None = None,
        build_target: str | None = None,
        build_secrets: Sequence[str] | Mapping[str, str] = (),
        system_packages: Sequence[str] = (),
        user: str | None = None,
        working_directory: str | None = None,
        labels: Mapping[str, str] | None = None,
        bytecode: bool | None = None,
        platform: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        if unknown:
            wrong = next(iter(unknown))
            raise UnknownOption(f"`Environment` has no option `{wrong}`", mend=nearest(wrong, option_names()))
        _check_name(name)
        given: dict[str, Any] = {
            "requirements": _lines(name, "requirements", requirements),
            "pyproject": _path(name, "pyproject", pyproject),
            "script": _path(name, "script", script),
            "conda": _path(name, "conda", conda),
            "lock": _lock(name, lock),
            "source": _source(name, source),
            "extras": _texts(name, "extras", extras),
            "groups": _texts(name, "groups", groups),
            "package": package,
            "python": _python(name, python),
            "constraints": _lines(name, "constraints", constraints),
            "overrides": _lines(name, "overrides", overrides),
            "exclude_newer": _moment(name, exclude_newer),
            "variables": _variables(name, "variables", variables),
            "secrets": _secrets(name, secrets),
            "find_links": tuple(
                _path(name, "find_links", each) for each in _sequence(name, "find_links", find_links)
            ),
            "index_url": index_url,
            "extra_index_urls": _texts(name, "extra_index_urls", extra_index_urls),
            "package_indexes": _mapping(name, "package_indexes", package_indexes),
            "credentials": _mapping(name, "credentials", credentials),
            "base_image": containers.image_reference(name, "base_image", base_image),
            "image": containers.image_reference(name, "image", image),
            "dockerfile": _path(name, "dockerfile", dockerfile),
            "build_args": _variables(name, "build_args", build_args),
            "build_context": _path(name, "build_context", build_context),
            "build_target": _text(name, "build_target", build_target),
            "build_secrets": containers.build_secrets(name, build_secrets, SECRET_NAME),
            "system_packages": containers.system_packages(
                name, _texts(name, "system_packages", system_packages)
            ),
            "user": containers.user(name, user),
            "working_directory": containers.working_directory(name, working_directory),
            "labels": _mapping(name, "labels", labels),
            "bytecode": containers.bytecode(name, bytecode),
            "platform": containers.platform(name, platform),
        }
        containers.refuse_contradictions(name, given)
        if (given["extras"] or given["groups"]) and not (given["pyproject"] or given["lock"]):
            given["pyproject"] = "pyproject.toml"
        _refuse_mixed(name, given)
        _refuse_credentials(name, given)
        options = tuple(sorted((key, value) for key, value in given.items() if value not in (None, ())))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_options", options)

    @classmethod
    def from_client(cls, name: str = "client", **options: Any) -> Environment:
        """What is installed in the interpreter that compiles the pipeline, at the versions it has there.

        Packages installed as editable or from a folder are built as wheels; `tilth`, and what only it requires,
        is left out.
        """
        return cls(name, source="client", **options)

    @classmethod
    def infer(cls, name: str = "inferred", **options: Any) -> Environment:
        """What the steps that run in it import, at the versions installed in the client's interpreter."""
        return cls(name, source="imports", **options)

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
            key: dict(value) if key in _MAPPINGS else list(value) if isinstance(value, tuple) else value
            for key, value in self._options
        }
        return dict(sorted({"name": self.name, **plain}.items()))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Environment:
        """Read back what `to_json` gave."""
        options = dict(document)
        return cls(options.pop("name"), **options)

    def _arguments(self) -> dict[str, Any]:
        return {key: dict(value) if key in _MAPPINGS else value for key, value in self._options}

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


def _text(name: str, option: str, value: object) -> str | None:
    return None if value is None else _texts(name, option, [value])[0]


def _path(name: str, option: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise DefinitionError(f"`{option}` of environment `{name}` holds {value!r}, which is not a path")
    path = os.fspath(value)
    # Windows writes `a\b` for the same folder, and the digest of a pipeline must not depend on that.
    return path if isinstance(value, str) else path.replace(os.sep, "/")


def _lines(name: str, option: str, value: object) -> tuple[str, ...] | str:
    """Lines as of a requirements file, or the path of one."""
    if not isinstance(value, (str, os.PathLike)):
        return _texts(name, option, value)
    path = _path(name, option, value)
    assert path is not None
    if isinstance(value, str) and not path.endswith((".txt", ".in")) and _LOOKS_REQUIRED.search(path):
        raise DefinitionError(
            f"`{option}` of environment `{name}` is text, which names a requirements file",
            mend=f"write `{option}=[{path!r}]`",
        )
    return path


def _lock(name: str, value: object) -> str | None:
    path = _path(name, "lock", value)
    if path is None:
        return None
    file = path.rpartition("/")[2]
    if file in _LOCKS or file.endswith(".py.lock") or _PYLOCK.fullmatch(file):
        return path
    raise DefinitionError(
        f"`lock` of environment `{name}` names `{file}`, which is no lock that tilth knows",
        mend="name a `uv.lock`, `SCRIPT.py.lock`, `pylock.toml`, `pylock.NAME.toml`, `poetry.lock` or `Pipfile.lock`",
    )


def _source(name: str, value: object) -> str | None:
    if value is None or value in SOURCES:
        return value
    raise DefinitionError(f"`source` of environment `{name}` is {value!r}", mend=nearest(str(value), SOURCES))


def _moment(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = value.isoformat() if hasattr(value, "isoformat") else value
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise DefinitionError(
            f"`exclude_newer` of environment `{name}` is {value!r}",
            mend='write a date or a time, such as "2026-05-01" or "2026-05-01T12:00:00Z"',
        )
    return text


def _mapping(name: str, option: str, value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    try:
        items = dict(value).items()
    except (TypeError, ValueError):
        raise DefinitionError(
            f"`{option}` of environment `{name}` is {type(value).__name__}, not a mapping of text to text"
        ) from None
    for key, text in items:
        if not isinstance(key, str) or not isinstance(text, str) or not key or not text:
            raise DefinitionError(
                f"`{option}` of environment `{name}` maps {key!r} to {text!r}", mend="give texts"
            )
    return tuple(sorted(items))


def secret_names(owner: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Name of the secret by variable, from names alone or a mapping; sorted.

    Args:
        owner: Whose option `secrets` it is, for messages: "environment `training`".
    """
    given = dict(value) if hasattr(value, "keys") else None
    if given is None:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise DefinitionError(f"`secrets` of {owner} is not a list", mend=f"write `secrets=[{value!r}]`")
        given = {each: each for each in value}
    for variable, secret in given.items():
        if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
            raise DefinitionError(
                f"`secrets` of {owner} names {variable!r}, which cannot be a variable",
                mend='give the variable too: `secrets={"VARIABLE": "name-of-the-secret"}`',
            )
        if not isinstance(secret, str) or not SECRET_NAME.fullmatch(secret):
            raise DefinitionError(
                f"`secrets` of {owner} names {secret!r}, which is no name for a secret",
                mend="use letters, digits, hyphens, dots and underscores",
            )
    return tuple(sorted(given.items()))


def _secrets(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    return secret_names(f"environment `{name}`", value)


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


def _variables(name: str, option: str, value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not hasattr(value, "keys"):
        raise DefinitionError(
            f"`{option}` of environment `{name}` is {type(value).__name__}, not a mapping of text to text"
        )
    for key, text in dict(value).items():
        if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
            raise DefinitionError(f"`{option}` of environment `{name}` names {key!r}, which cannot be set")
        if not isinstance(text, str) or "\0" in text:
            raise DefinitionError(
                f"`{key}` in `{option}` of environment `{name}` is {type(text).__name__}, not text",
                mend="give a text",
            )
    return tuple(sorted(value.items()))


def _refuse_mixed(name: str, given: dict[str, Any]) -> None:
    """What a lock or the client has is complete: nothing is resolved beside it."""
    asked = [each for each in ("requirements", "pyproject", "script", "conda") if given[each]]
    shaping = [
        each for each in ("constraints", "overrides", "exclude_newer", "package_indexes") if given[each]
    ]
    if given["lock"] and (beside := [*asked, *shaping, *(["source"] if given["source"] else [])]):
        raise DefinitionError(
            f"environment `{name}` names a lock and, beside it, `{beside[0]}`",
            why="a lock is taken as it is, and nothing is resolved",
            mend="add it to what the lock is made from, and lock again with its own tool",
        )
    if given["source"] and (beside := [each for each in asked if each != "requirements"]):
        raise DefinitionError(
            f"environment `{name}` takes its packages from the client and, beside it, names `{beside[0]}`",
            mend="take one of them; single packages may be added with `requirements`",
        )
    if given["package"] and not (given["lock"] or "").endswith("uv.lock"):
        raise DefinitionError(
            f"environment `{name}` names a `package` but no `uv.lock`", mend='add `lock="uv.lock"`'
        )


def _refuse_credentials(name: str, given: dict[str, Any]) -> None:
    options = ("requirements", "constraints", "overrides", "index_url", "extra_index_urls", "find_links")
    plain = [(each, given[each] or ()) for each in options]
    values = [(each, [url for _, url in given[each]]) for each in ("package_indexes", "build_args", "labels")]
    for option, value in [*plain, *values]:
        if any(CREDENTIALS.search(each) for each in ([value] if isinstance(value, str) else value)):
            raise DefinitionError(
                f"`{option}` of environment `{name}` holds a user name or password",
                why="what is declared is recorded and shown",
                mend="give the URL without it, and what opens it as a secret (`credentials=`) or in `~/.netrc`",
            )
