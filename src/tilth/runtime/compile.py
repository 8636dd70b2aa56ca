"""Compiles a pipeline in the project's interpreter: calls the function, collects the graph, reads the sources."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.define import graph as graphs, options as options_
from tilth.define.environments import Environment
from tilth.define.pipelines import Pipeline
from tilth.define.quantities import Resources, Retry
from tilth.errors import DefinitionError, NotFound, TilthError, UnknownOption, nearest
from tilth.ir import pipeline as ir, values
from tilth.runtime import bytecode, folder as folders, sources, tolerant
from tilth.runtime.parameters import declared, from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_OURS = str(Path(__file__).parent.parent) + os.sep


def load_pipeline(module: str, name: str | None, roots: Sequence[str]) -> Pipeline:
    """Import a project's module and take a pipeline from it.

    Args:
        module: Canonical name.
        name: Of the pipeline or its variable; None when the module has only one.
        roots: Folders that project modules are imported from.
    """
    with graphs.phase("importing"), tolerant.tolerant_imports(*roots), _placed(roots):
        try:
            loaded = importlib.import_module(module)
        except TilthError:
            raise
        except SystemExit as error:
            raise DefinitionError(
                f"module `{module}` ends the program when it is imported: `sys.exit({error.code!r})`",
                mend='put what starts work under `if __name__ == "__main__":`',
            ) from None
        except Exception as error:
            from tilth.runtime.call import traceback_text

            raise DefinitionError(
                f"module `{module}` cannot be imported", why=traceback_text(error).rstrip()
            ) from None
    found = {
        variable: value
        for variable, value in vars(loaded).items()
        if isinstance(value, Pipeline) and value.function.__module__ == module
    } or {variable: value for variable, value in vars(loaded).items() if isinstance(value, Pipeline)}
    if name is None:
        if len(found) == 1:
            return next(iter(found.values()))
        if not found:
            raise NotFound(f"module `{module}` has no pipeline", mend="decorate a function with `@pipeline`")
        raise NotFound(
            f"module `{module}` has {len(found)} pipelines: " + ", ".join(f"`{each}`" for each in found),
            mend=f"name one: `FILE:{next(iter(found))}`",
        )
    for variable, value in found.items():
        if name in (variable, value.name):
            return value
    raise NotFound(f"module `{module}` has no pipeline `{name}`", mend=nearest(name, found))


def compile_pipeline(
    pipeline: Pipeline,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    roots: Sequence[str],
    main: str | None = None,
    project: Mapping[str, Any] | None = None,
) -> ir.Pipeline:
    """Call the pipeline function and give its graph.

    Args:
        pipeline: As decorated.
        args: Positional parameters.
        kwargs: Parameters by name.
        roots: Folders that project modules are imported from.
        main: Canonical name of the module that runs as `__main__`, if any.
        project: Options of the project file, which pipeline and step override.
    """
    parameters = _bind(pipeline, args, kwargs)
    graph = graphs.Graph(pipeline.name)

    def canonical(module: str) -> str:
        return main if module == "__main__" and main else module

    before, values.canonical_module = values.canonical_module, canonical
    try:
        with graphs.building(graph), _placed(roots):
            pipeline.function(**parameters)
        defaults = {**_project_options(project or {}), **pipeline.options}
        environments: dict[str, Environment] = {}
        nodes = tuple(
            _finish(node, graph, defaults, environments, canonical) for node in graph.nodes.values()
        )
        if not nodes:
            raise DefinitionError(
                f"pipeline `{pipeline.name}` calls no step",
                mend="call functions decorated with `@step` in it",
            )
        compiled = ir.Pipeline(
            name=pipeline.name,
            function=_path(pipeline.function, canonical),
            parameters={name: values.encode(value) for name, value in parameters.items()},
            nodes=nodes,
            environments={name: each.to_json() for name, each in sorted(environments.items())},
            failure_mode=defaults.get("failure_mode", "stop_new"),
            tags=defaults.get("tags", ()),
        )
    except values.Unencodable as error:
        raise DefinitionError(
            f"a parameter of pipeline `{pipeline.name}` cannot be recorded: {error}",
            why="parameters are plain values, so that a run can be repeated from its record",
        ) from None
    finally:
        values.canonical_module = before
    ir.check(compiled)
    return _with_sources(compiled, [Path(each) for each in roots])


@contextmanager
def _placed(roots: Sequence[str]) -> Iterator[None]:
    """Errors of the definition say which line of the project they come from."""
    try:
        yield
    except DefinitionError as error:
        frames: list[str] = []
        trace = error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if any(Path(file).is_relative_to(root) for root in roots) and not file.startswith(_OURS):
                frames.append(f"{_relative(file, map(Path, roots))}:{trace.tb_lineno}")
            trace = trace.tb_next
        if frames:
            error.why = "\n".join(filter(None, (error.why, f"at `{frames[-1]}`")))
        raise


def _bind(pipeline: Pipeline, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    import inspect

    signature = inspect.signature(pipeline.function)
    for name in kwargs:
        if name not in signature.parameters:
            raise UnknownOption(
                f"pipeline `{pipeline.name}` has no parameter `{name}`",
                mend=nearest(name, signature.parameters),
            )
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise DefinitionError(
            f"pipeline `{pipeline.name}` is called with the wrong parameters: {error}",
            why=f"its signature is `{pipeline.function.__name__}{signature}`",
            mend="on the command line: `--param NAME=VALUE`",
        ) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _way(value: object) -> object:
    """Of delivering code, as `tilth.client.delivery` has them; a typo shall not wait for a run elsewhere."""
    if value not in ("bundle", "git", "image"):
        raise UnknownOption(
            f"code cannot be delivered by `{value}`", mend=nearest(str(value), ("bundle", "git", "image"))
        )
    return value


# What a project says of its runs rather than of its steps: read where they are started.
_OF_RUNS: dict[str, Callable[[Any], Any]] = {
    "code": _way,
    "code-remote": lambda value: value,
    "stack": lambda value: value,
}


def _project_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the project file: plain data, where decorators take objects."""
    plain = dict(given)
    if isinstance(plain.get("environment"), dict):
        plain["environment"] = Environment(**{"name": "project", **plain["environment"]})
    if isinstance(plain.get("resources"), dict):
        plain["resources"] = Resources(**plain["resources"])
    if isinstance(plain.get("retry"), dict):
        plain["retry"] = Retry(**plain["retry"])
    known = {
        name: check for name, check in options_.PIPELINE.items() if name not in ("name", "materializers")
    }
    found = options_.checked("project (`[tool.tilth]`)", {**known, **_OF_RUNS}, plain)
    return {name: value for name, value in found.items() if name in known}


