"""ML pipelines in plain Python, each step in its own locked environment.

The names below are the public interface; they load on first use, so `import tilth` costs nothing, and
they need the standard library alone, so they import in any step's environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilth.define import (
        Artifact as Artifact,
        Environment as Environment,
        Resources as Resources,
        Retry as Retry,
        pipeline as pipeline,
        step as step,
        unmapped as unmapped,
    )
    from tilth.errors import TilthError as TilthError
    from tilth.materializers import (
        CSV as CSV,
        HTML as HTML,
        Markdown as Markdown,
        Materializer as Materializer,
    )
    from tilth.runtime.client import Client as Client
    from tilth.runtime.context import (
        StepContext as StepContext,
        get_step_context as get_step_context,
        load_artifact as load_artifact,
        log_metadata as log_metadata,
        save_artifact as save_artifact,
    )
    from tilth.runtime.tolerant import tolerant_imports as tolerant_imports

_HOME = {
    "Artifact": "define",
    "CSV": "materializers",
    "Client": "runtime.client",
    "Environment": "define",
    "HTML": "materializers",
    "Markdown": "materializers",
    "Materializer": "materializers",
    "Resources": "define",
    "Retry": "define",
    "StepContext": "runtime.context",
    "TilthError": "errors",
    "get_step_context": "runtime.context",
    "load_artifact": "runtime.context",
    "log_metadata": "runtime.context",
    "pipeline": "define",
    "save_artifact": "runtime.context",
    "step": "define",
    "tolerant_imports": "runtime.tolerant",
    "unmapped": "define",
}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
