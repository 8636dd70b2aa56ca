"""`.tilthignore` means what the same lines mean in `.gitignore`."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tilth.client.ignored import Ignored

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ["a", "b", "/", "*", "**", "?", "**/", "/**", ".x", "[ab]", "[!a]", "\\a"]
ODD = ["# note", "", "/", "a ", "\\#", "\\!a", "b/ ", "[", "[]a]", "a[", "a/**/b", "**/a/b"]
# Beside anything but a slash, git's `**` depends on where the pattern lies in memory (git 2.39, wildmatch.c).
_UNDEFINED = re.compile(r"[^/]\*\*|\*\*[^/]")
PATTERNS = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda each: not _UNDEFINED.search(each)),
    st.sampled_from(ODD),
)
LINES = st.lists(st.tuples(st.sampled_from(["", "", "!"]), PATTERNS).map("".join), max_size=4)
NAMES = [
    "/".join(parts)
    for parts in (["a"], ["b"], ["a.x"], ["b.x"], ["ab"], ["c", "a"], ["c", "b.x"], ["c", "d", "a"], ["c", "d", "b"],
                  ["e", "a", "b"], ["a1", "b"], ["f", "a", "q", "b"], ["#"], ["!a"], ["]"], ["g", "ab", "ba"])
]  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ignored")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_the_rules_agree_with_git(repository: Path, lines: list[str]) -> None:
    (repository / ".git" / "info").mkdir(exist_ok=True)
    path = repository / ".git" / "info" / "exclude"
    path.write_text("\n".join(lines) + "\n")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=True,
    )
    ignored = Ignored(path)
    assert {name for name in NAMES if not ignored.file(name.encode())} == set(
        listed.stdout.decode().split("\0")
    ) - {""}


def test_without_a_file_nothing_is_left_out(tmp_path: Path) -> None:
    assert not Ignored(tmp_path / ".tilthignore").file(b"anything/at/all")
