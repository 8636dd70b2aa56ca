"""A conda channel in a folder: real packages and a real `repodata.json`, written in a few milliseconds each.

    build_package(folder, "gdal", "3.9", files={"share/gdal.txt": "x"}, depends=["python"])
    build_python(folder)

A spec asks it with `channels: [file:///folder, nodefaults]`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUBDIR = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "arm64"): "osx-arm64",
    ("darwin", "x86_64"): "osx-64",
}[sys.platform, os.uname().machine]
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSION = f"{MINOR}.{sys.version_info[2]}"
PLACEHOLDER = "/placeholder/" + "p" * 60  # where a package says it is, until it is installed
_WHEN = 1_704_067_200


def build_package(
    folder: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes | Path] | None = None,
    depends: Sequence[str] = (),
    python: bool = False,
    subdir: str = SUBDIR,
    build: str = "0",
    executable: Sequence[str] = (),
    distribution: str = "",
    requires: Sequence[str] = (),
) -> Path:
    """Write a package into the channel at `folder` and return its path.

    Args:
        files: Path below the prefix -> content; a `Path` is a symbolic link to it.
        python: It is `noarch: python`, and its `files` are below site-packages.
        executable: Those of `files` that are programs.
        distribution: It holds the metadata of a Python distribution of this name.
        requires: What that metadata asks for.
    """
    subdir = "noarch" if python else subdir
    contents = dict(files or {})
    if distribution:
        info = f"{distribution.replace('-', '_')}-{version}.dist-info"
        library = "" if python else f"lib/python{MINOR}/site-packages/"
        lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
        extras = re.findall(r"extra == '([^']+)'", lines)
        lines = "".join(f"Provides-Extra: {each}\n" for each in extras) + lines
        contents[f"{library}{info}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{lines}"
        )
        record = "".join(f"{path.removeprefix(library)},,\n" for path in contents)
        contents[f"{library}{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    if python:
        contents = {f"site-packages/{path}": content for path, content in contents.items()}
    index: dict[str, Any] = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "subdir": subdir,
        "depends": [*depends, *(["python"] if python else [])],
        "timestamp": _WHEN * 1000,
    }
    if python:
        index["noarch"] = "python"
    else:
        index |= {"arch": os.uname().machine, "platform": sys.platform}
    paths = [_path_entry(path, content) for path, content in sorted(contents.items())]
    members: dict[str, str | bytes | Path] = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "".join(f"{path}\n" for path in sorted(contents)),
        **contents,
    }
    if python:
        members["info/link.json"] = json.dumps({"noarch": {"type": "python"}, "package_metadata_version": 1})
    package = folder / subdir / f"{name}-{version}-{build}.tar.bz2"
    package.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package, "w:bz2", compresslevel=1) as archive:
        for path, content in members.items():
            entry = tarfile.TarInfo(path)
            entry.mtime = _WHEN
            entry.mode = 0o755 if path in executable else 0o644
            if isinstance(content, Path):
                entry.type, entry.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(entry)
            else:
                body = _encode(content)
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body))
    content_of = package.read_bytes()
    hashes = {
        "sha256": hashlib.sha256(content_of).hexdigest(),
        "md5": hashlib.md5(content_of).hexdigest(),
        "size": len(content_of),
    }
    for each in {"noarch", SUBDIR, subdir}:
        _list(folder / each, {package.name: {**index, **hashes}} if each == subdir else {})
    return package


def build_python(folder: Path, *, version: str = VERSION) -> Path:
    """A package `python` that is the interpreter of the tests: its program, and links to its standard library."""
    base = Path(os.path.realpath(sys.base_exec_prefix)) / "bin" / f"python{MINOR}"
    library = Path(os.__file__).parent
    program = f"bin/python{MINOR}"
    files: dict[str, str | bytes | Path] = {
        program: Path(os.path.realpath(base)).read_bytes(),
        "bin/python": Path(f"python{MINOR}"),
        "bin/python3": Path(f"python{MINOR}"),
    }
    for each in library.iterdir():
        if each.name != "site-packages":
            files[f"lib/python{MINOR}/{each.name}"] = each
    files[f"lib/python{MINOR}/site-packages/README.txt"] = "packages are here\n"
    return build_package(folder, "python", version, files=files, executable=[program], build="0_cpython")


def _list(folder: Path, packages: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "repodata.json"
    known = json.loads(path.read_text())["packages"] if path.exists() else {}
    path.write_text(
        json.dumps(
            {
                "info": {"subdir": folder.name},
                "packages": {**known, **packages},
                "packages.conda": {},
                "repodata_version": 1,
            }
        )
    )


def _path_entry(path: str, content: str | bytes | Path) -> dict[str, Any]:
    if isinstance(content, Path):
        return {"_path": path, "path_type": "softlink"}
    body = _encode(content)
    entry: dict[str, Any] = {
        "_path": path,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(body).hexdigest(),
        "size_in_bytes": len(body),
    }
    if PLACEHOLDER.encode() in body:
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return entry


def _encode(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
