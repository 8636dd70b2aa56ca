"""What lock files say of each package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.environments.contents.lockfiles import (
    LockedFile,
    applicable,
    markers,
    pylock_text,
    read_lock_file,
    read_pylock,
)
from tilth.errors import DefinitionError, NotFound

if TYPE_CHECKING:
    from pathlib import Path

LOCK = """
lock-version = "1.0"
created-by = "a tool"

[[packages]]
name = "Alpha_One"
version = "1.0"
index = "https://example.com/simple"
dependencies = [{ name = "beta" }]
sdist = { url = "https://example.com/alpha_one-1.0.tar.gz", hashes = { sha256 = "5d" } }
[[packages.wheels]]
url = "https://example.com/alpha%5Fone-1.0-py3-none-any.whl"
size = 1234
hashes = { md5 = "0d", sha256 = "3f" }

[[packages]]
name = "beta"
marker = "sys_platform == 'darwin'"
vcs = { type = "git", url = "https://example.com/beta", commit-id = "1a2b", subdirectory = "python" }

[[packages]]
name = "gamma"
version = "2"
marker = "python_version >= '3.12'"
archive = { path = "/files/gamma-2-py3-none-any.whl", hashes = { sha512 = "99" } }
"""


def test_a_pylock_is_read_whatever_its_style() -> None:
    alpha, beta, gamma = read_pylock(LOCK, "it")
    assert (alpha.name, alpha.version, alpha.requires) == ("alpha-one", "1.0", ("beta",))
    assert alpha.index == "https://example.com/simple"
    assert alpha.files[0] == LockedFile(
        name="alpha_one-1.0-py3-none-any.whl",
        digest="sha256:3f",
        size=1234,
        url="https://example.com/alpha%5Fone-1.0-py3-none-any.whl",
    )
    assert (alpha.files[1].name, alpha.files[1].is_wheel) == ("alpha_one-1.0.tar.gz", False)
    assert beta.repository == "git+https://example.com/beta@1a2b#subdirectory=python"
    assert beta.requires == ()  # the tool tells dependencies: this one has none
    assert gamma.files == (
        LockedFile(
            name="gamma-2-py3-none-any.whl",
            digest="sha512:99",
            path="/files/gamma-2-py3-none-any.whl",
            direct=True,
        ),
    )
    silent = read_pylock(LOCK.replace("dependencies", "x-dependencies"), "it")
    assert {each.requires for each in silent} == {None}


def test_a_marker_is_that_of_the_interpreter_asked_about() -> None:
    packages = read_pylock(LOCK, "it")

    def names(python: str, platform: str) -> list[str]:
        return [each.name for each in applicable(packages, markers(python, platform))]

    assert names("3.11", "linux-x86_64") == ["alpha-one"]
    assert names("3.12", "linux-x86_64-musl") == ["alpha-one", "gamma"]
    assert names("3.11", "macos-arm64") == ["alpha-one", "beta"]


def test_the_groups_and_extras_of_a_lock_are_asked_for_by_none() -> None:
    marked = LOCK.replace("sys_platform == 'darwin'", "'gpu' in extras or 'dev' in dependency_groups")
    found = applicable(read_pylock(marked, "it"), markers("3.11", "linux-x86_64"))
    assert [each.name for each in found] == ["alpha-one"]


@pytest.mark.parametrize("text", ["packages = 3", "= 1", "lock-version = '1.0'", "packages = [{}]"])
def test_what_is_no_lock_is_told(text: str) -> None:
    with pytest.raises(DefinitionError, match="`mine` is not valid PEP 751"):
        read_pylock(text, "`mine`")


def test_a_requirements_file_is_read_with_those_it_includes(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# made by hand\n--index-url https://example.com/simple\n-r more/base.txt\n-r requirements.txt\n"
        "alpha[x]==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb # two\n"
        'Beta_Two == 2.0 ; python_version > "3"\n'
        "gamma @ https://example.com/gamma-3.0-py3-none-any.whl --hash=sha256:cc\n"
        "delta @ git+https://example.com/delta@1a2b\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("--requirement=again.txt\n")
    (tmp_path / "more" / "again.txt").write_text("epsilon==5\n")
    found = {each.name: each for each in read_lock_file(tmp_path / "requirements.txt")}
    assert {name: each.version for name, each in found.items()} == {
        "epsilon": "5",
        "alpha": "1.0",
        "beta-two": "2.0",
        "gamma": "3.0",
        "delta": "",
    }
    assert [each.digest for each in found["alpha"].files] == ["sha256:aa", "sha256:bb"]
    assert found["beta-two"].marker == 'python_version > "3"'
    assert found["gamma"].files[0].digest == "sha256:cc"
    assert found["delta"].repository == "git+https://example.com/delta@1a2b"


def test_what_is_not_pinned_or_not_there_is_told(tmp_path: Path) -> None:
    for line in ("alpha", "alpha>=1", "alpha==1.*", "./alpha"):
        (tmp_path / "requirements.txt").write_text(f"{line}\n")
        with pytest.raises(DefinitionError, match="pins no version"):
            read_lock_file(tmp_path / "requirements.txt")
    with pytest.raises(NotFound, match="there is no lock file"):
        read_lock_file(tmp_path / "pylock.toml")
    with pytest.raises(DefinitionError, match="is no lock"):
        pylock_text(tmp_path / "requirements.txt")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    with pytest.raises(DefinitionError, match="uv cannot export"):
        read_lock_file(tmp_path / "uv.lock")
