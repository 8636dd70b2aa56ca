"""Connections to one server, kept open between requests. Any thread may use them.

The standard library's own: a run tells a server little, and importing httpx would take longer than all of it.
"""

from __future__ import annotations

import http.client
import select
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tilth.errors import SetupError
from tilth.oci.connections import is_loopback, tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_CONNECT_S, _ANSWER_S = 10.0, 60.0
_PORTS = {"http": 80, "https": 443}
_PLAIN = "/?%&=:;,+!$'()*@~"  # what `quote` leaves as it is in an address that was put together before
# What goes wrong on the way to a server, and on the way back.
FAILURES = (OSError, http.client.HTTPException)


class Answer(NamedTuple):
    """What a server answered."""

    status_code: int
    headers: http.client.HTTPMessage
    content: bytes


class Connections:
    """As many connections to one server as requests are made at the same time.

    Args:
        headers: Of each request.
    Raises:
        SetupError: The address is none, or the proxy before it cannot be used.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(url)
            self._address = _address(parts)
        except ValueError as error:
            raise SetupError(f"`{url}` is no address of a server", why=str(error)) from None
        self.headers = dict(headers)
        self._idle: list[http.client.HTTPConnection] = []
        self._tls: ssl.SSLContext | None = None
        self._proxy = _proxy(parts)
        self._through: dict[str, str] = {}
        self._prefix = parts.path
        if self._proxy is not None:
            if self._proxy.username is not None:
                known = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
                self._through = {"Proxy-Authorization": f"Basic {b64encode(known.encode()).decode()}"}
            if not self._is_tls:  # a proxy is told the whole address
                self._prefix = f"{parts.scheme}://{parts.netloc}{parts.path}"
                self.headers |= self._through
                self._through = {}

    def request(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask, and wait for the answer. Raises one of `FAILURES` when there is none."""
        connection = self._take()
        try:
            connection.request(
                method,
                self._prefix + quote(path, safe=_PLAIN),
                content,
                {**self.headers, **(headers or {})},
            )
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close those that nobody waits for."""
        while self._idle:
            self._idle.pop().close()

    @property
    def _is_tls(self) -> bool:
        return self._address[0] == "https"

    def _take(self) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open()
            if not _is_over(connection):
                return connection
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        _, host, port = self._address
        to_host, to_port = host, port
        if self._proxy is not None:
            to_host, to_port = self._proxy.hostname or "", self._proxy.port or _PORTS["http"]
        connection: http.client.HTTPConnection
        if self._is_tls:
            if self._tls is None:
                self._tls = tls(host, ca=None, insecure=False)
            connection = http.client.HTTPSConnection(to_host, to_port, timeout=_CONNECT_S, context=self._tls)
            if self._proxy is not None:
                connection.set_tunnel(host, port, headers=self._through)
        else:
            connection = http.client.HTTPConnection(to_host, to_port, timeout=_CONNECT_S)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(_ANSWER_S)
        return connection


def _address(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port."""
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("it has no `http://` or `https://` and a host")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _proxy(parts: SplitResult) -> SplitResult | None:
    """The proxy that the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` choose for a server.

    Raises:
        SetupError: It is of a kind that cannot be used.
    """
    if is_loopback(parts.netloc):
        return None
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    found = known.get(parts.scheme) or known.get("all")
    if not found or proxy_bypass(parts.netloc):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise SetupError(
            f"the proxy for `{parts.scheme}://{parts.netloc}` cannot be used",
            why=f"its address begins with `{proxy.scheme}://`; proxies are asked in plain HTTP",
            mend="give an `http://` one in `HTTPS_PROXY`, or name the server in `NO_PROXY`",
        )
    return proxy


def _is_over(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed a connection while nothing was asked."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
