"""Imports the project's modules from bytecode only where that is surely of the source as it is now.

Python takes a `.pyc` for current when the source has the size and the whole second it was compiled from. A file
edited twice within a second, to the same length, would run as it was while its digest says what it is.
"""

from __future__ import annotations

import os
import sys
from importlib import machinery
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RACY_NS = 2_000_000_000  # some file systems keep times to two seconds


class _Loader(machinery.SourceFileLoader):
    """Passes over bytecode that was written so soon after its source that the source may have changed since."""

    def get_data(self, path: str) -> bytes:
        if path.endswith(".pyc"):
            written = os.stat(path).st_mtime_ns  # noqa: PTH116 - pathlib need not be loaded for every module
            source = os.stat(self.path).st_mtime_ns  # noqa: PTH116
            if written - source < _RACY_NS:
                raise OSError("too young to be trusted")
        return super().get_data(path)


def trust_only_old(roots: Sequence[str]) -> None:
    """From here on, modules below these folders are imported so."""
    folders = tuple(os.path.join(os.path.realpath(root), "") for root in roots)  # noqa: PTH118
    find = machinery.FileFinder.path_hook(
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (_Loader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )

    def hook(path: str) -> machinery.FileFinder:
        whole = os.path.join(os.path.realpath(path), "")  # noqa: PTH118
        if not whole.startswith(folders) or "site-packages" in whole:
            raise ImportError
        return find(path)  # type: ignore[return-value]  # typeshed says only that it is a finder

    sys.path_hooks.insert(0, hook)
    for path in list(sys.path_importer_cache):
        if os.path.join(os.path.realpath(path), "").startswith(folders):  # noqa: PTH118
            del sys.path_importer_cache[path]
