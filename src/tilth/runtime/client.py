"""`Client`: what is recorded about runs, steps, artifacts and environments, from Python.

Needs the standard library alone and works in a step as well: whatever it asks goes through one function,
which answers in this process, or in a step asks its supervisor. Handles show what was recorded when they
were asked for; nothing here changes anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import LoadError, NotFound, SetupError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from typing import TypeVar

    _H = TypeVar("_H")
    Request = Callable[[str, dict[str, Any]], Any]

_transport: Request | None = None


def set_transport(request: Request | None) -> None:
    """Send every request of this process there; None: answer them here."""
    global _transport
    _transport = request


class Client:
    """Finds what is recorded. `get` gives one or raises `NotFound`; `find` gives a page, newest first.

        client = Client()
        run = client.get_latest_run("churn")
        model = run.steps["train"].outputs["model"].load()
        failed = client.find_runs(state="failed", limit=10)

    It works in a step too; what a step asks for so is no input, and caching does not see it.
    """

    def __init__(self) -> None:
        self._request = _transport or _answer_here()

    def get_run(self, name: str) -> Run:
        """The run with this name, as `churn-12`, this id, or the only one whose id begins so."""
        return Run(self._request("get_run", {"name": name}), self._request)

    def get_latest_run(self, pipeline: str) -> Run:
        """The newest run of a pipeline, in whatever state."""
        return Run(self._request("get_latest_run", {"pipeline": pipeline}), self._request)

    def find_runs(
        self,
        *,
        pipeline: str | None = None,
        state: str | Sequence[str] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Run]:
        """Runs of a pipeline, or in a state (of several, any one).

        Args:
            after: `next` of the page before.
        """
        states = state if state is None or isinstance(state, str) else list(state)
        params = {"pipeline": pipeline, "state": states, "limit": limit, "after": after}
        found = self._request("find_runs", params)
        return Page([Run(each, self._request) for each in found["items"]], found["next"])

    def get_artifact(self, name: str, version: int | str | None = None) -> Artifact:
        """The newest version of an artifact, the one with this number, or the newest with this label.

        Args:
            name: Or an id, or the beginning of one that is of this artifact alone.
        """
        return Artifact(self._request("get_artifact", {"name": name, "version": version}), self._request)

    def find_artifacts(
        self,
        *,
        name: str | None = None,
        run: str | None = None,
        digest: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Artifact]:
        """Versions of artifacts: with this name, made by this run, or with this content."""
        params = {"name": name, "run": run, "digest": digest, "limit": limit, "after": after}
        found = self._request("find_artifacts", params)
        return Page([Artifact(each, self._request) for each in found["items"]], found["next"])

    def load_artifact(self, name: str, version: int | str | None = None) -> Any:
        """The value of an artifact: `get_artifact(name, version).load()`."""
        return self.get_artifact(name, version).load()

    def get_environment(self, name: str) -> Environment:
        """An environment as it was resolved last; or by its digest, or the beginning of one."""
        return Environment(self._request("get_environment", {"name": name}), self._request)

    def find_environments(
        self,
        *,
        name: str | None = None,
        role: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Environment]:
        """Environments with this name, or of this role: `client`, `execution`, `builder` or `supervisor`."""
        params = {"name": name, "role": role, "limit": limit, "after": after}
        found = self._request("find_environments", params)
        return Page([Environment(each, self._request) for each in found["items"]], found["next"])


class Page(list["_H"]):
    """Some of what was found. `next` goes into `after` for the rest; None when this is all."""

    def __init__(self, items: list[_H], next: str | None = None) -> None:  # noqa: A002 - as it is called
        super().__init__(items)
        self.next = next


class Run:
    """One execution of a pipeline.

    Attributes:
        name: As `churn-12`.
        state: `queued`, `running`, `completed`, `failed` or `cancelled`.
        parameters: Of the pipeline, as JSON holds them.
        environments: Name of each environment that steps run in, to its digest.
        failure: Why it did not complete; else None.
        metadata: What steps logged for the run.
    """

    def __init__(self, data: dict[str, Any], request: Request) -> None:
        self._request = request
        self._steps: dict[str, StepRun] | None = None
        self.id: str = data["id"]
        self.name: str = data["name"]
        self.pipeline: str = data["pipeline"]
        self.number: int = data["number"]
        self.state: str = data["state"]
        self.parameters: dict[str, Any] = data["parameters"]
        self.environments: dict[str, str] = data["environments"]
        self.created_at = _time(data["created_at"])
        self.started_at = _maybe_time(data["started_at"])
        self.finished_at = _maybe_time(data["finished_at"])
        self.failure = Failure(data["failure"]) if data["failure"] else None
        self.tags: tuple[str, ...] = tuple(data["tags"])
        self.metadata: dict[str, Any] = data["metadata"]

    def __repr__(self) -> str:
        return f"<Run {self.name}: {_outcome(self)}>"

    @property
    def steps(self) -> dict[str, StepRun]:
        """The last attempt of each step that was reached, by its id; read once."""
        if self._steps is None:
            found = self._request("find_step_runs", {"run": self.id})
            steps = {each["step"]: StepRun(each, self._request, self.name) for each in found}
            self._steps = _Named(f"run `{self.name}` has reached no step", steps)
        return self._steps

    def all_environments(self) -> list[Environment]:
        """Every environment that it passed through, by role: the client's, those of steps, what built packages."""
        found = self._request("find_run_environments", {"run": self.id})
        return [Environment(each, self._request) for each in found]

    def logs(self, step: str | None = None) -> list[LogLine]:
        """What its steps printed, or one of them, oldest first."""
        if step is not None:
            step = self.steps[step].step  # raises for an unknown one
        found = self._request("find_log_lines", {"run": self.id, "step": step})
        return [LogLine(each) for each in found]

    def refresh(self) -> Run:
        """The run as it is now."""
        return Run(self._request("get_run", {"name": self.id}), self._request)


