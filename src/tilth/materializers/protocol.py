"""What a materializer promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


class Format:
    """One way to write a type.

    Args:
        name: As recorded in `artifact.json`: `npy`, `columns`.
        requires: Import names a *reader* needs beyond the standard library, as `("numpy",)`; of
            alternatives any one will do, as `("pandas|polars",)`.
        pickled: Whether reading it may run code that the writer chose.
    """

    __slots__ = ("name", "pickled", "requires")

    def __init__(self, name: str, requires: tuple[str, ...] = (), *, pickled: bool = False) -> None:
        self.name = name
        self.requires = requires
        self.pickled = pickled

    def __repr__(self) -> str:
        return f"Format({self.name!r}, requires={self.requires!r}, pickled={self.pickled!r})"


class Materializer:
    """Writes values of some types to a folder, and reads them back equal.

    Subclass it for a type of your own, name the types, write `save` and `load`, and give the class to
    `@step(materializers=[...])` or `@pipeline(materializers=[...])` of the step that returns the value.
    A reader finds the class again by its import path.

        class GraphMaterializer(Materializer):
            types = (Graph,)

            def save(self, value: Graph, folder: Path) -> None:
                (folder / "graph.json").write_text(value.to_json())

            def load(self, folder: Path) -> Graph:
                return Graph.from_json((folder / "graph.json").read_text())

    Large files are best written with `tilth.materializers.open_hashed`, which digests them on the way.
    """

    types: ClassVar[tuple[type, ...]] = ()
    version: ClassVar[int] = (
        1  # raise it when `save` writes something else: cached outputs are then made anew
    )
    formats: ClassVar[tuple[Format, ...]] = (Format("files"),)  # best first

    def __init__(self, format: str = "") -> None:  # noqa: A002 - the field's word
        self.format = format or self.formats[0].name
        # `save` may set it: a frame is pickled only when one of its columns is.
        self.pickled = any(each.pickled for each in self.formats if each.name == self.format)

    def save(self, value: Any, folder: Path) -> None:
        """Write `value` into `folder`, which exists and is empty, in `self.format`."""
        raise TypeError(f"{type(self).__name__} has no `save`, asked for {type(value)} in {folder}")

    def load(self, folder: Path) -> Any:
        """Read the value that `save` wrote, in `self.format`. The files are read-only."""
        raise TypeError(f"{type(self).__name__} has no `load`, asked for {folder}")

    def metadata(self, value: Any) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """What to record about `value`, as JSON: shape, columns, length. Cheap, or nothing."""
        return {}

    def visualize(self, value: Any, folder: Path) -> None:
        """Write what a person would look at, as `.html`, `.md`, `.csv` or `.png` files, into `folder`."""
