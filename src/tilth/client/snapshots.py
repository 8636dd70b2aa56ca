"""Makes snapshots: what starts a pipeline with no client present, kept on a server."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from tilth import environments as envs
from tilth.client import checks
from tilth.client.artifacts import open_objects
from tilth.client.bundle import git_state, make_bundle
from tilth.client.compilation import compile_file, split_target
from tilth.client.environments import ProjectEnvironments, records_of
from tilth.client.running import running_on, server_store
from tilth.client.stacks import active_stack
from tilth.client.submit import check_environments
from tilth.client.targets import CLIENT
from tilth.engine import events
from tilth.engine.delivery import bundle_key
from tilth.errors import DefinitionError, NotFound, SetupError, nearest
from tilth.machine import this_machine
from tilth.records import CodeBundle, Run, Snapshot, new_id, now
from tilth.records.launching import Launch, Runner
from tilth.runtime.parameters import as_text
from tilth.settings import setting
from tilth.store import Delete, Put, encoding, walk
from tilth.store.http import HttpStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tilth.artifact_stores import ObjectStore
    from tilth.client.compilation import Compiled
    from tilth.environments import Locked
    from tilth.home import Home
    from tilth.stack.assembled import AssembledStack
    from tilth.store import Store

R = TypeVar("R", Launch, Runner)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOOPBACK = re.compile(r"(?:^|//|@)(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::|/|$)")
_ALIVE = timedelta(minutes=2)
# What an interpreter's platform is called where something is resolved for it from elsewhere.
_FOREIGN = {
    "linux-x86_64": "x86_64-manylinux",
    "linux-aarch64": "aarch64-manylinux",
    "linux-x86_64-musl": "x86_64-musllinux",
    "linux-aarch64-musl": "aarch64-musllinux",
    "macos-arm64": "macos-arm64",
    "macos-x86_64": "macos-x86_64",
}


@dataclass(frozen=True)
class Wanted:
    """What a snapshot is made of.

    Attributes:
        target: `FILE[:PIPELINE]`.
        parameters: As written on the command line.
        platforms: That the client's environment is locked for, besides this one and those of the runners.
        options: Of its runs, as `RunOptions` has them.
        anywhere: Steps that run where a run is started, may run on whatever machine a runner is on.
        in_image: Its runs are driven in the container of a runner image.
    """

    target: str
    name: str
    parameters: Mapping[str, str]
    stack: str | None = None
    platforms: Sequence[str] = ()
    options: Mapping[str, Any] | None = None
    description: str = ""
    python: str | None = None
    offline: bool = False
    anywhere: bool = False
    in_image: bool = False


def on_server(store: Store) -> HttpStore:
    """The store of a server.

    Raises:
        SetupError: Records are kept on this machine alone.
    """
    if not isinstance(store, HttpStore):
        raise SetupError(
            "snapshots are kept on a server, and started there",
            why="no server is chosen: records are kept in the home folder of this machine",
            mend="start one here with `tilth server start`, or log in at your team's: `tilth login URL`",
        )
    return store


def server_objects(home: Home, root: Path | None = None) -> ObjectStore:
    """Where a server keeps files of the project, code among them."""
    objects = open_objects(home, server_store(home, root or Path.cwd()))
    assert objects is not None, "records are on a server"
    return objects


def compiled_key(digest: str) -> str:
    """Where a compiled pipeline is kept."""
    return f"snapshots/{digest.partition(':')[2]}.json"


def create(wanted: Wanted, store: HttpStore, home: Home, listener: events.Listener) -> Snapshot:
    """Compile a pipeline, lock what it needs, and have the server keep all that starts it.

    Raises:
        TilthError: It cannot be compiled or locked, or its stack is of this machine alone.
    """
    if not _NAME.fullmatch(wanted.name):
        raise DefinitionError(
            f"`{wanted.name[:100]}` is no name for a snapshot",
            mend="give letters, digits, `.`, `_` and `-`, 100 at most",
        )
    compiled = compile_file(
        wanted.target, wanted.parameters, home=home, python=wanted.python or setting("python") or None,
        signature=True,
    )  # fmt: skip
    root = compiled.code.root
    stack = active_stack(home, root, wanted.stack, store=store)
    starter = None
    if wanted.in_image:
        from tilth.client import runner_images  # here for cost

        starter = runner_images.starter_of(stack, root, home)
    running = running_on(
        stack if starter is None else runner_images.stack_of_steps(stack, starter),
        root=root,
        interpreter=compiled.interpreter,
        home=home,
        tell=lambda text: listener(events.Notice(text)),
        offline=wanted.offline,
    )
    compiled = replace(compiled, pipeline=running.pipeline(compiled.pipeline))
    pipeline = compiled.pipeline
    environments = ProjectEnvironments(
        pipeline,
        root=root,
        interpreter=compiled.interpreter,
        home=home,
        offline=wanted.offline,
        target=running.target,
        listener=listener,
    )
    runners = [each for each in walk_runners(store) if is_alive(each)]
    bundle = make_bundle(compiled.code, home)
    if running.target is None and starter is None:
        checks.refuse_pythons(pipeline, compiled.interpreter, home)
    image = None
    if starter is not None:
        image = runner_images.make_runner_image(
            client_declaration(environments, root),
            stack,
            starter,
            root=root,
            interpreter=compiled.interpreter,
            steps=pipeline.environments,
            home=home,
            store=store,
            tell=lambda text: listener(events.Notice(text)),
            offline=wanted.offline,
        )
    environments.make_locks()
    check_environments(compiled, environments, home, store, listener)
    reasons = local_parts(stack, anywhere=wanted.anywhere)
    if image is not None:
        clients = {image.lock.platform: image.lock}
        reasons += [f"its runner image is in `{image.engine}` of this machine alone"] if image.engine else []
    else:
        platforms = [*wanted.platforms, *(each.platform for each in runners)]
        clients = lock_client(compiled, environments, platforms, home, listener, offline=wanted.offline)
        reasons += _folders_outside(clients.values(), root)
    reasons += _folders_outside(filter(None, map(environments.lock, environments.names)), root)
    machine = _machine_for(stack, list(dict.fromkeys(reasons)), runners)

    target, function = split_target(wanted.target)
    objects = server_objects(home, root)
    if objects.find(bundle_key(bundle.digest)) is None:
        objects.put(bundle_key(bundle.digest), bundle.path)
    text = json.dumps(pipeline.to_json()).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    objects.put(compiled_key(digest), text)
    code = CodeBundle(id=bundle.digest, size=bundle.size, files=bundle.files, root=str(root))
    changes: list[Put] = [Put(code), *environments.records()]
    for each in clients.values() if image is None else ():
        changes += records_of(each, role=CLIENT)
    store.write(_once(changes))
    snapshot = Snapshot(
        name=wanted.name,
        pipeline=pipeline.name,
        file=target.relative_to(root).as_posix(),
        function=function or "",
        folder=_folder_in(root),
        root=str(root),
        parameters=dict(wanted.parameters),
        signature=compiled.signature,
        pipeline_digest=pipeline.digest(),
        compiled=digest,
        bundle=bundle.digest,
        locks={platform: each.digest for platform, each in clients.items()},
        python=compiled.interpreter.minor,
        environments=environments.digests(),
        git=git_state(root),
        stack=running.stack if starter is None else stack.name,
        components={type_: each.used for type_, each in stack.components.items()},
        options=dict(wanted.options or {}),
        image=image.reference if image is not None else "",
        machine=machine,
        created_by=_user(store),
        description=wanted.description,
        tags=pipeline.tags,
    )
    return store.add(snapshot)[0]


def find_snapshot(store: Store, wanted: str) -> Snapshot:
    """The snapshot of a name, the newest version; or of `NAME:VERSION`, or of an id.

    Raises:
        NotFound: There is none; the hint names the nearest.
    """
    name, colon, version = wanted.rpartition(":")
    if colon and version.isdecimal() and int(version) < 1 << 62:
        found = store.find(Snapshot, name=name, version=int(version), limit=1).items
    else:
        found = store.find(Snapshot, name=wanted, order="-version", limit=1).items
        found = found or store.find(Snapshot, id_prefix=wanted, limit=2).items if len(wanted) >= 4 else found
    if len(found) == 1:
        return found[0]
    names = sorted({each.name for each in islice(walk(store, Snapshot), 500)})
    if colon and name in names:
        newest = store.find(Snapshot, name=name, order="-version", limit=1).items[0]
        raise NotFound(f"snapshot `{name}` has no version {version}", mend=f"its newest is `{newest.label}`")
    raise NotFound(
        f"there is no snapshot `{wanted}`",
        mend=nearest(
            wanted.partition(":")[0],
            names,
            "`tilth snapshots list` shows what there is"
            if names
            else "`tilth snapshots create FILE --name NAME` makes one",
        ),
    )


def delete(store: Store, snapshot: Snapshot) -> None:
    """Forget a snapshot. Its runs stay; those that still wait for a runner fail."""
    store.write([Delete(Snapshot, snapshot.id)])


def launch(
    store: HttpStore, snapshot: Snapshot, parameters: Mapping[str, str], *, key: str | None = None
) -> Launch:
    """Ask for a run of a snapshot.

    Args:
        key: Asked for again with the same one, nothing more is started. By default each call has its own, so that a
            request that is sent again, as its answer did not come, asks for one run.
    Raises:
        TilthError: The parameters are not what the pipeline declares.
    """
    body = encoding.encode({"parameters": dict(parameters), "key": key or new_id()})
    path = f"{_project(store)}/snapshots/{quote(snapshot.id, safe='')}/runs"
    return _decode(store.api.request("POST", path, body), Launch)


def find_launch(store: HttpStore, id: str) -> Launch:  # noqa: A002
    """A run that was asked for, as it stands."""
    return _decode(store.api.request("GET", f"{_project(store)}/launches/{quote(id, safe='')}"), Launch)


def find_launches(store: HttpStore, limit: int, **where: str) -> tuple[list[Launch], str | None]:
    """Runs that were asked for, newest first, and whether there are more."""
    asked = "&".join(f"{name}={quote(value)}" for name, value in where.items())
    answer = store.look("GET", f"/launches?limit={limit}&{asked}")
    if answer is None:
        return [], None
    page = encoding.decode_parts(answer)
    return [_decode(bytes(each), Launch) for each in page.items], page.next


def runs_of(store: Store, launches: Sequence[Launch]) -> dict[str, Run]:
    """The runs that were started for launches, by id; a launch that still waits has none."""
    wanted = [each.run for each in launches if each.run]
    return {each.id: each for each in store.find(Run, id=wanted, limit=len(wanted))} if wanted else {}


def cancel_launch(store: HttpStore, id: str) -> Launch:  # noqa: A002
    """End a run that was asked for.

    Raises:
        Conflict: It is over.
    """
    path = f"{_project(store)}/launches/{quote(id, safe='')}/cancel"
    return _decode(store.api.request("POST", path), Launch)


def walk_runners(store: HttpStore) -> Iterator[Runner]:
    """The runners of a server."""
    after = ""
    while True:
        page = encoding.decode_parts(store.api.request("GET", f"/runners?limit=200{after}"))
        yield from (_decode(bytes(each), Runner) for each in page.items)
        if page.next is None:
            return
        after = f"&after={quote(page.next)}"


def is_alive(runner: Runner) -> bool:
    """Whether a runner was heard of lately."""
    return runner.seen_at is not None and now() - runner.seen_at < _ALIVE


def takes(runner: Runner, launch: Launch) -> bool:
    """Whether a runner is one that would start a launch."""
    platform = not launch.platforms or runner.platform in launch.platforms
    ours = runner.project in ("", launch.project) and launch.machine in ("", runner.machine)
    return ours and platform


def lock_client(
    compiled: Compiled,
    environments: ProjectEnvironments,
    platforms: Iterable[str],
    home: Home,
    listener: events.Listener,
    *,
    offline: bool = False,
) -> dict[str, Locked]:
    """Locks of what the client's interpreter has installed, tilth aside, by platform.

    The project itself, where it is installed too, is left out: its code comes in the bundle.

    Raises:
        TilthError: It cannot be had for one of the platforms.
    """
    root = compiled.code.root
    declared = client_declaration(environments, root)
    here = compiled.interpreter
    found: dict[str, Locked] = {}
    for platform in dict.fromkeys([here.platform, *platforms]):
        listener(events.EnvironmentStarted(f"{CLIENT} ({platform})", "locking"))
        wanted = here
        if platform != here.platform:
            wanted = envs.foreign(_FOREIGN.get(platform, platform), here.minor)
        found[wanted.platform] = envs.lock(
            declared, root=root, interpreter=wanted, home=home, offline=offline
        )
    return found


def client_declaration(environments: ProjectEnvironments, root: Path) -> dict[str, Any]:
    """What the client's interpreter has installed, without tilth and the project itself, as an environment."""
    inventory = environments.inventory()
    kept = tuple(each for each in inventory.packages if not _is_project(each.editable, root))
    inventory = msgspec.structs.replace(inventory, packages=kept)
    return envs.expand(
        {"name": CLIENT, "source": "client"}, root=root, client=lambda: inventory, imported=lambda: ()
    )


