"""One thing that is wrong, or may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import msgspec

from tilth.errors import DefinitionError, TilthError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.ir.pipeline import Pipeline

ERROR, WARNING = "error", "warning"
_SHOWN = 4  # further ones that an error names


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. An error certainly fails; a warning likely does, or is for a person to judge."""

    level: str  # error, warning
    check: str  # imports, artifacts, python, lock, environment, secrets, advisories, client
    what: str
    why: str = ""
    mend: str = ""
    step: str = ""  # id; empty where it is not one step's
    environment: str = ""  # name, several after commas; empty for the client's own
    package: str = ""  # that it is about, where it is about one
    version: str = ""  # of that
    uncertain: bool = False  # some package was never seen here: looking at it may settle this

    def __str__(self) -> str:
        return str(TilthError(self.what, why=self.why, mend=self.mend))

    def told(self) -> str:
        """What, with its reasons on further lines."""
        return "\n".join([self.what, *(f"  {line}" for line in self.why.splitlines())])


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, errors before warnings, else in their order."""
    return sorted(dict.fromkeys(findings), key=lambda each: each.level != ERROR)


def refuse(findings: Sequence[Finding], kind: type[TilthError] = DefinitionError) -> None:
    """Raise for the errors among the findings: the first in full, the others as its reasons.

    Raises:
        TilthError: Of the `kind` given.
    """
    errors = [each for each in findings if each.level == ERROR]
    if errors:
        _raise(errors, kind)


def _raise(errors: Sequence[Finding], kind: type[TilthError]) -> NoReturn:
    first, others = errors[0], errors[1:]
    lines = first.why.splitlines()
    for each in others[:_SHOWN]:
        lines += [each.what, *(line for line in each.why.splitlines() if line not in lines)]
    if len(others) > _SHOWN:
        lines.append(f"… and {len(others) - _SHOWN} more: `tilth env check` shows all")
    raise kind(first.what, why="\n".join(lines), mend=first.mend)


def place(environment: str | None) -> str:
    """How an environment is spoken of."""
    return f"environment `{environment}`" if environment else "the client's interpreter"


def owners(pipeline: Pipeline, environment: str) -> str:
    """Whose environment it is, as a sentence."""
    steps = [node.id for node in pipeline.nodes if node.environment == environment]
    shown = ", ".join(f"`{each}`" for each in steps[:3]) + (", …" if len(steps) > 3 else "")
    return f"environment `{environment}` is that of {'step' if len(steps) == 1 else 'steps'} {shown}"
