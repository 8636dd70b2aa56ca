"""The files that a Dockerfile may copy from: a folder less what its `.dockerignore` leaves out."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pathspec


class BuildContext:
    """A build context.

    Args:
        folder: The folder.
        dockerfile: Path of the Dockerfile: `NAME.dockerignore` beside it goes before `.dockerignore`.
        without: A folder that is never part of it: tilth's home, which changes while a build runs.
    Raises:
        DefinitionError: It is no folder.
    """

    def __init__(self, folder: Path, dockerfile: Path | None = None, without: Path | None = None) -> None:
        if not folder.is_dir():
            raise DefinitionError(
                f"the build context `{folder}` is no folder",
                mend="`build_context` is relative to the folder that holds the project",
            )
        self.folder = folder
        self._without = str(without.resolve()) if without else ""
        self._rules = _rules(folder, dockerfile)
        # An exception such as `!a/b` may bring back files below a folder that is left out.
        self._brings_back = any(not rule.include for rule in self._rules)

    def paths(self) -> list[str]:
        """What is in it, relative to the folder, with `/`, sorted: files, links, and folders of their own right."""
        return sorted(self._walk("", (False,) * len(self._rules)))

    def digest(self) -> str:
        """Of names, contents, kinds and whether files can be executed; of nothing else, so not of times."""
        return _digest(self.folder, self.paths())

    def stage(self, target: Path) -> str:
        """Copy it to an empty folder, so that every engine gets the same files; gives the digest of the copies."""
        paths = self.paths()
        for path in paths:
            source, copy = self.folder / path, target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                copy.mkdir(exist_ok=True)
            else:
                shutil.copy2(source, copy, follow_symlinks=False)
        return _digest(target, paths)

    def _walk(self, folder: str, above: tuple[bool, ...]) -> Iterator[str]:
        with os.scandir(self.folder / folder) as entries:
            for entry in entries:
                path = f"{folder}{entry.name}"
                # As Docker has it: a rule that holds for a folder holds for all in it, until a later rule says else.
                hits = tuple(
                    hit or bool(rule.match_file(path)) for rule, hit in zip(self._rules, above, strict=True)
                )
                last = next(
                    (rule for rule, hit in zip(self._rules[::-1], hits[::-1], strict=True) if hit), None
                )
                taken = last is None or not last.include
                if entry.is_dir(follow_symlinks=False):
                    if self._without and os.path.realpath(entry.path) == self._without:
                        continue
                    if taken:
                        yield path
                    if taken or self._brings_back:
                        yield from self._walk(f"{path}/", hits)
                elif taken and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    yield path


def _digest(folder: Path, paths: Iterable[str]) -> str:
    found = hashlib.sha256()
    for path in paths:
        full = folder / path
        if full.is_symlink():
            found.update(f"link {path}\0{full.readlink()}\0".encode(errors="surrogateescape"))
        elif full.is_dir():
            found.update(f"folder {path}\0".encode(errors="surrogateescape"))
        else:
            kind = "program" if os.access(full, os.X_OK) else "file"
            with open(full, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            found.update(f"{kind} {path}\0{content}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def _rules(folder: Path, dockerfile: Path | None) -> list[pathspec.Pattern]:
    import pathspec  # here for cost: few environments have a Dockerfile

    lines: list[str] = []
    beside = dockerfile.with_name(f"{dockerfile.name}.dockerignore") if dockerfile else None
    for file in filter(None, (beside, folder / ".dockerignore")):
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(f"`{file}` cannot be read", why=str(error)) from error
        break
    try:
        # `include` of such a rule means: is left out.
        return list(pathspec.PathSpec.from_lines("gitignore", anchored(lines)).patterns)
    except ValueError as error:
        raise DefinitionError(
            f"`.dockerignore` of `{folder}` holds a wrong pattern", why=str(error)
        ) from error


def anchored(lines: Iterable[str]) -> Iterator[str]:
    """The patterns of a `.dockerignore` as those of a `.gitignore`, which differ in that they hold at any depth.

    Source:
        https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    for line in lines:
        if line.startswith("#"):
            continue
        text = line.strip()
        sign = "!" if text.startswith("!") else ""
        pattern = text.removeprefix("!").strip()
        if not pattern:
            continue
        pattern = posixpath.normpath(pattern).lstrip("/")
        if pattern and pattern != "." and pattern.split("/")[0] != "..":
            yield f"{sign}/{pattern}"
