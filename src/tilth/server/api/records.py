"""The records of a project: the store's own interface, over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Header, Request, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound, UnknownOption, nearest
from tilth.records import KINDS, Artifact, Build, Lock, Record, Run, Snapshot, State, StepRun
from tilth.records.launching import RunLease
from tilth.server.documents import (
    accepts,
    answers,
    page_of,
    plural,
    read,
    respond,
    respond_page,
    respond_row,
    schema,
)
from tilth.server.observed import API
from tilth.server.requests import Body, Editor, OneThread, ProjectRequest, Viewer, queue_of
from tilth.store import Delete, Put, schema as tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tilth.store import Change

router = APIRouter(prefix=f"{API}/projects/{{project}}", tags=["records"], route_class=OneThread)
MOST = 1000  # records in one page
_MOST_VALUES = 10_000  # of all columns, in one query
_LONGEST = 1000  # characters of what records are found by; an index of PostgreSQL takes little more
_LARGEST = 1 << 53  # that JSON's readers tell apart from its neighbours; counters go on from what is given
R = TypeVar("R", bound=Record)
_AGAIN = Header(
    alias="Tilth-Again",
    description="Set where the same request may have arrived before: what it did then is no conflict.",
)


class Query_(msgspec.Struct, frozen=True, forbid_unknown_fields=True):  # noqa: N801
    """What to look for. `where` gives a value, or several of which one must hold, for each column."""

    where: dict[str, str | int | list[str | int | None] | None] = {}
    order: str = "-created_at"
    limit: int = 100
    after: str | None = None
    id_prefix: str = ""


class WireChange(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One change: a record to put, or the id of one to delete."""

    kind: str
    put: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    delete: str | None = None


class Changes(msgspec.Struct, frozen=True):
    """Changes that are made all or none, by the driver that holds a run, if there is one."""

    changes: tuple[WireChange, ...]
    holding: Run | None = None


class Kept(msgspec.Struct, frozen=True):
    """The records put, as kept, in the order of the changes."""

    items: tuple[dict[str, Any], ...]


@router.post(
    "/changes",
    summary="Make many changes at once",
    openapi_extra=accepts(Changes),
    responses=answers(Kept, errors=[409]),
)
def change(asked: Editor, body: Body) -> Response:
    """All or none; the same changes made again change nothing."""
    told = _read_changes(body)
    changes = [_change(asked, each) for each in told.changes]
    _hold_to_run(asked, changes)
    there = _shared_already(asked, changes)
    new = [each for at, each in enumerate(changes) if at not in there]
    written = iter(_write(asked, new, told.holding))
    puts = [at for at, each in enumerate(changes) if isinstance(each, Put)]
    return respond({"items": [there[at] if at in there else next(written) for at in puts]})


@router.post(
    "/runs/start",
    status_code=201,
    summary="Keep a new run under the next number of its pipeline",
    openapi_extra=accepts(Run),
    responses=answers(Run, 201, errors=[409]),
)
def start_run(
    request: Request, asked: Editor, body: Body, again: Annotated[bool, _AGAIN] = False
) -> Response:
    """Numbers are never given twice."""
    run = _usable(read(body, Run))
    if asked.who.token.run != run.id:
        _not_for_runs(asked)
    kept: Run | None = None
    if again:
        with contextlib.suppress(NotFound):
            kept = asked.store.get(Run, run.id)
    kept = kept or asked.store.start_run(run)
    if asked.who.token.run:
        queue_of(request).began_run(run.id)
    return respond(kept, status=201)


def _write(asked: ProjectRequest, changes: list[Change], holding: Run | None = None) -> tuple[Record, ...]:
    """Make changes; what belongs to a run that is forgotten goes with it, its files once that is certain."""
    gone = [each.id for each in changes if isinstance(each, Delete) and each.kind is Run]
    kept = asked.store.write([*changes, *(Delete(RunLease, each) for each in gone)], holding=holding)
    for each in gone:
        asked.files.delete_run(each)
    for change in changes:
        if isinstance(change, Delete) and change.kind is Build:
            asked.files.delete_build(change.id)
    return kept


def _read_changes(body: bytes) -> Changes:
    try:
        return msgspec.json.decode(body, type=Changes)
    except (msgspec.DecodeError, RecursionError):
        pass
    # Half a surrogate pair, as in a file name that is not UTF-8, is read by the standard library alone.
    told = read(body, dict[str, Any])
    try:
        changes = tuple(
            WireChange(each["kind"], msgspec.Raw(json.dumps(each["put"]).encode()))
            if "put" in each
            else msgspec.convert(each, WireChange)
            for each in told["changes"]
        )
        return Changes(changes, msgspec.convert(told.get("holding"), Run | None))
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise DefinitionError("the request cannot be read", why=str(error)) from None


