"""An OpenID Connect provider: where it sends browsers, and who it says has logged in.

Source: OpenID Connect Core 1.0, section 3.1 (authorization code flow); RFC 7636 (PKCE).
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from tilth.errors import TilthError

# What only the provider can sign with: a key that both know would let this server's secret forge logins.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_KEPT_S = 3600.0  # how long what the provider tells of itself is believed
_LEEWAY_S = 60  # by which its clock may differ


class ProviderFailed(TilthError):
    """The provider does not answer, or says what cannot be believed."""

    status = 502


class Provider:
    """A provider, and this server as its client."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, scopes: str) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._secret = client_secret
        self._scopes = scopes
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._until = 0.0

    def login_url(self, *, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser logs in; `back` is where it returns to.

        Raises:
            ProviderFailed: The provider does not tell.
        """
        return str(
            prepare_grant_uri(
                self._metadata()["authorization_endpoint"],
                self._client_id,
                "code",
                redirect_uri=back,
                scope=self._scopes,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def claims(self, *, code: str, back: str, nonce: str, verifier: str) -> dict[str, Any]:
        """Who has logged in: the checked claims of the ID token, and those that the provider tells beside it.

        Raises:
            ProviderFailed: It refuses the code, or its token is not for this login.
        """
        told = self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": verifier,
            "client_id": self._client_id,
        }
        methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = None
        if self._secret and "client_secret_basic" in methods:
            basic = httpx.BasicAuth(self._client_id, self._secret)
        elif self._secret:
            form["client_secret"] = self._secret
        answer = _ask("POST", told["token_endpoint"], data=form, auth=basic)
        claims = self._checked(str(answer.get("id_token", "")), nonce)
        place, token = told.get("userinfo_endpoint"), answer.get("access_token")
        if place and token:
            more = _ask("GET", place, headers={"Authorization": f"Bearer {token}"})
            if more.get("sub") != claims["sub"]:
                raise _unbelievable("it tells of another user than its token")
            claims = {**more, **claims}
        return claims

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            try:
                found = jwt.decode(token, self._key_set(), algorithms=_ALGORITHMS)
            except InvalidKeyIdError:  # it signs with another key since
                found = jwt.decode(token, self._key_set(again=True), algorithms=_ALGORITHMS)
            registry.validate(found.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _unbelievable(str(error)) from error
        claims = dict(found.claims)
        audience = claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", self._client_id) != self._client_id or (several and "azp" not in claims):
            raise _unbelievable("its token is for another client")
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _unbelievable("its token names nobody")
        return claims

    def _metadata(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() > self._until:
                told = _ask("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if told.get("issuer") != self.issuer:
                    raise _unbelievable(f"it calls itself `{str(told.get('issuer'))[:200]}`")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    if not isinstance(told.get(name), str):
                        raise _unbelievable(f"it tells no `{name}`")
                self._told, self._keys, self._until = told, None, time.monotonic() + _KEPT_S
            return self._told

    def _key_set(self, *, again: bool = False) -> KeySet:
        told = self._metadata()
        with self._lock:
            if self._keys is None or again:
                self._keys = KeySet.import_key_set(_ask("GET", told["jwks_uri"]))  # type: ignore[arg-type]
            return self._keys


def _ask(method: str, url: str, **more: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(
            method, url, timeout=10, headers={"Accept": "application/json", **more.pop("headers", {})}, **more
        )
        told = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderFailed(
            "the provider of logins does not answer",
            why=str(error) or type(error).__name__,
            mend="see `TILTH_SERVER_OIDC_ISSUER` on the server",
        ) from error
    if answer.is_error or not isinstance(told, dict):
        # Its own words, which name no secret; never the request.
        why = f"{told.get('error', '')} {told.get('error_description', '')}" if isinstance(told, dict) else ""
        raise ProviderFailed(
            f"the provider of logins refused, with status {answer.status_code}", why=why.strip()[:500]
        )
    return told


def _unbelievable(why: str) -> ProviderFailed:
    return ProviderFailed("the provider of logins says what cannot be believed", why=why)
