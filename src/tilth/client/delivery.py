"""Decides how the project's code comes to steps that run elsewhere: as a bundle, from its repository, in the image.

[tool.tilth]
code = "git"            # `bundle` (the default), `git` or `image`
code-remote = "origin"  # of git; by default the one the branch follows, else `origin`
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.client.bundle import GIT, GIT_VARIABLES
from tilth.environments.uv import without_credentials
from tilth.errors import DefinitionError, OutsideError, SetupError, UnknownOption, nearest
from tilth.records import CodeDelivery

if TYPE_CHECKING:
    from collections.abc import Mapping

WAYS = ("bundle", "git", "image")
IN_IMAGE = "/opt/code"


def plan_delivery(
    root: Path, bundle: str, options: Mapping[str, Any], *, way: str = "", offline: bool = False
) -> CodeDelivery:
    """How the code of the project in `root` is delivered.

    Args:
        bundle: Digest of its bundle.
        options: `[tool.tilth]` of the project.
        way: One of `WAYS`, when the run says so rather than the project.
        offline: Ask no remote: what git knew of it when it last heard from it has to do.
    Raises:
        UnknownOption: There is no such way.
        DefinitionError: The tree has changes that no commit holds, or its commit was not pushed.
        SetupError: This is no git repository, or git is missing.
        OutsideError: The remote cannot be asked.
    """
    way = way or _text(options, "code") or "bundle"
    if way not in WAYS:
        raise UnknownOption(f"code cannot be delivered by `{way}`", mend=nearest(way, WAYS))
    if way == "bundle":
        return CodeDelivery(how="bundle", bundle=bundle)
    if way == "image":
        return CodeDelivery(how="image", bundle=bundle, folder=IN_IMAGE)
    url, commit, folder = pushed_commit(root, remote=_text(options, "code-remote"), offline=offline)
    return CodeDelivery(how="git", bundle=bundle, url=url, commit=commit, folder=folder)


def pushed_commit(root: Path, *, remote: str = "", offline: bool = False) -> tuple[str, str, str]:
    """URL without credentials, commit, and the project's folder in the repository, when all of it was pushed.

    Raises:
        DefinitionError, SetupError, OutsideError: As `plan_delivery` does.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise SetupError(
            f"`{root}` is in no git repository", mend='make it one and push it, or take `code = "bundle"`'
        )
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        raise DefinitionError("the repository has no commit yet", mend="commit and push")
    changed = _git(root, "status", "--porcelain", "--ignore-submodules=none", "-z", "--", ".") or ""
    if changed:
        names = [each[3:] for each in changed.split("\0") if each[2:3] == " "]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise DefinitionError(
            "the project's code is delivered from its git repository, and has changes that no commit holds",
            why=", ".join(f"`{each}`" for each in names[:3]) + more,
            mend='commit and push them, name them in `.gitignore`, or give `code = "bundle"`',
        )
    url = _refuse_unpushed(root, commit, remote, offline, what="the project's code")
    folder = os.path.relpath(root.resolve(), os.path.realpath(top))
    return url, commit, "" if folder == "." else folder


def _refuse_unpushed(root: Path, commit: str, remote: str, offline: bool, *, what: str) -> str:
    """Refuse a commit that its remote does not have, of the repository and of its submodules; gives the URL."""
    name = remote or _followed(root)
    address = _git(root, "remote", "get-url", name)
    if not address:
        known = (_git(root, "remote") or "").split()
        raise SetupError(
            f"the git repository of {what} has no remote `{name}`",
            mend=nearest(name, known) or "add one with `git remote add`, and push to it",
        )
    if not (_known_to_have(root, commit, name) if offline else _has(root, commit, address, what)):
        raise DefinitionError(
            f"commit {commit[:12]} of {what} is not on remote `{name}`",
            why=f"{without_credentials(address)} has no branch or tag that contains it",
            mend="`git push` it",
        )
    for line in (_git(root, "ls-files", "--full-name", "--stage", "-z", "--", ":/") or "").split("\0"):
        kind, _, rest = line.partition(" ")
        if kind != "160000":
            continue
        recorded, (_, _, place) = rest.split(" ")[0], rest.partition("\t")
        top = _git(root, "rev-parse", "--show-toplevel") or str(root)
        inner = Path(top, place)
        if not (inner / ".git").exists():
            raise DefinitionError(
                f"submodule `{place}` was not fetched", mend="`git submodule update --init --recursive`"
            )
        _refuse_unpushed(inner, recorded, "", offline, what=f"submodule `{place}`")
    return without_credentials(
        address if "://" in address or _is_scp(address) else str((root / address).resolve())
    )


def _followed(root: Path) -> str:
    """The remote that the branch follows, else `origin`."""
    branch = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    return (branch and _git(root, "config", f"branch.{branch}.remote")) or "origin"


def _known_to_have(root: Path, commit: str, remote: str) -> bool:
    """Whether the remote had the commit when it was last heard of."""
    found = _git(root, "branch", "--remotes", "--contains", commit, "--list", f"{remote}/*")
    return bool(found)


def _has(root: Path, commit: str, address: str, what: str) -> bool:
    """Whether a branch or tag of the remote contains the commit, as the remote says now."""
    done = _run(root, "ls-remote", "--quiet", "--heads", "--tags", address)
    if done.returncode != 0:
        lines = [line for line in without_credentials(done.stderr).splitlines() if line.strip()]
        raise OutsideError(
            f"the git repository of {what} cannot be asked for what was pushed",
            why="\n".join([without_credentials(address), *lines[-3:]]),
            mend="see that `git ls-remote` reaches it without asking for a password",
        )
    tips = {line.split("\t")[0] for line in done.stdout.splitlines() if "\t" in line}
    return commit in tips or any(
        _git(root, "merge-base", "--is-ancestor", commit, tip) is not None for tip in tips
    )


def _is_scp(address: str) -> bool:
    return re.match(r"[^/:]+:", address) is not None


def _text(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name, "")
    if not isinstance(value, str):
        raise DefinitionError(f"`{name}` of `[tool.tilth]` is `{value}`", mend="make it a text")
    return value


def _git(root: Path, *arguments: str) -> str | None:
    done = _run(root, *arguments)
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    variables |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # never waits for somebody to type
    try:
        return subprocess.run(
            [*GIT, *arguments],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(
            "git is not installed, and the project's code is delivered from its repository",
            mend='install git, or take `code = "bundle"`',
        ) from error
