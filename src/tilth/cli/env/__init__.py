"""`tilth env`: environments, from their locks to their files. One file for each thing to do with them."""

from __future__ import annotations

from tilth.cli.env.check import check
from tilth.cli.env.compare import diff, export
from tilth.cli.env.enter import checkout, shell
from tilth.cli.env.keep import prune
from tilth.cli.env.lock import lock
from tilth.cli.env.look import list_environments, show
from tilth.cli.usage import group


@group("env")
def env() -> None:
    """Lock, look at, compare and enter environments, and recreate past ones.

    An environment is named by its name, for the newest one, or by its digest or the beginning of one.
    """


for _command in (list_environments, show, lock, check, diff, export, shell, checkout, prune):
    env.add_command(_command)
