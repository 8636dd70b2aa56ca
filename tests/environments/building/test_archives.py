"""Archives: downloaded, verified before they are read, and unpacked into one folder."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.index import build_sdist
from tests.simple_index import SimpleIndex

from tilth.environments.building import archives
from tilth.environments.building.accounts import authorization
from tilth.errors import EnvironmentBroken, IndexUnavailable
from tilth.home import Home

if TYPE_CHECKING:
    from pathlib import Path

WHAT = "`alpha` of environment `training`"


def sha256(path: Path) -> dict[str, str]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def write_tar(path: Path, *entries: tarfile.TarInfo, body: bytes = b"x = 1\n") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry in entries:
            entry.size = 0 if entry.type != tarfile.REGTYPE else len(body)
            archive.addfile(entry, io.BytesIO(body))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_an_archive_is_unpacked_to_the_folder_of_its_project(tmp_path: Path) -> None:
    sdist = build_sdist(tmp_path, "alpha", "1.0")
    project = archives.unpack(sdist, tmp_path / "out", file=sdist.name, what=WHAT)
    assert project == tmp_path / "out/alpha-1.0"
    assert (project / "pyproject.toml").is_file()


def test_a_zip_file_keeps_its_programs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, mode in (("alpha-1/configure", 0o100755), ("alpha-1/setup.py", 0o100644)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, "x")
    project = archives.unpack(tmp_path / "a.zip", tmp_path / "out", file="a.zip", what=WHAT)
    assert project.name == "alpha-1"
    modes = {each.name: bool(each.stat().st_mode & 0o100) for each in project.iterdir()}
    assert modes == {"configure": True, "setup.py": False}


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("alpha/../../outside"),
        tarfile.TarInfo("/outside"),
        link("alpha/link", "../../outside"),
        link("alpha/link", "/etc/passwd"),
        link("alpha/hard", "../outside", tarfile.LNKTYPE),
        link("alpha/pipe", "", tarfile.FIFOTYPE),
        link("alpha/device", "", tarfile.CHRTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.linkname}",
)
def test_a_tar_file_that_leads_outside_is_refused_and_nothing_is_left(
    tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    folder = tmp_path / "home" / "out"
    archive = write_tar(tmp_path / "a.tar.gz", tarfile.TarInfo("alpha/setup.py"), entry)
    with pytest.raises(EnvironmentBroken, match="cannot be unpacked"):
        archives.unpack(archive, folder, file="a.tar.gz", what=WHAT)
    assert not folder.exists()
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("name", ["../outside", "alpha/../../outside", "/outside", "..\\outside"])
def test_a_zip_file_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(EnvironmentBroken, match="leads outside"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "in/out", file="a.zip", what=WHAT)
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b\x08\x00cut"])
def test_a_damaged_archive_is_told(tmp_path: Path, content: bytes) -> None:
    for name in ("a.tar.gz", "a.zip"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EnvironmentBroken, match="cannot be unpacked"):
            archives.unpack(tmp_path / name, tmp_path / "out", file=name, what=WHAT)
        assert not (tmp_path / "out").exists()


def test_a_download_is_kept_and_not_repeated(tmp_path: Path) -> None:
    sdist = build_sdist(tmp_path / "served", "alpha", "1.0")
    home = Home(tmp_path / "home")
    with SimpleIndex(sdist.parent) as index:
        url = f"http://{index.host}/files/{sdist.name}"
        found = archives.get(url, sha256(sdist), home, what=WHAT)
        assert found.read_bytes() == sdist.read_bytes()
        before = len(index.requests)
        assert archives.get(url, sha256(sdist), home, what=WHAT) == found
        assert len(index.requests) == before
    assert archives.get(url, sha256(sdist), home, what=WHAT, offline=True) == found


def test_a_download_that_is_not_what_was_locked_is_not_kept(tmp_path: Path) -> None:
    sdist = build_sdist(tmp_path / "served", "alpha", "1.0")
    home = Home(tmp_path / "home")
    with SimpleIndex(sdist.parent) as index:
        url = f"http://{index.host}/files/{sdist.name}"
        with pytest.raises(EnvironmentBroken, match=f"sha256 wanted: {'0' * 64}"):
            archives.get(url, {"sha256": "0" * 64}, home, what=WHAT)
    assert not list((home.cache / "sources").glob("[!.]*"))


def test_what_cannot_be_downloaded_is_told_apart(tmp_path: Path) -> None:
    sdist = build_sdist(tmp_path / "served", "alpha", "1.0")
    home = Home(tmp_path / "home")
    with SimpleIndex(sdist.parent) as index:
        url = f"http://{index.host}/files/{sdist.name}"
        with pytest.raises(EnvironmentBroken, match="not there any more"):
            archives.get(f"{url}.gone", sha256(sdist), home, what=WHAT)
        index.login = ("user", "hunter2")
        with pytest.raises(IndexUnavailable, match="netrc"):
            archives.get(url, sha256(sdist), home, what=WHAT)
        index.failures["/files/"] = 503
        with pytest.raises(IndexUnavailable, match="503"):
            archives.get(url, sha256(sdist), home, what=WHAT, credentials={"127.0.0.1": ("user", "hunter2")})
        del index.failures["/files/"]
        archives.get(url, sha256(sdist), home, what=WHAT, credentials={"127.0.0.1": ("user", "hunter2")})
    with pytest.raises(IndexUnavailable, match="offline"):
        archives.get(url, {"sha256": "1" * 64}, home, what=WHAT, offline=True)
    with pytest.raises(EnvironmentBroken, match="without a hash"):
        archives.get(url, {}, home, what=WHAT)
    with pytest.raises(EnvironmentBroken, match="is gone"):
        archives.get(str(tmp_path / "nowhere.tar.gz"), {"sha256": "1" * 64}, home, what=WHAT)


def test_a_connection_that_breaks_once_is_tried_again(tmp_path: Path) -> None:
    sdist = build_sdist(tmp_path / "served", "alpha", "1.0")
    with SimpleIndex(sdist.parent) as index:
        url = f"http://{index.host}/files/{sdist.name}"
        index.failures["/files/"] = 503
        tries = []

        class Once(dict[str, int]):
            def items(self):  # type: ignore[no-untyped-def]
                tries.append(1)
                return super().items() if len(tries) == 1 else {}.items()

        index.failures = Once(index.failures)
        archives.get(url, sha256(sdist), Home(tmp_path / "home"), what=WHAT)
    assert len(tries) == 2


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_who_opens_an_index_is_found_where_uv_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://pypi.example.com/files/a.tar.gz"
    monkeypatch.delenv("UV_CONFIG_FILE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert authorization(url, {}) == ""
    (tmp_path / "netrc").write_text("machine pypi.example.com login n password p\n")
    assert authorization(url, {}) == basic("n:p")
    settings = '[[index]]\nname = "company"\nurl = "https://s:p%40q@pypi.example.com/simple"\n'
    (tmp_path / "uv.toml").write_text(settings)
    assert authorization(url, {}, tmp_path) == basic("s:p@q")
    monkeypatch.setenv("UV_INDEX", "company=https://pypi.example.com/simple https://other.example.com")
    monkeypatch.setenv("UV_INDEX_COMPANY_USERNAME", "v")
    monkeypatch.setenv("UV_INDEX_COMPANY_PASSWORD", "w")
    assert authorization(url, {}, tmp_path) == basic("v:w")
    given = ("a", "b")
    assert authorization(url, {"pypi.example.com": given}, tmp_path) == basic("a:b")
    assert authorization(url, {"pypi.example.com:8080": given}, tmp_path) == basic("v:w")
    assert authorization("https://elsewhere.example.com/", {"pypi.example.com": given}, tmp_path) == ""
