"""Independent steps that each wait one second."""

import os
import time

from tilth import pipeline, step


@step
def wait(number: int) -> int:
    time.sleep(1)
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"step {time.time()}\n")
    return number


@pipeline
def sleeps(salt: int, n: int) -> None:
    for index in range(n):
        wait(salt + index)


if __name__ == "__main__":
    sleeps(salt=int(os.environ["BENCH_SALT"]), n=int(os.environ["BENCH_N"]))
