"""pandas frames, series and indexes: a schema in `frame.json`, the data of each column in files of its own.

    N.npy                         numbers, booleans, naive times; codes of categories; ordinals of periods
    N.missing.npy                 of a nullable column: true where missing; of text: 1 None, 2 NaN, 3 NA
    N.offsets.npy, N.bytes.npy    text as UTF-8, one after another, as in Arrow's large_string
    N.json, N.pickle              what Python objects are left: plain ones, and any

N counts up in the order of the schema. Nothing but pandas is needed to read it,
of any version from 2.0.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tilth.ir.values import Unencodable, decode, encode
from tilth.materializers.files import open_hashed
from tilth.materializers.numpy import fits_npy, read_npy, write_npy
from tilth.materializers.pickles import read_pickle, write_pickle
from tilth.materializers.plain import dump
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.ir.values import Json

_SAMPLE = 100_000  # rows that a visualization looks at
_MANY = 10_000  # texts, from which pyarrow is worth a second look
_MASKED = {"i": "IntegerArray", "u": "IntegerArray", "f": "FloatingArray", "b": "BooleanArray"}


class FrameMaterializer(Materializer):
    """A frame: dtypes, index, columns (also repeated ones), names, frequencies and attributes kept."""

    formats = (Format("columns", ("pandas",)),)

    def save(self, value: Any, folder: Path) -> None:
        writer = _Writer(folder)
        schema = {
            "kind": "frame",
            "columns": writer.index(value.columns),
            "index": writer.index(value.index),
            "data": [writer.series(value.iloc[:, position]) for position in range(value.shape[1])],
            **_extras(value),
        }
        writer.finish(schema)
        self.pickled = writer.pickled

    def load(self, folder: Path) -> Any:
        reader = _Reader(folder)
        import pandas as pd

        schema = reader.schema
        index = reader.index(schema["index"])
        # Each with its dtype, so that none is inferred, and uncopied, so that large ones stay mapped.
        data = {position: reader.series(each, index) for position, each in enumerate(schema["data"])}
        frame = pd.DataFrame(data, index=index, copy=False)
        frame.columns = reader.index(schema["columns"])
        return _with_extras(frame, schema)

    def metadata(self, value: Any) -> dict[str, Any]:
        return {
            "rows": value.shape[0],
            "columns": {str(name): str(kind) for name, kind in list(value.dtypes.items())[:1000]},
        }

    def visualize(self, value: Any, folder: Path) -> None:
        """The first rows, and a summary of each column."""
        shown = value.iloc[:, :50]
        sampled = shown.iloc[:: max(1, len(shown) // _SAMPLE)]
        parts = [f"<p>{value.shape[0]:,} rows, {value.shape[1]:,} columns</p>"]
        parts.append(shown.head(20).to_html(max_cols=50))
        if shown.shape[0] and shown.shape[1]:
            note = "" if len(sampled) == len(value) else f" of {len(sampled):,} rows"
            numbers = sampled.select_dtypes("number")
            parts.append(f"<h2>summary{note}</h2>")
            if numbers.shape[1]:
                parts.append(numbers.describe().T.to_html(float_format="{:.6g}".format))
            counts = sampled.count().to_frame("present")
            counts["dtype"] = [str(each) for each in shown.dtypes]
            parts.append(counts.to_html())
        (folder / "frame.html").write_text("\n".join(parts), encoding="utf-8", errors="replace")


class SeriesMaterializer(Materializer):
    """A series, as a frame's column with its index and name."""

    formats = (Format("columns", ("pandas",)),)

    def save(self, value: Any, folder: Path) -> None:
        writer = _Writer(folder)
        schema = {
            "kind": "series",
            "name": encode(value.name),
            "index": writer.index(value.index),
            "data": writer.series(value),
            **_extras(value),
        }
        writer.finish(schema)
        self.pickled = writer.pickled

    def load(self, folder: Path) -> Any:
        reader = _Reader(folder)
        schema = reader.schema
        series = reader.series(schema["data"], reader.index(schema["index"]))
        series.name = decode(schema["name"])
        return _with_extras(series, schema)

    def metadata(self, value: Any) -> dict[str, Any]:
        return {"length": len(value), "dtype": str(value.dtype)}

    def visualize(self, value: Any, folder: Path) -> None:
        FrameMaterializer().visualize(value.to_frame("" if value.name is None else value.name), folder)


