"""Users, service accounts, and the tokens that stand for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound
from tilth.records import Moment
from tilth.records.access import AuditEntry, Member, Purpose, Role, Token, User
from tilth.server.api.login import attempts_of
from tilth.server.documents import accepts, answers, page_of, read, respond, respond_page
from tilth.server.passwords import hash_password, is_password
from tilth.server.requests import Account, Body, Who, access_of
from tilth.store import Delete, walk

router = APIRouter(tags=["users"])
_NAME_LONGEST = 100
_LONGEST = 320  # characters of an address (RFC 3696, erratum 1690)


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """A user, without what they log in with."""

    id: str
    name: str
    created_at: Moment
    service: bool
    admin: bool
    active: bool
    full_name: str
    email: str
    has_password: bool
    linked: bool  # to a login of the organisation

    @classmethod
    def of(cls, user: User) -> UserView:
        """What is told of a user."""
        told = {name: getattr(user, name) for name in cls.__struct_fields__ if hasattr(user, name)}
        return cls(**told, has_password=bool(user.password), linked=user.subject is not None)


class Me(msgspec.Struct, frozen=True):
    """Who asks, and what their token opens: everything of theirs when `project` and `run` are empty."""

    user: UserView
    purpose: Purpose
    project: str
    run: str
    expires_at: Moment | None
    token: str  # its id


class UserPage(msgspec.Struct, frozen=True):
    """Some of the users. `next` goes into `after` for the rest."""

    items: tuple[UserView, ...]
    next: str | None


class NewUser(msgspec.Struct, frozen=True):
    """A user to make. Without a password, the answer has the secret of a link that sets one."""

    name: str
    service: bool = False
    admin: bool = False
    full_name: str = ""
    email: str = ""
    password: str = ""


class MadeUser(msgspec.Struct, frozen=True):
    """A user that was made; `invite` is the secret of a link that sets their password, once."""

    user: UserView
    invite: str = ""


class ChangedUser(msgspec.Struct, frozen=True):
    """What is to change of a user; what is not given stays."""

    admin: bool | None = None
    active: bool | None = None
    full_name: str | None = None
    email: str | None = None
    password: str | None = None
    old_password: str | None = None  # needed for one's own


class NewKey(msgspec.Struct, frozen=True):
    """An API key to make, for oneself or, as an admin, for a service account."""

    name: str
    user: str = ""  # name; empty for oneself
    project: str = ""  # the only one it opens; empty for all of the user's
    days: int | None = None  # until it ends; None: never


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret."""

    id: str
    user: str  # name
    purpose: Purpose
    name: str
    beginning: str
    project: str
    created_at: Moment
    expires_at: Moment | None
    used_at: Moment | None


class TokenPage(msgspec.Struct, frozen=True):
    """Some of the logins and API keys, maybe none. `next` goes into `after` for the rest."""

    items: tuple[TokenView, ...]
    next: str | None


class MadeKey(msgspec.Struct, frozen=True):
    """An API key. `secret` is told once."""

    key: TokenView
    secret: str


@router.get("/me", summary="Who asks", responses=answers(Me))
def me(who: Who) -> Response:
    """And what their token opens."""
    token = who.token
    return respond(
        Me(UserView.of(who.user), token.purpose, token.project, token.run, token.expires_at, token.id)
    )


