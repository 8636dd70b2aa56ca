"""A store of secrets, and a keyring that keeps what it is given for the length of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.home import Home
from tilth.secrets import Secrets, open_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keyring.backend import KeyringBackend


@pytest.fixture
def secrets(home: Path) -> Secrets:
    return open_secrets(Home(home))


@pytest.fixture
def keyring_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyringBackend]:
    """A backend as those of operating systems are, set as the one to use."""
    import keyring
    from keyring.backend import KeyringBackend
    from keyring.errors import PasswordDeleteError

    class Kept(KeyringBackend):
        priority = 5  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__()
            self.values: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.values.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.values[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            if self.values.pop((service, username), None) is None:
                raise PasswordDeleteError("not there")

    before = keyring.get_keyring()
    backend = Kept()
    keyring.set_keyring(backend)
    monkeypatch.setenv("TILTH_SECRET_STORE", "auto")
    yield backend
    keyring.set_keyring(before)
