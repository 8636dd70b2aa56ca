"""Without an engine: nothing runs, and what another builder made is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.errors import EngineUnavailable

if TYPE_CHECKING:
    from tests.image_builders.conftest import Site


def test_the_native_builder_says_which_builder_to_register(site: Site) -> None:
    with pytest.raises(EngineUnavailable, match="asks for a Dockerfile") as caught:
        site.derive(site.dockerfile("FROM scratch\n"))
    assert "--flavor docker" in caught.value.mend


def test_the_native_builder_needs_nothing(site: Site) -> None:
    site.builder.check()
