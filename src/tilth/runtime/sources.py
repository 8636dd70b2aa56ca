"""Reads the project's own modules without importing them: what they are made of, and what they import.

Knows syntax and files; not what is installed, nor which distribution an import name belongs to.
"""

from __future__ import annotations

import ast
import builtins
import io
import os
import sys
import tokenize
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_COMPILED = (".so", ".pyd")
_HANDLERS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_IMPORTERS = frozenset(
    {"importlib.import_module", "import_module", "__import__", "builtins.__import__", "importlib.__import__"}
)
_RUNNERS = frozenset({"addsitedir", "run_module", "run_path", "SourceFileLoader", "spec_from_file_location"})
_LOADERS = frozenset(
    {"builtins", "importlib", "runpy", "site", "sys"}
)  # what modules of theirs may be called
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Source:
    """One module of the project.

    Attributes:
        module: Canonical name.
        path: Its file.
        digest: Of its text with newlines normalised, `sha256:…`.
        imports: The project's modules that it imports, their parents among them.
        outside: Top-level names it imports that are neither the project's nor the standard library's, each
            with the line of the first import.
        optional: Those of `outside` that are imported only where their absence is handled.
        dynamic: What it does that reading cannot follow, as `importlib.import_module` of a computed name.
    """

    __slots__ = ("digest", "dynamic", "imports", "module", "optional", "outside", "path")

    def __init__(
        self,
        module: str,
        path: Path,
        digest: str,
        imports: tuple[str, ...],
        outside: dict[str, int],
        optional: frozenset[str],
        dynamic: str,
    ) -> None:
        self.module = module
        self.path = path
        self.digest = digest
        self.imports = imports
        self.outside = outside
        self.optional = optional
        self.dynamic = dynamic

    def __repr__(self) -> str:
        return f"Source({self.module!r}, {self.digest[:15]!r})"


