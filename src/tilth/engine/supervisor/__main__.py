"""`python -m tilth.engine.supervisor [FILE]`: do what the assignment in FILE, or in `TILTH_TASK`, says.

Exit codes: 0 the end of the step was told, whatever it was; 64 the assignment is none; 69 the artifact store does not
answer; 75 what the step gave could not be stored, and is kept where it ran.
"""

from __future__ import annotations

import os
import sys

from tilth.engine.supervisor.seclusion import is_handed, seclude

_VARIABLE = "TILTH_TASK"
_MISUSED = 64


def main(arguments: list[str]) -> int:
    """Run the program; gives the exit code."""
    handed = seclude(None if is_handed(arguments) else _task(arguments))
    import asyncio
    import logging

    from tilth.engine.supervisor.assignments import parse_assignment
    from tilth.engine.supervisor.supervision import Supervision
    from tilth.errors import TilthError

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        supervision = Supervision(parse_assignment(handed.task), handed.variables)
    except TilthError as error:
        print(f"error: {error}", file=sys.stderr)
        return _MISUSED
    return asyncio.run(supervision.supervise())


def _task(arguments: list[str]) -> str:
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
        sys.exit(0 if arguments[0] in ("-h", "--help") else _MISUSED)
    if not arguments:
        if _VARIABLE in os.environ:
            return os.environ[_VARIABLE]
        print(
            f"error: the supervisor was given no task: no file, and no variable `{_VARIABLE}`",
            file=sys.stderr,
        )
        sys.exit(_MISUSED)
    try:
        with open(arguments[0], encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: the supervisor's task `{arguments[0]}` cannot be read: {error}", file=sys.stderr)
        sys.exit(_MISUSED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
