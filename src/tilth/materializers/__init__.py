"""Values to files and back. Each materializer sees a folder and a value, nothing else.

Runs in a step's interpreter: standard library alone; libraries are imported when a value needs them.
"""

from __future__ import annotations

from tilth.materializers.protocol import Format as Format, Materializer as Materializer

__all__ = ["Format", "Materializer"]
