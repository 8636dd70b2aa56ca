"""The keys that secrets are encrypted with on a server: given as a variable, or in a file of its own."""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING

from tilth.errors import SetupError
from tilth.secrets.key import SecretKey, Undecipherable

if TYPE_CHECKING:
    from tilth.server.settings import ServerSettings

_BYTES = 32


class Keys:
    """The first key encrypts; each decrypts what it encrypted, until everything is encrypted with the first."""

    def __init__(self, keys: list[SecretKey]) -> None:
        self.first = keys[0]
        self._by_id = {each.id: each for each in keys}

    def encrypt(self, name: str, value: str) -> tuple[str, str]:
        """A value as text, and the id of the key."""
        return self.first.encrypt(name, value), self.first.id

    def decrypt(self, name: str, text: str, key: str) -> str:
        """What `encrypt` was given.

        Raises:
            SetupError: Its key is not here, or what is kept was changed.
        """
        found = self._by_id.get(key)
        if found is None:
            raise SetupError(
                "a secret of the server cannot be read: its key is not here",
                why=f"it was encrypted with key {key}",
                mend="put that key behind the first one in `TILTH_SERVER_SECRETS_KEY`, or set the secret again",
            )
        try:
            return found.decrypt(name, text)
        except Undecipherable:
            raise SetupError(
                "a secret of the server cannot be read: what is kept was changed", mend="set it again"
            ) from None


def open_keys(settings: ServerSettings) -> Keys:
    """The keys that the settings name; a file with one is made where they name none.

    Raises:
        SetupError: One is no key, or the file cannot be read or made.
    """
    if settings.secrets_key:
        return Keys([_key(each.strip()) for each in settings.secrets_key.split(",") if each.strip()])
    path = settings.key_file
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        text = base64.b64encode(os.urandom(_BYTES)).decode() + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(text)
        except FileExistsError:  # another server made it just now
            text = path.read_text("ascii")
        except OSError as error:
            raise _unusable(path, error) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from error
    return Keys([_key(each) for each in text.split()])


def _key(text: str) -> SecretKey:
    try:
        material = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        material = b""
    if len(material) != _BYTES:
        raise SetupError(
            "a key for the secrets of the server is no key",
            why=f"a key is {_BYTES} random bytes in base64",
            mend="make one with `openssl rand -base64 32`",
        )
    return SecretKey(material)


def _unusable(path: object, error: Exception) -> SetupError:
    return SetupError(
        f"the key for the secrets of the server cannot be read: {path}",
        why=getattr(error, "strerror", None) or str(error),
        mend="let the server read it, or give the key as `TILTH_SERVER_SECRETS_KEY`",
    )
