"""Artifacts for people: their names, their files, what is in them in part, and their lineage."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from tilth.errors import LoadError, NotFound, TilthError
from tilth.materializers.files import MANIFEST
from tilth.records import Artifact, Run
from tilth.server.artifact_folders import ArtifactFile, ArtifactFolder, Elsewhere, elsewhere, find_folder
from tilth.server.artifact_names import find_names
from tilth.server.documents import answers, respond
from tilth.server.foreign_files import attachment, shown_as
from tilth.server.lineage import Lineage, trace
from tilth.server.previews.cells import LONGEST, Unreadable, cut
from tilth.server.previews.items import Items, read_items
from tilth.server.previews.tables import Columns, Table, is_table, open_table
from tilth.server.requests import ProjectRequest, Viewer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.server.previews.items import Item
    from tilth.server.previews.tables import Frame

T = TypeVar("T")
router = APIRouter(prefix="/projects/{project}", tags=["artifacts"])
_MAPPED = "mapped"
_LARGEST_OF_ITEM = 1 << 18  # bytes of a manifest: there are up to 200 in one answer
_Item = Annotated[str, Query(description="The digest of an item, of an artifact that a mapped step gave.")]
_File = Annotated[str, Query(description="A `.npy` file, or the `frame.json` of a frame.")]
_ANY_BYTES = {
    **answers(None),
    200: {"content": {"application/octet-stream": {}}, "description": "Its bytes"},
}


class ArtifactName(msgspec.Struct, frozen=True):
    """A name, and the newest artifact of that name. Versions count up from 1; those between may be deleted."""

    name: str
    newest: Artifact


class ArtifactNamePage(msgspec.Struct, frozen=True):
    """Some names. `next` goes into `after` for the rest; a page may have fewer than `limit` and still a `next`."""

    items: tuple[ArtifactName, ...]
    next: str | None


class ArtifactFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of an artifact, and what there is to look at beside it; or where they are."""

    here: bool
    elsewhere: Elsewhere | None = None  # where they are not here
    command: str  # that copies them to a person's machine
    format: str = ""
    problem: str = ""  # what is wrong with it as a whole
    files: tuple[ArtifactFile, ...] = ()
    visualizations: tuple[ArtifactFile, ...] = ()
    tables: tuple[str, ...] = ()  # files that can be asked for as tables


