"""Projects, users and keys of the server that records are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from tilth.errors import SetupError
from tilth.store.http import Api
from tilth.store.logins import active_server

if TYPE_CHECKING:
    from types import TracebackType

    from tilth.home import Home


class Administration:
    """Asks the server of a home folder, as whoever is logged in there; to be used in a `with` statement.

    Raises:
        SetupError: Records are on this machine.
    """

    def __init__(self, home: Home) -> None:
        server = active_server(home)
        if server is None:
            raise SetupError(
                "records are kept on this machine, which knows no users and no projects of a server",
                mend="log in at a server: `tilth login URL`; `tilth server start` starts one",
            )
        self.url = server.url
        self._api = Api(server.url, server.token)

    def __enter__(self) -> Administration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()

    def projects(self) -> list[dict[str, Any]]:
        """Those that who asks is a member of."""
        return self._api.items("/projects")

    def create_project(self, name: str, description: str) -> None:
        """Make a project."""
        self._send("POST", "/projects", {"name": name, "description": description})

    def members(self, project: str) -> list[dict[str, Any]]:
        """Who is in a project."""
        found = self._api.items(f"/projects/{_quoted(project)}/members")
        return sorted(found, key=lambda each: str(each["user"]))

    def put_member(self, project: str, user: str, role: str) -> None:
        """Give somebody a role in a project."""
        self._send("PUT", f"/projects/{_quoted(project)}/members/{_quoted(user)}", {"role": role})

    def delete_member(self, project: str, user: str) -> None:
        """Take somebody out of a project."""
        self._send("DELETE", f"/projects/{_quoted(project)}/members/{_quoted(user)}")

    def users(self) -> list[dict[str, Any]]:
        """Every user; who is no admin of the server sees themselves."""
        return self._api.items("/users")

    def create_user(self, **told: Any) -> str:
        """Make a user; gives the address of a page where they set a password, empty for a service account."""
        invite = self._send("POST", "/users", told)["invite"]
        return f"{self.url}/invite#{invite}" if invite else ""

    def change_user(self, name: str, **told: Any) -> None:
        """Change what is given of a user."""
        self._send("PATCH", f"/users/{_quoted(name)}", told)

    def delete_user(self, name: str) -> None:
        """Delete a user, with their logins, keys and memberships."""
        self._send("DELETE", f"/users/{_quoted(name)}")

    def invite(self, name: str) -> str:
        """The address of a page where a user sets a password, once."""
        return f"{self.url}/invite#{self._send('POST', f'/users/{_quoted(name)}/invite', {})['invite']}"

    def tokens(self, user: str = "") -> list[dict[str, Any]]:
        """Logins and API keys, one's own or somebody's."""
        return self._api.items(f"/tokens?{urlencode({'user': user})}" if user else "/tokens")

    def create_key(self, **told: Any) -> str:
        """Make an API key; gives its secret, which is told once."""
        secret: str = self._send("POST", "/keys", told)["secret"]
        return secret

    def delete_token(self, token: str) -> None:
        """End a login or an API key."""
        self._send("DELETE", f"/tokens/{_quoted(token)}")

    def audit(self, project: str, limit: int) -> list[dict[str, Any]]:
        """Who changed what, newest first; of one project, or of the server when it is empty."""
        asked = {"limit": limit, **({"project": project} if project else {})}
        found: list[dict[str, Any]] = self._get(f"/audit?{urlencode(asked)}")["items"]
        return found

    def _get(self, path: str) -> Any:
        return msgspec.json.decode(self._api.request("GET", path))

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        answer = self._api.request(method, path, content)
        return msgspec.json.decode(answer) if answer else None


def _quoted(text: str) -> str:
    return quote(text, safe="")
