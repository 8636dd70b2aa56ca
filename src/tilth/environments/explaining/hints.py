"""What may have been meant by the name of a package that is nowhere."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from tilth.environments.explaining.import_names import DISTRIBUTIONS
from tilth.environments.names import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable

# Names that are mistyped most are those that are typed most.
_COMMON = """
aiohttp black boto3 catboost celery click cupy dask datasets diffusers django duckdb fastapi fastparquet
flask fsspec gensim geopandas google-cloud-storage gradio great-expectations gunicorn httpx huggingface-hub
hydra-core imbalanced-learn ipykernel ipython jax jaxlib jinja2 joblib jsonschema jupyter jupyterlab keras
lightgbm lightning matplotlib mlflow mypy networkx nltk numba numpy onnx onnxruntime openai opencv-python
openpyxl optuna orjson packaging pandas peft plotly polars pre-commit prophet protobuf psutil pyarrow
pydantic pymongo pyspark pytest python-dateutil pytorch-lightning pytz ray redis requests rich ruff s3fs
scikit-image scikit-learn scipy seaborn sentence-transformers sentencepiece setuptools shap spacy sqlalchemy
statsmodels streamlit sympy tensorboard tensorflow tokenizers torch torchaudio torchmetrics torchvision tqdm
transformers typer uvicorn wandb wheel xgboost
"""
_NEAR = 0.75


def meant(name: str, known: Iterable[str] = ()) -> str:
    """A hint at the package that was meant by `name`; empty when nothing is near.

    Args:
        known: Names of packages that exist, beside those that everybody uses.
    """
    wanted = normalised(name)
    of_module = module_of_another(name)
    if of_module:
        return of_module
    own = sorted({normalised(each) for each in known} - {wanted})
    # What is at hand here goes before what is common elsewhere.
    close = get_close_matches(wanted, own, n=2, cutoff=_NEAR)
    others = sorted({*_COMMON.split(), *DISTRIBUTIONS.values()} - {wanted})
    close = list(dict.fromkeys([*close, *get_close_matches(wanted, others, n=2, cutoff=_NEAR)]))[:2]
    return f"did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""


def module_of_another(name: str) -> str:
    """A hint for a name that is that of a module, and not of the package which has it; else empty."""
    wanted = normalised(name)
    for module, package in DISTRIBUTIONS.items():
        if normalised(module) == wanted != package:
            return f"did you mean `{package}`? that is the package of the module `{module}`"
    return ""
