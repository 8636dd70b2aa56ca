"""`tilth build`: images found or made, pushed, written and loaded, with real registries and engines."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.engine.play import wait_until
from tests.index import build_wheel
from tests.services import own_name
from tests.simple_index import SimpleIndex

from tilth.home import Home
from tilth.records import Build, State

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        assert command.wait() == code, command.stderr
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


@pytest.mark.parametrize("named", ["by tag", "by tag, offline", "by digest"])
def test_a_base_in_a_registry_costs_one_more_request_where_a_tag_names_it(
    project: Project, broken_registry: BrokenRegistry, base_images: BaseImages, named: str
) -> None:
    host, _, rest = base_images.registry["3.11"].partition("/")
    base = f"{broken_registry.host}/{rest}"
    if named == "by digest":
        tagged = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{host}/{rest}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        base = f"{base.rpartition(':')[0]}@{tagged.stdout.strip()}"
    write(project, base)
    target = ["--only", "one", "--registry", f"{broken_registry.host}/{own_name()}"]
    (first,) = build(project, *target)
    broken_registry.requests.clear()
    (again,) = build(project, *target, *(["--offline"] if named.endswith("offline") else []))
    assert again["id"] == first["id"]
    asked = [(each.method, "debian-py" in each.path) for each in broken_registry.requests]
    assert asked == [*([("HEAD", True)] if named == "by tag" else []), ("HEAD", False)]


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


@pytest.mark.parametrize("form", ["oci:layout", "oci-archive:images.tar"])
def test_all_images_of_a_pipeline_are_in_one_layout(built: Project, tmp_path: Path, form: str) -> None:
    kind, _, place = form.partition(":")
    out = tmp_path / "out"
    images = build(built, "--output", str(out / place))
    for image in images:
        tag = image["references"][0].rpartition(":")[2]
        told = subprocess.run(
            ["skopeo", "inspect", f"{kind}:{out / place}:{tag}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(told.stdout)["Digest"] == image["image"]
    assert [each.name for each in out.iterdir()] == [place]


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


def test_what_could_not_be_attached_is_attached_by_the_next_build(
    built: Project, broken_registry: BrokenRegistry
) -> None:
    from tilth.images.referrers import list_attached
    from tilth.oci.references import parse
    from tilth.oci.registry import Registry

    registry = f"{broken_registry.host}/{own_name()}"
    broken_registry.rule("PUT", r"/manifests/", status=403, skip=1, times=99)
    assert "does not allow" in build(built, "--registry", registry, "--only", "one", code=1)
    broken_registry.heal()
    (image,) = build(built, "--registry", registry, "--only", "one")
    place = parse(image["references"][0])
    assert len(list_attached(Registry(broken_registry.host), place.repository, place.digest)) == 3
    assert image["warnings"] == []


def test_a_registry_that_takes_images_alone_is_no_error(
    built: Project, broken_registry: BrokenRegistry
) -> None:
    registry = f"{broken_registry.host}/{own_name()}"
    broken_registry.rule("PUT", r"/manifests/sha256", status=400, skip=1, times=1)
    (image,) = build(built, "--registry", registry, "--only", "one")
    assert any("SBOM" in warning for warning in image["warnings"])
    assert [each["id"] for each in build(built, "--registry", registry, "--only", "one")] == [image["id"]]


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


def test_what_was_built_before_the_last_change_is_known_to_be_built(
    built: Project, base_images: BaseImages, tmp_path: Path
) -> None:
    build(built, "--only", "one")
    write(built, base_images.registry["3.11"], "alpha==2.0")
    build(built, "--only", "one")
    write(built, base_images.registry["3.11"])
    (layout,) = build(built, "--only", "one", "--plan", "--output", str(tmp_path / "layout"))
    assert (layout["plan"], layout["why"]) == ("build", "layouts are written anew")


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


class HaltingIndex(SimpleIndex):
    """An index that gives one wheel only when it is told to."""

    def __init__(self, folder: Path, halted: str) -> None:
        super().__init__(folder)
        self.free = threading.Event()
        self._halted = f"/files/{halted}"

    def answer(self, path: str, *, json_wanted: bool) -> tuple[int, str, bytes]:
        if path.startswith(self._halted) and path.endswith(".whl"):
            self.free.wait(120)
        return super().answer(path, json_wanted=json_wanted)


@pytest.fixture
def halting(
    project: Project, base_images: BaseImages, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HaltingIndex]:
    """What a project gets two wheels from, each of a share of its own; the second is not given yet."""
    wheels = project.folder / "wheels"
    wheels.mkdir()
    build_wheel(wheels, "beta", "1.0")
    for name, size in (("first", 30 << 20), ("second", 25 << 20)):
        build_wheel(wheels, name, "1.0", files={f"{name}.bin": random.Random(name).randbytes(size)})
    with HaltingIndex(wheels, "second-1.0") as index:
        settings = project.folder / "uv.toml"
        settings.write_text(f"[[index]]\nurl = {json.dumps(index.url)}\ndefault = true\n")
        monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
        monkeypatch.delenv("UV_OFFLINE")
        base = base_images.registry["3.11"]
        project.write(SOURCE.format(base=base, requirements=["first", "second"], links=[]))
        yield index
        index.free.set()


def test_an_upload_begins_before_the_last_package_is_fetched(
    halting: HaltingIndex, project: Project, broken_registry: BrokenRegistry
) -> None:
    target = ["--only", "one", "--registry", f"{broken_registry.host}/{own_name()}"]
    with project.start("build", "pipeline.py", *target, "--json") as command:

        def uploaded() -> bool:
            done = [
                each.path for each in broken_registry.requests if each.method == "PUT" and each.status == 201
            ]
            return any(digest.partition(":")[2] in path for digest in layers_of(project) for path in done)

        wait_until(lambda: command.process.poll() is not None or uploaded(), "a layer is sent")
        assert command.process.poll() is None
        assert not halting.free.is_set()
        halting.free.set()
        assert command.wait(120) == 0, command.stderr
    (image,) = json.loads(command.stdout)
    sent = sum(each.received for each in broken_registry.requests if "/blobs/uploads/" in each.path)
    assert image["bytes_sent"] <= sent < image["bytes_sent"] + 50_000  # what is attached


def test_a_refused_upload_ends_a_build_that_is_being_made(
    halting: HaltingIndex, project: Project, broken_registry: BrokenRegistry
) -> None:
    refusing = broken_registry.rule("POST", r"/blobs/uploads/", status=403, times=1000)
    target = ["--only", "one", "--registry", f"{broken_registry.host}/{own_name()}"]
    with project.start("build", "pipeline.py", *target) as command:
        refused = lambda: command.process.poll() is not None or refusing.used  # noqa: E731
        wait_until(refused, "an upload is refused")
        halting.free.set()
        assert command.wait(120) == 1
    assert "error: registry" in command.stderr
    assert "docker login" in command.stderr
    assert not [
        each for each in broken_registry.requests if "/manifests/" in each.path and each.method == "PUT"
    ]
    (failed,) = project.records(Build)
    assert failed.state is State.FAILED


def test_a_build_that_was_killed_goes_on_with_the_layers_it_made(
    halting: HaltingIndex, project: Project, broken_registry: BrokenRegistry
) -> None:
    target = ["--only", "one", "--registry", f"{broken_registry.host}/{own_name()}"]
    with project.start("build", "pipeline.py", *target) as command:
        made = lambda: command.process.poll() is not None or layers_of(project)  # noqa: E731
        wait_until(made, "a layer is made")
        assert command.process.poll() is None
        before = layers_of(project)
        command.kill()
    halting.free.set()
    (image,) = build(project, *target)
    made_now = {layer["digest"] for layer in image["layers"] if layer.get("made")}
    assert made_now
    assert not made_now & before
    (other,) = build(type(project)(project.folder, Home(project.folder / "fresh")), "--only", "one")
    assert other["image"] == image["image"]


def layers_of(project: Project) -> set[str]:
    """Digests of the layers that were made."""
    notes = (project.home.images / "layers").glob("[0-9a-f]*.json")
    return {json.loads(each.read_text())["descriptor"]["digest"] for each in notes}


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


MANY = """
from tilth import Environment, pipeline, step

