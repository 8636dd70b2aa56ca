"""The environment that is locked and made, for real work: data frames, learning, columns, plots."""

from tilth import Environment, pipeline, step

science = Environment("science", requirements=["pandas", "scikit-learn", "pyarrow", "matplotlib"])


@step(environment=science)
def nothing(): ...


@pipeline
def science_pipeline():
    nothing()
