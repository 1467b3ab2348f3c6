"""release: puts quarantined recordings back, so that the next night tries them again.

``python -m jobs.release --contact ID | --reason CODE`` marks them as released in ``quarantine`` of every published day.
That is a publication of its own, with a row in ``runs``; nothing is computed, and no other table is touched.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import exit_status, run_command
from jobs.discretion import start_logging
from jobs.due_days import RETRY_DAYS
from jobs.errors import DayPublishedAnew, JobError, NothingToRelease
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging, new_run_id
from jobs.storage import open_storage
from jobs.warehouse import RunFigures, Snapshot, Warehouse
from schemas import TABLES
from schemas.reasons import REASONS

QUARANTINE = TABLES["quarantine"]
TRIES = 5

log = logging.getLogger("callmood.release")


def release(settings: Settings, wanted: pc.Expression) -> Mapping[date, int]:
    """Release the quarantined recordings that an expression over ``quarantine`` is true of.

    Returns
    -------
    How many of each day.

    Raises
    ------
    NothingToRelease
        Where there are none.
    """
    warehouse = Warehouse(
        open_storage(settings.warehouse, settings),
        grace_s=settings.replaced_files_grace_s,
        secret=settings.identity_secret,
    )
    # Of a recording whose key names no contact, the comparison is null: it is not what was asked for.
    wanted = pc.coalesce(wanted & (pc.field("status") != "released"), pc.scalar(False))

    def days_with_any(view: Snapshot) -> list[date]:
        return [day for day in view.call_dates if view.dataset(QUARANTINE.name, day).count_rows(filter=wanted)]

    days = warehouse.view(days_with_any, ["runs", QUARANTINE.name])
    released = {day: _release(warehouse, settings, day, wanted) for day in days}
    if not any(released.values()):
        raise NothingToRelease("no quarantined recording is what was asked for, or all of them are released already")
    return {day: number for day, number in released.items() if number}


def _release(warehouse: Warehouse, settings: Settings, day: date, wanted: pc.Expression) -> int:
    for attempt in range(1, TRIES + 1):
        rows, released, last, run_ids = warehouse.view(
            lambda view: _marked(view, day, wanted), ["runs", QUARANTINE.name]
        )
        if not released:
            return 0
        run_id = new_run_id()
        staging = RunStaging(open_storage(settings.staging, settings), day, run_id)
        staging.write_table(QUARANTINE, rows)
        try:
            warehouse.publish(staging, last_figures(last, "release"), run_ids, tables=[QUARANTINE])
        except DayPublishedAnew:
            if attempt == TRIES:
                raise
        else:
            return released
    raise AssertionError("the last attempt returns or raises")


def _marked(
    view: Snapshot, day: date, wanted: pc.Expression
) -> tuple[pa.Table, int, Mapping[str, Any], tuple[str, ...]]:
    """The day's rows of quarantine with those released, how many they are, the day's last run, and all of its runs."""
    rows = view.dataset(QUARANTINE.name, day).to_table()
    chosen, others = rows.filter(wanted), rows.filter(~wanted)
    place = rows.schema.get_field_index("status")
    statuses = pa.repeat(pa.scalar("released"), chosen.num_rows)
    marked = chosen.set_column(place, rows.schema.field(place), statuses)
    together = pa.concat_tables([marked, others]).sort_by([(name, "ascending") for name in QUARANTINE.sort])
    return together, chosen.num_rows, view.last_run(day), view.run_ids(day)


def last_figures(row: Mapping[str, Any], kind: str) -> RunFigures:
    """The figures of a row of ``runs``, for another run of that kind that changes nothing of them."""
    return RunFigures(**{**{field.name: row[field.name] for field in fields(RunFigures)}, "kind": kind})


def main(argv: list[str] | None = None) -> int:
    """Release what is asked for, and say what follows."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--contact", help="the contact's id")
    which.add_argument(
        "--reason", choices=sorted(REASONS), metavar="CODE", help="every recording with this reason code"
    )
    arguments = parser.parse_args(argv)
    start_logging()
    name, value = ("contact_id", arguments.contact) if arguments.contact else ("reason_code", arguments.reason)
    try:
        released = release(load_settings(), pc.field(name) == value)
    except JobError as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    for day, number in released.items():
        log.info("%s: %d released", day, number)
    log.info(
        "the next night tries those of its last %d days again; at once, or older days: make run DATE=...", RETRY_DAYS
    )
    return 0


if __name__ == "__main__":
    run_command(main)
