"""Print a flow: Metaflow reads the source of a flow's class, so its steps have to be written out.

python generate.py chain 100
"""

import sys

HEAD = """import os
import time

from metaflow import FlowSpec, step


def trace() -> None:
    with open(os.environ["BENCH_TRACE"], "a") as file:
        file.write(f"step {{time.time()}}\\n")


class {name}(FlowSpec):
"""
TAIL = """

if __name__ == "__main__":
    {name}()
"""


def method(name: str, body: list[str], inputs: bool = False) -> str:
    lines = [
        f"    def {name}(self{', inputs' if inputs else ''}):",
        "        trace()",
        *(f"        {line}" for line in body),
    ]
    return "    @step\n" + "\n".join(lines) + "\n"


def chain(n: int) -> list[str]:
    """`n` steps, at least two: a flow has a start and an end."""
    names = ["start", *(f"step_{index}" for index in range(1, n - 1)), "end"]
    bodies = [['self.x = int(os.environ["BENCH_SALT"])'], *([["self.x += 1"]] * (len(names) - 1))]
    nexts = [*(f"self.next(self.{name})" for name in names[1:]), ""]
    return [
        method(name, [*body, *filter(None, [following])])
        for name, body, following in zip(names, bodies, nexts, strict=True)
    ]


def independent(n: int) -> list[str]:
    """`n` tasks of a foreach, with the start, join and end it needs."""
    return [
        method("start", [f"self.numbers = list(range({n}))", 'self.next(self.add_one, foreach="numbers")']),
        method("add_one", ["self.x = self.input + 1", "self.next(self.join)"]),
        method("join", ["self.total = sum(each.x for each in inputs)", "self.next(self.end)"], inputs=True),
        method("end", ["pass"]),
    ]


if __name__ == "__main__":
    kind, n = sys.argv[1], int(sys.argv[2])
    name = kind.title()
    steps = {"chain": chain, "independent": independent}[kind](n)
    print(HEAD.format(name=name) + "\n".join(steps) + TAIL.format(name=name), end="")
