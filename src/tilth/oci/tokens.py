"""What opens one registry at each request: nothing, a password, or a token for what is about to be done.

Source: https://distribution.github.io/distribution/spec/auth/token/ and /oauth/
"""

from __future__ import annotations

import base64
import re
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from tilth.errors import RegistryRefused, RegistryUnavailable
from tilth.oci.connections import is_loopback, load_httpx
from tilth.oci.failures import failure, interrupted, sent_nowhere
from tilth.oci.patience import Passing

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tilth.oci.credentials import Credentials, Login

Scopes = frozenset[tuple[str, str]]  # (repository, `pull`, `push` or `delete`)

_CLIENT = "tilth"
_SHORTEST_S = 60  # how long a token lives that does not say so
_MARGIN_S = 10


class Challenge(msgspec.Struct, frozen=True):
    """How a registry wants to be logged in to."""

    scheme: str  # `basic` or `bearer`
    realm: str = ""  # for `bearer`: where tokens are given out
    service: str = ""
    scopes: Scopes = frozenset()


class _Token(msgspec.Struct, frozen=True):
    value: str
    scopes: Scopes
    until: float  # by the monotonic clock


class Authorization:
    """The `Authorization` header of each request to one registry. Any number of threads may ask.

    Args:
        host: As credentials call it.
        mend: How the user mends a login that is refused.
    """

    def __init__(
        self,
        host: str,
        credentials: Credentials | None,
        mend: str,
        client: Callable[[], httpx.Client],
        *,
        plain: bool,
    ) -> None:
        self._host = host
        self._credentials = credentials
        self._mend = mend
        self._client = client
        self._plain = plain
        self._challenge: Challenge | None = None
        self._tokens: list[_Token] = []
        self._lock = threading.Lock()

    def header(self, scopes: Scopes) -> str:
        """For a request that needs these; empty as long as the registry has asked for nothing."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return ""
            if challenge.scheme == "basic":
                return _basic(self._login())
            return f"Bearer {self._token(challenge, scopes).value}"

    def learn(self, challenges: str, scopes: Scopes, refused: str) -> bool:
        """Take in why a request was refused with 401; gives whether another try may do better.

        Args:
            challenges: The header `WWW-Authenticate`.
            refused: The header that was sent.
        """
        challenge = parse_challenge(challenges)
        if challenge is None:
            return False
        with self._lock:
            if challenge.scheme == "bearer":
                self._check_realm(challenge)
                self._challenge = challenge
                self._tokens = [each for each in self._tokens if f"Bearer {each.value}" != refused]
                self._token(challenge, scopes | challenge.scopes)
                return True
            self._challenge = challenge
            header = _basic(self._login())
            return bool(header) and header != refused

    def why(self) -> str:
        """What is known about the login that was used, for an error."""
        login = self._login()
        if login is None or login.empty:
            return login.problem if login and login.problem else "there is no login for it on this machine"
        return "the login that is known for it was refused"

    def _login(self) -> Login | None:
        return self._credentials.login(self._host) if self._credentials else None

    def _token(self, challenge: Challenge, scopes: Scopes) -> _Token:
        now = time.monotonic()
        self._tokens = [each for each in self._tokens if each.until > now]
        for each in self._tokens:
            if scopes <= each.scopes:
                return each
        token = self._fetch(challenge, scopes)
        self._tokens.append(token)
        return token

    def _fetch(self, challenge: Challenge, scopes: Scopes) -> _Token:
        """A new token. An identity token is exchanged by POST, a password by GET, as Docker does."""
        login = self._login()
        asked = f"access to {_named(scopes)}"
        fields: dict[str, Any] = {"service": challenge.service} if challenge.service else {}
        if scopes:
            fields["scope"] = spell(scopes)
        realm_host = urlsplit(challenge.realm).netloc
        httpx = load_httpx()
        try:
            if login is not None and login.token:
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": login.token,
                    "client_id": _CLIENT,
                    **fields,
                    "scope": " ".join(fields.get("scope", [])),
                }
                answer = self._client().post(challenge.realm, data=form)
            else:
                basic = _basic(login)
                headers = {"Authorization": basic} if basic else {}
                if login is not None and login.user:
                    fields["account"] = login.user
                fields["client_id"] = _CLIENT
                answer = self._client().get(challenge.realm, params=fields, headers=headers)
        except httpx.TransportError as error:
            raise Passing(interrupted(error, host=self._host, asked=asked, spoken_to=realm_host)) from error
        if answer.status_code != 200:
            self._raise(answer, asked)
        return self._read(answer, scopes, realm_host)

    def _raise(self, answer: httpx.Response, asked: str) -> None:
        raised = failure(
            401 if answer.status_code in (400, 401, 403) else answer.status_code,
            answer.headers,
            answer.content,
            host=self._host,
            asked=asked,
            login=self._mend,
        )
        if isinstance(raised, RegistryRefused) and answer.status_code in (400, 401, 403):
            raised.why = f"{self.why()}\n{raised.why}".replace(
                "answers with 401", f"answers with {answer.status_code}"
            )
        raise raised

    def _read(self, answer: httpx.Response, scopes: Scopes, realm_host: str) -> _Token:
        try:
            told = answer.json()
            value = told.get("token") or told["access_token"]
            if not isinstance(value, str) or not value.isprintable():
                raise TypeError
            lives_s = max(float(told.get("expires_in") or _SHORTEST_S), _SHORTEST_S)
            age_s = _age_s(told.get("issued_at"), lives_s)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RegistryUnavailable(
                f"registry `{self._host}` gave no token that can be read",
                why=f"`{realm_host}`, which gives out its tokens, answers with something else",
                mend="check the registry's address; a proxy may have answered in its place",
            ) from None
        return _Token(value, scopes, time.monotonic() + max(lives_s - age_s - _MARGIN_S, 1))

    def _check_realm(self, challenge: Challenge) -> None:
        """A password goes nowhere in the open, whatever the registry says."""
        try:
            realm = urlsplit(challenge.realm)
        except ValueError as error:
            raise sent_nowhere(self._host, str(error)) from None
        open_ok = self._plain or is_loopback(realm.netloc)
        if realm.scheme == "https" or (realm.scheme == "http" and open_ok):
            return
        raise RegistryRefused(
            f"registry `{self._host}` wants its login where it would be sent in the open",
            why=f"its tokens are given out at `{realm.scheme}://{realm.netloc}`",
            mend="its owner has to set a realm that begins with `https://`",
        )


def parse_challenge(header: str) -> Challenge | None:
    """What a header `WWW-Authenticate` asks for; a token before a password when it takes both."""
    found = {match[1].lower(): match[2] for match in _SCHEME.finditer(header)}
    if "bearer" in found:
        fields = {key.lower(): value for key, value in _FIELD.findall(found["bearer"])}
        if fields.get("realm"):
            scopes = read_scopes(fields.get("scope", ""))
            return Challenge("bearer", fields["realm"], fields.get("service", ""), scopes)
    return Challenge("basic") if "basic" in found else None


_FIELD = re.compile(r'(\w+)="([^"]*)"')
_SCHEME = re.compile(r'(?:^|,)\s*(\w+)((?:[\s,]+\w+="[^"]*")*)', re.ASCII)


def spell(scopes: Scopes) -> list[str]:
    """`repository:NAME:pull,push` for each repository."""
    by_repository: dict[str, set[str]] = {}
    for repository, action in scopes:
        by_repository.setdefault(repository, set()).add(action)
    return [
        f"repository:{name}:{','.join(sorted(actions))}" for name, actions in sorted(by_repository.items())
    ]


def read_scopes(text: str) -> Scopes:
    """The scopes of repositories that a challenge names; other kinds are left out."""
    found = set()
    for each in text.split():
        kind, _, rest = each.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and name:
            found |= {(name, action) for action in actions.split(",") if action}
    return frozenset(found)


def _basic(login: Login | None) -> str:
    if login is None or not (login.user or login.password):
        return ""
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _named(scopes: Scopes) -> str:
    names = sorted({f"`{repository}`" for repository, _ in scopes})
    return ", ".join(names) or "itself"


def _age_s(issued_at: object, lives_s: float) -> float:
    """How old a token is; clocks that differ by more than its life say nothing."""
    if not isinstance(issued_at, str):
        return 0
    try:
        age = time.time() - datetime.fromisoformat(issued_at).timestamp()
    except ValueError:
        return 0
    return age if 0 <= age < lives_s else 0
