"""What environments say of containers: inert values, and no two answers to one question."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies

from tilth import Environment
from tilth.errors import DefinitionError, UnknownOption

DIGEST = "sha256:" + "0" * 64
WORDS = strategies.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
IMAGES = strategies.sampled_from(
    [None, "python:3.12-slim", f"localhost:5000/a/b@{DIGEST}", "oci:a b", "docker:x:1"]
)
ON_A_BASE = strategies.fixed_dictionaries(
    {},
    optional={
        "base_image": IMAGES,
        "system_packages": strategies.lists(WORDS, max_size=3),
        "user": strategies.sampled_from([None, "1000", "1000:1000", "app"]),
        "labels": strategies.none() | strategies.dictionaries(WORDS, WORDS, max_size=2),
        "working_directory": strategies.sampled_from([None, "/", "/srv/a b"]),
        "bytecode": strategies.sampled_from([None, True, False]),
        "platform": strategies.sampled_from([None, "linux/amd64", "linux/arm64", "linux/arm/v7"]),
    },
)
WITH_DOCKERFILE = strategies.fixed_dictionaries(
    {"dockerfile": strategies.just("docker/Dockerfile")},
    optional={
        "build_args": strategies.dictionaries(
            strategies.sampled_from(["A", "B"]), strategies.text(" a=", max_size=3)
        ),
        "build_context": strategies.sampled_from([None, "docker"]),
        "build_target": strategies.sampled_from([None, "runtime"]),
        "build_secrets": strategies.lists(WORDS, max_size=2)
        | strategies.dictionaries(WORDS, WORDS, max_size=2),
        "system_packages": strategies.lists(WORDS, max_size=3),
    },
)


@given(ON_A_BASE | WITH_DOCKERFILE)
def test_options_of_containers_are_read_back_equal(options: dict[str, Any]) -> None:
    environment = Environment("x", requirements=["a"], **options)
    assert Environment.from_json(json.loads(json.dumps(environment.to_json()))) == environment
    assert pickle.loads(pickle.dumps(environment)) == environment
    assert copy.deepcopy(environment) == environment
    assert environment.with_options() == environment
    assert (
        environment.with_options(**dict.fromkeys(("labels", "user", "bytecode")))
        .to_json()
        .keys()
        .isdisjoint(("labels", "user", "bytecode"))
    )


def test_secrets_of_a_build_are_named_alone_or_by_id() -> None:
    alone = Environment("x", dockerfile="Dockerfile", build_secrets=["netrc"])
    assert alone == Environment("x", dockerfile="Dockerfile", build_secrets={"netrc": "netrc"})
    by_id = Environment("x", dockerfile="Dockerfile", build_secrets={"netrc": "company-netrc"})
    assert by_id.to_json()["build_secrets"] == {"netrc": "company-netrc"}


def test_bytecode_that_is_declined_differs_from_bytecode_that_is_not_mentioned() -> None:
    assert Environment("x", bytecode=False) != Environment("x")
    assert Environment("x", bytecode=False).to_json()["bytecode"] is False


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_image": ""}, "names no image"), ({"base_image": 3}, "names no image"),
        ({"base_image": "python :3"}, "names no image"), ({"base_image": "--privileged"}, "names no image"),
        ({"base_image": "docker://python:3.12"}, 'write "python:3.12"'), ({"image": "a@sha256:12"}, "names no image"),
        ({"base_image": "oci:"}, "names no image"),
        ({"system_packages": "git"}, 'write `system_packages='), ({"system_packages": ["git curl"]}, "no name"),
        ({"system_packages": ["-y"]}, "no name"), ({"system_packages": ["a; rm -rf /"]}, "no name"),
        ({"system_packages": ["$(id)"]}, "no name"), ({"system_packages": ["../x.deb"]}, "no name"),
        ({"user": 1000}, '"1000:1000"'), ({"user": "a b"}, '"1000:1000"'), ({"user": ""}, '"1000:1000"'),
        ({"working_directory": "srv"}, "begins with a slash"), ({"labels": {"a": 1}}, "labels"),
        ({"labels": "a"}, "labels"), ({"bytecode": "yes"}, "True or False"),
        ({"platform": "linux/aarch64"}, "calls that architecture `arm64`".replace("calls", "call")),
        ({"platform": "arm64"}, "linux/arm64"),
        ({"dockerfile": 3}, "not a path"), ({"dockerfile": "D", "build_args": {"A B": "1"}}, "cannot be set"),
        ({"dockerfile": "D", "build_args": {"A": 1}}, "not text"), ({"dockerfile": "D", "build_args": "A"}, "mapping"),
        ({"dockerfile": "D", "build_args": {"A": "https://me:hunter2@example.org"}}, "password"),
        ({"dockerfile": "D", "build_secrets": "a"}, "not a list"),
        ({"dockerfile": "D", "build_secrets": ["a,src=/etc/shadow"]}, "no name for a secret"),
        ({"dockerfile": "D", "build_target": ""}, "not text"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Environment("x", **options)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"image": "a", "requirements": ["b"]}, "`requirements`"), ({"image": "a", "lock": "uv.lock"}, "`lock`"),
        ({"image": "a", "groups": ["b"]}, "`groups`"), ({"image": "a", "python": "3.12"}, "`python`"),
        ({"image": "a", "dockerfile": "D"}, "`dockerfile`"), ({"image": "a", "base_image": "b"}, "`base_image`"),
        ({"image": "a", "system_packages": ["b"]}, "base_image='a'"), ({"image": "a", "bytecode": False}, "`bytecode`"),
        ({"image": "a", "source": "client"}, "`source`"),
        ({"dockerfile": "D", "base_image": "b"}, "FROM $BASE"),
        ({"build_args": {"A": "1"}}, "no `dockerfile`"), ({"build_context": "."}, "no `dockerfile`"),
        ({"build_target": "x"}, "no `dockerfile`"), ({"build_secrets": ["x"]}, "no `dockerfile`"),
    ],
)  # fmt: skip
def test_two_answers_to_one_question_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Environment("x", **options)
    assert told in str(caught.value)
    assert caught.value.mend


def test_a_ready_image_may_be_run_as_somebody_with_variables() -> None:
    options = {
        "image": "a",
        "user": "1000",
        "working_directory": "/srv",
        "variables": {"A": "1"},
        "secrets": ["B"],
        "platform": "linux/arm64",
    }
    declared = Environment("x", **options).to_json()
    assert {name: declared[name] for name in options if name != "secrets"} == {
        name: value for name, value in options.items() if name != "secrets"
    }
    assert "B" in declared["secrets"]


def test_a_misspelt_option_names_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="baseimage") as caught:
        Environment("x", baseimage="python:3.12")  # type: ignore[arg-type]
    assert caught.value.mend == "did you mean `base_image`?"
