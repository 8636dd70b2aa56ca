"""The secrets that the steps of one run are given. Kept in memory alone."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.ir.pipeline import Node


class RunSecrets:
    """Values by name of the secret, and what hides them in all that is written and shown of the run."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def variables(self, node: Node) -> dict[str, str]:
        """What one step gets, by variable."""
        return {variable: self._values[name] for variable, name in node.secrets.items()}

    @cached_property
    def mask(self) -> Mask:
        return Mask(self._values.values())
