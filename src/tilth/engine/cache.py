"""What a step's outputs depend on, and why they can or cannot be reused. Pure decisions.

A key is made of named parts, each a digest; the names are what a person is told when one differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.ir.values import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tilth.ir.pipeline import Node, Pipeline
    from tilth.records import Package, StepRun

FORMAT = "1"  # raised when a materializer of tilth's own writes something else than before


def fixed_parts(
    pipeline: Pipeline, node: Node, *, environment: str, packages: Iterable[Package], python: str, bundle: str
) -> dict[str, str]:
    """The parts that are known before any step runs.

    Args:
        environment: Digest of the step's own environment; empty for the client's interpreter.
        packages: What the step's sources reach in the client's interpreter; not used with an environment.
        python: Major and minor version of the interpreter that runs the step.
        bundle: Digest of all of the project's files, which a module with dynamic imports may import.
    """
    closure = pipeline.closures[node.module]
    parts = {f"source `{module}`": pipeline.sources[module] for module in closure}
    if any(module in pipeline.dynamic for module in closure):
        parts["the project's files"] = bundle
    parts["function"] = node.function
    parts["Python"] = python
    if environment:
        parts[f"environment `{node.environment}`"] = environment
    else:
        parts.update({f"package `{each.name}`": each.version for each in packages})
    if node.map:
        parts["what is mapped over"] = ", ".join(sorted(node.map))
    if node.reads_context:
        parts["pipeline parameters"] = digest(pipeline.parameters)
    outputs = [[each.name, each.collection] for each in node.outputs]
    parts["outputs"] = digest([outputs, sorted(node.materializers.items())])
    # Their names alone: a new value of a password is no reason to run again, and a digest of it would tell of it.
    parts.update({f"secret `{variable}`": name for variable, name in node.secrets.items()})
    if node.extra:
        parts["extra"] = digest(node.extra)
    parts["tilth's formats"] = FORMAT
    return parts


def input_part(name: str, resolved: Any) -> tuple[str, str]:
    """The part of one input; `resolved` has digests in the places of references."""
    return f"input `{name}`", digest(resolved)


def key(parts: Mapping[str, str]) -> str:
    """The cache key."""
    return digest(dict(parts))


def explain(parts: Mapping[str, str], before: StepRun | None) -> str:
    """Why there is nothing to reuse: what differs from the last time this step ran."""
    if before is None:
        return "it has not run before"
    old = before.cache_parts
    if not old:
        return "its last run was not recorded with what it depends on"
    changed = [name for name in parts if name in old and parts[name] != old[name]]
    added = [name for name in parts if name not in old]
    gone = [name for name in old if name not in parts]
    told = [
        *_told(changed, "changed", "changed"),
        *_told(added, "is new", "are new"),
        *_told(gone, "is gone", "are gone"),
    ]
    if not told:
        if not before.state.is_good:
            return f"its last run {before.state.value}"
        if not before.cache_key:
            return "a step changed its environment the last time"
        return "its stored outputs are gone"
    if len(told) > 4:
        told = [*told[:4], f"{len(told) - 4} more"]
    return ", ".join(told)


def _told(names: list[str], one: str, several: str) -> list[str]:
    """What happened to each part; many packages are told as their number, so that they hide nothing else."""
    packages = [name for name in names if name.startswith("package ")]
    if len(packages) <= 2:
        return [f"{name} {one}" for name in names]
    others = [f"{name} {one}" for name in names if name not in packages]
    return [*others, f"{len(packages)} packages {several}"]
