"""What one step gives and another cannot read."""

from __future__ import annotations

from typing import Any

import pytest

from tilth.client.checks.artifacts import check_artifacts, check_stored
from tilth.client.checks.sides import Side
from tilth.ir.pipeline import Node, Output, Pipeline


def side(name: str | None = "e", python: str = "3.11", blind: tuple[str, ...] = (), **modules: str) -> Side:
    return Side(name, python, {module: (module, version) for module, version in modules.items()}, blind)


def handing(kind: str, **options: Any) -> Pipeline:
    """Step `make`, in environment `maker`, gives a value to step `use` in `user`."""
    make = Node(
        id="make", function="m:make", environment="maker", outputs=(Output("output", type=kind),), **options
    )
    use = Node(id="use", function="m:use", environment="user", inputs={"x": {"$output": ["make", "output"]}})
    environments: dict[str, dict[str, Any]] = {"maker": {}, "user": {}}
    return Pipeline("p", "m:p", nodes=(make, use), environments=environments, sources={"m": "sha256:1"})


def told(kind: str, maker: Side | None, user: Side | None, **options: Any) -> list[tuple[str, str]]:
    found = check_artifacts(handing(kind, **options), {"maker": maker, "user": user})
    assert all((each.step, each.environment) == ("use", "e") and each.mend for each in found)
    return [(each.level, f"{each.what}; {each.why}") for each in found]


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ("pandas.DataFrame", {"pandas": "3.0.0"}, {"pandas": "2.0.0"}),
        ("numpy.ndarray", {"numpy": "2.1.0"}, {"numpy": "1.24.0"}),
        ("sklearn.svm.SVC", {"sklearn": "1.5.0"}, {"sklearn": "1.5.2"}),
        ("torch.Tensor", {"torch": "2.1"}, {"torch": "2.9"}),
        ("m.Own", {}, {}),
        ("int", {}, {}),
        ("", {}, {}),
        ("datetime.datetime", {}, {}),
        ("pandas.DataFrame | None", {"pandas": "2.0"}, {}),
        ("typing_extensions.TypedDict", {}, {}),
    ],
)
def test_what_should_be_readable_is_not_told(
    kind: str, written: dict[str, str], read: dict[str, str]
) -> None:
    assert told(kind, side(**written), side(**read)) == []


@pytest.mark.parametrize("kind", ["numpy.ndarray", "pandas.Series", "sklearn.svm.SVC"])
def test_a_library_that_is_in_every_format_must_be_there(kind: str) -> None:
    library = kind.partition(".")[0]
    ((level, text),) = told(kind, side(**{library: "1.0"}), side())
    assert level == "error"
    assert f"environment `e` has no `{library}` to read it" in text
    ((level, _),) = told(kind, side(**{library: "1.0"}), side(blind=("something",)))
    assert level == "warning", "a package that was never seen may have it"


def test_a_library_of_a_type_that_may_be_written_otherwise_is_likely_needed() -> None:
    ((level, text),) = told("torch.Tensor", side(torch="2.1"), side())
    assert level == "warning"
    assert "has no `torch`" in text
    assert told("torch.Tensor", side(torch="2.1"), side(), materializers={"m:Own": 1}) == []


@pytest.mark.parametrize(
    ("kind", "written", "read", "why"),
    [
        ("sklearn.svm.SVC", {"sklearn": "1.5.0"}, {"sklearn": "1.4.2"}, "another minor version"),
        ("pandas.DataFrame", {"pandas": "2.2.0"}, {"pandas": "1.5.3"}, "pandas 2.0 or newer"),
        ("torch.Tensor", {"torch": "2.1"}, {"torch": "1.9"}, "major version"),
        ("lightgbm.Booster", {"lightgbm": "0.4.1"}, {"lightgbm": "0.3.9"}, "major version"),
    ],
)
def test_versions_that_may_not_read_each_other_are_told(
    kind: str, written: dict[str, str], read: dict[str, str], why: str
) -> None:
    ((level, text),) = told(kind, side(**written), side(**read))
    assert level == "warning"
    assert why in text
    assert next(iter(written.values())) in text
    assert next(iter(read.values())) in text


def test_another_python_is_told_of_what_is_pickled_alone() -> None:
    ((level, text),) = told("torch.Tensor", side(torch="2.1"), side(python="3.12", torch="2.1"))
    assert level == "warning"
    assert "Python 3.11 pickles it" in text
    assert told("pandas.DataFrame", side(pandas="2.1"), side(python="3.12", pandas="2.1")) == []
    both = {"sklearn": "1.5.0", "skops": "0.10"}
    assert told("sklearn.svm.SVC", side(**both), side(python="3.12", **both)) == []
    assert len(told("sklearn.svm.SVC", side(**both), side(python="3.12", sklearn="1.5.0"))) == 1


def test_what_is_not_locked_yet_is_not_judged() -> None:
    assert told("pandas.DataFrame", None, side(pandas="2.0")) == []
    assert told("pandas.DataFrame", side(), None) == []


MANIFEST = {"type": "m:Own", "requires": {}, "pickled": True, "python": "3.11"}


def stored(manifest: dict[str, Any], user: Side) -> list[tuple[str, str]]:
    found = check_stored(handing(""), {"maker": side(), "user": user}, {("make", "output"): manifest})
    return [(each.level, each.what) for each in found]


def test_a_stored_value_is_judged_by_what_wrote_it() -> None:
    assert stored(MANIFEST, side()) == []
    ((level, text),) = stored(MANIFEST, side(python="3.12"))
    assert level == "warning"
    assert "Python 3.11 pickles it" in text
    model = {**MANIFEST, "requires": {"sklearn": "1.2.2"}}
    ((level, text),) = stored(model, side(sklearn="1.5.0"))
    assert level == "warning"
    assert "`scikit-learn` 1.2.2 writes it" in text
    ((level, text),) = stored(model, side())
    assert level == "error"
    assert stored({**MANIFEST, "requires": {"pandas|polars": ""}, "pickled": False}, side(polars="1.0")) == []
    assert stored({**MANIFEST, "requires": ["pandas"]}, side()) == [], "a bundle of items says no versions"
