"""The same frame, written to Parquet and read with pandas alone."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd


def mark(name: str) -> None:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"{name} {time.time()}\n")


rows = int(os.environ["BENCH_N"])
random = np.random.default_rng(int(os.environ["BENCH_SALT"]))
words = np.array([f"word{index}" for index in range(1000)])
value = pd.DataFrame(
    {
        "number": np.arange(rows),
        "amount": random.random(rows),
        "rounded": random.random(rows).round(2),
        "word": random.choice(words, rows),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1000, rows), unit="D"),
    }
)
file = Path(os.environ["BENCH_TRACE"]).with_suffix(".parquet")
import pyarrow.parquet  # noqa: E402, F401 - what is measured is the file, not the import

mark("produced")
value.to_parquet(file)
value = pd.read_parquet(file)
mark("begun")
value["number"].sum() + value["amount"].sum() + value["rounded"].sum()
value["word"].str.len().sum() + value["day"].astype("int64").sum()
mark("used")
file.unlink()
