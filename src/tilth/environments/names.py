"""The one spelling of a distribution's name."""

from __future__ import annotations

import re


def normalised(name: str) -> str:
    """As PEP 503 has it: `Zope.Interface` is `zope-interface`. `packaging` has the same, and costs 30 ms to load."""
    return re.sub(r"[-_.]+", "-", name).lower()
