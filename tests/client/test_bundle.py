"""A project's files, archived by content."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from tilth.client import bundle as bundles
from tilth.client.bundle import bundle_digest, bundle_path, git_state, make_bundle
from tilth.client.code_root import CodeRoot
from tilth.engine.archives import unpack
from tilth.errors import DefinitionError, NotFound, SetupError
from tilth.home import Home


def git(folder: Path, *arguments: str) -> None:
    options = [
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    ]
    subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True)


def write(folder: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def store(home: Path) -> Home:
    return Home(home)


def pack(project: Path, store: Home) -> bundles.Bundle:
    return make_bundle(CodeRoot(project, (project,), marked=True), store)


def names(bundle: bundles.Bundle) -> set[str]:
    with tarfile.open(bundle.path, encoding="utf-8", errors="surrogateescape") as archive:
        return set(archive.getnames())


def test_git_says_which_files_are_the_project_s(project: Path, store: Home) -> None:
    git(project, "init")
    write(project, "tracked.py", "deleted.py", "pkg/inside.py", "data/big.bin", ".gitignore", text="data/\n")
    git(project, "add", ".")
    git(project, "commit", "-m", "first")
    (project / "deleted.py").unlink()
    write(
        project,
        "new.py",
        "with space/ü\n.py",
        "data/more.bin",
        ".venv/lib/x.py",
        "own/pyvenv.cfg",
        "own/lib/y.py",
    )
    write(project, "pkg/__pycache__/inside.cpython-311.pyc")
    found = pack(project, store)
    assert names(found) == {"tracked.py", "pkg/inside.py", ".gitignore", "new.py", "with space/ü\n.py"}
    assert found.files == 5
    assert found.created
    assert found.path == bundle_path(found.digest, store)


def test_submodules_and_repositories_inside_are_the_project_s_too(
    tmp_path: Path, project: Path, store: Home
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    write(other, "lib/sub.py", "ignored.log", ".gitignore", text="*.log\n")
    git(other, "add", "lib", ".gitignore")
    git(other, "commit", "-m", "x")
    git(project, "init")
    write(project, "main.py", "nested/inner.py")
    git(project, "submodule", "add", str(other), "vendor/other")
    git(project / "nested", "init")
    found = names(pack(project, store))
    assert found == {
        "main.py",
        ".gitmodules",
        "vendor/other/lib/sub.py",
        "vendor/other/.gitignore",
        "nested/inner.py",
    }


def test_a_project_below_the_repository_s_root_is_bundled_alone(project: Path, store: Home) -> None:
    git(project, "init")
    write(project, "outside.py", "inner/main.py")
    git(project, "add", ".")
    assert names(pack(project / "inner", store)) == {"main.py"}


def test_a_project_its_repository_ignores_is_bundled_whole(project: Path, store: Home) -> None:
    git(project, "init")
    write(project, ".gitignore", text="*\n")
    write(project, "inner/main.py")
    assert names(pack(project / "inner", store)) == {"main.py"}


def test_without_git_the_tree_is_bundled(project: Path, store: Home) -> None:
    write(project, "main.py", "pkg/a.py", ".git-notes", "node_modules/x.js", "env/pyvenv.cfg", "env/lib/z.py")
    write(project, ".mypy_cache/c", "__pycache__/main.pyc", "old.pyc")
    assert names(pack(project, store)) == {"main.py", "pkg/a.py", ".git-notes"}


def test_the_home_folder_is_left_out_of_a_project_around_it(project: Path) -> None:
    write(project, "main.py")
    store = Home(project / ".tilth-home")
    first = pack(project, store)
    write(project, ".tilth-home/runs/x.json")
    assert names(pack(project, store)) == {"main.py"}
    assert pack(project, store).digest == first.digest


@pytest.mark.parametrize("with_git", [True, False])
def test_the_key_of_secrets_is_left_out(
    project: Path, store: Home, with_git: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_git:
        git(project, "init")
    write(project, "main.py", "conf/my.key", ".config/tilth/secrets.key", "secrets.key")
    monkeypatch.setenv("TILTH_SECRETS_KEY", str(project / "conf/my.key"))
    assert names(pack(project, store)) == {"main.py", "secrets.key"}


@pytest.mark.parametrize("with_git", [True, False])
def test_other_home_folders_are_left_out_too(project: Path, store: Home, with_git: bool) -> None:
    if with_git:
        git(project, "init")
    write(
        project, "main.py", "old-home/tilth.db", "old-home/bundles/x.tar", "other/home/tilth.db", "other/a.py"
    )
    assert names(pack(project, store)) == {"main.py", "other/a.py"}


@pytest.mark.parametrize("with_git", [True, False])
def test_tilthignore_leaves_files_out(project: Path, store: Home, with_git: bool) -> None:
    if with_git:
        git(project, "init")
    write(
        project,
        "main.py",
        "a.csv",
        "deep/b.csv",
        "keep.csv",
        "data/x",
        "deep/data/y",
        "top/only",
        "deep/top/only",
    )
    (project / ".tilthignore").write_text("# data\n*.csv\n!keep.csv\ndata/\n/top\n")
    if with_git:
        git(project, "add", ".")
    assert names(pack(project, store)) == {"main.py", "keep.csv", "deep/top/only", ".tilthignore"}


def test_any_file_name_survives(project: Path, store: Home, tmp_path: Path) -> None:
    git(project, "init")
    odd = [
        b"caf\xe9.txt",
        b"new\nline",
        b"quote\"'",
        "ключ.py".encode(),
        b"x" * 200,
        b"-dash",
        b"back\\slash",
    ]
    for name in odd:
        Path(os.fsdecode(os.fsencode(project) + b"/" + name)).write_bytes(name)
    unpack(pack(project, store).path, tmp_path / "out")
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == sorted(odd)
    assert all(
        Path(os.fsdecode(os.fsencode(tmp_path / "out") + b"/" + name)).read_bytes() == name for name in odd
    )


def test_the_digest_is_of_names_modes_and_contents_alone(tmp_path: Path, store: Home) -> None:
    digests = []
    for count in range(2):
        project = tmp_path / f"copy{count}"
        for name in ("b.py", "a.py") if count else ("a.py", "b.py"):
            write(project, name, text=name)
        os.utime(project / "a.py", (count, count))
        (project / "a.py").chmod(0o600 if count else 0o664)
        digests.append(pack(project, store).digest)
    assert digests[0] == digests[1]
    bytes_before = bundle_path(digests[0], store).read_bytes()
    bundle_path(digests[0], store).unlink()
    assert pack(tmp_path / "copy0", store).path.read_bytes() == bytes_before
    for change in (
        lambda: (project / "a.py").chmod(0o755),
        lambda: write(project, "a.py", text="other"),
        lambda: (project / "a.py").rename(project / "c.py"),
    ):
        change()
        digests.append(bundle_digest(CodeRoot(project, (project,), marked=True), store))
    assert len(set(digests)) == 4


def test_an_unchanged_tree_is_not_archived_or_read_again(
    project: Path, store: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "main.py", "other.py")
    for name in ("main.py", "other.py"):
        os.utime(project / name, (1, 1))
    # The change of a file's state cannot be set back, so the clock is set forward instead.
    monkeypatch.setattr(bundles.time, "time_ns", lambda: 2_000_000_000_000_000_000)
    first = pack(project, store)
    monkeypatch.setattr(bundles, "content_digest", lambda _: pytest.fail("read again"))
    second = pack(project, store)
    assert (first.created, second.created) == (True, False)
    assert second.digest == first.digest
    monkeypatch.undo()
    write(project, "main.py", text="x = 2\n")
    assert pack(project, store).digest != first.digest


def test_a_file_written_just_now_is_never_taken_from_memory(project: Path, store: Home) -> None:
    seen = set()
    for number in range(20):
        write(project, "main.py", text=f"x = {number:02}\n")
        seen.add(pack(project, store).digest)
    assert len(seen) == 20


def test_torn_memory_of_digests_is_made_anew(
    project: Path, store: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "main.py")
    monkeypatch.setattr(bundles.time, "time_ns", lambda: 2_000_000_000_000_000_000)
    digest = pack(project, store).digest
    for path in (store.cache / "files").iterdir():
        path.write_bytes(b"\x81\xa1")
    assert pack(project, store).digest == digest


def test_links_inside_are_kept_and_others_become_what_they_lead_to(
    tmp_path: Path, project: Path, store: Home
) -> None:
    write(project, "pkg/real.py", "run.sh")
    (project / "run.sh").chmod(0o755)
    write(tmp_path, "shared.py", text="shared\n")
    write(tmp_path, "folder/x.py")
    (project / "inside.py").symlink_to("pkg/real.py")
    (project / "absolute.py").symlink_to(project / "pkg" / "real.py")
    (project / "outside.py").symlink_to(tmp_path / "shared.py")
    (project / "outside").symlink_to(tmp_path / "folder")
    (project / "dangling").symlink_to("/nowhere/at/all")
    (project / "pkg" / "up").symlink_to("..")
    os.mkfifo(project / "pipe")
    out = tmp_path / "out"
    unpack(pack(project, store).path, out)
    assert sorted(each.name for each in out.iterdir()) == [
        "absolute.py",
        "inside.py",
        "outside.py",
        "pkg",
        "run.sh",
    ]
    assert (out / "inside.py").readlink() == (out / "absolute.py").readlink() == Path("pkg/real.py")
    assert not (out / "outside.py").is_symlink()
    assert (out / "outside.py").read_text() == "shared\n"
    assert (out / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (out / "pkg" / "real.py").stat().st_mode & 0o777 == 0o644


def test_an_empty_project_is_a_bundle_too(project: Path, store: Home, tmp_path: Path) -> None:
    unpack(pack(project, store).path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tree_that_is_too_large_names_its_largest_folders(
    project: Path, store: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "main.py")
    write(project, "data/raw/a.bin", "data/raw/b.bin", text="x" * 1_500_000)
    monkeypatch.setattr(bundles, "MAX_BYTES", 2_000_000)
    with pytest.raises(DefinitionError) as caught:
        pack(project, store)
    assert "3 MB in 2 files: data/raw" in str(caught.value)
    assert ".tilthignore" in caught.value.mend
    write(project, ".tilthignore", text="data\n")
    assert pack(project, store).files == 2
    monkeypatch.setattr(bundles, "MAX_FILES", 1)
    with pytest.raises(DefinitionError, match="2 files"):
        pack(project, store)


def test_a_file_that_changes_between_reading_and_writing_is_read_again(
    project: Path, store: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "main.py")
    plain, changes = bundles._write, iter(["second", "third"])

    def write_late(*arguments: object) -> None:
        text = next(changes, None)
        if text:
            write(project, "main.py", text=text)
        plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bundles, "_write", write_late)
    unpack(pack(project, store).path, tmp_path / "out")
    assert (tmp_path / "out" / "main.py").read_text() == "third"
    assert [each.suffix for each in store.bundles.iterdir()] == [".tar"]


def make_tar(path: Path, *members: tuple[str, str, str]) -> Path:
    """A hand-made archive: kind, name, and content or target."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for kind, name, content in members:
            member = tarfile.TarInfo(name)
            member.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}.get(
                kind, tarfile.CHRTYPE
            )
            member.linkname = content if kind in ("link", "hard") else ""
            member.size = len(content) if kind == "file" else 0
            archive.addfile(member, io.BytesIO(content.encode()) if kind == "file" else None)
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("file", "../escaped", "x")],
        [("file", "/tmp/escaped-tilth", "x")],
        [("file", "a/../../escaped", "x")],
        [("link", "a", "/etc"), ("file", "a/passwd", "x")],
        [("link", "a", "../..")],
        [("link", "a/l", "../b"), ("file", "b/x", ""), ("link", "s", "a/l/../../outside")],
        [("link", "s", "a/l/../../outside"), ("link", "a/l", "../b"), ("file", "b/x", "")],
        [("hard", "a", "/etc/passwd")],
        [("device", "a", "")],
        [("file", "main.py", "not what the name says")],
    ],
)
def test_an_archive_that_leads_outside_or_is_damaged_is_refused(
    tmp_path: Path, members: list[tuple[str, str, str]]
) -> None:
    (tmp_path / "deep").mkdir()
    archive = make_tar(tmp_path / f"{'0' * 64}.tar", *members)
    with pytest.raises(SetupError, match="damaged"):
        unpack(archive, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == [archive.name, "deep"]


def test_a_torn_archive_is_refused_and_a_missing_one_named(
    project: Path, store: Home, tmp_path: Path
) -> None:
    write(project, "main.py", text="x" * 5000)
    found = pack(project, store)
    found.path.write_bytes(found.path.read_bytes()[:3000])
    with pytest.raises(SetupError, match="damaged"):
        unpack(found.path, tmp_path / "out")
    found.path.unlink()
    with pytest.raises(NotFound):
        unpack(found.path, tmp_path / "out")


def test_the_state_of_git_is_told(project: Path) -> None:
    assert git_state(project) is None
    git(project, "init")
    state = git_state(project)
    assert state
    assert (state.commit, state.branch, state.dirty) == ("", "main", False)
    write(project, "main.py", "inner/x.py")
    git(project, "add", ".")
    git(project, "commit", "-m", "first")
    state = git_state(project)
    assert state
    assert (len(state.commit), state.branch, state.dirty) == (40, "main", False)
    write(project, "new.py")
    assert git_state(project).dirty  # type: ignore[union-attr]
    assert not git_state(project / "inner").dirty  # type: ignore[union-attr]
    git(project, "checkout", "--detach")
    assert git_state(project).branch == ""  # type: ignore[union-attr]


def test_git_s_own_variables_do_not_mislead(
    project: Path, store: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "init")
    write(project, "main.py")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert git_state(project) is not None
    assert names(pack(project, store)) == {"main.py"}


def test_a_repository_of_somebody_else_is_read(project: Path, store: Home) -> None:
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    git(project, "init")
    write(project, "main.py", "data.log", ".gitignore", text="*.log\n")
    for each in [project, *project.rglob("*")]:
        os.chown(each, 1234, 1234)
    assert names(pack(project, store)) == {"main.py", ".gitignore"}


def test_a_large_file_is_unpacked_in_little_memory(project: Path, store: Path, tmp_path: Path) -> None:
    (project / "data.bin").write_bytes(bytes(64 << 20))
    bundle = pack(project, store)
    tracemalloc.start()
    try:
        unpack(bundle.path, tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out" / "data.bin").stat().st_size == 64 << 20
