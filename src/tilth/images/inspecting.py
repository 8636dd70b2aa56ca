"""What a base image is: its layers, and which Python and C library are in it. Read once, then remembered.

images/bases/tags/KEY.json      which digest a tag had when it was asked for last
images/bases/KEY.json           a base, by where it is, its digest and the platform
images/bases/pythons/KEY.json   what was found in the layers of an image, wherever it is

Forms of a reference: `HOST/NAME:TAG`, `oci:PATH[:NAME]`, `docker-archive:PATH`, `docker:NAME`, `podman:NAME`.
"""

from __future__ import annotations

import gzip
import hashlib
import platform as machine
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec

from tilth.environments.files import explaining_full_disk, read_bytes, remember, scratch
from tilth.errors import ImageBroken, ImageNotFound, OutsideError, TilthError, nearest
from tilth.images.bases import Base, BaseLayer
from tilth.images.engines import MOVING_S, Engine
from tilth.images.filesystems import Filesystem, Pieces, Python
from tilth.images.platforms import ARCHITECTURES
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import (
    CONFIG,
    DOCKER_INDEX,
    INDEX,
    LAYER,
    LAYER_GZIP,
    Descriptor,
    Index,
    Manifest,
    digest_of,
    encode,
)
from tilth.oci.layouts import Layout
from tilth.oci.references import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.home import Home
    from tilth.oci.references import Reference
    from tilth.oci.registry import Registry

_T = TypeVar("_T")

PLATFORM = "linux/amd64"
DEFAULT_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of engines, for images with none
)
_CHUNK = 1 << 20
_PROBE = (
    "import os,sys,platform;print(os.path.realpath(sys.executable));print(platform.python_version());"
    "print(*platform.libc_ver())"
)


# What the manifest of a base that a builder made says of it, so that nobody has to read its layers to know.
PYTHON, VERSION, LIBC = "dev.tilth.python", "dev.tilth.python.version", "dev.tilth.libc"


class Found(msgspec.Struct, frozen=True):
    """What was found in an image; empty where there is none."""

    python: str = ""
    version: str = ""
    libc: str = ""


def inspect_base(
    reference: str,
    *,
    registry: Callable[[str], Registry],
    home: Home,
    platform: str = PLATFORM,
    offline: bool = False,
    with_layers: bool = True,
    engine: Engine | None = None,
) -> Base:
    """A base image by reference. Asks one HEAD for a tag of a registry that is known, and nothing for a digest.

    Args:
        registry: Gives the client of a host.
        platform: Which one of a reference to several; one without a choice has to be of it too. Empty for whichever an
            engine has.
        offline: Ask nobody: what is remembered has to do.
        with_layers: Of an image in an engine, take the layers out too, so that what stands on it can be pushed.
            Without, their digests are those of their contents, and their sizes 0.
        engine: That `docker:` and `podman:` ask.

    Returns:
        The base; one without a Python has `python=""`.

    Raises:
        ImageNotFound: There is no such image, tag or platform; the hint names those there are.
        ImageBroken: It is not what its digests say.
    """
    with explaining_full_disk(f"what is known of the base image `{reference}`", home.images):
        kind, _, rest = reference.partition(":")
        if kind == "oci":
            return _of_layout(reference, rest, home, platform)
        if kind == "docker-archive":
            return _of_archive(reference, Path(rest), home, platform)
        if kind in ("docker", "podman") and "//" not in rest:
            chosen = engine or Engine(kind=kind, needed_for=f"the base image `{reference}`")  # type: ignore[arg-type]
            return _of_engine(reference, rest, chosen, home, platform, with_layers=with_layers)
        return _of_registry(reference, registry, home, platform, offline=offline)


def layer_source(base: Base, home: Home) -> Layout | None:
    """The layout that a base's layers can be read from; None when they are in a registry or an engine."""
    if BlobStore(home.images).root.exists() and all(
        BlobStore(home.images).has(each.descriptor.digest) for each in base.layers
    ):
        return Layout(home.images)
    kind, _, path = base.source.partition(":")
    # Of what was taken over here and is gone, nothing is left to read.
    return Layout(Path(path)) if kind == "layout" and Path(path) != home.images else None


def digest_at(
    reference: Reference,
    *,
    registry: Callable[[str], Registry],
    home: Home,
    platform: str = "",
    offline: bool,
) -> str:
    """The digest that a name in a registry stands for now, of an image or an index; asks one HEAD for a tag.

    Raises:
        ImageNotFound: There is no such tag; the hint names those there are.
        OutsideError: Offline, and never asked before.
    """
    return reference.digest or _tagged(reference, registry, home, platform, offline=offline)