def local_parts(stack: AssembledStack, *, anywhere: bool = False) -> list[str]:
    """What of a stack is only on the machine that looks, each in a sentence.

    Args:
        anywhere: Steps may run on whatever machine a runner is on.
    """
    told = []
    for type_, each in stack.components.items():
        label = f"{type_.replace('_', ' ')} `{each.name}`"
        if type_ == "orchestrator" and each.flavor == "local" and not anywhere:
            told.append(f"its {label} runs steps on the machine that a run is started on")
        for name, value in each.settings.items():
            for text in _texts(value):
                if text.startswith(("/", "~", "file:")):
                    told.append(f"`{name}` of its {label} is a place on this machine: `{text}`")
                elif _LOOPBACK.search(text):
                    told.append(f"`{name}` of its {label} is an address of this machine: `{text}`")
    return told


def as_given(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as they are written on a command line."""
    return {name: as_text(value) for name, value in parameters.items()}


def _machine_for(stack: AssembledStack, reasons: Sequence[str], runners: Iterable[Runner]) -> str:
    """The only machine that can start what is made; empty where any can.

    Raises:
        SetupError: Something is of this machine, and the server has no runner here.
    """
    if not reasons:
        return ""
    machine = this_machine()
    if any(each.machine == machine for each in runners):
        return machine
    raise SetupError(
        f"stack `{stack.name}` does not go beyond this machine",
        why="\n".join(reasons),
        mend="make the snapshot with a stack that others reach: `--stack NAME`; let steps run on the machine of any "
        "runner: `--anywhere`; or start a runner here: `tilth runner start`",
    )


def _folders_outside(locks: Iterable[Locked], root: Path) -> list[str]:
    """What of locks lies in folders of this machine that are not the project's."""
    told = []
    for lock in locks:
        for package, source in zip(lock.packages, lock.sources, strict=True):
            match = re.search(r'[{,] path = ("(?:[^"\\]|\\.)+")', source)
            path = Path(json.loads(match[1])) if match else root
            if not path.is_relative_to(root):
                told.append(
                    f"package `{package.name}` of environment `{lock.name}` is from `{path}`, outside of the project"
                )
    return list(dict.fromkeys(told))


def _is_project(editable: str, root: Path) -> bool:
    return bool(editable) and Path(editable).resolve() == root.resolve()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _once(changes: Iterable[Put]) -> list[Put]:
    return list({(type(each.record), each.record.id): each for each in changes}.values())


def _folder_in(root: Path) -> str:
    here = Path.cwd()
    return here.relative_to(root).as_posix() if here.is_relative_to(root) else "."


def _user(store: HttpStore) -> str:
    told = msgspec.json.decode(store.api.request("GET", "/me"), type=dict[str, Any])
    return str(told["user"]["name"])


def _project(store: HttpStore) -> str:
    return f"/projects/{quote(store.project, safe='')}"


def _decode(body: bytes, kind: type[R]) -> R:
    return encoding.decode(body, msgspec.json.Decoder(kind), kind)
