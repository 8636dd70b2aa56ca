"""Secrets of a project: named values for steps and components, encrypted at rest."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.define.environments import SECRET_NAME
from tilth.errors import AccessDenied, DefinitionError, NotFound
from tilth.records import Moment, now
from tilth.records.launching import Launch, ServerSecret, Webhook
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.keys import Keys
from tilth.server.requests import Body, Editor, ProjectAdmin, ProjectRequest, Viewer
from tilth.store import Delete, Put, walk

router = APIRouter(prefix="/projects/{project}/secrets", tags=["secrets"])
_LONGEST = 1 << 18  # characters: variables of a process are limited to about this


class SecretValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of a secret."""

    value: str


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told about a secret. Its value is none of it."""

    name: str
    set_at: Moment
    set_by: str


class SecretPage(msgspec.Struct, frozen=True):
    """Some of a project's secrets. `next` goes into `after` for the rest."""

    items: tuple[SecretView, ...]
    next: str | None


class Rotated(msgspec.Struct, frozen=True):
    """How many secrets were encrypted anew."""

    count: int


@router.get("", summary="List secrets, without their values", responses=answers(SecretPage))
def find_secrets(
    asked: Viewer,
    name: str | None = None,
    order: str = "name",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """Who set each, and when."""
    where: dict[str, Any] = {} if name is None else {"name": name}
    page = asked.access.store.find(
        ServerSecret, order=order, limit=limit, after=after, project=asked.project, **where
    )
    items = tuple(SecretView(name=each.name, set_at=each.set_at, set_by=each.set_by) for each in page)
    return respond(SecretPage(items, page.next))


@router.put(
    "/{name}",
    summary="Set a secret",
    openapi_extra=accepts(SecretValue),
    responses=answers(SecretView),
)
def put_secret(request: Request, asked: ProjectAdmin, name: str, body: Body) -> Response:
    """For admins of the project. One of this name is replaced."""
    if not SECRET_NAME.fullmatch(name) or len(name) > 200:
        raise DefinitionError(
            "that is no name for a secret", mend="use letters, digits, hyphens, dots and underscores"
        )
    try:
        value = read(body, SecretValue).value
    except DefinitionError:  # whose reason may show a part of the value
        raise DefinitionError(
            "the value of the secret cannot be read", mend='send `{"value": "…"}`'
        ) from None
    if not value or "\0" in value or len(value) > _LONGEST:
        raise DefinitionError(
            f"the value of secret `{name}` cannot be used",
            why=f"it has to have 1 to {_LONGEST:,} characters, and none of them NUL",
            mend="keep binary data in base64",
        )
    text, key = keys_of(request).encrypt(bound(asked.project, name), value)
    there = _maybe(asked, name)
    record = ServerSecret(
        project=asked.project,
        name=name,
        value=text,
        key=key,
        set_at=now(),
        set_by=asked.who.user.name,
    )
    if there is not None:
        record = msgspec.structs.replace(record, id=there.id, created_at=there.created_at)
    asked.access.change(asked.who, "secret.set", name, Put(record), project=asked.project)
    return respond(SecretView(name=name, set_at=record.set_at, set_by=record.set_by))


@router.post("/{name}/value", summary="The value of a secret", responses=answers(SecretValue))
def get_value(request: Request, asked: Editor, name: str) -> Response:
    """For whoever may run pipelines in the project, and for runs while they go on. It is written down who asked."""
    if asked.who.token.run:
        for launch in asked.access.store.find(Launch, run=asked.who.token.run, limit=1):
            if launch.state.is_final:
                raise AccessDenied("this token is of a run that is over, and gets no secrets")
    found = _maybe(asked, name)
    if found is None:
        raise NotFound(
            f"project `{asked.project}` has no secret `{name}`",
            mend=f"set it, as an admin of the project: `tilth secret set {name}`",
        )
    value = keys_of(request).decrypt(bound(asked.project, name), found.value, found.key)
    asked.access.change(asked.who, "secret.read", name, project=asked.project, run=asked.who.token.run)
    return respond(SecretValue(value))


@router.delete("/{name}", summary="Forget a secret", status_code=204, responses=answers(None, 204))
def delete_secret(asked: ProjectAdmin, name: str) -> Response:
    """For admins of the project. Runs that need it will not start."""
    found = _maybe(asked, name)
    if found is None:
        raise NotFound(f"project `{asked.project}` has no secret `{name}`")
    asked.access.change(
        asked.who, "secret.delete", name, Delete(ServerSecret, found.id), project=asked.project
    )
    return Response(status_code=204)


@router.post(
    "/rotate", summary="Encrypt all secrets of a project with the first key", responses=answers(Rotated)
)
def rotate(request: Request, asked: ProjectAdmin) -> Response:
    """After another key was put before the old one; then the old one can go."""
    keys, count = keys_of(request), 0
    for each in walk(asked.access.store, ServerSecret, project=asked.project):
        if each.key != keys.first.id:
            name = bound(asked.project, each.name)
            text, key = keys.encrypt(name, keys.decrypt(name, each.value, each.key))
            asked.access.store.replace(each, msgspec.structs.replace(each, value=text, key=key))
            count += 1
    for hook in walk(asked.access.store, Webhook, project=asked.project):
        key, _, text = hook.secret.partition(":")
        if key != keys.first.id:
            name = f"webhook {hook.id}"
            text, key = keys.encrypt(name, keys.decrypt(name, text, key))
            asked.access.store.replace(hook, msgspec.structs.replace(hook, secret=f"{key}:{text}"))
            count += 1
    asked.access.change(asked.who, "secret.rotate", "", project=asked.project, count=count)
    return respond(Rotated(count))


def keys_of(request: Request) -> Keys:
    """The keys of this server."""
    keys: Keys = request.app.state.keys
    return keys


def bound(project: str, name: str) -> str:
    """What a value is encrypted for: moved to another project or name, it cannot be read."""
    return f"{len(project)} {project} {name}"


def _maybe(asked: ProjectRequest, name: str) -> ServerSecret | None:
    found = asked.access.store.find(ServerSecret, project=asked.project, name=name, limit=1).items
    return found[0] if found else None
