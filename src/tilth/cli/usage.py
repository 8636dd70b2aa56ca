"""How commands are found, and what is said when one is used wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tilth.errors import TilthError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

json_option = click.option("--json", "as_json", is_flag=True, help="Print records as JSON.")
# `main` looks for it too, when it tells of an error.
traceback_option = click.option("--traceback", is_flag=True, help="Leave nothing out of a traceback.")


class Misuse(click.UsageError):
    """The command line asks for something that makes no sense; `why` may say why, `mend` what would."""

    def __init__(
        self, message: str, *, why: str = "", mend: str = "", ctx: click.Context | None = None
    ) -> None:
        super().__init__(message, ctx)
        self.why = why
        self.mend = mend


class Group(click.Group):
    """A group that lists its commands as they are declared, and offers the nearest for a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            mend = nearest(args[0], self.list_commands(ctx))
            raise Misuse(f"`{ctx.command_path}` has no command `{args[0]}`", mend=mend, ctx=ctx)
        return super().resolve_command(ctx, args)


def group(name: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Declare a noun whose commands are listed in its own file."""
    return click.group(name, cls=Group)


def misuse(error: click.UsageError) -> TilthError:
    """A misuse in the form of tilth's own errors."""
    context = error.ctx
    path = context.command_path if context else "tilth"
    message = error.format_message().rstrip(".")
    why, mend = "", f"`{path} --help` shows how it is used"
    if isinstance(error, Misuse):
        why, mend = error.why, error.mend or mend
    elif isinstance(error, click.NoSuchOption) and context:
        message = f"`{path}` has no option `{error.option_name}`"
        known = [name for each in context.command.params for name in each.opts if name.startswith("-")]
        mend = nearest(error.option_name, known)
    elif isinstance(error, click.MissingParameter) and error.param and context:
        needed = error.param
        name = needed.opts[0] if isinstance(needed, click.Option) else needed.human_readable_name
        message = f"`{path}` needs `{name}`"
    else:
        message = message.replace("'", "`")
    return TilthError(message[:1].lower() + message[1:], why=why, mend=mend)


def tell(error: TilthError, color: bool | None = None) -> None:
    """Print an error: what happened, why, and how to mend it. `color` as click has it."""
    click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True, color=color)
