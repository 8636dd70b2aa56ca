"""A whole pipeline whose steps run elsewhere: a launcher as an engine's would be, with supervisors of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.play import Project

from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.local import LocalArtifactStore
from tilth.client import driving
from tilth.client.bundle import make_bundle
from tilth.client.code_root import find_code_root
from tilth.client.queries import answer
from tilth.engine.delivery import deliver
from tilth.engine.remote import Follower, make_order
from tilth.engine.supervisor.channel import Channel
from tilth.home import Home
from tilth.orchestrators.beside import BesideLauncher, entry
from tilth.orchestrators.runtimes import write_runtime
from tilth.records import CodeDelivery, ComponentUsed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.supervisor.conftest import Far

    from tilth.orchestrators import Outcome, Task

PIPELINE = """
    from typing import Annotated
    from tilth import Client, HTML, Retry, get_step_context, log_metadata, pipeline, save_artifact, step, unmapped

    @step
    def numbers(count: int) -> list[int]:
        print("counting to", count)
        return list(range(count))

    @step(retry=Retry(3, delay="0s"))
    def square(number: int, by: int) -> int:
        if number == 2 and get_step_context().attempt < 2:
            raise ValueError("not at once")
        log_metadata({"number": number})
        return number * number + by

    @step
    def total(parts: list) -> tuple[Annotated[int, "sum"], Annotated[HTML, "page"]]:
        save_artifact(list(parts), "kept")
        return sum(parts), HTML(f"<b>{len(parts)}</b>")

    @step
    def look(number: int) -> str:
        steps = Client().get_latest_run("flow").steps
        return steps["total"].outputs["sum"].load() * "x" + str(number)

    @pipeline
    def flow(count: int = 4):
        parts = square.map(numbers(count), by=unmapped(7))
        result = total(parts)
        look(result["sum"] if isinstance(result, dict) else result[0])
"""


class ElsewhereLauncher:
    """Starts a supervisor for each attempt: a process with an empty environment, in another folder."""

    def __init__(self, project: Project, elsewhere: Path, settle: Callable[[], None]) -> None:
        self._root = project.folder
        self._elsewhere = elsewhere
        self._settle = settle
        self.store = ComponentUsed(flavor="local", settings={"path": str(elsewhere / "store")})
        from tilth.artifact_stores.folder import FolderStore

        self.objects = FolderStore(elsewhere / "store")
        self.artifacts = CachedArtifactStore(LocalArtifactStore(project.home.artifacts), self.objects)
        bundle = make_bundle(find_code_root(project.folder / "pipeline.py"), project.home)
        deliver(bundle.path, bundle.digest, self.objects)
        self._code = CodeDelivery(how="bundle", bundle=bundle.digest)
        self.outcomes: list[Outcome] = []

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        order = make_order(
            task, self._code, self._root, store=self.store, python=str(task.python), beat_s=0.2
        )
        follower = Follower(
            Channel(self.objects, order.assignment.channel), self.artifacts, self._answer, poll_s=0.1
        )
        await follower.hand_over(task)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tilth.engine.supervisor",
            cwd="/",
            env={"PATH": os.defpath, "TMPDIR": str(self._elsewhere / "work"), **order.variables},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        outcome = await follower.follow(task, output)
        assert await process.wait() == 0
        await follower.clear()
        self.outcomes.append(outcome)
        # The driver of this test looks for artifacts on this machine alone.
        from tilth.runtime.folder import read_events, read_json

        result = read_json(task.folder / "result.json") or {}
        made = [each["digest"] for each in result.get("outputs", {}).values()]
        made += [each["manifest"]["digest"] for each in read_events(task.folder) if "manifest" in each]
        for digest in made:
            await asyncio.to_thread(self.artifacts.path, digest)
        return outcome

    async def close(self) -> None:
        pass

    def _answer(self, method: str, params: dict[str, Any]) -> Any:
        self._settle()
        return answer(method, params)


def test_a_pipeline_gives_elsewhere_what_it_gives_here(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(PIPELINE)
    here = project.run()
    assert here.run.failure is None
    expected = project.digests()

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "work").mkdir()
    far = Project(project.folder, Home(tmp_path_factory.mktemp("home") / "tilth"))
    launchers: list[ElsewhereLauncher] = []

    def launcher(_options: Any, _workers: int, _listener: Any, settle: Any, *_: Any) -> ElsewhereLauncher:
        launchers.append(ElsewhereLauncher(far, elsewhere, settle))
        return launchers[-1]

    monkeypatch.setattr(driving, "_launcher", launcher)
    there = far.run(workers=2)
    assert there.run.failure is None, there.run.failure
    assert far.digests() == expected
    assert len(launchers[0].outcomes) == 8  # one item was tried twice
    assert there.lines("numbers") == ["counting to 4"]
    assert sorted(each.metadata["number"] for each in there.items("square")) == [0, 1, 2, 3]
    assert "kept" in {each.name for each in far.artifacts()}
    page = there.steps["total"].outputs["page"].digest
    folder = launchers[0].artifacts.path(page)
    assert list(folder.with_name(f"{folder.name}.visualizations").iterdir())
    assert list(launchers[0].objects.list("attempts/")) == []
    assert list((elsewhere / "work").iterdir()) == []


BESIDE = """
    import os
    import time
    from tilth import Client

    def double(number):
        print("in the container", flush=True)
        return 2 * number

    def waits():
        print("waiting", flush=True)
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise

    def exits():
        print("last words", flush=True)
        os._exit(3)

    def secret():
        return len(os.environ["TOKEN"])
