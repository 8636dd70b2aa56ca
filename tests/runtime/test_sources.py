"""What a project's modules are made of, read without importing them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies

from tilth.errors import DefinitionError
from tilth.runtime import sources

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, **files: str) -> Path:
    """Files by name, `a__b` for `a/b.py`, `a__init` for `a/__init__.py`."""
    for name, text in files.items():
        parts = ["__init__" if part == "init" else part for part in name.split("__")]
        path = root.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pkg.a.deep", {"pkg", "pkg.a", "pkg.a.deep"}),
        ("import pkg.b as x", {"pkg", "pkg.b"}),
        ("from pkg import b", {"pkg", "pkg.b"}),
        ("from pkg import value", {"pkg"}),
        ("from pkg.a import deep, nothing", {"pkg", "pkg.a", "pkg.a.deep"}),
        ("from pkg import *", {"pkg", "pkg.b"}),
        ("import space.one", {"space.one"}),
        ("from space import one", {"space.one"}),
        ("def f():\n    from pkg import b", {"pkg", "pkg.b"}),
        ("class C:\n    try:\n        import pkg.b\n    except ImportError: pass", {"pkg", "pkg.b"}),
        ("import importlib\nimportlib.import_module('pkg.b')", {"pkg", "pkg.b"}),
        ("import importlib as il\nil.import_module('pkg.b')", {"pkg", "pkg.b"}),
        ("from importlib import import_module as imp\nimp('pkg.b')", {"pkg", "pkg.b"}),
        (
            "import typing\nif typing.TYPE_CHECKING:\n    import pkg\nelse:\n    import space.one",
            {"space.one"},
        ),
        ("if not TYPE_CHECKING:\n    import pkg", {"pkg"}),
        ("import json, os.path, tilth", set()),
        ("from datasets import load", set()),
        ("import both", {"both"}),
    ],
)
def test_a_closure_has_every_project_module_that_is_imported(
    tmp_path: Path, text: str, expected: set[str]
) -> None:
    write(
        tmp_path,
        main=text,
        pkg__init="value = 1\n__all__ = ['b', 'value']",
        pkg__a__init="",
        pkg__a__deep="",
        pkg__b="",
        space__one="",
        datasets__notes="",
        both="",
        both__inner="",
    )
    assert set(sources.closure("main", [tmp_path])) == {"main"} | expected


def test_relative_imports_cycles_and_parents_are_followed(tmp_path: Path) -> None:
    write(
        tmp_path / "src",
        pkg__init="from .core import api",
        pkg__core__init="",
        pkg__core__api="from .. import tools\nfrom ..other.thing import x\nfrom . import missing",
        pkg__tools="import pkg.core.api",
        pkg__other__init="",
        pkg__other__thing="import numpy as np",
        pkg__unused="",
    )
    found = sources.closure("pkg.core.api", [tmp_path / "src", tmp_path])
    assert set(found) == {"pkg", "pkg.core", "pkg.core.api", "pkg.tools", "pkg.other", "pkg.other.thing"}
    assert sources.outside(found) == {"numpy": (str(tmp_path / "src/pkg/other/thing.py"), 1)}
    assert sources.closure("nothing", [tmp_path]) == {}


def test_the_first_root_wins_and_a_package_wins_over_a_module(tmp_path: Path) -> None:
    write(tmp_path / "one", both__init="", both="", shared="x = 1")
    write(tmp_path / "two", shared="x = 2", only__here="")
    roots = [tmp_path / "one", tmp_path / "two"]
    assert sources.closure("both", roots)["both"].path == tmp_path / "one/both/__init__.py"
    assert sources.closure("shared", roots)["shared"].path == tmp_path / "one/shared.py"
    assert set(sources.closure("only.here", roots)) == {"only.here"}


def test_outside_names_are_neither_the_project_s_nor_python_s(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="""
        import json, pandas.core.api
        import tilth
        from sklearn.linear_model import LinearRegression
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import polars
        try:
            import cupy
        except ImportError:
            cupy = None
        def f():
            import torch, pandas
        """,
    )
    main = sources.closure("main", [tmp_path])["main"]
    assert main.outside == {"pandas": 2, "sklearn": 4, "cupy": 9, "torch": 13}
    assert main.optional == {"cupy"}
    assert not main.dynamic


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module\nimport_module(f'a.{x}')",
        "from importlib import import_module\nimport_module('.a', __package__)",
        "__import__(name)",
        "exec(code)",
        "eval(code)",
        "import sys\nsys.path.insert(0, 'x')",
        "import runpy\nrunpy.run_path('x.py')",
        "import importlib.util\nimportlib.util.spec_from_file_location('a', 'b')",
        "import importlib as il\nil.import_module(name)",
        "from importlib import import_module as imp\nimp(name)",
        "def f():\n    from importlib import import_module as imp\n    return imp(name)",
        "import builtins as b\nb.__import__(name)",
        "import builtins\nbuiltins.exec(code)",
        "import importlib\nload = importlib.import_module",
        "from importlib import import_module as imp\nmodules = map(imp, names)",
        "from sys import path as places\nplaces.append('x')",
        "import sys as s\ns.path.append('x')",
        "from runpy import run_path as rp\nrp('x.py')",
    ],
)
def test_what_cannot_be_followed_is_said_with_its_line(tmp_path: Path, text: str) -> None:
    write(tmp_path, main=text)
    line = len(text.splitlines())
    assert f"line {line}" in sources.closure("main", [tmp_path])["main"].dynamic


@pytest.mark.parametrize(
    "text", ["model.eval()", "frame.eval('a + b')", "eval('1 + 1')", "df.exec(x)", "self.path"]
)
def test_methods_of_like_names_are_not_dynamic(tmp_path: Path, text: str) -> None:
    write(tmp_path, main=text)
    assert not sources.closure("main", [tmp_path])["main"].dynamic


def test_a_compiled_module_is_part_of_the_project_and_dynamic(tmp_path: Path) -> None:
    (tmp_path / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    write(tmp_path, main="import fast")
    found = sources.closure("main", [tmp_path])
    assert found["fast"].dynamic == "is compiled"
    assert not sources.needed("main", "fast", [tmp_path]).complete


@given(strategies.text(alphabet="ab =\n\t'é#", max_size=40))
def test_the_digest_does_not_depend_on_newlines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("newlines")
    digests = []
    for name, newline in (("unix", "\n"), ("windows", "\r\n"), ("mac", "\r")):
        content = "".join(f"# {line}\n" for line in text.split("\n")).replace("\n", newline)
        (root / f"{name}.py").write_bytes(content.encode())
        digests.append(sources.closure(name, [root])[name].digest)
        digests.append(sources.source_digest(root / f"{name}.py"))
    assert len(set(digests)) == 1


def test_a_source_in_another_encoding_is_read_as_python_reads_it(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(
        "# -*- coding: latin-1 -*-\nname = 'é'\nimport numpy\n".encode("latin-1")
    )
    (tmp_path / "marked.py").write_bytes(b"\xef\xbb\xbfimport numpy\n")
    assert sources.closure("latin", [tmp_path])["latin"].outside == {"numpy": 3}
    assert sources.closure("marked", [tmp_path])["marked"].outside == {"numpy": 1}


@pytest.mark.parametrize(
    "content", [b"x = 1\ndef broken(:\n", b"x = 1\ny = '\xff'\n", b"# coding: nothing-known\n", b"a\0b"]
)
def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    with pytest.raises(DefinitionError, match=r"bad\.py") as caught:
        sources.closure("bad", [tmp_path])
    if b"broken" in content:
        assert "line 2" in str(caught.value)
        assert "def broken(:" in str(caught.value)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, main="import numpy")
    before = sources.closure("main", [tmp_path])["main"]
    write(tmp_path, main="import pandas")
    after = sources.closure("main", [tmp_path])["main"]
    assert (set(before.outside), set(after.outside)) == ({"numpy"}, {"pandas"})
    assert before.digest != after.digest


STEPS = """
    from __future__ import annotations
    import json
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    import torch
    import scipy.stats
    from typing import TYPE_CHECKING, Annotated
    from sklearn.linear_model import LogisticRegression as Model
    import tilth
    from tilth import Environment, step
    from lib import helpers
    from lib.helpers import clean
    import lib.deep.inner
    import numba
    if TYPE_CHECKING:
        import polars as pl
    try:
        import cupy
    except ImportError:
        cupy = None

    training = Environment("training", requirements=["x"])
    WEIGHTS = torch.zeros(3)
    def local_helper():
        return plt.figure()

    class Net(torch.nn.Module):
        def forward(self):
            return np.zeros(3)

    @step(environment=training)
    def plain(x: int = 3) -> int:
        return len(json.dumps(x))
    @step
    def body(): return pd.read_csv("x")
    @step
    def annotated(frame: pd.DataFrame, other: "list[pl.DataFrame]") -> Annotated[Model, "my model"]: return frame.mean()
    @step
    def through_helper(): return local_helper()
    @step
    def through_global(): return WEIGHTS
    @step
    def through_class(): return Net()
    @step
    def through_module(): return helpers.use()
    @step
    def through_name(): return clean()
    @step
    def through_deep(): return lib.deep.inner.go()
    @step
    def shadowed(torch, np=1):
        plt = [pd for pd in [1]]
        return torch, np, plt
    @step
    def nested():
        def inner():
            return scipy.stats.norm
        return inner
    @step
    def inside():
        import xgboost
        from lib.helpers import use
        try:
            import lightgbm
        except ImportError:
            pass
        return use()
    @step
    @numba.njit
    def decorated(): return 1
    @step
    def default(x=np.nan): return x
    @step
    def maybe(): return cupy or 1
    @step
    def handed_on(): return getattr(helpers, "x")
    @step
    def recursive(n):
        return recursive(n - 1) + global_assigned
    def set_it():
        global global_assigned
        global_assigned = torch
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("project"),
        steps=STEPS,
        lib__init="",
        lib__helpers="import requests, seaborn\ndef use(): return requests.get\ndef clean(): return again()\n"
        "from .more import again",
        lib__more="import joblib, nltk\nfrom lib.helpers import use\ndef again(): return joblib.load, use()",
        lib__deep__init="",
        lib__deep__inner="import duckdb\ndef go(): return duckdb",
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("plain", set()),
        ("body", {"pandas"}),
        ("annotated", set()),
        ("through_helper", {"matplotlib"}),
        ("through_global", {"torch"}),
        ("through_class", {"torch", "numpy"}),
        ("through_module", {"requests"}),
        ("through_name", {"joblib", "requests"}),
        ("through_deep", {"duckdb"}),
        ("shadowed", set()),
        ("nested", {"scipy"}),
        ("inside", {"xgboost", "requests"}),
        ("decorated", {"numba"}),
        ("default", {"numpy"}),
        ("maybe", set()),
        ("recursive", set()),
    ],
)
def test_a_step_needs_what_its_names_lead_to(project: Path, step: str, expected: set[str]) -> None:
    found = sources.needed("steps", step, [project])
    assert set(found) == expected
    assert found.complete


