"""Lets a project's modules import although a package that only other steps need is missing here.

While `tolerant_imports` is active, a third-party import that is missing and written at the top of one of the
project's own files binds a `Missing` placeholder in that file's namespace. It may be named, subscripted,
called, used as a decorator, a base class or a type while modules are imported; using it later raises a
`DefinitionError` that names the package. Nothing is ever put in `sys.modules`, and a library's own imports,
and imports whose absence the code handles, really fail.
"""
# `os.path` throughout: this is imported in users' interpreters, where pathlib need not be loaded yet.
# ruff: noqa: PTH100, PTH112, PTH113, PTH116, PTH118, PTH119, PTH120, PTH206

from __future__ import annotations

import builtins
import os
import sys
from _thread import allocate_lock, get_ident
from abc import ABCMeta
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType, ModuleType, TracebackType

_HANDLERS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_EXCEPTION_SUFFIXES = ("Error", "Exception", "Warning", "Interrupt")
_IS_FUNCTION = 0x1  # inspect.CO_OPTIMIZED: set for functions, not for modules and class bodies
_STDLIB = os.path.realpath(os.path.dirname(os.__file__))
_TILTH = os.path.realpath(os.path.dirname(os.path.dirname(__file__)))

_LIBRARIES = frozenset({"site-packages", "dist-packages"})

_lock = allocate_lock()
_active: dict[int, list[tuple[str, ...]]] = {}  # thread -> roots of each context it is in, outermost first
_previous: Callable[..., Any] | None = None  # what `builtins.__import__` was before the first context
_wrapper: Callable[..., Any] | None = None
_packages: dict[str, Missing] = {}
_sites: dict[str, list[tuple[str, int]]] = {}
_exceptions: set[str] = set()  # names seen in `except` clauses of files that import something missing
_trees: dict[str, tuple[tuple[int, int], ast.Module | None]] = {}
_asking = ("", "")


class tolerant_imports:  # noqa: N801 - used as `with tolerant_imports():`, named as the verb it is
    """While active in this thread, missing third-party imports of the project's own files give placeholders.

    Args:
        roots: Folders whose files are the project's. Without any: every file outside the standard library
            and `site-packages`.
    """

    def __init__(self, *roots: str | Path) -> None:
        self._roots = tuple(os.path.realpath(root) for root in roots)

    def __enter__(self) -> None:
        global _previous, _wrapper
        with _lock:
            if not _active:
                _previous = builtins.__import__
                _wrapper = builtins.__import__ = _make_import(_previous)
            _active.setdefault(get_ident(), []).append(self._roots)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _previous, _wrapper
        with _lock:
            stack = _active[get_ident()]
            stack.pop()
            if not stack:
                del _active[get_ident()]
            # Somebody else's hook may sit on top of ours by now; ours then stays below it and does nothing.
            if not _active and builtins.__import__ is _wrapper and _previous is not None:
                builtins.__import__ = _previous


def describe(step: str, environment: str) -> None:
    """Say which step is about to run, and in which environment, for the errors that follow."""
    global _asking
    _asking = (step, environment)


def is_placeholder(value: object) -> bool:
    """Whether `value` stands for something of a package that is missing here, or is a class made from it."""
    return type(value) is Missing or issubclass(type(value), _StubType)


def missing_packages() -> dict[str, list[tuple[str, int]]]:
    """The top-level packages that were missing so far, each with the files and lines that import it."""
    return {package: list(sites) for package, sites in _sites.items()}


