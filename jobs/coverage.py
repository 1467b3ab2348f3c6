"""How whole a night is: whether it scored what was expected, and whether there was as much as on other such days.

Judges figures by limits; knows nothing of steps or of where the figures come from, but for what was usual, which it
takes from the published days.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from jobs.settings import Limits, Settings
from jobs.warehouse import Snapshot

FEWEST_WEEKS = 3
"""A median of fewer days says little."""


@dataclass(frozen=True)
class Volume:
    """What there was of a day, or of a queue of it.

    Attributes
    ----------
    queue
        The queue's name; None for the day as a whole.
    recorded
        Contacts with a recording, opted-out ones left out.
    expected
        Contacts that should have one, by contact records and recordings (satisfaction_daily.contacts_expected).
    scored
        Calls scored.
    usual
        What was expected on such a day before; None where too few are published.
    """

    queue: str | None
    recorded: int
    expected: int
    scored: int
    usual: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A night's status in ``runs``, why it is not simply published, and whether it is to stop and ask."""

    status: str
    detail: str | None = None
    stops: bool = False


def judge(volumes: Sequence[Volume], settings: Settings, call_date: date) -> Verdict:
    """Judge a night by its volumes, each by its own limits; the worst counts.

    Where there were too few recordings, that is the status, whatever the coverage of those that there were: it says
    where to look.
    """
    low: list[str] = []
    degraded: list[str] = []
    stops: list[str] = []
    for volume in volumes:
        limits = settings.limits(volume.queue)
        if (found := _too_few(volume, limits, call_date)) is not None:
            low.append(found)
        coverage = volume.scored / volume.expected if volume.expected else 1.0
        for limit, broken in ((limits.coverage_degraded, stops), (limits.coverage_published, degraded)):
            if coverage < limit:
                broken.append(
                    f"{_of(volume)}{volume.scored:,} of {volume.expected:,} expected calls were scored, "
                    f"{_percent(coverage)}, under {_percent(limit)}"
                )
                break
    said = "; ".join([*low, *stops, *degraded]) or None
    status = "volume_low" if low else "published_degraded" if said else "published"
    return Verdict(status, said, bool(stops))


def volumes(
    recordings: pa.Table, contacts: pa.Table, daily: pa.Table, settings: Settings, usual: Mapping[str | None, float]
) -> list[Volume]:
    """Count the day, then each queue that the settings name.

    Parameters
    ----------
    recordings, contacts, daily
        The day's rows of recordings, contacts and satisfaction_daily.
    usual
        As of `usual_volumes`.
    """
    opted_out = pc.fill_null(pc.equal(recordings["reason_code"], "opted_out"), False)
    expected = recordings.filter(pc.invert(opted_out))
    ids = pc.coalesce(expected["contact_id"], expected["source_uri"])
    queues = contacts["queue"].take(pc.index_in(ids, value_set=contacts["contact_id"].combine_chunks()))
    queue_of = dict(zip(ids.to_pylist(), queues.to_pylist(), strict=True))
    figures = {
        row["queue"]: (row["contacts_expected"], row["calls_scored"])
        for row in daily.to_pylist()
        if row["scope"] == "total" or (row["scope"] == "queue" and row["queue"] is not None)
    }
    nothing = (0, 0)
    return [
        Volume(
            queue,
            recorded=sum(queue is None or each == queue for each in queue_of.values()),
            expected=figures.get(queue, nothing)[0],
            scored=figures.get(queue, nothing)[1],
            usual=usual.get(queue),
        )
        for queue in (None, *settings.queues)
    ]


def usual_volumes(view: Snapshot, settings: Settings, call_date: date) -> Mapping[str | None, float]:
    """What was expected on the same weekday of the last weeks: medians by queue, None for the day as a whole.

    Holidays do not count, nor days that are not published; nothing is usual where fewer than `FEWEST_WEEKS` are left.
    """
    published = set(view.call_dates)
    days = [
        day for week in range(1, settings.volume_weeks + 1) if (day := call_date - timedelta(weeks=week)) in published
    ]
    found: dict[str | None, list[int]] = {queue: [] for queue in (None, *settings.queues)}
    for day in days:
        daily = view.dataset("satisfaction_daily", day).to_table(["scope", "queue", "contacts_expected"]).to_pylist()
        expected = {row["queue"]: row["contacts_expected"] for row in daily if row["scope"] in ("total", "queue")}
        expected[None] = sum(row["contacts_expected"] for row in daily if row["scope"] == "total")
        for queue, amounts in found.items():
            if day not in settings.limits(queue).holidays:
                amounts.append(expected.get(queue, 0))
    return {queue: statistics.median(each) for queue, each in found.items() if len(each) >= FEWEST_WEEKS}


def _too_few(volume: Volume, limits: Limits, call_date: date) -> str | None:
    """Say in what way there were too few recordings; None where there were enough, or the day is a holiday."""
    if call_date in limits.holidays:
        return None
    if volume.usual is None and volume.queue is None and not volume.recorded:
        return "no recordings were found"
    expected = max(volume.expected, volume.usual or 0)
    if volume.recorded >= limits.volume_low * expected:
        return None
    return f"{_of(volume)}{volume.recorded:,} contacts have recordings, where {expected:,.0f} were to be expected"


def _of(volume: Volume) -> str:
    return "" if volume.queue is None else f"queue {volume.queue}: "


def _percent(share: float) -> str:
    """A share in percent, exact enough to show on which side of a limit it is."""
    return f"{100 * share:.4g}%"