def _finish(
    node: ir.Node,
    graph: graphs.Graph,
    defaults: Mapping[str, Any],
    environments: dict[str, Environment],
    canonical: Any,
) -> ir.Node:
    """The node with its options: those of the step, else the pipeline's, else the project's."""
    inherited = {
        name: value for name, value in defaults.items() if name not in ("name", "tags", "failure_mode")
    }
    given = {**inherited, **graph.options[node.id]}
    environment: Environment | None = given.get("environment")
    if environment is not None:
        known = environments.setdefault(environment.name, environment)
        if known != environment:
            raise DefinitionError(
                f"two environments of pipeline `{graph.pipeline}` are named `{environment.name}`",
                why=f"step `{node.id}` declares another one than a step before it",
                mend="give one of them another name",
            )
    module, _, qualname = node.function.partition(":")
    return replace(
        node,
        function=f"{canonical(module)}:{qualname}",
        outputs=tuple(
            replace(each, collection=(node.id, each.name) in graph.mapped_over) for each in node.outputs
        ),
        environment=None if environment is None else environment.name,
        cache=given.get("cache", True),
        resources=given.get("resources", Resources()).to_json(),
        retry=given.get("retry", Retry(0)).to_json(),
        timeout_s=given.get("timeout"),
        worker=given.get("worker", "warm"),
        materializers={_path(each, canonical): each.version for each in given.get("materializers", ())},
        tags=given.get("tags", ()),
        extra=values.encode(given.get("extra", {})),
        secrets=_secrets(node.id, given.get("secrets", {}), environment),
    )


def _secrets(step: str, own: Mapping[str, str], environment: Environment | None) -> dict[str, str]:
    """Name of the secret by variable: those of the step's environment, and its own."""
    declared = environment.to_json() if environment is not None else {}
    secrets = {**declared.get("secrets", {}), **own}
    for variable in declared.get("variables", {}):
        if variable in secrets:
            raise DefinitionError(
                f"variable `{variable}` of step `{step}` is a secret, and also declared with a value",
                why=f"environment `{declared['name']}` declares the value, which is recorded and shown",
                mend="remove one of them",
            )
    return dict(sorted(secrets.items()))


