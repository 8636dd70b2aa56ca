"""`tilth env prune`, after real runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import TILTH
from tests.engine.play import Project, wait_until
from tests.index import build_wheel

from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

PIPELINE = """
    import os
    import time
    from pathlib import Path

    from tilth import Environment, pipeline, step


    @step(environment=Environment("small", requirements=["alpha"]))
    def small(damage: bool) -> str:
        import alpha

        while Path("hold").exists():
            Path("held").touch()
            time.sleep(0.01)
        if damage:
            os.chmod(alpha.__file__, 0o644)
            with open(alpha.__file__, "a") as file:
                file.write("evil = 1\\n")
            os.kill(os.getppid(), 9)  # the driver, before it can look
        return alpha.VERSION


    @step(environment=Environment("large", requirements=["beta"]))
    def large() -> int:
        return 1


    @pipeline
    def both(damage: bool = False):
        small(damage)
        large()
"""


@pytest.fixture
def project(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    links = tmp_path / "links"
    build_wheel(links, "alpha", "1.0")
    build_wheel(links, "beta", "1.0", files={"beta.py": "", "beta.bin": os.urandom(300_000)})
    (tmp_path / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(links))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("TILTH_PYTHON", sys.executable)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    project = Project(folder, Home(home))
    project.write(PIPELINE)
    return project


def made(project: Project) -> set[str]:
    """The names of the environments that are there."""
    found = project.home.environments.glob("[!.]*/tilth.json")
    return {json.loads(each.read_text())["name"] for each in found}


def age(project: Project, name: str, days: float) -> None:
    for record in project.home.environments.glob("[!.]*/tilth.json"):
        if json.loads(record.read_text())["name"] == name:
            then = time.time() - days * 86400
            for path in (record.parent, project.home.environments / f".{record.parent.name}.users"):
                os.utime(path, (then, then))


def test_a_plan_says_what_would_go_and_removes_nothing(project: Project, tilth: Callable[..., Ended]) -> None:
    project.run()
    age(project, "large", days=40)
    said = tilth("env", "prune", "--older-than", "30d", "--plan").stdout.splitlines()
    rows = {line.split()[0]: line for line in said if line.startswith(("small", "large"))}
    assert "would go  it was not used for so long" in rows["large"]
    assert "stays     it was used since" in rows["small"]
    assert [line for line in said if line.startswith("1 wheel would go")]
    assert said[-1].startswith("would free 3")
    assert said[-1].endswith("KB would be left; shared files count once")
    assert made(project) == {"small", "large"}
    planned = tilth("env", "prune", "--older-than", "30d", "--plan", "--json").json
    done = tilth("env", "prune", "--older-than", "30d", "--json").json
    assert (planned["done"], done["done"]) == (False, True)
    assert {key: planned[key] for key in planned if key != "done"} == {
        key: done[key] for key in done if key != "done"
    }
    assert made(project) == {"small"}


def test_by_name_only_the_named_goes_and_a_run_makes_it_again(
    project: Project, tilth: Callable[..., Ended]
) -> None:
    project.run()
    assert "removed" in tilth("env", "prune", "large").stdout
    assert made(project) == {"small"}
    assert project.run(cache=False).states == {"small": "completed", "large": "completed"}
    assert made(project) == {"small", "large"}


def test_by_the_beginning_of_a_digest(project: Project, tilth: Callable[..., Ended]) -> None:
    project.run()
    digest = next(each for each in project.last_run().environments.values())
    tilth("env", "prune", digest[:16])
    assert len(made(project)) == 1


def test_the_size_of_all_is_brought_under_a_limit(project: Project, tilth: Callable[..., Ended]) -> None:
    project.run()
    age(project, "large", days=1)
    tilth("env", "prune", "--max-size", "250KB")
    assert made(project) == {"small"}
    tight = tilth("env", "prune", "--max-size", "0")
    assert made(project) == set()
    assert tight.stderr == ""


def test_what_a_run_uses_stays_and_the_run_is_named(project: Project, tilth: Callable[..., Ended]) -> None:
    (project.folder / "hold").touch()
    with project.start("run", "pipeline.py") as command:
        wait_until((project.folder / "held").exists)
        wait_until(lambda: made(project) == {"small", "large"})
        ended = tilth("env", "prune", "--all", "--max-size", "1", code=2)
        assert "error: `--all` leaves nothing for `--max-size` to choose" in ended.stderr
        assert "say two things" in tilth("env", "prune", "--all", "small", code=2).stderr
        pruned = tilth("env", "prune", "--all")
        assert "stays  it is in use: `both-1`" in pruned.stdout
        assert made(project) == {"small", "large"}
        tight = tilth("env", "prune", "--max-size", "1KB", "--json")
        assert "that is more than 1.0 KB" in tight.stderr
        (project.folder / "hold").unlink()
        assert command.wait() == 0, command.stderr
    tilth("env", "prune", "--all")
    assert made(project) == set()


@pytest.mark.faults
def test_an_environment_that_a_killed_run_changed_is_not_forgotten_with_it(
    project: Project, tilth: Callable[..., Ended]
) -> None:
    project.run()
    with project.start("run", "pipeline.py", "--param", "damage=true", "--no-cache") as command:
        assert command.wait() != 0
    pruned = tilth("env", "prune", "small")
    assert "was changed by a step" in pruned.stderr
    assert "what ran in it is not reused" in pruned.stderr
    assert project.run().states == {"small": "completed", "large": "cached"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["smal"], "error: there is no environment `smal`\n  hint: did you mean `small`?\n"),
        (["0000000"], "error: there is no environment `0000000`\n"),
        (["--older-than", "30"], "error: `--older-than 30` is no age: it has no unit\n  hint: as `30d`\n"),
        (["--older-than", "soon"], "error: `--older-than soon` is no age\n  hint: as `30d`\n"),
        (["--max-size", "big"], "error: `--max-size big` is no size\n  hint: as `10GB`\n"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_goes(
    project: Project, tilth: Callable[..., Ended], arguments: list[str], told: str
) -> None:
    project.run()
    ended = tilth("env", "prune", *arguments, code=None)
    assert ended.code in (1, 2)
    assert ended.stderr.startswith(told)
    assert made(project) == {"small", "large"}


def test_an_environment_that_was_recorded_and_is_not_here_is_told_apart(
    project: Project, tilth: Callable[..., Ended]
) -> None:
    project.run()
    tilth("env", "prune", "large")
    ended = tilth("env", "prune", "large", code=1)
    assert ended.stderr.startswith("error: environment `large` is not made here\n")


def test_a_home_without_environments_says_so(tilth: Callable[..., Ended], home: Path) -> None:
    ended = tilth("env", "prune", "--all")
    assert ended.stdout == ""
    assert ended.stderr == "nothing to prune: no environment is made here\n"
    shown: dict[str, Any] = tilth("env", "prune", "--json").json
    assert shown == {"done": True, "before": 0, "after": 0, "freed": 0, "items": []}
    assert not home.exists()


def test_who_may_do_no_more_than_the_permissions_say_can_prune(project: Project) -> None:
    """Environments are read-only, which root does not notice, except where it has no more rights than others."""
    without_rights = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--securebits", "+noroot"]
    if os.geteuid() == 0:
        known = shutil.which("setpriv")
        if (
            known is None
            or subprocess.run([*without_rights, "true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("root cannot give up its rights here")
    project.run()
    command = [*(without_rights if os.geteuid() == 0 else []), str(TILTH), "env", "prune", "--all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert made(project) == set()
    assert list(project.home.environments.iterdir()) == []
    assert [each.name for each in project.home.wheels.iterdir() if not each.name.startswith(".")] == []
    assert [*project.home.wheels.glob(".tmp-*")] == []
