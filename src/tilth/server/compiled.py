"""Finds the compiled pipeline of a run, and the sources of its steps: what clients sent, or the home folder's own."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.client.showing import find_source, pipeline_key, source_key
from tilth.engine.lease import is_held
from tilth.errors import DefinitionError
from tilth.home import Home
from tilth.ir.pipeline import Pipeline
from tilth.runtime.folder import read_json
from tilth.server.access import DEFAULT_PROJECT
from tilth.settings import home_folder

if TYPE_CHECKING:
    from tilth.records import Run
    from tilth.server.requests import ProjectRequest

_KEPT = 16  # pipelines that are read no second time; one of 10,000 steps takes some 20 MB


def find_pipeline(asked: ProjectRequest, run: Run) -> Pipeline | None:
    """The compiled pipeline of a run; None where no client has sent it, or a tilth of another age has."""
    for key in keys_of_pipeline(run):
        if (found := asked.files.find(key)) is not None:
            return _read(str(asked.files.path(key)[0]), found.digest)
    folder = own_folder(asked, run)
    return _read(str(folder / "pipeline.json"), run.pipeline_digest) if folder is not None else None


def keys_of_pipeline(run: Run) -> tuple[str, ...]:
    """Where the compiled pipeline of a run may be: by its content, or beside what clients share through the server."""
    return (
        *([pipeline_key(run.pipeline_digest)] if run.pipeline_digest else []),
        f"runs/{run.id}/pipeline.json",
    )


def read_source(asked: ProjectRequest, run: Run, pipeline: Pipeline, module: str) -> str | None:
    """The source of a module of a run, as it was compiled; None where no client has sent it."""
    digest = pipeline.sources.get(module, "")
    key = source_key(digest)
    if digest and (found := asked.files.find(key)) is not None and found.digest == digest:
        return asked.files.path(key)[0].read_text("utf-8", "replace")
    folder = own_folder(asked, run)
    if folder is None:
        return None
    roots = (read_json(folder / "project.json") or {}).get("roots", [])
    told = {"files": pipeline.files, "sources": pipeline.sources}
    content = find_source(told, module, roots)
    return content.decode("utf-8", "replace") if content is not None else None


def is_driven_here(asked: ProjectRequest, run: Run) -> bool:
    """Whether a process of this machine drives a run without telling the server."""
    folder = own_folder(asked, run)
    return folder is not None and is_held(folder)


def own_folder(asked: ProjectRequest, run: Run) -> Path | None:
    """The folder of a run that was driven here with no server, where this server's records are the home folder's."""
    if asked.project != DEFAULT_PROJECT or asked.access.settings.database_url:
        return None
    # Its id came from a client, and is no path until it has been looked at.
    if not run.id or run.id in (".", "..") or "/" in run.id or "\0" in run.id:
        return None
    folder = Home(home_folder()).runs / run.id
    return folder if folder.is_dir() else None


@functools.lru_cache(_KEPT)
def _read(path: str, digest: str) -> Pipeline | None:
    """A compiled pipeline. Named by its digest, so that another under the same path is read anew."""
    del digest
    try:
        data: dict[str, Any] = json.loads(Path(path).read_bytes())
        return Pipeline.from_json(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, DefinitionError):
        return None
