"""Files that several packages of an environment bring: the last in the order of names has it, as pip does.

What loses is left out of its layer, so that no order of layers decides, and a small change moves no file between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tilth.errors import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tilth.environments.wheels import Entry


class Overlaps(NamedTuple):
    """What to leave out of whom, and what to tell."""

    left_out: dict[str, set[str]]
    warnings: list[str]


def find_overlaps(packages: Mapping[str, tuple[Path, Entry]]) -> Overlaps:
    """Compare the files of packages: name -> tree and what is in it.

    The same file in two, as the `__init__.py` of an old namespace package, harms nobody: each keeps it.

    Raises:
        BuildFailed: What is a file in one is a folder in another.
    """
    left_out: dict[str, set[str]] = {}
    warnings: list[str] = []
    owners: dict[str, list[str]] = {}
    for name in sorted(packages):
        files = packages[name][1].files
        lost: dict[str, list[str]] = {}
        for path in sorted(owners.keys() & files.keys()):
            for other in owners[path]:
                if path not in left_out.get(other, ()) and not _same(packages[other], packages[name], path):
                    lost.setdefault(other, []).append(path)
        for other, paths in lost.items():
            stale = [pyc for path in paths for pyc in _bytecode(path, packages[other][1])]
            left_out.setdefault(other, set()).update(paths, stale)
            shown = [path for path in paths if not path.endswith(".pyc")] or paths
            more = f"{len(shown)} files of `{other}`, such as `{shown[0]}`"
            one = f"`{shown[0]}` of `{other}`"
            warnings.append(f"`{name}` replaces {more if len(shown) > 1 else one}")
        for path in files:
            owners.setdefault(path, []).append(name)
    _refuse_folders(owners)
    return Overlaps(left_out, warnings)


def _same(one: tuple[Path, Entry], other: tuple[Path, Entry], path: str) -> bool:
    (tree, entry), (second_tree, second) = one, other
    size, _, mode = entry.files[path]
    second_size, _, second_mode = second.files[path]
    if (size, mode, path in entry.scripts) != (second_size, second_mode, path in second.scripts):
        return False
    with open(tree / path, "rb") as first_file, open(second_tree / path, "rb") as second_file:
        while chunk := first_file.read(1 << 20):
            if chunk != second_file.read(1 << 20):
                return False
    return True


def _bytecode(path: str, entry: Entry) -> list[str]:
    """What Python made of a module that is replaced; whoever replaces it need not have any."""
    if not path.endswith(".py"):
        return []
    folder, _, name = path.rpartition("/")
    start = f"{folder}/__pycache__/{name[:-3]}."
    return [each for each in entry.files if each.startswith(start) and each.endswith(".pyc")]


def _refuse_folders(owners: Mapping[str, list[str]]) -> None:
    folders: dict[str, str] = {}
    for path, names in owners.items():
        above = path
        while above := above.rpartition("/")[0]:
            if above in folders:
                break
            folders[above] = names[0]
    for path in sorted(folders.keys() & owners.keys()):
        raise BuildFailed(
            f"`{path}` is a file in `{owners[path][0]}` and a folder in `{folders[path]}`",
            why="both cannot be in one environment",
            mend="leave one of the packages out, or take another version",
        )
