"""`tilth artifacts`: list, show, get."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.usage import group, json_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.records import Artifact, Run, StepRun
    from tilth.store import Store

_SEARCHED = 20_000  # step runs that are looked through for who used an artifact
_SHOWN = 20  # files, users


@group("artifacts")
def artifacts() -> None:
    """Look at what steps gave, and copy it out.

    An artifact is named by NAME for its newest version, by NAME@VERSION, by its id or digest, or by the
    beginning of an id. The last part of a name will do where it means one artifact.
    """


@artifacts.command("list")
@click.argument("name", required=False)
@click.option("--run", "run_name", metavar="RUN", help="Only what this run gave.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
@json_option
def list_artifacts(*, name: str | None, run_name: str | None, limit: int, as_json: bool) -> None:
    """List artifacts, newest first.

    With NAME, its versions.
    """
    from tilth.cli.home import records
    from tilth.cli.tables import more, to_json
    from tilth.client.lookup import find_artifact, find_run
    from tilth.records import Artifact

    with records() as store:
        where = {}
        if name:
            where["name"] = find_artifact(store, name).name
        if run_name:
            where["run"] = find_run(store, run_name).id
        page = store.find(Artifact, limit=limit, **where)
    if as_json:
        click.echo(to_json(page.items))
        return
    if not page.items:
        click.echo("no artifacts" + (" like that" if where else ""), err=True)
        return
    click.echo(artifact_table(page, columns=["artifact", "version", "type", "size", "created", "tags"]))
    more(page.next, limit)


@artifacts.command()
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show where one came from, and what is in it.

    With --json: its record, with `produced_by`, `used_by`, `path` and `files`.
    """
    from tilth.cli.home import records
    from tilth.cli.tables import pairs, to_json
    from tilth.client.lookup import find_artifact
    from tilth.client.wording import assignments, moment, size

    with records() as store:
        artifact = find_artifact(store, name)
        producer, users = _lineage(store, artifact)
    folder = _folder(artifact)
    files = _files(folder)
    looks = _visualizations(folder, artifact)
    if as_json:
        import msgspec

        document = {
            **msgspec.to_builtins(artifact),
            "produced_by": {"run": producer, "step": artifact.step, "output": artifact.output},
            "used_by": [{"run": run, "step": step} for run, step in users],
            "path": str(folder),
            "files": {file: path.stat().st_size for file, path in files.items()},
        }
        click.echo(to_json(document))
        return
    shown = [f"{file}  {size(path.stat().st_size)}" for file, path in islice(files.items(), _SHOWN)]
    if len(files) > _SHOWN:
        shown.append(f"… {len(files) - _SHOWN} more")
    used = [f"{run} {step}" for run, step in users[:_SHOWN]]
    if len(users) > _SHOWN:
        used.append(f"… {len(users) - _SHOWN} more")
    facts = {
        "id": artifact.id,
        "digest": artifact.digest,
        "type": artifact.type,
        "format": ", written by ".join(filter(None, (artifact.format, artifact.materializer))),
        "size": size(artifact.size),
        "items": "" if artifact.length is None else str(artifact.length),
        "created": moment(artifact.created_at),
        "produced by": f"{producer or '(a deleted run)'} {artifact.step}".strip(),
        "used by": "\n".join(used),
        "tags": ", ".join(artifact.tags),
        "metadata": "\n".join(assignments({key: value}) for key, value in artifact.metadata.items()),
        "folder": str(folder) if folder.exists() else f"{folder} (missing)",
        "files": "\n".join(shown),
        "visualizations": "\n".join(map(str, looks)),
    }
    click.echo(f"artifact {artifact.name}@{artifact.version}\n{pairs(facts)}")


@artifacts.command()
@click.argument("name", metavar="NAME[@VERSION]")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def get(*, name: str, path: Path, force: bool) -> None:
    """Copy the files of an artifact to PATH.

    An artifact of one file becomes the file PATH, or lies in PATH when that is a folder; one of several
    files becomes a folder, one of a mapped step a folder with a folder for each item.
    """
    from tilth.cli.home import records
    from tilth.client.lookup import find_artifact
    from tilth.client.wording import counted, size

    with records() as store:
        artifact = find_artifact(store, name)
        folder = _brought(store, artifact)
    files = _files(folder)
    targets = _targets(files, path)
    _copy(targets, force=force)
    total = sum(each.stat().st_size for each in targets)
    told = f"{counted(len(targets), 'file')}, {size(total)}"
    click.echo(f"artifact {artifact.name}@{artifact.version}: copied to {path} ({told})", err=True)


