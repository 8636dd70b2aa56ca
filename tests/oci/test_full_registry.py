from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.oci.conftest import QUICK, new_blob
from tests.ports import free_port, wait_for_port

from tilth.errors import RegistryRefused
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def full_registry(mount: Callable[..., Path], tmp_path: Path) -> Iterator[str]:
    """A registry of its own with 2 MB of space."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    config = tmp_path / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {mount('-o', 'size=2m')}}}}}\n"
        f"http: {{addr: '{host}', secret: x}}\n"
    )
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield host
    finally:
        process.terminate()
        process.wait()


@pytest.mark.registry
@pytest.mark.faults
@pytest.mark.parametrize("size", [3_000_000, 6_000_000])
def test_a_registry_without_space_says_so_at_once(full_registry: str, size: int) -> None:
    registry = Registry(full_registry, patience=QUICK)
    blob = new_blob(size)
    with pytest.raises(RegistryRefused, match="no space left") as caught:
        registry.push_blob(f"full-{os.urandom(3).hex()}", blob.descriptor, blob.open)
    assert "make room" in caught.value.mend
