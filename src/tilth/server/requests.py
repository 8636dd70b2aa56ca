"""What every endpoint asks of a request: who sent it, and the server it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from tilth.errors import AccessDenied, LoginNeeded
from tilth.records.access import Role
from tilth.server.access import Access, Principal
from tilth.server.files import Files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.server.queue import Queue
    from tilth.store.sql import SqlStore

COOKIE = "tilth_session"
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
    address = request.client.host if request.client else ""
    if scheme.lower() == "bearer":
        return access_of(request).principal(secret.strip(), address)
    if cookie := request.cookies.get(COOKIE):
        if request.method not in _SAFE and not _is_own_page(request):
            raise AccessDenied(
                "a page of another origin may not do this", why="the request has no `Origin` of ours"
            )
        return access_of(request).principal(cookie, address)
    raise LoginNeeded("this server wants to know who you are", mend="log in with `tilth login URL`")


def _is_own_page(request: Request) -> bool:
    origin = request.headers.get("origin") or request.headers.get("referer", "")
    allowed = {request.headers.get("host", "")}
    settings = access_of(request).settings
    allowed |= {
        urlsplit(each.strip()).netloc for each in (settings.public_url, *settings.allowed_origins.split(","))
    }
    return urlsplit(origin).netloc in allowed - {""}


def store_of(request: Request, project: str) -> SqlStore:
    """The records of a project; who asks has been let in."""
    access = access_of(request)
    from tilth.server.access import DEFAULT_PROJECT

    return access.store.within("" if project == DEFAULT_PROJECT else project)


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

    def let_in(
        request: Request, project: str, who: Annotated[Principal, Depends(principal)]
    ) -> ProjectRequest:
        access = access_of(request)
        access.check(who, project, needed)
        return ProjectRequest(who, project, access, store_of(request, project))

    return let_in


Who = Annotated[Principal, Depends(principal)]
Viewer = Annotated[ProjectRequest, Depends(member(Role.VIEWER))]
Editor = Annotated[ProjectRequest, Depends(member(Role.EDITOR))]
ProjectAdmin = Annotated[ProjectRequest, Depends(member(Role.ADMIN))]


async def body_of(request: Request) -> bytes:
    """The whole body; how large it may be is held before."""
    return await request.body()


Body = Annotated[bytes, Depends(body_of)]
Anything = Any
