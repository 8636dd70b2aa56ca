"""System packages as a Dockerfile. The image itself says in /etc/os-release which package manager it has."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "[ -r /etc/os-release ]"  # marks the instruction in what a build writes
# Decided in the container, not by looking at the base: a Dockerfile's result cannot be looked at before it is built.
_SCRIPT = """\
RUN set -eu; \\
    if [ -r /etc/os-release ]; then . /etc/os-release; fi; \\
    case " ${{ID:-unknown}} ${{ID_LIKE:-}} " in \\
    *" debian "*|*" ubuntu "*) \\
        export DEBIAN_FRONTEND=noninteractive; \\
        apt-get update; \\
        apt-get install --yes --no-install-recommends {packages}; \\
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt/* ;; \\
    *" alpine "*) \\
        apk add --no-cache {packages} ;; \\
    *" fedora "*|*" rhel "*|*" centos "*) \\
        if command -v dnf >/dev/null; then manager=dnf; \\
        elif command -v microdnf >/dev/null; then manager=microdnf; else manager=yum; fi; \\
        $manager install -y --setopt=install_weak_deps=0 {packages}; \\
        $manager clean all; rm -rf /var/cache/dnf /var/cache/yum ;; \\
    *) \\
        echo "tilth: no package manager is known for \\`${{ID:-unknown}}\\`: install in a Dockerfile instead" >&2; \\
        exit 64 ;; \\
    esac
"""


def packages_dockerfile(base: str, packages: Sequence[str], *, user: str = "") -> str:
    """A Dockerfile that installs packages in a base.

    Args:
        base: What `FROM` takes.
        user: Who the base runs as, and what comes of it shall.
    """
    quoted = " ".join(shlex.quote(each) for each in sorted(set(packages)))
    lines = [f"FROM {base}\n"]
    if user not in ("", "0", "root"):
        lines.append("USER 0\n")
    lines.append(_SCRIPT.format(packages=quoted))
    if user not in ("", "0", "root"):
        lines.append(f"USER {user}\n")
    return "".join(lines)
