"""`tilth env`: shell, checkout."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse

if TYPE_CHECKING:
    from collections.abc import Sequence


# What comes after the environment is the command's, options included.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("environment", metavar="ENV|RUN/STEP")
@click.argument("command", nargs=-1, metavar="[-- COMMAND…]", type=click.UNPROCESSED)
@click.option("--offline", is_flag=True, help="Ask no package index.")
def shell(*, environment: str, command: Sequence[str], offline: bool) -> int:
    """Open a shell in an environment, or run a command.

    As a step would have it: its programs come first on the path, its variables are set. It is made from its
    lock when it is not there. RUN/STEP is the environment that step ran in, RUN/STEP[3] that of an item.

    The exit code is that of the command.
    """
    from tilth.client.entering import enter
    from tilth.settings import setting

    if command[:1] == ("--",):
        command = command[1:]
    elif command and command[0].startswith("-"):
        raise Misuse(
            f"`{command[0]}` is no program",
            mend=f"options come before the environment: `tilth env shell {command[0]} {environment}`",
        )
    return enter(
        environment,
        command,
        offline=offline or setting("offline") == "1",
        tell=lambda line: click.echo(line, err=True),
    )


@click.command()
@click.argument("wanted", metavar="RUN[/STEP]")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Ask no package index.")
def checkout(*, wanted: str, folder: Path, offline: bool) -> None:
    """Recreate a past run, or one step of it, in a folder.

    Its code, its environments and, for a step, its inputs, from what is stored; DIR/run runs the step again
    there. Works for a step that failed too. RUN/STEP[3] is an item of a mapped step. DIR/README.txt says what
    is where; nothing of tilth's needs the folder.
    """
    import time

    from tilth.client.checkout import check_out
    from tilth.client.wording import duration
    from tilth.settings import setting

    clock = time.perf_counter()
    made = check_out(
        wanted,
        folder,
        offline=offline or setting("offline") == "1",
        tell=lambda line: click.echo(line, err=True),
    )
    took = duration(time.perf_counter() - clock)
    what = f"step {made.name}" if made.step_run else f"run {made.name}"
    click.echo(f"{what}: checked out to {folder} in {took}", err=True)
    if made.step_run:
        script = shlex.quote(str(folder / "run"))
        click.echo(f"  hint: `{script}` runs it again, `{script} --debug` does so under pdb", err=True)