def _path(thing: Any, canonical: Any) -> str:
    if "<locals>" in thing.__qualname__:
        raise DefinitionError(
            f"`{thing.__qualname__}` is defined inside a function",
            why="other interpreters import it by name from its module",
            mend="move it to the module's top level",
        )
    return f"{canonical(thing.__module__)}:{thing.__qualname__}"


def _with_sources(compiled: ir.Pipeline, roots: Sequence[Path]) -> ir.Pipeline:
    """Add what the steps' modules are made of: sources by digest, and the packages they import."""
    digests: dict[str, str] = {}
    files: dict[str, str] = {}
    closures: dict[str, list[str]] = {}
    outside: dict[str, list[str]] = {}
    needs: dict[str, dict[str, str]] = {}
    dynamic: set[str] = set()
    for module in sorted({node.module for node in compiled.nodes}):
        closure = sources.closure(module, roots)
        if not closure:
            raise DefinitionError(
                f"the source of module `{module}` cannot be found",
                why="steps run in other interpreters, which import the module from its file",
                mend="save the code in a file of the project",
            )
        closures[module] = sorted(closure)
        outside[module] = sorted(sources.outside(closure))
        digests.update({name: each.digest for name, each in closure.items()})
        files.update({name: _relative(each.path, roots) for name, each in closure.items()})
        dynamic.update(name for name, each in closure.items() if each.dynamic)
    for function in sorted({node.function for node in compiled.nodes}):
        module, _, qualname = function.partition(":")
        found = sources.needed(module, qualname, roots)
        needs[function] = {
            name: f"{_relative(file, roots)}:{line}" for name, (file, line) in sorted(found.items())
        }
    return replace(
        compiled,
        sources=dict(sorted(digests.items())),
        files=dict(sorted(files.items())),
        closures=closures,
        outside=outside,
        needs=needs,
        dynamic=tuple(sorted(dynamic)),
    )


def absent_packages(compiled: ir.Pipeline) -> list[str]:
    """What steps use and this interpreter does not have, whichever of them run in it."""
    from importlib.util import find_spec

    absent = []
    for package in sorted({name for needs in compiled.needs.values() for name in needs}):
        with suppress(ValueError):  # a loaded module that does not say where it came from
            if find_spec(package) is None:
                absent.append(package)
    return absent


def _relative(file: str | Path, roots: Iterable[Path]) -> str:
    for root in roots:
        if Path(file).is_relative_to(root):
            return Path(file).relative_to(root).as_posix()
    return Path(file).name


def serve(request: str) -> None:
    """Compile as the request file says, and write the result beside it.

    The request has `module`, `pipeline`, `parameters` (text by name), `roots`, `cwd`, `project` and
    `result`, and `signature` where that is wanted; the result has `pipeline` and `absent`, the packages that steps
    use and are not there, or `error`.
    """
    asked = folders.read_json(Path(request))
    os.chdir(asked["cwd"])
    sys.path[:0] = asked["roots"]
    bytecode.trust_only_old(asked["roots"])
    sys.argv = [asked["module"]]
    name = f"`{asked['module']}`"
    try:
        pipeline = load_pipeline(asked["module"], asked["pipeline"], asked["roots"])
        name = f"pipeline `{pipeline.name}`"
        compiled = compile_pipeline(
            pipeline,
            (),
            from_text(pipeline, asked["parameters"]),
            roots=asked["roots"],
            project=asked["project"],
        )
        result: dict[str, Any] = {"pipeline": compiled.to_json(), "absent": absent_packages(compiled)}
        if asked.get("signature"):
            result["signature"] = declared(pipeline)
    except TilthError as error:
        result = {"error": error.to_json()}
    except BaseException as error:
        from tilth.runtime.call import described

        told = described(error)
        why = told["traceback"] or told["message"]
        result = {
            "error": {
                "type": "DefinitionError",
                "summary": f"{name} cannot be compiled: {told['type']}",
                "why": why.rstrip(),
                "mend": "",
            }
        }
    folders.write_json(Path(asked["result"]), result)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # the module has closed or replaced it
            stream.flush()
    os._exit(0)  # whatever threads the project's modules have started
