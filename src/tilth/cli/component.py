"""`tilth component`: register, list, show, update, delete, flavors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.usage import Misuse, group, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tilth.client.components import Components
    from tilth.records import Component

_type_option = click.option(
    "--type", "type_", metavar="TYPE", default="", help="Where several types have one of this name."
)
_set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting; may be repeated. Lists and maps as JSON; `secret:NAME` for a secret.",
)


@group("component")
def component() -> None:
    """Register the parts that stacks are made of.

    They say where steps run, and where artifacts and images are kept.

    A component is of a type and, of that, a flavor; `tilth component flavors` lists both. Components belong to the
    project whose folder this is.
    """


def code_root() -> Path:
    """The root of the project that commands are called in."""
    from tilth.client.code_root import find_code_root

    return find_code_root(Path.cwd() / "any.py").root


@contextmanager
def _components() -> Iterator[Components]:
    from tilth.cli.home import records
    from tilth.client.components import Components

    with records() as store:
        yield Components(store, code_root())


@component.command()
@click.argument("name", metavar="NAME")
@click.option("--type", "type_", metavar="TYPE", required=True, help="As `artifact_store`.")
@click.option("--flavor", metavar="FLAVOR", required=True, help="As `s3`.")
@_set_option
@json_option
def register(*, name: str, type_: str, flavor: str, settings: Sequence[str], as_json: bool) -> None:
    """Register a component under a name.

    \b
    tilth component register models --type artifact_store --flavor s3 \\
        --set bucket=models --set key=secret:S3_KEY --set secret=secret:S3_SECRET
    """
    with _components() as components:
        kept = components.register(name, type_, flavor, _given(settings))
    if as_json:
        _print_json(kept)
        return
    click.echo(f"{_label(kept)} {name}: registered, flavor {flavor}", err=True)
    from tilth.stack.component_types import TYPES

    click.echo(
        f"give it to a stack: `tilth stack register NAME -{TYPES[kept.type].option} {name} …`", err=True
    )


@component.command("list")
@click.option("--type", "type_", metavar="TYPE", default="", help="Those of one type.")
@json_option
def list_components(*, type_: str, as_json: bool) -> None:
    """List components, those of tilth's own first."""
    from tilth.cli.tables import table

    with _components() as components:
        found = components.all(type_)
    if as_json:
        _print_json(found)
        return
    rows = [
        {
            "component": each.name,
            "type": each.type,
            "flavor": each.flavor,
            "settings": _settings_line(each),
            "from": "tilth" if each.built_in else "",
        }
        for each in found
    ]
    click.echo(table(["component", "type", "flavor", "from", "settings"], rows))


@component.command()
@click.argument("name", metavar="NAME")
@_type_option
@json_option
def show(*, name: str, type_: str, as_json: bool) -> None:
    """Show a component: its settings, those left at their default too, and the stacks that have it."""
    from tilth.cli.tables import pairs
    from tilth.client.stacks import Stacks
    from tilth.client.wording import moment
    from tilth.errors import TilthError
    from tilth.stack.catalogue import load_flavor
    from tilth.stack.settings import described

    with _components() as components:
        found = components.get(name, type_)
        users = [
            each.name
            for each in Stacks(components.store, components.root).all()
            if each.components.get(found.type) == name
        ]
    if as_json:
        _print_json(found)
        return
    click.echo(f"{_label(found)} {name}")
    about = {"flavor": found.flavor, "stacks": ", ".join(users)}
    if not found.built_in:
        about["registered"] = moment(found.created_at)
    click.echo(pairs(about))
    try:
        known = described(load_flavor(found.type, found.flavor))
    except TilthError as error:  # its package may be gone: what is known is shown all the same
        known = [{"setting": each, "default": None} for each in found.settings]
        click.echo(f"warning: {error.summary}", err=True)
    told = {
        each["setting"]: _plain(found.settings[each["setting"]])
        if each["setting"] in found.settings
        else f"{_plain(each['default'])} (default)"
        for each in known
        if each["setting"] in found.settings or each["default"] not in ("", None, [], {})
    }
    if told:
        click.echo("\nsettings")
        click.echo(pairs(told))


