"""Artifacts in an object store, with those that are used here in a folder of this machine.

artifacts/ab/abcdef…/NAME…                    the files of an artifact
artifacts/ab/abcdef…/artifact.json            written last: without it, the artifact is not there
artifacts/ab/abcdef….visualizations/NAME      what a person would look at
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from tilth.artifact_stores.held import held
from tilth.artifact_stores.objects import checked_key
from tilth.errors import DiskFull, LoadError, NotFound, TilthError
from tilth.materializers.files import MANIFEST, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tilth.artifact_stores.local import LocalArtifactStore
    from tilth.artifact_stores.objects import LooksTogether, ObjectStore
    from tilth.artifact_stores.protocol import ArtifactStore

AT_ONCE = 8  # files on their way, and artifacts looked for
_MAPPED = "mapped"  # the format of an artifact that names others, its items

logger = logging.getLogger(__name__)


class CachedArtifactStore:
    """An `ArtifactStore` whose artifacts are shared through `objects`, and used from `local`.

    `sync` and `share` return when artifacts are in both; `path` brings one here, and its items if it is what a
    mapped step gave. What was brought was compared with its digest: an artifact that is damaged in the object
    store is taken out of it, so that it is made again, and LoadError is raised.
    """

    def __init__(self, local: LocalArtifactStore, objects: ObjectStore) -> None:
        self.local = local
        self.objects = objects

    def path(self, digest: str) -> Path:
        place = self.local.path(digest)
        if not self.local.has(digest):
            self._bring(digest)
        elif manifest := self._mapped_here(place):
            self._bring_items(place, manifest)
        return place

    def has(self, digest: str) -> bool:
        return self.local.has(digest) or self.objects.find(_manifest_key(digest)) is not None

    def is_here(self, digest: str) -> bool:
        return self.local.is_here(digest)

    def manifest(self, digest: str) -> dict[str, Any]:
        if self.local.has(digest):
            return self.local.manifest(digest)
        return self._manifest(digest)[0]

    def adopt(self, folder: Path, digest: str) -> Path:
        return self.local.adopt(folder, digest)

    def sync(self, *digests: str) -> None:
        self.local.sync(*digests)
        self.share(*digests)

    def share(self, *digests: str) -> None:
        here = [each for each in dict.fromkeys(digests) if self.local.has(each)]
        # An artifact that names others is there when they are.
        mapped = {each for each in here if self._mapped_here(self.local.path(each))}
        items = [item for each in mapped for item in self._items(self.local.path(each))]
        plain = [each for each in here if each not in mapped]
        plain += [each for each in items if self.local.has(each)]
        for group in (list(dict.fromkeys(plain)), sorted(mapped)):
            missing = self._missing(group)
            if missing:
                with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-share") as pool:
                    _each(pool, self._send, missing)

    def remove(self, digest: str) -> None:
        self.local.remove(digest)
        self._take_out(digest)

    def verify(self, digest: str) -> list[str]:
        if not self.local.has(digest):
            try:
                self._bring(digest)
            except LoadError as error:
                return [error.why or error.summary]
        return self.local.verify(digest)

    def quarantine(self, digest: str) -> Path:
        return self.local.quarantine(digest)

    def _missing(self, digests: Sequence[str]) -> list[str]:
        """Those that the object store has not."""
        keys = {_manifest_key(each): each for each in digests}
        if not keys:
            return []
        if hasattr(self.objects, "there"):  # not by `isinstance`, which sees no store that is opened on use
            there = cast("LooksTogether", self.objects).there(list(keys))
        else:
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-look") as pool:
                found = zip(keys, pool.map(self.objects.find, keys), strict=True)
                there = {key for key, stored in found if stored is not None}
        return [each for key, each in keys.items() if key not in there]

    def _send(self, digest: str) -> None:
        """Send an artifact; its manifest last."""
        key = _key(digest)
        place = self.local.path(digest)
        known = _digests(place)
        looks = place.with_name(f"{place.name}.visualizations")
        files = {f"{key}/{name}": path for name, path in _files(place) if name != MANIFEST}
        files.update({f"{key}.visualizations/{name}": path for name, path in _files(looks)})

        def put(name: str) -> None:
            self.objects.put(name, files[name], digest=known.get(name.removeprefix(f"{key}/"), ""))

        if len(files) == 1:
            put(*files)
        elif files:
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-send") as pool:
                _each(pool, put, list(files))
        self.objects.put(_manifest_key(digest), place / MANIFEST)

    def _manifest(self, digest: str) -> tuple[dict[str, Any], bytes]:
        """What the object store says of an artifact, known to be of this digest.

        Raises:
            NotFound: It is not there either.
            LoadError: It is not what its digest says; it is taken out.
        """
        key = _manifest_key(digest)
        try:
            text = self.objects.read(key)
            manifest = json.loads(text)
            self._refuse_another(digest, manifest)
        except (LoadError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(digest, str(getattr(error, "why", "") or error)) from error
        return manifest, text

    def _refuse_another(self, digest: str, manifest: dict[str, Any]) -> None:
        from tilth.materializers.artifacts import artifact_digest  # here for cost: seldom needed

        if manifest["digest"] != digest:
            raise ValueError("its manifest is that of another artifact")
        # Of what a mapped step gave, the digest is of its items: they are compared when they are here.
        if manifest["format"] != _MAPPED and artifact_digest(manifest) != digest:
            raise ValueError(f"`{MANIFEST}` is not what its digest says")
        for name in (*manifest["files"], *manifest.get("empty", [])):
            checked_key(unescape(name).removesuffix("/"))  # it becomes a path on this machine

    def _bring(self, digest: str) -> None:
        """Bring an artifact here, if there is one. What a process that was ended had brought is used."""
        aside = self.local.root / "aside" / f"coming-{digest.removeprefix('sha256:')}"
        with held(aside.with_suffix(".lock")):
            if self.local.has(digest):  # somebody else was first
                return
            try:
                manifest, text = self._manifest(digest)
            except NotFound:
                return
            self._fetch(digest, manifest, text, aside)
        place = self.local.path(digest)
        if manifest["format"] == _MAPPED:
            self._bring_items(place, manifest)

    def _fetch(self, digest: str, manifest: dict[str, Any], text: bytes, aside: Path) -> None:
        from tilth.materializers.artifacts import verify  # here for cost: seldom needed

        begun = aside.exists()
        try:
            _make_tree(aside, manifest)
            wanted = {
                name: each["sha256"]
                for name, each in manifest["files"].items()
                if "link" not in each and not (aside / unescape(name)).exists()
            }
            self._get(_key(digest), aside, wanted)
            (aside / MANIFEST).write_bytes(text)
            problems = verify(aside)
            if problems and begun:  # what was here of it is not what had come: not the store's fault
                shutil.rmtree(aside)
                self._fetch(digest, manifest, text, aside)
                return
        except OSError as error:
            raise self._not_written(digest, error) from error
        except (LoadError, NotFound) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise self._damaged(
                digest, error.why if isinstance(error, LoadError) else error.summary
            ) from error
        if problems:
            shutil.rmtree(aside, ignore_errors=True)
            raise self._damaged(digest, problems[0])
        place = self.local.adopt(aside, digest)
        self._bring_looks(digest, place)

    def _get(self, key: str, folder: Path, wanted: dict[str, str]) -> None:
        def get(name: str) -> None:
            self.objects.get(f"{key}/{name}", folder / unescape(name), digest=f"sha256:{wanted[name]}")

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-bring") as pool:
            _each(pool, get, list(wanted))

    def _bring_looks(self, digest: str, place: Path) -> None:
        """What there is to look at, beside the artifact: not worth failing for."""
        looks = place.with_name(f"{place.name}.visualizations")
        if looks.exists():
            return
        aside = self.local.root / "aside" / f"looks-{os.urandom(8).hex()}"
        prefix = f"{_key(digest)}.visualizations/"
        try:
            found = [each.key for each in self.objects.list(prefix)]
            for key in found:
                target = aside / checked_key(unescape(key.removeprefix(prefix)))
                target.parent.mkdir(parents=True, exist_ok=True)
                self.objects.get(key, target)
            if found:
                aside.rename(looks)
        except (TilthError, OSError, ValueError) as error:
            logger.warning("the visualizations of artifact %s were not brought here: %s", digest, error)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _bring_items(self, place: Path, manifest: dict[str, Any]) -> None:
        items = [each for each in dict.fromkeys(self._items(place)) if not self.local.has(each)]
        if not items:
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-items") as pool:
            _each(pool, self._bring, items)
        if gone := [each for each in items if not self.local.has(each)]:
            raise self._damaged(manifest["digest"], f"{len(gone)} of its items are gone, as `{gone[0]}`")

    def _mapped_here(self, place: Path) -> dict[str, Any] | None:
        """The manifest of an artifact that is here and names others; None of another one."""
        with contextlib.suppress(OSError, ValueError):
            # Most are told apart without reading JSON: `path` is asked for each input of each step.
            text = (place / MANIFEST).read_bytes()
            if b'"mapped"' in text and (manifest := json.loads(text)).get("format") == _MAPPED:
                return dict(manifest)
        return None

    def _items(self, place: Path) -> list[str]:
        with open(place / "items.jsonl", "rb") as file:
            return [json.loads(line)["digest"] for line in file]

    def _take_out(self, digest: str) -> None:
        key = _key(digest)
        self.objects.delete(_manifest_key(digest))  # first: then it is not there, however far this comes
        for prefix in (f"{key}/", f"{key}.visualizations/"):
            for each in self.objects.list(prefix):
                self.objects.delete(each.key)

    def _damaged(self, digest: str, problem: str) -> LoadError:
        try:
            self._take_out(digest)
            mend = "it was taken out of the store: run the pipeline again, and it is made again"
        except TilthError as error:
            mend = f"delete `{_key(digest)}` from the store: it could not be done from here ({error.summary})"
        return LoadError(
            f"the artifact `{digest}` is damaged in `{self.objects.where}`",
            why=f"{problem}; nothing of it is used",
            mend=mend,
        )

    def _not_written(self, digest: str, error: OSError) -> Exception:
        import errno

        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return error
        return DiskFull(
            f"no space left to bring the artifact `{digest}` here",
            why=f"writing below `{self.local.root}`; what has come is kept, and continued",
            mend="make room on that disk, or set `TILTH_HOME` to a folder on another",
        )


if TYPE_CHECKING:
    _keeps_the_promises: type[ArtifactStore] = CachedArtifactStore


def _key(digest: str) -> str:
    name = digest.removeprefix("sha256:")
    return f"artifacts/{name[:2]}/{name}"


def _manifest_key(digest: str) -> str:
    return f"{_key(digest)}/{MANIFEST}"


def _each(pool: ThreadPoolExecutor, work: Callable[[str], None], names: Sequence[str]) -> None:
    """Do something with each; after a failure begin no more, and raise it."""
    running = [pool.submit(work, name) for name in names]
    try:
        for each in running:
            each.result()
    except BaseException:
        for each in running:
            each.cancel()
        raise


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The regular files below a folder by escaped name: links and empty folders are in the manifest."""
    from tilth.materializers.files import escape

    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield escape(path.relative_to(folder).as_posix()), path


def _digests(place: Path) -> dict[str, str]:
    """What the files of an artifact have to be, by escaped name, as far as its manifest says."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        files = json.loads((place / MANIFEST).read_bytes())["files"]
        return {name: f"sha256:{each['sha256']}" for name, each in files.items()}
    return {}


def _make_tree(aside: Path, manifest: dict[str, Any]) -> None:
    """The folders and links of an artifact, around what is there of it already."""
    aside.mkdir(parents=True, exist_ok=True)
    for name in manifest.get("empty", []):
        (aside / unescape(name)).mkdir(parents=True, exist_ok=True)
    for name, each in manifest["files"].items():
        path = aside / unescape(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in each and not path.is_symlink():
            path.symlink_to(unescape(each["link"]))
