"""How the container of a runner image says what became of its launch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tilth.client.launching import GIVEN_UP, Ended
from tilth.client.runner_containers import heard
from tilth.client.scrubbed import for_container
from tilth.records import Failure


def said(ended: str) -> bytes:
    """What a process prints that says so."""
    program = (
        "from tilth.client.launching import Ended; from tilth.records import Failure; "
        f"from tilth.client.runner_containers import say; print('a step', flush=True); say({ended})"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout


def test_what_is_said_is_heard() -> None:
    failure = Failure(reason="definition", message="no such step\nat all", mend="name it")
    assert heard(said("Ended(0)")) == Ended(0)
    assert heard(said(f"Ended({GIVEN_UP})")) == Ended(GIVEN_UP)
    assert heard(said(f"Ended(0, {failure!r})")) == Ended(0, failure)


@pytest.mark.parametrize(
    "text",
    [b"", b"a step\n", b"tilth: ended: no\n", b"tilth: ended: {}\n", b"tilth: ended: [1]\n",
     b'tilth: ended: {"code": null}\n',
     b'tilth: ended: {"code": 0, "failure": 7}\n'],
)  # fmt: skip
def test_other_words_are_no_end(text: bytes) -> None:
    assert heard(text) is None


def test_who_started_it_is_gone_then_it_ends() -> None:
    program = "from tilth.client.runner_containers import listen; import os, time; listen(); print(os.environ['TOKEN'], flush=True); time.sleep(600)"  # noqa: E501
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"TOKEN": "s3cr3t"}).encode() + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"s3cr3t\n"
    process.stdin.close()
    assert process.wait(60) == GIVEN_UP
    process.stdout.close()


def test_what_is_of_the_machine_stays_there() -> None:
    given = {
        "PATH": "/bin", "HOME": "/root", "TILTH_HOME": "/root/tilth", "DOCKER_HOST": "unix:///x", "UV_CACHE_DIR": "/c",
        "UV_DEFAULT_INDEX": "https://index.example.com", "HTTPS_PROXY": "http://proxy:1", "TILTH_PROJECT": "churn",
        "XDG_RUNTIME_DIR": "/run", "TILTH_SECRETS_KEY": "k", "MINE": "more",
    }  # fmt: skip
    assert set(for_container(given)) == {"UV_DEFAULT_INDEX", "HTTPS_PROXY", "TILTH_PROJECT", "MINE"}
