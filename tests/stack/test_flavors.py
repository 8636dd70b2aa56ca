"""tilth's own flavors keep the promises of every flavor, as far as they need no service."""

from __future__ import annotations

import pytest

from tilth.artifact_stores import components
from tilth.orchestrators.this_machine import LocalFlavor
from tilth.testing.flavors import FlavorContract


class TestLocalOrchestrator(FlavorContract):
    @pytest.fixture
    def flavor(self):
        return LocalFlavor()

    @pytest.fixture
    def settings(self):
        return {}


class TestHomeFolder(FlavorContract):
    @pytest.fixture
    def flavor(self):
        return components.LOCAL

    @pytest.fixture
    def settings(self):
        return {}


class TestSharedFolder(TestHomeFolder):
    @pytest.fixture
    def settings(self, tmp_path):
        return {"path": str(tmp_path / "shared")}


class TestFsspec(FlavorContract):
    @pytest.fixture
    def flavor(self):
        pytest.importorskip("fsspec")
        return components.FSSPEC

    @pytest.fixture
    def settings(self, tmp_path):
        return {"url": f"file://{tmp_path}/shared", "storage_options": {"auto_mkdir": True}}


class TestS3(FlavorContract):
    """Without a service; its check against real ones is in `tests/artifact_stores`."""

    @pytest.fixture
    def flavor(self):
        pytest.importorskip("boto3")
        return components.S3

    @pytest.fixture
    def settings(self):
        return {"bucket": "models", "region": "eu-west-1", "key": "AKIA", "secret": "secret:S3"}

    @pytest.fixture
    def secrets(self):
        return {"S3": "hunter2-hunter2"}

    test_its_check_finds_nothing_wrong_here = None
