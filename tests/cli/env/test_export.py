"""What is exported is read by the tools it is for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomllib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.pylock import Pylock
from tests.index import build_wheel

from tilth.home import Home
from tilth.records import Environment, Lock
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

Project = Any  # see conftest.py


def pip(venv: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """pip as anybody has it, without an index of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return subprocess.run(
        [venv / "bin" / "python", "-m", "pip", "--isolated", *arguments],
        env={**environment, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def installed(venv: Path) -> dict[str, str]:
    listed = json.loads(
        pip(venv, "list", "--format", "json", "--exclude", "pip", "--exclude", "setuptools").stdout
    )
    return {each["name"].replace("_", "-"): each["version"] for each in listed}


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


def packages_of(past: Project, name: str) -> Mapping[str, str]:
    return {each["name"]: each["version"] for each in past("show", name, "--json").json["packages"]}


def test_pip_installs_the_requirements_and_checks_every_hash(past: Project, venv: Path) -> None:
    said = past("export", "churn-1/train", "--format", "requirements", "--output", "requirements.txt")
    assert said.stdout == ""
    assert f"note: packages are looked for in a folder of this machine: {past.packages}\n" in said.stderr
    file = past.root / "requirements.txt"
    text = file.read_text()
    done = pip(venv, "install", "--no-index", "--require-hashes", "-r", file)
    assert done.returncode == 0, done.stderr
    assert installed(venv) == packages_of(past, "churn-1/train")
    file.write_text(re.sub(r"(alpha==1.0 \\\n +--hash=sha256:)\w{8}", r"\g<1>00000000", text))
    refused = pip(venv, "install", "--no-index", "--force-reinstall", "--require-hashes", "-r", file)
    assert "DO NOT MATCH THE HASHES" in refused.stderr


def test_other_tools_read_the_lock(past: Project, tmp_path: Path) -> None:
    text = past("export", "training", "--format", "pylock").stdout
    lock = Pylock.from_dict(tomllib.loads(text))
    assert {str(each.name): str(each.version) for each in lock.packages} == packages_of(past, "training")
    (tmp_path / "pylock.toml").write_text(text)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "by-uv"], check=True)
    command = [uv, "pip", "sync", "-q", "--python", tmp_path / "by-uv/bin/python", tmp_path / "pylock.toml"]
    subprocess.run(command, check=True)
    site_packages = next((tmp_path / "by-uv").glob("lib/*/site-packages"))
    assert (site_packages / "alpha.py").read_text() == "VERSION = '2.0'\n"
    # What is exported of an exported lock is the same.
    again = past("export", "pylock.toml", "--format", "requirements").stdout
    expected = past("export", "training", "--format", "requirements").stdout
    assert again.partition("\n\n")[2] == expected.partition("\n\n")[2] != ""


