"""Whether steps can read what other steps hand on, going by declared types and by what is stored already.

What is written how, is the materializers' business (`tilth.materializers`): arrays and frames in formats that
any version of their library reads, estimators and whatever has no materializer as skops or cloudpickle, which
promise less. The pickle protocol is fixed there, to one that every Python tilth runs on reads.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.client.checks.findings import ERROR, WARNING, Finding, place
from tilth.environments.explaining.import_names import distribution_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tilth.client.checks.sides import Side
    from tilth.ir.pipeline import Node, Pipeline

_PACKAGED = re.compile(r"([A-Za-z_]\w*)[.:][\w.]+(\[.*\])?")
_WITH_FORMAT = frozenset({"numpy", "pandas", "sklearn"})  # their library is in every format of theirs
_NO_VALUES = frozenset({"pydantic", "tilth", "typing_extensions"})  # written as JSON, or no type of a value
_OLDEST_PANDAS = 2
_MINOR_COUNTS = frozenset({"sklearn"})  # no promise to read what another minor version wrote


class _Handed(NamedTuple):
    """A value between two steps, as far as it is known."""

    kind: str  # the type, as declared or recorded
    libraries: Mapping[str, str]  # import name -> version that wrote it
    pickled: bool
    python: str  # that wrote it


def check_artifacts(pipeline: Pipeline, sides: Mapping[str | None, Side | None]) -> list[Finding]:
    """What steps get that their environments cannot read, going by the types that the steps before declare."""
    own = {name.partition(".")[0] for name in pipeline.sources}
    declared: dict[tuple[str, str], _Handed] = {}
    makers: dict[str, Node] = {}
    for node in pipeline.nodes:
        makers[node.id] = node
        side = sides[node.environment]
        if node.materializers:  # a custom one may write what any step reads
            continue
        for output in node.outputs:
            found = _PACKAGED.fullmatch(output.type)
            library = found[1] if found else ""
            if library and library not in own and _is_third_party(library):
                version = side.version(library) if side else ""
                pickled = library not in _WITH_FORMAT or (library == "sklearn" and not _have_skops(side))
                handed = _Handed(output.type, {library: version}, pickled, side.python if side else "")
                declared[node.id, output.name] = handed
    found_all = []
    seen: set[object] = set()  # between the same two functions and environments, the first is told
    for node in pipeline.nodes if declared else ():
        reader = sides[node.environment]
        for source in dict.fromkeys(node.sources()):
            if reader is not None and source in declared:
                handed, maker = declared[source], makers[source[0]]
                edge = maker.function, maker.environment, source[1], node.function, node.environment
                if edge in seen:
                    continue
                seen.add(edge)
                if handed.libraries.keys() == {"sklearn"} and not _have_skops(reader):
                    handed = handed._replace(pickled=True)
                found_all += list(_judge(handed, maker.id, maker.environment, node, reader))
    return found_all


def check_stored(
    pipeline: Pipeline,
    sides: Mapping[str | None, Side | None],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[Finding]:
    """The same for values that exist, of which their manifest tells everything.

    Args:
        stored: (step, output) -> content of its `artifact.json`.
    """
    makers = {node.id: node for node in pipeline.nodes}
    found = []
    for node in pipeline.nodes:
        reader = sides[node.environment]
        for source in dict.fromkeys(node.sources()):
            manifest = stored.get(source)
            if manifest is None or reader is None or not isinstance(manifest["requires"], dict):
                continue  # a list: of a mapped step, whose items have manifests of their own
            maker = makers[source[0]]
            handed = _Handed(
                manifest["type"].replace(":", "."),
                manifest["requires"],
                bool(manifest["pickled"]),
                manifest.get("python", ""),
            )
            found += list(_judge(handed, maker.id, maker.environment, node, reader, stored=True))
    return found


def _judge(
    handed: _Handed, maker: str, made_in: str | None, node: Node, reader: Side, *, stored: bool = False
) -> Iterator[Finding]:
    where = place(reader.name)
    for name, written in handed.libraries.items():
        library = next((each for each in name.split("|") if each in reader.modules), "")
        wanted = distribution_for(name.partition("|")[0])
        if not library:
            # A type without a format of its own may turn out to be something simpler.
            certain = stored or name in _WITH_FORMAT
            yield Finding(
                level=ERROR if certain and not reader.blind else WARNING,
                check="artifacts",
                step=node.id,
                environment=reader.name or "",
                what=f"step `{node.id}` gets `{handed.kind}` from step `{maker}`, and {where} has no `{name}` "
                "to read it",
                mend=f"add `{wanted}` to the requirements of {where}, or hand on something simpler"
                if reader.name
                else f"install `{wanted}`, or give the step an environment that has it",
                uncertain=bool(reader.blind),
            )
            continue
        here = reader.version(library)
        reason = _disagreement(library, written, here, pickled=handed.pickled)
        if reason:
            yield Finding(
                level=WARNING,
                check="artifacts",
                step=node.id,
                environment=reader.name or "",
                what=f"step `{node.id}` may not read what step `{maker}` gives: `{wanted}` {written} writes it in "
                f"{place(made_in)}, {here} reads it in {where}",
                why=f"{reason}; it is of type `{handed.kind}`",
                mend=f"require `{wanted}>={_OLDEST_PANDAS}` in {where}"
                if library == "pandas"
                else f"require the same version of `{wanted}` in both, or hand on something simpler",
            )
    if handed.pickled and handed.python and handed.python != reader.python:
        yield Finding(
            level=WARNING,
            check="artifacts",
            step=node.id,
            environment=reader.name or "",
            what=f"step `{node.id}` may not read what step `{maker}` gives: Python {handed.python} pickles it in "
            f"{place(made_in)}, {reader.python} reads it in {where}",
            why=f"`{handed.kind}` is written with cloudpickle, which promises nothing between versions of Python",
            mend="declare the same `python` for both, or a materializer for the type",
        )


def _disagreement(library: str, written: str, here: str, *, pickled: bool) -> str:
    """Why this version may not read what that one wrote; empty when it should."""
    if library == "pandas" and not pickled:
        if here and _release(here, 1) < (_OLDEST_PANDAS,):
            return f"frames are read with pandas {_OLDEST_PANDAS}.0 or newer"
        return ""
    if not written or not here or written == here:
        return ""
    if library in _MINOR_COUNTS:
        if _release(written, 2) != _release(here, 2):
            return "scikit-learn does not promise to read models of another minor version"
    elif pickled and library != "numpy" and _series(written) != _series(here):
        # Arrays in pickles are read across NumPy 1 and 2: `tilth.materializers.pickles` renames what moved.
        return "a pickle holds the library's own classes, and those change with a major version"
    return ""


def _series(version: str) -> tuple[int, ...]:
    """What changes when a library breaks with its past: the major version; before 1.0 the minor one."""
    return _release(version, 1) if _release(version, 1) != (0,) else _release(version, 2)


def _release(version: str, parts: int) -> tuple[int, ...]:
    numbers = re.match(r"(?:\d+!)?v?(\d+(?:\.\d+)*)", version)
    return tuple(int(each) for each in (numbers[1] if numbers else "0").split("."))[:parts]


def _have_skops(side: Side | None) -> bool:
    return side is not None and "skops" in side.modules


def _is_third_party(library: str) -> bool:
    return library not in sys.stdlib_module_names and library not in _NO_VALUES and library != "builtins"
