"""scikit-learn estimators: skops where that is installed and trusts every type in them, else cloudpickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.materializers.pickles import read_pickle, write_pickle
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from pathlib import Path


class EstimatorMaterializer(Materializer):
    """An estimator, also one of another library or of the project.

    Neither format promises to be read by another version of scikit-learn. The version is recorded, and named
    when reading fails.
    """

    # Not joblib: it would write classes of a script as `__main__`, and its files are pickles all the same.
    formats = (
        Format("skops", ("sklearn", "skops")),
        Format("cloudpickle", ("sklearn",), pickled=True),
    )

    def save(self, value: Any, folder: Path) -> None:
        if self.format == "skops":
            if _save_skops(value, folder / "model.skops"):
                return
            self.format, self.pickled = "cloudpickle", True
        write_pickle(value, folder / "model.pickle")

    def load(self, folder: Path) -> Any:
        if self.format == "skops":
            from skops.io import load

            return load(folder / "model.skops")
        return read_pickle(folder / "model.pickle")

    def metadata(self, value: Any) -> dict[str, Any]:
        parameters = value.get_params(deep=False)
        return {
            "parameters": {
                name: item for name, item in parameters.items() if type(item) in (bool, int, str, type(None))
            }
        }

    def visualize(self, value: Any, folder: Path) -> None:
        """The diagram that scikit-learn draws in a notebook."""
        from sklearn.utils import estimator_html_repr

        (folder / "estimator.html").write_text(estimator_html_repr(value), encoding="utf-8")


def _save_skops(value: Any, path: Path) -> bool:
    """Write `value` with skops; false, and nothing written, when reading it back would need more trust."""
    from skops.io import dump, get_untrusted_types

    try:
        dump(value, path)
        if not get_untrusted_types(file=path):
            return True
    except Exception:  # noqa: BLE001, S110, RUF100 - skops refuses types in many ways; cloudpickle is next
        pass
    path.unlink(missing_ok=True)
    return False
