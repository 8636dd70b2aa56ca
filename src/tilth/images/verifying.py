"""Who signed an image: signatures as cosign makes them with a pair of keys, looked up where it puts them.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import ImageBroken, ImageNotFound, SetupError
from tilth.oci.descriptors import Descriptor, Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from tilth.oci.registry import Registry

SIGNATURE = "dev.cosignproject.cosign/signature"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
TYPE = "cosign container image signature"


def public_key(source: Path | bytes | str) -> EllipticCurvePublicKey:
    """A key to verify with, as `cosign.pub` is.

    Raises:
        SetupError: It cannot be read.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem, name = read_pem(source)
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise SetupError(f"the key {name} is no public key in PEM", mend="`cosign.pub` is one") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SetupError(f"the key {name} is none of ECDSA P-256", mend="cosign's own keys are")
    return key


def verify_image(registry: Registry, repository: str, digest: str, key: EllipticCurvePublicKey) -> str:
    """Whether an image is signed by a key; gives the name that was signed.

    Raises:
        ImageNotFound: It has no signature.
        ImageBroken: None of its signatures is of that key and for that image.
    """
    tag = signature_tag(digest)
    found = signatures(registry, repository, tag)
    if not found:
        raise ImageNotFound(
            f"the image `{registry.host}/{repository}@{digest}` is not signed",
            why=f"there is no tag `{tag}`",
        )
    for each in found:
        payload = registry.read_blob(repository, each.digest)
        if not is_of(key, each, payload):
            continue
        try:
            critical = json.loads(payload)["critical"]
            named = critical["image"]["docker-manifest-digest"] == digest and critical["type"] == TYPE
            name = str(critical["identity"]["docker-reference"])
        except (ValueError, KeyError, TypeError):
            continue
        if named:
            return name
    raise ImageBroken(
        f"the image `{registry.host}/{repository}@{digest}` is not signed by that key",
        why=f"{len(found)} signature{'s' if len(found) > 1 else ''} of others, or for other images",
    )


def signature_tag(digest: str) -> str:
    """Where the signatures of an image are, in its own repository."""
    return digest.replace(":", "-") + ".sig"


def signatures(registry: Registry, repository: str, tag: str) -> tuple[Descriptor, ...]:
    """The payloads under a tag of signatures, each with its signature; none when there is no such tag."""
    try:
        content, _ = registry.get_manifest(repository, tag)
        manifest = msgspec.json.decode(content, type=Manifest)
    except ImageNotFound:
        return ()
    except msgspec.DecodeError as error:
        raise ImageBroken(f"the signatures `{repository}:{tag}` cannot be read", why=str(error)) from error
    return tuple(each for each in manifest.layers if each.media_type == PAYLOAD)


def is_of(key: EllipticCurvePublicKey, layer: Descriptor, payload: bytes) -> bool:
    """Whether the signature beside a payload is that of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        signature = base64.b64decode(layer.annotations.get(SIGNATURE, ""), validate=True)
        key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):  # the latter: no base64
        return False
    return True


def read_pem(source: Path | bytes | str) -> tuple[bytes, str]:
    """The bytes of a key, and what errors call it: never its content."""
    if isinstance(source, bytes):
        return source, "that was given"
    if isinstance(source, str) and "-----BEGIN" in source:
        return source.encode(), "that was given"
    try:
        return Path(source).read_bytes(), f"`{source}`"
    except OSError as error:
        raise SetupError(
            f"the key `{source}` cannot be read", why=error.strerror or str(error), mend="check the path"
        ) from error
