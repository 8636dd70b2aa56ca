"""Where the packages of an environment are found, in uv's words, and what opens those places."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from tilth.environments.names import normalised
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tilth.home import Home


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The declared places. Where none are declared, uv's own settings say."""

    default: str = ""  # URL
    extra: tuple[str, ...] = ()  # URLs, asked first
    single: dict[str, str] = {}  # URL by package: for that one alone, and for it nowhere else
    links: tuple[str, ...] = ()  # folders and pages
    credentials: dict[str, str] = {}  # name of the secret by host

    def resolving(self) -> list[str]:
        """uv's options for a resolution."""
        options = ["--default-index", f"tilth-default={self.default}"] if self.default else []
        for number, url in enumerate(self.extra):
            options += ["--index", f"tilth-{number}={url}"]
        for link in self.links:
            options += ["--find-links", link]
        return options

    def fetching(self) -> list[str]:
        """uv's options for getting what was resolved: also those of single packages, for their credentials."""
        options = self.resolving()
        for number, url in enumerate(self.single.values()):
            options += ["--index", f"tilth-single-{number}={url}"]
        return options

    def logins(self, home: Home) -> dict[str, tuple[str, str]]:
        """User and password by host.

        Raises:
            NotFound: There is no such secret.
        """
        if not self.credentials:
            return {}
        from tilth.secrets import logins, open_secrets

        return logins(self.credentials, open_secrets(home))

    def variables(self, home: Home) -> dict[str, str]:
        """Variables that tell uv what opens the places. They are for its process alone.

        Raises:
            NotFound: There is no such secret.
        """
        known = self.logins(home)
        named = {"tilth-default": self.default}
        named |= {f"tilth-{number}": url for number, url in enumerate(self.extra)}
        named |= {f"tilth-single-{number}": url for number, url in enumerate(self.single.values())}
        found: dict[str, str] = {}
        for name, url in named.items():
            opened = known.get(host_of(url))
            if opened is not None:
                prefix = f"UV_INDEX_{name.upper().replace('-', '_')}"
                found[f"{prefix}_USERNAME"], found[f"{prefix}_PASSWORD"] = opened
        return found


def declared_index(environment: Mapping[str, Any], root: Path) -> Index:
    """The places that a declaration names.

    Raises:
        DefinitionError: It has credentials for a host that none of its indexes is on.
    """
    index = Index(
        default=environment.get("index_url") or "",
        extra=tuple(environment.get("extra_index_urls", ())),
        single={normalised(each): url for each, url in environment.get("package_indexes", {}).items()},
        links=tuple(
            link if "://" in link else os.path.normpath(root / link)
            for link in environment.get("find_links", ())
        ),
        credentials=dict(environment.get("credentials", {})),
    )
    hosts = {host_of(url) for url in (index.default, *index.extra, *index.single.values()) if url}
    for host in index.credentials:
        if host not in hosts:
            raise DefinitionError(
                f"environment `{environment['name']}` has credentials for `{host}`, which is none of its indexes",
                why=f"its indexes are on: {', '.join(sorted(hosts)) or 'no host of their own'}",
                mend="name the host as it stands in `index_url`, `extra_index_urls` or `package_indexes`",
            )
    return index


def host_of(url: str) -> str:
    """Host of a URL, with its port where it names one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()
