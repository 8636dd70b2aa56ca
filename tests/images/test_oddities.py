"""What wheels on PyPI do, each in an image as it is in a venv."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import uuid
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.images.locked import LIBRARY, Workshop, base_of, run_in, workshop as workshop, write_layout

from tilth.errors import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.services import BaseImages, DockerEngine

    from tilth.images.making import Image

LONG = "deep/" + "a-folder-with-a-long-name/" * 9 + "module_with_a_very_long_name_" + "x" * 60 + ".py"


def odd_wheels(shop: Workshop) -> None:
    """One wheel for each oddity."""
    entry_points = (
        "[console_scripts]\nconsole = odd_scripts:main\n\n[gui_scripts]\nwindow = odd_scripts:main\n"
    )
    shop.wheel(
        "odd-scripts",
        files={
            "odd_scripts.py": "def main() -> None:\n    print('ran')\n",
            "odd_scripts-1.0.dist-info/entry_points.txt": entry_points,
        },
    )
    shop.wheel(
        "odd-data",
        files={"odd_data/__init__.py": ""},
        data={
            "data/share/odd/config.json": "{}",
            "data/etc/odd.conf": "x",
            "headers/odd.h": "#define ODD",
            "scripts/odd-python": "#!python\nprint('a script')\n",
            "scripts/odd-shell": "#!/bin/sh\necho shell\n",
            "purelib/odd_pure.py": "PURE = 1\n",
            "platlib/odd_plat.py": "PLAT = 1\n",
        },
    )
    shop.wheel("native-one", files={"native/one.py": "ONE = 1\n"})
    shop.wheel("native-two", files={"native/two.py": "TWO = 2\n"})
    pkgutil = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    shop.wheel("old-one", files={"old/__init__.py": pkgutil, "old/one.py": "ONE = 1\n"})
    shop.wheel("old-two", files={"old/__init__.py": pkgutil, "old/two.py": "TWO = 2\n"})
    nspkg = (
        "import sys, types, os;p = os.path.join(sys._getframe(1).f_locals['sitedir'], 'spaced');"
        "m = sys.modules.setdefault('spaced', types.ModuleType('spaced'));"
        "mp = m.__dict__.setdefault('__path__', []);(p not in mp) and mp.append(p)\n"
    )
    for name in ("spaced-one", "spaced-two"):
        bare = name.partition("-")[2]
        shop.wheel(
            name,
            files={f"{name.replace('-', '_')}-nspkg.pth": nspkg, f"spaced/{bare}.py": f"WHO = '{bare}'\n"},
        )
    shop.wheel("pathed", files={"pathed.pth": "pathed_extra\n", "pathed_extra/hidden.py": "FOUND = True\n"})
    shop.wheel("long-names", files={LONG: "LONG = 1\n", "größe/名前.py": "NAME = 1\n"})
    shop.wheel("large-file", files={"large/__init__.py": "", "large/weights.bin": bytes(5 << 20)})
    with_program(shop)


def with_program(shop: Workshop) -> None:
    """A wheel whose package holds a program, as its zip says, and one with a link."""
    wheel = shop.wheel(
        "program", files={"program/__init__.py": "", "program/bin/tool": "#!/bin/sh\necho tool\n"}
    )
    alter(wheel, {"program/bin/tool": 0o100755})


def alter(wheel: Path, modes: Mapping[str, int]) -> None:
    """Write a wheel again with other modes in its zip."""
    with zipfile.ZipFile(wheel) as archive:
        contents = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry, body in contents:
            if entry.filename in modes:
                entry.create_system = 3
                entry.external_attr = modes[entry.filename] << 16
            archive.writestr(entry, body)


ODD = [
    "odd-scripts", "odd-data", "native-one", "native-two", "old-one", "old-two", "spaced-one", "spaced-two", "pathed",
    "long-names", "large-file", "program",
]  # fmt: skip


@pytest.fixture
def odd(workshop: Workshop) -> Image:
    odd_wheels(workshop)
    return workshop.image(*ODD)


def test_entry_points_are_programs_of_the_environment(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    for name in ("console", "window", "odd-python"):
        assert workshop.read(odd, f"opt/env/bin/{name}").startswith(b"#!/opt/env/bin/python\n")
        assert files[f"opt/env/bin/{name}"].mode == 0o755
    assert workshop.read(odd, "opt/env/bin/odd-shell").startswith(b"#!/bin/sh\n")


def test_data_files_are_where_installers_put_them(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    assert "opt/env/share/odd/config.json" in files
    assert "opt/env/etc/odd.conf" in files
    assert [path for path in files if path.endswith("/odd.h")]
    assert f"{LIBRARY}/odd_pure.py" in files
    assert f"{LIBRARY}/odd_plat.py" in files


def test_modes_are_kept(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    assert files[f"{LIBRARY}/program/bin/tool"].mode == 0o755
    assert files[f"{LIBRARY}/program/__init__.py"].mode == 0o644
    assert all(member.mode == 0o755 for member in files.values() if member.isdir())


def test_every_folder_has_an_entry_of_its_own(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    for path in files:
        parent = path.rpartition("/")[0]
        assert parent in ("", "opt") or files[parent].isdir()
    assert "opt" not in files  # it is the base's, whatever its mode and owner


def test_long_names_large_files_and_namespaces_are_there(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    assert f"{LIBRARY}/{LONG}" in files
    assert f"{LIBRARY}/größe/名前.py" in files
    assert files[f"{LIBRARY}/large/weights.bin"].size == 5 << 20
    assert {f"{LIBRARY}/native/one.py", f"{LIBRARY}/native/two.py"} <= files.keys()
    assert odd.warnings == ()  # the same `old/__init__.py` in two harms nobody


def test_record_names_what_is_there(workshop: Workshop, odd: Image) -> None:
    files = workshop.files(odd)
    for path in [path for path in files if path.endswith(".dist-info/RECORD")]:
        for row in workshop.read(odd, path).decode().splitlines():
            name = row.rsplit(",", 2)[0].strip('"')
            parts: list[str] = LIBRARY.split("/")
            for part in name.split("/"):
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert "/".join(parts) in files, row


def test_links_in_a_wheel_are_what_the_installer_made_of_them(workshop: Workshop) -> None:
    wheel = workshop.wheel(
        "linked", files={"linked/__init__.py": "", "linked/real.txt": "real", "linked/link.txt": "real.txt"}
    )
    alter(wheel, {"linked/link.txt": stat.S_IFLNK | 0o777})
    image = workshop.image("linked")
    member = workshop.files(image)[f"{LIBRARY}/linked/link.txt"]
    # Wheels know no links: pip and uv write the target's name into a file.
    assert member.isreg() or member.linkname == "real.txt"


def test_links_in_the_store_stay_links(workshop: Workshop) -> None:
    from tilth.environments.wheels import Entry
    from tilth.images.layers import Wheel, wheels_layer
    from tilth.images.settings import ImageSettings

    tree = workshop.root / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / "lib" / "libx.so.1").write_text("x")
    (tree / "lib" / "libx.so").symlink_to("libx.so.1")
    files = {}
    for name in ("lib/libx.so.1", "lib/libx.so"):
        status = (tree / name).lstat()
        files[name] = (status.st_size, status.st_mtime_ns, 0o444)
    entry = Entry(name="x", version="1", digest="sha256:" + "0" * 64, files=files, scripts=())
    layer, _ = wheels_layer(
        [Wheel(entry=entry, tree=tree)],
        workshop.interpreter,
        ImageSettings(compression="none"),
        workshop.home,
    )
    listed = subprocess.run(
        ["tar", "-tvf", workshop.home.images / "blobs/sha256" / layer.descriptor.digest[7:]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "opt/env/lib/libx.so -> libx.so.1" in listed


def clashing(shop: Workshop) -> None:
    shop.wheel("clash-a", files={"clash.py": "OWNER = 'a'\n", "a_only.py": ""})
    shop.wheel("clash-b", files={"clash.py": "OWNER = 'b'\n", "b_only.py": ""})
    shop.wheel("clash-c", files={"clash.py": "OWNER = 'a'\n", "c_only.py": ""})


def test_a_file_in_two_packages_is_the_last_ones_and_is_told(workshop: Workshop) -> None:
    clashing(workshop)
    image = workshop.image("clash-a", "clash-b")
    assert workshop.read(image, f"{LIBRARY}/clash.py") == b"OWNER = 'b'\n"
    assert image.warnings == (
        f"`clash-b` replaces `{LIBRARY.removeprefix('opt/env/')}/clash.py` of `clash-a`",
    )
    holders = [
        title for title, archive in workshop.archives(image) if f"{LIBRARY}/clash.py" in archive.getnames()
    ]
    assert holders == ["clash-b 1.0"]  # so no order of layers decides
    three = workshop.image("clash-a", "clash-b", "clash-c")
    assert workshop.read(three, f"{LIBRARY}/clash.py") == b"OWNER = 'a'\n"
    assert f"{LIBRARY}/a_only.py" in workshop.files(three)


def test_bytecode_of_a_replaced_module_is_left_out(workshop: Workshop) -> None:
    from tilth.images.settings import ImageSettings

    workshop.wheel("first", files={"shared.py": "OWNER = 'first'\n", "first.py": ""})
    workshop.wheel("second", files={"shared.py": "{{ a template }}\n", "second.py": ""})
    image = workshop.image("first", "second", settings=ImageSettings(bytecode=True))
    assert not [path for path in workshop.files(image) if "shared." in path and path.endswith(".pyc")]
    assert [path for path in workshop.files(image) if "first." in path and path.endswith(".pyc")]


def test_what_is_a_file_here_and_a_folder_there_is_refused(workshop: Workshop) -> None:
    workshop.wheel("as-file", files={"thing": "a file"})
    workshop.wheel("as-folder", files={"thing/__init__.py": ""})
    workshop.image("as-file")
    workshop.image("as-folder")
    with pytest.raises(BuildFailed, match="is a file in `as-file` and a folder in `as-folder`"):
        workshop.image("as-file", "as-folder")


def test_an_sdist_is_in_the_image_as_the_wheel_that_was_built(workshop: Workshop) -> None:
    from tests.index import build_sdist

    build_sdist(workshop.wheels, "from-source", "1.0")
    image = workshop.image("from-source")
    assert f"{LIBRARY}/from_source.py" in workshop.files(image)


def test_an_environment_without_packages_is_an_image_too(workshop: Workshop) -> None:
    image = workshop.image()
    assert [each.title for each in image.own_layers] == ["skeleton"]
    assert workshop.files(image)["opt/env/bin/python"].linkname == workshop.base.python


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the base has Python 3.11")
def test_all_of_it_runs_in_the_unpacked_image(
    workshop: Workshop, base_images: BaseImages, tmp_path: Path
) -> None:
    odd_wheels(workshop)
    clashing(workshop)
    workshop.base, layout = base_of(base_images.layouts["3.11"], workshop.interpreter)
    image = workshop.image(*ODD, "clash-a", "clash-b")
    place = write_layout(image, workshop.home, tmp_path / "layout", layout)
    subprocess.run(
        ["umoci", "unpack", "--image", place, tmp_path / "bundle"], check=True, capture_output=True
    )
    root = tmp_path / "bundle" / "rootfs"
    for program, output in [
        ("console", "ran"),
        ("window", "ran"),
        ("odd-python", "a script"),
        ("odd-shell", "shell"),
        ("/opt/env/lib/python3.11/site-packages/program/bin/tool", "tool"),
    ]:
        assert run_in(root, program) == output + "\n"
    code = """
