"""Stacks and components of a project as people make them: checked against their flavors, and noted in the audit log.

Clients keep the same records by the generic routes, after checks of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Response

from tilth.client.components import Components
from tilth.client.stacks import Stacks
from tilth.errors import AccessDenied, DefinitionError, NotFound, TilthError
from tilth.records import Component, Json, Project, Record, Stack
from tilth.runtime.parameters import as_text
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.noted import NotedStore
from tilth.server.requests import Body, Editor, ProjectRequest, Viewer, Who
from tilth.stack.catalogue import clashes, load_flavor, offers
from tilth.stack.component_types import TYPES, label
from tilth.stack.settings import described
from tilth.store import walk

if TYPE_CHECKING:
    from tilth.stack.catalogue import Offer

router = APIRouter(prefix="/projects/{project}/stack-catalogue", tags=["stacks"])
anywhere = APIRouter(tags=["stacks"])
R = TypeVar("R", bound=Record)


class FlavorSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of a flavor, as a form asks for it. `kind`: `text`, `integer`, `number`, `boolean`, `choice`,
    `secret` (taken as `secret:NAME` alone), `map`, `list` or `json`."""

    setting: str
    kind: str
    takes: str  # the same in words
    choices: tuple[str, ...]
    required: bool
    default: Json
    meaning: str


class FlavorView(msgspec.Struct, frozen=True, kw_only=True):
    """One way to provide a type of component, as an installed package declares it."""

    type: str
    name: str
    title: str
    package: str
    version: str
    requirement: str  # what has to be installed to use it
    problem: str  # why this server cannot tell its settings; empty when it can
    settings: tuple[FlavorSetting, ...]


class ComponentTypeView(msgspec.Struct, frozen=True):
    """A type of component."""

    name: str
    title: str
    required: bool  # by every stack


class Flavors(msgspec.Struct, frozen=True):
    """What stacks can be made of, as far as this server knows."""

    types: tuple[ComponentTypeView, ...]
    flavors: tuple[FlavorView, ...]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Stacks and components, those that come with tilth first. `of`: the project as its folder calls it."""

    of: str
    all_of: tuple[str, ...]  # such names that have something here: several where a home folder is served
    chosen: str  # the stack chosen by `tilth stack set`; empty when none was
    stacks: tuple[Stack, ...]
    components: tuple[Component, ...]


class NewComponent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A component to make. Each setting as JSON, or as it would be written on a command line."""

    name: str
    type: str
    flavor: str
    settings: dict[str, Json] = {}
    of: str = ""  # as `Catalogue.of`


class ChangedComponent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings that a component is given; what is not among them gets its default."""

    settings: dict[str, Json]


class NewStack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stack to make: type to name of a component."""

    name: str
    components: dict[str, str]
    of: str = ""  # as `Catalogue.of`


class ChangedStack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All components that a stack has."""

    components: dict[str, str]


class ChosenStack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stack of runs that name none; empty leaves it to the project's file."""

    stack: str
    of: str = ""  # as `Catalogue.of`


Of = Annotated[str, Query(description="The project as its folder calls it, where several are here.")]


@anywhere.get("/flavors", summary="Flavors of components, and their settings", responses=answers(Flavors))
def find_flavors(who: Who) -> Response:  # noqa: ARG001 - whoever is logged in
    """Those of the packages that this server has installed; clients may know others."""
    twice = clashes()
    types = tuple(ComponentTypeView(name, each.title, each.required) for name, each in TYPES.items())
    return respond(Flavors(types, tuple(_flavor(each, (each.type, each.name) in twice) for each in offers())))


@router.get("", summary="Stacks and components, those that come with tilth too", responses=answers(Catalogue))
def get_catalogue(asked: Viewer, of: Of = "") -> Response:
    """All of one project."""
    names = _names(asked)
    wanted = of or (asked.project if asked.project in names or not names else names[0])
    stacks = Stacks(asked.store, Path(), wanted)
    return respond(
        Catalogue(
            of=wanted,
            all_of=names,
            chosen=stacks.remembered(),
            stacks=tuple(stacks.all()),
            components=tuple(stacks.components.all()),
        )
    )


@router.put(
    "/chosen",
    summary="Choose the stack of runs that name none",
    status_code=204,
    openapi_extra=accepts(ChosenStack),
    responses=answers(None, 204, errors=[409]),
)
def choose(asked: Editor, body: Body) -> Response:
    """As `tilth stack set` does."""
    _not_for_runs(asked)
    told = read(body, ChosenStack)
    stacks = _stacks(asked, "stack.choose", told.stack, told.of)
    stacks.choose(stacks.get(told.stack) if told.stack else None)
    return Response(status_code=204)


