"""Whether steps can import what they use, told before anything is run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from tilth.client.environments import ProjectEnvironments
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline


def check_imports(
    pipeline: Pipeline, environments: ProjectEnvironments, home: Home, *, absent: Container[str] = ()
) -> tuple[list[str], list[str]]:
    """What steps import that their environments do not have.

    Args:
        absent: What the client's interpreter, where steps without an environment run, does not have.
    Returns:
        (what is certainly missing, what cannot be known yet), each a sentence.
    """
    from tilth.environments import modules  # here for cost: a run without environments needs none of it

    missing, unknown = [], []
    for node in pipeline.nodes:
        needs = pipeline.needs.get(node.function, {})
        if node.environment is None:
            missing += [
                f"step `{node.id}` imports `{package}` ({where}), which is not installed here; it declares no "
                "environment of its own"
                for package, where in needs.items()
                if package in absent
            ]
            continue
        lock = environments.lock(node.environment)
        if lock is None or not needs:
            continue
        found = modules(lock, home)
        have = {module for each in found.values() for module in each or ()}
        blind = sorted(name for name, each in found.items() if each is None)
        for package, where in needs.items():
            if package in have:
                continue
            told = f"step `{node.id}` imports `{package}` ({where}), which environment `{node.environment}`"
            if blind:
                unknown.append(f"{told} may not have: nothing is known yet of {', '.join(blind[:3])}")
            else:
                missing.append(f"{told} does not have")
    missing += _unreadable(pipeline, environments)
    return list(dict.fromkeys(missing)), list(dict.fromkeys(unknown))


def _unreadable(pipeline: Pipeline, environments: ProjectEnvironments) -> list[str]:
    """Steps that get what they cannot read, going by declared types: their library is in every format of theirs."""
    declared = {
        (node.id, output.name): output.type
        for node in pipeline.nodes
        if not node.materializers  # a custom one may write what any step reads
        for output in node.outputs
        if re.fullmatch(r"(numpy|pandas|sklearn)\.[\w.]+(\[.*\])?", output.type)
    }
    if not declared:
        return []
    told = []
    readers = {name: environments.readers(name) for name in {node.environment for node in pipeline.nodes}}
    for node in pipeline.nodes:
        have = readers[node.environment]
        for step, name in node.sources():
            kind = declared.get((step, name), "")
            library = kind.partition(".")[0]
            if library and have is not None and library not in have:
                where = (
                    f"environment `{node.environment}`" if node.environment else "the client's interpreter"
                )
                told.append(
                    f"step `{node.id}` gets `{kind}` from step `{step}`, and {where} has no `{library}` to read it"
                )
    return told
