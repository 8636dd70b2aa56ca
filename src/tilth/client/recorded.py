"""Opens what a past run left on this machine: its compiled pipeline, its project, and its environments."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth import environments as envs
from tilth.client.environments import reopen
from tilth.errors import EnvironmentBroken, NotFound, SetupError
from tilth.ir.pipeline import Pipeline
from tilth.records import Environment, Lock, Run
from tilth.runtime.folder import read_json
from tilth.store import walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.client.targets import ImageTarget
    from tilth.environments import Interpreter, Locked
    from tilth.home import Home
    from tilth.records import StepRun
    from tilth.store import Store

_REACHED = re.compile(r"package `(.+)`")


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was compiled, whatever its project has become.

    Attributes:
        folder: Where everything of the run is.
        root: Of the project's code, as are the next two of the machine it was started on.
        roots: Folders that modules were imported from.
        cwd: Where it was started.
        python: The client's interpreter.
    """

    run: Run
    folder: Path
    pipeline: Pipeline
    root: Path
    roots: tuple[str, ...]
    cwd: str
    python: Path

    @property
    def project(self) -> dict[str, Any]:
        """As `project.json` in the folder of a run has it."""
        return {
            "root": str(self.root),
            "roots": list(self.roots),
            "cwd": self.cwd,
            "python": str(self.python),
        }

    def interpreter(self, home: Home) -> Interpreter:
        """The client's interpreter as it is now.

        Raises:
            SetupError: It is gone, or is of another Python.
        """
        if not self.python.exists():
            raise SetupError(
                f"the interpreter that run `{self.run.name}` was started with is gone: {self.python}",
                mend="start a new run",
            )
        found = envs.probe(self.python, home)
        then = self.run.client.python if self.run.client else found.version
        if then.split(".")[:2] != found.version.split(".")[:2]:
            raise SetupError(
                f"the interpreter that run `{self.run.name}` was started with is another Python now: {self.python}",
                why=f"it was Python {then}, and is {found.version}",
                mend="start a new run",
            )
        return found

    def moved(self, target: Path) -> tuple[tuple[str, ...], str]:
        """`roots` and `cwd` when the code is at `target` instead."""

        def move(path: str) -> str:
            return (
                str(target / Path(path).relative_to(self.root))
                if Path(path).is_relative_to(self.root)
                else path
            )

        return tuple(map(move, self.roots)), move(self.cwd)


def open_run(run: Run, home: Home) -> RecordedRun:
    """What is needed to go on with a run, or to do it again.

    Raises:
        SetupError: Its folder is gone, or is incomplete.
    """
    folder = home.runs / run.id
    data, project = read_json(folder / "pipeline.json"), read_json(folder / "project.json")
    if data is None or project is None:
        raise SetupError(f"the folder of run `{run.name}` is incomplete: {folder}", mend="start a new run")
    return RecordedRun(
        run,
        folder,
        Pipeline.from_json(data),
        root=Path(project["root"]),
        roots=tuple(project["roots"]),
        cwd=project["cwd"],
        python=Path(project["python"]),
    )


def open_locks(
    recorded: RecordedRun,
    store: Store,
    home: Home,
    *,
    target: ImageTarget | None = None,
    offline: bool = False,
) -> dict[str, Locked]:
    """The locks a run was made with, by name of the environment.

    Args:
        target: Of the stack it ran on.
    Raises:
        SetupError: One is for another platform, or a Python that is not installed.
    """
    known = {}
    for name, digest in recorded.run.environments.items():
        environment = store.get(Environment, digest)
        known[name] = environment, store.get(Lock, environment.lock)
    return reopen(
        known,
        root=recorded.root,
        interpreter=recorded.interpreter(home),
        home=home,
        declared=recorded.pipeline.environments,
        target=target,
        offline=offline,
    )


def open_environment(
    environment: Environment,
    store: Store,
    home: Home,
    *,
    within: RecordedRun | None = None,
    target: ImageTarget | None = None,
    offline: bool = False,
) -> Locked:
    """The lock of a recorded environment.

    Args:
        within: A run that used it; by default the newest that did. It tells where the project's own packages
            are; without one the lock alone has to do.
        target: Of the stack it was made for, where that has containers.
    Raises:
        SetupError: It is for another platform, or a Python that is not installed.
        EnvironmentBroken: It cannot be had any more as it was.
    """
    within = within or newest_user(environment, store, home)
    name = environment.name
    declared: Mapping[str, Any] = {"name": name, "variables": dict(environment.variables)}
    root = Path.cwd()
    if within is not None:
        names = [each for each, digest in within.run.environments.items() if digest == environment.id]
        declared = next((within.pipeline.environments[each] for each in names), declared)
        root = within.root
    opened = reopen(
        {name: (environment, store.get(Lock, environment.lock))},
        root=root,
        interpreter=any_interpreter(within, home),
        home=home,
        declared={name: declared},
        target=target,
        offline=offline,
    )[name]
    if opened.digest != environment.id:
        raise EnvironmentBroken(
            f"environment `{name}` cannot be had any more as it was",
            why=_differences(environment, opened) or f"its digest would be {opened.digest}",
            mend="start a new run: it locks what can be had today",
        )
    return opened


def any_interpreter(recorded: RecordedRun | None, home: Home) -> Interpreter:
    """The client's of a run, whatever it is by now, or else this project's: to find others by."""
    if recorded is not None and recorded.python.exists():
        return envs.probe(recorded.python, home)
    return envs.probe(envs.project_interpreter(Path.cwd()), home)


def client_differences(
    run: Run, interpreter: Interpreter, store: Store, home: Home, step_run: StepRun | None = None
) -> list[str]:
    """What is not any more in the client's interpreter as when the run was compiled, each in a few words.

    Args:
        step_run: Leave out the packages that this step did not reach, where that is recorded.
    """
    client = run.client
    if client is None:
        return []
    then = now = {}
    with contextlib.suppress(NotFound):  # as of a run by an older tilth
        then = {each.name: each.version for each in store.get(Environment, client.environment).packages}
        now = {each.name: each.version for each in envs.inventory(interpreter, home).packages}
    names = {*then, *now} - {"tilth"}
    if step_run is not None and step_run.cache_parts:
        names &= {match[1] for each in step_run.cache_parts if (match := _REACHED.fullmatch(each))}
    told = []
    if client.python != interpreter.version:
        told.append(f"Python {client.python} then, {interpreter.version} now")
    changed = (name for name in sorted(names) if then.get(name) != now.get(name))
    return told + [_change(name, then.get(name), now.get(name)) for name in changed]


def _change(name: str, then: str | None, now: str | None) -> str:
    if then is None:
        return f"`{name}` {now} is new"
    return f"`{name}` {then} is gone" if now is None else f"`{name}` {then} then, {now} now"


def newest_user(environment: Environment, store: Store, home: Home) -> RecordedRun | None:
    """The newest run that used an environment and can be opened."""
    for run in walk(store, Run):
        if environment.id in run.environments.values():
            try:
                return open_run(run, home)
            except SetupError:
                continue  # its folder is gone
    return None


def _differences(environment: Environment, opened: Locked) -> str:
    before = {each.name: each for each in environment.packages}
    after = {each.name: each for each in opened.packages}
    told = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old and new and (old.version, old.digest) == (new.version, new.digest):
            continue
        if old and new and old.version == new.version:
            told.append(f"`{name}` {old.version} has other files than before")
        else:
            told.append(_change(name, old.version if old else None, new.version if new else None))
    return "\n".join(told[:5])
