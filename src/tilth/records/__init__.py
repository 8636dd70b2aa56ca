"""What tilth remembers: one frozen class per thing.

The SQL table, the `--json` output and the client's objects derive from these classes. A field marked
`Indexed`, `Unique` or `Column` becomes a column that can be filtered and sorted by; the rest travels as one
JSON document. A field that is no column may be added freely when it has a default; a change of columns or
indexes needs a migration. Nothing here does I/O.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Any, ClassVar

import msgspec

Column = msgspec.Meta(extra={"column": True})  # without an index of its own
Indexed = msgspec.Meta(extra={"column": True, "indexed": True})  # listed quickly, newest first, for one value
Unique = msgspec.Meta(extra={"column": True, "unique": True})
Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # one without a time zone could not be compared
Json = Any  # any value JSON can hold; checked where it enters


def new_id() -> str:
    """A UUID version 7 as text: unique, and sorted by the time it was made (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(timezone.utc)


class State(str, Enum):
    """Where a run or step run stands. An interrupted run is a `running` one whose driver is gone."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (State.QUEUED, State.RUNNING)

    @property
    def is_good(self) -> bool:
        """Whether outputs exist."""
        return self in (State.COMPLETED, State.CACHED)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all records share. `revision` counts changes: a store refuses to replace an older one."""

    kind: ClassVar[str]
    together: ClassVar[tuple[tuple[str, ...], ...]] = ()  # columns often asked for together: one index each
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    carried: ClassVar[
        tuple[str, ...]
    ] = ()  # columns that the indexes of `carrying` hold, to be counted from there
    carrying: ClassVar[tuple[tuple[str, ...], ...]] = ()  # what those are by; `()`: by time alone

    id: Annotated[str, Unique] = msgspec.field(default_factory=new_id)
    created_at: Annotated[Moment, Indexed] = msgspec.field(default_factory=now)
    revision: Annotated[int, Column] = 1  # kept by the store


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a run or step run ended without completing.

    `reason` is one of: exception, exited, killed, out_of_memory, timeout, cancelled, output, input,
    environment, upstream, changed, disk_full, lost, upload, definition.
    """

    reason: str
    type: str = ""  # of the exception: `ValueError`
    message: str = ""
    traceback: str = ""  # the user's frames, cause last
    mend: str = ""


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One distribution in an environment."""

    name: str  # normalised (PEP 503)
    version: str
    digest: str = ""  # of the wheel, `sha256:…`; empty where it is not known, as in a client's environment
    file: str = ""  # the wheel's file name
    size: int = 0  # of the wheel, in bytes; 0 where the index did not say
    builder: str = ""  # digest of the environment that built it, where it came as source
    origin: str = ""  # installed from no index: the folder of an editable one, else a commit or digest

    @property
    def is_built(self) -> bool:
        """Whether it came as source, and its wheel was built on the machine that locked it."""
        return bool(self.builder) or (bool(self.file) and not self.file.endswith(".whl"))


class SystemPackage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A package beneath the Python packages of an environment: one that conda installed."""

    name: str
    version: str
    build: str  # tells builds of one version apart
    subdir: str  # what it is for, in conda's words: `linux-64`, `noarch`
    url: str = ""
    digest: str = ""  # `sha256:…`, or `md5:…` where the channel knows no better
    size: int = 0  # bytes, packed
    number: int = 0  # of the build
    noarch: str = ""  # `python` or `generic`
    depends: tuple[str, ...] = ()
    library: str = ""  # of a Python: where its site-packages are, when that is unusual


class Git(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the working tree."""

    commit: str
    branch: str
    dirty: bool


class ClientEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run was compiled."""

    python: str  # full version
    implementation: str
    executable: str
    platform: str  # `linux-x86_64`, and the release of the system
    tilth: str  # version
    environment: str = ""  # digest of its Environment; empty where an older tilth listed packages here
    git: Git | None = None


class ComponentUsed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run used of its stack: enough to open it again, whatever became of the component since."""

    flavor: str
    settings: dict[str, Json] = {}  # with `secret:NAME` in the places of secrets
    component: str = ""  # its name when the run was started


class Component(Record, frozen=True, kw_only=True):
    """One part that stacks of a project are made of."""

    kind: ClassVar[str] = "component"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "type", "name"),)

    project: Annotated[str, Indexed]
    type: Annotated[str, Column]  # one of `tilth.stack.component_types.TYPES`
    name: Annotated[str, Column]
    flavor: str
    settings: dict[str, Json] = {}  # those given, with `secret:NAME` in the places of secrets
    built_in: bool = False  # every project has it, and it is stored nowhere

    @property
    def used(self) -> ComponentUsed:
        """What a run remembers of it."""
        return ComponentUsed(flavor=self.flavor, settings=self.settings, component=self.name)


