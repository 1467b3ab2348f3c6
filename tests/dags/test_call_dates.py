"""The day that a run computes: scheduled, manual, ``dags test``, backfill; daylight saving; zones west and east."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from call_dates import call_date_of

pytestmark = pytest.mark.airflow


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CASES = [
    # what, wanted, logical_date, run_after, zone, expected
    ("scheduled", None, "2026-11-21T01:30", "2026-11-21T01:30", "UTC", "2026-11-20"),
    ("asked for", "2026-11-01", "2026-11-21T01:30", "2026-11-21T01:30", "UTC", "2026-11-01"),
    ("manual, with a logical date", None, "2026-11-21T15:00", "2026-11-21T15:00", "UTC", "2026-11-20"),
    ("manual, without one", None, None, "2026-11-21T15:00", "UTC", "2026-11-20"),
    ("dags test with a bare date", None, "2026-11-21T00:00", "2026-11-21T00:00", "UTC", "2026-11-20"),
    ("first day of a backfill 1 to 3 November", None, "2026-11-01T00:00", "2026-11-21T15:00", "UTC", "2026-10-31"),
    ("last day of it", None, "2026-11-03T00:00", "2026-11-21T15:00", "UTC", "2026-11-02"),
    ("Berlin, scheduled at 1:30 local", None, "2026-11-21T00:30", None, "Europe/Berlin", "2026-11-20"),
    ("Berlin, the night before summer time", None, "2026-03-29T00:30", None, "Europe/Berlin", "2026-03-28"),
    ("Berlin, the night after the 23 h day", None, "2026-03-29T23:30", None, "Europe/Berlin", "2026-03-29"),
    ("Berlin, the night after the 25 h day", None, "2026-10-26T00:30", None, "Europe/Berlin", "2026-10-25"),
    ("Los Angeles, scheduled at 1:30 local", None, "2026-11-21T09:30", None, "America/Los_Angeles", "2026-11-20"),
    ("Los Angeles, still yesterday there", None, "2026-11-21T07:59", None, "America/Los_Angeles", "2026-11-19"),
    ("Los Angeles, the night after the 23 h day", None, "2026-03-09T08:30", None, "America/Los_Angeles", "2026-03-08"),
    ("Los Angeles, the night after the 25 h day", None, "2026-11-02T09:30", None, "America/Los_Angeles", "2026-11-01"),
    ("Kolkata", None, "2026-11-20T20:00", None, "Asia/Kolkata", "2026-11-20"),
]


@pytest.mark.parametrize(("what", "wanted", "logical", "after", "zone", "expected"), CASES, ids=[c[0] for c in CASES])
def test_call_date(
    what: str, wanted: str | None, logical: str | None, after: str | None, zone: str, expected: str
) -> None:
    found = call_date_of(wanted, logical and utc(logical), after and utc(after), ZoneInfo(zone))
    assert found == date.fromisoformat(expected), what


def test_consecutive_nights_compute_consecutive_days() -> None:
    """Also over both changes of the clock, at the time that Airflow's timetable fires at."""
    from airflow.timetables.base import DataInterval, TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    zone = ZoneInfo("Europe/Berlin")
    timetable = CronTriggerTimetable("30 1 * * *", timezone="Europe/Berlin")
    for start in (datetime(2026, 3, 26, tzinfo=zone), datetime(2026, 10, 22, tzinfo=zone)):
        import pendulum

        restriction = TimeRestriction(earliest=pendulum.instance(start), latest=None, catchup=True)
        last: DataInterval | None = None
        days = []
        for _ in range(8):
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
            assert info is not None
            last = info.data_interval
            days.append(call_date_of(None, info.logical_date, info.run_after, zone))
        assert [(later - earlier).days for earlier, later in itertools.pairwise(days)] == [1] * 7


@pytest.mark.parametrize("wanted", ["yesterday", "2026-13-01", "20.11.2026", "{{ ds }}"])
def test_what_is_no_date_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        call_date_of(wanted, None, None, ZoneInfo("UTC"))


def test_no_time_to_go_by() -> None:
    with pytest.raises(ValueError, match="call_date"):
        call_date_of(None, None, None, ZoneInfo("UTC"))
