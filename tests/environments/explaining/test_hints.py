"""What is offered for a name that is nowhere, and for what a build lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.index import build_wheel

from tilth.define.environments import Environment
from tilth.environments.explaining import hints
from tilth.environments.explaining.import_names import distribution_for, usual_modules
from tilth.environments.explaining.origins import Asked
from tilth.environments.explaining.system_packages import lacking
from tilth.errors import Unresolvable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sklearn", "scikit-learn"),
        ("cv2", "opencv-python"),
        ("PIL", "pillow"),
        ("yaml", "pyyaml"),
        ("bs4", "beautifulsoup4"),
        ("nump", "numpy"),
        ("pandsa", "pandas"),
        ("scikit_lern", "scikit-learn"),
    ],
)
def test_a_module_or_a_typo_leads_to_the_package(typed: str, meant: str) -> None:
    assert f"did you mean `{meant}`" in hints.meant(typed)


def test_nothing_is_offered_where_nothing_is_near() -> None:
    assert hints.meant("xyzzyq") == ""
    assert hints.module_of_another("numpy") == ""
    assert hints.module_of_another("scikit-learn") == ""


def test_names_at_hand_go_before_common_ones() -> None:
    assert hints.meant("numpi", ["numpie"]).startswith("did you mean `numpie` or `numpy`")


def test_names_are_those_of_cached_locks_of_the_client_and_of_declared_folders(
    here: Here, tmp_path: Path
) -> None:
    build_wheel(tmp_path / "links", "house-made", "1.0")
    here.lock("beta")
    environment = Environment("training", requirements=["x"], find_links=["links"]).to_json()
    known = Asked(environment, tmp_path, here.interpreter, here.home).known_names()
    assert {"beta", "house-made", "pytest"} <= known
    with pytest.raises(Unresolvable, match="did you mean `house-made`"):
        here.lock("house-maid", find_links=["links"])


def test_modules_and_distributions_lead_to_each_other() -> None:
    assert distribution_for("sklearn.linear_model") == "scikit-learn"
    assert distribution_for("my_own") == "my-own"
    assert usual_modules("scikit-learn") == ("sklearn",)
    assert usual_modules("opencv-python-headless") == ("cv2",)
    assert usual_modules("my-own") == ("my_own",)


@pytest.mark.parametrize(
    ("output", "what", "debian"),
    [
        ("src/x.c:1:10: fatal error: Python.h: No such file or directory", "Python.h", "python3-dev"),
        ("x.c:2:10: fatal error: 'zlib.h' file not found", "zlib.h", "zlib1g-dev"),
        ("fatal error: ffi.h: No such file or directory\n 1 | #include <ffi.h>", "ffi.h", "libffi-dev"),
        ("fatal error: openssl/ssl.h: No such file or directory", "openssl/ssl.h", "libssl-dev"),
        ("fatal error: libxml/xmlversion.h: No such file or directory", "libxml/xmlversion.h", "libxml2-dev"),
        (
            "./psycopg/psycopg.h:35:10: fatal error: libpq-fe.h: No such file or directory",
            "libpq-fe.h",
            "libpq-dev",
        ),
        (
            "Error: pg_config executable not found.\n\npg_config is required to build psycopg2",
            "pg_config",
            "libpq-dev",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'pg_config'", "pg_config", "libpq-dev"),
        ("/bin/sh: 1: mysql_config: not found", "mysql_config", "default-libmysqlclient-dev"),
        ("/bin/sh: xml2-config: command not found", "xml2-config", "libxml2-dev"),
        ("error: command 'gcc' failed: No such file or directory", "gcc", "build-essential"),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", "gcc", "build-essential"),
        ("error: can't find Rust compiler", "cargo", "cargo"),
        (
            "Cargo, the Rust package manager, is not installed or is not on PATH.\nCould not find cargo",
            "cargo",
            "cargo",
        ),
        ("CMake must be installed to build this", "cmake", "cmake"),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['gfortran'], ['flang']]", "gfortran", "gfortran"),
        ('ERROR: Dependency "OpenBLAS" not found, tried pkgconfig', "cblas.h", "libopenblas-dev"),
        ("Did not find pkg-config by name 'pkg-config'", "pkg-config", "pkg-config"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'git'", "git", "git"),
    ],
)
def test_what_a_build_lacks_is_read_from_what_it_printed(output: str, what: str, debian: str) -> None:
    found = lacking(f"building\n{output}\ngave up")
    assert found is not None
    assert (found.what, found.debian) == (what, debian)
    assert f"`{what}`" in found.mend()
    assert debian in found.mend()


@pytest.mark.parametrize(
    "output",
    [
        "TypeError: setup() got an unexpected keyword argument",
        "fatal error: our_own.h: No such file or directory",
        "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'",
        "ModuleNotFoundError: No module named 'numpy'",
        "",
    ],
)
def test_nothing_is_said_to_be_lacking_where_that_is_not_known(output: str) -> None:
    assert lacking(output) is None