class StepRun:
    """One attempt to execute one step, or one item of a mapped step.

    Attributes:
        step: Its id in the pipeline, as `train` or `train_2`.
        index: Of the item, in a mapped step; else None.
        state: `queued`, `running`, `completed`, `cached`, `failed`, `cancelled` or `skipped`.
        attempt: 1 is the first try.
        inputs: As JSON holds them; another step's output as its digest.
        seconds: Where its time went.
        cache_reason: Why its outputs were, or were not, reused.
        environment: Digest; empty for the client's own.
        metadata: What it logged.
    """

    def __init__(self, data: dict[str, Any], request: Request, run: str) -> None:
        self._request = request
        self._run = run
        self._outputs: dict[str, Artifact] | None = None
        self.id: str = data["id"]
        self.run_id: str = data["run"]
        self.step: str = data["step"]
        self.index: int | None = data["index"]
        self.attempt: int = data["attempt"]
        self.state: str = data["state"]
        self.inputs: dict[str, Any] = data["inputs"]
        self.environment: str = data["environment"]
        self.cache_reason: str = data["cache_reason"]
        self.created_at = _time(data["created_at"])
        self.started_at = _maybe_time(data["started_at"])
        self.finished_at = _maybe_time(data["finished_at"])
        self.seconds: dict[str, float] = data["seconds"]
        self.peak_memory: int = data["peak_memory"]
        self.failure = Failure(data["failure"]) if data["failure"] else None
        self.tags: tuple[str, ...] = tuple(data["tags"])
        self.metadata: dict[str, Any] = data["metadata"]

    def __repr__(self) -> str:
        return f"<StepRun {self._label} of {self._run}: {_outcome(self)}>"

    @property
    def outputs(self) -> dict[str, Artifact]:
        """What it gave, by name of the output; read once. A mapped step gives sequences."""
        if self._outputs is None:
            found = self._request("get_outputs", {"step_run": self.id})
            outputs = {name: Artifact(each, self._request) for name, each in found.items()}
            self._outputs = _Named(f"step `{self._label}` of run `{self._run}` gave no output", outputs)
        return self._outputs

    @property
    def items(self) -> list[StepRun]:
        """The last attempt of each item of a mapped step, in order; empty for another step."""
        if self.index is not None:
            return []
        found = self._request("find_step_runs", {"run": self.run_id, "step": self.step, "items": True})
        return [StepRun(each, self._request, self._run) for each in found]

    def logs(self) -> list[LogLine]:
        """What every attempt printed, oldest first; of a mapped step, what all its items did."""
        found = self._request("find_log_lines", {"run": self.run_id, "step": self.step})
        return [line for line in map(LogLine, found) if self.index is None or line.index == self.index]

    @property
    def _label(self) -> str:
        return self.step if self.index is None else f"{self.step}[{self.index}]"


