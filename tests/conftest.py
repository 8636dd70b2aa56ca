"""What every test gets: a home folder of its own, and the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from tests.services import (
    GROUPS,
    SERVICES,
    azurite as azurite,
    base_images as base_images,
    broken_registry as broken_registry,
    browser as browser,
    docker_engine as docker_engine,
    gcs as gcs,
    moto as moto,
    moto_signed as moto_signed,
    oidc_provider as oidc_provider,
    postgres as postgres,
    postgres_database as postgres_database,
    registry_password as registry_password,
    registry_plain as registry_plain,
    registry_tls as registry_tls,
    registry_token as registry_token,
    swift as swift,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Tests start many interpreters; each would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile(
    "tilth", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tilth")

TILTH = Path(sys.executable).with_name("tilth")

# Where `scripts/services` keeps what it started; the same rule as there.
_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
_SERVICES = Path(os.environ.get("TILTH_SERVICES") or Path(_CACHE, "tilth-services"))

# Where they run in the background Ctrl-C may be ignored, and all that they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A variable of whoever runs the tests must not decide what they find.
for _name in [name for name in os.environ if name.startswith("TILTH_")]:
    del os.environ[_name]


def pytest_addoption(parser: pytest.Parser) -> None:
    # Beside pytest's own `-m`, which whoever runs the tests may want for something else.
    parser.addoption("--leave-out", action="append", default=[], help="leave out tests with this marker")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVICES] = _SERVICES


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for group in {GROUPS[name] for name in getattr(item, "fixturenames", ()) if name in GROUPS}:
            item.add_marker(group)
    groups = config.getoption("--leave-out")
    left_out = [item for item in items if any(item.get_closest_marker(group) for group in groups)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for what is temporary. What killed processes leave in it goes with what the tests leave."""
    folder = tmp_path_factory.getbasetemp() / "tmp"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own TILTH_HOME, beside `tmp_path` and not in it. It does not exist yet."""
    folder = tmp_path_factory.mktemp("home") / "tilth"
    monkeypatch.setenv("TILTH_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def secrets_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's secrets have their key; it does not exist yet. No test touches a real key or keyring."""
    path = tmp_path_factory.mktemp("config") / "secrets.key"
    monkeypatch.setenv("TILTH_SECRETS_KEY", str(path))
    monkeypatch.setenv("TILTH_SECRET_STORE", "file")
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.stdout)

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def run_cli(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    code: int | None = 0,
    timeout: float = 600,
) -> Ended:
    """Run the real `tilth` in a process of its own and return how it ended.

    Args:
        env: Variables to set besides the present ones.
        code: The exit code wanted; another one fails the test with everything printed. None takes any.
    """
    done = subprocess.run(
        [str(TILTH), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "110", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    if code is not None and ended.code != code:
        pytest.fail(f"`tilth {' '.join(map(str, arguments))}` should end with {code}: {ended}", pytrace=False)
    return ended


@pytest.fixture
def tilth(tmp_path: Path) -> Callable[..., Ended]:
    """`tilth("run", "pipeline.py")`, in the test's `tmp_path` unless `cwd` says otherwise."""

    def run(*arguments: str | Path, **options: Any) -> Ended:
        return run_cli(*arguments, **{"cwd": tmp_path, **options})

    return run


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`mount("-o", "size=16m")`: a disk of its own; `mount("--bind", folder, at=place)`: another name."""
    mounted: list[Path] = []

    def mount(*options: str, at: Path | None = None) -> Path:
        folder = at or tmp_path / f"disk{len(mounted)}"
        folder.mkdir(parents=True, exist_ok=True)
        what = () if "--bind" in options else ("-t", "tmpfs", "tilth-test")
        made = subprocess.run(
            ["mount", *options, *what, str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)
