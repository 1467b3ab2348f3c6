"""due_days: which days before a night's own are to be run again; prints them as JSON, naming nobody.

``python -m jobs.due_days --call-date 2026-11-20`` looks for days of which recordings came or changed after they were
published, which a night did not get to publish, or of which quarantined recordings are to be tried again. Lists objects
and reads published tables; runs nothing itself: that is the scheduler's, and of ``make run``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import call_date, exit_status, run_command
from jobs.contacts import read_contacts
from jobs.discretion import start_logging
from jobs.errors import JobError
from jobs.layouts import open_layouts, utc_dates
from jobs.plan_recordings import is_erased, list_day
from jobs.settings import Settings, load_settings
from jobs.storage import open_storage
from jobs.suppressions import Suppressions
from jobs.warehouse import Snapshot, Warehouse
from schemas.reasons import REASONS

RETRY_DAYS = 31
"""How far back quarantined recordings are looked for that are to be tried again."""

Objects = set[tuple[str, str]]
"""Addresses and ETags."""

log = logging.getLogger("callmood.due")


@dataclass(frozen=True)
class DueDay:
    """A day that is to be run again, and why.

    Attributes
    ----------
    call_date
        The day.
    came
        Objects that came or were written anew after it was published; of a day that is not published, all.
    retried
        Quarantined recordings that are to be tried again.
    published
        Whether it is published at all.
    """

    call_date: date
    came: int = 0
    retried: int = 0
    published: bool = True


def due_days(settings: Settings, night: date) -> list[DueDay]:
    """Look for the days before a night's that are to be run again, the oldest first.

    A day is left as it is published where running it would lose calls, since their recordings are no longer there.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    return warehouse.view(lambda view: _due_days(view, settings, night), ["runs", "recordings", "quarantine"])


def _due_days(view: Snapshot, settings: Settings, night: date) -> list[DueDay]:
    days = [night - timedelta(days=before) for before in range(RETRY_DAYS, 0, -1)]
    published = set(view.call_dates)
    due = []
    for day in days:
        looked_at = (night - day).days <= settings.lookback_days
        if day not in published:
            # Before the first published day nothing is missing.
            if looked_at and published and day > min(published) and (there := stored(settings, day)):
                due.append(DueDay(day, came=len(there), published=False))
            continue
        if _is_undone(view, day):
            log.info("%s stays as it was published again, until somebody runs it", day)
            continue
        retried = to_try_again(view.dataset("quarantine", day).to_table(), settings.quarantine_attempts)
        if not (looked_at or retried):
            continue
        there = stored(settings, day)
        recordings = view.dataset("recordings", day).to_table()
        came = len(there - objects(recordings))
        if (came or retried) and _are_gone(recordings, there):
            log.warning(
                "%s is not run again, though %d objects came or changed and %d recordings are to be tried again: "
                "recordings of published calls are no longer there, and running it would lose the calls",
                *(day, came, retried),
            )
        elif came or retried:
            due.append(DueDay(day, came, retried))
    return due


def stored(settings: Settings, day: date) -> Objects:
    """The objects of a day that could be recordings, as they are now, but for those of erased people."""
    days = utc_dates(day, settings.zone)
    contacts = read_contacts(settings, [*days, days[-1] + timedelta(days=1)]).by_contact
    suppressions = Suppressions.load(open_storage(settings.warehouse, settings), settings.identity_secret)
    erased = suppressions.of_customers(contacts)
    listing = list_day(settings, open_layouts(settings), contacts, day)
    return {(each.uri, each.etag) for each in listing.stored if not is_erased(each, suppressions, erased)}


def objects(recordings: pa.Table) -> Objects:
    """The objects that rows of ``recordings`` are of; of a pair both."""
    found: Objects = set()
    for uri, etag in (("source_uri", "etag"), ("partner_uri", "partner_etag")):
        pairs = zip(recordings[uri].to_pylist(), recordings[etag].to_pylist(), strict=True)
        found |= {(at, tag) for at, tag in pairs if at is not None}
    return found


def _is_undone(view: Snapshot, day: date) -> bool:
    """Whether what is published of a day is, by somebody's will, an earlier run.

    An erasure or an enrichment since goes on from the rows that were published, and so leaves it so, as new alerts do;
    a night does not, nor does a release, by which somebody asks for a night.
    """
    runs = view.dataset("runs", day).to_table(["kind", "published_at", "run_id"]).to_pylist()
    willed = [run for run in runs if run["kind"] not in ("erasure", "enrichment", "alerts")]
    willed.sort(key=lambda run: (run["published_at"], run["run_id"]))
    return [run["kind"] for run in willed[-1:]] == ["undo"]


def _are_gone(recordings: pa.Table, there: Objects) -> bool:
    """Whether objects of scored calls are gone altogether, not only written anew."""
    scored = objects(recordings.filter(pc.field("status") == "scored"))
    return bool({uri for uri, _ in scored} - {uri for uri, _ in there})


def to_try_again(quarantine: pa.Table, attempts: int) -> int:
    """How many quarantined recordings were released, or may have healed and were not tried that often yet."""
    retried = pa.array([code for code, reason in REASONS.items() if reason.retried])
    may_heal = (
        (pc.field("status") == "open") & pc.field("reason_code").isin(retried) & (pc.field("attempts") < attempts)
    )
    return int(quarantine.filter((pc.field("status") == "released") | may_heal).num_rows)


def said(due: Collection[DueDay]) -> str:
    """The days as JSON."""
    return json.dumps([{**asdict(each), "call_date": each.call_date.isoformat()} for each in due])


def main(argv: list[str] | None = None) -> int:
    """Print the days that are due."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.due_days", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date, help="the night's own day, YYYY-MM-DD")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        print(said(due_days(load_settings(), arguments.call_date)))  # noqa: T201 - the answer
    except JobError as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    return 0


if __name__ == "__main__":
    run_command(main)
