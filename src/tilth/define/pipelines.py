"""`@pipeline`: a function that draws the graph of its steps."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from tilth.define import graph as graphs
from tilth.define.options import PIPELINE, PipelineOptions, checked
from tilth.define.steps import refuse_function
from tilth.errors import DefinitionError, TilthError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from tilth.runtime.client import Run


class Pipeline:
    """A pipeline. Calling it compiles it and runs it, and gives the finished run."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        refuse_function(function, "pipeline")
        self.function = function
        self.options = dict(options)
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """What the pipeline's runs are called after."""
        return str(self.options.get("name", self.function.__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Run:
        """Compile with these parameters, run, and return when the run has ended.

        Raises:
            RunFailed: A step failed; the message says which and why.
            RunCancelled: It was stopped, by Ctrl-C or `tilth runs cancel`.
        """
        graphs.refuse_call(self.name, self.function.__module__)
        # By name: the client needs more than the standard library, which a step's interpreter may not have.
        submit = import_module("tilth.client.submit")
        try:
            run: Run = submit.call(self, args, kwargs)
        except TilthError as error:
            # What it says is for whoever called; how tilth came to say it is not.
            raise error.with_traceback(None) from error.__cause__
        return run

    def with_options(self, **options: Unpack[PipelineOptions]) -> Pipeline:
        """The same pipeline with other options; those not given stay."""
        return Pipeline(self.function, {**self.options, **checked("pipeline", PIPELINE, options)})

    def __repr__(self) -> str:
        return f"<pipeline `{self.name}`>"


@overload
def pipeline(function: Callable[..., Any], /) -> Pipeline: ...
@overload
def pipeline(**options: Unpack[PipelineOptions]) -> Callable[[Callable[..., Any]], Pipeline]: ...
def pipeline(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a pipeline. Bare, or with options: see `PipelineOptions`."""
    if function is None:
        valid = checked("pipeline", PIPELINE, options)
        return lambda decorated: Pipeline(decorated, valid)
    if isinstance(function, str):
        raise DefinitionError(
            f"`@pipeline({function!r})`: options are given by name",
            mend=f"write `@pipeline(name={function!r})`",
        )
    return Pipeline(function, {})
