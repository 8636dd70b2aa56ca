"""`tilth run` and `tilth plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.usage import Misuse, json_option, traceback_option
from tilth.define.options import FAILURE_MODES
from tilth.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.client.driving import RunOptions
    from tilth.client.plan import Plan, PlannedEnvironment
    from tilth.records import Run


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how steps are run, for every command that may run some."""
    for option in (
        click.option("--offline", is_flag=True, help="Ask no package index."),
        click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Steps that run at once."),
        click.option(
            "--failure-mode",
            type=click.Choice(FAILURE_MODES),
            help="What a failed step means for the others.",
        ),
    ):
        command = option(command)
    return command


def selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """What to run and how, the same for `run` and `plan`."""
    for option in (
        click.option("--stack", metavar="NAME", help="The stack to run on; by default the active one."),
        click.option("--python", metavar="PATH", help="The project's interpreter."),
        click.option(
            "--upgrade-package",
            "upgrade_packages",
            multiple=True,
            metavar="PACKAGE",
            help="Resolve environments that have it again, for a newer version of this one; may be repeated.",
        ),
        click.option("--upgrade", is_flag=True, help="Resolve environments again, for newer packages."),
        run_options,
        click.option("--no-cache", is_flag=True, help="Run every step, reuse nothing."),
        click.option(
            "--param",
            "parameters",
            multiple=True,
            metavar="NAME=VALUE",
            help="A parameter of the pipeline; may be repeated.",
        ),
        click.argument("target", metavar="FILE[:PIPELINE]"),
    ):
        command = option(command)
    return command


@click.command()
@selection
@click.option("--in-process", is_flag=True, help="Run steps in one process, one at a time, for a debugger.")
@click.option("--detach", "-d", is_flag=True, help="Leave the run to a driver in the background.")
@json_option
@traceback_option
def run(
    *,
    target: str,
    parameters: Sequence[str],
    in_process: bool,
    detach: bool,
    as_json: bool,
    traceback: bool,
    **options: Any,
) -> int:
    """Run a pipeline.

    FILE is a Python file; PIPELINE names one of several in it. What steps print goes to standard output,
    each line behind the step's name, and what is said about the run to standard error.
    """
    given = given_parameters(parameters)
    target = checked_target(target)
    from tilth.client.progress import listener
    from tilth.client.submit import run_file

    # A debugger talks to the terminal itself.
    if detach and in_process:
        raise Misuse("`--detach` and `--in-process` exclude each other: nobody would see the debugger")
    with listener(json=as_json, whole=traceback, live=not (in_process or detach)) as progress:
        done = run_file(target, given, _options(in_process=in_process, detach=detach, **options), progress)
    if detach:
        return _detached(done, as_json=as_json)
    return ended(done, as_json=as_json)


@click.command()
@selection
@click.option("--show-dockerfile", is_flag=True, help="Show what an image builder is given instead.")
@json_option
@click.option("--traceback", is_flag=True, expose_value=False, help="Show where an error comes from.")
def plan(
    *, target: str, parameters: Sequence[str], show_dockerfile: bool, as_json: bool, **options: Any
) -> None:
    """Show what a run would do, and why, without doing it."""
    given = given_parameters(parameters)
    target = checked_target(target)
    if show_dockerfile:
        from tilth.cli.build import dockerfiles
        from tilth.client.images import BuildOptions

        dockerfiles(
            target, given, BuildOptions(stack=options["stack"], python=options["python"]), as_json=as_json
        )
        return
    from tilth.cli.tables import to_json
    from tilth.client.submit import plan_file

    planned = plan_file(target, given, _options(**options))
    for warning in planned.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(to_json(planned.to_json()) if as_json else plan_text(planned))


def _detached(run: Run, *, as_json: bool) -> int:
    """Tell how to follow a run that goes on without this process."""
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(run))
    else:
        click.echo(f"run {run.name}: goes on in the background", err=True)
        click.echo(f"hint: `tilth runs logs --follow {run.name}`, `tilth runs cancel {run.name}`", err=True)
    return 0