class IndexMaterializer(Materializer):
    """An index of any kind."""

    formats = (Format("columns", ("pandas",)),)

    def save(self, value: Any, folder: Path) -> None:
        writer = _Writer(folder)
        writer.finish({"kind": "index", "index": writer.index(value)})
        self.pickled = writer.pickled

    def load(self, folder: Path) -> Any:
        reader = _Reader(folder)
        return reader.index(reader.schema["index"])

    def metadata(self, value: Any) -> dict[str, Any]:
        return {"length": len(value), "dtype": str(getattr(value, "dtype", "object"))}


class _Writer:
    """Writes arrays into one folder, and says how to read each again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.pickled = False

    def finish(self, schema: dict[str, Json]) -> None:
        with open_hashed(self._folder / "frame.json") as file:
            file.write(dump({"version": 1, **schema}))

    def index(self, index: Any) -> Json:
        import pandas as pd

        kind = type(index)
        if kind is pd.RangeIndex:
            parts = [index.start, index.stop, index.step]
            return {"kind": "range", "range": parts, "name": encode(index.name)}
        if kind is pd.MultiIndex:
            return {
                "kind": "multi",
                "levels": [self.index(level.rename(None)) for level in index.levels],
                "codes": [self._numbers(codes) for codes in index.codes],
                "names": [encode(name) for name in index.names],
            }
        if kind.__module__.partition(".")[0] != "pandas":
            raise Unencodable(f"{kind.__module__}:{kind.__qualname__}")
        described = {"kind": "index", "values": self.array(index.array), "name": encode(index.name)}
        frequency = getattr(index, "freq", None) if index.dtype.kind in "Mm" else None
        if frequency is not None:
            text = frequency.freqstr
            if pd.tseries.frequencies.to_offset(text) != frequency:
                raise Unencodable("pandas:DateOffset", "a frequency without a name")
            described["frequency"] = text
        return described

    def series(self, series: Any) -> Json:
        return self.array(series.array)

    def array(self, array: Any) -> Json:
        import numpy as np
        import pandas as pd

        if type(array).__name__ in ("NumpyExtensionArray", "PandasArray"):  # the latter before pandas 2.1
            array = array.to_numpy()
        dtype = array.dtype
        if isinstance(dtype, pd.DatetimeTZDtype):
            zone = _describe_zone(dtype.tz)
            if zone is None:
                return self._pickle(array)
            naive = array.tz_convert("UTC").tz_localize(None)
            return {"kind": "zoned", "values": self._numbers(np.asarray(naive)), "zone": zone}
        if isinstance(dtype, pd.CategoricalDtype):
            return {
                "kind": "categorical",
                "codes": self._numbers(array.codes),
                "categories": self.index(array.categories),
                "ordered": bool(array.ordered),
            }
        if isinstance(dtype, pd.PeriodDtype):
            return {"kind": "period", "values": self._numbers(array.asi8), "dtype": str(dtype)}
        if isinstance(dtype, pd.IntervalDtype):
            sides = {"left": self.index(array.left), "right": self.index(array.right)}
            return {"kind": "interval", **sides, "closed": array.closed}
        if isinstance(dtype, pd.StringDtype):
            return self._string(array)
        if type(array).__name__ in _MASKED.values() and type(array).__module__.startswith("pandas."):
            missing = np.asarray(array.isna())
            values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
            described: dict[str, Json] = {"kind": "masked", "values": self._numbers(values)}
            described["missing"] = self._numbers(missing) if missing.any() else None
            return described
        if not isinstance(dtype, np.dtype):
            return self._pickle(array)
        values = np.asarray(array)
        if dtype.hasobject:
            return self._objects(values)
        if not fits_npy(dtype):
            return self._pickle(array)
        return {"kind": "numpy", "values": self._numbers(values)}

    def _string(self, array: Any) -> Json:
        import numpy as np

        dtype = array.dtype
        missing = "nan" if isinstance(dtype.na_value, float) else "NA"
        described: dict[str, Json] = {"kind": "string", "storage": dtype.storage[:7], "na": missing}
        if dtype.storage.startswith("pyarrow"):
            return {**described, **self._arrow_text(array)}
        text = self._text(np.asarray(array, dtype=object))
        return {**described, **text} if text is not None else self._pickle(array)

    def _objects(self, values: Any) -> Json:
        text = self._text(values)
        if text is not None:
            return {"kind": "text", **text}
        items = values.tolist()
        name = self._name()
        try:
            encoded = dump(encode(items))
        except Unencodable:
            self.pickled = True
            write_pickle(items, self._folder / f"{name}.pickle")
            return {"kind": "objects", "pickle": f"{name}.pickle"}
        with open_hashed(self._folder / f"{name}.json") as file:
            file.write(encoded)
        return {"kind": "objects", "json": f"{name}.json"}

    def _text(self, values: Any) -> dict[str, Json] | None:
        """Strings and missing values as offsets and bytes; None when there is anything else."""
        import numpy as np

        items = values.tolist()
        kinds = set(map(type, items))
        missing: Any = None
        if kinds - {str}:
            import pandas as pd

            if not kinds <= {str, float, type(None), type(pd.NA)}:
                return None
            missing = np.zeros(len(items), dtype=np.uint8)
            for position, item in enumerate(items):
                if type(item) is str:
                    continue
                if type(item) is float and item == item:
                    return None
                missing[position] = 1 if item is None else 2 if type(item) is float else 3
                items[position] = ""
        joined = "".join(items)
        if joined.isascii():
            lengths = np.fromiter(map(len, items), dtype=np.int64, count=len(items))
        else:
            sizes = (len(item.encode("utf-8", "surrogatepass")) for item in items)
            lengths = np.fromiter(sizes, dtype=np.int64, count=len(items))
        offsets: Any = np.zeros(len(items) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        content = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        return self._write_text(offsets, content, missing)

    def _arrow_text(self, array: Any) -> dict[str, Json]:
        import numpy as np
        import pyarrow as pa

        arrow = array.__arrow_array__().cast(pa.large_string())
        if isinstance(arrow, pa.ChunkedArray):
            arrow = arrow.combine_chunks()
        if isinstance(arrow, pa.ChunkedArray):  # combined chunks are an array only in some versions
            arrow = arrow.chunk(0) if arrow.num_chunks else pa.array([], pa.large_string())
        _, places, text = arrow.buffers()
        start, count = arrow.offset, len(arrow)
        offsets: Any = np.zeros(1, dtype=np.int64)
        if places is not None and places.size:
            offsets = np.frombuffer(places, dtype=np.int64)[start : start + count + 1]
        content = np.frombuffer(text or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
        missing = None
        if arrow.null_count:
            missing = np.asarray(arrow.is_null()).astype(np.uint8) * np.uint8(3)
        return self._write_text(offsets - offsets[0] if offsets[0] else offsets, content, missing)

    def _write_text(self, offsets: Any, content: Any, missing: Any) -> dict[str, Json]:
        name = self._name()
        write_npy(offsets, self._folder / f"{name}.offsets.npy")
        write_npy(content, self._folder / f"{name}.bytes.npy")
        described: dict[str, Json] = {"text": name, "missing": None}
        if missing is not None:
            described["missing"] = f"{name}.missing.npy"
            write_npy(missing, self._folder / f"{name}.missing.npy")
        return described

    def _numbers(self, values: Any) -> str:
        name = f"{self._name()}.npy"
        write_npy(values, self._folder / name)
        return name

    def _pickle(self, array: Any) -> Json:
        name = f"{self._name()}.pickle"
        self.pickled = True
        write_pickle(array, self._folder / name)
        return {"kind": "pickle", "pickle": name}

    def _name(self) -> str:
        self._count += 1
        return str(self._count - 1)


class _Reader:
    """Reads back what `_Writer` wrote, with whatever version of pandas is here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.schema: dict[str, Any] = json.loads((folder / "frame.json").read_bytes())

    def index(self, described: Json) -> Any:
        import pandas as pd

        if described["kind"] == "range":
            return pd.RangeIndex(*described["range"], name=decode(described["name"]))
        if described["kind"] == "multi":
            return pd.MultiIndex(
                levels=[self.index(level) for level in described["levels"]],
                codes=[self._numbers(codes) for codes in described["codes"]],
                names=[decode(name) for name in described["names"]],
                verify_integrity=False,
            )
        array = self.array(described["values"])
        index = pd.Index(array, dtype=array.dtype, copy=False, tupleize_cols=False)
        index.name = decode(described["name"])
        if "frequency" in described:
            index.freq = described["frequency"]
        return index

    def series(self, described: Json, index: Any) -> Any:
        import pandas as pd

        array = self.array(described)
        return pd.Series(array, index=index, dtype=array.dtype, copy=False)

    def array(self, described: Json) -> Any:
        kind = described["kind"]
        read = getattr(self, f"_read_{kind}")
        return read(described)

    def _read_numpy(self, described: Json) -> Any:
        return self._numbers(described["values"])

    def _read_zoned(self, described: Json) -> Any:
        import pandas as pd

        naive = pd.DatetimeIndex(self._numbers(described["values"]))
        return naive.tz_localize("UTC").tz_convert(_zone(described["zone"])).array

    def _read_categorical(self, described: Json) -> Any:
        import pandas as pd

        dtype = pd.CategoricalDtype(self.index(described["categories"]), ordered=described["ordered"])
        return pd.Categorical.from_codes(self._numbers(described["codes"]), dtype=dtype)

    def _read_period(self, described: Json) -> Any:
        import pandas as pd

        dtype = pd.PeriodDtype(described["dtype"].partition("[")[2].rstrip("]"))
        return pd.arrays.PeriodArray(self._numbers(described["values"]), dtype=dtype)

    def _read_interval(self, described: Json) -> Any:
        import pandas as pd

        left, right = self.index(described["left"]), self.index(described["right"])
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=described["closed"])

    def _read_masked(self, described: Json) -> Any:
        import numpy as np
        import pandas as pd

        values = self._numbers(described["values"])
        if described["missing"] is None:
            missing: Any = np.zeros(len(values), dtype=bool)
        else:
            missing = self._numbers(described["missing"])
        return getattr(pd.arrays, _MASKED[values.dtype.kind])(values, missing)

    def _read_string(self, described: Json) -> Any:
        import pandas as pd

        dtype = _string_dtype(described["storage"], described["na"])
        if dtype is not None and dtype.storage.startswith("pyarrow"):
            return dtype.__from_arrow__(self._arrow_text(described))
        missing = float("nan") if described["na"] == "nan" else pd.NA
        return pd.array(self._strings(described, {3: missing, 2: missing}), dtype=dtype or object)

    def _read_text(self, described: Json) -> Any:
        import pandas as pd

        return self._strings(described, {1: None, 2: float("nan"), 3: pd.NA})

    def _read_objects(self, described: Json) -> Any:
        import numpy as np

        if "json" in described:
            items: Any = decode(json.loads((self._folder / described["json"]).read_bytes()))
        else:
            items = read_pickle(self._folder / described["pickle"])
        values: Any = np.empty(len(items), dtype=object)
        values[:] = items
        return values

    def _read_pickle(self, described: Json) -> Any:
        return read_pickle(self._folder / described["pickle"])

    def _strings(self, described: Json, marks: dict[int, Any]) -> Any:
        """Text as an array of objects; what occurs often is one object, as it was likely to be."""
        import numpy as np

        name = described["text"]
        offsets = self._numbers(f"{name}.offsets.npy")
        values = None
        arrow = sys.modules.get("pyarrow")
        if arrow is not None and len(offsets) > _MANY:
            # Twice as fast as below; but it takes no lone surrogates, and is not everywhere.
            with suppress(ValueError, arrow.ArrowException):
                values = self._arrow_text({**described, "missing": None}).to_numpy(zero_copy_only=False)
        if values is None:
            values = np.empty(len(offsets) - 1, dtype=object)
            values[:] = _cut(self._numbers(f"{name}.bytes.npy").tobytes(), offsets.tolist())
        if described["missing"] is not None:
            missing = self._numbers(described["missing"])
            for mark, stands_for in marks.items():
                values[missing == mark] = stands_for
        return values

    def _arrow_text(self, described: Json) -> Any:
        import numpy as np
        import pyarrow as pa

        name = described["text"]
        offsets = self._numbers(f"{name}.offsets.npy")
        content = self._numbers(f"{name}.bytes.npy")
        valid = None
        if described["missing"] is not None:
            present = self._numbers(described["missing"]) == 0
            valid = pa.py_buffer(np.packbits(present, bitorder="little"))
        buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(content)]
        return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)

    def _numbers(self, name: str) -> Any:
        return read_npy(self._folder / name)