class Stack(Record, frozen=True, kw_only=True):
    """What runs of a project need: one component of each type that it has."""

    kind: ClassVar[str] = "stack"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "name"),)

    project: Annotated[str, Indexed]
    name: Annotated[str, Column]
    components: dict[str, str]  # type -> name
    built_in: bool = False  # every project has it, and it is stored nowhere


class Project(Record, frozen=True, kw_only=True):
    """What is remembered of a project besides what its own files say. Made when there is something."""

    kind: ClassVar[str] = "project"

    name: Annotated[str, Unique]
    stack: str = ""  # the one chosen by `tilth stack set`; empty when none was


class CodeDelivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the project's code comes to steps that run elsewhere. Holds no credential."""

    how: str = "bundle"  # `bundle`, `git` or `image`
    bundle: str = ""  # digest
    url: str = ""  # of a git repository, without user name and password where it is http
    commit: str = ""
    folder: str = ""  # of the project: in the repository, relative; in an image, absolute


class Run(Record, frozen=True, kw_only=True):
    """One execution of a pipeline."""

    kind: ClassVar[str] = "run"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("pipeline", "number"),)
    carried: ClassVar[tuple[str, ...]] = ("state", "started_at", "finished_at")
    carrying: ClassVar[tuple[tuple[str, ...], ...]] = ((), ("pipeline",))

    name: Annotated[str, Unique] = ""  # `PIPELINE-NUMBER`, given by the store
    pipeline: Annotated[str, Indexed]
    number: Annotated[int, Indexed] = 0  # counts runs of the pipeline, from 1; 0 until the store gives it
    state: Annotated[State, Indexed] = State.RUNNING
    parameters: dict[str, Json] = {}
    pipeline_digest: str = ""  # of the compiled pipeline
    bundle: str = ""  # digest of the code bundle
    code: CodeDelivery | None = None  # how it came to the steps; None where they read the working tree
    supervisor: str = ""  # digest of the environment that stands beside its steps; empty on this machine
    environments: dict[str, str] = {}  # name -> digest
    images: dict[str, str] = {}  # name of the environment -> digest of the image its steps ran in
    stack: str = ""  # name; empty for this machine alone
    orchestrator: ComponentUsed | None = None  # None: this machine
    client: ClientEnvironment | None = None
    artifact_store: ComponentUsed | None = None  # None: the home folder of the machine it ran on
    options: dict[str, Json] = {}  # those given, as `RunOptions` has them; and `rerun_of`, the name of a run
    snapshot: str = ""  # id of the one that it was started from, with no client present
    steps: int = 0  # nodes in the graph, map items not counted
    started_at: Annotated[Moment | None, Column] = None
    finished_at: Annotated[Moment | None, Column] = None
    fence: int = 1  # goes up each time a driver takes the run over; results of a lower fence are not taken
    failure: Failure | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Json] = {}


class OutputRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a step run gave under one name."""

    digest: str  # of the artifact's content
    artifact: str = ""  # id of its Artifact record; empty for an item of a mapped step


class StepRun(Record, frozen=True, kw_only=True):
    """One attempt to execute one step, or one item of a mapped step."""

    kind: ClassVar[str] = "step_run"
    # (run, index): a run's steps among thousands of items; (pipeline, step): how a step went before.
    together: ClassVar[tuple[tuple[str, ...], ...]] = (("run", "index"), ("pipeline", "step"))

    run: Annotated[str, Indexed]
    step: Annotated[str, Column]  # id of the node in the pipeline
    pipeline: Annotated[str, Column] = ""
    attempt: Annotated[int, Column] = 1  # 1 is the first try
    index: Annotated[int | None, Column] = None  # of the item, for a mapped step; None for the step itself
    state: Annotated[State, Indexed] = State.QUEUED
    cache_key: Annotated[str, Indexed] = ""
    cache_parts: dict[str, str] = {}  # what went into the key: name -> digest
    cache_reason: str = ""  # why it was, or was not, reused
    reused_from: str = ""  # id of the step run whose outputs were reused
    environment: str = ""  # digest; empty for the client's own
    inputs: dict[str, Json] = {}  # name -> literal, or {"$artifact": digest, "id": …, "from": …}
    outputs: dict[str, OutputRef] = {}
    started_at: Moment | None = None
    finished_at: Moment | None = None
    seconds: dict[str, float] = {}  # queued, environment, loading, running, saving
    peak_memory: int = 0  # bytes
    log_bytes: int = 0
    fence: int = 1
    failure: Failure | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Json] = {}
    run_metadata: dict[str, Json] = {}  # what it logged for the run


class Artifact(Record, frozen=True, kw_only=True):
    """One version of a named value that a step gave."""

    kind: ClassVar[str] = "artifact"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("name", "version"),)

    name: Annotated[str, Indexed]
    version: Annotated[int, Column] = 0  # counts artifacts of the name, from 1; 0 until the store gives it
    digest: Annotated[str, Indexed]  # of the content; also its place in the artifact store
    run: Annotated[str, Indexed] = ""  # that produced it
    step_run: Annotated[str, Column] = ""
    step: str = ""
    output: str = ""
    type: str = ""  # `module:qualname`
    materializer: str = ""  # `module:qualname`
    format: str = ""
    size: int = 0  # bytes, all files
    length: int | None = None  # of a collection
    visualizations: tuple[str, ...] = ()  # file names
    tags: tuple[str, ...] = ()
    metadata: dict[str, Json] = {}


class Environment(Record, frozen=True, kw_only=True):
    """A resolved environment. Its id is its digest."""

    kind: ClassVar[str] = "environment"

    name: Annotated[str, Indexed]
    role: Annotated[str, Column] = "execution"  # one of `tilth.records.roles.ROLES`
    lock: str = ""  # id of the Lock; empty for what was found installed
    python: str = ""  # major.minor
    platform: str = ""
    requirements: tuple[str, ...] = ()  # as declared
    packages: tuple[Package, ...] = ()
    system: tuple[SystemPackage, ...] = ()  # what conda installs beneath them
    variables: dict[str, str] = {}
    base: str = ""  # the image it stands on, by its digest; empty for a venv of the machine


class PackageContents(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one package of an environment says of itself, as the machine saw that has it."""

    headers: dict[str, tuple[str, ...]] = {}  # of its METADATA: what it requires, its summary and licence
    size: int = 0  # unpacked, in bytes; 0: not known
    requested: bool = False  # an installer noted that somebody asked for it by name


class EnvironmentContents(Record, frozen=True, kw_only=True):
    """What is known of the packages of an environment beyond its lock. Its id is the environment's digest."""

    kind: ClassVar[str] = "environment_content"

    packages: dict[str, PackageContents] = {}  # by name; those that the machine had


class CheckFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a check of an environment found."""

    level: str  # `error` or `warning`
    check: str  # `advisories`, `client`
    what: str
    why: str = ""
    mend: str = ""
    package: str = ""  # that it is about
    version: str = ""


class EnvironmentCheck(Record, frozen=True, kw_only=True):
    """What `tilth env check` found of an environment the last time. Its id is the environment's digest."""

    kind: ClassVar[str] = "environment_check"

    checked_at: Moment = msgspec.field(default_factory=now)
    advisories: bool = False  # whether known vulnerabilities were looked up
    compared: bool = False  # whether it was compared with what is installed: the client's
    findings: tuple[CheckFinding, ...] = ()


class Lock(Record, frozen=True, kw_only=True):
    """What a declaration was resolved to, as a PEP 751 document. Its id is the digest of the text."""

    kind: ClassVar[str] = "lock"

    text: str
    declaration: Annotated[str, Indexed] = ""  # digest of what was declared


