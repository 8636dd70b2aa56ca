"""The Python interpreters of this machine: which one a project uses, and what each of them is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import uv
from tilth.environments.files import read_bytes, remember
from tilth.errors import SetupError
from tilth.settings import setting

if TYPE_CHECKING:
    from tilth.home import Home


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """What one interpreter said about itself."""

    executable: str  # absolute; inside a virtual environment when it belongs to one
    base: str  # the real executable, outside any virtual environment
    version: str  # `3.11.7`
    minor: str  # `3.11`
    implementation: str  # `cpython`
    cache_tag: str  # in the names of bytecode files: `cpython-311`
    platform: str  # `linux-x86_64`, `linux-x86_64-musl`, `macos-arm64`
    libc: str  # `glibc 2.36`; empty where that says nothing
    prefix: str
    library: str  # site-packages of a virtual environment, relative to it
    site_packages: tuple[str, ...]
    markers: dict[str, str]  # PEP 508
    tags: tuple[str, ...]  # of wheels it can install, best first
    elsewhere: str = ""  # what uv calls its platform, when it is not on this machine
    image: str = ""  # digest of the base image it is in, for one that is in an image
    here: str = (
        ""  # for one elsewhere: an interpreter of this machine, which unpacks for it and builds where it may
    )


class _Probe(msgspec.Struct, frozen=True):
    stamp: tuple[int, int, int]
    interpreter: Interpreter


_PROBE = r"""
import json, os, platform, site, sys, sysconfig
sys.path.append(sys.argv[1])  # at the end: only `packaging` is taken from there
from packaging.markers import default_environment
from packaging.tags import sys_tags
scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
library = sysconfig.get_path("purelib", scheme, {"base": "/base", "platbase": "/base"})
tags = [str(tag) for tag in sys_tags()]
system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
name = f"{system}-{platform.machine().lower()}"
if any("musllinux" in tag for tag in tags):
    name += "-musl"
paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
if sys.flags.no_user_site == 0 or sys.prefix == sys.base_prefix:
    paths += site.getsitepackages()
