from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from tilth.errors import DefinitionError
from tilth.records.launching import Schedule
from tilth.server import timetable

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def schedule(**given):
    return Schedule(**{"project": "p", "name": "nightly", "snapshot": "s", "created_at": BEGIN, **given})


def first(count, found, after=BEGIN):
    return list(itertools.islice(timetable.times(found, after), count))


def local(text):
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def test_cron_is_read_in_its_time_zone():
    found = first(2, schedule(cron="30 6 * * mon-fri", timezone="Europe/Berlin"))
    assert found == [local("2026-01-01T06:30"), local("2026-01-02T06:30")]


def test_an_hour_that_does_not_exist_is_made_up_for():
    # On 29 March 2026 the clocks go from 2:00 to 3:00.
    found = first(3, schedule(cron="30 2 * * *", timezone="Europe/Berlin"), local("2026-03-28T00:00"))
    assert found == [
        local("2026-03-28T02:30"),
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        local("2026-03-30T02:30"),
    ]


def test_an_hour_that_comes_twice_counts_once():
    # On 25 October 2026 the clocks go from 3:00 back to 2:00.
    found = first(3, schedule(cron="30 2 * * *", timezone="Europe/Berlin"), local("2026-10-24T00:00"))
    assert [each.isoformat() for each in found] == [
        "2026-10-24T00:30:00+00:00",
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_what_is_due_each_half_hour_is_so_in_that_hour_too():
    found = first(6, schedule(cron="*/30 * * * *", timezone="Europe/Berlin"), local("2026-10-25T01:30"))
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {timedelta(minutes=30)}


def test_an_interval_is_counted_from_its_begin():
    begins = BEGIN + timedelta(hours=1)
    assert first(2, schedule(every_s=600, begins_at=begins)) == [begins, begins + timedelta(minutes=10)]
    assert first(1, schedule(every_s=600)) == [BEGIN + timedelta(minutes=10)]


def test_once_is_once():
    at = BEGIN + timedelta(days=3)
    assert first(5, schedule(at=at)) == [at]
    assert first(5, schedule(at=at), at) == []


def test_nothing_is_due_from_its_end_on():
    ends = BEGIN + timedelta(minutes=30)
    assert len(first(10, schedule(every_s=600, ends_at=ends))) == 2


def test_what_was_missed_is_caught_up_on_or_its_newest_alone():
    missed = schedule(every_s=600, next_at=BEGIN + timedelta(minutes=10))
    moment = BEGIN + timedelta(minutes=45)
    assert timetable.due(missed, moment) == [BEGIN + timedelta(minutes=40)]
    caught_up = schedule(every_s=600, next_at=BEGIN + timedelta(minutes=10), catch_up=True)
    assert timetable.due(caught_up, moment) == [BEGIN + timedelta(minutes=10 * n) for n in range(1, 5)]
    assert len(timetable.due(caught_up, moment, most=2)) == 2


def test_a_clock_that_goes_back_starts_nothing_twice():
    waiting = schedule(every_s=600, next_at=BEGIN + timedelta(minutes=10))
    assert timetable.due(waiting, BEGIN + timedelta(minutes=5)) == []


@given(
    cron=st.sampled_from(["*/7 * * * *", "0 */3 * * *", "30 2 * * *", "15 1,2,3 * * sun", "0 0 29 2 *"]),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
    days=st.integers(0, 730),
)
def test_times_only_go_forward(cron, zone, days):
    after = BEGIN + timedelta(days=days)
    found = first(20, schedule(cron=cron, timezone=zone), after)
    assert found[0] > after
    assert all(earlier < later for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({}, "has none of"),
        ({"cron": "* * * * *", "every_s": 60}, "has 2 of"),
        ({"cron": "every day"}, "no schedule of cron's"),
        ({"cron": "0 0 0 * * *"}, "no schedule of cron's"),
        ({"cron": "61 * * * *"}, "no schedule of cron's"),
        ({"cron": "* * * * *", "timezone": "Europe/Nowhere"}, "no time zone"),
        ({"cron": "* * * * *", "timezone": "../../etc/passwd"}, "no time zone"),
        ({"every_s": 1}, "every 1 s"),
        ({"every_s": 60, "begins_at": BEGIN, "ends_at": BEGIN}, "ends before it begins"),
    ],
)
def test_what_makes_no_sense_is_refused(given_, said):
    with pytest.raises(DefinitionError, match=said):
        timetable.check(schedule(**given_))
