"""A chain: each step adds one to what the step before it gave. One step when BENCH_N is 1."""

import os
import time

from tilth import pipeline, step


@step
def add_one(x: int) -> int:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"step {time.time()}\n")
    return x + 1


@pipeline
def chain(salt: int, n: int) -> None:
    x = salt
    for _ in range(n):
        x = add_one(x)


if __name__ == "__main__":
    chain(salt=int(os.environ["BENCH_SALT"]), n=int(os.environ["BENCH_N"]))
