"""`tilth integration`: list, install, requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse, group, json_option
from tilth.stack.component_types import PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence


@group("integration")
def integration() -> None:
    """See and install what flavors of component need.

    They are extras of tilth, and packages of others.

    They go into the environment that tilth runs from, never into the one of your project, unless tilth is there.
    """


@integration.command("list")
@json_option
def list_integrations(*, as_json: bool) -> None:
    """List integrations: the flavors each gives, whether it is installed here, and where else it is needed."""
    from tilth.cli.tables import table, to_json
    from tilth.client.integrations import integrations

    found = integrations()
    if as_json:
        click.echo(to_json(found))
        return
    rows = [
        {
            "integration": each.name,
            "flavors": ", ".join(each.flavors),
            "needed by": ", ".join(each.places),
            "state": f"needs {', '.join(each.missing)}" if each.missing else "installed",
        }
        for each in found
    ]
    click.echo(table(["integration", "flavors", "needed by", "state"], rows))


@integration.command()
@click.argument("names", metavar="NAME…", nargs=-1)
@click.option(
    "--package",
    "packages",
    multiple=True,
    metavar="REQUIREMENT",
    help="A package of others that adds flavors, as `tilth-ftp>=2`; may be repeated.",
)
@click.option("--offline", is_flag=True, help="Ask no package index.")
def install(*, names: Sequence[str], packages: Sequence[str], offline: bool) -> None:
    """Install integrations into the environment that tilth runs from.

    What is installed there already stays as it is. When tilth is a tool of uv, the command that does it is shown.
    """
    import sys

    from tilth.client import integrations
    from tilth.settings import setting

    if not names and not packages:
        raise Misuse("no integration is named", mend="`tilth integration list` shows them")
    integrations.check_packages(packages)
    found = integrations.find_integrations(names)
    done = integrations.install(found, packages, offline=offline or setting("offline") == "1")
    for each in found:
        how = f"installed {', '.join(each.missing)}" if each.missing else "installed already"
        click.echo(f"integration {each.name}: {how}", err=True)
    for package in packages:
        click.echo(f"package {package}: installed", err=True)
    if done:
        click.echo(f"into {sys.prefix}", err=True)
    for package in integrations.without_flavors(packages):
        click.echo(f"warning: package `{package}` adds no flavor of component", err=True)


@integration.command()
@click.argument("names", metavar="[NAME]…", nargs=-1)
@click.option("--for", "place", type=click.Choice(PLACES), help="What the environment of one of them needs.")
@click.option("--stack", metavar="NAME", help="What the components of a stack need, instead of NAMEs.")
@json_option
def requirements(*, names: Sequence[str], place: str | None, stack: str | None, as_json: bool) -> None:
    """Print what integrations need, as lines of a requirements file.

    \b
    tilth integration requirements s3 --for server >> requirements.txt
    """
    from tilth.cli.tables import to_json
    from tilth.client.integrations import find_integrations, requirement_lines

    if bool(names) == bool(stack):
        raise Misuse(
            "either integrations or a stack are named" if stack else "no integration is named",
            mend="`tilth integration list` shows integrations; or `--stack NAME`",
        )
    if stack:
        from tilth.cli.component import code_root
        from tilth.cli.home import home
        from tilth.client.stacks import active_stack
        from tilth.stack.assembled import stack_requirements

        lines = stack_requirements(active_stack(home(), code_root(), stack), place or "supervisor")
    else:
        lines = requirement_lines(find_integrations(names), place or "")
    click.echo(to_json(lines) if as_json else "\n".join(lines), nl=bool(lines) or as_json)
