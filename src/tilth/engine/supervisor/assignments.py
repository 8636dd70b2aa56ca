"""What a supervisor is told to do: where the store is, what to bring, what to start. Holds no secret.

Given as a file, or as JSON in the variable `TILTH_TASK`. Secrets are named in it, with the variable or the file each
arrives in.
"""

from __future__ import annotations

import msgspec

from tilth.errors import SetupError
from tilth.records import CodeDelivery, ComponentUsed  # noqa: TC001 - msgspec reads it

VARIABLE = "TILTH_TASK"


class SecretPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a supervisor finds the value of a secret: in one of its variables, or in a file."""

    variable: str = ""
    file: str = ""
    remove: bool = False  # the file, when it was read: for one that was written for this attempt alone


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One attempt to run one step."""

    version: int = 1
    label: str  # the step, for people
    store: ComponentUsed  # secrets by reference, `secret:NAME`
    channel: str  # prefix of the keys that driver and supervisor talk by; ends with `/`
    code: CodeDelivery
    code_password: str = ""  # name of the secret that opens the repository
    roots: tuple[str, ...] = (".",)  # that modules are imported from, relative to the project's folder
    cwd: str = "."  # of the step, relative to the project's folder
    python: str = ""  # the step's interpreter; empty: it is in a container beside, and comes in by itself
    environment: str = ""  # digest; empty for an interpreter that is no environment of tilth's
    prefix: str = ""  # of the environment
    variables: dict[str, str] = {}
    passed: tuple[
        str, ...
    ] = ()  # more variables of the supervisor's that the step gets too; `NAME*` for many
    secrets: dict[str, SecretPlace] = {}  # by name
    step_secrets: dict[str, str] = {}  # variable of the step -> name of the secret
    timeout_s: float | None = None
    memory: int | None = None  # bytes
    folder: str = ""  # where to work; must not exist, or be empty. By default a temporary one
    come_in_s: float = 600.0  # how long to wait for a step in a container beside
    beat_s: float = 2.0  # between two signs of life
    patience_s: float = 600.0  # how long to try again when the store does not answer


def parse_assignment(text: str | bytes) -> Assignment:
    """Read an assignment.

    Raises:
        SetupError: It is none.
    """
    try:
        found = msgspec.json.decode(text, type=Assignment)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SetupError(
            "the supervisor's task cannot be read",
            why=str(error)[:1].lower() + str(error)[1:],
            mend=f"give a file with what a launcher wrote, or put that into `{VARIABLE}`; "
            "launcher and supervisor have to be of one version of tilth",
        ) from None
    if found.version != 1:
        raise SetupError(
            f"the supervisor's task is of version {found.version}; this one understands version 1",
            mend="let the supervisor's environment have the tilth that starts the run",
        )
    if not found.channel.endswith("/"):
        raise SetupError(f"the channel `{found.channel}` is no prefix of keys", mend="let it end with `/`")
    return found
