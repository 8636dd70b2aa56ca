"""`Artifact`: how an output is called, versioned and tagged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Artifact:
    """Name, version and tags of an output, given in its annotation.

        @step
        def train(...) -> Annotated[ClassifierMixin, Artifact("churn-model", tags=["weekly"])]: ...

    Args:
        name: Name of the output, and of the artifact in the store, where it is shared by all pipelines;
            without it the output keeps its own name and the artifact is `PIPELINE/STEP/OUTPUT`.
        version: A label for this version, as `"2026-11"`; versions are numbered in any case.
        tags: Words to find it by.
    """

    __slots__ = ("name", "tags", "version")

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        given: tuple[tuple[str, object], ...] = (("name", name), ("version", version))
        for label, text in given:
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise DefinitionError(
                    f"`Artifact({label}={text!r})` is no {label}", mend=f"give a text, or leave `{label}` out"
                )
        if isinstance(tags, str):
            raise DefinitionError(
                f"`tags` of an artifact is the text `{tags}`", mend=f'give a list: `tags=["{tags}"]`'
            )
        self.name = name
        self.version = version
        self.tags = tuple(tags)
        for tag in self.tags:
            if not isinstance(tag, str):
                raise DefinitionError(
                    f"tag `{tag!r}` of an artifact is no text", mend=f'write it as text: `tags=["{tag}"]`'
                )

    def __repr__(self) -> str:
        return f"Artifact({self.name!r}, version={self.version!r}, tags={list(self.tags)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and all(
            getattr(self, each) == getattr(other, each) for each in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.tags))
