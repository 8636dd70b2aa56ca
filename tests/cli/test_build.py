"""`tilth build` and `tilth builds` as people use them: what is told, signatures, stacks with registries, plans."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.client.test_building import built as built, write
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.services import own_name

from tilth.secrets import open_secrets

if TYPE_CHECKING:
    from tests.engine.play import Command, Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [pytest.mark.registry, pytest.mark.usefixtures("only_the_index")]


def tilth(project: Project, *arguments: str, code: int = 0) -> Command:
    """A command that ended as it should."""
    with project.start(*arguments) as command:
        assert command.wait() == code, command.stderr
    return command


def keys(folder: Path, name: str, password: str = "") -> tuple[str, str]:
    """A pair of keys, made by OpenSSL: paths of the private and the public one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private]
        + (["-aes256", "-pass", f"pass:{password}"] if password else []),
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "pkey", "-in", private, "-pubout", "-out", public, "-passin", f"pass:{password}"],
        check=True,
        capture_output=True,
    )
    return str(private), str(public)


def test_a_build_says_what_it_does_and_how_long_it_took(
    built: Project, registry_plain: RegistryService
) -> None:
    registry = f"{registry_plain.host}/{own_name()}"
    first = tilth(built, "build", "pipeline.py", "--registry", registry, "--only", "one")
    assert "environment `one`: locking" in first.stderr
    assert "image `one`: building, as there is none of this environment yet" in first.stderr
    assert "image `one`: built in " in first.stderr
    assert f"sent; it is in `{registry_plain.host}`" in first.stderr
    assert first.stdout.startswith(f"one  {registry}/")
    again = tilth(built, "build", "pipeline.py", "--registry", registry, "--only", "one")
    assert again.stdout == first.stdout
    assert again.stderr == ""


def test_what_is_signed_is_verified_by_its_key_alone(
    built: Project, registry_plain: RegistryService, tmp_path: Path
) -> None:
    registry = f"{registry_plain.host}/{own_name()}"
    private, public = keys(tmp_path, "mine")
    _, other = keys(tmp_path, "other")
    unsigned = tilth(built, "build", "pipeline.py", "--registry", registry, "--only", "one")
    reference = unsigned.stdout.split()[1]
    assert "is not signed" in tilth(built, "builds", "verify", reference, "--key", public, code=1).stderr
    # What was there already is signed too.
    tilth(built, "build", "pipeline.py", "--registry", registry, "--only", "one", "--sign", private)
    told = tilth(built, "builds", "verify", reference, "--key", public).stdout
    assert told.startswith(reference.partition("@")[2])
    said = tilth(built, "builds", "verify", reference, "--key", other, code=1).stderr
    assert "is not signed by that key" in said


