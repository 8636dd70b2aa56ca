"""Records on a server: the store's interface, over HTTP."""

from __future__ import annotations

import contextlib
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from tilth.errors import (
    AccessDenied,
    Conflict,
    LoginNeeded,
    NoProject,
    NotFound,
    ServerUnavailable,
    SetupError,
    TilthError,
)
from tilth.records import Record, Run, State, StepRun
from tilth.store import encoding, schema, wire
from tilth.store.connections import FAILURES, Connections
from tilth.store.patience import PATIENCE
from tilth.store.protocol import Page, Put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from tilth.store.connections import Answer
    from tilth.store.protocol import Change, Store, Where

R = TypeVar("R", bound=Record)
T = TypeVar("T")
_BRIEFLY = frozenset({429, 502, 503, 504})  # what a server, or a proxy before it, says for a while
_LONGEST_WAIT_S = 10.0


_decoders: dict[type[Record], msgspec.json.Decoder[Any]] = {}


class Api:
    """Requests to one server, with a login. Any thread may make them.

    Args:
        patience_s: How long a server that does not answer is asked again, in seconds.
    """

    def __init__(self, url: str, token: str, *, patience_s: float = 30.0) -> None:
        from tilth import __version__

        self.url = url
        self.patience_s = patience_s
        headers = {"User-Agent": f"tilth/{__version__}", wire.HEADER: str(wire.PROTOCOL)}
        if token:
            if not token.isascii() or not token.isprintable():
                raise SetupError(
                    f"the login at `{url}` has characters that no key has",
                    mend="give the key again, as it was shown: `TILTH_API_KEY`, or `tilth login URL --api-key`",
                )
            headers["Authorization"] = f"Bearer {token}"
        self.connections = Connections(f"{url}/api/v1", headers)

    def request(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = None,
    ) -> bytes:
        """The content of the answer; see `send`."""
        return self.send(method, path, content, headers=headers, patience_s=patience_s).content

    def items(self, path: str) -> list[dict[str, Any]]:
        """Everything in a list, from all its pages."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            mark = "&" if "?" in path else "?"
            page = msgspec.json.decode(
                self.request("GET", f"{path}{mark}after={quote(after, safe='')}" if after else path)
            )
            found += page["items"]
            after = page["next"]
        return found

    def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = None,
        expected: tuple[int, ...] = (),
    ) -> Answer:
        """Ask until there is an answer, and give it. A request that may have come before says so, and is done once.

        Args:
            expected: Statuses of answers that are no failures here.
        Raises:
            ServerUnavailable: There was none for as long as the patience lasts.
            TilthError: What the server says cannot be done.
        """
        began = time.monotonic()
        until = began + (PATIENCE.at_least(self.patience_s) if patience_s is None else patience_s)
        wait_s, again = 0.1, False
        told = {"Content-Type": "application/json", **(headers or {})}
        while True:
            try:
                response = PATIENCE.ask(began, partial(self.connections.request, method, path, content, told))
            except FAILURES as error:
                failure: TilthError = self._unreachable(str(error) or type(error).__name__)
            else:
                self._check(response)
                if response.status_code < 400 or response.status_code in expected:
                    return response
                failure = self._failure(response)
                if response.status_code not in _BRIEFLY or (response.status_code == 429 and path == "/login"):
                    raise failure
            if time.monotonic() + wait_s > until:
                raise failure
            PATIENCE.pause(began, wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come at once
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if not again:
                again, told = True, {**told, "Tilth-Again": "1"}

    def close(self) -> None:
        """Close its connections."""
        self.connections.close()

    def _check(self, response: Answer) -> None:
        """Raises ServerUnavailable for what is no tilth server, or one of another age."""
        from tilth import __version__

        protocol = response.headers.get(wire.HEADER, "")
        if not protocol.isdecimal():
            if response.status_code in _BRIEFLY:
                return  # a proxy, whose server is away
            raise ServerUnavailable(
                f"what answers at `{self.url}` is no tilth server",
                why=f"it answered {response.status_code} without saying its protocol",
                mend="correct the address: `tilth login URL`",
            )
        if int(protocol) < wire.OLDEST:
            theirs = response.headers.get(wire.VERSION_HEADER, "an older one")
            raise ServerUnavailable(
                f"the server at `{self.url}` is too old for this tilth: {theirs}",
                why=f"it speaks protocol {protocol}; tilth {__version__} speaks {wire.OLDEST} to {wire.PROTOCOL}",
                mend=f"install `tilth=={theirs}` here, or a newer tilth there",
            )

    def _failure(self, response: Answer) -> TilthError:
        try:
            told = msgspec.json.decode(response.content, type=dict[str, dict[str, str]])["error"]
            error = TilthError.from_json(told)
        except (msgspec.DecodeError, KeyError):
            return self._unreachable(f"it answered {response.status_code}")
        if isinstance(error, LoginNeeded) and "`tilth login URL`" in error.mend:
            # The server does not know what it is called here.
            error.mend = error.mend.replace(
                "`tilth login URL`", f"`tilth login {self.url}`, or set `TILTH_API_KEY`"
            )
        return error

    def _unreachable(self, why: str) -> ServerUnavailable:
        mend = (
            "see whether it runs, and whether this machine reaches it: `tilth status`; "
            "to work without it, `tilth logout`"
        )
        if "WRONG_VERSION_NUMBER" in why or "RECORD_LAYER_FAILURE" in why:  # names of OpenSSL
            plain = self.url.replace("https://", "http://", 1)
            why, mend = "what answers there speaks HTTP without encryption", f"give `{plain}`"
        elif "CERTIFICATE_VERIFY_FAILED" in why:
            mend = "name the certificate of its authority in the variable `SSL_CERT_FILE`"
        return ServerUnavailable(f"the server at `{self.url}` does not answer", why=why, mend=mend)


class HttpStore:
    """A `Store` on a server: the records of one project, which is made by the first that is written to it."""

    def __init__(self, url: str, token: str, project: str, *, patience_s: float = 30.0) -> None:
        self.api = Api(url, token, patience_s=patience_s)
        self.project = project
        self._path = f"/projects/{quote(project, safe='')}"

    def add(self, *records: R) -> tuple[R, ...]:
        if not records:
            return ()
        # One request for each kind would not be all or none; nobody adds several kinds at once.
        kind = type(records[0])
        assert all(type(each) is kind for each in records), "records of one kind are added at once"
        body = b'{"items":[' + b",".join(map(encoding.encode, records)) + b"]}"
        return self._records(kind, self._request("POST", f"/{_plural(kind)}", body))

    def get(self, kind: type[R], id: str) -> R:  # noqa: A002
        told = self.look("GET", f"/{_plural(kind)}/{quote(id, safe='')}")
        if told is None:
            raise NotFound(
                f"no {kind.kind.replace('_', ' ')} has the id `{id}`",
                why=f"no project `{self.project}` of yours is on `{self.api.url}`",
            )
        return _decode(kind, told)

    def find(
        self,
        kind: type[R],
        *,
        order: str = "-created_at",
        limit: int = 100,
        after: str | None = None,
        id_prefix: str = "",
        **where: Where,
    ) -> Page[R]:
        asked = {
            "where": {name: _values(wanted) for name, wanted in where.items()},
            "order": order,
            "limit": limit,
            "after": after,
            "id_prefix": id_prefix,
        }
        told = self.look("POST", f"/{_plural(kind)}/query", encoding.encode(asked))
        if told is None:
            from tilth.store.sql import check_find  # here for cost

            check_find(kind, order=order, limit=limit, after=after, id_prefix=id_prefix, where=where)
            return Page((), None)
        answer = encoding.decode_parts(told)
        return Page(tuple(_decode(kind, bytes(each)) for each in answer.items), answer.next)

    def replace(self, old: R, new: R) -> R:
        assert old.id == new.id, "a record is replaced by one of the same id"
        answer = self._request(
            "PUT",
            f"/{_plural(type(new))}/{quote(new.id, safe='')}",
            encoding.encode(new),
            headers={"Tilth-Revision": str(old.revision)},
        )
        return _decode(type(new), answer)

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> tuple[Record, ...]:
        told = [
            b'{"kind":"%b","put":%b}' % (type(each.record).kind.encode(), encoding.encode(each.record))
            if isinstance(each, Put)
            else encoding.encode({"kind": each.kind.kind, "delete": each.id})
            for each in changes
        ]
        body = b'{"changes":[%b],"holding":%b}' % (b",".join(told), encoding.encode(holding))
        answer = encoding.decode_parts(self._request("POST", "/changes", body))
        kinds = [type(each.record) for each in changes if isinstance(each, Put)]
        return tuple(_decode(kind, bytes(each)) for kind, each in zip(kinds, answer.items, strict=True))

    def start_run(self, run: Run) -> Run:
        return _decode(Run, self._request("POST", "/runs/start", encoding.encode(run)))

    def cached_step_run(self, cache_key: str) -> StepRun | None:
        if not cache_key:
            return None  # steps that are not cached share it
        good = [state.value for state in State if state.is_good]
        found = self.find(StepRun, limit=1, cache_key=cache_key, state=good)
        return found.items[0] if found.items else None

    def look(self, method: str, path: str, body: bytes | None = None) -> bytes | None:
        """What the server answers; None where it has no such project so far: looking makes none.

        Raises:
            NoProject: Nor may who asks make it.
        """
        try:
            return self.api.request(method, self._path + path, body)
        except NoProject as error:
            if error.why:
                raise _not_to_be_made(self.api, self.project, error.why) from error
            return None

    def close(self) -> None:
        """Close its connections."""
        self.api.close()

    def __enter__(self) -> HttpStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _records(self, kind: type[R], answer: bytes) -> tuple[R, ...]:
        return tuple(_decode(kind, bytes(each)) for each in encoding.decode_parts(answer).items)

    def _request(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Ask for a change."""
        return in_project(
            self.api,
            self.project,
            lambda: self.api.request(method, self._path + path, body, headers=headers),
        )


