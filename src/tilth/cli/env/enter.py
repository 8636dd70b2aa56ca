"""`tilth env`: shell, checkout."""

from __future__ import annotations

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
