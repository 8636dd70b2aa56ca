"""What is in an environment, from its records alone: the machine that has its packages need not be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.client.contents import Contents
from tilth.environments.contents.unpacked import Metadata
from tilth.environments.uv import without_credentials
from tilth.records import Environment, EnvironmentContents, Lock

if TYPE_CHECKING:
    from tilth.records import Package
    from tilth.store.sql import SqlStore


class PackageView(msgspec.Struct, frozen=True, kw_only=True):
    """One package of an environment, and why it is there."""

    name: str
    version: str
    digest: str
    file: str
    origin: str
    builder: str  # digest of the environment that built it, where it came as source
    size: int  # to download, in bytes; 0: not known
    unpacked: int  # on disk, in bytes; 0: not known
    summary: str
    licence: str
    requested: tuple[str, ...]  # the requirements that ask for it
    required_by: tuple[str, ...]
    requires: dict[str, str] | None  # name -> as required: `>=1.26`; None: not known
    why: str  # in a few words; empty where it is not known


class RecordedContents(Contents):
    """An environment read from its records.

    Args:
        told: None where no machine has recorded what its packages say.
    """

    def __init__(self, environment: Environment, lock: str, told: EnvironmentContents | None) -> None:
        self.environment = environment
        self.lock = without_credentials(lock)
        self.told = told

    def metadata(self, package: Package) -> Metadata | None:
        found = self.told.packages.get(package.name) if self.told is not None else None
        if found is None:
            return None
        return Metadata({name: list(values) for name, values in found.headers.items()}, found.requested)

    @property
    def unpacked(self) -> dict[str, int]:
        """Bytes on disk by package, of those that are known."""
        packages = self.told.packages if self.told is not None else {}
        return {name: each.size for name, each in packages.items() if each.size}

    def views(self) -> tuple[PackageView, ...]:
        """Its packages, in the order of their names."""
        downloads, unpacked, graph = self.download_sizes, self.unpacked, self.graph
        found = []
        for each in self.environment.packages:
            metadata = self.metadata(each)
            found.append(
                PackageView(
                    name=each.name,
                    version=each.version,
                    digest=each.digest,
                    file=each.file,
                    origin=each.origin,
                    builder=each.builder,
                    size=downloads.get(each.name, 0),
                    unpacked=unpacked.get(each.name, 0),
                    summary=metadata.first("Summary") if metadata else "",
                    licence=_licence(metadata) if metadata else "",
                    requested=graph.requested.get(each.name, ()),
                    required_by=graph.required_by[each.name],
                    requires=graph.requires[each.name],
                    why=graph.why(each.name),
                )
            )
        return tuple(sorted(found, key=lambda each: each.name))


def open_contents(store: SqlStore, environment: Environment) -> RecordedContents:
    """The contents of a recorded environment."""
    lock = store.find(Lock, id=environment.lock, limit=1).items if environment.lock else ()
    told = store.find(EnvironmentContents, id=environment.id, limit=1).items
    return RecordedContents(environment, lock[0].text if lock else "", told[0] if told else None)


def _licence(metadata: Metadata) -> str:
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.all("Classifier")]
    return metadata.first("License-Expression") or metadata.first("License") or ", ".join(classifiers)
