"""What driver and supervisor of one attempt tell each other, as objects in the artifact store.

    step.json           the step's folder, with digests in the places of paths      driver -> supervisor
    cancel              end it                                                       driver -> supervisor
    answers/NUMBER      to what the step asked                                       driver -> supervisor
    beat.json           a sign of life, with what is there to be read: written again every few seconds
    logs/NUMBER         lines that the step printed, as `tilth.engine.logs` keeps them
    questions/NUMBER    what the step asks
    result.json         how it ended; written last

Numbers count from 0; `beat.json` says how many there are. Who supervises writes no object twice but `beat.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import NotFound
from tilth.orchestrators import Ending  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from tilth.artifact_stores import ObjectStore


class Beat(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A sign of life."""

    supervisor: str  # changes when another takes the attempt over
    number: int
    doing: str  # `fetching`, `waiting`, `running`, `uploading` or `ended`
    logs: int = 0
    questions: int = 0
    memory: int = 0  # of the step's processes now, bytes
    cpu_s: float = 0.0  # of processor time that they have used
    host: str = ""


class Result(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How an attempt ended."""

    ended: Ending
    detail: str = ""
    peak_memory: int = 0  # bytes
    notice: str = ""
    result: dict[str, Any] | None = None  # the step's result.json
    events: list[dict[str, Any]] = []
    logs: int = 0
    seconds: dict[str, float] = {}  # fetching, running, uploading
    cpu_s: float = 0.0


class Channel:
    """One attempt's objects. Every call asks the store, and raises StoreUnavailable as it does."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self.objects = objects
        self.prefix = prefix

    def key(self, name: str) -> str:
        """The key of one of the objects."""
        return self.prefix + name

    def put(self, name: str, value: Any) -> None:
        """Write an object as JSON."""
        # The standard library's: what a step says may hold halves of surrogate pairs, which others refuse.
        self.objects.put(self.key(name), json.dumps(msgspec.to_builtins(value)).encode())

    def put_bytes(self, name: str, data: bytes) -> None:
        """Write an object as it is."""
        self.objects.put(self.key(name), data)

    def get(self, name: str) -> Any:
        """What was put as JSON; None when it is not there yet."""
        data = self.get_bytes(name)
        return None if data is None else json.loads(data)

    def get_bytes(self, name: str) -> bytes | None:
        """What was put; None when it is not there yet."""
        try:
            return self.objects.read(self.key(name))
        except NotFound:
            return None

    def beat(self) -> Beat | None:
        """The last sign of life."""
        found = self.get("beat.json")
        return None if found is None else msgspec.convert(found, Beat)

    def result(self) -> Result | None:
        """How it ended; None when it has not."""
        found = self.get("result.json")
        return None if found is None else msgspec.convert(found, Result)

    def clear(self) -> None:
        """Forget all of it: the attempt is recorded."""
        for each in list(self.objects.list(self.prefix)):
            self.objects.delete(each.key)
