"""A folder of tiny wheels and sdists to resolve against: real archives, written in a millisecond each.

    build_wheel(folder, "alpha", "1.0", files={"alpha/__init__.py": "x = 1"}, requires=["beta>=2"])

Point uv at the folder with `find_links=[folder]` and `UV_NO_INDEX=1`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

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
) -> Path:
    """Write an sdist that builds itself with the standard library alone, and return its path.

    Args:
        files: As for `build_wheel`: what the built wheel holds.
        broken: When given, building prints this to stderr and fails.
    """
    escaped = name.lower().replace("-", "_").replace(".", "_")
    content = files if files is not None else {f"{escaped}.py": f"VERSION = {version!r}\n"}
    # The backend is this very module, so an sdist needs nothing from an index to build.
    backend = Path(__file__).read_text(encoding="utf-8") + (
        "\n\ndef build_wheel_hook(wheel_directory, config_settings=None, metadata_directory=None):\n"
        + (f"    import sys\n    sys.exit({broken!r})\n" if broken else "")
        + f"    return build_wheel(Path(wheel_directory), {name!r}, {version!r}, requires={list(requires)!r},"
        f" files={dict(content)!r}).name\n"
    )
    # PEP 517 calls `build_wheel`; the name is taken here by the builder with another signature.
    shim = "from builder import build_wheel_hook as build_wheel\n"
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = {list(requires)!r}\n'
    )
    entries = {
        "builder.py": backend.encode(),
        "backend.py": shim.encode(),
        "pyproject.toml": project.encode(),
        "PKG-INFO": _metadata(name, version, requires, {}, ""),
    }
    folder.mkdir(parents=True, exist_ok=True)
    sdist = folder / f"{escaped}-{version}.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for path, body in entries.items():
            entry = tarfile.TarInfo(f"{escaped}-{version}/{path}")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return sdist


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
