"""What a conda `environment.yml` asks for, as far as it can be had without conda: its Python and its pip part."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PYTHON = re.compile(r"(?:[\w-]+::)?python\s*(?:={1,2}|\s)\s*(3\.\d+(?:\.\d+)?)(?:\.\*|=.*)?")
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})  # what installs, and is not imported
_NAMES = {"pytorch": "torch", "pytorch-gpu": "torch", "pytorch-cpu": "torch", "py-xgboost": "xgboost",
          "py-opencv": "opencv-python", "matplotlib-base": "matplotlib", "msgpack-python": "msgpack"}  # fmt: skip


class CondaFile(NamedTuple):
    """What is in the file."""

    python: str | None
    requirements: tuple[str, ...]  # the pip part, with paths relative to the file's folder made absolute
    packages: tuple[str, ...]  # what conda itself would install, without Python and pip
    variables: dict[str, str]


def read_conda_file(path: Path, name: str) -> CondaFile:
    """Read an `environment.yml` on behalf of the environment `name`.

    Raises:
        DefinitionError: It cannot be read, or is no such file.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefinitionError(
            f"environment `{name}` names `{path.name}`, which cannot be read",
            why=" ".join(str(error).split()),
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("dependencies", []), list):
        raise DefinitionError(
            f"environment `{name}` names `{path.name}`, which is no conda environment",
            mend="it needs a list under `dependencies:`",
        )
    python: str | None = None
    requirements: list[str] = []
    packages: list[str] = []
    for each in document.get("dependencies") or []:
        if isinstance(each, dict):
            requirements += [_placed(str(line), path.parent) for line in each.get("pip") or []]
            continue
        text = str(each).strip()
        bare = re.split(r"[\s=<>!~\[]", text.rpartition("::")[2], maxsplit=1)[0].lower()
        if bare == "python":
            match = _PYTHON.fullmatch(text)
            python = match[1] if match else python
            if match is None and text.rpartition("::")[2] != "python":
                packages.append(text)
        elif bare not in _TOOLS:
            packages.append(text)
    variables = {str(key): str(value) for key, value in (document.get("variables") or {}).items()}
    return CondaFile(python, tuple(requirements), tuple(packages), variables)


def expand_conda(environment: dict[str, Any], root: Path) -> dict[str, Any]:
    """A declaration with what its `environment.yml` says in place of the file.

    Raises:
        DefinitionError: The file asks conda for packages.
    """
    name, path = environment["name"], root / environment["conda"]
    found = read_conda_file(path, name)
    if found.packages:
        suggested = " ".join(f'"{each}"' for each in _from_pypi(found.packages))
        raise DefinitionError(
            f"`{path.name}` of environment `{name}` asks conda for packages: "
            + ", ".join(f"`{each}`" for each in found.packages),
            why="tilth installs wheels; what only conda has, it cannot put into an environment",
            mend=f"move those that are on a package index below `pip:`, perhaps as {suggested}",
        )
    own = environment.get("requirements", ())
    expanded = {key: value for key, value in environment.items() if key != "conda"}
    expanded["requirements"] = [
        *found.requirements,
        *((f"-r {root / own}",) if isinstance(own, str) else own),
    ]
    if found.python and not environment.get("python"):
        expanded["python"] = found.python
    if found.variables:
        expanded["variables"] = {**found.variables, **environment.get("variables", {})}
    return expanded


def _placed(line: str, folder: Path) -> str:
    """A pip line whose paths hold wherever it is read."""
    for option in ("-r", "--requirement", "-c", "--constraint", "-e", "--editable"):
        if line.startswith((f"{option} ", f"{option}=")):
            rest = line[len(option) + 1 :].strip()
            return line if "://" in rest else f"{option} {_absolute(folder, rest)}"
    return f"{_absolute(folder, line)}" if line.startswith(("./", "../")) or line == "." else line


def _absolute(folder: Path, path: str) -> Path:
    return Path(folder, path).resolve()


def _from_pypi(packages: Iterable[str]) -> list[str]:
    """How the same packages are probably asked for elsewhere."""
    lines = []
    for each in packages:
        bare = each.rpartition("::")[2]
        match = re.fullmatch(r"([\w.-]+)\s*(?:=\s*([\w.*]+))?(?:=.*)?", bare)
        if match is None:
            lines.append(bare)
            continue
        name = _NAMES.get(match[1], match[1])
        version = match[2]
        lines.append(f"{name}=={version}.*" if version and version.count(".") < 2 and "*" not in version
                     else f"{name}=={version}" if version else name)  # fmt: skip
    return lines
