"""`tilth env lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.client.locking import Written


@click.command()
@click.argument("target", metavar="[NAME|FILE[:PIPELINE]]", required=False)
@click.option(
    "--only", "names", multiple=True, metavar="NAME", help="One environment of the pipeline; may be repeated."
)
@click.option("--upgrade", is_flag=True, help="Take the newest versions that answer.")
@click.option(
    "--upgrade-package",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="Take a newer version of this one.",
)
@click.option(
    "--platform", metavar="PLATFORM", help="For this platform alone, as `aarch64-manylinux` or `macos`."
)
@click.option("--python", metavar="VERSION", help="For this Python, as `3.12`, instead of the environment's.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it.")
@click.option("--check", is_flag=True, help="Write nothing; fail when a lock is missing or stale.")
@click.option("--offline", is_flag=True, help="Ask no package index.")
@json_option
def lock(
    *,
    target: str | None,
    names: Sequence[str],
    upgrade: bool,
    packages: Sequence[str],
    platform: str | None,
    python: str | None,
    output: Path | None,
    check: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Write the locks of environments into the project.

    `pylock.NAME.toml` stands beside the code and is used by every run from then on; it holds for all platforms
    unless one is named. FILE locks the environments of its pipeline; NAME one that was locked before; without
    either, all that were.
    """
    from tilth.client import locking
    from tilth.settings import setting

    if upgrade and packages:
        raise Misuse("`--upgrade` and `--upgrade-package` say two things", mend="give one of them")
    options = locking.LockOptions(
        upgrade=list(packages) or upgrade,
        platform=platform,
        python=python,
        output=output,
        offline=offline or setting("offline") == "1",
        check=check,
    )
    root = locking.project_root(Path.cwd())
    if target is None:
        known = sorted(each.name.split(".")[1] for each in root.glob("pylock.*.toml"))
        if not known:
            raise Misuse("this project has no `pylock.NAME.toml` yet", mend="name the file of a pipeline")
        written = [each for name in known for each in locking.lock_named(name, root, options)]
    elif Path(target).exists() or ".py" in target:
        written = locking.lock_file(target, options, names=names)
    else:
        written = locking.lock_named(target, root, options)
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json([locking.to_json(each) for each in written]))
        return
    for each in written:
        _show(each)


def _show(written: Written) -> None:
    from tilth.client.wording import counted

    click.echo(
        f"environment {written.environment}: {counted(written.packages, 'package')}, "
        f"{written.path} {'is ' if written.state == 'current' else ''}{written.state}",
        err=True,
    )
    for change in written.changes:
        click.echo(f"  {change}", err=True)
