"""`tilth doctor`."""

from __future__ import annotations

import click

from tilth.cli.usage import json_option

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red", "skipped": None}


@click.command()
@click.option("--offline", is_flag=True, help="Ask no package index.")
@json_option
def doctor(*, offline: bool, as_json: bool) -> int:
    """Look for what is wrong with this machine, and how to mend it.

    Ends with 1 when something is broken; a warning is no failure. Changes nothing.
    """
    from tilth.cli.home import home
    from tilth.cli.tables import to_json
    from tilth.client.doctor import ERROR, WARNING, examine
    from tilth.client.wording import counted
    from tilth.settings import setting

    findings = examine(home(), offline=offline or setting("offline") == "1")
    errors = sum(each.state == ERROR for each in findings)
    if as_json:
        click.echo(to_json(findings))
        return 1 if errors else 0
    width = max(len(each.name) for each in findings)
    for each in findings:
        first, *rest = each.told.splitlines() or [""]
        state = click.style(f"{each.state:<7}", fg=_COLOURS[each.state])
        click.echo(f"{state}  {each.name:<{width}}  {first}")
        indent = " " * (width + 11)
        for line in rest:
            click.echo(f"{indent}{line.strip()}")
        if each.mend:
            click.echo(f"{indent}hint: {each.mend}")
    warnings = sum(each.state == WARNING for each in findings)
    if errors or warnings:
        told = [counted(count, noun) for count, noun in ((errors, "error"), (warnings, "warning")) if count]
        click.echo(f"found {' and '.join(told)}", err=True)
    else:
        click.echo("found nothing wrong", err=True)
    return 1 if errors else 0
