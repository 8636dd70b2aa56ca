"""What has to be built below the Python packages of an image, and under which key it is found again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import DefinitionError, OutsideError
from tilth.image_builders.contexts import BuildContext
from tilth.image_builders.dockerfiles import begins_with, pin, uses_of
from tilth.image_builders.package_managers import packages_dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.home import Home
    from tilth.images.bases import Base
    from tilth.images.options import ContainerOptions

_FORMAT = 2  # raised when what is made of the same recipe changes
_LEFT_OUT = (
    "owner",
    "base",
    "source",
    "base_digest",
    "base_identity",
    "images",
    "dockerfile_path",
    "context",
)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A base to build: from a Dockerfile or an inspected base, then system packages on top."""

    owner: str  # name of the environment, for messages; not in the key
    base: str = ""  # as it was asked for; empty with a Dockerfile
    source: str = ""  # where it is, as `Base.source` says
    base_digest: str = ""  # of its manifest; not in the key, as the next is the same wherever it lies
    base_identity: str = ""  # as `Base.identity`
    base_user: str = ""
    dockerfile: str = ""  # its text
    dockerfile_path: str = ""  # where that is; not in the key
    context: str = ""  # absolute path of the folder; not in the key
    context_digest: str = ""  # empty where nothing is copied from it
    build_args: dict[str, str] = {}
    target: str = ""
    images: dict[str, str] = {}  # that the Dockerfile names: `REGISTRY/NAME@DIGEST`, or the id in the engine
    secrets: dict[str, str] = {}  # name of the secret by id
    packages: tuple[str, ...] = ()
    platform: str = ""  # as images have it; empty for the engine's own

    @property
    def key(self) -> str:
        """The digest of all that decides what comes out, hexadecimal. Time is not in it, nor a secret's value."""
        images = {name: image.rpartition("@")[2] for name, image in self.images.items()}
        return self._digest(images=images, base=self.base_identity)

    @property
    def asked(self) -> str:
        """The same of what was asked for alone, whatever the images that it names have become."""
        return self._digest(images={}, base=self.base, context_digest="")

    def _digest(self, **more: object) -> str:
        facts = {field: getattr(self, field) for field in self.__struct_fields__ if field not in _LEFT_OUT}
        facts["secrets"] = sorted(self.secrets)
        facts["packages"] = sorted(set(self.packages))
        content = msgspec.json.encode({"format": _FORMAT, **facts, **more}, order="sorted")
        return hashlib.sha256(content).hexdigest()

    @property
    def pinned(self) -> str:
        """The text of the Dockerfile with each image of a registry by the digest that is in the key."""
        if not self.images:
            return self.dockerfile
        uses, _ = uses_of(
            self.dockerfile, build_args=self.build_args, target=self.target, platform=self.platform
        )
        by_digest = {name: image for name, image in self.images.items() if "@" in image}
        return pin(self.dockerfile, uses, by_digest)

    @property
    def begins_with(self) -> str:
        """The image that the lowest layers are from; empty where that is none, or not known."""
        if not self.dockerfile:
            return self.base
        return begins_with(
            self.dockerfile, build_args=self.build_args, target=self.target, platform=self.platform
        )

    @property
    def tag(self) -> str:
        """What the result is called in an engine or registry, so that others find it: `tilth-base-…`."""
        return f"tilth-base-{self.key[:20]}"

    def shown(self) -> str:
        """The Dockerfile that is built; two of them, one after the other, where packages go on one of the user's."""
        if not self.dockerfile:
            return packages_dockerfile(self.base, self.packages, user=self.base_user)
        text = self.pinned if self.pinned.endswith("\n") else f"{self.pinned}\n"
        if not self.packages:
            return text
        on_top = packages_dockerfile("the-image-above", self.packages)
        return f"{text}\n# then, on the image that this gives:\n{on_top}"


def recipe_of(
    name: str,
    options: ContainerOptions,
    *,
    root: Path,
    base: Base | None,
    home: Home,
    resolve: Callable[[str], str] = lambda _: "",
    platform: str = "",
) -> Recipe | None:
    """What an environment needs built; None when nothing is. Reads the Dockerfile and its context.

    Args:
        name: Of the environment.
        root: The code root.
        base: What its packages go on, inspected; None with a Dockerfile.
        home: Left out of the build context, should it lie in there.
        resolve: Gives what an image that a Dockerfile names is now, as `Recipe.images` has it; empty for not known.
        platform: That images are for, where the environment says none.
    Raises:
        DefinitionError: The Dockerfile or its context cannot be read.
    """
    if not options.needs_engine:
        return None
    if not options.dockerfile:
        assert base is not None
        return Recipe(
            owner=name,
            base=base.reference,
            source=base.source,
            base_digest=base.digest,
            base_identity=base.identity,
            base_user=str(base.config.get("User") or ""),
            packages=options.system_packages,
            platform=base.platform,
        )
    path = root / options.dockerfile
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(
            f"environment `{name}` names the Dockerfile `{path}`, which cannot be read",
            why=(error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8 text",
            mend="`dockerfile` is relative to the folder that holds the project",
        ) from error
    if not text.strip():
        raise DefinitionError(
            f"the Dockerfile `{path}` of environment `{name}` is empty", mend="begin it with `FROM`"
        )
    context = BuildContext(root / options.build_context, path, home.root)
    platform = options.platform or platform
    uses, copies = uses_of(
        text,
        build_args=options.build_args,
        target=options.build_target,
        platform=platform,
        file=options.dockerfile,
    )
    images: dict[str, str] = {}
    for use in uses:
        if use.image and use.image not in images:
            try:
                images[use.image] = resolve(use.image)
            except (OutsideError, DefinitionError) as error:
                named = f"line {use.line} of `{options.dockerfile}` names it"
                error.why = "\n".join(filter(None, [named, error.why]))
                raise
    return Recipe(
        owner=name,
        dockerfile=text,
        dockerfile_path=str(path),
        context=str(context.folder.resolve()),
        context_digest=context.digest() if copies else "",
        build_args=options.build_args,
        target=options.build_target,
        images={each: now for each, now in images.items() if now},
        secrets=options.build_secrets,
        packages=options.system_packages,
        platform=platform,
    )
