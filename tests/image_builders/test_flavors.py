"""The flavors of image builders: found as those of other packages are, and strict about their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.errors import EngineUnavailable, TilthError
from tilth.home import Home
from tilth.stack.catalogue import load_flavor
from tilth.stack.flavors import Context
from tilth.stack.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tilth.image_builders import ImageBuilder


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("native", {}),
        ("docker", {"host": "ssh://build@example.org", "network": "host"}),
        ("podman", {"isolation": "chroot"}),
        ("ssh", {"host": "build@example.org", "options": ["Compression=yes"]}),
    ],
)
def test_a_flavor_makes_its_builder_and_starts_nothing(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    flavor = load_flavor("image_builder", name)
    builder: ImageBuilder = flavor.make(
        read_settings(flavor, settings), Context(home=Home(tmp_path), root=tmp_path, reveal=lambda _: "")
    )
    assert builder.name == name
    with pytest.raises(TilthError, match="netwrok"):
        read_settings(flavor, {**settings, "netwrok": "host"})


def test_a_builder_on_a_runner_is_of_the_server_that_one_is_logged_in_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavor = load_flavor("image_builder", "runner")
    settings = read_settings(flavor, {"runner": "box"})
    context = Context(home=Home(tmp_path), root=tmp_path, reveal=lambda _: "")
    with pytest.raises(TilthError, match="needs a server"):
        flavor.make(settings, context)
    monkeypatch.setenv("TILTH_SERVER_URL", "http://127.0.0.1:1")
    assert flavor.make(settings, context).place == "runner `box` of http://127.0.0.1:1"
    with pytest.raises(TilthError, match="did you mean `podman`"):
        read_settings(flavor, {"engine": "podmann"})


def test_a_check_tells_what_is_missing(tmp_path: Path) -> None:
    flavor = load_flavor("image_builder", "docker")
    settings = read_settings(flavor, {"program": "no-such-docker"})
    with pytest.raises(EngineUnavailable, match="no-such-docker"):
        flavor.check(settings, Context(home=Home(tmp_path), root=tmp_path, reveal=lambda _: ""))
