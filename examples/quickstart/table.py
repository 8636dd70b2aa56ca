"""Read a table for classification, and refuse, in one sentence, what cannot be one.

A table that passed has the label in its last column, named `LABEL`, as text; numbers as float64, NaN where
missing; everything else as text without gaps. So a frame means the same to every version of pandas.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

LABEL = "(label)"
MISSING = "(missing)"
MOST_CLASSES = 50
ROWS_PER_CLASS = 4  # a quarter of them held out still leaves some on both sides


def example(target: str = "") -> tuple[pd.DataFrame, dict[str, Any]]:
    """569 tumours, measured, each malignant or benign; comes with scikit-learn."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    frame = data.data.assign(diagnosis=[data.target_names[code] for code in data.target])
    return check(frame, target or "diagnosis")


def read(file: Path, target: str = "") -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table in a CSV file whose first line names the columns; comma, semicolon, tab or bar between them.

    Args:
        file: UTF-8, with or without a byte-order mark.
        target: The column to predict; the last one if empty.
    Returns:
        The table as this module promises it, and facts worth recording.
    """
    import pandas as pd

    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = lines.readline()
        separator = max(",;\t|", key=header.count)
        frame = pd.read_csv(
            file, sep=separator, encoding="utf-8-sig", skipinitialspace=True, low_memory=False
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"`{file.name}` is not UTF-8: {error}") from error
    except pd.errors.EmptyDataError:
        raise ValueError(f"`{file.name}` is empty; its first line must name the columns") from None
    except pd.errors.ParserError as error:
        raise ValueError(f"`{file.name}` is no CSV table: {str(error).strip()}") from error
    if not len(frame):
        raise ValueError(f"`{file.name}` has a header and no rows")
    return check(frame, target or str(frame.columns[-1]))


def check(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table made fit for training, with what was left out of it; ValueError if that cannot be."""
    import pandas as pd

    frame = frame.rename(columns=str)
    if target not in frame.columns:
        raise ValueError(_no_column(target, list(frame.columns)))
    labelled = frame[frame[target].notna()]
    labels = _labels(labelled[target], target)

    features, left_out = {}, {}
    for name in labelled.columns.drop(target):
        column = labelled[name]
        if column.isna().all():
            left_out[name] = "is empty"
        elif pd.api.types.is_numeric_dtype(column):  # also booleans
            features[name] = column.astype("float64").where(lambda numbers: numbers.abs() != float("inf"))
        elif column.nunique() > max(MOST_CLASSES, len(column) // 2):
            left_out[name] = "is text with hardly a value twice, as names and dates are"
        else:
            features[name] = column.map(str, na_action="ignore").astype(object).fillna(MISSING)
    if not features:
        reasons = "; ".join(f"`{name}` {reason}" for name, reason in left_out.items())
        raise ValueError(
            f"no column is left to predict `{target}` from" + (f": {reasons}" if reasons else "")
        )

    facts = {
        "target": target,
        "rows": len(labelled),
        "rows_without_label": len(frame) - len(labelled),
        "features": list(features),
        "left_out": left_out,
        "missing_values": int(labelled[list(features)].isna().sum().sum()),
        "classes": {str(name): int(count) for name, count in labels.value_counts().sort_index().items()},
    }
    return pd.DataFrame({**features, LABEL: labels}).reset_index(drop=True), facts


def split(rows: pd.DataFrame, *, test_share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and held-out rows, each class in the same share of both."""
    from sklearn.model_selection import train_test_split

    training, held_out = train_test_split(rows, test_size=test_share, random_state=seed, stratify=rows[LABEL])
    return training.reset_index(drop=True), held_out.reset_index(drop=True)


def _labels(column: pd.Series, target: str) -> pd.Series:
    import pandas as pd

    classes = column.nunique()
    if pd.api.types.is_float_dtype(column):
        if (column % 1 == 0).all():
            column = column.astype("int64")  # pandas made floats of whole numbers for the gaps between them
        elif classes > 2:
            raise ValueError(
                f"`{target}` holds numbers such as {column.iloc[0]:g}: "
                "this pipeline predicts classes, not amounts"
            )
    if classes > MOST_CLASSES:
        raise ValueError(
            f"`{target}` has {classes} different values in {len(column)} rows: "
            f"this pipeline predicts classes, at most {MOST_CLASSES} of them"
        )
    counts = column.map(str).value_counts()
    if len(counts) < 2:
        only = f"only the value `{counts.index[0]}`" if len(counts) else "no values"
        raise ValueError(f"`{target}` has {only}; there is nothing to tell apart")
    if counts.iloc[-1] < ROWS_PER_CLASS:
        raise ValueError(
            f"class `{counts.index[-1]}` of `{target}` has {counts.iloc[-1]} row(s); "
            f"each needs at least {ROWS_PER_CLASS}"
        )
    return column.map(str).astype(object)


def _no_column(target: str, known: list[str]) -> str:
    near = difflib.get_close_matches(target, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "it has " + ", ".join(f"`{name}`" for name in known[:20])
    return f"the table has no column `{target}`; {hint}" + (", …" if not near and len(known) > 20 else "")
