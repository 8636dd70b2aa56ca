"""Sign images as cosign does with a pair of keys; no transparency log.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError, ImageNotFound, SetupError
from tilth.images.verifying import PAYLOAD, SIGNATURE, TYPE, is_of, read_pem, signature_tag, signatures
from tilth.oci.descriptors import CONFIG, MANIFEST, Descriptor, Manifest, digest_of, encode

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from tilth.oci.registry import Registry

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

    pem, name = read_pem(source)
    try:
        if any(f"BEGIN {each}".encode() in pem for each in _NAMES):
            key: Any = load_der_private_key(_decrypted(pem, password, name), password=None)
        else:
            # A password that is given for a key that needs none is an error to the library.
            locked = password and b"ENCRYPTED" in pem
            key = load_pem_private_key(pem, password=password.encode() if locked else None)
    except (ValueError, TypeError, binascii.Error):
        raise SetupError(  # what the library says may show parts of the key: it is left out
            f"the signing key {name} cannot be read",
            why="it is no private key in PEM, or its password is another one",
            mend="`cosign generate-key-pair` and `openssl ecparam -name prime256v1 -genkey` make one",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SetupError(f"the signing key {name} is none of ECDSA P-256", mend="cosign's own keys are")
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
    before = signatures(registry, repository, tag)
    public = key.public_key()
    if any(
        each.digest == digest_of(payload) and is_of(public, each, payload) for each in before
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


def signed_payload(reference: str, digest: str) -> bytes:
    """What is signed.

    Source: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
    """
    payload = {
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": TYPE,
        },
        "optional": None,
    }
    return json.dumps(payload, separators=(",", ":")).encode()


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
