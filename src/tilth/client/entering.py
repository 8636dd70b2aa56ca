"""Opens a shell, or runs a command, in an environment as a step would have it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth import environments as envs
from tilth.client.driving import forget_for_reuse
from tilth.client.environments import Changed
from tilth.client.lookup import find_environment, find_run, find_step_run, parse_reference
from tilth.client.recorded import client_differences, newest_user, open_environment, open_run
from tilth.client.reopening import contained
from tilth.client.secrets import step_secrets
from tilth.client.wording import counted, duration
from tilth.errors import NotFound, SetupError, TilthError, nearest
from tilth.home import Home
from tilth.orchestrators import Task
from tilth.orchestrators.docker import container
from tilth.orchestrators.local import step_variables
from tilth.records import Environment, Run, StepRun, now
from tilth.settings import home_folder
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tilth.client.recorded import RecordedRun
    from tilth.client.reopening import Contained
    from tilth.environments import Locked, Realised
    from tilth.store import Store


@dataclass(frozen=True)
class Inside:
    """What is where a command runs.

    Attributes:
        name: Of the environment.
        python: Its interpreter.
        variables: All of a process in it.
        told: What it is, in a few words.
    """

    name: str
    python: Path
    variables: Mapping[str, str]
    told: str


def enter(wanted: str, command: Sequence[str], *, offline: bool, tell: Callable[[str], None]) -> int:
    """Run a command, or without one a shell, in an environment; gives its exit code.

    Args:
        wanted: An environment by name or digest, or `RUN/STEP`.
        tell: Told what a person should know, a line at a time.
    Raises:
        NotFound: There is no such environment, step or program.
    """
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        environment, run, step_run = _resolve(wanted, store)
        if environment is not None and environment.base:
            recorded = open_run(run, home) if run else newest_user(environment, store, home)
            with contained(environment, recorded, store, home, offline=offline, tell=tell) as found:
                return _in_container(found, recorded, step_run, command, home, tell)
        with _inside(environment, run, step_run, store, home, offline, tell) as inside:
            if command:
                return foreground(_found(command, inside), inside.variables)
            if sys.stdin.isatty():
                tell(f"{inside.told}; `exit` leaves it")
            with _shell(inside) as (shell, variables):
                return foreground(shell, variables)


def foreground(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    pass_fds: Sequence[int] = (),
    stdout: int | None = None,
    stderr: int | None = None,
) -> int:
    """Run a command on this terminal and give its exit code; 128 and the signal's number when one ended it.

    Ctrl-C is the command's own, and what would end this process is passed on to it.

    Args:
        pass_fds: To inherit.
        stdout, stderr: Where these go instead.
    """
    process: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: object) -> None:
        for each in process:
            each.send_signal(number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # Handlers, not SIG_IGN, which the command would inherit. A terminal sends the first two to both.
        for number in (signal.SIGINT, signal.SIGQUIT):
            before[number] = signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, pass_on)
    try:
        try:
            process.append(
                subprocess.Popen(command, env=variables, pass_fds=pass_fds, stdout=stdout, stderr=stderr)
            )
        except OSError as error:
            raise SetupError(f"`{command[0]}` does not start: {error.strerror}") from error
        code = process[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _inside(
    environment: Environment | None,
    run: Run | None,
    step_run: StepRun | None,
    store: Store,
    home: Home,
    offline: bool,
    tell: Callable[[str], None],
) -> Iterator[Inside]:
    if environment is None:
        assert run is not None
        yield _client(run, step_run, store, home, tell)
        return
    recorded = open_run(run, home) if run else None
    lock = open_environment(environment, store, home, within=recorded, offline=offline)
    secrets = _secrets(recorded, step_run, home, tell)
    realised, held = _ready(lock, store, home, offline, tell)
    opened = now()
    task = Task(
        label=lock.name,
        folder=Path.cwd(),
        python=realised.python,
        environment=lock.digest,
        prefix=realised.path,
        conda=envs.prefix_folder(lock.system, home) if lock.system else None,
        variables=lock.variables,
        secrets=secrets,
    )
    try:
        yield Inside(
            lock.name,
            realised.python,
            step_variables(task),
            f"environment {lock.name}: Python {lock.python}, {counted(len(lock.packages), 'package')}",
        )
    finally:
        changed = envs.changed_files(realised)
        held.close()
        if changed:
            told = f"environment `{lock.name}` was changed while it was open"
            _put_aside(realised, Changed(lock.digest, opened, told), changed, store, home, tell)


def _in_container(
    found: Contained,
    recorded: RecordedRun | None,
    step_run: StepRun | None,
    command: Sequence[str],
    home: Home,
    tell: Callable[[str], None],
) -> int:
    """Run a command, or a shell, in a container with the environment; it sees the current folder and the project."""
    here = Path.cwd()
    project = [recorded.root] if recorded is not None and recorded.root.is_dir() else []
    task = Task(
        label=found.name,
        folder=here,
        python=found.place.python,
        prefix=found.place.prefix,
        variables={**found.place.variables, "PS1": f"({found.name}) $ "},
        roots=tuple(map(str, project)),
        cwd=str(here),
        image=found.place.image,
        run=recorded.run.id if recorded is not None else "",
    )
    name = f"tilth-{found.name}-{os.urandom(5).hex()}"
    if not command and sys.stdin.isatty():
        told = f"Python {found.lock.python}, {counted(len(found.lock.packages), 'package')}"
        tell(f"environment {found.name} in a container of `{found.place.image}`: {told}; `exit` leaves it")
    with _secrets_file(_secrets(recorded, step_run, home, tell)) as (given, reads):
        options = [*container(task, found.settings, name, reads), "--pull=never", "--interactive"]
        if sys.stdin.isatty() and sys.stdout.isatty():
            options.append("--tty")
        script = f"{given}{_COMMAND if command else SHELL}"
        inside = ["--entrypoint", "/bin/sh", task.image, "-c", script, found.name, *command]
        return foreground([*options, *inside], os.environ)


SHELL = "command -v bash >/dev/null && exec bash --norc; exec sh"
# $0 is the environment.
_COMMAND = (
    'command -v "$1" >/dev/null || '
    '{ echo "error: environment \\`$0\\` has no program \\`$1\\` in its container" >&2; exit 1; }; exec "$@"'
)


@contextlib.contextmanager
def _secrets_file(secrets: Mapping[str, str]) -> Iterator[tuple[str, list[Path]]]:
    """What a shell in a container does to have secrets, and the file with them, which is gone afterwards.

    As variables of the container, `docker inspect` would show them.
    """
    if not secrets:
        yield "", []
        return
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, closed to everybody else
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tilth-", dir=place) as folder:
        file = Path(folder, "secrets")
        file.write_text("".join(f"export {key}={shlex.quote(value)}\n" for key, value in secrets.items()))
        yield f". {shlex.quote(str(file))}; ", [file]


def _resolve(wanted: str, store: Store) -> tuple[Environment | None, Run | None, StepRun | None]:
    """The environment that is meant, with the run and step if it is by them; None for the client's own."""
    if "/" in wanted:
        named = parse_reference(wanted)
        run = find_run(store, named.run)
        step_run = find_step_run(store, run, named.step, named.index)
        return (store.get(Environment, step_run.environment) if step_run.environment else None), run, step_run
    try:
        environment = find_environment(store, wanted)
        if not environment.lock:  # it was found installed, not made: the client's of some run
            return None, _compiled_in(environment, store), None
        return environment, None, None
    except NotFound:
        with contextlib.suppress(NotFound):
            run = find_run(store, wanted)
            steps = [each.step for each in walk(store, StepRun, order="created_at", run=run.id, index=None)]
            listed = ", ".join(f"`{run.name}/{step}`" for step in dict.fromkeys(steps[:5]))
            raise SetupError(
                f"`{wanted}` is a run; its steps have environments", mend=f"name one: {listed}"
            ) from None
        raise


