"""`tilth version`."""

from __future__ import annotations

import click

from tilth.cli.usage import json_option


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the versions of tilth, Python and uv, and where the home folder is."""
    import platform
    from importlib import metadata

    from tilth import __version__
    from tilth.settings import home_folder

    try:
        uv = metadata.version("uv")
    except metadata.PackageNotFoundError:
        uv = "missing"
    told = {
        "tilth": __version__,
        "python": platform.python_version(),
        "uv": uv,
        "home": str(home_folder()),
    }
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
        return
    for name, value in told.items():
        click.echo(f"{name:<7} {value}")
