"""What a flavor is: one way to provide one type of component, as a package declares it.

A flavor is found by an entry point of the group `tilth.flavors`, named `TYPE.FLAVOR` with a value
`module:object`. Its module is imported when a component of it is registered, checked or used, and what it needs
beyond tilth when `make` or `check` is called: keep imports of libraries inside of those.

    class S3Flavor(Flavor[S3Settings]):
        type = "artifact_store"
        name = "s3"
        title = "a bucket of Amazon S3, or of what speaks its protocol"
        settings = S3Settings
        extra = "s3"

        def make(self, settings, context): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tilth.errors import TilthError
    from tilth.home import Home

GROUP = "tilth.flavors"  # of entry points
REFERENCE = "secret:"  # what a setting begins with that names a secret instead of holding a value

# A setting of this type is refused when it is written out: only `secret:NAME` is taken. Any other text may be
# such a reference too.
SecretText = Annotated[str, msgspec.Meta(extra={"secret": True})]

S = TypeVar("S", bound=msgspec.Struct)


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a check of a component found: `ok`, `warning` (it works, not well) or `error` (runs would fail)."""

    level: Literal["ok", "warning", "error"]
    what: str
    why: str = ""
    mend: str = ""

    @classmethod
    def of(cls, error: TilthError) -> Finding:
        """An error, as what a check found."""
        return cls(level="error", what=error.summary, why=error.why, mend=error.mend)


def _unheard(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Context:
    """What a component is made in.

    Attributes:
        home: Where tilth keeps everything on this machine.
        root: The project's code root.
        reveal: Gives the value of a secret by its name; raises NotFound or SetupError.
        component: Name of the component, for errors.
        listener: Is told in a sentence what takes its time.
    """

    home: Home
    root: Path
    reveal: Callable[[str], str]
    component: str = ""
    listener: Callable[[str], None] = _unheard

    def value(self, text: str) -> str:
        """The text of a setting; the secret's value where it is `secret:NAME`. Not to be kept where it may be shown."""
        return self.reveal(text.removeprefix(REFERENCE)) if text.startswith(REFERENCE) else text


class Flavor(Generic[S]):
    """One way to provide a type of component. Inherit; an entry point names the class, or an instance of it.

    Attributes:
        type: Of the component: one of `tilth.stack.component_types.TYPES`.
        name: Of the flavor. Type and name together are the name of its entry point.
        title: What it is, in one line.
        settings: A frozen struct of msgspec with `forbid_unknown_fields=True`. What its docstring says below
            `Attributes:` is told when a setting is missing, and by `tilth component flavors`.
        extra: Extra of the package that declares the flavor, when it needs one to be installed: `s3`.
        requirements: What a supervisor or server needs installed for it, besides tilth: PEP 508. Empty: what
            declares it, with its extra.
    """

    type: str = ""
    name: str = ""
    title: str = ""
    settings: builtins.type[S]
    extra: str = ""
    requirements: tuple[str, ...] = ()

    def make(self, settings: S, context: Context) -> object:
        """The component. Imports what it needs, connects with nothing yet if that can wait.

        What it gives shows no secret in its `repr`.

        Args:
            settings: As they are kept: with `secret:NAME` in the places of secrets; see `Context.value`.
        Raises:
            TilthError: It cannot be made; the error says how that is mended.
        """
        raise NotImplementedError

    def check(self, settings: S, context: Context) -> Sequence[Finding]:
        """Whether it works from here, really: can be reached, takes the login, may do what it has to.

        A TilthError that it raises is a finding too. By default, whether it can be made.
        """
        self.make(settings, context)
        return ()

    def needs(self, settings: S) -> Sequence[str]:  # noqa: ARG002 - for those who inherit
        """Types of component that a stack must have beside it, as these settings are."""
        return ()
