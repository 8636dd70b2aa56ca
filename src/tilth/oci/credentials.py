"""Who one is to a registry: logins given as they are, and those that Docker and Podman keep.

Source: https://docs.docker.com/reference/cli/docker/login/, containers-auth.json(5)
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tilth.errors import SetupError
from tilth.oci.references import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterable

_HELPER_TIMEOUT_S = 60
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers call whoever comes with an identity token


class Login(msgspec.Struct, frozen=True):
    """What opens a registry: a user with a password, or a token that is exchanged for others."""

    user: str = ""
    password: str = ""
    token: str = ""  # an identity token: exchanged where the registry says
    problem: str = ""  # why a login that should be there is not; told when the registry refuses

    def __repr__(self) -> str:
        return "Login(…)"  # it would end in a log

    __str__ = __repr__

    @property
    def empty(self) -> bool:
        """Whether there is nothing to log in with."""
        return not (self.user or self.password or self.token)


class Credentials(Protocol):
    """Logins by registry."""

    def login(self, registry: str) -> Login | None:
        """How to log in at a registry; None is as anybody. Asked again when a registry refuses what was given."""
        ...


class FixedCredentials:
    """Logins that are known, by registry."""

    def __init__(self, **logins: Login) -> None:
        self._logins = logins

    @classmethod
    def one(cls, registry: str, login: Login) -> FixedCredentials:
        """The login of one registry."""
        return cls(**{registry: login})

    def login(self, registry: str) -> Login | None:
        """What was given for it."""
        return self._logins.get(registry)


class ConfigCredentials:
    """Logins in files as `docker login` and `podman login` write them. Read when first asked.

    Args:
        paths: In the order they are asked; one that is not there holds nothing.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._found: dict[str, Login | None] = {}
        self._lock = threading.Lock()

    def login(self, registry: str) -> Login | None:
        """The first login that one of the files, or the helper it names, has for a registry.

        Raises:
            SetupError: A file is damaged.
        """
        with self._lock:  # a helper may ask its user something: once
            if registry not in self._found:
                self._found[registry] = self._look_up(registry)
            return self._found[registry]

    def _look_up(self, registry: str) -> Login | None:
        problem = ""
        for path in self._paths:
            login = _login_in(_read(path), path, registry)
            if login is not None and not login.empty:
                return login
            problem = problem or (login.problem if login else "")
        return Login(problem=problem) if problem else None


def docker_credentials() -> Credentials:
    """The logins of this user: Docker's, then Podman's."""
    return ConfigCredentials(_config_paths(os.environ, user_home()))


def user_home() -> Path | None:
    """The folder of this user; None for one that has none, as containers run as any number."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _config_paths(variables: os._Environ[str] | dict[str, str], home: Path | None) -> list[Path]:
    paths: list[Path] = []
    if named := variables.get("REGISTRY_AUTH_FILE"):
        paths.append(Path(named))
    if docker := variables.get("DOCKER_CONFIG") or (home / ".docker" if home is not None else None):
        paths.append(Path(docker) / "config.json")
    if runtime := variables.get("XDG_RUNTIME_DIR"):
        paths.append(Path(runtime) / "containers" / "auth.json")
    if config := variables.get("XDG_CONFIG_HOME") or (home / ".config" if home is not None else None):
        paths.append(Path(config) / "containers" / "auth.json")
    return paths


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SetupError(
            f"the logins of registries cannot be read: `{path}`",
            why=error.strerror or str(error),
            mend="make it readable for you",
        ) from error
    try:
        config = json.loads(content)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(config, dict):
        raise _damaged(path, "it is not a JSON object")
    for name in ("auths", "credHelpers"):
        if not isinstance(config.get(name) or {}, dict):
            raise _damaged(path, f"its `{name}` is not a JSON object")
    return config


def _login_in(config: dict[str, Any], path: Path, registry: str) -> Login | None:
    """A helper for just this registry decides; then the store of all; then what is written in the file."""
    names = names_of(registry)
    helpers = config.get("credHelpers") or {}
    for name in names:
        if name in helpers:
            return _ask_helper(str(helpers[name]), name)
    problem = ""
    if store := config.get("credsStore"):
        for name in names:
            login = _ask_helper(str(store), name)
            if login is not None and not login.empty:
                return login
            problem = problem or (login.problem if login else "")
            if problem:
                break
    written = config.get("auths") or {}
    for name in names:
        entry = written.get(name)
        if isinstance(entry, dict) and (login := _decoded(entry, path, name)) is not None:
            return login
    return Login(problem=problem) if problem else None


def names_of(registry: str) -> list[str]:
    """How configuration files and helpers may call a registry, the usual one first."""
    if registry == DOCKER_HUB:
        return ["https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB, "registry-1.docker.io"]
    return [
        registry,
        f"https://{registry}",
        f"https://{registry}/v2/",
        f"https://{registry}/v1/",
        f"http://{registry}",
    ]


def _decoded(entry: dict[str, Any], path: Path, name: str) -> Login | None:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise _damaged(path, f"the login of `{name}` is not base64") from None
        user, colon, password = text.rstrip("\0").partition(":")
        if not colon:
            raise _damaged(path, f"the login of `{name}` is not `user:password`")
    login = Login(user, password, str(entry.get("identitytoken") or ""))
    return None if login.empty else login


def _ask_helper(helper: str, name: str) -> Login | None:
    """The answer of `docker-credential-HELPER get`.

    A helper that is missing or fails is no reason to stop: what is public needs no login. Its problem is told
    when the registry refuses.
    """
    program = f"docker-credential-{helper}"
    found = shutil.which(program)
    if found is None:
        return Login(problem=f"`{program}`, which Docker's configuration names, is not on the PATH")
    try:
        done = subprocess.run(
            [found, "get"],
            input=name, capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        kind = (
            f"did not answer within {_HELPER_TIMEOUT_S} s"
            if isinstance(error, subprocess.TimeoutExpired)
            else "cannot be started"
        )
        return Login(problem=f"`{program}` {kind}")
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()
        if said and "not found" in said[0]:  # `credentials not found in native keychain`
            return None
        return Login(problem=f"`{program}` failed: {said[0] if said else f'exit code {done.returncode}'}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        return Login(problem=f"`{program}` gave no login that can be read")
    return Login(token=secret) if user == _TOKEN_USER else Login(user, secret)


def _damaged(path: Path, why: str) -> SetupError:
    return SetupError(
        f"the logins of registries are damaged: `{path}`",
        why=why,
        mend="mend that file, or move it away and log in again",
    )
