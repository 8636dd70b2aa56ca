"""200 steps in a row, in 20 environments."""

from typing import Annotated

from tilth import Environment, pipeline, step

ENVIRONMENTS = [
    Environment(f"e{i}", requirements=["iniconfig", "humanize<5", "tomli-w"], variables={"NUMBER": str(i)})
    for i in range(20)
]


@step
def add(x: int) -> Annotated[int, "sum"]:
    return x + 1


@pipeline
def many_environments(x: int = 0):
    for i in range(200):
        x = add.with_options(environment=ENVIRONMENTS[i % 20])(x)
