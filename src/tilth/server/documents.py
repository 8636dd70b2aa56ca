"""Records as the API sends and takes them, and what OpenAPI says of them.

Records are msgspec's, so requests are checked and answers made by it; a record that is only passed on is never
decoded at all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import Response

from tilth.errors import DefinitionError
from tilth.records import KINDS
from tilth.store import encoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.store.sql import Row

T = TypeVar("T")
JSON = "application/json"
_schemas: dict[str, Any] = {}
TEMPLATE = "#/components/schemas/{name}"


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong, as `tilth.errors` has it."""

    type: str  # the name of a class in `tilth.errors`
    summary: str
    why: str
    mend: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The answer to a request that cannot be done."""

    error: ErrorDetail


def respond(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as the body of an answer."""
    return Response(encoding.encode(value), status_code=status, media_type=JSON, headers=headers)


def respond_row(row: Row) -> Response:
    """A record as it is kept."""
    return Response(text_of(row), media_type=JSON, headers={"ETag": f'"{row[1]}"'})


def respond_page(rows: Sequence[Row], following: str | None) -> Response:
    """Some records as they are kept, and where the rest begins."""
    items = ",".join(map(text_of, rows))
    return Response(f'{{"items":[{items}],"next":{encoding.encode(following).decode()}}}', media_type=JSON)


def text_of(row: Row) -> str:
    """The JSON of a record with its revision, which is kept beside it."""
    body, revision = row
    # An id and a time come before it, and quotes in them are escaped: the first one is the field.
    return body if revision == 1 else body.replace('"revision":1', f'"revision":{revision}', 1)


def read(body: bytes, kind: type[T]) -> T:
    """A request's body.

    Raises:
        DefinitionError: It is no JSON, or not of this kind.
    """
    try:
        return encoding.decode(body, msgspec.json.Decoder(kind), kind)
    except (ValueError, RecursionError) as error:
        raise DefinitionError(
            "the request cannot be read", why=str(error), mend="see `/docs` of the server for what it takes"
        ) from None


def accepts(kind: Any) -> dict[str, Any]:
    """What OpenAPI says of a request's body, for `openapi_extra`."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema(kind)}}}}


def answers(kind: Any, status: int = 200, *, errors: Iterable[int] = ()) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an answer, and of the errors that any request may meet, for `responses`."""
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": "Done", "content": {JSON: {"schema": schema(kind)}}}
        if kind is not None
        else {"description": "Done"}
    }
    meanings = {
        400: "The request cannot be read",
        401: "No login, or one that has ended",
        403: "Not for this user",
        404: "Not there, or not for this user",
        409: "Somebody else changed it meanwhile, or it is there already",
        413: "The request is too large",
        422: "A value cannot be used",
        426: "Client and server are too far apart",
        429: "Too many failed logins",
        503: "The database does not answer; try again",
    }
    for code in sorted({400, 401, 403, 404, 413, 422, 426, 503, *errors}):
        told[code] = {"description": meanings[code], "content": {JSON: {"schema": schema(ErrorBody)}}}
    return told


def schema(kind: Any) -> dict[str, Any]:
    """The schema of a type; the schemas it refers to are remembered for the components."""
    return dict(_schema(kind))


@functools.cache
def _schema(kind: Any) -> dict[str, Any]:
    # Every route describes the same errors, and most the same records: a server starts in half the time.
    (found,), components = msgspec.json.schema_components([kind], ref_template=TEMPLATE)
    twice = [name for name, told in components.items() if _schemas.get(name, told) != told]
    assert not twice, f"two things are called {twice}"
    _schemas.update(components)
    return found


def components() -> dict[str, Any]:
    """Every schema that was referred to."""
    return dict(sorted(_schemas.items()))


def page_of(kind: type[Any]) -> Any:
    """The type of a page of records."""
    return msgspec.defstruct(
        f"{kind.__name__}Page",
        [("items", tuple[kind, ...]), ("next", str | None, None)],  # type: ignore[valid-type]
        namespace={"__doc__": "Some of what was asked for. `next` goes into `after` for the rest."},
        module=__name__,
    )


def plural(kind: str) -> str:
    """What a kind of record is called in an address: `step_run` → `step-runs`."""
    return f"{kind.replace('_', '-')}s"


BY_PLURAL = {plural(name): kind for name, kind in KINDS.items()}
