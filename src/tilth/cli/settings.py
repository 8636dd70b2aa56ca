"""`tilth settings`."""

from __future__ import annotations

import os

import click

from tilth.cli.usage import json_option


@click.command()
@json_option
def settings(*, as_json: bool) -> None:
    """Show every setting, its value and where that comes from."""
    from tilth.cli.tables import table
    from tilth.home import Home
    from tilth.secrets.key import key_path
    from tilth.settings import SETTINGS, home_folder, setting, worker_count
    from tilth.store.logins import active_server
    from tilth.store.opening import current_project

    server = active_server(Home(home_folder()))
    # What an empty default stands for here and now.
    stands_for = {
        "server_url": server.url if server else "none",
        "api_key": "that of `tilth login`" if server and server.token else "none",
        "project": current_project() if server else "none without a server",
        "home": str(home_folder()),
        "workers": str(worker_count()),
        "python": "found as uv finds it",
        "stack": "the project's",
        "secrets_key": str(key_path()),
        "advisories": "none",
    }
    told = [
        {
            "setting": name,
            "value": _value(name, setting(name)) or stands_for[name],
            "from": f"`{each.variable}`" if os.environ.get(each.variable) else "default",
            "variable": each.variable,
            "meaning": each.meaning,
        }
        for name, each in SETTINGS.items()
    ]
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
        return
    click.echo(table(["setting", "value", "from", "variable"], told))


def _value(name: str, given: str) -> str:
    from tilth.environments.uv import without_credentials

    return "(not shown)" if given and name == "api_key" else without_credentials(given)
