"""Records what a client of the present protocol asks, as `PROTOCOL.json` beside this file. Run once for each protocol.

python -m tests.server.protocols.record
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from tests.server_running import running_server

from tilth.artifact_stores.remote import RemoteStore
from tilth.artifact_stores.server import ServerObjects
from tilth.records import Artifact, Environment, Failure, OutputRef, Run, State, StepRun
from tilth.store import Delete, Put, wire
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase

_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
_PROJECT = "recorded"


def scenario(store: HttpStore) -> None:
    """A run as a driver records it, and as others look at it."""
    store.find(Run, pipeline="churn", limit=1)
    environment = Environment(id="sha256:ab", name="training", python="3.11", created_at=_AT)
    store.write([Put(environment)])
    run = store.start_run(Run(id="run-1", pipeline="churn", created_at=_AT, parameters={"alpha": 0.1}))
    path = f"/projects/{_PROJECT}/runs/{run.id}"
    beat = {"holder": "process 1 on laptop", "fence": 1, "lasts_s": 60}
    store.api.request("PUT", f"{path}/lease", msgspec.json.encode(beat))
    step = StepRun(
        id="step-1", run=run.id, step="train", pipeline="churn", state=State.RUNNING, created_at=_AT
    )
    store.write([Put(step)], holding=run)
    store.cached_step_run("sha256:key")
    store.api.request("PUT", f"{path}/logs/train.1.log?offset=0", b"2026-01-01T00:00:00.000+00:00 O hello\n")
    objects = RemoteStore(ServerObjects(store.api, _PROJECT))
    digest = objects.put("artifacts/ab/cd/value.json", b"1")
    objects.read("artifacts/ab/cd/value.json", digest=digest)
    list(objects.list("artifacts/"))
    artifact = Artifact(
        id="artifact-1", name="churn/train/model", digest="sha256:cd", run=run.id, created_at=_AT
    )
    done = msgspec.structs.replace(
        step, state=State.COMPLETED, outputs={"model": OutputRef(digest="sha256:cd", artifact="artifact-1")}
    )
    store.write([Put(artifact), Put(done)], holding=run)
    failed = msgspec.structs.replace(
        run, state=State.FAILED, failure=Failure(reason="exception", message="no")
    )
    store.replace(run, failed)
    store.get(Run, run.id)
    store.find(StepRun, run=run.id, index=None, state=["completed", "cached"], order="created_at")
    store.add(Run(id="run-2", name="other-1", pipeline="other", number=1, created_at=_AT))
    store.write([Delete(Run, "run-2")])
    store.api.request("GET", f"{path}/lease")
    store.api.request("GET", f"{path}/logs")
    store.api.request("DELETE", f"{path}/lease")


def record() -> list[dict[str, object]]:
    """The requests of the scenario, and what of the answers a client reads."""
    told: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder, "tilth.db"))
        settings = {"data_folder": f"{folder}/data", "secrets_key_file": f"{folder}/key", "schedules": False}
        with (
            running_server(database, **settings) as server,
            HttpStore(server.url, server.token, _PROJECT) as store,
        ):

            def note(response) -> None:
                response.read()
                request = response.request
                kept = (
                    "content-type",
                    "range",
                    "if-range",
                    "tilth-protocol",
                    "tilth-revision",
                    "tilth-again",
                )
                told.append(
                    {
                        "method": request.method,
                        "path": request.url.raw_path.decode(),
                        "headers": {name: request.headers[name] for name in kept if name in request.headers},
                        "body": request.content.decode(),
                        "status": response.status_code,
                        "answers": _keys(response),
                    }
                )

            store.api.client.event_hooks["response"].append(note)
            scenario(store)
        database.close()
    return told


def _keys(response) -> list[str]:
    """The fields of an answer: a later server may give more, and none less."""
    if "json" not in response.headers.get("content-type", "") or not response.content:
        return []
    answer = response.json()
    return sorted(answer) if isinstance(answer, dict) else []


if __name__ == "__main__":
    target = Path(__file__).with_name(f"{wire.PROTOCOL}.json")
    target.write_text(json.dumps(record(), indent=1) + "\n")
