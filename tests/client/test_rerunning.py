"""Past steps run again on this terminal, and past runs as new ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.client.test_entering import on_a_terminal
from tests.conftest import TILTH

from tilth.client.bundle import bundle_path
from tilth.environments.files import remove_tree
from tilth.records import Run, State, StepRun

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import Past


@pytest.mark.parametrize("wanted", ["flow-1/load", "flow-1/train", "flow-1/score[1]", "flow-1/total"])
def test_a_step_is_run_again_and_compared(shared_past: Past, wanted: str) -> None:
    said = shared_past.tilth("runs", "rerun", wanted, "--local")
    assert said.stdout == ("training with alpha 1.0\n" if "train" in wanted else "")
    assert said.stderr == f"step {wanted}: completed\noutput output: same as recorded\n"


def test_nothing_is_left_behind_or_recorded(shared_past: Past) -> None:
    before = len(shared_past.records(StepRun)), len(shared_past.records(Run))
    shared_past.tilth("runs", "rerun", "flow-1/train")
    assert (len(shared_past.records(StepRun)), len(shared_past.records(Run))) == before
    assert list((shared_past.home.cache / "reruns").iterdir()) == []


def test_a_step_that_failed_fails_again_as_recorded(shared_past: Past) -> None:
    said = shared_past.tilth("runs", "rerun", "flow-2/train", code=1)
    assert said.stdout == "training with alpha 1.0\n"
    assert "ValueError: factor 2.0 is too large for [1, 2, 3], as recorded\n" in said.stderr


def test_how_it_ended_is_told_as_json(shared_past: Past) -> None:
    told = shared_past.tilth("runs", "rerun", "flow-1/train", "--json").json
    digest = shared_past.step("flow-1", "train").outputs["output"].digest
    assert (told["step"], told["state"], told["recorded_state"]) == ("flow-1/train", "completed", "completed")
    assert told["outputs"] == {"output": {"digest": digest, "recorded": digest, "same": True}}
    failed = shared_past.tilth("runs", "rerun", "flow-2/train", "--json", code=1).json
    assert (failed["state"], failed["failure"]["type"], failed["outputs"]) == ("failed", "ValueError", {})


def test_a_kept_folder_can_be_changed_and_run_once_more(shared_past: Past, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    said = shared_past.tilth("runs", "rerun", "flow-2/train", "--keep", folder, code=1)
    assert f"it is in {folder}" in said.stderr
    code = folder / "code/pipeline.py"
    code.write_text(code.read_text().replace("factor > 1", "factor > 2"))
    done = subprocess.run([folder / "run"], capture_output=True, text=True, check=True)
    assert "output output: none is recorded, the step failed then" in done.stderr


def test_a_step_that_ends_its_process_is_told(past: Past) -> None:
    past.write(
        "dies.py",
        """
        import os
        from tilth import pipeline, step

        @step
        def dies():
            os._exit(5)

        @pipeline
        def dying():
            dies()
        """,
    )
    past.tilth("run", "dies.py", code=1)
    said = past.tilth("runs", "rerun", "dying-1/dies", code=1)
    assert "error: step `dying-1/dies` ended its process: exit code 5" in said.stderr


def test_a_step_may_ask_for_what_is_recorded(past: Past) -> None:
    past.write(
        "asks.py",
        """
        from tilth import Client, Environment, load_artifact, pipeline, step

        @step(environment=Environment("own", requirements=["alpha==1.0"], variables={"GREETING": "hello"}))
        def asks() -> list:
            return [Client().get_run("flow-1").state, load_artifact("flow/load/output")]

        @pipeline
        def asking():
            asks()
        """,
    )
    past.tilth("run", "asks.py")
    said = past.tilth("runs", "rerun", "asking-1/asks")
    assert said.stderr == "step asking-1/asks: completed\noutput output: same as recorded\n"


@pytest.mark.parametrize("stop", ["breakpoint", "failure"])
def test_the_debugger_works_on_a_terminal(past: Past, stop: str) -> None:
    if stop == "breakpoint":
        text = (past.folder / "pipeline.py").read_text()
        past.write(
            "pipeline.py", text.replace('    print("training', '    breakpoint()\n    print("training')
        )
        past.tilth("run", "pipeline.py", "--param", "factor=3", code=1)
        typed = [b"c\n", b"p 'at', factor\n", b"c\n", b"p 'post', factor\n", b"q\n"]
        run = "flow-3"
    else:
        typed = [b"p 'at', factor\n", b"c\n", b"p 'post', factor\n", b"q\n"]
        run = "flow-2"
    code, shown = on_a_terminal(
        past, ["runs", "rerun", f"{run}/train", "--debug"], [(b"(Pdb) ", each) for each in typed]
    )
    assert code == 1, shown
    factor = {"flow-2": "2.0", "flow-3": "3.0"}[run]
    assert f"('at', {factor})" in shown
    assert f"('post', {factor})" in shown
    # Where nobody sits at a terminal, a breakpoint ends the step.
    assert ("; recorded is BdbQuit" if stop == "breakpoint" else ", as recorded") in shown


def test_a_run_is_run_again_with_its_own_code_and_locks(past: Past) -> None:
    before = past.run("flow-1")
    said = past.tilth("runs", "rerun", "flow-1", "--local", "--no-cache")
    assert (
        "note: rerun of flow-1 with its code (it has not changed in the working tree) and its locks (own sha256:"
        in said.stderr
    )
    after = past.run("flow-3")
    assert after.state is State.COMPLETED
    assert after.options == {"cache": False, "rerun_of": "flow-1"}
    assert (after.bundle, after.environments, after.pipeline_digest, after.parameters) == (
        before.bundle,
        before.environments,
        before.pipeline_digest,
        before.parameters,
    )
    for step in ("load", "train", "score", "total"):
        then, now = past.step("flow-1", step), past.step("flow-3", step)
        assert now.state is State.COMPLETED
        assert {name: each.digest for name, each in now.outputs.items()} == {
            name: each.digest for name, each in then.outputs.items()
        }


def test_without_more_a_rerun_reuses_what_is_there(past: Past) -> None:
    past.tilth("runs", "rerun", "flow-1")
    assert {past.step("flow-3", step).state for step in ("load", "train", "score", "total")} == {State.CACHED}


def test_a_rerun_does_not_see_what_the_project_has_become(past: Past) -> None:
    past.write("helper.py", "def add(one, other):\n    raise SystemError\n")
    past.write("pipeline.py", "raise SystemError\n")
    remove_tree(past.home.environments)
    said = past.tilth("runs", "rerun", "flow-1", "--no-cache")
    assert "the working tree has changed since run `flow-1` was started" in said.stderr
    assert "rerun of flow-1 with its code (bundle sha256:" in said.stderr
    assert (
        past.step("flow-3", "total").outputs["output"].digest
        == past.step("flow-1", "total").outputs["output"].digest
    )


def test_a_rerun_of_a_failed_run_fails_again_and_can_be_resumed(past: Past) -> None:
    shutil.rmtree(past.folder)
    past.folder.mkdir()
    past.tilth("runs", "rerun", "flow-2", code=1)
    assert past.run("flow-3").state is State.FAILED
    assert past.step("flow-3", "train").failure.type == "ValueError"  # type: ignore[union-attr]
    past.tilth("runs", "resume", "flow-3", code=1)
    assert past.step("flow-3", "train").attempt == 2


def test_a_rerun_without_its_code_starts_nothing(past: Past) -> None:
    past.write("helper.py", "changed = 1\n")
    bundle_path(past.run("flow-1").bundle, past.home).unlink()
    folders = sorted(os.listdir(past.home.runs))
    assert "there is no code bundle" in past.tilth("runs", "rerun", "flow-1", code=1).stderr
    assert len(past.records(Run)) == 2
    assert sorted(os.listdir(past.home.runs)) == folders


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flow-1", "--debug"], "`--debug` is for one step\n  hint: name one: `flow-1/STEP`"),
        (["flow-1", "--keep", "there"], "`--keep` is for one step"),
        (["flow-1/train", "--no-cache"], "`--no-cache` is for a whole run\n  hint: name the run: `flow-1`"),
        (["flow-1/train", "--workers", "2"], "`--workers` is for a whole run"),
        (["flow-1/train", "--debug", "--json"], "`--debug` talks on standard output"),
    ],
)
def test_options_that_make_no_sense_are_a_misuse(shared_past: Past, arguments: list[str], said: str) -> None:
    assert said in shared_past.tilth("runs", "rerun", *arguments, code=2).stderr


def test_a_run_whose_interpreter_is_gone_is_not_rerun(past: Past) -> None:
    other = past.folder / "python"
    other.symlink_to(sys.executable)
    past.tilth("run", "pipeline.py", "--python", other, "--no-cache")
    other.unlink()
    said = past.tilth("runs", "rerun", "flow-3", code=1)
    assert "the interpreter that run `flow-3` was started with is gone" in said.stderr
    # An environment of tilth's has an interpreter of its own.
    past.tilth("runs", "rerun", "flow-3/train")


SECRET = "correct-horse-battery"


@pytest.fixture
def with_secret(past: Past) -> Past:
    """Run `secretive-1`, whose step was given a secret, printed it and failed with it."""
    past.write(
        "secretive.py",
        """
        import os
        from tilth import pipeline, step

        @step(secrets=["TOKEN"])
        def uses():
            print("the token is", os.environ["TOKEN"], flush=True)
            raise ValueError("bad token " + os.environ["TOKEN"])

        @pipeline
        def secretive():
            uses()
        """,
    )
    subprocess.run(
        [TILTH, "secret", "set", "TOKEN"], input=SECRET, text=True, check=True, capture_output=True,
        cwd=past.folder, env={**os.environ, **past.variables},
    )  # fmt: skip
    past.tilth("run", "secretive.py", code=1)
    return past


def test_a_step_gets_its_secrets_again_and_shows_none(with_secret: Past) -> None:
    said = with_secret.tilth("runs", "rerun", "secretive-1/uses", code=1)
    assert said.stdout == "the token is ***\n"
    assert "ValueError: bad token ***, as recorded" in said.stderr
    told = with_secret.tilth("runs", "rerun", "secretive-1/uses", "--json", code=1)
    assert told.json["failure"]["message"] == "bad token ***"
    assert SECRET not in f"{said}{told}"


def test_a_checkout_holds_no_secret_and_says_what_it_needs(with_secret: Past, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    with_secret.tilth("runs", "rerun", "secretive-1/uses", "--keep", folder, code=1)
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert "`./run` needs the variables TOKEN" in (folder / "README.txt").read_text()
    done = subprocess.run([folder / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: variable `TOKEN` is not set; the step gets secret `TOKEN` in it\n"
        "  hint: `tilth runs rerun secretive-1/uses --local` gives it what is kept\n"
    )
    given = {**os.environ, "TOKEN": "another-token"}
    done = subprocess.run([folder / "run"], capture_output=True, text=True, check=False, env=given)
    assert done.stdout == "the token is another-token\n"


def test_a_shell_gives_a_step_s_secrets_and_goes_on_without(with_secret: Past) -> None:
    command = ["env", "shell", "secretive-1/uses", "sh", "-c", "echo ${TOKEN-none}"]
    assert with_secret.tilth(*command).stdout == f"{SECRET}\n"
    with_secret.tilth("secret", "delete", "TOKEN")
    said = with_secret.tilth(*command)
    assert said.stdout == "none\n"
    assert "warning: step `uses` needs secret `TOKEN`, which is not set" in said.stderr
    said = with_secret.tilth("runs", "rerun", "secretive-1/uses", code=1)
    assert "needs secret `TOKEN`, which is not set" in said.stderr
