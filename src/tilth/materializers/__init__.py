"""Values to files and back. Each materializer sees a folder and a value, nothing else.

Runs in a step's interpreter: standard library alone; libraries are imported when a value needs them.
"""

from __future__ import annotations

from tilth.materializers.files import open_hashed as open_hashed
from tilth.materializers.protocol import Format as Format, Materializer as Materializer
from tilth.materializers.text import CSV as CSV, HTML as HTML, Markdown as Markdown

__all__ = ["CSV", "HTML", "Format", "Markdown", "Materializer", "open_hashed"]
