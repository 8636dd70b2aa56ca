"""Logins that last for a while: got by a library or a program of the provider, and got again before they end."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import RegistryRefused
from tilth.oci.credentials import FixedCredentials, Login, docker_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.oci.credentials import Credentials

_MARGIN_S = 120
_TIMEOUT_S = 60


class Lasting(msgspec.Struct, frozen=True):
    """A login, and how long it lasts from now on, in seconds."""

    login: Login
    lasts_s: float


class ExpiringCredentials:
    """The login of one registry, got when first asked for and again before it ends."""

    def __init__(self, host: str, get: Callable[[], Lasting]) -> None:
        self._host = host
        self._get = get
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._until = 0.0

    def login(self, registry: str) -> Login | None:
        """The login as it is now; that of another registry is not known here."""
        if registry != self._host:
            return None
        with self._lock:
            if self._login is None or time.monotonic() > self._until:
                lasting = self._get()
                self._login = lasting.login
                self._until = time.monotonic() + max(lasting.lasts_s - _MARGIN_S, 1)
            return self._login


def given_or_dockers(host: str, user: str, password: str, token: str = "") -> Credentials:
    """The login that settings give; without one what Docker's configuration knows."""
    if password or token:
        return FixedCredentials.one(host, Login(user, password, token))
    return docker_credentials()


def said_by(*command: str, host: str, mend: str) -> str | None:
    """What a program of the provider prints; None when it is not installed.

    Raises:
        RegistryRefused: It fails. What it printed on standard output is not told: it may hold the login.
    """
    found = shutil.which(command[0])
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise no_login(host, f"`{command[0]}` {type(error).__name__}", mend) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = (
            f"`{' '.join(command)}` failed: {lines[-1].strip() if lines else f'exit code {done.returncode}'}"
        )
        raise no_login(host, why, mend)
    return done.stdout.strip()


def dockers_login(host: str, *, lasts_s: float, missing: str, mend: str) -> Lasting:
    """What Docker's configuration knows, where nothing of the provider is installed.

    Args:
        lasts_s: How long a login of this provider lasts.
        missing: What would give one, as `boto3 nor `aws``.
    Raises:
        RegistryRefused: It knows none either.
    """
    login = docker_credentials().login(host)
    if login is not None and not login.empty:
        return Lasting(login, lasts_s)
    why = f"neither {missing} is installed, and Docker's configuration has no login for it"
    raise no_login(host, why, mend)


def no_login(host: str, why: str, mend: str) -> RegistryRefused:
    """What to raise when the provider gives no login."""
    return RegistryRefused(f"no login for registry `{host}` was given", why=why, mend=mend)
