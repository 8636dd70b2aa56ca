"""Indexes that want a password: every way to give it works, and it is found nowhere afterwards."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from tests.conftest import run_cli
from tests.simple_index import SimpleIndex

from tilth.errors import IndexUnavailable, NotFound
from tilth.home import Home
from tilth.secrets import open_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Here = Any  # see conftest.py

USER, PASSWORD = "reader", "hunter2/Zürich&more"
PIPELINE = """\
from tilth import Environment, pipeline, step

private = Environment(
    "private", requirements=["alpha<2", "from-source"], index_url={url!r}, credentials={credentials!r}
)


@step(environment=private)
def use() -> str:
    import alpha, from_source

    return alpha.VERSION


@pipeline
def uses():
    use()
"""


@pytest.fixture
def private(
    index: Path, uv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimpleIndex]:
    settings = tmp_path / "empty-uv.toml"
    settings.write_text("")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with SimpleIndex(index) as served:
        served.login = (USER, PASSWORD)
        yield served


def host(served: SimpleIndex) -> str:
    return urlsplit(served.url).netloc


def project(tmp_path: Path, served: SimpleIndex, **credentials: str) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    (folder / "pipeline.py").write_text(PIPELINE.format(url=served.url, credentials=credentials))
    return folder


def test_without_a_password_the_index_refuses_and_the_error_says_how_to_give_one(
    private: SimpleIndex, tmp_path: Path
) -> None:
    told = run_cli("run", "pipeline.py", cwd=project(tmp_path, private), code=1).stderr
    assert "refuses to answer" in told
    assert "credentials=" in told


def test_a_wrong_password_is_not_shown(private: SimpleIndex, tmp_path: Path, home: Path) -> None:
    open_secrets(Home(home)).set("company", f"{USER}:Wr0ngPassw0rd")
    folder = project(tmp_path, private, **{host(private): "company"})
    told = run_cli("run", "pipeline.py", cwd=folder, code=1)
    assert "refuses to answer" in told.stderr
    assert "Wr0ngPassw0rd" not in str(told)


def test_a_secret_that_was_never_set_is_named(private: SimpleIndex, tmp_path: Path) -> None:
    told = run_cli(
        "run", "pipeline.py", cwd=project(tmp_path, private, **{host(private): "company"}), code=1
    ).stderr
    assert "tilth secret set company" in told


def by_secret(
    private: SimpleIndex, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    open_secrets(Home(home)).set("company", f"{USER}:{PASSWORD}")
    return {host(private): "company"}


def by_netrc(
    private: SimpleIndex, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    netrc = tmp_path.parent / f"{tmp_path.name}-netrc"
    netrc.write_text(f"machine {urlsplit(private.url).hostname}\nlogin {USER}\npassword {PASSWORD}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    return {}


def by_variable(
    private: SimpleIndex, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    opened = private.url.replace("://", f"://{quote(USER)}:{quote(PASSWORD, safe='')}@")
    monkeypatch.setenv("UV_DEFAULT_INDEX", opened)
    return {}


def by_keyring(
    private: SimpleIndex, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """uv asks the program `keyring` for the password of a user; which keyring that asks is its own matter."""
    programs = tmp_path.parent / f"{tmp_path.name}-bin"
    programs.mkdir()
    script = programs / "keyring"
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"if {host(private)!r} in sys.argv[-2] and sys.argv[-1] == {USER!r}:\n    print({PASSWORD!r})\n"
        "else:\n    sys.exit(1)\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    monkeypatch.setenv("UV_DEFAULT_INDEX", private.url.replace("://", f"://{USER}@"))
    return {}


@pytest.mark.parametrize("way", [by_secret, by_netrc, by_variable, by_keyring])
@pytest.mark.slow
def test_every_way_to_give_a_password_works_and_leaves_no_trace(
    way: Any, private: SimpleIndex, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = way(private, tmp_path, home, monkeypatch)
    folder = project(tmp_path, private, **credentials)
    if way in (by_variable, by_keyring):  # the declaration names no index then
        text = (folder / "pipeline.py").read_text()
        (folder / "pipeline.py").write_text(text.replace(f"index_url={private.url!r}, ", ""))
    said = [
        run_cli("env", "lock", "pipeline.py", cwd=folder),
        run_cli("run", "pipeline.py", "--json", cwd=folder),
        run_cli("plan", "pipeline.py", "--json", cwd=folder),
        run_cli("env", "show", "private", "--json", cwd=folder),
        run_cli("runs", "show", "uses-1", "--json", cwd=folder),
        run_cli("runs", "logs", "uses-1", cwd=folder),
    ]
    assert said[1].json["state"] == "completed"
    private.login = None
    assert any(path.startswith("/files/") or path.endswith(".whl") for _, path in private.requests)
    kept = {str(path): path.read_bytes() for path in everything(home, folder)}
    kept |= {f"printed {i}": str(each).encode() for i, each in enumerate(said)}
    for where, content in kept.items():
        for form in forms():
            assert form not in content, where


def everything(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def forms() -> list[bytes]:
    """The password as it may be written."""
    both = f"{USER}:{PASSWORD}".encode()
    return [
        PASSWORD.encode(), quote(PASSWORD, safe="").encode(), quote(PASSWORD).encode(), base64.b64encode(both),
        json.dumps(PASSWORD).strip('"').encode(),
    ]  # fmt: skip


def test_credentials_are_for_their_process_alone(here: Here, private: SimpleIndex, home: Path) -> None:
    open_secrets(Home(home)).set("company", f"{USER}:{PASSWORD}")
    lock = here.lock("alpha<2", index_url=private.url, credentials={host(private): "company"})
    assert not any("UV_INDEX_TILTH" in name for name in os.environ)
    assert not any(PASSWORD in option for option in lock.index.fetching())
    open_secrets(Home(home)).delete("company")
    with pytest.raises(NotFound):
        here.lock("beta", index_url=private.url, credentials={host(private): "company"})


def test_a_token_alone_is_enough(here: Here, private: SimpleIndex, home: Path) -> None:
    private.login = ("__token__", "t0ken-t0ken")
    open_secrets(Home(home)).set("company", "t0ken-t0ken")
    lock = here.lock("beta", index_url=private.url, credentials={host(private): "company"})
    assert [each.version for each in lock.packages] == ["2.0"]
    with pytest.raises(IndexUnavailable):
        here.lock("gamma-ray", index_url=private.url)


def test_an_index_of_one_package_may_want_a_password(
    here: Here, private: SimpleIndex, index: Path, home: Path
) -> None:
    open_secrets(Home(home)).set("company", f"{USER}:{PASSWORD}")
    with SimpleIndex(index) as open_to_all:
        options = {
            "index_url": open_to_all.url,
            "package_indexes": {"beta": private.url},
            "credentials": {host(private): "company"},
        }
        realised = here.realise("alpha<2", "beta", **options)
    assert (realised.path / here.interpreter.library / "beta.py").exists()
    assert subprocess.run([realised.python, "-c", "import alpha, beta"], check=False).returncode == 0
