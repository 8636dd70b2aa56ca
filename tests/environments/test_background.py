"""Work that nobody who was interrupted waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from tilth.environments import background


def test_results_are_in_the_order_of_the_items_whichever_is_first() -> None:
    assert background.at_once(lambda each: time.sleep((3 - each) / 100) or each, [0, 1, 2, 3]) == [0, 1, 2, 3]
    assert background.at_once(str, []) == []


def test_the_first_failure_in_order_is_raised_and_nothing_more_is_begun() -> None:
    begun = []
    together = threading.Barrier(2)

    def work(each: int) -> None:
        begun.append(each)
        together.wait(180)
        if each == 0:
            time.sleep(0.02)  # so that the other one fails earlier
        raise ValueError(each)

    with pytest.raises(ValueError, match="0"):
        background.at_once(work, range(9), threads=2)
    assert sorted(begun) == [0, 1]


def test_of_what_waits_for_a_crew_the_most_urgent_is_next() -> None:
    crew = background.Crew(1)
    held = threading.Event()
    done: list[int] = []
    crew.begin(held.wait)
    for each in (1, 3, 2, 3):
        crew.begin(lambda each=each: done.append(each), urgency=each)  # type: ignore[misc]
    held.set()
    crew.wait()
    assert done == [3, 3, 2, 1]
    crew.begin(lambda: done.append(9))  # after it had nothing to do
    crew.wait()
    assert done[-1] == 9


def test_a_crew_begins_nothing_after_a_failure_and_raises_it_to_all() -> None:
    crew = background.Crew(2)
    held, done = threading.Event(), []

    def fail() -> None:
        held.wait(30)
        raise ValueError("first")

    for _ in range(2):
        crew.begin(fail)
    crew.begin(lambda: done.append(1))
    held.set()
    with pytest.raises(ValueError, match="first"):
        crew.wait()
    with pytest.raises(ValueError, match="first"):
        crew.begin(lambda: done.append(2))
    assert not done


def test_a_crew_that_is_stopped_tells_those_that_run() -> None:
    crew = background.Crew(1)
    running, told = threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        while not crew.stopped:
            time.sleep(0.001)
        told.set()

    crew.begin(work)
    crew.begin(lambda: told.clear())
    assert running.wait(30)
    crew.stop()
    assert told.is_set()
    crew.begin(told.clear)  # nothing any more
    crew.wait()
    assert told.is_set()


def test_a_child_ends_with_the_process_and_a_thread_does_not_hold_it_up() -> None:
    code = (
        "import subprocess, sys, time\n"
        "from tilth.environments import background\n"
        "command = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)']\n"
        "background.in_thread(lambda: background.call(command))\n"
        "time.sleep(0.3)\n"
    )
    clock = time.monotonic()
    # The child inherits standard output: reading it ends when the child has ended too.
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=300)
    assert time.monotonic() - clock < 120
