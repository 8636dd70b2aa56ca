"""What a missing package does to a project's modules: nothing, until somebody uses it."""

from __future__ import annotations

import builtins
import copy
import importlib
import itertools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tilth import tolerant_imports
from tilth.errors import DefinitionError
from tilth.runtime import tolerant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_SERIAL = itertools.count()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Write a module of a project and import it tolerantly; further files by name."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def run(text: str, **files: str) -> ModuleType:
        for name, content in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(content))
        name = f"project_{next(_SERIAL)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        with tolerant_imports(tmp_path):
            return importlib.import_module(name)

    yield run
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    tolerant.describe("", "")


def test_a_missing_package_lets_the_module_import_and_fails_when_used(load: Any) -> None:
    module = load("""
        import nowhere as nw
        import nowhere.deep.inside
        from nowhere.deep import thing

        def use():
            return nw.read()
        def inside():
            return thing()
    """)
    tolerant.describe("train", "training")
    with pytest.raises(DefinitionError) as caught:
        module.use()
    text = str(caught.value)
    assert "`nowhere` is not installed in environment `training`" in text
    assert "step `train` uses `nowhere.read`" in text
    assert f"{module.__file__}:2" in text
    with pytest.raises(DefinitionError, match=r"`nowhere\.deep\.thing`"):
        module.inside()
    assert "nowhere" not in sys.modules
    assert tolerant.missing_packages()["nowhere"][0] == (module.__file__, 2)


def test_names_of_a_missing_package_work_as_types(load: Any) -> None:
    module = load("""
        from __future__ import annotations
        import collections.abc, typing, enum, dataclasses, functools
        from typing import Annotated, Any, Callable, Generic, NamedTuple, NewType, Optional, TypedDict
        from typing import TypeVar, Union
        import nowhere as pd
        from nowhere import DataFrame

        T = TypeVar("T", bound=pd.DataFrame)
        U = TypeVar("U", pd.Series, int)
        New = NewType("New", pd.DataFrame)
        kinds = [
            Annotated[pd.DataFrame, "x"], Optional[pd.Index], list[pd.DataFrame], tuple[pd.DataFrame, ...],
            dict[str, pd.DataFrame], pd.DataFrame | None, None | pd.DataFrame, int | pd.DataFrame,
            list[int] | pd.DataFrame, Optional[int] | pd.DataFrame, pd.DataFrame | pd.Series | int,
            Callable[[pd.DataFrame], pd.Series], collections.abc.Callable[[pd.DataFrame], None],
            Union[pd.DataFrame, pd.Series, pd.DataFrame], type[pd.DataFrame], pd.NDArray[pd.float64],
            Optional[pd.NDArray[pd.float64]], typing.Type[pd.DataFrame], typing.Iterator[pd.DataFrame],
            typing.ClassVar[pd.DataFrame], typing.Final[pd.DataFrame],
        ]

        class Kind(enum.Enum):
            A = pd.A
            B = pd.B

        @dataclasses.dataclass
        class Fields:
            frame: pd.DataFrame
            other: Any = pd.NaT
            more: list[pd.DataFrame] = dataclasses.field(default_factory=list)

        class Tuple(NamedTuple):
            frame: pd.DataFrame

        class Dict(TypedDict):
            frame: pd.DataFrame

        class Box(Generic[T]): ...
        box = Box[pd.DataFrame]

        def function(frame: pd.DataFrame = pd.NaT, *, key=pd.Timestamp("2020")) -> pd.Series | None: ...
        hints = typing.get_type_hints(function)
        table = {pd.DataFrame: 1, "frame": pd.DataFrame}
        same = pd.DataFrame is DataFrame and pd.DataFrame in table and pd.Series not in table
        deduplicated = Union[pd.DataFrame, pd.DataFrame] is pd.DataFrame
        partial = functools.partial(pd.read_csv, sep=";")
    """)
    assert len(module.kinds) == 21
    assert module.same
    assert module.deduplicated
    assert tolerant.is_placeholder(module.hints["frame"])
    assert module.Fields.__dataclass_fields__["frame"].type == "pd.DataFrame"
    assert len(module.Kind) == 2
    assert "nowhere.DataFrame" in repr(module.DataFrame)
    assert all(repr(each) for each in module.kinds)