def _compiled_in(environment: Environment, store: Store) -> Run:
    """The newest run whose client had this environment."""
    for run in walk(store, Run):
        if run.client and run.client.environment == environment.id:
            return run
    raise SetupError(
        f"environment `{environment.name}` has no lock, and no run was compiled in it",
        why="it was found installed somewhere; tilth cannot make it again",
    )


def _client(
    run: Run, step_run: StepRun | None, store: Store, home: Home, tell: Callable[[str], None]
) -> Inside:
    """The interpreter that steps of a run without an environment ran in."""
    recorded = open_run(run, home)
    interpreter = recorded.interpreter(home)
    if changed := client_differences(run, interpreter, store, home, step_run):
        tell(f"warning: {different_client(run, changed)}")
    folder = recorded.python.parent
    variables = {**os.environ, **_secrets(recorded, step_run, home, tell)}
    variables["PATH"] = f"{folder}{os.pathsep}{variables.get('PATH', os.defpath)}"
    if (folder.parent / "pyvenv.cfg").exists():
        variables["VIRTUAL_ENV"] = str(folder.parent)
    told = f"the client's interpreter of run {run.name}: Python {interpreter.version}"
    return Inside("client", recorded.python, variables, told)


def _secrets(
    recorded: RecordedRun | None, step_run: StepRun | None, home: Home, tell: Callable[[str], None]
) -> dict[str, str]:
    """What a step is given, by variable. To be without is no reason not to look around."""
    if recorded is None or step_run is None:
        return {}
    try:
        return step_secrets(recorded.pipeline, step_run.step, home)[0]
    except TilthError as error:
        tell(f"warning: {error.summary}" + (f"; {error.mend}" if error.mend else ""))
        return {}


