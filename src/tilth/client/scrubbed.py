"""What a driver that a runner starts finds in its environment: nothing that is not named here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEPT = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "LANG", "LANGUAGE", "LD_LIBRARY_PATH",
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONFIG",
        "UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX",
        "UV_INDEX_STRATEGY", "UV_INDEX_URL", "UV_NATIVE_TLS", "UV_NO_INDEX", "UV_OFFLINE", "UV_PYTHON_INSTALL_DIR",
        "TILTH_OFFLINE", "TILTH_SECRETS_KEY", "TILTH_SECRET_STORE", "TILTH_WORKERS",
    }
)  # fmt: skip
_KEPT_LIKE = re.compile(r"LC_[A-Z]+|UV_INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)|CUDA_[A-Z_]+|NVIDIA_[A-Z_]+")
_OF_A_USER = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "DOCKER_CONFIG", "TILTH_SECRETS_KEY"})


_OF_A_MACHINE = _OF_A_USER | {
    "PATH", "TMPDIR", "LD_LIBRARY_PATH", "DOCKER_HOST", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE", "UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_PYTHON_INSTALL_DIR", "TILTH_HOME", "TILTH_SECRET_STORE",
}  # fmt: skip


def for_container(variables: Mapping[str, str]) -> dict[str, str]:
    """Of the variables of a driver, those that mean the same in a container: no paths of this machine, no logins."""
    return {
        name: value
        for name, value in variables.items()
        if name not in _OF_A_MACHINE and not name.startswith(("XDG_", "CUDA_", "NVIDIA_"))
    }


def scrubbed(
    variables: Mapping[str, str], *, more: Iterable[str] = (), another_user: bool = False
) -> dict[str, str]:
    """Of a runner's variables, those that a run may have.

    Args:
        more: Names that an operator adds.
        another_user: Leave out what is of the runner's own user.
    """
    named = set(more)
    kept = {
        name: value
        for name, value in variables.items()
        if name in _KEPT or name in named or _KEPT_LIKE.fullmatch(name)
    }
    if another_user:
        left_out = {name for name in kept if name in _OF_A_USER or name.startswith("XDG_")} - named
        kept = {name: value for name, value in kept.items() if name not in left_out}
    return kept
