"""What a server can make of a snapshot by itself: its next version with other parameters or options, and its words."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from tilth.define.options import FAILURE_MODES
from tilth.errors import AccessDenied, DefinitionError, UnknownOption, nearest
from tilth.records import Json, Snapshot, new_id, now
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.launching import check_given
from tilth.server.noted import NotedStore
from tilth.server.requests import Body, Editor, ProjectRequest

router = APIRouter(prefix="/projects/{project}/snapshots/{id}", tags=["snapshots"])
_MOST_TAGS, _LONGEST_TAG, _LONGEST = 50, 100, 10_000  # of a description: characters
OPTIONS = ("cache", "failure_mode", "workers", "offline")


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the next version has instead; what is not given is as it was. Code, locks and stack are the same."""

    parameters: dict[str, Json] | msgspec.UnsetType = msgspec.UNSET  # all those given
    options: dict[str, Json] | msgspec.UnsetType = (
        msgspec.UNSET
    )  # `cache`, `failure_mode`, `workers`, `offline`
    description: str | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people say of a snapshot; it starts the same runs."""

    description: str | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


@router.post(
    "/versions",
    status_code=201,
    summary="Make the next version of a snapshot, with other parameters or options",
    openapi_extra=accepts(NewVersion),
    responses=answers(Snapshot, 201, errors=[409]),
)
def add_version(asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """Schedules and webhooks start it from now on. Other code takes `tilth snapshots create`."""
    found, told = _found(asked, id), read(body, NewVersion)
    if told.parameters is not msgspec.UNSET:
        check_given(found, told.parameters)
    if told.options is not msgspec.UNSET:
        _check_options(told.options)
    _check_words(told.description, told.tags)
    given = _given(told)
    made = msgspec.structs.replace(
        found,
        id=new_id(),
        created_at=now(),
        revision=1,
        version=0,
        created_by=asked.who.user.name,
        **given,
    )
    return respond(NotedStore(asked, "snapshot.version", found.label).add(made)[0], status=201)


@router.patch(
    "/words",
    summary="Describe a snapshot",
    openapi_extra=accepts(Words),
    responses=answers(Snapshot, errors=[409]),
)
def change_words(asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """Its description and tags."""
    found, told = _found(asked, id), read(body, Words)
    _check_words(told.description, told.tags)
    given = _given(told)
    changed = msgspec.structs.replace(found, **given)
    return respond(NotedStore(asked, "snapshot.update", found.label).replace(found, changed))


def _given(told: NewVersion | Words) -> dict[str, Any]:
    every = {name: getattr(told, name) for name in told.__struct_fields__}
    return {name: value for name, value in every.items() if value is not msgspec.UNSET}


def _found(asked: ProjectRequest, id: str) -> Snapshot:  # noqa: A002
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
    return asked.store.get(Snapshot, id)


def _check_options(options: dict[str, Json]) -> None:
    for name, value in options.items():
        if name not in OPTIONS:
            raise UnknownOption(
                f"runs of a snapshot have no option `{name[:100]}`", mend=nearest(name, OPTIONS)
            )
        good = {
            "failure_mode": value in FAILURE_MODES,
            "workers": isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000,
        }.get(name, isinstance(value, bool))
        if not good:
            takes = {
                "failure_mode": " or ".join(f"`{each}`" for each in FAILURE_MODES),
                "workers": "1 to 1000",
            }
            raise DefinitionError(
                f"option `{name}` is `{str(value)[:100]}`",
                mend=f"give {takes.get(name, '`true` or `false`')}",
            )


def _check_words(description: str | msgspec.UnsetType, tags: tuple[str, ...] | msgspec.UnsetType) -> None:
    if isinstance(description, str) and len(description) > _LONGEST:
        raise DefinitionError(
            f"the description has {len(description):,} characters", mend=f"give up to {_LONGEST:,}"
        )
    if isinstance(tags, tuple):
        wrong = [each for each in tags if not 0 < len(each) <= _LONGEST_TAG or not each.isprintable()]
        if wrong or len(tags) > _MOST_TAGS:
            raise DefinitionError(
                f"`{wrong[0][:100]}` is no tag" if wrong else f"there are {len(tags)} tags",
                mend=f"give up to {_MOST_TAGS} tags of 1 to {_LONGEST_TAG} printable characters",
            )
