"""An array of BENCH_N megabytes from one step to the next."""

import os
import time

import numpy as np
from zenml import pipeline, step


def mark(name: str) -> None:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"{name} {time.time()}\n")


@step
def produce(salt: int, megabytes: int) -> np.ndarray:
    value = np.random.default_rng(salt).random(megabytes * 125_000)
    mark("produced")
    return value


@step
def consume(value: np.ndarray) -> float:
    mark("begun")
    total = float(value.sum())  # a file that is mapped is only read here
    mark("used")
    return total


@pipeline
def array(salt: int, megabytes: int) -> None:
    consume(produce(salt, megabytes))


if __name__ == "__main__":
    array(salt=int(os.environ["BENCH_SALT"]), megabytes=int(os.environ["BENCH_N"]))
