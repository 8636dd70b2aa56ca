"""What every endpoint asks of a request: who sent it, and the server it came to.

Asking the database belongs in a thread, and going to a thread costs more than most questions. So who asks is found
out in one question with what they may do, and, unless a long body is read in between, in the thread of the endpoint.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_type_hints
from urllib.parse import urlsplit

from fastapi import Depends, Request, params
from fastapi.routing import APIRoute

from tilth.errors import AccessDenied, LoginNeeded
from tilth.records.access import Role
from tilth.server.access import DEFAULT_PROJECT, Access, Principal
from tilth.server.files import Files
from tilth.server.limits import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from fastapi import Response
    from starlette.types import Receive, Scope, Send

    from tilth.server.build_orders import BuildOrders
    from tilth.server.queue import Queue
    from tilth.store.sql import SqlStore

_Reader: TypeAlias = "Callable[[Request, bytes], Any]"
COOKIE = "tilth_session"
_SHORT = 1 << 16  # bytes that uvicorn takes in before anybody has asked for a body
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def access_of(request: Request) -> Access:
    """The server's users, tokens and roles."""
    access: Access = request.app.state.access
    return access


def queue_of(request: Request) -> Queue:
    """The runs that were asked for."""
    queue: Queue = request.app.state.queue
    return queue


def builds_of(request: Request) -> BuildOrders:
    """The images that are to be built on runners."""
    builds: BuildOrders = request.app.state.builds
    return builds


def principal(request: Request) -> Principal:
    """Who sent a request, by its `Authorization` header or its cookie.

    Raises:
        LoginNeeded: It has neither, or one that is good no more.
        AccessDenied: A page of another origin had a browser send it.
    """
    request.state.who = access_of(request).principal(_secret(request), address_of(request))  # for the log
    return request.state.who  # type: ignore[no-any-return]


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    if cookie := request.cookies.get(COOKIE):
        if request.method not in _SAFE and not is_own_page(request):
            raise AccessDenied(
                "a page of another origin may not do this", why="the request has no `Origin` of ours"
            )
        return cookie
    raise LoginNeeded("this server wants to know who you are", mend="log in with `tilth login URL`")


def address_of(request: Request) -> str:
    """The machine that a request comes from."""
    return request.client.host[:100] if request.client else ""


def is_own_page(request: Request) -> bool:
    """Whether a page of this server had a browser send a request, by what browsers say with each change."""
    try:
        origin = urlsplit(request.headers.get("origin") or request.headers.get("referer", ""))
    except ValueError:
        return False
    allowed = {request.headers.get("host", "")}
    settings = access_of(request).settings
    allowed |= {
        urlsplit(each.strip()).netloc for each in (settings.public_url, *settings.allowed_origins.split(","))
    }
    # A page that came without encryption, anybody on the way may have written.
    weaker = is_secure(request) and origin.scheme != "https"
    return origin.netloc in allowed - {""} and not weaker


def account(request: Request) -> Principal:
    """Who sent a request that acts on their account: their logins, keys and profile, or on the server.

    Raises:
        LoginNeeded, AccessDenied: As `principal`; or they show a token of one project, run or runner.
    """
    who = principal(request)
    if who.is_limited:
        raise AccessDenied(
            "this token opens no account",
            why="it is of one project, run or runner, and may not do what its user may",
            mend="log in, or use an API key without a project",
        )
    return who


def is_secure(request: Request) -> bool:
    """Whether browsers reach this server over HTTPS, be it by a proxy in front."""
    return access_of(request).settings.secure or request.url.scheme == "https"


def store_of(request: Request, project: str) -> SqlStore:
    """The records of a project; who asks has been let in."""
    return access_of(request).store.within("" if project == DEFAULT_PROJECT else project)


class ProjectRequest:
    """A request that was let into a project."""

    def __init__(self, who: Principal, project: str, access: Access, store: SqlStore) -> None:
        self.who = who
        self.project = project
        self.access = access
        self.store = store
        self.files = Files(access.data, project)


def member(needed: Role) -> Callable[..., ProjectRequest]:
    """A dependency that lets in who has a role in the project of the address."""

    def let_in(request: Request, project: str) -> ProjectRequest:
        access = access_of(request)
        who, role = access.principal_in(project, _secret(request), address_of(request))
        request.state.who = who
        access.require(who, role, project, needed)
        return ProjectRequest(who, project, access, store_of(request, project))

    return let_in


Who = Annotated[Principal, Depends(principal)]
Account = Annotated[Principal, Depends(account)]
Viewer = Annotated[ProjectRequest, Depends(member(Role.VIEWER))]
Editor = Annotated[ProjectRequest, Depends(member(Role.EDITOR))]
ProjectAdmin = Annotated[ProjectRequest, Depends(member(Role.ADMIN))]


async def body_of(request: Request) -> bytes:
    """The whole body; how large it may be is held before."""
    return await request.body()


async def short_body_of(request: Request) -> bytes:
    """The body of a request that anybody may send; nobody has been asked who they are.

    Raises:
        TooLarge: It has more than a name, a password or a code takes.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _SHORT:
            raise TooLarge("the request is too large", why=f"this server takes {_SHORT:,} bytes of it here")
    return content


Body = Annotated[bytes, Depends(body_of)]
ShortBody = Annotated[bytes, Depends(short_body_of)]


class OneThread(APIRoute):
    """A route whose endpoint and dependencies are called in one thread, without FastAPI's going through them.

    Endpoints with parameters in the query or a header are called as FastAPI does, and so are those with a long body:
    who sends that is known before it is read.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._call = _caller(endpoint, self.param_convertors)
        self._takes_body = any(
            body_of in map(_dependency, get_args(hint)) for hint in _hints(endpoint).values()
        )

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, call = Request(scope, receive), self._call
        if (
            call is None
            or scope["method"] not in (self.methods or ())
            or (self._takes_body and not _is_short(request))
        ):
            await super().handle(scope, receive, send)
            return
        body = await request.body() if self._takes_body else b""
        answer: Response = await asyncio.to_thread(call, request, body)
        await answer(scope, receive, send)


def _caller(function: Callable[..., Any], path: Container[str]) -> _Reader | None:
    """A function with parameters as FastAPI fills them, as one of a request and its body; None where it has to."""
    if inspect.iscoroutinefunction(function):
        return None
    hints = _hints(function)
    readers: dict[str, _Reader] = {}
    for name in inspect.signature(function).parameters:
        reader = _reader(name, hints[name], path)
        if reader is None:
            return None
        readers[name] = reader
    return lambda request, body: function(**{name: find(request, body) for name, find in readers.items()})


def _reader(name: str, hint: Any, path: Container[str]) -> _Reader | None:
    """What gives a parameter."""
    if hint is Request:
        return lambda request, _: request
    if hint is str and name in path:
        return lambda request, _: request.path_params[name]
    for dependency in filter(None, map(_dependency, get_args(hint))):
        return (lambda _, body: body) if dependency is body_of else _caller(dependency, path)
    return None


def _dependency(mark: object) -> Callable[..., Any] | None:
    return mark.dependency if isinstance(mark, params.Depends) else None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, include_extras=True)


def _is_short(request: Request) -> bool:
    """Whether the body of a request is one that the server has received with it, more or less."""
    length = request.headers.get("content-length", "")
    return length.isdigit() and int(length) <= _SHORT
