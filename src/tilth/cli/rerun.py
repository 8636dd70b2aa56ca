"""`tilth runs rerun`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tilth.cli.run import ended, run_options
from tilth.cli.usage import Misuse, json_option, traceback_option


@click.command()
@click.argument("wanted", metavar="RUN[/STEP]")
@click.option("--local", is_flag=True, help="On this machine, wherever it ran before.")
@click.option("--debug", is_flag=True, help="A step: under pdb, on this terminal.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="A step: where to leave it.")
@click.option("--no-cache", is_flag=True, help="A run: run every step, reuse nothing.")
@run_options
@json_option
@traceback_option
def rerun(
    *,
    wanted: str,
    local: bool,
    debug: bool,
    keep: Path | None,
    no_cache: bool,
    as_json: bool,
    traceback: bool,
    **options: Any,
) -> int:
    """Run a past run, or one step of it, again.

    RUN: a new run of the whole pipeline as it was compiled, with the run's own code and locks; what has not
    changed is reused.

    RUN/STEP, or RUN/STEP[3] for an item of a mapped step: that step alone, with its recorded inputs, code and
    environment, in a folder of its own. Nothing is recorded. Whether each output is the same as recorded is
    told; the exit code is 0 when the step completed, and 1 when it failed. No limits of time or memory hold.
    """
    del local  # every run is, as yet
    if "/" in wanted:
        misplaced = {
            "--no-cache": no_cache,
            "--workers": options["workers"],
            "--failure-mode": options["failure_mode"],
        }
        _refuse(misplaced, "a whole run", f"name the run: `{wanted.partition('/')[0]}`")
        if debug and as_json:
            raise Misuse("`--debug` talks on standard output, which `--json` needs")
        return _step(wanted, debug=debug, keep=keep, offline=options["offline"], as_json=as_json)
    _refuse({"--debug": debug, "--keep": keep}, "one step", f"name one: `{wanted}/STEP`")
    from tilth.client import rerunning
    from tilth.client.driving import RunOptions
    from tilth.client.progress import listener

    given = RunOptions(cache=False if no_cache else None, **options)
    with listener(json=as_json, whole=traceback) as progress:
        run = rerunning.rerun(wanted, given, progress)
    return ended(run, as_json=as_json)


def _step(wanted: str, *, debug: bool, keep: Path | None, offline: bool, as_json: bool) -> int:
    from tilth.client.rerunning import rerun_step
    from tilth.settings import setting

    done = rerun_step(
        wanted,
        debug=debug,
        keep=keep,
        offline=offline or setting("offline") == "1",
        tell=lambda line: click.echo(line, err=True),
        stdout=2 if as_json else None,
    )
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(done.to_json()))
    if keep is not None:
        click.echo(f"  hint: it is in {keep}; `{keep / 'run'}` runs it once more", err=True)
    return done.code


def _refuse(given: dict[str, object], what: str, mend: str) -> None:
    for name, value in given.items():
        if value:
            raise Misuse(f"`{name}` is for {what}", mend=mend)
