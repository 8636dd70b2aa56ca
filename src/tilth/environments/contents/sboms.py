"""A software bill of materials: CycloneDX 1.6 as JSON.

Source: cyclonedx.org/docs/1.6/json. The same environment, lock and wheels give the same bytes: no time is in it,
and its serial number is that of its content.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tilth import __version__
from tilth.environments.contents.exporting import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.environments.contents.lockfiles import LockedPackage
    from tilth.environments.contents.trees import Graph
    from tilth.environments.contents.unpacked import Metadata
    from tilth.records import Environment, Package

_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


def cyclonedx(
    environment: Environment,
    locked: Sequence[LockedPackage],
    graph: Graph,
    metadata: Callable[[Package], Metadata | None],
) -> str:
    """The document. A package whose dependencies are not known has no entry in its dependency graph."""
    purls = {each.name: _purl(each, locked) for each in environment.packages}
    itself = f"environment:{environment.id or environment.name}"
    tops = [name for name in purls if name in graph.requested or not graph.required_by[name]]
    dependencies = [{"ref": itself, "dependsOn": sorted(purls[name] for name in tops)}]
    dependencies += [
        {"ref": purls[name], "dependsOn": sorted(purls[each] for each in needs)}
        for name, needs in sorted(graph.requires.items())
        if needs is not None
    ]
    facts = {
        "tilth:digest": environment.id,
        "tilth:python": environment.python,
        "tilth:platform": environment.platform,
        "tilth:role": environment.role,
    }
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "tilth", "version": __version__}]},
            "component": {
                "type": "application",
                "bom-ref": itself,
                "name": environment.name,
                "properties": [{"name": name, "value": value} for name, value in facts.items() if value],
            },
        },
        "components": [
            _component(each, purls[each.name], locked, metadata(each)) for each in environment.packages
        ],
        "dependencies": dependencies,
    }
    content = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    serial = uuid.UUID(bytes=content[:16], version=5)
    return json.dumps({**document, "serialNumber": serial.urn}, indent=2, ensure_ascii=False) + "\n"


def _component(
    package: Package, purl: str, locked: Sequence[LockedPackage], metadata: Metadata | None
) -> dict[str, Any]:
    _, taken = files_of(package, locked)
    # The digest of what was built here is that of no file; the lock has that of what it was built from.
    digest = taken.digest if taken else "" if package.is_built else package.digest
    kind, _, value = digest.partition(":")
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": package.name}
    component |= {"version": package.version} if package.version else {}
    component["purl"] = purl
    summary = metadata.first("Summary") if metadata else ""
    component |= {"description": summary} if summary else {}
    component |= {"hashes": [{"alg": _ALGORITHMS[kind], "content": value}]} if kind in _ALGORITHMS else {}
    licences = _licences(metadata) if metadata else []
    return component | ({"licenses": licences} if licences else {})


def _licences(metadata: Metadata) -> list[dict[str, Any]]:
    """As the package states it: an SPDX expression (PEP 639), else its own words, else its classifiers."""
    expression = metadata.first("License-Expression")
    if expression:
        return [{"expression": expression}]
    own = metadata.first("License")
    if own and own.upper() != "UNKNOWN" and len(own) < 200:
        return [{"license": {"name": own}}]
    named = [
        each.rpartition(" :: ")[2] for each in metadata.all("Classifier") if each.startswith("License ::")
    ]
    return [{"license": {"name": each}} for each in dict.fromkeys(named)]


def _purl(package: Package, locked: Sequence[LockedPackage]) -> str:
    """Source: the purl specification, type `pypi`."""
    version = f"@{quote(package.version, safe='')}" if package.version else ""
    entry, taken = files_of(package, locked)
    more = ""
    if entry is not None and entry.repository:
        more = f"?vcs_url={quote(entry.repository, safe='')}"
    elif taken is not None and taken.direct and taken.url and not taken.url.startswith("file:"):
        more = f"?download_url={quote(taken.url, safe='')}"
    return f"pkg:pypi/{quote(package.name, safe='')}{version}{more}"
