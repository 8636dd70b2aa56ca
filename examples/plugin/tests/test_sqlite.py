"""The promises of tilth, kept by this flavor and its component."""

from __future__ import annotations

import pytest
from tilth_sqlite import SqliteFlavor
from tilth_sqlite.store import SqliteStore

from tilth.errors import DefinitionError, StoreUnavailable
from tilth.stack.settings import read_settings
from tilth.testing.flavors import FlavorContract
from tilth.testing.object_store import ObjectStoreContract


class TestSqliteFlavor(FlavorContract):
    @pytest.fixture
    def flavor(self):
        return SqliteFlavor()

    @pytest.fixture
    def settings(self, tmp_path):
        return {"path": str(tmp_path / "artifacts.db"), "patience_s": 5}

    def test_a_path_that_is_not_absolute_is_refused(self, flavor, context):
        with pytest.raises(DefinitionError, match="not absolute"):
            flavor.make(read_settings(flavor, {"path": "artifacts.db"}), context)


class TestSqliteStore(ObjectStoreContract):
    @pytest.fixture
    def objects(self, tmp_path_factory):
        return SqliteStore(tmp_path_factory.mktemp("store") / "artifacts.db")

    def test_a_file_that_is_no_database_is_told(self, tmp_path):
        (tmp_path / "text").write_text("no database, whatever its name says " * 9)
        with pytest.raises(StoreUnavailable, match="text"):
            SqliteStore(tmp_path / "text").put("key", b"x")
