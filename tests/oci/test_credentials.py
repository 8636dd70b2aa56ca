from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tilth.errors import SetupError
from tilth.oci.connections import certificate_folders
from tilth.oci.credentials import ConfigCredentials, Login, docker_credentials

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes Docker's configuration, and helpers on the PATH; nothing of this user is looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "docker").mkdir()

    def write(content: Any = None, **helpers: str) -> None:
        text = content if isinstance(content, str) else json.dumps(content or {})
        (tmp_path / "docker" / "config.json").write_text(text)
        for name, script in helpers.items():
            program = tmp_path / f"docker-credential-{name}"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    return write


def encoded(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_a_login_of_docker_is_found(config: Any) -> None:
    config({"auths": {"r.example": encoded("me:pass:word")}})
    assert docker_credentials().login("r.example") == Login("me", "pass:word")
    assert docker_credentials().login("other.example") is None


def test_docker_hub_goes_by_its_old_address(config: Any) -> None:
    config({"auths": {"https://index.docker.io/v1/": encoded("me:x")}})
    assert docker_credentials().login("docker.io") == Login("me", "x")


def test_an_identity_token_is_found(config: Any) -> None:
    config({"auths": {"r.example": {"identitytoken": "t", **encoded("me:")}}})
    login = docker_credentials().login("r.example")
    assert login is not None
    assert login.token == "t"


def test_podmans_file_is_asked_too(config: Any, tmp_path: Path) -> None:
    config()
    path = tmp_path / "user" / ".config" / "containers" / "auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {"r.example": encoded("pod:man")}}))
    assert docker_credentials().login("r.example") == Login("pod", "man")


def test_a_helper_of_one_registry_comes_before_the_file(config: Any) -> None:
    config(
        {"auths": {"r.example": encoded("me:old")}, "credHelpers": {"r.example": "fake"}},
        fake='read name; [ "$1 $name" = "get r.example" ] && echo \'{"Username": "me", "Secret": "new"}\'',
    )
    assert docker_credentials().login("r.example") == Login("me", "new")


def test_a_store_gives_identity_tokens(config: Any) -> None:
    config({"credsStore": "fake"}, fake='echo \'{"Username": "<token>", "Secret": "t"}\'')
    assert docker_credentials().login("r.example") == Login(token="t")


def test_a_store_that_knows_nothing_is_no_problem(config: Any) -> None:
    config(
        {"credsStore": "fake", "auths": {"r.example": encoded("a:b")}},
        fake="echo credentials not found in native keychain; exit 1",
    )
    assert docker_credentials().login("r.example") == Login("a", "b")
    assert docker_credentials().login("other.example") is None


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo locked; exit 3", "failed: locked"), ("echo nonsense", "no login that can be read")],
)
def test_a_helper_that_fails_is_told_later(config: Any, script: str, told: str) -> None:
    config({"credsStore": "fake"}, fake=script)
    login = docker_credentials().login("r.example")
    assert login is not None
    assert login.empty
    assert told in login.problem


def test_a_missing_helper_is_told_later(config: Any) -> None:
    config({"credsStore": "desktop.exe"})
    login = docker_credentials().login("r.example")
    assert login is not None
    assert login.empty
    assert "`docker-credential-desktop.exe`" in login.problem


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": {"r.example": {"auth": "%%"}}}'])
def test_a_damaged_file_is_named(config: Any, content: str, tmp_path: Path) -> None:
    config(content)
    with pytest.raises(SetupError, match="damaged") as caught:
        docker_credentials().login("r.example")
    assert "config.json" in str(caught.value)


def test_a_login_shows_nothing_of_itself() -> None:
    login = Login("user", "password", "token")
    assert not {"user", "password", "token"} & set(f"{login!r} {login}".lower().split())
    assert "password" not in repr([login])


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert ConfigCredentials([tmp_path / "none"]).login("r.example") is None


def test_a_helper_that_speaks_in_no_known_letters_is_told_later(config: Any) -> None:
    config({"credHelpers": {"r.example": "odd"}}, odd=r"printf '\377\376'")
    login = docker_credentials().login("r.example")
    assert login is not None
    assert login.empty
    assert "no login that can be read" in login.problem


@pytest.mark.parametrize("content", [{"credHelpers": ["r.example"]}, {"auths": "r.example"}])
def test_a_part_of_the_file_that_is_something_else_is_named(config: Any, content: Any) -> None:
    config(content)
    with pytest.raises(SetupError, match="damaged") as caught:
        docker_credentials().login("r.example")
    assert f"`{next(iter(content))}`" in caught.value.why


def test_a_user_without_a_folder_has_the_logins_that_variables_name(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers run as any number, which no list of users has."""
    config({"auths": {"r.example": encoded("me:x")}})

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert docker_credentials().login("r.example") == Login("me", "x")
    assert certificate_folders("r.example") == []
    monkeypatch.delenv("DOCKER_CONFIG")
    assert docker_credentials().login("r.example") is None
