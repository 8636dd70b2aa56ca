"""Signatures of images as cosign makes and verifies them with a pair of keys; no transparency log.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import DefinitionError, ImageBroken, ImageNotFound, SetupError
from tilth.oci.descriptors import CONFIG, MANIFEST, Descriptor, Manifest, digest_of, encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

    from tilth.oci.registry import Registry

SIGNATURE = "dev.cosignproject.cosign/signature"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
_TYPE = "cosign container image signature"
_NAMES = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_MOST_SCRYPT = 1 << 20  # rounds: more would take all memory, and no key of cosign's has it
_UNDATED = "0001-01-01T00:00:00Z"


def private_key(source: Path | bytes | str, password: str = "") -> EllipticCurvePrivateKey:
    """A key to sign with: a PEM file of ECDSA P-256, or `cosign.key`, encrypted by `cosign generate-key-pair`.

    Args:
        source: A path, or the PEM itself, as a secret holds it.

    Raises:
        SetupError: It cannot be read, or the password is not its own.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    pem, name = _pem(source)
    try:
        if any(f"BEGIN {each}".encode() in pem for each in _NAMES):
            key: Any = load_der_private_key(_decrypted(pem, password, name), password=None)
        else:
            key = load_pem_private_key(pem, password=password.encode() if password else None)
    except (ValueError, TypeError, binascii.Error):
        raise SetupError(  # what the library says may show parts of the key: it is left out
            f"the signing key {name} cannot be read",
            why="it is no private key in PEM, or its password is another one",
            mend="`cosign generate-key-pair` and `openssl ecparam -name prime256v1 -genkey` make one",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SetupError(f"the signing key {name} is none of ECDSA P-256", mend="cosign's own keys are")
    return key


def public_key(source: Path | bytes | str) -> EllipticCurvePublicKey:
    """A key to verify with, as `cosign.pub` is.

    Raises:
        SetupError: It cannot be read.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem, name = _pem(source)
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise SetupError(f"the key {name} is no public key in PEM", mend="`cosign.pub` is one") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SetupError(f"the key {name} is none of ECDSA P-256", mend="cosign's own keys are")
    return key


def sign_image(
    registry: Registry, repository: str, digest: str, key: EllipticCurvePrivateKey, *, reference: str = ""
) -> str:
    """Sign an image that is in a registry; gives the tag of its signatures. Others' signatures stay.

    Args:
        digest: Of its manifest.
        reference: The name that is signed; by default where the image is.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    if registry.head_manifest(repository, digest) is None:
        raise ImageNotFound(
            f"there is no image `{registry.host}/{repository}@{digest}` to sign", mend="push it first"
        )
    payload = signed_payload(reference or f"{registry.host}/{repository}", digest)
    tag = signature_tag(digest)
    before = _signatures(registry, repository, tag)
    public = key.public_key()
    if any(
        each.digest == digest_of(payload) and _is_of(public, each, payload) for each in before
    ):  # signing again gives other bytes each time, and says nothing new
        return tag
    signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
    layer = Descriptor(
        media_type=PAYLOAD,
        digest=digest_of(payload),
        size=len(payload),
        annotations={SIGNATURE: base64.b64encode(signature).decode()},
    )
    layers = (*before, layer)
    config = encode(
        {
            "architecture": "",
            "config": {},
            "created": _UNDATED,
            "history": [{"created": _UNDATED} for _ in layers],
            "os": "",
            "rootfs": {"diff_ids": [each.digest for each in layers], "type": "layers"},
        }
    )
    described = Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config))
    registry.push_blob(repository, layer, lambda: io.BytesIO(payload))
    registry.push_blob(repository, described, lambda: io.BytesIO(config))
    registry.put_manifest(repository, tag, encode(Manifest(config=described, layers=layers)), MANIFEST)
    return tag


