"""The project's code on its way to where a step runs: put beside the artifacts once, or named in a repository."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tilth.engine.archives import unpack
from tilth.errors import EnvironmentBroken, IndexUnavailable, NotFound, OutsideError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.artifact_stores import ObjectStore
    from tilth.home import Home
    from tilth.records import CodeDelivery

# Asked by git for a user and a password; the values stay in variables, which no other process is shown.
_HELPER = (
    '!f() { test "$1" = get && echo "username=$TILTH_GIT_USER" && echo "password=$TILTH_GIT_PASSWORD"; }; f'
)


def bundle_key(digest: str) -> str:
    """Where the bundle of this digest is in an object store."""
    return f"bundles/{digest.partition(':')[2]}.tar"


def deliver(bundle: Path, digest: str, objects: ObjectStore) -> bool:
    """Put a code bundle into an object store, unless it is there; whether it had to be sent."""
    key = bundle_key(digest)
    if objects.find(key) is not None:
        return False
    objects.put(key, bundle)
    return True


def fetch_code(
    code: CodeDelivery, folder: Path, *, objects: ObjectStore, home: Home, password: str = ""
) -> Path:
    """Bring the project's code into the new folder `folder`; gives the folder of the project.

    Args:
        home: Where what is fetched is kept on the way.
        password: For a git repository over http: a token, or `USER:PASSWORD`.
    Raises:
        NotFound: The bundle is not in the store.
        SetupError: It is damaged, or leads outside of its folder; an image has no such folder.
        OutsideError: The repository cannot be reached, or has no such commit.
    """
    if code.how == "image":
        from pathlib import Path

        place = Path(code.folder)
        if not place.is_dir():
            raise SetupError(
                f"the project's code is not in the image: there is no folder `{place}`",
                mend='build the image with its code, or take `code = "bundle"`',
            )
        return place
    if code.how == "git":
        _check_out(code, folder, home, password)
        place = (folder / code.folder).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise SetupError(f"the folder `{code.folder}` of the project leads out of its repository")
        return place
    archive = home.bundles / bundle_key(code.bundle).rpartition("/")[2]
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        objects.get(bundle_key(code.bundle), archive)
    except NotFound as error:
        raise NotFound(
            f"the code bundle `{code.bundle}` is not in the artifact store",
            why=error.why,
            mend="start the run again",
        ) from error
    unpack(archive, folder)
    return folder


def _check_out(code: CodeDelivery, folder: Path, home: Home, password: str) -> None:
    from tilth.environments.building.repositories import check_out

    try:
        with login(code.url, password):
            check_out(code.url, code.commit, folder, home, what="the project's code")
    except IndexUnavailable as error:
        raise OutsideError(error.summary, why=error.why, mend=error.mend) from error
    except EnvironmentBroken as error:
        raise OutsideError(
            error.summary, why=error.why, mend="push the commit again, and start a new run"
        ) from error


@contextmanager
def login(url: str, password: str) -> Iterator[None]:
    """Have git use this password for the host of a repository, and for no other: a submodule may be anywhere.

    Args:
        password: A token, or `USER:PASSWORD`; empty for none.
    """
    parts = urlsplit(url)
    if not password or parts.scheme not in ("http", "https"):
        yield
        return
    user, colon, rest = password.partition(":")
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)  # of what whoever set git up gives it this way
    host = parts.netloc.rpartition("@")[2]
    given = {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": f"credential.{parts.scheme}://{host}.helper",
        f"GIT_CONFIG_VALUE_{count}": _HELPER,
        "TILTH_GIT_USER": user if colon else "x-access-token",  # which hosts take beside a token
        "TILTH_GIT_PASSWORD": rest if colon else password,
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
