"""publish_tables: replace the day's partitions in the warehouse by what the run staged, and append the run to runs.

Run ``python -m jobs.publish_tables --call-date 2026-11-20 --run-id ID`` after validate_tables. A day without
recordings is published too: its partitions become empty, and its row in runs says that the night was run. A night
that scored too little of what was expected stops here and asks (``jobs.coverage``).

Adds up what the run's other steps staged; knows nothing of how the warehouse is written (``jobs.warehouse``).
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from jobs.command import run_command
from jobs.coverage import judge, usual_volumes, volumes
from jobs.errors import CoverageTooLow, DayWouldBeEmptied, ReconciliationError, SettingsError
from jobs.model import model_folder
from jobs.staging import STEPS, RunStaging
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.warehouse import RunFigures, Warehouse
from schemas import STAGED_TABLES
from schemas.recordings import STATUSES as OUTCOMES
from schemas.staging import SEGMENTS
from ser_model.classifier import ModelCard
from ser_model.errors import SerModelError

if TYPE_CHECKING:
    import pyarrow as pa

STEP = "publish_tables"
THIN = "thin"


def run(context: StepContext) -> Mapping[str, float]:
    """Publish the run; count what each table of the day holds now."""
    settings, staging = context.settings, context.staging
    figures = run_figures(staging)
    storage = open_storage(settings.warehouse, settings)
    warehouse = Warehouse(storage, grace_s=settings.replaced_files_grace_s, secret=settings.identity_secret)
    if figures.scored == 0 and figures.kind != "erasure" and not settings.allow_empty_day:
        _refuse_to_empty(warehouse, staging)
    figures = _judged(figures, warehouse, context)
    basis = staging.run_spec().basis
    versions = warehouse.publish(staging, figures, based_on=None if basis is None else basis.run_ids)
    # Speech can be rebuilt from them, and nobody needs them any more.
    staging.drop(SEGMENTS)
    return {name: staging.manifest(STAGED_TABLES[name]).rows for name in versions}


def _judged(figures: RunFigures, warehouse: Warehouse, context: StepContext) -> RunFigures:
    """The figures with the run's status.

    Raises
    ------
    CoverageTooLow
        Where a night scored too little, nobody accepted that, and it is not published already. An enrichment is never
        stopped: it learns what was to be expected of a day that is published.
    """
    day, staging = context.call_date, context.staging
    usual = warehouse.view(lambda view: usual_volumes(view, context.settings, day), ["satisfaction_daily"])
    recordings = _read(staging, "recordings", "contact_id", "source_uri", "reason_code")
    contacts = _read(staging, "contacts", "contact_id", "queue")
    daily = _read(staging, "satisfaction_daily", "scope", "queue", "contacts_expected", "calls_scored")
    verdict = judge(volumes(recordings, contacts, daily, context.settings, usual), context.settings, day)
    unasked = figures.kind == "night" and verdict.stops and context.arguments.accept != THIN
    if unasked and staging.run_id not in warehouse.snapshot(["runs"]).run_ids(day):
        raise CoverageTooLow(
            f"{verdict.detail}; nothing was published, and what was published before stays. Look at why they were "
            "not scored (docs/operations.md, a thin night); then run the day again, or publish this run as it is: "
            f"python -m jobs.{STEP} --call-date {day} --run-id {staging.run_id} --accept {THIN}"
        )
    return replace(figures, status=verdict.status, status_detail=verdict.detail)


def _refuse_to_empty(warehouse: Warehouse, staging: RunStaging) -> None:
    """Refuse a run without a scored call where calls are published that nobody has opted out of."""
    published = warehouse.read("calls", call_date=staging.call_date, columns=["source_uri"])["source_uri"]
    recordings = _read(staging, "recordings", "source_uri", "reason_code")
    opted_out = recordings.filter(pc.equal(recordings["reason_code"], "opted_out"))["source_uri"].combine_chunks()
    lost = published.filter(pc.invert(pc.is_in(published, value_set=opted_out)))
    if len(lost):
        raise DayWouldBeEmptied(
            f"no call was scored of {recordings.num_rows} planned, and {len(lost)} are published for this day; check "
            "the recordings' place, or set CALLMOOD_ALLOW_EMPTY_DAY=true where the day is to be emptied"
        )


def run_figures(staging: RunStaging) -> RunFigures:
    """Add up what a run did, from its staged tables and its steps' markers.

    The seconds of publishing itself are in its marker only: the row is part of what it publishes.

    Raises
    ------
    ReconciliationError
        Where the outcomes do not add up to the plan.
    SettingsError
        Where nothing was classified, and the folder of the model that was to do it has no card.
    """
    recordings = _read(staging, "recordings", "status", "duration_s")
    count = {outcome: pc.sum(pc.equal(recordings["status"], outcome)).as_py() or 0 for outcome in OUTCOMES}
    planned = staging.manifest(STAGED_TABLES["plan"]).rows
    if sum(count.values()) != planned:
        raise ReconciliationError(
            f"planned {planned} recordings, but {' + '.join(f'{count[each]} {each}' for each in OUTCOMES)}; nothing "
            "was published; run summarize_calls of this run again"
        )
    scored_s = pc.sum(recordings.filter(pc.equal(recordings["status"], "scored"))["duration_s"]).as_py() or 0.0
    spec, markers = staging.run_spec(), staging.markers()
    steps = STEPS[spec.kind]
    plan_counts = markers[steps[0]].counts if steps[0] in markers else {}
    return RunFigures(
        model_id=_model_id(staging),
        code_version=spec.code_version,
        planned=planned,
        scored=count["scored"],
        quarantined=count["quarantined"],
        skipped=count["skipped"],
        suppressed=int(plan_counts.get("suppressed", 0)),
        ignored=int(plan_counts.get("ignored", 0)),
        audio_hours=scored_s / 3600,
        step_seconds={step: markers[step].seconds for step in steps[: steps.index(STEP)] if step in markers},
        coverage=_coverage(staging),
        scored_of_planned=count["scored"] / planned if planned else None,
        status="published",
        kind=spec.kind,
    )


def _coverage(staging: RunStaging) -> float | None:
    daily = _read(staging, "satisfaction_daily", "scope", "coverage")
    total = daily.filter(pc.equal(daily["scope"], "total"))["coverage"].to_pylist()
    if not total and staging.run_spec().kind == "erasure":
        return None  # the day's figures are past their lifetime
    if len(total) != 1:
        raise ReconciliationError(
            f"satisfaction_daily has {len(total)} rows for the whole day, expected 1; nothing was published; run "
            "summarize_calls of this run again"
        )
    coverage: float | None = total[0]
    return coverage


def _model_id(staging: RunStaging) -> str:
    """Return the model that the rows name, or, where none was classified, the one that the run was to use."""
    named = pc.unique(_read(staging, "emotion_log", "model_id")["model_id"].drop_null()).to_pylist()
    if len(named) > 1:
        raise ReconciliationError(
            f"the run was classified by {len(named)} models, {', '.join(sorted(named))}, expected one; nothing was "
            "published; run classify_emotions of this run again"
        )
    if named:
        return str(named[0])
    spec = staging.run_spec()
    if spec.basis is not None:
        return spec.basis.model_id
    try:
        return ModelCard.load(model_folder(spec.model)).model_id
    except SerModelError as error:
        raise SettingsError(str(error)) from None


def _read(staging: RunStaging, table: str, *columns: str) -> pa.Table:
    return staging.read_table(STAGED_TABLES[table], columns)


def main(argv: list[str] | None = None) -> int:
    """Run the step."""
    return step_main(STEP, run, __doc__, argv, _add_arguments)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--accept", choices=[THIN], help="publish although too little was scored of what was expected")


if __name__ == "__main__":
    run_command(main)
