"""Finds records by what a person types: a name, an id, or the beginning of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tilth.errors import NotFound, nearest
from tilth.records import Artifact, Environment, Record, Run, StepRun
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


@dataclass(frozen=True)
class Reference:
    """What `RUN`, `RUN/STEP` or `RUN/STEP[3]` names. Nothing of it need exist."""

    run: str
    step: str = ""  # empty: the run itself
    index: int | None = None  # of an item of a mapped step

    def __str__(self) -> str:
        step = f"/{self.step}" if self.step else ""
        return self.run + step + ("" if self.index is None else f"[{self.index}]")


_REFERENCE = re.compile(r"(?P<run>[^/\[\]]+)(?:/(?P<step>[^/\[\]]+)(?:\[(?P<index>\d+)\])?)?")


def parse_reference(text: str) -> Reference:
    """Take `RUN`, `RUN/STEP` or `RUN/STEP[3]` apart; `str` puts it together again.

    Raises:
        NotFound: It is none of these.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise NotFound(
            f"`{text}` names no run and no step",
            mend="write `RUN`, `RUN/STEP`, or `RUN/STEP[3]` for an item of a mapped step",
        )
    index = match["index"]
    return Reference(match["run"], match["step"] or "", None if index is None else int(index))


def find_step_run(store: Store, run: Run, step: str, index: int | None = None) -> StepRun:
    """The attempt of a step, or of one item of a mapped step, that counts: the last one of the last driver.

    Raises:
        NotFound: The run has not reached it; the hint names the nearest step, or what there is of it.
    """
    found = list(walk(store, StepRun, run=run.id, step=step, index=index))
    if found:
        return max(found, key=attempt_order)
    named = Reference(run.name, step, index)
    if index is None:
        if list(store.find(StepRun, run=run.id, step=step, limit=1)):
            mend = f"it is mapped, and not all of its items have ended; name one: `{named}[0]`"
            raise NotFound(f"step `{step}` of run `{run.name}` has no end yet", mend=mend)
        known = {each.step for each in walk(store, StepRun, run=run.id, index=None)}
        raise NotFound(f"run `{run.name}` has reached no step `{step}`", mend=nearest(step, known))
    itself = find_step_run(store, run, step)
    mend = _other_items(store, run, itself)
    raise NotFound(f"step `{step}` of run `{run.name}` has no item {index}", mend=mend)


def attempt_order(step_run: StepRun) -> tuple[int, int, str]:
    """Sorts the attempts of a step: the last one counts."""
    return step_run.fence, step_run.attempt, step_run.id


def _other_items(store: Store, run: Run, step_run: StepRun) -> str:
    """What to say instead of an item that is not recorded."""
    indexes = {
        each.index for each in walk(store, StepRun, run=run.id, step=step_run.step) if each.index is not None
    }
    if indexes:
        return f"it has items 0 to {max(indexes)}" if len(indexes) > 1 else "it has one item, 0"
    if step_run.reused_from:
        # A mapped step that is reused as a whole has no items of its own.
        before = store.get(StepRun, step_run.reused_from)
        other = store.get(Run, before.run)
        return f"it was reused as a whole; its items are those of `{Reference(other.name, before.step)}`"
    return f"it is not mapped; leave out the number: `{Reference(run.name, step_run.step)}`"


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
