"""Whether a run of a snapshot may be asked for: its parameters, and whose rights it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, UnknownOption, nearest
from tilth.records.access import Member, Role, User
from tilth.records.launching import Launch
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
    check_given(snapshot, given)
    for name, declared in snapshot.signature.items():
        if declared["required"] and name not in given and name not in snapshot.parameters:
            raise DefinitionError(
                f"pipeline `{snapshot.pipeline}` needs the parameter `{name}`",
                why=f"snapshot `{snapshot.label}` was made without it",
                mend=f"give it: `--param {name}=VALUE`",
            )
    return dict(given)


def check_given(snapshot: Snapshot, given: Mapping[str, Json]) -> None:
    """Refuse parameters that the pipeline does not have, or not like this; ones that are missing may come later.

    Raises:
        UnknownOption, DefinitionError: As `check_parameters`.
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


def launches_of(store: SqlStore, beginning: str, limit: int, *, in_order: bool = False) -> list[Launch]:
    """The newest launches whose keys begin like this: those that one schedule or webhook has asked for.

    Args:
        store: Of the server itself, not of a project.
        in_order: The keys go on with a time, so that the newest are found by them, however many there are.
    """
    order = '"key"' if in_order else "created_at"
    sql = (
        'SELECT id FROM launch WHERE space = ? AND "key" >= ? AND "key" < ? '  # noqa: S608 - names of ours
        f"ORDER BY {order} DESC LIMIT {limit:d}"
    )
    rows = store.database.select(sql, (store.space, beginning, beginning + "\U0010ffff"))
    return list(store.find(Launch, id=[row[0] for row in rows], limit=limit)) if rows else []


def may_run(user: User | None, project: str, store: SqlStore) -> bool:
    """Whether somebody who once asked for a run may still have one."""
    if user is None or not user.active:
        return False
    if user.admin:
        return True
    member = store.find(Member, project=project, user=user.id, limit=1).items
    return bool(member) and member[0].role.covers(Role.EDITOR)
