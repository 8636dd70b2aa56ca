"""What an import loads. Names, not times: a module that slipped in is the same on every machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tilth

LIST = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
{statement}
print(json.dumps(sorted(name for name in set(sys.modules) - before)))
"""


def loaded_by(statement: str) -> set[str]:
    """The modules that `statement` loads in a fresh interpreter that has tilth's source and nothing else."""
    source = Path(tilth.__file__).parents[1]
    done = subprocess.run(
        # -I -S: no site-packages, so a third-party import fails instead of being found.
        [sys.executable, "-I", "-S", "-c", LIST.format(statement=statement), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"`{statement}` needs more than the standard library:\n{done.stderr}"
    return set(json.loads(done.stdout))


def third_party(modules: set[str]) -> set[str]:
    """The modules that come neither with Python nor with tilth."""
    roots = {name.partition(".")[0] for name in modules}
    return roots - set(sys.stdlib_module_names) - {"tilth"}


def test_import_tilth_loads_hardly_anything() -> None:
    assert {name for name in loaded_by("import tilth") if name.startswith("tilth")} == {"tilth"}


@pytest.mark.parametrize("name", tilth.__all__)
def test_every_public_name_needs_the_standard_library_alone(name: str) -> None:
    assert third_party(loaded_by(f"from tilth import {name}")) == set()


@pytest.mark.parametrize(
    "module", ["tilth.runtime.worker", "tilth.materializers.artifacts", "tilth.ir.values", "tilth.errors"]
)
def test_what_runs_in_a_step_needs_the_standard_library_alone(module: str) -> None:
    assert third_party(loaded_by(f"import {module}")) == set()


def test_defining_a_pipeline_loads_nothing_slow() -> None:
    slow = {
        "inspect",
        "dataclasses",
        "asyncio",
        "subprocess",
        "tempfile",
        "concurrent.futures",
        "multiprocessing",
    }
    loaded = loaded_by("from tilth import pipeline, step, Environment, Resources, Retry, Artifact, unmapped")
    assert loaded & slow == set()


def test_the_command_line_loads_no_command_it_does_not_run() -> None:
    listing = (
        "import sys\n"
        "from tilth.cli.main import main\n"
        "sys.argv = ['tilth', 'version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    unwanted = {
        "rich",
        "sqlite3",
        "packaging",
        "asyncio",
        "uv",
        "tilth.engine",
        "tilth.store",
        "tilth.environments",
    }
    assert unwanted & set(done.stderr.split()) == set()


def test_a_run_on_this_machine_loads_nothing_of_images() -> None:
    listing = "import sys, tilth.client.submit; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    unwanted = {"httpx", "tilth.client.images", "tilth.client.targets", "tilth.images", "tilth.oci"}
    assert unwanted & set(done.stdout.split()) == set()
