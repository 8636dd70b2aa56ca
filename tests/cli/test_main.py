from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from inline_snapshot import snapshot

import tilth as package
from tilth.cli import main as command_line
from tilth.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Cli = Any  # see conftest.py

HEAVY = {"msgspec", "rich", "sqlite3", "asyncio", "uv", "packaging", "subprocess"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["version"], ["run", "--help"], ["runs", "--help"], ["nope"]]
)
def test_what_prints_a_few_lines_loads_click_alone(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import json, sys\nfrom tilth.cli.main import main\n"
        "try:\n    main(sys.argv[2:])\nexcept SystemExit:\n    pass\n"
        "json.dump(sorted(sys.modules), open(sys.argv[1], 'w'))\n"
    )
    found = tmp_path / "modules.json"
    subprocess.run([sys.executable, "-c", code, found, *arguments], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(found.read_text())}
    assert loaded & HEAVY == set()


def test_help_lists_every_command_with_what_its_own_help_says() -> None:
    context = click.Context(command_line.cli, info_name="tilth")
    for name, (_, meaning) in command_line.COMMANDS.items():
        command = command_line.cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(limit=200) == meaning


def test_help_comes_without_a_command_too(cli: Cli) -> None:
    said = cli()
    assert said.code == 2
    assert "tilth run FILE" in said.err
    assert cli("--help").code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["rnu"], "error: `tilth` has no command `rnu`\n  hint: did you mean `run`?\n"),
        (["runs", "lst"], "error: `tilth runs` has no command `lst`\n  hint: did you mean `list`?\n"),
        (
            ["version", "--jsn"],
            "error: `tilth version` has no option `--jsn`\n  hint: did you mean `--json`?\n",
        ),
        (
            ["run"],
            "error: `tilth run` needs `FILE[:PIPELINE]`\n  hint: `tilth run --help` shows how it is used\n",
        ),
        (
            ["runs", "list", "--state", "dead"],
            """\
error: invalid value for `--state`: `dead` is not one of `queued`, `running`, `completed`, `failed`, `cancelled`
  hint: `tilth runs list --help` shows how it is used
""",
        ),
    ],
)
def test_misuse_ends_with_2_and_says_what_would_be_right(cli: Cli, arguments: list[str], error: str) -> None:
    assert cli(*arguments) == (2, "", error)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `tilth version` raise."""

    def let(error: BaseException) -> None:
        @click.command("version")
        @click.option("--traceback", is_flag=True)
        def version(*, traceback: bool) -> None:
            raise error

        monkeypatch.setattr("tilth.cli.version.version", version)

    return let


def test_an_error_says_why_and_how_to_mend_it(cli: Cli, failing: Callable[..., None]) -> None:
    failing(SetupError("the disk is gone", why="somebody took it\nhome", mend="bring it back"))
    assert cli("version") == (
        1,
        "",
        "error: the disk is gone\n  somebody took it\n  home\n  hint: bring it back\n",
    )
    assert "Traceback (most recent call last)" in cli("version", "--traceback").err


def test_a_bug_shows_where_it_is(cli: Cli, failing: Callable[..., None]) -> None:
    failing(ZeroDivisionError("oops"))
    said = cli("version")
    assert said.code == 1
    assert said.err.endswith(
        "ZeroDivisionError: oops\nerror: this is a bug in tilth; please report it with the lines above\n"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(cli: Cli, failing: Callable[..., None], error: BaseException) -> None:
    failing(error)
    said = cli("version")
    assert (said.code, said.out, said.err.strip()) == (130, "", "interrupted")


def test_a_reader_that_goes_away_is_no_error(tilth: Callable[..., Any]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from tilth.cli.main import main; main(['settings'])"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""


def test_version_names_what_matters_for_a_report(cli: Cli, home: Path) -> None:
    said = cli("version")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["tilth", "python", "uv", "home"]
    told = cli("version", "--json").json
    assert told["tilth"] == package.__version__
    assert told["home"] == str(home)


def test_settings_say_where_each_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILTH_HOME", "/h")
    monkeypatch.setenv("TILTH_WORKERS", "3")
    monkeypatch.setenv("TILTH_SECRETS_KEY", "/k")
    monkeypatch.delenv("TILTH_SECRET_STORE")
    assert cli("settings").out == snapshot("""\
setting       value                  from                 variable
home          /h                     `TILTH_HOME`         TILTH_HOME
server_url    none                   default              TILTH_SERVER_URL
api_key       none                   default              TILTH_API_KEY
project       none without a server  default              TILTH_PROJECT
python        found as uv finds it   default              TILTH_PYTHON
stack         the project's          default              TILTH_STACK
workers       3                      `TILTH_WORKERS`      TILTH_WORKERS
offline       0                      default              TILTH_OFFLINE
secret_store  auto                   default              TILTH_SECRET_STORE
secrets_key   /k                     `TILTH_SECRETS_KEY`  TILTH_SECRETS_KEY
advisories    none                   default              TILTH_ADVISORIES
progress      auto                   default              TILTH_PROGRESS
""")
    monkeypatch.setenv("TILTH_API_KEY", "tilth_key_hunter2")
    said = cli("settings", "--json")
    assert "hunter2" not in said.out
    told = {each["setting"]: each for each in said.json}
    assert told["api_key"]["from"] == "`TILTH_API_KEY`"
    assert told["workers"]["value"] == "3"
    assert told["workers"]["from"] == "`TILTH_WORKERS`"
