"""Options: known names, checked values, and the order in which they win."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import tilth
from tilth import Environment, Materializer, Resources, Retry
from tilth.define.options import PIPELINE, STEP, PipelineOptions, StepOptions, checked
from tilth.errors import DefinitionError, UnknownOption

Project = Any  # see conftest.py


class Nothing(Materializer):
    pass


class Written(Materializer):
    types = (set,)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("cahce", "did you mean `cache`?"),
        ("enviroment", "did you mean `environment`?"),
        ("time_out", "did you mean `timeout`?"),
        ("retries", "did you mean `retry`?"),
        ("resource", "did you mean `resources`?"),
        ("materializer", "did you mean `materializers`?"),
        ("enable_cache", "here that is `cache=…`"),
        ("output_materializers", "here that is `materializers=[…]`"),
        ("experiment_tracker", "here that is `log_metadata(…)` in the step to record metrics"),
        ("xyzzy", "known: `cache`, `environment`, "),
    ],
)
def test_an_unknown_option_names_the_one_meant(given: str, hint: str) -> None:
    for kind, known in (("step", STEP), ("pipeline", PIPELINE)):
        with pytest.raises(UnknownOption, match=f"`{given}` is no option of a {kind}") as caught:
            checked(kind, known, {given: 1})
        assert caught.value.mend.startswith(hint)


def test_each_option_that_is_typed_is_checked() -> None:
    assert set(STEP) == set(StepOptions.__annotations__)
    assert set(PIPELINE) == set(PipelineOptions.__annotations__)


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("name", "train it", "train it"),
        ("environment", None, None),
        ("environment", Environment("x"), Environment("x")),
        ("cache", False, False),
        ("resources", Resources(cpu=2), Resources(cpu=2)),
        ("retry", 3, Retry(3)),
        ("retry", Retry(1), Retry(1)),
        ("timeout", "1m", 60),
        ("timeout", timedelta(seconds=5), 5),
        ("timeout", None, None),
        ("worker", "fresh", "fresh"),
        ("materializers", Written, (Written,)),
        ("materializers", [Written], (Written,)),
        ("tags", ["a", "b"], ("a", "b")),
        ("secrets", ["B", "A"], {"A": "A", "B": "B"}),
        ("secrets", {"HF_TOKEN": "hugging-face"}, {"HF_TOKEN": "hugging-face"}),
        ("extra", {"a": {1, 2}}, {"a": {1, 2}}),
    ],
)
def test_a_right_value_is_taken_in_normal_form(name: str, value: Any, normal: Any) -> None:
    assert checked("step", STEP, {name: value}) == {name: normal}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""), ("name", "a/b"), ("name", "a:b"), ("name", 3), ("name", "a\nb"),
        ("environment", "training"), ("environment", ["pandas"]), ("environment", {"name": "x"}),
        ("cache", None), ("cache", 1), ("resources", {"cpu": 1}), ("resources", 2), ("retry", True), ("retry", "3"),
        ("timeout", 0), ("timeout", "soon"), ("timeout", -1), ("worker", "cold"),
        ("materializers", Nothing), ("materializers", [int]), ("materializers", "Written"),
        ("tags", "weekly"), ("tags", [1]), ("secrets", "TOKEN"), ("secrets", ["hugging-face"]),
        ("secrets", {"TOKEN": "a b"}), ("secrets", 3), ("extra", []), ("extra", {1: 2}), ("extra", {"a": object()}),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_to_write(name: str, value: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        checked("step", STEP, {name: value})
    assert caught.value.mend
    assert f"`{name}" in caught.value.summary or name in ("materializers", "timeout", "retry")


def test_a_failure_mode_is_one_of_three() -> None:
    assert checked("pipeline", PIPELINE, {"failure_mode": "fail_fast"}) == {"failure_mode": "fail_fast"}
    with pytest.raises(DefinitionError) as caught:
        tilth.pipeline(failure_mode="failfast")
    assert caught.value.mend == "did you mean `fail_fast`?"


OPTIONS = """
@step(timeout=1, resources=Resources(cpu=3), extra={"a": (1,)}, tags=["one"])
def own(): ...

@step
def bare(): ...

