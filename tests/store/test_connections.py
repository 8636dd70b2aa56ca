from __future__ import annotations

import contextlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tilth.errors import SetupError
from tilth.store.connections import FAILURES, Connections


class Listening(ThreadingHTTPServer):
    """Answers with what it was asked. `hangs_up`: it closes each connection after its answer, and does not say so."""

    daemon_threads = True

    def __init__(self, *, hangs_up: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.hangs_up = hangs_up
        self.hung_up = threading.Semaphore(0)
        self.peers: set[int] = set()
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listening

    def do_GET(self):
        self.server.peers.add(self.client_address[1])
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        told = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
        if self.server.hangs_up:
            self.close_connection = True

    def finish(self):
        super().finish()
        if self.server.hangs_up:
            self.server.shutdown_request(self.request)
            self.server.hung_up.release()

    def log_message(self, *_):
        pass


@pytest.fixture
def listening():
    with contextlib.ExitStack() as opened:

        def listen(**options):
            server = opened.enter_context(Listening(**options))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            opened.callback(server.shutdown)
            return server

        yield listen


@pytest.fixture
def connected():
    with contextlib.ExitStack() as opened:
        yield lambda url: opened.enter_context(contextlib.closing(Connections(url, {"User-Agent": "a test"})))


def test_one_connection_serves_one_request_after_the_other(listening, connected):
    server = listening()
    connections = connected(f"{server.url}/api/v1")
    for name in ("a", "b/ü c", "d?e=f%20g"):
        assert connections.request("GET", f"/{name}").status_code == 200
    assert connections.request("GET", "/b/ü c").content == b"/api/v1/b/%C3%BC%20c"
    assert connections.request("GET", "/d?e=f%20g").content == b"/api/v1/d?e=f%20g"
    assert len(server.peers) == 1
    assert server.headers[0]["user-agent"] == "a test"


def test_threads_that_ask_at_once_do_not_share_one(listening, connected):
    server = listening()
    connections = connected(server.url)
    failed = []

    def ask(name):
        for index in range(20):
            answer = connections.request("GET", f"/{name}/{index}").content
            if answer != f"/{name}/{index}".encode():
                failed.append(answer)

    threads = [threading.Thread(target=ask, args=(each,)) for each in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert 1 <= len(server.peers) <= 4


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(listening, connected):
    server = listening(hangs_up=True)
    connections = connected(server.url)
    for _ in range(3):
        assert connections.request("GET", "/").status_code == 200
        assert server.hung_up.acquire(timeout=60)
    assert len(server.peers) == 3


def test_nobody_there_is_one_failure_of_those_named(connected):
    with pytest.raises(FAILURES):
        connected("http://127.0.0.1:1").request("GET", "/")


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:port", "nothing"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(SetupError, match="no address of a server"):
        Connections(url, {})


def test_a_proxy_is_told_the_whole_address_and_who_asks(listening, connected, monkeypatch):
    proxy = listening()
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://me:pass%20word@"))
    answer = connected("http://tilth.example.com:8237/below").request("GET", "/info")
    assert answer.content == b"http://tilth.example.com:8237/below/info"
    assert proxy.headers[0]["host"] == "tilth.example.com:8237"
    assert proxy.headers[0]["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_no_proxy_stands_before_this_machine_or_what_the_variable_names(listening, connected, monkeypatch):
    server = listening()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert connected(server.url).request("GET", "/here").content == b"/here"
    monkeypatch.setenv("no_proxy", "tilth.example.com")
    monkeypatch.setenv("http_proxy", server.url)
    with pytest.raises(FAILURES):
        connected("http://tilth.example.com:1").request("GET", "/")
    assert len(server.headers) == 1


def test_a_proxy_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(SetupError, match="cannot be used") as caught:
        Connections("https://tilth.example.com", {})
    assert "`socks5://`" in caught.value.why


@pytest.mark.registry
def test_a_certificate_is_held_against_known_authorities(registry_tls, connected, monkeypatch):
    with pytest.raises(ssl.SSLCertVerificationError):
        connected(registry_tls.url).request("GET", "/v2/")
    monkeypatch.setenv("SSL_CERT_FILE", str(registry_tls.ca))
    assert connected(registry_tls.url).request("GET", "/v2/").status_code == 200