def _change(asked: ProjectRequest, told: WireChange) -> Change:
    kind = KINDS.get(told.kind)
    if kind is None:
        raise UnknownOption(f"no kind of record is called `{told.kind}`", mend=nearest(told.kind, KINDS))
    put = bytes(told.put)
    if bool(put) == (told.delete is not None):
        raise DefinitionError("a change has either `put` or `delete`")
    return Delete(kind, told.delete) if told.delete is not None else Put(_taken(asked, read(put, kind)))


def _taken(asked: ProjectRequest, record: R) -> R:
    """A record that can be kept. Who made a snapshot stays as it is, and only an admin of the server names another,
    as when records are moved here."""
    record = _usable(record)
    if isinstance(record, Snapshot) and not asked.who.is_admin:
        before = asked.store.find(Snapshot, id=record.id, limit=1).items
        by = before[0].created_by if before else asked.who.user.name
        record = msgspec.structs.replace(record, created_by=by)
    return record


def _usable(record: R) -> R:
    """A record whose names are such that every database finds it again."""
    for column in tables.columns(type(record)):
        value = getattr(record, column.name)
        if isinstance(value, str) and (len(value) > _LONGEST or "\0" in value):
            raise DefinitionError(
                f"`{column.name}` of a {record.kind.replace('_', ' ')} cannot be kept",
                why=f"it has {len(value):,} characters" if len(value) > _LONGEST else "it has a NUL in it",
                mend=f"give up to {_LONGEST:,} characters",
            )
        if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
            raise DefinitionError(
                f"`{column.name}` of a {record.kind.replace('_', ' ')} cannot be kept",
                mend=f"give a number up to {_LARGEST:,}",
            )
    if record.id in ("", ".", "..") or "/" in record.id:
        raise DefinitionError(f"`{record.id[:100]}` is no id", mend="give one without a `/`, or none")
    return record


# What a run names and others share: under the digest of what it is.
_SHARED = frozenset({"environment", "environment_content", "lock", "code_bundle", "build"})


def _hold_to_run(asked: ProjectRequest, changes: Sequence[Change]) -> None:
    """Let a run's own token change what belongs to that run alone; and say of any step run that it is not reused."""
    run = asked.who.token.run
    if not run:
        return
    told = [each.record for each in changes if isinstance(each, Put)]
    if len(told) != len(changes):
        raise _of_one_run()
    owned = [each for each in told if isinstance(each, StepRun | Artifact)]
    # By what is kept: a record of another run is not made one of this run by saying so.
    kept: dict[str, Record] = {}
    for kind in {type(each) for each in owned}:
        ids = [each.id for each in owned if type(each) is kind]
        kept |= {each.id: each for each in asked.store.find(kind, id=ids, limit=len(ids))}
    for record in told:
        if isinstance(record, StepRun | Artifact):
            before = kept.get(record.id)
            own = before is None or (isinstance(before, StepRun | Artifact) and before.run == run)
            good = (own and record.run == run) or _only_not_reused(before, record)
        else:
            good = record.id == run if isinstance(record, Run) else _may_share(record)
        if not good:
            raise _of_one_run()


def _may_share(record: Record) -> bool:
    # Of a lock is known here what it is: nothing else is to be installed in its name.
    if isinstance(record, Lock):
        text = record.text.encode("utf-8", "surrogatepass")
        return record.id == f"sha256:{hashlib.sha256(text).hexdigest()}"
    return record.kind in _SHARED


def _shared_already(asked: ProjectRequest, changes: Sequence[Change]) -> dict[int, Record]:
    """What a run shares with others and is there: it stays, as it is, whatever the run says of it. By its place."""
    if not asked.who.token.run:
        return {}
    puts = {at: each.record for at, each in enumerate(changes) if isinstance(each, Put)}
    shared = {at: each for at, each in puts.items() if each.kind in _SHARED}
    known: dict[tuple[str, str], Record] = {}
    for kind in {type(each) for each in shared.values()}:
        ids = [each.id for each in shared.values() if type(each) is kind]
        there = asked.store.find(kind, id=ids, limit=len(ids))
        known |= {(kind.kind, each.id): each for each in there if not _goes_on(each, shared.values())}
    found = {at: known.get((each.kind, each.id)) for at, each in shared.items()}
    return {at: each for at, each in found.items() if each is not None}


