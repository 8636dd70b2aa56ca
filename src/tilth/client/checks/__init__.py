"""What is wrong with the environments of a compiled pipeline: one list of findings, before anything is built.

    findings.py      a finding, and the error that refuses a run for it
    sides.py         what is known of each environment, as the checks see it
    imports.py       imports of steps that their environment does not have
    artifacts.py     what one step hands on and another cannot read
    pythons.py       Python versions that no interpreter provides
    locks.py         locks, and files in them, that an interpreter cannot use
    advisories.py    packages with known vulnerabilities; osv.py gets the records
    drift.py         the client's packages, against an earlier run and against the project's lock
    report.py        all of them, for `tilth env check`

The checks get what was looked up, and give findings. Here are those that every run and plan makes, which cost
next to nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tilth import environments as envs
from tilth.client.checks.artifacts import check_artifacts as check_artifacts, check_stored as check_stored
from tilth.client.checks.drift import (
    check_since_run,
    client_packages,
    newest_from_here,
    snapshot,
    snapshot_of,
)
from tilth.client.checks.findings import Finding as Finding, refuse as refuse
from tilth.client.checks.imports import check_imports as check_imports
from tilth.client.checks.pythons import check_pythons as check_pythons
from tilth.client.checks.sides import sides_of
from tilth.errors import SetupError, TilthError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from tilth.artifact_stores import ArtifactStore
    from tilth.client.environments import ProjectEnvironments
    from tilth.environments import Interpreter
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline
    from tilth.store import Store


def at_compile(
    pipeline: Pipeline,
    environments: ProjectEnvironments,
    home: Home,
    *,
    absent: Container[str] = (),
    guess: bool = True,
) -> list[Finding]:
    """What steps cannot import or read, going by the locks that are known. Starts nothing, asks nobody.

    Args:
        absent: What the client's interpreter, where steps without an environment run, does not have.
        guess: Take it that a package which was never seen here has the module that its name says; otherwise
            that is uncertain.
    """
    sides = sides_of(pipeline, environments, home)
    return [*check_imports(pipeline, sides, absent=absent, guess=guess), *check_artifacts(pipeline, sides)]


def of_stored(
    pipeline: Pipeline,
    environments: ProjectEnvironments,
    home: Home,
    artifacts: ArtifactStore,
    outputs: Mapping[tuple[str, str], str],
) -> list[Finding]:
    """What steps cannot read of stored artifacts.

    Args:
        outputs: (step, output) -> digest of those that would be used.
    """
    stored = {}
    for source, digest in outputs.items():
        with suppress(TilthError, OSError):  # damaged: it is made again
            stored[source] = artifacts.manifest(digest)
    return check_stored(pipeline, sides_of(pipeline, environments, home), stored) if stored else []


def refuse_pythons(pipeline: Pipeline, interpreter: Interpreter, home: Home) -> None:
    """Raise when a declared Python is not installed, naming all that are not.

    Raises:
        SetupError: With the steps that want each.
    """
    refuse(
        check_pythons(pipeline, lambda wanted: envs.find_interpreter(wanted, interpreter, home)), SetupError
    )


def since_last_run(
    pipeline: Pipeline, environments: ProjectEnvironments, interpreter: Interpreter, store: Store
) -> list[Finding]:
    """What changed in the client's interpreter since the newest run of the pipeline, where steps run in it."""
    if all(node.environment is not None for node in pipeline.nodes):
        return []
    newest = newest_from_here(store, pipeline.name)
    if newest is None or newest.client is None:
        return []
    before = snapshot(newest.client.python, client_packages(store, newest))
    return check_since_run(before, snapshot_of(environments.inventory(), interpreter.version), newest.name)
