"""Finds records by what a person types: a name, an id, or the beginning of one."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tilth.errors import NotFound, nearest
from tilth.records import Artifact, Environment, Record, Run
from tilth.store import walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.store import Store

R = TypeVar("R", bound=Record)
_PREFIX = 4  # letters of an id that must be given: fewer would mean another thing tomorrow
_RECENT = 5000  # records that are looked through for a name


def find_run(store: Store, wanted: str) -> Run:
    """The run of this name, id or beginning of an id.

    Raises:
        NotFound: There is none, or several; the hint names the nearest.
    """
    found = list(store.find(Run, name=wanted, limit=1)) or _by_id(store, Run, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("run", wanted, (each.name for each in found))
    names = [each.name for each in islice(walk(store, Run), 200)]
    newest = next(iter(store.find(Run, pipeline=wanted, limit=1)), None)
    mend = f"the newest run of that pipeline is `{newest.name}`" if newest else _nearest(wanted, names)
    otherwise = "`tilth runs list` shows what there is" if names else "`tilth run FILE` makes the first one"
    raise NotFound(f"there is no run `{wanted}`", mend=mend or otherwise)


def find_artifact(store: Store, wanted: str) -> Artifact:
    """The artifact of this NAME, NAME@VERSION, id, digest, or beginning of an id.

    A name without a version means the newest; a version may be a label that the step gave. The last part of
    a name is enough where it means one name: `model` for `churn/train/model`.

    Raises:
        NotFound: There is none, or several.
    """
    name, at, version = wanted.rpartition("@")
    if not at:
        name = wanted
    full = _artifact_name(store, name)
    if full:
        return _version(store, full, version if at else "")
    found = _by_id(store, Artifact, wanted) or list(store.find(Artifact, digest=wanted, limit=1))
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("artifact", wanted, (each.id for each in found))
    known = _artifact_names(store)
    mend = _nearest(name, {*known, *(each.rpartition("/")[2] for each in known)})
    raise NotFound(
        f"there is no artifact `{wanted}`", mend=mend or "`tilth artifacts list` shows what there is"
    )


def _artifact_name(store: Store, name: str) -> str:
    """The whole name of the artifacts that are called so, or whose name ends so; empty when none are."""
    if store.find(Artifact, name=name, limit=1).items:
        return name
    ends = [each for each in _artifact_names(store) if each.endswith(f"/{name}")]
    if len(ends) > 1:
        raise _ambiguous("artifact", name, ends)
    return ends[0] if ends else ""


def _artifact_names(store: Store) -> list[str]:
    return list(dict.fromkeys(each.name for each in islice(walk(store, Artifact), _RECENT)))


def _version(store: Store, name: str, version: str) -> Artifact:
    """One version of an artifact that exists: numbered, labelled, or the newest."""
    newest = store.find(Artifact, name=name, order="-version", limit=1).items[0]
    if not version:
        return newest
    if version.isdecimal():
        found = list(store.find(Artifact, name=name, version=int(version), limit=1))
    else:
        versions = walk(store, Artifact, order="-version", name=name)
        found = list(islice((each for each in versions if version in each.tags), 1))
    if not found:
        raise NotFound(
            f"artifact `{name}` has no version `{version}`", mend=f"the newest is {newest.version}"
        )
    return found[0]


def find_environment(store: Store, wanted: str) -> Environment:
    """The newest environment of this name, or the one whose digest begins so, with or without `sha256:`.

    Names are declared for those that steps run in; another is found by its name where none of those has it.

    Raises:
        NotFound: There is none, or several.
    """
    found = list(store.find(Environment, name=wanted, role="execution", limit=1))
    found = found or list(store.find(Environment, name=wanted, limit=1))
    if not found:
        digest = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
        if len(digest) >= len("sha256:") + _PREFIX:
            found = list(store.find(Environment, id_prefix=digest, limit=2))
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("environment", wanted, (each.id for each in found))
    names = {each.name for each in islice(walk(store, Environment), _RECENT)}
    raise NotFound(
        f"there is no environment `{wanted}`",
        mend=_nearest(wanted, names) or "one is recorded when a run first uses it",
    )


def _by_id(store: Store, kind: type[R], wanted: str) -> list[R]:
    if len(wanted) < _PREFIX:
        return []
    return list(store.find(kind, id_prefix=wanted, limit=5))


def _ambiguous(what: str, wanted: str, found: Iterable[str]) -> NotFound:
    listed = ", ".join(f"`{each}`" for each in islice(found, 5))
    return NotFound(f"`{wanted}` means more than one {what}", mend=f"say which: {listed}")


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """The nearest name; a list of all only where it is short."""
    known = list(names)
    hint = nearest(wanted, known)
    return hint if hint.startswith("did you mean") or len(known) <= 5 else ""
