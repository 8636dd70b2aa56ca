"""The same array, saved and loaded with numpy alone."""

import os
import time
from pathlib import Path

import numpy as np


def mark(name: str) -> None:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"{name} {time.time()}\n")


value = np.random.default_rng(int(os.environ["BENCH_SALT"])).random(int(os.environ["BENCH_N"]) * 125_000)
file = Path(os.environ["BENCH_TRACE"]).with_suffix(".npy")
mark("produced")
np.save(file, value)
value = np.load(file)
mark("begun")
value.sum()
mark("used")
file.unlink()
