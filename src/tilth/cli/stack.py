"""`tilth stack`: register, list, show, update, delete, set, check, export, import."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.component import code_root
from tilth.cli.usage import Misuse, group, json_option
from tilth.stack.component_types import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tilth.client.stacks import Stacks
    from tilth.records import Component, Stack
    from tilth.stack.flavors import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@group("stack")
def stack() -> None:
    """Choose what runs are run on.

    A stack is an orchestrator, an artifact store, and what else they need.

    Every project has `default`, which is this machine, and `docker-local`, which is containers on it. Stacks belong to
    the project whose folder this is.
    """


@contextmanager
def _stacks() -> Iterator[Stacks]:
    from tilth.cli.home import records
    from tilth.client.stacks import Stacks

    with records() as store:
        yield Stacks(store, code_root())


def _component_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--component TYPE=NAME`, and an option for each type."""
    for name, each in reversed(TYPES.items()):
        long = "--" + name.replace("_", "-")
        command = click.option(
            f"-{each.option}", long, name, metavar="NAME", help=each.title[0].upper() + each.title[1:] + "."
        )(command)
    return click.option(
        "--component",
        "components",
        multiple=True,
        metavar="TYPE=NAME",
        help="A component of any type; may be repeated.",
    )(command)


@stack.command()
@click.argument("name", metavar="NAME")
@_component_options
@click.option("--set", "activate", is_flag=True, help="Make it the active one too.")
@json_option
def register(
    *, name: str, components: Sequence[str], activate: bool, as_json: bool, **by_type: str | None
) -> None:
    """Register a stack of components that exist.

    \b
    tilth stack register cloud -o local -a models
    """
    with _stacks() as stacks:
        kept = stacks.register(name, _given(components, by_type))
        if activate:
            stacks.choose(kept)
    if as_json:
        _print_json(_told(kept, active=activate))
        return
    click.echo(f"stack {name}: registered{', and active' if activate else ''}", err=True)
    if not activate:
        click.echo(
            f"`tilth stack check {name}` tells whether it works; `tilth stack set {name}` uses it", err=True
        )


@stack.command("list")
@json_option
def list_stacks(*, as_json: bool) -> None:
    """List stacks, and which is active."""
    from tilth.cli.tables import table

    with _stacks() as stacks:
        found = stacks.all()
        active, chosen_by = stacks.chosen()
    if as_json:
        _print_json([_told(each, active=each.name == active) for each in found])
    else:
        used = [type_ for type_ in TYPES if any(type_ in each.components for each in found)]
        rows = [
            {"stack": each.name, "active": "active" if each.name == active else "", **_titled(each)}
            for each in found
        ]
        click.echo(table(["stack", "active", *(type_.replace("_", " ") for type_ in used)], rows))
    if all(each.name != active for each in found):
        click.echo(f"warning: {chosen_by} names stack `{active}`, which does not exist", err=True)


