"""From a lock and a base to an image whose blobs lie on this machine, the same bytes wherever it is made.

Nothing of the base is read: its layers are named by their digests, and brought along by whoever pushes or loads.
"""

from __future__ import annotations

import os
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import background, wheels as wheel_store
from tilth.environments.choices import Choice
from tilth.environments.files import explaining_full_disk
from tilth.environments.interpreters import Interpreter, probe
from tilth.errors import DefinitionError, EnvironmentBroken, SetupError
from tilth.images.bases import Base, as_oci
from tilth.images.fitting import refuse_unfit
from tilth.images.grouping import group, room_above
from tilth.images.layers import (
    Wheel,
    code_layer,
    lacks_bytecode,
    skeleton_layer,
    verify_layers,
    wheels_layer,
)
from tilth.images.overlaps import find_overlaps
from tilth.images.settings import CODE
from tilth.oci import descriptors
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import Descriptor, Manifest, digest_of, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tilth.environments.locks import Locked
    from tilth.home import Home
    from tilth.images.settings import ImageSettings
    from tilth.oci.layers import Layer

ENVIRONMENT = "dev.tilth.environment"  # label and annotation: the digest of the environment
_FORMAT = 1  # raised when the same inputs give another image
_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what engines set where an image does not
)
_NAMED = 3  # packages that the title of a shared layer names


class ImageLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of an image, and what is in it."""

    descriptor: Descriptor
    diff_id: str
    title: str  # `base`, `skeleton`, `numpy 2.1.0`, `12 packages: attrs, …`, `code`


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image whose own blobs are on this machine; those of its base are where the base is."""

    digest: str  # of the manifest
    manifest: bytes
    config: bytes
    layers: tuple[ImageLayer, ...]  # the base's first
    base: Base | None
    made: tuple[str, ...] = ()  # digests of the layers that were made now, and not found
    bytes_made: int = 0  # of those, compressed
    warnings: tuple[str, ...] = ()  # such as: two packages have the same file

    @property
    def own_layers(self) -> tuple[ImageLayer, ...]:
        """Those above the base."""
        return self.layers[len(self.base.layers) if self.base else 0 :]


def image_key(lock: Locked, base: Base, settings: ImageSettings, code: str = "") -> str:
    """What an image is made of, before it is made: equal keys, equal images.

    Versions of what compresses are left out: the image of a colleague who has another is as good.

    Args:
        code: Digest of the bundle that goes into it.
    """
    what = [_FORMAT, lock.digest, base.digest, settings, code, os.environ.get("SOURCE_DATE_EPOCH", "")]
    return digest_of(msgspec.json.encode(what, order="sorted")).removeprefix("sha256:")


def make_image(
    lock: Locked,
    base: Base,
    settings: ImageSettings,
    home: Home,
    *,
    code: Path | None = None,
    progress: Callable[[ImageLayer, bool], None] | None = None,
    offline: bool = False,
) -> Image:
    """Make the image of a lock on a base. Layers that were made before are found, and not made again.

    Args:
        code: A bundle whose files go to `/opt/code`.
        progress: Called with each layer as it is there, from several threads, and whether it was made now.
    Raises:
        DefinitionError: The base is not one that the lock runs on, or the settings make no sense.
        EnvironmentBroken, IndexUnavailable, DiskFull, SetupError: No image is left in part; its layers may be.
    """
    refuse_unfit(lock, base)
    _refuse_settings(settings)
    room = room_above(len(base.layers), base.reference)
    home.wheels.mkdir(parents=True, exist_ok=True)
    with explaining_full_disk(f"the image of environment `{lock.name}`", home.images):
        with closing(wheel_store.keep(home)):
            interpreter = _interpreter(lock, home)
            packed, warnings = _gather(lock, interpreter, settings, home, offline)
            interpreter = msgspec.structs.replace(interpreter, base=base.python, version=base.version)
            made = _make_layers(packed, interpreter, settings, home, room, code, progress)
        return _assemble(lock, base, settings, home, made, tuple(warnings))


def broken_layers(image: Image, home: Home) -> list[str]:
    """Digests of the image's own layers that are not here, or not what they should be.

    They are thrown away, so `make_image` makes them again.
    """
    return verify_layers([each.descriptor for each in image.own_layers], home)


