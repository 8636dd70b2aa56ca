"""What runs first on another machine, as far as it can be tried on this one; the rest is in `test_ssh`."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_wheel
from tests.simple_index import SimpleIndex

from tilth.image_builders import landing
from tilth.image_builders.payload import payload

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = platform.machine()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the wheel of the test is for Linux")


def given(index: str, **changed: Any) -> dict[str, Any]:
    return {"index": index, "version": "0.9.9", "place": "there", "uv": "", **changed}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    for libc in ("manylinux_2_17_{}.manylinux2014_{}", "musllinux_1_1_{}"):
        tag = f"py3-none-{libc.format(MACHINE, MACHINE)}"
        build_wheel(folder, "uv", "0.9.9", tag=tag, data={"scripts/uv": f"#!/bin/sh\necho {libc[:9]}\n"})
    build_wheel(folder, "uv", "0.9.8", tag=f"py3-none-manylinux_2_17_{MACHINE}", data={"scripts/uv": "old"})
    return folder


@LINUX
@pytest.mark.parametrize("html", [True, False])
def test_uv_is_taken_out_of_its_wheel(wheels: Path, tmp_path: Path, html: bool) -> None:
    with SimpleIndex(wheels, html=html) as index:
        landing._fetch_uv(given(index.url), tmp_path / "uv")
    said = subprocess.run([tmp_path / "uv" / "uv"], capture_output=True, text=True, check=True).stdout
    assert said.strip() == ("musllinux" if landing._musl() else "manylinux")


@LINUX
def test_a_uv_that_is_not_what_the_index_promises_is_refused(wheels: Path, tmp_path: Path) -> None:
    with SimpleIndex(wheels) as index:
        for each in wheels.iterdir():
            index.hashes[each.name] = "0" * 64
        with pytest.raises(landing.Failed, match="promises"):
            landing._fetch_uv(given(index.url), tmp_path / "uv")
    assert not (tmp_path / "uv").exists()


def test_a_missing_uv_is_told_with_what_mends_it(wheels: Path, tmp_path: Path) -> None:
    with SimpleIndex(wheels) as index, pytest.raises(landing.Failed, match=r"has no uv 0\.0\.1 for it"):
        landing._fetch_uv(given(index.url, version="0.0.1"), tmp_path / "uv")
    with pytest.raises(landing.Failed) as caught:
        landing._fetch_uv(given("http://127.0.0.1:1/simple"), tmp_path / "uv")
    assert caught.value.told["type"] == "IndexUnavailable"
    assert "setting `index`" in caught.value.told["mend"]
    with pytest.raises(landing.Failed, match="/no/uv"):
        landing._uv(given("", uv="/no/uv"), tmp_path)


def test_it_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"exec(open({landing.__file__!r}).read())"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_goes_along_is_known_by_its_content() -> None:
    first = payload()
    payload.cache_clear()
    assert payload().key == first.key
    assert any(each.startswith("uv==") for each in first.pins)
    assert not any("extra" in each for each in first.wanted)
    assert {each.partition("==")[0] for each in first.pins} >= {"httpx", "httpcore", "msgspec", "zlib-ng"}