class Needed(dict[str, tuple[str, int]]):
    """The top-level names of packages that a function needs, each with the file and line that imports it.

    Attributes:
        annotated: Further ones, that only annotations name.
        optional: Further ones, whose absence the code handles.
        complete: Whether everything the function uses could be followed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.annotated: dict[str, tuple[str, int]] = {}
        self.optional: dict[str, tuple[str, int]] = {}
        self.complete = True


def closure(module: str, roots: Sequence[Path]) -> dict[str, Source]:
    """The module and every project module it imports, and those they import; empty when it has no source.

    Args:
        module: Canonical name.
        roots: Folders that project modules are imported from, first one first.
    """
    finder = _Finder(roots)
    found: dict[str, Source] = {}
    waiting = [*_parents(module), module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = finder.find(name)
        if path is None:
            continue
        found[name] = source = _source(name, path, finder)
        waiting += source.imports
    return found if module in found else {}


def outside(sources: Mapping[str, Source]) -> dict[str, tuple[str, int]]:
    """The packages that a closure imports, each with file and line of one import."""
    found: dict[str, tuple[str, int]] = {}
    for _, source in sorted(sources.items()):
        for name, line in source.outside.items():
            found.setdefault(name, (str(source.path), line))
    return found


def needed(module: str, qualname: str, roots: Sequence[Path]) -> Needed:
    """The packages that a function really uses.

    Names in its body, decorators, defaults and annotations are followed through the globals of its module and
    of other project modules, to the imports they come from. Names that cannot be followed make the answer
    incomplete; it then tells less than the function needs, never more.
    """
    return _Follower(_Finder(roots)).follow(module, qualname)


def source_digest(path: Path) -> str:
    """The digest of one module's file, as in `Source.digest`, without parsing it.

    Raises:
        OSError: It cannot be read.
        SyntaxError, UnicodeDecodeError: It is no text in the encoding it declares.
    """
    content = path.read_bytes()
    return _digest(content if path.name.endswith(_COMPILED) else _normal(_decode(content)))


def normal_source(path: Path) -> bytes:
    """The text of one module's file that its digest is of: UTF-8, with newlines normalised.

    Raises:
        OSError, SyntaxError, UnicodeDecodeError: As `source_digest`.
    """
    return _normal(_decode(path.read_bytes()))


class _Finder:
    """Finds the file of a project module as Python's path finder would, from listings read once."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = [os.path.abspath(root) for root in roots]  # noqa: PTH100 - links are kept
        self._listings: dict[str, frozenset[str]] = {}
        self._found: dict[str, tuple[str | None, list[str]]] = {}

    def find(self, module: str) -> Path | None:
        """The module's file; None when it is no project module, or a namespace package."""
        file, _ = self._locate(module)
        return None if file is None else Path(file)

    def is_known(self, module: str) -> bool:
        """Whether the module has a file, or is a namespace package with modules of the project in it."""
        file, folders = self._locate(module)
        return file is not None or any(self._has_modules(folder) for folder in folders)

    def _locate(self, module: str) -> tuple[str | None, list[str]]:
        """The file of a module and, for a package, the folders where its modules are."""
        if module not in self._found:
            parent, _, name = module.rpartition(".")
            folders = self._locate(parent)[1] if parent else self.roots
            self._found[module] = self._search(name, folders)
        return self._found[module]

    def _search(self, name: str, folders: list[str]) -> tuple[str | None, list[str]]:
        portions: list[str] = []
        for folder in folders:
            names = self._list(folder)
            inside = f"{folder}{os.sep}{name}"
            if name in names and "__init__.py" in self._list(inside):
                return f"{inside}{os.sep}__init__.py", [inside]
            # Compiled modules come before sources, as in `importlib.machinery`.
            compiled = [each for each in names if each.startswith(f"{name}.") and each.endswith(_COMPILED)]
            if compiled:
                return f"{folder}{os.sep}{min(compiled)}", []
            if f"{name}.py" in names:
                return f"{inside}.py", []
            if name in names and self._list(inside):
                portions.append(inside)
        return None, portions

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def _has_modules(self, folder: str) -> bool:
        return any(each.endswith((".py", *_COMPILED)) for each in self._list(folder))


class _Import:
    """One import statement's one name. `attribute` is None for `import a.b`, `*` for all names."""

    __slots__ = ("alias", "attribute", "level", "line", "module", "optional", "typing")

    def __init__(
        self,
        module: str,
        attribute: str | None,
        alias: str,
        level: int,
        line: int,
        *,
        optional: bool,
        typing: bool,
    ) -> None:
        self.module = module
        self.attribute = attribute
        self.alias = alias  # the name it binds; for `import a.b` that is `a`
        self.level = level
        self.line = line
        self.optional = optional
        self.typing = typing  # under `if TYPE_CHECKING:`, so it never happens


_Scope = dict[str, list[_Import]]  # the names a function binds, with the imports that bind them


class _Text:
    """A file, read and parsed: everything that does not depend on other files."""

    __slots__ = ("aliases", "digest", "dynamic", "exported", "imports", "tree")

    def __init__(self, path: Path, content: bytes) -> None:
        self.aliases: dict[str, str] = {}
        self.imports: list[_Import] = []
        self.exported: tuple[str, ...] = ()
        self.tree = ast.Module([], [])
        self.digest = ""
        if path.name.endswith(_COMPILED):
            self.digest = _digest(content)
            self.dynamic = "is compiled"
            return
        try:
            text = _decode(content)
            self.tree = ast.parse(text, str(path))
        except (SyntaxError, UnicodeDecodeError, ValueError) as error:
            shown = error.text.strip() if isinstance(error, SyntaxError) and error.text else ""
            line = getattr(error, "lineno", None)
            raise DefinitionError(
                f"`{path}` is no Python source" + (f": line {line}" if line else ""),
                why=(error.msg if isinstance(error, SyntaxError) else str(error))
                + (f": `{shown}`" if shown else ""),
            ) from None
        self.digest = _digest(_normal(text))
        nodes = list(ast.walk(self.tree))
        self.aliases = _aliases(nodes)
        self.imports = list(_imports(self.tree, self.aliases))
        self.dynamic = _dynamic(nodes, self.aliases)
        self.exported = _exported(self.tree)


