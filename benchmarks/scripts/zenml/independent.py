"""Steps that do not depend on each other."""

import os
import time

from zenml import pipeline, step


@step
def add_one(x: int) -> int:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"step {time.time()}\n")
    return x + 1


@pipeline
def independent(salt: int, n: int) -> None:
    for index in range(n):
        add_one(salt + index)


if __name__ == "__main__":
    independent(salt=int(os.environ["BENCH_SALT"]), n=int(os.environ["BENCH_N"]))
