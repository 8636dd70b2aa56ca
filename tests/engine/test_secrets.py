"""Steps get the secrets they declare, and nothing that is written or shown has one of their values."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.conftest import TILTH

from tilth.errors import SetupError
from tilth.secrets import open_secrets

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.play import Played, Project

    from tilth.client.plan import Plan

PASSWORD = 'correct horse/"battery"+staple'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n"
VALUES = [PASSWORD, *KEY.splitlines()[1:2]]


@pytest.fixture
def kept(project: Project) -> Project:
    secrets = open_secrets(project.home)
    secrets.set("db-password", PASSWORD)
    secrets.set("KEY", KEY)
    return project


TALKATIVE = """
    import os, sys, json, base64, logging
    from urllib.parse import quote
    from typing import Annotated
    from tilth import pipeline, step, log_metadata, save_artifact, Client

    logging.basicConfig(level="INFO")

    @step(secrets={"PASSWORD": "db-password", "KEY": "KEY"})
    def talk() -> int:
        password, key = os.environ["PASSWORD"], os.environ["KEY"]
        print("the password is", password)
        sys.stderr.write("on stderr " + password + "\\n")
        print(repr(password), json.dumps(password), quote(password, safe=""))
        for text in (f"user:{password}", password):
            print("Basic", base64.b64encode(text.encode()).decode())
        print(key)
        logging.getLogger("mine").info("logged %s", password)
        for letter in password:
            print(letter, end="")
        print()
        print("last line without an end:", password, end="")
        log_metadata({"url": f"db://u:{quote(password, safe='')}@host", password: [1, {"in": password}]})
        log_metadata({"run": password}, run=True)
        save_artifact(1, "saved", tags=[password], metadata={"by": password})
        return len(password)

    @step(secrets={"PASSWORD": "db-password"})
    def fail(length: int):
        password = os.environ.pop("PASSWORD")
        assert length == len(password)
        print("goes down with", password)
        try:
            raise KeyError(password)
        except KeyError as error:
            raise RuntimeError(f"cannot log in with {password}") from error

    @pipeline(failure_mode="continue")
    def talkative():
        fail(talk())
"""


def everything_written(*folders: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() + str(path).encode()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def writings(value: str) -> list[bytes]:
    """How a value may have been written."""
    data = value.encode()
    texts = [value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value), quote(value, safe="")]
    texts += [base64.b64encode(data).decode(), base64.b64encode(data[1:19]).decode()]
    return [each.encode() for each in texts]


def assert_nowhere(written: dict[str, bytes]) -> None:
    found = [
        (name, each)
        for name, content in written.items()
        for value in VALUES
        for each in writings(value)
        if each in content
    ]
    assert found == []


def tilth(project: Project, *arguments: str, code: int | None = 0) -> str:
    """The real command; what it printed on both streams."""
    done = subprocess.run(
        [TILTH, *arguments],
        cwd=project.folder,
        env={**os.environ, "TILTH_HOME": str(project.home.root), "TILTH_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert code is None or done.returncode == code, printed
    return printed


@pytest.mark.parametrize("how", ["workers", "in process"])
def test_no_secret_is_written_or_shown_anywhere(kept: Project, secrets_key: Path, how: str) -> None:
    kept.write(TALKATIVE)
    options = ["--in-process"] if how == "in process" else []
    printed = {"run": tilth(kept, "run", "pipeline.py", *options, "--traceback", code=1)}
    assert "the password is ***" in printed["run"]
    assert "cannot log in with ***" in printed["run"]
    assert "INFO:mine:logged ***" in printed["run"]
    assert "last line without an end: ***" in printed["run"]
    for arguments in (
        ["runs", "show", "talkative-1"],
        ["runs", "show", "talkative-1", "--json"],
        ["runs", "logs", "talkative-1"],
        ["runs", "logs", "talkative-1", "--json"],
        ["runs", "list", "--json"],
        ["artifacts", "list", "--json"],
        ["artifacts", "show", "saved", "--json"],
        ["secret", "list", "--json"],
        ["settings"],
    ):
        printed[" ".join(arguments)] = tilth(kept, *arguments)
    before = everything_written(kept.home.root)
    failed = [name for name in before if name.endswith("fail.1/result.json")]
    assert len(failed) == 1  # it is looked at, and not only gone
    assert b"cannot log in with ***" in before[failed[0]]
    if how == "workers":
        assert "the password is ***" in printed["runs logs talkative-1"]
    kept.write(TALKATIVE.replace("raise KeyError(password)", "return"))
    printed["resume"] = tilth(kept, "runs", "resume", "talkative-1", code=1)
    assert "goes down with ***" in printed["resume"] or how == "in process"
    printed["again"] = tilth(kept, "run", "pipeline.py", *options)
    # The databases' write-ahead logs too, and the folders of the failed attempts.
    written = everything_written(kept.home.root, kept.folder)
    assert len(written) > 10
    assert_nowhere({**before, **written, **{name: text.encode() for name, text in printed.items()}})
    assert secrets_key.exists()


def steps_of(played: Played) -> dict[str, str]:
    return {name: each.state.value for name, each in played.steps.items()}


PLAIN = """
    import os
    from tilth import Environment, pipeline, step

    @step(secrets=["KEY"])
    def with_secret() -> str:
        return str(os.environ.get("KEY", "none").count("MIIE"))

    @step
    def without(given: str) -> str:
        return os.environ.get("KEY", "none") + given

    @pipeline
    def plain():
        without(with_secret())
