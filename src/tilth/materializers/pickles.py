"""The last resort: cloudpickle. Reads only where the writer's Python and packages, or nearly those, are."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from tilth.errors import OutputError
from tilth.ir import values
from tilth.materializers.files import open_hashed
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from pathlib import Path

_PROTOCOL = 5


class CloudpickleMaterializer(Materializer):
    """Any value that can be pickled. Types of the project are written by their canonical name."""

    formats = (Format("cloudpickle", pickled=True),)

    def save(self, value: object, folder: Path) -> None:
        write_pickle(value, folder / "value.pickle")

    def load(self, folder: Path) -> object:
        return read_pickle(folder / "value.pickle")


def write_pickle(value: object, path: Path) -> None:
    """Pickle `value`.

    Raises:
        OutputError: It cannot be pickled; says which part of it.
    """
    kind = _pickler()
    try:
        with open_hashed(path) as file:
            kind(file, _PROTOCOL).dump(value)
    except OSError:  # the disk, not the value
        raise
    except Exception as error:
        where, culprit, reason = _culprit(value, kind) or ("", value, error)
        raise OutputError(
            f"a value of type `{values.type_name(type(value))}` cannot be saved",
            why=f"`value{where}` is of type `{values.type_name(type(culprit))}`: {_one_line(reason)}",
            mend="return only data, or give a materializer for the type with `@step(materializers=[...])`",
        ) from error


def read_pickle(path: Path) -> object:
    """The value that `write_pickle` wrote."""
    with path.open("rb") as file:
        return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """NumPy 2 renamed `numpy.core`, which pickles of arrays name: each reads those of the other."""
        if module.startswith(("numpy.core.", "numpy._core.")):
            import numpy as np

            here = "_core" if np.__version__.partition(".")[0] != "1" else "core"
            module = ".".join(["numpy", here, *module.split(".")[2:]])
        return super().find_class(module, name)


def _pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # A script's own classes would otherwise be pickled whole, and be other classes when loaded.
            if isinstance(obj, type) and obj.__module__ == "__main__":
                name = values.type_name(obj)
                if not name.startswith("__main__:") and values.is_importable(obj):
                    return values.import_type, (name,)
            return super().reducer_override(obj)

    return Pickler


class _Nowhere:
    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _culprit(value: object, kind: Any, depth: int = 8) -> tuple[str, object, BaseException] | None:
    """The innermost part of `value` that cannot be pickled: the way to it, itself, and what pickle says."""
    try:
        kind(_Nowhere(), _PROTOCOL).dump(value)
    except Exception as error:
        for step, part in _parts(value) if depth else ():
            found = _culprit(part, kind, depth - 1)
            if found is not None:
                return step + found[0], found[1], found[2]
        return "", value, error
    return None


def _parts(value: Any) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"[{key!r:.80}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    return [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
