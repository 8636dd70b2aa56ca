"""Pipelines compiled as users write them: from a module, in this process."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tilth.runtime.compile import compile_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

_SERIAL = itertools.count()
HEAD = """
from typing import Annotated
from tilth import Artifact, Environment, Resources, Retry, pipeline, step, unmapped

@step
def load(count: int = 3) -> list[int]:
    return list(range(count))

@step
def split(values) -> tuple[Annotated[list, "train"], Annotated[list, "test"]]:
    return values[:1], values[1:]

@step
def add(a, b=1, *, c=0):
    return a + b + c

@step
def tell(value=None) -> None:
    print(value)
"""


class Project:
    """A folder of modules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, text: str, *, head: str = HEAD) -> ModuleType:
        """A new module with this text below `head`."""
        name = f"written_{next(_SERIAL)}"
        (self.folder / f"{name}.py").write_text(head + textwrap.dedent(text))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def compile(self, body: str, *args: Any, head: str = HEAD, **kwargs: Any) -> Any:
        """The graph of a pipeline whose function has this body; parameters are its keyword arguments."""
        lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        module = self.load(f"\n@pipeline\ndef flow({', '.join(kwargs)}):\n{lines}\n", head=head)
        return self.compiled(module.flow, *args, **kwargs)

    def compiled(self, pipeline: Any, *args: Any, project: Any = None, **kwargs: Any) -> Any:
        return compile_pipeline(pipeline, args, kwargs, roots=[str(self.folder)], project=project)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Modules of a project that are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("written_"):
            del sys.modules[name]


@pytest.fixture
def graph(project: Project) -> Callable[..., Any]:
    """`graph("tell(load())")`: the compiled body, as nodes by id."""

    def compiled(body: str, **parameters: Any) -> dict[str, Any]:
        return {each.id: each for each in project.compile(body, **parameters).nodes}

    return compiled
