"""Recreates a past run or step in a folder, from what is stored: its code, environments and inputs.

    README.txt          what is here
    code/               the project as it was
    .venv/              of a step; for a run, `.venv-NAME/` for each environment
    pylock.NAME.toml    what each was made from
    parameters.json     of the pipeline; for a run
    step/               the step's folder as its runtime gets it, `inputs/NAME/` with copies; for a step
    run                 runs the step again, here
    enter               of an environment of containers: opens a shell in one; for a run, `enter-NAME`

Nothing in it is needed by tilth, and pruning the home folder does not break it; where environments are images, those
have to stay in the engine.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth import environments as envs
from tilth.client.artifacts import open_artifacts
from tilth.client.bundle import bundle_path
from tilth.client.copies import Copies
from tilth.client.entering import SHELL, different_client
from tilth.client.environments import ProjectEnvironments
from tilth.client.lookup import Reference, find_run, find_step_run, parse_reference
from tilth.client.recorded import any_interpreter, client_differences, open_environment, open_run
from tilth.client.reopening import contained
from tilth.client.wording import moment, short_digest
from tilth.engine.archives import unpack
from tilth.engine.attempts import step_spec
from tilth.engine.nodes import NodeState
from tilth.engine.reuse import Reuse
from tilth.engine.values import Values
from tilth.environments.files import explaining_full_disk, remove_tree
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import Conflict, NotFound, SetupError, TilthError
from tilth.home import Home
from tilth.orchestrators import Task
from tilth.orchestrators.docker import container
from tilth.orchestrators.runtimes import installed_runtime
from tilth.records import Environment, OutputRef, StepRun
from tilth.runtime.folder import write_json
from tilth.settings import home_folder
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tilth.client.recorded import RecordedRun
    from tilth.client.reopening import Contained
    from tilth.engine.nodes import Unit
    from tilth.environments import Locked
    from tilth.ir.pipeline import Node, Pipeline
    from tilth.store import Store


@dataclass(frozen=True)
class CheckedOut:
    """What was recreated.

    Attributes:
        folder: Where.
        name: As `churn-3` or `churn-3/train`.
        pipeline: That of the run.
        step_run: None for a whole run.
        in_container: Whether the step runs in one.
    """

    folder: Path
    name: str
    pipeline: Pipeline
    step_run: StepRun | None
    in_container: bool = False


def check_out(wanted: str, folder: Path, *, offline: bool, tell: Callable[[str], None]) -> CheckedOut:
    """Recreate `RUN`, `RUN/STEP` or `RUN/STEP[3]` in a folder that is empty, or not there yet.

    Raises:
        Conflict: There is something in the folder.
        NotFound: There is no such run or step, or something it needs was deleted.
        SetupError: An environment is of another platform or Python than this machine has.
    """
    home = Home(home_folder())
    named = parse_reference(wanted)
    folder = folder.absolute()
    with contextlib.closing(open_store(home)) as store:
        recorded = open_run(find_run(store, named.run), home)
        run = recorded.run
        name = str(Reference(run.name, named.step, named.index))
        step_run = None
        with explaining_full_disk(f"`{name}`", folder), _made_aside(folder) as aside:
            _write(aside / ".gitignore", "*\n")  # wherever it is, it is no part of a project
            checkout = _Checkout(recorded, store, home, aside, folder, offline, tell)
            if named.step:
                step_run = find_step_run(store, run, named.step, named.index)
                checkout.step(step_run, name)
            else:
                checkout.run()
    return CheckedOut(folder, name, recorded.pipeline, step_run, bool(checkout.contained))


@contextlib.contextmanager
def _made_aside(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when all went well, and is gone when not.

    What a killed process left is cleared away by the next one.
    """
    if folder == Path.cwd():
        raise Conflict(f"`{folder}` is the current folder", mend="name one that is not there yet")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"`{folder}` is not empty", mend="name a folder that is empty, or not there yet")
    aside = folder.with_name(f".{folder.name}.checkout")
    other = Conflict(f"another process is checking something out to `{folder}`", mend="wait for it to end")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(
            f"`{folder}` cannot be made: {error.strerror}", why=f"in `{aside.parent}`"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if aside.stat().st_ino != os.fstat(descriptor).st_ino:
                raise other
        except (BlockingIOError, FileNotFoundError):
            raise other from None
        for left in aside.iterdir():
            remove_tree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield aside
            aside.rename(folder)
        except BaseException:
            remove_tree(aside)
            raise
    finally:
        os.close(descriptor)


class _Checkout:
    """One checkout while it is made in `aside`, which becomes `folder`."""

    def __init__(
        self,
        recorded: RecordedRun,
        store: Store,
        home: Home,
        aside: Path,
        folder: Path,
        offline: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._recorded = recorded
        self._run = recorded.run
        self._pipeline = recorded.pipeline
        self._store = store
        self._home = home
        self._aside = aside
        self._folder = folder
        self._offline = offline
        self._tell = tell
        self.contained: dict[str, Contained] = {}  # environments of containers, by name
        self._locks: dict[str, Locked] = {}

    def run(self) -> None:
        """The whole run: code, one venv for each environment, parameters."""
        self._code()
        what = {}
        for name, digest in self._run.environments.items():
            what.update(self._environment(self._recorded_as(digest), name, f".venv-{name}"))
            if name in self.contained:
                self._enter(name, f"enter-{name}", f".venv-{name}")
                what[f"enter-{name}"] = "opens a shell in a container with it, or runs a command"
        _write(self._aside / "parameters.json", json.dumps(self._run.parameters, indent=2) + "\n")
        what["parameters.json"] = "what the pipeline was called with"
        if any(node.environment is None for node in self._pipeline.nodes):
            what["(client)"] = f"steps without an environment ran in {self._interpreter(None)}"
        self._readme(f"run {self._run.name} of pipeline `{self._run.pipeline}`", what)

    def step(self, step_run: StepRun, name: str) -> None:
        """One step, or one item of a mapped step."""
        node = next((each for each in self._pipeline.nodes if each.id == step_run.step), None)
        if node is None:
            raise SetupError(f"the compiled pipeline of run `{self._run.name}` has no step `{step_run.step}`")
        if node.map and step_run.index is None:
            raise NotFound(f"step `{name}` is mapped", mend=self._which_item(step_run))
        values = self._given(node, step_run, name)
        state = NodeState(node, set(), {})
        state.resolve(values)
        unit = state.unit(step_run.index, values)
        self._code()
        if step_run.environment:
            environment = self._recorded_as(step_run.environment)
            declared = node.environment or environment.name
            what = self._environment(environment, declared, ".venv")
            lock: Locked | None = self._locks[declared]
            python = ".venv/bin/python"
        else:
            python, lock = self._interpreter(step_run), None
            what = {"(client)": f"it runs in the client's interpreter, {python}"}
        self._step_folder(unit, step_run, name, values)
        if self.contained:
            self._enter(declared, "enter", ".venv")
            what["enter"] = "opens a shell in a container with it, or runs a command: `./enter python`"
            self._contained_script(name, declared, node.secrets)
        else:
            self._script(name, python, lock, node.secrets)
        what["step/"] = "what it is given: `step.json`, and copies of its inputs"
        what["run"] = "runs it again here, and compares what it gives; `./run --debug` does so under pdb"
        if node.secrets:
            what["(secrets)"] = (
                f"`./run` needs the variables {', '.join(node.secrets)}, which are kept nowhere here"
            )
        self._readme(f"step {name} of pipeline `{self._run.pipeline}`", what)

    def _which_item(self, step_run: StepRun) -> str:
        items = [
            each
            for each in walk(self._store, StepRun, run=self._run.id, step=step_run.step)
            if each.index is not None
        ]
        failed = sorted({each.index for each in items if not each.state.is_good and each.index is not None})
        named = Reference(self._run.name, step_run.step, failed[0] if failed else 0)
        if failed:
            listed = ", ".join(map(str, failed[:5])) + (" …" if len(failed) > 5 else "")
            return f"name an item, as `{named}`; failed: {listed}"
        return f"name an item, as `{named}`"

    def _code(self) -> None:
        unpack(bundle_path(self._run.bundle, self._home), self._aside / "code")

    def _recorded_as(self, digest: str) -> Environment:
        return self._store.get(Environment, digest)

    def _lock(self, name: str) -> Locked:
        environment = self._recorded_as(self._run.environments[name])
        return open_environment(
            environment, self._store, self._home, within=self._recorded, offline=self._offline
        )

    def _environment(self, environment: Environment, name: str, place: str) -> dict[str, str]:
        """Have an environment at a place, or where it is an image in the engine; gives what there is, by file."""
        lock_file = f"pylock.{name}.toml"
        if not environment.base:
            lock = open_environment(
                environment, self._store, self._home, within=self._recorded, offline=self._offline
            )
            self._venv(lock, place, self._folder / place)
            what = {f"{place}/": f"environment `{name}`, made from {lock_file}"}
        else:
            with contained(
                environment, self._recorded, self._store, self._home, offline=self._offline, tell=self._tell
            ) as found:
                self.contained[name], lock = found, found.lock
                image = found.place.image
                if found.place.prefix is None:
                    what = {"(image)": f"environment `{name}` is the image `{image}` in the engine"}
                else:
                    self._venv(lock, place, Path(IN_IMAGE))
                    made = f"made from {lock_file} to be mounted into a container of `{image}`"
                    what = {f"{place}/": f"environment `{name}`, {made}"}
        self._locks[name] = lock
        _write(self._aside / lock_file, lock.text)
        return what

    def _venv(self, lock: Locked, place: str, moves_to: Path) -> None:
        envs.make_at(lock, self._aside / place, self._home, moves_to=moves_to, offline=self._offline)

    def _interpreter(self, step_run: StepRun | None) -> str:
        """The client's, with a word where it is not what it was."""
        interpreter = self._recorded.interpreter(self._home)
        if changed := client_differences(self._run, interpreter, self._store, self._home, step_run):
            self._tell(f"warning: {different_client(self._run, changed)}")
        return str(self._recorded.python)

    def _given(self, node: Node, step_run: StepRun, name: str) -> Values:
        """What the steps before gave to this one.

        Raises:
            NotFound: One of them gave nothing, or what it gave is gone.
        """
        artifacts = open_artifacts(self._home, self._run.artifact_store)
        values = Values(artifacts)
        record = step_run
        if step_run.index is not None:  # the record of an item does not repeat what is its step's
            with contextlib.suppress(NotFound):
                record = find_step_run(self._store, self._run, node.id)
        told = _references(record.inputs)
        for source, output in dict.fromkeys(node.sources()):
            digest = told.get((source, output)) or self._output(source, output)
            if digest is None:
                raise NotFound(
                    f"step `{name}` cannot be recreated: step `{source}`, whose `{output}` it needs, gave none",
                    mend=f"look at that one: `{Reference(self._run.name, source)}`",
                )
            if not artifacts.has(digest):
                raise NotFound(
                    f"an input of step `{name}` is gone: `{source}.{output}`, {short_digest(digest)}",
                    why="it was deleted, or pruned",
                    mend=f"make it again: `tilth runs rerun {self._run.name}`",
                )
            values.give(source, {output: OutputRef(digest=digest)})
        return values

    def _output(self, step: str, output: str) -> str | None:
        found = walk(self._store, StepRun, run=self._run.id, step=step, index=None)
        good = [each for each in found if each.state.is_good and output in each.outputs]
        return max(good, key=lambda each: (each.fence, each.attempt)).outputs[output].digest if good else None

    def _step_folder(self, unit: Unit, step_run: StepRun, name: str, values: Values) -> None:
        folder = self._aside / "step"
        inputs = {
            parameter: Copies(folder, parameter, name).place(expression)
            for parameter, expression in unit.state.inputs(unit.index, values).items()
        }
        environments = ProjectEnvironments(
            self._pipeline,
            root=self._recorded.root,
            interpreter=any_interpreter(self._recorded, self._home),
            home=self._home,
            offline=self._offline,
            given=self._readers(unit.node),
        )
        reuse = Reuse(
            self._pipeline,
            store=self._store,
            artifacts=open_artifacts(self._home, self._run.artifact_store),
            values=values,
            environments=environments,
            bundle=self._run.bundle,
            cache_on=False,
        )
        roots, _ = self._recorded.moved(self._folder / "code")
        spec = step_spec(
            unit,
            step_run.attempt,
            run=self._run,
            pipeline=self._pipeline,
            roots=roots,
            inputs=inputs,
            reuse=reuse,
        )
        folder.mkdir(exist_ok=True)
        write_json(folder / "step.json", spec)
        failure = step_run.failure
        write_json(
            folder / "recorded.json",
            {
                "state": step_run.state.value,
                "outputs": {output: ref.digest for output, ref in step_run.outputs.items()},
                "failure": {"type": failure.type, "reason": failure.reason, "message": failure.message}
                if failure
                else None,
            },
        )

    def _readers(self, node: Node) -> dict[str, Locked]:
        """The environments of the steps that read what this one gives: its formats depend on them."""
        names = {
            each.environment
            for each in self._pipeline.nodes
            if each.environment and any(source == node.id for source, _ in each.sources())
        }
        found = {}
        for name in names:
            if name in self._locks:
                found[name] = self._locks[name]
                continue
            with contextlib.suppress(TilthError):  # one that cannot be had here is left out of account
                found[name] = self._lock(name)
        return found

    def _script(self, name: str, python: str, lock: Locked | None, secrets: Mapping[str, str]) -> None:
        """What runs the step as `orchestrators.local` would, but on a terminal.

        Args:
            lock: Of its environment, if it has one.
            secrets: Their names by variable. Whoever runs the script gives the values.
        """
        here = self._folder
        settings = self._settings(name)
        lines = self._beginning(name)
        flags = ""
        if lock is not None:
            venv = shlex.quote(str(here / ".venv"))
            lines += [
                "unset PYTHONPATH PYTHONHOME CONDA_PREFIX",
                f"export VIRTUAL_ENV={venv}",
                *self._paths(lock),
                *(f"export {key}={shlex.quote(value)}" for key, value in sorted(lock.variables.items())),
            ]
            python, flags = str(here / python), " -I"
        lines += _wanting(secrets, name)
        lines.append(
            f'exec {shlex.quote(python)}{flags} "$tilth" again {shlex.quote(installed_runtime().cloudpickle)} '
            f'{shlex.quote(settings)} "$@"'
        )
        self._program("run", lines)

    def _settings(self, name: str) -> str:
        """What is told to what runs the step; see `runtime.again`."""
        return json.dumps({"folder": str(self._folder / "step"), "cwd": self._cwd(), "name": name})

    def _cwd(self) -> str:
        here = self._folder
        _, cwd = self._recorded.moved(here / "code")
        at = self._aside / Path(cwd).relative_to(here) if Path(cwd).is_relative_to(here) else Path(cwd)
        return cwd if at.is_dir() else str(here / "code")  # a folder without files, which no bundle has

    def _beginning(self, name: str) -> list[str]:
        return [
            "#!/bin/sh",
            f"# Runs step {name} again, as it is checked out here; `./run --help` tells how.",
            f"tilth={shlex.quote(str(installed_runtime().bootstrap))}",
            'if [ ! -f "$tilth" ]; then',
            '    echo "error: tilth is not at $tilth any more" >&2',
            f'    echo "  hint: check {name} out again" >&2',
            "    exit 1",
            "fi",
        ]

    def _program(self, name: str, lines: list[str]) -> None:
        _write(self._aside / name, "\n".join(lines) + "\n")
        (self._aside / name).chmod(0o755)

    def _contained_script(self, name: str, environment: str, secrets: Mapping[str, str]) -> None:
        """What runs the step in a container, as `orchestrators.docker` would, but on a terminal."""
        runtime = installed_runtime()
        found = self.contained[environment]
        python = [str(found.place.python), "-I", str(runtime.bootstrap), "again", runtime.cloudpickle]
        inside = [*python, self._settings(name)]
        lines = [*self._beginning(name), *_wanting(secrets, name)]
        before = ""
        if secrets:
            # As variables of the container, `docker inspect` would show them.
            lines += [
                f"cd {shlex.quote(str(self._folder / 'step'))} && rm -f .secrets-* || exit 1",
                "secrets=$PWD/$(umask 077 && mktemp .secrets-XXXXXXXX) || exit 1",
                *(_kept(variable) for variable in secrets),
            ]
            inside = ["/bin/sh", "-c", '. "$0"; rm -f "$0"; exec "$@"']
            before = f' "$secrets" {shlex.join([*python, self._settings(name)])}'
        starts = self._starts(found, ".venv", inside, reads=runtime.folders, cwd=self._cwd())
        self._program("run", [*lines, *starts[:-1], f'{starts[-1]}{before} "$@"'])

    def _enter(self, environment: str, program: str, place: str) -> None:
        """What opens a shell in a container with an environment."""
        found = self.contained[environment]
        script = f'[ $# -gt 0 ] && exec "$@"; {SHELL}'
        starts = self._starts(found, place, ["/bin/sh", "-c", script, environment], reads=[], cwd=self._cwd())
        told = f"# Opens a shell in a container with environment {environment}, or runs a command there."
        self._program(program, ["#!/bin/sh", told, *starts[:-1], f'{starts[-1]} "$@"'])

    def _starts(
        self, found: Contained, place: str, inside: list[str], *, reads: list[Path], cwd: str
    ) -> list[str]:
        """The lines of a script that start a container which sees the checkout; what it is given may be added."""
        settings, here = found.settings, found.place
        task = Task(
            label=found.name,
            folder=self._folder,
            python=here.python,
            prefix=self._folder / place if here.prefix is not None else None,
            variables={**here.variables, "PS1": f"({found.name}) $ "},
            cwd=cwd,
            image=here.image,
            run=self._run.id,
        )
        # `--name` would have to be another each time.
        options = [
            each for each in container(task, settings, "NAME", reads) if each not in ("--name", "NAME")
        ]
        started = shlex.join([inside[0], here.image, *inside[1:]])
        engine, hint = settings.engine, "install it, or check the step out on a machine that has it"
        return [
            f"if ! command -v {engine} >/dev/null; then",
            f'    echo "error: environment {found.name} is one of containers, and there is no {engine}" >&2',
            f'    echo "  hint: {hint}" >&2',
            "    exit 1",
            "fi",
            "terminal=",
            "if [ -t 0 ] && [ -t 1 ]; then terminal=--tty; fi",
            f"exec {shlex.join(options)} --pull=never --interactive $terminal --entrypoint {started}",
        ]

    def _paths(self, lock: Locked) -> list[str]:
        if not lock.system:
            return ['export PATH="$VIRTUAL_ENV/bin:$PATH"']
        conda = shlex.quote(str(envs.prefix_folder(lock.system, self._home)))
        return [
            f"export CONDA_PREFIX={conda} PYTHONNOUSERSITE=1",
            'export PATH="$VIRTUAL_ENV/bin:$CONDA_PREFIX/bin:$PATH"',
        ]

    def _readme(self, title: str, what: Mapping[str, str]) -> None:
        run = self._run
        listed = {"code/": f"the project's files, bundle {short_digest(run.bundle)}", **what}
        width = max(map(len, listed))
        lines = "\n".join(f"  {name.ljust(width)}  {meaning}" for name, meaning in listed.items())
        _write(
            self._aside / "README.txt",
            f"{title}, as it was on {moment(run.started_at or run.created_at)}\n\n{lines}\n\n"
            "Paths in it are absolute: do not move this folder, check out again. Files of environments are\n"
            "shared with tilth's store: replace one rather than change it. What the project kept out of version\n"
            "control is not in its code. This folder can be deleted at any time.\n",
        )


def _wanting(secrets: Mapping[str, str], name: str) -> list[str]:
    """Lines of a script that ends where a secret's variable is not set."""
    lines = []
    for variable, secret in secrets.items():
        told = f"error: variable `{variable}` is not set; the step gets secret `{secret}` in it"
        hint = f"  hint: `tilth runs rerun {name} --local` gives it what is kept"
        lines += [
            f'if [ -z "${{{variable}+set}}" ]; then',
            f"    printf '%s\\n' {shlex.quote(told)} {shlex.quote(hint)} >&2",
            "    exit 1",
            "fi",
        ]
    return lines


def _kept(variable: str) -> str:
    """A line of a script that adds a variable's value to the file of secrets, quoted."""
    quoted = f"""$(printf '%s.' "${variable}" | sed "s/'/'\\\\\\\\''/g")"""
    return f"""value={quoted}; printf "export {variable}='%s'\\n" "${{value%.}}" >>"$secrets\""""


def _references(shown: Any) -> dict[tuple[str, str], str]:
    """(step, output) -> digest, of the inputs as a record has them."""
    found: dict[tuple[str, str], str] = {}
    if isinstance(shown, dict):
        if "$artifact" in shown and "from" in shown:
            step, _, output = shown["from"].rpartition(".")
            return {(step, output): shown["$artifact"]}
        shown = list(shown.values())
    if isinstance(shown, list):
        for each in shown:
            found.update(_references(each))
    return found


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
