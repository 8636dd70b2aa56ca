"""The command `tilth`: finds the command asked for, and tells what went wrong.

This file and a command's own are all that is loaded to print help; what a command needs, it imports when it
runs.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from tilth import __version__
from tilth.cli.usage import Group, misuse, tell
from tilth.errors import TilthError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {  # name -> (module, what `tilth --help` says about it)
    "run": ("run", "Run a pipeline."),
    "plan": ("run", "Show what a run would do, and why, without doing it."),
    "build": ("build", "Build the images of a pipeline's environments, without running it."),
    "builds": ("build", "Look at images that were built."),
    "runs": ("runs", "Look at runs; cancel, resume, rerun and delete them."),
    "snapshots": ("snapshots", "Keep pipelines on a server that starts them, and start them there."),
    "artifacts": ("artifacts", "Look at what steps gave, and copy it out."),
    "env": ("env", "Lock, look at, compare and enter environments, and recreate past ones."),
    "stack": (
        "stack",
        "Choose what runs are run on.",
    ),
    "component": ("component", "Register the parts that stacks are made of."),
    "integration": ("integration", "See and install what flavors of component need."),
    "server": ("server", "Start and stop a server for a team's records and runs."),
    "runner": ("runner", "Start runs that a server was asked for, on this machine."),
    "login": ("login", "Keep records on a server from now on."),
    "logout": ("login", "Keep records on this machine again, and end the login at the server."),
    "status": ("login", "Show where records are kept, and as whom."),
    "project": ("project", "Look at the projects of a server, and at who is in them."),
    "user": ("user", "Make and change users of a server."),
    "key": ("user", "Make and end API keys of a server, for CI jobs and programs: `TILTH_API_KEY`."),
    "schedules": ("schedules", "Have the server start runs of snapshots by the clock."),
    "webhooks": ("schedules", "Let other programs start runs of snapshots by signed requests."),
    "secret": ("secret", "Keep passwords and tokens for steps and package indexes."),
    "cache": ("cache", "Look at what is kept on this machine."),
    "doctor": ("doctor", "Look for what is wrong with this machine, and how to mend it."),
    "settings": ("settings", "Show every setting, its value and where that comes from."),
    "version": ("version", "Show the versions of tilth, Python and uv, and where the home folder is."),
}
# A group without a command shows its help: click before 8.2 does so without an exception.
_NO_COMMAND: tuple[type[Exception], ...] = tuple(
    filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)])
)
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


class Commands(Group):
    """A group that knows the names of its commands and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own signature
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"tilth.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, meaning) for name, (_, meaning) in COMMANDS.items()])


@click.group(
    "tilth",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="tilth %(version)s")
def cli() -> None:
    """ML pipelines in plain Python, each step in its own locked environment.

    \b
    tilth run FILE          run the pipeline in a file
    tilth plan FILE         show what that would do, and why
    tilth runs show NAME    see how a run went
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and end the process with its exit code."""
    # Every stream shows every text: half a surrogate pair in a file's name is no reason to crash.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
    if code == INTERRUPTED and arguments is None:  # else somebody called it, whose process goes on
        _leave_threads_behind(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    # click strips colour where there is no terminal, and leaves it to others to know this convention.
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result = cli.main(arguments, prog_name="tilth", standalone_mode=False, color=color)
    except click.UsageError as error:
        if isinstance(error, _NO_COMMAND):
            error.show()
        else:
            tell(misuse(error), color)
        return MISUSED
    except click.ClickException as error:
        tell(TilthError(error.format_message()), color)
        return FAILED
    except TilthError as error:
        if "--traceback" in arguments:
            _print_traceback(error)
        tell(error, color)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _hush()
        return FAILED
    except Exception as error:
        _print_traceback(error)
        click.echo("error: this is a bug in tilth; please report it with the lines above", err=True)
        return FAILED
    return result if isinstance(result, int) else DONE


def _leave_threads_behind(code: int) -> None:
    """End now where the interpreter would wait for threads first, as one that a store does not answer."""
    import atexit
    import threading

    if threading.active_count() > 1:  # daemons too: those of a pool are waited for
        atexit._run_exitfuncs()  # which end the programs that were started
        sys.stderr.flush()
        os._exit(code)


def _print_traceback(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)


def _hush() -> None:
    """Nobody reads standard output any more; what is still buffered goes nowhere, without a word at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
