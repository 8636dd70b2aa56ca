"""What the pictures of the docs show: a pipeline with a mapped step, two environments, and a step that may fail."""

from __future__ import annotations

import random
import time
from typing import Annotated, Any

from tilth import Environment, Markdown, log_metadata, pipeline, step, unmapped

tables = Environment("tables", requirements=["pandas==2.3.*"])
shapes = Environment("shapes", requirements=["numpy==2.3.*"])


@step(environment=tables)
def load(rows: int, seed: int) -> Annotated[Any, "harvest"]:
    """A frame of trees and what each gave."""
    import pandas as pd

    chance = random.Random(seed)
    kinds = ["apple", "pear", "plum"]
    frame = pd.DataFrame(
        {
            "kind": [chance.choice(kinds) for _ in range(rows)],
            "age": [chance.randint(1, 40) for _ in range(rows)],
            "height": [chance.gauss(4.2, 0.9) for _ in range(rows)],
            "yield": [max(0.0, chance.gauss(38, 11)) for _ in range(rows)],
        }
    )
    print(f"{rows} trees of {len(kinds)} kinds")
    log_metadata({"rows": rows})
    return frame


@step
def folds(count: int) -> list[int]:
    """Numbers of parts to leave out, one at a time."""
    return list(range(count))


@step(environment=shapes)
def score(fold: int, alpha: float) -> dict[str, float]:
    """How good it is without one part."""
    import numpy as np

    chance = np.random.default_rng(fold)
    print(f"\x1b[32mfold {fold}\x1b[0m with alpha {alpha}")
    time.sleep(0.2)
    return {"r2": float(0.8 + chance.normal(0, 0.02)), "error": float(4 + chance.normal(0, 0.3))}


@step
def judge(
    harvest: Any,  # noqa: ARG001 - what was judged
    scores: list[dict[str, float]],
    strict: bool,
) -> Annotated[dict[str, float], "verdict"]:
    """The mean over all parts."""
    mean = {name: sum(each[name] for each in scores) / len(scores) for name in ("r2", "error")}
    log_metadata(mean)
    print(f"r2 {mean['r2']:.3f}, error {mean['error']:.2f}")
    if strict and mean["r2"] < 0.9:
        raise ValueError(f"r2 is {mean['r2']:.3f}, and 0.9 is wanted")
    return mean


@step
def report(verdict: dict[str, float]) -> Annotated[Markdown, "summary"]:
    """A page to read."""
    lines = [f"| {name} | {value:.3f} |" for name, value in verdict.items()]
    return Markdown("\n".join(["# The harvest", "", "| | mean |", "|---|---:|", *lines]))


@pipeline
def orchard(
    rows: int = 2000, alpha: float = 0.1, parts: int = 8, seed: int = 7, strict: bool = False
) -> None:
    """Load, score each part, judge, report."""
    harvest = load(rows, seed)
    scores = score.map(folds(parts), alpha=unmapped(alpha))
    report(judge(harvest, scores, strict))
