"""The layout of TILTH_HOME. Knows paths, not what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Where everything is kept on one machine. Folders are made by whoever writes into them.

    tilth.db                    records
    artifacts/ab/abcdef…/       content-addressed, read-only
    bundles/DIGEST.tar          code
    runs/RUN_ID/                pipeline.json, lease, cancel, logs/, steps/
    locks/DECLARATION.json      what a declaration was resolved to
    locks/builders/             the locks of environments that built wheels
    wheels/DIGEST/              unpacked wheels, with bytecode, read-only
    wheels/built/, .kept/       what was built here, and the wheels themselves
    environments/DIGEST/        venvs, hard-linked from wheels/
    conda/DIGEST/               conda's part of environments, which their venvs stand on
    images/blobs/sha256/DIGEST  layers, configs and manifests, as in an OCI layout
    images/layers/, where/      which layer a wheel became, which registry has which blob
    builds/ID.log               what was told while an image was made
    images/bases/               what base images are, and which digest a tag had
    logins.json                 servers that this machine is logged in at; readable by its user alone
    server/                     of a server that runs here: its process, address and log
    secrets.json                names of secrets, and values encrypted with a key kept elsewhere
    cache/                      whatever can be made again: interpreter probes, file digests
    """

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "tilth.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def conda(self) -> Path:
        return self.root / "conda"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def server(self) -> Path:
        return self.root / "server"

    @property
    def logins(self) -> Path:
        return self.root / "logins.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache"
