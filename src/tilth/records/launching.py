"""What a server remembers to start runs by itself: snapshots, queues, schedules, webhooks, runners, secrets."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, ClassVar

import msgspec

from tilth.records import Column, Failure, Indexed, Json, Moment, Record, Snapshot as Snapshot, Unique


class LaunchState(str, Enum):
    """Where a run that was asked for stands, until its own record says so."""

    QUEUED = "queued"
    LEASED = "leased"  # a runner has it, and says so until `leased_until`
    STARTED = "started"  # its run is recorded, and the runner drives it or has handed it over
    ENDED = "ended"  # its run has ended, however
    FAILED = "failed"  # no run came of it; `failure` says why
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # by a schedule's rule for overlaps

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (LaunchState.QUEUED, LaunchState.LEASED, LaunchState.STARTED)


class Leased(Record, frozen=True, kw_only=True):
    """Something that one runner at a time has, until it is over."""

    project: Annotated[str, Indexed]  # name
    state: Annotated[LaunchState, Indexed] = LaunchState.QUEUED
    user: str = ""  # id of whose rights it has
    runner: Annotated[str, Column] = ""  # id of who has it
    fence: int = 0  # goes up with each lease
    leased_until: Annotated[Moment | None, Column] = None
    failure: Failure | None = None
    finished_at: Moment | None = None


class Launch(Leased, frozen=True, kw_only=True):
    """A run that was asked for: an entry of the queue. Leased, so that a killed runner neither loses nor doubles it."""

    kind: ClassVar[str] = "launch"
    together: ClassVar[tuple[tuple[str, ...], ...]] = (("state", "project"), ("project", "snapshot"))

    snapshot: Annotated[str, Column]  # id
    pipeline: Annotated[str, Column]
    key: Annotated[str | None, Unique] = (
        None  # what asked for it, when it must not ask twice: `SCHEDULE TIME`
    )
    run: Annotated[str, Indexed] = ""  # id, given when it was asked for, so that it is started once
    cause: str = ""  # `user ADA`, `schedule nightly`, `webhook deploy`
    parameters: dict[str, Json] = msgspec.field(default_factory=dict)
    platforms: tuple[str, ...] = ()  # that its snapshot is locked for
    machine: str = ""  # the only one whose runners may start it; empty for any


class BuildOrder(Leased, frozen=True, kw_only=True):
    """An image, or a base of one, that somebody wants built on a runner: an entry of the other queue.

    The two streams of the build go through the server, sealed for who ordered it and one runner. So once it is
    `started` it is given to nobody else: it fails with its runner.
    """

    kind: ClassVar[str] = "build_order"

    wanted: str = ""  # name of the runner; empty for any
    key: str = ""  # public, of X25519, in base64: of who ordered it, for this build alone
    runner_name: str = ""
    runner_key: str = ""  # as `key`
    heard_at: Annotated[Moment | None, Column] = None  # who ordered it was still there, while it waited


class Overlap(str, Enum):
    """What a schedule does while a run of its own goes on."""

    ALLOW = "allow"
    SKIP = "skip"
    WAIT = "wait"  # the next starts when the one before has ended
    CANCEL = "cancel"  # the one before


class Schedule(Record, frozen=True, kw_only=True):
    """Starts runs of a snapshot by the clock: one of `cron`, `every_s` and `at` is given."""

    kind: ClassVar[str] = "schedule"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "name"),)

    project: Annotated[str, Indexed]
    name: Annotated[str, Column]
    snapshot: str  # name; the newest version is started
    user: str = ""  # id of whose rights its runs have
    parameters: dict[str, Json] = msgspec.field(default_factory=dict)
    cron: str = ""
    timezone: str = "UTC"  # of `cron`, as `Europe/Berlin`
    every_s: int = 0  # seconds
    at: Moment | None = None
    begins_at: Moment | None = None
    ends_at: Moment | None = None
    catch_up: bool = False  # start what was missed, one by one; else the newest missed alone
    overlap: Overlap = Overlap.ALLOW
    active: bool = True
    next_at: Annotated[Moment | None, Indexed] = None  # None: never again, or paused
    last_at: Moment | None = None  # the last time that it asked for a run


class Webhook(Record, frozen=True, kw_only=True):
    """Starts runs of a snapshot when somebody sends a signed request."""

    kind: ClassVar[str] = "webhook"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "name"),)

    project: Annotated[str, Indexed]
    name: Annotated[str, Column]
    snapshot: str  # name; the newest version is started
    secret: str  # encrypted, as `ServerSecret.value`
    user: str = ""  # id of whose rights its runs have
    parameters: dict[str, Json] = msgspec.field(default_factory=dict)
    allowed: tuple[str, ...] = ()  # parameters that a request may set
    active: bool = True
    used_at: Moment | None = None


class Runner(Record, frozen=True, kw_only=True):
    """A process that takes runs from the queue, on this machine or another."""

    kind: ClassVar[str] = "runner"

    name: Annotated[str, Column]
    project: Annotated[str, Indexed] = ""  # the only one it serves; empty for all
    place: str = "machine"  # `server`, `machine` or `image`
    platform: str = ""  # as `linux-x86_64`
    machine: str = ""  # told apart from others, as `tilth.machine.this_machine` gives it
    version: str = ""  # of tilth
    slots: int = 1  # runs at once
    busy: int = 0
    builds: bool = False  # whether it builds images too
    seen_at: Annotated[Moment | None, Column] = None
    user: str = ""  # id


class ServerSecret(Record, frozen=True, kw_only=True):
    """A named value of a project, encrypted."""

    kind: ClassVar[str] = "server_secret"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "name"),)

    project: Annotated[str, Indexed]
    name: Annotated[str, Column]
    value: str  # base64 of nonce and AES-256-GCM ciphertext, bound to project and name
    key: Annotated[str, Indexed]  # which key encrypted it
    set_at: Moment
    set_by: str = ""  # name


class RunLease(Record, frozen=True, kw_only=True):
    """Who drives a run whose records are on a server. Its id is the run's."""

    kind: ClassVar[str] = "run_lease"

    holder: str  # the machine and process, for people
    fence: int  # the run's, as the driver holds it
    expires_at: Moment  # by the server's clock
    cancel: bool = False  # somebody asks the driver to stop the run


LAUNCHING_KINDS: dict[str, type[Record]] = {
    each.kind: each for each in (Launch, BuildOrder, Schedule, Webhook, Runner, ServerSecret, RunLease)
}
