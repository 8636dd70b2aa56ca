"""What lock files say of each package, whichever interpreter takes it. To compare and to pass on, not to install.

A marker is evaluated only where a lock has one; `packaging` is not even imported for one that has none.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec
import tomllib

from tilth.environments.names import normalised
from tilth.errors import DefinitionError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*"
    r"(?:===?\s*(?P<version>[^\s;,*]+)|@\s*(?P<url>\S+))\s*(?:;(?P<marker>.*))?"
)
_SYSTEMS = {"linux": ("linux", "Linux", "posix"), "macos": ("darwin", "Darwin", "posix")}


class LockedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a lock offers of a package."""

    name: str
    digest: str  # `sha256:…` where the lock has that, else of another algorithm; empty when it has none
    size: int = 0  # in bytes; 0: not said
    url: str = ""
    path: str = ""  # of a local one
    direct: bool = False  # asked for as this very file, and not by version

    @property
    def is_wheel(self) -> bool:
        """Whether it is installed as it is."""
        return self.name.endswith(".whl")


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """One package of a lock."""

    name: str  # normalised (PEP 503)
    version: str = ""  # empty where only building tells
    marker: str = ""
    files: tuple[LockedFile, ...] = ()
    repository: str = ""  # `git+https://…@COMMIT`
    folder: str = ""
    index: str = ""
    requires: tuple[str, ...] | None = None  # names; None where the lock does not say


def read_pylock(text: str, label: str) -> list[LockedPackage]:
    """The packages of a PEP 751 document.

    Args:
        label: What it is called in an error.
    Raises:
        DefinitionError: It is no such document.
    """
    try:
        document = tomllib.loads(text)
        packages = document["packages"]
        # A tool writes dependencies of all or of none; one that has none then needs none.
        told = any("dependencies" in each for each in packages)
        return [_package(each, told=told) for each in packages]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(f"{label} is not valid PEP 751", why=str(error)) from error


def read_lock_file(path: Path) -> list[LockedPackage]:
    """The packages of a `pylock.toml`, a `uv.lock` or a requirements file whose lines are pinned.

    Of a `uv.lock` it is what its project depends on, without dependency groups.

    Raises:
        NotFound: There is no such file.
        DefinitionError: It is not what it should be.
    """
    if path.suffix in (".txt", ".in") and path.is_file():
        return list(_pinned(path, frozenset()))
    return read_pylock(pylock_text(path), f"`{path}`")


def pylock_text(path: Path) -> str:
    """A `pylock.toml` as it is; a `uv.lock` as uv exports it.

    Raises:
        NotFound: There is no such file.
        DefinitionError: It is no lock.
    """
    if not path.is_file():
        raise NotFound(f"there is no lock file `{path}`")
    if path.suffix == ".lock":
        return _exported(path)
    if path.suffix == ".toml":
        return _text(path)
    raise DefinitionError(f"`{path}` is no lock", mend="name a `pylock.toml` or a `uv.lock`")


def applicable(packages: Iterable[LockedPackage], markers: Mapping[str, str]) -> list[LockedPackage]:
    """Those that an interpreter with these markers takes."""
    taken = []
    for each in packages:
        if each.marker:
            from packaging.markers import Marker  # here for cost: most locks have none

            # Extras and groups of a lock are asked for by none.
            sets: dict[str, Any] = {**markers, "extra": "", "extras": set(), "dependency_groups": set()}
            if not Marker(each.marker).evaluate(sets, "lock_file"):
                continue
        taken.append(each)
    return taken


def markers(python: str, platform: str) -> dict[str, str]:
    """What markers (PEP 508) mean for a minor version of Python and a platform such as `linux-x86_64`.

    What those two leave open is as in tilth's own interpreter: CPython, this release of the system.
    """
    from packaging.markers import default_environment

    found: dict[str, Any] = dict(default_environment())
    if python and python != found["python_version"]:
        full = python if python.count(".") > 1 else f"{python}.0"
        found |= {"python_version": ".".join(python.split(".")[:2]), "python_full_version": full}
        found["implementation_version"] = full
    system, _, machine = platform.removesuffix("-musl").partition("-")
    if system in _SYSTEMS:
        found["sys_platform"], found["platform_system"], found["os_name"] = _SYSTEMS[system]
        found["platform_machine"] = machine
    return found


def _package(data: Mapping[str, Any], *, told: bool) -> LockedPackage:
    files = [_file(each) for each in data.get("wheels", ())]
    files += [_file(data["sdist"])] if "sdist" in data else []
    files += [_file(data["archive"], direct=True)] if "archive" in data else []
    vcs = data.get("vcs", {})
    place = vcs.get("url") or vcs.get("path", "")
    within = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
    return LockedPackage(
        name=normalised(data["name"]),
        version=data.get("version", ""),
        marker=data.get("marker", ""),
        files=tuple(files),
        repository=f"{vcs['type']}+{place}@{vcs['commit-id']}{within}" if vcs else "",
        folder=data.get("directory", {}).get("path", ""),
        index=data.get("index", ""),
        requires=tuple(normalised(each["name"]) for each in data.get("dependencies", ())) if told else None,
    )


def _file(data: Mapping[str, Any], *, direct: bool = False) -> LockedFile:
    hashes = data.get("hashes", {})
    kind = "sha256" if "sha256" in hashes else next(iter(hashes), "")
    place = data.get("url") or data.get("path", "")
    return LockedFile(
        name=data.get("name") or unquote(urlsplit(place).path.rsplit("/", 1)[-1]),
        digest=f"{kind}:{hashes[kind]}" if kind else "",
        size=data.get("size", 0),
        url=data.get("url", ""),
        path=data.get("path", ""),
        direct=direct,
    )


def _exported(path: Path) -> str:
    from tilth.environments import uv

    script = path.with_suffix("")
    options = ["--script", script.name] if script.suffix == ".py" else ["--no-dev", "--no-emit-project"]
    result = uv.call(["export", "--frozen", "--format", "pylock.toml", *options], root=path.absolute().parent)
    if result.code != 0:
        raise DefinitionError(
            f"uv cannot export `{path}`", why=uv.without_credentials(result.errors.strip()[-800:])
        )
    return result.output


def _pinned(path: Path, seen: frozenset[Path]) -> Iterator[LockedPackage]:
    path = path.absolute()
    for line in re.sub(r"\\\r?\n", " ", _text(path)).splitlines():
        stated = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not stated:
            continue
        if stated.startswith("-"):
            words = shlex.split(stated.replace("=", " ", 1))
            if words[0] in ("-r", "--requirement") and len(words) > 1:
                inner = path.parent / words[1]
                if inner not in seen:
                    yield from _pinned(inner, seen | {path, inner})
            continue
        plain, *hashes = re.split(r"\s+--hash[=\s]\s*", stated)
        match = _PIN.fullmatch(plain.strip())
        if match is None:
            raise DefinitionError(
                f"`{plain}` in `{path}` pins no version",
                mend="compare with a lock: `uv pip compile` or `pip freeze` write one",
            )
        digests = [each.strip() for each in hashes]
        url = match["url"] or ""
        file = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        yield LockedPackage(
            name=normalised(match["name"]),
            version=match["version"] or _version(file),
            marker=(match["marker"] or "").strip(),
            repository=url if re.match(r"(git|hg|svn|bzr)\+", url) else "",
            files=tuple(
                LockedFile(name=file, digest=each, url=url) for each in digests or ([""] if url else [])
            ),
        )


def _version(file: str) -> str:
    return file.split("-")[1] if file.endswith(".whl") else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"`{path}` cannot be read", why=str(error)) from error
