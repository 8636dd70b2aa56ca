"""Connections to one registry: its address, TLS and proxies. httpx is imported when the first is needed."""

from __future__ import annotations

import importlib
import ipaddress
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import SetupError
from tilth.oci.credentials import user_home
from tilth.oci.references import DOCKER_HUB

if TYPE_CHECKING:
    import ssl

    import httpx

    from tilth.oci.patience import Patience

_DOCKER_HUB_HOST = "registry-1.docker.io"
_MOST_CONNECTIONS = 16
_importing = threading.Lock()
# Where engines look for the certificates of a registry, in a folder by its name.
_CERTIFICATES = ("/etc/docker/certs.d", "/etc/containers/certs.d")
_OWN_CERTIFICATES = ".config/containers/certs.d"  # in the folder of the user


def load_httpx() -> Any:
    """The module, without the command line that comes with it: importing that takes two thirds of the time."""
    with _importing:  # a module that another thread imports is in `sys.modules` before it is whole
        if "httpx" in sys.modules:
            return importlib.import_module("httpx")
        # httpx goes on without its command line, as it does where what that needs is not installed.
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("httpx")
        finally:
            sys.modules.pop("httpx._main", None)


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` is this machine itself."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def endpoint(host: str) -> str:
    """The host that answers for a registry."""
    return _DOCKER_HUB_HOST if host == DOCKER_HUB else host


def certificate_folders(host: str) -> list[Path]:
    """Folders with certificates for a registry, as engines have them."""
    home = user_home()
    places = [*map(Path, _CERTIFICATES), *([home / _OWN_CERTIFICATES] if home else [])]
    folders = [place / host for place in places]
    return [folder for folder in folders if folder.is_dir()]


def authorities(host: str, *, ca: Path | None) -> str:
    """The certificates, in PEM, that a registry's is held against beside the system's.

    Raises:
        SetupError: A file of certificates cannot be read.
    """
    paths = [path for folder in certificate_folders(host) for path in sorted(folder.glob("*.crt"))]
    found = []
    for path in [*paths, ca] if ca else paths:
        try:
            found.append(path.read_text(encoding="ascii", errors="replace"))
        except OSError as error:
            raise _unreadable(path, host, error) from error
    return "\n".join(found)


def tls(host: str, *, ca: Path | None, insecure: bool) -> ssl.SSLContext:
    """What a registry's certificate is held against: the system's authorities, and the registry's own.

    Args:
        ca: A file of certificates in PEM.
        insecure: Trust whatever answers.

    Raises:
        SetupError: A file of certificates cannot be read.
    """
    import ssl

    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not (known := ssl.get_default_verify_paths()).cafile and not known.capath:
        import certifi  # Pythons that know no authorities: some on macOS and in slim containers

        context.load_verify_locations(certifi.where())
    folders = certificate_folders(host)
    authorities = [path for folder in folders for path in sorted(folder.glob("*.crt"))]
    for path in [*authorities, ca] if ca else authorities:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(path, host, error) from error
    for folder in folders:
        for path in sorted(folder.glob("*.cert")):
            try:
                context.load_cert_chain(path, path.with_suffix(".key"))
            except (OSError, ssl.SSLError) as error:
                raise _unreadable(path, host, error) from error
    return context


def open_client(host: str, context: ssl.SSLContext | None, patience: Patience) -> httpx.Client:
    """A pool of connections, to be used by any number of threads.

    Args:
        context: None for plain HTTP.
    """
    found = load_httpx()
    from tilth import __version__

    if context is None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made in a millisecond, trusts nobody
    client: httpx.Client = found.Client(
        verify=context,
        trust_env=not is_loopback(host),  # proxies; none is asked for this machine itself
        timeout=found.Timeout(patience.silence_s, connect=patience.connect_s, pool=None),
        limits=found.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS),
        headers={"User-Agent": f"tilth/{__version__}", "Accept-Encoding": "identity"},
    )
    return client


def _unreadable(path: Path, host: str, error: Exception) -> SetupError:
    return SetupError(
        f"the certificate `{path}` for registry `{host}` cannot be used",
        why=getattr(error, "strerror", None) or str(error),
        mend="it has to be a PEM file that you may read",
    )
