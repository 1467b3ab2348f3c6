"""How the index went: by day against the weeks before, by hour of the day, and the mood through a call by queue.

Frozen dataclasses computed from Arrow tables, which the template shows. Of groups of too few calls
(`reporting.measures.too_few`) they say that they are too few, and hold no figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from reporting.measures import FEWEST_CALLS, Mean, Usual, too_few
from reporting.periods import Period

DAYS_BEFORE: Final = 28
"""A period is compared with so many days before it."""

ALL_CALLS: Final = "All calls"
PATH: Final[Mapping[str, str]] = {
    "mood_start": "start",
    "mood_q1": "1st quarter",
    "mood_q2": "2nd quarter",
    "mood_q3": "3rd quarter",
    "mood_q4": "4th quarter",
    "mood_end": "end",
}
"""The points of a mood path: columns of calls, and what they are called."""


@dataclass(frozen=True)
class DayMean:
    """A day's index.

    Attributes
    ----------
    day
        The call date.
    known
        shown; few, where it is of too few calls; none, of no call; or missing, where the day is not published.
    index
        The mean, where it is shown.
    in_period
        Whether the report is of this day, not only compared with it.
    """

    day: date
    known: str
    index: Mean
    in_period: bool

    @property
    def said(self) -> str:
        """Why there is no figure."""
        return {"few": "too few calls", "none": "no calls", "missing": "no published figures"}.get(self.known, "")


@dataclass(frozen=True)
class Outside:
    """A queue whose index lies outside what is usual of it."""

    queue: str | None
    index: float
    usual: Usual

    @property
    def change(self) -> float:
        """How far it is from its usual mean."""
        return self.index - self.usual.mean


@dataclass(frozen=True)
class Course:
    """The index by day, and what the days before lead one to expect.

    Attributes
    ----------
    days
        The days before the period, and its own.
    usual
        Of a day: where its index is expected; None for longer periods and after too few days.
    outside
        The queues outside what is usual of them, the one that fell most first.
    compared
        How many queues were compared with what is usual of them.
    """

    days: tuple[DayMean, ...] = ()
    usual: Usual | None = None
    outside: tuple[Outside, ...] = ()
    compared: int = 0


@dataclass(frozen=True)
class HourMean:
    """The index of the calls that began in an hour of the day, local time; ``few`` where it is of too few calls."""

    hour: int
    index: Mean
    few: bool


@dataclass(frozen=True)
class MoodPath:
    """The mean mood at the points of `PATH` over a queue's calls; None where fewer than five calls have one."""

    name: str
    queue: str | None
    moods: tuple[float | None, ...]


def course(daily: pa.Table, period: Period) -> Course:
    """Compare a period with the days before it.

    Parameters
    ----------
    daily
        Rows of satisfaction_daily, of the period and of `DAYS_BEFORE` days before it, of scope total and queue.
    """
    rows = daily.filter(pc.is_in(pc.field("scope"), pa.array(["total", "queue"]))).to_pylist()
    by_day = {row["call_date"]: row for row in rows if row["scope"] == "total"}
    if not set(period.days) & set(by_day):
        return Course()
    shown = (*period.before(DAYS_BEFORE), *period.days)
    calls = {day: by_day[day]["calls_indexed"] for day in shown if day in by_day}
    # Only of the period's own days does the page show the whole, from which a hidden one could be told.
    hidden = too_few({day: calls[day] for day in period.days if day in calls})
    hidden |= {day for day in period.before(DAYS_BEFORE) if 0 < calls.get(day, 0) < FEWEST_CALLS}
    days = tuple(_day_mean(day, by_day.get(day), day in hidden, day in period.days) for day in shown)
    if period.kind != "day":
        return Course(days)
    queues: dict[str | None, dict[date, dict[str, Any]]] = {}
    for row in rows:
        if row["scope"] == "queue":
            queues.setdefault(row["queue"], {})[row["call_date"]] = row
    today = {queue: row[period.first]["calls_indexed"] for queue, row in queues.items() if period.first in row}
    comparable = {queue: _means(queues[queue], period) for queue in today.keys() - too_few(today) if today[queue]}
    usual = {queue: Usual.of(means) for queue, means in comparable.items()}
    compared = sum(each is not None for each in usual.values())
    outside = []
    for queue, means in comparable.items():
        expected = Usual.of(means, comparisons=max(1, compared))
        index = queues[queue][period.first]["index_mean"]
        if expected is not None and not expected.low <= index <= expected.high:
            outside.append(Outside(queue, index, expected))
    outside.sort(key=lambda each: (each.change, str(each.queue)))
    return Course(days, Usual.of(_means(by_day, period)), tuple(outside), compared)