class _Made(msgspec.Struct, frozen=True):
    title: str
    layer: Layer
    now: bool


def _interpreter(lock: Locked, home: Home) -> Interpreter:
    """What the wheel store unpacks for."""
    if lock.elsewhere is not None:
        return lock.elsewhere
    return probe(Path(lock.interpreter), home)


def _gather(
    lock: Locked, interpreter: Interpreter, settings: ImageSettings, home: Home, offline: bool
) -> tuple[dict[str, Wheel], list[str]]:
    """The wheels of a lock by name, unpacked, and what there is to warn of."""
    choices = [
        Choice(each.name, each.version, each.digest, each.file, source, each.size, each.builder)
        for each, source in zip(lock.packages, lock.sources, strict=True)
    ]
    found: dict[str, Wheel] = {}
    if settings.bytecode and wheel_store.compiler_of(interpreter, home) is None:
        raise SetupError(
            f"no Python {interpreter.minor} on this machine can write bytecode for environment `{lock.name}`",
            why="the image shall have it: `bytecode` is set",
            mend=f"install Python {interpreter.minor} here, or leave `bytecode` off",
        )
    for attempt in range(2):
        wheel_store.fetch(choices, interpreter, home, name=lock.name, index=lock.index, offline=offline)
        for choice in choices:
            folder = wheel_store.entry_folder(choice.digest, interpreter, home)
            entry = wheel_store.read_entry(folder)
            whole = entry is not None and not wheel_store.changed(folder, entry)
            if entry is not None and settings.bytecode and not attempt:
                whole = whole and not lacks_bytecode(entry, interpreter.library)
            if entry is not None and whole:
                found[choice.name] = Wheel(entry=entry, tree=folder / "tree", bytecode=settings.bytecode)
            elif attempt:
                raise EnvironmentBroken(
                    f"the image of environment `{lock.name}` cannot be made",
                    why=f"files of `{choice.name}` in `{home.wheels}` change while they are used",
                )
            else:
                wheel_store.discard(folder, home)  # fetched again
        if len(found) == len(choices):
            break
    overlaps = find_overlaps({name: (each.tree, each.entry) for name, each in found.items()})
    for name, paths in overlaps.left_out.items():
        found[name] = msgspec.structs.replace(found[name], left_out=frozenset(paths))
    return found, overlaps.warnings


def _make_layers(
    packed: Mapping[str, Wheel],
    interpreter: Interpreter,
    settings: ImageSettings,
    home: Home,
    room: int,
    code: Path | None,
    progress: Callable[[ImageLayer, bool], None] | None,
) -> list[_Made]:
    groups = group({name: wheel.size for name, wheel in packed.items()}, room)
    cores = os.cpu_count() or 1

    def note(title: str, layer: Layer, now: bool) -> _Made:
        if progress is not None:
            progress(ImageLayer(descriptor=layer.descriptor, diff_id=layer.diff_id, title=title), now)
        return _Made(title, layer, now)

    def make(index: int) -> _Made:
        members = [packed[name] for name in groups[index]]
        return note(_title(members), *wheels_layer(members, interpreter, settings, home, threads))

    # Biggest first, or the last to begin would be waited for alone.
    order = sorted(range(len(groups)), key=lambda index: -sum(packed[each].size for each in groups[index]))
    first = note("skeleton", *skeleton_layer(interpreter, settings, home))
    with ThreadPoolExecutor(cores, thread_name_prefix="layers") as threads:
        by_index = dict(zip(order, background.at_once(make, order, threads=cores), strict=True))
    made = [first, *(by_index[index] for index in range(len(groups)))]
    if code is not None:
        made.append(note("code", *code_layer(code, CODE, settings, home)))
    return made


