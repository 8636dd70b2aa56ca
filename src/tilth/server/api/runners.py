"""What runners ask: they come by themselves, so nothing need reach the machine that one is on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound
from tilth.records import Failure, Run, Snapshot, now
from tilth.records.access import Purpose, Role, Token, User
from tilth.records.launching import BuildOrder, Launch, LaunchState, Runner
from tilth.server.api.projects import own_projects
from tilth.server.documents import accepts, answers, page_of, read, respond, respond_page
from tilth.server.launching import may_run
from tilth.server.leases import LeaseLost
from tilth.server.requests import Body, Who, access_of, builds_of, queue_of, store_of
from tilth.store import Put, walk

if TYPE_CHECKING:
    from tilth.server.access import Access, Principal
    from tilth.server.queue import Queue

router = APIRouter(prefix="/runners", tags=["runners"])
_SEEN = timedelta(seconds=10)


Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewRunner(msgspec.Struct, frozen=True, kw_only=True):
    """A runner that begins, or begins again. `id` is its own, made once."""

    id: Word
    name: Word
    project: str = ""  # the only one it serves; empty for all
    place: Word = "machine"
    platform: Word
    machine: Word
    version: Word
    slots: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    builds: bool = False  # whether it builds images too


class Held(msgspec.Struct, frozen=True):
    """A launch that a runner has."""

    launch: str
    fence: int


class HeldBuild(msgspec.Struct, frozen=True):
    """A build that a runner has."""

    build: str
    fence: int


class Poll(msgspec.Struct, frozen=True):
    """What a runner has, and how many more it takes."""

    held: Annotated[tuple[Held, ...], msgspec.Meta(max_length=1000)] = ()
    slots: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    held_builds: Annotated[tuple[HeldBuild, ...], msgspec.Meta(max_length=1000)] = ()
    build_slots: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class Assignment(msgspec.Struct, frozen=True):
    """A launch that a runner is to start, and all it needs for that."""

    launch: Launch
    snapshot: Snapshot
    token: str  # opens this run alone


class Stop(msgspec.Struct, frozen=True):
    """A launch that a runner is to leave. `cancelled`: by somebody; `lost`: another runner has it."""

    launch: str
    why: str


class Orders(msgspec.Struct, frozen=True):
    """What a runner is to do."""

    start: tuple[Assignment, ...]
    stop: tuple[Stop, ...]
    build: tuple[BuildOrder, ...] = ()
    stop_builds: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """A launch is over on the runner's side. `failure`: why no run came of it, or why its driver gave up."""

    fence: int
    failure: Failure | None = None


