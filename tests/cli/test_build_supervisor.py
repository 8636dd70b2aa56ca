"""The image of what stands beside a step on another machine."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import BaseImages, RegistryService


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.docker
def test_the_supervisor_has_an_image_of_its_own(
    home: Path, registry_plain: RegistryService, base_images: BaseImages, tilth: Any
) -> None:
    registered = [
        ["component", "register", "box", "--type", "orchestrator", "--flavor", "docker",
         "--set", f"base_image={base_images.registry['3.11']}"],
        ["component", "register", "bucket", "--type", "artifact_store", "--flavor", "s3", "--set", "bucket=b"],
        ["stack", "register", "far", "-o", "box", "-a", "bucket"],
    ]  # fmt: skip
    for arguments in registered:
        tilth(*arguments)
    built = tilth(
        "build", "--supervisor", "--stack", "far", "--json",
        "--registry", f"{registry_plain.host}/{registry_plain.prefix}"
    )  # fmt: skip
    (image,) = json.loads(built.stdout)
    shown = tilth("env", "show", "supervisor")
    assert "stands beside steps that run elsewhere" in shown.stdout
    assert "boto3" in shown.stdout
    ran = subprocess.run(
        ["docker", "run", "--rm", image["references"][0], "python", "-m", "tilth.engine.supervisor"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "TILTH_TASK" in ran.stdout + ran.stderr


def test_a_supervisor_is_no_pipeline(tilth: Any) -> None:
    assert "exclude each other" in tilth("build", "--supervisor", "pipeline.py", code=2).stderr
    assert "what to build is missing" in tilth("build", code=2).stderr
