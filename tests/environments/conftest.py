"""A folder index of tiny wheels, and uv told to look nowhere else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_sdist, build_wheel

from tilth.define.environments import Environment
from tilth.environments import locks, probe, venvs
from tilth.home import Home

if TYPE_CHECKING:
    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked
    from tilth.environments.venvs import Realised


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages that every test may ask for, and none may change."""
    folder = tmp_path_factory.mktemp("index")
    build_wheel(folder, "alpha", "1.0", requires=["beta>=1"])
    build_wheel(
        folder,
        "alpha",
        "2.0",
        requires=["beta>=2"],
        files={
            "alpha/__init__.py": "import sys\ndef main() -> None:\n    print('alpha', sys.prefix)\n",
            "alpha/tests/test_alpha.py": "def test(): pass\n",
            "alpha/template.py": "def {{ name }}(): pass\n",
        },
        scripts={"alpha-run": "alpha:main"},
        data={
            "scripts/hello": "#!python\nprint('hello')\n",
            "data/share/alpha.txt": "shared",
            "headers/alpha.h": "h",
        },
    )
    build_wheel(folder, "beta", "1.0", extras={"more": ["Gamma.Ray"]})
    build_wheel(folder, "beta", "2.0", extras={"more": ["Gamma.Ray"]})
    build_wheel(folder, "gamma-ray", "1.0", requires_python=">=3.8")
    build_wheel(folder, "too-new", "1.0", requires_python=">=3.99")
    build_wheel(folder, "space-one", "1.0", files={"space/one.py": "ONE = 1\n"})
    build_wheel(folder, "space-two", "1.0", files={"space/two.py": "TWO = 2\n"})
    build_wheel(folder, "clash-a", "1.0", files={"clash.py": "OWNER = 'a'\n", "a_only.py": ""})
    build_wheel(folder, "clash-b", "1.0", files={"clash.py": "OWNER = 'b'\n", "b_only.py": ""})
    build_wheel(
        folder, "hooked", "1.0", files={"hooked.pth": "import sys; sys.hooked = True\n", "hooked_it.py": ""}
    )
    build_sdist(folder, "from-source", "1.0", requires=["beta"])
    build_sdist(folder, "never-builds", "1.0", broken="fatal error: zlib.h: No such file or directory")
    return folder


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """The one that runs the tests."""
    return probe(Path(sys.executable), Home(tmp_path_factory.mktemp("probe")))


@pytest.fixture(scope="session")
def uv_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Not above any `tmp_path`, where uv would find the settings by itself.
    return tmp_path_factory.mktemp("uv")


@pytest.fixture(autouse=True)
def only_the_index(index: Path, uv_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = uv_folder / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_folder / "cache"))


class Here:
    """One home and one project, with the calls most tests make."""

    def __init__(self, home: Home, root: Path, interpreter: Interpreter) -> None:
        self.home = home
        self.root = root
        self.interpreter = interpreter

    def lock(self, *requirements: str, **options: Any) -> Locked:
        """Lock a list of requirements; `upgrade` and `offline` are the call's, the rest the declaration's."""
        call = {key: options.pop(key) for key in ("upgrade", "offline") if key in options}
        if requirements:
            options["requirements"] = list(requirements)
        return self.lock_of(Environment(options.pop("name", "training"), **options), **call)

    def lock_of(self, environment: Environment, **call: Any) -> Locked:
        return self.lock_declared(environment.to_json(), **call)

    def lock_declared(self, declared: dict[str, Any], **call: Any) -> Locked:
        return locks.lock(declared, root=self.root, interpreter=self.interpreter, home=self.home, **call)

    def find(self, environment: Environment) -> Locked | None:
        return locks.find_lock(
            environment.to_json(), root=self.root, interpreter=self.interpreter, home=self.home
        )

    def realise(self, *requirements: str, **options: Any) -> Realised:
        return venvs.realise(self.lock(*requirements, **options), self.home)


@pytest.fixture
def here(home: Path, tmp_path: Path, interpreter: Interpreter) -> Here:
    return Here(Home(home), tmp_path, interpreter)
