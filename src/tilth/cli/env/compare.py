"""`tilth env`: diff, export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tilth.cli.usage import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.client.differences import Change, Difference, Pinned

FORMATS = ("requirements", "pylock", "cyclonedx", "dockerfile")
_MARKS = {"added": "+", "removed": "-"}


@click.command()
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.option("--exit-code", is_flag=True, help="End with exit code 1 when they differ.")
@json_option
def diff(*, left: str, right: str, exit_code: bool, as_json: bool) -> int:
    """Show what differs between two environments, from A to B.

    Each is an environment (its name, or its digest or the beginning of one), a run (`churn-3`: all its
    environments, by name), a step of a run (`churn-3/train`), `client` (the project's interpreter as it is now),
    or the path of a lock: `pylock.toml`, `uv.lock`, or a `requirements.txt` with pinned versions.
    """
    from tilth.cli.home import home, records
    from tilth.client.differences import compare, compare_all
    from tilth.client.subjects import find_subject, sides

    with records() as store:
        old, new = find_subject(store, home(), left), find_subject(store, home(), right)
        before, after = sides(old, new, home())
    whole = old.is_whole_run and new.is_whole_run
    found = compare_all(before, after) if whole else [compare(before[0], after[0])]
    count = sum(each.count for each in found)
    if as_json:
        from tilth.cli.tables import to_json

        document = {"left": old.label, "right": new.label, "differences": count}
        click.echo(to_json({**document, "environments": [each.to_json() for each in found]}))
    else:
        click.echo("\n\n".join([*map(_difference, found), _count(found)]))
    return 1 if exit_code and count else 0


@click.command()
@click.argument("name", metavar="NAME|DIGEST|RUN/STEP|client|LOCK")
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--output", type=click.Path(dir_okay=False), help="File to write to; by default it is printed.")
def export(*, name: str, form: str, output: str | None) -> None:
    """Write an environment for another tool.

    \b
    requirements  a requirements file with hashes, for `pip install --require-hashes -r`
    pylock        its lock as it is (PEP 751), for uv, pip and others
    cyclonedx     a software bill of materials: CycloneDX 1.6, JSON
    dockerfile    a Dockerfile that makes it on a public Python image
    """
    from tilth.cli.home import home, records
    from tilth.client.contents import contents_of, exported
    from tilth.client.subjects import find_subject

    with records() as store:
        made = exported(contents_of(store, home(), find_subject(store, home(), name)), form, home())
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    if output is None:
        click.echo(made.text, nl=False)
        return
    from pathlib import Path

    from tilth.environments.files import write_atomic

    write_atomic(Path(output), made.text.encode())
    Path(output).chmod(0o644)
    click.echo(f"wrote {form}: {output}", err=True)


def _difference(difference: Difference) -> str:
    from tilth.client.wording import short_digest

    left, right = difference.left, difference.right
    plain = difference.role in ("execution", "lock") or difference.role == difference.name
    kind = "" if plain else f" ({difference.role})"
    title = f"{difference.name}{kind}: "
    if left is None or right is None:
        side = left or right
        assert side is not None
        if difference.is_unrecorded:
            return f"{title}not recorded {'after' if left else 'before'}"
        known = f"{short_digest(side.digest)}, Python {side.python}, {len(side.packages)} packages"
        return f"{title}only {'before' if left else 'after'}: {known}"
    if not difference.count:
        same = f", {short_digest(left.digest)}" if left.digest == right.digest else ""
        return f"{title}the same{same}"
    digests = " → ".join(short_digest(each.digest) or each.name for each in (left, right))
    lines = [f"  ~ {each.name} {each.left} → {each.right}" for each in difference.facts]
    lines += [_package(each) for each in difference.packages]
    lines += [f"{_package(each)} (conda)" for each in difference.system]
    lines += [_variable(each) for each in difference.variables]
    return "\n".join([title + digests, *lines])


def _package(change: Change) -> str:
    if change.kind == "version":
        return f"  ~ {change.name} {change.left.version} → {change.right.version}"
    if change.kind == "file":
        version = change.right.version or change.left.version
        before, after = _source(change.left, change.right), _source(change.right, change.left)
        return f"  ~ {change.name} {version}: {before} → {after}"
    present = change.left or change.right
    return f"  {_MARKS[change.kind]} {change.name} {present.version}".rstrip()


def _source(pinned: Pinned, other: Pinned) -> str:
    """What tells one of two packages of a version from the other."""
    from tilth.client.wording import short_digest

    if pinned.origin:
        return pinned.origin
    if pinned.files and pinned.files != other.files:
        listed = sorted(pinned.files)
        return listed[0] + (f" and {len(listed) - 1} more" if listed[1:] else "")
    return short_digest(min(pinned.digests, default="")) or "from an index"


def _variable(change: Change) -> str:
    if change.kind == "changed":
        return f"  ~ {change.name}={change.left} → {change.name}={change.right}"
    return f"  {_MARKS[change.kind]} {change.name}={change.left if change.right is None else change.right}"


def _count(found: Sequence[Difference]) -> str:
    """The last line: how much differs, by kind."""
    from tilth.client.wording import counted

    total = sum(each.count for each in found)
    if not total:
        return "no difference"
    kinds: dict[str, int] = {}
    for each in found:
        if each.count and (each.left is None or each.right is None):
            _add(kinds, f"environment only {'before' if each.left else 'after'}")
    packages = [change.kind for each in found for change in (*each.packages, *each.system)]
    for kind, label in (
        ("added", "added"),
        ("removed", "removed"),
        ("version", "changed"),
        ("file", "from another file"),
    ):
        _add(kinds, f"package {label}", packages.count(kind))
    for each in found:
        for fact in each.facts:
            _add(kinds, fact.name)
        _add(kinds, "variable", len(each.variables))
    listed = ", ".join(_plural(count, label) for label, count in kinds.items() if count)
    return f"{counted(total, 'difference')}: {listed}"


def _add(kinds: dict[str, int], label: str, count: int = 1) -> None:
    kinds[label] = kinds.get(label, 0) + count


def _plural(count: int, label: str) -> str:
    noun, _, rest = label.partition(" ")
    return f"{count} {noun}{'s' if count > 1 and noun != 'python' else ''} {rest}".rstrip()
