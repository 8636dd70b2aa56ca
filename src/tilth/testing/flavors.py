"""What every flavor must keep. Inherit, give `flavor` and `settings`, and pytest finds the promises as tests.

class TestFtpFlavor(FlavorContract):
    @pytest.fixture
    def flavor(self):
        return FtpFlavor()

    @pytest.fixture
    def settings(self, server):  # as they are kept: with `secret:NAME` in the places of secrets
        return {"host": server.host, "password": "secret:FTP_PASSWORD"}

    @pytest.fixture
    def secrets(self):
        return {"FTP_PASSWORD": "hunter2-hunter2"}

The component itself has promises of its own: `ObjectStoreContract`, `ArtifactStoreContract`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tilth.errors import DefinitionError, NotFound, UnknownOption
from tilth.home import Home
from tilth.stack.catalogue import find_offer, load_flavor
from tilth.stack.component_types import TYPES
from tilth.stack.flavors import Context, Finding, Flavor
from tilth.stack.settings import described, is_secret, plain_settings, read_settings, secrets_in

if TYPE_CHECKING:
    from pathlib import Path


class FlavorContract:
    """The promises of `tilth.stack.flavors.Flavor`."""

    @pytest.fixture
    def flavor(self) -> Flavor[Any]:
        """The flavor."""
        raise NotImplementedError("the inheriting class gives `flavor`")

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """Settings that work where the test runs, secrets as `secret:NAME`."""
        raise NotImplementedError("the inheriting class gives `settings`")

    @pytest.fixture
    def secrets(self) -> dict[str, str]:
        """The values of secrets that the settings name."""
        return {}

    @pytest.fixture
    def context(self, tmp_path: Path, secrets: dict[str, str]) -> Context:
        """What the component is made in."""

        def reveal(name: str) -> str:
            if name not in secrets:
                raise NotFound(f"there is no secret `{name}`")
            return secrets[name]

        return Context(Home(tmp_path / "tilth"), tmp_path, reveal, "tested")

    def test_it_is_found_by_its_entry_point(self, flavor: Flavor[Any]) -> None:
        found = load_flavor(flavor.type, flavor.name)
        assert type(found) is type(flavor)
        assert find_offer(flavor.type, flavor.name).extra == flavor.extra

    def test_it_says_what_it_is_in_a_line(self, flavor: Flavor[Any]) -> None:
        assert flavor.type in TYPES
        assert flavor.title
        assert "\n" not in flavor.title
        assert not flavor.title.endswith(".")

    def test_its_settings_cannot_change_and_refuse_what_they_do_not_know(self, flavor: Flavor[Any]) -> None:
        config = flavor.settings.__struct_config__
        assert config.frozen
        assert config.forbid_unknown_fields

    def test_every_setting_says_what_it_means(self, flavor: Flavor[Any]) -> None:
        assert [each["setting"] for each in described(flavor) if not each["meaning"]] == []

    def test_settings_read_back_equal(self, flavor: Flavor[Any], settings: dict[str, Any]) -> None:
        read = read_settings(flavor, settings)
        kept = json.loads(msgspec.json.encode(plain_settings(flavor, settings)))
        assert read_settings(flavor, kept) == read
        assert read_settings(flavor, json.loads(msgspec.json.encode(read))) == read

    def test_a_setting_that_does_not_exist_is_refused(
        self, flavor: Flavor[Any], settings: dict[str, Any]
    ) -> None:
        with pytest.raises(UnknownOption, match="`no_such_setting`"):
            read_settings(flavor, {**settings, "no_such_setting": "x"})

    def test_a_setting_that_is_missing_is_told(self, flavor: Flavor[Any], settings: dict[str, Any]) -> None:
        for each in described(flavor):
            if each["required"]:
                less = {name: value for name, value in settings.items() if name != each["setting"]}
                with pytest.raises(DefinitionError, match=f"needs setting `{each['setting']}`"):
                    read_settings(flavor, less)

    def test_a_secret_that_is_written_out_is_refused_and_not_repeated(
        self, flavor: Flavor[Any], settings: dict[str, Any]
    ) -> None:
        for field in msgspec.structs.fields(flavor.settings):
            if is_secret(field.type):
                with pytest.raises(DefinitionError) as caught:
                    read_settings(flavor, {**settings, field.encode_name: "hunter2-hunter2"})
                assert "hunter2" not in str(caught.value)

    def test_it_makes_a_component_that_shows_no_secret(
        self, flavor: Flavor[Any], settings: dict[str, Any], secrets: dict[str, str], context: Context
    ) -> None:
        read = read_settings(flavor, settings)
        component = flavor.make(read, context)
        shown = repr(component) + str(component) + repr(read)
        assert [name for name, value in secrets.items() if value and value in shown] == []

    def test_its_check_finds_nothing_wrong_here(
        self, flavor: Flavor[Any], settings: dict[str, Any], secrets: dict[str, str], context: Context
    ) -> None:
        found = list(flavor.check(read_settings(flavor, settings), context))
        assert all(isinstance(each, Finding) for each in found)
        assert [each for each in found if each.level == "error"] == []
        assert [name for name, value in secrets.items() if value and value in repr(found)] == []

    def test_a_secret_that_is_not_set_is_told(
        self, flavor: Flavor[Any], settings: dict[str, Any], tmp_path: Path
    ) -> None:
        read = read_settings(flavor, settings)
        if not secrets_in(read):
            return

        def reveal(name: str) -> str:
            raise NotFound(f"there is no secret `{name}`")

        with pytest.raises(NotFound):
            list(flavor.check(read, Context(Home(tmp_path / "tilth"), tmp_path, reveal)))

    def test_it_needs_component_types_that_exist(self, flavor: Flavor[Any], settings: dict[str, Any]) -> None:
        assert set(flavor.needs(read_settings(flavor, settings))) <= TYPES.keys() - {flavor.type}
