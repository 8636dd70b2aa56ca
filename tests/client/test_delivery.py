"""How the project's code comes to steps elsewhere: from repositories over file, ssh and http, and what refuses."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.ports import free_port, wait_for_port

from tilth.artifact_stores.folder import FolderStore
from tilth.client.bundle import make_bundle
from tilth.client.code_root import find_code_root
from tilth.client.delivery import IN_IMAGE, plan_delivery
from tilth.engine.delivery import bundle_key, deliver, fetch_code, login
from tilth.errors import DefinitionError, NotFound, OutsideError, SetupError, UnknownOption
from tilth.home import Home
from tilth.records import CodeDelivery

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main", *arguments],
        cwd=folder, env={**os.environ, **NAMES}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # Submodules from local paths are what git refuses unless it is told otherwise.
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remotes" / "repo.git"
    folder.parent.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, remote: Path) -> Path:
    """A project with one pushed commit, in a folder of its repository."""
    top = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", remote, top)
    project = top / "training"
    project.mkdir()
    (project / "steps.py").write_text("X = 1\n")
    (project / "tilth.toml").touch()
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "one")
    git(top, "push", "--quiet", "origin", "HEAD:main")
    git(top, "branch", "--quiet", "--set-upstream-to=origin/main")
    return project


def planned(project: Path, **options: Any) -> CodeDelivery:
    return plan_delivery(project, "sha256:ab", {"code": "git", **options})


def fetched(code: CodeDelivery, tmp_path: Path, password: str = "") -> Path:
    return fetch_code(
        code,
        tmp_path / "there",
        objects=FolderStore(tmp_path / "none"),
        home=Home(tmp_path / "far"),
        password=password,
    )


def test_a_pushed_commit_is_named_and_fetched(project: Path, remote: Path, tmp_path: Path) -> None:
    code = planned(project)
    assert code == CodeDelivery(
        how="git",
        bundle="sha256:ab",
        url=str(remote),
        commit=git(project, "rev-parse", "HEAD"),
        folder="training",
    )
    (project / "steps.py").write_text("X = 2\n")
    git(project, "commit", "--quiet", "-am", "two")
    git(project, "push", "--quiet", "origin", "HEAD:main")
    place = fetched(code, tmp_path)  # not the newest: the one that was named
    assert (place / "steps.py").read_text() == "X = 1\n"
    assert place.name == "training"


def test_an_older_pushed_commit_and_one_known_offline(project: Path, remote: Path) -> None:
    (project / "more.py").write_text("")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "two")
    git(project, "push", "--quiet", "origin", "HEAD:main")
    git(project, "reset", "--quiet", "--hard", "HEAD~1")
    assert planned(project).commit == git(project, "rev-parse", "HEAD")
    shutil.rmtree(remote)
    with pytest.raises(OutsideError, match="cannot be asked for what was pushed"):
        planned(project)
    assert plan_delivery(project, "b", {}, way="git", offline=True).commit


@pytest.mark.parametrize("change", ["changed", "added", "staged"])
def test_changes_that_no_commit_holds_refuse(project: Path, change: str) -> None:
    name = "steps.py" if change == "changed" else "new file.py"
    (project / name).write_text("X = 3\n")
    if change == "staged":
        git(project, "add", ".")
    with pytest.raises(DefinitionError, match="changes that no commit holds") as caught:
        planned(project)
    assert name in caught.value.why
    assert "commit and push" in caught.value.mend


def test_what_lies_outside_of_the_project_may_change(project: Path) -> None:
    (project.parent / "notes.txt").write_text("mine")
    assert planned(project).folder == "training"


def test_a_commit_that_was_not_pushed_refuses(project: Path) -> None:
    (project / "steps.py").write_text("X = 3\n")
    git(project, "commit", "--quiet", "-am", "mine")
    with pytest.raises(DefinitionError, match="is not on remote `origin`") as caught:
        planned(project)
    assert "git push" in caught.value.mend
    with pytest.raises(DefinitionError, match="is not on remote"):
        plan_delivery(project, "b", {}, way="git", offline=True)


def test_a_submodule_has_to_be_pushed_too_and_comes_along(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "remotes" / "lib.git"
    git(tmp_path, "init", "--quiet", "--bare", other)
    source = tmp_path / "lib"
    git(tmp_path, "clone", "--quiet", other, source)
    (source / "lib.py").write_text("Y = 1\n")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "-m", "lib")
    git(source, "push", "--quiet", "origin", "HEAD:main")
    git(project, "submodule", "--quiet", "add", str(other), "lib")
    git(project, "commit", "--quiet", "-am", "with lib")
    git(project, "push", "--quiet", "origin", "HEAD:main")
    code = planned(project)
    assert (fetched(code, tmp_path) / "lib" / "lib.py").read_text() == "Y = 1\n"
    (project / "lib" / "lib.py").write_text("Y = 2\n")
    with pytest.raises(DefinitionError, match="no commit holds"):
        planned(project)
    git(project / "lib", "commit", "--quiet", "-am", "mine")
    git(project, "commit", "--quiet", "-am", "newer lib")
    git(project, "push", "--quiet", "origin", "HEAD:main")
    with pytest.raises(DefinitionError, match="of submodule `training/lib` is not on remote"):
        planned(project)


def test_wrong_words_and_wrong_places(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownOption, match="by `gti`") as caught:
        planned(project, code="gti")
    assert "`git`" in caught.value.mend
    with pytest.raises(DefinitionError, match=r"`code` of `.tool.tilth.` is `3`"):
        planned(project, code=3)
    with pytest.raises(SetupError, match="has no remote `upstream`"):
        planned(project, **{"code-remote": "upstream"})
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    with pytest.raises(SetupError, match="is in no git repository"):
        planned(nowhere)
    git(nowhere, "init", "--quiet")
    with pytest.raises(DefinitionError, match="has no commit yet"):
        planned(nowhere)


def test_a_commit_that_is_gone_is_told(project: Path, remote: Path, tmp_path: Path) -> None:
    code = CodeDelivery(how="git", url=str(remote), commit="ab" * 20)
    with pytest.raises(OutsideError, match="gone from its repository") as caught:
        fetched(code, tmp_path)
    assert "push the commit again" in caught.value.mend


def test_credentials_in_an_address_are_not_recorded(project: Path) -> None:
    git(project, "remote", "add", "with", "https://me:s3cret@127.0.0.1:9/repo.git")
    git(project, "update-ref", "refs/remotes/with/main", "HEAD")
    code = plan_delivery(project, "b", {"code": "git", "code-remote": "with"}, offline=True)
    assert code.url == "https://127.0.0.1:9/repo.git"
    with pytest.raises(OutsideError) as caught:
        plan_delivery(project, "b", {"code": "git", "code-remote": "with"})
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`ssh://USER@HOST:PORT` of a server of this test, which git logs in to by a key."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(sshd).exists():
        pytest.skip("sshd is not installed")
    Path("/run/sshd").mkdir(exist_ok=True)
    keys = tmp_path / "ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
    shutil.copy(keys / "id.pub", keys / "authorized")
    port = free_port()
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "AuthorizedKeysFile": keys / "authorized", "PidFile": keys / "pid",
        "PasswordAuthentication": "no", "UsePAM": "no", "StrictModes": "no", "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    with open(keys / "log", "w") as log:
        server = subprocess.Popen(
            [sshd, "-D", "-e", "-f", os.devnull, "-h", keys / "host", *given], stderr=log
        )
    try:
        monkeypatch.setenv(
            "GIT_SSH_COMMAND",
            f"ssh -q -F none -i {keys / 'id'} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no "
            f"-o UserKnownHostsFile={keys / 'known'}",
        )
        wait_for_port(port)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        yield f"ssh://{user}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(180)


def test_over_ssh(project: Path, remote: Path, ssh: str, tmp_path: Path) -> None:
    git(project, "remote", "set-url", "origin", f"{ssh}{remote}")
    code = planned(project)
    assert code.url == f"{ssh}{remote}"  # the user of ssh belongs to the address
    assert (fetched(code, tmp_path) / "steps.py").exists()


class _GitHttp(BaseHTTPRequestHandler):
    """Git's own CGI program, behind a password."""

    def __init__(self, root: Path, *arguments: Any) -> None:
        self._root = root
        super().__init__(*arguments)

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(b"reader:s3cret-token").decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        variables = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self._root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "reader",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        said = subprocess.run(
            ["git", "http-backend"], input=body, env=variables, capture_output=True, check=True
        ).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        self.send_response(int(status[:3]))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def http(remote: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_GitHttp, remote.parent))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_over_http_with_a_password(project: Path, http: str, tmp_path: Path) -> None:
    git(project, "remote", "set-url", "origin", f"{http.replace('//', '//reader:s3cret-token@')}/repo.git")
    code = planned(project)
    assert code.url == f"{http}/repo.git"
    with pytest.raises(OutsideError, match="cannot be fetched"):
        fetched(code, tmp_path / "without")
    place = fetched(code, tmp_path, password="reader:s3cret-token")
    assert (place / "steps.py").exists()
    assert "TILTH_GIT_PASSWORD" not in os.environ
    kept = b"".join(path.read_bytes() for path in tmp_path.joinpath("far").rglob("*") if path.is_file())
    kept += b"".join(path.read_bytes() for path in tmp_path.joinpath("there").rglob("*") if path.is_file())
    assert b"s3cret-token" not in kept


