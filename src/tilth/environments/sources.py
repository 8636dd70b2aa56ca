"""From a declaration to one that a resolver can act on: what it takes from elsewhere, written out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.environments.declarations import script_metadata
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tilth.environments.inventories import Installed, Inventory

_LEFT_OUT = frozenset({"tilth", "pip"})


def expand(
    environment: Mapping[str, Any],
    *,
    root: Path,
    client: Callable[[], Inventory],
    imported: Callable[[], Iterable[str]],
) -> dict[str, Any]:
    """The declaration with the contents of conda files, the Python that a script wants, and the client's packages.

    Args:
        environment: What `Environment.to_json` gave.
        root: The code root.
        client: What the client's interpreter has installed.
        imported: Top-level names of the modules that the steps which run in it import.
    Returns:
        A declaration without `conda` and `source`; `complete` says that nothing is to be resolved beside it.
    """
    expanded = dict(environment)
    if "conda" in expanded:
        from tilth.environments.conda import expand_conda

        expanded = expand_conda(expanded, root)
    if "script" in expanded and "python" not in expanded:
        wanted = script_python(root / expanded["script"], expanded["name"])
        if wanted:
            expanded["python"] = wanted
    source = expanded.pop("source", None)
    if source is None:
        return expanded
    inventory = client()
    chosen = (
        _of_client(inventory) if source == "client" else _of_imports(expanded["name"], inventory, imported())
    )
    own = expanded.get("requirements", ())
    more = [f"-r {own}"] if isinstance(own, str) else list(own)
    expanded["requirements"] = [*(pin(each) for each in chosen), *more]
    if not more:
        expanded["complete"] = True
    return expanded


def pin(installed: Installed) -> str:
    """The requirement that gives an installed distribution again."""
    if installed.editable:
        return f"{installed.name} @ {Path(installed.editable).as_uri()}"
    if installed.url:
        return f"{installed.name} @ {installed.url}"
    return f"{installed.name}=={installed.version}"


def script_python(path: Path, name: str) -> str:
    """The Python that a script's inline metadata asks for, as a version specifier; empty when it asks for none."""
    import tomllib  # here for cost: few environments are declared so

    try:
        document = tomllib.loads(script_metadata(path, name))
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(
            f"the inline metadata of `{path.name}`, which environment `{name}` names, is not valid TOML",
            why=str(error),
        ) from error
    return str(document.get("requires-python", ""))


def _of_client(inventory: Inventory) -> list[Installed]:
    """All but tilth and what is there for its sake only."""
    by_name = {each.name: each for each in inventory.packages}
    for_tilth = _reached(by_name, by_name["tilth"].requires if "tilth" in by_name else ())
    asked = [each.name for each in inventory.packages if each.name not in for_tilth or each.requested]
    kept = _reached(by_name, (name for name in asked if name != "tilth"))
    return [each for each in inventory.packages if each.name in kept and each.name not in _LEFT_OUT]


def _of_imports(name: str, inventory: Inventory, modules: Iterable[str]) -> list[Installed]:
    by_name = {each.name: each for each in inventory.packages}
    wanted: list[str] = []
    absent: list[str] = []
    for module in sorted(set(modules)):
        owners = [each.name for each in inventory.packages if module in each.modules]
        wanted += owners
        if not owners:
            absent.append(module)
    if absent:
        listed = ", ".join(f"`{each}`" for each in absent)
        raise DefinitionError(
            f"environment `{name}` is to have what its steps import, and {listed} is not installed here",
            why="the versions are those of the client's interpreter",
            mend=f"install it here, or declare the requirements of `{name}`",
        )
    kept = _reached(by_name, wanted)
    return [each for each in inventory.packages if each.name in kept and each.name not in _LEFT_OUT]


def _reached(by_name: Mapping[str, Installed], names: Iterable[str]) -> set[str]:
    """These distributions and all they require, by any way but through tilth."""
    waiting = [name for name in names if name in by_name]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in reached or name == "tilth":
            continue
        reached.add(name)
        waiting += [each for each in by_name[name].requires if each in by_name]
    return reached