class Missing:
    """Stands for something of a package that is not installed in this interpreter."""

    __slots__ = ("__tilth_node__", "__weakref__")

    def __repr__(self) -> str:
        node = _node(self)
        return f"<{node.text}: package `{node.package}` is not installed here>"

    def __getattr__(self, name: str) -> Any:
        node = _node(self)
        if name in ("__name__", "__qualname__"):
            return node.text.rpartition(".")[2]
        # Protocol probes (`__array__`, `__wrapped__`, `_repr_html_`) expect this answer and nothing else.
        if (name.startswith("__") and name.endswith("__") and name != "__version__") or name.startswith(
            ("_repr_", "_ipython_")
        ):
            raise AttributeError(
                f"`{node.text}` has no attribute `{name}`: `{node.package}` is not installed here"
            )
        part = node.children.get(name)
        if type(part) is Missing and _node(part).real is not None:
            return part
        if node.real is not None and hasattr(node.real, name):
            return getattr(node.real, name)
        if not _importing():
            if name.startswith("_") and name != "__version__":  # `inspect` probes for private names as well
                raise AttributeError(
                    f"`{node.text}` has no attribute `{name}`: `{node.package}` is not installed"
                )
            raise _use(node, f"{node.text}.{name}")
        return node.child(name)

    def __setattr__(self, name: str, value: object) -> None:
        _require_importing(self)  # configuring what is not there has no effect

    def __delattr__(self, name: str) -> None:
        _require_importing(self)

    def __setitem__(self, key: object, value: object) -> None:
        _require_importing(self)

    def __delitem__(self, key: object) -> None:
        _require_importing(self)

    def __getitem__(self, key: object) -> Any:
        _require_importing(self)
        node = _node(self)
        return _Node(node.package, f"{node.text}[…]").placeholder

    def __or__(self, other: object) -> Any:
        _require_importing(self)
        return _Node(_node(self).package, f"{_node(self).text} | …").placeholder

    __ror__ = __or__

    def __call__(self, *args: object, **kwargs: object) -> Any:
        _require_importing(self)
        if len(args) == 1 and not kwargs and _is_decorated(args[0], sys._getframe(1)):
            return args[0]
        return _Node(_node(self).package, f"{_node(self).text}(…)").placeholder

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        _require_importing(self)
        return (_node(self).stub(bases),)

    def __instancecheck__(self, instance: object) -> bool:
        _require_importing(self)
        return False

    def __subclasscheck__(self, subclass: type) -> bool:
        _require_importing(self)
        return False

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        # `typing` and libraries like it compare whatever they are given; for them identity is the answer.
        if not _is_library(sys._getframe(1).f_code.co_filename):
            raise _use(_node(self), f"`==` on {_node(self).text}", verbatim=True)
        return False

    def __bool__(self) -> bool:
        if not sys._getframe(1).f_code.co_filename.startswith(_STDLIB):  # `TypeVar` asks `if bound:`
            raise _use(_node(self), f"the truth of {_node(self).text}", verbatim=True)
        return True

    __hash__ = object.__hash__

    def __copy__(self) -> Missing:
        return self

    def __deepcopy__(self, memo: object) -> Missing:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        node = _node(self)
        if not node.is_name:
            raise _use(node, node.text)
        return _restore, (node.text,)


class _Node:
    """What a placeholder knows; not in `Missing` itself, where every ordinary name must stay free."""

    __slots__ = ("_stub", "children", "is_name", "package", "placeholder", "real", "text")

    def __init__(
        self, package: str, text: str, *, is_name: bool = False, real: ModuleType | None = None
    ) -> None:
        self.package = package
        self.text = text
        self.is_name = is_name  # a dotted name, rather than the result of a call or subscript
        self.real = real  # the namespace package that is here, though a part of it is missing
        self.children: dict[str, Any] = {}
        self._stub: Any = None
        self.placeholder = Missing()
        object.__setattr__(self.placeholder, "__tilth_node__", self)

    def child(self, name: str) -> Any:
        """The one placeholder for an attribute: equal names give the same object, as `typing` wants it."""
        if name not in self.children:
            node = _Node(self.package, f"{self.text}.{name}", is_name=self.is_name)
            # An `except` clause takes nothing but exception classes.
            is_exception = name in _exceptions or name.endswith(_EXCEPTION_SUFFIXES)
            value = _make_stub(node, (Exception,), _StubType) if is_exception else node.placeholder
            return self.children.setdefault(name, value)
        return self.children[name]

    def stub(self, bases: tuple[object, ...]) -> Any:
        """The base class in place of this name; its metaclass agrees with those of the other bases."""
        others = [type(base) for base in bases if isinstance(base, type)]
        strangers = [kind for kind in dict.fromkeys(others) if not issubclass(_StubType, kind)]
        if strangers:
            kind = (
                strangers[0]
                if issubclass(strangers[0], _StubType)
                else type("_StubType", (_StubType, *strangers), {})
            )
            return _make_stub(self, (), kind)
        if self._stub is None:
            self._stub = _make_stub(self, (), _StubType)
        return self._stub


