"""What another process needs to speak to a registry as this one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tilth.oci.credentials import FixedCredentials, Login

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.oci.registry import Registry


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One registry, and the login that it has now: one that lives for a while does so for a build."""

    host: str
    login: Login | None = None
    authorities: str = ""  # certificates in PEM, beside those that a system trusts
    plain_http: bool | None = None
    insecure: bool = False
    login_hint: str = ""

    def __repr__(self) -> str:
        return f"Access({self.host!r}, …)"  # it would end in a log

    __str__ = __repr__

    def registry(self, folder: Path) -> Registry:
        """The client.

        Args:
            folder: Where the authorities are written, which are no secret; it has to last as long as the client.
        """
        from tilth.oci.registry import Registry

        given: dict[str, Any] = {}
        if self.login is not None:
            given["credentials"] = FixedCredentials.one(self.host, self.login)
        if self.authorities:
            given["ca"] = folder / f"{self.host.replace(':', '-')}.pem"
            given["ca"].write_text(self.authorities)
        return Registry(
            self.host,
            plain_http=self.plain_http,
            insecure=self.insecure,
            login_hint=self.login_hint,
            **given,
        )
