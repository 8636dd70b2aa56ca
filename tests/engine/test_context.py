"""What a step may say, ask and keep while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.records import Artifact, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.play import Played, Project

TALKING = """
    import threading
    from typing import Annotated

    from tilth import (
        Artifact, Client, get_step_context, load_artifact, log_metadata, pipeline, save_artifact, step,
    )


    @step(tags=["nightly"], extra={"unit": "m"})
    def facts() -> dict:
        context = get_step_context()
        return {
            "run": context.run_name,
            "pipeline": context.pipeline,
            "step": context.step,
            "attempt": context.attempt,
            "index": context.index,
            "parameters": context.parameters,
            "extra": context.extra,
            "tags": context.tags,
        }


    @step
    def talks() -> tuple[
        Annotated[float, Artifact("accuracy", version="best", tags=["metric"])], Annotated[int, "count"]
    ]:
        log_metadata({"rows": 10, "nested": {"list": [1, 2.5, None]}})
        log_metadata({"rows": 11})
        log_metadata({"fold": 3}, output="count")
        log_metadata({"overall": True}, run=True)
        return 0.5, 3


    @step
    def saves(ready: float) -> int:
        save_artifact({"epoch": 1}, "checkpoint", tags=["early"], metadata={"loss": 0.5})
        save_artifact({"epoch": 2}, "checkpoint")
        return 1


    @step
    def loads(saved: int) -> list:
        client = Client()
        run = client.get_run(get_step_context().run_name)
        artifact = client.get_artifact("accuracy")
        return [
            load_artifact("checkpoint", 1),
            load_artifact("accuracy"),
            run.pipeline,
            artifact.version,
            [each.name for each in client.find_runs()],
        ]


    @step
    def asks_from_threads(saved: int) -> list:
        found = [None] * 8
        def ask(place):
            found[place] = Client().get_artifact("accuracy").version
        threads = [threading.Thread(target=ask, args=[place]) for place in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return found


    @step
    def asks_for_nothing() -> str:
        try:
            Client().get_run("nothing-1")
        except Exception as error:
            return f"{type(error).__name__}: {error.summary}"


    @step
    def saves_and_fails() -> int:
        log_metadata({"reached": 3})
        save_artifact([1, 2], "diagnosis")
        raise ValueError("after saving")


    @step
    def names_no_output() -> int:
        log_metadata({"a": 1}, output="outptu")
        return 1


    @step
    def says_what_json_cannot_hold() -> int:
        log_metadata({"a": object()})
        return 1


    @pipeline(failure_mode="continue", tags=["weekly"])
    def talking(alpha: float = 0.25):
        facts()
        accuracy, _ = talks()
        saved = saves(accuracy)
        loads(saved)
        asks_from_threads(saved)
        asks_for_nothing()
        saves_and_fails()
        names_no_output()
        says_what_json_cannot_hold()
"""


@pytest.fixture(scope="module")
def talking(make_project: Callable[[str], Project]) -> tuple[Project, Played]:
    project = make_project(TALKING)
    return project, project.run()


def test_a_step_knows_where_it_runs(talking: tuple[Project, Played]) -> None:
    project, played = talking
    assert project.load("facts") == {
        "run": "talking-1",
        "pipeline": "talking",
        "step": "facts",
        "attempt": 1,
        "index": None,
        "parameters": {"alpha": 0.25},
        "extra": {"unit": "m"},
        "tags": played.steps["facts"].tags,
    }
    assert "nightly" in played.steps["facts"].tags
    assert played.run.tags == ("weekly",)


def test_metadata_is_kept_beside_the_step_its_output_or_the_run(talking: tuple[Project, Played]) -> None:
    project, played = talking
    assert played.steps["talks"].metadata == {"rows": 11, "nested": {"list": [1, 2.5, None]}}
    assert project.records(Run)[0].metadata == {"overall": True}
    count = next(each for each in project.artifacts() if each.step == "talks" and each.output == "count")
    assert count.metadata["fold"] == 3


def test_an_output_has_the_name_version_and_tags_it_declares(talking: tuple[Project, Played]) -> None:
    project, _ = talking
    (found,) = project.records(Artifact, name="accuracy")
    assert found.version == 1
    assert set(found.tags) == {"metric", "best"}
    assert found.output == "accuracy"


def test_artifacts_saved_by_hand_are_kept_beside_the_outputs(talking: tuple[Project, Played]) -> None:
    project, played = talking
    first, second = project.records(Artifact, name="checkpoint")
    assert (first.version, second.version) == (1, 2)
    assert first.tags == ("early",)
    assert first.metadata["loss"] == 0.5
    assert first.step_run == played.steps["saves"].id


def test_a_step_loads_artifacts_and_asks_about_its_own_run(talking: tuple[Project, Played]) -> None:
    project, _ = talking
    assert project.load("loads") == [{"epoch": 1}, 0.5, "talking", 1, ["talking-1"]]


def test_threads_of_a_step_may_ask_at_once(talking: tuple[Project, Played]) -> None:
    assert talking[0].load("asks_from_threads") == [1] * 8


def test_an_error_of_the_supervisor_is_raised_in_the_step(talking: tuple[Project, Played]) -> None:
    assert talking[0].load("asks_for_nothing") == "NotFound: there is no run `nothing-1`"


def test_what_a_failed_step_said_and_saved_is_kept(talking: tuple[Project, Played]) -> None:
    project, played = talking
    assert played.states["saves_and_fails"] == "failed"
    assert played.steps["saves_and_fails"].metadata == {"reached": 3}
    (found,) = project.records(Artifact, name="diagnosis")
    with project.at_home():
        from tilth.runtime.client import Client

        assert Client().get_artifact(found.name).load() == [1, 2]


def test_metadata_that_cannot_be_kept_is_refused(talking: tuple[Project, Played]) -> None:
    _, played = talking
    typo, unknown = (
        played.steps["names_no_output"].failure,
        played.steps["says_what_json_cannot_hold"].failure,
    )
    assert typo is not None
    assert unknown is not None
    assert "has no output `outptu`" in typo.message
    assert "did you mean `output`?" in typo.mend
    assert "metadata `a` is a `object`" in unknown.message
