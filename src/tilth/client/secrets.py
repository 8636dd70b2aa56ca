"""The secrets that a compiled pipeline asks for, looked up before anything is built."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tilth.engine.secrets import RunSecrets
from tilth.errors import NotFound, SetupError, TilthError

if TYPE_CHECKING:
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline
    from tilth.runtime.masking import Mask
    from tilth.secrets import Secrets


def run_secrets(pipeline: Pipeline, home: Home) -> RunSecrets:
    """The values that the pipeline's steps are given.

    Raises:
        SetupError: One was never set, or cannot be read; the error names a step that needs it.
    """
    values = {}
    for name, (steps, variables) in _needed(pipeline).items():
        try:
            values[name] = _kept(home).get(name)
        except NotFound as error:
            raise SetupError(_told(name, steps), why=_elsewhere(name, *variables), mend=error.mend) from None
        except TilthError as error:
            error.why = "\n".join(filter(None, (error.why, f"step `{steps[0]}` needs it")))
            raise
    return RunSecrets(values)


def step_secrets(pipeline: Pipeline, step: str, home: Home) -> tuple[dict[str, str], Mask]:
    """What one step is given, by variable, and what hides it.

    Raises:
        SetupError: As for `run_secrets`; secrets of other steps do not matter.
    """
    nodes = tuple(each for each in pipeline.nodes if each.id == step)
    secrets = run_secrets(replace(pipeline, nodes=nodes), home)
    return {name: value for node in nodes for name, value in secrets.variables(node).items()}, secrets.mask


def missing_secrets(pipeline: Pipeline, home: Home) -> list[str]:
    """What a run would miss, a line for each secret. Reads no value."""
    needed = _needed(pipeline)
    known = _kept(home).names() if needed else []
    return [
        f"{_told(name, steps)}: `tilth secret set {name}`"
        for name, (steps, _) in needed.items()
        if name not in known
    ]


def _kept(home: Home) -> Secrets:
    from tilth.secrets import open_secrets  # here for cost: most pipelines need none

    return open_secrets(home)


def _needed(pipeline: Pipeline) -> dict[str, tuple[list[str], list[str]]]:
    """By name of the secret: the steps that need it, and the variables they get it as, each once."""
    needed: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for node in pipeline.nodes:
        for variable, name in node.secrets.items():
            steps, variables = needed.setdefault(name, ({}, {}))
            steps[node.id] = variables[variable] = None
    return {name: (list(steps), list(variables)) for name, (steps, variables) in needed.items()}


def _told(name: str, steps: list[str]) -> str:
    others = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
    return f"step `{steps[0]}`{others} needs secret `{name}`, which is not set"


def _elsewhere(*names: str) -> str:
    """A variable of this process that somebody may have meant."""
    name = next((each for each in names if os.environ.get(each)), None)
    if name is None:
        return ""
    return f"the variable `{name}` that this process has is not taken for it: a step gets what was declared and kept"