@component.command()
@click.argument("name", metavar="NAME")
@_type_option
@_set_option
@click.option("--unset", multiple=True, metavar="KEY", help="A setting that gets its default back.")
@json_option
def update(*, name: str, type_: str, settings: Sequence[str], unset: Sequence[str], as_json: bool) -> None:
    """Change settings of a component. Runs that used it remember what it was."""
    if not settings and not unset:
        raise Misuse("nothing is to be changed", mend="give `--set KEY=VALUE`, or `--unset KEY`")
    with _components() as components:
        changed = components.update(components.get(name, type_), _given(settings), unset)
    if as_json:
        _print_json(changed)
        return
    click.echo(f"{_label(changed)} {name}: changed", err=True)


@component.command()
@click.argument("name", metavar="NAME")
@_type_option
@click.option("--force", is_flag=True, help="Take it out of the stacks that have it.")
def delete(*, name: str, type_: str, force: bool) -> None:
    """Forget a component. One that a stack has is kept, unless forced.

    Runs that used it remember what it was, and what they gave can still be loaded.
    """
    with _components() as components:
        found = components.get(name, type_)
        stacks = components.delete(found, force=force)
    click.echo(f"{_label(found)} {name}: deleted", err=True)
    for each in stacks:
        click.echo(f"stack {each}: has no {_label(found)} any more", err=True)


@component.command()
@click.argument("name", metavar="[FLAVOR]", default="")
@click.option("--type", "type_", metavar="TYPE", default="", help="Those of one type.")
@json_option
def flavors(*, name: str, type_: str, as_json: bool) -> None:
    """List the flavors there are, by type; with FLAVOR, what can be set for one.

    Packages of others add flavors; `tilth integration list` shows which are installed.
    """
    from tilth.cli.tables import table
    from tilth.client.integrations import offered

    found = offered(type_, name)
    if name:
        _show_flavors(found, as_json=as_json)
        return
    if as_json:
        _print_json(found)
        return
    rows = [
        {
            "type": each["type"],
            "flavor": each["flavor"],
            "from": each["package"],
            "state": each["problem"]
            or (
                "installed"
                if not each["missing"]
                else f"needs `tilth integration install {each['integration']}`"
            ),
        }
        for each in found
    ]
    click.echo(table(["type", "flavor", "from", "state"], rows))


def _show_flavors(found: list[dict[str, Any]], *, as_json: bool) -> None:
    from tilth.cli.tables import table
    from tilth.stack.catalogue import load_flavor
    from tilth.stack.settings import described

    told = []
    for each in found:
        flavor = load_flavor(each["type"], each["flavor"])
        told.append({**each, "title": flavor.title, "settings": described(flavor)})
    if as_json:
        _print_json(told)
        return
    for number, each in enumerate(told):
        click.echo(f"{chr(10) if number else ''}{each['type']} {each['flavor']}: {each['title']}")
        if each["missing"]:
            click.echo(f"  needs `tilth integration install {each['integration']}`")
        rows = [
            {
                "setting": row["setting"],
                "takes": row["takes"],
                "default": "required" if row["required"] else _plain(row["default"]),
                "meaning": row["meaning"],
            }
            for row in each["settings"]
        ]
        if rows:
            click.echo(table(["setting", "takes", "default", "meaning"], rows, indent=2))
        else:
            click.echo("  it takes no settings")


def _given(settings: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` of each `--set`. What has no `=` is not repeated: it may be a secret."""
    given: dict[str, str] = {}
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise Misuse("`--set` was given what is no setting", mend="write `--set KEY=VALUE`")
        if name in given:
            raise Misuse(f"setting `{name}` is given twice")
        given[name] = value
    return given


def _label(found: Component) -> str:
    return found.type.replace("_", " ")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _settings_line(found: Component) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in found.settings.items())


def _print_json(value: object) -> None:
    from tilth.cli.tables import to_json

    click.echo(to_json(value))
