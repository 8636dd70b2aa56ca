"""What every endpoint asks of a request: who sent it, and the server it came to.

Asking the database belongs in a thread, and going to a thread costs more than most questions. So who asks is found
out in one go with what they may do, and, where no body is read in between, in the very thread of the endpoint.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from tilth.errors import AccessDenied, LoginNeeded
from tilth.records.access import Role
from tilth.server.access import DEFAULT_PROJECT, Access, Principal
from tilth.server.files import Files
from tilth.server.limits import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response

    from tilth.server.queue import Queue
    from tilth.store.sql import SqlStore

COOKIE = "tilth_session"
_SHORT = 1 << 16  # bytes
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def access_of(request: Request) -> Access:
    """The server's users, tokens and roles."""
    access: Access = request.app.state.access
    return access


def queue_of(request: Request) -> Queue:
    """The runs that were asked for."""
    queue: Queue = request.app.state.queue
    return queue


def principal(request: Request) -> Principal:
    """Who sent a request, by its `Authorization` header or its cookie.

    Raises:
        LoginNeeded: It has neither, or one that is good no more.
        AccessDenied: A page of another origin had a browser send it.
    """
    request.state.who = _principal(request)  # for the log
    return request.state.who  # type: ignore[no-any-return]


def _principal(request: Request) -> Principal:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    address = address_of(request)
    if scheme.lower() == "bearer":
        return access_of(request).principal(secret.strip(), address)
    if cookie := request.cookies.get(COOKIE):
        if request.method not in _SAFE and not is_own_page(request):
            raise AccessDenied(
                "a page of another origin may not do this", why="the request has no `Origin` of ours"
            )
        return access_of(request).principal(cookie, address)
    raise LoginNeeded("this server wants to know who you are", mend="log in with `tilth login URL`")


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


def address_of(request: Request) -> str:
    """The machine that a request comes from."""
    return request.client.host[:100] if request.client else ""


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


class Later:
    """What a dependency will give, once it is asked in a thread."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find


class OneThread(APIRoute):
    """A route whose endpoint and whose question who asks share one thread."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _finding(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError:
                # Whom the server does not let in is told that, and nothing of their mistakes.
                for each in getattr(request.state, "later", ()):
                    await run_in_threadpool(each.find)
                raise

        return handle


def _finding(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that first finds what its dependencies left for later."""
    if inspect.iscoroutinefunction(endpoint) or _finds(endpoint):
        return endpoint

    @functools.wraps(endpoint)
    def call(**given: Any) -> Any:
        return endpoint(
            **{name: each.find() if isinstance(each, Later) else each for name, each in given.items()}
        )

    call.finds = True  # type: ignore[attr-defined]
    return call


def _finds(endpoint: object) -> bool:
    return getattr(endpoint, "finds", False)


async def _find(request: Request, find: Callable[[], Any]) -> Any:
    """What `find` gives, or that it is left to the endpoint; before a body is read, who sends it must be known."""
    if request.method not in _SAFE or not _finds(request.scope.get("endpoint")):
        return await run_in_threadpool(find)
    later = Later(find)
    request.state.later = [*getattr(request.state, "later", ()), later]
    return later


async def _who(request: Request) -> Principal:
    found: Principal = await _find(request, lambda: principal(request))
    return found


async def _account(request: Request) -> Principal:
    found: Principal = await _find(request, lambda: account(request))
    return found


def member(needed: Role) -> Callable[..., Coroutine[Any, Any, ProjectRequest]]:
    """A dependency that lets in who has a role in the project of the address."""

    async def let_in(request: Request, project: str) -> ProjectRequest:
        def find() -> ProjectRequest:
            who, access = principal(request), access_of(request)
            access.check(who, project, needed)
            return ProjectRequest(who, project, access, store_of(request, project))

        found: ProjectRequest = await _find(request, find)
        return found

    return let_in


Who = Annotated[Principal, Depends(_who)]
Account = Annotated[Principal, Depends(_account)]
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
Anything = Any