"""


def beside(far: Far, function: str, **options: Any) -> tuple[Any, Task]:
    """How a step ends in what stands for a container: a process that nobody here is the parent of."""
    far.write(BESIDE)
    shared = far.elsewhere / "shared"
    shared.mkdir()
    task = far.task(function, **options)
    runtime = write_runtime(shared / "runtime")
    launcher = BesideLauncher(shared, lambda *_: None, runtime=runtime, come_in_s=180)

    async def main() -> Outcome:
        container = await asyncio.create_subprocess_exec(
            sys.executable, *entry(str(shared), wait_s=180), cwd="/", env={"PATH": os.defpath}
        )
        try:
            return await launcher.run(task, lambda stream, data: far.lines.append((stream, data.decode())))
        finally:
            await asyncio.wait_for(container.wait(), 180)
            await launcher.close()

    return asyncio.run(main()), task


@pytest.mark.parametrize(
    ("function", "ended", "printed", "options"),
    [
        ("double", "done", "in the container\n", {"inputs": {"number": 2}}),
        ("waits", "timeout", "waiting\ninterrupted\n", {"timeout_s": 1.0}),
        ("exits", "exited", "last words\n", {}),
        ("secret", "done", "", {"secrets": {"TOKEN": "abcdef"}}),
    ],
)
def test_a_step_in_a_container_beside(
    far: Far, function: str, ended: str, printed: str, options: dict[str, Any]
) -> None:
    outcome, task = beside(far, function, **options)
    assert outcome.ended == ended, outcome
    assert "".join(text for stream, text in far.lines if stream == "stdout") == printed
    assert ended != "done" or '"completed"' in (task.folder / "result.json").read_text()


def test_a_container_that_never_comes_is_told(far: Far) -> None:
    far.write(BESIDE)
    shared = far.elsewhere / "shared"
    shared.mkdir()
    launcher = BesideLauncher(
        shared, lambda *_: None, runtime=write_runtime(shared / "runtime"), come_in_s=0.2
    )
    outcome = asyncio.run(launcher.run(far.task("double"), lambda *_: None))
    assert outcome.ended == "environment"
    assert "did not start within 0.2 s" in outcome.detail


def test_a_supervisor_waits_for_a_container_that_shares_its_folder(far: Far) -> None:
    far.write(BESIDE)
    shared = far.elsewhere / "shared"
    task = far.task("double", inputs={"number": 5})
    order = far.order(task, python="", folder=str(shared), come_in_s=180.0)
    follower = far.follower(order)

    async def main() -> Outcome:
        container = await asyncio.create_subprocess_exec(
            sys.executable, *entry(str(shared), wait_s=180), cwd="/", env={"PATH": os.defpath}
        )
        await follower.hand_over(task)
        far.start(order)
        outcome = await asyncio.wait_for(follower.follow(task, far.hear), 180)
        await asyncio.wait_for(container.wait(), 180)
        return outcome

    assert asyncio.run(main()).ended == "done"
    assert ("stdout", "in the container") in far.lines
    assert far.said_by(far.processes[-1])[1].count("ended: done") == 1
