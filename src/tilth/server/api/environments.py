"""Environments, as people look at them: side by side, from inside, compared, and written for other tools."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from tilth.client.contents import exported
from tilth.client.differences import Change, Pinned, compare, side_of_environment
from tilth.errors import NotFound, UnknownOption, nearest
from tilth.home import Home
from tilth.records import Build, Environment, EnvironmentCheck, Moment, Run, State, SystemPackage
from tilth.records.roles import ROLES
from tilth.server.contents import PackageView, open_contents
from tilth.server.documents import answers, respond
from tilth.server.passages import Passage, behind_of, build_with_layers, passage_of, steps_by_environment
from tilth.server.requests import OneThread, ProjectRequest, Viewer

router = APIRouter(prefix="/projects/{project}", tags=["environments"], route_class=OneThread)
_BUILT = 500  # of the newest environments, those that are looked at for packages of a builder
_NEWEST = 20  # builds of one environment
FORMS = {  # how an environment is written -> ending of its file, type of its content
    "pylock": ("toml", "application/toml"),
    "cyclonedx": ("cdx.json", "application/vnd.cyclonedx+json"),
    "requirements": ("txt", "text/plain; charset=utf-8"),
    "dockerfile": ("Dockerfile", "text/plain; charset=utf-8"),
}


class EnvironmentView(msgspec.Struct, frozen=True, kw_only=True):
    """One environment with all that is known of what is in it."""

    id: str
    name: str
    role: str
    title: str  # what happens in it
    python: str
    platform: str
    base: str
    lock: str
    requirements: tuple[str, ...]
    variables: dict[str, str]
    system: tuple[SystemPackage, ...]
    created_at: Moment
    packages: tuple[PackageView, ...]
    told: bool  # whether a machine has recorded what its packages say of themselves
    check: EnvironmentCheck | None  # None: never checked
    build: Build | None  # the newest of its images whose layers are known
    builds: int  # at most, of the newest


class EnvironmentUser(msgspec.Struct, frozen=True, kw_only=True):
    """A run that used an environment."""

    id: str
    name: str
    pipeline: str
    state: State
    created_at: Moment
    called: tuple[str, ...]  # what the run calls it
    steps: tuple[str, ...]


class EnvironmentUsers(msgspec.Struct, frozen=True):
    """Runs that used an environment, newest first. `next` goes into `after` for the rest."""

    items: tuple[EnvironmentUser, ...]
    next: str | None


class ComparedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison."""

    id: str
    name: str
    role: str
    python: str
    platform: str
    packages: int
    created_at: Moment


class ComparedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package, on one side."""

    version: str
    files: tuple[str, ...]
    digests: tuple[str, ...]
    origin: str


class PackageChange(msgspec.Struct, frozen=True, kw_only=True):
    """A package that is not on both sides alike: `added`, `removed`, another `version`, or another `file` of one."""

    name: str
    change: str
    left: ComparedPackage | None
    right: ComparedPackage | None


class ValueChange(msgspec.Struct, frozen=True, kw_only=True):
    """A variable, or a fact such as the platform, that is not on both sides alike."""

    name: str
    change: str  # `added`, `removed`, `changed`
    left: str | None
    right: str | None


class EnvironmentDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from the left environment to the right one."""

    left: ComparedEnvironment
    right: ComparedEnvironment
    facts: tuple[ValueChange, ...]
    packages: tuple[PackageChange, ...]
    variables: tuple[ValueChange, ...]
    system: tuple[PackageChange, ...]
    same: int  # packages that are on both sides alike


@router.get(
    "/pipelines/{pipeline}/environments",
    summary="The environments that a pipeline's newest run passed through",
    responses=answers(Passage),
)
def of_pipeline(asked: Viewer, pipeline: str) -> Response:
    """Client, execution, supervisor, runner, server and builder, with packages, steps, images and what changed."""
    newest = asked.store.find(Run, pipeline=pipeline, limit=1).items
    if not newest:
        raise NotFound(f"no run of pipeline `{pipeline}` is recorded", mend="start one with `tilth run`")
    return respond(passage_of(asked.store, asked.files, newest[0]))


@router.get(
    "/runs/{run}/environments",
    summary="The environments that a run passed through",
    responses=answers(Passage),
)
def of_run(asked: Viewer, run: str) -> Response:
    """As those of a pipeline."""
    return respond(passage_of(asked.store, asked.files, asked.store.get(Run, run)))