def verify_image(registry: Registry, repository: str, digest: str, key: EllipticCurvePublicKey) -> str:
    """Whether an image is signed by a key; gives the name that was signed.

    Raises:
        ImageNotFound: It has no signature.
        ImageBroken: None of its signatures is of that key and for that image.
    """
    tag = signature_tag(digest)
    found = _signatures(registry, repository, tag)
    if not found:
        raise ImageNotFound(
            f"the image `{registry.host}/{repository}@{digest}` is not signed",
            why=f"there is no tag `{tag}`",
        )
    for each in found:
        payload = registry.read_blob(repository, each.digest)
        if not _is_of(key, each, payload):
            continue
        try:
            critical = json.loads(payload)["critical"]
            named = critical["image"]["docker-manifest-digest"] == digest and critical["type"] == _TYPE
            name = str(critical["identity"]["docker-reference"])
        except (ValueError, KeyError, TypeError):
            continue
        if named:
            return name
    raise ImageBroken(
        f"the image `{registry.host}/{repository}@{digest}` is not signed by that key",
        why=f"{len(found)} signature{'s' if len(found) > 1 else ''} of others, or for other images",
    )


def signed_payload(reference: str, digest: str) -> bytes:
    """What is signed.

    Source: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
    """
    payload = {
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": _TYPE,
        },
        "optional": None,
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def signature_tag(digest: str) -> str:
    """Where the signatures of an image are, in its own repository."""
    return digest.replace(":", "-") + ".sig"


def _signatures(registry: Registry, repository: str, tag: str) -> tuple[Descriptor, ...]:
    try:
        content, _ = registry.get_manifest(repository, tag)
        manifest = msgspec.json.decode(content, type=Manifest)
    except ImageNotFound:
        return ()
    except msgspec.DecodeError as error:
        raise ImageBroken(f"the signatures `{repository}:{tag}` cannot be read", why=str(error)) from error
    return tuple(each for each in manifest.layers if each.media_type == PAYLOAD)


def _is_of(key: EllipticCurvePublicKey, layer: Descriptor, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        signature = base64.b64decode(layer.annotations.get(SIGNATURE, ""), validate=True)
        key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _pem(source: Path | bytes | str) -> tuple[bytes, str]:
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


def _decrypted(pem: bytes, password: str, name: str) -> bytes:
    """The PKCS 8 in a key that cosign encrypted: scrypt, then NaCl's secretbox.

    Source: https://github.com/secure-systems-lab/go-securesystemslib/blob/main/encrypted/encrypted.go
    """
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox
    except ImportError:
        raise SetupError(
            f"the signing key {name} is encrypted as cosign does",
            why="reading it needs the package `pynacl`",
            mend="`pip install 'tilth[cosign]'`, or use a key in plain PEM",
        ) from None
    body = b"".join(line for line in pem.splitlines() if line and not line.startswith(b"-----"))
    told = json.loads(base64.b64decode(body))
    try:
        salt, nonce = base64.b64decode(told["kdf"]["salt"]), base64.b64decode(told["cipher"]["nonce"])
        how = told["kdf"]["params"]
        names = (told["kdf"]["name"], told["cipher"]["name"])
        ciphertext = base64.b64decode(told["ciphertext"])
        rounds, block, parallel = int(how["N"]), int(how["r"]), int(how["p"])
    except (KeyError, TypeError) as error:
        raise ValueError("not cosign's form") from error
    if names != ("scrypt", "nacl/secretbox") or not 0 < rounds * block <= _MOST_SCRYPT * 8:
        raise DefinitionError(
            f"the signing key {name} is encrypted in a way that tilth does not know",
            why=f"it says `{names[0]}` and `{names[1]}`",
        )
    if not password:
        raise SetupError(
            f"the signing key {name} is encrypted, and no password was given",
            mend="keep its password as a secret, and name that",
        )
    secret = Scrypt(salt=salt, length=32, n=rounds, r=block, p=parallel).derive(password.encode())
    try:
        return bytes(SecretBox(secret).decrypt(ciphertext, nonce))
    except CryptoError:
        raise ValueError("another password") from None