import json, importlib.metadata
import native.one, native.two, old.one, old.two, spaced.one, spaced.two, hidden, odd_pure, odd_plat, clash
import importlib
unicode = importlib.import_module("größe.名前")
files = importlib.metadata.files("odd-data")
print(json.dumps([clash.OWNER, hidden.FOUND, spaced.two.WHO, unicode.NAME, all(f.locate().exists() for f in files)]))
"""
    assert json.loads(run_in(root, "python", "-c", code, variables={"PYTHONUTF8": "1"})) == [
        "b", True, "two", 1, True,
    ]  # fmt: skip


REAL = {
    "numpy": "numpy", "scipy": "scipy.linalg", "pandas": "pandas", "pyarrow": "pyarrow.parquet",
    "scikit-learn": "sklearn.linear_model", "matplotlib": "matplotlib.pyplot", "pillow": "PIL.Image",
    "opencv-python-headless": "cv2", "lxml": "lxml.etree", "grpcio": "grpc", "cryptography": "cryptography.fernet",
    "google-auth": "google.auth", "googleapis-common-protos": "google.api.http_pb2",
}  # fmt: skip


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the base has Python 3.11")
def test_a_dozen_real_packages_import_in_a_container(
    workshop: Workshop,
    base_images: BaseImages,
    docker_engine: DockerEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tilth.environments import in_image
    from tilth.images.settings import ImageSettings

    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.delenv("UV_CACHE_DIR")
    base, layout = base_of(base_images.layouts["3.11"], workshop.interpreter)
    workshop.base = base
    workshop.interpreter = in_image(
        python=base.python, version=base.version, libc=base.libc, machine="x86_64", digest=base.identity,
        here=workshop.interpreter,
    )  # fmt: skip
    image = workshop.image(*REAL, settings=ImageSettings(user="1000:1000"))
    place = write_layout(image, workshop.home, tmp_path / "layout", layout)
    archive, name = tmp_path / "image.tar", f"tilth-tests/{uuid.uuid4().hex[:12]}:real"
    subprocess.run(
        ["skopeo", "copy", "--quiet", f"oci:{place}", f"docker-archive:{archive}:{name}"], check=True
    )

    def docker(*arguments: Any) -> str:
        done = subprocess.run(
            [docker_engine.cli, "--host", docker_engine.host, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    docker("load", "--quiet", "--input", archive)
    try:
        for module in REAL.values():
            assert (
                docker(
                    "run", "--rm", "--read-only", "--tmpfs", "/tmp", name, "python", "-c", f"import {module}"
                )
                == ""
            )
        assert docker("run", "--rm", name, "python", "-c", "import os; print(os.getuid())") == "1000\n"
    finally:
        docker("rmi", "--force", name)
