"""Past steps and runs recreated in a folder, with nothing to be had from an index."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.client.test_entering import change_recorded_client
from tests.engine.play import wait_until

from tilth.artifact_stores import LocalArtifactStore
from tilth.client.bundle import bundle_path
from tilth.environments.files import remove_tree
from tilth.records import Environment
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import Past


def again(folder: Path, *options: str, code: int = 0, text: str = "") -> str:
    """Run the step in a checkout; gives all that it printed."""
    done = subprocess.run(
        [folder / "run", *options], input=text, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_a_failed_step_is_recreated_with_its_environment_code_and_inputs(
    shared_past: Past, tmp_path: Path
) -> None:
    folder = tmp_path / "there"
    said = shared_past.tilth("env", "checkout", "flow-2/train", folder)
    assert f"step flow-2/train: checked out to {folder} in" in said.stderr
    assert said.stdout == ""
    found = sorted(each.name for each in folder.iterdir())
    assert found == [".gitignore", ".venv", "README.txt", "code", "pylock.own.toml", "run", "step"]
    assert (folder / "code/helper.py").read_bytes() == (shared_past.folder / "helper.py").read_bytes()
    assert (folder / "step/inputs/data/artifact.json").is_file()
    readme = (folder / "README.txt").read_text()
    assert readme.startswith("step flow-2/train of pipeline `flow`, as it was on ")
    assert ".venv/  environment `own`, made from pylock.own.toml" in readme
    said_again = again(folder, code=1)
    assert "training with alpha 1.0" in said_again
    assert f'File "{folder}/code/pipeline.py", line ' in said_again
    assert said_again.endswith(
        "error: step `flow-2/train` failed: ValueError: factor 2.0 is too large for [1, 2, 3], as recorded\n"
    )


@pytest.mark.parametrize("wanted", ["flow-1/load", "flow-1/train", "flow-1/score[1]", "flow-1/total"])
def test_a_step_that_is_run_again_gives_what_was_recorded(
    shared_past: Past, tmp_path: Path, wanted: str
) -> None:
    shared_past.tilth("env", "checkout", wanted, tmp_path / "there")
    for _ in range(2):  # what it left the first time is no hindrance
        said = again(tmp_path / "there")
        assert said.endswith(f"step {wanted}: completed\noutput output: same as recorded\n")


def test_an_output_that_differs_is_told(shared_past: Past, tmp_path: Path) -> None:
    shared_past.tilth("env", "checkout", "flow-1/train", tmp_path / "there")
    (tmp_path / "there/code/noise.txt").write_text("other")
    recorded = shared_past.step("flow-1", "train").outputs["output"].digest
    said = again(tmp_path / "there")
    assert "output output: differs: sha256:" in said
    assert f" now, {recorded} recorded" in said


def test_what_was_read_only_in_the_store_is_a_copy(shared_past: Past, tmp_path: Path) -> None:
    shared_past.tilth("env", "checkout", "flow-1/total", tmp_path / "there")
    inputs = tmp_path / "there/step/inputs"
    # What a mapped step gave are its items; a list of two outputs are two copies.
    assert sorted(each.name for each in (inputs / "scores").iterdir()) == ["0", "1", "2"]
    assert sorted(each.name for each in (inputs / "parts").iterdir()) == ["0", "1"]
    files = [each for each in inputs.rglob("*") if each.is_file()]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o444}
    assert {each.stat().st_nlink for each in files} == {1}


def test_a_checkout_outlives_the_home_folder(past: Past, tmp_path: Path) -> None:
    past.tilth("env", "checkout", "flow-1/train", tmp_path / "there")
    past.tilth("env", "prune", "--all")
    assert "output output: same as recorded" in again(tmp_path / "there")
    remove_tree(past.home.root)
    shutil.rmtree(past.folder)
    assert "output output: same as recorded" in again(tmp_path / "there")


def test_the_debugger_stops_in_the_function_and_where_it_fails(shared_past: Past, tmp_path: Path) -> None:
    shared_past.tilth("env", "checkout", "flow-2/train", tmp_path / "there")
    said = again(tmp_path / "there", "--debug", code=1, text="p factor\nc\np 'post', data\nq\n")
    assert "train()\n-> import alpha\n" in said
    assert "(Pdb) 2.0\n" in said
    assert "(Pdb) ('post', [1, 2, 3])\n" in said
    assert "post-mortem: `q` leaves the debugger" in said
    assert again(tmp_path / "there", "--debug", code=1, text="q\n").endswith(
        "step flow-2/train: not completed, the debugger was left\n"
    )


def test_an_unknown_option_of_the_script_is_told(shared_past: Past, tmp_path: Path) -> None:
    shared_past.tilth("env", "checkout", "flow-1/load", tmp_path / "there")
    assert again(tmp_path / "there", "--dbug", code=2).startswith("usage: run [--debug]")


def test_a_run_is_recreated_with_an_environment_for_each_name(shared_past: Past, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()  # empty is as good as absent
    shared_past.tilth("env", "checkout", "flow-2", folder)
    found = sorted(each.name for each in folder.iterdir())
    assert found == [".gitignore", ".venv-own", "README.txt", "code", "parameters.json", "pylock.own.toml"]
    assert json.loads((folder / "parameters.json").read_text()) == {"factor": 2.0, "scale": 1.0}
    done = subprocess.run([folder / ".venv-own/bin/alpha-says"], capture_output=True, text=True, check=True)
    assert done.stdout == "alpha 1.0\n"


def test_a_folder_with_something_in_it_is_left_alone(shared_past: Past, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    said = shared_past.tilth("env", "checkout", "flow-1/load", tmp_path, code=1)
    assert said.stderr.startswith(f"error: `{tmp_path}` is not empty\n")
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    said = shared_past.tilth("env", "checkout", "flow-1/load", tmp_path / "mine", code=1)
    assert "is not empty" in said.stderr


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("flow-1/score", "step `flow-1/score` is mapped\n  hint: name an item, as `flow-1/score[0]`"),
        (
            "flow-2/total",
            "step `flow-2/total` cannot be recreated: step `score`, whose `output` it needs, gave none",
        ),
        ("flow-1/trian", "hint: did you mean `train`?"),
        ("flow-1/score[3]", "hint: it has items 0 to 2"),
        ("flow-9/train", "there is no run `flow-9`"),
    ],
)
def test_what_cannot_be_recreated_is_told_and_leaves_nothing(
    shared_past: Past, tmp_path: Path, wanted: str, said: str
) -> None:
    assert said in shared_past.tilth("env", "checkout", wanted, tmp_path / "there", code=1).stderr
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_was_deleted_is_named(past: Past, tmp_path: Path) -> None:
    digest = past.step("flow-1", "load").outputs["output"].digest
    LocalArtifactStore(past.home.artifacts).remove(digest)
    said = past.tilth("env", "checkout", "flow-2/train", tmp_path / "there", code=1).stderr
    assert f"an input of step `flow-2/train` is gone: `load.output`, {digest[:19]}" in said
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_was_damaged_is_not_used(past: Past, tmp_path: Path) -> None:
    folder = LocalArtifactStore(past.home.artifacts).path(
        past.step("flow-1", "load").outputs["output"].digest
    )
    file = folder / "packed.bin"
    file.chmod(0o644)
    file.write_bytes(bytes(file.stat().st_size))
    said = past.tilth("env", "checkout", "flow-2/train", tmp_path / "there", code=1).stderr
    assert "input `data` of step `flow-2/train` is damaged: `packed.bin`" in said


def test_a_bundle_that_is_gone_is_named(past: Past, tmp_path: Path) -> None:
    bundle_path(past.run("flow-1").bundle, past.home).unlink()
    said = past.tilth("env", "checkout", "flow-1/train", tmp_path / "there", code=1).stderr
    assert "there is no code bundle" in said
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_platform_is_refused(past: Past, tmp_path: Path) -> None:
    environment: Environment = past.records(Environment, name="own")[0]
    with contextlib.closing(open_store(past.home)) as store:
        store.write([Put(msgspec.structs.replace(environment, platform="macos-arm64"))])
    said = past.tilth("env", "checkout", "flow-1/train", tmp_path / "there", code=1).stderr
    assert "environment `own` was locked for macos-arm64; this machine is" in said


def test_what_the_index_alone_could_give_is_named_while_offline(past: Past, tmp_path: Path) -> None:
    remove_tree(past.home.wheels)
    said = past.tilth("env", "checkout", "flow-1/train", tmp_path / "there", code=1).stderr
    assert "alpha" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_the_client_s_interpreter_is_told(past: Past, tmp_path: Path) -> None:
    minor = "{}.{}".format(*sys.version_info)
    change_recorded_client(past, python=f"{minor}.99", package="no-such-package")
    said = past.tilth("env", "checkout", "flow-1/load", tmp_path / "there").stderr
    assert f"Python {minor}.99 then, " in said
    # A run is of all steps, whatever each of them reaches.
    said = past.tilth("env", "checkout", "flow-1", tmp_path / "whole").stderr
    assert "`no-such-package` 1.0 is gone" in said


def test_a_kill_leaves_nothing_at_the_place_and_no_hindrance(shared_past: Past, tmp_path: Path) -> None:
    aside = tmp_path / ".there.checkout"
    with subprocess.Popen(
        [sys.executable, "-m", "tilth.cli", "env", "checkout", "flow-1/train", tmp_path / "there"],
        cwd=shared_past.folder,
        env={**os.environ, **shared_past.variables},
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: (aside / "code").exists() or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "there").exists() is False or process.returncode == 0
    if not (tmp_path / "there").exists():
        assert aside.exists()
        shared_past.tilth("env", "checkout", "flow-1/train", tmp_path / "there")
    assert "output output: same as recorded" in again(tmp_path / "there")
    assert not aside.exists()


def test_of_two_checkouts_to_one_place_one_is_refused(shared_past: Past, tmp_path: Path) -> None:
    aside = tmp_path / ".there.checkout"
    aside.mkdir()
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        said = shared_past.tilth("env", "checkout", "flow-1/load", tmp_path / "there", code=1).stderr
    finally:
        os.close(descriptor)
    assert "another process is checking something out" in said
    assert aside.exists()


def test_a_checkout_in_the_project_is_no_part_of_its_code(past: Past) -> None:
    subprocess.run(["git", "init", "-q"], cwd=past.folder, check=True)
    past.tilth("env", "checkout", "flow-1/train", "there")
    listed = subprocess.run(
        ["git", "status", "--short", "--untracked-files=all"], cwd=past.folder, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "there/" not in listed.stdout
    assert "pipeline.py" in listed.stdout


def test_everything_works_without_a_network(past: Past, tmp_path: Path) -> None:
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not make a network namespace")
    remove_tree(past.home.environments)
    for arguments in (
        ["env", "shell", "own", "--", "alpha-says"],
        ["env", "checkout", "flow-1/train", str(tmp_path / "step")],
        ["env", "checkout", "flow-1", str(tmp_path / "run")],
        ["runs", "rerun", "flow-1/train", "--local"],
        ["runs", "rerun", "flow-1", "--local", "--no-cache"],
    ):
        variables = {**os.environ, **past.variables}
        done = subprocess.run(
            [*alone, sys.executable, "-m", "tilth.cli", *arguments], cwd=past.folder, env=variables,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"


def test_two_names_of_one_environment_are_both_recreated(past: Past, tmp_path: Path) -> None:
    past.write(
        "twins.py",
        """
        from tilth import Environment, pipeline, step

        one = Environment("one", requirements=["alpha==1.0"], variables={"GREETING": "hello"})
        two = Environment("two", requirements=["alpha==1.0"], variables={"GREETING": "hello"})

        @step(environment=one)
        def first() -> int:
            return 1

        @step(environment=two)
        def second(number: int) -> int:
            return number + 1

        @pipeline
        def twins():
            second(first())
        """,
    )
    past.tilth("run", "twins.py")
    past.tilth("env", "checkout", "twins-1", tmp_path / "run")
    found = {each.name for each in (tmp_path / "run").iterdir()}
    assert {".venv-one", ".venv-two", "pylock.one.toml", "pylock.two.toml"} <= found
    past.tilth("env", "checkout", "twins-1/second", tmp_path / "step")
    assert (tmp_path / "step/pylock.two.toml").is_file()
    assert "output output: same as recorded" in again(tmp_path / "step")
