"""The parts of the docs that are made from the code: an MkDocs hook that fills in each mark of the pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

MARK = re.compile(r"^<!-- made from (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page before it is rendered."""
    return fill(markdown)


def fill(markdown: str) -> str:
    """Replace each mark by what is made from the code it names."""
    makers = {
        "settings": settings,
        "server_settings": server_settings,
        "errors": errors,
        "commands": commands,
    }
    return MARK.sub(lambda mark: makers[mark[1]](), markdown)


def settings() -> str:
    """A table of `tilth.settings.SETTINGS`."""
    from tilth.settings import SETTINGS

    rows = [
        f"| `{each.variable}` | {f'`{each.default}`' if each.default else ''} | {_cell(each.meaning)} |"
        for each in SETTINGS.values()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def server_settings() -> str:
    """A table of `tilth.server.settings.ServerSettings`."""
    from dataclasses import fields

    from tilth.server.settings import ServerSettings, variable

    rows = [
        f"| `{variable(each.name)}` | {f'`{each.default}`' if each.default != '' else ''} | "
        f"{_cell(each.metadata['meaning'])} |"
        for each in fields(ServerSettings)
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def errors() -> str:
    """A list of every class of `tilth.errors`, as deep as it lies in the tree."""
    from tilth.errors import TilthError

    def items(kind: type[TilthError], depth: int) -> Iterator[str]:
        meaning = (kind.__doc__ or "").split("\n\n")[0]
        yield f"{'    ' * depth}- `{kind.__name__}`: {' '.join(meaning.split())}"
        for child in kind.__subclasses__():
            if child.__module__ == kind.__module__:
                yield from items(child, depth + 1)

    return "\n".join(items(TilthError, 0))


def commands() -> str:
    """Every command with its arguments and options, from what `--help` is made of."""
    return "\n\n".join(
        _command(command, context) for command, context in walk() if not hasattr(command, "list_commands")
    )


def walk() -> Iterator[tuple[click.Command, click.Context]]:
    """Every command and group of the command line, parents first."""
    import click

    from tilth.cli.main import cli

    def below(
        command: click.Command, context: click.Context
    ) -> Iterator[tuple[click.Command, click.Context]]:
        yield command, context
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                if not child.hidden:
                    yield from below(child, click.Context(child, info_name=name, parent=context))

    return below(cli, click.Context(cli, info_name="tilth"))


def _command(command: click.Command, context: click.Context) -> str:
    lines = [f"## {context.command_path}", "", "```text"]
    lines += [command.get_usage(context).removeprefix("Usage: "), "```", "", _dedent(command.help or "")]
    records = [each.get_help_record(context) for each in command.get_params(context)]
    # Arguments have no help of their own; `--help` is everywhere.
    told = [each for each in records if each and each[1] and "--help" not in each[0]]
    rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in told]
    if rows:
        lines += ["", "| option | meaning |", "|---|---|", *rows]
    return "\n".join(lines)


def _dedent(text: str) -> str:
    import inspect

    return inspect.cleandoc(text).replace("\b\n", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
