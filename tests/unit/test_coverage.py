"""How whole a night is: cases of coverage and volume, what was usual, and the settings by which it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from jobs.coverage import Volume, judge, usual_volumes, volumes
from jobs.errors import SettingsError
from jobs.settings import Settings, load_settings
from schemas import TABLES

DAY = date(2026, 11, 20)
GIVEN = {"recordings": "s3://b", "staging": "st", "warehouse": "wh", "reports": "rep"}


def settings(**changes: Any) -> Settings:
    return load_settings(**GIVEN, **changes)


JUDGED = [
    # What there was (recorded, expected, scored, usual), the settings, the status, what it says, whether it stops.
    ((100, 100, 100, None), {}, "published", None, False),
    ((100, 100, 98, 100.0), {}, "published", None, False),
    ((100, 100, 97, 100.0), {}, "published_degraded", "97 of 100 expected calls were scored, 97%, under 98%", False),
    ((1000, 1000, 979, None), {}, "published_degraded", "979 of 1,000 expected calls were scored, 97.9%", False),
    ((100, 100, 90, None), {}, "published_degraded", "90%, under 98%", False),
    ((100, 100, 89, None), {}, "published_degraded", "89%, under 90%", True),
    ((100, 100, 89, None), {"coverage_degraded": 0.5}, "published_degraded", "89%, under 98%", False),
    ((50, 100, 95, None), {}, "published_degraded", "95%", False),
    ((49, 100, 95, None), {}, "volume_low", "49 contacts have recordings, where 100 were to be expected", False),
    # What other such days had counts where it is more than the day's own records say.
    ((49, 49, 49, 100.0), {}, "volume_low", "49 contacts have recordings, where 100 were to be expected", False),
    ((50, 50, 50, 100.0), {}, "published", None, False),
    ((49, 49, 49, 100.0), {"volume_low": 0.4}, "published", None, False),
    ((49, 49, 49, 100.0), {"holidays": "2026-12-25, 2026-11-20"}, "published", None, False),
    ((49, 49, 40, 100.0), {"holidays": "2026-11-20"}, "published_degraded", "under 90%", True),
    # Nothing at all is a surprise, unless it is usual.
    ((0, 0, 0, None), {}, "volume_low", "no recordings were found", False),
    ((0, 0, 0, 0.0), {}, "published", None, False),
    ((0, 0, 0, 40.0), {}, "volume_low", "0 contacts have recordings, where 40", False),
    ((0, 0, 0, None), {"holidays": "2026-11-20"}, "published", None, False),
    ((0, 10, 0, None), {}, "volume_low", "0 of 10 expected calls were scored, 0%, under 90%", True),
]


@pytest.mark.parametrize(("volume", "changes", "status", "says", "stops"), JUDGED)
def test_a_night_is_judged(
    volume: tuple[int, int, int, float | None], changes: Mapping[str, Any], status: str, says: str | None, stops: bool
) -> None:
    verdict = judge([Volume(None, *volume)], settings(**changes), DAY)
    assert (verdict.status, verdict.stops) == (status, stops)
    assert verdict.detail is None if says is None else says in (verdict.detail or "")


SALES = {"coverage_degraded": 0.5, "volume_low": 0.1, "holidays": ["2026-11-20"]}


@pytest.mark.parametrize(
    ("queues", "status", "says", "stops"),
    [
        ({}, "published", None, False),
        ({"Claims": {}}, "published", None, False),
        ({"Sales": {}}, "volume_low", "queue Sales: 4 contacts have recordings, where 20", True),
        ({"Sales": {**SALES, "coverage_published": 0.5}}, "published", None, False),
        ({"Sales": SALES}, "published_degraded", "queue Sales: 3 of 4 expected calls were scored, 75%", False),
    ],
)
def test_queues_are_judged_by_limits_of_their_own(
    queues: Mapping[str, Any], status: str, says: str | None, stops: bool
) -> None:
    of_queues = {"Sales": Volume("Sales", 4, 4, 3, 20.0), "Claims": Volume("Claims", 96, 96, 96)}
    verdict = judge([Volume(None, 100, 100, 99), *(of_queues[queue] for queue in queues)], settings(queues=queues), DAY)
    assert (verdict.status, verdict.stops) == (status, stops)
    assert verdict.detail is None if says is None else says in (verdict.detail or "")


def test_the_day_and_its_queues_are_counted() -> None:
    recordings = pa.Table.from_pylist(
        [
            {"contact_id": contact, "source_uri": f"s3://b/{number}", "reason_code": reason}
            for number, (contact, reason) in enumerate(
                [("a", None), ("a", "duplicate"), ("b", "opted_out"), ("c", "truncated"), (None, "unknown_layout")]
            )
        ]
    )
    contacts = pa.table({"contact_id": ["a", "b", "c", "d"], "queue": ["Sales", "Sales", None, "Sales"]})
    daily = pa.table(
        {
            "scope": ["total", "queue", "queue"],
            "queue": [None, "Sales", None],
            "contacts_expected": [4, 2, 2],
            "calls_scored": [1, 1, 0],
        }
    )
    assert volumes(recordings, contacts, daily, settings(queues={"Sales": {}, "Closed": {}}), {None: 5.0}) == [
        Volume(None, recorded=3, expected=4, scored=1, usual=5.0),
        Volume("Sales", recorded=1, expected=2, scored=1),
        Volume("Closed", recorded=0, expected=0, scored=0),
    ]


@dataclass(frozen=True)
class Published:
    """Of some days, the contacts expected in all and in Sales."""

    days: Mapping[date, tuple[int, int]]

    @property
    def call_dates(self) -> list[date]:
        return sorted(self.days)

    def dataset(self, table: str, day: date) -> Any:
        import pyarrow.dataset as pads

        total, sales = self.days[day]
        same = {field.name: 0 for field in TABLES[table].schema if not field.nullable} | {"call_date": day}
        rows = [
            {**same, "scope": "total", "contacts_expected": total},
            {**same, "scope": "queue", "queue": "Sales", "contacts_expected": sales},
            {**same, "scope": "queue", "contacts_expected": total - sales},
        ]
        return pads.dataset(pa.Table.from_pylist(rows, TABLES[table].schema))


def weeks(*expected: tuple[int, int] | None) -> Published:
    """A week before the day, two weeks, and so on; None where it is not published."""
    before = {DAY - timedelta(weeks=number): each for number, each in enumerate(expected, 1) if each is not None}
    other_weekdays = {day + timedelta(days=1): (10_000, 10_000) for day in before}
    return Published(before | other_weekdays)


@pytest.mark.parametrize(
    ("published", "changes", "expected"),
    [
        (weeks((100, 10), (120, 30), (90, 20)), {}, {None: 100.0, "Sales": 20.0}),
        (weeks((100, 10), (120, 30), (90, 20), (110, 20)), {}, {None: 105.0, "Sales": 20.0}),
        (weeks((100, 10), None, (120, 30), (90, 20)), {}, {None: 100.0, "Sales": 20.0}),
        (weeks((100, 10), (120, 30)), {}, {}),
        (weeks((100, 10), (120, 30), (90, 20), (1, 1)), {"volume_weeks": 3}, {None: 100.0, "Sales": 20.0}),
        (weeks((100, 10), (120, 30), (90, 20)), {"volume_weeks": 0}, {}),
        # A holiday says nothing of other days.
        (weeks((1, 1), (100, 10), (120, 30), (90, 20)), {"holidays": "2026-11-13"}, {None: 100.0, "Sales": 20.0}),
        (
            weeks((1, 1), (100, 10), (120, 30), (90, 20)),
            {"queues": {"Sales": {"holidays": ["2026-11-13"]}}},
            {None: 95.0, "Sales": 20.0},
        ),
        (weeks((0, 0), (0, 0), (0, 0)), {}, {None: 0.0, "Sales": 0.0}),
    ],
)
def test_what_is_usual_is_the_median_of_the_same_weekday(
    published: Published, changes: Mapping[str, Any], expected: Mapping[str | None, float]
) -> None:
    judged_by = settings(**{"queues": {"Sales": {}}, **changes})
    assert usual_volumes(published, judged_by, DAY) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"coverage_degraded": 0.99}, "CALLMOOD_COVERAGE_DEGRADED: .* is 0.99, expected at most .* 0.98"),
        ({"queues": {"Sales": {"coverage_published": 0.8}}}, "of queue Sales is 0.9, expected at most .* 0.8"),
        ({"queues": {"Sales": {"coverage": 0.8}}}, "CALLMOOD_QUEUES"),
        ({"coverage_published": 98}, "CALLMOOD_COVERAGE_PUBLISHED"),
        ({"holidays": "Christmas"}, "CALLMOOD_HOLIDAYS"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: Mapping[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings(**wrong)


def test_limits_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLMOOD_HOLIDAYS", "2026-12-25,2027-01-01")
    monkeypatch.setenv("CALLMOOD_QUEUES", '{"Sales": {"coverage_degraded": 0.8, "holidays": ["2026-12-24"]}}')
    found = settings()
    assert found.limits().holidays == (date(2026, 12, 25), date(2027, 1, 1))
    assert found.limits("Sales").holidays == (date(2026, 12, 24),)
    assert (found.limits("Sales").coverage_degraded, found.limits("Claims").coverage_degraded) == (0.8, 0.9)
