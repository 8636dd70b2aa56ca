"""What a supervisor does about a store that fails, an assignment that is none, and secrets that do not arrive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.engine.play import wait_until

from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.flavors import open_objects
from tilth.records import ComponentUsed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.supervisor.conftest import Far
    from tests.services import S3

    from tilth.engine.remote import Follower

STEPS = """
    import time
    from pathlib import Path

    def double(number):
        return 2 * number

    def waits_for(path):
        print("waiting", flush=True)
        while not Path(path).exists():
            time.sleep(0.02)
        print("seen", flush=True)
        return "given"
"""

NEEDS_A_SECRET = """{
    "label": "a", "store": {"flavor": "s3"}, "channel": "a/", "code": {}, "secrets": {"k": {"variable": "NO"}}
}"""


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tilth.engine.supervisor", *arguments],
        env={"PATH": "/bin", **(env or {})}, cwd="/", capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (None, "no file, and no variable `TILTH_TASK`"),
        ("{", "cannot be read"),
        ('{"label": "a", "steps": 1}', "cannot be read"),
        (
            '{"version": 9, "label": "a", "store": {"flavor": "local"}, "channel": "a/", "code": {}}',
            "of version 9",
        ),
        (
            '{"label": "a", "store": {"flavor": "locl"}, "channel": "a/", "code": {}}',
            "did you mean `local`?",
        ),
        (
            '{"label": "a", "store": {"flavor": "local"}, "channel": "a/", "code": {}}',
            "a folder of the client's machine",
        ),
        (
            NEEDS_A_SECRET,
            "secret `k` did not arrive in variable `NO`",
        ),
    ],
)
def test_an_assignment_that_is_none(task: str | None, told: str) -> None:
    ended = start(env={} if task is None else {"TILTH_TASK": task})
    assert ended.returncode == 64
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_assignment_in_a_file_and_its_secrets_in_files(far: Far) -> None:
    far.write(STEPS)
    task = far.task("double", inputs={"number": 4}, secrets={"TOKEN": "in-a-file"})
    order = far.order(task)
    secret = far.elsewhere / "secret"
    secret.write_text("in-a-file")
    told = msgspec.to_builtins(order.assignment)
    told["secrets"] = {name: {"file": str(secret), "remove": True} for name in told["secrets"]}
    path = far.elsewhere / "task.json"
    path.write_text(json.dumps(told))
    import asyncio

    asyncio.run(far.follower(order).hand_over(task))
    ended = start(str(path))
    assert ended.returncode == 0, ended.stderr
    assert not secret.exists()
    outcome = asyncio.run(far.follower(order).follow(task, far.hear))
    assert outcome.ended == "done"
    missing = start(str(far.elsewhere / "none.json"))
    assert missing.returncode == 64
    assert "cannot be read" in missing.stderr


@pytest.mark.faults
def test_outputs_of_a_store_that_went_away_are_kept_and_told(far: Far, tmp_path: Path) -> None:
    far.write(STEPS)
    go = tmp_path / "go"

    def break_store(process: subprocess.Popen[str], _: Follower) -> None:
        wait_until(lambda: ("stdout", "waiting") in far.lines, "the step")
        for name in ("artifacts",):  # a file where a folder is needed: what only outputs meet
            shutil.rmtree(far.objects.root / name, ignore_errors=True)
            (far.objects.root / name).write_text("")
        go.touch()

    ran = far.run("waits_for", inputs={"path": str(go)}, meanwhile=break_store, order={"patience_s": 1.0})
    assert (ran.outcome.ended, ran.code) == ("upload", 75)
    assert "could not be stored" in ran.outcome.detail
    kept = far.left_elsewhere()
    assert len(kept) == 1
    assert kept[0] in ran.outcome.detail
    assert list((far.elsewhere / kept[0] / "home" / "artifacts").glob("??/*/artifact.json"))


@pytest.fixture
def in_s3(far: Far, moto: S3, tmp_path: Path) -> Far:
    """Through a bucket instead of a folder."""
    settings = {
        "bucket": moto.bucket, "prefix": tmp_path.name, "endpoint": moto.url, "key": moto.access_key,
        "secret": "secret:bucket-key",
    }  # fmt: skip
    far.secrets["bucket-key"] = moto.secret_key
    use(far, settings)
    return far


def use(far: Far, settings: dict[str, str]) -> None:
    opened = open_objects("s3", settings, home=far.home, reveal=far.secrets.__getitem__)
    assert opened is not None
    far.store = ComponentUsed(flavor="s3", settings=settings)
    far.objects = opened  # type: ignore[assignment]
    far.artifacts = CachedArtifactStore(far.artifacts.local, opened)


@pytest.mark.objects
def test_through_a_bucket(in_s3: Far) -> None:
    in_s3.write(STEPS)
    place = in_s3.store_value(4)
    ran = in_s3.run("double", inputs={"number": {"$artifact": str(place)}})
    assert ran.value == 8
    assert in_s3.left_elsewhere() == []


@pytest.mark.objects
@pytest.mark.faults
@pytest.mark.slow
def test_a_store_that_is_away_for_a_while_costs_nothing(in_s3: Far, moto: S3, tmp_path: Path) -> None:
    from tests.broken_registry import BrokenRegistry

    in_s3.write(STEPS)
    go = tmp_path / "go"
    with BrokenRegistry(moto.url.removeprefix("http://")) as broken:
        settings = {**in_s3.store.settings, "endpoint": broken.url}
        in_s3.store = ComponentUsed(flavor="s3", settings=settings)

        def away(process: subprocess.Popen[str], _: Follower) -> None:
            wait_until(lambda: ("stdout", "waiting") in in_s3.lines, "the step")
            broken.rule("", "", status=503, times=10_000)
            go.touch()
            time.sleep(4)
            broken.heal()

        ran = in_s3.run("waits_for", inputs={"path": str(go)}, meanwhile=away, order={"patience_s": 60.0})
    assert ran.value == "given"
    assert ("stdout", "seen") in in_s3.lines
    assert in_s3.left_elsewhere() == []
