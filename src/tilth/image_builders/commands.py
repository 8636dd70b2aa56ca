"""Run a command that builds: its output line by line, to whoever listens and to a file, with secrets hidden."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from typing import TYPE_CHECKING

from tilth.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

HIDDEN = "•••"
_KEPT = 400  # lines that a failure is explained from
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SHORTEST = 4  # characters: a shorter line of a secret would hide half of the log


class Finished:
    """A command that ended: its code, and the last lines of what it wrote."""

    def __init__(self, code: int, lines: Sequence[str]) -> None:
        self.code = code
        self.lines = list(lines)


def hiding(values: Iterable[str]) -> Callable[[str], str]:
    """What takes the values of secrets out of a line."""
    parts = {line.strip() for value in values for line in [value, *value.splitlines()]}
    wanted = sorted((each for each in parts if len(each) >= _SHORTEST), key=len, reverse=True)
    if not wanted:
        return lambda line: line
    pattern = re.compile("|".join(map(re.escape, wanted)))
    return lambda line: pattern.sub(HIDDEN, line)


def run_logged(
    command: Sequence[str],
    *,
    log: IO[str],
    tell: Callable[[str], None],
    hide: Callable[[str], str],
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """Run it to its end; its process ends with a failure of ours, such as an interrupt.

    Raises:
        EngineUnavailable: There is no such program.
    """
    last: deque[str] = deque(maxlen=_KEPT)
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(variables or {})},
        )
    except OSError as error:
        raise absent(command[0], error) from error
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                # A carriage return redraws a line of progress: the last state is what it says.
                text = hide(_ESCAPES.sub("", line.rstrip().rpartition("\r")[2]))
                if text:
                    last.append(text)
                    log.write(f"{text}\n")
                    tell(text)
        except BaseException:
            process.terminate()
            raise
    return Finished(process.returncode, last)


def ask(command: Sequence[str], *, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command for its answer; its failure is in the answer.

    Raises:
        EngineUnavailable: There is no such program, or it does not answer in time.
    """
    try:
        return subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            encoding="utf-8", errors="replace", timeout=timeout_s, check=False,
        )  # fmt: skip
    except OSError as error:
        raise absent(command[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(
            f"`{command[0]}` has not answered for {timeout_s:.0f} s", mend="see whether its engine is stuck"
        ) from error


def absent(program: str, error: OSError) -> EngineUnavailable:
    """A program that cannot be started."""
    return EngineUnavailable(
        f"`{program}`, which the image builder needs, cannot be started",
        why=error.strerror or str(error),
        mend="install it, or name another image builder; environments without `system_packages` and "
        "`dockerfile` need none",
    )
