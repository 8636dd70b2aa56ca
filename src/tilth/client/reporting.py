"""What a driver tells a server while it drives a run: that it lives, and what steps print."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

import msgspec

from tilth.errors import OutsideError, TilthError
from tilth.store.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.home import Home
    from tilth.records import Run
    from tilth.store import Store
    from tilth.store.http import HttpStore

PATIENCE_S = 3600.0  # how long a run waits for a server that is away: records are delayed, no step fails
_EVERY_S = 1.0
_BEAT_S, _LASTS_S = 15.0, 60
_BRIEFLY_S = 2.0  # the thread comes again by itself; waiting would keep the lease from being renewed
_END_S = 30.0
_AT_ONCE = 1 << 20  # bytes of a log in one request


def is_on_server(store: Store) -> TypeGuard[HttpStore]:
    """Whether records are on a server."""
    return hasattr(store, "api")


@contextlib.contextmanager
def reported(run: Run, home: Home, store: Store) -> Iterator[None]:
    """Tell the server of a run, where records are on one.

    Raises:
        Conflict: Another machine drives it.
    """
    if not is_on_server(store):
        yield
        return
    with PATIENCE.of_a_run(PATIENCE_S), _Reporting(run, home, store):
        yield


class _Reporting:
    def __init__(self, run: Run, home: Home, store: HttpStore) -> None:
        self._run, self._store, self._home = run, store, home
        self._folder = home.runs / run.id
        self._path = f"/projects/{quote(store.project, safe='')}/runs/{run.id}"
        self._sent: dict[str, int] = {}
        self._shown = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tilth-reporting", daemon=True)

    def __enter__(self) -> None:
        self._beat(PATIENCE_S)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._show()
        with contextlib.suppress(TilthError):  # the records are there; a log may be short, a lease runs out
            self._ship()
            self._store.api.request("DELETE", f"{self._path}/lease", patience_s=_END_S)

    def _work(self) -> None:
        self._show()
        with contextlib.suppress(TilthError):
            self._keep_what_others_need()
        beaten = time.monotonic()
        while not self._over.wait(_EVERY_S):
            with contextlib.suppress(TilthError):
                if time.monotonic() - beaten >= _BEAT_S:
                    self._beat()
                    beaten = time.monotonic()
                self._ship()
            self._show()

    def _beat(self, patience_s: float = _BRIEFLY_S) -> None:
        told = {
            "holder": f"process {os.getpid()} on {platform.node()}",
            "fence": self._run.fence,
            "lasts_s": _LASTS_S,
        }
        answer = self._ask("PUT", "/lease", msgspec.json.encode(told), patience_s=patience_s)
        if msgspec.json.decode(answer)["cancel"]:
            (self._folder / "cancel").touch()

    def _keep_what_others_need(self) -> None:
        """What other machines need to show the run: its compiled pipeline, and its code."""
        from tilth.client.artifacts import open_objects
        from tilth.client.bundle import bundle_path
        from tilth.engine.delivery import deliver

        used = self._run.artifact_store
        objects = open_objects(self._home, used)
        if objects is None:
            return
        objects.put(f"runs/{self._run.id}/pipeline.json", (self._folder / "pipeline.json").read_bytes())
        bundle = bundle_path(self._run.bundle, self._home)
        if self._run.bundle and bundle.exists():
            deliver(bundle, self._run.bundle, objects)

    def _show(self) -> None:
        """Send what the server shows the run by; once, or again when the server was away."""
        if self._shown:
            return
        from tilth.client.showing import send  # here for cost, beside the run

        try:
            send(self._folder, self._store.api, self._store.project, patience_s=_BRIEFLY_S)
            self._shown = True
        except OutsideError:
            return
        except (TilthError, OSError):
            self._shown = True  # it would not take it the next time either

    def _ship(self) -> None:
        for path in sorted((self._folder / "logs").glob("*.log")):
            self._ship_one(path)

    def _ship_one(self, path: Path) -> None:
        sent = self._sent.get(path.name, 0)
        try:
            if path.stat().st_size <= sent:
                return
            with open(path, "rb") as file:
                while True:
                    file.seek(sent)
                    if not (part := file.read(_AT_ONCE)):
                        break
                    answer = self._ask("PUT", f"/logs/{quote(path.name)}?offset={sent}", part)
                    sent = self._sent[path.name] = msgspec.json.decode(answer)["size"]
        except FileNotFoundError:
            return  # the run is being deleted

    def _ask(self, method: str, path: str, content: bytes, *, patience_s: float = _BRIEFLY_S) -> bytes:
        return self._store.api.request(method, self._path + path, content, patience_s=patience_s)


def lease_of(run: Run, store: Store) -> dict[str, Any] | None:
    """Who drives a run, as the server knows: `held`, `holder`, `expires_at`. None where records are here."""
    if not is_on_server(store):
        return None
    path = f"/projects/{quote(store.project, safe='')}/runs/{run.id}/lease"
    found: dict[str, Any] = msgspec.json.decode(store.api.request("GET", path))
    return found


def ask_to_cancel(run: Run, store: HttpStore) -> None:
    """Ask the driver of a run to stop it, wherever it is."""
    store.api.request("POST", f"/projects/{quote(store.project, safe='')}/runs/{run.id}/cancel", b"")


def bring_logs(run: str, store: HttpStore, folder: Path) -> None:
    """Bring what steps of a run printed into a folder, or what has come since."""
    path = f"/projects/{quote(store.project, safe='')}/runs/{run}/logs"
    listed = msgspec.json.decode(store.api.request("GET", path))["items"]
    folder.mkdir(parents=True, exist_ok=True)
    for each in listed:
        target = folder / quote(each["name"], safe="")
        have = target.stat().st_size if target.exists() else 0
        if have < each["size"]:
            headers = {"Range": f"bytes={have}-{each['size'] - 1}"}
            content = store.api.request("GET", f"{path}/{quote(each['name'], safe='')}", headers=headers)
            with open(target, "ab") as file:
                file.write(content)


def run_folder(run: Run, home: Home, store: Store) -> Path:
    """The folder of a run; of one that another machine drove, what this one has been told of it.

    Raises:
        OutsideError: It is elsewhere, and cannot be asked for.
    """
    folder = home.runs / run.id
    if folder.is_dir() or not is_on_server(store):
        return folder
    copy = home.cache / "runs" / run.id
    if not (copy / "pipeline.json").exists():
        from tilth.client.artifacts import open_objects
        from tilth.errors import NotFound

        objects = open_objects(home, run.artifact_store)
        copy.mkdir(parents=True, exist_ok=True)
        if objects is not None:
            with contextlib.suppress(NotFound):
                objects.get(f"runs/{run.id}/pipeline.json", copy / "pipeline.json")
    bring_logs(run.id, store, copy / "logs")
    return copy