@router.get(
    "/environments/{id}/contents", summary="What is in an environment", responses=answers(EnvironmentView)
)
def contents(asked: Viewer, id: str) -> Response:  # noqa: A002
    """Why each package is there, what it requires, and how large it is."""
    record = asked.store.get(Environment, id)
    found = open_contents(asked.store, record)
    checks = asked.store.find(EnvironmentCheck, id=id, limit=1).items
    view = EnvironmentView(
        id=record.id,
        name=record.name,
        role=record.role,
        title=ROLES[record.role].title if record.role in ROLES else "",
        python=record.python,
        platform=record.platform,
        base=record.base,
        lock=record.lock,
        requirements=record.requirements,
        variables=record.variables,
        system=record.system,
        created_at=record.created_at,
        packages=found.views(),
        told=found.told is not None,
        check=checks[0] if checks else None,
        build=build_with_layers(asked.store, id),
        builds=len(asked.store.find(Build, environment=id, limit=_NEWEST)),
    )
    return respond(view)


@router.get(
    "/environments/{id}/users", summary="Runs that used an environment", responses=answers(EnvironmentUsers)
)
def users(
    asked: Viewer,
    id: str,  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """With the steps that ran in it. Of a builder, those that used what it built."""
    record = asked.store.get(Environment, id)
    digests = [id]
    if record.role in ROLES and ROLES[record.role].is_behind:
        digests += behind_of(asked.store.find(Environment, limit=_BUILT), id)
    found, following = asked.store.users_of(digests, limit=limit, after=after)
    return respond(EnvironmentUsers(tuple(_user(asked, each, digests) for each in found), following))


@router.get(
    "/environments/{id}/diff/{other}",
    summary="What differs between two environments",
    responses=answers(EnvironmentDiff),
)
def diff(asked: Viewer, id: str, other: str) -> Response:  # noqa: A002
    """From the first to the second: what only the second has was added."""
    left, right = asked.store.get(Environment, id), asked.store.get(Environment, other)
    found = compare(side_of_environment(left), side_of_environment(right))
    gone = sum(each.kind != "added" for each in found.packages)
    answer = EnvironmentDiff(
        left=_compared(left),
        right=_compared(right),
        facts=tuple(map(_value_change, found.facts)),
        packages=tuple(map(_package_change, found.packages)),
        variables=tuple(map(_value_change, found.variables)),
        system=tuple(map(_package_change, found.system)),
        same=len(left.packages) - gone,
    )
    return respond(answer)


@router.get(
    "/environments/{id}/export/{form}",
    summary="An environment for other tools",
    responses={
        **answers(None),
        200: {
            "content": {kind: {} for _, kind in FORMS.values()},
            "description": "`pylock`, `cyclonedx`, `requirements` or `dockerfile`, as a file",
        },
    },
)
def export(asked: Viewer, id: str, form: str) -> Response:  # noqa: A002
    """A lock (PEP 751), a bill of materials (CycloneDX 1.6), requirements with hashes, or a Dockerfile."""
    if form not in FORMS:
        raise UnknownOption(f"environments are not written as `{form[:80]}`", mend=nearest(form, FORMS))
    record = asked.store.get(Environment, id)
    text = exported(open_contents(asked.store, record), form, Home(asked.access.data)).text
    ending, kind = FORMS[form]
    name = re.sub(r"[^A-Za-z0-9._-]", "-", record.name)[:100]
    headers = {
        "Content-Disposition": f'attachment; filename="{"pylock." if form == "pylock" else ""}{name}.{ending}"',
        "Content-Security-Policy": "sandbox",
    }
    return Response(text.encode("utf-8", "replace"), media_type=kind, headers=headers)


def _user(asked: ProjectRequest, run: Run, digests: list[str]) -> EnvironmentUser:
    steps = steps_by_environment(asked.store, asked.files, run)
    called = [
        name for role in ROLES.values() for name, digest in role.of_run(run).items() if digest in digests
    ]
    return EnvironmentUser(
        id=run.id,
        name=run.name,
        pipeline=run.pipeline,
        state=run.state,
        created_at=run.created_at,
        called=tuple(called),
        steps=tuple(dict.fromkeys(step for digest in digests for step in steps.get(digest, ()))),
    )


def _compared(record: Environment) -> ComparedEnvironment:
    return ComparedEnvironment(
        id=record.id,
        name=record.name,
        role=record.role,
        python=record.python,
        platform=record.platform,
        packages=len(record.packages),
        created_at=record.created_at,
    )


def _value_change(change: Change) -> ValueChange:
    return ValueChange(name=change.name, change=change.kind, left=change.left, right=change.right)


def _package_change(change: Change) -> PackageChange:
    return PackageChange(
        name=change.name, change=change.kind, left=_pinned(change.left), right=_pinned(change.right)
    )


def _pinned(told: Any) -> ComparedPackage | None:
    if not isinstance(told, Pinned):
        return None
    return ComparedPackage(
        version=told.version,
        files=tuple(sorted(told.files)),
        digests=tuple(sorted(told.digests)),
        origin=told.origin,
    )
