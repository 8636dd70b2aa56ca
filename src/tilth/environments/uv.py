"""uv as a subprocess: where it is, how it is called, and what its errors mean."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tilth.environments import background
from tilth.errors import (
    DefinitionError,
    EnvironmentBroken,
    IndexUnavailable,
    SetupError,
    TilthError,
    Unresolvable,
)
from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.environments.explaining.origins import Asked

_USER = re.compile(
    r"(?P<scheme>[\w.+-]*)://(?P<user>[^/\s\"`<>:@]*)(?P<rest>[^/\s\"`<>]*)@"
)  # to the last `@`
_NOISE = re.compile(
    r"^(warning: The `--pylock`|Using Python |Resolved |Prepared |Installed |\s+Built |\s+Building )"
)
_MISWRITTEN = (
    "Couldn't parse requirement",
    "Requested extra not found",
    "The dependency group",
    "Failed to parse",
)
DOWN = (
    "error sending request",
    "Could not connect",
    "Failed to fetch",
    "Failed to download",
    "timed out",
    "dns error",
    "network was disabled",
)
_NO_HOST = ("Could not resolve host", "Could not connect", "Connection refused", "timed out", "unreachable")
_CUT_OFF = re.compile(
    r"`(?P<name>\S+)` was filtered by `exclude-newer` to only include packages uploaded before (?P<day>[^\s]+)\. "
    r"The latest version satisfying the requirement is v(?P<version>\S+), published at (?P<at>[\d-]+)"
)
_MISSING = re.compile(r"(?:Because|because|and) (\S+) was not found in the (?:package registry|provided)")


class Result(NamedTuple):
    """How a call ended."""

    code: int
    output: str
    errors: str


_finding = threading.Lock()  # `sysconfig`, which uv asks, is not ready for two threads at first


@cache
def binary() -> str:
    """The uv that came with tilth, or else the one on the path."""
    from uv import find_uv_bin

    try:
        with _finding:
            return find_uv_bin()
    except FileNotFoundError as error:
        raise SetupError(
            "uv is not installed", mend="install tilth anew, or uv with it: `pip install uv`"
        ) from error


def call(
    arguments: Sequence[str | Path],
    *,
    root: Path | None = None,
    text: str | None = None,
    search: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Result:
    """Run uv in the folder `root` with `text` on its standard input.

    Args:
        search: Another value for `PATH`.
        variables: For this process alone, as credentials are.
    """
    environment = {
        "SOURCE_DATE_EPOCH": "315532800",  # the first moment a zip file can hold
        **os.environ,
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "1000",  # its reasons are wrapped where they are shown
        **(variables or {}),
    }
    environment.pop("FORCE_COLOR", None)
    if search is not None:
        environment["PATH"] = search
    try:
        done = background.call(
            [binary(), *arguments],
            cwd=root,
            input=text,
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise SetupError(
            "uv does not start", why=str(error), mend="install it anew: `pip install uv`"
        ) from error
    hidden = Mask(value for name, value in (variables or {}).items() if name.endswith("_PASSWORD"))
    return Result(done.returncode, hidden.text(done.stdout), hidden.text(done.stderr))


def without_credentials(text: str) -> str:
    """The text with user names and passwords taken out of every URL; not the user of SSH, who is no secret."""
    # By line: the pattern is slow on a long lock, few of whose lines could match.
    lines = text.splitlines(keepends=True)
    return "".join(_USER.sub(_without_user, line) if "@" in line else line for line in lines)


def _without_user(match: re.Match[str]) -> str:
    scheme = match["scheme"].lower()
    kept = f"{match['user']}@" if scheme.endswith("ssh") and match["user"] else ""
    return f"{match['scheme']}://{kept}"


def explain(result: Result, name: str, *, usable: str = "", asked: Asked | None = None) -> TilthError:
    """The error for a failed call on behalf of the environment `name`.

    Args:
        usable: What can be done without the index, in one line, for when it is down.
        asked: What was to be resolved, for saying whose requirement it is that fails.
    """
    lines = _reason(result.errors)
    text = "\n".join(lines)
    if "unexpected argument" in text or "unrecognized subcommand" in text:
        return SetupError(
            "this uv is too old for tilth", why=lines[0], mend="upgrade it: `pip install -U uv`"
        )
    if "No space left on device" in text or "os error 28" in text:
        from tilth.environments.files import disk_full

        return disk_full(f"environment `{name}`", _uv_cache())
    if "os error 30)" in text or "os error 13)" in text:
        cache = _uv_cache()
        if os.fspath(cache) in text:
            return SetupError(
                f"environment `{name}` needs uv's cache, which cannot be written to",
                why=lines[-1],
                mend=f"make `{cache}` a folder you may write to, or set `UV_CACHE_DIR` to one",
            )
    if any(sign in text for sign in _MISWRITTEN):
        return DefinitionError(
            f"the requirements of environment `{name}` cannot be read",
            why=_shorten([re.sub(r" in `-` at position \d+", "", line) for line in lines]),
        )
    if "Hash mismatch" in text:
        return _replaced(text, name)
    if re.search(r"unsafe (member path|symbolic-link|hard-link)", text):
        return EnvironmentBroken(
            f"an archive of environment `{name}` leads outside of its folder",
            why=_shorten(lines),
            mend="do not use that package; tell whoever keeps the index",
        )
    if "Failed to build" in text or "build backend returned an error" in text:
        return _unbuilt(text, lines, name)
    if re.search(r"\b40[13]\b (Unauthorized|Forbidden)", text):
        return IndexUnavailable(
            f"the package index of environment `{name}` refuses to answer",
            why=_shorten([line.removeprefix("hint: ") for line in lines if re.search(r"\b40[13]\b", line)]),
            mend="give what opens it as a secret (`credentials=`), in `~/.netrc` or in uv's own settings",
        )
    if "No solution found" in text and "network was disabled" not in text:
        return _unresolved(lines, name, asked)
    if "`--find-links`" in text and "os error 2)" in text:
        return DefinitionError(
            f"`find_links` of environment `{name}` names a folder that is not there",
            why=_shorten([line for line in lines if "`--find-links`" in line]),
            mend="relative paths are relative to the folder that holds the project",
        )
    if "os error 2)" in text or "Distribution not found at" in text:
        return EnvironmentBroken(
            f"a file of environment `{name}` is gone",
            why=_shorten(lines),
            mend="put it back, or lock again with `--upgrade`",
        )
    of_url = _of_url(text, lines, name)
    if of_url is not None:
        return of_url
    if any(sign in text for sign in DOWN):
        offline = "network was disabled" in text
        telling = [line for line in lines if not line.startswith("hint:")] or lines
        # Which index, or which package: the rest is how uv came to ask.
        named = next((line for line in telling if "://" in line or "Because" in line), telling[0])
        return IndexUnavailable(
            f"environment `{name}` needs the package index, "
            + ("and tilth is offline" if offline else "which does not answer"),
            why="\n".join([_shorten(list(dict.fromkeys([named, telling[-1]]))), usable]).strip(),
            mend="leave out `--offline`, or unset `TILTH_OFFLINE`"
            if offline
            else "try again later; `TILTH_OFFLINE=1` uses only what is cached",
        )
    return Unresolvable(f"the requirements of environment `{name}` cannot be resolved", why=_shorten(lines))


def _of_url(text: str, lines: list[str], name: str) -> TilthError | None:
    """The error for a requirement whose URL answers, though not with what is asked for; else None."""
    asked = re.search(r"Failed to download(?: and build)? `(\S+ @ [^`]+)`", text)
    if asked is None or "network was disabled" in text:
        return None
    summary = f"`{asked[1]}` of environment `{name}` cannot be had"
    other = re.search(r"Package metadata name `(\S+)` does not match given name", text)
    if other:
        return DefinitionError(
            summary, why=f"what is there is called `{other[1]}`", mend=f"ask for `{other[1]} @ …`"
        )
    if "404 Not Found" in text or "410 Gone" in text:
        return Unresolvable(summary, why="there is no such file at its URL", mend="check the URL")
    if "Git operation failed" not in text or any(sign in text for sign in _NO_HOST):
        return None
    said = [line.removeprefix("fatal: ") for line in lines if line.startswith(("fatal: ", "remote: "))]
    return Unresolvable(
        summary,
        why=_shorten(said or [lines[-1]]),
        mend="check the repository, what stands after `@`, and whether git may read it",
    )


def _reason(errors: str) -> list[str]:
    lines = [line.rstrip() for line in without_credentials(errors).splitlines()]
    kept = [line for line in lines if line.strip() and not _NOISE.match(line)]
    cleaned = [re.sub(r"^\s*(error|cause|\u00d7|╰─▶|├─▶|│)[: ]\s*", "", line).strip() for line in kept]
    return [line for line in cleaned if line and not line.startswith("hint: Build failures")] or [
        "uv gave no reason"
    ]


def _shorten(lines: list[str], *, last: bool = False, most: int = 9) -> str:
    wide = [line if len(line) <= 400 else f"{line[:397]}…" for line in lines]
    if len(wide) <= most:
        return "\n".join(wide)
    return "\n".join([wide[0], "…", *wide[2 - most :]] if last else [*wide[: most - 1], "…"])


def _unresolved(lines: list[str], name: str, asked: Asked | None) -> Unresolvable:
    from tilth.environments.explaining import conflicts, hints

    proof = [line for line in lines if "No solution found" not in line]
    summary = f"the requirements of environment `{name}` cannot be resolved"
    declared = asked.declared() if asked else []
    story = conflicts.tell(proof, declared, asked.projects() if asked else ())
    why, mend = _shorten(proof), "loosen one of the requirements named above"
    if story is not None:
        said = [line.removeprefix("hint: ") for line in proof if line.startswith("hint: ")]
        why, mend = "\n".join([*story.why, *said[:2]]), story.mend
    missing = _MISSING.search("\n".join(proof))
    if missing:
        mend = hints.meant(missing[1], asked.known_names() if asked else ())
        mend = mend or f"check the spelling of `{missing[1]}`, or name the index that has it"
    cut = _CUT_OFF.search("\n".join(proof))
    if cut:
        nothing = f"no index has a package `{cut['name']}`"
        told = f"every version of `{cut['name']}` that answers is newer than `exclude_newer` allows"
        newest = f"the newest is {cut['version']}, of {cut['at']}; the cut-off is {cut['day']}"
        kept = [line for line in why.splitlines() if line != nothing and not _CUT_OFF.search(line)]
        why = "\n".join([told, *kept, newest])
        mend = f"declare a later `exclude_newer`, or another version of `{cut['name']}`"
    return Unresolvable(summary, why=why, mend=mend)


def _replaced(text: str, name: str) -> EnvironmentBroken:
    """A file that is not the one that was locked."""
    found = re.search(
        r"Hash mismatch for `(?P<what>[^`]+)`\s+Expected:\s+(?P<locked>\S+)\s+Computed:\s+(?P<found>\S+)",
        text,
    )
    return EnvironmentBroken(
        f"a package of environment `{name}` is not the one that was locked",
        why=f"`{found['what']}`\nlocked: {found['locked']}\nfound:  {found['found']}" if found else text,
        mend="somebody replaced the file on the index; lock again with `--upgrade` if that is meant",
    )


def _unbuilt(text: str, lines: list[str], name: str) -> EnvironmentBroken:
    from tilth.environments.explaining import hints, system_packages

    mend = "ask for a version that has a wheel for this Python, or install what the build lacks"
    package = re.search(r"Failed to (?:build|download and build) `([A-Za-z0-9._-]+)", text)
    lacking = system_packages.lacking(text)
    if lacking:
        mend = lacking.mend()
    elif package:
        mend = hints.module_of_another(package[1]) or mend
    return EnvironmentBroken(
        f"a source distribution of environment `{name}` does not build",
        why=_shorten(lines, last=True),
        mend=mend,
    )


def _uv_cache() -> Path:
    from pathlib import Path

    return Path(call(["cache", "dir"]).output.strip() or ".")
