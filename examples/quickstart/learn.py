"""Fit, predict and score: scikit-learn of any version from 1.5 on.

Libraries are imported where they are used: a client that happens to have them does not wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from table import LABEL

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

CURVE_POINTS = 200


def versions() -> dict[str, str]:
    """What this environment runs on."""
    import platform

    import numpy as np
    import pandas as pd
    import sklearn

    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }


def fit(rows: pd.DataFrame, *, trees: int, seed: int) -> Pipeline:
    """A random forest; gaps are filled with medians, text becomes codes."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    features = rows.drop(columns=LABEL)
    numbers = [name for name in features if pd.api.types.is_numeric_dtype(features[name])]
    texts = [name for name in features if name not in numbers]
    model = make_pipeline(
        make_column_transformer(
            (SimpleImputer(strategy="median", keep_empty_features=True), numbers),
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts),
            verbose_feature_names_out=False,
        ),
        RandomForestClassifier(n_estimators=trees, random_state=seed),
    )
    return model.fit(features, rows[LABEL].astype(object))


def predict(model: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The probability of each class, a column each, for each row."""
    import pandas as pd

    return pd.DataFrame(
        model.predict_proba(rows.drop(columns=LABEL)), columns=[str(name) for name in model.classes_]
    )


def importance(model: Pipeline) -> dict[str, float]:
    """How much the forest's splits on each feature tell apart, summing to 1; the most telling first."""
    shares = zip(model[0].get_feature_names_out(), model[-1].feature_importances_, strict=True)
    ranked = sorted(shares, key=lambda share: (-share[1], share[0]))
    return {str(name): float(share) for name, share in ranked}


def compare(rows: pd.DataFrame, probabilities: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Scores, confusion and curves of several predictions of the same rows; and how far they agree.

    Args:
        rows: The held-out rows.
        probabilities: By name, shape (rows, classes), columns in the same order.
    Returns:
        Only what JSON can hold. Curves (ROC) exist for two classes, of the second class by name.
    """
    import numpy as np
    from sklearn import metrics

    truth = rows[LABEL].to_numpy(dtype=object).astype(str)
    classes = [str(name) for name in next(iter(probabilities.values())).columns]
    is_class = truth[:, None] == np.array(classes)  # rows by classes
    scores, confusion, curves, choices = {}, {}, {}, {}
    for name, frame in probabilities.items():
        chance = frame.to_numpy()
        choices[name] = chosen = np.array(classes)[chance.argmax(axis=1)]
        scores[name] = {
            "accuracy": float(metrics.accuracy_score(truth, chosen)),
            "balanced accuracy": float(metrics.recall_score(truth, chosen, average="macro", zero_division=0)),
            "log loss": float(-np.log(np.clip(chance[is_class], 1e-6, 1)).mean()),
        }
        if is_class.any(axis=0).all():
            area = metrics.roc_auc_score(is_class, chance, average="macro")
            scores[name]["area under ROC"] = float(area)
        confusion[name] = metrics.confusion_matrix(truth, chosen, labels=classes).tolist()
        if len(classes) == 2:
            false, true, _ = metrics.roc_curve(is_class[:, 1], chance[:, 1])
            keep = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).astype(int))
            curves[name] = {"false": false[keep].tolist(), "true": true[keep].tolist()}

    first, *others = choices.values()
    chances = [frame.to_numpy() for frame in probabilities.values()]
    same = np.all([first == other for other in others], axis=0)
    return {
        "classes": classes,
        "rows": len(rows),
        "scores": scores,
        "confusion": confusion,
        "curves": curves,
        "agreement": int(np.sum(same)),
        "largest_difference": float(np.max(np.ptp(chances, axis=0))),
    }
