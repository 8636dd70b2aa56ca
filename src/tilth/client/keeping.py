"""Keeping house: which environments and images may go, by name and age, and what to remember of those that do."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import created_at, pruning, venvs
from tilth.environments.files import alone, explaining_full_disk
from tilth.errors import NotFound, TilthError, nearest
from tilth.images import pruning as images
from tilth.records import Build, Run, State
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tilth.environments import Realised
    from tilth.home import Home

_ENGINES = ("docker", "podman", "containerd")


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
    """Remove environments, images, and what only they needed; with `plan`, only say what would go.

    Args:
        names: Names, digests or beginnings of digests: no other environment goes.
        older_than_s: Of the last use.
        max_size: Bytes on disk that all may take together; images go before environments, for they are made of the
            same wheels, and of each the least recently used first.
        built: Also wheels that were built here from source.
        notice: Told what else is to be known.
    Raises:
        NotFound: A name is that of no environment that is made here.
    """
    stock = pruning.survey(home)
    since = None if older_than_s is None else datetime.now(timezone.utc) - timedelta(seconds=older_than_s)
    with _no_images_in_use(home, act=not plan) as unused:
        kept = images.survey(home, _made_images(home), used=not unused)
        wishes = pruning.Wishes(
            all=everything,
            unused_since=since,
            max_size=max_size,
            only=frozenset(digest for name in names for digest in _digests(name, stock, kept, home))
            if names
            else None,
            built=built,
        )
        for engine in kept.silent:
            notice(f"`{engine}` does not answer: images in it are left as they are")
        before = pruning.total(stock) + images.total(kept)
        of_images, left = _decide_images(kept, stock, wishes)
        if max_size is not None:
            wishes = msgspec.structs.replace(wishes, max_size=max(0, max_size - left))
        decisions = _naming_runs(pruning.decide(stock, wishes), home)
        if plan:
            # Bases that only environments which go stand on, go too.
            of_images, _ = _decide_images(kept, stock, wishes, decisions, max_size)
            freed = pruning.freed(stock, decisions) + images.freed(kept, of_images)
            return Pruning(decisions=(*decisions, *of_images), before=before, freed=freed, done=False)

        def changed(realised: Realised, files: list[str]) -> None:
            _forget(realised, files, home, notice)

        with explaining_full_disk("what has to be noted", home.environments):
            removed = pruning.remove(stock, decisions, home, changed=changed)
            decisions = _ended(decisions, removed)
            of_images, _ = _decide_images(kept, stock, wishes, decisions, max_size)
            removed_too = images.remove(kept, of_images, home)
    return Pruning(
        decisions=(*decisions, *_ended(of_images, removed_too)),
        before=before,
        freed=removed.freed + removed_too.freed,
        done=True,
    )


def _ended(decisions: Sequence[pruning.Decision], removed: pruning.Removed) -> list[pruning.Decision]:
    """What became of what was decided."""
    ended = {each.thing.path: each for each in (*removed.gone, *removed.kept)}
    return [ended.get(each.thing.path, each) for each in decisions]


@contextlib.contextmanager
def _no_images_in_use(home: Home, *, act: bool) -> Iterator[bool]:
    """Whether nobody makes images or runs in them; when something is to be done, nobody begins to meanwhile."""
    place = images.users_file(home)
    if not home.images.is_dir():
        yield True
    elif act:
        with alone(place) as unused:
            yield unused
    else:
        from tilth.environments.files import is_used

        yield not is_used(place)


def _made_images(home: Home) -> list[images.Made]:
    """What the records say of images that were made on this machine."""
    if not (home.database.exists() and home.images.is_dir()):
        return []
    builds: dict[str, list[Build]] = {}
    used: dict[str, datetime] = {}
    with contextlib.closing(open_store(home, to_read=True)) as store:
        for build in walk(store, Build, state=State.COMPLETED):
            if build.image and not build.found:
                builds.setdefault(build.image, []).append(build)
        for run in walk(store, Run) if builds else ():
            for digest in run.images.values():
                used[digest] = max(used.get(digest, run.created_at), run.finished_at or run.created_at)
    return [
        images.Made(
            digest=digest,
            environment=found[0].environment,
            name=found[0].name,
            layers=frozenset(layer.digest for build in found for layer in build.layers),
            base=found[0].base_digest,
            names=tuple(
                dict.fromkeys(
                    name for build in found for name in build.references if name.partition(":")[0] in _ENGINES
                )
            ),
            last_used=max([used.get(digest, found[0].created_at), *(each.created_at for each in found)]),
        )
        for digest, found in builds.items()
    ]


def _decide_images(
    kept: images.Stock,
    stock: pruning.Stock,
    wishes: pruning.Wishes,
    decisions: Sequence[pruning.Decision] | None = None,
    max_size: int | None = None,
) -> tuple[list[pruning.Decision], int]:
    """What becomes of images, and bytes on disk that are left of them.

    Args:
        decisions: Of environments: those that stay need their bases. Before there are any, all stay.
        max_size: What everything may take up; by default what the wishes say.
    """
    if wishes.max_size is not None:
        limit = max_size if max_size is not None else wishes.max_size
        anyway = pruning.decide(stock, msgspec.structs.replace(wishes, max_size=None))
        around = pruning.total(stock) - pruning.freed(stock, anyway)
        wishes = msgspec.structs.replace(wishes, max_size=max(0, limit - around))
    going = {each.thing.path for each in decisions or () if each.goes}
    records = [venvs.read_record(each.path) for each in stock.of("environment") if each.path not in going]
    decided = images.decide(kept, wishes, {each.base for each in records if each and each.base})
    return decided, images.total(kept) - images.freed(kept, decided)


def _digests(wanted: str, stock: pruning.Stock, kept: images.Stock, home: Home) -> set[str]:
    """The environments made here, as venvs or images, that a name, a digest or its beginning means."""
    made = {(each.digest, each.name) for each in stock.of("environment")}
    made |= {(each.environment, each.name) for each in kept.of("image")}
    named = {digest for digest, name in made if name == wanted}
    if named:
        return named
    bare = wanted.removeprefix("sha256:")
    if len(bare) >= 4:
        begun = {digest for digest, _ in made if digest.removeprefix("sha256:").startswith(bare)}
        if len(begun) == 1:
            return begun
        if begun:
            listed = ", ".join(f"`{each}`" for each in sorted(begun)[:5])
            raise NotFound(f"`{wanted}` means more than one environment", mend=f"say which: {listed}")
    # One environment may have several names: the records know them all.
    recorded = _recorded(wanted, home)
    if recorded is not None:
        if recorded & {digest for digest, _ in made}:
            return recorded
        raise NotFound(
            f"environment `{wanted}` is not made here", mend="`tilth env prune --plan` shows what is"
        )
    mend = nearest(wanted, {name for _, name in made if name})
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
