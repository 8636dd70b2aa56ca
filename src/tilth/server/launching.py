"""Whether a run of a snapshot may be asked for: its parameters, and whose rights it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, UnknownOption, nearest
from tilth.records.access import Member, Role, User
from tilth.runtime.parameters import is_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.records import Json, Snapshot
    from tilth.store.sql import SqlStore


def check_parameters(snapshot: Snapshot, given: Mapping[str, Json]) -> dict[str, Json]:
    """Parameters for a run of a snapshot, which stand in for its own; what only code can judge, the run will.

    Args:
        given: Each as JSON, or as it would be written on a command line.
    Raises:
        UnknownOption: The pipeline has no such parameter.
        DefinitionError: One is not what the pipeline declares, or one is missing.
    """
    for name, value in given.items():
        declared = snapshot.signature.get(name)
        if declared is None:
            raise UnknownOption(
                f"pipeline `{snapshot.pipeline}` has no parameter `{name}`",
                mend=nearest(name, snapshot.signature),
            )
        if not is_one(value, declared):
            raise DefinitionError(
                f"parameter `{name}` of pipeline `{snapshot.pipeline}` is `{str(value)[:200]}`",
                why=f"it is declared as `{declared['type']}`",
                mend=nearest(str(value), declared["choices"]) if declared.get("choices") else "",
            )
    for name, declared in snapshot.signature.items():
        if declared["required"] and name not in given and name not in snapshot.parameters:
            raise DefinitionError(
                f"pipeline `{snapshot.pipeline}` needs the parameter `{name}`",
                why=f"snapshot `{snapshot.label}` was made without it",
                mend=f"give it: `--param {name}=VALUE`",
            )
    return dict(given)


def may_run(user: User | None, project: str, store: SqlStore) -> bool:
    """Whether somebody who once asked for a run may still have one."""
    if user is None or not user.active:
        return False
    if user.admin:
        return True
    member = store.find(Member, project=project, user=user.id, limit=1).items
    return bool(member) and member[0].role.covers(Role.EDITOR)