def by_hour(calls: pa.Table, zone: ZoneInfo) -> tuple[HourMean, ...]:
    """Compute the index by the hour in which calls began; calls whose start is not known are left out.

    Hours without a call between the first and the last are there, with none.

    Parameters
    ----------
    calls
        With their customers (`reporting.night.with_customers`).
    """
    made: dict[int, list[tuple[float, str]]] = {}
    columns = (calls[name].to_pylist() for name in ("started_at", "satisfaction_index", "customer"))
    for started_at, index, customer in zip(*columns, strict=True):
        if started_at is not None and index is not None:
            made.setdefault(started_at.astimezone(zone).hour, []).append((index, customer))
    if not made:
        return ()
    hidden = too_few({hour: len(found) for hour, found in made.items()})
    return tuple(
        HourMean(hour, _mean(made.get(hour, ()), hour in hidden), hour in hidden)
        for hour in range(min(made), max(made) + 1)
    )


def mood_paths(calls: pa.Table, queues: Sequence[tuple[str, str | None]]) -> tuple[MoodPath, ...]:
    """Compute the mood path of all calls, then of queues; a queue without a point that can be shown is left out.

    Parameters
    ----------
    queues
        The names under which queues are shown, and the queues.
    """
    points = calls.select(["queue", *PATH]).to_pylist()

    def of(chosen: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
        return {point: [row[point] for row in chosen if row[point] is not None] for point in PATH}

    moods = {queue: of([row for row in points if row["queue"] == queue]) for _, queue in queues}
    hidden = {point: too_few({queue: len(found[point]) for queue, found in moods.items()}) for point in PATH}
    whole = of(points)
    paths = [MoodPath(ALL_CALLS, None, tuple(_mean_mood(whole[point]) for point in PATH))]
    for name, queue in queues:
        shown = ([] if queue in hidden[point] else moods[queue][point] for point in PATH)
        paths.append(MoodPath(name, queue, tuple(_mean_mood(found) for found in shown)))
    return tuple(path for path in paths if any(mood is not None for mood in path.moods))


def _day_mean(day: date, row: Mapping[str, Any] | None, hidden: bool, in_period: bool) -> DayMean:
    if row is None:
        return DayMean(day, "missing", Mean(0, None), in_period)
    calls = row["calls_indexed"]
    if hidden or not calls:
        return DayMean(day, "few" if hidden else "none", Mean(calls, None), in_period)
    return DayMean(day, "shown", Mean(calls, row["index_mean"], row["index_low"], row["index_high"]), in_period)


def _means(rows: Mapping[date, Mapping[str, Any]], period: Period) -> list[float]:
    """The means of the days before the period that are of enough calls."""
    before = [rows[day] for day in period.before(DAYS_BEFORE) if day in rows]
    return [row["index_mean"] for row in before if row["calls_indexed"] >= FEWEST_CALLS]


def _mean(made: Sequence[tuple[float, str]], hidden: bool) -> Mean:
    if hidden:
        return Mean(len(made), None)
    return Mean.of([index for index, _ in made], [customer for _, customer in made])


def _mean_mood(moods: Sequence[float]) -> float | None:
    return sum(moods) / len(moods) if len(moods) >= FEWEST_CALLS else None
