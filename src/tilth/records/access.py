"""What only a server remembers: who may do what, and who did. Not bound to one project's store."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, ClassVar

import msgspec

from tilth.records import Column, Indexed, Json, Moment, Record, Unique


class Role(str, Enum):
    """What a member of a project may do; each may do what those before it may."""

    VIEWER = "viewer"  # look at everything
    EDITOR = "editor"  # run, write, delete
    ADMIN = "admin"  # members, secrets, the project itself

    def covers(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class User(Record, frozen=True, kw_only=True):
    """A person, or a service account, which has API keys and no password."""

    kind: ClassVar[str] = "user"

    name: Annotated[str, Unique]
    service: bool = False
    admin: bool = False  # of the server: may do everything
    active: bool = True
    full_name: str = ""
    email: str = ""
    password: str = ""  # argon2id, in its own encoding; empty where none was set
    subject: Annotated[str | None, Unique] = None  # `ISSUER SUBJECT` of who logs in by OpenID Connect


class Purpose(str, Enum):
    """What a token is for."""

    SESSION = "session"  # a login in a browser or on a command line
    API_KEY = "api_key"  # of a service account or a CI job
    RUN = "run"  # of one run's driver, steps and supervisors
    RUNNER = "runner"  # of a runner: takes launches from the queue, and opens no project
    INVITE = "invite"  # a link that sets a password, once


class Token(Record, frozen=True, kw_only=True):
    """Something that stands for a user. The secret itself is kept nowhere."""

    kind: ClassVar[str] = "token"

    digest: Annotated[str, Unique]  # SHA-256 of the secret, which has 256 bits of its own
    user: Annotated[str, Indexed]  # id
    purpose: Purpose
    name: str = ""  # of an API key; of a session, the program or machine that logged in
    beginning: str = ""  # of the secret: enough to recognise it, too little to use it
    project: str = ""  # the only one that it opens; empty for all those of its user
    run: Annotated[str, Indexed] = ""  # id of the only run that it may change
    expires_at: Moment | None = None
    used_at: Moment | None = None  # to within a minute


class Space(Record, frozen=True, kw_only=True):
    """A project as the server knows it: whose records are kept apart from all others."""

    kind: ClassVar[str] = "space"

    name: Annotated[str, Unique]
    description: str = ""


class Member(Record, frozen=True, kw_only=True):
    """A user's role in a project."""

    kind: ClassVar[str] = "member"
    unique_together: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "user"),)

    project: Annotated[str, Indexed]  # name
    user: Annotated[str, Indexed]  # id
    role: Role


class DeviceLogin(Record, frozen=True, kw_only=True):
    """A login that a command line asks for, and a browser grants (RFC 8628)."""

    kind: ClassVar[str] = "device_login"

    digest: Annotated[str, Unique]  # SHA-256 of the device code
    user_code: Annotated[str, Unique]  # what a person compares and types
    client: str = ""  # the machine that asks
    expires_at: Moment
    user: str = ""  # id of who granted it
    denied: bool = False


class AuditEntry(Record, frozen=True, kw_only=True):
    """Who changed what. Written in the transaction of the change; changed and deleted by nothing."""

    kind: ClassVar[str] = "audit_entry"

    project: Annotated[str, Indexed] = ""
    user: Annotated[str, Indexed] = ""  # name; empty for nobody, as a failed login
    action: Annotated[str, Indexed]  # `token.create`, `stack.update`
    subject: Annotated[str, Column] = ""  # id or name of what it was done to
    address: str = ""  # where the request came from
    details: dict[str, Json] = msgspec.field(default_factory=dict)


ACCESS_KINDS: dict[str, type[Record]] = {
    each.kind: each for each in (User, Token, Space, Member, DeviceLogin, AuditEntry)
}
