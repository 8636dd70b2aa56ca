"""Webhooks: runs of snapshots that another program asks for by a signed request."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timezone
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response

from tilth.errors import (
    AccessDenied,
    Conflict,
    DefinitionError,
    LoginNeeded,
    NotFound,
    UnknownOption,
    nearest,
)
from tilth.records import Failure, Json, Moment, Snapshot, now
from tilth.records.launching import Launch, Webhook
from tilth.server.api.login import own_url
from tilth.server.api.schedules import Launches
from tilth.server.api.secrets import keys_of
from tilth.server.clock import start_for
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.launching import check_parameters, launches_of
from tilth.server.requests import Body, Editor, ProjectRequest, Viewer, access_of, queue_of
from tilth.store import Delete

router = APIRouter(tags=["webhooks"])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PATIENCE_S = 300  # how old a signed request may be, so that one that was overheard is worth nothing later


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A webhook to make. `allowed` names the parameters that a request may set."""

    name: str
    snapshot: str
    parameters: dict[str, Json] = {}
    allowed: tuple[str, ...] = ()


class ChangedWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to change of a webhook; what is not given stays. `active`: whether requests start runs."""

    active: bool | msgspec.UnsetType = msgspec.UNSET
    snapshot: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Json] | msgspec.UnsetType = msgspec.UNSET
    allowed: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook, without its secret."""

    id: str
    name: str
    snapshot: str
    parameters: dict[str, Json]
    allowed: tuple[str, ...]
    active: bool
    created_at: Moment
    used_at: Moment | None
    url: str


class WebhookPage(msgspec.Struct, frozen=True):
    """Some of a project's webhooks. `next` goes into `after` for the rest."""

    items: tuple[WebhookView, ...]
    next: str | None


class MadeWebhook(msgspec.Struct, frozen=True):
    """A webhook that was made. `secret` is told once: requests are signed with it."""

    webhook: WebhookView
    secret: str


class Call(msgspec.Struct, frozen=True):
    """What a request may say; everything else in it is left alone."""

    parameters: dict[str, Json] = {}