def _goes_on(before: Record, changes: Iterable[Record]) -> bool:
    """Whether a build is being made: its end is told by whoever began it, of the image that it was begun for."""
    if not isinstance(before, Build) or before.state is not State.RUNNING:
        return False
    same = next(each for each in changes if each.id == before.id)
    return isinstance(same, Build) and (same.key, same.created_at) == (before.key, before.created_at)


def _only_not_reused(before: Record | None, after: Record) -> bool:
    if not isinstance(before, StepRun) or not isinstance(after, StepRun):
        return False
    changed = msgspec.structs.replace(before, cache_key="", revision=1)
    return msgspec.structs.replace(after, revision=1) == changed


def _of_one_run() -> AccessDenied:
    return AccessDenied("this token is of one run, and may change nothing else")


def _not_for_runs(asked: ProjectRequest) -> None:
    if asked.who.token.run:
        raise _of_one_run()


def _find(asked: ProjectRequest, kind: type[Record], query: Query_) -> Response:
    if not 1 <= query.limit <= MOST:
        raise DefinitionError(f"`limit` is {query.limit}", mend=f"give a number from 1 to {MOST}")
    _check_values(kind, query)
    rows, following = asked.store.find_rows(
        kind,
        order=query.order,
        limit=query.limit,
        after=query.after,
        id_prefix=query.id_prefix,
        where=query.where,
    )
    return respond_page(rows, following)


def _check_values(kind: type[Record], query: Query_) -> None:
    """PostgreSQL compares no text with a number, and takes 65,535 values at most."""
    types = {each.name: int if each.type == "INTEGER" else str for each in tables.columns(kind)}
    several = sum(len(given) if isinstance(given, list) else 1 for given in query.where.values())
    if several > _MOST_VALUES:
        raise DefinitionError(
            f"the question has {several:,} values", mend=f"give {_MOST_VALUES:,} at most, and ask again"
        )
    for name, given in query.where.items():
        values = given if isinstance(given, list) else [given]
        wanted = types.get(name)  # None: `find_rows` says what is known
        wrong = [each for each in values if wanted and each is not None and not isinstance(each, wanted)]
        if wrong:
            word = "a whole number" if wanted is int else "text"
            raise DefinitionError(f"`{name}` is `{str(wrong[0])[:100]}`", mend=f"give {word}")
        if any(isinstance(each, int) and not -(1 << 63) <= each < 1 << 63 for each in values):
            raise DefinitionError(f"`{name}` is out of range", mend="give a number of 64 bits")


def _lister(kind: type[Record]) -> Callable[..., Response]:
    """An endpoint whose parameters are the columns of a kind.

    They are read here, and described by `_parameters`: declared, FastAPI would look at each one in every request,
    which takes longer than the rest of it.
    """
    columns = tables.columns(kind)

    def find(request: Request, asked: Viewer) -> Response:
        given = request.query_params
        where: dict[str, str | int | list[str | int | None] | None] = {}
        for column in columns:
            if values := given.getlist(column.name):
                where[column.name] = [_value(each, column) for each in values]
        options = {name: given[name] for name in ("order", "limit", "after", "id_prefix") if name in given}
        try:
            query = msgspec.convert({"where": where, **options}, Query_, strict=False)
        except msgspec.ValidationError as error:
            raise DefinitionError("the request cannot be used", why=str(error)) from None
        return _find(asked, kind, query)

    return find


def _parameters(kind: type[Record]) -> list[dict[str, Any]]:
    """What OpenAPI says of the parameters of a list."""
    text = {"type": "string"}
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("order", "A column; `-` puts the largest first.", {**text, "default": "-created_at"}),
        ("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}),
        ("after", "`next` of the page before.", text),
        ("id_prefix", "How ids begin.", {**text, "default": ""}),
    ]
    told += [(each.name, _about(each), {"type": "array", "items": text}) for each in tables.columns(kind)]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": about}
        for name, about, schema in told
    ]


def _about(column: tables.SqlColumn) -> str:
    told = "Its value; given more than once, one of them must hold."
    if column.name == "created_at":
        told += " Microseconds since 1970."
    return told + (" `null` finds those without." if column.nullable else "")