class Artifact:
    """One version of a named value. Its content never changes.

    Attributes:
        version: Counted from 1 within the name; 0 for an item of a mapped step, which has none.
        digest: Of the content.
        type: As `module:qualname`.
        size: Of all files, in bytes.
        length: Of a collection; else None.
        run_id: Of the run that made it.
        metadata: What its materializer and its step recorded.
    """

    def __init__(self, data: dict[str, Any], request: Request) -> None:
        self._request = request
        self.id: str = data["id"]
        self.name: str = data["name"]
        self.version: int = data["version"]
        self.digest: str = data["digest"]
        self.type: str = data["type"]
        self.format: str = data["format"]
        self.size: int = data["size"]
        self.length: int | None = data["length"]
        self.run_id: str = data["run"]
        self.step_run_id: str = data["step_run"]
        self.step: str = data["step"]
        self.output: str = data["output"]
        self.created_at = _time(data["created_at"])
        self.tags: tuple[str, ...] = tuple(data["tags"])
        self.metadata: dict[str, Any] = data["metadata"]
        self._visualizations: list[str] = data["visualizations"]

    def __repr__(self) -> str:
        return f"<Artifact {self._label}: {self.type}, {_bytes(self.size)}>"

    @property
    def path(self) -> Path:
        """The folder with its files; read-only, and shared by all who have the same content."""
        return Path(self._request("get_artifact_folder", {"digest": self.digest}))

    @property
    def visualizations(self) -> list[Path]:
        """Files that a person would look at."""
        folder = self.path.with_name(self.path.name + ".visualizations")
        return [folder / name for name in self._visualizations]

    def load(self) -> Any:
        """The value.

        A format that can run code, as pickle, is read too: call this for artifacts of your own runs only.

        Raises:
            LoadError: It cannot be read in this environment.
        """
        try:
            return _load(self.path)
        except LoadError as error:
            if _transport is not None or not isinstance(error.__cause__, (ImportError, AttributeError)):
                raise
            name = self._environment()
            if not name:
                raise
            raise LoadError(
                f"{self._label} cannot be loaded here: it was made in environment `{name}`",
                why=error.why or error.summary,
                mend=f"load it in a step of environment `{name}`, or copy its files with `tilth artifacts get`",
            ) from error

    def _environment(self) -> str:
        """Name of the environment it was made in; empty for the client's own, or when that is not known."""
        steps = self._request("find_step_runs", {"run": self.run_id, "step": self.step})
        digests = [each["environment"] for each in steps if each["environment"]]
        try:
            return str(self._request("get_environment", {"name": digests[0]})["name"]) if digests else ""
        except NotFound:
            return ""

    @property
    def _label(self) -> str:
        return f"`{self.name}` version {self.version}" if self.version else f"`{self.name}`"