def _cut(content: bytes, offsets: list[int]) -> list[str]:
    places = zip(offsets, offsets[1:])  # noqa: B905, RUF007 - Python 3.10 and a million rows
    if content.isascii():
        text = content.decode("ascii")
        items = [text[start:end] for start, end in places]
    else:
        items = [content[start:end].decode("utf-8", "surrogatepass") for start, end in places]
    head = items[:1000]
    if len(set(head)) * 2 < len(head):
        known: dict[str, str] = {}
        items = [known.setdefault(item, item) for item in items]
    return items


def _extras(value: Any) -> dict[str, Json]:
    extras: dict[str, Json] = {}
    if value.attrs:
        extras["attrs"] = encode(value.attrs)
    if not value.flags.allows_duplicate_labels:
        extras["unique_labels"] = True
    return extras


def _with_extras(value: Any, schema: dict[str, Any]) -> Any:
    if "attrs" in schema:
        value.attrs = decode(schema["attrs"])
    if schema.get("unique_labels"):
        value.flags.allows_duplicate_labels = False
    return value


def _string_dtype(storage: str, missing: str) -> Any:
    """The nearest string dtype that this pandas has; None stands for objects."""
    import pandas as pd

    try:
        import pyarrow  # noqa: F401 - only whether it is there
    except ImportError:
        storage = "python"
    if missing == "NA":
        return pd.StringDtype(storage)
    try:
        return pd.StringDtype(storage, na_value=float("nan"))
    except TypeError:  # before pandas 2.3
        return pd.StringDtype("pyarrow_numpy") if storage == "pyarrow" else None


def _describe_zone(zone: Any) -> Json:
    from datetime import timezone

    library = type(zone).__module__.partition(".")[0]
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        return {"seconds": offset.total_seconds()} if zone == timezone(offset) else None
    if library == "zoneinfo" and zone.key:
        return {"name": zone.key, "library": library}
    if library == "pytz" and getattr(zone, "zone", None):
        return {"name": zone.zone, "library": library}
    return None


def _zone(described: Json) -> Any:
    if "seconds" in described:
        from datetime import timedelta, timezone

        return timezone(timedelta(seconds=described["seconds"]))
    if described["library"] == "pytz":
        try:
            import pytz  # type: ignore[import-untyped,unused-ignore]

            return pytz.timezone(described["name"])
        except ImportError:  # pandas 3 no longer needs it
            pass
    from zoneinfo import ZoneInfo

    return ZoneInfo(described["name"])
