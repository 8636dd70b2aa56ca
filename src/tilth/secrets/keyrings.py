"""The keyring of the operating system, through the package `keyring`, where it is installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from tilth.errors import SetupError, TilthError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEEP_NOTHING = ("keyring.backends.fail", "keyring.backends.null")
_RECOMMENDED = 1  # priority from which `keyring` itself calls a backend secure enough


class Keyring:
    """Keeps values under one service name."""

    def __init__(self, backend: Any, service: str) -> None:
        self._backend = backend
        self._service = service

    def get(self, name: str) -> str | None:
        """None when the keyring has none of this name."""
        with _explaining("answered"):
            value: str | None = self._backend.get_password(self._service, name)
        return value

    def set(self, name: str, value: str) -> None:
        with _explaining("took the value"):
            self._backend.set_password(self._service, name, value)

    def delete(self, name: str) -> None:
        """Also when it is not there any more."""
        from keyring.errors import PasswordDeleteError

        with _explaining("deleted it"), contextlib.suppress(PasswordDeleteError):
            self._backend.delete_password(self._service, name)


def find_keyring(service: str) -> Keyring | None:
    """The keyring of this machine, if it has one that is safe to use without being asked for."""
    backend = _backend()
    return Keyring(backend, service) if backend is not None and _priority(backend) >= _RECOMMENDED else None


def get_keyring(service: str) -> Keyring:
    """The keyring that `keyring` is configured for.

    Raises:
        SetupError: The package is missing, or has no keyring to use here.
    """
    backend = _backend()
    if backend is None:
        raise SetupError("the package `keyring` is not installed", mend="`pip install 'tilth[keyring]'`")
    kind = type(backend)
    if kind.__module__ in _KEEP_NOTHING:
        raise SetupError(
            "this machine has no keyring that can be used",
            why=f"`keyring` found only `{kind.__module__}.{kind.__qualname__}`, which keeps nothing",
            mend="`TILTH_SECRET_STORE=file` keeps secrets in an encrypted file; `keyring diagnose` tells more",
        )
    return Keyring(backend, service)


def _backend() -> Any:
    try:
        import keyring
    except ImportError:
        return None
    with _explaining("started"):
        return keyring.get_keyring()


def _priority(backend: Any) -> float:
    if type(backend).__module__ in _KEEP_NOTHING:
        return 0
    try:
        return float(backend.priority)
    except Exception:  # a backend that finds only now that it cannot work here
        return 0


@contextlib.contextmanager
def _explaining(done: str) -> Iterator[None]:
    """A keyring talks to other programs, which fail in ways of their own."""
    try:
        yield
    except (ImportError, TilthError):
        raise
    except Exception as error:
        raise SetupError(
            f"the keyring of this machine has not {done}",
            why=f"{type(error).__name__}: {error}".rstrip(": "),
            mend="unlock it; or `TILTH_SECRET_STORE=file` keeps secrets in an encrypted file",
        ) from error
