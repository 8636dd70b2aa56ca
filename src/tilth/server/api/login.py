"""Logging in and out: by password, by a device's code, and by a link that sets a password."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from tilth.errors import AccessDenied, Conflict, LoginNeeded, NotFound
from tilth.records import Moment, now
from tilth.records.access import DeviceLogin, Purpose, Token, User
from tilth.server.access import DEVICE_LASTS
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.passwords import digest_of, hash_password, is_password
from tilth.server.requests import (
    COOKIE,
    Account,
    Body,
    ShortBody,
    Who,
    access_of,
    address_of,
    is_own_page,
    is_secure,
)
from tilth.store import Delete, walk

if TYPE_CHECKING:
    from tilth.server.access import Access, Principal
    from tilth.server.limits import Attempts

router = APIRouter(tags=["login"])
pages = APIRouter(include_in_schema=False)
_PAGES = Path(__file__).parents[1] / "pages"
_OPEN: dict[str, list[object]] = {"security": []}
_POLL_S = 2
# Without vowels, so that no words come of it, and without what is mistaken for something else (RFC 8628, 6.1).
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


class Login(msgspec.Struct, frozen=True):
    """A name and its password. With `cookie`, the answer sets a cookie and tells no token."""

    name: str
    password: str
    client: str = ""  # the machine or program that logs in
    cookie: bool = False


class LoggedIn(msgspec.Struct, frozen=True):
    """A token, told once; empty when a cookie was asked for."""

    token: str
    user: str
    expires_at: Moment | None


class NewPassword(msgspec.Struct, frozen=True):
    """A password for the user of a link."""

    secret: str  # of the link
    password: str


class DeviceAsked(msgspec.Struct, frozen=True):
    """A machine without a browser that wants to log in."""

    client: str = ""


class DeviceCode(msgspec.Struct, frozen=True):
    """What a machine polls with, and what its person types in a browser (RFC 8628, section 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int  # seconds
    interval: int  # seconds between two polls


class DevicePoll(msgspec.Struct, frozen=True):
    """A machine that asks whether its login was granted."""

    device_code: str


class DeviceAnswer(msgspec.Struct, frozen=True):
    """A login once it is granted; None while nobody has answered."""

    login: LoggedIn | None


class DeviceGrant(msgspec.Struct, frozen=True):
    """A person's answer to a machine that wants to log in as them."""

    user_code: str
    grant: bool = True


@router.post(
    "/login",
    summary="Log in with a password",
    openapi_extra={**accepts(Login), **_OPEN},
    responses=answers(LoggedIn, errors=[429]),
)
def log_in(request: Request, body: ShortBody) -> Response:
    """Failed logins are counted, by name and by address."""
    told, access = read(body, Login), access_of(request)
    if told.cookie and "origin" in request.headers and not is_own_page(request):
        # A form elsewhere would log its victim in as whom it likes, and read what they do then.
        raise AccessDenied("a page of another origin may not log in")
    attempts, address = attempts_of(request), address_of(request)
    attempts.begin("password", address, told.name)
    found = access.store.find(User, name=told.name, limit=1).items
    user = found[0] if found else None
    right = is_password(user.password if user else "", told.password)
    if user is None or not right or not user.active or user.service:
        note_failed(request, told.name)
        raise LoginNeeded("name or password are wrong")
    attempts.succeeded("password", address, told.name)
    return _session(request, user, told.client, cookie=told.cookie)


@router.post("/logout", summary="End this login", status_code=204, responses=answers(None, 204))
def log_out(request: Request, who: Who) -> Response:
    """The token is worth nothing from now on."""
    access = access_of(request)
    access.change(who, "logout", who.user.name, Delete(Token, who.token.id), purpose=who.token.purpose.value)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


@router.post(
    "/password",
    summary="Set a password by a link",
    openapi_extra={**accepts(NewPassword), **_OPEN},
    responses=answers(LoggedIn, errors=[409, 429]),
)
def set_password(request: Request, body: ShortBody) -> Response:
    """A link is good once; the logins that the user had before end."""
    told, access = read(body, NewPassword), access_of(request)
    attempts, address = attempts_of(request), address_of(request)
    attempts.begin("link", address)
    token = _link(access, told.secret)
    password = hash_password(told.password)
    user = access.store.get(User, token.user)
    _link(access, told.secret)  # used since the user was read, it has changed them, and `replace` refuses
    entry = access.entry(None, "password.set", user.name, address=address)
    ended = [
        each
        for each in walk(access.store, Token, user=user.id)
        if each.purpose in (Purpose.SESSION, Purpose.INVITE)
    ]
    changed = access.replace(
        user,
        msgspec.structs.replace(user, password=password),
        entry,
        *(Delete(Token, each.id) for each in ended),
    )
    attempts.succeeded("link", address)
    return _session(request, changed, "link", cookie=False)


@router.post(
    "/device",
    summary="Ask to log in a machine without a browser",
    status_code=201,
    openapi_extra={**accepts(DeviceAsked), **_OPEN},
    responses=answers(DeviceCode, 201, errors=[429]),
)
def ask_device(request: Request, body: ShortBody) -> Response:
    """Source: RFC 8628, OAuth 2.0 Device Authorization Grant."""
    told, access = read(body, DeviceAsked), access_of(request)
    attempts_of(request).begin("device", address_of(request))
    access.sweep()
    for _ in range(10):
        code = secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        user_code = f"{letters[:4]}-{letters[4:]}"
        asked = DeviceLogin(
            digest=digest_of(code),
            user_code=user_code,
            client=told.client[:200],
            expires_at=now() + DEVICE_LASTS,
        )
        try:
            access.store.add(asked)
        except Conflict:
            continue
        where = f"{own_url(request)}/device?code={user_code}"
        return respond(
            DeviceCode(code, user_code, where, int(DEVICE_LASTS.total_seconds()), _POLL_S), status=201
        )
    raise Conflict("no code is free", mend="try again")


@router.post(
    "/device/token",
    summary="Whether a machine's login was granted",
    openapi_extra={**accepts(DevicePoll), **_OPEN},
    responses=answers(DeviceAnswer),
)
def poll_device(request: Request, body: ShortBody) -> Response:
    """Pending, a token once, or an error when it was denied or came too late."""
    told, access = read(body, DevicePoll), access_of(request)
    found = access.store.find(DeviceLogin, digest=digest_of(told.device_code), limit=1).items
    if not found or found[0].expires_at <= now():
        raise LoginNeeded("nobody granted this login in time", mend="start `tilth login` again")
    asked = found[0]
    if asked.denied:
        raise LoginNeeded("this login was denied")
    if not asked.user:
        return respond(DeviceAnswer(None))
    user = access.store.get(User, asked.user)
    if not access.store.take(asked) or not user.active:  # another poll was quicker
        raise LoginNeeded("this login was granted once, and is over", mend="start `tilth login` again")
    _, login = _logged_in(request, user, asked.client)
    return respond(DeviceAnswer(login))


@router.get(
    "/device/{user_code}",
    summary="Which machine wants to log in",
    responses=answers(DeviceAsked, errors=[429]),
)
def which_device(request: Request, who: Account, user_code: str) -> Response:
    """What is shown to the person before they grant it."""
    return respond(DeviceAsked(_asked(request, who, user_code).client))


@router.post(
    "/device/grant",
    summary="Grant or deny a machine's login",
    status_code=204,
    openapi_extra=accepts(DeviceGrant),
    responses=answers(None, 204, errors=[409, 429]),
)
def grant_device(request: Request, who: Account, body: Body) -> Response:
    """It logs in as whoever grants it."""
    told, access = read(body, DeviceGrant), access_of(request)
    asked = _asked(request, who, told.user_code)
    changed = msgspec.structs.replace(asked, user=who.user.id if told.grant else "", denied=not told.grant)
    access.replace(
        asked, changed, access.entry(who, "device.grant" if told.grant else "device.deny", asked.client)
    )
    return Response(status_code=204)


def _asked(request: Request, who: Principal, user_code: str) -> DeviceLogin:
    """The login of a machine by its code. Wrong codes are counted: somebody else's may not be guessed."""
    attempts = attempts_of(request)
    attempts.begin("code", who.address, who.user.id)
    found = access_of(request).store.find(DeviceLogin, user_code=user_code.strip().upper(), limit=1).items
    if not found or found[0].expires_at <= now() or found[0].user or found[0].denied:
        raise NotFound("no login waits with this code", mend="start `tilth login` again")
    attempts.succeeded("code", who.address, who.user.id)
    return found[0]


def _link(access: Access, secret: str) -> Token:
    found = access.store.find(Token, digest=digest_of(secret), limit=1).items
    token = found[0] if found else None
    if (
        token is None
        or token.purpose is not Purpose.INVITE
        or (token.expires_at and token.expires_at <= now())
    ):
        raise NotFound("this link is good no more", mend="ask an admin for another")
    return token


def attempts_of(request: Request) -> Attempts:
    """What was tried too often, or will be."""
    attempts: Attempts = request.app.state.attempts
    return attempts


def note_failed(request: Request, name: str, **details: str) -> None:
    """Write a failed login down; of one address the first ones, so that it cannot fill the log with them."""
    access, address = access_of(request), address_of(request)
    if attempts_of(request).is_news("login", address):
        access.store.add(access.entry(None, "login.fail", name[:200], address=address, **details))
    access.sweep()


def _logged_in(request: Request, user: User, client: str) -> tuple[str, LoggedIn]:
    """A new session: its secret, and what is told of it."""
    access = access_of(request)
    lasts = timedelta(days=access.settings.session_days)
    entry = access.entry(None, "login", user.name, address=address_of(request))
    access.sweep()
    secret, token = access.issue(user, Purpose.SESSION, name=client[:200], lasts=lasts, entry=entry)
    return secret, LoggedIn(secret, user.name, token.expires_at)


def _session(request: Request, user: User, client: str, *, cookie: bool) -> Response:
    secret, login = _logged_in(request, user, client)
    if not cookie:
        return respond(login)
    response = respond(msgspec.structs.replace(login, token=""))
    _keep(request, response, secret)
    return response


def set_session(request: Request, response: Response, user: User, client: str) -> None:
    """Begin a session of a user, in the cookie of an answer."""
    _keep(request, response, _logged_in(request, user, client)[0])


def _keep(request: Request, response: Response, secret: str) -> None:
    settings = access_of(request).settings
    response.set_cookie(
        COOKIE,
        secret,
        max_age=settings.session_days * 86_400,
        httponly=True,
        samesite="strict",
        secure=is_secure(request),
    )


def own_url(request: Request) -> str:
    """The address of this server, as browsers have it."""
    settings = access_of(request).settings
    return settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")


@pages.get("/login")
@pages.get("/device")
@pages.get("/invite")
async def page() -> Response:
    """The page with the form of its address."""
    return FileResponse(_PAGES / "page.html")


@pages.get("/docs")
async def api_page() -> Response:
    """The API, from its OpenAPI. Of our own: others' scripts would have the login of whoever looks at it."""
    return FileResponse(_PAGES / "docs.html")


@pages.get("/pages/{name}")
async def page_part(name: Literal["page.css", "page.js", "docs.css", "docs.js"]) -> Response:
    """How pages look, and what they do."""
    return FileResponse(_PAGES / name)