def layers_at(reference: Reference, client: Registry, *, platform: str = PLATFORM) -> list[BaseLayer]:
    """The layers of an image in a registry by its digest: its manifest and its config are read, and nothing kept."""
    _, manifest = _manifest(client, reference, reference.digest, platform)
    config = client.read_blob(reference.repository, manifest.config.digest)
    diff_ids = _decode(config, _Config, str(reference)).rootfs.diff_ids
    source = f"registry:{reference.name}"
    return [
        BaseLayer(descriptor=layer, diff_id=diff_id, source=source)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=False)
    ]


def look_into(name: str, config: bytes, layers: Mapping[str, Callable[[], IO[bytes]]], home: Home) -> None:
    """Find the Python of an image whose layers are at hand as plain tars, and remember it.

    Args:
        config: Its config blob.
        layers: What opens them, by their digests, lowest first.
    """
    plain = [Descriptor(media_type=LAYER, digest=each, size=0) for each in layers]
    _found(name, _decode(config, _Config, name), plain, home, lambda layer: layers[layer.digest]())


# registries


def _of_registry(
    text: str, registry: Callable[[str], Registry], home: Home, platform: str, *, offline: bool
) -> Base:
    reference = parse(text)
    digest = reference.digest or _tagged(reference, registry, home, platform, offline=offline)
    known = _bases(home) / f"{_key(reference.name, digest, platform)}.json"
    if base := _remembered(known, Base):
        return msgspec.structs.replace(base, reference=text)
    if offline:
        raise _unknown_offline(text)
    client = registry(reference.registry)
    chosen, manifest = _manifest(client, reference, digest, platform)
    config = client.read_blob(reference.repository, manifest.config.digest)
    store = BlobStore(home.images)
    store.put(config)

    def read(layer: Descriptor) -> Any:
        if store.has(layer.digest):
            return store.open(layer.digest)
        return Pieces(client.stream_blob(reference.repository, layer))

    base = _base(text, f"registry:{reference.name}", chosen, manifest, config, home, read)
    _checked_platform(base, platform)
    remember(known, msgspec.json.encode(base))
    return base


def _tagged(
    reference: Reference, registry: Callable[[str], Registry], home: Home, platform: str, *, offline: bool
) -> str:
    """The digest of a tag now, by one HEAD; offline the one it had last."""
    path = _bases(home) / "tags" / f"{_key(str(reference), platform)}.json"
    if offline:
        known = read_bytes(path)
        if known is None:
            raise _unknown_offline(str(reference))
        return known.decode()
    client = registry(reference.registry)
    found = client.head_manifest(reference.repository, reference.wanted)
    if found is None:
        raise _no_tag(client, reference)
    remember(path, found.digest.encode())
    return found.digest


def _manifest(client: Registry, reference: Reference, digest: str, platform: str) -> tuple[str, Manifest]:
    """The manifest for a platform, and its digest."""
    try:
        content, descriptor = client.get_manifest(reference.repository, digest)
    except ImageNotFound as error:
        raise _no_tag(client, reference) from error
    if descriptor.media_type in (INDEX, DOCKER_INDEX):
        chosen = choose_platform(_decode(content, Index, str(reference)), platform, str(reference))
        content, descriptor = client.get_manifest(reference.repository, chosen.digest)
    return descriptor.digest, _decode(content, Manifest, str(reference))


def choose_platform(index: Index, platform: str, name: str) -> Descriptor:
    """The manifest of a platform: exactly that variant, else the one without, else the only one that can do.

    Raises:
        ImageNotFound: There is none; the error lists what there is.
    """
    os, architecture, variant = [*platform.split("/"), "", ""][:3]
    there = [(each, each.platform or {}) for each in index.manifests]
    fitting = [
        (each, what)
        for each, what in there
        if what.get("os") == os and what.get("architecture") == architecture
    ]
    for wanted in (variant, "", None):
        for each, what in fitting:
            if wanted is None and variant:
                break  # another variant was asked for by name
            if wanted is None or what.get("variant", "") == wanted:
                return each
    names = sorted(
        "/".join(filter(None, (what.get("os"), what.get("architecture"), what.get("variant"))))
        for _, what in there
        if what.get("os", "unknown") != "unknown"  # attestations, as BuildKit lists them
    )
    raise ImageNotFound(
        f"the base image `{name}` is not there for `{platform}`",
        why="it is for: " + ", ".join(f"`{each}`" for each in names)
        if names
        else "its index names no platform",
        mend="choose another base image, or another platform",
    )


