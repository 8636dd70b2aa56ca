"""Train the same classifier in two environments whose packages exclude each other, and compare.

    tilth run pipeline.py
    tilth run pipeline.py --param csv=customers.csv --param target=churned

Whoever starts it needs none of scikit-learn, numpy, pandas or matplotlib.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import learn
import page
import table

from tilth import HTML, Environment, Resources, log_metadata, pipeline, step

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

modern = Environment("modern", requirements=["scikit-learn>=1.7,<2", "numpy>=2.3,<3", "pandas>=2.3,<4"])
classic = Environment(
    "classic",
    requirements=[
        "scikit-learn==1.5.*",
        "numpy<2; python_version < '3.13'",
        "numpy<2.3; python_version >= '3.13'",  # numpy 1 has no wheels there
        "pandas==2.2.*",
    ],
)
plots = Environment("plots", requirements=["matplotlib==3.10.*"])


@step(environment=modern)
def load(csv: str, target: str, content: str) -> Annotated[pd.DataFrame, "rows"]:  # noqa: ARG001
    """Read and check the table. `content`, the file's digest, makes a changed file a changed input."""
    rows, facts = table.read(Path(csv), target) if csv else table.example(target)
    log_metadata(facts)
    print(f"{facts['rows']} rows, {len(facts['features'])} features, classes: {', '.join(facts['classes'])}")
    return rows


@step(environment=modern)
def split(
    rows: pd.DataFrame, test_share: float, seed: int
) -> tuple[Annotated[pd.DataFrame, "training_rows"], Annotated[pd.DataFrame, "held_out_rows"]]:
    """Keep some rows of every class aside."""
    return table.split(rows, test_share=test_share, seed=seed)


@step(environment=modern, resources=Resources(cpu=1))
def train(
    training_rows: pd.DataFrame, held_out_rows: pd.DataFrame, trees: int, seed: int
) -> tuple[
    Annotated[Pipeline, "model"],
    Annotated[pd.DataFrame, "probabilities"],
    Annotated[dict[str, float], "importance"],
    Annotated[dict[str, str], "versions"],
]:
    """Fit on one part, predict the other. The predictions travel on; the model stays in its environment."""
    model = learn.fit(training_rows, trees=trees, seed=seed)
    versions = learn.versions()
    log_metadata(versions)
    return model, learn.predict(model, held_out_rows), learn.importance(model), versions


@step(environment=modern)
def compare(
    held_out_rows: pd.DataFrame,
    probabilities: dict[str, pd.DataFrame],
    importance: dict[str, dict[str, float]],
    versions: dict[str, dict[str, str]],
) -> Annotated[dict[str, Any], "comparison"]:
    """Score the predictions of both environments on the same rows."""
    comparison = learn.compare(held_out_rows, probabilities)
    for name, scores in comparison["scores"].items():
        print(f"{name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in scores.items()))
    log_metadata({key: comparison[key] for key in ("scores", "agreement", "largest_difference")})
    return {**comparison, "importance": importance, "versions": versions}


@step(environment=plots)
def report(comparison: dict[str, Any], title: str) -> Annotated[HTML, "report"]:
    """One self-contained page."""
    return HTML(page.render(comparison, title=title))


@pipeline
def quickstart(
    csv: str = "", target: str = "", test_share: float = 0.25, trees: int = 100, seed: int = 7
) -> None:
    """Without `csv`, the breast-cancer data that scikit-learn carries; without `target`, the last column."""
    if not 0 < test_share < 1:
        raise ValueError(f"`test_share` is {test_share}; it must lie between 0 and 1, as 0.25")
    file = Path(csv).expanduser().resolve() if csv else None
    if file and not file.is_file():
        raise ValueError(f"`csv` names no file: `{file}`")
    content = hashlib.sha256(file.read_bytes()).hexdigest() if file else ""

    rows = load(str(file or ""), target, content)
    training_rows, held_out_rows = split(rows, test_share, seed)

    probabilities, importance, versions = {}, {}, {}
    for environment in (classic, modern):
        fit = train.with_options(name=f"train_{environment.name}", environment=environment)
        name = environment.name
        _, probabilities[name], importance[name], versions[name] = fit(
            training_rows, held_out_rows, trees, seed
        )
    comparison = compare(held_out_rows, probabilities, importance, versions)
    report(comparison, title=file.name if file else "Breast cancer")


if __name__ == "__main__":
    quickstart()
