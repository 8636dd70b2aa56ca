"""Reads the outputs of a step from its annotation, as written and as the module's imports resolve it.

Works on the source, so that the answer is the same on every Python, and whether or not the libraries it names
are installed. Only what stands beside the type in `Annotated`, as `Artifact(...)`, is evaluated.
"""

from __future__ import annotations

import ast
import contextlib
import copy
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError
from tilth.ir import values
from tilth.ir.pipeline import Output

if TYPE_CHECKING:
    from collections.abc import Callable

_ANNOTATED = frozenset({"typing.Annotated", "typing_extensions.Annotated", "Annotated"})
_TUPLE = frozenset({"tuple", "typing.Tuple"})
_modules: dict[str, tuple[tuple[int, int], _Module]] = {}


def outputs(function: Callable[..., Any]) -> tuple[Output, ...]:
    """What a step gives, in order.

    `-> None` is no output; `-> tuple[Annotated[A, "a"], Annotated[B, "b"]]` several; everything else, a plain
    `tuple[int, str]` and no annotation included, is one. An output without a name is called `output`, or
    `output_1` when it is the second of several.

    Raises:
        DefinitionError: Two outputs have one name, or an `Artifact(...)` cannot be evaluated.
    """
    function = _unwrapped(function)
    module = _module_of(function)
    node = module.function(function) if module else None
    if module is None or node is None:
        return _without_source(function)
    if node.returns is None:
        return (Output("output"),)
    members = _members(_parsed(node.returns), module)
    found = [_output(each, index, len(members), function, module) for index, each in enumerate(members)]
    return _distinct(found, function)


def resolved(function: Callable[..., Any], parameter: str) -> str:
    """The annotation of one parameter, resolved through the module's imports; empty when there is none."""
    function = _unwrapped(function)
    module = _module_of(function)
    node = module.function(function) if module else None
    if module is None or node is None:
        return ""
    given = node.args
    for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if each is not None and each.arg == parameter and each.annotation is not None:
            return module.resolve(_parsed(each.annotation), _name(function))
    return ""


