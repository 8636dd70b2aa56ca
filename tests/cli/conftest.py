"""A home folder with two runs in it, and the command line called in this process."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tilth.cli.main import main
from tilth.home import Home
from tilth.records import (
    Artifact,
    ClientEnvironment,
    Environment,
    Failure,
    Git,
    OutputRef,
    Package,
    Run,
    State,
    StepRun,
)
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)
ENVIRONMENT = "sha256:" + "3f0c" * 16
CLIENT = "sha256:" + "c11e" * 16
CODE = "sha256:" + "c0de" * 16
MODEL = "sha256:" + "a" * 64
FRAME = "sha256:" + "b" * 64


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """`cli("runs", "list")`: the command line, in this process and in UTC."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()

    def call(*arguments: str | Path) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([os.fspath(each) for each in arguments])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, captured.out, captured.err)

    return call


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def history(home: Path) -> Home:
    """Run `churn-1` completed, `churn-2` failed; both gave a frame, and `churn-1` a model."""
    places = Home(home)
    client = ClientEnvironment(
        python="3.11.7",
        implementation="CPython",
        executable="/nowhere/bin/python3",
        platform="linux-x86_64",
        tilth="0.1.0",
        environment=CLIENT,
        git=Git(commit="1a2b3c4d5e6f7a8b", branch="main", dirty=True),
    )
    common: dict[str, Any] = {
        "pipeline": "churn",
        "bundle": CODE,
        "client": client,
        "environments": {"training": ENVIRONMENT},
        "steps": 3,
    }
    with open_store(places) as store:
        first = store.start_run(
            Run(
                id="01900000-0000-7000-8000-000000000001",
                created_at=at(0),
                started_at=at(0),
                finished_at=at(3.4),
                state=State.COMPLETED,
                parameters={"alpha": 0.3},
                metadata={"accuracy": 0.97},
                **common,
            )
        )
        second = store.start_run(
            Run(
                id="01900000-0000-7000-8000-000000000002",
                created_at=at(60),
                started_at=at(60),
                finished_at=at(62),
                state=State.FAILED,
                parameters={"alpha": 2},
                failure=Failure(
                    reason="exception", type="ValueError", message="step `train`: alpha is too large"
                ),
                **common,
            )
        )
        given: list[tuple[str, dict[str, Any], dict[str, OutputRef]]] = [
            ("load", {}, {"frame": OutputRef(digest=FRAME, artifact="artifact-1")}),
            (
                "train",
                {"frame": {"$artifact": FRAME, "from": "load.frame"}, "alpha": 0.3},
                {"model": OutputRef(digest=MODEL, artifact="artifact-2")},
            ),
            ("score", {"model": {"$artifact": MODEL, "from": "train.model"}}, {}),
        ]
        load, train, score = (
            StepRun(
                id=f"step-1{number}",
                run=first.id,
                step=name,
                pipeline="churn",
                state=State.COMPLETED,
                environment=ENVIRONMENT if name == "train" else "",
                cache_reason="there is no earlier run of this step",
                inputs=inputs,
                outputs=outputs,
                created_at=at(number),
                started_at=at(number),
                finished_at=at(number + 0.5),
            )
            for number, (name, inputs, outputs) in enumerate(given)
        )
        items = [
            StepRun(
                run=first.id,
                step="score",
                pipeline="churn",
                index=index,
                state=State.CACHED if index < 2 else State.COMPLETED,
                created_at=at(2),
            )
            for index in range(5)
        ]
        again = StepRun(
            id="step-21",
            run=second.id,
            step="load",
            pipeline="churn",
            state=State.CACHED,
            cache_reason="same code, inputs and environment",
            reused_from=load.id,
            outputs=load.outputs,
            created_at=at(60),
        )
        tries = [
            StepRun(
                id=f"step-22{attempt}",
                run=second.id,
                step="train",
                pipeline="churn",
                attempt=attempt,
                state=State.FAILED,
                environment=ENVIRONMENT,
                cache_reason="parameter `alpha` changed",
                inputs={"frame": {"$artifact": FRAME, "from": "load.frame"}, "alpha": 2},
                failure=Failure(
                    reason="exception",
                    type="ValueError",
                    message="alpha is too large",
                    traceback=(
                        'Traceback (most recent call last):\n  File "learn.py", line 7, in train\n'
                        "    raise ValueError(text)\nValueError: alpha is too large\n"
                    ),
                ),
                created_at=at(60 + attempt),
                started_at=at(60 + attempt),
                finished_at=at(60.25 + attempt),
            )
            for attempt in (1, 2)
        ]
        environment = Environment(
            id=ENVIRONMENT,
            created_at=at(0),
            name="training",
            python="3.11",
            platform="linux-x86_64",
            requirements=("pandas<3",),
            packages=(
                Package(name="numpy", version="2.1.0", digest="sha256:11", file="numpy-2.1.0-cp311.whl"),
                Package(name="pandas", version="2.2.3", digest="sha256:22", file="pandas-2.2.3-cp311.whl"),
            ),
            variables={"OMP_NUM_THREADS": "1"},
            lock="sha256:" + "10cc" * 16,
        )
        installed = Environment(
            id=CLIENT,
            created_at=at(-1),
            name="client",
            role="client",
            python="3.11",
            platform="linux-x86_64",
            packages=(Package(name="click", version="8.1.0"),),
        )
        known = (load, train, score, *items, again, *tries, environment, installed)
        store.write([Put(each) for each in known])
        store.add(
            Artifact(
                id="artifact-1",
                created_at=at(0.5),
                name="churn/load/frame",
                digest=FRAME,
                run=first.id,
                step_run=load.id,
                step="load",
                output="frame",
                type="pandas:DataFrame",
                format="columns",
                materializer="tilth.materializers.pandas:FrameMaterializer",
                size=81_234,
                metadata={"shape": [569, 31]},
            ),
            Artifact(
                id="artifact-2",
                created_at=at(1.5),
                name="model",
                digest=MODEL,
                run=first.id,
                step_run=train.id,
                step="train",
                output="model",
                type="sklearn:Ridge",
                format="skops",
                size=1200,
                tags=("best",),
            ),
        )
    graph = {"nodes": [{"id": name} for name in ("load", "train", "score")]}
    for run in (first, second):
        folder = places.runs / run.id
        folder.mkdir(parents=True)
        (folder / "pipeline.json").write_text(json.dumps(graph))
    put_artifact(places, FRAME, {"0.npy": b"x" * 100, "schema.json": b"{}"})
    put_artifact(places, MODEL, {"value.skops": b"weights"})
    return places


def put_artifact(home: Home, digest: str, files: dict[str, bytes], **manifest: object) -> Path:
    """Lay out an artifact as the store does, read-only."""
    from tilth.artifact_stores import LocalArtifactStore

    folder = LocalArtifactStore(home.artifacts).path(digest)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)
    (folder / "artifact.json").write_text(
        json.dumps({"version": 1, "digest": digest, "format": "x", **manifest})
    )
    return folder
