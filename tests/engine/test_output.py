"""What steps print: streamed as it comes, stored line by line, whatever it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from tilth.client import runs as past
from tilth.engine.logs import LogWriter, read_log
from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.play import Played, Project

PRINTING = """
    import os
    import subprocess
    import sys
    import time

    from tilth import pipeline, step


    @step
    def both() -> int:
        print("out")
        print("err", file=sys.stderr)
        return 1


    @step
    def in_parts() -> int:
        sys.stdout.write("one ")
        sys.stdout.flush()
        time.sleep(0.02)
        sys.stdout.write("line\\nno newline")
        return 1


    @step
    def raw() -> int:
        os.write(1, b"caf\\xe9 \\xff\\n")
        os.write(1, "h\\u00e9llo \\U0001f600\\n".encode())
        return 1


    @step
    def surrogates() -> int:
        print("\\udcff")
        return 1


    @step
    def bar() -> int:
        for each in range(3):
            sys.stderr.write(f"\\r{each + 1}/3")
        sys.stderr.write("\\n")
        return 1


    @step
    def child() -> int:
        subprocess.run(["sh", "-c", "echo from a child"], check=True)
        return 1


    @step
    def reads_nothing() -> str:
        return sys.stdin.read()


    @step
    def retried(number: int) -> int:
        print("item", number)
        return number


    @step
    def replaced() -> int:
        sys.stdout = open(os.devnull, "w")
        print("unheard")
        return 1


    @step
    def afterwards(before: int) -> int:
        print("heard again")
        return 1


    @pipeline
    def printing():
        both(), in_parts(), raw(), surrogates(), bar(), child(), reads_nothing()
        retried.map([0, 1])
        afterwards(replaced())
"""


@pytest.fixture(scope="module")
def printing(make_project: Callable[[str], Project]) -> tuple[Project, Played]:
    project = make_project(PRINTING)
    played = project.run()
    assert played.run.state.value == "completed"
    return project, played


def stored(project: Project, step: str) -> list[tuple[str, str]]:
    with project.at_home():
        return [(each.stream, each.text) for each in past.logs("printing-1", step)]


@pytest.mark.parametrize(
    ("step", "lines"),
    [
        ("in_parts", [("stdout", "one line"), ("stdout", "no newline")]),
        ("raw", [("stdout", "caf� �"), ("stdout", "héllo \U0001f600")]),
        ("surrogates", [("stdout", "\\udcff")]),
        ("bar", [("stderr", "3/3")]),
        ("child", [("stdout", "from a child")]),
        ("reads_nothing", []),
        ("replaced", []),
        ("afterwards", [("stdout", "heard again")]),
    ],
)
def test_lines_are_streamed_and_stored_alike(
    printing: tuple[Project, Played], step: str, lines: list[tuple[str, str]]
) -> None:
    project, played = printing
    assert stored(project, step) == lines
    streamed = [("stdout", each) for each in played.lines(step)] + [
        ("stderr", each) for each in played.lines(step, "stderr")
    ]
    assert streamed == lines


def test_both_streams_are_told_apart(printing: tuple[Project, Played]) -> None:
    assert sorted(stored(printing[0], "both")) == [("stderr", "err"), ("stdout", "out")]


def test_items_of_a_map_have_logs_of_their_own(printing: tuple[Project, Played]) -> None:
    project, _ = printing
    with project.at_home():
        found = sorted((each.index, each.text) for each in past.logs("printing-1", "retried"))
    assert found == [(0, "item 0"), (1, "item 1")]


def test_a_hundred_thousand_lines_are_quick_and_complete(project: Project) -> None:
    project.write(
        """
        from tilth import pipeline, step

        @step
        def chatty() -> int:
            for each in range(100_000):
                print("line", each)
            return 1

        @pipeline
        def chatter():
            chatty()
        """
    )
    began = time.monotonic()
    played = project.run()
    assert time.monotonic() - began < 120  # 1 s on an idle machine; for each line alone it would be minutes
    lines = played.lines("chatty")
    assert len(lines) == 100_000
    assert lines[::25_000] == ["line 0", "line 25000", "line 50000", "line 75000"]
    with project.at_home():
        assert sum(1 for _ in past.logs("chatter-1")) == 100_000


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=30)), max_size=20),
)
def test_lines_do_not_depend_on_how_they_came_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")

    def written(parts: list[tuple[str, bytes]], name: str) -> dict[str, list[str]]:
        shown: dict[str, list[str]] = {"stdout": [], "stderr": []}
        log = LogWriter(folder / name, lambda stream, text: shown[stream].append(text))
        for stream, data in parts:
            log.write(stream, data)
        log.close()
        read: dict[str, list[str]] = {"stdout": [], "stderr": []}
        for line in read_log(folder / name, "step", None, 1):
            read[line.stream].append(line.text)
        assert read == shown
        return shown

    whole = [
        (name, b"".join(data for stream, data in pieces if stream == name)) for name in ("stdout", "stderr")
    ]
    assert written(pieces, "pieces") == written(whole, "whole")


@pytest.mark.parametrize("before", [0, (1 << 20) - 15, (1 << 20) - 9, (1 << 20) - 1, 1 << 20])
@pytest.mark.parametrize("piece", [7, 1 << 16])
def test_a_secret_is_hidden_in_whatever_pieces_it_comes_also_where_a_long_line_is_cut(
    tmp_path: Path, before: int, piece: int
) -> None:
    shown: list[str] = []
    log = LogWriter(tmp_path / "log", lambda _, text: shown.append(text), Mask(["correct-horse"]))
    head, tail = b"x" * before, b"correct-horse" + b"y" * 40
    log.write("stdout", head[: 1 << 20])
    for start in range(0, len(tail), piece):
        log.write("stdout", tail[start : start + piece])
    log.write("stdout", b"\n")
    log.close()
    assert "".join(shown) == "x" * before + "***" + "y" * 40
    assert b"horse" not in (tmp_path / "log").read_bytes()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "log", lambda *_: None)
    log.write("stdout", b"whole\nsecond\n")
    log.close()
    data = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(data[:-3])
    assert [each.text for each in read_log(tmp_path / "log", "step", None, 1)] == ["whole"]


def test_lines_that_cannot_be_stored_are_shown_and_it_is_said_once() -> None:
    shown: list[str] = []
    log = LogWriter(Path("/dev/full"), lambda _, text: shown.append(text))
    log.write("stdout", b"one\n")
    log.write("stdout", b"two\nthree")
    log.close()
    told = "(what this step prints from here on is not stored: No space left on device)"
    assert shown == ["one", told, "two", "three"]
    assert log.size == 0
