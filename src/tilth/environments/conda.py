"""What a conda `environment.yml` asks for: its Python, its pip part, and what conda itself installs."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PYTHON = re.compile(r"(?:[\w-]+::)?python\s*(?:={1,2}|\s)\s*(3\.\d+(?:\.\d+)?)(?:\.\*|=.*)?")
_OLDEST = "python >=3.10"  # that steps can run in
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})  # what installs, and is not imported
_CREDENTIALS = re.compile(r"://[^/]*@|/t/[^/]+/")
_NAMES = {"pytorch": "torch", "pytorch-gpu": "torch", "pytorch-cpu": "torch", "py-xgboost": "xgboost",
          "py-opencv": "opencv-python", "matplotlib-base": "matplotlib", "msgpack-python": "msgpack"}  # fmt: skip


class CondaFile(NamedTuple):
    """What is in the file."""

    python: str | None
    requirements: tuple[str, ...]  # the pip part, with paths relative to the file's folder made absolute
    packages: tuple[str, ...]  # what only conda can install: all but Python and pip
    variables: dict[str, str]
    specs: tuple[str, ...]  # all that is asked of conda
    channels: tuple[str, ...]  # most important first; paths are relative to the file's folder


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
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key) or [], list) for key in ("dependencies", "channels")
    ):
        raise DefinitionError(
            f"environment `{name}` names `{path.name}`, which is no conda environment",
            mend="it needs a list under `dependencies:`",
        )
    python: str | None = None
    requirements: list[str] = []
    packages: list[str] = []
    specs: list[str] = []
    for each in document.get("dependencies") or []:
        if isinstance(each, dict):
            if set(each) != {"pip"}:
                raise DefinitionError(
                    f"`{path.name}` of environment `{name}` has `{next(iter(each))}:` under `dependencies:`",
                    mend="a list below `pip:` is all that can stand there beside packages",
                )
            requirements += [_placed(str(line), path.parent) for line in each["pip"] or []]
            continue
        text = str(each).strip()
        specs.append(text)
        if _is_python(text):
            match = _PYTHON.fullmatch(text)
            python = match[1] if match else python
            if match is None and text.rpartition("::")[2] != "python":
                packages.append(text)
        elif _bare(text) not in _TOOLS:
            packages.append(text)
    variables = {str(key): str(value) for key, value in (document.get("variables") or {}).items()}
    return CondaFile(
        python,
        tuple(requirements),
        tuple(packages),
        variables,
        tuple(specs),
        tuple(str(each).strip() for each in document.get("channels") or []),
    )


def expand_conda(environment: dict[str, Any], root: Path) -> dict[str, Any]:
    """A declaration with what its `environment.yml` says in place of the file.

    What conda has to install is then under `system`: `specs` and `channels`, Python among them.

    Raises:
        DefinitionError: The file asks conda for packages, and the extra for that is not installed.
    """
    name, path = environment["name"], root / environment["conda"]
    found = read_conda_file(path, name)
    own = environment.get("requirements", ())
    expanded = {key: value for key, value in environment.items() if key != "conda"}
    expanded["requirements"] = [
        *found.requirements,
        *((f"-r {root / own}",) if isinstance(own, str) else own),
    ]
    if found.variables:
        expanded["variables"] = {**found.variables, **environment.get("variables", {})}
    if found.packages:
        if find_spec("rattler") is None:
            raise _not_installed(found.packages, path, name)
        expanded["system"] = _system(found, expanded.pop("python", None), path, root, name)
    elif found.python and not environment.get("python"):
        expanded["python"] = found.python
    return expanded


def _system(found: CondaFile, python: str | None, path: Path, root: Path, name: str) -> dict[str, list[str]]:
    """What is asked of conda, and where; `python` is what the declaration itself says of that."""
    specs = [each for each in found.specs if _bare(each) not in ("pip", "uv")]  # what pip is for, uv does
    if python:
        specs = [each for each in specs if not _is_python(each)]
        specs.append(f"python {python}.*" if python[0].isdigit() else f"python {python}")
    channels = []
    for each in found.channels or ("defaults",):
        if _CREDENTIALS.search(f"{each}/"):
            raise DefinitionError(
                f"a channel in `{path.name}` of environment `{name}` holds a password or a token",
                why="it would be written into locks and records",
                mend="leave it out, and give it to conda's tools: `pixi auth login HOST`, "
                "`~/.rattler/credentials.json` or `~/.netrc`",
            )
        is_path = each.startswith(("./", "../")) or each in (".", "..")
        channels.append(f"./{os.path.relpath(path.parent / each, root)}" if is_path else each)
    return {"specs": [*specs, _OLDEST], "channels": channels}


def _not_installed(packages: Iterable[str], path: Path, name: str) -> DefinitionError:
    suggested = " ".join(f'"{each}"' for each in _from_pypi(packages))
    return DefinitionError(
        f"`{path.name}` of environment `{name}` asks conda for packages: "
        + ", ".join(f"`{each}`" for each in packages),
        why="conda's packages are installed by `py-rattler`, which is not here",
        mend="install it, `pip install 'tilth[conda]'`; or move those that are on a package index below `pip:`, "
        f"perhaps as {suggested}",
    )


def _is_python(spec: str) -> bool:
    return _bare(spec) == "python"


def _bare(spec: str) -> str:
    return re.split(r"[\s=<>!~\[]", spec.rpartition("::")[2], maxsplit=1)[0].lower()


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