@router.get("/artifact-names", summary="List names of artifacts", responses=answers(ArtifactNamePage))
def find_artifact_names(
    asked: Viewer,
    search: Annotated[str, Query(max_length=200, description="What a name holds.")] = "",
    type: Annotated[str, Query(max_length=200, description="What the type's name holds.")] = "",  # noqa: A002
    tag: Annotated[str, Query(max_length=200, description="A tag of the newest version.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    after: Annotated[str, Query(max_length=1000, description="`next` of the page before.")] = "",
) -> Response:
    """Each with its newest version."""

    def fits(newest: Artifact) -> bool:
        return type.casefold() in newest.type.casefold() and (not tag or tag in newest.tags)

    page = find_names(asked.store, search=search, after=after.replace("\0", ""), limit=limit, fits=fits)
    return respond(ArtifactNamePage(tuple(ArtifactName(each.name, each) for each in page.newest), page.next))


@router.get(
    "/artifacts/{id}/files", summary="List the files of an artifact", responses=answers(ArtifactFiles)
)
def find_files(asked: Viewer, id: str, item: _Item = "") -> Response:  # noqa: A002
    """With what is wrong with them, as far as their sizes tell."""
    artifact = asked.store.get(Artifact, id)
    command = f"tilth artifacts get {_word(f'{artifact.name}@{artifact.version}')} ."
    folder = find_folder(asked, item or artifact.digest)
    if folder is None:
        return respond(ArtifactFiles(here=False, elsewhere=_elsewhere(asked, artifact), command=command))
    looks = folder.looks()
    try:
        files, format_ = folder.files(), str(folder.manifest["format"])
    except (LoadError, KeyError) as error:
        problem = error.why if isinstance(error, LoadError) else "its manifest says no format"
        return respond(ArtifactFiles(here=True, command=command, problem=problem, visualizations=looks))
    tables = tuple(each.name for each in files if is_table(each.name) and not each.problem)
    if any(
        each.rpartition("/")[2] == "frame.json" for each in tables
    ):  # its columns are no tables of their own
        frames = [each for each in tables if each.rpartition("/")[2] == "frame.json"]
        inside = {each.rpartition("/")[0] for each in frames}
        tables = tuple(each for each in tables if each in frames or each.rpartition("/")[0] not in inside)
    return respond(
        ArtifactFiles(
            here=True, command=command, format=format_, files=files, visualizations=looks, tables=tables
        )
    )


@router.get(
    "/artifacts/{id}/files/{name:path}",
    summary="A file of an artifact",
    response_class=FileResponse,
    responses=_ANY_BYTES,
)
def get_file(asked: Viewer, id: str, name: str, item: _Item = "", download: bool = False) -> Response:  # noqa: A002
    """Streamed; a `Range` gives a part. A page among them is shown in an origin of its own."""
    folder = _folder(asked, id, item)
    return _sent(folder.file(name), name, download=download)


@router.get(
    "/artifacts/{id}/visualizations/{name:path}",
    summary="What there is to look at beside an artifact",
    response_class=FileResponse,
    responses=_ANY_BYTES,
)
def get_look(asked: Viewer, id: str, name: str, item: _Item = "", download: bool = False) -> Response:  # noqa: A002
    """Streamed, as files of the artifact are."""
    folder = _folder(asked, id, item)
    return _sent(folder.look(name), name, download=download)


@router.get(
    "/artifacts/{id}/download",
    summary="All files of an artifact",
    response_class=StreamingResponse,
    responses=_ANY_BYTES,
)
def download(asked: Viewer, id: str, item: _Item = "") -> Response:  # noqa: A002
    """The file, where there is one alone; else a ZIP."""
    artifact = asked.store.get(Artifact, id)
    folder = _folder(asked, id, item)
    files = folder.files()
    broken = next((each for each in files if each.problem), None)
    if broken is not None:
        raise LoadError(
            f"artifact `{artifact.name}@{artifact.version}` is broken",
            why=f"`{broken.name}` {'is ' if broken.problem == 'missing' else ''}{broken.problem}",
            mend=f"run step `{artifact.step}` again" if artifact.step else "",
        )
    base = f"{artifact.name.replace('/', '-')}-{artifact.version}"
    if len(files) == 1 and not files[0].link:
        name = files[0].name
        ending = name.rpartition("/")[2].partition(".")[2]
        path = folder.file(name)
        headers = {**shown_as(name, download=True)[1], "Content-Disposition": attachment(f"{base}.{ending}")}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)
    headers = {**shown_as("", download=True)[1], "Content-Disposition": attachment(f"{base}.zip")}
    return StreamingResponse(folder.zipped(), media_type="application/zip", headers=headers)


@router.get("/artifacts/{id}/table", summary="A part of a frame or array", responses=answers(Table))
def get_table(
    asked: Viewer,
    id: str,  # noqa: A002
    file: _File,
    item: _Item = "",
    row: Annotated[int, Query(ge=0, le=1 << 53, description="The first row.")] = 0,
    rows: Annotated[int, Query(ge=0, le=500)] = 100,
    column: Annotated[int, Query(ge=0, le=1 << 53, description="The first column.")] = 0,
    columns: Annotated[int, Query(ge=0, le=100)] = 50,
) -> Response:
    """Only that part is read. A column that cannot be read says why; what is pickled is never read."""
    frame = _frame(asked, id, file, item)
    return respond(_readable(file, lambda: frame.table(row, rows, column, columns)))


@router.get(
    "/artifacts/{id}/columns", summary="What columns of a frame or array hold", responses=answers(Columns)
)
def get_columns(
    asked: Viewer,
    id: str,  # noqa: A002
    file: _File,
    item: _Item = "",
    first: Annotated[int, Query(ge=0, le=1 << 53)] = 0,
    count: Annotated[int, Query(ge=1, le=24)] = 12,
) -> Response:
    """Histograms of numbers, and the most frequent of other values; of a long table from a sample of its rows."""
    frame = _frame(asked, id, file, item)
    return respond(_readable(file, lambda: frame.summaries(first, count)))


@router.get("/artifacts/{id}/items", summary="Items of a collection", responses=answers(Items))
def get_items(
    asked: Viewer,
    id: str,  # noqa: A002
    after: Annotated[int, Query(ge=0, le=1 << 53, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Of an output that is mapped over, or of what a mapped step gave."""
    folder = _folder(asked, id, "")
    if asked.store.get(Artifact, id).length is None:
        raise NotFound("this artifact has no items", why="it is no collection")
    page = _readable("items.jsonl", lambda: read_items(folder.place, after=after, most=limit))
    if folder.manifest["format"] != _MAPPED:
        return respond(page)
    items = []
    for each in page.items:
        found = find_folder(asked, each.digest)
        items.append(each if found is None else _described(each, found))
    return respond(Items(tuple(items), page.next))


@router.get(
    "/artifacts/{id}/lineage",
    summary="What an artifact was made from, and what from it",
    responses=answers(Lineage),
)
def get_lineage(
    asked: Viewer,
    id: str,  # noqa: A002
    depth: Annotated[int, Query(ge=1, le=10, description="Steps each way.")] = 3,
) -> Response:
    """As far as inputs of steps were recorded: what a step loaded by itself is not among them."""
    return respond(trace(asked.store, asked.store.get(Artifact, id), depth))


def _folder(asked: ProjectRequest, id_: str, item: str) -> ArtifactFolder:
    artifact = asked.store.get(Artifact, id_)
    folder = find_folder(asked, item or artifact.digest)
    if folder is None:
        place = _elsewhere(asked, artifact).place
        raise NotFound(
            f"the files of artifact `{artifact.name}@{artifact.version}` are not on this server",
            why=f"they are in {place}",
            mend=f"`tilth artifacts get {_word(f'{artifact.name}@{artifact.version}')} .` copies them to you",
        )
    return folder


def _elsewhere(asked: ProjectRequest, artifact: Artifact) -> Elsewhere:
    try:
        return elsewhere(asked.store.get(Run, artifact.run).artifact_store)
    except NotFound:
        return Elsewhere("", "a store that nothing tells of any more: its run was deleted")


def _frame(asked: ProjectRequest, id_: str, file: str, item: str) -> Frame:
    path = _folder(asked, id_, item).file(file)
    if not is_table(file):
        raise NotFound(f"`{file[:200]}` is no table", mend="give a `.npy` file or a `frame.json`")
    return _readable(file, lambda: open_table(path))


def _readable(file: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except Unreadable as error:
        raise LoadError(
            f"`{file[:200]}` cannot be shown", why=str(error), mend="download it instead"
        ) from error


def _sent(path: Path, name: str, *, download: bool) -> Response:
    media, headers = shown_as(name, download=download)
    return FileResponse(path, media_type=media, headers=headers)


def _described(item: Item, folder: ArtifactFolder) -> Item:
    """An item that is an artifact by itself, with what its manifest says."""
    try:
        if (folder.place / MANIFEST).stat().st_size > _LARGEST_OF_ITEM:
            return item
        manifest = folder.manifest
        text = ""
        if manifest["format"] == "json" and manifest["size"] <= 1 << 16:
            text = cut(folder.file("value.json").read_text("utf-8", "replace")[: 4 * LONGEST])
    except (TilthError, OSError, KeyError, TypeError):
        return item
    return msgspec.structs.replace(
        item, type=str(manifest.get("type", "")), format=str(manifest["format"]), text=text
    )


def _word(text: str) -> str:
    """A text as one word of a shell."""
    return shlex.quote(text)