def ended(run: Run, *, as_json: bool) -> int:
    """Print the record of an ended run when asked to; the exit code that tells how it ended."""
    from tilth.cli.main import DONE, FAILED, INTERRUPTED
    from tilth.records import State

    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(run))
    if run.state is State.CANCELLED:
        return INTERRUPTED
    return DONE if run.state.is_good else FAILED


def checked_target(target: str) -> str:
    """The target, once it is sure that there is such a file."""
    name = target
    if not Path(name).exists() and ":" in target:
        name = target.rpartition(":")[0]
    path = Path(name)
    if path.is_dir():
        inside = sorted(each.name for each in path.glob("*.py"))
        example = "pipeline.py" if "pipeline.py" in inside or not inside else inside[0]
        raise Misuse(f"`{name}` is a folder", mend=f"name the file in it, as `{path / example}`")
    if not path.exists():
        near = [str(each) for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        where = "" if path.is_absolute() else f" in `{Path.cwd()}`"
        hint = nearest(name, near)
        raise Misuse(
            f"there is no file `{name}`{where}", mend=hint if hint.startswith("did you mean") else ""
        )
    return target


def plan_text(plan: Plan) -> str:
    """A plan for people."""
    from tilth.cli.tables import table
    from tilth.client.wording import assignments, counted, short_digest

    reused = sum(step.cached is True for step in plan.steps)
    undecided = sum(step.cached is None for step in plan.steps)
    parts = [counted(len(plan.steps), "step")]
    to_run = len(plan.steps) - reused - undecided
    told = {"to run": to_run, "that depend on those": undecided, "reused": reused}
    parts += [f"{count} {what}" for what, count in told.items() if count]
    blocks = [f"pipeline {plan.pipeline}: {', '.join(parts)}"]
    if plan.stack:
        blocks[0] += f"\n  stack: {plan.stack}"
    if plan.parameters:
        blocks[0] += f"\n  parameters: {assignments(plan.parameters)}"
    if plan.environments:
        rows = [
            {
                "environment": each.name,
                "state": _environment_state(each),
                "digest": short_digest(each.digest),
                "packages": str(each.packages) if each.locked else "",
                "python": each.python,
                "steps": ", ".join(each.steps),
            }
            for each in plan.environments
        ]
        blocks.append(table(["environment", "state", "python", "packages", "digest", "steps"], rows))
    if plan.images:
        images = [
            {
                "image": ", ".join(each.environments),
                "plan": "reuse" if each.digest else "build",
                "why": each.reason,
                "base": each.base,
                "digest": short_digest(each.digest),
            }
            for each in plan.images
        ]
        blocks.append(table(["image", "plan", "why", "base", "digest"], images))
    does = {True: "reuse", False: "run", None: "depends"}
    steps = [
        {
            "step": f"{step.id} (mapped)" if step.mapped else step.id,
            "environment": step.environment,
            "plan": does[step.cached],
            "why": step.reason,
        }
        for step in plan.steps
    ]
    blocks.append(table(["step", "environment", "plan", "why"], steps))
    return "\n\n".join(blocks)


def _environment_state(planned: PlannedEnvironment) -> str:
    if not planned.locked:
        return "to be built, locked and made" if planned.unbuilt else "to be locked and made"
    return "ready" if planned.realised else "locked, to be made"


def given_parameters(parameters: Sequence[str]) -> dict[str, str]:
    """The value of each parameter, as it is written on the command line."""
    given: dict[str, str] = {}
    for each in parameters:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise Misuse(f"`--param {each}` is no parameter", mend="write `--param NAME=VALUE`")
        if name in given:
            raise Misuse(f"parameter `{name}` is given twice")
        given[name] = value
    return given


def _options(*, no_cache: bool, **options: Any) -> RunOptions:
    from tilth.client.driving import RunOptions

    return RunOptions(cache=False if no_cache else None, **options)