def in_project(api: Api, project: str, change: Callable[[], T]) -> T:
    """Make a change in a project, and the project where it is missing.

    Raises:
        NoProject: There is none that is theirs, and they may make none of this name.
    """
    try:
        return change()
    except NoProject:
        _make_project(api, project)
    try:
        return change()
    except NoProject as error:
        raise NoProject(
            f"project `{project}` on `{api.url}` is not yours",
            why="there is one of this name that you are no member of",
            mend="ask its admins to add you, or name another: `project` of `[tool.tilth]`, or `TILTH_PROJECT`",
        ) from error


def _make_project(api: Api, project: str) -> None:
    """Make a project where its name is free; who may use it, the next request tells."""
    try:
        with contextlib.suppress(Conflict):  # somebody else's, or one that was made just now
            api.request("POST", "/projects", encoding.encode({"name": project}))
    except AccessDenied as error:
        raise _not_to_be_made(api, project, error.summary) from error


def _not_to_be_made(api: Api, project: str, why: str) -> NoProject:
    return NoProject(
        f"no project `{project}` of yours is on `{api.url}`",
        why=f"nor may it be made: {why}",
        mend="name another: `project` of `[tool.tilth]`, or `TILTH_PROJECT`; `tilth project list` shows yours",
    )


if TYPE_CHECKING:
    _keeps_the_promises: type[Store] = HttpStore


def _plural(kind: type[Record]) -> str:
    return f"{kind.kind.replace('_', '-')}s"


def _values(wanted: Where) -> Any:
    if wanted is None or isinstance(wanted, str | int):
        return schema.sql_value(wanted)
    return [schema.sql_value(each) for each in wanted]


def _decode(kind: type[R], body: bytes) -> R:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        record: R = encoding.decode(body, decoder, kind)
    except ValueError as error:
        raise SetupError(
            f"a {kind.kind.replace('_', ' ')} on the server cannot be read",
            why=str(error),
            mend="install the tilth that wrote it, or a newer one",
        ) from error
    return record
