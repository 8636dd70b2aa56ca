"""Every error a user can meet. Each says what happened, why, and how to mend it.

The tree shows whose fault it is; a class exists where a caller would act differently:

    TilthError
    ├── DefinitionError         the pipeline as written cannot work
    │   └── UnknownOption       a name that does not exist, with the nearest that does
    ├── SetupError              this machine, project or home folder is not ready
    │   ├── HomeTooNew          TILTH_HOME was written by a newer tilth
    │   ├── DiskFull            no space left where something had to be written
    │   ├── HomeUnwritable      TILTH_HOME is read-only, or somebody else's
    │   ├── Unresolvable        the requirements of an environment cannot be resolved
    │   ├── LockStale           a lock does not answer what is declared any more
    │   └── EnvironmentBroken   an environment could not be made, or was changed by a step
    ├── OutsideError            something this machine talks to does not answer
    │   ├── IndexUnavailable    the package index
    │   ├── RegistryUnavailable a container registry does not answer, or breaks off
    │   ├── RegistryRefused     a container registry does not do what it was asked
    │   │   └── RegistryLacks   it knows no such requests or documents
    │   ├── ImageNotFound       no such image, tag or blob
    │   ├── ImageBroken         an image is not what its digest says
    │   ├── EngineUnavailable   a container engine is needed, and none answers
    │   ├── BuildFailed         an image could not be made
    │   ├── StoreUnavailable    an artifact store does not answer, or refuses
    │   ├── ServerUnavailable   a tilth server does not answer
    │   └── DatabaseUnavailable a server's database does not answer
    ├── StepError               the user's step: its code, its outputs, or its end
    │   ├── OutputError         the wrong number or type of outputs, or one that cannot be saved
    │   └── LoadError           an artifact cannot be read in this environment
    ├── RunFailed               a run ended without completing
    ├── RunCancelled            a run was cancelled
    ├── AccessDenied            a server does not let this user do this
    │   └── LoginNeeded         it does not know who asks
    ├── NotFound                no such run, step, artifact, environment…
    │   └── NoProject           a server has no such project, or not for this user
    └── Conflict                somebody else changed it meanwhile, or holds it now
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class TilthError(Exception):
    """What happened; `why` gives the cause, `mend` what the user can do. All plain text, names in backticks."""

    status = 500

    def __init__(self, summary: str, *, why: str = "", mend: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.why = why
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.summary]
        lines += [f"  {line}" for line in self.why.splitlines()]
        if self.mend:
            lines.append(f"  hint: {self.mend}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, str]:
        """As it travels between processes; `from_json` raises it again, as the nearest class that is known here."""
        known = next(each.__name__ for each in type(self).__mro__ if globals().get(each.__name__) is each)
        return {"type": known, "summary": self.summary, "why": self.why, "mend": self.mend}

    @staticmethod
    def from_json(told: Mapping[str, str]) -> TilthError:
        """The error that `to_json` told."""
        kind = globals().get(told["type"], TilthError)
        error: TilthError = kind(told["summary"], why=told["why"], mend=told["mend"])
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.summary, self.why, self.mend)


class DefinitionError(TilthError):
    """The pipeline, as written, cannot work."""

    status = 422


class UnknownOption(DefinitionError):
    """A name that does not exist."""


class SetupError(TilthError):
    """This machine, project or home folder is not ready."""


class HomeTooNew(SetupError):
    """TILTH_HOME was written by a newer tilth."""


class DiskFull(SetupError):
    """No space left where something had to be written."""

    status = 507


class HomeUnwritable(SetupError):
    """TILTH_HOME, or a folder in it, cannot be written to."""


class Unresolvable(SetupError):
    """The requirements of an environment cannot be resolved."""

    status = 422


class LockStale(SetupError):
    """A lock does not answer what is declared any more."""

    status = 409


class EnvironmentBroken(SetupError):
    """An environment could not be made, or was changed by a step."""


class OutsideError(TilthError):
    """Something this machine talks to does not answer."""

    status = 502


class IndexUnavailable(OutsideError):
    """The package index does not answer."""


class RegistryUnavailable(OutsideError):
    """A container registry does not answer, or breaks off."""


class RegistryRefused(OutsideError):
    """A container registry answers, and does not do what it was asked: credentials, rights, space, limits."""


class RegistryLacks(RegistryRefused):
    """A container registry knows no such requests, or takes no such documents."""


class ImageNotFound(OutsideError):
    """No such image, tag or blob where it was looked for."""

    status = 404


class ImageBroken(OutsideError):
    """An image, or a part of it, is not what its digest says."""


class EngineUnavailable(OutsideError):
    """A container engine is needed, and none answers."""


class BuildFailed(OutsideError):
    """An image could not be made."""

    status = 422


class StoreUnavailable(OutsideError):
    """An artifact store does not answer, or refuses."""


class ServerUnavailable(OutsideError):
    """A tilth server does not answer, or is not one."""

    status = 503


class DatabaseUnavailable(OutsideError):
    """A server's database does not answer."""

    status = 503


class StepError(TilthError):
    """The user's step: its code, its outputs, or its end."""

    status = 422


class OutputError(StepError):
    """The wrong number or type of outputs, or one that cannot be saved."""


class LoadError(StepError):
    """An artifact cannot be read in this environment."""


class RunFailed(TilthError):
    """A run ended without completing."""

    status = 422


class RunCancelled(TilthError):
    """A run was cancelled."""

    status = 409


class AccessDenied(TilthError):
    """A server does not let this user do this."""

    status = 403


class LoginNeeded(AccessDenied):
    """A server does not know who asks: no login, or one that has ended."""

    status = 401


class NotFound(TilthError):
    """No such thing."""

    status = 404


class NoProject(NotFound):
    """A server has no such project, or not for this user."""


class Conflict(TilthError):
    """Somebody else changed it meanwhile, or holds it now."""

    status = 409


def nearest(name: str, known: Iterable[str], more: str = "") -> str:
    """A hint for a name that is not among `known`: the nearest one, else all of them. `more` is a hint to add."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{close[0]}`? {more}".rstrip()
    listed = "known: " + ", ".join(f"`{each}`" for each in names) if names else ""
    return "; ".join(filter(None, (listed, more)))


def _restore(kind: type[TilthError], summary: str, why: str, mend: str) -> TilthError:
    return kind(summary, why=why, mend=mend)