def test_annotations_and_handled_imports_are_told_apart(project: Path) -> None:
    assert set(sources.needed("steps", "annotated", [project]).annotated) == {"pandas", "polars", "sklearn"}
    assert set(sources.needed("steps", "inside", [project]).optional) == {"lightgbm"}
    assert set(sources.needed("steps", "maybe", [project]).optional) == {"cupy"}
    file, line = sources.needed("steps", "body", [project])["pandas"]
    assert (file, line) == (str(project / "steps.py"), 6)


def test_what_cannot_be_followed_makes_the_answer_incomplete(project: Path, tmp_path: Path) -> None:
    assert not sources.needed("steps", "handed_on", [project]).complete
    assert not sources.needed("steps", "no_such_step", [project]).complete
    assert not sources.needed("no_such_module", "x", [project]).complete
    write(
        tmp_path,
        main="from lib import *\nimport lazy\ndef f(): return thing()\ndef g(): return lazy.x\ndef h(): return len([])",
        lib="import numpy\ndef thing(): return numpy",
        lazy="import pandas\ndef __getattr__(name): return pandas",
    )
    starred = sources.needed("main", "f", [tmp_path])
    assert (set(starred), starred.complete) == ({"numpy"}, False)
    lazy = sources.needed("main", "g", [tmp_path])
    assert (set(lazy), lazy.complete) == ({"pandas"}, False)
    assert sources.needed("main", "h", [tmp_path]).complete
