"""Who asks, and what they may do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tilth.errors import AccessDenied, Conflict, LoginNeeded, NoProject, NotFound
from tilth.records import Record, now
from tilth.records.access import AuditEntry, Member, Purpose, Role, Space, Token, User
from tilth.server.passwords import digest_of, new_token
from tilth.store import Delete, Put, walk
from tilth.store.schema import sql_value
from tilth.store.sql import read_row

if TYPE_CHECKING:
    from datetime import datetime

    from tilth.records import Json
    from tilth.server.settings import ServerSettings
    from tilth.store import Change
    from tilth.store.database import Cursor
    from tilth.store.sql import SqlStore

# The records of a home folder, when its own database is served.
DEFAULT_PROJECT = "default"
DEVICE_LASTS = timedelta(minutes=10)  # until a machine that wants to log in must have been let in
_MINUTE = timedelta(minutes=1)
_MAKE_NONE = "you may not create projects on this server"
_OF_ACCOUNTS = (Purpose.SESSION, Purpose.API_KEY)
_SWEPT_EVERY_S = 3600.0
_FAILURES_KEPT = timedelta(days=90)
_ENDED_KEPT = timedelta(days=7)  # a runner that was cut off may come back and renew that of its run
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Principal:
    """Who a request comes from.

    Attributes:
        token: What it showed.
        address: The machine it came from.
    """

    user: User
    token: Token
    address: str

    @property
    def is_admin(self) -> bool:
        """Whether they may do everything on this server. No token of one project or run ever may."""
        return self.user.admin and not self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether they show a token of one project, run or runner, which never opens its user's account."""
        return bool(self.token.project or self.token.run) or self.token.purpose not in _OF_ACCOUNTS