@pipeline(timeout=2, retry=2, environment=Environment("base"), tags=["all"], failure_mode="continue", cache=False)
def flow():
    bare()
    own.with_options(timeout=None, environment=None)()
    own.with_options(name="renamed", environment=Environment("other", python="3.12"))()
    bare.with_options(environment=Environment("base"))()
"""


def test_the_step_wins_over_the_pipeline_and_that_over_the_project(project: Project) -> None:
    module = project.load(OPTIONS)
    compiled = project.compiled(
        module.flow,
        project={
            "timeout": "3s",
            "worker": "fresh",
            "retry": {"max_retries": 7},
            "resources": {"memory": "1KiB"},
        },
    )
    found = {each.id: (each.timeout_s, each.environment, each.worker) for each in compiled.nodes}
    assert found == {
        "bare": (2, "base", "fresh"),
        "own": (None, None, "fresh"),
        "renamed": (1, "other", "fresh"),
        "bare_2": (2, "base", "fresh"),
    }
    assert {each.retry["max_retries"] for each in compiled.nodes} == {2}
    assert compiled.node("bare").resources == {"cpu": 1, "memory": 1024, "gpu": 0}
    assert compiled.node("own").resources == {"cpu": 3, "memory": None, "gpu": 0}
    assert compiled.node("own").tags == ("one",)
    assert compiled.node("own").extra == {"a": {"$tuple": [1]}}
    assert not compiled.node("own").cache
    assert compiled.tags == ("all",)
    assert compiled.failure_mode == "continue"
    assert compiled.environments == {"base": {"name": "base"}, "other": {"name": "other", "python": "3.12"}}


def test_two_environments_of_one_name_must_be_the_same(project: Project) -> None:
    module = project.load(OPTIONS.replace('Environment("other", ', 'Environment("base", '))
    with pytest.raises(DefinitionError, match="two environments of pipeline `flow` are named `base`"):
        project.compiled(module.flow)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cahce": True}, "`cahce` is no option of a project"),
        ({"name": "x"}, "`name` is no option of a project"),
        ({"environment": {"requirments": []}}, "`Environment` has no option `requirments`"),
        ({"environment": "training"}, "`environment` is `'training'`"),
        ({"resources": {"memry": 1}}, "`Resources` has no option `memry`"),
        ({"resources": {"memory": "lots"}}, "`lots` is no amount of memory"),
        ({"retry": {"tries": 1}}, "`Retry` has no option `tries`"),
        ({"timeout": "x"}, "`x` is no timeout"),
    ],
)
def test_a_wrong_option_of_the_project_is_told(project: Project, given: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        project.compiled(project.load(OPTIONS).flow, project=given)


def test_the_project_declares_an_environment_for_all(project: Project) -> None:
    module = project.load("\n@pipeline\ndef flow(): tell()")
    compiled = project.compiled(module.flow, project={"environment": {"requirements": ["numpy<3"]}})
    assert compiled.node("tell").environment == "project"
    assert compiled.environments["project"] == {"name": "project", "requirements": ["numpy<3"]}


SECRETS = """
env = Environment("env", secrets=["TOKEN", "KEY"], variables={"MODE": "x"})

@step(secrets={"TOKEN": "mine"}, environment=env)
def own(): ...

@step(environment=env)
def bare(): ...

@pipeline(secrets=["ALL"])
def flow():
    own()
    bare()
    bare.with_options(environment=None)()
    bare.with_options(environment=None, secrets=[])()
"""


def test_a_step_has_its_own_secrets_and_those_of_its_environment(project: Project) -> None:
    compiled = project.compiled(project.load(SECRETS).flow)
    assert {each.id: each.secrets for each in compiled.nodes} == {
        "own": {"KEY": "KEY", "TOKEN": "mine"},
        "bare": {"ALL": "ALL", "KEY": "KEY", "TOKEN": "TOKEN"},
        "bare_2": {"ALL": "ALL"},
        "bare_3": {},
    }


def test_a_variable_is_a_secret_or_has_a_value_and_not_both(project: Project) -> None:
    module = project.load(SECRETS.replace('secrets=["ALL"]', 'secrets=["MODE"]'))
    with pytest.raises(
        DefinitionError, match="variable `MODE` of step `bare` is a secret, and also declared"
    ):
        project.compiled(module.flow)
