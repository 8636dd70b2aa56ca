"""A commit of a git repository as a folder. git itself asks who may read it, by its own helpers.

cache/repositories/KEY/     what was fetched of one repository: a bare repository
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from typing import TYPE_CHECKING

from tilth.environments import background
from tilth.environments.files import explaining_full_disk, locked, remove_tree, scratch, sweep
from tilth.environments.uv import without_credentials
from tilth.errors import EnvironmentBroken, IndexUnavailable, SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.home import Home

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# In a hook these name the repository that runs it.
_LEFT_OUT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


def check_out(
    url: str,
    commit: str,
    folder: Path,
    home: Home,
    *,
    what: str,
    history: bool = False,
    offline: bool = False,
) -> None:
    """Write a commit, with its submodules, into the new folder `folder`.

    Args:
        what: It is, for messages: "`alpha` of environment `training`".
        history: Fetch all commits and tags, for a package that takes its version from them.
    Raises:
        EnvironmentBroken: The repository has no such commit.
        IndexUnavailable: It cannot be reached, or tilth is offline and the commit was never fetched.
    """
    if not _COMMIT.fullmatch(commit):
        raise EnvironmentBroken(f"{what} is locked without a commit", why=f"`{commit}` is none")
    key = hashlib.sha256(without_credentials(url).encode()).hexdigest()[:32]
    kept = home.cache / "repositories" / key
    with explaining_full_disk(what, home.cache), locked(kept.parent / ".locks" / key):
        if not _has(kept, commit, history):
            if offline and "://" in url and not url.startswith("file://"):
                raise IndexUnavailable(
                    f"{what} has to be fetched, and tilth is offline",
                    why=f"{without_credentials(url)}, commit {commit}",
                    mend="leave out `--offline`, or unset `TILTH_OFFLINE`",
                )
            _fetch(url, commit, kept, what, history)
        _git("clone", "--quiet", "--no-checkout", "--local", "--", kept, folder, what=what)
    _git("-C", folder, "checkout", "--quiet", "--detach", commit, what=what)
    if (folder / ".gitmodules").exists():
        # Relative addresses of submodules are relative to where the repository came from.
        _git("-C", folder, "remote", "set-url", "origin", url, what=what)
        _git("-C", folder, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", what=what)


def _has(kept: Path, commit: str, history: bool) -> bool:
    if not (kept / "HEAD").exists() or (history and (kept / "shallow").exists()):
        return False
    return _run("-C", kept, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _fetch(url: str, commit: str, kept: Path, what: str, history: bool) -> None:
    sweep(kept.parent)
    if not (kept / "HEAD").exists():
        remove_tree(kept)
        with scratch(kept.parent) as aside:
            _git("init", "--quiet", "--bare", aside / "new", what=what)
            (aside / "new").rename(kept)
    every = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    if history:
        more = ["--unshallow"] if (kept / "shallow").exists() else []
        done = _run("-C", kept, "fetch", "--quiet", *more, "--", url, commit, *every)
    else:
        done = _run("-C", kept, "fetch", "--quiet", "--depth=1", "--", url, commit)
    if done.returncode != 0:
        # Some hosts give branches and tags only, and not a commit by its name.
        again = _run("-C", kept, "fetch", "--quiet", "--", url, *every)
        if again.returncode != 0:
            raise _unreachable(url, again.stderr, what)
    if not _has(kept, commit, history=False):
        raise EnvironmentBroken(
            f"{what} is gone from its repository",
            why=f"{without_credentials(url)} has no commit {commit}",
            mend="lock again with `--upgrade`",
        )
    # `clone` takes what a branch leads to; one of ours leads to each commit that was asked for.
    _git("-C", kept, "update-ref", f"refs/heads/tilth/{commit}", commit, what=what)


def _unreachable(url: str, said: str, what: str) -> IndexUnavailable:
    lines = [line for line in without_credentials(said).splitlines() if line.strip()]
    return IndexUnavailable(
        f"{what} cannot be fetched from its repository",
        why="\n".join([without_credentials(url), *lines[-4:]]),
        mend="see that `git ls-remote` reaches it without asking for a password, for instance with a credential helper",
    )


def _git(*arguments: str | Path, what: str) -> None:
    done = _run(*arguments)
    if done.returncode != 0:
        lines = without_credentials(done.stderr).strip().splitlines()
        raise EnvironmentBroken(f"git cannot write out the source of {what}", why="\n".join(lines[-4:]))


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in _LEFT_OUT}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # never waits for somebody to type
    options = ("-c", "safe.directory=*", "-c", "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null")
    try:
        done: subprocess.CompletedProcess[str] = background.call(
            ["git", *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
    except FileNotFoundError as error:
        raise SetupError(
            "git is not installed, and a package comes from a repository", mend="install git"
        ) from error
    return done
