"""The key that secrets in the home folder are encrypted with, in a file of its own away from that folder."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import SetupError
from tilth.secrets.files import explained, write_aside
from tilth.settings import setting

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BYTES = 32  # AES-256
_NONCE = 12  # bytes, random: what NIST SP 800-38D recommends, good for 2^32 values under one key


class Undecipherable(Exception):
    """What is stored is not what was encrypted with this key for this name."""


class SecretKey:
    """Encrypts values, each bound to its name. `id` tells keys apart and tells nothing about this one."""

    def __init__(self, material: bytes) -> None:
        self._material = material
        self.id = hashlib.sha256(b"tilth secrets key\0" + material).hexdigest()[:16]

    def encrypt(self, name: str, value: str) -> str:
        """A value as text that only this key and this name turn back."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher().encrypt(nonce, value.encode(), _bound_to(name))
        return base64.b64encode(nonce + sealed).decode()

    def decrypt(self, name: str, text: str) -> str:
        """What `encrypt` was given.

        Raises:
            Undecipherable: The text was changed, or is another name's.
        """
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(text, validate=True)
            return self._cipher().decrypt(data[:_NONCE], data[_NONCE:], _bound_to(name)).decode()
        except (InvalidTag, ValueError) as error:
            raise Undecipherable from error

    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here for cost: 30 ms

        return AESGCM(self._material)


def key_path() -> Path:
    """Where the key is kept: nowhere near the home folder, so that a copy of that tells nothing."""
    given = setting("secrets_key")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs

    config = Path(platformdirs.user_config_dir("tilth", appauthor=False))
    if config == Path(platformdirs.user_data_dir("tilth", appauthor=False)):  # macOS: one folder for both
        config = config.with_name("tilth-keys")
    return config / "secrets.key"


def read_key(path: Path) -> SecretKey | None:
    """The key at `path`; None when there is none.

    Raises:
        SetupError: It is no key, cannot be read, or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explained(error, f"the key of the secrets cannot be read: {path}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SetupError(
                f"the key of the secrets is no file: {path}", mend="`TILTH_SECRETS_KEY` names a file"
            )
        if status.st_mode & 0o077:
            raise SetupError(
                f"others on this machine may read the key of the secrets: {path}",
                why=f"its mode is {stat.S_IMODE(status.st_mode):04o}, and must be 0600",
                mend=f"`chmod 600 {path}`; if anybody may have read it, set new secrets",
            )
        content = file.read(1 << 10)
    try:
        material = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        material = b""
    if len(material) != _BYTES:
        raise SetupError(
            f"the key of the secrets is damaged: {path}",
            why=f"it should be {_BYTES} bytes in base64",
            mend="put it back from a backup; or move it away, and set each secret again with `tilth secret set NAME`",
        )
    return SecretKey(material)


def make_key(path: Path, *, home: Path) -> SecretKey:
    """The key at `path`, made if there is none; whoever makes one at the same time gets the same.

    Raises:
        SetupError: It would lie in the home folder, or cannot be written.
    """
    found = read_key(path)
    if found is not None:
        return found
    if path.resolve().is_relative_to(home.resolve()):
        raise SetupError(
            f"the key of the secrets would lie in the home folder: {path}",
            why="whoever gets a copy of that folder would get the secrets with it",
            mend="set `TILTH_SECRETS_KEY` to a file elsewhere",
        )
    content = base64.b64encode(os.urandom(_BYTES)) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_aside(path, content, replace=False)
    except OSError as error:
        raise explained(error, f"the key of the secrets cannot be written: {path}") from error
    made = read_key(path)
    assert made is not None
    return made


def _bound_to(name: str) -> bytes:
    return b"tilth secret 1\0" + name.encode()
