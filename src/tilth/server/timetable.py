"""When a schedule's runs are due. Pure: the clock is given."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.records.launching import Schedule

SHORTEST_S = 10  # between two runs of one schedule
_LONGEST_S = 366 * 86_400
_YEARS = range(1970, 3000)  # what comes of them can be counted on, in every zone, for a long time
_FIELDS = 5


def check(schedule: Schedule) -> None:
    """Refuse a schedule that says nothing, or too much.

    Raises:
        DefinitionError: It does.
    """
    given = [bool(schedule.cron), bool(schedule.every_s), schedule.at is not None]
    if sum(given) != 1:
        raise DefinitionError(
            f"schedule `{schedule.name}` has {sum(given) or 'none'} of `cron`, `every_s` and `at`",
            mend="give one of them",
        )
    try:
        ZoneInfo(schedule.timezone)
    except (KeyError, ValueError, OSError):
        raise DefinitionError(
            f"there is no time zone `{schedule.timezone[:80]}`", mend="give one like `Europe/Berlin` or `UTC`"
        ) from None
    if schedule.cron and (
        len(schedule.cron) > 200
        or len(schedule.cron.split()) != _FIELDS
        or not croniter.is_valid(schedule.cron)
    ):
        raise DefinitionError(
            f"`{schedule.cron[:200]}` is no schedule of cron's",
            mend="give minute, hour, day, month and weekday: `30 6 * * mon-fri`",
        )
    if schedule.every_s and schedule.every_s < SHORTEST_S:
        raise DefinitionError(
            f"schedule `{schedule.name}` would start a run every {schedule.every_s} s",
            mend=f"give at least {SHORTEST_S} seconds",
        )
    if schedule.every_s > _LONGEST_S:
        raise DefinitionError(
            f"schedule `{schedule.name}` would start a run every {schedule.every_s} seconds",
            mend=f"give at most {_LONGEST_S:,}, which is a year; or one moment, `at`",
        )
    for field in ("at", "begins_at", "ends_at"):
        moment = getattr(schedule, field)
        if moment is not None and moment.year not in _YEARS:
            raise DefinitionError(
                f"`{field}` of schedule `{schedule.name}` is in the year {moment.year}",
                mend=f"give one from {_YEARS[0]} to {_YEARS[-1]}",
            )
    if schedule.begins_at and schedule.ends_at and schedule.begins_at >= schedule.ends_at:
        raise DefinitionError(
            f"schedule `{schedule.name}` ends before it begins", mend="correct one of the times"
        )


def times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The times when its runs are due, in UTC, each later than the one before and than `after`."""
    begin = max(after, schedule.begins_at - timedelta(microseconds=1)) if schedule.begins_at else after
    for moment in _all(schedule, begin):
        if schedule.ends_at is not None and moment >= schedule.ends_at:
            return
        yield moment


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """The first time after a moment; None when there is none, or it is paused."""
    return next(times(schedule, after), None) if schedule.active else None


def due(schedule: Schedule, moment: datetime, *, most: int = 100) -> list[datetime]:
    """The times up to a moment that no run was asked for yet: all, or the newest alone, as the schedule says.

    Args:
        most: Of those to catch up on at once; the others are due the next time.
    """
    if schedule.next_at is None or schedule.next_at > moment:
        return []
    found = [schedule.next_at]
    for each in times(schedule, schedule.next_at):
        if each > moment or (schedule.catch_up and len(found) >= most):
            break
        if schedule.catch_up:
            found.append(each)
        else:
            found = [each]
    return found


def _all(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    if schedule.at is not None:
        at = schedule.at.astimezone(timezone.utc)
        if at > after:
            yield at
        return
    if schedule.every_s:
        every = timedelta(seconds=schedule.every_s)
        begin = (schedule.begins_at or schedule.created_at).astimezone(timezone.utc)
        count = max(0, (after - begin) // every + 1)
        if schedule.begins_at is None:
            count = max(count, 1)  # not at once when it is made
        while True:
            yield begin + count * every
            count += 1
    yield from _cron(schedule, after)


def _cron(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """By the clock on the wall: an hour that does not exist is made up for, one that comes twice counts once."""
    hours = schedule.cron.split()[1]
    every_hour = hours.startswith("*")
    found: Any = croniter(schedule.cron, after.astimezone(ZoneInfo(schedule.timezone)))
    last = after
    while True:
        try:
            local = found.get_next(datetime)
        except CroniterBadDateError:  # none in the next fifty years, as of a 31st of February
            return
        moment = local.astimezone(timezone.utc)
        if moment <= last or (local.fold and not every_hour):
            continue
        last = moment
        yield moment
