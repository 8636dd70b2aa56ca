"""A frame of BENCH_N rows and five columns from one step to the next."""

import os
import time

import numpy as np
import pandas as pd
from zenml import pipeline, step


def mark(name: str) -> None:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"{name} {time.time()}\n")


@step
def produce(salt: int, rows: int) -> pd.DataFrame:
    random = np.random.default_rng(salt)
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
    mark("produced")
    return value


@step
def consume(value: pd.DataFrame) -> float:
    mark("begun")
    total = float(value["number"].sum() + value["amount"].sum() + value["rounded"].sum())
    total += float(value["word"].str.len().sum() + value["day"].astype("int64").sum())
    mark("used")
    return total


@pipeline
def frame(salt: int, rows: int) -> None:
    consume(produce(salt, rows))


if __name__ == "__main__":
    frame(salt=int(os.environ["BENCH_SALT"]), rows=int(os.environ["BENCH_N"]))
