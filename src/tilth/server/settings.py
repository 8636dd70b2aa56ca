"""Every setting of a server: name, type, default and meaning, in one table that also makes the docs page."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tilth.errors import SetupError, nearest
from tilth.home import Home
from tilth.secrets.key import key_path
from tilth.settings import home_folder

PREFIX = "TILTH_SERVER_"


# What the client reads, and what Kubernetes tells of a service that is called `tilth-server`.
_NOT_OURS = re.compile(r"TILTH_SERVER_(URL|SERVICE_.*|PORT_[0-9]+_.*)")


def _setting(default: Any, meaning: str, *, secret: bool = False, least: int = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "secret": secret, "least": least})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What a server is told by `TILTH_SERVER_*` variables. A field's variable is its name in capitals."""

    database_url: str = _setting(
        "",
        "where records are kept: `postgresql://USER:PASSWORD@HOST/NAME`, or `sqlite:///PATH`; by default the "
        "database of the home folder",
        secret=True,
    )
    data_folder: str = _setting(
        "",
        "folder for artifacts and logs that clients send; by default `server/data` of the home folder. Servers that "
        "share a database share it",
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8237, "port to listen on; 0 takes a free one")
    public_url: str = _setting(
        "", "the address that browsers and clients use, where that is another than host and port"
    )
    workers: int = _setting(1, "processes that answer requests; more than one needs PostgreSQL", least=1)
    connections: int = _setting(10, "connections to the database, of each process", least=1)
    admin_name: str = _setting("admin", "name of the first user, made when there is none")
    admin_password: str = _setting(
        "", "password of the first user; by default a link is printed once that sets it", secret=True
    )
    secrets_key: str = _setting(
        "",
        "keys that secrets are encrypted with, each 32 random bytes in base64, by commas: the first encrypts, all "
        "decrypt; by default one in a file",
        secret=True,
    )
    secrets_key_file: str = _setting(
        "",
        "file with the key, where no variable gives it; made when it is missing. By default beside the client's own",
    )
    schedules: bool = _setting(True, "whether this server starts the runs of schedules")
    session_days: int = _setting(30, "days that a login lasts without being used", least=1)
    run_token_minutes: int = _setting(
        60, "minutes that the token of a run lasts without being renewed", least=1
    )
    create_projects: bool = _setting(True, "whether every user may create projects; otherwise admins alone")
    login_attempts: int = _setting(
        10,
        "failed logins within five minutes for one name, after which it must wait; ten times as many from an "
        "address. The same for codes of machines, and for links",
        least=1,
    )
    max_body_mb: int = _setting(
        64, "largest request taken, in megabytes; uploads of artifacts have no limit", least=1
    )
    project_runs: int = _setting(0, "runs of one project that are started from the queue at once; 0 for any")
    pipeline_runs: int = _setting(0, "the same of one pipeline")
    lease_seconds: int = _setting(
        60, "seconds after which a run that a runner says nothing of is given to another", least=1
    )
    runner_slots: int = _setting(
        2, "runs that the server's own runner starts at once, on its machine; 0: it has none"
    )
    runner_builds: bool = _setting(False, "whether the server's own runner builds images too")
    runner_folder: str = _setting(
        "", "folder of the server's own runner; by default `server/runner` of the home folder"
    )
    runner_user: str = _setting(
        "",
        "user of the system that runs of the server's own runner belong to; takes a server that runs as root",
    )
    runner_variables: str = _setting(
        "",
        "variables of the server that its own runner's runs get too, by commas; by default those of locale, "
        "time zone, proxies, certificates and package indexes alone",
    )
    oidc_issuer: str = _setting(
        "", "address of an OpenID Connect provider that users may log in by, exactly as it calls itself"
    )
    oidc_client_id: str = _setting("", "what the provider knows this server as")
    oidc_client_secret: str = _setting(
        "", "the secret that goes with it; empty for a client without one", secret=True
    )
    oidc_scopes: str = _setting("openid profile email", "what the provider is asked to tell, by spaces")
    oidc_name_claim: str = _setting(
        "preferred_username",
        "the claim that names a new user, such as `email`; it must be one a user cannot choose",
    )
    oidc_create_users: bool = _setting(
        False,
        "whether whoever the provider knows becomes a user; otherwise a user links the login themselves",
    )
    trusted_proxies: str = _setting(
        "127.0.0.1", "addresses of proxies whose `X-Forwarded-*` headers are believed, by commas"
    )
    cookie_secure: bool = _setting(
        False, "send cookies over HTTPS only; always on when `TILTH_SERVER_PUBLIC_URL` begins with `https:`"
    )
    allowed_origins: str = _setting(
        "", "other origins whose pages may call the API, by commas; by default none"
    )
    log_format: str = _setting(
        "text",
        "`text`, or `json`: one object a line, and one for each request: method, route, status, ms, user, request id",
    )
    log_level: str = _setting("info", "`debug`, `info`, `warning` or `error`")
    metrics_token: str = _setting(
        "",
        "what `/metrics` wants to be shown, as `Authorization: Bearer …`; by default it answers everybody: it tells "
        "numbers, no names",
        secret=True,
    )
    packages: str = _setting(
        "",
        "requirements of custom components, by spaces: `boto3>=1.36 our-store==2.1`; part of the server's environment, "
        "which `tilth build --server` locks",
    )

    @property
    def data(self) -> Path:
        """Where artifacts and logs are kept."""
        return Path(self.data_folder) if self.data_folder else Home(home_folder()).server / "data"

    @property
    def key_file(self) -> Path:
        """Where the key of secrets is, when no variable gives it: not with what it encrypts."""
        return (
            Path(self.secrets_key_file)
            if self.secrets_key_file
            else key_path().with_name("server-secrets.key")
        )

    @property
    def secure(self) -> bool:
        """Whether cookies go over HTTPS only."""
        return self.cookie_secure or self.public_url.startswith("https:")

    def shown(self) -> list[dict[str, str]]:
        """Each setting as people may see it, and where it comes from: secrets are not."""
        return [
            {
                "setting": each.name,
                "value": ("(hidden)" if value else "") if each.metadata["secret"] else str(value),
                "from": f"`{variable(each.name)}`" if os.environ.get(variable(each.name)) else "default",
                "variable": variable(each.name),
                "meaning": each.metadata["meaning"],
            }
            for each in fields(self)
            for value in (getattr(self, each.name),)
        ]

    @classmethod
    def from_environment(cls, **given: Any) -> ServerSettings:
        """What the variables say; `given`, as of a command's options, wins.

        Raises:
            SetupError: A variable cannot be read as what it should be.
        """
        values: dict[str, Any] = {}
        known = {variable(each.name) for each in fields(cls)}
        for name in sorted(os.environ):
            if name.startswith(PREFIX) and name not in known and not _NOT_OURS.fullmatch(name):
                raise SetupError(f"there is no setting `{name}`", mend=nearest(name, known))
        for each in fields(cls):
            text = os.environ.get(variable(each.name))
            if text and not (
                each.name == "port" and text.startswith("tcp://")
            ):  # Kubernetes' word for a service
                values[each.name] = _read(each.name, text, type(each.default), each.metadata["least"])
        values.update({name: value for name, value in given.items() if value is not None})
        told = cls(**values)
        told.check()
        return told

    def check(self) -> None:
        """Refuse texts that cannot be meant.

        Raises:
            SetupError: One is no address.
        """
        url = self.public_url
        if url and not re.fullmatch(r"https?://[^\s/]+(/[^\s?#]*)?", url):
            raise SetupError(
                f"`TILTH_SERVER_PUBLIC_URL` is `{url}`",
                mend="give an address like `https://tilth.example.com`",
            )
        scheme = self.database_url.partition(":")[0]
        if scheme and not self.database_url.startswith(("postgresql://", "postgres://", "sqlite:///")):
            raise SetupError(  # all of it may have a password in it
                "`TILTH_SERVER_DATABASE_URL` is no address of a database that tilth knows",
                why=f"it begins with `{scheme[:20]}`",
                mend="give `postgresql://USER:PASSWORD@HOST/NAME`, or `sqlite:///PATH`",
            )
        for each in filter(None, map(str.strip, self.trusted_proxies.split(","))):
            try:
                if each != "*":
                    ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise SetupError(
                    f"`TILTH_SERVER_TRUSTED_PROXIES` has `{each}`",
                    mend="give addresses or networks, as `10.0.0.7,192.168.0.0/16`; `*` for any",
                ) from None

    def to_environment(self) -> dict[str, str]:
        """The variables that give a child process these settings."""
        told = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                told[variable(each.name)] = str(int(value)) if isinstance(value, bool) else str(value)
        return told


def variable(name: str) -> str:
    """What a setting is called in the environment."""
    return PREFIX + name.upper()


def _read(name: str, text: str, kind: type, least: int) -> Any:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise SetupError(f"`{variable(name)}` is `{text}`", mend="give `1` or `0`")
    if kind is int:
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise SetupError(f"`{variable(name)}` is `{text}`", mend=f"give a whole number from {least}")
    return text
