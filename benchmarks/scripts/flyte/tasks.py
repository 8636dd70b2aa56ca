"""One task, a chain, or independent tasks, as BENCH_KIND says; BENCH_RECORD=1 keeps a record of the run."""

import asyncio
import os
import time

import flyte

env = flyte.TaskEnvironment(name="bench")


@env.task
async def add_one(x: int) -> int:
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"step {time.time()}\n")
    return x + 1


@env.task
async def chain(salt: int, n: int) -> int:
    x = salt
    for _ in range(n):
        x = await add_one(x)
    return x


@env.task
async def independent(salt: int, n: int) -> int:
    return sum(await asyncio.gather(*(add_one(salt + index) for index in range(n))))


if __name__ == "__main__":
    flyte.init(local_persistence=os.environ.get("BENCH_RECORD") == "1")
    local = flyte.with_runcontext(mode="local")
    salt, n = int(os.environ["BENCH_SALT"]), int(os.environ["BENCH_N"])
    if os.environ["BENCH_KIND"] == "chain" and n == 1:
        local.run(add_one, x=salt)
    else:
        local.run({"chain": chain, "independent": independent}[os.environ["BENCH_KIND"]], salt=salt, n=n)
