"""A folder of tiny wheels and sdists to resolve against: real archives, written in a millisecond each.

    build_wheel(folder, "alpha", "1.0", files={"alpha/__init__.py": "x = 1"}, requires=["beta>=2"])

Point uv at the folder with `find_links=[folder]` and `UV_NO_INDEX=1`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WHEN = (2024, 1, 1, 0, 0, 0)


def build_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] | None = None,
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
    scripts: Mapping[str, str] | None = None,
    requires_python: str = "",
    tag: str = "py3-none-any",
    headers: Sequence[str] = (),
    data: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Write a wheel into `folder` and return its path.

    Args:
        files: Path below site-packages -> content; by default one module that holds its version.
        extras: Extra -> what it requires.
        scripts: Console script -> `module:function`.
        headers: More lines of its METADATA.
        data: Path below the `.data` folder -> content, as `scripts/run` or `data/share/x.txt`.
    """
    escaped = name.lower().replace("-", "_").replace(".", "_")
    info = f"{escaped}-{version}.dist-info"
    contents: dict[str, bytes] = {
        path: _encode(content)
        for path, content in (
            files if files is not None else {f"{escaped}.py": f"VERSION = {version!r}\n"}
        ).items()
    }
    for path, content in (data or {}).items():
        contents[f"{escaped}-{version}.data/{path}"] = _encode(content)
    contents[f"{info}/METADATA"] = _metadata(name, version, requires, extras or {}, requires_python, headers)
    contents[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(tag.endswith('-any')).lower()}\nTag: {tag}\n"
    ).encode()
    if scripts:
        lines = "".join(f"{script} = {target}\n" for script, target in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    record = "".join(f"{path},sha256={_digest(body)},{len(body)}\n" for path, body in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{escaped}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in contents.items():
            entry = zipfile.ZipInfo(path, _WHEN)
            entry.external_attr = (0o755 if ".data/scripts/" in path else 0o644) << 16
            archive.writestr(entry, body)
    return wheel


def build_sdist(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    broken: str = "",
    build_requires: Sequence[str] = (),
    dynamic_requires: Sequence[str] = (),
    below: str = "",
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """Write an sdist that builds itself, and return its path.

    Args:
        below: The folder in it that holds the project, as `python/`.
        more: Further files: path in the archive, as it is -> content.

    The rest is as for `source_files`.
    """
    contents = source_files(
        name,
        version,
        requires=requires,
        files=files,
        broken=broken,
        build_requires=build_requires,
        dynamic_requires=dynamic_requires,
    )
    escaped = name.lower().replace("-", "_").replace(".", "_")
    entries = {f"{escaped}-{version}/{below}{path}": body for path, body in contents.items()}
    folder.mkdir(parents=True, exist_ok=True)
    sdist = folder / f"{escaped}-{version}.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for path, body in {**entries, **(more or {})}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return sdist


def write_project(folder: Path, name: str, version: str, **options: Any) -> Path:
    """Write what `build_sdist` packs as files of a folder, which need not exist; returns it."""
    for path, body in source_files(name, version, **options).items():
        if path != "PKG-INFO":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(body)
    return folder


def source_files(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    broken: str = "",
    build_requires: Sequence[str] = (),
    dynamic_requires: Sequence[str] = (),
    sources: str = "",
) -> dict[str, bytes]:
    """The files of a project that builds itself with the standard library alone, and what it asks for.

    Args:
        files: As for `build_wheel`: what the built wheel holds. They lie in the project, below `content`.
        broken: When given, building prints this to stderr and fails.
        build_requires: What `[build-system]` requires. The backend imports the module of each.
        dynamic_requires: What the backend requires besides when it is asked. It imports these too.
        sources: The end of `pyproject.toml`.

    The versions of what it was built with are in the wheel's module `NAME_built`: `WITH = {"helper": "1.0"}`.
    """
    escaped = name.lower().replace("-", "_").replace(".", "_")
    content = files if files is not None else {f"{escaped}.py": f"VERSION = {version!r}\n"}
    static, dynamic = [_module(each) for each in build_requires], [_module(each) for each in dynamic_requires]
    fail = f"    sys.exit({broken!r})\n" if broken else ""
    hooks = f"""
import importlib
import sys


def get_requires_for_build_wheel(config_settings=None):
    for module in {static!r}:
        importlib.import_module(module)
    return {list(dynamic_requires)!r}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{fail}    versions = {{each: importlib.import_module(each).VERSION for each in {static + dynamic!r}}}
    here = builder.Path("content")
    files = {{each.relative_to(here).as_posix(): each.read_bytes() for each in here.rglob("*") if each.is_file()}}
    if versions:
        files["{escaped}_built.py"] = f"WITH = {{versions!r}}\\n"
    folder = builder.Path(wheel_directory)
    return builder.build_wheel(folder, {name!r}, {version!r}, requires={list(requires)!r}, files=files).name
"""
    project = (
        f'[build-system]\nrequires = {list(build_requires)!r}\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = {list(requires)!r}\n'
    )
    return {
        # The backend is this very module, so a project needs nothing from an index to build.
        "builder.py": Path(__file__).read_bytes(),
        "backend.py": f"import builder\n{hooks}".encode(),
        "pyproject.toml": (project + sources).encode(),
        "PKG-INFO": _metadata(name, version, requires, {}, ""),
        **{f"content/{path}": _encode(body) for path, body in content.items()},
    }


def _module(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_-]", requirement, maxsplit=1)[0].replace("-", "_")


def _metadata(
    name: str,
    version: str,
    requires: Sequence[str],
    extras: Mapping[str, Sequence[str]],
    requires_python: str,
    headers: Sequence[str] = (),
) -> bytes:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}", *headers]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {each}" for each in requires]
    for extra, needed in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {each} ; extra == '{extra}'" for each in needed]
    return ("\n".join(lines) + "\n").encode()


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


def _encode(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