_texts: dict[str, tuple[tuple[int, int, int], _Text]] = {}


def _read(path: Path) -> _Text:
    status = path.stat()
    key = (status.st_mtime_ns, status.st_size, status.st_ino)
    known = _texts.get(str(path))
    if known is None or known[0] != key:
        known = _texts[str(path)] = (key, _Text(path, path.read_bytes()))
    return known[1]


def _source(module: str, path: Path, finder: _Finder) -> Source:
    text = _read(path)
    imports: dict[str, None] = dict.fromkeys(_parents(module))
    outside: dict[str, int] = {}
    required: set[str] = set()
    dynamic = text.dynamic
    for each in text.imports:
        if each.typing:
            continue
        target = _absolute(each, module, path)
        top = target.partition(".")[0]
        if not _is_project(each, target, finder):
            if each.level == 0 and top not in sys.stdlib_module_names and top != "tilth":
                outside[top] = min(each.line, outside.get(top, each.line))
                if not each.optional:
                    required.add(top)
            continue
        imports.update(dict.fromkeys([*_parents(target), target]))
        if each.attribute == "*":
            package = finder.find(target)
            names = _read(package).exported if package else ()
        else:
            names = (each.attribute,) if each.attribute else ()
        imports.update(
            dict.fromkeys(f"{target}.{name}" for name in names if finder.is_known(f"{target}.{name}"))
        )
    imports.pop(module, None)
    return Source(module, path, text.digest, tuple(imports), outside, frozenset(outside) - required, dynamic)


def _is_project(each: _Import, target: str, finder: _Finder) -> bool:
    """Whether an import is of the project's own.

    A folder without `__init__.py` gives way to any installed package of its name, as `datasets/` beside the
    code does to the library; so it counts only when what is imported from it is there.
    """
    if each.level or finder.find(target.partition(".")[0]) is not None:
        return True
    if each.attribute in (None, "*"):
        return finder.find(target) is not None
    return finder.find(target) is not None or finder.find(f"{target}.{each.attribute}") is not None


def _absolute(each: _Import, module: str, path: Path) -> str:
    """The full name of the module an import names."""
    if not each.level:
        return each.module
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(each.level - 1):
        package = package.rpartition(".")[0]
    return ".".join(part for part in (package, each.module) if part)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _decode(content: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding)


def _normal(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "surrogatepass")


def _digest(content: bytes) -> str:
    return "sha256:" + sha256(content).hexdigest()


