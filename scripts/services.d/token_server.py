"""Give tokens to the test registry as hubs do: Docker's token protocol, GET with a password, POST as OAuth 2.

Anonymous callers may pull what is under `public/`; `tilth` with its password or identity token may do everything.
Standard library and the `openssl` command, so that it needs no environment of its own.

Source: https://distribution.github.io/distribution/spec/auth/jwt/ and …/spec/auth/oauth/
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD, IDENTITY_TOKEN = "tilth", "secret", "tilth-identity"  # of tests, on loopback
LIFETIME_S = 60  # the least that clients must take


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def granted(scopes: list[str], *, known: bool) -> list[dict[str, object]]:
    """What of `repository:NAME:pull,push` the caller may do."""
    access: list[dict[str, object]] = []
    for scope in " ".join(scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        wanted = actions.split(",")
        if not known:
            wanted = [action for action in wanted if action == "pull" and name.startswith("public/")]
        access.append({"type": kind, "name": name, "actions": wanted})
    return access


class TokenServer(BaseHTTPRequestHandler):
    """One request; `folder` has token.key and token.pem."""

    folder: Path

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme and (scheme.lower() != "basic" or base64.b64decode(value).decode() != f"{USER}:{PASSWORD}"):
            return self.answer(401, {"details": "incorrect username or password"})
        return self.give(query, known=bool(scheme), offline=query.get("offline_token") == ["true"])

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
        by_password = form.get("username") == [USER] and form.get("password") == [PASSWORD]
        if not by_password and form.get("refresh_token") != [IDENTITY_TOKEN]:
            return self.answer(401, {"details": "incorrect username, password or refresh token"})
        return self.give(form, known=True, offline=form.get("access_type") == ["offline"])

    def give(self, asked: dict[str, list[str]], *, known: bool, offline: bool) -> None:
        now = int(time.time())
        certificate = "".join((self.folder / "token.pem").read_text().splitlines()[1:-1])
        claims = {
            "iss": "tilth-tests",
            "sub": USER if known else "",
            "aud": asked.get("service", [""])[0],
            "exp": now + LIFETIME_S,
            "nbf": now - 10,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "access": granted(asked.get("scope", []), known=known),
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        content = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        signed = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.folder / "token.key")],
            input=content.encode(),
            capture_output=True,
            check=True,
        )
        token = f"{content}.{encode(signed.stdout)}"
        answer = {"token": token, "access_token": token, "expires_in": LIFETIME_S}
        self.answer(200, {**answer, "refresh_token": IDENTITY_TOKEN} if offline and known else answer)

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name there
        print(self.log_date_time_string(), format % arguments, flush=True)  # noqa: T201


if __name__ == "__main__":
    TokenServer.folder = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), TokenServer).serve_forever()
