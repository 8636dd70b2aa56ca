"""What is known of each environment of a pipeline, in the terms that checks compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tilth.environments.explaining.import_names import usual_modules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.client.environments import ProjectEnvironments
    from tilth.environments import Inventory, Locked
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline
    from tilth.records import Environment


class Side(NamedTuple):
    """One environment, or the client's interpreter."""

    name: str | None  # None: the client's
    python: str  # `3.11`
    modules: Mapping[str, tuple[str, str]]  # import name -> (distribution, version) that gives it
    blind: tuple[str, ...] = ()  # distributions of which that is a guess: no wheel of them was seen here

    def version(self, module: str) -> str:
        """Of the distribution behind an import name; empty when there is none."""
        return self.modules.get(module, ("", ""))[1]


def sides_of(
    pipeline: Pipeline, environments: ProjectEnvironments, home: Home
) -> dict[str | None, Side | None]:
    """A side for each environment that a step runs in, None for one that is not locked yet, or is a ready image."""
    found: dict[str | None, Side | None] = {}
    for name in {node.environment for node in pipeline.nodes}:
        if name is None:
            found[name] = client_side(environments.inventory(), environments.minor(None))
        else:
            lock = environments.lock(name)
            found[name] = (
                None if lock is None or environments.is_image(name) else locked_side(name, lock, home)
            )
    return found


def client_side(inventory: Inventory, python: str) -> Side:
    """The client's interpreter, with what it has installed."""
    modules: dict[str, tuple[str, str]] = {}
    for each in inventory.packages:
        for module in each.modules:
            modules.setdefault(module, (each.name, each.version))
    return Side(None, python, modules)


def locked_side(name: str, locked: Locked | Environment, home: Home) -> Side:
    """An environment, from what was locked."""
    from tilth.environments.wheels import modules_of

    modules: dict[str, tuple[str, str]] = {}
    blind = []
    given = [(each.name, each.version, modules_of(each.digest, home)) for each in locked.packages]
    if locked.system:
        from tilth.environments.prefixes import distributions

        found = distributions(locked.system, home)
        given += [(name, version, known) for name, (version, known) in found.items()]
    for distribution, version, known in given:
        if known is None:
            blind.append(distribution)
        for module in usual_modules(distribution) if known is None else known:
            modules.setdefault(module, (distribution, version))
    return Side(name, locked.python, modules, tuple(sorted(blind)))
