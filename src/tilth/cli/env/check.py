"""`tilth env check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.client.checks.findings import Finding
    from tilth.client.checks.report import Report


@click.command()
@click.argument("target", metavar="FILE[:PIPELINE]|RUN|PYLOCK")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline; may be repeated.",
)
@click.option("--python", metavar="PATH", help="The project's interpreter; of a lock file, also `3.12`.")
@click.option(
    "--platform", metavar="PLATFORM", help="Where a lock file shall be used, as `aarch64-manylinux`."
)
@click.option("--offline", is_flag=True, help="Ask no package index and no advisory service.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@json_option
def check(
    *,
    target: str,
    parameters: Sequence[str],
    python: str | None,
    platform: str | None,
    offline: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Find what is wrong with a pipeline's environments.

    Of a pipeline in FILE, what a run would meet; of a RUN, what running it again here would meet; of a lock
    file, whether the project's interpreter can use it. Environments that were never locked are locked; none is
    made, and nothing is run.

    Looked for: imports that a lock does not provide, values that a later step cannot read, Python versions that
    no interpreter provides, locks and wheels for another Python or platform, packages with known
    vulnerabilities (see `TILTH_ADVISORIES`), and what changed in the client's environment since the newest run
    and against the project's `uv.lock` or `pylock.toml`.

    Ends with 1 when there is an error.
    """
    from tilth.cli.main import DONE, FAILED
    from tilth.cli.run import given_parameters
    from tilth.settings import setting

    given = given_parameters(parameters)
    report = _report(
        target,
        given,
        python=python or setting("python") or None,
        platform=platform,
        offline=offline or setting("offline") == "1",
    )
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(report.findings))
    else:
        _tell(report)
    return FAILED if report.errors or (strict and report.warnings) else DONE


def _report(
    target: str, parameters: dict[str, str], *, python: str | None, platform: str | None, offline: bool
) -> Report:
    from tilth.cli.home import home as home_of_this_machine
    from tilth.cli.run import checked_target
    from tilth.client.checks import report
    from tilth.client.lookup import find_run
    from tilth.client.plan import existing
    from tilth.errors import NotFound

    home = home_of_this_machine()
    path = Path(target)
    if report.is_pylock(path.name) and path.is_file():
        return report.check_lock_file(path, home=home, python=python, platform=platform, offline=offline)
    if platform:
        raise Misuse("`--platform` is for a lock file", mend="name one: `tilth env check pylock.NAME.toml`")
    name = target.rpartition(":")[0] or target
    # A home that was never used is not made: of its records there are none, and locks go to where they stay.
    with existing(home) as (_, store):
        if not path.exists() and not name.endswith(".py") and not Path(name).exists():
            try:
                run = find_run(store, target)
            except NotFound as error:
                raise NotFound(
                    f"there is no file and no run `{target}`", why=error.why, mend=error.mend
                ) from error
            return report.check_run(run, home=home, store=store, offline=offline)
        return report.check_file(
            checked_target(target), parameters, home=home, store=store, python=python, offline=offline
        )


def _tell(report: Report) -> None:
    from tilth.client.wording import counted

    for each in report.findings:
        click.echo(_mark(each) + str(each))
    looked_at = [counted(report.environments, "environment")]
    if report.steps:
        looked_at.append(counted(report.steps, "step"))
    found = [
        counted(count, what)
        for count, what in ((report.errors, "error"), (report.warnings, "warning"))
        if count
    ]
    click.echo(
        f"checked {report.subject}: {', '.join(looked_at)}; {', '.join(found) or 'nothing is wrong'}",
        err=True,
    )


def _mark(finding: Finding) -> str:
    color = "red" if finding.level == "error" else "yellow"
    return click.style(f"{finding.level}: ", fg=color, bold=True)