def test_the_bill_of_materials_is_valid_and_the_same_every_time(past: Project, home: Path) -> None:
    text = past("export", "churn-1/train", "--format", "cyclonedx").stdout
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"shelf"')) is not None
    assert past("export", "churn-1/train", "--format", "cyclonedx").stdout == text
    document = json.loads(text)
    components = {each["name"]: each for each in document["components"]}
    assert components["alpha"]["purl"] == "pkg:pypi/alpha@1.0"
    assert components["alpha"]["licenses"] == [{"expression": "MIT"}]
    assert components["beta"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert "licenses" not in components["delta"]
    # The sdist's own hash, and not that of what was built from it.
    sdist = (past.packages / "from_source-1.0.tar.gz").read_bytes()
    assert components["from-source"]["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(sdist).hexdigest()}
    ]
    graph = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert graph["pkg:pypi/alpha@1.0"] == ["pkg:pypi/beta@2.0", "pkg:pypi/delta@1.0"]
    assert graph["pkg:pypi/epsilon@1.0"] == ["pkg:pypi/delta@1.0"]
    assert graph[document["metadata"]["component"]["bom-ref"]] == [
        "pkg:pypi/alpha@1.0",
        "pkg:pypi/from-source@1.0",
    ]
    other = json.loads(past("export", "churn-2/train", "--format", "cyclonedx").stdout)
    assert other["serialNumber"] != document["serialNumber"]
    # Without the wheels, the lock says what requires what.
    shutil.rmtree(home / "wheels")
    text = past("export", "churn-1/train", "--format", "cyclonedx").stdout
    assert validator.validate_str(text) is None
    again = {each["ref"]: each["dependsOn"] for each in json.loads(text)["dependencies"]}
    assert again == graph


def test_the_client_has_a_bill_of_materials_and_pins_but_no_lock(past: Project) -> None:
    text = past("export", "client", "--format", "cyclonedx").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said = past("export", "client", "--format", "requirements")
    assert re.search(r"^msgspec==\S+$", said.stdout, re.MULTILINE)
    assert "note: no hash is known of any package" in said.stderr
    said = past("export", "client", "--format", "pylock", code=1)
    assert said.stderr.startswith("error: environment `client` has no lock\n")


def docker_instructions(text: str) -> list[tuple[str, str, str]]:
    """(instruction, arguments, text in place) of each: continued lines joined, as Docker reads them."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("#") or not line:
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines).strip()
        word, _, rest = line.partition(" ")
        here = re.match(r"<<'(\w+)' (\S+)$", rest)
        body = ""
        if here:
            rest = here[2]
            while (each := next(lines)) != here[1]:
                body += each + "\n"
        found.append((word, rest, body))
    return found


def test_the_dockerfile_installs_the_same(past: Project, venv: Path, tmp_path: Path) -> None:
    said = past("export", "training", "--format", "dockerfile")
    instructions = docker_instructions(said.stdout)
    version = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(rf"(--platform=linux/\w+ )?python:{version}-slim", instructions[0][1])
    assert instructions[0][0] == "FROM"
    assert ("ENV", 'THREADS="4"', "") in instructions
    # Its wheels come from a folder of this machine, and so into the build.
    build = tmp_path / "build"
    build.mkdir()
    for word, rest, body in instructions[1:]:
        if word == "COPY" and body:
            (build / Path(rest).name).write_text(body.replace("/build/", f"{build}/"))
        elif word == "COPY":
            name, target = json.loads(rest)
            assert f"put `{past.packages}/{name}` beside the Dockerfile" in said.stderr
            shutil.copy(past.packages / name, build / Path(target).name)
        elif word == "RUN":
            arguments = rest.removeprefix("python -m pip ").replace("/build/", f"{build}/").split()
            done = pip(venv, *arguments)
            assert done.returncode == 0, done.stderr
    assert installed(venv) == packages_of(past, "training")


DIRECT = """
from tilth import Environment, pipeline, step

direct = Environment("direct", requirements=["zeta @ {wheel}", "eta @ {repository}"])


@step(environment=direct)
def load() -> int:
    return 1


@pipeline
def flow():
    load()
"""


def test_what_comes_from_this_machine_and_what_has_no_hash_is_said(
    project: Project, tmp_path: Path, venv: Path
) -> None:
    wheel = build_wheel(tmp_path / "mine", "zeta", "1.0")
    source = tmp_path / "eta"
    source.mkdir()
    (source / "eta.py").write_text("VERSION = 1\n")
    (source / "backend.py").write_text(BACKEND)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "eta"\nversion = "1.0"\n'
    )
    git = ["git", "-C", str(source), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    project.write(DIRECT.format(wheel=wheel.as_uri(), repository=f"git+{source.as_uri()}"))
    project.tilth("run", "pipeline.py")
    said = project("export", "direct", "--format", "requirements")
    assert (
        f"# from this machine, by path: {wheel}\nzeta @ {wheel.as_uri()} \\\n    --hash=sha256:"
        in said.stdout
    )
    assert re.search(
        rf"^# has no hash: eta @ git\+{re.escape(source.as_uri())}@[0-9a-f]{{40}}$", said.stdout, re.MULTILINE
    )
    assert f"note: `zeta` is taken from this machine: {wheel}\n" in said.stderr
    assert "with `--require-hashes` pip takes none without: `eta`" in said.stderr
    (tmp_path / "requirements.txt").write_text(said.stdout)
    done = pip(venv, "install", "--no-index", "--require-hashes", "-r", tmp_path / "requirements.txt")
    assert done.returncode == 0, done.stderr
    assert installed(venv) == {"zeta": "1.0"}
    document = json.loads(project("export", "direct", "--format", "cyclonedx").stdout)
    purls = {each["name"]: each["purl"] for each in document["components"]}
    assert purls["eta"].startswith("pkg:pypi/eta@1.0?vcs_url=git%2Bfile")
    told = project("export", "direct", "--format", "dockerfile").stdout
    assert "apt-get install -y --no-install-recommends git" in told
    assert f"'eta @ git+{source.as_uri()}@" in told


BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "eta-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        archive.write("eta.py")
        archive.writestr("eta-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: eta\\nVersion: 1.0\\n")
        archive.writestr("eta-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("eta-1.0.dist-info/RECORD", "")
    return name
"""


def test_no_credentials_are_exported(past: Project, home: Path) -> None:
    secret = "hunter2"
    with open_store(Home(home)) as store:
        (found,) = store.find(Environment, name="scoring")
        lock = store.get(Lock, found.lock)
        text = re.sub(
            r'(path|url) = "[^"]*"',
            f'url = "https://me:{secret}@example.com/gamma_ray-1.0-py3-none-any.whl"',
            lock.text.replace(
                'name = "gamma-ray"', f'name = "gamma-ray"\nindex = "https://me:{secret}@example.com/simple"'
            ),
        )
        assert text.count(secret) == 2
        store.write([Put(Lock(id=lock.id, text=text, declaration=lock.declaration))])
    for form in ("requirements", "pylock", "cyclonedx", "dockerfile"):
        said = past("export", "scoring", "--format", form)
        assert secret not in said.stdout + said.stderr, form
        assert form == "cyclonedx" or "example.com" in said.stdout


def test_an_unknown_or_missing_format_is_a_misuse(past: Project) -> None:
    assert "`tilth env export` needs `--format`" in past("export", "training", code=2).stderr
    assert "'pylok' is not one of" in past("export", "training", "--format", "pylok", code=2).stderr.replace(
        "`", "'"
    )