def test_decorators_of_a_missing_package_leave_what_they_decorate(load: Any) -> None:
    module = load("""
        import nowhere
        app = nowhere.App()

        @nowhere.jit
        def plain():
            return 1

        @nowhere.jit(parallel=True)
        @app.command("x")
        def options():
            return 2

        @nowhere.register
        class Thing: ...

        class Other:
            @nowhere.validator("x")
            @classmethod
            def check(cls):
                return 3

        wrapped = nowhere.vectorize(plain)
    """)
    assert (module.plain(), module.options(), module.Other.check()) == (1, 2, 3)
    assert isinstance(module.Thing, type)
    assert tolerant.is_placeholder(module.wrapped)
    with pytest.raises(DefinitionError):
        module.wrapped()


def test_a_missing_base_class_becomes_a_stub_that_cannot_be_made(load: Any) -> None:
    module = load("""
        import abc, enum
        from typing import Generic, Protocol, TypeVar
        import nowhere
        from nowhere import nn
        T = TypeVar("T")
        class Meta(type): ...
        class Own(metaclass=Meta): ...

        class Net(nn.Module):
            width = 3
            def __init__(self, n: int) -> None:
                super().__init__()
        class Deeper(Net, nn.Module): ...
        class Two(nowhere.A, nowhere.B, abc.ABC): ...
        class Explicit(nn.Module, metaclass=abc.ABCMeta): ...
        class Mixed(nn.Module, Own): ...
        class Generics(nn.Module, Generic[T]): ...
        class Table(nowhere.SQLModel, table=True): ...
        class Call(nowhere.declarative_base()): ...
        class Item(nn.List[int]): ...
        class Made(metaclass=nowhere.Meta): ...
        early = Net(3)
        weights = Net.from_pretrained("x")
        is_base = isinstance(3, nn.Module) or issubclass(int, nn.Module)
    """)
    assert module.Net.width == 3
    assert issubclass(module.Deeper, module.Net)
    assert tolerant.is_placeholder(module.early)
    assert tolerant.is_placeholder(module.weights)
    assert module.is_base is False
    for kind in (
        module.Net,
        module.Deeper,
        module.Two,
        module.Explicit,
        module.Mixed,
        module.Generics,
        module.Table,
    ):
        assert not isinstance(3, kind)
        assert tolerant.is_placeholder(kind)
        with pytest.raises(DefinitionError, match="nowhere"):
            kind(3)
    with pytest.raises(DefinitionError, match=r"Net\.from_pretrained"):
        module.Net.from_pretrained("x")
    assert not hasattr(module.Net, "__wrapped__")


def test_exceptions_of_a_missing_package_catch_nothing(load: Any) -> None:
    module = load("""
        import nowhere
        from nowhere import HTTPError, Timeout
        class Mine(nowhere.ServiceError): ...

        def guarded():
            try:
                raise KeyError("the user's own")
            except (HTTPError, Timeout, Mine):
                return "caught"
        try:
            raise KeyError("x")
        except nowhere.Pruned:
            early = False
        except KeyError:
            early = True
    """)
    assert module.early is True
    with pytest.raises(KeyError, match="the user's own"):
        module.guarded()
    with pytest.raises(DefinitionError):
        raise module.HTTPError("x")


@pytest.mark.parametrize(
    "use",
    ["bool(n.x)", "len(n.x)", "list(n.x)", "n.x + 1", "1 + n.x", "-n.x", "n.x < 2", "n.x == 2", "n.x != 2",
     "2 in n.x", "n.__version__ >= '2'", "int(n.x)", "[0][n.x]", "a, b = n.x", "if n.cuda.is_on(): pass",
     "with n.x: pass"],
)  # fmt: skip
def test_computing_with_a_missing_package_at_import_is_refused_by_name(load: Any, use: str) -> None:
    with pytest.raises(DefinitionError, match="`nowhere` is not installed") as caught:
        load(f"import nowhere as n\n{use}\n")
    assert "at import" in str(caught.value)


def test_settings_of_a_missing_package_have_no_effect(load: Any) -> None:
    load("""
        import nowhere as plt
        plt.rcParams["figure.dpi"] = 100
        plt.backend.benchmark = True
        del plt.rcParams["x"]
        plt.style.use("dark")
    """)


@pytest.mark.parametrize(
    "use",
    ["m.n.x", "m.n()", "m.n[1]", "m.n | None", "isinstance(1, m.n)", "m.n.__version__",
     "setattr(m.n, 'x', 1)", "2 == m.n", "f'{m.n.x}'", "exec('class X(m.n): pass', {'m': m})", "bool(m.n)",
     "m.made.x"],
)  # fmt: skip
def test_every_use_after_the_import_is_refused_by_name(load: Any, use: str) -> None:
    module = load("import nowhere as n\nmade = n.make()")
    with pytest.raises(DefinitionError, match="`nowhere`"):
        eval(use, {"m": module})


