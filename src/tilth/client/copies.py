"""Copies the artifacts that a step is given into its folder, each verified, so that it stands for itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.environments.files import clone_file
from tilth.errors import NotFound, SetupError
from tilth.materializers.artifacts import read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Iterator


class Copies:
    """Copies of the artifacts that one input refers to, below `inputs/NAME/` of a step's folder."""

    def __init__(self, folder: Path, parameter: str, step: str) -> None:
        self._folder = folder
        self._parameter = parameter
        self._step = step
        self._placed: dict[Path, str] = {}

    def place(self, expression: Any) -> Any:
        """The expression with paths to copies, relative to the step's folder."""
        alone = isinstance(expression, dict) and expression.keys() & {"$artifact", "$item"}
        return self._with_copies(expression, f"inputs/{self._parameter}" if alone else "")

    def _with_copies(self, expression: Any, place: str) -> Any:
        if isinstance(expression, list):
            return [self._with_copies(each, "") for each in expression]
        if not isinstance(expression, dict):
            return expression
        if expression.keys() == {"$artifact"}:
            source = Path(expression["$artifact"])
            if read_manifest(source)["format"] == "mapped":
                return {"$sequence": [self._copy(each, "") for each in _mapped(source)]}
            return {"$artifact": self._copy(source, place)}
        if expression.keys() == {"$item"}:
            path, index = expression["$item"]
            return {"$item": [self._copy(Path(path), place), index]}
        return {key: self._with_copies(each, "") for key, each in expression.items()}

    def _copy(self, source: Path, place: str) -> str:
        if source not in self._placed:
            place = place or f"inputs/{self._parameter}/{len(self._placed)}"
            target = self._folder / place
            if not source.is_dir():
                raise NotFound(
                    f"a part of input `{self._parameter}` of step `{self._step}` is gone: sha256:{source.name[:12]}",
                    why="it was deleted, or pruned",
                )
            _copy_tree(source, target)
            if problems := verify(target):
                raise SetupError(
                    f"input `{self._parameter}` of step `{self._step}` is damaged: {problems[0]}",
                    why=f"its files are in `{source}`",
                    mend="run the pipeline again: damaged outputs are made again",
                )
            self._placed[source] = place
        return self._placed[source]


def _copy_tree(source: Path, target: Path) -> None:
    """Copy files so that neither sees what happens to the other. They are read-only, as a step finds its inputs."""

    def copy(one: str, other: str) -> str:
        if not clone_file(one, other):
            shutil.copyfile(one, other)
        Path(other).chmod(0o444)
        return other

    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, symlinks=True, copy_function=copy)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def _mapped(folder: Path) -> Iterator[Path]:
    """The items of what a mapped step gave."""
    with open(folder / "items.jsonl", encoding="utf-8") as lines:
        for line in lines:
            yield Path(os.path.normpath(folder / json.loads(line)["path"]))
