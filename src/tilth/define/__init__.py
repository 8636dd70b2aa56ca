"""What users write: `@step`, `@pipeline`, and the options both take. Standard library alone."""

from __future__ import annotations

from tilth.define.artifacts import Artifact as Artifact
from tilth.define.environments import Environment as Environment
from tilth.define.pipelines import Pipeline as Pipeline, pipeline as pipeline
from tilth.define.quantities import Resources as Resources, Retry as Retry
from tilth.define.steps import Step as Step, step as step, unmapped as unmapped

__all__ = [
    "Artifact",
    "Environment",
    "Pipeline",
    "Resources",
    "Retry",
    "Step",
    "pipeline",
    "step",
    "unmapped",
]