"""


@pytest.mark.parametrize("options", [[], ["--in-process"]])
def test_only_the_step_that_declares_a_secret_has_it(kept: Project, options: list[str]) -> None:
    kept.write(PLAIN)
    tilth(kept, "run", "pipeline.py", *options)
    assert kept.load("with_secret") == "1"
    assert kept.load("without") == "none1"


def test_a_missing_secret_is_told_before_anything_is_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(PLAIN)
    monkeypatch.setenv("KEY", "of the process")
    with pytest.raises(SetupError) as caught:
        project.run()
    assert str(caught.value).splitlines() == [
        "step `with_secret` needs secret `KEY`, which is not set",
        "  the variable `KEY` that this process has is not taken for it: a step gets what was declared and kept",
        "  hint: `tilth secret set KEY` sets it",
    ]
    assert not (project.home.runs).exists()
    assert not (project.home.bundles).exists()


def test_a_plan_warns_of_a_missing_secret_and_needs_no_value(project: Project, secrets_key: Path) -> None:
    from tilth.client import submit
    from tilth.client.driving import RunOptions

    project.write(PLAIN)

    def plan() -> Plan:
        with project.at_home():
            return submit.plan_file("pipeline.py", {}, RunOptions(python=sys.executable))

    assert plan().warnings == (
        "step `with_secret` needs secret `KEY`, which is not set: `tilth secret set KEY`",
    )
    open_secrets(project.home).set("KEY", KEY)
    secrets_key.unlink()
    assert plan().warnings == ()


def test_a_secret_that_cannot_be_read_names_the_step(kept: Project, secrets_key: Path) -> None:
    kept.write(PLAIN)
    secrets_key.unlink()
    with pytest.raises(SetupError, match="its key is not here") as caught:
        kept.run()
    assert "step `with_secret` needs it" in caught.value.why


def test_a_new_value_is_no_reason_to_run_again_and_another_name_is(kept: Project) -> None:
    kept.write(PLAIN)
    first = kept.run()
    open_secrets(kept.home).set("KEY", "another")
    assert steps_of(kept.run()) == {"with_secret": "cached", "without": "cached"}
    kept.write(PLAIN.replace('secrets=["KEY"]', 'secrets={"KEY": "db-password"}'))
    third = kept.run()
    assert third.steps["with_secret"].state.value == "completed"
    assert "secret `KEY` changed" in third.steps["with_secret"].cache_reason
    assert first.steps["with_secret"].cache_parts["secret `KEY`"] == "KEY"


def test_a_resumed_run_gives_a_step_its_secret_as_it_is_now(kept: Project) -> None:
    source = """
        import os
        from pathlib import Path
        from tilth import pipeline, step

        @step(secrets={"LOGIN": "db-password"})
        def use() -> int:
            print("login with", os.environ["LOGIN"])
            if os.environ["LOGIN"] != "the new one":
                raise ValueError("wrong password " + os.environ["LOGIN"])
            return 1

        @pipeline
        def login():
            use()
    """
    kept.write(source)
    failed = kept.run()
    assert failed.run.failure is not None
    assert failed.run.failure.message == "step `use`: wrong password ***"
    open_secrets(kept.home).set("db-password", "the new one")
    resumed = kept.resume(failed.run.name)
    assert resumed.states == {"use": "completed"}
    assert resumed.lines("use") == ["login with ***"]
    open_secrets(kept.home).delete("db-password")
    kept.write(source.replace("return 1", "return 2").replace('"the new one"', '"a newer one"'))
    with pytest.raises(SetupError, match="step `use` needs secret `db-password`"):
        kept.run()


def test_a_secret_that_came_from_another_step_is_hidden_too(kept: Project) -> None:
    kept.write("""
        import os
        from tilth import pipeline, step, log_metadata

        @step(secrets={"PASSWORD": "db-password"})
        def give() -> str:
            return os.environ["PASSWORD"]

        @step
        def tell(given: str) -> int:
            print("given", given)
            log_metadata({"given": given})
            raise ValueError(given)

        @pipeline
        def handed():
            tell(give())
    """)
    played = kept.run()
    step = played.steps["tell"]
    assert step.metadata == {"given": "***"}
    assert step.failure is not None
    assert (step.failure.message, "horse" in step.failure.traceback) == ("***", False)
    assert played.lines("tell") == ["given ***"]
    assert "horse" not in str(played.told)


def test_items_of_a_mapped_step_have_the_secret_and_tell_nothing(kept: Project) -> None:
    kept.write("""
        import os
        from tilth import pipeline, step

        @step(secrets={"PASSWORD": "db-password"})
        def each(number: int) -> int:
            print(os.environ["PASSWORD"])
            if number == 2:
                raise ValueError(os.environ["PASSWORD"])
            return len(os.environ["PASSWORD"])

        @pipeline
        def mapped():
            each.map([1, 2, 3])
    """)
    played = kept.run()
    assert "horse" not in str(played.told) + str(played.records)
    assert set(played.lines("each")) == {"***"}


def test_a_worker_is_not_shared_with_steps_that_have_other_secrets(kept: Project) -> None:
    kept.write("""
        import os
        from tilth import pipeline, step

        @step(secrets={"PASSWORD": "db-password"})
        def one() -> int:
            return os.getpid()

        @step(secrets={"PASSWORD": "db-password"})
        def same(before: int) -> int:
            return os.getpid()

        @step(secrets=["KEY"])
        def other(before: int) -> int:
            return os.getpid()

        @step
        def none(before: int) -> int:
            return os.getpid()

        @pipeline
        def shared():
            none(other(same(one())))
    """)
    kept.run(cache=False)
    pids = {name: kept.load(name) for name in ("one", "same", "other", "none")}
    assert pids["one"] == pids["same"]
    assert len(set(pids.values())) == 3


def test_an_environment_gives_its_secrets_to_its_steps(kept: Project, only_the_index: None) -> None:
    kept.write("""
        import os
        from tilth import Environment, pipeline, step

        env = Environment("own", requirements=["beta"], secrets={"PASSWORD": "db-password"})

        @step(environment=env, secrets=["KEY"])
        def both() -> list:
            print(os.environ["PASSWORD"])
            return sorted(name for name in os.environ if name in ("PASSWORD", "KEY"))

        @pipeline
        def flow():
            both()
    """)
    played = kept.run()
    assert kept.load("both") == ["KEY", "PASSWORD"]
    assert played.lines("both") == ["***"]
    assert_nowhere(everything_written(kept.home.root))
