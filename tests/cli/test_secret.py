"""`tilth secret`: no value is an argument, and none is ever shown."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest
from inline_snapshot import snapshot
from tests.conftest import TILTH

from tilth.home import Home
from tilth.secrets import open_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Said
    from tests.conftest import Ended

    Cli = Callable[..., Said]


def set_from_stdin(name: str, value: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [TILTH, "secret", "set", name, *more], input=value, capture_output=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b"two\n\n", "two\n"),
     (b" x ", " x ")],
)  # fmt: skip
def test_a_value_comes_from_standard_input_less_one_newline(home: Path, given: bytes, kept: str) -> None:
    done = set_from_stdin("TOKEN", given)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode().splitlines()[0] == "secret TOKEN: set, in an encrypted file"
    assert open_secrets(Home(home)).get("TOKEN") == kept


def test_a_short_value_is_kept_and_said_not_to_be_masked() -> None:
    assert b"less than 4 characters" in set_from_stdin("TOKEN", b"abc").stderr
    assert b"less than 4 characters" not in set_from_stdin("TOKEN", b"abcd").stderr


@pytest.mark.parametrize(
    ("given", "told"), [(b"", b"is empty"), (b"\n", b"is empty"), (b"\xff\xfe", b"not UTF-8")]
)
def test_what_is_no_value_is_refused_and_keeps_the_one_before(home: Path, given: bytes, told: bytes) -> None:
    set_from_stdin("TOKEN", b"hunter2")
    done = set_from_stdin("TOKEN", given)
    assert done.returncode == 2
    assert told in done.stderr
    assert open_secrets(Home(home)).get("TOKEN") == "hunter2"


def test_a_terminal_asks_for_the_value_and_does_not_show_it(home: Path) -> None:
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [TILTH, "secret", "set", "TOKEN"], stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    ) as process:
        os.close(inside)
        shown = b""
        while b"value of TOKEN:" not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, b"hunter2\n")
        while True:
            try:
                more = os.read(terminal, 1024)
            except OSError:
                break
            if not more:
                break
            shown += more
    os.close(terminal)
    assert process.returncode == 0, shown
    assert b"hunter2" not in shown
    assert open_secrets(Home(home)).get("TOKEN") == "hunter2"


@pytest.mark.parametrize(
    "arguments", [("TOKEN", "hunter2"), ("TOKEN=hunter2",), ("TOKEN", "--value=hunter2")]
)
def test_a_value_given_as_an_argument_is_refused_and_not_repeated(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    said = cli("secret", "set", *arguments)
    assert said.code == 2
    assert "hunter2" not in said.out + said.err


def test_secrets_are_listed_by_name_and_never_by_value(cli: Cli, home: Path) -> None:
    assert cli("secret", "list") == (0, "", "no secrets; `tilth secret set NAME` keeps one\n")
    set_from_stdin("b", b"hunter2")
    set_from_stdin("A_TOKEN", b"hunter3")
    said = cli("secret", "list")
    assert [line.split()[0] for line in said.out.splitlines()] == ["secret", "A_TOKEN", "b"]
    told = cli("secret", "list", "--json").json
    assert [(each["name"], each["kept"], each["problem"]) for each in told] == [
        ("A_TOKEN", "file", ""),
        ("b", "file", ""),
    ]
    assert "hunter" not in said.out + str(told)


def test_secrets_are_deleted_all_or_none(cli: Cli) -> None:
    set_from_stdin("A_TOKEN", b"hunter2")
    set_from_stdin("B_TOKEN", b"hunter2")
    assert cli("secret", "delete", "A_TOKEN", "C_TOKEN") == (
        1,
        "",
        snapshot("""\
error: there is no secret `C_TOKEN`
  hint: did you mean `B_TOKEN`?
"""),
    )
    assert (
        cli("secret", "delete", "A_TOKEN", "B_TOKEN").err
        == "secret A_TOKEN: deleted\nsecret B_TOKEN: deleted\n"
    )
    assert cli("secret", "list", "--json").json == []


def test_listing_secrets_loads_no_cryptography(tilth: Callable[..., Ended]) -> None:
    set_from_stdin("TOKEN", b"hunter2")
    told = tilth("secret", "list", env={"PYTHONPROFILEIMPORTTIME": "1"}).stderr
    assert "tilth.secrets.store" in told
    assert not any(name in told for name in ("cryptography", "keyring.", "sqlite3", "rich"))
