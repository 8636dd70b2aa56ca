"""Names of secrets in an index in the home folder; their values beside them, encrypted, or in the keyring."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from tilth.define.environments import SECRET_NAME
from tilth.errors import DefinitionError, HomeTooNew, NotFound, SetupError, UnknownOption, nearest
from tilth.secrets.files import explained, locked, write_aside
from tilth.secrets.key import Undecipherable, key_path, make_key, read_key
from tilth.settings import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tilth.home import Home
    from tilth.secrets.keyrings import Keyring

_VERSION = 1
_STORES = ("auto", "file", "keyring")


@dataclass(frozen=True)
class Secret:
    """What may be told about a secret. Its value is none of it."""

    name: str
    set_at: datetime
    kept: Literal["file", "keyring", "server"]
    problem: str = ""  # why its value cannot be read, as far as that is known without reading it


_elsewhere: list[Callable[[Home], Secrets | None]] = []


def look_elsewhere(opener: Callable[[Home], Secrets | None]) -> None:
    """Have `open_secrets` ask this first: what knows of servers is above this package."""
    _elsewhere.append(opener)


def open_secrets(home: Home) -> Secrets:
    """The secrets of a home folder, or of the server that it is logged in at. Nothing is read or made before it is
    asked for."""
    for opener in _elsewhere:
        if (found := opener(home)) is not None:
            return found
    return Secrets(home.secrets)


class Secrets:
    """Secrets by name.

    Each is read from where it was put, whatever `TILTH_SECRET_STORE` says now: that decides where the next goes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> str:
        """The value of a secret.

        Raises:
            NotFound: It was never set, or the keyring has lost it.
            SetupError: Its key is gone, or what is stored is damaged.
        """
        index = self._read()
        entry = index["secrets"].get(name)
        if entry is None:
            again = f"`tilth secret set {name}` sets it"
            raise NotFound(f"there is no secret `{name}`", mend=nearest(name, index["secrets"], again))
        if "value" in entry:
            return self._decrypted(name, entry)
        value = _kept_in_keyring(index).get(name)
        if value is None:
            raise NotFound(
                f"secret `{name}` is not in the keyring of this machine any more",
                mend=f"`tilth secret set {name}`",
            )
        return value

    def set(self, name: str, value: str) -> Secret:
        """Keep a value under a name; one kept before is replaced."""
        _check(name, value)
        entry: dict[str, str] = {"set_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        with self._changing() as index:
            before = index["secrets"].get(name, {"value": ""})
            keyring = _chosen_keyring(index)
            if keyring is not None:
                keyring.set(name, value)
            else:
                key = make_key(key_path(), home=self._path.parent)
                entry |= {"key": key.id, "value": key.encrypt(name, value)}
            index["secrets"][name] = entry
        if "value" in entry and "value" not in before:
            with contextlib.suppress(SetupError):  # a keyring that is gone keeps what nobody asks for
                _kept_in_keyring(index).delete(name)
        return _secret(name, entry)

    def delete(self, *names: str) -> None:
        """Forget these, values and names.

        Raises:
            NotFound: One of them was never set; then all stay.
        """
        with self._changing() as index:
            for name in names:
                if name not in index["secrets"]:
                    raise NotFound(f"there is no secret `{name}`", mend=nearest(name, index["secrets"]))
            gone = {name: index["secrets"].pop(name) for name in dict.fromkeys(names)}
            in_keyring = [name for name, entry in gone.items() if "value" not in entry]
            if in_keyring:
                keyring = _kept_in_keyring(index)
                for name in in_keyring:
                    keyring.delete(name)

    def names(self) -> list[str]:
        """Of all secrets, sorted."""
        return sorted(self._read()["secrets"])

    def list(self) -> list[Secret]:
        """All secrets, sorted by name."""
        entries = sorted(self._read()["secrets"].items())
        if not any("value" in entry for _, entry in entries):
            return [_secret(name, entry) for name, entry in entries]
        key, problem = None, ""
        try:
            key = read_key(key_path())
        except SetupError as error:
            problem = error.summary
        return [
            _secret(name, entry, problem or ("" if key and key.id == entry["key"] else "its key is not here"))
            if "value" in entry
            else _secret(name, entry)
            for name, entry in entries
        ]

    def _decrypted(self, name: str, entry: Mapping[str, str]) -> str:
        path = key_path()
        key = read_key(path)
        if key is None or key.id != entry["key"]:
            raise SetupError(
                f"secret `{name}` cannot be read: its key is not here",
                why=f"{path} is another key" if key else f"there is no {path}",
                mend="put the key back, or let `TILTH_SECRETS_KEY` name it; "
                f"if it is lost, `tilth secret set {name}` replaces the secret",
            )
        try:
            return key.decrypt(name, entry["value"])
        except Undecipherable:
            raise SetupError(
                f"secret `{name}` cannot be read: what is stored was changed",
                why=f"in {self._path}",
                mend=f"put that file back from a backup, or replace the secret with `tilth secret set {name}`",
            ) from None

    def _read(self) -> dict[str, Any]:
        """The index. A file that is not as it should be is never written over."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {"version": _VERSION, "id": uuid.uuid4().hex, "secrets": {}}
        except OSError as error:
            raise explained(error, f"the secrets cannot be read: {self._path}") from error
        try:
            index = json.loads(content)
            version, entries = index["version"], index["secrets"]
            if version > _VERSION:
                raise HomeTooNew(
                    f"the secrets were written by a newer tilth: {self._path}",
                    mend="upgrade tilth",
                )
            parts = [index["id"], *entries]
            for entry in entries.values():
                datetime.fromisoformat(entry["set_at"])
                parts += [entry["key"], entry["value"]] if "value" in entry else []
            "".join(parts)  # raises for what is no text
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SetupError(
                f"the file of the secrets is damaged: {self._path}",
                why=str(error) if isinstance(error, ValueError) else "a part is missing",
                mend="put it back from a backup; or move it away, and set each secret again",
            ) from None
        found: dict[str, Any] = index
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The index, to be changed; written when the block ends well, while all others wait."""
        try:
            with locked(self._path.with_suffix(".lock")):
                index = self._read()
                yield index
                write_aside(self._path, json.dumps(index, indent=1, sort_keys=True).encode() + b"\n")
        except OSError as error:
            raise explained(error, f"the secrets cannot be written: {self._path}") from error


def _secret(name: str, entry: Mapping[str, str], problem: str = "") -> Secret:
    kept: Literal["file", "keyring"] = "file" if "value" in entry else "keyring"
    return Secret(name, datetime.fromisoformat(entry["set_at"]), kept, problem)


def _check(name: str, value: str) -> None:
    if not SECRET_NAME.fullmatch(name):
        # Without the text: somebody may have written the value into it, as `NAME=VALUE`.
        raise DefinitionError(
            "that is no name for a secret", mend="use letters, digits, hyphens, dots and underscores"
        )
    if not value:
        raise DefinitionError(f"the value of secret `{name}` is empty")
    if "\0" in value:
        raise DefinitionError(
            f"the value of secret `{name}` has a NUL character",
            why="secrets are given to steps as variables, which cannot hold it",
            mend="keep binary data in base64",
        )


def _chosen_keyring(index: Mapping[str, Any]) -> Keyring | None:
    """The keyring that a new secret goes into; None for the file."""
    wanted = setting("secret_store")
    if wanted not in _STORES:
        raise UnknownOption(f"`TILTH_SECRET_STORE` is `{wanted}`", mend=nearest(wanted, _STORES))
    if wanted == "file":
        return None
    from tilth.secrets.keyrings import find_keyring

    return _kept_in_keyring(index) if wanted == "keyring" else find_keyring(_service(index))


def _kept_in_keyring(index: Mapping[str, Any]) -> Keyring:
    from tilth.secrets.keyrings import get_keyring

    return get_keyring(_service(index))


def _service(index: Mapping[str, Any]) -> str:
    """Home folders share the keyring; their secrets may have the same names."""
    return f"tilth-{index['id']}"