@router.get("/projects/{project}/webhooks", summary="List webhooks", responses=answers(WebhookPage))
def find_webhooks(
    request: Request,
    asked: Viewer,
    name: str | None = None,
    order: str = "name",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """Without their secrets."""
    where: dict[str, Any] = {} if name is None else {"name": name}
    page = asked.access.store.find(
        Webhook, order=order, limit=limit, after=after, project=asked.project, **where
    )
    return respond(WebhookPage(tuple(_view(request, each) for each in page), page.next))


@router.post(
    "/projects/{project}/webhooks",
    status_code=201,
    summary="Make a webhook",
    openapi_extra=accepts(NewWebhook),
    responses=answers(MadeWebhook, 201, errors=[409]),
)
def add_webhook(request: Request, asked: Editor, body: Body) -> Response:
    """Its runs have the rights of whoever makes it."""
    _not_for_runs(asked)
    told = read(body, NewWebhook)
    if not _NAME.fullmatch(told.name):
        raise DefinitionError(
            f"`{told.name[:100]}` is no name of a webhook",
            mend="give letters, digits, `.`, `_` and `-`, at most 100",
        )
    _check(asked, told)
    secret = f"tilth_hook_{secrets.token_urlsafe(32)}"
    webhook = Webhook(
        project=asked.project,
        name=told.name,
        snapshot=told.snapshot,
        secret="",
        user=asked.who.user.id,
        parameters=told.parameters,
        allowed=told.allowed,
    )
    text, key = keys_of(request).encrypt(f"webhook {webhook.id}", secret)
    webhook = msgspec.structs.replace(webhook, secret=f"{key}:{text}")
    entry = asked.access.entry(asked.who, "webhook.create", webhook.name, project=asked.project)
    try:
        asked.access.store.add(webhook, entry)
    except Conflict as error:
        raise Conflict(f"there is a webhook `{told.name}` already", mend="delete it first") from error
    return respond(MadeWebhook(_view(request, webhook), secret), status=201)


@router.patch(
    "/projects/{project}/webhooks/{name}",
    summary="Change, pause or resume a webhook",
    openapi_extra=accepts(ChangedWebhook),
    responses=answers(WebhookView, errors=[409]),
)
def change_webhook(request: Request, asked: Editor, name: str, body: Body) -> Response:
    """One that is paused refuses all requests. Its runs have the rights of whoever changed what they are."""
    _not_for_runs(asked)
    found, told = _found(asked, name), read(body, ChangedWebhook)
    given = {
        field: value
        for field in told.__struct_fields__
        if (value := getattr(told, field)) is not msgspec.UNSET
    }
    wanted = msgspec.structs.replace(found, **given)
    if given.keys() - {"active"}:
        _check(asked, wanted)
        wanted = msgspec.structs.replace(wanted, user=asked.who.user.id)
    entry = asked.access.entry(
        asked.who, "webhook.update", name, project=asked.project, changed=sorted(given)
    )
    return respond(_view(request, asked.access.replace(found, wanted, entry)))


@router.get(
    "/projects/{project}/webhooks/{name}/launches",
    summary="Runs that its last requests asked for, newest first",
    responses=answers(Launches),
)
def get_launches(asked: Viewer, name: str, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
    """Requests that were refused leave nothing here."""
    webhook = _found(asked, name)
    return respond(Launches(tuple(launches_of(asked.access.store, f"webhook {webhook.id} ", limit))))


@router.delete(
    "/projects/{project}/webhooks/{name}",
    summary="Delete a webhook",
    status_code=204,
    responses=answers(None, 204),
)
def delete_webhook(asked: Editor, name: str) -> Response:
    """Runs that it has asked for stay."""
    _not_for_runs(asked)
    found = _found(asked, name)
    asked.access.change(asked.who, "webhook.delete", name, Delete(Webhook, found.id), project=asked.project)
    return Response(status_code=204)


@router.post(
    "/hooks/{id}",
    status_code=202,
    summary="Start a run by a webhook",
    openapi_extra={**accepts(Call), "security": []},
    responses=answers(Launch, 202, errors=[409]),
)
def call(
    request: Request,
    id: str,  # noqa: A002
    body: Body,
    timestamp: Annotated[str, Header(alias="Tilth-Timestamp", description="Seconds since 1970.")] = "",
    signature: Annotated[
        str, Header(alias="Tilth-Signature", description="`sha256=` and the HMAC of `TIMESTAMP.BODY`.")
    ] = "",
    delivery: Annotated[
        str,
        Header(
            alias="Tilth-Delivery",
            description="The same one starts one run. It is signed too: `TIMESTAMP.DELIVERY.BODY`.",
        ),
    ] = "",
    github: Annotated[str, Header(alias="X-Hub-Signature-256", description="As GitHub signs.")] = "",
    github_delivery: Annotated[str, Header(alias="X-GitHub-Delivery")] = "",
) -> Response:
    """Signed with HMAC-SHA256 over time stamp and body, or as GitHub does it. Sent again, it starts no other run."""
    access = access_of(request)
    try:
        webhook = access.store.get(Webhook, id)
    except NotFound:
        raise LoginNeeded("this request is not signed by a webhook of this server") from None
    key, _, text = webhook.secret.partition(":")
    secret = keys_of(request).decrypt(f"webhook {webhook.id}", text, key).encode()
    if signature:
        # Nothing that is not signed makes it another request: with a new delivery, what was overheard would be one.
        whole = b".".join([*(each.encode() for each in (timestamp, delivery) if each), body])
        known = _is_new(timestamp) and _is_signed(secret, whole, signature)
        unique = delivery or hashlib.sha256(whole).hexdigest()
    else:
        # GitHub signs the body alone, no time and no delivery: the same body starts one run. Its bodies are JSON or
        # a form; what begins with a number was signed with a time stamp, and is not to come again by this way.
        known = bool(github_delivery) and not body[:1].isdigit() and _is_signed(secret, body, github)
        unique = hashlib.sha256(body).hexdigest()
    if not known:
        raise LoginNeeded(
            "this request is not signed by a webhook of this server",
            why=f"the signature is wrong, or older than {_PATIENCE_S} seconds",
        )
    if not webhook.active:
        raise AccessDenied(f"webhook `{webhook.name}` is paused")
    given = _parameters(webhook, body, theirs=bool(github and not signature))
    started = start_for(
        queue_of(request), webhook.project, webhook.snapshot, {**webhook.parameters, **given},
        f"webhook {webhook.name}", webhook.user, f"webhook {webhook.id} {unique[:200]}",
    )  # fmt: skip
    if isinstance(started, Failure):
        raise DefinitionError(started.message, mend=started.mend)
    with contextlib.suppress(Conflict, NotFound):  # noted by another call, or changed just now
        access.store.replace(webhook, msgspec.structs.replace(webhook, used_at=now()))
    return respond(started, status=202)


def _check(asked: ProjectRequest, told: NewWebhook | Webhook) -> None:
    newest = asked.store.find(Snapshot, name=told.snapshot, order="-version", limit=1).items
    if not newest:
        raise NotFound(
            f"no snapshot `{told.snapshot}`", mend="`tilth snapshots list` shows those that are there"
        )
    for each in told.allowed:
        if each not in newest[0].signature:
            raise UnknownOption(
                f"pipeline `{newest[0].pipeline}` has no parameter `{each}`",
                mend=nearest(each, newest[0].signature),
            )
    check_parameters(newest[0], told.parameters)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """What `Tilth-Signature` of a request has to be."""
    return f"sha256={hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def _is_signed(secret: bytes, text: bytes, signature: str) -> bool:
    wanted = f"sha256={hmac.new(secret, text, hashlib.sha256).hexdigest()}"
    return hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))


def _is_new(timestamp: str) -> bool:
    try:
        age = (now() - datetime.fromtimestamp(int(timestamp), timezone.utc)).total_seconds()
    except (ValueError, OverflowError, OSError):
        return False
    return abs(age) <= _PATIENCE_S


def _parameters(webhook: Webhook, body: bytes, *, theirs: bool) -> dict[str, Any]:
    if theirs or not body:
        return {}  # the body is another program's own
    given = read(body, Call).parameters
    if refused := sorted(given.keys() - set(webhook.allowed)):
        raise DefinitionError(
            f"webhook `{webhook.name}` lets no request set `{refused[0][:100]}`",
            why=f"it allows: {', '.join(webhook.allowed) or 'nothing'}",
        )
    return given


def _found(asked: ProjectRequest, name: str) -> Webhook:
    found = asked.access.store.find(Webhook, project=asked.project, name=name, limit=1).items
    if not found:
        raise NotFound(f"no webhook `{name}` in project `{asked.project}`")
    return found[0]


def _view(request: Request, webhook: Webhook) -> WebhookView:
    told = {name: getattr(webhook, name) for name in WebhookView.__struct_fields__ if name != "url"}
    return WebhookView(url=f"{own_url(request)}/api/v1/hooks/{webhook.id}", **told)


def _not_for_runs(asked: ProjectRequest) -> None:
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
