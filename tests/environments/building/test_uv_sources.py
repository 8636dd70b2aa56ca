"""`[tool.uv.sources]` of what builds a project: the index has a stranger of the same name each time."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.environments.building.test_builds import commit_all, package, value, versions
from tests.index import build_sdist, build_wheel, write_project
from tests.simple_index import SimpleIndex

from tilth.environments import builders_of
from tilth.environments.building.uv_sources import place, read_sources
from tilth.environments.files import remove_tree
from tilth.errors import DefinitionError, EnvironmentBroken, TilthError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked

WORKSPACE = "[tool.uv.sources]\ntwo = { workspace = true }\n"


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """Where a stranger is, who leaves a mark when somebody imports him."""
    mark = os.fspath(tmp_path / "mark")
    code = f"VERSION = '9.9'\nopen({mark!r}, 'w').close()\n"
    build_wheel(tmp_path / "links", "two", "9.9", files={"two.py": code})
    return tmp_path / "links"


@pytest.fixture
def workspace(tmp_path: Path, links: Path) -> Path:
    """A workspace whose member `one` needs its member `two` to be built."""
    root = tmp_path / "work space"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    write_project(root / "packages/one", "one", "1.0", build_requires=["two"], sources=WORKSPACE)
    write_project(root / "packages/two", "two", "1.0")
    return root


def lock(here: Here, *requirements: str) -> Locked:
    return here.lock(*requirements, find_links=["links"])


def built_with(here: Here, made: Locked, name: str = "one") -> str:
    return value(here, made, f"import {name}_built; {name}_built.WITH['two']")


def add(folder: Path, text: str) -> None:
    with open(folder / "pyproject.toml", "a") as file:
        file.write(text)


def refusal(here: Here, *requirements: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        lock(here, *requirements)
    assert not (here.root / "mark").exists()
    return str(caught.value)


def sdist(links: Path, name: str, source: str) -> None:
    """An sdist that needs `two` to be built, with a source of it, and a project of that name inside."""
    folder = write_project(links / "x" / name, name, "1.0", build_requires=["two"], sources=source)
    write_project(folder / "libs/two", "two", "5.0")
    with tarfile.open(build_sdist(links, name, "1.0"), "w:gz") as archive:
        archive.add(folder, arcname=f"{name}-1.0")


def test_a_member_is_built_with_a_member_and_not_with_a_stranger(here: Here, workspace: Path) -> None:
    made = lock(here, f"one @ {(workspace / 'packages/one').as_uri()}")
    assert built_with(here, made) == "1.0"
    assert not (here.root / "mark").exists()
    (first, *_) = builders_of(made, here.home)
    assert first.sources == (f'directory = {{ path = "{workspace / "packages/two"}" }}',)


def test_what_the_root_of_a_workspace_says_holds_for_its_members(here: Here, workspace: Path) -> None:
    folder = write_project(workspace / "packages/one", "one", "1.0", build_requires=["two>=1", "beta"])
    assert "is a member of the workspace" in refusal(here, f"one @ {folder.as_uri()}"), "as uv has it"
    add(workspace, WORKSPACE)
    assert built_with(here, lock(here, f"one @ {folder.as_uri()}")) == "1.0"


def test_what_a_backend_asks_for_besides_has_its_source_too(here: Here, workspace: Path) -> None:
    folder = write_project(
        workspace / "packages/one", "one", "1.0", dynamic_requires=["two"], sources=WORKSPACE
    )
    assert built_with(here, lock(here, f"one @ {folder.as_uri()}")) == "1.0"


def test_a_changed_member_builds_what_it_is_needed_for_again(here: Here, workspace: Path) -> None:
    one = f"one @ {(workspace / 'packages/one').as_uri()}"
    before = lock(here, one)
    write_project(workspace / "packages/two", "two", "1.1")
    after = lock(here, one)
    assert built_with(here, after) == "1.1"
    assert package(after, "one").builder != package(before, "one").builder


def test_two_members_that_need_each_other_to_be_built_are_named(here: Here, workspace: Path) -> None:
    source = "[tool.uv.sources]\none = { workspace = true }\n"
    write_project(workspace / "packages/two", "two", "1.0", build_requires=["one"], sources=source)
    with pytest.raises(EnvironmentBroken) as caught:
        lock(here, f"one @ {(workspace / 'packages/one').as_uri()}")
    text = str(caught.value)
    assert "needs itself" in text
    assert "`one` needs `two` to be built" in text
    assert "`two` needs `one` to be built" in text


def with_source(workspace: Path, source: str) -> Path:
    """The member `one`, with this source of `two`; there is no member `two`."""
    remove_tree(workspace / "packages/two")
    text = f"[tool.uv.sources]\ntwo = {source}\n"
    return write_project(workspace / "packages/one", "one", "1.0", build_requires=["two"], sources=text)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{ workspace = true }", "no member of this name; it has: `one`"),
        ("{ path = '../gone' }", "gone` is not there"),
        ("{ path = '../one', package = false }", "no package"),
        ("{ index = 'ours' }", "no `[[tool.uv.index]]` has this name"),
        ("{ git = 'https://example.org/two', lfs = true }", "lfs"),
        ("{ workspace = false }", "`workspace` can only be `true`"),
    ],
)
def test_a_source_that_cannot_be_followed_is_named_and_the_index_not_asked(
    here: Here, workspace: Path, source: str, reason: str
) -> None:
    folder = with_source(workspace, source)
    text = refusal(here, f"one @ {folder.as_uri()}")
    assert "`two`, which `one` of environment `training` needs to be built" in text
    assert f"`{folder}` has `{source.replace(chr(39), chr(34))}`" in text
    assert reason in text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{ git = 'nowhere' }", "it is no URL"),
        ("{ path = 'x', url = 'https://example.org/two.whl' }", "it names `path` and `url`"),
        ("{ path = 1 }", "its `path` is no text"),
        ("{ later = 'idea' }", "it names no place"),
        ("'text'", "it is no table"),
        (
            "[{ path = '../one', marker = 'python_version > \"3\"' }, { path = '../one' }]",
            "several of its sources hold",
        ),
        ("{ path = '../one', marker = 'never' }", "its marker cannot be read"),
    ],
)
def test_what_no_source_may_be_is_refused_whoever_reads_it(
    workspace: Path, interpreter: Interpreter, source: str, reason: str
) -> None:
    sources = read_sources(with_source(workspace, source))
    with pytest.raises(DefinitionError) as caught:
        place(["two"], sources, markers=interpreter.markers, inside=str, wanted_by="`one`", file="`here`")
    assert reason in str(caught.value)


def test_a_source_for_an_extra_or_another_platform_is_none_for_a_build(
    workspace: Path, interpreter: Interpreter
) -> None:
    given: dict[str, Any] = {
        "markers": interpreter.markers,
        "inside": str,
        "wanted_by": "`one`",
        "file": "it",
    }
    for source in (
        "{ path = '../one', extra = 'gpu' }",
        "{ path = '../one', marker = 'python_version < \"3\"' }",
    ):
        placed = place(["two>=1", "beta"], read_sources(with_source(workspace, source)), **given)
        assert placed == (("two>=1", "beta"), {})
    sources = read_sources(with_source(workspace, "{ path = '../one' }"))
    asked = "Two[b,a]>=1; python_version > '3'"
    address = (workspace / "packages/one").as_uri()
    assert place([asked], sources, **given).lines == (f'two[a,b] @ {address} ; python_version > "3"',)
    assert place(["two; python_version < '3'"], sources, **given).lines == ("two; python_version < '3'",)


@pytest.mark.parametrize("kind", ["path", "wheel", "list", "git", "url"])
def test_a_source_of_each_kind_is_followed(here: Here, tmp_path: Path, links: Path, kind: str) -> None:
    other = write_project(tmp_path / "other/two", "two", "3.0")
    commit = commit_all(other)
    wheel = build_wheel(tmp_path / "other", "two", "3.0")
    source = {
        "path": "{ path = '../other/two', editable = true }",
        "wheel": f"{{ path = '../other/{wheel.name}' }}",
        "list": "[{ path = '../no', marker = 'python_version < \"3\"' }, { path = '../other/two', marker = "
        "'python_version > \"3\"' }]",
        "git": f"{{ git = '{other.as_uri()}', rev = '{commit}' }}",
        "url": f"{{ url = '{wheel.as_uri()}' }}",
    }[kind]
    text = f"[tool.uv.sources]\ntwo = {source}\n"
    write_project(tmp_path / "one", "one", "1.0", build_requires=["two>=1"], sources=text)
    assert built_with(here, lock(here, "./one")) == "3.0"
    assert not (tmp_path / "mark").exists()


def test_an_index_source_is_the_only_place_that_is_asked(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(tmp_path / "public", "two", "9.9")
    build_wheel(tmp_path / "public", "beta", "1.0")
    build_wheel(tmp_path / "private", "two", "4.0")
    monkeypatch.delenv("UV_CONFIG_FILE")
    with SimpleIndex(tmp_path / "public") as public, SimpleIndex(tmp_path / "private") as private:
        text = (
            "[tool.uv.sources]\ntwo = { index = 'ours' }\n"
            f"[[tool.uv.index]]\nname = 'ours'\nurl = '{private.url}'\nexplicit = true\n"
        )
        write_project(tmp_path / "one", "one", "1.0", build_requires=["two", "beta"], sources=text)
        made = here.lock("./one", index_url=public.url)
        assert built_with(here, made) == "4.0"
        write_project(tmp_path / "one", "one", "1.0", build_requires=["two>4", "beta"], sources=text)
        with pytest.raises(TilthError, match="two"):
            here.lock("./one", index_url=public.url)


@pytest.mark.parametrize("way", ["variable", "setting", "package"])
def test_sources_can_be_switched_off(
    here: Here, workspace: Path, links: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "setting":
        settings = here.root / "settings.toml"
        settings.write_text("no-sources = true\nno-index = true\n")
        monkeypatch.setenv("UV_CONFIG_FILE", os.fspath(settings))
    else:
        monkeypatch.setenv(
            *{"variable": ("UV_NO_SOURCES", "1"), "package": ("UV_NO_SOURCES_PACKAGE", "two")}[way]
        )
    made = lock(here, f"one @ {(workspace / 'packages/one').as_uri()}")
    assert built_with(here, made) == "9.9"
    assert (here.root / "mark").exists()


def test_a_path_in_an_sdist_is_one_inside_of_it(
    here: Here, tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist(links, "inside", "[tool.uv.sources]\ntwo = { path = 'libs/two' }\n")
    assert "unpack that" in refusal(here, "inside"), "uv has no words for it"
    monkeypatch.delenv("UV_CONFIG_FILE")
    with SimpleIndex(links) as served:
        made = here.lock("inside", index_url=served.url)
        assert built_with(here, made, "inside") == "5.0"
    assert not (tmp_path / "mark").exists()
    (first, *_) = builders_of(made, here.home)
    assert versions(first) == {"two": "5.0"}


def test_a_path_in_a_repository_is_one_of_the_same_commit(here: Here, tmp_path: Path, links: Path) -> None:
    top = tmp_path / "repository"
    write_project(top / "libs/two", "two", "6.0")
    write_project(
        top / "one",
        "one",
        "1.0",
        build_requires=["two"],
        sources="[tool.uv.sources]\ntwo = { path = '../libs/two' }\n",
    )
    commit = commit_all(top)
    made = lock(here, f"one @ git+{top.as_uri()}@{commit}#subdirectory=one")
    assert built_with(here, made) == "6.0"
    (first, *_) = builders_of(made, here.home)
    assert commit in first.sources[0]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{ path = '../two' }", "outside"),
        ("{ path = '{root}/two' }", "outside"),
        ("{ url = 'file://{root}/two' }", "comes from elsewhere"),
        ("{ git = 'file://{root}/two' }", "comes from elsewhere"),
        ("{ index = 'ours' }", "comes from elsewhere"),
    ],
)
def test_an_sdist_names_nothing_on_this_machine(
    here: Here, tmp_path: Path, links: Path, source: str, reason: str
) -> None:
    write_project(tmp_path / "two", "two", "7.0")
    text = f"[tool.uv.sources]\ntwo = {source.replace('{root}', os.fspath(tmp_path))}\n"
    sdist(links, "outside", f"{text}[[tool.uv.index]]\nname = 'ours'\nurl = 'file://{tmp_path}/links'\n")
    assert reason in refusal(here, "outside")


def test_a_link_does_not_lead_an_sdist_outside(tmp_path: Path) -> None:
    write_project(tmp_path / "two", "two", "7.0")
    top = write_project(
        tmp_path / "top", "one", "1.0", sources="[tool.uv.sources]\ntwo = { path = 'link' }\n"
    )
    (top / "link").symlink_to(tmp_path / "two")
    (only,) = read_sources(top, top)["two"]
    assert "outside" in only.refused
    (only,) = read_sources(top)["two"]
    assert only.address


def test_only_what_the_patterns_name_is_a_member(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "root"\n[tool.uv.workspace]\nmembers = ["libs/*"]\nexclude = ["libs/out"]\n'
        "[tool.uv.sources]\ntwo = { workspace = true }\nroot = { workspace = true }\nout = { workspace = true }\n"
    )
    for name in ("one", "two", "out"):
        write_project(tmp_path / "libs" / name, name, "1.0")
    (tmp_path / "libs/no-project").mkdir()
    found = read_sources(tmp_path / "libs/one")
    assert found["two"][0].address == (tmp_path / "libs/two").as_uri()
    assert found["root"][0].address == tmp_path.as_uri()
    assert "it has: `one`, `root`, `two`" in found["out"][0].refused
    assert read_sources(tmp_path / "libs/out") == {}, "it is in no workspace"
