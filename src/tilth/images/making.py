"""From a lock and a base to an image whose blobs lie on this machine, the same bytes wherever it is made.

Nothing of the base is read: its layers are named by their digests, and brought along by whoever pushes or loads.
"""

from __future__ import annotations

import os
import posixpath
import re
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth.environments import wheels as wheel_store
from tilth.environments.files import explaining_full_disk
from tilth.environments.interpreters import Interpreter, probe
from tilth.errors import DefinitionError
from tilth.images.bases import Base, as_oci
from tilth.images.fitting import refuse_unfit
from tilth.images.gathering import gather
from tilth.images.grouping import early_ones, room_above
from tilth.images.layers import verify_layers
from tilth.images.packing import Packing
from tilth.oci import descriptors
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import Descriptor, Manifest, digest_of, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.environments.locks import Locked
    from tilth.home import Home
    from tilth.images.layers import Wheel
    from tilth.images.packing import Packed
    from tilth.images.settings import ImageSettings

ENVIRONMENT = "dev.tilth.environment"  # label and annotation: the digest of the environment
_BESIDE = 15  # the most layers of packages of an environment beside another
_FORMAT = 1  # raised when the same inputs give another image
_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what engines set where an image does not
)


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


class Beside(NamedTuple):
    """Another environment in the same image, that nothing of the first one sees."""

    lock: Locked
    prefix: str  # where it is in the image


def image_key(
    lock: Locked, base: Base, settings: ImageSettings, code: str = "", beside: Sequence[Beside] = ()
) -> str:
    """What an image is made of, before it is made: equal keys, equal images.

    Versions of what compresses are left out: the image of a colleague who has another is as good.

    Args:
        code: Digest of the bundle that goes into it.
        beside: Other environments in it.
    """
    what: list[object] = [_FORMAT, lock.digest, base.digest, settings, code]
    what.append(os.environ.get("SOURCE_DATE_EPOCH", ""))
    what += [(each.lock.digest, each.prefix) for each in beside]
    return digest_of(msgspec.json.encode(what, order="sorted")).removeprefix("sha256:")


def make_image(
    lock: Locked,
    base: Base,
    settings: ImageSettings,
    home: Home,
    *,
    code: Path | None = None,
    beside: Sequence[Beside] = (),
    progress: Callable[[ImageLayer, bool], None] | None = None,
    offline: bool = False,
) -> Image:
    """Make the image of a lock on a base. Layers that were made before are found, and not made again.

    Args:
        code: A bundle whose files go to `/opt/code`.
        beside: Other environments that go into it, for the same base; below, as they change less often.
        progress: Called with each layer as it is there, the base's first, from several threads, and whether it was
            made now. What it raises ends the making. A layer that it is told of may not be in the image after all:
            when a package that comes later replaces files of it.
    Raises:
        DefinitionError: The base is not one that the lock runs on, or the settings make no sense.
        EnvironmentBroken, IndexUnavailable, DiskFull, SetupError: No image is left in part; its layers may be.
    """
    for each in (lock, *(other.lock for other in beside)):
        refuse_unfit(each, base)
    _refuse_settings(settings)
    room = room_above(len(base.layers) + len(beside) * (_BESIDE + 1), base.reference)
    tell = progress or (lambda _layer, _now: None)
    for layer in _base_layers(base):
        tell(layer, False)
    home.wheels.mkdir(parents=True, exist_ok=True)
    with explaining_full_disk(f"the image of environment `{lock.name}`", home.images):
        with closing(wheel_store.keep(home)):
            packed: list[Packed] = []
            warnings: list[str] = []
            for other in beside:
                own = msgspec.structs.replace(settings, prefix=other.prefix)
                layers, told = _pack(other.lock, base, own, home, _BESIDE, None, tell, offline=offline)
                packed += layers
                warnings += told
            layers, told = _pack(lock, base, settings, home, room, code, tell, offline=offline)
        return _assemble(lock, base, settings, home, [*packed, *layers], (*warnings, *told))


def _pack(
    lock: Locked,
    base: Base,
    settings: ImageSettings,
    home: Home,
    room: int,
    code: Path | None,
    tell: Callable[[ImageLayer, bool], None],
    *,
    offline: bool,
) -> tuple[list[Packed], list[str]]:
    """The layers of one environment, and what there is to warn of."""
    interpreter = _interpreter(lock, home)
    inside = msgspec.structs.replace(interpreter, base=base.python, version=base.version)
    early = early_ones({each.name: each.size for each in lock.packages}, room)
    with Packing(inside, settings, home, lambda packed: tell(_described(packed), packed.now)) as packing:

        def came(name: str, wheel: Wheel) -> None:
            if name in early:
                packing.begin(wheel)

        wheels, warnings = gather(lock, interpreter, settings, home, offline=offline, came=came)
        return packing.finish(wheels, room, code), warnings


def broken_layers(image: Image, home: Home) -> list[str]:
    """Digests of the image's own layers that are not here, or not what they should be.

    They are thrown away, so `make_image` makes them again.
    """
    return verify_layers([each.descriptor for each in image.own_layers], home)


def _interpreter(lock: Locked, home: Home) -> Interpreter:
    """What the wheel store unpacks for."""
    if lock.elsewhere is not None:
        return lock.elsewhere
    return probe(Path(lock.interpreter), home)


def _assemble(
    lock: Locked,
    base: Base,
    settings: ImageSettings,
    home: Home,
    made: Sequence[Packed],
    warnings: tuple[str, ...],
) -> Image:
    """Config and manifest, put beside the layers."""
    created = _created(base)
    layers = [*_base_layers(base), *map(_described, made)]
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


def _base_layers(base: Base) -> list[ImageLayer]:
    return [
        ImageLayer(descriptor=as_oci(each.descriptor), diff_id=each.diff_id, title="base")
        for each in base.layers
    ]


def _described(packed: Packed) -> ImageLayer:
    return ImageLayer(descriptor=packed.layer.descriptor, diff_id=packed.layer.diff_id, title=packed.title)


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
