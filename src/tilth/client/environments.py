"""The environments of one run: locks found or made before it starts, venvs made when a step first needs one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth import environments as envs
from tilth.client.wording import counted
from tilth.engine import events
from tilth.engine.environments import Place
from tilth.environments import background
from tilth.environments.choices import compose
from tilth.environments.explaining.import_names import usual_modules
from tilth.environments.names import normalised
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import NotFound, SetupError, TilthError, nearest
from tilth.records import Environment, Lock
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from tilth.client.targets import ImageTarget
    from tilth.environments import Interpreter, Inventory, Locked, Realised
    from tilth.environments.files import Shared
    from tilth.home import Home
    from tilth.ir.pipeline import Node, Pipeline
    from tilth.records import Package, StepRun


class Changed(NamedTuple):
    """An environment that a step wrote into."""

    digest: str
    since: datetime  # what ran in it from then on may have met the change
    told: str

    def met(self, step: StepRun) -> bool:
        """Whether a step ran in it."""
        return step.environment == self.digest and (
            step.finished_at is None or step.finished_at >= self.since
        )


class ProjectEnvironments:
    """What the driver asks about the environments of a compiled pipeline.

    Args:
        root: The code root, which relative paths in declarations are relative to.
        interpreter: The client's own.
        given: Locks to use as they are, by name of the environment: those of a run that is resumed.
        target: Where steps run in containers: what their environments are for.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        root: Path,
        interpreter: Interpreter,
        home: Home,
        offline: bool = False,
        given: Mapping[str, Locked] | None = None,
        target: ImageTarget | None = None,
        listener: events.Listener = lambda _: None,
    ) -> None:
        self._pipeline = pipeline
        self._root = root
        self._interpreter = interpreter
        self._home = home
        self._offline = offline
        self._target = target
        self._tell = listener
        self._locks: dict[str, Locked] = dict(given or {})
        self._declared: dict[str, tuple[dict[str, Any], Interpreter]] = {}
        self._made_locks: dict[str, float] = {}
        self._realising: dict[str, asyncio.Future[Realised]] = {}
        self.realised: dict[str, Realised] = {}
        self.images: dict[str, str] = {}  # name -> what its steps' containers are started from
        self._held: list[Shared] = []  # so that nobody takes one away under the steps of this run
        self._inventory: Inventory | None = None
        self.python = interpreter.minor

    @property
    def names(self) -> list[str]:
        """Environments that some step names."""
        used = {node.environment for node in self._pipeline.nodes}
        return [name for name in self._pipeline.environments if name in used]

    def find_locks(self) -> None:
        """Take the locks that are known already. Starts nothing, asks nobody."""
        for name in self.names:
            if name not in self._locks and (found := self._find(name)) is not None:
                self._locks[name] = found

    def make_locks(self, *, upgrade: Sequence[str] | bool = False) -> None:
        """Resolve what is not resolved yet, several at a time.

        Args:
            upgrade: Resolve all anew, or those that have one of these packages, for newer versions of them.
        Raises:
            TilthError: The first that cannot be resolved, in the order of declaration.
        """
        if upgrade is not True:
            self.find_locks()
        wanted = {name: self._upgrades(name, upgrade) for name in self.names}
        missing = [name for name in self.names if wanted[name] or name not in self._locks]
        if missing:
            locked = background.at_once(lambda name: self._lock(name, wanted[name]), missing)
            self._locks.update(zip(missing, locked, strict=True))
        if not isinstance(upgrade, bool):
            known = {name for lock in self._locks.values() for name in _names(lock)}
            absent = next((each for each in upgrade if normalised(each) not in known), "")
            if absent:
                raise NotFound(
                    f"no environment has a package `{absent}` to upgrade", mend=nearest(absent, known)
                )

    def make_lock(self, name: str) -> Locked:
        """The lock of one environment, resolved now if it never was.

        Raises:
            TilthError: It cannot be resolved.
        """
        if name not in self._locks:
            self._locks[name] = self._find(name) or self._lock(name, False)
        return self._locks[name]

    def _upgrades(self, name: str, upgrade: Sequence[str] | bool) -> Sequence[str] | bool:
        """What of an upgrade concerns one environment."""
        if isinstance(upgrade, bool):
            return upgrade
        lock = self._locks.get(name)
        has = _names(lock) if lock else set()
        return [each for each in upgrade if normalised(each) in has]

    def is_image(self, name: str | None) -> bool:
        """Whether an environment is a ready image, of whose packages nothing is known."""
        return name is not None and bool(self._pipeline.environments[name].get("image"))

    def make_unknown(self) -> None:
        """Make those of which it is not known here what they let a step import: any other can wait.

        Raises:
            TilthError: One of them cannot be made.
        """
        unknown = [
            name
            for name, lock in self._locks.items()
            if not self.is_image(name)
            and any(each is None for each in envs.modules(lock, self._home).values())
        ]
        if not unknown:
            return
        self.realised.update(zip(unknown, background.at_once(self._make, unknown), strict=True))

    def lock(self, name: str) -> Locked | None:
        """The lock of an environment, if it is known."""
        return self._locks.get(name)

    def records(self) -> list[Put]:
        """What to remember of the environments."""
        locks = list(self._locks.values())
        changes = [
            change
            for each in locks
            for change in records_of(
                each, role="execution", base=self._target.pinned(each.base) if self._target else ""
            )
        ]
        built = [each for each in locks if any(package.builder for package in each.packages)]
        builders = {made.digest: made for each in built for made in envs.builders_of(each, self._home)}
        for digest in builders.keys() - self.digests().values():
            changes += records_of(builders[digest], role="builder")
        return changes

    def digests(self) -> dict[str, str]:
        """Digest of each environment by its name."""
        return {name: each.digest for name, each in self._locks.items()}

    def inventory(self) -> Inventory:
        """What the client's interpreter has installed."""
        if self._inventory is None:
            self._inventory = envs.inventory(self._interpreter, self._home)
        return self._inventory

    def digest(self, name: str | None) -> str:
        """Of the resolved environment; empty for the client's own, or when it is not resolved."""
        if name is None:
            return ""
        found = self._locks.get(name)
        return found.digest if found else ""

    def minor(self, name: str | None) -> str:
        """Major and minor version of its Python."""
        if name is None:
            return self._interpreter.minor
        found = self._locks.get(name)
        return found.python if found else self.declared(name)[1].minor

    def unbuilt(self, name: str) -> str:
        """What has to be built below the packages of an environment before it can be locked; often nothing."""
        return self._target.unbuilt.get(name, "") if self._target is not None else ""

    def packages(self, node: Node) -> Iterable[Package]:
        """What the sources of a step reach in the client's interpreter."""
        return self._reach.packages(self._pipeline.outside[node.module])

    @functools.cached_property
    def _reach(self) -> envs.Reach:
        return envs.Reach(self.inventory(), self._interpreter, self._home)

    def readers(self, name: str | None) -> frozenset[str] | None:
        """Import names it has at the top level; None when that is not known."""
        if name is None:
            return frozenset(module for each in self.inventory().packages for module in each.modules)
        found = self._locks.get(name)
        if found is None or self.is_image(name):
            return None
        known = envs.modules(found, self._home)
        return frozenset(
            module
            for name, each in known.items()
            for module in (usual_modules(name) if each is None else each)
        )

    async def place(self, name: str | None) -> Place:
        """The interpreter of an environment, made if need be; many may ask at once."""
        if name is None:
            return Place(Path(self._interpreter.executable))
        lock = self._locks[name]
        python = Path(IN_IMAGE) / "bin" / "python"
        if self._target is not None and self.is_image(name):
            own = Path(self._target.base(lock.base).python)
            return Place(own, variables=lock.variables, image=self._target.image(lock.base))
        if name in self.images:
            return Place(python, variables=lock.variables, image=self.images[name])
        if name not in self.realised:
            self.ready_soon([name])
            self.realised[name] = await asyncio.shield(self._realising[name])
        realised = self.realised[name]
        if self._target is not None:
            variables = {
                "PATH": self._target.path(lock.base),
                "VIRTUAL_ENV": IN_IMAGE,
                **lock.variables,
            }
            return Place(python, realised.path, variables, image=self._target.image(lock.base))
        conda = envs.prefix_folder(lock.system, self._home) if lock.system else None
        return Place(realised.python, realised.path, lock.variables, conda)

    def ready_soon(self, names: Iterable[str | None]) -> None:
        """Begin to make environments that will be needed, without waiting."""
        for name in names:
            if name is None or name in self.images or self.is_image(name):
                continue
            if name not in self._realising and name not in self.realised:
                making = asyncio.wrap_future(background.in_thread(functools.partial(self._make, name)))
                making.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._realising[name] = making

    def _make(self, name: str) -> Realised:
        lock = self._locks[name]
        clock = time.perf_counter()
        made = envs.is_realised(lock, self._home)
        if not made:
            self._tell(events.EnvironmentStarted(name, "making"))
        realised, held = envs.use(lock, self._home, offline=self._offline)
        self._held.append(held)
        self._tell(
            events.EnvironmentReady(
                name,
                lock.digest,
                packages=len(lock.packages) + len(lock.system),
                locked=name in self._made_locks,
                created=realised.created,
                seconds=self._made_locks.get(name, 0.0) + time.perf_counter() - clock,
            )
        )
        return realised

    def look_again(self, *, suspected: bool) -> list[Changed]:
        """Put aside the environments that a step wrote into when nobody looked: its driver was killed.

        Args:
            suspected: Look only at those that were found changed, or may be, while others used them.
        """
        found = {
            name: envs.find_realised(lock, self._home, suspected=suspected)
            for name, lock in self._locks.items()
        }
        return self._put_aside(
            _find_changed({name: each for name, each in found.items() if each is not None})
        )

    def leave(self) -> list[Changed]:
        """Let go of the environments, and put aside those that a step wrote into."""
        self._tell = lambda _: None  # what is still being made is of no interest any more
        found = _find_changed(self.realised)
        while self._held:
            self._held.pop().close()
        return self._put_aside(found)

    def _put_aside(self, found: Iterable[tuple[str, Realised, list[str]]]) -> list[Changed]:
        told = []
        for name, each, changed in found:
            since = envs.created_at(each)
            aside = envs.quarantine(each, self._home)
            shown = ", ".join(f"`{path}`" for path in changed[:3]) + (" …" if len(changed) > 3 else "")
            then = (
                f"it is made anew when it is needed again, the changed one is in {aside}"
                if aside
                else "it is made anew when no other run uses it any more"
            )
            text = f"environment `{name}` was changed by a step ({counted(len(changed), 'file')}: {shown}); {then}"
            told.append(Changed(each.digest, since, text))
        return told

    def declared(self, name: str) -> tuple[dict[str, Any], Interpreter]:
        """What is declared, with what it takes from elsewhere written out, and the interpreter it is for."""
        if name not in self._declared:
            with self._asked_by_steps(name):
                expanded = envs.expand(
                    self._pipeline.environments[name],
                    root=self._root,
                    client=self.inventory,
                    imported=lambda: self._imported(name),
                )
                if self._target is not None:
                    python = self._target.interpreter(expanded)
                else:
                    from tilth.images.options import unused_without_containers  # here for cost

                    if told := unused_without_containers(expanded):
                        self._tell(events.Notice(told))
                    python = envs.find_interpreter(expanded.get("python"), self._interpreter, self._home)
                self._declared[name] = expanded, python
        return self._declared[name]

    def _imported(self, name: str) -> set[str]:
        """Top-level names of the packages that steps of an environment use, and of those their values are of."""
        pipeline = self._pipeline
        nodes = {node.id: node for node in pipeline.nodes}
        used: set[str] = set()
        for node in pipeline.nodes:
            if node.environment != name:
                continue
            used |= set(pipeline.needs.get(node.function, {}))
            given = [
                output.type
                for step, one in node.sources()
                for output in nodes[step].outputs
                if output.name == one
            ]
            kinds = {each.partition(".")[0] for each in [*given, *(output.type for output in node.outputs)]}
            used |= {kind for each in self.inventory().packages for kind in kinds & set(each.modules)}
        return used - {"tilth"}

    def _find(self, name: str) -> Locked | None:
        declared, interpreter = self.declared(name)
        if self.is_image(name):
            return self._of_image(declared, interpreter)
        with self._asked_by_steps(name):
            return envs.find_lock(declared, root=self._root, interpreter=interpreter, home=self._home)

    def _of_image(self, declared: Mapping[str, Any], interpreter: Interpreter) -> Locked:
        """A ready image: it is what its digest says, and nothing is installed."""
        return envs.open_lock(
            compose([]), declared, root=self._root, interpreter=interpreter, home=self._home
        )

    def _lock(self, name: str, upgrade: Sequence[str] | bool) -> Locked:
        clock = time.perf_counter()
        self._tell(events.EnvironmentStarted(name, "locking"))
        declared, interpreter = self.declared(name)
        with self._asked_by_steps(name):
            found = envs.lock(
                declared,
                root=self._root,
                interpreter=interpreter,
                home=self._home,
                upgrade=upgrade,
                offline=self._offline,
            )
        self._made_locks[name] = time.perf_counter() - clock
        return found

    @contextlib.contextmanager
    def _asked_by_steps(self, name: str) -> Iterator[None]:
        """Errors about an environment say which steps want it."""
        try:
            yield
        except TilthError as error:
            steps = [node.id for node in self._pipeline.nodes if node.environment == name]
            shown = ", ".join(f"`{each}`" for each in steps[:3]) + (", …" if len(steps) > 3 else "")
            wanted = f"environment `{name}` is that of {'step' if len(steps) == 1 else 'steps'} {shown}"
            error.why = "\n".join(filter(None, (error.why, wanted)))
            raise