@stack.command()
@click.argument("name", metavar="[NAME]", default="")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show a stack with its components; the active one without NAME."""
    from tilth.cli.component import _settings_line
    from tilth.cli.tables import table, to_json
    from tilth.stack.component_types import in_order

    with _stacks() as stacks:
        active, chosen_by = stacks.chosen()
        found = stacks.get(name or active, why="" if name else f"{chosen_by} names it")
        known = {(each.type, each.name): each for each in stacks.components.all()}
    is_active = found.name == active
    if as_json:
        told = _told(found, active=is_active)
        told["components"] = {
            type_: known.get((type_, component), {"name": component, "missing": True})
            for type_, component in found.components.items()
        }
        click.echo(to_json(told))
        return
    why = f" by {chosen_by}" if chosen_by else ""
    click.echo(f"stack {found.name}{f': active{why}' if is_active else ''}")
    rows = []
    for type_ in in_order(found.components):
        component = known.get((type_, found.components[type_]))
        rows.append(
            {
                "type": type_,
                "component": found.components[type_],
                "flavor": component.flavor if component else "does not exist",
                "settings": _settings_line(component) if component else "",
            }
        )
    click.echo(table(["type", "component", "flavor", "settings"], rows, indent=2))


@stack.command()
@click.argument("name", metavar="NAME")
@_component_options
@click.option("--without", multiple=True, metavar="TYPE", help="Take the component of a type out of it.")
@json_option
def update(
    *, name: str, components: Sequence[str], without: Sequence[str], as_json: bool, **by_type: str | None
) -> None:
    """Give a stack other components."""
    given = _given(components, by_type)
    if not given and not without:
        raise Misuse("nothing is to be changed", mend="give components, as `-a NAME`, or `--without TYPE`")
    with _stacks() as stacks:
        changed = stacks.update(stacks.get(name), given, without)
        active = stacks.chosen()[0] == name
    if as_json:
        _print_json(_told(changed, active=active))
        return
    told = ", ".join(f"{type_.replace('_', ' ')} {each}" for type_, each in changed.components.items())
    click.echo(f"stack {name}: changed: {told}", err=True)


@stack.command()
@click.argument("name", metavar="NAME")
def delete(*, name: str) -> None:
    """Forget a stack. Its components stay, and runs on it remember what it was."""
    with _stacks() as stacks:
        was_active = stacks.delete(stacks.get(name))
        now_active, _ = stacks.chosen()
    click.echo(f"stack {name}: deleted", err=True)
    if was_active:
        click.echo(f"stack {now_active}: active", err=True)


@stack.command("set")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--unset", is_flag=True, help="Let the project's file say which is active, else `default`.")
def set_stack(*, name: str, unset: bool) -> None:
    """Make a stack the active one of the project, on this machine.

    `tilth run --stack`, and the variable `TILTH_STACK`, go before it; `stack` of `[tool.tilth]` in the project's file
    comes after it.
    """
    from tilth.settings import setting

    if bool(name) == unset:
        raise Misuse(
            "`--unset` takes no name" if unset else "`tilth stack set` needs the name of a stack",
            mend="`tilth stack list` shows them; `--unset` leaves it to the project's file",
        )
    with _stacks() as stacks:
        stacks.choose(stacks.get(name) if name else None)
        active, _ = stacks.chosen()
    if (variable := setting("stack")) and variable != name:
        click.echo(f"warning: `TILTH_STACK` is `{variable}`, which goes before", err=True)
    click.echo(f"stack {name or active}: active", err=True)


@stack.command()
@click.argument("name", metavar="[NAME]", default="")
@json_option
def check(*, name: str, as_json: bool) -> int:
    """Find out whether a stack works from here; the active one without NAME.

    Every component is really asked: reached, logged in to, written to. Ends with 1 when something is broken; a warning
    is no failure.
    """
    from tilth.cli.home import home

    with _stacks() as stacks:
        active, chosen_by = stacks.chosen()
        found = stacks.get(name or active, why="" if name else f"{chosen_by} names it")
        findings = stacks.check(found, home())
    errors = sum(each.level == "error" for _, each in findings)
    if as_json:
        _print_json([_finding(component, each) for component, each in findings])
        return 1 if errors else 0
    _print_findings(found, findings)
    from tilth.client.wording import counted

    click.echo(f"found {counted(errors, 'error')}" if errors else f"stack {found.name}: works", err=True)
    return 1 if errors else 0


@stack.command("export")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="By default standard output.")
@click.option("--force", is_flag=True, help="Write over FILE.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; a FILE that ends in `.json` is so anyway.")
def export_stack(*, name: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Write a stack and its components as YAML, for others to import; the active one without NAME.

    Secrets are in it by name alone.
    """
    from tilth.client.stack_files import exported, to_text

    if output is not None and output.exists() and not force:
        raise Misuse(f"`{output}` is there already", mend="name another file, or `--force` writes over it")
    with _stacks() as stacks:
        active, chosen_by = stacks.chosen()
        found = stacks.assembled(stacks.get(name or active, why="" if name else f"{chosen_by} names it"))
    text = to_text(exported(found), as_json=as_json or (output is not None and output.suffix == ".json"))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        from tilth.errors import SetupError

        raise SetupError(f"`{output}` cannot be written: {error.strerror}") from None
    click.echo(f"stack {found.name}: written to {output}", err=True)


