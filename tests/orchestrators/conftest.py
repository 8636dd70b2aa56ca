"""Tasks as the driver makes them, for a launcher that runs alone."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tilth.orchestrators import Outcome, Task
from tilth.orchestrators.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@dataclass
class Bench:
    """Steps in a module, and a launcher to run them one after another."""

    folder: Path
    answer: Callable[[str, dict[str, Any]], Any] = lambda _method, _params: None
    count: int = 0
    printed: dict[str, bytes] = field(default_factory=dict)

    def write(self, source: str) -> None:
        """The module `steps`, whose functions are steps that give one output."""
        (self.folder / "steps.py").write_text(dedent(source), encoding="utf-8")

    def task(self, function: str, **options: Any) -> Task:
        """An attempt to call a function of `steps` without inputs."""
        self.count += 1
        folder = self.folder / "attempts" / str(self.count)
        folder.mkdir(parents=True)
        context = {
            "run_id": "r", "run_name": "run-1", "pipeline": "run", "step": function, "attempt": 1, "index": None,
            "parameters": {}, "extra": {}, "tags": [],
        }  # fmt: skip
        output = {
            "name": "output",
            "annotation": "Any",
            "type": "typing.Any",
            "collection": False,
            "readers": [],
        }
        spec = {
            "version": 1, "function": f"steps:{function}", "environment": "the client's", "key": "k", "fence": 1,
            "roots": [str(self.folder)], "inputs": {}, "materializers": [], "outputs": [output], "context": context,
        }  # fmt: skip
        (folder / "step.json").write_text(json.dumps(spec))
        return Task(
            **{
                "label": function,
                "folder": folder,
                "python": Path(sys.executable),
                "roots": (str(self.folder),),
                "cwd": str(self.folder),
                **options,
            }
        )

    async def call(self, launcher: LocalLauncher, function: str, **options: Any) -> Any:
        """What a step gives; its outcome when it gives nothing."""
        from tilth.materializers.artifacts import load_artifact

        task = self.task(function, **options)
        outcome = await self.run(launcher, task)
        result = json.loads((task.folder / "result.json").read_text()) if outcome.ended == "done" else None
        if result is None or result["state"] != "completed":
            return outcome if result is None else result
        return load_artifact(task.folder / "outputs" / "output")

    async def run(self, launcher: LocalLauncher, task: Task) -> Outcome:
        def hear(stream: str, data: bytes) -> None:
            self.printed[stream] = self.printed.get(stream, b"") + data

        return await launcher.run(task, hear)

    def play(self, scene: Callable[[LocalLauncher], Coroutine[Any, Any, Any]], keep: int = 4) -> Any:
        """Run `scene(launcher)` on a loop of its own, and close the launcher."""

        async def main() -> Any:
            launcher = LocalLauncher(keep, lambda method, params: self.answer(method, params))
            try:
                return await scene(launcher)
            finally:
                await launcher.close()

        return asyncio.run(main())

    def calls(self, *functions: str, **options: Any) -> list[Any]:
        """What several steps give, one after another."""

        async def scene(launcher: LocalLauncher) -> list[Any]:
            return [await self.call(launcher, each, **options) for each in functions]

        found: list[Any] = self.play(scene)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
