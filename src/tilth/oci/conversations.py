"""Requests to one registry: logged in, counted, tried again as it asks; what fails is a `TilthError`."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict
from urllib.parse import urljoin, urlsplit

from tilth.errors import ImageBroken, RegistryRefused
from tilth.oci.connections import (
    authorities,
    endpoint,
    is_loopback,
    load_httpx,
    open_client,
    tls,
)
from tilth.oci.failures import SessionLost, TooLarge, failure, interrupted, sent_nowhere
from tilth.oci.patience import Passing, Patience, Tries
from tilth.oci.tokens import Authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from typing import Unpack

    import httpx

    from tilth.oci.access import Access
    from tilth.oci.credentials import Credentials
    from tilth.oci.tokens import Scopes

_LARGEST_DOCUMENT = 8 << 20  # bytes of a manifest or list; registries refuse manifests above 4 MiB
_SESSION_LOST = (404, 416)


class Answer(NamedTuple):
    """What a registry answered, read whole."""

    status: int
    headers: Mapping[str, str]  # names in any case
    content: bytes
    url: str  # that it came from, redirects followed


class Asking(TypedDict, total=False):
    """What belongs to a request beside its method and address."""

    asked: Required[str]  # what it asks for, in words, for errors
    scopes: Required[Scopes]
    expected: Required[Collection[int]]  # status of the answers that are none of a failure
    headers: Mapping[str, str]
    content: Callable[[], Iterator[bytes]]  # gives the body from its start, each time it is called
    length: int  # bytes of the body
    session: bool  # whether it belongs to an upload that has begun


class Sent:
    """What one registry was asked, and given, since it was opened."""

    def __init__(self) -> None:
        self.bytes = 0  # of blobs and manifests, also those that were sent again
        self.received = 0  # of blobs and manifests
        self.by_method: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """All of them, with those for tokens left out."""
        return sum(self.by_method.values())

    def count(self, *, method: str = "", sent: int = 0, received: int = 0) -> None:
        """Add to what was counted."""
        with self._lock:
            if method:
                self.by_method[method] += 1
            self.bytes += sent
            self.received += received


class Conversation:
    """See `Registry`, which takes the same options."""

    def __init__(
        self,
        host: str,
        *,
        credentials: Credentials | None,
        ca: Path | None,
        plain_http: bool | None,
        insecure: bool,
        patience: Patience,
        login_hint: str,
    ) -> None:
        self.host = host
        self.patience = patience
        self.sent = Sent()
        self.login_hint = login_hint or f"`docker login {host}`"
        self._credentials = credentials
        self._ca = ca
        self._insecure = insecure
        # Docker's rule: nothing goes in the open but to this machine itself.
        self._plain = plain_http if plain_http is not None else is_loopback(host) and ca is None
        self._guessed = plain_http is None and self._plain
        self._found_tls = False
        self._finding_out = threading.Lock()
        self._opened: tuple[httpx.Client, Authorization] | None = None
        self._lock = threading.Lock()

    def access(self) -> Access:
        """What lets another process in as this one is."""
        from tilth.oci.access import Access

        return Access(
            host=self.host,
            login=self._credentials.login(self.host) if self._credentials is not None else None,
            authorities=authorities(self.host, ca=self._ca),
            plain_http=None if self._guessed else self._plain,
            insecure=self._insecure,
            login_hint=self.login_hint,
        )

    def close(self) -> None:
        """End its connections."""
        with self._lock:
            if self._opened is not None:
                self._opened[0].close()
                self._opened = None

    def url(self, path: str) -> str:
        """Of a path below `/v2/`."""
        return f"{'http' if self._plain else 'https'}://{endpoint(self.host)}/v2/{path}"

    def follow(self, asked: str, location: str) -> str:
        """The address that a header `Location` means.

        A registry behind a proxy may take itself for one without TLS: its own name keeps the scheme it was reached by.
        """
        try:
            target = urljoin(asked, location)
            here, there = urlsplit(asked), urlsplit(target)
            same_port = there.port in (None, here.port)
        except ValueError as error:
            raise sent_nowhere(self.host, str(error)) from None
        if there.hostname == here.hostname and there.scheme != here.scheme and same_port:
            return there._replace(scheme=here.scheme, netloc=here.netloc).geturl()
        return target

    def ask(self, method: str, url: str, *, body: bytes | None = None, **asking: Unpack[Asking]) -> Answer:
        """One request, tried again while it may help; its answer is read whole."""
        tries = Tries(self.patience)
        if body is not None:
            asking |= {"content": lambda: iter((body,)), "length": len(body)}
        while True:
            try:
                return self.once(method, url, **asking)
            except Passing as passing:
                tries.wait(passing)

    def once(self, method: str, url: str, **asking: Unpack[Asking]) -> Answer:
        """One request, not tried again but for a login; its answer is read whole.

        Raises:
            Passing: It may help to try again.
            TooLarge: The body was refused for its size.
            SessionLost: The registry does not know the upload any more.
        """
        with self.stream(method, url, **asking) as response:
            body = _read(response, asking["asked"], self.host)
            if method == "GET":
                self.sent.count(received=len(body))
            return Answer(response.status_code, response.headers, body, str(response.request.url))

    @contextmanager
    def stream(self, method: str, url: str, **asking: Unpack[Asking]) -> Iterator[httpx.Response]:
        """As `once`; the answer is not read yet."""
        httpx = load_httpx()
        asked = asking["asked"]
        response = None
        try:
            response = self._send(method, url, asking)
            if response.status_code not in asking["expected"]:
                self._raise(response, asking)
            yield response
        except httpx.TransportError as error:
            spoken_to = _spoken_to(error, self.host)
            raised = interrupted(error, host=self.host, asked=asked, spoken_to=spoken_to)
            if "certificate" in raised.summary or "TLS" in raised.summary:
                raise raised from error  # no try will do better
            raise Passing(raised) from error
        except httpx.InvalidURL as error:  # of its tokens, or one that it sends on to
            raise sent_nowhere(self.host, str(error)) from None
        except httpx.TooManyRedirects as error:
            raise RegistryRefused(
                f"registry `{self.host}` sends in circles for {asked}", why=str(error)
            ) from error
        finally:
            if response is not None:
                response.close()

    def _send(self, method: str, url: str, asking: Asking) -> httpx.Response:
        scopes, length, content = asking["scopes"], asking.get("length"), asking.get("content")
        client, authorization = self._open()
        ours = urlsplit(url).netloc == endpoint(self.host)  # a login goes to the registry alone
        for last in (False, True):
            wanted = dict(asking.get("headers") or {})
            if length is not None:
                wanted["Content-Length"] = str(length)
            login = authorization.header(scopes) if ours else ""
            if login:
                wanted["Authorization"] = login
            body = content() if content else None
            request = client.build_request(method, url, headers=wanted, content=body)
            self.sent.count(method=method)
            reading = method in ("GET", "HEAD")
            response = client.send(request, stream=True, follow_redirects=reading)
            unsure = self._guessed or (self._found_tls and url.startswith("http://"))
            if unsure and (url_now := self._speak_tls(response, url)):
                response.close()
                return self._send(method, url_now, asking)
            if last or response.status_code != 401 or not ours:
                return response
            if not authorization.learn(response.headers.get("www-authenticate", ""), scopes, login):
                return response
            response.close()
        raise AssertionError("the second try returns")

    def _open(self) -> tuple[httpx.Client, Authorization]:
        with self._lock:
            if self._opened is None:
                bare = self._plain and is_loopback(self.host)
                context = None if bare else tls(self.host, ca=self._ca, insecure=self._insecure)
                client = open_client(self.host, context, self.patience)
                weakref.finalize(self, client.close)  # for whoever just forgets it
                self._opened = (
                    client,
                    Authorization(
                        self.host, self._credentials, self.login_hint, lambda: client, plain=self._plain
                    ),
                )
            return self._opened

    def _speak_tls(self, response: httpx.Response, url: str) -> str:
        """A registry on this machine is taken for one without TLS until it says otherwise, which gives its address."""
        if response.status_code != 400:
            self._guessed = False
            return ""
        with self._finding_out:
            if not self._found_tls:
                told = self._open()[0].get(self.url("")).content  # an answer to HEAD has no words
                self._guessed = False
                if b"HTTPS" not in told:
                    return ""
                with self._lock:  # not closed: other threads may be waiting for it, and find out too
                    self._opened = None
                    self._plain = False
                    self._found_tls = True
        return url.replace("http://", "https://", 1)

    def _raise(self, response: httpx.Response, asking: Asking) -> None:
        status, asked = response.status_code, asking["asked"]
        body = _read(response, asked, self.host)
        raised = failure(status, response.headers, body, host=self.host, asked=asked, login=self.login_hint)
        if status == 401 and isinstance(raised, RegistryRefused):
            raised.why = f"{self._open()[1].why()}\n{raised.why}"
        if asking.get("session") and status in _SESSION_LOST:
            raise SessionLost
        if asking.get("content") and status == 413 and not isinstance(raised, Passing):
            raise TooLarge(raised)
        raise raised


def _read(response: httpx.Response, asked: str, host: str) -> bytes:
    content = bytearray()
    for piece in response.iter_raw():
        content += piece
        if len(content) > _LARGEST_DOCUMENT:
            raise ImageBroken(
                f"registry `{host}` gives too much for {asked}",
                why=f"it is no document of less than {_LARGEST_DOCUMENT >> 20} MiB",
            )
    return bytes(content)


def _spoken_to(error: Any, host: str) -> str:
    """The host that a connection failed with, never more of the address: it may be signed."""
    try:
        found = str(error.request.url.netloc.decode())
    except RuntimeError:  # httpx's, for an error without a request
        return host
    return host if found == endpoint(host) else found
