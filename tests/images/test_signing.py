"""Signatures as cosign documents them, checked with openssl, and keys as cosign writes them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox
from tests.images.handmade import make_image, noise, registries

from tilth.errors import ImageBroken, ImageNotFound, SetupError
from tilth.home import Home
from tilth.images.pushing import push_image
from tilth.images.signing import private_key, sign_image
from tilth.images.verifying import PAYLOAD, SIGNATURE, is_of, public_key, signature_tag, verify_image
from tilth.oci.descriptors import Descriptor
from tilth.oci.references import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import RegistryService

    from tilth.images.making import Image
    from tilth.oci.registry import Registry


@pytest.fixture
def pushed(registry_plain: RegistryService, tmp_path: Path) -> tuple[Registry, str, Image]:
    home, clients = Home(tmp_path / "home"), registries()
    image = make_image(home, {"a": noise(100)})
    repository = registry_plain.repository(f"signed-{image.digest[7:19]}")
    push_image(image, Reference(registry_plain.host, repository, "it"), clients, home)
    return clients(registry_plain.host), repository, image


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: str = "") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption(),
    )


def cosign_key(key: ec.EllipticCurvePrivateKey, password: str, name: str = "SIGSTORE") -> bytes:
    """As `cosign generate-key-pair` writes `cosign.key`."""
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = os.urandom(32), os.urandom(24)
    secret = Scrypt(salt=salt, length=32, n=1 << 15, r=8, p=1).derive(password.encode())
    body = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": 1 << 15, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(secret).encrypt(plain, nonce).ciphertext).decode(),
    }
    text = base64.b64encode(json.dumps(body).encode()).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    kind = f"ENCRYPTED {name} PRIVATE KEY"
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n".encode()


@pytest.mark.registry
def test_openssl_verifies_what_is_where_cosign_looks_for_it(
    pushed: tuple[Registry, str, Image], registry_plain: RegistryService, tmp_path: Path
) -> None:
    """Nothing of tilth reads here: HTTP, JSON, and openssl."""
    registry, repository, image = pushed
    (tmp_path / "key.pem").write_bytes(
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
            check=True,
            capture_output=True,
        ).stdout
    )
    openssl = [
        "openssl",
        "ec",
        "-in",
        str(tmp_path / "key.pem"),
        "-pubout",
        "-out",
        str(tmp_path / "key.pub"),
    ]
    subprocess.run(openssl, check=True, capture_output=True)
    tag = sign_image(registry, repository, image.digest, private_key(tmp_path / "key.pem"))

    url = f"{registry_plain.url}/v2/{repository}"
    assert tag == f"sha256-{image.digest[7:]}.sig"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = httpx.get(f"{url}/manifests/{tag}", headers=accept).json()
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = httpx.get(f"{url}/blobs/{layer['digest']}").content
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": f"{registry_plain.host}/{repository}"},
            "image": {"docker-manifest-digest": image.digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    (tmp_path / "payload").write_bytes(payload)
    signature = layer["annotations"]["dev.cosignproject.cosign/signature"]
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    openssl = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "payload"]
    ended = subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ended.stdout == "Verified OK\n"
    config = httpx.get(f"{url}/blobs/{manifest['config']['digest']}").json()
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]


@pytest.mark.registry
def test_an_image_is_verified_by_its_own_key_and_by_no_other(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    mine, other = new_key(), new_key()
    with pytest.raises(ImageNotFound, match="is not signed"):
        verify_image(registry, repository, image.digest, mine.public_key())
    sign_image(registry, repository, image.digest, mine)
    name = f"{registry.host}/{repository}"
    assert verify_image(registry, repository, image.digest, mine.public_key()) == name
    with pytest.raises(ImageBroken, match="is not signed by that key"):
        verify_image(registry, repository, image.digest, other.public_key())


@pytest.mark.registry
def test_several_sign_one_image_and_nobody_twice(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    first, second = new_key(), new_key()
    for key in (first, second, first):
        sign_image(registry, repository, image.digest, key)
    content, _ = registry.get_manifest(repository, signature_tag(image.digest))
    assert len(json.loads(content)["layers"]) == 2
    for key in (first, second):
        assert verify_image(registry, repository, image.digest, key.public_key())


@pytest.mark.registry
def test_a_signature_of_another_image_is_none(pushed: tuple[Registry, str, Image], tmp_path: Path) -> None:
    registry, repository, image = pushed
    key, home = new_key(), Home(tmp_path / "home")
    other = make_image(home, {"b": noise(100)})
    push_image(other, Reference(registry.host, repository, "other"), lambda _: registry, home)
    sign_image(registry, repository, other.digest, key)
    moved, described = registry.get_manifest(repository, signature_tag(other.digest))
    registry.put_manifest(repository, signature_tag(image.digest), moved, described.media_type)
    with pytest.raises(ImageBroken, match="is not signed by that key"):
        verify_image(registry, repository, image.digest, key.public_key())


@pytest.mark.registry
def test_what_is_not_in_the_registry_is_not_signed(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, _ = pushed
    with pytest.raises(ImageNotFound, match="to sign"):
        sign_image(registry, repository, "sha256:" + "0" * 64, new_key())


@pytest.mark.parametrize("name", ["SIGSTORE", "COSIGN"])
def test_a_key_of_cosign_is_read_with_its_password_alone(name: str, tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "cosign.key").write_bytes(cosign_key(key, "open sesame", name))
    read = private_key(tmp_path / "cosign.key", "open sesame")
    assert read.private_numbers() == key.private_numbers()
    with pytest.raises(SetupError, match="cannot be read"):
        private_key(tmp_path / "cosign.key", "another")
    with pytest.raises(SetupError, match="no password was given"):
        private_key(tmp_path / "cosign.key")


def test_a_key_comes_from_a_path_or_a_secret_encrypted_or_not(tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "key.pem").write_bytes(pem_of(key))
    for source in (tmp_path / "key.pem", pem_of(key), pem_of(key).decode()):
        assert private_key(source).private_numbers() == key.private_numbers()
    assert private_key(pem_of(key, "p"), "p").private_numbers() == key.private_numbers()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert public_key(public).public_numbers() == key.public_key().public_numbers()


def test_what_is_no_key_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
    with pytest.raises(SetupError) as caught:
        private_key(secret)
    assert "c2VjcmV0" not in str(caught.value)
    broken = b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\nbm90aGluZw==\n-----END ENCRYPTED COSIGN PRIVATE KEY-----"
    for source in (broken, tmp_path / "nowhere.pem", pem_of(rsa.generate_private_key(65537, 2048))):
        with pytest.raises(SetupError):
            private_key(source, "p")
    with pytest.raises(SetupError):
        public_key(b"nothing")
    with pytest.raises(SetupError):
        private_key(pem_of(new_key(), "p"))


def test_a_signature_in_no_known_letters_is_none() -> None:
    key = new_key().public_key()
    described = Descriptor(
        media_type=PAYLOAD, digest=f"sha256:{'0' * 64}", size=1, annotations={SIGNATURE: "ü"}
    )
    assert not is_of(key, described, b"x")