def records_of(lock: Locked, *, role: str, base: str = "") -> list[Put]:
    """What to remember of a locked environment."""
    environment = environment_record(lock, role=role, base=base)
    return [Put(Lock(id=lock.lock, text=lock.text, declaration=lock.declaration)), Put(environment)]


def environment_record(lock: Locked, *, role: str = "execution", base: str = "") -> Environment:
    """The record of a locked environment.

    Args:
        base: The image it stands on, by its digest.
    """
    return Environment(
        id=lock.digest,
        name=lock.name,
        role=role,
        lock=lock.lock,
        python=lock.python,
        platform=lock.platform,
        requirements=lock.requirements,
        packages=lock.packages,
        system=lock.system,
        variables=lock.variables,
        base=base,
    )


def _find_changed(realised: Mapping[str, Realised]) -> list[tuple[str, Realised, list[str]]]:
    """Those whose files are not as they were made: name, venv, files. Each once, whatever it is called."""
    venvs = {each.digest: (name, each) for name, each in realised.items()}
    looked = [(name, each, envs.changed_files(each)) for name, each in venvs.values()]
    return [each for each in looked if each[2]]


def _base_again(name: str, environment: Environment, target: ImageTarget | None) -> Interpreter:
    """The Python of the base that a recorded environment stands on."""
    if target is None:
        raise SetupError(
            f"environment `{name}` was made for containers and does not run outside of them",
            why=f"its Python is that of its base image, `{environment.base}`",
            mend="run it on the stack that it was made for: `tilth runs rerun RUN`",
        )
    return target.interpreter({"name": name, "base_image": environment.base, "python": environment.python})