class _StubType(ABCMeta):
    """Classes that derive from something missing. They can be defined; making an instance is using them."""

    __tilth_node__: _Node

    def __call__(cls, *_args: Any, **_kwargs: Any) -> Any:
        node = cls.__tilth_node__
        name = f"{cls.__module__}.{cls.__qualname__}"
        if not _importing():
            raise _use(
                node, name if name == node.text else f"{name}, which derives from {node.text}", verbatim=True
            )
        return _Node(node.package, f"{name}(…)").placeholder

    def __getattr__(cls, name: str) -> Any:
        node: _Node = type.__getattribute__(cls, "__tilth_node__")
        if name.startswith("_"):
            raise AttributeError(f"type object `{cls.__name__}` has no attribute `{name}`")
        if not _importing():
            raise _use(node, f"{cls.__name__}.{name}")
        return node.child(name)


def _make_stub(node: _Node, bases: tuple[type, ...], kind: type) -> Any:
    module, _, name = node.text.rpartition(".")

    def init_subclass(cls: Any, **options: object) -> None:
        try:
            super(stub, cls).__init_subclass__(**options)  # type: ignore[misc, unused-ignore]
        except TypeError:  # options meant for the class that is missing, as `table=True`
            super(stub, cls).__init_subclass__()  # type: ignore[misc, unused-ignore]

    namespace = {
        "__module__": module or node.package,
        "__tilth_node__": node,
        "__init_subclass__": classmethod(init_subclass),  # type: ignore[arg-type, unused-ignore]
    }
    stub: Any = kind(name, bases, namespace)
    return stub


def _raising(name: str) -> Callable[..., Any]:
    def method(self: Missing, *_operands: object) -> Any:
        node = _node(self)
        raise _use(node, f"`{name}` on {node.text}", verbatim=True)

    return method


_OPERATIONS = """
    len iter next contains int float complex index round enter exit neg pos invert abs lt le gt ge ne
    add sub mul truediv floordiv mod divmod pow matmul lshift rshift and xor
    radd rsub rmul rtruediv rfloordiv rmod rdivmod rpow rmatmul rlshift rrshift rand rxor
"""
for _name in _OPERATIONS.split():
    setattr(Missing, f"__{_name}__", _raising(f"__{_name}__"))
del _name


def _node(placeholder: Missing) -> _Node:
    node: _Node = object.__getattribute__(placeholder, "__tilth_node__")
    return node


def _importing() -> bool:
    return get_ident() in _active


def _require_importing(placeholder: Missing) -> None:
    if not _importing():
        raise _use(_node(placeholder), _node(placeholder).text)


def _use(node: _Node, what: str, *, verbatim: bool = False) -> DefinitionError:
    step, environment = _asking
    where = f"environment `{environment}`" if environment else "this interpreter"
    used = what if verbatim else f"`{what}`"
    sites = ", ".join(f"{file}:{line}" for file, line in _sites.get(node.package, ())[:3])
    if _importing():
        return DefinitionError(
            f"`{node.package}` is not installed in {where}, and a module computes with it at import: {used}",
            why=f"it is imported at {sites}; what is missing may be named at import, but not used",
            mend=f"move this into the function that needs it, or add `{node.package}` to the environment",
        )
    asking = f"step `{step}` uses {used}" if step else f"{used} was used"
    return DefinitionError(
        f"`{node.package}` is not installed in {where}, and {asking}",
        why=f"it is imported at {sites}; tilth let that pass so that steps which do not need it can run",
        mend=f"add `{node.package}` to the requirements of the environment"
        + ("" if environment else ", or give the step an environment that has it"),
    )


def _restore(text: str) -> Any:
    """Unpickle a placeholder: the real thing where it is installed, else a placeholder again."""
    module, _, rest = text.partition(".")
    names = rest.split(".") if rest else []
    try:
        value: Any = __import__(module)
        for name in names:
            module = f"{module}.{name}"
            if not hasattr(value, name):
                __import__(module)
            value = getattr(value, name)
    except ModuleNotFoundError as error:
        if error.name != text.partition(".")[0]:
            raise
        node = _node(_package(error.name))
        for name in names:
            value = node.child(name)
            node = value.__tilth_node__
        return value if names else node.placeholder
    return value


