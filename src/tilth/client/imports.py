"""Whether steps can import what they use, told before anything is run."""

from __future__ import annotations

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
    return list(dict.fromkeys(missing)), list(dict.fromkeys(unknown))
