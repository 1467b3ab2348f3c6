"""summarize_calls: every recording's outcome, and by Spark SQL the tables ``calls`` and ``satisfaction_daily``.

Reads the staged plan, what was heard and what was classified; writes ``recordings`` and ``quarantine`` (an outcome a
planned object), ``calls`` and ``satisfaction_daily`` (jobs/summary.py).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import ReconciliationError
from jobs.staging import RunStaging
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.warehouse import Warehouse, carry_forward
from schemas import TABLES
from schemas.staging import CALL_AUDIO, PLAN

RECORDINGS, QUARANTINE = TABLES["recordings"], TABLES["quarantine"]

_MODEL_ERROR = "the model returned no numbers for a segment of it; the log of classify_emotions says which kind"


def run(context: StepContext) -> Mapping[str, float]:
    """Summarize the day; returns the counts planned, scored, quarantined, skipped and the call hours scored."""
    from jobs.spark import read_staged, spark_session, write_staged
    from jobs.summary import summarize

    settings, staging = context.settings, context.staging
    recordings, quarantine = outcomes(staging)
    before = Warehouse(open_storage(settings.warehouse, settings)).read("quarantine", call_date=context.call_date)
    staging.write_table(RECORDINGS, recordings)
    staging.write_table(QUARANTINE, carry_forward(quarantine, before))

    spark = spark_session("callmood summarize_calls", settings)
    # Each is read by several parts of the queries, and reading passes through Python: once is enough.
    emotion_log, call_audio, planned_recordings, contacts = (
        read_staged(spark, staging, table).cache()
        for table in (TABLES["emotion_log"], CALL_AUDIO, RECORDINGS, TABLES["contacts"])
    )
    calls, satisfaction_daily = summarize(
        spark,
        emotion_log=emotion_log,
        call_audio=call_audio,
        recordings=planned_recordings,
        contacts=contacts,
        call_date=context.call_date,
        by_agent=settings.report_by_agent,
    )
    n_calls = write_staged(calls, staging, TABLES["calls"])
    write_staged(satisfaction_daily, staging, TABLES["satisfaction_daily"])
    spark.stop()

    counts = Counter(recordings.column("status").to_pylist())
    planned = staging.manifest(PLAN).rows
    if sum(counts.values()) != planned or counts["scored"] != n_calls:
        raise ReconciliationError(
            f"planned {planned} is not {dict(counts)} with {n_calls} calls; the steps are at fault, not the data"
        )
    scored = pc.equal(recordings.column("status"), "scored")
    hours = (pc.sum(recordings.filter(scored).column("duration_s")).as_py() or 0.0) / 3600
    return {
        "planned": planned,
        **{status: counts[status] for status in ("scored", "quarantined", "skipped")},
        "audio_hours": hours,
    }


def outcomes(staging: RunStaging) -> tuple[pa.Table, pa.Table]:
    """What became of every planned object.

    Returns
    -------
    The rows of ``recordings``, one an object of the plan, and those of ``quarantine``, one a quarantined one.
    """
    heard = {row["source_uri"]: row for row in staging.read_table(CALL_AUDIO).to_pylist()}
    with_rows = set(
        pc.unique(staging.read_table(TABLES["emotion_log"], ["contact_id"]).column("contact_id")).to_pylist()
    )
    now = datetime.now(UTC)
    recordings, quarantine = [], []
    for planned in staging.read_table(PLAN).to_pylist():
        outcome = _outcome(planned, heard.get(planned["source_uri"]), with_rows)
        recordings.append({name: outcome.get(name) for name in RECORDINGS.schema.names})
        if outcome["status"] == "quarantined":
            seen = {"attempts": 1, "first_seen": now, "last_seen": now, "status": "open"}
            quarantine.append({name: {**outcome, **seen}.get(name) for name in QUARANTINE.schema.names})
    return (
        pa.Table.from_pylist(recordings, schema=RECORDINGS.schema),
        pa.Table.from_pylist(quarantine, schema=QUARANTINE.schema),
    )


def _outcome(planned: Mapping[str, Any], heard: Mapping[str, Any] | None, with_rows: set[str]) -> dict[str, Any]:
    """The plan's row with what was heard, its status and reason, and the step at which it failed."""
    if planned["status"] != "planned":
        return {**planned, "stage": "plan_recordings"}
    if heard is None:
        raise ReconciliationError(
            "a planned recording has no row in call_audio; run extract_features of this run again"
        )
    if heard["status"] != "decoded":
        return {**planned, **heard, "stage": "extract_features"}
    if planned["contact_id"] not in with_rows:
        failed = {"status": "quarantined", "reason_code": "model_error", "detail": _MODEL_ERROR}
        return {**planned, **heard, **failed, "stage": "classify_emotions"}
    return {**planned, **heard, "status": "scored", "reason_code": None}


if __name__ == "__main__":
    sys.exit(step_main("summarize_calls", run, __doc__))
