"""`tilth secret`: set, list, delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.usage import Misuse, group, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.secrets import Secrets


@group("secret")
def secret() -> None:
    """Keep passwords and tokens for steps and package indexes.

    A step gets one as a variable: `@step(secrets=["HF_TOKEN"])`, or `Environment(..., secrets=["HF_TOKEN"])`.
    """


@secret.command("set")
@click.argument("name", metavar="NAME")
@click.argument("more", nargs=-1, metavar="", type=click.UNPROCESSED)
def set_secret(*, name: str, more: Sequence[str]) -> None:
    """Keep a secret under a name.

    Its value is asked for on a terminal, else read from standard input: `tilth secret set NAME < FILE`. A secret
    that has this name already is replaced.
    """
    from tilth.define.environments import SECRET_NAME
    from tilth.runtime.masking import SHORTEST

    if more or "=" in name:  # and the value is not repeated in the error
        raise Misuse(
            "the value of a secret is no argument",
            why="others would find it in the list of processes and in the shell's history",
            mend="`tilth secret set NAME` asks for it; `tilth secret set NAME < FILE` reads it from a file",
        )
    if not SECRET_NAME.fullmatch(name):
        raise Misuse(
            f"`{name}` is no name for a secret", mend="use letters, digits, hyphens, dots and underscores"
        )
    value = _asked_for(name) if sys.stdin.isatty() else _read()
    if not value:
        raise Misuse(
            f"the value of secret `{name}` is empty",
            mend=f"type it when it is asked for, or give it on standard input: `tilth secret set {name} < FILE`",
        )
    kept = _secrets().set(name, value).kept
    click.echo(f"secret {name}: set, in {_WHERE[kept]}", err=True)
    if len(value) < SHORTEST:
        click.echo(
            f"it has less than {SHORTEST} characters: such a short text is not masked in logs", err=True
        )


def _secrets() -> Secrets:
    import tilth.store  # noqa: F401 - which knows of servers
    from tilth.home import Home
    from tilth.secrets import open_secrets
    from tilth.settings import home_folder

    return open_secrets(Home(home_folder()))


_WHERE = {
    "file": "an encrypted file",
    "keyring": "the keyring of this machine",
    "server": "the project on the server",
}


def _asked_for(name: str) -> str:
    """What is typed, unseen."""
    value: str = click.prompt(f"value of {name}", hide_input=True, default="", show_default=False, err=True)
    return value


def _read() -> str:
    """Standard input, without the newline that ends it."""
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise Misuse(
            "standard input is not UTF-8 text", mend="keep binary data in base64: `base64 FILE | …`"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


@secret.command("list")
@json_option
def list_secrets(*, as_json: bool) -> None:
    """List secrets, without their values."""
    from tilth.cli.tables import table, to_json
    from tilth.client.wording import moment

    found = _secrets().list()
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("no secrets; `tilth secret set NAME` keeps one", err=True)
        return
    rows: list[dict[str, Any]] = [
        {"secret": each.name, "set": moment(each.set_at), "kept in": each.kept, "problem": each.problem}
        for each in found
    ]
    click.echo(table(["secret", "set", "kept in", "problem"], rows))


@secret.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def delete(*, names: Sequence[str]) -> None:
    """Forget secrets. Runs that need them will not start."""

    _secrets().delete(*names)
    for name in dict.fromkeys(names):
        click.echo(f"secret {name}: deleted", err=True)
