"""Whether steps can import what they use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.client.checks.findings import ERROR, WARNING, Finding
from tilth.environments.explaining.import_names import distribution_for

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from tilth.client.checks.sides import Side
    from tilth.ir.pipeline import Node, Pipeline


def check_imports(
    pipeline: Pipeline,
    sides: Mapping[str | None, Side | None],
    *,
    absent: Container[str] = (),
    guess: bool = True,
) -> list[Finding]:
    """What steps import that their environments do not have.

    Args:
        absent: What the client's interpreter does not have.
        guess: Take it that a package which was never seen here has the module that its name says.
    """
    # One function used by many steps of one environment is one thing to mend: it is told of the first.
    first = {(node.function, node.environment): node for node in reversed(pipeline.nodes)}
    return [
        finding
        for node in pipeline.nodes
        if first[node.function, node.environment] is node
        for finding in _of(
            node, pipeline.needs.get(node.function, {}), sides[node.environment], absent, guess
        )
    ]


def _of(
    node: Node, needs: Mapping[str, str], side: Side | None, absent: Container[str], guess: bool
) -> Iterator[Finding]:
    if side is None:
        return
    for package, where in needs.items():
        told = f"step `{node.id}` imports `{package}` ({where}), which"
        wanted = distribution_for(package)
        if side.name is None:
            # The interpreter was asked itself: it also imports what no distribution of its has recorded.
            if package in absent:
                yield Finding(
                    level=ERROR,
                    check="imports",
                    step=node.id,
                    what=f"{told} is not installed here; it declares no environment of its own",
                    mend=f"give the step an environment that requires `{wanted}`, or install that here",
                )
        elif package in side.modules and (guess or side.modules[package][0] not in side.blind):
            continue
        elif side.blind:
            some = ", ".join(f"`{each}`" for each in side.blind[:3]) + (", …" if side.blind[3:] else "")
            yield Finding(
                level=WARNING,
                check="imports",
                step=node.id,
                environment=side.name,
                what=f"{told} environment `{side.name}` may not have",
                why=f"nothing is known yet of {some}: never installed here",
                uncertain=True,
            )
        else:
            yield Finding(
                level=ERROR,
                check="imports",
                step=node.id,
                environment=side.name,
                what=f"{told} environment `{side.name}` does not have",
                mend=f"add `{wanted}` to the requirements of environment `{side.name}`, or import it in the "
                "step that has it",
            )
