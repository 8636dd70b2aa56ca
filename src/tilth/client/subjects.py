"""What a person names to look at, compare or pass on: environments, runs, steps, the client, lock files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client import lookup
from tilth.client.differences import side_of_environment, side_of_lock
from tilth.errors import NotFound
from tilth.records import Environment, Lock
from tilth.records.roles import ROLES, behind, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.client.differences import Side
    from tilth.environments import Interpreter
    from tilth.environments.contents.lockfiles import LockedPackage
    from tilth.home import Home
    from tilth.records import Run
    from tilth.store import Store

CLIENT = "client"
_LOCKS = (".toml", ".lock", ".txt")


@dataclass(frozen=True)
class Subject:
    """What one name means: the environments of a run, or a single one, or a lock file."""

    label: str
    environments: tuple[Environment, ...] = ()
    run: Run | None = None
    path: Path | None = None  # of a lock file
    interpreter: Interpreter | None = None  # of the client as it is now

    @property
    def is_whole_run(self) -> bool:
        """Whether it may be several environments, which are told apart by name."""
        return self.run is not None and not self.label.count("/")


def find_subject(store: Store, home: Home, wanted: str) -> Subject:
    """What is meant by a name, a digest, `RUN`, `RUN/STEP`, `client`, or the path of a lock file.

    Raises:
        NotFound: Nothing is called so.
    """
    if wanted == CLIENT:
        return client_now(home)
    path = Path(wanted)
    if path.suffix in _LOCKS:  # no name and no step has a dot
        if not path.is_file():
            raise NotFound(f"there is no lock file `{wanted}`", mend=_beside(path))
        return Subject(wanted, path=path)
    if "/" in wanted:
        return _step(store, wanted)
    try:
        found = lookup.find_environment(store, wanted)
    except NotFound as no_environment:
        try:
            run = lookup.find_run(store, wanted)
        except NotFound as no_run:
            # Both are told what is nearest; the one that has something near is the better guess.
            near = [
                each
                for each in (no_environment, no_run)
                if each.mend.startswith(("did", "the newest", "say"))
            ]
            mend = near[0].mend if near else "`tilth env list` and `tilth runs list` show what there is"
            if wanted == "server":
                mend = "`tilth build --server` locks the environment of a server, and records it"
            raise NotFound(f"there is no environment and no run `{wanted}`", mend=mend) from None
        return Subject(run.name, tuple(environments_of_run(store, run)), run)
    return Subject(found.name, (found,))


def client_now(home: Home) -> Subject:
    """The interpreter of the project around the working directory, as it is now."""
    from tilth.client.installed import client_environment
    from tilth.environments import inventory, probe, project_interpreter

    interpreter = probe(project_interpreter(Path.cwd()), home)
    found = client_environment(interpreter, inventory(interpreter, home))
    return Subject(CLIENT, (found,), interpreter=interpreter)


def environments_of_run(store: Store, run: Run) -> list[Environment]:
    """Every environment that a run used, by role, under the names that the run has for them."""
    found = [
        (role, name, environment)
        for role, of in ROLES.items()
        for name, digest in of.of_run(run).items()
        if (environment := environment_with(store, digest)) is not None
    ]
    # What they were made with. Those have names of their own.
    digests = dict.fromkeys(digest for _, _, environment in found for digest in behind(environment))
    made = [environment for each in digests if (environment := environment_with(store, each)) is not None]
    found += [(each.role, each.name, each) for each in made]
    found.sort(key=lambda each: in_order(each[0]))
    return [_named(environment, name) for _, name, environment in found]


def environment_with(store: Store, digest: str) -> Environment | None:
    """The environment with this digest; None when none is recorded."""
    try:
        return store.get(Environment, digest)
    except NotFound:
        return None


def lock_text(store: Store, environment: Environment) -> str:
    """The lock of an environment; empty when none is recorded."""
    try:
        return store.get(Lock, environment.lock).text if environment.lock else ""
    except NotFound:
        return ""


def one_environment(subject: Subject) -> Environment:
    """The only environment of a subject that is no lock file.

    Raises:
        NotFound: It has several, or none.
    """
    if len(subject.environments) == 1:
        return subject.environments[0]
    executing = [each for each in subject.environments if each.role == "execution"]
    if len(executing) == 1:
        return executing[0]
    if not subject.environments:
        raise NotFound(
            f"nothing is recorded of the environments of `{subject.label}`",
            why="an older tilth made the run",
            mend="run the pipeline again",
        )
    listed = ", ".join(f"`{each.name}` ({each.id[:19]})" for each in executing)
    raise NotFound(
        f"run `{subject.label}` has several environments: {listed}",
        mend=f"name one by its digest, or by a step: `{subject.label}/STEP`",
    )


def sides(left: Subject, right: Subject, home: Home) -> tuple[list[Side], list[Side]]:
    """What to compare with what: runs by the names of their environments, else one with one.

    Raises:
        NotFound: A run is compared with a single environment, and it is not clear with which of its own.
    """
    if left.is_whole_run and right.is_whole_run:
        return [side_of_environment(each) for each in left.environments], [
            side_of_environment(each) for each in right.environments
        ]
    return [_side(left, right, home)], [_side(right, left, home)]


def _side(subject: Subject, other: Subject, home: Home) -> Side:
    if subject.path is not None:
        return side_of_lock(subject.path.name, locked_for(subject.path, other, home))
    if subject.is_whole_run and not other.is_whole_run:
        # A project's lock is called `pylock.NAME.toml`.
        wanted = (
            (other.environments[0].role, other.environments[0].name)
            if other.environments
            else ("execution", other.label.rpartition("/")[2].removeprefix("pylock.").removesuffix(".toml"))
        )
        same = [each for each in subject.environments if (each.role, each.name) == wanted]
        if same:
            return side_of_environment(same[0])
    return side_of_environment(one_environment(subject))


def locked_for(path: Path, other: Subject, home: Home) -> list[LockedPackage]:
    """What a lock file gives the interpreter of what it is compared with, else the project's."""
    from tilth.environments.contents.lockfiles import applicable, markers, read_lock_file

    found = read_lock_file(path)
    if not any(each.marker for each in found):
        return found
    if other.environments:
        environment = one_environment(other)
        return applicable(found, markers(environment.python, environment.platform))
    from tilth.environments import probe, project_interpreter

    return applicable(found, probe(project_interpreter(Path.cwd()), home).markers)


