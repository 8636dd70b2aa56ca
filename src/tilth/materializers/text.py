"""Text and bytes as files of their own, and strings that say what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.materializers.files import open_hashed
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from pathlib import Path


class HTML(str):
    """HTML, shown as such beside the artifact; otherwise a plain string."""

    __slots__ = ()


class Markdown(str):
    """Markdown, shown as such beside the artifact; otherwise a plain string."""

    __slots__ = ()


class CSV(str):
    """Comma-separated values, shown as a table beside the artifact; otherwise a plain string."""

    __slots__ = ()


class TextMaterializer(Materializer):
    """A string too large to sit in JSON, as UTF-8; lone surrogates are kept."""

    kind: type[str] = str
    suffix = ".txt"
    formats = (Format("text"),)

    def save(self, value: str, folder: Path) -> None:
        self._write(value, folder / f"value{self.suffix}")

    def load(self, folder: Path) -> str:
        text = (folder / f"value{self.suffix}").read_bytes().decode("utf-8", "surrogatepass")
        return text if self.kind is str else self.kind(text)

    def metadata(self, value: str) -> dict[str, Any]:
        return {"length": len(value)}

    def _write(self, value: str, path: Path) -> None:
        with open_hashed(path) as file:
            file.write(str.encode(value, "utf-8", "surrogatepass"))


class _MarkedMaterializer(TextMaterializer):
    def visualize(self, value: str, folder: Path) -> None:
        (folder / f"value{self.suffix}").write_bytes(str.encode(value, "utf-8", "replace"))


class HTMLMaterializer(_MarkedMaterializer):
    """A string that holds HTML."""

    kind = HTML
    suffix = ".html"
    formats = (Format("html"),)


class MarkdownMaterializer(_MarkedMaterializer):
    """A string that holds Markdown."""

    kind = Markdown
    suffix = ".md"
    formats = (Format("markdown"),)


class CSVMaterializer(_MarkedMaterializer):
    """A string that holds comma-separated values."""

    kind = CSV
    suffix = ".csv"
    formats = (Format("csv"),)


class BytesMaterializer(Materializer):
    """Bytes too large to sit in JSON."""

    formats = (Format("bytes"),)

    def save(self, value: bytes, folder: Path) -> None:
        with open_hashed(folder / "value.bin") as file:
            file.write(value)

    def load(self, folder: Path) -> bytes:
        return (folder / "value.bin").read_bytes()

    def metadata(self, value: bytes) -> dict[str, Any]:
        return {"length": len(value)}
