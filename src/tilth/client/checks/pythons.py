"""Whether there is an interpreter for each Python version that is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.client.checks.findings import ERROR, Finding, owners
from tilth.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.ir.pipeline import Pipeline


def check_pythons(pipeline: Pipeline, find: Callable[[str], object]) -> list[Finding]:
    """Environments whose Python no interpreter here provides, all of them.

    A file that an environment is declared by may ask for a Python too; that is seen when it is locked.

    Args:
        find: Gives the interpreter for a version, or raises `SetupError`.
    """
    used = {node.environment for node in pipeline.nodes}
    failures: dict[str, SetupError] = {}
    findings = []
    for name, declared in pipeline.environments.items():
        wanted = declared.get("python")
        if name not in used or not wanted or declared.get("conda"):
            continue
        if wanted not in failures:
            try:
                find(wanted)
                continue
            except SetupError as error:
                failures[wanted] = error
        told = failures[wanted]
        findings.append(
            Finding(
                level=ERROR,
                check="python",
                environment=name,
                what=told.summary,
                why="\n".join(filter(None, (told.why, owners(pipeline, name)))),
                mend=told.mend,
            )
        )
    return findings