class Environment:
    """A resolved environment.

    Attributes:
        digest: Of what was resolved.
        role: What happens in it: `client`, `execution`, `builder` or `supervisor`.
        python: As `3.11`.
        requirements: As declared.
        packages: Name of each distribution, to its version.
    """

    def __init__(self, data: dict[str, Any], request: Request) -> None:
        self._request = request
        self._lock: str = data["lock"]
        self.digest: str = data["id"]
        self.name: str = data["name"]
        self.role: str = data["role"]
        self.python: str = data["python"]
        self.platform: str = data["platform"]
        self.requirements: tuple[str, ...] = tuple(data["requirements"])
        self.packages: dict[str, str] = {each["name"]: each["version"] for each in data["packages"]}
        self.variables: dict[str, str] = data["variables"]
        self.created_at = _time(data["created_at"])

    @property
    def lock(self) -> str:
        """What it was resolved to, as a PEP 751 document; empty for the client's, which was found installed."""
        return str(self._request("get_lock", {"digest": self._lock})) if self._lock else ""

    def __repr__(self) -> str:
        count = len(self.packages)
        packages = "1 package" if count == 1 else f"{count} packages"
        return f"<Environment {self.name}: Python {self.python}, {packages}, {self.digest[:19]}>"


class Failure:
    """Why a run or a step did not complete.

    Attributes:
        reason: `exception`, `killed`, `out_of_memory`, `timeout`, `cancelled`…
        type: Of the exception, as `ValueError`.
        traceback: The user's frames, the cause last.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.reason: str = data["reason"]
        self.type: str = data.get("type", "")
        self.message: str = data.get("message", "")
        self.traceback: str = data.get("traceback", "")
        self.mend: str = data.get("mend", "")

    def __str__(self) -> str:
        return ": ".join(part for part in (self.type, self.message) if part) or self.reason

    def __repr__(self) -> str:
        return f"<Failure {self.reason}: {self}>"


class LogLine:
    """One line that a step printed. Its `str` is the text."""

    __slots__ = ("attempt", "index", "step", "stream", "text", "time")

    def __init__(self, data: dict[str, Any]) -> None:
        self.step: str = data["step"]
        self.index: int | None = data["index"]
        self.attempt: int = data["attempt"]
        self.time = _time(data["time"])
        self.stream: str = data["stream"]
        self.text: str = data["text"]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<LogLine {self.step}: {self.text!r}>"


class _Named(dict[str, "_H"]):
    """A dict that says what it lacks, and what was perhaps meant."""

    def __init__(self, lacking: str, items: dict[str, _H]) -> None:
        super().__init__(items)
        self._lacking = lacking

    def __missing__(self, key: str) -> _H:
        raise NotFound(f"{self._lacking} `{key}`", mend=nearest(str(key), self))


def _answer_here() -> Request:
    from importlib import import_module

    try:
        # By name, against the layers: only a client has what answers, and only a client gets here.
        return import_module("tilth.client.queries").answer  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise SetupError(
            "`Client` cannot be used in this interpreter",
            why=f"the package `{error.name}` is missing: only a part of tilth is here",
            mend="use it in a step, or in an environment where tilth is installed",
        ) from error


def _load(folder: Path) -> Any:
    from tilth.materializers.artifacts import LazySequence, load_artifact, read_manifest

    if read_manifest(folder)["format"] != "mapped":
        return load_artifact(folder)
    return LazySequence(list(_mapped_items(folder)))


def _mapped_items(folder: Path) -> Iterator[Path]:
    import json

    with open(folder / "items.jsonl", encoding="utf-8") as lines:
        for line in lines:
            yield folder / json.loads(line)["path"]


def _time(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not read `Z`


def _maybe_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _outcome(of: Run | StepRun) -> str:
    text = of.state
    if of.started_at and of.finished_at:
        text += f" in {(of.finished_at - of.started_at).total_seconds():.1f} s"
    return f"{text}, {of.failure}" if of.failure else text


def _bytes(size: int) -> str:
    amount, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        del units[0]
    return f"{amount:.0f} {units[0]}" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"
