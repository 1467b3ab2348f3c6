"""republish: publishes an earlier run of a day once more, from the tables that it staged: the undo of a later one.

``python -m jobs.republish --run-id ID`` replaces the run's day by what the run published then, as a run of its own with
a row in ``runs``, and writes the report anew. Nothing is computed; it works as long as the run's tables lie in staging.
"""

from __future__ import annotations

import argparse
import logging

import pyarrow.compute as pc

from jobs import render_report
from jobs.command import exit_status, run_command, run_name
from jobs.discretion import start_logging
from jobs.errors import JobError, NotRepublishable, StepOrderError
from jobs.release import last_figures
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging, new_run_id
from jobs.step import StepContext
from jobs.storage import open_storage
from jobs.warehouse import Warehouse
from schemas.errors import SchemaError

log = logging.getLogger("callmood.republish")


def republish(settings: Settings, run_id: str) -> RunStaging:
    """Publish a run once more.

    Returns
    -------
    The run's staging, whose tables are published now.

    Raises
    ------
    NotRepublishable
        Where the run was never published, is the day's last one, or its tables are gone.
    ValidationFailed
        Where files of them are missing or damaged. Nothing was replaced.
    DayLocked, StorageError
        As of `Warehouse.publish`.
    """
    warehouse = Warehouse(
        open_storage(settings.warehouse, settings),
        grace_s=settings.replaced_files_grace_s,
        secret=settings.identity_secret,
    )
    runs = warehouse.read("runs")
    found = runs.filter(pc.field("run_id") == run_id).to_pylist(maps_as_pydicts="strict")
    if not found:
        raise NotRepublishable(f"no published run is named {run_id}; expected one of runs.run_id")
    (row,) = found
    day = row["call_date"]
    if warehouse.view(lambda view: view.last_run(day), ["runs"])["run_id"] == run_id:
        raise NotRepublishable(f"run {run_id} is what is published for {day}; expected an earlier one of the day")
    staging = RunStaging(open_storage(settings.staging, settings), day, run_id)
    new = new_run_id()
    try:
        warehouse.publish(staging, last_figures(row, "undo"), as_run=new)
    except StepOrderError as error:
        raise NotRepublishable(
            f"not every table of run {run_id} is in staging any more ({error}); to compute the day anew: "
            f"make run DATE={day}"
        ) from None
    log.info("%s is again as run %s published it; its name is now %s", day, run_id, new)
    return staging


def main(argv: list[str] | None = None) -> int:
    """Publish the run and write the day's report anew."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.republish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-id", required=True, type=run_name, help="the run to publish again, as in runs.run_id")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        settings = load_settings()
        staging = republish(settings, arguments.run_id)
        render_report.run(StepContext(settings, staging, arguments))
    except (JobError, SchemaError) as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    return 0


if __name__ == "__main__":
    run_command(main)
