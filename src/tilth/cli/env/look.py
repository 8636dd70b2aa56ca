"""`tilth env`: list, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tilth.cli.usage import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.client.contents import Contents
    from tilth.client.overview import Listed, Uses
    from tilth.home import Home
    from tilth.store import Store

_NEWEST = 5  # runs whose steps are named


@click.command("list")
@click.argument("target", metavar="[FILE[:PIPELINE]|RUN|PIPELINE]", default="")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter that the pipeline in FILE needs; may be repeated.",
)
@json_option
def list_environments(*, target: str, limit: int, parameters: Sequence[str], as_json: bool) -> None:
    """List environments, or those of a pipeline or run.

    For a FILE, those that its pipeline would use now are listed; nothing is locked, made or recorded.
    Runs are counted among the newest 10,000.
    """
    from tilth.cli.home import home, records
    from tilth.cli.tables import more, to_json
    from tilth.client import overview

    cut = False
    if _is_file(target):
        from tilth.cli.run import checked_target, given_parameters

        found = overview.of_file(checked_target(target), given_parameters(parameters), home())
    else:
        with records() as store:
            if target:
                found = _of_run_or_pipeline(store, home(), target)
            else:
                found, cut = overview.of_all(store, home(), limit=limit)
    if as_json:
        click.echo(to_json([each.to_json() for each in found]))
        return
    if not found:
        click.echo("no environments; one is recorded when a run first uses it", err=True)
        return
    click.echo(_table(found))
    more(cut or None, limit)


@click.command()
@click.argument("name", metavar="NAME|DIGEST|RUN/STEP|client|LOCK")
@click.option("--flat/--tree", default=False, help="List packages in a table, or as a tree.  [default: tree]")
@json_option
def show(*, name: str, flat: bool, as_json: bool) -> None:
    """Show what an environment holds, and why each package is there.

    Below a package stands what it requires; packages at the margin were requested, or nothing is known to
    require them.
    """
    from tilth.cli.home import home, records
    from tilth.cli.tables import pairs, to_json
    from tilth.client.contents import contents_of
    from tilth.client.overview import executables, realisation, uses_of
    from tilth.client.subjects import find_subject

    with records() as store:
        subject = find_subject(store, home(), name)
        contents = contents_of(store, home(), subject)
        environment = contents.environment
        uses = uses_of(store, [environment])[environment.id]
        program = subject.interpreter.executable if subject.interpreter else ""
        program = program or executables(store, [environment]).get(environment.id, "")
        state, folder = realisation(environment, home(), program)
        steps = _steps(store, home(), uses, environment.id)
        built = _built(store, contents)
    if as_json:
        click.echo(to_json(_document(contents, state, folder, uses, steps, home())))
        return
    facts = {**_facts(contents, state, folder, home()), "used by": _used_by(uses, steps), "built": built}
    if subject.interpreter or subject.path:
        del facts["recorded"]
    text = f"environment {environment.name}\n{pairs(facts)}"
    if environment.packages:
        text += "\n\n" + (_flat(contents) if flat else _tree(contents))
    click.echo(text)


def _is_file(target: str) -> bool:
    return target.endswith(".py") or ".py:" in target


def _of_run_or_pipeline(store: Store, home: Home, target: str) -> list[Listed]:
    from tilth.client.lookup import find_run
    from tilth.client.overview import of_pipeline, of_run
    from tilth.errors import NotFound

    try:
        return of_run(store, home, find_run(store, target))
    except NotFound as no_run:
        try:
            return of_pipeline(store, home, target)
        except NotFound:
            raise NotFound(f"there is no run and no pipeline `{target}`", mend=no_run.mend) from None


def _table(found: Sequence[Listed]) -> str:
    from tilth.cli.tables import table
    from tilth.client.wording import short_digest, size

    rows = [
        {
            "role": each.environment.role,
            "environment": each.environment.name,
            "digest": short_digest(each.environment.id),
            "python": each.environment.python,
            "platform": each.environment.platform,
            "packages": len(each.environment.packages) if each.environment.id else "",
            "download": size(each.download_size) if each.download_size else "",
            "size": size(each.unpacked_size) if each.unpacked_size else "",
            "state": each.state,
            "runs": _runs(each.uses),
            "steps": ", ".join(each.steps),
        }
        for each in found
    ]
    columns = ["role", "environment", "digest", "python", "platform", "packages", "download", "size"]
    return table([*columns, "state", "runs", "steps"], rows)


def _runs(uses: Uses) -> str:
    """`3, newest churn-3`."""
    return f"{len(uses.runs)}, newest {uses.newest}" if len(uses.runs) > 1 else uses.newest


def _facts(contents: Contents, state: str, folder: str, home: Home) -> dict[str, str]:
    from tilth.client.wording import moment
    from tilth.environments.venvs import realisation as made
    from tilth.records.roles import ROLES

    environment = contents.environment
    record = made(environment.id, home) if folder else None
    what = ROLES[environment.role].title if environment.role in ROLES else ""
    how = ""
    if record is not None:
        libc = f", {record.libc}" if record.libc else ""
        how = f"with Python {record.version} ({record.interpreter}){libc}, tilth {record.tilth}"
    return {
        "digest": environment.id,
        "role": f"{environment.role}: {what}",
        "python": environment.python,
        "platform": environment.platform,
        "base image": environment.base,
        "requirements": "\n".join(environment.requirements),
        "variables": "\n".join(f"{key}={value}" for key, value in sorted(environment.variables.items())),
        "packages": _counted(contents),
        "conda": "\n".join(f"{each.name} {each.version} {each.build}" for each in environment.system),
        "lock": environment.lock,
        "recorded": moment(environment.created_at) if environment.id else "",
        "folder": f"{folder} ({state})" if folder and state != "made" else folder or state,
        "made": how,
    }


def _counted(contents: Contents) -> str:
    """`11, 39 MB to download, 163 MB unpacked`."""
    from tilth.client.wording import size

    total = len(contents.environment.packages)
    parts = [str(total)]
    for sizes, what in ((contents.download_sizes, "to download"), (contents.unpacked_sizes, "unpacked")):
        if sizes:
            rest = f" ({len(sizes)} of {total})" if len(sizes) < total else ""
            parts.append(f"{size(sum(sizes.values()))} {what}{rest}")
    return ", ".join(parts)


def _steps(store: Store, home: Home, uses: Uses, digest: str) -> dict[str, tuple[str, ...]]:
    """Of the newest runs, the steps that ran in it."""
    from tilth.client.lookup import find_run
    from tilth.client.overview import steps_of_run

    return {
        name: steps_of_run(store, home, find_run(store, name)).get(digest, ()) for name in uses.runs[:_NEWEST]
    }


def _used_by(uses: Uses, steps: dict[str, tuple[str, ...]]) -> str:
    from tilth.client.wording import counted

    lines = [f"{name}: {', '.join(of)}" if of else name for name, of in steps.items()]
    if len(uses.runs) > len(steps):
        lines.append(f"and {counted(len(uses.runs) - len(steps), 'older run')}")
    return "\n".join(lines)


def _built(store: Store, contents: Contents) -> str:
    """How each package was built that came as source."""
    from tilth.client.subjects import environment_with
    from tilth.client.wording import short_digest
    from tilth.environments.contents.exporting import files_of

    lines = []
    for each in contents.environment.packages:
        if not each.is_built:
            continue
        entry, taken = files_of(each, contents.locked)
        source = taken.name if taken else (entry.repository or entry.folder) if entry else ""
        line = f"{each.name} {each.version} from {source or 'source'}"
        if each.builder:
            line += f" in {short_digest(each.builder)}"
            builder = environment_with(store, each.builder)
            tools = [f"{one.name} {one.version}" for one in builder.packages] if builder else []
            line += f" ({', '.join(tools)})" if tools else ""
        lines.append(line)
    return "\n".join(lines)


def _tree(contents: Contents) -> str:
    from tilth.client.wording import size
    from tilth.environments.contents.trees import tree_lines

    packages = {each.name: each for each in contents.environment.packages}
    rows = []
    for line in tree_lines(contents.graph):
        bytes_on_disk = contents.unpacked_sizes.get(line.name) or contents.download_sizes.get(line.name)
        version = packages[line.name].version
        rows.append(
            (f"{line.indent}{line.name} {version}", size(bytes_on_disk) if bytes_on_disk else "", line.note)
        )
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    gap = 2 if second else 0
    return "\n".join(f"{a:<{first}}  {b:>{second}}{'':{gap}}{c}".rstrip() for a, b, c in rows)


def _flat(contents: Contents) -> str:
    from tilth.cli.tables import table
    from tilth.client.wording import short_digest, size

    rows: list[dict[str, object]] = []
    for each in contents.environment.packages:
        download, unpacked = contents.download_sizes.get(each.name), contents.unpacked_sizes.get(each.name)
        rows.append(
            {
                "package": each.name,
                "version": each.version,
                "download": size(download) if download else "",
                "size": size(unpacked) if unpacked else "",
                "why": contents.graph.why(each.name) or "not known",
                "digest": short_digest(each.digest),
                "file": each.file or each.origin,
            }
        )
    return table(["package", "version", "download", "size", "why", "digest", "file"], rows)


def _document(
    contents: Contents,
    state: str,
    folder: str,
    uses: Uses,
    steps: dict[str, tuple[str, ...]],
    home: Home,
) -> dict[str, Any]:
    """The record, with everything else that is shown."""
    import msgspec

    from tilth.environments.venvs import realisation as made

    graph = contents.graph
    packages = [
        {
            **msgspec.to_builtins(each),
            "requested": list(graph.requested.get(each.name, ())),
            "required_by": list(graph.required_by[each.name]),
            "requires": graph.requires[each.name],
            "download_size": contents.download_sizes.get(each.name, 0),
            "unpacked_size": contents.unpacked_sizes.get(each.name, 0),
        }
        for each in contents.environment.packages
    ]
    return {
        **msgspec.to_builtins(contents.environment),
        "packages": packages,
        "state": state,
        "folder": folder,
        "realisation": made(contents.environment.id, home) if folder else None,
        "runs": len(uses.runs),
        "newest_run": uses.newest,
        "steps": steps,
    }
