"""What every container registry offers, and what all flavors share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tilth.errors import DefinitionError
from tilth.oci.references import Reference, check_repository
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.oci.credentials import Credentials
    from tilth.secrets import Secrets

_SECRET = "secret:"  # noqa: S105 - how settings refer to one


class Context(Protocol):
    """What a flavor may ask for."""

    def open_secrets(self) -> Secrets:
        """The secrets of this machine."""
        ...


class ContainerRegistry(Protocol):
    """Where images are pushed to."""

    @property
    def host(self) -> str:
        """As references to its images begin."""
        ...

    def repository(self, name: str) -> str:
        """The repository for images of a name, its prefix before it, its host not."""
        ...

    def registry(self) -> Registry:
        """The client, logged in when it is asked to be. The same one each time."""
        ...

    def check(self) -> None:
        """Whether it answers and takes the login.

        Raises:
            RegistryUnavailable, RegistryRefused: It does not.
        """
        ...


class OciContainerRegistry:
    """A registry by its host.

    Args:
        prefix: Before each repository: an organisation, a project. May be empty.
        credentials: How one logs in there.
        login_hint: How the user mends a refused login.
        prepare: Called with each repository before the first push to it.
    """

    def __init__(
        self,
        host: str,
        *,
        prefix: str = "",
        credentials: Credentials,
        login_hint: str = "",
        ca: str = "",
        plain_http: bool | None = None,
        insecure: bool = False,
        prepare: Callable[[str], None] | None = None,
    ) -> None:
        self.host = host
        self._prefix = check_repository(prefix) if prefix else ""
        self._registry = Registry(
            host,
            credentials=credentials,
            ca=Path(ca).expanduser() if ca else None,
            plain_http=plain_http,
            insecure=insecure,
            login_hint=login_hint,
            prepare=prepare,
        )

    def repository(self, name: str) -> str:
        """`PREFIX/NAME`."""
        return check_repository(f"{self._prefix}/{name}" if self._prefix else name)

    def reference(self, name: str, tag: str) -> Reference:
        """`HOST/PREFIX/NAME:TAG`."""
        return Reference(self.host, self.repository(name)).tagged(tag)

    def registry(self) -> Registry:
        """The client, the same one each time."""
        return self._registry

    def check(self) -> None:
        """Whether it answers and takes the login."""
        self._registry.check()


def revealed(value: str, setting: str, context: Context) -> str:
    """The value of a setting that refers to a secret; empty stays empty.

    Raises:
        DefinitionError: It is a value, which would be stored where all can read it.
        NotFound: There is no such secret.
    """
    if not value:
        return ""
    if not value.startswith(_SECRET):
        raise DefinitionError(
            f"the setting `{setting}` of the container registry is not a reference to a secret",
            why="settings are kept where others can read them",
            mend=f"`tilth secret set NAME`, and then `{setting}=secret:NAME`",
        )
    return context.open_secrets().get(value.removeprefix(_SECRET))