print(json.dumps({
    "executable": sys.executable,
    "base": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": platform.python_version(),
    "minor": "%d.%d" % sys.version_info[:2],
    "implementation": sys.implementation.name,
    "cache_tag": sys.implementation.cache_tag or "",
    "platform": name,
    "libc": " ".join(platform.libc_ver()).strip(),
    "prefix": sys.prefix,
    "library": os.path.relpath(library, "/base"),
    "site_packages": [path for path in dict.fromkeys(paths) if os.path.isdir(path)],
    "markers": default_environment(),
    "tags": tags,
}))
"""


def probe(executable: Path, home: Home) -> Interpreter:
    """Ask an interpreter what it is; remembered until its file changes."""
    path = executable.absolute()
    try:
        stamp = _stamp(path)
    except OSError as error:
        raise SetupError(f"there is no Python interpreter at `{path}`", why=str(error.strerror)) from error
    entry = home.cache / "interpreters" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    cached = read_bytes(entry)
    if cached is not None:
        try:
            remembered = msgspec.json.decode(cached, type=_Probe)
            if remembered.stamp == stamp:
                return remembered.interpreter
        except msgspec.MsgspecError:
            pass  # torn or of another version: asked again
    interpreter = _ask(path)
    remember(entry, msgspec.json.encode(_Probe(stamp, interpreter)))
    return interpreter


def find_interpreter(request: str | None, default: Interpreter, home: Home) -> Interpreter:
    """The interpreter for a declared Python version, or a specifier; `default` when none is declared or it fits.

    Raises:
        SetupError: None of that version is installed. None is ever downloaded.
    """
    if request is None or _suits(request, default):
        return default
    entry = home.cache / "pythons" / request
    remembered = read_bytes(entry)
    if remembered is not None:
        path = Path(os.fsdecode(remembered))
        if path.is_file():
            found = probe(path, home)
            if _suits(request, found):
                return found
    result = uv.call(
        ["python", "find", request, "--no-python-downloads", "--no-project", "--system", "--no-config"],
        search=_path_without_shims(),
    )
    candidates = [Path(result.output.strip())] if result.code == 0 else _of_pyenv(request)
    if not candidates:
        raise SetupError(
            f"no Python {request} is installed",
            why=f"installed: {', '.join(installed_versions()) or 'none that uv can find'}",
            mend=f"install it, for instance with `uv python install {request}`, or declare another `python`",
        )
    found = probe(candidates[0], home)
    remember(entry, os.fsencode(candidates[0]))
    return found


def _suits(request: str, interpreter: Interpreter) -> bool:
    if request in (interpreter.minor, interpreter.version):
        return True
    if request[0].isdigit():
        return False
    from packaging.specifiers import SpecifierSet  # here for cost: a version alone needs no parser

    return SpecifierSet(request).contains(interpreter.version, prereleases=True)


def project_interpreter(start: Path) -> Path:
    """The interpreter of the project around `start`, found in the order uv uses.

    `TILTH_PYTHON`; an active virtual or conda environment; `.venv` in `start` or above; the environment
    tilth is installed in, unless that is a tool's own; `python3` on the path.
    """
    given = setting("python")
    if given:
        path = Path(given).expanduser()
        if path.is_dir():
            path = path / "bin" / "python"
        found = shutil.which(path)
        if found is None:
            raise SetupError(
                f"`TILTH_PYTHON` is `{given}`, which is no interpreter", mend="give its path, or unset it"
            )
        return Path(found).absolute()
    # Not settings of tilth's: they are how an active environment makes itself known to every tool.
    active = [os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX")]
    start = start.absolute()
    folders = [Path(each) for each in active if each] + [each / ".venv" for each in (start, *start.parents)]
    for folder in folders:
        python = folder / "bin" / "python"
        if python.is_file():
            return python
    if sys.prefix != sys.base_prefix and not _is_tool(Path(sys.prefix)):
        return Path(sys.executable)
    return _on_path()


def _is_tool(prefix: Path) -> bool:
    return (prefix / "uv-receipt.toml").is_file() or (prefix / "pipx_metadata.json").is_file()


def _on_path() -> Path:
    found = shutil.which("python3", path=_path_without_shims()) or shutil.which("python3")
    if found is None:
        return Path(sys.executable)
    if "shims" in Path(found).parts:
        answer = subprocess.run(
            [found, "-I", "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        return Path(answer.stdout.strip() or found)
    return Path(found).absolute()


def _path_without_shims() -> str:
    """Where to look for programs, without pyenv's shell scripts: each costs a tenth of a second per start."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(each for each in folders if each and Path(each).name != "shims")


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    # A virtual environment made again at the same place may point elsewhere.
    config = path.parent.parent / "pyvenv.cfg"
    beside = config.stat().st_mtime_ns if config.exists() else 0
    return status.st_mtime_ns, status.st_size, beside


def _ask(path: Path) -> Interpreter:
    import packaging

    beside = Path(packaging.__file__ or "").parent.parent
    try:
        answer = subprocess.run(
            [path, "-I", "-c", _PROBE, beside], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"the Python interpreter `{path}` does not start", why=str(error)) from error
    if answer.returncode != 0:
        last = answer.stderr.strip().splitlines()[-3:]
        raise SetupError(f"the Python interpreter `{path}` does not answer", why="\n".join(last))
    try:
        said = msgspec.json.decode(answer.stdout, type=Interpreter)
    except msgspec.MsgspecError as error:
        raise SetupError(f"the Python interpreter `{path}` does not answer", why=str(error)) from error
    # pyenv's shims and `python3` symlinks name another file than was asked; the one asked is what is kept.
    return said if "shims" in path.parts else msgspec.structs.replace(said, executable=str(path))


def installed_versions() -> list[str]:
    """The versions that uv or pyenv can give, oldest first."""
    arguments = ["python", "list", "--only-installed", "--output-format", "json", "--no-config"]
    result = uv.call(arguments, search=_path_without_shims())
    try:
        versions = {str(each["version"]) for each in json.loads(result.output)}
    except (ValueError, KeyError, TypeError):
        versions = set()
    versions |= {path.parent.parent.name for path in _of_pyenv("3")}
    return sorted(versions, key=_order)


def _of_pyenv(request: str) -> list[Path]:
    """Interpreters that pyenv keeps, newest first: uv sees only those that are active."""
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    found = {each.parent.parent.name: each for each in root.glob("3.*/bin/python")}
    if request[0].isdigit():
        fitting = [version for version in found if f"{version}.".startswith(f"{request}.")]
    else:
        from packaging.specifiers import SpecifierSet

        fitting = list(SpecifierSet(request).filter(found))
    return [found[version] for version in sorted(fitting, key=_order, reverse=True)]


def _order(version: str) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in version.split(".")]
