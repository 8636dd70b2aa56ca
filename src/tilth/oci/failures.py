"""What a registry's refusal means, in words. Decides only; nothing here talks to a registry.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tilth.errors import (
    ImageBroken,
    ImageNotFound,
    RegistryLacks,
    RegistryRefused,
    RegistryUnavailable,
    TilthError,
)
from tilth.oci.patience import Passing, asked_wait_s

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_REASON = 300
_MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})
_FULL = ("no space left on device", "enospc", "quota exceeded", "disk quota", "storage full")


class TooLarge(Exception):
    """A body was larger than something on the way lets through; `error` is what to raise if it cannot be smaller."""

    def __init__(self, error: TilthError) -> None:
        super().__init__(error.summary)
        self.error = error


class SessionLost(Exception):
    """The registry does not know the place of an upload any more."""


def reasons(body: bytes) -> list[tuple[str, str]]:
    """(code, text) of what a registry gives as its reasons; a body that is none gives one without a code."""
    try:
        told = json.loads(body)
        errors = told["errors"]
        return [(str(each.get("code") or ""), _text(each)) for each in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        text = " ".join(body.decode(errors="replace").split())
        return [("", text[:_LONGEST_REASON])] if text and not text.startswith("<") else []


def _text(error: Mapping[str, object]) -> str:
    message, detail = str(error.get("message") or ""), error.get("detail")
    plain = detail if isinstance(detail, str) else json.dumps(detail) if detail else ""
    return f"{message}: {plain}"[:_LONGEST_REASON] if plain else message[:_LONGEST_REASON]


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, host: str, asked: str, login: str
) -> TilthError | Passing:
    """What to raise for an answer that is none of those hoped for.

    Args:
        host: The registry, as the user knows it.
        asked: What it was asked, as `the manifest of …`.
        login: How to mend a login: a command, or whose settings.
    """
    told = reasons(body)
    codes = {code for code, _ in told}
    said = "; ".join(f"{code}: {text}" if code and text else code or text for code, text in told)
    why = f"it says: {said}" if said else f"it answers with {status} and no reason"
    if status == 429:  # first: `quota exceeded` is said of requests too
        error = RegistryRefused(
            f"registry `{host}` gets too many requests: it refused {asked}",
            why=why,
            mend=f"wait, or log in where limits are by user: {login}",
        )
        return Passing(error, wait_s=asked_wait_s(headers.get("retry-after", "")))
    everything = body[:100_000].decode(errors="replace").lower()
    if status == 507 or any(mark in everything for mark in _FULL):
        return RegistryRefused(
            f"registry `{host}` has no space left for {asked}",
            why=why,
            mend="make room there: delete images and collect its garbage, or give it a larger disk",
        )
    if status in _MAY_PASS:
        gone = RegistryUnavailable(
            f"registry `{host}` failed with {asked}: status {status}",
            why=why,
            mend="try again later; if it goes on, the registry's own log says what is wrong",
        )
        return Passing(gone, wait_s=asked_wait_s(headers.get("retry-after", "")))
    if status == 401:
        return RegistryRefused(f"registry `{host}` wants a login for {asked}", why=why, mend=login)
    if status == 403 or "DENIED" in codes:
        return RegistryRefused(
            f"registry `{host}` does not allow {asked}",
            why=why,
            mend=f"ask its owner for the right, or log in as somebody who has it: {login}",
        )
    if "DIGEST_INVALID" in codes or "SIZE_INVALID" in codes:
        return ImageBroken(
            f"registry `{host}` got other bytes than their digest says: {asked}",
            why=why,
            mend="try again; what is broken here is made or fetched anew when it is removed",
        )
    if status == 404 or codes & {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"}:
        return ImageNotFound(
            f"registry `{host}` does not have {asked}",
            why=why,
            mend="check the name; some registries also hide what one may not see: " + login,
        )
    if status == 413:
        return RegistryRefused(
            f"registry `{host}` takes nothing as large as {asked}",
            why=why,
            mend="raise the limit of the registry, or of the proxy before it (nginx: `client_max_body_size`)",
        )
    if status in (405, 501):
        return RegistryLacks(f"registry `{host}` does not do {asked}", why=why)
    return RegistryLacks(f"registry `{host}` refused {asked}: status {status}", why=why)


def sent_nowhere(host: str, why: str) -> RegistryRefused:
    """What to raise for an address by a registry that is none: of its tokens, or where an upload goes on."""
    return RegistryRefused(
        f"registry `{host}` sends to an address that is none",
        why=why,
        mend="check the registry's address; its owner, or that of a proxy before it, has to mend what it says",
    )


def interrupted(error: Exception, *, host: str, asked: str, spoken_to: str) -> TilthError:
    """What to raise for a connection that fails.

    Args:
        spoken_to: The host really connected to: registries send elsewhere for blobs.
    """
    kind = type(error).__name__
    said = str(error) or kind
    via = "" if spoken_to == host else f" (sent on to `{spoken_to}`)"
    if "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said:
        return RegistryUnavailable(
            f"the certificate of registry `{host}` cannot be trusted{via}",
            why=said.rsplit("] ", 1)[-1],
            mend=f"put the certificate of its authority into `/etc/docker/certs.d/{host}/ca.crt`, "
            "or name it in the setting `ca` of the container registry",
        )
    if "WRONG_VERSION_NUMBER" in said or "record layer failure" in said:
        return RegistryUnavailable(
            f"registry `{host}` does not speak TLS{via}",
            why=said,
            mend="if it is meant to be without, let the container registry's settings say `plain_http`",
        )
    if "Timeout" in kind:
        what = "cannot be reached in time" if "Connect" in kind else "does not answer in time"
        return RegistryUnavailable(
            f"registry `{host}` {what}{via}: {asked}",
            why=_READING.get(kind, said),
            mend="check the network between, and whether the registry is overloaded",
        )
    if kind in ("ConnectError", "ProxyError"):
        return RegistryUnavailable(
            f"registry `{host}` cannot be reached{via}: {asked}",
            why=said,
            mend="check its name and port, that it runs, and the network (and proxy) between",
        )
    return RegistryUnavailable(
        f"registry `{host}` broke the connection{via}: {asked}",
        why=said,
        mend="try again: what has arrived whole is not sent again",
    )


_READING = {
    "ReadTimeout": "it was silent for too long",
    "WriteTimeout": "it took nothing for too long",
    "ConnectTimeout": "no connection came about",
}
