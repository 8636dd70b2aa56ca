"""Which images a Dockerfile names, and the same with each by its digest."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tilth.errors import DefinitionError
from tilth.image_builders.dockerfiles import begins_with, pin, uses_of

DIGEST = f"sha256:{'1' * 64}"


def images(text: str, **options: Any) -> list[str]:
    uses, _ = uses_of(dedent(text), **{"build_args": {}, **options})
    return [each.image for each in uses]


def pinned(text: str, *names: str, **options: Any) -> str:
    uses, _ = uses_of(text, **{"build_args": {}, **options})
    return pin(text, uses, {name: f"{name.partition(':')[0]}@{DIGEST}" for name in names})


def test_stages_and_scratch_are_no_images() -> None:
    text = """
        FROM golang:1.22 AS Build
        FROM scratch AS nothing
        FROM build
        COPY --from=nothing / /
        COPY --from=0 /a /a
        COPY --from=busybox:1 /bin/ls /ls
        """
    assert images(text) == ["golang:1.22", "busybox:1"]


def test_a_stage_that_the_target_does_not_need_counts_for_nothing() -> None:
    text = """
        FROM a AS one
        FROM b AS two
        FROM c AS three
        COPY --from=one /x /x
        FROM d
        """
    assert images(text, target="three") == ["a", "c"]
    assert images(text, target="TWO") == ["b"]
    assert images(text) == ["d"]


def test_variables_are_filled_in_from_arguments_defaults_and_the_platform() -> None:
    text = """
        ARG VERSION=3.12
        ARG BASE=python:${VERSION}
        ARG NONE
        FROM --platform=$BUILDPLATFORM ${BASE}${NONE:+-none}${KIND:--slim} AS one
        FROM "tools-$TARGETARCH"
        COPY --from=one /x /x
        """
    assert images(text, platform="linux/arm64") == ["python:3.12-slim", "tools-arm64"]
    assert images(text, build_args={"VERSION": "3.13", "NONE": "x", "KIND": "undeclared"}) == [
        "python:3.13-none-slim",
        "tools-amd64",
    ]


def test_mounts_comments_here_documents_and_continued_lines_are_read_as_builders_do() -> None:
    text = """
        # escape=\\
        FROM \\
          # of the house
          python:3.12 \\
          AS one
        RUN --mount=type=cache,target=/x --mount=type=bind,from=tools:2,target=/t <<EOF
        FROM no:image
        EOF
        RUN echo \\
        FROM not:this
        """
    assert images(text) == ["python:3.12", "tools:2"]


def test_what_is_pinned_is_only_what_is_named_and_lines_keep_their_numbers() -> None:
    text = (
        "ARG T=3.12\nFROM --platform=linux/amd64 python:$T \\\n  AS one\nFROM one\n"
        "COPY --from=tools:2 /tools:2 /x\n"
        "RUN --mount=type=bind,target=/t,from=tools:2 echo \\\n  from=tools:2 <<EOF\nFROM tools:2\nEOF\n"
        "RUN true\n"
    )
    assert pinned(text, "python:3.12", "tools:2") == (
        f"ARG T=3.12\nFROM --platform=linux/amd64 python@{DIGEST} AS one\n\nFROM one\n"
        f"COPY --from=tools@{DIGEST} /tools:2 /x\n"
        f"RUN --mount=type=bind,target=/t,from=tools@{DIGEST} echo \\\n  from=tools:2 <<EOF\nFROM tools:2\nEOF\n"
        "RUN true\n"
    )
    assert pinned(text) == text


@given(
    st.lists(
        st.sampled_from(
            [
                "FROM a:1",
                "from a:1 as x",
                "COPY --from=a:1 b c",
                "RUN b",
                "",
                "# c",
                "RUN \\\n  b",
                "FROM \\\n a:1",
            ]
        ),
        max_size=8,
    )
)
def test_whatever_is_pinned_the_number_of_lines_stays(lines: list[str]) -> None:
    text = "\n".join(["FROM a:1", *lines, ""])
    changed = pinned(text, "a:1")
    assert changed.count("\n") == text.count("\n")
    again, _ = uses_of(changed, build_args={})
    assert {each.image for each in again} == {f"a@{DIGEST}"}


@pytest.mark.parametrize(
    ("instruction", "copies"),
    [
        ("RUN true", False),
        ("COPY a b", True),
        ("ADD a b", True),
        ("COPY --chown=1 --from=x a b", False),
        ("RUN --mount=type=bind,target=/x ls", True),
        ("RUN --mount=target=/x ls", True),
        ("RUN --mount=type=bind,from=x,target=/x ls", False),
        ("RUN --mount=type=cache,target=/x ls", False),
        ("RUN --mount=type=secret,id=x ls", False),
    ],
)
def test_whether_the_context_matters_is_known(instruction: str, copies: bool) -> None:
    assert uses_of(f"FROM a\n{instruction}\n", build_args={})[1] is copies


def test_the_lowest_layers_are_those_of_the_first_image_below_the_target() -> None:
    text = "FROM a AS one\nFROM one AS two\nCOPY --from=b / /\nFROM c\n"
    assert begins_with(text, build_args={}, target="two") == "a"
    assert begins_with(text, build_args={}) == "c"
    assert begins_with("FROM scratch\nCOPY --from=b / /\n", build_args={}) == ""


def test_a_language_of_somebody_else_is_left_alone() -> None:
    assert uses_of("# syntax=acme/other:1\nUSE python\n", build_args={}) == ((), True)
    assert images("# syntax=docker/dockerfile:1\nFROM a\n".strip()) == ["a"]
    assert images("FROM docker-archive:/x.tar\nRUN true\n") == [""]  # a place that Buildah knows


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("RUN true\n", {}, "has no `FROM`"),
        ("ARG X\nFROM $X\n", {}, "line 2 of the Dockerfile `Dockerfile` names no image: `FROM $X`"),
        ("FROM\n", {}, "names no image"),
        ("FROM a\nRUNN b\n", {}, "line 2: unknown instruction: RUNN"),
        ("FROM a\nRUN <<EOF\nb\n", {}, "unterminated heredoc"),
        ("FROM a AS builder\n", {"target": "bilder"}, "did you mean `builder`?"),
    ],
)
def test_what_cannot_be_built_is_told_before_an_engine_is_asked(
    text: str, options: dict[str, str], told: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        uses_of(text, build_args={}, **options)
    assert told in str(caught.value)
