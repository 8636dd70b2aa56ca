"""Sign the images of builds, and tell who signed an image: keys by a path, or kept as secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tilth.errors import ImageNotFound, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tilth.home import Home
    from tilth.oci.registry import Registry

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the name of a variable, cosign's own, and of a secret
_SECRET = "secret:"  # noqa: S105 - what a key that is a secret begins with


def signing_key(given: str, home: Home) -> Any:
    """The key to sign with.

    Its password, where it has one, is the variable `COSIGN_PASSWORD`, else the secret of that name.

    Args:
        given: A path, or `secret:NAME`.
    Raises:
        NotFound: There is no such secret.
        SetupError: It is no key to sign with, or its password is another one.
    """
    from tilth.images.signing import private_key

    return private_key(_pem(given, home), _password(home))


def verify(reference: str, key: str, registries: Callable[[str], Registry], home: Home) -> tuple[str, str]:
    """Who vouches for an image in a registry: (digest of the image, the name that was signed).

    Args:
        reference: `HOST/NAME:TAG`, or with a digest.
        key: A path of a public key, or `secret:NAME`.
    Raises:
        ImageNotFound: There is no such image, or it has no signature.
        ImageBroken: It is signed, and not by that key.
    """
    from tilth.images.verifying import public_key, verify_image
    from tilth.oci.references import parse

    place, public = parse(reference), public_key(_pem(key, home))
    registry = registries(place.registry)
    digest = place.digest
    if not digest:
        found = registry.head_manifest(place.repository, place.tag)
        if found is None:
            raise ImageNotFound(
                f"there is no image `{reference}`", mend="`tilth builds list` shows what was built"
            )
        digest = found.digest
    return digest, verify_image(registry, place.repository, digest, public)


def _pem(given: str, home: Home) -> str:
    if not given.startswith(_SECRET):
        return given
    from tilth.secrets import open_secrets

    return open_secrets(home).get(given.removeprefix(_SECRET))


def _password(home: Home) -> str:
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    from tilth.secrets import open_secrets

    try:
        return open_secrets(home).get(PASSWORD)
    except NotFound:
        return ""
