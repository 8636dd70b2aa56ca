"""What of a server should be looked after. Pure: everything that is looked at is given."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from tilth.records import Moment

if TYPE_CHECKING:
    from datetime import datetime

_LITTLE_DISK, _NO_DISK = 0.1, 0.02  # of the whole that is free
_MUCH_DISK = 50 << 30  # bytes; as long as so many are free, whatever share that is
_PATIENCE = timedelta(minutes=5)
_SLOW_MS = 250.0


class Condition(str, Enum):
    """How something is, best first."""

    GOOD = "good"
    WARNING = "warning"  # it works, not well
    BAD = "bad"  # something does not work, or soon will not


class Notice(msgspec.Struct, frozen=True):
    """Something to be looked after."""

    level: Condition
    what: str
    why: str = ""
    mend: str = ""


class Disk(msgspec.Struct, frozen=True):
    """Room for files, in bytes; `total` is 0 where it cannot be told."""

    folder: str
    free: int
    total: int


class Queued(msgspec.Struct, frozen=True):
    """Runs that wait for a runner."""

    waiting: int
    since: Moment | None  # when the oldest of them was asked for


class Runners(msgspec.Struct, frozen=True):
    """Runners that were heard of lately, and those that were not."""

    here: int
    away: int
    slots: int  # runs that those here start at once
    busy: int  # runs that they have


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at."""

    disk: Disk
    queue: Queued
    runners: Runners
    url: str
    secure: bool  # cookies go over HTTPS only
    loopback: bool  # it listens to its own machine alone
    database_ms: float


def notices(facts: Facts, moment: datetime) -> list[Notice]:
    """What should be looked after, the worst first."""
    found = [*_of_disk(facts.disk), *_of_queue(facts, moment)]
    if facts.database_ms > _SLOW_MS:
        found.append(
            Notice(
                Condition.WARNING,
                f"the database took {facts.database_ms:.0f} ms for a short question",
                mend="see what its machine is busy with",
            )
        )
    if not facts.loopback and not facts.secure:
        found.append(
            Notice(
                Condition.WARNING,
                "passwords and keys come here unencrypted",
                f"this server listens beyond its own machine, and its address is `{facts.url}`",
                "put a proxy with a certificate in front, and set `TILTH_SERVER_PUBLIC_URL` to its `https:` address",
            )
        )
    order = list(Condition)
    return sorted(found, key=lambda each: -order.index(each.level))


def _of_disk(disk: Disk) -> list[Notice]:
    if not disk.total or disk.free > _MUCH_DISK or disk.free > disk.total * _LITTLE_DISK:
        return []
    return [
        Notice(
            Condition.BAD if disk.free < disk.total * _NO_DISK else Condition.WARNING,
            f"{100 * disk.free / disk.total:.0f} % of the disk is free for artifacts and logs",
            f"they are in `{disk.folder}`",
            "make room there, or delete runs and artifacts: `tilth artifacts prune`",
        )
    ]


def _of_queue(facts: Facts, moment: datetime) -> list[Notice]:
    since = facts.queue.since
    if since is None:
        return []
    waiting = f"{facts.queue.waiting} run{'' if facts.queue.waiting == 1 else 's'}"
    if not facts.runners.here:
        return [
            Notice(
                Condition.BAD,
                f"{waiting} cannot be started: no runner is here",
                mend="start one: `tilth runner start`; or give the server its own by `TILTH_SERVER_RUNNER_SLOTS`",
            )
        ]
    if moment - since < _PATIENCE:
        return []
    full = facts.runners.busy >= facts.runners.slots
    minutes = int((moment - since).total_seconds() // 60)
    return [
        Notice(
            Condition.WARNING,
            f"a run has waited {minutes} minutes for a runner",
            "all runners have as many runs as they take"
            if full
            else "none of those that are here takes it: it is for another platform, machine or project, or a limit "
            "of this server is reached",
            "start another: `tilth runner start`" if full else "see the launch, and `tilth runner list`",
        )
    ]
