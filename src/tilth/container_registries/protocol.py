"""What every container registry offers, and what all flavors share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tilth.oci.references import Reference, check_repository
from tilth.oci.registry import Registry
from tilth.stack.flavors import Finding, Flavor, S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.oci.credentials import Credentials
    from tilth.oci.layers import Compression
    from tilth.stack.flavors import Context

_PROBE = "tilth-check"  # a repository that nothing is ever put into


class ContainerRegistry(Protocol):
    """Where images are pushed to."""

    @property
    def host(self) -> str:
        """As references to its images begin."""
        ...

    @property
    def compression(self) -> Compression:
        """Of the layers of images that are made for it: what it and those who pull from it take."""
        ...

    def repository(self, name: str) -> str:
        """The repository for images of a name, its prefix before it, its host not."""
        ...

    def registry(self) -> Registry:
        """The client, logged in when it is asked to be. The same one each time."""
        ...

    def check(self) -> None:
        """Whether it answers, takes the login and, as far as can be asked, lets one push.

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
        compression: Of the layers of images that are made for it.
        made_by_push: Whether a repository is there as soon as something is pushed to it.
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
        made_by_push: bool = True,
        compression: Compression = "gzip",
    ) -> None:
        self.host = host
        self.compression = compression
        self._made_by_push = made_by_push
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
        """Begins an upload and takes it back: registries hand out a login to anybody, and refuse later."""
        self._registry.check()
        if self._made_by_push:
            self._registry.check_push(self.repository(_PROBE))


class RegistryFlavor(Flavor[S]):
    """What all flavors of container registries share."""

    type = "container_registry"

    def make(self, settings: S, context: Context) -> OciContainerRegistry:
        """The registry; nothing is connected."""
        raise NotImplementedError

    def check(self, settings: S, context: Context) -> Sequence[Finding]:
        """Whether it answers, takes the login and, as far as can be asked, lets one push."""
        registry = self.make(settings, context)
        try:
            registry.check()
            return [Finding(level="ok", what=f"registry `{registry.host}` answers and takes the login")]
        finally:
            registry.registry().close()
