"""Estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tilth.materializers.artifacts import load_artifact

features = np.random.default_rng(0).random((60, 3))
target = features[:, 0] > 0.5


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
        make_pipeline(FunctionTransformer(lambda each: each * 2), LogisticRegression()),
    ],
    ids=["linear", "forest", "function"],
)
def test_a_fitted_model_predicts_the_same(round_trip: Any, tmp_path: Any, model: Any) -> None:
    model.fit(features, target)
    back = round_trip(model, visualizations=tmp_path)
    assert type(back) is type(model)
    assert np.array_equal(back.predict_proba(features), model.predict_proba(features))
    assert round_trip.manifest["requires"]["sklearn"]
    assert (tmp_path / "estimator.html").exists()


def test_a_model_that_skops_trusts_is_no_pickle(round_trip: Any) -> None:
    round_trip(LogisticRegression().fit(features, target))
    assert round_trip.manifest["format"] == "skops"
    load_artifact(round_trip.folder, pickles=False)


def test_a_reader_without_skops_gets_a_pickle(round_trip: Any) -> None:
    back = round_trip(LogisticRegression(C=2.0), readers=[frozenset({"sklearn", "numpy"})])
    assert back.C == 2.0
    assert round_trip.manifest["format"] == "cloudpickle"
    assert round_trip.manifest["pickled"]
    assert round_trip.manifest["metadata"]["parameters"]["max_iter"] == 100
