"""The client's own environment as a record: what is installed in the interpreter that compiles a pipeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from tilth.records import Environment, Package

if TYPE_CHECKING:
    from tilth.environments import Interpreter, Inventory
    from tilth.store import Put, Store

NAME = "client"


def client_environment(interpreter: Interpreter, inventory: Inventory) -> Environment:
    """The record of an interpreter. Its id is the digest of packages, minor version of Python and platform."""
    packages = tuple(
        Package(name=each.name, version=each.version, origin=each.editable or each.origin)
        for each in inventory.packages
    )
    identity = {
        "role": NAME,  # without it, one that has nothing installed would be an execution environment
        # The folder of an editable one is a matter of the machine.
        "packages": [
            (each.name, each.version, "editable" if each.editable else each.origin)
            for each in inventory.packages
        ],
        "python": interpreter.minor,
        "platform": interpreter.platform,
    }
    return Environment(
        id="sha256:" + hashlib.sha256(msgspec.json.encode(identity)).hexdigest(),
        name=NAME,
        role=NAME,
        python=interpreter.minor,
        platform=interpreter.platform,
        packages=packages,
    )


def not_recorded(environment: Environment, store: Store) -> list[Put]:
    """What to write so that it is remembered: nothing when it is."""
    from tilth.store import Put

    known = store.find(Environment, id_prefix=environment.id, limit=1)
    return [] if known.items else [Put(environment)]