class Access:
    """Decides over one server's users, tokens, projects and roles."""

    def __init__(self, store: SqlStore, settings: ServerSettings) -> None:
        self.store = store
        self.settings = settings
        self.data = settings.data
        self._sweeps_at = 0.0

    def principal(self, secret: str, address: str) -> Principal:
        """Who a token stands for.

        Raises:
            LoginNeeded: It is unknown, has ended, or its user may not log in any more.
        """
        return self.principal_in("", secret, address)[0]

    def principal_in(self, project: str, secret: str, address: str) -> tuple[Principal, Role | None]:
        """Who a token stands for, and what they are in a project: `principal` and `role` in one question.

        Raises:
            LoginNeeded: As `principal` does.
        """
        token, user, there, member = self._known(secret, project)
        if token is None:
            raise LoginNeeded("this server does not know who you are", mend="log in with `tilth login URL`")
        moment = now()
        if token.expires_at is not None and token.expires_at <= moment:
            raise LoginNeeded("this login has ended", mend="log in again with `tilth login URL`")
        if token.purpose is Purpose.INVITE:
            raise LoginNeeded("a link that sets a password opens nothing else")
        if user is None or not user.active:
            raise LoginNeeded("this user may not log in any more", mend="ask an admin of the server")
        if token.used_at is None or moment - token.used_at > _MINUTE:
            token = self._used(token, moment)
        who = Principal(user, token, address)
        return who, _role(who, project, member) if there else None

    def role(self, who: Principal, project: str) -> Role | None:
        """What somebody is in a project; None when it is not there, or not for them."""
        rows = self.store.database.select(
            'SELECT m.body, m.revision FROM "space" s LEFT JOIN "member" m '
            'ON m.space = s.space AND m.project = s.name AND m."user" = ? WHERE s.space = ? AND s.name = ?',
            (who.user.id, self.store.space, project),
        )
        return _role(who, project, rows[0][0] and read_row(Member, rows[0])) if rows else None

    def check(self, who: Principal, project: str, needed: Role) -> None:
        """Let pass who has a role in a project; raises as `require` does."""
        self.require(who, self.role(who, project), project, needed)

    def require(self, who: Principal, role: Role | None, project: str, needed: Role) -> None:
        """Let pass a role.

        Raises:
            NotFound: There is no such project for them: that another has one of this name is not told.
            AccessDenied: Their role is not enough.
        """
        if role is None:
            error = no_project(project)
            error.why = "" if self._may_make(who) else _MAKE_NONE
            raise error
        if not role.covers(needed):
            raise AccessDenied(
                f"you are {_article(role)} of project `{project}`",
                why=f"this takes {_article(needed)}",
                mend="ask an admin of the project",
            )

    def check_admin(self, who: Principal) -> None:
        """Let pass an admin of the server.

        Raises:
            AccessDenied: They are none.
        """
        if not who.is_admin:
            raise AccessDenied("only an admin of the server may do this", mend="ask one")

    def create_project(self, who: Principal, name: str, description: str = "") -> Space:
        """Make a project; who makes it becomes its admin.

        Raises:
            AccessDenied: They may not.
            Conflict: There is one of that name, theirs or not.
        """
        if not self._may_make(who):
            raise AccessDenied(_MAKE_NONE, mend="ask an admin of the server")
        space = Space(name=name, description=description)
        member = Member(project=name, user=who.user.id, role=Role.ADMIN)
        try:
            self.store.add(space, member, self.entry(who, "project.create", name, project=name))
        except Conflict as error:
            raise Conflict(
                f"there is a project `{name}` already",
                mend="choose another name, or ask its admins to add you",
            ) from error
        return space

    def issue(
        self,
        user: User,
        purpose: Purpose,
        *,
        name: str = "",
        lasts: timedelta | None = None,
        project: str = "",
        run: str = "",
        entry: AuditEntry | None = None,
    ) -> tuple[str, Token]:
        """Make a token, and the secret that is told once; `entry` of the audit log is written with it."""
        words = {Purpose.API_KEY: "key", Purpose.INVITE: "invite"}
        word = words.get(purpose, purpose.value)
        secret = new_token(word)
        token = Token(
            digest=digest_of(secret),
            user=user.id,
            purpose=purpose,
            name=name,
            beginning=secret[: len(f"tilth_{word}_") + 4],
            project=project,
            run=run,
            expires_at=now() + lasts if lasts else None,
        )
        self.store.write([Put(token), *([Put(entry)] if entry is not None else [])])
        return secret, token

    def revoke(self, *tokens: Token) -> None:
        """End tokens at once."""
        self.store.write([Delete(Token, each.id) for each in tokens])

    def change(
        self, who: Principal, action: str, subject: str, *changes: Change, project: str = "", **details: Json
    ) -> None:
        """Make changes and the entry of who made them, together."""
        self.store.write([*changes, Put(self.entry(who, action, subject, project=project, **details))])

    def replace(self, old: R, new: R, entry: AuditEntry, *beside: Change, store: SqlStore | None = None) -> R:
        """Keep a changed record, other changes, and the entry of who made them: all, or none.

        Args:
            store: Where the record is, when it is a project's own.
        Raises:
            Conflict, NotFound: `old` was changed or forgotten meanwhile.
        """

        def replace(cursor: Cursor) -> R:
            kept = (store or self.store).replace_within(cursor, old, new)
            for each in (*beside, Put(entry)):
                self.store.change_within(cursor, each)
            return kept

        return self.store.database.transact(replace)

    def forget_run(self, run: str, entry: AuditEntry, *, store: SqlStore) -> None:
        """Forget a run with its step runs and its lease, and keep the entry of who did; artifacts stay."""

        def forget(cursor: Cursor) -> None:
            for table, column in (("step_run", "run"), ("run_lease", "id"), ("run", "id")):
                sql = f'DELETE FROM "{table}" WHERE space = ? AND "{column}" = ?'  # noqa: S608
                cursor.execute(sql, (store.space, run))
            self.store.change_within(cursor, Put(entry))

        self.store.database.transact(forget)

    def sweep(self) -> None:
        """Forget, once an hour at most, what strangers can make more and more of and nobody needs any longer:
        logins of machines that nobody granted, tokens that have ended, and the entries of old failed logins."""
        if time.monotonic() < self._sweeps_at:
            return
        self._sweeps_at = time.monotonic() + _SWEPT_EVERY_S
        moment = now()

        def sweep(cursor: Cursor) -> None:
            cursor.execute(
                "DELETE FROM device_login WHERE space = ? AND created_at < ?",
                (self.store.space, sql_value(moment - DEVICE_LASTS)),
            )
            cursor.execute(
                "DELETE FROM audit_entry WHERE space = ? AND action = ? AND created_at < ?",
                (self.store.space, "login.fail", sql_value(moment - _FAILURES_KEPT)),
            )

        self.store.database.transact(sweep)
        old = moment - _ENDED_KEPT
        ended = [
            each for each in walk(self.store, Token) if each.expires_at is not None and each.expires_at < old
        ]
        for at in range(0, len(ended), 1000):
            self.revoke(*ended[at : at + 1000])

    @staticmethod
    def entry(
        who: Principal | None,
        action: str,
        subject: str = "",
        *,
        project: str = "",
        address: str = "",
        **details: Json,
    ) -> AuditEntry:
        """What the audit log says of an action."""
        return AuditEntry(
            project=project,
            user=who.user.name if who else "",
            action=action,
            subject=subject,
            address=who.address if who else address,
            details=details,
        )

    def _may_make(self, who: Principal) -> bool:
        """Whether somebody may make projects."""
        return not who.is_limited and (who.user.admin or self.settings.create_projects)

    def _known(self, secret: str, project: str) -> tuple[Token | None, User | None, bool, Member | None]:
        """A token by its secret, its user, whether there is a project, and that user's membership in it.

        Every request asks for these: four records in one question, for each way to the database takes as long again.
        """
        if not secret:
            return None, None, False, None
        rows = self.store.database.select(
            "SELECT t.body, t.revision, u.body, u.revision, s.id, m.body, m.revision "
            'FROM "token" t LEFT JOIN "user" u ON u.space = t.space AND u.id = t."user" '
            'LEFT JOIN "space" s ON s.space = t.space AND s.name = ? '
            'LEFT JOIN "member" m ON m.space = t.space AND m.project = s.name AND m."user" = t."user" '
            "WHERE t.space = ? AND t.digest = ?",
            (project, self.store.space, digest_of(secret)),
        )
        if not rows:
            return None, None, False, None
        token, token_revision, user, user_revision, there, member, member_revision = rows[0]
        return (
            read_row(Token, (token, token_revision)),
            user and read_row(User, (user, user_revision)),
            there is not None,
            member and read_row(Member, (member, member_revision)),
        )

    def _used(self, token: Token, moment: datetime) -> Token:
        changes: dict[str, object] = {"used_at": moment}
        if token.purpose is Purpose.SESSION:
            changes["expires_at"] = moment + timedelta(days=self.settings.session_days)
        try:
            return self.store.replace(token, msgspec.structs.replace(token, **changes))
        except (Conflict, NotFound):
            return token  # another request was quicker; that it was revoked, the next finds


def _role(who: Principal, project: str, member: Member | None) -> Role | None:
    """What somebody is in a project that is there."""
    if who.token.purpose is Purpose.RUNNER or who.token.project not in ("", project):
        return None
    role = Role.ADMIN if who.user.admin else member.role if member else None
    if who.token.run:  # what it may change is held against its run
        return Role.EDITOR if role is not None and role.covers(Role.EDITOR) else None
    return role


def no_project(name: str) -> NoProject:
    """What is told of a project that is not there, or not for who asks."""
    return NoProject(f"no project `{name}`", mend="see those you are a member of with `tilth project list`")


def _article(role: Role) -> str:
    return f"an {role.value}" if role is not Role.VIEWER else "a viewer"