@router.get("/users", summary="List users", responses=answers(UserPage))
def find_users(
    request: Request,
    who: Who,
    name: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """For admins of the server; others see themselves."""
    if not who.is_admin:
        return respond(UserPage((UserView.of(who.user),), None))
    where = {"name": name} if name is not None else {}
    page = access_of(request).store.find(User, order="name", limit=limit, after=after, **where)
    return respond(UserPage(tuple(map(UserView.of, page)), page.next))


@router.post(
    "/users",
    summary="Make a user or a service account",
    status_code=201,
    openapi_extra=accepts(NewUser),
    responses=answers(MadeUser, 201, errors=[409]),
)
def add_user(request: Request, who: Who, body: Body) -> Response:
    """For admins of the server."""
    access = access_of(request)
    access.check_admin(who)
    told = read(body, NewUser)
    if not is_name(told.name):
        raise DefinitionError(
            f"`{told.name[:_NAME_LONGEST]}` is no name of a user",
            mend=f"give up to {_NAME_LONGEST} printable characters without spaces or slashes",
        )
    _check_lengths(full_name=told.full_name, email=told.email)
    if told.service and told.password:
        raise DefinitionError("a service account has no password", mend="make an API key for it")
    user = User(
        name=told.name,
        service=told.service,
        admin=told.admin,
        full_name=told.full_name,
        email=told.email,
        password=hash_password(told.password) if told.password else "",
    )
    try:
        access.store.add(user, access.entry(who, "user.create", user.name, admin=user.admin))
    except Conflict as error:
        raise Conflict(f"there is a user `{user.name}` already") from error
    invite = ""
    if not told.service and not told.password:  # made with no link, an admin may make one
        invite, _ = access.issue(user, Purpose.INVITE, lasts=timedelta(days=7))
    return respond(MadeUser(UserView.of(user), invite), status=201)


@router.patch(
    "/users/{name}",
    summary="Change a user",
    openapi_extra=accepts(ChangedUser),
    responses=answers(UserView, errors=[409]),
)
def change_user(request: Request, who: Account, name: str, body: Body) -> Response:
    """Admins of the server change everybody; a user their own name, address and password."""
    access, told = access_of(request), read(body, ChangedUser)
    user = _user(request, who, name)
    _check_lengths(full_name=told.full_name, email=told.email)
    own = user.id == who.user.id
    if not who.is_admin and (told.admin is not None or told.active is not None):
        raise AccessDenied("only an admin of the server may do this")
    if own and (told.admin is False or told.active is False):
        raise DefinitionError("you cannot take your own rights", mend="let another admin do it")
    changes: dict[str, object] = {
        field: value
        for field in ("admin", "active", "full_name", "email")
        if (value := getattr(told, field)) is not None
    }
    if told.password is not None:
        if user.service:
            raise DefinitionError("a service account has no password", mend="make an API key for it")
        if own and user.password:
            attempts = attempts_of(request)
            attempts.begin("password", who.address, user.name)
            if not is_password(user.password, told.old_password or ""):
                raise AccessDenied("the old password is wrong")
            attempts.succeeded("password", who.address, user.name)
        changes["password"] = hash_password(told.password)
    # Whoever knew the old password, or was shut out, is logged out.
    ended = (
        [each for each in _tokens(request, user) if each.id != who.token.id]
        if "password" in changes or told.active is False
        else []
    )
    changed = access.replace(
        user,
        msgspec.structs.replace(user, **changes),
        access.entry(who, "user.update", user.name, changed=sorted(changes)),
        *(
            Delete(Token, each.id)
            for each in ended
            if told.active is False or each.purpose in (Purpose.SESSION, Purpose.INVITE)
        ),
    )
    return respond(UserView.of(changed))


@router.delete("/users/{name}", summary="Delete a user", status_code=204, responses=answers(None, 204))
def delete_user(request: Request, who: Who, name: str) -> Response:
    """Their logins, API keys and memberships go too; what they did stays."""
    access = access_of(request)
    access.check_admin(who)
    user = _user(request, who, name)
    if user.id == who.user.id:
        raise DefinitionError("you cannot delete yourself", mend="let another admin do it")
    members = walk(access.store, Member, user=user.id)
    gone = [
        *(Delete(Token, each.id) for each in _tokens(request, user)),
        *(Delete(Member, each.id) for each in members),
    ]
    access.change(who, "user.delete", user.name, *gone, Delete(User, user.id))
    return Response(status_code=204)


@router.post(
    "/users/{name}/invite",
    summary="Make a link that sets a user's password",
    status_code=201,
    responses=answers(MadeUser, 201),
)
def invite(request: Request, who: Who, name: str) -> Response:
    """For admins of the server; good for seven days, and once."""
    access = access_of(request)
    access.check_admin(who)
    user = _user(request, who, name)
    if user.service:
        raise DefinitionError("a service account has no password", mend="make an API key for it")
    entry = access.entry(who, "user.invite", user.name)
    secret, _ = access.issue(user, Purpose.INVITE, lasts=timedelta(days=7), entry=entry)
    return respond(MadeUser(UserView.of(user), secret), status=201)


@router.get("/tokens", summary="List logins and API keys", responses=answers(TokenPage))
def find_tokens(
    request: Request,
    who: Account,
    user: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """One's own; as an admin of the server, those of any user."""
    owner = _user(request, who, user) if user else who.user
    page = access_of(request).store.find(Token, user=owner.id, limit=limit, after=after)
    shown = (Purpose.SESSION, Purpose.API_KEY)
    return respond(TokenPage(tuple(_view(each, owner) for each in page if each.purpose in shown), page.next))


@router.post(
    "/keys",
    summary="Make an API key",
    status_code=201,
    openapi_extra=accepts(NewKey),
    responses=answers(MadeKey, 201),
)
def add_key(request: Request, who: Account, body: Body) -> Response:
    """Its secret is told once."""
    access, told = access_of(request), read(body, NewKey)
    owner = _user(request, who, told.user) if told.user else who.user
    if told.days is not None and not 1 <= told.days <= 36_500:
        raise DefinitionError(f"`days` is {told.days}", mend="give a number from 1 to 36500")
    if told.project:
        access.check(who, told.project, Role.VIEWER)
    lasts = timedelta(days=told.days) if told.days is not None else None
    name = told.name[:200]
    entry = access.entry(who, "key.create", name, user=owner.name, project_of_key=told.project)
    secret, token = access.issue(
        owner, Purpose.API_KEY, name=name, lasts=lasts, project=told.project, entry=entry
    )
    return respond(MadeKey(_view(token, owner), secret), status=201)


@router.delete(
    "/tokens/{id}", summary="End a login or an API key", status_code=204, responses=answers(None, 204)
)
def delete_token(request: Request, who: Account, id: str) -> Response:  # noqa: A002
    """At once. One's own; as an admin of the server, anybody's."""
    access = access_of(request)
    token = access.store.get(Token, id)
    if token.user != who.user.id and not who.is_admin:
        raise NotFound(f"no token has the id `{id}`")
    access.change(who, "token.revoke", token.name or token.id, Delete(Token, token.id))
    return Response(status_code=204)


@router.get("/audit", summary="Who changed what, newest first", responses=answers(page_of(AuditEntry)))
def find_entries(
    request: Request,
    who: Who,
    project: str | None = None,
    user: str | None = None,
    action: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """For admins of the server, or of the project asked for."""
    access = access_of(request)
    if project is not None and not who.is_admin:
        access.check(who, project, Role.ADMIN)
    else:
        access.check_admin(who)
    given = {"project": project, "user": user, "action": action}
    where = {name: value for name, value in given.items() if value is not None}
    return respond_page(*access.store.find_rows(AuditEntry, limit=limit, after=after, where=where))


def is_name(text: str) -> bool:
    """Whether a user or project can be called this."""
    return (
        0 < len(text) <= _NAME_LONGEST
        and text.isprintable()
        and text.strip() == text
        and not set(text) & set("/\\ ")
        and text not in (".", "..")
    )


def _check_lengths(**given: str | None) -> None:
    for name, text in given.items():
        if text is not None and (len(text) > _LONGEST or not text.isprintable()):
            raise DefinitionError(
                f"`{name}` cannot be used", mend=f"give up to {_LONGEST} printable characters"
            )


def _user(request: Request, who: Who, name: str) -> User:
    found = access_of(request).store.find(User, name=name, limit=1).items
    if not found or (found[0].id != who.user.id and not who.is_admin):
        raise NotFound(f"no user `{name}`")
    return found[0]


def _tokens(request: Request, user: User) -> list[Token]:
    return list(walk(access_of(request).store, Token, user=user.id))


def _view(token: Token, owner: User) -> TokenView:
    told = {name: getattr(token, name) for name in TokenView.__struct_fields__ if name != "user"}
    return TokenView(user=owner.name, **told)
