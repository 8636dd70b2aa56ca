"""`tilth stack`, `component` and `integration`, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from inline_snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Said

    Cli = Callable[..., Said]

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project to stand in, one folder below its root."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "churn"\n')
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    return tmp_path


@pytest.fixture
def cloud(cli: Cli) -> None:
    register = ("component", "register", "models", "--type", "artifact_store", "--flavor", "s3")
    assert cli(*register, "--set", "bucket=b", "--set", "secret=secret:KEY").code == 0
    assert cli("stack", "register", "cloud", "-o", "local", "-a", "models").code == 0


def test_stacks_are_there_without_registering_any(cli: Cli) -> None:
    assert cli("stack", "list").out == snapshot("""\
stack         active  orchestrator  artifact store
default       active  local         local
docker-local          docker        local
""")
    said = cli("stack", "set", "docker-local")
    assert (said.code, said.err) == (0, "stack docker-local: active\n")
    assert [each["name"] for each in cli("stack", "list", "--json").json if each["active"]] == [
        "docker-local"
    ]
    assert cli("stack", "show").out == snapshot("""\
stack docker-local: active by `tilth stack set`
  type            component  flavor
  orchestrator    docker     docker
  artifact_store  local      local
""")
    assert cli("stack", "set", "--unset").err == "stack default: active\n"


def test_a_stack_is_registered_of_components_and_used(cli: Cli, cloud: None) -> None:
    assert cli("component", "list").out == snapshot("""\
component  type            flavor  from   settings
local      orchestrator    local   tilth
docker     orchestrator    docker  tilth
local      artifact_store  local   tilth
models     artifact_store  s3             bucket=b, secret=secret:KEY
native     image_builder   native  tilth
""")
    assert cli("stack", "set", "cloud").code == 0
    assert cli("stack", "show", "--json").json["components"]["artifact_store"]["settings"] == {
        "bucket": "b",
        "secret": "secret:KEY",
    }
    shown = cli("component", "show", "models").out
    assert "stacks      cloud" in shown
    assert "bucket  b" in shown
    assert cli("stack", "update", "cloud", "--component", "artifact-store=local").code == 0
    assert cli("component", "delete", "models").code == 0
    assert cli("stack", "delete", "cloud").err == "stack cloud: deleted\nstack default: active\n"


def test_a_check_ends_with_one_when_something_is_broken(cli: Cli, cloud: None) -> None:
    said = cli("stack", "check", "cloud")
    assert said.code == 1
    assert said.out == snapshot("""\
ok       orchestrator local     steps run in processes on this machine
error    artifact store models  secret `KEY` is not set
                                hint: `tilth secret set KEY`
""")
    found = cli("stack", "check", "cloud", "--json")
    assert found.code == 1
    assert [(each["component"]["name"], each["level"]) for each in found.json] == [
        ("local", "ok"),
        ("models", "error"),
    ]
    assert cli("stack", "check", "default").code == 0
    assert cli("stack", "check").code == 0


def test_a_stack_goes_to_a_file_and_comes_back(cli: Cli, cloud: None, project) -> None:
    assert cli("stack", "export", "cloud").out == snapshot("""\
version: 1
stack: cloud
components:
  orchestrator:
    name: local
    flavor: local
  artifact_store:
    name: models
    flavor: s3
    settings:
      bucket: b
      secret: secret:KEY