@router.post(
    "/components",
    status_code=201,
    summary="Make a component",
    openapi_extra=accepts(NewComponent),
    responses=answers(Component, 201, errors=[409]),
)
def add_component(asked: Editor, body: Body) -> Response:
    """Its settings are what its flavor declares; secrets are named, never written out."""
    _not_for_runs(asked)
    told = read(body, NewComponent)
    components = _stacks(asked, "component.create", told.name, told.of).components
    made = components.register(told.name, told.type, told.flavor, _texts(told.settings))
    return respond(made, status=201)


@router.patch(
    "/components/{id}",
    summary="Change the settings of a component",
    openapi_extra=accepts(ChangedComponent),
    responses=answers(Component, errors=[409]),
)
def change_component(asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """Runs that used it remember what it was."""
    found, components = _component(asked, "component.update", id)
    given = read(body, ChangedComponent).settings
    unset = [each for each in found.settings if each not in given]
    return respond(components.update(found, _texts(given), unset))


@router.delete(
    "/components/{id}",
    summary="Delete a component",
    status_code=204,
    responses=answers(None, 204, errors=[409]),
)
def delete_component(asked: Editor, id: str, force: bool = False) -> Response:  # noqa: A002
    """`force` takes it out of the stacks that have it."""
    found, components = _component(asked, "component.delete", id)
    components.delete(found, force=force)
    return Response(status_code=204)


@router.post(
    "/stacks",
    status_code=201,
    summary="Make a stack",
    openapi_extra=accepts(NewStack),
    responses=answers(Stack, 201, errors=[409]),
)
def add_stack(asked: Editor, body: Body) -> Response:
    """Of components that are there."""
    _not_for_runs(asked)
    told = read(body, NewStack)
    stacks = _stacks(asked, "stack.create", told.name, told.of)
    return respond(stacks.register(told.name, told.components), status=201)


@router.patch(
    "/stacks/{id}",
    summary="Give a stack other components",
    openapi_extra=accepts(ChangedStack),
    responses=answers(Stack, errors=[409]),
)
def change_stack(asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """What it has is replaced as a whole."""
    found, stacks = _stack(asked, "stack.update", id)
    given = read(body, ChangedStack).components
    without = [each for each in found.components if each not in given]
    return respond(stacks.update(found, given, without))


@router.delete("/stacks/{id}", summary="Delete a stack", status_code=204, responses=answers(None, 204))
def delete_stack(asked: Editor, id: str) -> Response:  # noqa: A002
    """Its components stay."""
    found, stacks = _stack(asked, "stack.delete", id)
    stacks.delete(found)
    return Response(status_code=204)


def _flavor(offer: Offer, twice: bool) -> FlavorView:
    problem = offer.problem or ("several packages declare it" if twice else "")
    title, settings = "", list[dict[str, Any]]()
    if not problem:
        try:
            flavor = load_flavor(offer.type, offer.name)
            title, settings = flavor.title, described(flavor)
        except TilthError as error:
            problem = f"{error.summary}: {error.why}" if error.why else error.summary
    return FlavorView(
        type=offer.type,
        name=offer.name,
        title=title,
        package=offer.package,
        version=offer.version,
        requirement=offer.requirement,
        problem=problem,
        settings=msgspec.convert(settings, tuple[FlavorSetting, ...]),
    )


def _names(asked: ProjectRequest) -> tuple[str, ...]:
    """What projects call themselves whose stacks, components or choices are among these records."""
    found = {each.project for each in walk(asked.store, Stack)}
    found |= {each.project for each in walk(asked.store, Component)}
    return tuple(sorted(found | {each.name for each in walk(asked.store, Project)}))


def _stacks(asked: ProjectRequest, action: str, subject: str, of: str) -> Stacks:
    _not_for_runs(asked)
    if len(of) > 200 or not of.isprintable():
        raise DefinitionError("`of` is no name of a project", mend="give up to 200 printable characters")
    return Stacks(NotedStore(asked, action, subject), Path(), of or asked.project)


def _component(asked: ProjectRequest, action: str, id: str) -> tuple[Component, Components]:  # noqa: A002
    found = _one(asked, Component, id)
    return found, _stacks(asked, action, f"{label(found.type)} {found.name}", found.project).components


def _stack(asked: ProjectRequest, action: str, id: str) -> tuple[Stack, Stacks]:  # noqa: A002
    found = _one(asked, Stack, id)
    return found, _stacks(asked, action, found.name, found.project)


def _not_for_runs(asked: ProjectRequest) -> None:
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")


def _one(asked: ProjectRequest, kind: type[R], id: str) -> R:  # noqa: A002
    _not_for_runs(asked)
    if id.startswith("built-in:"):
        raise DefinitionError(
            f"this {kind.kind} cannot be changed: it comes with tilth", mend="make one of your own"
        )
    found = asked.store.find(kind, id=id, limit=1).items
    if not found:
        raise NotFound(f"no {kind.kind} has the id `{id[:100]}`")
    return found[0]


def _texts(settings: dict[str, Json]) -> dict[str, str]:
    return {name: as_text(value) for name, value in settings.items()}
