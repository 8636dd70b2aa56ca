"""The first file that runs in an interpreter of the user's: makes tilth importable there, and nothing else of ours.

Run as a script, never imported. Argument 1 is the task (`worker` or `compile`), the rest belongs to it.
"""

import sys

if sys.path[:1] == [__file__.rpartition("/")[0]]:  # not with `-I`, `-P` or PYTHONSAFEPATH
    del sys.path[0]  # this folder: its module names must not hide the standard library's


def _expose(package: str, folder: str) -> None:
    """Load the package at `folder` whatever else is installed, without its neighbours becoming importable."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(package, folder + "/__init__.py", submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)


class _LastResort:
    """Finds cloudpickle in tilth's own installation when the user's environment has none."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(self, name: str, *_: object) -> object:
        if name != "cloudpickle" or not self.folder:
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(
            name, self.folder + "/__init__.py", submodule_search_locations=[self.folder]
        )


def main() -> None:
    task, cloudpickle, *rest = sys.argv[1:]
    # Ours may always be kept as bytecode; whether the user's is, stays the user's choice.
    keep_none, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    _expose("tilth", __file__.rpartition("/runtime/")[0])
    sys.meta_path.append(_LastResort(cloudpickle))  # type: ignore[arg-type]  # the two methods that count
    from importlib import import_module

    serve = import_module(f"tilth.runtime.{task}").serve
    sys.dont_write_bytecode = keep_none
    sys.argv = [""]
    serve(*rest)


if __name__ == "__main__":
    main()
