"""What changed in the client's environment: since a run was compiled, and against the project's own lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tilth.client.checks.findings import WARNING, Finding
from tilth.client.wording import counted
from tilth.records import Environment, Run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tilth.environments import Inventory
    from tilth.records import Package
    from tilth.store import Store

_SHOWN = 4
_TOOLS = frozenset({"pip", "setuptools", "uv", "wheel"})  # of no lock, and nobody's dependency


class Snapshot(NamedTuple):
    """A Python and its packages at one moment."""

    python: str  # as exactly as it is known: `3.11.7`, `3.11`
    packages: Mapping[str, str]  # name -> version


def client_packages(store: Store, run: Run) -> tuple[Package, ...]:
    """What the interpreter that compiled a run had installed."""
    digest = getattr(run.client, "environment", "")
    if digest:
        return store.get(Environment, digest).packages
    return tuple(getattr(run.client, "packages", ()))  # of a run that listed them itself


def newest_from_here(store: Store, pipeline: str) -> Run | None:
    """The newest run of a pipeline that a client compiled; those of a snapshot have the environment of its lock."""
    return next((each for each in store.find(Run, pipeline=pipeline, limit=20) if not each.snapshot), None)


def snapshot(python: str, packages: Iterable[Package]) -> Snapshot:
    """What was recorded."""
    return Snapshot(python, {each.name: each.version for each in packages})


def snapshot_of(inventory: Inventory, python: str) -> Snapshot:
    """What is installed now."""
    return Snapshot(python, {each.name: each.version for each in inventory.packages})


def only_for_tilth(inventory: Inventory) -> frozenset[str]:
    """Installed because tilth is: itself, and what nothing else there requires."""
    by_name = {each.name: each for each in inventory.packages}

    def reach(names: Collection[str]) -> set[str]:
        pending, reached = list(names), set()
        while pending:
            name = pending.pop()
            if name in by_name and name not in reached and (name != "tilth" or "tilth" in names):
                reached.add(name)
                pending += by_name[name].requires
        return reached

    through = reach({"tilth"})
    return frozenset(through - reach(by_name.keys() - through)) if through else frozenset()


def check_since_run(before: Snapshot, now: Snapshot, run: str) -> list[Finding]:
    """What is not as it was when `run` was compiled."""
    told = _differences(before, now, added=frozenset(now.packages) - before.packages.keys())
    if not told:
        return []
    return [
        Finding(
            level=WARNING,
            check="client",
            what=f"the client's environment is not what run `{run}` was compiled with",
            why=told,
            mend="steps that run in it and use what changed run again",
        )
    ]


def check_against_lock(
    locked: Snapshot, now: Snapshot, file: str, *, known: Collection[str] = (), beside: Collection[str] = ()
) -> list[Finding]:
    """What is installed otherwise than the project's lock says.

    Args:
        locked: What the lock would install here.
        known: Further packages the lock has, for groups and extras that need not be installed.
        beside: Packages that may be there besides.
    """
    added = frozenset(now.packages) - locked.packages.keys() - set(known) - set(beside) - _TOOLS
    told = _differences(locked, now, added=added, exact=False)
    if not told:
        return []
    return [
        Finding(
            level=WARNING,
            check="client",
            what=f"the client's environment is not what `{file}` says",
            why=told,
            mend="`uv sync` installs what is locked; `uv lock` locks what is declared"
            if file == "uv.lock"
            else f"install it again from `{file}`",
        )
    ]


def _differences(before: Snapshot, now: Snapshot, *, added: Collection[str], exact: bool = True) -> str:
    removed = sorted(before.packages.keys() - now.packages.keys())
    changed = sorted(
        name for name, version in before.packages.items() if now.packages.get(name, version) != version
    )
    lines = []
    if before.python and exact and before.python != now.python:
        lines.append(f"Python {before.python} -> {now.python}")
    told = {
        "changed": [f"`{name}` {before.packages[name]} -> {now.packages[name]}" for name in changed],
        "added" if exact else "not locked": [f"`{name}` {now.packages[name]}" for name in sorted(added)],
        "removed" if exact else "not installed": [f"`{name}` {before.packages[name]}" for name in removed],
    }
    for how, each in told.items():
        if each:
            shown = ", ".join(each[:_SHOWN]) + (", …" if len(each) > _SHOWN else "")
            lines.append(f"{counted(len(each), 'package')} {how}: {shown}")
    return "\n".join(lines)
