"""Trying again while a store does not answer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from tilth.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FIRST_S, _LONGEST_S = 0.5, 15.0


async def patiently(call: Callable[[], T], for_s: float, doing: str) -> T:
    """What a blocking call gives, made in a thread; again, later and later, when the outside world fails.

    Args:
        for_s: How long to try, from now.
        doing: What it does, for the log.
    Raises:
        OutsideError: It still fails.
    """
    end, pause = time.monotonic() + for_s, _FIRST_S
    while True:
        try:
            return await asyncio.to_thread(call)
        except OutsideError as error:
            if time.monotonic() + pause > end:
                raise
            logger.warning("%s: %s; trying again in %g s", doing, error.summary, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_S)
