"""Schedules and webhooks of a project on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tilth.records.launching import Launch, Schedule
from tilth.store import encoding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.store.http import HttpStore


def create_schedule(store: HttpStore, told: Mapping[str, Any]) -> Schedule:
    """Make one; `told` as `POST …/schedules` takes it."""
    return _schedule(store.api.request("POST", _path(store, "schedules"), encoding.encode(dict(told))))


def change_schedule(store: HttpStore, name: str, told: Mapping[str, Any]) -> Schedule:
    """Change what is given."""
    return _schedule(store.api.request("PATCH", _path(store, "schedules", name), encoding.encode(dict(told))))


def get_schedule(store: HttpStore, name: str) -> Schedule:
    """One by its name."""
    return _schedule(store.api.request("GET", _path(store, "schedules", name)))


def next_times(store: HttpStore, name: str, count: int) -> list[str]:
    """When its next runs are due, in UTC."""
    found: list[str] = msgspec.json.decode(
        store.api.request("GET", f"{_path(store, 'schedules', name)}/times?count={count}")
    )["items"]
    return found


def all_schedules(store: HttpStore) -> list[Schedule]:
    """Every one of the project, by name."""
    return msgspec.convert(store.api.items(f"{_path(store, 'schedules')}?order=name"), list[Schedule])


def run_schedule(store: HttpStore, name: str) -> Launch:
    """Ask for a run of it now."""
    answer = store.api.request("POST", f"{_path(store, 'schedules', name)}/runs", b"")
    return msgspec.json.decode(answer, type=Launch)


def delete_schedule(store: HttpStore, name: str) -> None:
    """Forget it."""
    store.api.request("DELETE", _path(store, "schedules", name))


def create_webhook(store: HttpStore, told: Mapping[str, Any]) -> dict[str, Any]:
    """Make one: `webhook`, and its `secret`, which is told once."""
    made: dict[str, Any] = msgspec.json.decode(
        store.api.request("POST", _path(store, "webhooks"), encoding.encode(dict(told)))
    )
    return made


def all_webhooks(store: HttpStore) -> list[dict[str, Any]]:
    """Every one of the project, by name."""
    return store.api.items(f"{_path(store, 'webhooks')}?order=name")


def switch_webhook(store: HttpStore, name: str, *, active: bool) -> None:
    """Let it start runs, or not."""
    store.api.request("PATCH", _path(store, "webhooks", name), msgspec.json.encode({"active": active}))


def delete_webhook(store: HttpStore, name: str) -> None:
    """Forget it."""
    store.api.request("DELETE", _path(store, "webhooks", name))


def _path(store: HttpStore, *parts: str) -> str:
    return "/".join(["", "projects", *(quote(each, safe="") for each in (store.project, *parts))])


def _schedule(answer: bytes) -> Schedule:
    return msgspec.json.decode(answer, type=Schedule)