@router.get("", summary="List runners", responses=answers(page_of(Runner)))
def find_runners(
    request: Request,
    who: Who,
    order: str = "-created_at",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """Those that were ever here, of all projects or one that who asks may look at; `seen_at` says when last."""
    if who.token.purpose is Purpose.RUNNER:
        raise AccessDenied("this token is of a runner, and shows nothing")
    access = access_of(request)
    only = own_projects(access, who)
    where: dict[str, Any] = {} if only is None else {"project": ["", *sorted(only)]}
    rows, following = access.store.find_rows(Runner, order=order, limit=limit, after=after, where=where)
    return respond_page(rows, following)


@router.post(
    "",
    summary="Begin to be a runner",
    openapi_extra=accepts(NewRunner),
    responses=answers(Runner, errors=[409]),
)
def begin(request: Request, who: Who, body: Body) -> Response:
    """Takes an admin of the server, or of the one project that the runner serves."""
    access = access_of(request)
    told = read(body, NewRunner)
    _check(access, who, told.project)
    for field in ("id", "name", "place", "platform", "machine", "version"):
        if len(getattr(told, field)) > 200 or not getattr(told, field).isprintable():
            raise DefinitionError(
                f"`{field}` of the runner cannot be used", mend="give up to 200 printable characters"
            )
    try:
        before = access.store.get(Runner, told.id)
    except NotFound:
        pass
    else:
        if before.user != who.user.id:
            raise Conflict(f"runner `{told.id}` is somebody else's", mend="choose another id")
    fields = msgspec.structs.asdict(told)
    runner = Runner(**fields, seen_at=now(), user=who.user.id)
    access.change(who, "runner.begin", runner.name, Put(runner), project=told.project)
    return respond(access.store.get(Runner, runner.id))


@router.post(
    "/{id}/poll",
    summary="Say what a runner has, and take what it is to do",
    openapi_extra=accepts(Poll),
    responses=answers(Orders),
)
def poll(request: Request, who: Who, id: str, body: Body) -> Response:  # noqa: A002
    """Asked again and again: it renews what the runner has, and gives what waits."""
    access, queue = access_of(request), queue_of(request)
    runner = runner_of(access, who, id)
    told = read(body, Poll)
    lasts = timedelta(seconds=access.settings.lease_seconds)
    stop = tuple(filter(None, (_renew(access, queue, runner, each, lasts) for each in told.held)))
    if runner.seen_at is None or now() - runner.seen_at > _SEEN or runner.busy != len(told.held):
        access.store.write([Put(msgspec.structs.replace(runner, seen_at=now(), busy=len(told.held)))])
    start: list[Assignment] = []
    holds = {each.launch for each in told.held}
    while len(start) < min(told.slots, 100):
        given = queue.lease(
            runner.id,
            projects=[runner.project] if runner.project else None,
            lasts=lasts,
            fits=lambda launch: _fits(launch, runner),
            holds=holds,
        )
        if given is None:
            break
        holds.add(given.id)
        if (assigned := _assign(request, queue, given)) is not None:
            start.append(assigned)
    build, stop_builds = _builds(request, runner, told, lasts)
    return respond(Orders(tuple(start), stop, build, stop_builds))


@router.post(
    "/{id}/launches/{launch}/ended",
    summary="Say that a launch is over",
    openapi_extra=accepts(Ended),
    responses=answers(Launch, errors=[409]),
)
def ended(request: Request, who: Who, id: str, launch: str, body: Body) -> Response:  # noqa: A002
    """Its run has ended; or nothing came of it, for a reason."""
    access, queue = access_of(request), queue_of(request)
    runner, told = runner_of(access, who, id), read(body, Ended)
    found = access.store.get(Launch, launch)
    if found.runner != runner.id or found.fence != told.fence:
        raise LeaseLost(f"launch `{launch}` is not this runner's any more", why="another runner has it")
    over = _run_is_over(request, found)
    if found.state.is_final:
        queue.end_cancelled(found)
    elif over:
        found = queue.ended(found)
    elif told.failure is not None:
        found = queue.failed(found, told.failure)
    else:
        raise Conflict(
            f"the run of launch `{launch}` has not ended", mend="go on with it, or say why it failed"
        )
    access.revoke(*walk(access.store, Token, run=found.run))
    return respond(found)


def _builds(
    request: Request, runner: Runner, told: Poll, lasts: timedelta
) -> tuple[tuple[BuildOrder, ...], tuple[str, ...]]:
    """The builds that a runner is to begin, and those that it is to end."""
    access, builds = access_of(request), builds_of(request)
    if not runner.builds:
        return (), tuple(each.build for each in told.held_builds)
    stop: list[str] = []
    for held in told.held_builds:
        try:
            found = access.store.get(BuildOrder, held.build)
            if found.runner != runner.id or found.fence != held.fence or found.state.is_final:
                stop.append(held.build)
            elif found.leased_until is None or found.leased_until - now() < 3 * lasts / 4:
                builds.renew(found, lasts=lasts)
        except (NotFound, LeaseLost):
            stop.append(held.build)
    holds = {each.build for each in told.held_builds}
    builds.fail_forgotten(runner.id, holds)
    begin: list[BuildOrder] = []
    while len(begin) < min(told.build_slots, 100):
        given = builds.lease(
            runner.id,
            projects=[runner.project] if runner.project else None,
            lasts=lasts,
            fits=lambda order: order.wanted in ("", runner.name),
            holds=holds,
        )
        if given is None:
            break
        holds.add(given.id)
        if may_run(_user(access, given.user), given.project, access.store):
            begin.append(given)
        else:
            gone = Failure(reason="cancelled", message="who ordered it may not start anything any more")
            builds.failed(given, gone)
    return tuple(begin), tuple(stop)


def _check(access: Access, who: Principal, project: str) -> None:
    if who.token.purpose is Purpose.RUNNER or who.is_admin:
        return
    if not project:
        raise AccessDenied(
            "only an admin of the server may start a runner for every project",
            mend="start it for one that you are an admin of: `tilth runner start --project NAME`",
        )
    if who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
    access.check(who, project, Role.ADMIN)


def runner_of(access: Access, who: Principal, id: str) -> Runner:  # noqa: A002
    """The runner that asks.

    Raises:
        NotFound: There is none of that id, or it is somebody else's.
        AccessDenied: Who asks may not be one.
    """
    runner = access.store.get(Runner, id)
    if runner.user != who.user.id:
        raise NotFound(f"no runner has the id `{id}`")
    _check(access, who, runner.project)
    return runner


def _fits(launch: Launch, runner: Runner) -> bool:
    platform = not launch.platforms or runner.platform in launch.platforms
    return platform and launch.machine in ("", runner.machine)


def _renew(access: Access, queue: Queue, runner: Runner, held: Held, lasts: timedelta) -> Stop | None:
    """Renew what a runner has, once a while; gives what it is to leave."""
    try:
        found = access.store.get(Launch, held.launch)
    except NotFound:
        return Stop(held.launch, "lost")
    if found.runner != runner.id or found.fence != held.fence:
        return Stop(held.launch, "lost")
    if found.state.is_final:
        return Stop(held.launch, "cancelled" if found.state is LaunchState.CANCELLED else "lost")
    moment = now()
    # So early that a database may be away for half of a lease and nothing is lost.
    if found.leased_until is None or found.leased_until - moment < 3 * lasts / 4:
        try:
            queue.renew(found, lasts=lasts)
        except LeaseLost:
            return Stop(held.launch, "lost")
    token_lasts = timedelta(minutes=access.settings.run_token_minutes)
    for each in access.store.find(Token, run=found.run):
        if each.expires_at is not None and each.expires_at - moment < token_lasts / 2:
            access.store.write([Put(msgspec.structs.replace(each, expires_at=moment + token_lasts))])
    return None


def _assign(request: Request, queue: Queue, launch: Launch) -> Assignment | None:
    """What a runner needs for a launch; None when there is nothing to be done any more."""
    access = access_of(request)
    if _run_is_over(request, launch):
        queue.ended(launch)
        return None
    user = _user(access, launch.user)
    if user is None or not may_run(user, launch.project, access.store):
        queue.failed(
            launch, Failure(reason="cancelled", message="who asked for it may not run anything any more")
        )
        return None
    try:
        snapshot = store_of(request, launch.project).get(Snapshot, launch.snapshot)
    except NotFound:
        queue.failed(launch, Failure(reason="changed", message="its snapshot was deleted"))
        return None
    access.revoke(*walk(access.store, Token, run=launch.run))  # whoever had it before, writes no more
    token, _ = access.issue(
        user,
        Purpose.RUN,
        name=launch.cause,
        project=launch.project,
        run=launch.run,
        lasts=timedelta(minutes=access.settings.run_token_minutes),
    )
    return Assignment(launch, snapshot, token)


def _user(access: Access, id: str) -> User | None:  # noqa: A002
    try:
        return access.store.get(User, id)
    except NotFound:
        return None


def _run_is_over(request: Request, launch: Launch) -> bool:
    try:
        run: Any = store_of(request, launch.project).get(Run, launch.run)
    except NotFound:
        return False
    return bool(run.state.is_final)
