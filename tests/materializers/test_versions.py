"""Artifacts between environments whose libraries have different versions, both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

import tilth
from tilth.materializers.artifacts import save_artifact

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.network, pytest.mark.slow]

OLD = ("numpy==1.26.4", "pandas==2.2.3", "scikit-learn==1.5.2", "pyarrow==18.1.0", "cloudpickle")
NEW = ("numpy>=2.3", "pandas>=3", "scikit-learn>=1.7", "cloudpickle")

# Makes the same values in either environment, saves them, and compares what it loads with its own.
SCRIPT = """
import sys, warnings
from pathlib import Path
import numpy as np, pandas as pd
from pandas.testing import assert_frame_equal, assert_series_equal, assert_index_equal
from sklearn.linear_model import LinearRegression
from tilth.materializers.artifacts import load_artifact, save_artifact

def values():
    yield "array", np.arange(12.0).reshape(3, 4).T
    yield "times", np.array(["2020-01-01", "NaT"], dtype="M8[us]")
    yield "records", np.array([(1, "a")], dtype=[("n", "i4"), ("t", "U3")])
    yield "scalar", np.float32(1.5)
    index = pd.date_range("2020-01-31", periods=3, freq="ME", tz="Europe/Berlin", name="at").as_unit("ns")
    frame = pd.DataFrame({
        "i": np.array([1, 2, 3], dtype="int32"),
        "f": [0.5, None, -0.0],
        "o": pd.Series(["a", None, "é"], dtype=object, index=index),
        "s": pd.array(["a", None, "é"], dtype="string[python]"),
        "c": pd.Categorical([3, 1, 3], ordered=True),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "z": pd.DatetimeIndex(np.array([1, 2, 3], dtype="M8[ns]")).tz_localize("Europe/Berlin"),
        "p": pd.period_range("2020", periods=3, freq="M"),
        "v": pd.interval_range(0, 3),
    }, index=index)
    frame.columns = pd.Index(frame.columns.to_numpy(dtype=object), dtype=object)
    yield "frame", frame
    # Not compared dtype by dtype: the default for text is another in pandas 3.
    yield "default", pd.DataFrame({"text": ["a", None, "b"], "n": [1, 2, 3]}, index=["x", "y", "z"])
    yield "levels", pd.MultiIndex.from_product([pd.Index([1, 2]), pd.Index([0.5, 1.5])], names=["a", None])
    yield "nested", {"array": np.ones(3), "frame": [frame[["i", "f"]]]}
    yield "model", LinearRegression().fit(np.arange(6.0).reshape(3, 2), [1.0, 2.0, 4.0])

def same(name, mine, theirs):
    if name == "default":
        assert theirs["text"].fillna("-").tolist() == mine["text"].fillna("-").tolist()
        assert list(theirs["text"].isna()) == [False, True, False]
        assert list(theirs.index) == list(mine.index) and list(theirs.columns) == list(mine.columns)
        assert_series_equal(theirs["n"].reset_index(drop=True), mine["n"].reset_index(drop=True))
    elif isinstance(mine, pd.DataFrame):
        # pytz there and zoneinfo here are not one dtype; the moments must be equal, and the zone's name.
        for each in (mine, theirs):
            assert str(each.index.tz) == "Europe/Berlin" and str(each["z"].dt.tz) == "Europe/Berlin"
        assert mine.index.freqstr == theirs.index.freqstr
        zoned = {"z": mine["z"].dtype}
        theirs = theirs.astype(zoned)
        theirs.index, before = theirs.index.tz_convert(mine.index.tz), theirs.index.freq
        theirs.index.freq = before
        assert_frame_equal(theirs, mine, check_exact=True, check_freq=True)
    elif isinstance(mine, pd.Index):
        assert_index_equal(theirs, mine, exact=True)
    elif isinstance(mine, np.ndarray) or isinstance(mine, np.generic):
        assert type(theirs) is type(mine) and theirs.dtype == mine.dtype
        assert theirs.tobytes("A") == mine.tobytes("A")
    elif isinstance(mine, dict):
        assert theirs["array"].tobytes() == mine["array"].tobytes()
        assert theirs["frame"][0].to_numpy().tobytes() == mine["frame"][0].to_numpy().tobytes()
    else:
        assert np.array_equal(theirs.predict([[1.0, 2.0]]), mine.predict([[1.0, 2.0]]))

what, root = sys.argv[1], Path(sys.argv[2])
for name, value in values():
    folder = root / name
    if what == "save":
        folder.mkdir()
        save_artifact(value, folder)
    else:
        with warnings.catch_warnings():
            if name == "model":
                warnings.simplefilter("ignore")
            same(name, value, load_artifact(folder))
        print(name)
"""


@pytest.fixture(scope="session")
def python_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """An interpreter with the given requirements, made once; tilth itself comes in on its path."""
    root = tmp_path_factory.mktemp("venvs")
    made: dict[tuple[str, ...], Path] = {}

    def make(*requirements: str) -> Path:
        if requirements not in made:
            venv = root / str(len(made))
            python = venv / "bin" / "python"
            subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, str(venv)], check=True)
            subprocess.run(
                [find_uv_bin(), "pip", "install", "-q", "--python", str(python), *requirements], check=True
            )
            made[requirements] = python
        return made[requirements]

    return make


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(tilth.__file__).parents[1])
    return subprocess.run(
        [str(python), "-W", "error", *arguments],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("writer", "reader"), [(OLD, NEW), (NEW, OLD)], ids=["old to new", "new to old"])
def test_values_pass_between_versions(
    tmp_path: Path, python_with: Callable[..., Path], writer: tuple[str, ...], reader: tuple[str, ...]
) -> None:
    (tmp_path / "values.py").write_text(SCRIPT)
    (tmp_path / "root").mkdir()
    saved = run(python_with(*writer), str(tmp_path / "values.py"), "save", str(tmp_path / "root"))
    assert saved.returncode == 0, saved.stderr
    loaded = run(python_with(*reader), str(tmp_path / "values.py"), "load", str(tmp_path / "root"))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert len(loaded.stdout.split()) == 9


def test_a_reader_without_the_library_is_told_what_to_add(
    tmp_path: Path, python_with: Callable[..., Path]
) -> None:
    import numpy as np

    save_artifact({"a": np.ones(3)}, tmp_path)
    code = (
        "import sys, pathlib; from tilth.materializers.artifacts import load_artifact; "
        "load_artifact(pathlib.Path(sys.argv[1]))"
    )
    done = run(python_with("cloudpickle"), "-c", code, str(tmp_path))
    assert "add `numpy` to the environment" in done.stderr
