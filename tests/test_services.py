"""The services answer, each as its fixture says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.services import (
        S3,
        AzureBlob,
        BaseImages,
        DockerEngine,
        GoogleStorage,
        RegistryService,
    )


def ask(registry: RegistryService, path: str, *, login: bool = False, trust: bool = True) -> int:
    """The status of a GET."""
    request = urllib.request.Request(registry.url + path)
    if login:
        pair = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    context = None
    if registry.ca:
        context = ssl.create_default_context(cafile=registry.ca) if trust else ssl.create_default_context()
    try:
        with urllib.request.urlopen(request, timeout=180, context=context) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False
    )


def test_the_plain_registry_lets_everybody_in(registry_plain: RegistryService) -> None:
    assert ask(registry_plain, "/v2/") == 200


def test_a_registry_with_a_certificate_is_trusted_by_its_authority_alone(
    registry_tls: RegistryService,
) -> None:
    assert ask(registry_tls, "/v2/") == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(registry_tls, "/v2/", trust=False)


def test_a_registry_with_a_password_wants_it(registry_password: RegistryService) -> None:
    assert ask(registry_password, "/v2/") == 401
    assert ask(registry_password, "/v2/", login=True) == 200


@pytest.mark.parametrize(
    ("name", "login", "pushed"),
    [("private", True, True), ("private", False, False), ("public", False, False)],
    ids=["with a password", "anybody", "anybody, what all may pull"],
)
def test_a_registry_with_tokens_gives_what_the_token_grants(
    registry_token: RegistryService, base_images: BaseImages, name: str, login: bool, pushed: bool
) -> None:
    target = f"docker://{registry_token.host}/{name}/{registry_token.prefix}:latest"
    source = f"oci:{base_images.layouts['3.11']}"
    who = [f"--dest-creds={registry_token.user}:{registry_token.password}"] if login else ["--dest-no-creds"]
    copied = skopeo("copy", "--quiet", "--dest-tls-verify=false", *who, source, target)
    assert (copied.returncode == 0) == pushed, copied.stderr
    if not pushed:
        assert "denied" in copied.stderr


def test_an_identity_token_is_traded_for_a_token(registry_token: RegistryService) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            f"{registry_token.url}/v2/x/tags/list",
            context=ssl.create_default_context(cafile=registry_token.ca),
        )
    refused.value.close()
    realm = refused.value.headers["WWW-Authenticate"].split('realm="')[1].split('"')[0]

    def trade(token: str) -> int:
        form = f"grant_type=refresh_token&service=tilth-registry&refresh_token={token}".encode()
        try:
            with urllib.request.urlopen(realm, data=form, timeout=180) as answer:
                return answer.status if json.load(answer)["access_token"] else 0
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert trade(registry_token.identity_token) == 200
    assert trade("wrong") == 401


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_a_base_image_is_the_same_in_the_registry_and_in_its_layout(
    base_images: BaseImages, python: str
) -> None:
    digests = {
        skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", place).stdout
        for place in (f"docker://{base_images.registry[python]}", f"oci:{base_images.layouts[python]}")
    }
    assert len(digests) == 1
    assert digests.pop().startswith("sha256:")


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_engine_runs_each_base_image(docker_engine: DockerEngine, python: str) -> None:
    code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [docker_engine.cli, "run", "--rm", docker_engine.images[python], "python3", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"DOCKER_HOST": docker_engine.host},
    )
    assert (done.stdout, done.stderr) == (f"{python}\n", "")


def test_moto_takes_any_secret(moto: S3) -> None:
    assert moto.send("PUT", "a", secret_key="wrong") == 200
    assert moto.send("GET", "a") == 200


def test_moto_refuses_to_write_over_what_is_there_when_asked_to(moto: S3) -> None:
    assert moto.send("PUT", "once", headers={"If-None-Match": "*"}) == 200
    assert moto.send("PUT", "once", headers={"If-None-Match": "*"}) == 412


def test_moto_with_signatures_wants_the_right_secret(moto_signed: S3) -> None:
    assert moto_signed.send("PUT", "a") == 200
    assert moto_signed.send("PUT", "a", secret_key="wrong") == 403


def test_swift_wants_the_right_secret(swift: S3) -> None:
    assert swift.send("PUT", "a") == 200
    assert swift.send("PUT", "a", secret_key="wrong") == 403


def test_azurite_wants_the_key(azurite: AzureBlob) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{azurite.url}/{azurite.container}?restype=container&comp=list", timeout=180)
    refused.value.close()
    assert refused.value.code in (401, 403, 404)
    assert azurite.key in azurite.connection_string


def test_google_storage_refuses_to_write_over_what_is_there_when_asked_to(gcs: GoogleStorage) -> None:
    # In uploads of one request alone; a resumable one is written over here, other than at Google.
    url = f"{gcs.url}/upload/storage/v1/b/{gcs.bucket}/o?uploadType=multipart&ifGenerationMatch=0"
    facts, content = (
        f"--part\r\nContent-Type: {kind}\r\n\r\n{body}\r\n"
        for kind, body in [("application/json", '{"name": "once"}'), ("text/plain", "content")]
    )
    request = urllib.request.Request(
        url,
        data=f"{facts}{content}--part--\r\n".encode(),
        headers={"Content-Type": "multipart/related; boundary=part"},
    )

    def write() -> int:
        try:
            with urllib.request.urlopen(request, timeout=180) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert (write(), write()) == (200, 412)


class Shell:
    """The functions of `scripts/services.d`, with a state folder of their own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        for folder in ("run", "logs", "failed", "locks"):
            (state / folder).mkdir(parents=True)

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        services = Path(__file__).parent.parent / "scripts" / "services"
        # All but what it does when called: the functions and the settings.
        functions, _, _ = services.read_text().partition("\nusage() {")
        functions = functions.replace('here=$(cd "$(dirname "$0")" && pwd)', f"here='{services.parent}'")
        return subprocess.run(
            ["bash", "-c", f"{functions}\ngroup=docker\n{code}"],
            env={"PATH": os.environ["PATH"], "HOME": str(self.state), "TILTH_SERVICES": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    if sys.platform != "linux":
        pytest.skip("services are started on Linux only")
    return Shell(tmp_path / "state")


def test_a_daemon_is_known_as_long_as_it_runs_and_ends_when_it_is_stopped(shell: Shell) -> None:
    assert shell.run("launch nap - sleep 60").returncode == 0
    pid = int((shell.state / "run/nap.pid").read_text().split()[0])
    assert shell.run("runs nap").returncode == 0
    assert shell.run("halt nap").returncode == 0
    assert shell.run("runs nap").returncode == 1
    # Where process 1 does not reap, its body stays.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_has_the_id_of_an_ended_daemon_is_not_stopped(shell: Shell) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (shell.state / "run/nap.pid").write_text(f"{stranger.pid} 12345\n")
        assert shell.run("runs nap").returncode == 1
        assert shell.run("halt nap").returncode == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_port_that_is_taken_is_named(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert shell.run(f"launch nap {port} sleep 60").returncode == 1
    assert (shell.state / "failed/docker").read_text() == f"nap cannot listen: port {port} is taken\n"


def test_a_daemon_that_ends_at_once_is_named_with_its_last_line(shell: Shell) -> None:
    done = shell.run("launch nap - sh -c 'echo no such disk; exit 1'; wait_until nap 30 false")
    assert done.returncode == 1
    assert (shell.state / "failed/docker").read_text().startswith("nap ended: no such disk, see ")


def test_a_torn_base_image_is_found(shell: Shell, base_images: BaseImages, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    shutil.copytree(base_images.layouts["3.11"].rpartition(":")[0], layout)
    assert shell.run(f"is_whole {layout}").returncode == 0
    largest = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size - 1)
    assert shell.run(f"is_whole {layout}").returncode == 1


def test_a_folder_is_made_anew_when_it_was_left_half_made(shell: Shell) -> None:
    target = shell.state / "tools"
    failing = f'fill() {{ touch "$1/half"; false; }}; whole_folder {target} 1 fill'
    assert shell.run(failing).returncode == 1
    assert not target.exists()
    assert shell.run(f'fill() {{ touch "$1/whole"; }}; whole_folder {target} 1 fill').returncode == 0
    assert sorted(path.name for path in target.iterdir()) == [".made-from", "whole"]
