"""`tilth env`: prune."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.client.keeping import Pruning
    from tilth.environments.pruning import Decision


@click.command()
@click.argument("names", metavar="[NAME|DIGEST]...", nargs=-1)
@click.option("--older-than", metavar="AGE", help="What was last used longer ago than this, as `30d`.")
@click.option(
    "--max-size",
    metavar="SIZE",
    help="The least recently used, until all take up no more than this, as `10GB`; images go first.",
)
@click.option("--all", "everything", is_flag=True, help="All that no run in progress uses.")
@click.option(
    "--built", is_flag=True, help="Also wheels built here from source, which may not come out the same again."
)
@click.option("--plan", is_flag=True, help="Show what would go, what would stay and why. Removes nothing.")
@json_option
def prune(
    *,
    names: tuple[str, ...],
    older_than: str | None,
    max_size: str | None,
    everything: bool,
    built: bool,
    plan: bool,
    as_json: bool,
) -> None:
    """Remove environments and images, and what no other needs.

    Without an option, what nobody can use any more: environments that lost their interpreter or were changed by a
    step, wheels no environment needs, layers no image needs, and what was left by commands that were killed. With
    NAMEs, only these environments and their images. Images go from this machine and from its container engines, never
    from a registry. What a run in progress uses stays, and all of images stays while some are made or run. What was
    pruned is made again when it is needed.
    """
    from tilth.cli.home import home
    from tilth.cli.tables import to_json
    from tilth.client import keeping

    if everything and (older_than or max_size):
        other = "--older-than" if older_than else "--max-size"
        raise Misuse(f"`--all` leaves nothing for `{other}` to choose", mend="give one of them")
    if everything and names:
        raise Misuse(f"`--all` and `{names[0]}` say two things", mend="give one of them")
    pruned = keeping.prune(
        home(),
        names=names,
        everything=everything,
        older_than_s=_quantity(older_than, "--older-than", _seconds),
        max_size=_quantity(max_size, "--max-size", _bytes),
        built=built,
        plan=plan,
        notice=lambda text: click.echo(text, err=True),
    )
    if as_json:
        shown = [
            {
                "kind": each.thing.kind,
                "name": each.thing.name,
                "digest": each.thing.digest,
                "path": str(each.thing.path),
                "size": each.thing.size,
                "last_used": each.thing.last_used,
                "goes": each.goes,
                "why": each.why,
            }
            for each in pruned.decisions
        ]
        told = {"done": pruned.done, "before": pruned.before, "after": pruned.after, "freed": pruned.freed}
        click.echo(to_json({**told, "items": shown}))
    else:
        _show(pruned)
    _tell_what_is_too_much(pruned, _quantity(max_size, "--max-size", _bytes))


def _show(pruned: Pruning) -> None:
    from tilth.cli.tables import table
    from tilth.client.wording import moment, short_digest, size

    verb = "removed" if pruned.done else "would go"
    rows = [
        {
            "environment": each.thing.name or "?",
            "digest": short_digest(each.thing.digest),
            "size": size(each.thing.size),
            "last used": moment(each.thing.last_used),
            "": verb if each.goes else "stays",
            "why": each.why,
        }
        for each in pruned.decisions
        if each.thing.kind == "environment"
    ]
    if rows:
        click.echo(table(["environment", "digest", "size", "last used", "", "why"], rows))
        click.echo()
    images = [_image_row(each, verb) for each in pruned.decisions if each.thing.kind in _IMAGES]
    if images:
        click.echo(table(["image", "digest", "where", "size", "last used", "", "why"], images))
        click.echo()
    lines = _summary(pruned.decisions, verb)
    for line in lines:
        click.echo(line)
    if not rows and not images and not lines:
        click.echo("nothing to prune: no environment is made here", err=True)
        return
    if not any(each.goes for each in pruned.decisions):
        click.echo(
            f"nothing {'went' if pruned.done else 'would go'}: {size(pruned.after)} on disk, shared files once"
        )
        return
    freed = f"{'freed' if pruned.done else 'would free'} {size(pruned.freed)}"
    click.echo(
        f"{freed}, {size(pruned.after)} {'are' if pruned.done else 'would be'} left; shared files count once"
    )


_IMAGES = ("image", "built base")


def _image_row(decision: Decision, verb: str) -> dict[str, str]:
    from tilth.client.wording import moment, short_digest, size
    from tilth.images.pruning import Piece

    thing = decision.thing
    assert isinstance(thing, Piece)
    engines = sorted({name.partition(":")[0] for name in thing.names})
    return {
        "image": thing.name if thing.kind == "image" else f"base {thing.name}",
        "digest": short_digest(thing.digest) if thing.digest else "",
        "where": ", ".join((["here"] if thing.size else []) + engines),
        "size": size(thing.size),
        "last used": moment(thing.last_used),
        "": verb if decision.goes else "stays",
        "why": decision.why,
    }


def _summary(decisions: tuple[Decision, ...], verb: str) -> list[str]:
    """A line for each kind and reason, of what is not an environment."""
    from tilth.client.wording import counted, size

    nouns = {
        "wheel": "wheel",
        "kept wheel": "wheel that was built here",
        "prefix": "conda folder",
        "conda package": "conda package",
        "quarantined": "quarantined environment",
        "leftover": "leftover",
        "layer": "layer",
        "note": "layer note",
        "leftover of images": "build leftover",
    }
    groups: dict[tuple[str, bool, str], list[Decision]] = {}
    for each in decisions:
        if each.thing.kind in nouns and (
            each.goes or not re.search("(environments?|image) needs?", each.why)
        ):
            groups.setdefault((each.thing.kind, each.goes, each.why), []).append(each)
    return [
        f"{counted(len(group), nouns[kind])} {(verb if goes else 'stay' + 's' * (len(group) == 1))}"
        f" ({size(sum(each.thing.size for each in group))}): {why}"
        for (kind, goes, why), group in groups.items()
    ]


def _tell_what_is_too_much(pruned: Pruning, limit: int | None) -> None:
    from tilth.client.wording import size

    if limit is not None and pruned.after > limit:
        click.echo(
            f"that is more than {size(limit)}: the rest is in use, was not named, or is a wheel built here",
            err=True,
        )


def _quantity(text: str | None, option: str, parse: Callable[[str], float]) -> int | None:
    from tilth.errors import DefinitionError

    if text is None:
        return None
    try:
        return int(parse(text))
    except DefinitionError as error:
        example = "30d" if option == "--older-than" else "10GB"
        raise Misuse(
            f"`{option} {text}` is {error.summary.partition(' is ')[2]}", mend=f"as `{example}`"
        ) from error


def _seconds(text: str) -> float:
    from tilth.define.quantities import seconds
    from tilth.errors import DefinitionError

    if text.strip().replace(".", "").isdigit():
        raise DefinitionError(
            f"`{text}` is no age: it has no unit"
        )  # days were meant, seconds would be taken
    return seconds(text, "age")


def _bytes(text: str) -> int:
    from tilth.define.quantities import byte_count

    return byte_count(text)
