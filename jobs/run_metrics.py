"""run_metrics: what a published run came to, as metrics; prints them as JSON, naming nobody.

``python -m jobs.run_metrics --call-date 2026-11-20 --run-id ID`` reads the run's row of ``runs``, the markers of its
steps, and, for drift, the days before. Where metrics are sent to is the scheduler's to know.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time

from jobs.command import call_date, exit_status, run_command, run_name
from jobs.discretion import start_logging
from jobs.errors import JobError, StepOrderError
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging
from jobs.storage import open_storage
from jobs.warehouse import Warehouse
from reporting.course import DAYS_BEFORE
from reporting.drift import drift_of
from reporting.periods import Period

METRICS: Mapping[str, str] = {
    "callmood.recordings": "recordings by `outcome`: planned = scored + quarantined + skipped, and suppressed",
    "callmood.audio_hours": "call hours of the scored calls",
    "callmood.step_seconds": "seconds that each `step` of the run took",
    "callmood.coverage": "calls scored of contacts expected, 0 to 1; not sent where none was expected",
    "callmood.drift": "how unlike the 28 days before a `quantity` of the day's data is, population stability index; "
    "not sent of what cannot be told from chance, or before 7 days are published",
    "callmood.last_published": "when the run was published, Unix time in seconds",
    "callmood.newest_call_date": "midnight (UTC) at which the newest published call date begins, Unix time in seconds",
}
"""Every metric by its name, without Airflow's prefix, with what it is and its unit."""
OUTCOMES = ("planned", "scored", "quarantined", "skipped", "suppressed")

log = logging.getLogger("callmood.metrics")


@dataclass(frozen=True)
class Metric:
    """A measured value.

    Attributes
    ----------
    name
        One of `METRICS`.
    value
        In the unit that it says.
    tags
        What is measured, where a metric is of several things.
    """

    name: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)


def run_metrics(settings: Settings, day: date, run_id: str) -> list[Metric]:
    """Measure a published run.

    Raises
    ------
    StepOrderError
        The run is not published.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    runs = warehouse.read("runs").to_pylist()
    row = next((row for row in runs if row["run_id"] == run_id and row["call_date"] == day), None)
    if row is None:
        raise StepOrderError(f"run {run_id} of {day} is not published; its metrics are measured after publish_tables")
    staging = RunStaging(open_storage(settings.staging, settings), day, run_id)
    newest = datetime.combine(max(row["call_date"] for row in runs), time(), UTC)
    measured = [Metric("callmood.recordings", row[outcome], {"outcome": outcome}) for outcome in OUTCOMES]
    measured += [
        Metric("callmood.step_seconds", marker.seconds, {"step": step}) for step, marker in staging.markers().items()
    ]
    measured += [
        Metric("callmood.audio_hours", row["audio_hours"]),
        Metric("callmood.last_published", row["published_at"].timestamp()),
        Metric("callmood.newest_call_date", newest.timestamp()),
    ]
    if row["coverage"] is not None:
        measured.append(Metric("callmood.coverage", row["coverage"]))
    unlike = warehouse.view(lambda view: drift_of(view, Period.day(day), DAYS_BEFORE))
    measured += [
        Metric("callmood.drift", shift.psi, {"quantity": shift.quantity})
        for shift in unlike.shifts
        if shift.verdict != "few"
    ]
    return measured


def main(argv: list[str] | None = None) -> int:
    """Print a run's metrics."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.run_metrics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date, help="the run's day, YYYY-MM-DD")
    parser.add_argument("--run-id", required=True, type=run_name, help="the run's name")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        measured = run_metrics(load_settings(), arguments.call_date, arguments.run_id)
    except JobError as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    print(json.dumps([asdict(each) for each in measured]))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    run_command(main)