def environment(number):
    wanted = [f"part{{each}}" for each in range(number, number + 3)]
    return Environment(f"e{{number}}", requirements=wanted, base_image={base!r}, find_links={links!r})

@step
def work(value: int) -> int:
    return value

@pipeline
def many():
    for number in range(6):
        work.with_options(environment=environment(number), name=f"s{{number}}")(number)
"""


def test_environments_that_overlap_send_each_layer_once(
    project: Project, broken_registry: BrokenRegistry, base_images: BaseImages
) -> None:
    wheels = project.folder / "wheels"
    for number in range(8):
        noise = random.Random(number).randbytes(2 << 20)
        build_wheel(wheels, f"part{number}", "1.0", files={f"part{number}.bin": noise})
    project.write(MANY.format(base=base_images.registry["3.11"], links=[str(wheels)]))
    images = build(project, "--registry", f"{broken_registry.host}/{own_name()}")
    assert len(images) == 6
    own = {
        layer["digest"]: layer["size"]
        for image in images
        for layer in image["layers"]
        if layer["title"] != "base"
    }
    uploads = [each for each in broken_registry.requests if "/blobs/uploads/" in each.path]
    sent = sum(each.received for each in uploads)
    base = sum(layer["size"] for layer in images[0]["layers"] if layer["title"] == "base")
    assert sum(own.values()) <= sent < sum(own.values()) + base + (1 << 20)  # configs and documents beside


def test_a_new_version_of_a_package_makes_its_layer_alone(
    built: Project, registry_plain: RegistryService, base_images: BaseImages
) -> None:
    registry = f"{registry_plain.host}/{own_name()}"
    build(built, "--registry", registry)
    write(built, base_images.registry["3.11"], "alpha==2.0", "beta")
    (bumped, _) = build(built, "--registry", registry)
    assert [layer["title"] for layer in bumped["layers"] if layer.get("made")] == ["alpha 2.0"]


def test_a_change_of_code_builds_nothing(built: Project, broken_registry: BrokenRegistry) -> None:
    registry = f"{broken_registry.host}/{own_name()}"
    first = build(built, "--registry", registry)
    source = (built.folder / "pipeline.py").read_text()
    built.write(source.replace("return 1", "return 2"))
    broken_registry.requests.clear()
    assert [each["id"] for each in build(built, "--registry", registry)] == [each["id"] for each in first]
    assert broken_registry.received == 0


@pytest.mark.parametrize(
    ("method", "broken"),
    [("POST", {"status": 429, "retry_after_s": 1}), ("PATCH|PUT", {"cut_request_at": 100})],
)
def test_what_a_registry_puts_off_or_drops_is_sent_again(
    built: Project, broken_registry: BrokenRegistry, method: str, broken: dict[str, int]
) -> None:
    rules = [broken_registry.rule(each, r"/blobs/uploads/", **broken) for each in method.split("|")]
    images = build(built, "--registry", f"{broken_registry.host}/{own_name()}")
    assert any(rule.used for rule in rules)
    assert len(images) == 2


def test_a_package_that_has_no_wheel_for_the_base_is_an_error_of_the_plan(
    built: Project, base_images: BaseImages
) -> None:
    build_wheel(built.folder / "wheels", "foreign", "1.0", tag="cp311-cp311-win_amd64")
    write(built, base_images.registry["3.11"], "foreign")
    said = build(built, "--plan", code=1)
    assert "foreign" in said
    assert "Traceback" not in said
    assert built.records(Build) == []


def test_a_wheel_that_changed_on_the_index_is_refused(
    built: Project, base_images: BaseImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheels = built.folder / "wheels"
    build_wheel(wheels, "gamma", "1.0", files={"gamma.py": "VERSION = 1\n"})
    write(built, base_images.registry["3.11"], "gamma")
    build(built, "--plan")
    build_wheel(wheels, "gamma", "1.0", files={"gamma.py": "VERSION = 'another'\n"})
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    said = build(built, "--only", "one", code=1)
    assert "gamma" in said
    assert "Traceback" not in said


def test_a_file_in_two_packages_is_told(built: Project, base_images: BaseImages) -> None:
    for name in ("left", "right"):
        build_wheel(built.folder / "wheels", name, "1.0", files={"shared.py": f"FROM = {name!r}\n"})
    write(built, base_images.registry["3.11"], "left", "right")
    (image, _) = build(built)
    assert any("shared.py" in warning for warning in image["warnings"])


def test_a_wheel_writes_nothing_outside(built: Project, base_images: BaseImages) -> None:
    build_wheel(built.folder / "wheels", "hostile", "1.0", files={"../../../../evil.py": "x = 1\n"})
    write(built, base_images.registry["3.11"], "hostile")
    (image,) = build(built, "--only", "one")
    layer = next(each for each in image["layers"] if "hostile" in each["title"])
    blob = built.home.images / "blobs" / "sha256" / layer["digest"].partition(":")[2]
    with tarfile.open(blob) as packed:
        names = packed.getnames()
    assert any("hostile" in name for name in names)
    assert not [name for name in names if ".." in name or "evil" in name]
    assert not list(built.folder.parent.rglob("evil.py"))


def test_an_image_for_an_architecture_that_is_not_here(
    built: Project, base_images: BaseImages, tmp_path: Path
) -> None:
    write(built, for_arm(base_images.layouts["3.11"], tmp_path / "arm"))
    images = build(built, "--platform", "linux/arm64", "--output", str(tmp_path / "out"))
    assert {each["platform"] for each in images} == {"linux/arm64"}
    tag = images[0]["references"][0].rpartition(":")[2]
    told = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{tmp_path}/out:{tag}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout)["architecture"] == "arm64"


def test_an_environment_says_itself_which_platform_it_is_for(
    built: Project, base_images: BaseImages, tmp_path: Path
) -> None:
    write(built, for_arm(base_images.layouts["3.11"], tmp_path / "arm"))
    assert "is not there for `linux/amd64`" in build(built, code=1)
    source = (built.folder / "pipeline.py").read_text()
    (built.folder / "pipeline.py").write_text(
        source.replace("find_links", 'platform="linux/arm64", find_links')
    )
    assert {each["platform"] for each in build(built)} == {"linux/arm64"}
    # What the command line says counts more.
    assert "is not there for `linux/amd64`" in build(built, "--platform", "linux/amd64", code=1)


def for_arm(layout: str, to: Path) -> str:
    """A copy of a layout whose image says that it is for another architecture."""
    folder, _, tag = layout.removeprefix("oci:").rpartition(":")
    shutil.copytree(folder, to)

    def put(content: Any) -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        (to / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def get(descriptor: dict[str, Any]) -> Any:
        return json.loads((to / "blobs" / "sha256" / descriptor["digest"][7:]).read_text())

    index = json.loads((to / "index.json").read_text())
    for each in index["manifests"]:
        manifest = get(each)
        manifest["config"] |= put({**get(manifest["config"]), "architecture": "arm64"})
        each |= put(manifest)
        each.pop("platform", None)
    (to / "index.json").write_text(json.dumps(index))
    return f"oci:{to}:{tag}"


def test_a_folder_that_cannot_be_written_is_told(built: Project) -> None:
    said = build(built, "--output", "/proc/nothing", code=1)
    assert "error: `/proc/nothing" in said
    assert "Traceback" not in said


@pytest.mark.docker
def test_an_engine_pulls_and_runs_what_was_pushed(
    built: Project, registry_plain: RegistryService, docker_engine: DockerEngine
) -> None:
    image = build(built, "--registry", f"{registry_plain.host}/{registry_plain.prefix}", "--only", "one")[0]
    name = without_tag(image["references"][0])
    ran = subprocess.run(
        ["docker", "run", "--rm", "--pull=always", "--quiet", name, "python", "-c", "import alpha; print('ran')"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "ran\n"
    subprocess.run(["docker", "rmi", "--force", name], check=True, capture_output=True)


def build_wheel_of_noise(project: Project) -> None:
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


def test_a_build_is_recorded_when_it_begins_and_its_log_is_kept(
    built: Project, broken_registry: BrokenRegistry
) -> None:
    broken_registry.rule("PUT", "/manifests/", delay_s=600, times=100)
    registry = f"{broken_registry.host}/{own_name()}"
    with built.start("build", "pipeline.py", "--only", "one", "--registry", registry) as command:
        wait_until(lambda: any("/manifests/" in each.path for each in put(broken_registry)))
        (begun,) = built.records(Build)
        assert begun.state is State.RUNNING
        assert begun.finished_at is None
        log = (built.home.root / begun.log).read_text()
        assert "building, as there is none of this environment yet" in log
        assert "layer `alpha 1.0`: sent" in log
        command.signal(signal.SIGINT)
        command.wait()
    (ended,) = built.records(Build)
    assert (ended.id, ended.state) == (begun.id, State.CANCELLED)
    assert ended.finished_at is not None


def put(registry: BrokenRegistry) -> list[Any]:
    return [each for each in registry.requests if each.method == "PUT"]


def test_layers_are_recorded_with_how_they_came(built: Project, registry_plain: RegistryService) -> None:
    registry = f"{registry_plain.host}/{own_name()}"
    build(built, "--only", "one", "--registry", registry)
    build(built, "--only", "other", "--registry", registry)
    ways = [{layer.title: layer.way for layer in each.layers} for each in built.records(Build)]
    first, second = sorted(ways, key=len, reverse=True)
    assert first["alpha 1.0"] == "sent"
    assert second["beta 1.0"] == "skipped"
