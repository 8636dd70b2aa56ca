"""Environments for the Python of a base image, made on this machine for a container to mount."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_sdist, build_wheel

from tilth.environments import in_image, realise, wheels
from tilth.environments.choices import Choice
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import DefinitionError, Unresolvable

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter

Here = Any  # see conftest.py
BASE = "sha256:" + "b" * 64


def inside(here: Interpreter, **other: Any) -> Interpreter:
    """The Python of an imagined base on this platform."""
    facts = {
        "python": f"/usr/bin/python{here.minor}",
        "version": f"{here.minor}.1",
        "libc": "glibc 2.36",
        "machine": "x86_64",
        "digest": BASE,
        "here": here,
        **other,
    }
    return in_image(**facts)


def _at(here: Here, interpreter: Interpreter) -> Here:
    return type(here)(here.home, here.root, interpreter)


def test_an_environment_for_an_image_is_made_of_the_same_wheels(here: Here) -> None:
    there = _at(here, inside(here.interpreter))
    ours, theirs = here.lock("alpha"), there.lock("alpha")
    assert [(each.name, each.digest) for each in theirs.packages] == [
        (each.name, each.digest) for each in ours.packages
    ]
    assert theirs.digest != ours.digest  # it stands on a base
    assert theirs.base == BASE
    made = realise(theirs, there.home)
    assert str((made.path / "bin" / "python").readlink()) == f"/usr/bin/python{here.interpreter.minor}"
    assert (made.path / "bin" / "alpha-run").read_bytes().startswith(f"#!{IN_IMAGE}/bin/python\n".encode())
    assert (made.path / here.interpreter.library / "alpha" / "__init__.py").is_file()
    again = realise(theirs, there.home)
    assert not again.created


def test_another_python_than_any_here_has_its_own_library_folder(here: Here) -> None:
    there = _at(here, inside(here.interpreter, version="3.19.2", python="/usr/local/bin/python3.19"))
    made = realise(there.lock("alpha"), there.home)
    assert (made.path / "lib/python3.19/site-packages/alpha/__init__.py").is_file()
    assert not list(made.path.rglob("*.pyc"))
    assert "3.19.2" in (made.path / "pyvenv.cfg").read_text()


def test_the_base_is_part_of_the_digest(here: Here) -> None:
    one = _at(here, inside(here.interpreter)).lock("beta")
    other = _at(here, inside(here.interpreter, digest="sha256:" + "c" * 64)).lock("beta")
    assert one.lock == other.lock
    assert one.digest != other.digest


def test_a_source_of_python_alone_is_built_here_for_any_image(here: Here, tmp_path: Path) -> None:
    build_sdist(tmp_path, "pure", "1.0")
    there = _at(here, inside(here.interpreter, version="3.19.2"))
    locked = there.lock("pure", find_links=[str(tmp_path)])
    assert locked.packages[0].builder
    made = realise(locked, there.home)
    assert (made.path / "lib/python3.19/site-packages/pure.py").is_file()


def test_a_wheel_for_a_newer_c_library_is_not_taken(here: Here, tmp_path: Path) -> None:
    build_wheel(
        tmp_path, "native", "1.0", tag=f"{here.interpreter.tags[0].split('-')[0]}-abi3-manylinux_2_38_x86_64"
    )
    old = _at(here, inside(here.interpreter, libc="glibc 2.31"))
    with pytest.raises((Unresolvable, DefinitionError)):
        old.lock("native", find_links=[str(tmp_path)])
    new = _at(here, inside(here.interpreter, libc="glibc 2.41"))
    assert [each.name for each in new.lock("native", find_links=[str(tmp_path)]).packages] == ["native"]


def test_bytecode_that_an_image_does_not_need_is_written_when_a_venv_does(here: Here) -> None:
    locked = here.lock("alpha")
    choices = [
        Choice(each.name, each.version, each.digest, each.file, source)
        for each, source in zip(locked.packages, locked.sources, strict=True)
    ]
    wheels.fetch(choices, here.interpreter, here.home, name="training", bytecode=False)
    folder = wheels.entry_folder(locked.packages[0].digest, here.interpreter, here.home)
    bare = wheels.read_entry(folder)
    assert bare is not None
    assert not any(path.endswith(".pyc") for path in bare.files)
    made = realise(locked, here.home)
    assert list((made.path / here.interpreter.library / "alpha").rglob("*.pyc"))
    entry = wheels.read_entry(folder)
    assert entry is not None
    assert not entry.bare
    assert not wheels.changed(folder, entry)
    assert {path: stamp for path, stamp in entry.files.items() if path in bare.files} == bare.files
