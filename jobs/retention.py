"""retention: deletes what is past its lifetime: ``python -m jobs.retention``; ``--dry-run`` only says what would go.

A lifetime a table (``CALLMOOD_RETENTION_DAYS``), one for what runs have staged (``CALLMOOD_STAGING_DAYS``), a shorter
one for features, of which speech can be rebuilt (``CALLMOOD_FEATURES_DAYS``), and one for reports. It also deletes what
publications that died have left in the warehouse, and staged rows and labels of erased people that were written after
their erasure. What it deletes it says by day and count; it names nobody.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import itemgetter

from jobs.command import exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import DayLocked, JobError
from jobs.labels import Labels
from jobs.person import Person, staged_rows
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging, day_of
from jobs.storage import Storage, StoredFile, open_storage
from jobs.suppressions import Suppressions
from jobs.warehouse import Warehouse
from schemas import LABELS
from schemas.staging import SEGMENTS

HOLDER = "retention"

log = logging.getLogger("callmood.retention")


@dataclass(frozen=True)
class Due:
    """Files that are past their lifetime: of a table's day, of a run's staging, or a day's reports.

    Attributes
    ----------
    what
        What they are, as the settings call it: a table, staging, features, reports.
    run_id
        The run of staged files.
    """

    what: str
    call_date: date
    files: int
    size_bytes: int
    run_id: str | None = None


def due(settings: Settings, now: datetime) -> list[Due]:
    """What is past its lifetime.

    Parameters
    ----------
    settings
        The jobs'.
    now
        With its time zone.
    """
    today = now.astimezone(settings.zone).date()
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    return [
        *_tables(warehouse, settings.retention_days, today),
        *_labels(Labels(warehouse.storage), settings.retention_days, today),
        *_staged(open_storage(settings.staging, settings), settings, now),
        *_reports(open_storage(settings.reports, settings), settings, today),
    ]


def _tables(warehouse: Warehouse, lifetimes: Mapping[str, int], today: date) -> Iterator[Due]:
    if not lifetimes:
        return
    for name, days in warehouse.days().items():
        for day, files in sorted(days.items()):
            if name in lifetimes and files and day < today - timedelta(days=lifetimes[name]):
                yield Due(name, day, len(files), sum(file.size_bytes for file in files))


def _labels(labels: Labels, lifetimes: Mapping[str, int], today: date) -> Iterator[Due]:
    if LABELS.name not in lifetimes:
        return
    last = today - timedelta(days=lifetimes[LABELS.name])
    by_day: dict[date, list[StoredFile]] = defaultdict(list)
    for day, file in labels.files():
        if day < last:
            by_day[day].append(file)
    for day, files in sorted(by_day.items()):
        yield Due(LABELS.name, day, len(files), sum(file.size_bytes for file in files))


def _staged(storage: Storage, settings: Settings, now: datetime) -> Iterator[Due]:
    for (day, run_id), files in _by_run(storage):
        age = now - begun_at(day, run_id)
        if age > timedelta(days=settings.staging_days):
            yield Due("staging", day, len(files), sum(file.size_bytes for file in files), run_id)
        elif age > timedelta(days=settings.features_days):
            features = [file for file in files if file.path.split("/")[2] == SEGMENTS.name]
            if features:
                yield Due("features", day, len(features), sum(file.size_bytes for file in features), run_id)


def begun_at(call_date: date, run_id: str) -> datetime:
    """When a run began: its name says it; of one that was named otherwise, the end of its day."""
    try:
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime(call_date.year, call_date.month, call_date.day, tzinfo=UTC) + timedelta(days=1)


def _by_run(storage: Storage) -> Iterator[tuple[tuple[date, str], list[StoredFile]]]:
    of_runs = [
        ((day, file.path.split("/")[1]), file)
        for file in storage.files()
        if file.path.count("/") >= 2 and (day := day_of(file.path)) is not None
    ]
    for run, files in groupby(of_runs, key=itemgetter(0)):
        yield run, [file for _, file in files]


def _reports(storage: Storage, settings: Settings, today: date) -> Iterator[Due]:
    days = settings.report_days or settings.retention_days.get("calls")
    if days is None:
        return
    by_day: dict[date, list[StoredFile]] = defaultdict(list)
    for file in storage.files():
        day = day_of(file.path)
        if day is not None:
            by_day[day].append(file)
    for day, files in sorted(by_day.items()):
        if day < today - timedelta(days=days):
            yield Due("reports", day, len(files), sum(file.size_bytes for file in files))


def enforce(found: Iterable[Due], settings: Settings) -> set[date]:
    """Delete what is due, the orphans of the warehouse, and what was staged of erased people.

    Returns
    -------
    The days that another run is publishing: what is due of them stays until the next time.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    staging = open_storage(settings.staging, settings)
    reports = open_storage(settings.reports, settings)
    labels = Labels(warehouse.storage)
    of_tables: dict[date, list[str]] = {day: [] for day in warehouse.unsettled()}
    for each in found:
        if each.what == "reports":
            reports.delete_below(each.call_date.isoformat())
        elif each.what == LABELS.name:
            labels.expire(each.call_date)
        elif each.run_id is None:
            of_tables.setdefault(each.call_date, []).append(each.what)
        else:
            run = RunStaging(staging, each.call_date, each.run_id)
            if each.what == "features":
                run.drop(SEGMENTS)
            else:
                staging.delete_below(run.folder)
    locked = set()
    for day, tables in sorted(of_tables.items()):
        try:
            warehouse.expire(day, tables, HOLDER)
        except DayLocked as error:
            log.warning("%s", error)
            locked.add(day)
    suppressions = Suppressions.load(warehouse.storage, settings.identity_secret)
    erased = suppressions.contacts_in(labels.read())
    if erased:
        # Somebody was still judging the call when it was erased.
        deleted = labels.delete(Person.of(erased).rows(["contact_id"]))
        log.warning("%d judgements of somebody who was erased: deleted", deleted)
    for run in _of_erased(staging, suppressions):
        log.warning("run %s of %s has rows of somebody who was erased: withdrawn", run.run_id, run.call_date)
        run.withdraw()
    return locked


