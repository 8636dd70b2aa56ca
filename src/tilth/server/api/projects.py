"""Projects, and who may do what in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import DefinitionError, NotFound
from tilth.records import Moment
from tilth.records.access import Member, Role, Space, User
from tilth.server.access import no_project
from tilth.server.api.users import is_name
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.requests import Account, Body, ProjectAdmin, Viewer, Who, access_of
from tilth.store import Delete, Put, walk

if TYPE_CHECKING:
    from tilth.server.access import Access, Principal

router = APIRouter(prefix="/projects", tags=["projects"])

_LONGEST = 10_000  # characters of a description


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    """A project, and what who asks is in it."""

    name: str
    description: str
    created_at: Moment
    role: Role


class ProjectViewPage(msgspec.Struct, frozen=True):
    """Some of the projects. `next` goes into `after` for the rest."""

    items: tuple[ProjectView, ...]
    next: str | None


class NewProject(msgspec.Struct, frozen=True):
    """A project to make."""

    name: str
    description: str = ""


class ChangedProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a project."""

    description: str


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A user's role in a project."""

    user: str  # name
    role: Role


class MemberPage(msgspec.Struct, frozen=True):
    """Who is in a project, admins of the server aside. `next` goes into `after` for the rest."""

    items: tuple[MemberView, ...]
    next: str | None


class NewRole(msgspec.Struct, frozen=True):
    """What a user becomes in a project."""

    role: Role


@router.get("", summary="List projects", responses=answers(ProjectViewPage))
def find_projects(
    request: Request,
    who: Who,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """Those that who asks is a member of; for admins of the server, all."""
    access = access_of(request)
    only = own_projects(access, who)
    where: dict[str, Any] = {} if only is None else {"name": sorted(only)}
    page = access.store.find(Space, order="name", limit=limit, after=after, **where)
    items = tuple(
        ProjectView(name=each.name, description=each.description, created_at=each.created_at, role=role)
        for each in page
        if (role := access.role(who, each.name)) is not None
    )
    return respond(ProjectViewPage(items, page.next))


@router.post(
    "",
    summary="Make a project",
    status_code=201,
    openapi_extra=accepts(NewProject),
    responses=answers(ProjectView, 201, errors=[409]),
)
def add_project(request: Request, who: Account, body: Body) -> Response:
    """Who makes it becomes its admin."""
    told = read(body, NewProject)
    if not is_name(told.name.replace(" ", "-")):
        raise DefinitionError(
            f"`{told.name[:100]}` is no name of a project",
            mend="give up to 100 printable characters without slashes",
        )
    _check_description(told.description)
    space = access_of(request).create_project(who, told.name, told.description)
    view = ProjectView(
        name=space.name, description=space.description, created_at=space.created_at, role=Role.ADMIN
    )
    return respond(view, status=201)


@router.get("/{project}", summary="One project", responses=answers(ProjectView))
def get_project(asked: Viewer) -> Response:
    """And what who asks is in it."""
    space = _space(asked.access.store.find(Space, name=asked.project, limit=1).items, asked.project)
    role = asked.access.role(asked.who, asked.project) or Role.VIEWER
    return respond(
        ProjectView(name=space.name, description=space.description, created_at=space.created_at, role=role)
    )


@router.patch(
    "/{project}",
    summary="Describe a project",
    openapi_extra=accepts(ChangedProject),
    responses=answers(ProjectView, errors=[409]),
)
def change_project(asked: ProjectAdmin, body: Body) -> Response:
    """For admins of the project. Its name stays: clients and keys know it by that."""
    told, access = read(body, ChangedProject), asked.access
    _check_description(told.description)
    space = _space(access.store.find(Space, name=asked.project, limit=1).items, asked.project)
    entry = access.entry(asked.who, "project.update", space.name, project=space.name)
    kept = access.replace(space, msgspec.structs.replace(space, description=told.description), entry)
    role = access.role(asked.who, asked.project) or Role.VIEWER
    return respond(
        ProjectView(name=kept.name, description=kept.description, created_at=kept.created_at, role=role)
    )


@router.get("/{project}/members", summary="Who is in a project", responses=answers(MemberPage))
def find_members(
    asked: Viewer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """With their roles, those who came last first."""
    store = asked.access.store
    page = store.find(Member, project=asked.project, limit=limit, after=after)
    users = {each.id: each.name for each in store.find(User, id=[each.user for each in page], limit=limit)}
    # One whose user is missing was deleted just now.
    items = tuple(MemberView(user=users[each.user], role=each.role) for each in page if each.user in users)
    return respond(MemberPage(items, page.next))


@router.put(
    "/{project}/members/{user}",
    summary="Give a user a role in a project",
    openapi_extra=accepts(NewRole),
    responses=answers(MemberView),
)
def put_member(asked: ProjectAdmin, user: str, body: Body) -> Response:
    """For admins of the project."""
    told, access = read(body, NewRole), asked.access
    found = _user(asked, user)
    there = access.store.find(Member, project=asked.project, user=found.id, limit=1).items
    if there:
        member = msgspec.structs.replace(there[0], role=told.role)
    else:
        member = Member(project=asked.project, user=found.id, role=told.role)
    access.change(
        asked.who, "member.put", found.name, Put(member), project=asked.project, role=told.role.value
    )
    return respond(MemberView(user=found.name, role=told.role))


@router.delete(
    "/{project}/members/{user}",
    summary="Take a user out of a project",
    status_code=204,
    responses=answers(None, 204),
)
def delete_member(asked: ProjectAdmin, user: str) -> Response:
    """For admins of the project."""
    found = _user(asked, user)
    there = asked.access.store.find(Member, project=asked.project, user=found.id).items
    if not there:
        raise NotFound(f"`{user}` is no member of project `{asked.project}`")
    asked.access.change(
        asked.who,
        "member.delete",
        found.name,
        *(Delete(Member, each.id) for each in there),
        project=asked.project,
    )
    return Response(status_code=204)


def _check_description(text: str) -> None:
    if len(text) > _LONGEST:
        raise DefinitionError(
            f"the description has {len(text):,} characters", mend=f"give up to {_LONGEST:,}"
        )


def own_projects(access: Access, who: Principal) -> set[str] | None:
    """Names of the projects that somebody may know of; None for all."""
    if who.token.project:
        return {who.token.project}
    if who.is_limited:
        return set()
    if who.user.admin:
        return None
    return {each.project for each in walk(access.store, Member, user=who.user.id)}


def _user(asked: ProjectAdmin, name: str) -> User:
    found = asked.access.store.find(User, name=name, limit=1).items
    if not found:
        raise NotFound(f"no user `{name}`")
    return found[0]


def _space(found: tuple[Space, ...], name: str) -> Space:
    if not found:
        raise no_project(name)
    return found[0]
