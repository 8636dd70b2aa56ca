"""One step, in an environment or in the client's interpreter."""

import os

from tilth import Environment, pipeline, step

small = Environment("small", requirements=["iniconfig", "humanize<5", "tomli-w"])


@step(environment=small if os.environ.get("BENCH_ENVIRONMENT") else None, cache=False)
def nothing(): ...


@pipeline
def one_environment():
    nothing()