def test_probes_get_plain_answers_after_the_import(load: Any) -> None:
    import inspect

    thing = load("from nowhere import thing").thing
    assert not hasattr(thing, "__array__")
    assert not hasattr(thing, "__wrapped__")
    assert not hasattr(thing, "_repr_html_")
    assert thing.__name__ == "thing"
    assert thing.__doc__
    assert hash(thing) == hash(thing)
    assert copy.copy(thing) is thing
    assert copy.deepcopy({"a": [thing]})["a"][0] is thing
    assert not inspect.isclass(thing)
    assert not inspect.isfunction(thing)
    assert inspect.unwrap(thing) is thing
    assert str(inspect.signature(thing))
    assert pickle.loads(pickle.dumps(thing)) is thing
    assert {thing: 1}[thing] == 1


def test_a_pickled_placeholder_is_the_real_thing_where_that_is_installed(load: Any, tmp_path: Path) -> None:
    thing = load("from later.part import Thing").Thing
    data = pickle.dumps(thing)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "__init__.py").write_text("")
    (tmp_path / "later" / "part.py").write_text("class Thing: pass")
    importlib.invalidate_caches()
    assert isinstance(pickle.loads(data), type)


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    import nowhere\nexcept ImportError:\n    found = False",
        "try:\n    import nowhere\nexcept (KeyError, ModuleNotFoundError):\n    found = False",
        "try:\n    if True:\n        from nowhere import x\nexcept Exception:\n    found = False",
        "try:\n    import nowhere\nexcept:\n    found = False",
        "import contextlib as c\nfound=False\nwith c.suppress(ImportError):\n    import nowhere\n    found=1",
        "try:\n    try:\n        import nowhere\n    finally: ...\nexcept ImportError:\n    found = False",
        "try: import os, nowhere\nexcept ImportError: found = False",
        "def f():\n    import nowhere\ntry:\n    f()\nexcept ImportError:\n    found = False",
        "import importlib as i\ntry:\n    i.import_module('nowhere')\nexcept ImportError:\n    found = False",
        "def f():\n    return __import__('nowhere')\ntry:\n    f()\nexcept ImportError:\n    found = False",
    ],
)
def test_an_import_whose_absence_is_handled_really_fails(load: Any, text: str) -> None:
    assert load(text).found is False


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    import nowhere\nexcept KeyError:\n    pass",
        "try:\n    pass\nexcept ImportError:\n    pass\nelse:\n    import nowhere",
        "try:\n    import missing_too_1_\nexcept ImportError:\n    import nowhere",
        "class C:\n    import nowhere\nnowhere = C.nowhere",
        "if True:\n    import nowhere; import os",
        "from os import (\n    path,\n)\nfrom nowhere import (\n    a as nowhere,\n    b,\n)",
        "for _ in [1]:\n    with open(__file__):\n        import nowhere",
        "import nowhere.x.y\nassert nowhere.x.y is nowhere.x.y",
    ],
)
def test_other_imports_at_module_or_class_level_give_placeholders(load: Any, text: str) -> None:
    assert tolerant.is_placeholder(load(text).nowhere)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from . import sibling", ""),
        ("from nowhere import *", "nowhere"),
        ("import json.nothing", "json.nothing"),
        ("import tkinter_typo_ as t\nimport helpers.absent", "helpers.absent"),
        ("import helpers_outside_path.x\nimport hidden", "hidden"),
        ("exec('import nowhere')", "nowhere"),
        ("import importlib\nimportlib.import_module('nowhere')", "nowhere"),
    ],
)
def test_other_failures_to_import_really_fail(load: Any, text: str, name: str) -> None:
    with pytest.raises(ImportError) as caught:
        load(text, helpers__init="", helpers____init__="", src__hidden="")
    assert not name or caught.value.name == name


def test_a_library_s_own_missing_import_really_fails(load: Any, tmp_path: Path, monkeypatch: Any) -> None:
    library = tmp_path / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    (library / "lib_with_gap.py").write_text("import nowhere")
    (library / "lib_with_choice.py").write_text(
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None"
    )
    monkeypatch.syspath_prepend(library)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        load("import lib_with_gap")
    assert load("import lib_with_choice as lib").lib.nowhere is None