def _no_tag(client: Registry, reference: Reference) -> ImageNotFound:
    wanted = f"the digest `{reference.digest}`" if reference.digest else f"the tag `{reference.wanted}`"
    try:
        tags = client.tags(reference.repository)
    except ImageNotFound:
        return ImageNotFound(
            f"there is no image `{reference.name}`",
            why=f"registry `{client.host}` knows no repository `{reference.repository}`, or hides it",
            mend="check the name; some registries hide what one may not see until one logs in",
        )
    except TilthError:
        tags = []
    hint = "" if reference.digest else nearest(reference.wanted, tags) if len(tags) < 2000 else ""
    if not reference.digest and not hint.startswith("did") and len(tags) > 20:
        hint = "some of its tags: " + ", ".join(f"`{each}`" for each in sorted(tags)[-20:])
    return ImageNotFound(
        f"the image `{reference.name}` does not have {wanted}", mend=hint or "check the name of the image"
    )


def _unknown_offline(text: str) -> OutsideError:
    return OutsideError(
        f"the base image `{text}` is not known on this machine",
        why="nothing is asked of registries while working offline",
        mend="do it once with the network; then what was found is remembered",
    )


# layouts and archives


def _of_layout(text: str, rest: str, home: Home, platform: str) -> Base:
    path, name = Path(rest), ""
    if not path.exists() and ":" in rest:
        before, _, name = rest.rpartition(":")
        path = Path(before)
    layout = Layout(path.absolute())
    found = layout.find(name) if name or not _is_one_image(layout) else layout.manifests()[0]
    return _in_layout(text, layout, found, home, platform)


def _is_one_image(layout: Layout) -> bool:
    return len(layout.manifests()) == 1


def _in_layout(text: str, layout: Layout, found: Descriptor, home: Home, platform: str) -> Base:
    content = layout.read(found.digest)
    if b'"manifests"' in content:
        index = _decode(content, Index, text)
        if index.manifests and msgspec.json.decode(content).get("config") is None:
            found = choose_platform(index, platform, text)
            content = layout.read(found.digest)
    manifest = _decode(content, Manifest, text)
    config = layout.read(manifest.config.digest)
    BlobStore(home.images).put(config)
    base = _base(
        text,
        f"layout:{layout.path}",
        digest_of(content),
        manifest,
        config,
        home,
        lambda layer: layout.open(layer.digest),
    )
    _checked_platform(base, platform)
    return base


def _of_archive(text: str, path: Path, home: Home, platform: str) -> Base:
    """What `docker save` wrote: taken over into the store, where its layers are compressed."""
    if not path.is_file():
        raise ImageNotFound(f"there is no file `{path}`", mend="check the path")
    try:
        tar = tarfile.open(path, "r:*")  # noqa: SIM115 - closed below
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImageBroken(f"`{path}` is no docker archive", why=str(error)) from error
    with tar:
        names = {each.name.removeprefix("./"): each for each in tar.getmembers()}

        def read(name: str) -> IO[bytes]:
            member = names.get(name)
            while member is not None and member.issym():  # layers that are there twice
                target = (Path(member.name).parent / member.linkname).as_posix()
                member = names.get(_plain(target))
            file = tar.extractfile(member) if member is not None else None
            if file is None:
                raise ImageBroken(
                    f"`{path}` is no whole docker archive",
                    why=f"there is no `{name}` in it",
                    mend="make it again with `docker save`; one that leaves layers out is read by the engine alone",
                )
            return file

        with read("manifest.json") as file:
            listing = _decode(file.read(), list[_Archived], text)
        if len(listing) != 1:
            raise ImageNotFound(
                f"there are {len(listing)} images in `{path}`",
                mend="save one image to one file: `docker save NAME -o PATH`",
            )
        with read(listing[0].config) as file:
            config = file.read()
        store = BlobStore(home.images)
        diff_ids = _decode(config, _Config, text).rootfs.diff_ids
        if len(diff_ids) != len(listing[0].layers):
            raise ImageBroken(f"`{path}` has other layers than its config says")
        layers = []
        for name, diff_id in zip(listing[0].layers, diff_ids, strict=True):
            with read(name) as file:
                layers.append(_taken_over(file, diff_id, home, store, text))
    store.put(config)
    manifest = Manifest(
        config=Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config)), layers=tuple(layers)
    )
    digest = store.put(encode(manifest))
    source = f"layout:{home.images}"  # its blobs lie as in a layout
    base = _base(text, source, digest, manifest, config, home, lambda layer: store.open(layer.digest))
    _checked_platform(base, platform)
    return base


