"""Logging in by an OpenID Connect provider. For browsers: what fails is told by the page of the login."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from tilth.errors import Conflict, NotFound, SetupError, TilthError
from tilth.records import now
from tilth.records.access import Token, User
from tilth.server.access import Principal
from tilth.server.api.login import note_failed, own_url, set_session
from tilth.server.api.secrets import keys_of
from tilth.server.api.users import is_name
from tilth.server.requests import access_of, account, address_of, is_secure

if TYPE_CHECKING:
    from tilth.server.oidc import Provider

logger = logging.getLogger("tilth.server")
router = APIRouter(prefix="/oidc", include_in_schema=False)
_COOKIE = "tilth_oidc"
_PATH = "/api/v1/oidc"
_LASTS_S = 600
_BOUND = "oidc login"  # what the cookie is encrypted for
# Longer ones make a cookie that no browser keeps.
_PAGE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,1000}")
_CODE = re.compile(r"[A-Z]{4}-[A-Z]{4}")


class _Begun(msgspec.Struct):
    """A login that was begun in a browser, as its cookie keeps it, encrypted by this server."""

    state: str
    nonce: str
    verifier: str
    until: float
    code: str = ""  # of a device to be let in afterwards
    next: str = ""  # page of this server that is gone to afterwards
    user: str = ""  # id of who is logged in already, and links a login to themselves
    token: str = ""  # id of the token that showed it


class _Refused(Exception):
    """A login that is not to be; the page says why by its word."""


@router.get("/login")
def begin(request: Request, code: str = "", link: bool = False, next: str = "") -> Response:  # noqa: A002
    """To the provider. `link`: whoever is logged in here is to be known by that login from now on."""
    provider = _provider(request)
    begun = _Begun(
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(48),
        time.time() + _LASTS_S,
    )
    begun.code = code if _CODE.fullmatch(code) else ""
    begun.next = next if _PAGE.fullmatch(next) else ""
    if link:  # the cookie of a session goes with no request that another site began
        who = account(request)
        begun.user, begun.token = who.user.id, who.token.id
    try:
        url = provider.login_url(
            back=_back(request), state=begun.state, nonce=begun.nonce, verifier=begun.verifier
        )
    except TilthError as error:
        return _to_page("provider", error)
    response = RedirectResponse(url, status_code=303)
    text, key = keys_of(request).encrypt(_BOUND, msgspec.json.encode(begun).decode())
    response.set_cookie(
        _COOKIE,
        f"{key}:{text}",
        max_age=_LASTS_S,
        path=_PATH,
        httponly=True,
        samesite="lax",  # it has to come back from the provider
        secure=is_secure(request),
    )
    return response


@router.get("/callback")
def end(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
    """Back from the provider."""
    begun = _begun(request)
    if begun is None or not secrets.compare_digest(begun.state.encode(), state.encode()):
        return _to_page("expired")
    if error or not code:
        return _to_page("denied")
    try:
        claims = _provider(request).claims(
            code=code, back=_back(request), nonce=begun.nonce, verifier=begun.verifier
        )
        user = _user(request, begun, claims)
    except _Refused as refused:
        return _to_page(str(refused))
    except TilthError as failed:
        return _to_page("provider", failed)
    # The page of the login goes on to the next one: what comes from the provider brings no cookie yet.
    after = f"/login?next={quote(begun.next, safe='')}" if begun.next else "/login"
    response = RedirectResponse(f"/device?code={begun.code}" if begun.code else after, status_code=303)
    response.delete_cookie(_COOKIE, path=_PATH)
    set_session(request, response, user, "browser")
    return response


def _user(request: Request, begun: _Begun, claims: dict[str, Any]) -> User:
    access, settings = access_of(request), access_of(request).settings
    subject = f"{settings.oidc_issuer} {claims['sub']}"
    known = access.store.find(User, subject=subject, limit=1).items
    if begun.user:
        return _linked(request, begun, subject, known[0] if known else None)
    if known:
        if not known[0].active or known[0].service:
            note_failed(request, known[0].name)
            raise _Refused("unknown")
        return known[0]
    name = str(claims.get(settings.oidc_name_claim) or "")
    if not settings.oidc_create_users or not is_name(name):
        note_failed(request, name, subject_of=subject[:500])
        raise _Refused("unknown")
    full_name, email = (str(claims.get(each) or "")[:320] for each in ("name", "email"))
    made = User(name=name, full_name=full_name, email=email, subject=subject)
    try:
        # Never an existing user of that name: whoever chose it at the provider would get what is theirs.
        entry = access.entry(None, "user.create", name, address=address_of(request), oidc=True)
        access.store.add(made, entry)
    except Conflict:
        raise _Refused("taken") from None
    return made


def _linked(request: Request, begun: _Begun, subject: str, known: User | None) -> User:
    access = access_of(request)
    try:
        token, user = access.store.get(Token, begun.token), access.store.get(User, begun.user)
    except NotFound:  # logged out meanwhile
        raise _Refused("expired") from None
    over = token.expires_at is not None and token.expires_at <= now()
    if token.user != user.id or not user.active or over:
        raise _Refused("expired")
    if known is not None and known.id != user.id:
        raise _Refused("linked")
    who = Principal(user, token, address_of(request))
    if user.subject != subject:
        linked = msgspec.structs.replace(user, subject=subject)
        try:
            user = access.replace(user, linked, access.entry(who, "user.link", user.name))
        except Conflict:
            raise _Refused("linked") from None
    return user


def _begun(request: Request) -> _Begun | None:
    key, _, text = request.cookies.get(_COOKIE, "").partition(":")
    try:
        begun = msgspec.json.decode(keys_of(request).decrypt(_BOUND, text, key), type=_Begun)
    except (SetupError, ValueError, json.JSONDecodeError):
        return None
    return begun if begun.until > time.time() else None


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise NotFound("this server has no provider of logins", mend="set `TILTH_SERVER_OIDC_ISSUER` there")
    return provider


def _back(request: Request) -> str:
    return f"{own_url(request)}{_PATH}/callback"


def _to_page(word: str, error: TilthError | None = None) -> Response:
    if error is not None:
        logger.warning("a login by the provider failed: %s: %s", error.summary, error.why)
    response = RedirectResponse(f"/login?failed={word}", status_code=303)
    response.delete_cookie(_COOKIE, path=_PATH)
    return response
