"""Hides the values of secrets in what a step says: in texts, bytes and JSON, as they are and as often written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHORTEST = 4  # characters; masking what is shorter would hide harmless words, and tell by that what it is
SHOWN = "***"


class Mask:
    """Replaces each of some values by `***`.

    A value is also found line by line, and where it was quoted (URL, JSON, `repr`) or, from 9 bytes on, encoded
    in base64, alone or within a longer text, as in basic auth. Values and lines of less than 4 characters are
    left alone. What is encrypted, hashed, reversed or cut is not found.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        self._texts = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [form.encode("utf-8", "surrogatepass") for form in self._texts]
        self.longest = max(map(len, self._bytes), default=0)  # bytes

    def __bool__(self) -> bool:
        return bool(self._texts)

    def text(self, text: str) -> str:
        """The text with the values hidden."""
        return SHOWN.join(_between(text, self._texts))

    def bytes(self, data: bytes) -> bytes:
        """The same in UTF-8."""
        return SHOWN.encode().join(_between(data, self._bytes))

    def plain(self, value: Any) -> Any:
        """The same in everything that JSON holds, keys included; a number only when it is a value as a whole."""
        if not self._texts:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(each) for each in value]
        return SHOWN if str(value) in self._texts else value

    def fields(self, document: dict[str, Any], *names: str) -> dict[str, Any]:
        """The document with some of its fields hidden: others hold digests and paths, which must stay as they are."""
        return {name: self.plain(value) if name in names else value for name, value in document.items()}


def _between(text: Any, forms: list[Any]) -> Iterator[Any]:
    """What lies between the places where one of these is; places that overlap are one."""
    places = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            places.append((at, at + len(form)))
            at = text.find(form, at + 1)
    end = 0
    if places:
        places.sort()
        begin, stop = places[0]
        for first, last in places[1:]:
            if first > stop:
                yield text[end:begin]
                begin, end = first, stop
            stop = max(stop, last)
        yield text[end:begin]
        end = stop
    yield text[end:]


def _forms(value: str) -> Iterator[str]:
    """A value, and what it becomes on the way into an URL, a header, a JSON document or a message."""
    import base64
    import json
    from urllib.parse import quote, quote_plus

    for each in {value, *value.splitlines(), *value.split("\n")}:
        if len(each) < SHORTEST:
            continue
        yield from (each, each.strip(), quote(each, safe=""), quote(each), quote_plus(each))
        yield from (repr(each)[1:-1], json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1])
        data = each.encode("utf-8", "surrogatepass")
        for encoded in (base64.b64encode, base64.urlsafe_b64encode):
            if len(data) >= 9:
                yield encoded(data).decode().rstrip("=")
                for start in range(3):  # within a longer text: whole groups of three bytes
                    end = start + (len(data) - start) // 3 * 3
                    yield encoded(data[start:end]).decode()
