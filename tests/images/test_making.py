"""Images of locks: the same bytes everywhere, read by other tools, refused where they could not run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.images.locked import (
    LIBRARY,
    Workshop,
    base_of,
    like,
    run_in,
    workshop as workshop,
    write_layout,
)

from tilth.environments import in_image
from tilth.errors import DefinitionError
from tilth.home import Home
from tilth.images.bases import BaseLayer
from tilth.images.fitting import refuse_unfit
from tilth.images.grouping import OURS, SHARED
from tilth.images.making import Beside, image_key, make_image
from tilth.images.settings import MOST_LAYERS, ImageSettings
from tilth.oci.descriptors import DOCKER_LAYER_GZIP, LAYER_GZIP, Descriptor, digest_of

if TYPE_CHECKING:
    from tests.services import BaseImages

BUILD = """
import os, sys
folder, wheels, umask, python, base = sys.argv[1:]
os.umask(int(umask, 8))
from pathlib import Path
import msgspec
from tests.images.locked import Workshop
from tilth.environments import probe
from tilth.home import Home
from tilth.images.bases import Base
shop = Workshop(Home(Path(folder, "home")), Path(wheels), Path(folder), Path(python))
shop.base = msgspec.json.decode(base, type=Base)
print(shop.image("alpha", "beta").digest)
"""
NOBODY = 65534


def stock(workshop: Workshop) -> None:
    workshop.wheel(
        "alpha",
        files={
            "alpha/__init__.py": "def main() -> None:\n    print('hello')\n",
            "alpha/data.bin": b"\0" * 5000,
        },
        scripts={"alpha-run": "alpha:main"},
        requires=["beta"],
    )
    workshop.wheel("beta")


def config(image: Any) -> dict[str, Any]:
    return json.loads(image.config)["config"]


def build_elsewhere(workshop: Workshop, root: Path, umask: str, python: str, *before: str) -> str:
    """The digest of the image that another process makes, from wheels that are younger than ours."""
    wheels = root / "wheels"
    shutil.copytree(workshop.wheels, wheels)
    for path in wheels.iterdir():
        os.utime(path, (1_900_000_000, 1_900_000_000))
    (root / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(wheels))}]\n")
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    checkout = Path(__file__).parents[2]
    variables = {
        **os.environ,
        "UV_CONFIG_FILE": str(root / "uv.toml"),
        "UV_CACHE_DIR": str(root / "cache"),
        "HOME": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "src"), sysconfig.get_path("purelib")]),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    base = msgspec.json.encode(workshop.base).decode()
    done = subprocess.run(
        [*before, python, "-c", BUILD, str(root), str(wheels), umask, python, base],
        env=variables,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_same_inputs_give_the_same_digest_in_another_folder_with_another_umask(
    workshop: Workshop, tmp_path_factory: pytest.TempPathFactory, umask: str
) -> None:
    stock(workshop)
    digest = build_elsewhere(workshop, tmp_path_factory.mktemp("elsewhere"), umask, sys.executable)
    assert digest == workshop.image("alpha", "beta").digest


def test_the_same_inputs_give_the_same_digest_for_another_user(workshop: Workshop) -> None:
    """One who owns nothing, with an interpreter of the same minor version that he may start."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = [sys.executable, f"/usr/bin/python{minor}", f"/usr/local/bin/python{minor}"]
    python = next(
        (
            each
            for each in candidates
            if subprocess.run([*drop, "test", "-x", each], check=False).returncode == 0
        ),
        None,
    )
    checkout = subprocess.run([*drop, "ls", Path(__file__)], capture_output=True, check=False).returncode == 0
    if python is None or not checkout:
        pytest.skip(f"another user may not start a Python {minor}, or read this checkout")
    stock(workshop)
    # Below pytest's own folder nobody else may go.
    with tempfile.TemporaryDirectory(prefix="tilth-nobody-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        digest = build_elsewhere(workshop, Path(folder), "022", python, *drop)
    assert digest == workshop.image("alpha", "beta").digest


def test_an_image_made_at_another_time_is_the_same(workshop: Workshop, tmp_path: Path) -> None:
    stock(workshop)
    first = workshop.image("alpha")
    for path in workshop.wheels.iterdir():
        os.utime(path, (2_000_000_000, 2_000_000_000))
    other = Workshop(Home(tmp_path / "other"), workshop.wheels, workshop.root)
    assert other.image("alpha").digest == first.digest
    assert json.loads(first.config)["created"] == workshop.base.created


def test_source_date_epoch_says_when_it_was_made(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    stock(workshop)
    lock = workshop.lock("alpha")
    usual = image_key(lock, workshop.base, ImageSettings())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    image = workshop.image_of(lock)
    assert json.loads(image.config)["created"] == "2023-11-14T22:13:20Z"
    assert image_key(lock, workshop.base, ImageSettings()) != usual
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(DefinitionError, match="`yesterday`"):
        workshop.image_of(lock)


def test_the_config_is_the_bases_with_the_environment_in_front(workshop: Workshop) -> None:
    stock(workshop)
    lock = workshop.lock("alpha", variables={"LANG": "de_DE.UTF-8", "TOKENS": "a=b"})
    labels = {"org.opencontainers.image.vendor": "us"}
    image = workshop.image_of(
        lock,
        ImageSettings(
            user="1000:1000", working_directory="/work", labels=labels, annotations={"note": "one"}
        ),
    )
    found = config(image)
    assert found["Env"] == [
        "PATH=/opt/env/bin:/usr/bin:/bin",
        "LANG=de_DE.UTF-8",
        "VIRTUAL_ENV=/opt/env",
        "TOKENS=a=b",
        "HOME=/tmp",
    ]
    assert (found["User"], found["WorkingDir"], found["Cmd"]) == ("1000:1000", "/work", ["python3"])
    assert found["Labels"] == {
        "of": "the base",
        "dev.tilth.environment": lock.digest,
        "org.opencontainers.image.base.digest": workshop.base.digest,
        **labels,
    }
    manifest = json.loads(image.manifest)
    assert manifest["annotations"]["dev.tilth.environment"] == lock.digest
    assert manifest["annotations"]["note"] == "one"
    assert digest_of(image.manifest) == image.digest
    assert manifest["config"]["digest"] == digest_of(image.config)
    whole = json.loads(image.config)
    assert len(whole["history"]) == len(whole["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 4


def test_the_users_home_is_the_bases_own_where_there_is_one(workshop: Workshop) -> None:
    stock(workshop)
    assert not [each for each in config(workshop.image("alpha"))["Env"] if each.startswith("HOME=")]
    named = config(workshop.image("alpha", settings=ImageSettings(user="nobody")))
    assert not [each for each in named["Env"] if each.startswith("HOME=")]
    workshop.base = like(workshop.interpreter, config={"Env": ["HOME=/data"], "User": "7"})
    found = config(workshop.image("alpha"))
    assert "HOME=/data" in found["Env"]
    assert "PATH=/opt/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in found["Env"]


def test_an_image_has_nothing_of_tilths(workshop: Workshop) -> None:
    stock(workshop)
    image = workshop.image("alpha")
    for path in workshop.files(image):
        assert "tilth" not in path
    assert workshop.read(image, "opt/env/pyvenv.cfg").decode().splitlines() == [
        f"home = {Path(workshop.base.python).parent}",
        "implementation = cpython",
        f"version_info = {workshop.base.version}",
        "include-system-site-packages = false",
    ]
    assert str(workshop.home.root).encode() not in b"".join(
        workshop.read(image, path) for path, member in workshop.files(image).items() if member.isreg()
    )


def test_the_name_of_the_environment_is_not_in_the_image(workshop: Workshop) -> None:
    stock(workshop)
    one, other = workshop.lock("alpha", name="one"), workshop.lock("alpha", name="other")
    assert one.name != other.name
    assert workshop.image_of(one).digest == workshop.image_of(other).digest
    assert image_key(one, workshop.base, ImageSettings()) == image_key(other, workshop.base, ImageSettings())


def test_the_key_knows_what_the_image_depends_on(workshop: Workshop) -> None:
    stock(workshop)
    lock, base, settings = workshop.lock("alpha"), workshop.base, ImageSettings()
    keys = {
        image_key(lock, base, settings),
        image_key(workshop.lock("beta"), base, settings),
        image_key(lock, like(workshop.interpreter, digest=digest_of(b"other")), settings),
        image_key(lock, base, ImageSettings(user="1")),
        image_key(lock, base, settings, code=digest_of(b"code")),
        image_key(lock, base, settings, beside=[Beside(workshop.lock("beta"), "/opt/beside")]),
    }
    assert len(keys) == 6
    assert image_key(lock, like(workshop.interpreter, reference="mirror/debian"), settings) in keys


def test_an_environment_beside_another_is_below_it_and_changes_none_of_its_layers(workshop: Workshop) -> None:
    stock(workshop)
    lock, other = workshop.lock("alpha"), workshop.lock("beta", name="other")
    alone = make_image(lock, workshop.base, ImageSettings(), workshop.home)
    both = make_image(
        lock, workshop.base, ImageSettings(), workshop.home, beside=[Beside(other, "/opt/beside")]
    )
    above = [each.descriptor.digest for each in alone.own_layers]
    assert [each.descriptor.digest for each in both.own_layers][-len(above) :] == above
    below = both.own_layers[: -len(above)]
    assert [each.title for each in below] == ["skeleton", "beta 1.0"]
    assert b"/opt/beside" not in both.config


def test_docker_layers_of_a_base_have_their_oci_names(workshop: Workshop) -> None:
    stock(workshop)
    docker = Descriptor(media_type=DOCKER_LAYER_GZIP, digest=digest_of(b"l"), size=1)
    layers = (BaseLayer(descriptor=docker, diff_id=digest_of(b"p")),)
    workshop.base = like(workshop.interpreter, layers=layers, history=())
    image = workshop.image("alpha")
    assert image.layers[0].descriptor.media_type == LAYER_GZIP
    assert len(json.loads(image.config)["history"]) == len(image.layers)


def test_more_than_a_hundred_packages_fit(workshop: Workshop) -> None:
    for index in range(130):
        workshop.wheel(f"package-{index:03}", files={f"package_{index:03}.py": "x\n" * index})
    image = workshop.image(*(f"package-{index:03}" for index in range(130)))
    assert MOST_LAYERS - OURS - SHARED < len(image.layers) <= MOST_LAYERS - 1  # no code
    files = workshop.files(image)
    assert all(f"{LIBRARY}/package_{index:03}.py" in files for index in range(130))
    workshop.wheel("package-130", files={"package_130.py": ""})
    bigger = workshop.image(*(f"package-{index:03}" for index in range(131)))
    assert len(bigger.made) == 1
    many = tuple(workshop.base.layers[0] for _ in range(MOST_LAYERS - OURS))
    workshop.base = like(workshop.interpreter, layers=many)
    with pytest.raises(DefinitionError, match="has 97 layers"):
        workshop.image("package-000")


def refusal(workshop: Workshop, **changes: Any) -> str:
    lock = changes.pop("lock", None) or workshop.lock("alpha")
    with pytest.raises(DefinitionError) as refused:
        refuse_unfit(lock, like(workshop.interpreter, **changes))
    assert refused.value.mend
    assert not list(workshop.home.images.glob("*"))
    return refused.value.why


def test_a_base_that_the_lock_does_not_run_on_is_refused(workshop: Workshop) -> None:
    stock(workshop)
    refuse_unfit(workshop.lock("alpha"), workshop.base)
    machine = os.uname().machine
    other = {"x86_64": "arm64", "aarch64": "amd64"}[machine]
    assert "and the base has 3.5.1" in refusal(workshop, version="3.5.1")
    assert "and the base has none" in refusal(workshop, version="", python="")
    assert f"locked for linux-{machine}, and the base is linux-" in refusal(workshop, architecture=other)
    assert "for linux/s390x" in refusal(workshop, architecture="s390x")
    assert "for windows/amd64" in refusal(workshop, os="windows", architecture="amd64")
    assert f"the base is linux-{machine}-musl" in refusal(workshop, libc="musl 1.2")
    assert "not known" in refusal(workshop, libc="")


def test_a_wheel_that_needs_a_newer_c_library_is_refused(workshop: Workshop) -> None:
    stock(workshop)
    lock = workshop.lock("alpha")
    minor = "".join(lock.python.split("."))
    newer = f"alpha-1.0-cp{minor}-cp{minor}-manylinux_2_34_{os.uname().machine}.whl"
    packages = tuple(
        msgspec.structs.replace(each, file=newer) if each.name == "alpha" else each for each in lock.packages
    )
    lock = msgspec.structs.replace(lock, packages=packages)
    refuse_unfit(lock, like(workshop.interpreter, libc="glibc 2.36"))
    why = refusal(workshop, lock=lock, libc="glibc 2.31")
    assert why.startswith(f"`alpha` is locked as `{newer}`, and the base has glibc 2.31")


@pytest.mark.parametrize(
    "settings",
    [
        {"prefix": "opt/env"},
        {"prefix": "/"},
        {"prefix": "/opt/../etc"},
        {"working_directory": "work"},
        {"user": "root; rm"},
    ],
)
def test_settings_that_make_no_sense_are_refused(workshop: Workshop, settings: dict[str, str]) -> None:
    stock(workshop)
    with pytest.raises(DefinitionError, match=f"the setting `{next(iter(settings))}`"):
        workshop.image("alpha", settings=ImageSettings(**settings))
    with pytest.raises(msgspec.ValidationError, match="usr"):
        msgspec.convert({"usr": "1"}, ImageSettings)


def test_another_prefix_is_in_scripts_too(workshop: Workshop) -> None:
    stock(workshop)
    image = workshop.image("alpha", settings=ImageSettings(prefix="/srv/python"))
    assert workshop.read(image, "srv/python/bin/alpha-run").startswith(b"#!/srv/python/bin/python\n")


def test_an_image_is_made_for_an_architecture_that_is_not_here(workshop: Workshop) -> None:
    machine, architecture = {"x86_64": ("aarch64", "arm64"), "aarch64": ("x86_64", "amd64")}[
        os.uname().machine
    ]
    for each in ("x86_64", "aarch64"):
        workshop.wheel("compiled", files={"compiled.py": each}, tag=f"cp311-cp311-manylinux_2_17_{each}")
    here = workshop.interpreter
    workshop.base = like(
        here, architecture=architecture, python="/usr/bin/python3.11", version="3.11.2", libc="glibc 2.36"
    )
    workshop.interpreter = in_image(
        python=workshop.base.python,
        version=workshop.base.version,
        libc=workshop.base.libc,
        machine=machine,
        digest=workshop.base.identity,
        here=here,
    )
    image = workshop.image("compiled")
    assert json.loads(image.config)["architecture"] == architecture
    files = workshop.files(image)
    assert files["opt/env/bin/python"].linkname == "/usr/bin/python3.11"
    library = "opt/env/lib/python3.11/site-packages"
    assert workshop.read(image, f"{library}/compiled.py") == machine.encode()
    assert "version_info = 3.11.2" in workshop.read(image, "opt/env/pyvenv.cfg").decode()


def unpacked(
    workshop: Workshop, base_images: BaseImages, folder: Path, *requirements: str, **options: Any
) -> Path:
    """The root file system of an image on a real base, as umoci unpacks it."""
    workshop.base, layout = base_of(base_images.layouts["3.11"], workshop.interpreter)
    image = workshop.image(*requirements, **options)
    place = write_layout(image, workshop.home, folder / "layout", layout)
    subprocess.run(["umoci", "unpack", "--image", place, folder / "bundle"], check=True, capture_output=True)
    return folder / "bundle" / "rootfs"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the base has Python 3.11")
def test_other_tools_read_an_image_and_its_python_runs(
    workshop: Workshop, base_images: BaseImages, tmp_path: Path
) -> None:
    stock(workshop)
    root = unpacked(workshop, base_images, tmp_path, "alpha")
    layout = f"oci:{tmp_path / 'layout'}:image"
    seen = json.loads(subprocess.run(["skopeo", "inspect", layout], check=True, capture_output=True).stdout)
    assert len(seen["Layers"]) == 4
    assert seen["Labels"]["dev.tilth.environment"]
    copied = tmp_path / "copied"
    subprocess.run(["skopeo", "copy", "--quiet", layout, f"dir:{copied}"], check=True)  # checks every digest
    archive = f"docker-archive:{tmp_path / 'docker.tar'}:image:latest"
    subprocess.run(["skopeo", "copy", "--quiet", layout, archive], check=True)
    assert run_in(root, "alpha-run") == "hello\n"
    assert run_in(root, "/opt/env/bin/python", "-c", "import sys; print(sys.prefix)") == "/opt/env\n"
    where = run_in(root, "python3", "-c", "import beta; print(beta.__file__)")
    assert where == "/opt/env/lib/python3.11/site-packages/beta.py\n"
    assert (root / "opt/env/lib64").is_symlink()
    stat = (root / "opt/env/bin/alpha-run").stat()
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (0, 0, 0o755)