def _package(name: str) -> Missing:
    return _packages.setdefault(name, _Node(name, name, is_name=True).placeholder)


def _make_import(original: Callable[..., Any]) -> Callable[..., Any]:
    def tolerant_import(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - named as the built-in's
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        try:
            module = original(name, globals, locals, fromlist, level)
        except ModuleNotFoundError as error:
            placeholder = _placeholder(name, fromlist, level, error, sys._getframe(1))
            if placeholder is None:
                raise
            return placeholder
        if (
            fromlist
            and level == 0
            and getattr(module, "__file__", None) is None
            and hasattr(module, "__path__")
        ):
            return _complete(module, name, fromlist, sys._getframe(1))
        return module

    return tolerant_import


def _placeholder(
    name: str, fromlist: Sequence[str] | None, level: int, error: ModuleNotFoundError, frame: FrameType
) -> Any:
    """What to bind in place of a module that was not found; None when the import must fail."""
    missing = error.name or ""
    top = name.partition(".")[0]
    if level or "*" in (fromlist or ()) or not f"{name}.".startswith(f"{missing}."):
        return None
    if missing != top and not _is_namespace(missing.rpartition(".")[0]):
        return None
    if not _may_be_missing(name, frame):
        return None
    value: Any = _package(top)
    if missing != top:
        _view(missing.rpartition(".")[0])
    for part in name.split(".")[1:] if fromlist else ():
        value = getattr(value, part)
    return value


def _complete(module: ModuleType, name: str, fromlist: Sequence[str], frame: FrameType) -> Any:
    """A view of a namespace package with placeholders for the asked parts that are not installed.

    `from google.cloud import storage` finds `google.cloud` as soon as any one package of Google's is there.
    """
    absent = [each for each in fromlist if each != "*" and not hasattr(module, each)]
    if not absent or not _may_be_missing(name, frame):
        return module
    return _view(name)


def _view(name: str) -> Missing:
    """The placeholder of a namespace package that is here: what it has is real, the rest is missing."""
    package, *parts = name.split(".")
    node = _node(_package(package))
    node.real = sys.modules[package]
    for part in parts:
        node = _node(
            node.children.setdefault(part, _Node(package, f"{node.text}.{part}", is_name=True).placeholder)
        )
        node.real = sys.modules[node.text]
    return node.placeholder


def _is_namespace(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and hasattr(module, "__path__") and getattr(module, "__file__", None) is None


def _may_be_missing(name: str, frame: FrameType) -> bool:
    """Whether the import in `frame` is one that may give a placeholder; then also notes where it is."""
    stack = _active.get(get_ident())
    top = name.partition(".")[0]
    if not stack or frame.f_code.co_flags & _IS_FUNCTION or top in sys.stdlib_module_names:
        return False
    roots = stack[-1]
    file = _file(frame)
    if not _is_project_file(file, roots) or _is_project_package(top, roots or (os.path.dirname(file),)):
        return False
    tree = _tree(file)
    if tree is None:
        return False
    chain = _statement(tree, frame.f_lineno, name)
    if chain is None or _is_handled(chain, _HANDLERS):
        return False
    if _importer_handles(frame.f_back, roots):
        return False
    site = (file, frame.f_lineno)
    sites = _sites.setdefault(top, [])
    if site not in sites:
        sites.append(site)
        _exceptions.update(_caught_names(tree))
    return True


def _importer_handles(frame: FrameType | None, roots: tuple[str, ...]) -> bool:
    """Whether a file of the project that is importing this one handles an ImportError around that import."""
    while frame is not None:
        file = _file(frame)
        if _is_project_file(file, roots):
            tree = _tree(file)
            chain = _statement(tree, frame.f_lineno, "") if tree else None
            if chain and _is_handled(chain, frozenset({"ImportError", "ModuleNotFoundError"})):
                return True
        frame = frame.f_back
    return False


def _file(frame: FrameType) -> str:
    """The file of the code in `frame`; what `exec` runs has none."""
    name = frame.f_code.co_filename
    file = frame.f_globals.get("__file__")
    if isinstance(file, str) and os.path.basename(file) == os.path.basename(name):
        return os.path.abspath(file)
    return name


def _is_project_file(file: str, roots: tuple[str, ...]) -> bool:
    if file.startswith("<") and file.endswith(">") and not file.startswith("<ipython"):
        return False
    path = os.path.realpath(file)
    if not roots:
        return not _is_library(path)
    return (
        not path.startswith(_TILTH + os.sep)
        and any(
            path.startswith(root.rstrip(os.sep) + os.sep)
            # A venv inside the project holds libraries, not the project.
            and not _LIBRARIES & set(path[len(root) :].split(os.sep))
            for root in roots
        )
    )


def _is_library(file: str) -> bool:
    return file.startswith((_STDLIB + os.sep, _TILTH + os.sep)) or bool(_LIBRARIES & set(file.split(os.sep)))


def _is_project_package(name: str, roots: Iterable[str]) -> bool:
    """Whether the project has a module of this name, so that its absence is a mistake of paths."""
    for root in roots:
        for folder in (root, os.path.join(root, "src")):
            path = os.path.join(folder, name)
            if os.path.isfile(path + ".py"):
                return True
            if os.path.isdir(path) and any(each.endswith(".py") for each in os.listdir(path)):
                return True
    return False


def _tree(file: str) -> ast.Module | None:
    """The syntax tree of a file, parsed when something is missing and only then."""
    import ast
    import linecache

    try:
        status = os.stat(file)
        key = (status.st_mtime_ns, status.st_size)
    except OSError:
        key = (0, len(linecache.getlines(file)))  # a notebook's cell
    known = _trees.get(file)
    if known is None or known[0] != key:
        linecache.checkcache(file)
        lines = linecache.getlines(file)
        try:
            known = (key, ast.parse("".join(lines)) if lines else None)
        except (SyntaxError, ValueError):
            known = (key, None)
        _trees[file] = known
    return known[1]


def _statement(tree: ast.AST, line: int, name: str) -> list[tuple[ast.AST, str]] | None:
    """The way to the import statement of `name` at `line`: each enclosing node, and which of its fields.

    None when there is none at module or class level; an empty `name` is any import, at any level.
    """
    import ast

    for field, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else ():
            if not isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                continue
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = (
                    [each.name for each in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                if node.lineno <= line <= (node.end_lineno or line) and (not name or name in names):
                    return [(tree, field)]
            elif name and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            else:
                found = _statement(node, line, name)
                if found is not None:
                    return [(tree, field), *found]
    return None


def _is_handled(chain: list[tuple[ast.AST, str]], handlers: frozenset[str]) -> bool:
    """Whether a `try` or a `with suppress(...)` around the statement handles that the module is missing."""
    import ast

    for node, field in chain:
        if type(node).__name__ in ("Try", "TryStar") and field == "body":
            for handler in node.handlers:  # type: ignore[attr-defined]
                if handler.type is None:
                    if "Exception" in handlers:
                        return True
                elif handlers & set(_last_names(handler.type)):
                    return True
        elif isinstance(node, ast.With) and field == "body":
            for item in node.items:
                call = item.context_expr
                if isinstance(call, ast.Call) and handlers & {
                    each for arg in call.args for each in _last_names(arg)
                }:
                    return True
    return False


def _caught_names(tree: ast.Module) -> set[str]:
    import ast

    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type)
    return {name for handler in handlers if handler.type for name in _last_names(handler.type)}


def _last_names(node: ast.AST) -> list[str]:
    """`b` of `a.b`, for a name or each of a tuple of names."""
    import ast

    if isinstance(node, ast.Tuple):
        return [name for each in node.elts for name in _last_names(each)]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


def _is_decorated(value: object, frame: FrameType) -> bool:
    """Whether the call in `frame` decorates `value`; also when the source cannot be read."""
    import ast

    if not callable(value) and not isinstance(value, (classmethod, staticmethod, property)):
        return False
    tree = _tree(_file(frame))
    if tree is None:
        return True
    return any(
        # Python 3.10 gives the call the line of the `def`, later ones that of the decorator.
        node.decorator_list and node.decorator_list[0].lineno <= frame.f_lineno <= node.lineno
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    )