class BuiltLayer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of an image."""

    digest: str  # of the blob: `sha256:…`
    size: int  # bytes, as it is stored and sent
    title: str  # `base`, `numpy 2.1.0`, `12 small packages`
    made: bool = False  # by this build; the others were there
    way: str = (
        ""  # how it came into the registry: `sent`, `copied`, `mounted`, `skipped`; empty where there is none
    )


class Build(Record, frozen=True, kw_only=True):
    """An image made for an environment, or found where another had pushed it.

    It is kept when the making begins, as running, and again at its end.
    """

    kind: ClassVar[str] = "build"

    key: Annotated[str, Indexed]  # of all that goes into the image: environment, base, settings
    environment: Annotated[str, Indexed]  # digest
    name: Annotated[str, Column] = ""  # of the environment
    state: Annotated[State, Column] = State.COMPLETED
    image: Annotated[str, Indexed] = ""  # digest of its manifest
    references: tuple[str, ...] = ()  # where it was pushed to, each with its digest
    base: str = ""  # reference, as it was given
    base_digest: str = ""
    platform: str = ""  # as images have it: `linux/amd64`
    builder: str = ""  # name of the component; empty for the client alone
    settings: dict[str, Json] = {}
    found: bool = False  # in the registry: somebody else had made it
    layers: tuple[BuiltLayer, ...] = ()
    bytes_made: int = 0
    bytes_sent: int = 0
    bytes_reused: int = 0  # of layers that the registry had, or that were mounted there
    seconds: dict[str, float] = {}  # by phase: lock, base, layers, push, attach
    log: str = ""  # file below the home folder of the machine that made it; a server has its own copy
    machine: str = ""  # where it was made, for people
    finished_at: Moment | None = None
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None


class CodeBundle(Record, frozen=True, kw_only=True):
    """The project's files at one moment. Its id is its digest."""

    kind: ClassVar[str] = "code_bundle"

    size: int = 0  # bytes
    files: int = 0
    root: str = ""  # where it was taken from


class Snapshot(Record, frozen=True, kw_only=True):
    """All that starts a pipeline with no client present."""

    kind: ClassVar[str] = "snapshot"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("name", "version"),)

    name: Annotated[str, Indexed]
    version: Annotated[int, Column] = 0  # counts snapshots of the name, from 1; 0 until the store gives it
    pipeline: Annotated[str, Column]
    file: str  # that defines the pipeline, relative to the project
    function: str = ""  # what it is called in there, where the file has several
    folder: str = "."  # that it was made in, and steps start in, relative to the project
    root: str = ""  # the project, on the machine that it was made on
    parameters: dict[str, Json] = {}  # those given
    signature: dict[str, Json] = {}  # name -> what the pipeline declares: `tilth.runtime.parameters.declared`
    pipeline_digest: str = ""
    compiled: str = ""  # digest of the object with the compiled pipeline
    bundle: str = ""  # digest of the code
    locks: dict[str, str] = {}  # platform -> digest of the Environment that the pipeline is compiled in
    python: str = ""  # major and minor version of that one
    environments: dict[str, str] = {}  # name -> digest of the Environment of steps
    git: Git | None = None  # state of the project when it was made
    stack: str = ""  # name
    components: dict[str, ComponentUsed] = {}  # type -> what the stack has
    options: dict[str, Json] = {}  # of its runs, as `RunOptions` has them
    image: str = ""  # that its runs are driven in, with the environment they are compiled in; empty: none
    machine: str = ""  # the only one that can start it, where its stack is of that machine; empty for any
    created_by: str = ""  # name of the user
    description: str = ""
    tags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As people write it: `nightly:3`."""
        return f"{self.name}:{self.version}"


KINDS: dict[str, type[Record]] = {
    each.kind: each
    for each in (
        Run,
        StepRun,
        Artifact,
        Environment,
        EnvironmentContents,
        EnvironmentCheck,
        Lock,
        CodeBundle,
        Build,
        Component,
        Stack,
        Project,
        Snapshot,
    )
}
