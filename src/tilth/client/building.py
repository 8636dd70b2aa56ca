"""The images of a pipeline's environments: which there are, and made, pushed, written out or loaded.

An image is known by its key before it is made: the digest of the environment, which has the base in it, and the
settings. A build under that key is reused, whoever made it, as one request to the registry tells.
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth.client.wording import duration, size
from tilth.environments import background
from tilth.errors import RegistryLacks, SetupError, TilthError
from tilth.records import Build, BuiltLayer, Failure, State, now
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from tilth.client.build_logs import BuildLog
    from tilth.container_registries import ContainerRegistry
    from tilth.environments import Locked
    from tilth.home import Home
    from tilth.image_builders import Elsewhere
    from tilth.images.bases import Base
    from tilth.images.making import Beside, Image, ImageLayer
    from tilth.images.pushing import Push, Pushed
    from tilth.images.settings import ImageSettings
    from tilth.oci.references import Reference
    from tilth.oci.registry import Registry
    from tilth.store import Store

_KEY = 20  # digits of the key in a tag
_SILENCE_S = 15.0  # what takes longer says that it goes on
_CANCELLED = Failure(reason="cancelled", message="the build was cancelled")
_WAYS = {  # how a layer came into a registry, in words
    "sent": "sent",
    "copied": "copied from where the base is",
    "mounted": "taken from another repository of the registry",
    "skipped": "the registry has it",
}


class Wanted(NamedTuple):
    """One image, for all environments that are equal."""

    names: tuple[str, ...]  # of the environments
    lock: Locked
    base: Base
    settings: ImageSettings
    key: str
    code: Path | None = None  # a bundle whose files go into it
    beside: tuple[Beside, ...] = ()  # other environments in it

    @property
    def name(self) -> str:
        """Of the first environment."""
        return self.names[0]

    @property
    def tag(self) -> str:
        """Under which a registry has it."""
        return f"{self.name}-{self.key[:_KEY]}"


@dataclass(frozen=True)
class Destination:
    """Where images go.

    Attributes:
        registry: Where they are pushed to, into one repository, so that they share layers.
        repository: Name of that, without host and prefix.
        layout: An OCI layout to add them to: a folder, or a `.tar` file.
        engine: A container engine to load them into: `docker` or `podman`.
    """

    registry: ContainerRegistry | None = None
    repository: str = ""
    layout: str = ""
    engine: str = ""

    @property
    def settings(self) -> ImageSettings:
        """Of images that go there, as far as environments say nothing else."""
        from tilth.images.settings import ImageSettings

        return ImageSettings(compression=self.registry.compression) if self.registry else ImageSettings()

    @property
    def is_nowhere(self) -> bool:
        """Whether images stay among the blobs of this machine."""
        return not (self.registry or self.layout or self.engine)


@dataclass
class Images:
    """Finds and makes images.

    Attributes:
        registries: Gives the client of a registry by its host: bases come from there.
        tell: Is told in a sentence what is done.
        builder: Name of the component that makes what is below the Python packages.
        attach: Whether SBOM, lock and build record are attached to what is pushed.
        key: What images in a registry are signed with, also those that are there already.
        elsewhere: Another machine, which makes them and brings them into the registry.
    """

    to: Destination
    store: Store
    home: Home
    registries: Callable[[str], Registry]
    tell: Callable[[str], None] = lambda _: None
    builder: str = ""
    offline: bool = False
    attach: bool = True
    key: EllipticCurvePrivateKey | None = None
    base_seconds: Mapping[str, float] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None
    _folder: Path | None = field(default=None, init=False)  # what becomes a `.tar` when all images are in it
    _logs: dict[str, BuildLog] = field(default_factory=dict, init=False)  # of those that are made now, by key
    _going: dict[str, Build] = field(default_factory=dict, init=False)  # the same, as they began

    def make_all(self, wanted: list[Wanted]) -> list[Build]:
        """The builds of all, each found or made; several at a time, and their records written.

        Raises:
            TilthError: The first that cannot be made; its failure is recorded, and the others are kept.
        """
        with self._cancelled_by_interrupt():
            return self._make_all(wanted)

    def _make_all(self, wanted: list[Wanted]) -> list[Build]:
        if not self.to.layout.endswith(".tar"):
            return background.at_once(self.find_or_make, wanted, threads=4)
        from tilth.environments.files import scratch
        from tilth.oci.layouts import Layout, write_tar

        with scratch(self.home.images) as folder:  # beside the blobs, which are linked and not copied
            self._folder = folder / "layout"
            builds = background.at_once(self.find_or_make, wanted, threads=4)
            with self._layout_explained():
                Path(self.to.layout).parent.mkdir(parents=True, exist_ok=True)
                if wanted:
                    write_tar(Layout(self._folder), Path(self.to.layout))
        return builds

    def find_or_make(self, wanted: Wanted) -> Build:
        """The build of one image."""
        from tilth.images.pruning import keep

        with contextlib.closing(keep(self.home)):
            return self._find_or_make(wanted)

    def _find_or_make(self, wanted: Wanted) -> Build:
        build = self.find(wanted)
        if build is None:
            return (
                self.make(wanted) if self.elsewhere is None else self._make_elsewhere(wanted, self.elsewhere)
            )
        if build.found:
            self.tell(f"image `{wanted.name}`: found in `{build.references[0].partition('/')[0]}`")
            self.store.write([Put(build)])  # changes nothing where it is recorded already
        self._sign(wanted, build.image)
        return build

    def find(self, wanted: Wanted) -> Build | None:
        """What was built before and is where it should be. With a registry that costs one request.

        What somebody else pushed there is a new build, not recorded yet.
        """
        if self.to.layout:
            return None  # to be written anew: its layers are here
        known = self.store.find(Build, key=wanted.key, state=State.COMPLETED).items
        if self.to.engine:
            return next((each for each in known if self._is_loaded(wanted, each)), None)
        if self.to.registry is None:
            return next((each for each in known if self._is_here(each)), None)
        reference = self._reference(wanted)
        seen = self.to.registry.registry().head_manifest(reference.repository, reference.tag)
        if seen is None:
            return None
        place = str(reference.at(seen.digest))
        for each in known:
            if each.image == seen.digest and place in each.references:
                return each
        return self._record(wanted, image=seen.digest, references=(place,), found=True)

    def why(self, wanted: Wanted) -> str:
        """Why an image that was not found has to be made."""
        if self.store.find(Build, key=wanted.key, state=State.COMPLETED, limit=1).items:
            return "layouts are written anew" if self.to.layout else f"it was built, and is not {self._where}"
        before = next(iter(self.store.find(Build, name=wanted.name, state=State.COMPLETED, limit=1)), None)
        if before is None:
            return "there is none of this environment yet"
        if before.base_digest != wanted.base.digest:
            return f"its base `{wanted.base.title}` has changed"
        return (
            "the environment has changed"
            if before.environment != wanted.lock.digest
            else "its settings have changed"
        )

    def make(self, wanted: Wanted) -> Build:
        """Make an image and bring it where it should be; it is recorded when that begins, and however it ends."""
        with self._begun(wanted) as begun:
            build = self._make(wanted, begun)
            self.store.write([Put(build)])
            return build

    @contextlib.contextmanager
    def _begun(self, wanted: Wanted) -> Iterator[Build]:
        """Record that an image is being made, and keep what is told of it meanwhile; record also how it fails."""
        from tilth.client.build_logs import BuildLog

        begun = self._record(wanted, state=State.RUNNING, machine=platform.node())
        begun = msgspec.structs.replace(begun, log=f"{self.home.builds.name}/{begun.id}.log")
        self.store.write([Put(begun)])
        self._going[wanted.key] = begun
        try:
            with BuildLog(begun.id, self.home, self.store) as log:
                self._logs[wanted.key] = log
                yield begun
        except TilthError as error:
            failure = Failure(
                reason="environment", type=type(error).__name__, message=error.summary, mend=error.mend
            )
            self._record_end(begun, State.FAILED, failure)
            raise
        except KeyboardInterrupt:
            self._record_end(begun, State.CANCELLED, _CANCELLED)
            raise
        except Exception as error:
            failure = Failure(reason="exited", type=type(error).__name__, message=str(error))
            self._record_end(begun, State.FAILED, failure)
            raise
        finally:
            self._logs.pop(wanted.key, None)
            self._going.pop(wanted.key, None)

    @contextlib.contextmanager
    def _cancelled_by_interrupt(self) -> Iterator[None]:
        """Record as cancelled what other threads make when somebody interrupts this one: they end with it."""
        try:
            yield
        except KeyboardInterrupt:
            for each in list(self._going.values()):
                self._record_end(each, State.CANCELLED, _CANCELLED)
            raise

    def _record_end(self, begun: Build, state: State, failure: Failure) -> None:
        with contextlib.suppress(TilthError):  # what went wrong is told, whether or not it can be recorded
            self.store.write(
                [Put(msgspec.structs.replace(begun, state=state, failure=failure, finished_at=now()))]
            )

    def _say(self, wanted: Wanted, text: str) -> None:
        """Tell of an image whoever waits for it, and its log."""
        self.tell(text)
        self._note(wanted, text)

    def _note(self, wanted: Wanted, text: str) -> None:
        """Tell the log of an image alone."""
        if (log := self._logs.get(wanted.key)) is not None:
            log.line(text)

    def _make(self, wanted: Wanted, begun: Build) -> Build:
        from tilth.images.making import make_image

        clock = time.perf_counter()
        seconds: dict[str, float] = dict(self.base_seconds)
        warnings: list[str] = []
        self._say(wanted, f"image `{wanted.name}`: building, as {self.why(wanted)}")
        with self._telling_of(wanted) as doing, self._push(wanted) as push:

            def there(layer: ImageLayer, made: bool) -> None:
                if layer.title != "base":
                    doing.append(f"layer `{layer.title}` is there")
                how = "made" if made else "of the base" if layer.title == "base" else "made before"
                self._note(wanted, f"layer `{layer.title}`: {how}, {size(layer.descriptor.size)}")
                if push is not None:
                    push.begin(layer.descriptor, layer)

            image = make_image(
                wanted.lock,
                wanted.base,
                wanted.settings,
                self.home,
                code=wanted.code,
                beside=wanted.beside,
                progress=there,
                offline=self.offline,
            )
            seconds["layers"] = round(time.perf_counter() - clock, 3)
            doing.append(f"its layers are made, and it is not {self._where} yet")
            pushed, references = self._deliver(wanted, image, push, seconds, warnings)
        sent, reused = pushed.sent, pushed.mounted + pushed.skipped
        took = duration(time.perf_counter() - clock)
        told = f"{size(image.bytes_made)} made" + (f", {size(sent)} sent" if self.to.registry else "")
        self._say(wanted, f"image `{wanted.name}`: built in {took}, {told}; it is {self._where}")
        made = frozenset(image.made)
        return msgspec.structs.replace(
            begun,
            state=State.COMPLETED,
            image=image.digest,
            references=references,
            layers=tuple(
                BuiltLayer(
                    digest=each.descriptor.digest,
                    size=each.descriptor.size,
                    title=each.title,
                    made=each.descriptor.digest in made,
                    way=pushed.ways.get(each.descriptor.digest, ""),
                )
                for each in image.layers
            ),
            bytes_made=image.bytes_made,
            bytes_sent=sent,
            bytes_reused=reused,
            seconds=seconds,
            warnings=(*image.warnings, *warnings),
            finished_at=now(),
        )

    def _make_elsewhere(self, wanted: Wanted, builder: Elsewhere) -> Build:
        """Have an image made on another machine, and signed from here: the key stays."""
        from tilth.client.elsewhere import make_elsewhere

        with self._begun(wanted) as begun:
            self._say(wanted, f"image `{wanted.name}`: goes to {builder.place}")
            made = make_elsewhere(wanted, self, builder, tell=lambda text: self._say(wanted, text))
            self._sign(wanted, made.image)
            kept = {name: getattr(begun, name) for name in ("id", "created_at", "log", "machine")}
            build = msgspec.structs.replace(made, **kept, finished_at=now())
            self.store.write([Put(build)])
            return build

    def _push(self, wanted: Wanted) -> contextlib.AbstractContextManager[Push | None]:
        """What takes layers into the registry while others are still made; nothing where images go elsewhere."""
        if self.to.registry is None:
            return contextlib.nullcontext()
        from tilth.images.pushing import Push

        return Push(
            wanted.base,
            self._reference(wanted),
            self.registries,
            self.home,
            remake=lambda layer: self._remake(wanted, layer),
            came=lambda layer, how: self._note(wanted, f"layer `{layer.title}`: {_WAYS[how]}"),
        )

    def _deliver(
        self,
        wanted: Wanted,
        image: Image,
        push: Push | None,
        seconds: dict[str, float],
        warnings: list[str],
    ) -> tuple[Pushed, tuple[str, ...]]:
        """Bring an image where it should be: how its layers came into a registry, and references."""
        from tilth.images.pushing import Pushed, push_image, tag_image

        references: list[str] = []
        pushed = Pushed(digest=image.digest, reference="")

        def remake(layer: ImageLayer) -> None:
            self._remake(wanted, layer)

        clock = time.perf_counter()
        if push is not None:
            reference = self._reference(wanted)
            # By its digest first: the tag is what others find it by, and says that all that belongs to it is there.
            untagged = msgspec.structs.replace(reference, tag="")
            pushed = push_image(image, untagged, self.registries, self.home, begun=push)
            references.append(str(reference.at(image.digest)))
            seconds["push"] = round(time.perf_counter() - clock, 3)
            if self.attach:
                clock = time.perf_counter()
                warnings += self._attach(wanted, image, reference)
                seconds["attach"] = round(time.perf_counter() - clock, 3)
            self._sign(wanted, image.digest)
            tag_image(image, reference, self.registries)
        if self.to.layout:
            from tilth.images.loading import write_layout

            layout = self._folder or Path(self.to.layout)
            with self._layout_explained():
                write_layout(image, layout, self.home, self.registries, name=wanted.tag, remake=remake)
            references.append(f"oci:{self.to.layout}:{wanted.tag}")
        if self.to.engine:
            references.append(self._load(wanted, image, remake))
            seconds["load"] = round(time.perf_counter() - clock, 3)
        return pushed, tuple(references)

    @contextlib.contextmanager
    def _layout_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupError(
                f"`{self.to.layout}` cannot be written to",
                why=(error.strerror or str(error)).lower(),
                mend="name a folder that you may write to, or a file that ends in `.tar`",
            ) from error

    @property
    def _where(self) -> str:
        """Where images are brought, in words."""
        if self.to.registry is not None:
            return f"in `{self.to.registry.host}`"
        if self.to.layout:
            return f"in `{self.to.layout}`"
        return f"in {self.to.engine}" if self.to.engine else "on this machine"

    @contextlib.contextmanager
    def _telling_of(self, wanted: Wanted) -> Iterator[list[str]]:
        """Say from time to time what was last put on the list, while the block goes on."""
        doing = ["gathering its packages"]
        ended = threading.Event()
        began = time.perf_counter()

        def tell() -> None:
            while not ended.wait(_SILENCE_S):
                so_far = duration(time.perf_counter() - began)
                self._say(wanted, f"image `{wanted.name}`: {doing[-1]}; {so_far} so far")

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield doing
        finally:
            ended.set()
            thread.join()

    def _sign(self, wanted: Wanted, digest: str) -> None:
        """Sign an image in the registry, where that is wanted; once more changes nothing."""
        if self.key is None or self.to.registry is None:
            return
        from tilth.images.signing import sign_image

        reference = self._reference(wanted)
        sign_image(self.registries(reference.registry), reference.repository, digest, self.key)
        self._say(wanted, f"image `{wanted.name}`: signed")

    def _load(self, wanted: Wanted, image: Image, remake: Callable[[ImageLayer], None]) -> str:
        """Bring an image into a container engine; gives what it is called there."""
        from tilth.images.engines import Engine
        from tilth.images.loading import load_containerd, load_image

        name = f"tilth/{wanted.name}:{wanted.key[:_KEY]}"
        if self.to.engine == "containerd":
            name = f"docker.io/{name}"
            load_containerd(image, self.home, self.registries, name=name, remake=remake)
        else:
            engine = Engine(kind="podman") if self.to.engine == "podman" else Engine()
            load_image(image, self.home, self.registries, engine=engine, names=[name], remake=remake)
        return f"{self.to.engine}:{name}"

    def _is_loaded(self, wanted: Wanted, build: Build) -> bool:
        """Whether the engine still has an image under its name."""
        from tilth.images.engines import Engine, containerd

        name = f"tilth/{wanted.name}:{wanted.key[:_KEY]}"
        if self.to.engine == "containerd":
            name = f"docker.io/{name}"
            needed = f"loading the image of environment `{wanted.name}`"
            return (
                f"containerd:{name}" in build.references
                and name in containerd("images", "list", "--quiet", needed_for=needed).split()
            )
        if f"{self.to.engine}:{name}" not in build.references:
            return False
        return (Engine(kind="podman") if self.to.engine == "podman" else Engine()).has(name)

    def _remake(self, wanted: Wanted, layer: ImageLayer) -> None:
        """A layer was lost, or is not what it was: make it again."""
        from tilth.images.making import make_image
        from tilth.oci.blobs import BlobStore

        self._say(wanted, f"layer `{layer.title}` was damaged on this machine; it is made again")
        BlobStore(self.home.images).remove(layer.descriptor.digest)
        make_image(
            wanted.lock,
            wanted.base,
            wanted.settings,
            self.home,
            code=wanted.code,
            beside=wanted.beside,
            offline=self.offline,
        )

    def _attach(self, wanted: Wanted, image: Image, reference: Reference) -> list[str]:
        """Attach what tells of an image: its SBOM, its lock, and how it was made. Gives what to warn of."""
        from tilth.client.contents import Contents, exported
        from tilth.client.environments import environment_record
        from tilth.images.referrers import attach_documents, build_record

        contents = Contents(environment_record(wanted.lock), wanted.lock.text, self.home)
        inputs = {
            "requirements": wanted.lock.requirements,
            "settings": msgspec.to_builtins(wanted.settings),
            "key": wanted.key,
        }
        try:
            attach_documents(
                self.registries(reference.registry),
                reference.repository,
                image.digest,
                sbom=exported(contents, "cyclonedx", self.home).text,
                lock=wanted.lock.text,
                build=build_record(image, wanted.lock.digest, inputs),
            )
        except RegistryLacks as error:
            return [f"SBOM, lock and build record are not beside the image: {error.summary}"]
        return []

    def _is_here(self, build: Build) -> bool:
        from tilth.oci.blobs import BlobStore

        blobs = BlobStore(self.home.images)
        own = [each for each in build.layers if each.title != "base"]
        return blobs.has(build.image) and all(blobs.has(each.digest) for each in own)

    def _reference(self, wanted: Wanted) -> Reference:
        from tilth.oci.references import Reference

        assert self.to.registry is not None
        return Reference(self.to.registry.host, self.to.registry.repository(self.to.repository), wanted.tag)

    def _record(self, wanted: Wanted, **fields: Any) -> Build:
        return Build(
            key=wanted.key,
            environment=wanted.lock.digest,
            name=wanted.name,
            base=wanted.base.reference,
            base_digest=wanted.base.digest,
            platform=wanted.base.platform,
            builder=self.builder,
            settings=msgspec.to_builtins(wanted.settings),
            **{"created_at": now(), **fields},
        )


def distinct(
    locks: Mapping[str, Locked],
    base: Callable[[str], Base],
    settings: Callable[[str], ImageSettings],
    *,
    code: Path | None = None,
) -> list[Wanted]:
    """One image for each distinct environment, in the order of their names' declaration.

    Args:
        locks: By name of the environment.
        base: By digest.
        settings: By name of the environment.
        code: A bundle, named by its digest, whose files go into each.
    """
    from tilth.images.making import image_key

    found: dict[str, Wanted] = {}
    for name, lock in locks.items():
        stands_on, given = base(lock.base), settings(name)
        key = image_key(lock, stands_on, given, code.stem if code else "")
        if key in found:
            found[key] = found[key]._replace(names=(*found[key].names, name))
        else:
            found[key] = Wanted((name,), lock, stands_on, given, key, code)
    return list(found.values())
