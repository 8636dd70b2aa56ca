"""What an interpreter has installed, read without starting it."""

from __future__ import annotations

import subprocess
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest
from tests.index import build_wheel

from tilth.environments import inventories, inventory, probe, uv
from tilth.environments.inventories import Installed, Inventory, module_names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here


def installed(here: Here, *requirements: str) -> Inventory:
    made = here.realise(*requirements)
    return inventory(probe(made.python, here.home), here.home)


def test_it_holds_what_importlib_metadata_finds(here: Here) -> None:
    found = inventory(here.interpreter, here.home)
    expected = {each.metadata["Name"].lower().replace("_", "-").replace(".", "-") for each in distributions()}
    assert {each.name for each in found.packages} == expected


def test_a_module_belongs_to_its_distribution(here: Here) -> None:
    found = installed(here, "alpha", "gamma-ray")
    owners = {module: found.distribution_of(module) for module in ("alpha.deep", "gamma_ray", "json")}
    assert {module: each.name if each else None for module, each in owners.items()} == {
        "alpha.deep": "alpha",
        "gamma_ray": "gamma-ray",
        "json": None,
    }


def test_what_a_module_reaches_includes_what_its_distribution_requires(here: Here) -> None:
    assert [each.name for each in installed(here, "alpha").reach(["alpha"])] == ["alpha", "beta"]
    found = installed(here, "alpha", "gamma-ray")
    assert [each.name for each in found.reach(["gamma_ray"])] == ["gamma-ray"]
    # Only `beta[more]` asks for it, but `beta` may use it now that it is there.
    assert [each.name for each in found.reach(["beta"])] == ["beta", "gamma-ray"]
    assert found.reach(["json", "unknown"]) == []


def test_tilth_and_what_only_it_requires_is_left_out() -> None:
    found = Inventory(
        packages=(
            Installed(name="click", version="1", modules=("click",)),
            Installed(name="flask", version="1", modules=("flask",), requires=("click",)),
            Installed(name="tilth", version="1", modules=("tilth",), requires=("click", "uv")),
            Installed(name="uv", version="1", modules=("uv",)),
        )
    )
    assert found.reach(["tilth"]) == []
    assert [each.name for each in found.reach(["tilth", "flask"])] == ["click", "flask"]


def test_it_is_read_again_when_something_was_installed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = here.root / "venv"
    assert uv.call(["venv", venv, "--python", here.interpreter.executable]).code == 0
    python = probe(venv / "bin" / "python", here.home)
    assert inventory(python, here.home).packages == ()
    wheel = build_wheel(here.root, "delta", "1.0")
    assert uv.call(["pip", "install", wheel, "--python", venv / "bin" / "python"]).code == 0
    found = inventory(python, here.home)
    assert [(each.name, each.version, each.modules) for each in found.packages] == [
        ("delta", "1.0", ("delta",))
    ]
    monkeypatch.setattr(inventories, "_read", lambda interpreter: pytest.fail("it was read again"))
    assert inventory(python, here.home) == found


def test_an_editable_install_is_known_by_its_folder(here: Here, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src" / "mine").mkdir(parents=True)
    (project / "src" / "mine" / "__init__.py").touch()
    library = tmp_path / "site-packages"
    info = library / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "direct_url.json").write_text(
        f'{{"url": "{project.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    (info / "RECORD").write_text("mine.pth,,\nmine-1.0.dist-info/METADATA,,\n")
    (library / "mine.pth").write_text(f"{project / 'src'}\n")
    python = inventories.msgspec.structs.replace(here.interpreter, site_packages=(str(library),))
    (found,) = inventory(python, here.home).packages
    assert (found.editable, found.modules) == (str(project), ("mine",))


def test_what_a_system_s_packages_left_is_read_too(here: Here, tmp_path: Path) -> None:
    library = tmp_path / "dist-packages"
    (library / "old-1.0.egg-info").mkdir(parents=True)
    (library / "old-1.0.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 1.2\nName: Old\nVersion: 1.0\n\n"
    )
    (library / "old-1.0.egg-info" / "top_level.txt").write_text("old_module\n")
    (library / "older-2.0.egg-info").write_text("Metadata-Version: 1.0\nName: older\nVersion: 2.0\n")
    (library / "~roken-1.dist-info").mkdir()
    python = inventories.msgspec.structs.replace(here.interpreter, site_packages=(str(library),))
    found = [(each.name, each.version, each.modules) for each in inventory(python, here.home).packages]
    assert found == [("old", "1.0", ("old_module",)), ("older", "2.0", ())]


def test_module_names_are_those_import_finds() -> None:
    paths = [
        "one.py", "two/__init__.py", "three.cpython-311-x86_64-linux-gnu.so", "four.abi3.so", "space/deep/five.py",
        "six-1.0.dist-info/METADATA", "data/file.txt", "seven.pth", "../../../bin/run", "not-a-name/x.py",
    ]  # fmt: skip
    assert module_names(paths) == {"one", "two", "three", "four", "space"}


def test_reading_starts_no_process(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: pytest.fail("a process was started"))
    assert inventory(here.interpreter, here.home).packages
