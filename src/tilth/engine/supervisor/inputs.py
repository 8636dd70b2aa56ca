"""What stands for artifacts in the inputs of a step: a path where the step runs, a digest on the way there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def replaced(expression: Any, by: Callable[[str], str]) -> Any:
    """The expression with `by(path or digest)` in the place of each path or digest of an artifact."""
    if isinstance(expression, dict):
        if len(expression) == 1:
            if "$artifact" in expression:
                return {"$artifact": by(expression["$artifact"])}
            if "$item" in expression:
                place, index = expression["$item"]
                return {"$item": [by(place), index]}
            if "$sequence" in expression:
                return {"$sequence": [by(each) for each in expression["$sequence"]]}
        return {key: replaced(each, by) for key, each in expression.items()}
    if isinstance(expression, list):
        return [replaced(each, by) for each in expression]
    return expression


def found_in(expression: Any) -> list[str]:
    """The paths or digests of all artifacts in it, each once."""
    found: dict[str, None] = {}

    def note(each: str) -> str:
        found[each] = None
        return each

    replaced(expression, note)
    return list(found)


def digest_at(place: str) -> str:
    """The digest of the artifact at a path: a store names its folders by them."""
    return f"sha256:{Path(place).name}"