def _of_erased(staging: Storage, suppressions: Suppressions) -> Iterator[RunStaging]:
    if suppressions:
        files = staged_rows(staging)
        touched = {file.run for file in files if file.rows is not None and suppressions.touches(file.rows)}
        yield from (RunStaging(staging, *run) for run in sorted(touched))


def in_words(found: Sequence[Due], locked: Set[date] = frozenset()) -> Iterator[str]:
    """Say what is due, a line a kind."""
    for what in dict.fromkeys(each.what for each in found):
        of_kind = [each for each in found if each.what == what]
        days = sorted({each.call_date for each in of_kind})
        runs = {each.run_id for each in of_kind} - {None}
        files, size = sum(each.files for each in of_kind), sum(each.size_bytes for each in of_kind)
        yield (
            f"{what}: {len(days)} days from {days[0]} to {days[-1]}"
            + (f", {len(runs)} runs" if runs else "")
            + f", {files} files, {size / 1e6:.1f} MB"
        )
    if not found:
        yield "nothing is past its lifetime"
    if locked:
        yield f"{len(locked)} days are being published, and what is due of their tables goes the next time"


def main(argv: Sequence[str] | None = None) -> int:
    """Enforce the lifetimes; the exit status is 0, 2 where it failed for good, 75 where another try may help."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.retention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        settings = load_settings()
        found = due(settings, datetime.now(UTC))
        locked = set() if arguments.dry_run else enforce(found, settings)
    except JobError as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    for line in in_words(found, locked):
        log.info("%s: %s", "would be deleted" if arguments.dry_run else "deleted", line)
    return 0


if __name__ == "__main__":
    run_command(main)
