"""What admins of the server see of it: its settings, and how it is."""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import fields
from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request, Response

from tilth import __version__
from tilth.client.snapshots import is_alive
from tilth.records import Moment, now
from tilth.records.launching import Launch, LaunchState, Runner
from tilth.server.api.login import own_url
from tilth.server.condition import Condition, Disk, Facts, Notice, Queued, Runners, notices
from tilth.server.documents import answers, respond
from tilth.server.requests import Who, access_of
from tilth.server.settings import variable
from tilth.store import wire

if TYPE_CHECKING:
    from tilth.server.access import Access
    from tilth.server.settings import ServerSettings
    from tilth.store.database import Database

router = APIRouter(prefix="/server", tags=["server"])
_MOST_RUNNERS = 1000


class ServerSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the server. The value of one that is a secret is told by `(hidden)`, if there is one."""

    name: str
    value: str
    variable: str
    given: bool  # it is another than the default
    secret: bool
    meaning: str


class ServerSettingList(msgspec.Struct, frozen=True):
    """Every setting of the server, in the order of the docs."""

    items: tuple[ServerSetting, ...]


class DatabaseView(msgspec.Struct, frozen=True, kw_only=True):
    """The database, as it answers now."""

    kind: str  # `sqlite` or `postgresql`
    version: str
    size: int  # bytes
    answered_in_ms: float


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is. What it counts is a few seconds old at most."""

    condition: Condition  # the worst of the notices
    notices: tuple[Notice, ...]
    version: str
    python: str
    protocol: int
    started_at: Moment  # of the process that answered
    processes: int  # that answer requests
    url: str
    schedules: bool  # whether this server starts the runs of schedules
    database: DatabaseView
    disk: Disk  # where artifacts and logs are kept
    queue: Queued
    launches: dict[str, int]  # by state
    runs: dict[str, int]  # by state
    runners: Runners


@router.get(
    "/settings", summary="Settings of the server, without secrets", responses=answers(ServerSettingList)
)
def get_settings(request: Request, who: Who) -> Response:
    """For admins of the server. They are variables of its processes, and change with a restart."""
    access = access_of(request)
    access.check_admin(who)
    return respond(shown(access.settings))


@router.get("/health", summary="How the server is", responses=answers(ServerHealth))
def get_health(request: Request, who: Who) -> Response:
    """For admins of the server: what it runs on, what waits, and what should be looked after."""
    access = access_of(request)
    access.check_admin(who)
    settings, counts = access.settings, request.app.state.metrics.counts()
    database = _database(access.store.database)
    disk, queue, runners = _disk(access), _queued(access), _runners(access)
    facts = Facts(
        disk=disk,
        queue=queue,
        runners=runners,
        url=own_url(request),
        secure=settings.secure,
        loopback=settings.host in ("127.0.0.1", "::1", "localhost"),
        database_ms=database.answered_in_ms,
    )
    told = notices(facts, now())
    return respond(
        ServerHealth(
            condition=max((each.level for each in told), key=list(Condition).index, default=Condition.GOOD),
            notices=tuple(told),
            version=__version__,
            python=platform.python_version(),
            protocol=wire.PROTOCOL,
            started_at=request.app.state.began,
            processes=settings.workers,
            url=facts.url,
            schedules=settings.schedules,
            database=database,
            disk=disk,
            queue=queue,
            launches=counts["launch"],
            runs=counts["run"],
            runners=runners,
        )
    )


def shown(settings: ServerSettings) -> ServerSettingList:
    """Settings as people may see them."""
    items = tuple(
        ServerSetting(
            name=each.name,
            value=("(hidden)" if value else "") if each.metadata["secret"] else _text(value),
            variable=variable(each.name),
            given=value != each.default,
            secret=each.metadata["secret"],
            meaning=each.metadata["meaning"],
        )
        for each in fields(settings)
        for value in (getattr(settings, each.name),)
    )
    return ServerSettingList(items)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _database(database: Database) -> DatabaseView:
    kind = "sqlite" if type(database).__name__ == "SqliteDatabase" else "postgresql"
    begin = time.perf_counter()
    if kind == "sqlite":
        asked = "SELECT sqlite_version(), page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        asked = "SELECT current_setting('server_version'), pg_database_size(current_database())"
    version, size = database.select(asked)[0]
    took = (time.perf_counter() - begin) * 1000
    return DatabaseView(
        kind=kind, version=str(version).split()[0], size=int(size), answered_in_ms=round(took, 2)
    )


def _disk(access: Access) -> Disk:
    # The folder is made when the first file comes.
    folder = next((each for each in (access.data, *access.data.parents) if each.is_dir()), access.data)
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return Disk(str(access.data), 0, 0)
    return Disk(str(access.data), usage.free, usage.total)


def _queued(access: Access) -> Queued:
    waiting = [LaunchState.QUEUED.value]
    oldest = access.store.find(Launch, state=waiting, order="created_at", limit=1).items
    rows = access.store.database.select(
        "SELECT count(*) FROM launch WHERE space = ? AND state = ?", (access.store.space, waiting[0])
    )
    return Queued(int(rows[0][0]), oldest[0].created_at if oldest else None)


def _runners(access: Access) -> Runners:
    found = access.store.find(Runner, limit=_MOST_RUNNERS).items
    alive = [each for each in found if is_alive(each)]
    return Runners(
        len(alive),
        len(found) - len(alive),
        sum(each.slots for each in alive),
        sum(each.busy for each in alive),
    )
