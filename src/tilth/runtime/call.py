"""Calls one step: a folder in, a folder out."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.define import graph as graphs
from tilth.errors import LoadError, OutputError, StepError, TilthError
from tilth.materializers.artifacts import LazySequence, load_artifact, load_item, save_artifact
from tilth.runtime import context as contexts, folder as folders, tolerant
from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_OURS = str(Path(__file__).parent.parent) + os.sep
_CALLERS = tuple(
    each.replace("/", os.sep)
    for each in ("/importlib/__init__.py", "/asyncio/runners.py", "/asyncio/base_events.py")
)
_LINES = (60, 120)  # of a traceback that are kept when it has more: from its begin and its end


class _Failed(Exception):
    """Carries what goes into result.json."""

    def __init__(self, reason: str, error: BaseException, **more: Any) -> None:
        self.result = {"state": "failed", "reason": reason, **described(error), **more}


def call_step(
    folder: Path,
    *,
    started: Callable[[], None] = lambda: None,
    around: Callable[[Callable[..., Any], Callable[[], Any]], Any] = lambda _, call: call(),
) -> bool:
    """Run the step in `folder` and write its result; whether it completed.

    Args:
        folder: As `tilth.runtime.folder` describes it.
        started: Called when the user's code is imported, before it is called.
        around: Gets the step's function, and what calls it; gives what that gave. For a debugger.
    """
    spec = folders.read_json(folder / "step.json")
    # Taken now: the step may do what it likes with its variables.
    mask = Mask(os.environ[name] for name in spec.get("secrets", ()) if name in os.environ)
    seconds: dict[str, float] = {}
    try:
        result = _run(folder, spec, mask, seconds, started, around)
    except _Failed as failed:
        result = mask.fields(failed.result, "message", "traceback", "mend", "inputs", "during")
    finally:
        contexts.enter(None)
    result["seconds"] = {name: round(value, 6) for name, value in seconds.items()}
    result["fence"] = spec["fence"]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # the step has closed or replaced it
            stream.flush()
    try:
        folders.write_json(folder / "result.json", result)
    except OSError:  # no room even for this: the supervisor finds it missing
        return False
    return bool(result["state"] == "completed")


def _run(
    folder: Path,
    spec: Mapping[str, Any],
    mask: Mask,
    seconds: dict[str, float],
    started: Callable[[], None],
    around: Callable[[Callable[..., Any], Callable[[], Any]], Any],
) -> dict[str, Any]:
    clock = time.perf_counter()
    declared: Sequence[Mapping[str, Any]] = spec["outputs"]
    tolerant.describe(spec["context"]["step"], spec["environment"])
    try:
        function = _function(spec)
        custom = [import_object(each) for each in spec["materializers"]]
    except Exception as error:
        raise _Failed("exception", error, during="import") from None
    started()
    inputs: dict[str, Any] = {}
    for name, expression in spec["inputs"].items():
        try:
            inputs[name] = _value(expression, folder)
        except Exception as error:
            raise _Failed("input", error, during=f"input `{name}`") from None
    seconds["loading"] = (now := time.perf_counter()) - clock
    clock = now

    names = [each["name"] for each in declared]
    contexts.enter(contexts.StepContext(folder, spec["context"], names, mask))
    try:
        value = around(function, lambda: _called(function, inputs))
    except BaseException as error:
        seconds["running"] = time.perf_counter() - clock
        raise _Failed("exception", error, inputs=_summaries(inputs)) from None
    seconds["running"] = (now := time.perf_counter()) - clock
    clock = now

    inputs.clear()  # their memory may be needed for saving
    try:
        outputs = _save(folder, spec, declared, value, custom)
    except Exception as error:
        # What was written is of no use, and room may be what the result and the records need now.
        shutil.rmtree(folder / "outputs", ignore_errors=True)
        raise _Failed("disk_full" if _is_disk_full(error) else "output", error) from None
    seconds["saving"] = time.perf_counter() - clock
    return {
        "state": "completed",
        "outputs": {name: mask.fields(each, "metadata") for name, each in outputs.items()},
    }


def _function(spec: Mapping[str, Any]) -> Callable[..., Any]:
    with graphs.phase("importing"), tolerant.tolerant_imports(*spec["roots"]):
        found = import_object(spec["function"])
    function: Callable[..., Any] = getattr(found, "function", found)
    return function


def import_object(path: str) -> Any:
    """What `module:qualname` names."""
    module, _, qualname = path.partition(":")
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _value(expression: Any, folder: Path) -> Any:
    from tilth.ir.values import decode

    def reference(tag: str, payload: Any) -> Any:
        if tag == "$artifact":
            return load_artifact(folder / payload)
        if tag == "$item":
            path, index = payload
            return load_item(folder / path, index)
        if tag == "$sequence":
            return LazySequence([folder / each for each in payload])
        raise LoadError(f"`{tag}` is no kind of input that this version of tilth knows")

    return decode(expression, reference=reference)


def _called(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    args, kwargs = _arguments(function, inputs)
    with graphs.phase("step"):
        value = function(*args, **kwargs)
        # By what it gave: a decorator around an `async def` need not be one.
        if type(value).__name__ != "coroutine":
            return value
        return _finished(value)


def _finished(coroutine: Any) -> Any:
    """What an `async def` step gives; in a thread where a loop runs already, as when a step runs in the client."""
    import asyncio

    if (
        asyncio._get_running_loop() is None
    ):  # `get_running_loop` raises, which the step's failure would tell of
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _arguments(function: Callable[..., Any], inputs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Inputs by name, as the function takes them: positional-only and `*args` need their places."""
    code = signed(function).__code__
    if not code.co_posonlyargcount and not code.co_flags & 0x04:  # CO_VARARGS
        return [], inputs
    named = dict(inputs)
    places = code.co_argcount if code.co_flags & 0x04 else code.co_posonlyargcount
    args = [named.pop(name) for name in code.co_varnames[:places] if name in named]
    if code.co_flags & 0x04:
        args += named.pop(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return args, named


def signed(function: Any) -> Any:
    """What has the signature: the function that a decorator wraps, where it says so."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _save(
    folder: Path,
    spec: Mapping[str, Any],
    declared: Sequence[Mapping[str, Any]],
    value: Any,
    custom: Sequence[type[Any]],
) -> dict[str, Any]:
    step = spec["context"]["step"]
    values = _by_name(step, declared, value)
    del value
    saved: dict[str, Any] = {}
    if declared:
        (folder / "outputs").mkdir()
    for output in declared:
        name = output["name"]
        each = values.pop(name)
        _check_type(step, output, each)
        target = folder / "outputs" / name
        target.mkdir()
        looks = folder / "visualizations" / name
        try:
            manifest = save_artifact(
                each,
                target,
                materializers=custom,
                readers=[frozenset(reader) for reader in output["readers"]],
                collection=output["collection"],
                visualizations=looks,
            )
        except OutputError as error:
            told = f"output `{name}` of step `{step}`: {error.summary}"
            raise OutputError(told, why=error.why, mend=error.mend) from None
        except Exception as error:
            if _is_disk_full(error):
                raise
            raise OutputError(
                f"output `{name}` of step `{step}` cannot be saved: {type(error).__name__}: {error}",
                why=f"its value is a `{type(each).__name__}`",
            ) from error
        manifest.pop("files", None)
        saved[name] = {**manifest, "visualizations": sorted(os.listdir(looks)) if looks.is_dir() else []}
    return saved


def _by_name(step: str, declared: Sequence[Mapping[str, Any]], value: Any) -> dict[str, Any]:
    """The returned value as one value per declared output."""
    names = [each["name"] for each in declared]
    if not names:
        if value is not None:
            raise OutputError(
                f"step `{step}` returned a `{type(value).__name__}`, but declares `-> None`",
                mend="annotate what it returns, or return nothing",
            )
        return {}
    if len(names) == 1:
        return {names[0]: value}
    wanted = f"{len(names)} outputs: " + ", ".join(f"`{each}`" for each in names)
    if not isinstance(value, (tuple, list)):
        raise OutputError(f"step `{step}` returned one `{type(value).__name__}`", why=f"it declares {wanted}")
    if len(value) != len(names):
        raise OutputError(f"step `{step}` returned {len(value)} values", why=f"it declares {wanted}")
    return dict(zip(names, value, strict=True))


def _check_type(step: str, output: Mapping[str, Any], value: Any) -> None:
    """Refuse a value that is plainly not of the declared type. Where the type cannot be known here, accept."""
    declared = output["type"]
    wanted = _known_type(declared)
    if wanted is None or output["collection"] or _is_instance(value, wanted):
        return
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise OutputError(
        f"output `{output['name']}` of step `{step}` is a `{kind}`",
        why=f"it is declared as `{output['annotation']}`",
        mend="return that type, or change the annotation",
    )


def _is_instance(value: Any, wanted: Any) -> bool:
    try:
        return isinstance(value, wanted)
    except TypeError:  # a class that cannot be asked, as a `TypedDict`
        return True


def _known_type(name: str) -> Any:
    """The class an annotation names, when it is a plain class that is loaded here; else None."""
    if name in ("int", "float", "complex"):
        import numbers

        return {"int": numbers.Integral, "float": numbers.Real, "complex": numbers.Complex}[name]
    import builtins

    base = name.partition("[")[0]
    if base in ("str", "bool", "bytes", "list", "dict", "tuple", "set", "frozenset"):
        return (getattr(builtins, base), *_numpy_bool()) if base == "bool" else getattr(builtins, base)
    if not base.replace(".", "").replace("_", "").isalnum():
        return None
    module, _, attribute = base.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None) if module else None
    if not isinstance(found, type) or getattr(found, "_is_protocol", False):
        return None
    import abc

    # `collections.abc.Iterable` and the like are real classes; `typing.Any` and its kin are not classes at all.
    return found if module != "typing" or isinstance(found, abc.ABCMeta) else None


def _numpy_bool() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy")
    return (numpy.bool_,) if numpy else ()


def described(error: BaseException) -> dict[str, Any]:
    """Type, message and traceback of an exception, without tilth's own frames."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, TilthError):
        message, mend = "\n".join(filter(None, (error.summary, error.why))), error.mend
    elif isinstance(error, SystemExit):
        message, mend = f"the step called `sys.exit({'' if error.code is None else repr(error.code)})`", ""
    else:
        message, mend = _text(error), ""
    return {"type": name, "message": message, "mend": mend, "traceback": traceback_text(error)}


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # an exception of the user's whose own __str__ fails
        return f"(its message cannot be shown: {type(broken).__name__})"


def traceback_text(error: BaseException) -> str:
    """The user's frames, cause last; the middle of a very long one is left out."""
    import traceback

    try:
        shown = traceback.TracebackException.from_exception(error, limit=None, capture_locals=False)
        _drop_ours(shown)
        if not (shown.stack or shown.__cause__ or shown.__context__ or isinstance(error, SyntaxError)):
            return ""
        lines = "".join(shown.format()).splitlines(keepends=True)
    except Exception as broken:  # a step's failure must be told whatever its exception does
        return f"(its traceback cannot be shown: {type(broken).__name__})"
    first, last = _LINES
    if (left_out := len(lines) - first - last) > 0:
        lines[first:-last] = [f"  … {left_out} lines left out\n"]
    return "".join(lines)


def _drop_ours(shown: Any) -> None:
    """Drop the frames that called the user's code: tilth's, and of what it calls that through."""
    shown.stack[:] = [frame for frame in shown.stack if not _is_ours(frame.filename)]
    inner = [shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())]
    for each in inner:
        if each is not None:
            _drop_ours(each)


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file.endswith(_CALLERS)


def _summaries(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: summary(value) for name, value in inputs.items()}


def summary(value: Any) -> str:
    """A value in a few words: shape for arrays and frames, a short text for the rest."""
    import reprlib

    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and shape:
            dtype = getattr(value, "dtype", "")
            return f"{type(value).__name__} {' x '.join(map(str, shape))} {dtype}".strip()
        if isinstance(value, (list, tuple, set, dict)) and len(value) > 6:
            return f"{type(value).__name__} of {len(value)}"
        text = reprlib.repr(value).replace("\n", " ")
    except Exception:  # an input's own repr may fail; the step's failure is what matters
        return type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _is_disk_full(error: BaseException | None) -> bool:
    import errno

    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


__all__ = ["StepError", "call_step", "described", "import_object", "summary", "traceback_text"]
