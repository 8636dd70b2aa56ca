"""The step's folder: what a supervisor hands to a step and takes from it.

step.json            source, inputs and outputs, context          (supervisor -> runtime)
inputs/NAME/         where inputs are not read from the artifact store itself
outputs/NAME/        written by the materializer, then artifact.json
visualizations/NAME/ what a person would look at
saved/NUMBER/        artifacts that the step saved by hand
events.jsonl         metadata and the like, one JSON object per line
result.json          completed, or failed with type, message and traceback; written last
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_json(path: Path, value: Any) -> None:
    """Write aside, then rename: a reader sees all of it or nothing."""
    aside = f"{path}.tmp"
    with open(aside, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(json.dumps(value))
    os.replace(aside, path)  # noqa: PTH105 - str is faster, and this runs for each step


def read_json(path: Path) -> Any:
    """What `write_json` wrote; None when it is missing or torn."""
    try:
        with open(path, encoding="utf-8", errors="surrogatepass") as file:
            return json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The step's events in order; a torn last line is left out."""
    try:
        with open(folder / "events.jsonl", encoding="utf-8", errors="surrogatepass") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