def _imports(
    node: ast.AST, aliases: Mapping[str, str], *, optional: bool = False, typing: bool = False
) -> Iterator[_Import]:
    """Every import below a node, at whatever depth."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for name in node.names:
            if isinstance(node, ast.Import):
                module, attribute, level = name.name, None, 0
                alias = name.asname or name.name.partition(".")[0]
            else:
                module, attribute, level = node.module or "", name.name, node.level
                alias = name.asname or name.name
            yield _Import(module, attribute, alias, level, node.lineno, optional=optional, typing=typing)
        return
    if isinstance(node, ast.Call) and _full_name(node.func, aliases) in _IMPORTERS:
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield _Import(argument.value, None, "", 0, node.lineno, optional=optional, typing=typing)
    for field, value in ast.iter_fields(node):
        inner_optional = optional or (field == "body" and _handles_absence(node))
        inner_typing = typing or (field in ("body", "orelse") and _is_typing_only(node, field))
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST):
                yield from _imports(child, aliases, optional=inner_optional, typing=inner_typing)


def _handles_absence(node: ast.AST) -> bool:
    if type(node).__name__ in ("Try", "TryStar"):
        handlers = node.handlers  # type: ignore[attr-defined]
        return any(each.type is None or _HANDLERS & _last_names(each.type) for each in handlers)
    if isinstance(node, ast.With):
        calls = (each.context_expr for each in node.items)
        return any(
            _HANDLERS & _last_names(arg) for call in calls if isinstance(call, ast.Call) for arg in call.args
        )
    return False


def _is_typing_only(node: ast.AST, field: str) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return field == "orelse" and "TYPE_CHECKING" in _last_names(test.operand)
    return field == "body" and "TYPE_CHECKING" in _last_names(test)


def _last_names(node: ast.AST) -> set[str]:
    """`b` of `a.b`, for a name or each of a tuple of names."""
    if isinstance(node, ast.Tuple):
        return {name for each in node.elts for name in _last_names(each)}
    return {_dotted(node).rpartition(".")[2]}


def _dotted(node: ast.AST | None) -> str:
    """`a.b.c` as text; empty for anything but a chain of names."""
    if isinstance(node, ast.Attribute):
        value = _dotted(node.value)
        return f"{value}.{node.attr}" if value else ""
    return node.id if isinstance(node, ast.Name) else ""


def _aliases(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What stands for modules and functions that import: full names, by the names this module gives them."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.asname and each.name.partition(".")[0] in _LOADERS:
                    found[each.asname] = each.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            if module.partition(".")[0] in _LOADERS:
                found.update({each.asname or each.name: f"{module}.{each.name}" for each in node.names})
    return found


def _full_name(node: ast.AST | None, aliases: Mapping[str, str]) -> str:
    """`importlib.import_module` for `x.import_module` after `import importlib as x`."""
    first, dot, rest = _dotted(node).partition(".")
    return aliases.get(first, first) + dot + rest


def _dynamic(nodes: Sequence[ast.AST], aliases: Mapping[str, str]) -> str:
    """What the module does that reading cannot follow; empty when nothing."""
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    telling = {each.rpartition(".")[2] for each in _IMPORTERS} | {"path", "meta_path", *aliases}
    for node in nodes:
        last = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if last in telling and isinstance(node, (ast.Attribute, ast.Name)):
            name = _full_name(node, aliases)
            if name in ("sys.path", "sys.meta_path"):
                return f"uses `{name}` in line {node.lineno}"
            if name in _IMPORTERS and id(node) not in called and isinstance(node.ctx, ast.Load):
                return f"hands on `{name}` in line {node.lineno}"
        if not isinstance(node, ast.Call):
            continue
        name = _full_name(node.func, aliases).replace("builtins.", "", 1)
        constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
        relative = constant and str(getattr(node.args[0], "value", "")).startswith(".")
        if name in _IMPORTERS and (not constant or relative):
            return f"imports a computed name in line {node.lineno}"
        if name in ("exec", "eval") and not (name == "eval" and constant):
            return f"calls `{name}` in line {node.lineno}"
        if name.rpartition(".")[2] in _RUNNERS:
            return f"calls `{name}` in line {node.lineno}"
    return ""


def _exported(tree: ast.Module) -> tuple[str, ...]:
    """What a literal `__all__` lists."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(_dotted(each) == "__all__" for each in node.targets):
            values = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else []
            return tuple(
                each.value
                for each in values
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
    return ()


class _Module:
    """The global names of one module: what binds each."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.text = _read(path)
        self.imports: dict[str, list[_Import]] = {}
        self.nodes: dict[str, list[ast.AST]] = {}  # definitions, and statements that assign
        self.stars: list[_Import] = []
        self._collect(self.text.tree.body)

    def _collect(self, body: list[ast.stmt], *, optional: bool = False, typing: bool = False) -> None:
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for each in _imports(node, {}, optional=optional, typing=typing):
                    if each.attribute == "*":
                        self.stars.append(each)
                    else:
                        self.imports.setdefault(each.alias, []).append(each)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.nodes.setdefault(node.name, []).append(node)
            elif hasattr(node, "body"):
                self._assign(node, _stored([*getattr(node, "items", ()), getattr(node, "target", None)]))
                for field, value in ast.iter_fields(node):
                    inner_optional = optional or (field == "body" and _handles_absence(node))
                    inner_typing = typing or _is_typing_only(node, field)
                    if field in ("body", "orelse", "finalbody"):
                        self._collect(value, optional=inner_optional, typing=inner_typing)
                    elif field in ("handlers", "cases"):
                        for each_body in value:
                            self._collect(each_body.body, optional=optional, typing=typing)
            else:
                self._assign(node, _stored([node]))

    def _assign(self, node: ast.AST, names: set[str]) -> None:
        for name in names:
            self.nodes.setdefault(name, []).append(node)


def _stored(nodes: Iterable[ast.AST | None]) -> set[str]:
    return {
        each.id
        for node in nodes
        if node is not None
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)
    }


class _Follower:
    """Follows names from one function to the imports behind them."""

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self._modules: dict[str, _Module | None] = {}
        self._done: set[tuple[str, str]] = set()
        self._waiting: list[tuple[str, str]] = []
        self._result = Needed()

    def follow(self, module: str, qualname: str) -> Needed:
        self._waiting.append((module, qualname.partition(".")[0]))
        while self._waiting:
            item = self._waiting.pop()
            if item not in self._done:
                self._done.add(item)
                self._name(*item)
        result = self._result
        for name in result:
            result.annotated.pop(name, None)
            result.optional.pop(name, None)
        return result

    def _module(self, name: str) -> _Module | None:
        if name not in self._modules:
            path = self._finder.find(name)
            self._modules[name] = (
                None if path is None or path.name.endswith(_COMPILED) else _Module(name, path)
            )
        return self._modules[name]

    def _name(self, module_name: str, name: str) -> None:
        """Follow one global name of one project module."""
        module = self._module(module_name)
        if module is None:
            self._result.complete = False
            return
        if module.text.dynamic:
            self._result.complete = False
        for each in module.imports.get(name, ()):
            if not each.typing:
                self._imported(each, module, "")
        for node in module.nodes.get(name, ()):
            self._uses(node, module, [])
        if name in module.imports or name in module.nodes:
            return
        # A name from `import *`, from a module's `__getattr__`, or one that is set from outside.
        self._result.complete = False
        for star in module.stars:
            target = _absolute(star, module.name, module.path)
            if _is_project(star, target, self._finder):
                self._waiting.append((target, name))
            else:
                self._outside(target, star, module)
        if "__getattr__" in module.nodes:
            self._waiting.append((module_name, "__getattr__"))

    def _imported(self, each: _Import, module: _Module, rest: str, *, annotation: bool = False) -> None:
        """Follow a name that an import bound, with the attributes taken from it, as `a.b` in `x.a.b`."""
        target = _absolute(each, module.name, module.path)
        if not _is_project(each, target, self._finder):
            self._outside(target, each, module, annotation=annotation)
            return
        if each.attribute is not None:
            chain = [each.attribute, *rest.split(".")] if rest else [each.attribute]
        else:
            # `import a.b` binds `a`; `import a.b as x` binds the module `a.b`.
            if each.alias == each.module.partition(".")[0]:
                target = each.alias
            chain = rest.split(".") if rest else []
        while chain and self._finder.is_known(f"{target}.{chain[0]}"):
            target = f"{target}.{chain.pop(0)}"
        if chain:
            self._waiting.append((target, chain[0]))
        else:
            self._result.complete = (
                False  # the module itself is handed on; what is taken from it cannot be seen
            )

    def _outside(self, target: str, each: _Import, module: _Module, *, annotation: bool = False) -> None:
        top = target.partition(".")[0]
        if top in sys.stdlib_module_names or top == "tilth":
            return
        result = self._result
        found = result.optional if each.optional else result.annotated if annotation else result
        found.setdefault(top, (str(module.path), each.line))

    def _uses(
        self,
        node: ast.AST,
        module: _Module,
        scopes: list[_Scope],
        *,
        annotation: bool = False,
    ) -> None:
        """Follow every global name that a piece of code uses.

        Args:
            node: The code.
            module: Where it stands.
            scopes: Names bound by the functions around it, innermost last, with the imports that bind them.
            annotation: Whether the code only says of what type something is.
        """
        chain = _dotted(node)
        if chain:
            self._used(chain, module, scopes, annotation=annotation)
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._function(node, module, scopes)
            return
        if isinstance(node, ast.Lambda):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    self._uses(default, module, scopes)
            self._uses(node.body, module, [*scopes, _bound(node)])
            return
        if isinstance(node, _COMPREHENSIONS):
            scopes = [*scopes, {name: [] for name in _stored(each.target for each in node.generators)}]
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return  # done with the function it stands in
        if annotation and isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                self._uses(ast.parse(node.value, mode="eval").body, module, scopes, annotation=True)
            except SyntaxError:  # some text in `Annotated[T, "the model"]`
                return
        aliases = module.text.aliases
        if isinstance(node, ast.Call) and _full_name(node.func, aliases) in _IMPORTERS:
            for each in _imports(node, aliases, optional=True):
                self._imported(each, module, "")
        if isinstance(node, ast.AnnAssign):
            self._uses(node.annotation, module, scopes, annotation=True)
        for field, value in ast.iter_fields(node):
            if field == "annotation" or _is_typing_only(node, field):
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    self._uses(child, module, scopes, annotation=annotation)

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        module: _Module,
        scopes: list[_Scope],
    ) -> None:
        for each in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            if each is not None:
                self._uses(each, module, scopes)
        for annotated in [*(each.annotation for each in _arguments(node)), node.returns]:
            if annotated is not None:
                self._uses(annotated, module, scopes, annotation=True)
        bound = _bound(node)
        for imported in (each for imports in bound.values() for each in imports):
            target = _absolute(imported, module.name, module.path)
            if not imported.typing and not _is_project(imported, target, self._finder):
                self._outside(target, imported, module)
        for statement in node.body:
            self._uses(statement, module, [*scopes, bound])

    def _used(self, chain: str, module: _Module, scopes: list[_Scope], *, annotation: bool) -> None:
        name, _, rest = chain.partition(".")
        for scope in reversed(scopes):
            if name in scope:
                for each in scope[name]:
                    self._imported(each, module, rest, annotation=annotation)
                return
        imports = [each for each in module.imports.get(name, ()) if annotation or not each.typing]
        for each in imports:
            self._imported(each, module, rest, annotation=annotation)
        if name in module.nodes or (not imports and module.stars and not hasattr(builtins, name)):
            self._waiting.append((module.name, name))


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.arg]:
    given = function.args
    starred = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *starred]


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> _Scope:
    """The names local to a function, with the imports that bind them."""
    names: _Scope = {each.arg: [] for each in _arguments(function)}
    outer: set[str] = set()
    body = function.body if isinstance(function.body, list) else [function.body]
    waiting: list[tuple[ast.AST, bool, bool]] = [(each, False, False) for each in body]
    while waiting:
        node, optional, typing = waiting.pop()
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for each in _imports(node, {}, optional=optional, typing=typing):
                names.setdefault(each.alias, []).append(each)
            continue
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.setdefault(node.name, [])
            continue
        elif isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            continue
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.setdefault(node.id, [])
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            names.setdefault(node.name, [])
        handled = _handles_absence(node)
        for field, value in ast.iter_fields(node):
            marks = (optional or (handled and field == "body"), typing or _is_typing_only(node, field))
            children = value if isinstance(value, list) else (value,)
            waiting.extend((child, *marks) for child in children if isinstance(child, ast.AST))
    return {name: imports for name, imports in names.items() if name not in outer}
