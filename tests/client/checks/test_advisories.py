"""Which versions an advisory concerns, and where records come from."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from inline_snapshot import snapshot

from tilth.client.checks.advisories import Advisory, check_advisories, fixed_version, is_affected
from tilth.client.checks.osv import advisories
from tilth.errors import OutsideError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def record(id: str = "PYSEC-2024-1", package: str = "Jinja2", **affected: Any) -> dict[str, Any]:  # noqa: A002
    """A record as OSV exports it, with more in it than is read."""
    more = {
        name: affected.pop(name)
        for name in ("aliases", "withdrawn", "summary", "details")
        if name in affected
    }
    return {
        "schema_version": "1.6.0",
        "id": id,
        "modified": "2024-05-06T15:00:00Z",
        "published": "2024-05-06T15:00:00Z",
        "references": [{"type": "WEB", "url": "https://example.org"}],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}],
        "affected": [{"package": {"name": package, "ecosystem": "PyPI", "purl": "pkg:pypi/x"}, **affected}],
        **more,
    }


def ranges(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


def advisory(**affected: Any) -> Advisory:
    return msgspec.convert(record(**affected), Advisory)


@pytest.mark.parametrize(
    ("affected", "hit", "missed"),
    [
        (ranges({"introduced": "0"}, {"fixed": "3.1.4"}), ["0.1", "3.1.3", "3.1.4rc1"], ["3.1.4", "4.0"]),
        (ranges({"introduced": "2.0"}, {"fixed": "2.5"}), ["2.0", "2.4.9"], ["1.9", "2.0rc1", "2.5"]),
        (
            ranges({"introduced": "1"}, {"last_affected": "1.5"}),
            ["1.0", "1.5", "1.5.0"],
            ["1.5.1", "1.5.post1"],
        ),
        (ranges({"introduced": "2.0"}), ["2.0", "99"], ["1.9"]),
        (
            ranges({"fixed": "1.2"}, {"introduced": "2.0"}, {"introduced": "1.0"}, {"fixed": "2.2"}),
            ["1.1", "2.1"],
            ["0.9", "1.2", "1.9", "2.2"],
        ),
        (ranges({"introduced": "0"}, {"fixed": "abc123"}, kind="GIT"), [], ["1.0"]),
        ({"versions": ["1.0", "1.1"]}, ["1.0", "1.1", "1.1.0"], ["1.2"]),
        ({"versions": ["1.0"], **ranges({"introduced": "2"}, {"fixed": "3"})}, ["1.0", "2.5"], ["1.5", "3"]),
        (ranges({"introduced": "0"}, {"fixed": "2.0+local"}), ["1.0", "2.0"], ["2.0.1"]),
    ],
)
def test_a_version_is_affected_when_listed_or_in_a_range(
    affected: dict[str, Any], hit: list[str], missed: list[str]
) -> None:
    found = advisory(**affected)
    assert [each for each in [*hit, *missed] if is_affected(found, "jinja2", each)] == hit


def test_a_record_of_another_package_or_ecosystem_says_nothing() -> None:
    everything = ranges({"introduced": "0"})
    assert not is_affected(advisory(package="other", **everything), "jinja2", "1.0")
    elsewhere = record(**everything)
    elsewhere["affected"][0]["package"]["ecosystem"] = "npm"
    assert not is_affected(msgspec.convert(elsewhere, Advisory), "jinja2", "1.0")


def test_the_fixed_version_is_the_next_one() -> None:
    found = advisory(
        **ranges({"introduced": "1.0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"fixed": "2.2"})
    )
    assert fixed_version(found, "jinja2", "1.1") == "1.2"
    assert fixed_version(found, "jinja2", "2.1") == "2.2"
    assert fixed_version(advisory(**ranges({"introduced": "0"})), "jinja2", "1") == ""


def test_one_finding_for_one_vulnerability_of_one_version() -> None:
    everything = ranges({"introduced": "0"}, {"fixed": "2.4.2"})
    known = [
        advisory(aliases=["CVE-2024-1", "GHSA-a"], summary="Sandbox escape", **everything),
        advisory(id="GHSA-a", aliases=["CVE-2024-1"], **ranges({"introduced": "0"}, {"fixed": "2.5"})),
        advisory(id="PYSEC-0", withdrawn="2024-06-01T00:00:00Z", **everything),
    ]
    held = {
        "training": [("jinja2", "2.4.1")],
        "": [("Jinja2", "2.4.1"), ("other", "1")],
        "new": [("jinja2", "3")],
    }
    found = check_advisories(held, known)
    assert [str(each) for each in found] == snapshot(
        [
            """\