class _Module:
    """One module's source: its functions, and what its global names stand for."""

    def __init__(self, lines: list[str], *, is_package: bool) -> None:
        self.is_package = is_package
        self._tree = ast.parse("".join(lines))
        self._imports: dict[str, tuple[str, int]] = {}  # name -> what it stands for, and how relative that is
        self._aliases: dict[str, ast.expr] = {}
        self._own: set[str] = set()
        for node in ast.walk(self._tree):
            self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.partition(".")[0]
                self._imports[each.asname or top] = (each.name if each.asname else top, 0)
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                target = ".".join(part for part in (node.module, each.name) if part)
                self._imports[each.asname or each.name] = (target, node.level)
        elif isinstance(node, ast.ClassDef):
            self._own.add(node.name)
        elif (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            self._aliases.setdefault(node.targets[0].id, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            self._aliases.setdefault(node.target.id, node.value)
        elif type(node).__name__ == "TypeAlias":
            self._aliases[node.name.id] = node.value  # type: ignore[attr-defined]

    def function(self, function: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The definition of a function: the one that starts where its code says, else the last of its name."""
        code = function.__code__
        named = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name
        ]
        for node in named:
            if min([node.lineno, *(each.lineno for each in node.decorator_list)]) == code.co_firstlineno:
                return node
        return named[-1] if named else None

    def alias(self, name: str) -> ast.expr | None:
        """What a name of this module stands for, when it is an alias of a type."""
        value = self._aliases.get(name)
        return None if value is None or name in self._imports else _parsed(value)

    def resolve(self, node: ast.expr, module: str) -> str:
        """The annotation with each name replaced by what it stands for: `pd.DataFrame` by `pandas.DataFrame`."""
        return ast.unparse(_Resolver(self, module).visit(copy.deepcopy(node)))

    def dotted(self, node: ast.expr, module: str) -> str:
        """The full name of a chain of names; empty for anything else."""
        if isinstance(node, ast.Attribute):
            value = self.dotted(node.value, module)
            return f"{value}.{node.attr}" if value else ""
        return self.target(node.id, module) if isinstance(node, ast.Name) else ""

    def target(self, name: str, module: str) -> str:
        """What one global name stands for."""
        if name in self._imports:
            target, level = self._imports[name]
            if not level:
                return target
            # A package's own `__init__` is the package, one level nearer than its modules.
            parts = module.split(".")
            return ".".join([*parts[: len(parts) - level + self.is_package], target])
        return f"{module}.{name}" if name in self._own or name in self._aliases else name


class _Resolver(ast.NodeTransformer):
    def __init__(self, module: _Module, name: str) -> None:
        self._module = module
        self._name = name

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(self._module.target(node.id, self._name), node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        inner = _parsed(node)
        return node if inner is node else self.visit(inner)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = self._module.dotted(node.value, "").rpartition(".")[2]
        node.value = self.visit(node.value)
        if name == "Annotated" and isinstance(node.slice, ast.Tuple):
            node.slice.elts[0] = self.visit(node.slice.elts[0])
        elif name != "Literal":  # its strings are values
            node.slice = self.visit(node.slice)
        return node


def _parsed(node: ast.expr) -> ast.expr:
    """An annotation that is written in a string as what it says; any other as it is."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return ast.parse(node.value.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            return node
    return node


def _members(node: ast.expr, module: _Module) -> list[ast.expr]:
    """One annotation for each output."""
    if isinstance(node, ast.Constant) and node.value is None:
        return []
    if isinstance(node, ast.Name) and (alias := module.alias(node.id)):
        members = _members(alias, module)
        return members if len(members) > 1 else [node]
    if isinstance(node, ast.Subscript) and module.dotted(node.value, "") in _TUPLE:
        elements = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        members = [_parsed(each) for each in elements]
        if any(_annotated(each, module) for each in members):
            return members
    return [node]


def _annotated(node: ast.expr, module: _Module) -> list[ast.expr]:
    """What stands in `Annotated[type, …]`, also behind an alias; empty for anything else."""
    if isinstance(node, ast.Name) and (alias := module.alias(node.id)):
        return _annotated(alias, module)
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return []
    return list(node.slice.elts) if module.dotted(node.value, "") in _ANNOTATED else []


def _output(node: ast.expr, index: int, count: int, function: Callable[..., Any], module: _Module) -> Output:
    given: list[object] = []
    if inside := _annotated(node, module):
        node = _parsed(inside[0])
        given = [_evaluated(each, function) for each in inside[1:]]
    elif isinstance(node, (ast.Name, ast.Attribute)):
        # An alias that was imported: only the object itself knows whether it is `Annotated`.
        with contextlib.suppress(Exception):
            given = list(getattr(_value(node, function), "__metadata__", ()))
    return _made(given, index, count, ast.unparse(node), module.resolve(node, _name(function)), function)


def _made(
    given: list[object], index: int, count: int, text: str, type_: str, function: Callable[..., Any]
) -> Output:
    named = next((each for each in given if isinstance(each, str)), None)
    artifact: Any = next(
        (each for each in given if type(each).__name__ == "Artifact" and hasattr(each, "tags")), None
    )
    name = named or (artifact and artifact.name) or ("output" if count == 1 else f"output_{index}")
    if not name.strip() or "/" in name or name.startswith("."):
        raise DefinitionError(
            f"an output of step `{function.__name__}` is named `{name}`",
            mend="give a name without `/` or leading dot",
        )
    return Output(
        name=name,
        annotation=text,
        type=type_,
        artifact=(artifact and artifact.name) or "",
        version=(artifact and artifact.version) or "",
        tags=tuple(artifact.tags) if artifact else (),
    )


def _evaluated(node: ast.expr, function: Callable[..., Any]) -> object:
    """What stands beside the type in `Annotated`: a name, an `Artifact(...)`, or something of somebody else."""
    try:
        return _value(node, function)
    except Exception as error:
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Artifact"):
            raise DefinitionError(
                f"`{ast.unparse(node)}` in the annotation of step `{function.__name__}` cannot be evaluated",
                why=f"{type(error).__name__}: {getattr(error, 'summary', error)}",
            ) from error
        return None


def _value(node: ast.expr, function: Callable[..., Any]) -> object:
    code = compile(ast.Expression(node), "<annotation>", "eval")
    return eval(code, function.__globals__)  # noqa: S307 - what Python itself does with an annotation


def _distinct(found: list[Output], function: Callable[..., Any]) -> tuple[Output, ...]:
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(
                f"step `{function.__name__}` has two outputs named `{name}`",
                why="a pipeline and the artifact store tell outputs apart by their names",
                mend='give each its own name: `Annotated[T, "name"]`',
            )
    return tuple(found)


def _without_source(function: Callable[..., Any]) -> tuple[Output, ...]:
    """For a function whose source cannot be read: from the annotation as an object."""
    annotation = getattr(function, "__annotations__", {}).get("return", _without_source)
    if annotation is _without_source:
        return (Output("output"),)
    if annotation is None or annotation == "None":
        return ()
    members = [annotation]
    if getattr(annotation, "__origin__", None) is tuple:
        arguments = list(annotation.__args__)
        members = arguments if any(hasattr(each, "__metadata__") for each in arguments) else members
    found = []
    for index, each in enumerate(members):
        given = list(getattr(each, "__metadata__", ()))
        inner = each.__origin__ if given else each
        text = inner if isinstance(inner, str) else getattr(inner, "__name__", str(inner))
        found.append(_made(given, index, len(members), text, _full_name(inner, text), function))
    return _distinct(found, function)


def _full_name(kind: object, text: str) -> str:
    module = getattr(kind, "__module__", "") if isinstance(kind, type) else ""
    return f"{module}.{text}" if module not in ("", "builtins") else text


def _unwrapped(function: Callable[..., Any]) -> Any:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _name(function: Callable[..., Any]) -> str:
    return values.canonical_module(function.__module__)


def _module_of(function: Any) -> _Module | None:
    import linecache
    import os

    code = function.__code__
    file = function.__globals__.get("__file__")
    # The code of a program started by a relative path has that path, though the program may have moved on.
    path = code.co_filename
    if isinstance(file, str) and os.path.basename(file) == os.path.basename(path):  # noqa: PTH119
        path = file
    try:
        status = os.stat(path)  # noqa: PTH116
        key = (status.st_mtime_ns, status.st_size)
    except OSError:
        key = (0, len(linecache.getlines(path)))  # a notebook's cell
    known = _modules.get(path)
    if known is None or known[0] != key:
        linecache.checkcache(path)
        lines = linecache.getlines(path)
        if not lines:
            return None
        try:
            module = _Module(lines, is_package=os.path.basename(path) == "__init__.py")  # noqa: PTH119
        except (SyntaxError, ValueError):
            return None
        known = _modules[path] = (key, module)
    return known[1]
