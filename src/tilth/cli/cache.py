"""`tilth cache`: info."""

from __future__ import annotations

import click

from tilth.cli.usage import group, json_option


@group("cache")
def cache() -> None:
    """Look at what is kept on this machine."""


@cache.command()
@json_option
def info(*, as_json: bool) -> None:
    """Show what the home folder holds, by kind: how many, how large, how old.

    Sizes are those on disk. A file with several names counts once, for the kind that is listed first.
    """
    from tilth.cli.home import home
    from tilth.cli.tables import pairs, table, to_json
    from tilth.client import holdings
    from tilth.client.wording import counted, moment, size

    found = holdings.look(home())
    if as_json:
        click.echo(to_json(found))
        return
    rows = [
        {
            "kind": each.kind,
            "number": str(each.number),
            "size": size(each.size),
            "shared": size(each.shared) if each.shared else "",
            "oldest": moment(each.oldest),
            "newest": moment(each.newest),
            "": holdings.meaning(each.kind),
        }
        for each in found.holdings
    ]
    if rows:
        click.echo(table(["kind", "number", "size", "shared", "oldest", "newest", ""], rows) + "\n")
    else:
        click.echo("nothing is kept yet", err=True)
    place = found.file_system
    facts = {
        "home": str(found.home),
        "size": size(found.size),
        "file system": f"{place.kind or 'unknown'}, {size(place.free)} free",
        "hard links": _whether(place.links),
        "clones": _whether(place.clones),
        "uv's cache": f"{found.uv_cache}\n{size(found.uv_cache_size)} in {counted(found.uv_cache_files, 'file')}"
        if found.uv_cache
        else "",
    }
    click.echo(pairs(facts, indent=0))
    if found.unreadable:
        click.echo(f"{counted(found.unreadable, 'folder')} could not be looked into", err=True)


def _whether(answer: bool | None) -> str:
    if answer is None:
        return "cannot be tried: the folder is read-only or full"
    return "yes" if answer else "no"
