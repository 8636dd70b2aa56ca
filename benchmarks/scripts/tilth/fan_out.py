"""A step that does nothing, mapped over BENCH_N items; and what that costs the driver: this process."""

import os
import resource

from tilth import pipeline, step


@step
def numbers(salt: int, n: int) -> list[int]:
    return list(range(salt, salt + n))


@step
def nothing(item: int) -> int:
    return item


@step
def count(items: list[int]) -> int:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"items {len(items)}\n")
    return len(items)


@pipeline
def fan_out(salt: int, n: int) -> None:
    count(nothing.map(numbers(salt, n)))


if __name__ == "__main__":
    fan_out(salt=int(os.environ["BENCH_SALT"]), n=int(os.environ["BENCH_N"]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"driver_cpu {used.ru_utime + used.ru_stime}\ndriver_kib {used.ru_maxrss}\n")