def _value(text: str, column: tables.SqlColumn) -> str | int | None:
    if column.nullable and text == "null":
        return None
    if column.type == "TEXT":
        return text
    try:
        number = int(text)
    except ValueError:
        number = 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise DefinitionError(f"`{column.name}` is `{text}`", mend="give a whole number")
    return number


def _routes(kind: type[Record]) -> None:
    name = plural(kind.kind)
    page = page_of(kind)
    several: Any = msgspec.defstruct(f"{kind.__name__}List", [("items", tuple[kind, ...])], module=__name__)  # type: ignore[valid-type]
    label = kind.kind.replace("_", " ")

    def query(asked: Viewer, body: Body) -> Response:
        return _find(asked, kind, read(body, Query_))

    def get(asked: Viewer, id: str) -> Response:  # noqa: A002
        return respond_row(asked.store.get_row(kind, id))

    def add(asked: Editor, body: Body, again: Annotated[bool, _AGAIN] = False) -> Response:
        told = read(body, several).items
        _not_for_runs(asked)
        records = tuple(_taken(asked, each) for each in told)
        try:
            return respond({"items": asked.store.add(*records)}, status=201)
        except Conflict:
            if again and (kept := _same(asked, kind, records)) is not None:
                return respond({"items": kept}, status=201)
            raise

    def replace(
        asked: Editor,
        id: str,  # noqa: A002
        body: Body,
        revision: Annotated[
            int, Header(alias="Tilth-Revision", description="Of the record that is replaced.")
        ],
        again: Annotated[bool, _AGAIN] = False,
    ) -> Response:
        new = _taken(asked, read(body, kind))
        if new.id != id:
            raise DefinitionError(f"the record has another id than the address: `{new.id}`")
        _hold_to_run(asked, [Put(new)])
        if new.kind in _SHARED:
            _not_for_runs(asked)
        old = msgspec.structs.replace(new, revision=revision)
        try:
            return respond(asked.store.replace(old, new))
        except Conflict:
            if again:
                found = asked.store.get(kind, id)
                if msgspec.structs.replace(found, revision=1) == msgspec.structs.replace(new, revision=1):
                    return respond(found)
            raise

    def delete(asked: Editor, id: str) -> Response:  # noqa: A002
        _not_for_runs(asked)
        _write(asked, [Delete(kind, id)])
        return Response(status_code=204)

    routes: list[tuple[Any, str, str, str, dict[str, Any]]] = [
        (
            _lister(kind),
            "GET",
            f"/{name}",
            f"List {label}s",
            {"responses": answers(page), "openapi_extra": {"parameters": _parameters(kind)}},
        ),
        (
            query,
            "POST",
            f"/{name}/query",
            f"List {label}s, by conditions too long for an address",
            {"responses": answers(page), "openapi_extra": accepts(Query_)},
        ),
        (get, "GET", f"/{name}/{{id}}", f"One {label}", {"responses": answers(kind)}),
        (
            add,
            "POST",
            f"/{name}",
            f"Keep new {label}s, all or none",
            {
                "responses": answers(several, 201, errors=[409]),
                "openapi_extra": accepts(several),
                "status_code": 201,
            },
        ),
        (
            replace,
            "PUT",
            f"/{name}/{{id}}",
            f"Keep a changed {label}, unless somebody else changed it meanwhile",
            {"responses": answers(kind, errors=[409]), "openapi_extra": accepts(kind)},
        ),
        (
            delete,
            "DELETE",
            f"/{name}/{{id}}",
            f"Forget a {label}",
            {"responses": answers(None, 204), "status_code": 204},
        ),
    ]
    for endpoint, method, path, summary, more in routes:
        operation = f"{method.lower()}_{path.strip('/').replace('/{id}', '_one').replace('/', '_')}"
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            summary=summary,
            operation_id=operation.replace("-", "_"),
            response_class=Response,
            **more,
        )


def _same(asked: ProjectRequest, kind: type[Record], records: Iterable[Record]) -> tuple[Record, ...] | None:
    """What is kept under the ids of these records, when it is what was to be added."""
    kept = []
    for each in records:
        try:
            found = asked.store.get(kind, each.id)
        except NotFound:
            return None
        wanted: Record = each
        if isinstance(each, Artifact | Snapshot) and isinstance(found, type(each)) and not each.version:
            wanted = msgspec.structs.replace(each, version=found.version)
        if msgspec.structs.replace(found, revision=1) != wanted:
            return None
        kept.append(found)
    return tuple(kept)


for _kind in KINDS.values():
    _routes(_kind)
schema(Run)