def artifact_table(artifacts: Iterable[Artifact], *, columns: Sequence[str]) -> str:
    """One row for each artifact."""
    from tilth.cli.tables import table
    from tilth.client.wording import moment, size

    rows = [
        {
            "artifact": each.name,
            "version": each.version,
            "step": each.step,
            "type": each.type.removeprefix("builtins:").removeprefix("tilth:"),
            "size": size(each.size),
            "created": moment(each.created_at),
            "tags": ", ".join(each.tags),
        }
        for each in artifacts
    ]
    return table(columns, rows)


def _lineage(store: Store, artifact: Artifact) -> tuple[str, list[tuple[str, str]]]:
    """The name of the run that gave it, empty when it was deleted, and (run, step) of each use, newest first."""
    from tilth.errors import NotFound
    from tilth.records import Run, StepRun
    from tilth.store import walk

    runs: dict[str, Run | None] = {}

    def run(id_: str) -> Run | None:
        if id_ not in runs:
            try:
                runs[id_] = store.get(Run, id_)
            except NotFound:
                runs[id_] = None
        return runs[id_]

    producer = run(artifact.run) if artifact.run else None
    step_runs = walk(store, StepRun, pipeline=producer.pipeline) if producer else walk(store, StepRun)
    used: dict[tuple[str, str], None] = {}
    for step_run in islice(step_runs, _SEARCHED):
        if _uses(step_run, artifact.digest) and (user := run(step_run.run)):
            used[user.name, step_run.step] = None
    return producer.name if producer else "", list(used)


def _uses(step_run: StepRun, digest: str) -> bool:
    def within(value: Any) -> bool:
        if isinstance(value, dict):
            return value.get("$artifact") == digest or any(map(within, value.values()))
        return isinstance(value, list) and any(map(within, value))

    return any(map(within, step_run.inputs.values()))


def _folder(artifact: Artifact) -> Path:
    """Where its files are, or would be, on this machine."""
    from tilth.artifact_stores import LocalArtifactStore
    from tilth.cli.home import home

    return LocalArtifactStore(home().artifacts).path(artifact.digest)


def _brought(store: Store, artifact: Artifact) -> Path:
    """Where its files are, after bringing them here if they are elsewhere."""
    from tilth.cli.home import home
    from tilth.client.artifacts import folder_of
    from tilth.errors import NotFound

    try:
        return folder_of(home(), store, artifact.digest)
    except NotFound as error:
        raise NotFound(
            f"the files of artifact `{artifact.name}@{artifact.version}` are not on this machine",
            why=error.why,
            mend=f"run step `{artifact.step}` again" if artifact.step else "",
        ) from None


def _files(folder: Path) -> dict[str, Path]:
    """Where each file lies, by its place in the artifact. Of a mapped step, the files of every item."""
    import json

    manifest = folder / "artifact.json"
    found = {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path != manifest and not path.is_dir()
    }
    if not manifest.exists() or json.loads(manifest.read_bytes()).get("format") != "mapped":
        return found
    lines = (folder / "items.jsonl").read_bytes().splitlines()
    return {
        f"{index}/{name}": path
        for index, line in enumerate(lines)
        for name, path in _files((folder / json.loads(line)["path"]).resolve()).items()
    }


def _visualizations(folder: Path, artifact: Artifact) -> list[Path]:
    return [folder.with_name(folder.name + ".visualizations") / name for name in artifact.visualizations]


def _targets(files: dict[str, Path], path: Path) -> dict[Path, Path]:
    """Where each file goes: source -> target."""
    if len(files) == 1:
        (name, source), *_ = files.items()
        if "/" not in name and not path.is_dir():
            return {path: source}
    return {path / name: source for name, source in files.items()}


def _copy(targets: dict[Path, Path], *, force: bool) -> None:
    import shutil

    from tilth.errors import Conflict

    taken = [target for target in targets if target.is_symlink() or target.exists()]
    if taken and not force:
        others = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise Conflict(f"`{taken[0]}`{others} exists already", mend="`--force` overwrites it")
    for target, source in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            target.unlink()
        # Not the mode: files of the store are read-only, a copy is the user's to change.
        shutil.copyfile(source, target, follow_symlinks=False)