def test_a_module_imported_under_a_handler_really_fails(load: Any) -> None:
    module = load(
        "try:\n    import with_gap\nexcept ImportError:\n    with_gap = None\nimport without",
        with_gap="import nowhere",
        without="import nowhere",
    )
    assert module.with_gap is None
    assert tolerant.is_placeholder(module.without.nowhere)


def test_a_part_of_a_namespace_package_may_be_missing(load: Any, tmp_path: Path, monkeypatch: Any) -> None:
    library = tmp_path / "site-packages"
    (library / "corp" / "cloud" / "here").mkdir(parents=True)
    (library / "corp" / "cloud" / "here" / "__init__.py").write_text("value = 1")
    monkeypatch.syspath_prepend(library)
    module = load("""
        from corp.cloud import storage, here
        from corp.other import thing
        import corp.cloud.queue as queue
        def use():
            return storage.Client()
    """)
    assert module.here.value == 1
    assert tolerant.is_placeholder(module.queue)
    with pytest.raises(DefinitionError, match=r"corp\.cloud\.storage\.Client"):
        module.use()


def test_without_roots_every_file_outside_site_packages_is_the_project_s(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "rootless_project.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    with tolerant_imports():
        module = importlib.import_module("rootless_project")
    assert tolerant.is_placeholder(module.nowhere)


def test_outside_the_context_and_in_other_threads_imports_fail(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("elsewhere_a", "elsewhere_b", "elsewhere_c"):
        (tmp_path / f"{name}.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    failed = []

    def other() -> None:
        try:
            importlib.import_module("elsewhere_a")
        except ModuleNotFoundError as error:
            failed.append(error)

    plain = builtins.__import__
    with tolerant_imports(tmp_path):
        with tolerant_imports(tmp_path):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        importlib.import_module("elsewhere_b")
    assert failed
    assert builtins.__import__ is plain
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("elsewhere_c")


def test_an_import_hook_set_meanwhile_survives(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    (tmp_path / "hooked.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    asked = []
    with tolerant_imports():
        below = builtins.__import__

        def hook(name: str, *rest: Any) -> Any:
            asked.append(name)
            return below(name, *rest)

        builtins.__import__ = hook
    assert builtins.__import__ is hook
    with tolerant_imports(tmp_path):
        assert tolerant.is_placeholder(importlib.import_module("hooked").nowhere)
    assert "nowhere" in asked


_OTHER_PYTHONS = [
    path
    for version in ("3.10", "3.12", "3.13")
    for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")
]


@pytest.mark.parametrize("python", _OTHER_PYTHONS, ids=lambda each: each.parent.parent.name)
def test_types_and_bases_work_on_other_pythons(python: Path, tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(
        textwrap.dedent("""
        import collections.abc, dataclasses, enum, typing
        from typing import Annotated, Callable, Generic, Optional, TypeVar, Union
        import nowhere as pd
        T = TypeVar("T", bound=pd.DataFrame)
        kinds = [Annotated[pd.DataFrame, "x"], Optional[pd.Index], list[pd.DataFrame], pd.DataFrame | None,
                 int | pd.DataFrame, Optional[int] | pd.DataFrame, Callable[[pd.DataFrame], pd.Series],
                 collections.abc.Callable[[pd.DataFrame], None], Union[pd.A, pd.B, pd.A], typing.Type[pd.X]]
        class Kind(enum.Enum):
            A = pd.A
            B = pd.B
        @dataclasses.dataclass
        class Fields:
            frame: pd.DataFrame
            other: object = pd.NaT
        class Net(pd.Module, Generic[T]): ...
        @pd.jit(x=1)
        def function(frame: pd.DataFrame = pd.NaT) -> pd.Series | None:
            return 5
        hints = typing.get_type_hints(function)
        try:
            import nowhere_else
        except ImportError:
            nowhere_else = None
        def use():
            return pd.read()
        """)
    )
    (tmp_path / "main.py").write_text(
        "import tilth, tilth.errors\n"
        "with tilth.tolerant_imports():\n    import project\n"
        "assert project.function() == 5 and project.nowhere_else is None\n"
        "try:\n    project.use()\nexcept tilth.errors.DefinitionError:\n    print('refused')\n"
    )
    source = Path(tolerant.__file__).parents[2]
    result = subprocess.run(
        [python, "main.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert (result.stdout, result.stderr) == ("refused\n", "")
