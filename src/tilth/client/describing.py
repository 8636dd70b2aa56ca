"""What the packages of a run's environments say of themselves, recorded once per environment beside the run.

Their METADATA and sizes are on the machine that made them; who looks from elsewhere, as the dashboard does, draws
trees and bills of materials from what is recorded here. Nothing that goes wrong with it fails a run.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.environments.contents.unpacked import Unpacked
from tilth.environments.names import normalised
from tilth.records import Environment, EnvironmentContents, PackageContents
from tilth.records.roles import behind, used_by
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tilth.environments.contents.unpacked import Metadata
    from tilth.home import Home
    from tilth.records import Run
    from tilth.store import Store

logger = logging.getLogger(__name__)
_END_S = 5.0
_LONGEST = 200  # characters of a licence: some put its whole text there


@contextlib.contextmanager
def described(run: Run, home: Home, store: Store) -> Iterator[None]:
    """Record the contents of a run's environments: while it runs those that are whole here, at its end the others."""
    describing = _Describing(run, home, store)
    thread = _in_thread(describing.begin)
    try:
        yield
    finally:
        # A server that is away is waited for by what matters more.
        thread.join(_END_S)
        if describing.left and not thread.is_alive():
            _in_thread(describing.finish).join(_END_S)


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    def do() -> None:
        try:
            work()
        except Exception as error:
            logger.debug("what packages say of themselves is not recorded", exc_info=error)

    thread = threading.Thread(target=do, name="tilth-describing", daemon=True)
    thread.start()
    return thread


class _Describing:
    def __init__(self, run: Run, home: Home, store: Store) -> None:
        self._run, self._home, self._store = run, home, store
        self.left: dict[str, Environment] = {}

    def begin(self) -> None:
        self.left = {each.id: each for each in self._not_told()}
        self._tell(whole=True)

    def finish(self) -> None:
        self._tell(whole=False)

    def _not_told(self) -> list[Environment]:
        used = self._unknown(used_by(self._run))
        found = list(self._store.find(Environment, id=sorted(used), limit=len(used))) if used else []
        builders = self._unknown({digest for each in found for digest in behind(each)})
        if builders:
            found += self._store.find(Environment, id=sorted(builders), limit=len(builders))
        return [each for each in found if each.packages]

    def _unknown(self, digests: set[str]) -> set[str]:
        if not digests:
            return set()
        known = self._store.find(EnvironmentContents, id=sorted(digests), limit=len(digests))
        return digests - {each.id for each in known}

    def _tell(self, *, whole: bool) -> None:
        told = []
        for environment in self.left.values():
            packages = contents_here(environment, self._home, self._site_packages(environment))
            if len(packages) == len(environment.packages) or (packages and not whole):
                told.append(EnvironmentContents(id=environment.id, packages=packages))
        if told:
            self._store.write([Put(each) for each in told])
        for each in told:
            del self.left[each.id]

    def _site_packages(self, environment: Environment) -> tuple[str, ...]:
        from tilth.environments import probe

        client = self._run.client
        if client is None or client.environment != environment.id:
            return ()
        return probe(Path(client.executable), self._home).site_packages


def contents_here(
    environment: Environment, home: Home, site_packages: Iterable[str] = ()
) -> dict[str, PackageContents]:
    """What this machine has of an environment's packages, by name."""
    folders = tuple(site_packages)
    unpacked = Unpacked(home, environment.python, folders)
    sizes = installed_sizes(folders)
    found = {}
    for each in environment.packages:
        metadata = unpacked.metadata(each)
        if metadata is not None:
            size = unpacked.size(each) or sizes.get((each.name, each.version), 0)
            found[each.name] = PackageContents(
                headers=_kept(metadata), size=size, requested=metadata.requested
            )
    return found


def installed_sizes(site_packages: Iterable[str]) -> dict[tuple[str, str], int]:
    """Bytes of installed packages by name and version, as their RECORD files say."""
    found: dict[tuple[str, str], int] = {}
    for folder in site_packages:
        for record in sorted(Path(folder).glob("*.dist-info/RECORD")):
            name, _, version = record.parent.name.removesuffix(".dist-info").partition("-")
            with (
                contextlib.suppress(OSError, UnicodeDecodeError, csv.Error),
                open(record, newline="") as file,
            ):
                size = sum(int(row[2]) for row in csv.reader(file) if len(row) > 2 and row[2].isdecimal())
                found.setdefault((normalised(name), version), size)
    return found


def _kept(metadata: Metadata) -> dict[str, tuple[str, ...]]:
    headers = {
        "Requires-Dist": metadata.all("Requires-Dist"),
        "Summary": metadata.all("Summary")[:1],
        "License-Expression": metadata.all("License-Expression")[:1],
        "License": [each for each in metadata.all("License")[:1] if len(each) < _LONGEST],
        "Classifier": [each for each in metadata.all("Classifier") if each.startswith("License ::")],
    }
    return {name: tuple(values) for name, values in headers.items() if values}
