"""The artifact store that a supervisor is told of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.errors import SetupError, nearest
from tilth.stack.flavors import Context
from tilth.stack.opening import open_component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.artifact_stores import ObjectStore
    from tilth.home import Home
    from tilth.records import ComponentUsed


def open_objects(store: ComponentUsed, secrets: Mapping[str, str], home: Home) -> ObjectStore:
    """Open a store.

    Raises:
        UnknownOption, DefinitionError: It is none that this version of tilth knows.
        SetupError: A secret, or the library that the flavor needs, is missing; or it is shared with nobody.
    """

    def reveal(name: str) -> str:
        if name not in secrets:
            raise SetupError(
                f"the artifact store needs secret `{name}`, which the supervisor was not given",
                mend=nearest(name, secrets) or "let the launcher pass it in a variable or a file",
            )
        return secrets[name]

    opened = open_component("artifact_store", store, Context(home, Path.cwd(), reveal, store.component))
    if opened is None:
        raise SetupError(
            "the artifact store is a folder of the client's machine",
            why="steps that run elsewhere do not reach it",
            mend="let the stack have an artifact store that both reach",
        )
    return cast("ObjectStore", opened)


def open_artifacts(objects: ObjectStore, home: Home) -> CachedArtifactStore:
    """The artifacts in an object store, those that are needed here being brought into a folder."""
    return CachedArtifactStore(LocalArtifactStore(home.artifacts), objects)
