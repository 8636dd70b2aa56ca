"""`tilth build`: images found or made, pushed, written and loaded, with real registries and engines."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.index import build_wheel
from tests.services import own_name

from tilth.home import Home
from tilth.records import Build, State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broken_registry import BrokenRegistry
    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [pytest.mark.registry, pytest.mark.usefixtures("only_the_index")]

SOURCE = """
from tilth import Environment, pipeline, step

one = Environment("one", requirements={requirements!r}, base_image={base!r}, find_links={links!r})
same = one.with_options(name="same")
other = one.with_options(name="other", requirements=["beta"])

@step(environment=one)
def first() -> int:
    return 1

@step(environment=same)
def second(value: int) -> int:
    return value

@step(environment=other)
def third(value: int) -> int:
    return value

@pipeline
def three():
    third(second(first()))
"""


@pytest.fixture
def built(project: Project, base_images: BaseImages) -> Project:
    """A project of three environments, two of them equal, on a base in a registry."""
    write(project, base_images.registry["3.11"])
    return project


def write(project: Project, base: str, *requirements: str) -> None:
    links = [str(project.folder / "wheels")]
    (project.folder / "wheels").mkdir(exist_ok=True)
    wanted = list(requirements or ["alpha==1.0", "beta"])
    project.write(SOURCE.format(base=base, requirements=wanted, links=links))


def build(project: Project, *arguments: str, code: int = 0) -> Any:
    """What `tilth build --json` printed; what it said where it should fail."""
    with project.start("build", "pipeline.py", *arguments, *(["--json"] if code == 0 else [])) as command:
        assert command.wait(120) == code, command.stderr
    return json.loads(command.stdout) if code == 0 else command.stderr


def test_equal_environments_share_one_image(built: Project, registry_plain: RegistryService) -> None:
    images = build(built, "--registry", f"{registry_plain.host}/{registry_plain.prefix}")
    assert [each["name"] for each in images] == ["one", "other"]
    for each in images:
        (reference,) = each["references"]
        assert reference.endswith(f"@{each['image']}")
        told = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{without_tag(reference)}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(told.stdout)["Digest"] == each["image"]
    layers = [{layer["digest"] for layer in each["layers"]} for each in images]
    assert len(layers[0] & layers[1]) >= 3  # base, skeleton, beta


def test_what_is_there_costs_one_request_an_image(built: Project, broken_registry: BrokenRegistry) -> None:
    registry = f"{broken_registry.host}/{own_name()}"
    first = build(built, "--registry", registry)
    broken_registry.requests.clear()
    again = build(built, "--registry", registry)
    assert [each["id"] for each in again] == [each["id"] for each in first]
    asked = [(each.method, each.path) for each in broken_registry.requests if "/manifests/" in each.path]
    assert [method for method, _ in asked] == ["HEAD", "HEAD"]
    assert len(broken_registry.requests) == 2


def test_a_colleague_finds_what_was_pushed(
    built: Project, registry_plain: RegistryService, tmp_path_factory: pytest.TempPathFactory
) -> None:
    registry = f"{registry_plain.host}/{registry_plain.prefix}"
    mine = build(built, "--registry", registry)
    colleague = type(built)(built.folder, Home(tmp_path_factory.mktemp("colleague") / "tilth"))
    theirs = build(colleague, "--registry", registry)
    assert [each["image"] for each in theirs] == [each["image"] for each in mine]
    assert all(each.found for each in colleague.records(Build))


def test_two_homes_make_the_same_bytes(built: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = type(built)(built.folder, Home(tmp_path_factory.mktemp("other") / "tilth"))
    assert [each["image"] for each in build(built)] == [each["image"] for each in build(other)]


def test_one_more_package_sends_its_layer_alone(
    built: Project, broken_registry: BrokenRegistry, base_images: BaseImages
) -> None:
    build_wheel(built.folder / "wheels", "large", "1.0", files={"large.bin": bytes(range(256)) * 20_000})
    registry = f"{broken_registry.host}/{own_name()}"
    write(built, base_images.registry["3.11"], "alpha==1.0", "large")
    build(built, "--registry", registry)
    write(built, base_images.registry["3.11"], "alpha==1.0", "large", "beta")
    (more, _) = build(built, "--registry", registry)
    assert more["bytes_sent"] < 20_000
    assert [layer["title"] for layer in more["layers"] if layer.get("made")] == []  # `other` had beta already
    assert {"alpha 1.0", "beta 1.0", "large 1.0"} <= {layer["title"] for layer in more["layers"]}


def test_an_image_that_was_deleted_is_pushed_again_from_what_is_here(
    built: Project, registry_plain: RegistryService
) -> None:
    registry = f"{registry_plain.host}/{registry_plain.prefix}"
    first = build(built, "--registry", registry)
    for each in first:
        subprocess.run(
            ["skopeo", "delete", "--tls-verify=false", f"docker://{without_tag(each['references'][0])}"],
            check=True,
        )
    again = build(built, "--registry", registry)
    assert [each["image"] for each in again] == [each["image"] for each in first]
    assert [each["bytes_made"] for each in again] == [0, 0]
    assert [each["id"] for each in again] != [each["id"] for each in first]


def test_a_layer_that_was_damaged_here_is_made_again(built: Project, registry_plain: RegistryService) -> None:
    first = build(built)
    layer = next(each for each in first[0]["layers"] if each["title"] == "alpha 1.0")
    blob = built.home.images / "blobs" / "sha256" / layer["digest"].partition(":")[2]
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    pushed = build(built, "--registry", f"{registry_plain.host}/{registry_plain.prefix}")
    assert [each["image"] for each in pushed] == [each["image"] for each in first]
    assert registry_has(registry_plain, pushed[0]["references"][0])


@pytest.mark.parametrize(
    ("status", "told"), [(401, "refuses"), (403, "refuses"), (413, "as large"), (500, "500"), (507, "space")]
)
def test_a_registry_that_refuses_is_told_and_the_failure_recorded(
    built: Project, broken_registry: BrokenRegistry, status: int, told: str
) -> None:
    broken_registry.rule("POST", r"/blobs/uploads/", status=status, times=100)
    registry = f"{broken_registry.host}/{own_name()}"
    said = build(built, "--registry", registry, code=1)
    assert said.startswith("error: ") or "\nerror: " in said
    assert broken_registry.host in said
    assert str(status) in said or told in said
    failed = [each for each in built.records(Build) if each.state is State.FAILED]
    assert failed
    assert failed[0].failure
    broken_registry.heal()
    assert len(build(built, "--registry", registry)) == 2


def test_a_registry_that_is_down_is_told(built: Project) -> None:
    said = build(built, "--registry", "127.0.0.1:9/acme", code=1)
    assert "127.0.0.1:9" in said
    assert "hint:" in said


def test_a_tag_that_does_not_exist_names_those_that_do(built: Project, base_images: BaseImages) -> None:
    write(built, base_images.registry["3.11"].replace(":bookworm", ":bookwurm"))
    said = build(built, code=1)
    assert "bookwurm" in said
    assert "bookworm" in said.replace("bookwurm", "")


def test_layouts_are_written_as_folder_and_as_file(built: Project, tmp_path: Path) -> None:
    images = build(built, "--output", str(tmp_path / "layout"))
    build(built, "--output", str(tmp_path / "images.tar"), "--only", "other")
    for source in (f"oci:{tmp_path}/layout", f"oci-archive:{tmp_path}/images.tar"):
        name = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
        tag = next(
            each["annotations"]["org.opencontainers.image.ref.name"]
            for each in name
            if each["digest"] == images[1]["image"]
        )
        told = subprocess.run(
            ["skopeo", "inspect", f"{source}:{tag}"], capture_output=True, text=True, check=True
        )
        assert json.loads(told.stdout)["Digest"] == images[1]["image"]


@pytest.mark.docker
def test_an_engine_is_loaded_without_a_registry(built: Project, docker_engine: DockerEngine) -> None:
    (image,) = build(built, "--load", "docker", "--only", "one")
    name = image["references"][0].removeprefix("docker:")
    ran = subprocess.run(
        ["docker", "run", "--rm", name, "python", "-c", "import alpha, beta; print(beta.VERSION)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "1.0\n"
    subprocess.run(["docker", "rmi", "--force", name], check=True, capture_output=True)


def test_what_is_attached_can_be_read_back(built: Project, registry_plain: RegistryService) -> None:
    from tilth.images.referrers import BUILD, LOCK, SBOM, list_attached, read_attached
    from tilth.oci.references import parse
    from tilth.oci.registry import Registry

    image = build(built, "--registry", f"{registry_plain.host}/{registry_plain.prefix}")[0]
    place, client = parse(image["references"][0]), Registry(registry_plain.host)
    found = {each.artifact_type for each in list_attached(client, place.repository, place.digest)}
    assert {SBOM, LOCK, BUILD} <= found
    sbom = json.loads(read_attached(client, place.repository, place.digest, SBOM))
    assert {each["name"] for each in sbom["components"]} == {"alpha", "beta"}
    assert b"[[packages]]" in read_attached(client, place.repository, place.digest, LOCK)
    record = json.loads(read_attached(client, place.repository, place.digest, BUILD))
    assert record["image"] == image["image"]


def test_a_plan_says_what_would_be_built_and_why(
    built: Project, registry_plain: RegistryService, base_images: BaseImages
) -> None:
    registry = f"{registry_plain.host}/{registry_plain.prefix}"

    def plan() -> list[tuple[str, str]]:
        return [(each["plan"], each["why"]) for each in build(built, "--registry", registry, "--plan")]

    assert plan() == [("build", "there is none of this environment yet")] * 2
    assert built.records(Build) == []
    build(built, "--registry", registry)
    assert plan() == [("reuse", "it is built")] * 2
    write(built, base_images.registry["3.11"], "alpha==2.0")
    assert plan()[0] == ("build", "the environment has changed")


def test_builds_are_listed_and_shown(built: Project) -> None:
    build(built)
    with built.start("builds", "list") as command:
        assert command.wait() == 0
    assert "other" in command.stdout
    with built.start("builds", "show", "one") as command:
        assert command.wait() == 0
    assert "alpha 1.0" in command.stdout
    with built.start("builds", "show", "nothing") as command:
        assert command.wait() == 1
    assert "there is no build `nothing`" in command.stderr


@pytest.mark.faults
def test_a_full_disk_is_told_and_leaves_nothing_in_part(
    project: Project, base_images: BaseImages, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        build_wheel_of_noise(project)
        full = type(project)(project.folder, Home(small / "tilth"))
        write(full, base_images.registry["3.11"], "noise")
        said = build(full, "--only", "one", code=1)
        assert "space" in said
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
        shutil.rmtree(small, ignore_errors=True)


def build_wheel_of_noise(project: Project) -> None:
    import random

    (project.folder / "wheels").mkdir(exist_ok=True)
    noise = random.Random(7).randbytes(14 << 20)
    build_wheel(project.folder / "wheels", "noise", "1.0", files={"noise.bin": noise})


def without_tag(reference: str) -> str:
    """`HOST/NAME@DIGEST`: skopeo takes a tag or a digest, not both."""
    name, _, digest = reference.partition("@")
    return f"{name.rpartition(':')[0]}@{digest}"


def registry_has(registry: RegistryService, reference: str) -> bool:
    """Whether every blob of an image can be read."""
    copied = subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", f"docker://{without_tag(reference)}", "dir:/dev/null"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "digest" not in copied.stderr.lower()
