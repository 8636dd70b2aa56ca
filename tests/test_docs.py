"""The docs are true: their examples run, and what is made from the code covers the code.

In a page, a fenced block ```python title="NAME"``` is written to a file, and a ```console``` block is run in
the same folder, in the order of the page. Output that a console block shows must be what is printed; `…`
stands for anything.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import tilth

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What authors of components import besides `tilth` itself.
FOR_AUTHORS = ("tilth.testing.", "tilth.stack.flavors", "tilth.errors", "tilth.artifact_stores.folder")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, each.start()) + 1, each[1], each[2] or "", each[3])
        for each in FENCE.finditer(text)
    ]


def needs(page: Path, what: str) -> bool:
    return f"\nneeds: {what}\n" in page.read_text()[:200]


def marks(page: Path) -> list[pytest.MarkDecorator]:
    if needs(page, "docker"):
        return [pytest.mark.docker, pytest.mark.network, pytest.mark.slow]
    return (
        [pytest.mark.network, pytest.mark.slow] if page.name == "README.md" or needs(page, "network") else []
    )


def pages_that_run() -> list[object]:
    return [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=marks(page),
        )
        for page in PAGES
        if any(each.language == "console" for each in blocks(page))
    ]


def commands(block: Block) -> list[tuple[str, str]]:
    """Each `$ command` of a console block, with the output shown below it."""
    _, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


@pytest.mark.parametrize("page", pages_that_run())
def test_the_examples_of_a_page_run_and_print_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stands_for = {}
    if needs(page, "docker"):  # with a base that the engine has: no test pulls from the world
        stands_for = {"python:3.11-slim": request.getfixturevalue("docker_engine").images["3.11"]}

    def here(text: str) -> str:
        for public, ours in stands_for.items():
            text = text.replace(public, ours)
        return text

    (tmp_path / "tilth.toml").touch()  # makes the folder a code root of its own
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if "$ tilth server start" in page.read_text():
        stop = ["bash", "-c", "tilth server stop"]
        request.addfinalizer(
            lambda: subprocess.run(stop, cwd=tmp_path, env=environment, capture_output=True, check=False)
        )
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(here(block.text))
        if block.language != "console":
            continue
        for command, shown in commands(block):
            done = subprocess.run(
                ["bash", "-c", here(command)],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=900,
                check=False,
            )
            should_fail = re.search(r"^error: ", shown, re.MULTILINE) is not None
            assert (done.returncode != 0) == should_fail, f"{block.place}: `{command}` printed\n{done.stdout}"
            if shown:
                assert prints(shown, done.stdout), (
                    f"{block.place}: `{command}` printed\n{done.stdout}\nnot\n{shown}"
                )


def prints(shown: str, printed: str) -> bool:
    """Whether `printed` is what a page shows; runs of blanks count as one."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown.replace("…", "..."), printed, flags)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_a_page_is_valid_and_imports_only_public_names(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, block.place)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tilth":
                if page.name == "writing-a-component.md" and node.module.startswith(FOR_AUTHORS):
                    continue
                assert node.module == "tilth", (
                    f"{block.place} imports from `{node.module}`, which is not public"
                )
                assert {each.name for each in node.names} <= set(tilth.__all__), block.place


def made(name: str) -> str:
    """A generated page, filled in as MkDocs does it."""
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts/docs_pages.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = str(module.fill((ROOT / f"docs/reference/{name}.md").read_text()))
    assert "<!-- made from" not in text
    return text


def test_the_settings_page_has_every_setting() -> None:
    from tilth.settings import SETTINGS

    page = made("settings")
    assert [each for each in SETTINGS.values() if f"| `{each.variable}` |" not in page] == []


def test_the_errors_page_has_every_class() -> None:
    from tilth import errors

    page = made("errors")
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.TilthError):
            assert f"- `{value.__name__}`: {(value.__doc__ or '').split()[0]}" in page


def test_the_command_line_page_has_every_command() -> None:
    page = made("command-line")
    every = [
        "run",
        "plan",
        "version",
        "settings",
        "doctor",
        "cache info",
        "env list",
        "env show",
        "env prune",
    ]
    every += [f"artifacts {verb}" for verb in ("list", "show", "get")]
    every += [f"secret {verb}" for verb in ("set", "list", "delete")]
    every += [f"stack {verb}" for verb in ("register", "list", "show", "update", "delete", "set", "check")]
    every += [f"stack {verb}" for verb in ("export", "import")]
    every += [f"component {verb}" for verb in ("register", "list", "show", "update", "delete", "flavors")]
    every += [f"integration {verb}" for verb in ("list", "install", "requirements")]
    every += [
        f"snapshots {verb}" for verb in ("create", "list", "show", "run", "launches", "cancel", "delete")
    ]
    every += ["runner start", "runner list"]
    every += [f"runs {verb}" for verb in ("list", "show", "logs", "cancel", "resume", "delete")]
    assert [command for command in every if f"## tilth {command}\n" not in page] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "index.md").read_text()
    assert all(f"({page.name})" in index for page in folder.glob("[0-9]*.md"))


def test_a_table_of_options_names_every_option() -> None:
    from tilth.define.options import PIPELINE, STEP

    page = (ROOT / "docs/steps-and-pipelines.md").read_text()
    assert {name for name in {*STEP, *PIPELINE} if f"| `{name}` |" not in page} == set()


def test_every_reason_a_step_can_fail_for_is_explained() -> None:
    from tilth.records import Failure

    listed = re.search(r"one of: (.*?)\.\n", Failure.__doc__ or "", re.DOTALL)
    assert listed
    page = (ROOT / "docs/faults.md").read_text()
    assert {reason for reason in re.findall(r"\w+", listed[1]) if f"| `{reason}` |" not in page} == set()