def _step(store: Store, wanted: str) -> Subject:
    reference = lookup.parse_reference(wanted)
    run = lookup.find_run(store, reference.run)
    step_run = lookup.find_step_run(store, run, reference.step, reference.index)
    names = {digest: name for name, digest in run.environments.items()}
    digest = step_run.environment or next(iter(ROLES["client"].of_run(run).values()), "")
    label = str(lookup.Reference(run.name, reference.step, reference.index))
    environment = environment_with(store, digest)
    if environment is None:
        raise NotFound(
            f"the environment of step `{label}` is not recorded",
            why=f"its digest is `{digest}`"
            if digest
            else "it ran in the client's, of which an older tilth kept none",
            mend="run the pipeline again",
        )
    return Subject(label, (_named(environment, names.get(digest, environment.name)),), run)


def _named(environment: Environment, name: str) -> Environment:
    """Two names may mean one environment; its record has the last one given."""
    if environment.name == name:
        return environment
    import msgspec

    return msgspec.structs.replace(environment, name=name)


def _beside(path: Path) -> str:
    from tilth.errors import nearest

    if not path.parent.is_dir():
        return ""
    return nearest(path.name, _lock_files(path.parent.iterdir()))


def _lock_files(paths: Iterable[Path]) -> list[str]:
    return [each.name for each in paths if each.suffix in _LOCKS]