def _taken_over(file: IO[bytes], diff_id: str, home: Home, store: BlobStore, text: str) -> Descriptor:
    """A layer of an archive as a blob, compressed, once for each content."""
    known = _bases(home) / "archived" / f"{diff_id.removeprefix('sha256:')}.json"
    if (before := _remembered(known, Descriptor)) and store.has(before.digest):
        return before
    plain = hashlib.sha256()
    start = file.read(2)
    file.seek(0)
    reading: Any = gzip.GzipFile(fileobj=file) if start == b"\x1f\x8b" else file
    with store.writing() as blob:
        # Level 1 takes a quarter of the time of the usual 6, for a sixth more bytes.
        with gzip.GzipFile(fileobj=blob, mode="wb", compresslevel=1, mtime=0, filename="") as packed:  # type: ignore[call-overload] # only written to
            while chunk := reading.read(_CHUNK):
                plain.update(chunk)
                packed.write(chunk)
        if f"sha256:{plain.hexdigest()}" != diff_id:
            raise ImageBroken(
                f"a layer of `{text}` is broken",
                why=f"its content has the digest `sha256:{plain.hexdigest()}`, and the config says `{diff_id}`",
            )
    layer = Descriptor(media_type=LAYER_GZIP, digest=blob.digest, size=blob.size)
    remember(known, msgspec.json.encode(layer))
    return layer


# engines


def _of_engine(text: str, name: str, engine: Engine, home: Home, platform: str, *, with_layers: bool) -> Base:
    told = engine.image(name)
    digest = str(told["Id"])
    digest = digest if digest.startswith("sha256:") else f"sha256:{digest}"  # podman leaves it out
    known = _bases(home) / f"{_key(engine.kind, digest, str(with_layers))}.json"
    base = _remembered(known, Base)
    if base and (not with_layers or layer_source(base, home) is not None):
        base = msgspec.structs.replace(base, reference=text)
    elif with_layers:
        with scratch(home.images) as folder:
            engine.run("image", "save", "-o", str(folder / "image.tar"), name, timeout_s=MOVING_S)
            base = _of_archive(text, folder / "image.tar", home, platform)
        base = msgspec.structs.replace(base, reference=text)
    else:
        base = _as_told(text, digest, told, engine, name, home)
    _checked_platform(base, platform)
    remember(known, msgspec.json.encode(base))
    return base


def _as_told(text: str, digest: str, told: dict[str, Any], engine: Engine, name: str, home: Home) -> Base:
    layers = tuple(
        BaseLayer(descriptor=Descriptor(media_type=LAYER, digest=each, size=0), diff_id=each)
        for each in told.get("RootFS", {}).get("Layers") or ()
    )
    found = _remembered(_pythons(home, [each.diff_id for each in layers]), Found) or _probed(
        engine, digest, told
    )
    if found is None:
        with scratch(home.images) as folder:
            engine.run("image", "save", "-o", str(folder / "image.tar"), name, timeout_s=MOVING_S)
            whole = _of_archive(text, folder / "image.tar", home, _platform_of(told))
        found = Found(whole.python, whole.version, whole.libc)
    remember(_pythons(home, [each.diff_id for each in layers]), msgspec.json.encode(found))
    return Base(
        reference=text,
        source=f"engine:{engine.kind}",
        digest=digest,
        identity=digest,
        os=told.get("Os", "linux"),
        architecture=told.get("Architecture", ""),
        variant=told.get("Variant", ""),
        layers=layers,
        config={
            key: value for key, value in (told.get("Config") or {}).items() if value not in (None, "", False)
        },
        created=told.get("Created", ""),
        python=found.python,
        version=found.version,
        libc=found.libc,
    )


def _probed(engine: Engine, digest: str, told: dict[str, Any]) -> Found | None:
    """Ask the image's own interpreter; None when it cannot be asked, and the layers have to be read."""
    if told.get("Architecture") != ARCHITECTURES.get(machine.machine()):
        return None
    ended = engine.run(
        *("run", "--rm", "--network", "none", "--entrypoint", "python3", digest, "-I", "-S", "-c", _PROBE),
        check=False,
        timeout_s=120,
    )
    lines = ended.stdout.splitlines()
    if ended.returncode or len(lines) != 3 or not lines[2].strip():  # musl: `libc_ver` knows nothing of it
        return None
    return Found(lines[0], lines[1].rstrip("+"), lines[2].strip())


