"""The environments that a pipeline passes through, by what happens in them.

A new one adds a row to `ROLES`: what it is for, and where a run, or another environment, says which it used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.records import Environment, Run


def _none(_: object) -> Mapping[str, str]:
    return {}


def _client(run: Run) -> Mapping[str, str]:
    return {"client": run.client.environment} if run.client and run.client.environment else {}


def _supervisor(run: Run) -> Mapping[str, str]:
    return {"supervisor": run.supervisor} if run.supervisor else {}


def _builders(environment: Environment) -> Mapping[str, str]:
    return {each.name: each.builder for each in environment.packages if each.builder}


@dataclass(frozen=True)
class Role:
    """What an environment is for, and who refers to it."""

    title: str
    of_run: Callable[[Run], Mapping[str, str]] = _none  # name, as the run has it -> digest
    of_environment: Callable[[Environment], Mapping[str, str]] = _none  # package it was used for -> digest

    @property
    def is_behind(self) -> bool:
        """Whether environments refer to it, and runs only through those."""
        return self.of_environment is not _none


ROLES: dict[str, Role] = {
    "client": Role("compiles the pipeline and starts the run", of_run=_client),
    "execution": Role("runs steps", of_run=lambda run: run.environments),
    "supervisor": Role("stands beside steps that run elsewhere", of_run=_supervisor),
    "runner": Role("compiles and drives a run in the container of a runner image"),
    "server": Role("keeps a team's records, and starts its runs"),
    "builder": Role("builds packages that come as source", of_environment=_builders),
}


def in_order(role: str) -> int:
    """Sorts roles as they are declared; one of a later tilth comes last."""
    return list(ROLES).index(role) if role in ROLES else len(ROLES)


def used_by(run: Run) -> set[str]:
    """Digests of the environments that a run refers to itself."""
    return {digest for role in ROLES.values() for digest in role.of_run(run).values()}


def behind(environment: Environment) -> dict[str, str]:
    """Digest of each environment that this one was made with, to its role."""
    return {
        digest: name for name, role in ROLES.items() for digest in role.of_environment(environment).values()
    }