""")
    file = project / "cloud.json"
    assert cli("stack", "export", "cloud", "--output", file).code == 0
    assert json.loads(file.read_text())["stack"] == "cloud"
    again = cli("stack", "export", "cloud", "--output", file)
    assert (again.code, "`--force` writes over it" in again.err) == (2, True)

    assert "here already" in cli("stack", "import", file).err
    cli("component", "update", "models", "--set", "bucket=other")
    refused = cli("stack", "import", file)
    assert refused.code == 1
    assert "artifact store `models`" in refused.err
    assert "`--name" not in refused.err  # of no use: it is the component that differs
    assert cli("component", "show", "models", "--json").json["settings"]["bucket"] == "other"
    assert "artifact store models: replaced" in cli("stack", "import", file, "--force").err
    assert cli("component", "show", "models", "--json").json["settings"]["bucket"] == "b"
    assert cli("stack", "import", file, "--name", "copy", "--json").json["name"] == "copy"


REGISTER = ("component", "register", "models", "--type", "artifact_store", "--flavor", "s3")
FSSPEC = (*REGISTER[:-1], "fsspec")


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ((*REGISTER, "--set", "buckte=b"), 1, "did you mean `bucket`?"),
        (REGISTER, 1, "needs setting `bucket`"),
        ((*REGISTER, "--set", "bucket"), 2, "`--set KEY=VALUE`"),
        ((*REGISTER, "--set", SECRET), 2, "`--set KEY=VALUE`"),
        ((*REGISTER, "--set", "bucket=a", "--set", "bucket=b"), 2, "given twice"),
        ((*REGISTER, "--set", "bucket=a", "--set", f"secret={SECRET}"), 1, "written out"),
        ((*FSSPEC, "--set", "url=nowhere"), 1, "has to begin with a protocol"),
        ((*FSSPEC, "--set", f"url=sftp://me:{SECRET}@host/x"), 1, "has a password in it"),
        ((*FSSPEC, "--set", "url=a://b", "--set", f'storage_options={{"password": "{SECRET}'), 1, "as JSON"),
        (
            (*FSSPEC, "--set", "url=a://b", "--set", f'storage_options={{"token": "{SECRET}"}}'),
            1,
            "written out",
        ),
        (("component", "register", "a", "--type", "store", "--flavor", "s3"), 1, "`artifact_store`"),
        (("component", "register", "a", "--flavor", "s3"), 2, "`--type`"),
        (("component", "show", "modells"), 1, "no component `modells`"),
        (("component", "show", "local"), 1, "`--type orchestrator`"),
        (("component", "update", "local"), 2, "nothing is to be changed"),
        (("component", "flavors", "s33"), 1, "did you mean `s3`?"),
        (("stack", "register", "a", "--component", "artifact_store"), 2, "TYPE=NAME"),
        (
            ("stack", "register", "a", "-o", "local", "--component", "orchestrator=docker"),
            2,
            "two components",
        ),
        (("stack", "register", "a", "-o", "local"), 1, "needs an artifact store"),
        (("stack", "register", "default", "-o", "local", "-a", "local"), 1, "comes with tilth"),
        (("stack", "update", "default", "-a", "local"), 1, "comes with tilth"),
        (("stack", "set"), 2, "needs the name of a stack"),
        (("stack", "set", "docker-locl"), 1, "did you mean `docker-local`?"),
        (("stack", "set", "default", "--unset"), 2, "takes no name"),
        (("stack", "check", "nowhere"), 1, "no stack `nowhere`"),
        (("stack", "import", "nowhere.yaml"), 1, "cannot be read"),
        (("stack", "lst"), 2, "did you mean `list`?"),
        (("integration", "install"), 2, "no integration is named"),
        (("integration", "install", "s33"), 1, "did you mean `s3`?"),
        (("integration", "requirements"), 2, "no integration is named"),
        (("integration", "requirements", "s3", "--for", "serve"), 2, "server"),
    ],
)
def test_what_makes_no_sense_is_told_and_how_to_mend_it(
    cli: Cli, command: tuple[str, ...], code: int, told: str
) -> None:
    said = cli(*command)
    assert said.code == code
    assert told in said.err
    assert "hunter2" not in said.out + said.err


def test_a_variable_that_goes_before_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILTH_STACK", "default")
    assert "`TILTH_STACK` is `default`" in cli("stack", "set", "docker-local").err
    monkeypatch.setenv("TILTH_STACK", "gone")
    said = cli("stack", "list")
    assert (said.code, "`gone`, which does not exist" in said.err) == (0, True)


def test_flavors_and_integrations_are_listed(cli: Cli) -> None:
    found = {(each["type"], each["flavor"]): each for each in cli("component", "flavors", "--json").json}
    assert found["artifact_store", "s3"]["integration"] == "s3"
    assert ("orchestrator", "local") in found
    assert "Name of the bucket." in cli("component", "flavors", "s3").out
    (told,) = cli("component", "flavors", "s3", "--json").json
    assert told["settings"][0]["setting"] == "bucket"
    listed = {each["name"] for each in cli("integration", "list", "--json").json}
    assert {"s3", "gcs", "azure", "fsspec", "conda", "keyring"} <= listed
    assert cli("integration", "requirements", "s3", "--for", "supervisor").out.startswith("boto3")
    assert cli("integration", "requirements", "keyring", "--for", "supervisor").out == ""


def test_listing_loads_no_flavor_and_no_library_of_one() -> None:
    code = (
        "import sys\nfrom tilth.cli.main import main\nsys.argv = ['tilth', 'stack', 'list']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert {
        "boto3",
        "httpx",
        "fsspec",
        "yaml",
        "asyncio",
        "tilth.artifact_stores.components",
    } & loaded == set()
    assert not any(name.startswith("tilth.orchestrators") for name in loaded)


PIPELINE = "from tilth import pipeline, step\n@step\ndef one() -> int:\n    return 1\n@pipeline\ndef p():\n    one()\n"


def test_a_run_on_a_stack_whose_orchestrator_was_deleted_is_refused(cli: Cli, project) -> None:
    """Else it would run on this machine, which nobody asked for."""
    (project / "inner/p.py").write_text(PIPELINE)
    assert cli("component", "register", "boxes", "--type", "orchestrator", "--flavor", "docker").code == 0
    assert cli("stack", "register", "boxed", "-o", "boxes", "-a", "local", "--set").code == 0
    assert cli("component", "delete", "boxes", "--force").code == 0
    for command in ("run", "plan"):
        said = cli(command, "p.py")
        assert said.code == 1
        assert "stack `boxed` has no orchestrator" in said.err
        assert "`tilth stack update boxed -o NAME`" in said.err
    assert cli("runs", "list", "--json").json == []


def test_a_store_that_cannot_be_opened_is_told_before_anything_runs(cli: Cli, cloud: None, project) -> None:
    (project / "inner/p.py").write_text(PIPELINE)
    said = cli("run", "--stack", "cloud", "p.py")
    assert said.code == 1
    assert "secret `KEY`" in said.err
    assert "component `models` names it" in said.err
    assert "started" not in said.err
    assert cli("runs", "list", "--json").json == []


def test_a_run_remembers_the_stack_it_was_on(cli: Cli, project) -> None:
    (project / "inner/p.py").write_text(PIPELINE)
    shared = project / "shared"
    cli(
        "component",
        "register",
        "shared",
        "--type",
        "artifact_store",
        "--flavor",
        "local",
        "--set",
        f"path={shared}",
    )
    assert cli("stack", "register", "here", "-o", "local", "-a", "shared", "--set").code == 0
    assert cli("run", "p.py").code == 0
    (run,) = cli("runs", "list", "--json").json
    assert (run["stack"], run["artifact_store"]["settings"]) == ("here", {"path": str(shared)})
    assert any(shared.rglob("artifact.json"))