# what all have in common


def _base(
    text: str,
    source: str,
    digest: str,
    manifest: Manifest,
    config: bytes,
    home: Home,
    read: Callable[[Descriptor], Any],
) -> Base:
    told = _decode(config, _Config, text)
    layers = list(manifest.layers)
    if len(layers) != len(told.rootfs.diff_ids):
        raise ImageBroken(
            f"the image `{text}` has {len(layers)} layers, and its config tells of {len(told.rootfs.diff_ids)}",
            mend="it may be an artifact and no image: check the name",
        )
    said = manifest.annotations
    if {PYTHON, VERSION, LIBC} <= said.keys():
        found = Found(said[PYTHON], said[VERSION], said[LIBC])
    else:
        found = _found(text, told, layers, home, read)
    return Base(
        reference=text,
        source=source,
        digest=digest,
        identity=manifest.config.digest,
        os=told.os,
        architecture=told.architecture,
        variant=told.variant,
        layers=tuple(
            BaseLayer(descriptor=layer, diff_id=diff_id)
            for layer, diff_id in zip(layers, told.rootfs.diff_ids, strict=True)
        ),
        config=told.config or {},
        history=tuple(told.history or ()),
        created=told.created or "",
        python=found.python,
        version=found.version,
        libc=found.libc,
    )


def _found(
    text: str, told: _Config, layers: list[Descriptor], home: Home, read: Callable[[Descriptor], Any]
) -> Found:
    path = _pythons(home, told.rootfs.diff_ids)
    if before := _remembered(path, Found):
        return before
    variables = dict(each.split("=", 1) for each in (told.config or {}).get("Env") or () if "=" in each)
    certain = official_python(variables)
    files = Filesystem(text)
    for layer in layers:
        with read(layer) as blob:
            files.add(blob, layer.media_type)
        # The C library is in the lowest layer of nearly all; what comes above need not be fetched.
        if certain and files.libc():
            break
    python = certain or files.python(variables.get("PATH") or DEFAULT_PATH) or Python("", "")
    found = Found(python.path, python.version, files.libc())
    remember(path, msgspec.json.encode(found))
    return found


def official_python(variables: dict[str, str]) -> Python | None:
    """The Python of Docker's official image `python` and what stands on it, by the variables that only it sets.

    Source: https://github.com/docker-library/python
    """
    version = variables.get("PYTHON_VERSION", "")
    parts = version.split(".")
    first = variables.get("PATH", "").split(":")[0]
    if len(parts) < 3 or first != "/usr/local/bin" or "PYTHON_SHA256" not in variables:
        return None
    return Python(f"/usr/local/bin/python{parts[0]}.{parts[1]}", version)


def _checked_platform(base: Base, platform: str) -> None:
    if not platform or (base.os, base.architecture) == tuple(platform.split("/")[:2]):
        return
    raise ImageNotFound(
        f"the base image `{base.reference}` is not there for `{platform}`",
        why=f"it is for `{base.platform}`",
        mend="choose another base image, or another platform",
    )


class _Rootfs(msgspec.Struct):
    diff_ids: list[str] = []


class _Config(msgspec.Struct):
    os: str = "linux"
    architecture: str = ""
    variant: str = ""
    created: str | None = ""
    config: dict[str, Any] | None = None
    history: list[dict[str, Any]] | None = None
    rootfs: _Rootfs = msgspec.field(default_factory=_Rootfs)


class _Archived(msgspec.Struct):
    config: str = msgspec.field(name="Config")
    layers: list[str] = msgspec.field(name="Layers")


def _platform_of(told: dict[str, Any]) -> str:
    return f"{told.get('Os', 'linux')}/{told.get('Architecture', '')}"


def _plain(path: str) -> str:
    import posixpath

    return posixpath.normpath(path)


def _bases(home: Home) -> Path:
    return home.images / "bases"


def _pythons(home: Home, diff_ids: list[str]) -> Path:
    return _bases(home) / "pythons" / f"{_key(*diff_ids)}.json"


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _remembered(path: Path, kind: type[_T]) -> _T | None:
    """What is in a file of ours; one that cannot be read is as none."""
    content = read_bytes(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError:
        return None


def _decode(content: bytes, kind: type[_T], name: str) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ImageBroken(
            f"`{name}` cannot be read as an image", why=str(error), mend="check the name"
        ) from error
