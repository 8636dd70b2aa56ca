"""Keeping house: which environments may go, by name and age, and what to remember of those that do."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import created_at, pruning
from tilth.environments.files import explaining_full_disk
from tilth.errors import NotFound, TilthError, nearest
from tilth.records import Run, State
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.environments import Realised
    from tilth.home import Home


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune would do, or did."""

    decisions: tuple[pruning.Decision, ...]
    before: int  # bytes on disk
    freed: int  # bytes
    done: bool  # or only planned

    @property
    def after(self) -> int:
        """Bytes on disk that are left."""
        return self.before - self.freed


def prune(
    home: Home,
    *,
    names: Sequence[str] = (),
    everything: bool = False,
    older_than_s: float | None = None,
    max_size: int | None = None,
    built: bool = False,
    plan: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> Pruning:
    """Remove environments and the wheels that only they needed; with `plan`, only say what would go.

    Args:
        names: Names, digests or beginnings of digests: no other environment goes.
        older_than_s: Of the last use.
        max_size: Bytes on disk that environments and wheels may take together; the least recently used go first.
        built: Also wheels that were built here from source.
        notice: Told what else is to be known.
    Raises:
        NotFound: A name is that of no environment that is made here.
    """
    stock = pruning.survey(home)
    since = None if older_than_s is None else datetime.now(timezone.utc) - timedelta(seconds=older_than_s)
    wishes = pruning.Wishes(
        all=everything,
        unused_since=since,
        max_size=max_size,
        only=frozenset(digest for name in names for digest in _digests(name, stock, home)) if names else None,
        built=built,
    )
    decisions = _naming_runs(pruning.decide(stock, wishes), home)
    before = pruning.total(stock)
    if plan:
        freed = pruning.freed(stock, decisions)
        return Pruning(decisions=tuple(decisions), before=before, freed=freed, done=False)

    def changed(realised: Realised, files: list[str]) -> None:
        _forget(realised, files, home, notice)

    with explaining_full_disk("what has to be noted", home.environments):
        removed = pruning.remove(stock, decisions, home, changed=changed)
    ended = {each.thing.path: each for each in (*removed.gone, *removed.kept)}
    return Pruning(
        decisions=tuple(ended.get(each.thing.path, each) for each in decisions),
        before=before,
        freed=removed.freed,
        done=True,
    )


def _digests(wanted: str, stock: pruning.Stock, home: Home) -> set[str]:
    """The environments made here that a name, a digest or its beginning means."""
    made = stock.of("environment")
    named = {each.digest for each in made if each.name == wanted}
    if named:
        return named
    bare = wanted.removeprefix("sha256:")
    if len(bare) >= 4:
        begun = {each.digest for each in made if each.digest.removeprefix("sha256:").startswith(bare)}
        if len(begun) == 1:
            return begun
        if begun:
            listed = ", ".join(f"`{each}`" for each in sorted(begun)[:5])
            raise NotFound(f"`{wanted}` means more than one environment", mend=f"say which: {listed}")
    # One environment may have several names: the records know them all.
    recorded = _recorded(wanted, home)
    if recorded is not None:
        if recorded & {each.digest for each in made}:
            return recorded
        raise NotFound(
            f"environment `{wanted}` is not made here", mend="`tilth env prune --plan` shows what is"
        )
    mend = nearest(wanted, {each.name for each in made if each.name})
    raise NotFound(
        f"there is no environment `{wanted}`", mend=mend or "`tilth env prune --plan` shows what is made here"
    )


def _recorded(wanted: str, home: Home) -> set[str] | None:
    from tilth.records import Environment

    if not home.database.exists():
        return None
    with contextlib.closing(open_store(home, to_read=True)) as store:
        found = {each.id for each in walk(store, Environment, name=wanted)}
        if not found and len(wanted) >= 4:
            digest = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
            found = {each.id for each in store.find(Environment, id_prefix=digest, limit=2)}
    return found or None


def _naming_runs(decisions: list[pruning.Decision], home: Home) -> list[pruning.Decision]:
    """Say which runs use what is in use, where the records tell."""
    used = {each.thing.digest for each in decisions if each.thing.kind == "environment" and each.thing.used}
    if not used or not home.database.exists():
        return decisions
    runs: dict[str, list[str]] = {}
    # Only words are missing when the records cannot be read.
    with contextlib.suppress(TilthError), contextlib.closing(open_store(home, to_read=True)) as store:
        for run in walk(store, Run, state=State.RUNNING):
            for digest in used & set(run.environments.values()):
                runs.setdefault(digest, []).append(run.name)
    return [
        msgspec.structs.replace(
            each, why=f"{each.why}: " + ", ".join(f"`{name}`" for name in runs[each.thing.digest])
        )
        if each.thing.kind == "environment"
        and each.thing.used
        and not each.goes
        and each.thing.digest in runs
        else each
        for each in decisions
    ]


def _forget(realised: Realised, files: list[str], home: Home, notice: Callable[[str], None]) -> None:
    """What ran in an environment that a step changed is not reused: nobody could tell any more once it is gone."""
    if not home.database.exists():
        return
    from tilth.client.driving import forget_for_reuse
    from tilth.client.environments import Changed

    shown = ", ".join(f"`{path}`" for path in files[:3]) + (" …" if len(files) > 3 else "")
    told = f"environment `{realised.path.name[:12]}` was changed by a step ({shown})"
    with contextlib.closing(open_store(home)) as store:
        forget_for_reuse(
            [Changed(realised.digest, created_at(realised), told)],
            store,
            lambda event: notice(getattr(event, "text", "")),
        )
