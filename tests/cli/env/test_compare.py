from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tilth.home import Home

Project = Any  # see conftest.py
Cli = Any


def test_two_runs_are_compared_environment_by_environment(past: Project) -> None:
    said = past("diff", "churn-1", "churn-2").stdout
    blocks = {block.partition(":")[0]: block for block in said.strip().split("\n\n")}
    assert blocks["client"].startswith("client: the same, sha256:")
    assert blocks["scoring"].startswith("scoring: the same, sha256:")
    assert blocks["training"].splitlines()[1:] == [
        "  ~ alpha 1.0 → 2.0",
        "  - delta 1.0",
        "  - epsilon 1.0",
        "  ~ THREADS=1 → THREADS=4",
    ]
    assert said.endswith("4 differences: 2 packages removed, 1 package changed, 1 variable\n")


def test_steps_environments_and_digests_name_the_same(past: Project) -> None:
    runs = past.tilth("runs", "list", "--json").json
    old, new = (
        next(run["environments"]["training"] for run in runs if run["name"] == name)
        for name in ("churn-1", "churn-2")
    )
    wanted = past("diff", old, new, "--json").json["environments"]
    for left, right in [
        ("churn-1/train", "churn-2/train"),
        (old[7:15], "training"),
        ("churn-1/train", "churn-2"),
    ]:
        found = past("diff", left, right, "--json").json["environments"]
        assert found == wanted
    assert [(each["name"], each["change"]) for each in wanted[0]["packages"]] == [
        ("alpha", "version"),
        ("delta", "removed"),
        ("epsilon", "removed"),
    ]
    assert past("diff", "churn-1/load", "client", "--exit-code").stdout.endswith("\nno difference\n")


def test_the_exit_code_tells_of_differences_when_asked(past: Project) -> None:
    past("diff", "churn-1", "churn-2", code=0)
    past("diff", "churn-1", "churn-2", "--exit-code", code=1)
    past("diff", "churn-1", "churn-1", "--exit-code", code=0)


def test_an_environment_is_compared_with_lock_files(past: Project) -> None:
    wheel = past.packages / "alpha-2.0-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (past.root / "requirements.txt").write_text(
        f"alpha==2.0 \\\n    --hash=sha256:{digest}\nBeta==2.0\nfrom_source==1.0 # as is\n"
        'never==1; python_version < "3"\n'
    )
    assert past("diff", "requirements.txt", "training").stdout.endswith("\nno difference\n")
    (past.root / "requirements.txt").write_text(f"alpha==2.0 --hash=sha256:{'0' * 64}\nbeta==1.0\n")
    assert past("diff", "requirements.txt", "training").stdout.splitlines()[1:] == [
        "  ~ alpha 2.0: sha256:000000000000 → alpha-2.0-py3-none-any.whl",
        "  ~ beta 1.0 → 2.0",
        "  + from-source 1.0",
        "",
        "3 differences: 1 package added, 1 package changed, 1 package from another file",
    ]
    past("export", "training", "--format", "pylock", "--output", "pylock.training.toml")
    assert past("diff", "pylock.training.toml", "churn-2/train").stdout.endswith("\nno difference\n")
    assert past("diff", "churn-2", "pylock.training.toml").stdout.endswith("\nno difference\n")
    assert "  ~ alpha 2.0 → 1.0\n" in past("diff", "pylock.training.toml", "churn-1/train").stdout


def test_an_environment_is_compared_with_the_lock_of_uv(past: Project) -> None:
    (past.root / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["alpha==2.0", "from-source"]\n'
    )
    uv = shutil.which("uv", path=str(sys.executable).rpartition("/")[0])
    subprocess.run([str(uv), "lock", "-q", "--python", sys.executable], cwd=past.root, check=True)
    assert past("diff", "uv.lock", "training").stdout.endswith("\nno difference\n")


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (
            "trainig",
            "training",
            "there is no environment and no run `trainig`\n  hint: did you mean `training`?",
        ),
        ("churn-9", "training", "there is no environment and no run `churn-9`\n"),
        (
            "churn-1/trian",
            "training",
            "run `churn-1` has reached no step `trian`\n  hint: did you mean `train`?",
        ),
        ("requirement.txt", "training", "there is no lock file `requirement.txt`\n"),
    ],
)
def test_what_is_not_there_names_the_nearest(
    cli: Cli, history: Home, left: str, right: str, told: str
) -> None:
    said = cli("env", "diff", left, right)
    assert said.code == 1
    assert said.err.startswith(f"error: {told}")


def test_a_requirements_file_that_pins_nothing_is_refused(cli: Cli, history: Home, tmp_path: Any) -> None:
    (tmp_path / "requirements.txt").write_text("numpy>=2\n")
    said = cli("env", "diff", tmp_path / "requirements.txt", "training")
    assert (said.code, "`numpy>=2`" in said.err, "pins no version" in said.err) == (1, True, True)
    (tmp_path / "pylock.toml").write_text("packages = 3\n")
    assert "is not valid PEP 751" in cli("env", "diff", tmp_path / "pylock.toml", "training").err


def test_a_run_with_several_environments_is_asked_which(past: Project) -> None:
    (past.root / "requirements.txt").write_text("alpha==2.0\n")
    said = past("diff", "churn-1", "requirements.txt", code=1).stderr
    assert "run `churn-1` has several environments: `scoring` (sha256:" in said
    assert "`churn-1/STEP`" in said


def test_comparing_loads_little(history: Home, tilth: Any) -> None:
    code = (
        "import sys; from tilth.cli.main import _run; _run(['env', 'diff', 'training', 'churn-1/train']);"
        "print(*{'packaging', 'asyncio', 'rich', 'uv', 'subprocess', 'tilth.engine.driver'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nno difference\n\n"), done.stdout
