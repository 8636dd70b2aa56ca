"""A pipeline that notes each call of each step, so that repeated work shows."""

import os
import time
from pathlib import Path

from helper import combine

from tilth import get_step_context, log_metadata, pipeline, step


def note(text: str) -> None:
    """One line in one write: safe between processes, and complete when this returns."""
    line = f"{text}\n".encode()
    file = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, line)
    os.close(file)


def work() -> None:
    time.sleep(float(os.environ.get("STEP_S", "0.03")))


@step
def load(count: int) -> list[int]:
    note("load-begins")
    work()
    note("load")
    return list(range(count))


@step
def square(number: int) -> int:
    index = get_step_context().index
    note(f"square{index}-begins")
    work()
    note(f"square{index}")
    return number * number


@step
def train(data: list[int]) -> float:
    note("train-begins")
    work()
    while Path("hold").exists():
        time.sleep(0.01)
    log_metadata({"rows": len(data)})
    if Path("fail").exists():
        raise ValueError("the flag file is there")
    note("train")
    return sum(data) / 2


@step
def total(squares: list[int], trained: float) -> dict[str, float]:
    note("total-begins")
    work()
    note("total")
    return combine(sum(squares), trained)


@pipeline
def counted(count: int = 4):
    data = load(count)
    total(square.map(data), train(data))
