"""`@step`: a function that a pipeline runs in an environment of its own."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from tilth.define import graph as graphs
from tilth.define.options import STEP, StepOptions, checked
from tilth.errors import DefinitionError, nearest

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Unpack

    from tilth.ir.pipeline import Output

F = TypeVar("F", bound="Callable[..., Any]")


class StepOutput:
    """What a step will give: a placeholder while the pipeline is compiled. Pass it on to other steps."""

    __slots__ = ("_mapped", "_name", "_node")  # any other name would hide an attribute of the value

    def __init__(self, node: str, name: str, *, mapped: bool = False) -> None:
        self._node = node
        self._name = name
        self._mapped = mapped  # one value per item

    def __repr__(self) -> str:
        return f"<output `{self._name}` of step `{self._node}`>"

    def _no_value(self, *_: object) -> NoReturn:
        self._refuse("do this inside a step, which gets the value")

    def __iter__(self) -> NoReturn:
        self._refuse(
            "do this inside a step, which gets the value; to unpack several outputs, let the step declare them: "
            '`-> tuple[Annotated[A, "first"], Annotated[B, "second"]]`'
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StepOutput):
            self._no_value()
        return self is other

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._no_value()

    def _refuse(self, mend: str) -> NoReturn:
        raise DefinitionError(
            f"{self!r} is used as a value in the pipeline function",
            why="a pipeline is compiled before any step runs, so there is no value yet",
            mend=mend,
        )


# What Python looks up on the type, and would else refuse in its own words, or answer: all of it needs the value.
for _operation in (  # noqa: SIM905 - a column of 52 lines says no more
    "bool len getitem setitem delitem contains call int float complex index lt le gt ge format fspath "
    "reversed next neg pos abs invert round enter await "
    "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift "
    "radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul rand ror rxor rlshift rrshift"
).split():
    setattr(StepOutput, f"__{_operation}__", StepOutput._no_value)


class StepOutputs(tuple[StepOutput, ...]):
    """The outputs of a step that gives several, or none; unpack them, or take one by its name."""

    _node: str

    def __new__(cls, node: str, outputs: Iterable[StepOutput]) -> StepOutputs:
        made = super().__new__(cls, outputs)
        made._node = node
        return made

    def __getattribute__(self, name: str) -> Any:
        # Before the tuple's own `count` and `index`, which are good names for outputs too.
        if not name.startswith("_"):
            for each in self:
                if each._name == name:
                    return each
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._none_named(name))

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for each in self:
            if each._name == key:
                return each
        raise KeyError(self._none_named(key))

    def _none_named(self, name: str) -> str:
        return f"step `{self._node}` has no output `{name}`; {nearest(name, [each._name for each in self])}"


class Unmapped:
    """Marks a value that every item of a mapped step gets whole."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def unmapped(value: Any) -> Any:
    """In `step.map(...)`: give this value whole to every item, instead of one of its items to each."""
    return Unmapped(value)


