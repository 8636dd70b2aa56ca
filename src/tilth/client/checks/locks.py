"""Whether an interpreter can use a lock: its Python, its platform, and a file for each package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.client.checks.findings import ERROR, Finding
from tilth.environments.conda_packages import taking
from tilth.errors import TilthError

if TYPE_CHECKING:
    from collections.abc import Iterable, Set as AbstractSet

    from packaging.pylock import Package
    from packaging.tags import Tag

    from tilth.environments import Interpreter

_SHOWN = 3


def check_lock(text: str, name: str, interpreter: Interpreter, *, where: str = "") -> list[Finding]:
    """What of a PEP 751 document does not fit this interpreter: every package, where selecting stops at the first.

    Args:
        name: Of the environment; empty for a file that is nobody's.
        where: The file it is from.
    """
    import tomllib
    from packaging.pylock import Pylock, PylockValidationError

    of = f"the lock `{where}`" if where else f"the lock of environment `{name}`"
    mend = "lock again for this machine: " + (f"`tilth env lock {name}`" if name else "`tilth env lock`")

    def wrong(what: str, why: str = "", mend: str = mend) -> Finding:
        return Finding(level=ERROR, check="lock", environment=name, what=what, why=why, mend=mend)

    try:
        document = Pylock.from_dict(tomllib.loads(text))
        interpreter = taking(text, name, interpreter)
    except TilthError as error:
        return [wrong(error.summary, error.why, error.mend)]
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        return [wrong(f"{of} is not valid PEP 751", str(error), "lock again, or restore the file")]
    found = []
    here = f"Python {interpreter.version} on {interpreter.platform}"
    requires = document.requires_python
    if requires is not None and not requires.contains(interpreter.version, prereleases=True):
        found.append(wrong(f"{of} is for Python {requires}", f"this is {here}"))
    markers: dict[str, str | AbstractSet[str]] = {
        **interpreter.markers,
        "extras": frozenset(),
        "dependency_groups": frozenset(),
    }
    meant = document.environments or ()
    if meant and not any(each.evaluate(markers, context="lock_file") for each in meant):
        said = "\n".join(str(each) for each in meant[:_SHOWN])
        found.append(wrong(f"{of} is for other machines than this one", f"{said}\nthis is {here}"))
    tags = frozenset(interpreter.tags)
    for package in document.packages:
        if package.marker is not None and not package.marker.evaluate(markers, context="lock_file"):
            continue
        label = f"`{package.name}`" + (f" {package.version}" if package.version else "")
        needs = package.requires_python
        if needs is not None and not needs.contains(interpreter.version, prereleases=True):
            found.append(wrong(f"{label} in {of} needs Python {needs}", f"this is {here}"))
        elif not _has_usable_file(package, tags):
            found.append(
                wrong(
                    f"{label} in {of} has no file for {interpreter.platform}, Python {interpreter.minor}",
                    f"its wheels are for {_platforms(package)}",
                    "ask for a version that has a wheel for it, or for one that comes as source",
                )
            )
    return found


def _has_usable_file(package: Package, tags: frozenset[str]) -> bool:
    sources = (package.sdist, package.archive, package.vcs, package.directory)
    if any(source is not None for source in sources):
        return True
    return any(not tags.isdisjoint(map(str, each)) for each in _tags(package))


def _platforms(package: Package) -> str:
    """The interpreters and platforms that the wheels of a package name, the first few."""
    found = dict.fromkeys(
        f"{tag.interpreter} on {tag.platform}"
        for tags in _tags(package)
        for tag in sorted(tags, key=str, reverse=True)[:1]
    )
    return ", ".join(list(found)[:_SHOWN]) + (", …" if len(found) > _SHOWN else "") if found else "nobody"


def _tags(package: Package) -> Iterable[frozenset[Tag]]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    for wheel in package.wheels or ():
        try:
            yield parse_wheel_filename(wheel.filename)[3]
        except InvalidWheelFilename:
            continue