@stack.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", default="", help="For the stack, instead of the one in the file.")
@click.option("--force", is_flag=True, help="Replace what is different here without asking.")
@json_option
def import_stack(*, file: Path, name: str, force: bool, as_json: bool) -> None:
    """Register the stack in a file, and those of its components that are not here.

    What is here under the same name and is different is asked about, and only replaced when you say so.
    """
    from tilth.client.stack_files import carry_out, plan_import

    with _stacks() as stacks:
        planned = plan_import(file, stacks, name=name)
        if planned.replaced and not force:
            _ask(file, planned.replaced)
        carry_out(stacks.store, planned)
    if as_json:
        _print_json(_told(planned.stack, active=False))
        return
    for each in planned.added:
        click.echo(f"{each.type.replace('_', ' ')} {each.name}: added", err=True)
    for what in planned.replaced:
        click.echo(f"{what.replace('`', '')}: replaced", err=True)
    done = "imported" if planned.changes else "is here already, as it is in the file"
    click.echo(f"stack {planned.stack.name}: {done}", err=True)


def _ask(file: Path, replaced: Sequence[str]) -> None:
    from tilth.errors import Conflict

    told = ", ".join(replaced)
    if not sys.stdin.isatty():
        raise Conflict(
            f"what is here under the same name differs from `{file}`: {told}",
            mend="`--force` replaces it; "
            + (
                "`--name NAME` imports the stack under another name"
                if all(each.startswith("stack ") for each in replaced)
                else f"or give what differs another name in `{file}`"
            ),
        )
    click.confirm(f"replace {told} by what is in {file}?", abort=True, err=True)


def _given(components: Sequence[str], by_type: Mapping[str, str | None]) -> dict[str, str]:
    from tilth.stack.component_types import check_type

    given = {type_: name for type_, name in by_type.items() if name is not None}
    for each in components:
        type_, equals, name = each.partition("=")
        if not equals or not name:
            raise Misuse(f"`--component {each}` is no component", mend="write `--component TYPE=NAME`")
        type_ = check_type(type_)
        if given.get(type_, name) != name:
            raise Misuse(f"two components of type `{type_}` are given: `{given[type_]}` and `{name}`")
        given[type_] = name
    return given


def _titled(each: Stack) -> dict[str, str]:
    return {type_.replace("_", " "): name for type_, name in each.components.items()}


def _told(each: Stack, *, active: bool) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(each)
    return {**told, "active": active}


def _finding(component: Component | None, finding: Finding) -> dict[str, Any]:
    named = (
        {"type": component.type, "name": component.name, "flavor": component.flavor} if component else None
    )
    return {
        "component": named,
        "level": finding.level,
        "what": finding.what,
        "why": finding.why,
        "mend": finding.mend,
    }


def _print_findings(found: Stack, findings: Sequence[tuple[Component | None, Finding]]) -> None:
    names = [
        f"{component.type.replace('_', ' ')} {component.name}" if component else f"stack {found.name}"
        for component, _ in findings
    ]
    width = max(map(len, names), default=0)
    for name, (_, each) in zip(names, findings, strict=True):
        level = click.style(f"{each.level:<7}", fg=_COLOURS[each.level])
        click.echo(f"{level}  {name:<{width}}  {each.what}")
        indent = " " * (width + 11)
        for line in each.why.splitlines():
            click.echo(f"{indent}{line.strip()}")
        if each.mend:
            click.echo(f"{indent}hint: {each.mend}")


def _print_json(value: object) -> None:
    from tilth.cli.tables import to_json

    click.echo(to_json(value))