class Step(Generic[F]):
    """A step. Called inside a pipeline it becomes part of the graph; elsewhere it is the plain function."""

    def __init__(self, function: F, options: Mapping[str, Any]) -> None:
        refuse_function(function, "step")
        self.function = function
        self.options = dict(options)
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """What the step is called in a graph."""
        return str(self.options.get("name", self.function.__name__))

    if TYPE_CHECKING:
        __call__: F
    else:

        def __call__(self, *args: Any, after: Any = (), **kwargs: Any) -> Any:
            graph = graphs.current()
            if graph is None:
                return self.function(*args, **kwargs)
            return self._add(graph, self._bind(args, kwargs), after, mapped=False)

    def map(self, *args: Any, after: Any = (), **kwargs: Any) -> Any:
        """Run the step once for each item of its inputs; inputs are taken item by item, side by side.

        Wrap what every item shall get whole in `unmapped(...)`. The result, given to a plain step, is the
        sequence of all items' outputs, loaded when they are looked at; given to another `map`, its items.
        """
        graph = graphs.current()
        if graph is None:
            return self._map_plain(args, kwargs)
        return self._add(graph, self._bind(args, kwargs), after, mapped=True)

    def with_options(self, **options: Unpack[StepOptions]) -> Step[F]:
        """The same step with other options; those not given stay."""
        return Step(self.function, {**self.options, **checked("step", STEP, options)})

    def __repr__(self) -> str:
        return f"<step `{self.name}`>"

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self.function)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise DefinitionError(
                f"step `{self.name}` is called with the wrong arguments: {error}",
                why=f"its signature is `{self.function.__name__}{self._shown_signature()}`",
            ) from None
        given = dict(bound.arguments)
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given.update(given.pop(name, {}))
            elif name not in given and parameter.default is not parameter.empty:
                given[name] = parameter.default
        return given

    def _shown_signature(self) -> str:
        import inspect

        bare = [
            each.replace(annotation=inspect.Parameter.empty) for each in self._signature.parameters.values()
        ]
        return str(inspect.Signature(bare))

    def _add(self, graph: graphs.Graph, given: dict[str, Any], after: Any, *, mapped: bool) -> Any:
        from tilth.ir.pipeline import Node

        self._check_name()
        id = graph.free_id(self.name)  # noqa: A001 - the field's word
        over: list[str] = []
        inputs: dict[str, Any] = {}
        for name, value in given.items():
            if mapped and isinstance(value, Unmapped):
                value = value.value
            elif mapped and self._maps(name, value, graph):
                over.append(name)
            inputs[name] = _expression(id, name, value, graph)
        if mapped and not over:
            raise self._nothing_to_map()
        outputs = self._outputs()
        node = Node(
            id=id,
            function=f"{self.function.__module__}:{self.function.__qualname__}",
            inputs=inputs,
            outputs=outputs,
            map=tuple(over),
            after=_nodes_of(after, self.name),
            reads_context=_names(self.function, "get_step_context"),
        )
        graph.nodes[id] = node
        graph.options[id] = self.options
        made = StepOutputs(id, (StepOutput(id, each.name, mapped=mapped) for each in outputs))
        return made[0] if len(made) == 1 else made

    def _maps(self, name: str, value: Any, graph: graphs.Graph) -> bool:
        """Whether an argument of `map` is taken item by item. A default is not."""
        if isinstance(value, StepOutput):
            if not value._mapped:
                graph.mapped_over.add((value._node, value._name))
            return True
        if self._is_default(name, value):
            return False
        if isinstance(value, (list, tuple, range)) and not isinstance(value, StepOutputs):
            return True
        raise self._no_items(name, value)

    def _is_default(self, name: str, value: object) -> bool:
        parameter = self._signature.parameters.get(name)
        return parameter is not None and value is parameter.default

    def _no_items(self, name: str, value: object) -> DefinitionError:
        return DefinitionError(
            f"`{self.name}.map(...)` cannot take items of argument `{name}`",
            why=f"it is {_kind(value)}",
            mend=f"write `{name}=unmapped(...)` to give it whole to every item, or give a list",
        )

    def _nothing_to_map(self) -> DefinitionError:
        return DefinitionError(
            f"`{self.name}.map(...)` has nothing to map over",
            why="every argument is `unmapped(...)` or a default",
            mend="give it the output of a step, or a list",
        )

    def _map_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Outside a pipeline: a plain loop with the same meaning."""
        given = self._bind(args, kwargs)
        whole: dict[str, Any] = {}
        items: dict[str, list[Any]] = {}
        for name, each in given.items():
            if isinstance(each, Unmapped):
                whole[name] = each.value
            elif self._is_default(name, each):
                whole[name] = each
            elif isinstance(each, (str, bytes, dict)) or not hasattr(each, "__iter__"):
                raise self._no_items(name, each)
            else:
                items[name] = list(each)
        if not items:
            raise self._nothing_to_map()
        if len({len(each) for each in items.values()}) != 1:
            raise DefinitionError(f"`{self.name}.map(...)` needs inputs of one length: {lengths(items)}")
        rows = zip(*items.values(), strict=True)
        return [self.function(**whole, **dict(zip(items, row, strict=True))) for row in rows]

    def _check_name(self) -> None:
        """Steps run in other interpreters, which find the function by its name: it must lead to this one."""
        module = sys.modules.get(self.function.__module__)
        found: Any = module
        for part in self.function.__qualname__.split("."):
            found = getattr(found, part, None)
        if module is None or (found is not None and getattr(found, "function", found) is self.function):
            return
        # Another decorator may stand above `@step`; what it gave is called instead.
        if found is None or isinstance(found, Step):
            raise DefinitionError(
                f"step `{self.name}` cannot be found by its name: `{module.__name__}.{self.function.__qualname__}` "
                + ("is another step" if found else "does not exist"),
                why="other interpreters import it by name from its module",
                mend="give each function of a module its own name, and keep it there",
            )

    def _outputs(self) -> tuple[Output, ...]:
        from tilth.define.annotations import outputs

        return outputs(self.function)


def lengths(items: Mapping[str, Any]) -> str:
    """`a` has 3 items, `b` has 4."""
    return ", ".join(f"`{name}` has {len(each)}" for name, each in items.items())


def _kind(value: object) -> str:
    return f"a `{type(value).__name__}`"


def _nodes_of(after: Any, step: str) -> tuple[str, ...]:
    found: list[str] = []
    stack = [after]
    while stack:
        each = stack.pop(0)
        if isinstance(each, (StepOutput, StepOutputs)):
            found.append(each._node)
        elif isinstance(each, (list, tuple, set)):
            stack[:0] = each
        else:
            raise DefinitionError(
                f"`after=` of step `{step}` holds {_kind(each)}", mend="give what earlier step calls returned"
            )
    return tuple(dict.fromkeys(found))


def _expression(step: str, name: str, value: Any, graph: graphs.Graph) -> Any:
    from tilth.ir.values import Unencodable, encode

    def reference(each: object) -> Any:
        if isinstance(each, StepOutput):
            if each._node not in graph.nodes:
                raise DefinitionError(f"step `{step}` uses {each!r}, which belongs to another pipeline")
            return {"$output": [each._node, each._name]}
        if isinstance(each, StepOutputs):
            if not each:
                raise DefinitionError(
                    f"step `{step}` gets the result of step `{each._node}` as input `{name}`, which gives nothing",
                    mend="annotate what that step returns, or write `after=` to wait for it",
                )
            raise DefinitionError(
                f"step `{step}` gets all outputs of step `{each._node}` as input `{name}`",
                mend=f'pass one of them, as `["{each[0]._name}"]`, or a list of them',
            )
        if isinstance(each, Unmapped):
            raise DefinitionError(
                f"step `{step}` gets `unmapped(...)` as input `{name}`",
                mend="`unmapped` belongs in `step.map(...)`",
            )
        return None

    try:
        return encode(value, reference=reference)
    except Unencodable as error:
        raise DefinitionError(
            f"input `{name}` of step `{step}` cannot be written into the compiled pipeline: {error}",
            why="a pipeline passes plain values and the outputs of steps",
            mend="make the value in a step and pass that step's output",
        ) from None


def _names(function: Any, wanted: str) -> bool:
    """Whether a function, or one that it names, names `wanted`; functions of libraries are not looked into."""
    seen: set[int] = set()
    inner = getattr(function, "__wrapped__", function)
    stack = [(each.__code__, each.__globals__) for each in (function, inner)]
    while stack:
        code, known = stack.pop()
        library = "site-packages" in code.co_filename or str(known.get("__name__")).startswith("tilth.")
        if id(code) in seen or library:
            continue
        seen.add(id(code))
        if wanted in code.co_names:
            return True
        stack += [(each, known) for each in code.co_consts if hasattr(each, "co_names")]
        found = [known.get(name) for name in code.co_names]
        modules = [each for each in found if hasattr(each, "__spec__")]
        found += [getattr(each, name, None) for each in modules for name in code.co_names]
        for each in found:
            members = (
                vars(each).values()
                if isinstance(each, type)
                else ((each.function if isinstance(each, Step) else each),)
            )
            stack += [(one.__code__, one.__globals__) for one in members if hasattr(one, "__globals__")]
    return False


def refuse_function(function: Any, kind: str) -> None:
    """Refuse what no other interpreter could import by its name, with the reason."""
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, type):
        raise DefinitionError(
            f"class `{name}` cannot be a {kind}",
            why=f"a {kind} is called with its inputs and gives its outputs; a class gives an object",
            mend=f"decorate a function, or a `@staticmethod` of the class: write `@{kind}` below `@staticmethod`",
        )
    if isinstance(function, (staticmethod, classmethod)):
        raise DefinitionError(
            f"`@{kind}` stands above `@{type(function).__name__}`",
            mend=f"write `@staticmethod` above `@{kind}`"
            if isinstance(function, staticmethod)
            else f"a {kind} gets no class; use `@staticmethod` above `@{kind}`",
        )
    code = getattr(function, "__code__", None)
    if code is None or not callable(function):
        raise DefinitionError(
            f"`{name}` cannot be a {kind}: it is {_kind(function)}",
            mend="decorate a function written with `def`",
        )
    if hasattr(function, "__self__"):
        raise DefinitionError(
            f"method `{name}` of an object cannot be a {kind}",
            why="other interpreters do not have the object",
            mend="decorate a function, and make what it needs of the object a parameter",
        )
    if function.__name__ == "<lambda>":
        raise DefinitionError(f"a lambda cannot be a {kind}", mend="write a function with `def` and a name")
    if "<locals>" in function.__qualname__:
        closure = ", ".join(f"`{each}`" for each in code.co_freevars)
        raise DefinitionError(
            f"function `{function.__name__}` inside another function cannot be a {kind}",
            why="other interpreters import it by name from its module"
            + (f"; it also closes over {closure}, which they do not have" if closure else ""),
            mend="move it to the module's top level"
            + (" and make what it closes over a parameter" if closure else ""),
        )
    signed = _signed(function)
    names = list(signed.co_varnames[: signed.co_argcount + signed.co_kwonlyargcount])
    if "." in function.__qualname__ and names[:1] in (["self"], ["cls"]):
        raise DefinitionError(
            f"method `{name}` cannot be a {kind}: its `{names[0]}` is not there when a {kind} is called",
            mend=f"write `@staticmethod` above `@{kind}` and leave `{names[0]}` out, or decorate a function",
        )
    if kind == "step" and "after" in names:
        raise DefinitionError(
            f"step `{name}` has a parameter named `after`",
            why="`after=` in a pipeline says which steps to wait for",
            mend="rename the parameter",
        )
    if kind == "pipeline" and (
        signed.co_posonlyargcount or signed.co_flags & (0x04 | 0x08)
    ):  # *args, **kwargs
        raise DefinitionError(
            f"pipeline `{name}` takes parameters without a name of their own",
            why="a run's parameters are given, recorded and shown by name",
            mend="name each parameter; leave out `/`, `*args` and `**kwargs`",
        )
    generator = code.co_flags & (0x20 | 0x200)  # CO_GENERATOR, CO_ASYNC_GENERATOR
    if generator:
        raise DefinitionError(
            f"generator function `{name}` cannot be a {kind}",
            mend="collect what it yields into a list and return it",
        )
    if kind == "pipeline" and code.co_flags & 0x80:  # CO_COROUTINE
        raise DefinitionError(
            f"`async def {name}` cannot be a pipeline",
            why="a pipeline function only draws the graph; steps may be `async def`",
            mend="write `def`",
        )


def _signed(function: Any) -> Any:
    """The code that has the signature: of what a decorator wraps, where it says so."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function.__code__


@overload
def step(function: F, /) -> Step[F]: ...
@overload
def step(**options: Unpack[StepOptions]) -> Callable[[F], Step[F]]: ...
def step(function: F | None = None, /, **options: Any) -> Any:
    """Make a function a step. Bare, or with options: see `StepOptions`."""
    if function is None:
        valid = checked("step", STEP, options)
        return lambda decorated: Step(decorated, valid)
    if isinstance(function, str):
        raise DefinitionError(
            f"`@step({function!r})`: options are given by name", mend=f"write `@step(name={function!r})`"
        )
    return Step(function, {})
