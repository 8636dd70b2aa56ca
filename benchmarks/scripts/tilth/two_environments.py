"""A chain whose steps alternate between two environments that exclude each other."""

import os
import time

from tilth import Environment, pipeline, step

older = Environment("older", requirements=["six==1.16.0"])
newer = Environment("newer", requirements=["six==1.17.0"])


@step
def add_one(x: int, expected: str) -> int:
    import six

    assert six.__version__ == expected
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"step {time.time()}\n")
    return x + 1


@pipeline
def two_environments(salt: int, n: int) -> None:
    in_older, in_newer = add_one.with_options(environment=older), add_one.with_options(environment=newer)
    x = salt
    for index in range(n):
        x = in_newer(x, "1.17.0") if index % 2 else in_older(x, "1.16.0")


if __name__ == "__main__":
    two_environments(salt=int(os.environ["BENCH_SALT"]), n=int(os.environ["BENCH_N"]))
