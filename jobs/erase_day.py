"""erase_day: a published day without the rows of whom everything was erased, as a new run's staging.

Reads the day's published tables in one view and the list of suppressions (`jobs.suppressions`); publish_tables and
render_report of the same run follow. The others' rows stay as they are; ``satisfaction_daily`` is made again from the
calls that are left. Whose rows go is told by the list alone: no id is given to this step. `jobs.erase` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import run_command
from jobs.enrich_day import last_publication, plan, restore_emotion_log
from jobs.settings import Settings, code_version
from jobs.staging import Basis, RunSpec, RunStaging
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.suppressions import Suppressions
from jobs.warehouse import DAY_TABLES, Snapshot, Warehouse
from schemas import TABLES
from schemas.staging import PLAN

if TYPE_CHECKING:
    from collections.abc import Set

STEP = "erase_day"
EMOTION_LOG, DAILY = TABLES["emotion_log"], TABLES["satisfaction_daily"]

Rows = Mapping[str, pa.Table]


def run(context: StepContext) -> Mapping[str, float]:
    """Stage the day without the erased; returns the counts of its recordings and how many rows went.

    Raises
    ------
    NotEnrichable
        Where the day was never published.
    """
    settings = context.settings
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    suppressions = Suppressions.load(warehouse.storage, settings.identity_secret)
    return warehouse.view(lambda view: _stage(view, suppressions, context))


def _stage(view: Snapshot, suppressions: Suppressions, context: StepContext) -> Mapping[str, float]:
    staging, day = context.staging, context.call_date
    last = last_publication(view, day)
    # All but emotion_log, the large one, which passes through in batches.
    small = [table.name for table in DAY_TABLES if table is not EMOTION_LOG]
    published = {name: view.dataset(name, day).to_table() for name in small}
    segments = view.dataset(EMOTION_LOG.name, day)
    erased: Set[str] = {each for rows in published.values() for each in suppressions.contacts_in(rows)}
    erased |= suppressions.contacts_in(segments.to_table(["contact_id"]))
    kept = {name: suppressions.without(rows, erased) for name, rows in published.items()}

    staging.start_run(
        RunSpec(
            run_id=context.run_id,
            call_date=day,
            model=context.settings.model,
            roles=(),
            code_version=code_version(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            basis=Basis(view.run_ids(day), last["model_id"], "erasure"),
        )
    )
    staging.write_table(PLAN, plan(kept["recordings"], staging))
    for name in small:
        staging.write_table(TABLES[name], kept[name])
    restore_emotion_log(view, staging, erased)
    gone = {name: rows.num_rows - kept[name].num_rows for name, rows in published.items()}
    gone[EMOTION_LOG.name] = segments.count_rows() - staging.manifest(EMOTION_LOG).rows
    can_be_added_up = has_all_of_its_calls(published)
    if can_be_added_up and any(gone.values()):
        _add_up(staging, kept[DAILY.name], context.settings)
    return {
        "planned": kept["recordings"].num_rows,
        "suppressed": last["suppressed"] + gone["recordings"],
        "ignored": last["ignored"],
        "figures_kept": not can_be_added_up,
        **{f"erased_{name}": number for name, number in gone.items()},
    }


def has_all_of_its_calls(published: Rows) -> bool:
    """Whether the day's figures can be made again: whether nothing that they are made from is past its lifetime."""
    scored = pc.sum(pc.equal(published["recordings"]["status"], "scored")).as_py() or 0
    daily = published[DAILY.name]
    (counted,) = daily.filter(pc.field("scope") == "total")["calls_scored"].to_pylist() or [None]
    by_queue = daily["queue"].null_count + daily["team"].null_count < 2 * daily.num_rows
    return scored == published["calls"].num_rows == counted and (published["contacts"].num_rows > 0 or not by_queue)


def _add_up(staging: RunStaging, before: pa.Table, settings: Settings) -> None:
    """Make the day's figures again, with agents where they had agents."""
    from jobs.spark import read_staged, spark_session, write_staged
    from jobs.summary import summarize_daily

    spark = spark_session("callmood erase_day", settings)
    tables = {name: read_staged(spark, staging, TABLES[name]) for name in ("recordings", "contacts", "calls")}
    by_agent = "agent" in before["scope"].to_pylist()
    daily = summarize_daily(spark, **tables, call_date=staging.call_date, by_agent=by_agent)
    write_staged(daily, staging, DAILY)
    spark.stop()


if __name__ == "__main__":
    run_command(lambda: step_main(STEP, run, __doc__))
