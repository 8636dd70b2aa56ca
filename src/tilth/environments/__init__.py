"""Environments: from a declaration to a lock to a venv, on this machine.

    probe, find_interpreter, project_interpreter    which Python
    inventory, Reach                                what an interpreter has installed, and modules depend on
    expand, foreign, in_image                       what is declared, and for where
    find_lock, lock, open_lock                      what a declaration resolves to
    resolve, declared_facts, write_project_lock     the same for the project to keep
    realise, is_realised, use, find_realised        the venv of a lock
    make_at                                         another one, to keep elsewhere
    changed_files, created_at, quarantine           what steps did to it
    modules                                         what a lock lets a step import
    builders_of                                     what built those of its packages that came as source
    prefix_folder                                   where conda's part of it is

Names load on first use: planning a run needs few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilth.environments.building.builders import builders_of as builders_of
    from tilth.environments.declarations import declared_facts as declared_facts
    from tilth.environments.interpreters import (
        Interpreter as Interpreter,
        find_interpreter as find_interpreter,
        probe as probe,
        project_interpreter as project_interpreter,
    )
    from tilth.environments.inventories import Inventory as Inventory, inventory as inventory
    from tilth.environments.locks import (
        Locked as Locked,
        environment_digest as environment_digest,
        find_lock as find_lock,
        lock as lock,
        modules as modules,
        open_lock as open_lock,
    )
    from tilth.environments.loose import Reach as Reach
    from tilth.environments.prefixes import prefix_folder as prefix_folder
    from tilth.environments.project_locks import (
        ProjectLock as ProjectLock,
        find_project_lock as find_project_lock,
        lock_path as lock_path,
        write_project_lock as write_project_lock,
    )
    from tilth.environments.resolution import resolve as resolve
    from tilth.environments.sources import expand as expand
    from tilth.environments.targets import foreign as foreign, in_image as in_image
    from tilth.environments.venvs import (
        Realised as Realised,
        changed_files as changed_files,
        created_at as created_at,
        find_realised as find_realised,
        is_realised as is_realised,
        make_at as make_at,
        quarantine as quarantine,
        realise as realise,
        use as use,
    )

_HOME = {
    "Interpreter": "interpreters",
    "Inventory": "inventories",
    "Locked": "locks",
    "ProjectLock": "project_locks",
    "Reach": "loose",
    "Realised": "venvs",
    "builders_of": "building.builders",
    "changed_files": "venvs",
    "created_at": "venvs",
    "declared_facts": "declarations",
    "environment_digest": "locks",
    "expand": "sources",
    "find_interpreter": "interpreters",
    "find_lock": "locks",
    "find_project_lock": "project_locks",
    "find_realised": "venvs",
    "foreign": "targets",
    "in_image": "targets",
    "inventory": "inventories",
    "is_realised": "venvs",
    "lock": "locks",
    "lock_path": "project_locks",
    "make_at": "venvs",
    "modules": "locks",
    "open_lock": "locks",
    "prefix_folder": "prefixes",
    "probe": "interpreters",
    "project_interpreter": "interpreters",
    "quarantine": "venvs",
    "realise": "venvs",
    "resolve": "resolution",
    "use": "venvs",
    "write_project_lock": "project_locks",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
