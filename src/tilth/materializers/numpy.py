"""NumPy arrays and scalars as `.npy` (numpy.lib.format, version 1 to 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.ir.values import Unencodable
from tilth.materializers.files import open_hashed
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from pathlib import Path

_MAPPED = 16 << 20  # bytes; larger arrays are mapped rather than read
_CHUNK = 16 << 20


class ArrayMaterializer(Materializer):
    """An array, its byte and memory order kept. Large ones load as a copy-on-write map of the file."""

    formats = (Format("npy", ("numpy",)),)

    def save(self, value: Any, folder: Path) -> None:
        write_npy(value, folder / "value.npy")

    def load(self, folder: Path) -> Any:
        return read_npy(folder / "value.npy")

    def metadata(self, value: Any) -> dict[str, Any]:
        return {"shape": list(value.shape), "dtype": str(value.dtype)}

    def visualize(self, value: Any, folder: Path) -> None:
        """A table of what a numeric array holds."""
        if value.dtype.kind not in "iuf" or not value.size:
            return
        import numpy as np

        sample = (
            value.reshape(-1)[:: max(1, value.size // 100_000)] if value.flags.c_contiguous else value.flat
        )
        sample = np.asarray(sample[:200_000], dtype=np.float64)
        exact = "" if sample.size >= value.size else " (of a sample)"
        sample = sample[np.isfinite(sample)]
        rows = {"shape": " x ".join(map(str, value.shape)), "dtype": value.dtype}
        if sample.size:
            for name in ("min", "mean", "max", "std"):
                rows[name + exact] = f"{getattr(sample, name)():.6g}"
        table = "".join(f"<tr><th>{name}</th><td>{item}</td></tr>" for name, item in rows.items())
        (folder / "array.html").write_text(f"<table>{table}</table>", encoding="utf-8")


class ScalarMaterializer(Materializer):
    """A NumPy scalar, as an array of no dimensions."""

    formats = (Format("npy", ("numpy",)),)

    def save(self, value: Any, folder: Path) -> None:
        import numpy as np

        array = np.asarray(value, dtype=value.dtype)
        if type(array[()]) is not type(value):
            raise Unencodable(f"numpy:{type(value).__name__}")
        write_npy(array, folder / "value.npy")

    def load(self, folder: Path) -> Any:
        return read_npy(folder / "value.npy")[()]

    def metadata(self, value: Any) -> dict[str, Any]:
        described: dict[str, Any] = {"dtype": str(value.dtype)}
        if value.dtype.kind in "biu" or (value.dtype.kind == "f" and abs(value) < float("inf")):
            described["value"] = value.item()
        return described


def fits_npy(dtype: Any) -> bool:
    """Whether `.npy` holds this dtype exactly: no objects, no dtype of another library."""
    from numpy.lib import format as npy

    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        return False
    try:
        return bool(npy.descr_to_dtype(npy.dtype_to_descr(dtype)) == dtype)
    except (TypeError, ValueError):
        return False


def write_npy(array: Any, path: Path) -> None:
    """Write an array without a copy of it in memory.

    Raises:
        Unencodable: `.npy` cannot hold its dtype.
    """
    import numpy as np
    from numpy.lib import format as npy

    if not fits_npy(array.dtype):
        raise Unencodable(f"numpy:{array.dtype}", "which `.npy` cannot hold")
    array = np.asarray(array)
    with open_hashed(path) as file:
        try:
            npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        except ValueError:  # of which UnicodeEncodeError is one
            _write_with_long_header(file, array)
            return
        flags = array.flags
        if flags.c_contiguous or flags.f_contiguous:
            if array.nbytes:
                file.write((array if flags.c_contiguous else array.T).reshape(-1).view(np.uint8))
            return
        size = max(1, _CHUNK // max(1, array.itemsize))
        chunks: Any = np.nditer(
            array, flags=["external_loop", "buffered", "zerosize_ok"], buffersize=size, order="C"
        )
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8))


def _write_with_long_header(file: Any, array: Any) -> None:
    """Write an array whose dtype needs version 2 or 3: one of very many fields, or of non-Latin names."""
    import warnings

    from numpy.lib import format as npy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that NumPy before 1.17 cannot read it
        npy.write_array(file, array, allow_pickle=False)


def read_npy(path: Path) -> Any:
    """The array of a `.npy` file; a plain `ndarray` also when it is mapped."""
    import numpy as np

    if path.stat().st_size > _MAPPED:
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False)).view(np.ndarray)
    return np.load(path, allow_pickle=False)