def different_client(run: Run, changed: Sequence[str]) -> str:
    """What to say when the client's interpreter is not what it was."""
    more = f"; {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"the client's interpreter is not as it was in run `{run.name}`: {'; '.join(changed[:5])}{more}"


def _ready(
    lock: Locked, store: Store, home: Home, offline: bool, tell: Callable[[str], None]
) -> tuple[Realised, Any]:
    """The venv of a lock, held; made, or made anew, where it is not as it should be."""
    while True:
        if not envs.is_realised(lock, home):
            tell(f"making environment `{lock.name}`: {counted(len(lock.packages), 'package')}")
        realised, held = envs.use(lock, home, offline=offline)
        if realised.created:
            tell(f"made environment `{lock.name}` in {duration(realised.seconds)}")
            return realised, held
        changed = envs.changed_files(realised)
        if not changed:
            return realised, held
        held.close()
        told = f"environment `{lock.name}` was changed by whoever used it before"
        since = envs.created_at(realised)
        _put_aside(realised, Changed(lock.digest, since, told), changed, store, home, tell)


def _put_aside(
    realised: Realised,
    changed: Changed,
    files: Sequence[str],
    store: Store,
    home: Home,
    tell: Callable[[str], None],
) -> None:
    """Take a changed environment out of use, as a run does, and tell."""
    aside = envs.quarantine(realised, home)
    shown = ", ".join(f"`{path}`" for path in files[:3]) + (" …" if len(files) > 3 else "")
    then = (
        f"it is made anew when it is needed again, the changed one is in {aside}"
        if aside
        else "it is made anew when nobody uses it any more"
    )
    forget_for_reuse([changed], store, lambda _: None)
    tell(
        f"{changed.told} ({counted(len(files), 'file')}: {shown}); {then}; "
        "what ran in it meanwhile is not reused"
    )


def _found(command: Sequence[str], inside: Inside) -> Sequence[str]:
    """The command, once it is sure that there is such a program."""
    if shutil.which(command[0], path=inside.variables["PATH"]) is None:
        programs = {each.name for each in inside.python.parent.iterdir()}
        hint = nearest(command[0], programs)
        raise NotFound(
            f"environment `{inside.name}` has no program `{command[0]}`, and the path has none either",
            mend=hint if hint.startswith("did you mean") else "",
        )
    return command


@contextlib.contextmanager
def _shell(inside: Inside) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The user's shell, with a prompt that names the environment where the shell lets us."""
    shell = shutil.which(os.environ.get("SHELL") or "/bin/sh") or "/bin/sh"
    prompt = f"({inside.name}) "
    # Shells with a prompt of their own making, as starship or oh-my-zsh, look at the second one.
    variables = {**inside.variables, "VIRTUAL_ENV_PROMPT": inside.name, "PS1": f"{prompt}$ "}
    if Path(shell).name != "bash":
        yield [shell], variables
        return
    del variables["PS1"]
    with tempfile.TemporaryDirectory(prefix="tilth-") as folder:
        start = Path(folder, "bashrc")
        # After the user's own file, which may set either.
        start.write_text(
            "[ -f ~/.bashrc ] && . ~/.bashrc\n"
            f'PS1={shlex.quote(prompt)}"$PS1"\n'
            f'PATH={shlex.quote(str(inside.python.parent))}:"$PATH"\n'
        )
        yield [shell, "--rcfile", str(start)], variables