`jinja2` 2.4.1 has a known vulnerability: GHSA-a (CVE-2024-1, PYSEC-2024-1)
  Sandbox escape
  in environment `training`, the client's environment
  hint: require `jinja2>=2.5`\
"""
        ]
    )
    assert (found[0].level, found[0].environment) == ("warning", "training")


def test_records_come_from_a_folder_a_file_and_an_archive(tmp_path: Path) -> None:
    records = [record(id=f"PYSEC-{number}", versions=["1.0"]) for number in range(3)]
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for one in records:
        (folder / "below" / f"{one['id']}.json").write_text(json.dumps(one))
    (tmp_path / "one.json").write_text(json.dumps(records[0]))
    (tmp_path / "all.json").write_text(json.dumps(records))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for one in records:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    for source, count in {"folder": 3, "one.json": 1, "all.json": 3, "all.zip": 3}.items():
        found = list(advisories(str(tmp_path / source), []))
        assert [each.id for each in found] == [f"PYSEC-{number}" for number in range(count)], source


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="does not exist"):
        list(advisories(str(tmp_path / "nowhere"), []))
    (tmp_path / "torn.json").write_text('{"id": ')
    with pytest.raises(SetupError, match=r"torn\.json` is no OSV record"):
        list(advisories(str(tmp_path / "torn.json"), []))


def test_one_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a-torn.json").write_text('{"id": ')
    (tmp_path / "b.json").write_text(json.dumps({"id": "PYSEC-1", "affected": []}))
    told: list[SetupError] = []
    found = list(advisories(str(tmp_path), [], unreadable=told.append))
    assert [each.id for each in found] == ["PYSEC-1"]
    assert len(told) == 1


class Service:
    """What answers as the OSV API does, two queries to a page."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = {each["id"]: each for each in records}
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str, body: bytes) -> Any:
        self.asked.append(path)
        if path == "/v1/querybatch":
            return {"results": [self._result(each) for each in json.loads(body)["queries"]]}
        return self.records.get(path.removeprefix("/v1/vulns/"))

    def _result(self, query: dict[str, Any]) -> dict[str, Any]:
        name = query["package"]["name"]
        assert query["package"]["ecosystem"] == "PyPI"
        matching = [
            {"id": each["id"], "modified": each["modified"]}
            for each in self.records.values()
            if each["affected"][0]["package"]["name"].lower() == name
        ]
        page = int(query.get("page_token", "0"))
        more = {"next_page_token": str(page + 1)} if matching[page + 1 :] else {}
        return {"vulns": matching[page : page + 1], **more} if matching else {}


@contextmanager
def served(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self._reply(b"")

        def log_message(self, *arguments: object) -> None:
            pass

        def _reply(self, body: bytes) -> None:
            answer = service.answer(self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(200 if answer is not None else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        service.url = f"http://user:secret@127.0.0.1:{server.server_port}"
        yield service
        server.shutdown()


def test_a_service_is_asked_for_all_packages_at_once_and_for_each_record_once() -> None:
    records = [record(id=f"PYSEC-{number}", versions=["1.0"]) for number in range(3)]
    with served(Service(records)) as service:
        url = service.url.replace("user:secret@", "")
        found = list(advisories(f"{url}/", [("jinja2", "1.0"), ("other", "2.0")]))
    assert [each.id for each in found] == ["PYSEC-0", "PYSEC-1", "PYSEC-2"]
    assert service.asked.count("/v1/querybatch") == 3, "the first page, and two more of one package"
    assert len(service.asked) == 6


def test_a_service_that_does_not_answer_or_must_not_be_asked_is_no_secret() -> None:
    with pytest.raises(OutsideError, match="offline"):
        list(advisories("https://user:hunter2@example.org", [("a", "1")], offline=True))
    with pytest.raises(OutsideError) as caught:
        list(advisories("http://user:hunter2@127.0.0.1:9", [("a", "1")]))
    assert "127.0.0.1:9" in str(caught.value)
    assert "hunter2" not in str(caught.value)
