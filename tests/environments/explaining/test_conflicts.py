"""Whose requirements exclude each other: from the real uv, against a real index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from inline_snapshot import snapshot
from packaging.specifiers import SpecifierSet
from tests.index import build_wheel
from tests.simple_index import SimpleIndex

from tilth.define.environments import Environment
from tilth.environments.explaining import conflicts
from tilth.errors import TilthError, Unresolvable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.environments.conftest import Here


@pytest.fixture
def served(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimpleIndex]:
    """The only index there is."""
    folder = tmp_path_factory.mktemp("served")
    for version in ("1.0", "2.0"):
        build_wheel(folder, "alpha", version, requires=[f"beta>={version[0]}"])
        build_wheel(folder, "beta", version)
    build_wheel(folder, "mid", "1.0", requires=["beta<2"])
    build_wheel(folder, "top", "1.0", requires=["mid", "alpha==2.0"])
    build_wheel(folder, "ahead", "1.0", requires=["beta>=3"])
    build_wheel(folder, "astray", "1.0", requires=["pandsa"])
    build_wheel(folder, "taken-back", "1.0")
    build_wheel(folder, "needs-it", "1.0", requires=["taken-back"])
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with SimpleIndex(folder) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        yield index


def said(here: Here, kind: type[TilthError] = Unresolvable, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        here.lock_of(Environment("training", **options))
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("environment `training` cannot be resolved")
    return "\n".join(line[2:] for line in lines)


def test_two_lines_that_exclude_each_other_are_named(here: Here, served: SimpleIndex) -> None:
    assert said(here, requirements=["beta<2", "beta>=2"]) == snapshot("""\
`beta<2` is declared in `requirements`
`beta>=2` is declared in `requirements`
no version of `beta` is both
hint: remove or loosen one of the two\
""")


def test_a_line_is_named_with_its_file_and_number_and_a_package_with_who_asked_for_it(
    here: Here, served: SimpleIndex, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("# first\nalpha == 2.0  # why\n-r more/limits.txt\n")
    (tmp_path / "more/limits.txt").write_text("\nbeta<2\n")
    assert said(here, requirements="requirements.txt") == snapshot("""\
`alpha==2.0` (`requirements.txt`, line 2) asks for `beta>=2`
`beta<2` is declared in `more/limits.txt`, line 2
no version of `beta` is both
hint: loosen `beta<2`, or ask for another version of `alpha`\
""")


def test_two_packages_that_exclude_each_other_are_named_with_the_way_to_them(
    here: Here, served: SimpleIndex
) -> None:
    assert said(here, requirements=["top"]) == snapshot("""\
`top` (`requirements`) asks for `mid`, which asks for `beta<2`
`top` (`requirements`) asks for `alpha==2.0`, which asks for `beta>=2`
no version of `beta` is both
hint: ask for another version of `mid` or of `alpha`\
""")


@pytest.mark.parametrize("constraints", [["beta<2"], "limits.txt"])
def test_a_constraint_is_whose_it_is(
    here: Here, served: SimpleIndex, tmp_path: Path, constraints: list[str] | str
) -> None:
    (tmp_path / "limits.txt").write_text("beta<2\n")
    where = "`limits.txt`, line 1" if constraints == "limits.txt" else "`constraints`"
    told = said(here, requirements=["alpha==2.0"], constraints=constraints)
    assert f"`beta<2` is declared in {where}\n" in told


def test_a_project_says_in_which_table(here: Here, served: SimpleIndex, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["alpha==2.0"]\n'
        '[project.optional-dependencies]\nold = ["beta<1.5"]\n'
        '[dependency-groups]\nbase = ["beta<2"]\ndev = [{include-group = "base"}]\n'
    )
    told = said(here, pyproject="pyproject.toml", groups=["dev"])
    assert "`alpha==2.0` (`pyproject.toml`, `dependencies`) asks for `beta>=2`\n" in told
    assert "`beta<2` is declared in `pyproject.toml`, group `dev`\n" in told
    assert "`pyproject.toml`, extra `old`\n" in said(here, pyproject="pyproject.toml", extras=["old"])


def test_a_version_that_does_not_exist_is_told_from_a_conflict(here: Here, served: SimpleIndex) -> None:
    assert said(here, requirements=["ahead"]) == snapshot("""\
no version of `beta` answers `beta>=3`: there is only `beta<=2.0`
`ahead` (`requirements`) asks for `beta>=3`
hint: ask for another version of `beta`, or name the index that has it\
""")
    assert said(here, requirements=["beta==1.5"]).startswith("there is no `beta==1.5`\n")


def test_a_package_that_is_nowhere_is_named_with_who_asks_for_it_and_what_was_meant(
    here: Here, served: SimpleIndex
) -> None:
    assert said(here, requirements=["astray"]) == snapshot("""\
no index has a package `pandsa`
`astray` (`requirements`) asks for `pandsa`
hint: did you mean `pandas`?\
""")


def test_where_every_version_was_yanked_the_reason_is_told(here: Here, served: SimpleIndex) -> None:
    served.yank("taken_back-1.0-py3-none-any.whl", "it <deletes> files, and we can conclude (x) nothing")
    assert said(here, requirements=["needs-it"]) == snapshot("""\
`taken-back` 1.0 was yanked: it <deletes> files, and we can conclude (x) nothing
no other version answers `taken-back`
`needs-it` (`requirements`) asks for `taken-back`
hint: ask for another version; `taken-back==1.0` takes it all the same\
""")


def test_a_yanked_version_that_is_pinned_is_taken_with_a_warning(
    here: Here, served: SimpleIndex, caplog: pytest.LogCaptureFixture
) -> None:
    served.yank("alpha-2.0-py3-none-any.whl", "it deletes files")
    assert [each.version for each in here.lock("alpha").packages] == ["1.0", "2.0"]
    assert not caplog.messages
    assert [each.version for each in here.lock("alpha==2.0").packages] == ["2.0", "2.0"]
    assert caplog.messages == ['environment `training`: `alpha==2.0` is yanked (reason: "it deletes files")']


def test_what_is_not_understood_is_left_in_the_words_of_uv() -> None:
    python = (
        "Because the requested Python version (>=3.11) does not satisfy Python>=3.99 and too-new==1.0 depends on "
        "Python>=3.99, we can conclude that too-new==1.0 cannot be used."
    )
    assert conflicts.tell([python], []) is None
    assert conflicts.tell([], []) is None
    both = "Because you require a<2 and b depends on one of: a==3 a==4, we can conclude that it is so."
    assert conflicts.tell([both], []) is None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("<2", ">=2", True),
        ("<=2", ">=2", False),
        ("==1.0", "==2.0", True),
        ("==1.*", ">=2", True),
        ("==1.*", ">=1.9999", False),
        ("~=1.4", ">=2", True),
        ("~=1.4", ">1.999", False),
        (">1.0", "<1.0.1", False),
        (">1", "<2", False),
        ("", "<2", False),
        ("!=1", "==1", False),
        ("<1", ">2,<3", True),
        ("<2.5", ">2,<3", False),
        (">=0", "<1", False),
    ],
)
def test_two_ranges_exclude_each_other_when_no_version_is_in_both(one: str, other: str, apart: bool) -> None:
    assert conflicts._disjoint(SpecifierSet(one), SpecifierSet(other)) is apart
    assert conflicts._disjoint(SpecifierSet(other), SpecifierSet(one)) is apart