def test_the_password_of_a_key_is_a_variable(
    built: Project, registry_plain: RegistryService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys(tmp_path, "locked", "open sesame")
    asked = ("build", "pipeline.py", "--registry", f"{registry_plain.host}/{own_name()}", "--sign", private)
    refused = tilth(built, *asked, "--only", "one", code=1)
    assert "cannot be read" in refused.stderr
    assert "building" not in refused.stderr  # found before anything is built
    monkeypatch.setenv("COSIGN_PASSWORD", "open sesame")
    unlocked, _ = keys(tmp_path, "unlocked")
    tilth(built, *asked[:-1], unlocked, "--only", "one")  # which needs none
    reference = tilth(built, *asked, "--only", "one").stdout.split()[1]
    tilth(built, "builds", "verify", reference, "--key", public)


def test_a_key_may_be_a_secret(
    built: Project, registry_plain: RegistryService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys(tmp_path, "kept", "open sesame")
    secrets = open_secrets(built.home)
    secrets.set("SIGNING_KEY", Path(private).read_text())
    secrets.set("COSIGN_PASSWORD", "open sesame")
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    Path(private).unlink()
    asked = ("build", "pipeline.py", "--registry", f"{registry_plain.host}/{own_name()}", "--only", "one")
    unknown = tilth(built, *asked, "--sign", "secret:SIGNING", code=1).stderr
    assert "SIGNING_KEY" in unknown  # what was meant
    secrets.set("NO_KEY", "no key at all")
    assert "cannot be read" in tilth(built, *asked, "--sign", "secret:NO_KEY", code=1).stderr
    reference = tilth(built, *asked, "--sign", "secret:SIGNING_KEY").stdout.split()[1]
    tilth(built, "builds", "verify", reference, "--key", public)


@pytest.mark.docker
@pytest.mark.parametrize("engine", ["podman", "containerd"])
def test_other_engines_are_given_images_once(
    built: Project, docker_engine: DockerEngine, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The containerd is the one that the Docker engine has, in a namespace of its own."""
    own, system = "/var/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"
    namespace = own_name()
    monkeypatch.setenv("CONTAINERD_ADDRESS", own if Path(own).exists() else system)
    monkeypatch.setenv("CONTAINERD_NAMESPACE", namespace)
    # An environment that no other test has: they share the engine.
    source = (built.folder / "pipeline.py").read_text()
    built.write(source.replace("find_links=", f"variables={{'OWN': '{own_name()}'}}, find_links="))
    asked = ("build", "pipeline.py", "--load", engine, "--only", "one")
    try:
        name = tilth(built, *asked).stdout.split()[1].removeprefix(f"{engine}:")
        assert tilth(built, *asked).stderr == ""
        listed = (
            ["ctr", "images", "check"] if engine == "containerd" else ["podman", "image", "inspect", name]
        )
        shown = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
        assert name in shown or "dev.tilth.environment" in shown
    finally:
        tilth(built, "env", "prune", "--all")
    if engine == "podman":
        assert subprocess.run(["podman", "image", "exists", name], check=False).returncode == 1
    else:
        ctr = ["ctr", "images", "list", "--quiet"]
        assert subprocess.run(ctr, check=True, capture_output=True, text=True).stdout == ""
        subprocess.run(["ctr", "namespaces", "remove", namespace], check=False, capture_output=True)


def test_signing_needs_a_registry(built: Project, tmp_path: Path) -> None:
    private, _ = keys(tmp_path, "mine")
    assert "nothing to sign" in tilth(built, "build", "pipeline.py", "--sign", private, code=1).stderr
    said = tilth(built, "build", "pipeline.py", "--sign", private, "--output", "x", code=2).stderr
    assert "`--sign` is for images in a registry" in said


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--registry", ""], 1, "`--registry` is empty"),
        (["--registry", "ghcr/acme"], 1, "`ghcr` is not the host of a registry"),
        (["--registry", "localhost:abc/acme"], 1, "`localhost:abc` is not the host of a registry"),
        (["--registry", "http://127.0.0.1/acme"], 1, "`http:` is not the host of a registry"),
        (["--registry", "127.0.0.1:1/Acme"], 1, "write `acme`"),
        (["--registry", "127.0.0.1:1/acme", "--load", "docker"], 2, "`--registry` and `--load` exclude"),
        (["--registry", "127.0.0.1:1/acme", "--output", "x"], 2, "`--registry` and `--output` exclude"),
        (["--output", "images.tar.gz"], 1, "ends in `.tar`"),
        (["--platform", "arm64"], 1, "write `linux/arm64`"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_built(
    built: Project, arguments: list[str], code: int, told: str
) -> None:
    command = tilth(built, "build", "pipeline.py", *arguments, code=code)
    assert told in command.stderr
    assert "Traceback" not in command.stderr
    assert "building" not in command.stderr
    assert not list(built.folder.glob("images.*"))


def test_a_plan_of_ready_images_says_that_there_is_nothing_to_build(
    built: Project, base_images: BaseImages
) -> None:
    built.write(
        "from tilth import Environment, pipeline, step\n"
        f"ready = Environment('ready', image={base_images.registry['3.11']!r})\n"
        "@step(environment=ready)\ndef first() -> int:\n    return 1\n"
        "@pipeline\ndef one():\n    first()\n"
    )
    told = tilth(built, "build", "pipeline.py", "--plan")
    assert told.stdout == ""
    assert "there is nothing to build" in told.stderr


def test_attached_documents_are_listed_when_asked(built: Project, registry_plain: RegistryService) -> None:
    tilth(built, "build", "pipeline.py", "--registry", f"{registry_plain.host}/{own_name()}")
    shown = tilth(built, "builds", "show", "one", "--attached").stdout
    for name in ("sbom.cdx.json", "pylock.toml", "build.json"):
        assert name in shown
    assert "sbom" not in tilth(built, "builds", "show", "one").stdout


@pytest.mark.parametrize("kind", ["registry_password", "registry_token"])
def test_the_registry_of_a_stack_is_used_with_its_login(
    built: Project, kind: str, request: pytest.FixtureRequest
) -> None:
    registry: RegistryService = request.getfixturevalue(kind)
    open_secrets(built.home).set("REGISTRY_PASSWORD", registry.password)
    settings = {
        "host": registry.host,
        "prefix": registry.prefix,
        "ca": str(registry.ca),
        "user": registry.user,
        "password": "secret:REGISTRY_PASSWORD",
    }
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    tilth(built, "component", "register", "images", "--type", "container_registry", "--flavor", "oci", *given)
    tilth(
        built, "stack", "register", "shipping", "--orchestrator", "local", "--artifact-store", "local",
        "--container-registry", "images",
    )  # fmt: skip
    made = tilth(built, "build", "pipeline.py", "--stack", "shipping", "--only", "one")
    assert made.stdout.startswith(f"one  {registry.host}/{registry.prefix}/")
    assert tilth(built, "build", "pipeline.py", "--stack", "shipping", "--only", "one").stderr == ""


@pytest.mark.docker
def test_the_registry_of_a_stack_says_how_layers_are_compressed(
    built: Project, registry_plain: RegistryService
) -> None:
    settings = {"host": registry_plain.host, "prefix": own_name(), "compression": "zstd"}
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    tilth(built, "component", "register", "small", "--type", "container_registry", "--flavor", "oci", *given)
    tilth(built, "stack", "register", "small", "-o", "local", "-a", "local", "-c", "small", "--set")
    reference = tilth(built, "build", "pipeline.py", "--only", "one").stdout.split()[1]
    told = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference.partition(':one')[0]}@{reference.partition('@')[2]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kinds = [layer["mediaType"].rpartition("+")[2] for layer in json.loads(told.stdout)["layers"]]
    assert kinds[0] == "gzip"  # the base's
    assert set(kinds[1:]) == {"zstd"}


def test_a_plan_tells_of_images_and_names_the_stack(
    built: Project, docker_engine: DockerEngine, base_images: BaseImages
) -> None:
    tilth(
        built, "component", "register", "loaded", "--type", "orchestrator", "--flavor", "docker",
        "--set", "delivery=image",
    )  # fmt: skip
    tilth(built, "stack", "register", "loading", "--orchestrator", "loaded", "--artifact-store", "local")
    tilth(built, "stack", "set", "loading")
    planned = tilth(built, "plan", "pipeline.py").stdout
    assert "stack: loading" in planned
    assert "the environment is not locked yet" in planned
    tilth(built, "build", "pipeline.py", "--load", "docker")
    planned = tilth(built, "plan", "pipeline.py").stdout
    assert [line.split()[:3] for line in planned.splitlines() if "it is built" in line] == [
        ["one,", "same", "reuse"],
        ["other", "reuse", "it"],
    ]
    ran = tilth(built, "run", "pipeline.py")
    assert "building" not in ran.stderr
    assert "three-1" in tilth(built, "builds", "show", "one").stdout
    write(built, base_images.registry["3.11"], "alpha==2.0")
    tilth(built, "build", "pipeline.py", "--plan")
    assert "the environment has changed" in tilth(built, "plan", "pipeline.py").stdout


COMMANDS = """
from tilth import Environment, pipeline, step

one = Environment("one", requirements=["alpha"], base_image={base!r}, system_packages=["tree"])
other = Environment("other", requirements=["alpha"], dockerfile="Dockerfile", system_packages=["tree"])

@step(environment=one)
def first() -> int:
    return 1

@step(environment=other)
def second(value: int) -> int:
    return value

@pipeline
def two():
    second(first())
"""


def test_what_a_builder_is_given_is_shown_and_nothing_is_built(
    built: Project, base_images: BaseImages
) -> None:
    assert "no environment asks" in tilth(built, "build", "pipeline.py", "--show-dockerfile").stderr
    (built.folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    built.write(COMMANDS.format(base=base_images.registry["3.11"]))
    shown = tilth(built, "build", "pipeline.py", "--show-dockerfile", "--only", "one").stdout
    assert shown.startswith(f"# environment `one`\nFROM {base_images.registry['3.11']}\nRUN ")
    assert "apt-get install --yes --no-install-recommends tree" in shown
    assert "environment `other`" not in shown
    told = tilth(built, "plan", "pipeline.py", "--show-dockerfile", "--json").stdout
    assert '"FROM scratch\\nCOPY . /\\n\\n# then, on the image that this gives:\\n' in told
    assert not list(built.home.images.glob("derived/*.json"))
    refused = tilth(built, "build", "pipeline.py", "--show-dockerfile", "--supervisor", code=2).stderr
    assert "exclude each other" in refused


@pytest.mark.docker
def test_a_refresh_builds_what_is_below_anew(
    built: Project, docker_engine: DockerEngine, base_images: BaseImages, tmp_path: Path
) -> None:
    tilth(
        built, "component", "register", "engine", "--type", "image_builder", "--flavor", "docker",
        "--set", "network=host",
    )  # fmt: skip
    (built.folder / "Dockerfile").write_text(
        f"FROM {base_images.registry['3.11']}\nRUN echo {own_name()}; cat /proc/sys/kernel/random/uuid > /made\n"
    )
    source = (built.folder / "pipeline.py").read_text()
    source = source.replace("base_image=", "dockerfile='Dockerfile', build_context='context', find_links=")
    source = source.split(", find_links=")[0] + ', find_links=["wheels"])' + source.partition("])")[2]
    (built.folder / "context").mkdir()
    (built.folder / "pipeline.py").write_text(source)
    build = (
        "build",
        "pipeline.py",
        "--only",
        "one",
        "--builder",
        "engine",
        "--output",
        str(tmp_path / "out"),
    )
    first = tilth(built, *build).stdout
    assert tilth(built, *build).stdout == first
    again = tilth(built, *build, "--refresh")
    assert again.stdout != first
    assert tilth(built, *build).stdout == again.stdout
