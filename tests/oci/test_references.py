from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st

from tilth.errors import DefinitionError
from tilth.oci.references import Reference, check_host, check_repository, parse

DIGEST = "sha256:" + "a" * 64

part = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,2})[a-z0-9]{1,8}){0,2}", fullmatch=True)
registries = st.sampled_from(
    ["docker.io", "ghcr.io", "localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "Host"]
)
references = st.builds(
    Reference,
    registries,
    st.lists(part, min_size=2, max_size=4).map("/".join),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.sampled_from(["", DIGEST]),
)


@given(references)
def test_what_is_written_out_reads_back_equal(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_explained(text: str) -> None:
    with contextlib.suppress(DefinitionError):
        found = parse(text)
        assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11", "docker.io/library/python:3.11"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("ghcr.io/o/a@" + DIGEST, "ghcr.io/o/a@" + DIGEST),
        ("python:3.11@" + DIGEST, "docker.io/library/python:3.11@" + DIGEST),
    ],
)
def test_short_names_are_filled_in_as_docker_does(text: str, meant: str) -> None:
    assert str(parse(text)) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Team/App:1", "write `app`"),  # Docker takes a first part with capitals for a registry
        ("ghcr.io/Team/app", "write `team/app`"),
        ("app:" + "x" * 129, "up to 128"),
        ("ghcr.io/team/app:", "nothing comes after the `:`"),
        ("https://ghcr.io/a/b", "leave `https://` out"),
        ("app@sha256:12", "64 hexadecimal digits"),
        ("app@sha512:" + "a" * 128, "64 hexadecimal digits"),
        ("", "is not the name of a repository"),
        ("ghcr.io/" + "a" * 256, "more than 255"),
        ("ghcr.io/../etc", "is not the name of a repository"),
    ],
)
def test_a_wrong_name_says_which_part_is_wrong(text: str, told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("host", ["ghcr.io", "localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000"])
def test_a_host_of_a_registry_is_taken(host: str) -> None:
    assert check_host(host) == host


def test_docker_hub_has_one_name() -> None:
    assert check_host("index.docker.io") == "docker.io"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "ghcr",
        "foo bar",
        "localhost:abc",
        "oci:",
        "http:",
        "..",
        "127.0.0.1:99999",
        "ünï.example",
        "a" * 10_000,
    ],
)
def test_what_is_no_host_of_a_registry_is_told(host: str) -> None:
    with pytest.raises(DefinitionError, match="is not the host of a registry") as caught:
        check_host(host)
    assert len(str(caught.value)) < 400


def test_a_password_in_a_host_is_not_shown() -> None:
    with pytest.raises(DefinitionError) as caught:
        check_host("me:hunter2@ghcr.io")
    assert "hunter2" not in str(caught.value)
    assert "docker login" in caught.value.mend


def test_a_repository_alone_is_not_called_an_image() -> None:
    with pytest.raises(DefinitionError) as caught:
        check_repository("Team/App")
    assert caught.value.summary == "`Team/App` is not the name of a repository"
    assert caught.value.mend == "write `team/app`"
    with pytest.raises(DefinitionError, match="more than 255") as caught:
        check_repository("a" * 10_000)
    assert len(str(caught.value)) < 400
