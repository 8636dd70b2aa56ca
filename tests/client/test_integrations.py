from __future__ import annotations

import subprocess
import sys

import pytest
from tests.index import build_wheel
from tests.stack.conftest import installed  # noqa: F401 - a fixture

from tilth.client import integrations
from tilth.errors import IndexUnavailable, NotFound, SetupError, TilthError, UnknownOption

EXTRAS = {"ftp": ["beta>=2", "msgspec>=0.1", "gamma; python_version < '3'"], "odd": ["not a requirement"]}


@pytest.fixture
def plugin(installed):  # noqa: F811
    return installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp [ftp]"}, extras=EXTRAS)


def test_extras_of_tilth_are_integrations_with_the_flavors_they_give():
    found = {each.name: each for each in integrations.integrations()}
    assert found["s3"].flavors == ("artifact_store.s3", "container_registry.ecr")
    assert found["s3"].places == ("client", "supervisor", "server")
    assert found["s3"].requirement.startswith("tilth[s3]==")
    assert found["keyring"].flavors == ()
    assert found["keyring"].places == ("client",)


def test_packages_of_others_are_integrations_and_miss_what_is_not_installed(plugin):
    (found,) = integrations.find_integrations(["tilth_ftp"])
    assert (found.name, found.extras, found.requires) == ("tilth-ftp", ("ftp",), ("beta>=2", "msgspec>=0.1"))
    assert found.missing == ("beta>=2",)
    assert integrations.requirement_lines([found]) == ["tilth-ftp[ftp]==2.0"]


def test_flavors_are_offered_with_what_they_miss(plugin):
    (told,) = integrations.offered("artifact_store", "ftp")
    assert (told["package"], told["integration"], told["missing"]) == ("tilth-ftp", "tilth-ftp", ["beta>=2"])
    with pytest.raises(UnknownOption, match="`ftq`"):
        integrations.offered("", "ftq")


def test_two_packages_with_one_flavor_are_told_in_the_list(plugin, installed):  # noqa: F811
    installed("other-ftp", {"artifact_store.ftp": "other_ftp:Ftp"})
    problems = {each["problem"] for each in integrations.offered() if each["flavor"] == "ftp"}
    assert problems == {"declared by 2 packages: other-ftp and tilth-ftp"}


def test_requirements_are_those_of_a_place():
    found = integrations.find_integrations(["keyring", "fsspec"])
    assert [each.partition(">")[0] for each in integrations.requirement_lines(found, "server")] == ["fsspec"]
    assert len(integrations.requirement_lines(found, "client")) == 2


def test_an_integration_that_does_not_exist_is_not_looked_for_in_an_index():
    with pytest.raises(NotFound) as caught:
        integrations.find_integrations(["s33"])
    assert "did you mean `s3`?" in caught.value.mend


def test_what_is_missing_is_installed_where_tilth_runs_and_nothing_else(plugin, tmp_path, monkeypatch):
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", tmp_path / "venv"], check=True)
    index = tmp_path / "index"
    index.mkdir()
    build_wheel(index, "beta", "2.1", files={"beta.py": ""})
    monkeypatch.setenv("UV_FIND_LINKS", str(index))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    found = integrations.find_integrations(["tilth-ftp"])
    assert integrations.install(found) == ["beta>=2"]
    listed = subprocess.check_output([python, "-c", "import beta; print('there')"], text=True)
    assert listed == "there\n"


def test_an_install_that_fails_says_why(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", tmp_path / "venv"], check=True)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    with pytest.raises(TilthError) as caught:
        integrations.install([], ["no-such-package-anywhere"])
    assert not isinstance(caught.value, IndexUnavailable)
    assert "no-such-package-anywhere" in str(caught.value)


def test_a_tool_of_uv_gets_the_command_that_keeps_what_it_has(plugin, tmp_path, monkeypatch):
    (tmp_path / "uv-receipt.toml").write_text(
        '[tool]\nrequirements = [{ name = "tilth", extras = ["gcs"] }, { name = "tilth-x", specifier = ">=2" }]\n'
    )
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = [
        integrations._integration("s3", "tilth", ("s3",), []),
        *integrations.find_integrations(["tilth-ftp"]),
    ]
    with pytest.raises(SetupError) as caught:
        integrations.install(found, ["tilth-y"])
    assert caught.value.mend == (
        "`uv tool install 'tilth[gcs,s3]' --with tilth-y --with 'tilth-ftp[ftp]==2.0' --with 'tilth-x>=2'`"
    )


@pytest.mark.parametrize("text", ["", "a b", "-r file", "--index-url=x"])
def test_what_is_no_requirement_is_refused(text):
    with pytest.raises(UnknownOption, match="is no requirement"):
        integrations.check_packages([text])