def test_a_password_is_given_to_the_host_of_the_repository_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submodule may name any other."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "kept")

    def filled(host: str) -> str:
        return subprocess.run(
            ["git", "credential", "fill"],
            input=f"protocol=https\nhost={host}\n\n",
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true"},
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    with login("https://git.example:8443/team/repo.git", "s3cret-token"):
        assert "password=s3cret-token" in filled("git.example:8443")
        for other in ("git.example", "evil.example", "git.example.evil:8443"):
            assert "s3cret-token" not in filled(other)
        named = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=True)
        assert named.stdout == "kept\n"
    assert os.environ["GIT_CONFIG_COUNT"] == "1"


def test_a_bundle_is_put_once_and_unpacked(project: Path, home: Path, tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "store")
    bundle = make_bundle(find_code_root(project / "steps.py"), Home(home))
    assert deliver(bundle.path, bundle.digest, objects)
    assert not deliver(bundle.path, bundle.digest, objects)
    code = plan_delivery(project, bundle.digest, {})
    assert code == CodeDelivery(bundle=bundle.digest)
    far = Home(tmp_path / "far")
    assert (fetch_code(code, tmp_path / "there", objects=objects, home=far) / "steps.py").exists()
    objects.delete(bundle_key(bundle.digest))
    with pytest.raises(NotFound, match="is not in the artifact store"):
        fetch_code(code, tmp_path / "again", objects=objects, home=Home(tmp_path / "other"))
    objects.put(bundle_key(bundle.digest), b"no archive at all" * 100)
    with pytest.raises(SetupError, match="is damaged"):
        fetch_code(code, tmp_path / "again", objects=objects, home=Home(tmp_path / "third"))


def test_code_in_the_image(project: Path, tmp_path: Path) -> None:
    code = plan_delivery(project, "sha256:ab", {"code": "image"})
    assert code.folder == IN_IMAGE
    here = CodeDelivery(how="image", folder=str(project))
    objects, home = FolderStore(tmp_path / "none"), Home(tmp_path)
    assert fetch_code(here, tmp_path / "x", objects=objects, home=home) == project
    with pytest.raises(SetupError, match="not in the image"):
        fetch_code(
            CodeDelivery(how="image", folder=str(tmp_path / "no")), tmp_path / "x", objects=objects, home=home
        )
