"""Opens the artifact store of a run, and of what is run next. The one place that does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tilth.artifact_stores import LocalArtifactStore
from tilth.errors import NotFound, TilthError
from tilth.records import Artifact, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore, ObjectStore
    from tilth.home import Home
    from tilth.records import ComponentUsed
    from tilth.store import Store

_NEWEST = 200  # runs whose stores are asked for what no record tells the run of


def open_artifacts(home: Home, used: ComponentUsed | None = None) -> ArtifactStore:
    """Artifacts in the home folder; shared through an object store where `used` names one.

    Nothing is imported for that one, and nobody asked, before an artifact has to go there or come from there.
    """
    local = LocalArtifactStore(home.artifacts)
    objects = open_objects(home, used)
    if objects is None:
        return local
    from tilth.artifact_stores.cached import CachedArtifactStore  # here for cost: most runs need none

    return CachedArtifactStore(local, objects)


def open_objects(home: Home, used: ComponentUsed | None) -> ObjectStore | None:
    """The object store that a run shares artifacts, bundles and folders through; None where it shares none."""
    if used is None or (used.flavor == "local" and not used.settings.get("path")):
        return None

    def open_now() -> ObjectStore:
        if used.flavor == "server" and not used.component:
            # No stack has named it: going through all packages for who has such a flavor would take 15 ms.
            from tilth.artifact_stores.flavors import ServerSettings, server_objects

            return server_objects(msgspec.convert(used.settings, ServerSettings), home)
        from tilth.client.stacks import open_component  # here for cost: most runs need none

        opened = open_component("artifact_store", used, home=home, root=home.root)
        assert opened is not None  # a folder without a path was told apart above
        return cast("ObjectStore", opened)

    key = f"{home.root}\n{used.flavor}\n{msgspec.json.encode(used.settings, order='sorted').decode()}"
    with _opening:
        return cast("ObjectStore", _opened.setdefault(key, OnUse(open_now)))


def check_store(home: Home, used: ComponentUsed | None) -> None:
    """Open the object store of a run that is about to start; nobody is asked anything.

    Raises:
        TilthError: It has no such flavor, settings are wrong, a secret or a library is missing.
    """
    objects = open_objects(home, used)
    if objects is not None:
        _ = objects.where


class OnUse:
    """An object store that is opened when it is first asked for something."""

    def __init__(self, open_: Callable[[], ObjectStore]) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._objects: ObjectStore | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._objects is None:
                self._objects = self._open()
        return getattr(self._objects, name)


_opening = threading.Lock()
_opened: dict[str, OnUse] = {}


def holder(home: Home, store: Store, digest: str, *, run: str = "") -> ArtifactStore:
    """The artifact store that has an artifact, found through the records; else that of this machine.

    Args:
        run: Id of the run that gave it, where that is known.
    """
    local = open_artifacts(home)
    if local.has(digest) and local.manifest(digest)["format"] != "mapped":
        return local
    for used in _candidates(store, digest, run):
        artifacts = open_artifacts(home, used)
        if artifacts.has(digest):
            return artifacts
    return local


def folder_of(home: Home, store: Store, digest: str) -> Path:
    """Where the files of an artifact are, brought to this machine if they are elsewhere.

    Raises:
        NotFound: They are nowhere.
    """
    artifacts = holder(home, store, digest)
    folder = artifacts.path(digest)
    if not folder.is_dir():
        raise NotFound(
            f"the files of artifact `{digest}` are not on this machine",
            why=f"there is no folder `{folder}`, and no artifact store of a recorded run has them",
            mend="run the pipeline that made it again",
        )
    return folder


def _candidates(store: Store, digest: str, run: str) -> Iterator[ComponentUsed]:
    """The stores it may be in, the most likely first, each once."""
    seen: set[bytes] = set()
    for used in _stores(store, digest, run):
        key = msgspec.json.encode((used.flavor, used.settings), order="sorted")
        if key not in seen:
            seen.add(key)
            yield used


def _stores(store: Store, digest: str, run: str) -> Iterator[ComponentUsed]:
    names = [run] if run else [each.run for each in store.find(Artifact, digest=digest, limit=_NEWEST)]
    for name in dict.fromkeys(names):
        try:
            found = store.get(Run, name)
        except TilthError:  # it was deleted
            continue
        if found.artifact_store is not None:
            yield found.artifact_store
    # An item of a mapped step has no record of its own.
    for each in store.find(Run, limit=_NEWEST):
        if each.artifact_store is not None:
            yield each.artifact_store
