"""The public names: what `tilth/__init__.py` lists, what type checkers see, and what exists are one thing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tilth
from tilth import errors

SOURCE = Path(tilth.__file__)


def names_for_type_checkers() -> set[str]:
    """What `if TYPE_CHECKING:` imports in `tilth/__init__.py`."""
    guarded = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    imports = [node for block in guarded for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_every_listed_name_is_one_that_type_checkers_see() -> None:
    assert set(tilth.__all__) == names_for_type_checkers()


@pytest.mark.parametrize("name", tilth.__all__)
def test_every_listed_name_exists_and_has_a_docstring(name: str) -> None:
    assert getattr(tilth, name).__doc__


@pytest.mark.parametrize("name", tilth.__all__)
def test_every_listed_name_is_in_the_api_reference(name: str) -> None:
    assert f"::: tilth.{name}\n" in (SOURCE.parents[2] / "docs/reference/api.md").read_text()


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="pipelines"):
        tilth.pipelines  # noqa: B018


def test_dir_offers_names_that_are_not_loaded_yet() -> None:
    assert set(tilth.__all__) <= set(dir(tilth))


def test_the_tree_of_errors_in_the_docstring_is_the_real_one() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    shown = {word for word in (errors.__doc__ or "").split() if word[:1].isupper() and word in classes}
    assert shown == {name for name in classes if issubclass(getattr(errors, name), errors.TilthError)}


def test_the_version_is_the_one_of_the_distribution() -> None:
    from importlib.metadata import version

    assert tilth.__version__ == version("tilth")
