"""Secrets on a server: those of a project, for whoever may run pipelines in it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from tilth.errors import NotFound
from tilth.secrets.store import Secret, Secrets
from tilth.store.http import in_project

if TYPE_CHECKING:
    import builtins

    from tilth.home import Home
    from tilth.store.http import Api


class ServerSecrets(Secrets):
    """Secrets by name: the project's on the server, and behind them those of this machine."""

    def __init__(self, home: Home, api: Api, project: str) -> None:
        super().__init__(home.secrets)
        self._api = api
        self._project = project
        self._path_there = f"/projects/{quote(project, safe='')}/secrets"

    def get(self, name: str) -> str:
        try:
            told = self._api.request("POST", f"{self._path_there}/{quote(name, safe='')}/value", b"")
        except NotFound as error:
            try:
                return super().get(name)
            except NotFound:
                raise error from None
        value: str = msgspec.json.decode(told)["value"]
        return value

    def set(self, name: str, value: str) -> Secret:
        path, body = f"{self._path_there}/{quote(name, safe='')}", msgspec.json.encode({"value": value})
        told = in_project(self._api, self._project, lambda: self._api.request("PUT", path, body))
        return _secret(msgspec.json.decode(told))

    def delete(self, *names: str) -> None:
        there = {each.name for each in self._listed()}
        here = [name for name in names if name not in there]
        if here:
            super().delete(*here)
        for name in dict.fromkeys(names):
            if name in there:
                self._api.request("DELETE", f"{self._path_there}/{quote(name, safe='')}")

    def names(self) -> list[str]:
        return sorted({*super().names(), *(each.name for each in self._listed())})

    def list(self) -> builtins.list[Secret]:
        there = self._listed()
        hidden = {each.name for each in there}
        return sorted(
            [*there, *(each for each in super().list() if each.name not in hidden)],
            key=lambda each: each.name,
        )

    def _listed(self) -> builtins.list[Secret]:
        try:
            told = self._api.items(self._path_there)
        except NotFound:  # a project that is made with its first run
            return []
        return [_secret(each) for each in told]


def _secret(told: dict[str, str]) -> Secret:
    return Secret(told["name"], datetime.fromisoformat(told["set_at"]), "server")