def _names(lock: Locked) -> set[str]:
    return {each.name for each in lock.packages} | {each.name for each in lock.system}


def reopen(
    records: Mapping[str, tuple[Environment, Lock]],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    declared: Mapping[str, Mapping[str, Any]],
    target: ImageTarget | None = None,
    offline: bool = False,
) -> dict[str, Locked]:
    """The locks of a recorded run, from its records.

    Raises:
        SetupError: One of them is for another Python or platform than this machine has.
    """
    opened = {}
    for name, (environment, lock) in records.items():
        if environment.base:
            wanted = _base_again(name, environment, target)
            opened[name] = envs.open_lock(
                lock.text,
                {**declared[name], "variables": environment.variables},
                root=root,
                interpreter=wanted,
                home=home,
                packages=environment.packages,
                offline=offline,
            )
            continue
        # Conda brings a Python of its own.
        python = None if environment.system else environment.python
        wanted = envs.find_interpreter(python, interpreter, home)
        if wanted.platform != environment.platform:
            raise SetupError(
                f"environment `{name}` was locked for {environment.platform}; this machine is {wanted.platform}",
                mend="start a new run: it makes a lock for this machine",
            )
        opened[name] = envs.open_lock(
            lock.text,
            # A conda file's variables are not in the declaration, but in what was made of it.
            {**declared[name], "variables": environment.variables},
            root=root,
            interpreter=wanted,
            home=home,
            packages=environment.packages,
            offline=offline,
        )
    return opened