def _title(members: Sequence[Wheel]) -> str:
    if len(members) == 1:
        return f"{members[0].entry.name} {members[0].entry.version}"
    names = [each.entry.name for each in members]
    return f"{len(names)} packages: " + ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _assemble(
    lock: Locked,
    base: Base,
    settings: ImageSettings,
    home: Home,
    made: Sequence[_Made],
    warnings: tuple[str, ...],
) -> Image:
    """Config and manifest, put beside the layers."""
    created = _created(base)
    layers = [
        *(
            ImageLayer(descriptor=as_oci(each.descriptor), diff_id=each.diff_id, title="base")
            for each in base.layers
        ),
        *(
            ImageLayer(descriptor=each.layer.descriptor, diff_id=each.layer.diff_id, title=each.title)
            for each in made
        ),
    ]
    blobs = BlobStore(home.images)
    config = encode(image_config(lock, base, settings, layers, created))
    described = Descriptor(media_type=descriptors.CONFIG, digest=blobs.put(config), size=len(config))
    manifest = encode(
        Manifest(
            config=described,
            layers=tuple(each.descriptor for each in layers),
            annotations={
                **_standard(lock, base),
                "org.opencontainers.image.created": created,
                **settings.annotations,
            },
        )
    )
    now = {each.layer.descriptor.digest: each.layer.descriptor.size for each in made if each.now}
    return Image(
        digest=blobs.put(manifest),
        manifest=manifest,
        config=config,
        layers=tuple(layers),
        base=base,
        made=tuple(now),
        bytes_made=sum(now.values()),
        warnings=warnings,
    )


def image_config(
    lock: Locked, base: Base, settings: ImageSettings, layers: Sequence[ImageLayer], created: str
) -> dict[str, Any]:
    """The config of an image: what the base's says, and what an environment adds."""
    said = {key: value for key, value in base.config.items() if value not in (None, "", [], {})}
    variables = dict(each.partition("=")[::2] for each in said.get("Env", ()))
    variables |= {"VIRTUAL_ENV": settings.prefix, **lock.variables}
    variables["PATH"] = f"{settings.prefix}/bin:{variables.get('PATH') or _PATH}"
    user = settings.user or said.get("User", "")
    if re.fullmatch(r"0*[1-9]\d*(:.*)?", user):
        # A number need not be in the base's list of users; without a home it would be `/`, where it may not write.
        variables.setdefault("HOME", "/tmp")  # noqa: S108 - a folder of the image
    said["Env"] = [f"{name}={value}" for name, value in variables.items()]
    said["Labels"] = {**(said.get("Labels") or {}), **_standard(lock, base), **settings.labels}
    if user:
        said["User"] = user
    if settings.working_directory:
        said["WorkingDir"] = settings.working_directory
    below = [dict(each) for each in base.history]
    if sum(not each.get("empty_layer") for each in below) != len(base.layers):
        below = [{"created_by": "base"} for _ in base.layers]  # readers want one for each layer, or none
    above = [
        {"created": created, "created_by": f"environment: {each.title}"}
        for each in layers[len(base.layers) :]
    ]
    config = {
        "architecture": base.architecture,
        "os": base.os,
        "created": created,
        "config": said,
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [*below, *above],
    }
    return {**config, "variant": base.variant} if base.variant else config


def _standard(lock: Locked, base: Base) -> dict[str, str]:
    # Neither names of the base and the environment nor the lock: images that are the same have different ones.
    return {ENVIRONMENT: lock.digest, "org.opencontainers.image.base.digest": base.digest}


def _created(base: Base) -> str:
    """When an image says it was made: never now, or it would be another one each time.

    Source: https://reproducible-builds.org/specs/source-date-epoch/ (a variable for all tools, not a setting of ours)
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        try:
            moment = datetime.fromtimestamp(int(given), timezone.utc)
        except (ValueError, OverflowError, OSError):
            raise DefinitionError(
                f"`SOURCE_DATE_EPOCH` is `{given}`, which is no time",
                mend="set it to seconds since 1970, or unset it",
            ) from None
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return base.created or "1970-01-01T00:00:00Z"


def _refuse_settings(settings: ImageSettings) -> None:
    for name in ("prefix", "working_directory"):
        path = getattr(settings, name)
        if path and (not path.startswith("/") or posixpath.normpath(path) != path or path in ("/", "//")):
            raise DefinitionError(
                f"the setting `{name}` of an image is `{path}`",
                why="it has to be the full path of a folder in it",
            )
    if settings.user and not re.fullmatch(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", settings.user
    ):
        raise DefinitionError(
            f"the setting `user` of an image is `{settings.user}`",
            mend="give `UID`, `UID:GID` or a name, such as `1000:1000`",
        )
