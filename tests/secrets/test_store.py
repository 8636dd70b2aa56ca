"""Secrets are kept so that a copy of the home folder tells nothing, and nothing that goes wrong loses one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from keyring.errors import KeyringLocked

from tilth.errors import DefinitionError, HomeTooNew, NotFound, SetupError, UnknownOption
from tilth.home import Home
from tilth.secrets import Secrets, open_secrets
from tilth.secrets.key import key_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_read_back_and_listed_without_its_value(secrets: Secrets) -> None:
    secrets.set("HF_TOKEN", "hunter2")
    secrets.set("a", "zwei\nZeilen ✓")
    assert secrets.get("HF_TOKEN") == "hunter2"
    assert secrets.get("a") == "zwei\nZeilen ✓"
    assert secrets.names() == ["HF_TOKEN", "a"]
    assert [each.kept for each in secrets.list()] == ["file", "file"]
    assert "hunter2" not in repr(secrets.list())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_every_text_is_read_back_as_it_was(secrets: Secrets, value: str) -> None:
    secrets.set("TOKEN", value)
    assert secrets.get("TOKEN") == value


def test_a_value_is_nowhere_in_the_home_folder_and_its_key_neither(
    secrets: Secrets, home: Path, secrets_key: Path
) -> None:
    secrets.set("TOKEN", "hunter2-hunter2")
    key = secrets_key.read_bytes().strip()
    for path in home.rglob("*"):
        assert b"hunter2" not in path.read_bytes()
        assert key not in path.read_bytes()


def test_files_are_for_their_owner_alone_whatever_the_umask(
    secrets: Secrets, home: Path, secrets_key: Path
) -> None:
    before = os.umask(0)
    try:
        secrets.set("TOKEN", "hunter2")
    finally:
        os.umask(before)
    assert (mode(home / "secrets.json"), mode(secrets_key)) == (0o600, 0o600)
    (home / "secrets.json").chmod(0o644)  # as `cp` makes it
    secrets.set("OTHER", "hunter3")
    assert mode(home / "secrets.json") == 0o600


def test_a_key_that_others_may_read_is_refused(secrets: Secrets, secrets_key: Path) -> None:
    secrets.set("TOKEN", "hunter2")
    secrets_key.chmod(0o640)
    for use in (lambda: secrets.get("TOKEN"), lambda: secrets.set("TOKEN", "hunter3")):
        with pytest.raises(SetupError, match="others on this machine may read") as caught:
            use()
        assert caught.value.mend.startswith(f"`chmod 600 {secrets_key}`")
    secrets_key.chmod(0o600)
    assert secrets.get("TOKEN") == "hunter2"


def test_a_key_inside_the_home_folder_is_refused(
    secrets: Secrets, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILTH_SECRETS_KEY", str(home / "sub" / "key"))
    with pytest.raises(SetupError, match="would lie in the home folder"):
        secrets.set("TOKEN", "hunter2")
    assert not (home / "sub").exists()


def test_the_key_is_in_the_platforms_folder_for_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILTH_SECRETS_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    if sys.platform == "linux":
        assert key_path() == Path("/xdg/tilth/secrets.key")
    else:
        assert key_path().name == "secrets.key"


def test_an_unknown_name_offers_the_nearest_and_how_to_set_it(secrets: Secrets) -> None:
    secrets.set("HF_TOKEN", "hunter2")
    with pytest.raises(NotFound) as caught:
        secrets.get("HF_TOKE")
    assert caught.value.mend == "did you mean `HF_TOKEN`? `tilth secret set HF_TOKE` sets it"


def test_deleting_an_unknown_name_deletes_none(secrets: Secrets) -> None:
    secrets.set("A_TOKEN", "hunter2")
    with pytest.raises(NotFound, match="`B`"):
        secrets.delete("A_TOKEN", "B")
    assert secrets.names() == ["A_TOKEN"]
    secrets.delete("A_TOKEN", "A_TOKEN")
    assert secrets.names() == []


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("a=b", "x"), ("", "x"), ("a", ""), ("a", "\0")])
def test_what_cannot_be_a_name_or_a_variable_is_refused(secrets: Secrets, name: str, value: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        secrets.set(name, value)
    assert "=b" not in str(caught.value)


def test_a_lost_key_loses_only_what_it_encrypted(secrets: Secrets, secrets_key: Path) -> None:
    secrets.set("OLD", "hunter2")
    aside = secrets_key.rename(secrets_key.with_name("aside"))
    with pytest.raises(SetupError, match="its key is not here") as caught:
        secrets.get("OLD")
    assert str(secrets_key) in caught.value.why
    assert [each.problem for each in secrets.list()] == ["its key is not here"]
    secrets.set("NEW", "hunter3")  # makes another key
    with pytest.raises(SetupError, match="its key is not here"):
        secrets.get("OLD")
    assert secrets.get("NEW") == "hunter3"
    aside.rename(secrets_key)
    assert secrets.get("OLD") == "hunter2"
    assert [each.problem for each in secrets.list()] == ["its key is not here", ""]


def test_a_damaged_key_is_not_replaced(secrets: Secrets, secrets_key: Path) -> None:
    secrets.set("TOKEN", "hunter2")
    content = secrets_key.read_bytes()
    secrets_key.write_bytes(content[:20])
    for use in (lambda: secrets.get("TOKEN"), lambda: secrets.set("TOKEN", "hunter3")):
        with pytest.raises(SetupError, match="the key of the secrets is damaged"):
            use()
    secrets_key.write_bytes(content)
    assert secrets.get("TOKEN") == "hunter2"


def test_a_value_moved_to_another_name_is_not_given_out(secrets: Secrets, home: Path) -> None:
    secrets.set("MINE", "hunter2")
    secrets.set("YOURS", "hunter3")
    index = json.loads((home / "secrets.json").read_text())
    index["secrets"]["YOURS"]["value"] = index["secrets"]["MINE"]["value"]
    (home / "secrets.json").write_text(json.dumps(index))
    with pytest.raises(SetupError, match="what is stored was changed"):
        secrets.get("YOURS")
    assert secrets.get("MINE") == "hunter2"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 1, "id": "x", "secrets": []}',
     '{"version": 1, "id": "x", "secrets": {"A": {"set_at": "2026-01-01T00:00:00+00:00", "value": "x"}}}',
     '{"version": 1, "id": 7, "secrets": {}}'],
)  # fmt: skip
def test_a_damaged_file_is_told_and_never_written_over(secrets: Secrets, home: Path, content: str) -> None:
    home.mkdir(parents=True)
    (home / "secrets.json").write_text(content)
    for use in (
        secrets.names,
        lambda: secrets.get("A"),
        lambda: secrets.set("A", "x"),
        lambda: secrets.delete("A"),
    ):
        with pytest.raises(SetupError, match="is damaged"):
            use()
    assert (home / "secrets.json").read_text() == content


def test_a_file_of_a_newer_tilth_is_left_alone(secrets: Secrets, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "secrets.json").write_text('{"version": 2, "id": "x", "secrets": {}}')
    with pytest.raises(HomeTooNew):
        secrets.set("A", "x")


@pytest.mark.faults
def test_a_full_disk_keeps_what_was_kept(secrets: Secrets, home: Path) -> None:
    secrets.set("TOKEN", "hunter2")
    before = (home / "secrets.json").read_bytes()
    script = (
        "import errno, os, tilth.secrets.files as files\n"
        "from tilth.errors import DiskFull\n"
        "from tilth.home import Home; from pathlib import Path; import sys\n"
        "from tilth.secrets import open_secrets\n"
        "def full(fd): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "os.fsync = full\n"  # where a file system with delayed allocation tells of it
        "try: open_secrets(Home(Path(sys.argv[1]))).set('OTHER', 'hunter3')\n"
        "except DiskFull as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=True
    )
    assert "what was kept before is as it was" in done.stdout
    assert (home / "secrets.json").read_bytes() == before
    assert sorted(each.name for each in home.iterdir()) == ["secrets.json", "secrets.lock"]


def test_a_file_that_cannot_be_written_is_an_error_that_says_so(secrets: Secrets, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file where the folder should be")
    with pytest.raises(SetupError, match="cannot be written"):
        secrets.set("TOKEN", "hunter2")


@pytest.mark.faults
def test_ten_processes_that_set_secrets_at_once_all_keep_them(home: Path, secrets_key: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tilth.home import Home; from tilth.secrets import open_secrets\n"
        "secrets = open_secrets(Home(Path(sys.argv[1])))\n"
        "for i in range(5): secrets.set(f'{sys.argv[2]}-{i}', f'value {sys.argv[2]} {i}')\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(home), f"n{number}"]) for number in range(10)
    ]
    assert [each.wait(180) for each in running] == [0] * 10
    secrets = open_secrets(Home(home))
    assert {name: secrets.get(name) for name in secrets.names()} == {
        f"n{number}-{i}": f"value n{number} {i}" for number in range(10) for i in range(5)
    }


def test_a_keyring_is_used_when_it_is_a_real_one(
    secrets: Secrets, home: Path, secrets_key: Path, keyring_backend: object
) -> None:
    secrets.set("TOKEN", "hunter2-hunter2")
    assert secrets.get("TOKEN") == "hunter2-hunter2"
    assert [each.kept for each in secrets.list()] == ["keyring"]
    assert list(keyring_backend.values.values()) == ["hunter2-hunter2"]  # type: ignore[attr-defined]
    assert "value" not in json.loads((home / "secrets.json").read_text())["secrets"]["TOKEN"]
    assert not secrets_key.exists()
    secrets.delete("TOKEN")
    assert keyring_backend.values == {}  # type: ignore[attr-defined]


def test_home_folders_share_a_keyring_and_no_secret(
    tmp_path: Path, secrets_key: Path, keyring_backend: object
) -> None:
    one, two = open_secrets(Home(tmp_path / "one")), open_secrets(Home(tmp_path / "two"))
    one.set("TOKEN", "hunter2")
    two.set("TOKEN", "hunter3")
    two.delete("TOKEN")
    assert one.get("TOKEN") == "hunter2"


def test_a_secret_is_read_from_where_it_was_put(
    secrets: Secrets, keyring_backend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets.set("TOKEN", "hunter2")
    monkeypatch.setenv("TILTH_SECRET_STORE", "file")
    assert secrets.get("TOKEN") == "hunter2"
    secrets.set("TOKEN", "hunter3")
    assert keyring_backend.values == {}  # type: ignore[attr-defined]
    monkeypatch.setenv("TILTH_SECRET_STORE", "keyring")
    assert secrets.get("TOKEN") == "hunter3"


def test_what_the_keyring_has_lost_is_told(secrets: Secrets, keyring_backend: object) -> None:
    secrets.set("TOKEN", "hunter2")
    keyring_backend.values.clear()  # type: ignore[attr-defined]
    with pytest.raises(NotFound, match="not in the keyring of this machine any more"):
        secrets.get("TOKEN")
    secrets.delete("TOKEN")
    assert secrets.names() == []


def test_a_locked_keyring_is_told_and_its_secret_stays_named(
    secrets: Secrets, keyring_backend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets.set("TOKEN", "hunter2")

    def locked(*_: str) -> None:
        raise KeyringLocked("the collection is locked")

    for method in ("get_password", "set_password", "delete_password"):
        monkeypatch.setattr(keyring_backend, method, locked)
    for use in (lambda: secrets.get("TOKEN"), lambda: secrets.set("B", "x"), lambda: secrets.delete("TOKEN")):
        with pytest.raises(SetupError, match="keyring of this machine") as caught:
            use()
        assert caught.value.why == "KeyringLocked: the collection is locked"
    assert secrets.names() == ["TOKEN"]


@pytest.mark.parametrize("kind", ["fail", "null"])
def test_a_keyring_that_keeps_nothing_is_not_used(
    secrets: Secrets, keyring_backend: object, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    import keyring

    keyring.set_keyring(importlib.import_module(f"keyring.backends.{kind}").Keyring())
    secrets.set("TOKEN", "hunter2")
    assert [each.kept for each in secrets.list()] == ["file"]
    monkeypatch.setenv("TILTH_SECRET_STORE", "keyring")
    with pytest.raises(SetupError, match="no keyring that can be used") as caught:
        secrets.set("TOKEN", "hunter3")
    assert f"keyring.backends.{kind}.Keyring" in caught.value.why


def test_without_the_package_secrets_go_into_the_file(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setenv("TILTH_SECRET_STORE", "auto")
    secrets.set("TOKEN", "hunter2")
    assert secrets.get("TOKEN") == "hunter2"
    monkeypatch.setenv("TILTH_SECRET_STORE", "keyring")
    with pytest.raises(SetupError) as caught:
        secrets.set("TOKEN", "hunter3")
    assert caught.value.mend == "`pip install 'tilth[keyring]'`"


def test_a_misspelt_store_is_refused(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILTH_SECRET_STORE", "keyrings")
    with pytest.raises(UnknownOption) as caught:
        secrets.set("TOKEN", "hunter2")
    assert caught.value.mend == "did you mean `keyring`?"
