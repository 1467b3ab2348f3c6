"""summarize_calls: by Spark SQL the tables ``calls`` and ``satisfaction_daily``, of a night or of an enrichment.

Of a night it first settles every recording's outcome: it reads the staged plan, what was heard and what was
classified, and writes ``recordings``, ``quarantine`` (an outcome a planned object) and ``call_events`` (those that
sidecars told, and the pauses that were heard). An enrichment has these from what is published. Of both it then
writes ``calls``, ``satisfaction_daily`` and ``topic_emotions`` (jobs/summary.py), the expected survey scores where a
calibration is kept, and ``alerts`` (jobs/alerts.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.alerts import stage_alerts
from jobs.command import run_command
from jobs.errors import ReconciliationError
from jobs.satisfaction_model import Calibration
from jobs.staging import RunStaging
from jobs.step import StepContext, step_main
from jobs.storage import Storage, open_storage
from jobs.warehouse import Warehouse, carry_forward
from schemas import TABLES
from schemas.reasons import REASONS
from schemas.staging import CALL_AUDIO, PLAN, SIDECAR_EVENTS

RECORDINGS, QUARANTINE = TABLES["recordings"], TABLES["quarantine"]
CALL_EVENTS, SURVEYS = TABLES["call_events"], TABLES["surveys"]
TOPICS, TOPIC_EMOTIONS = TABLES["topics"], TABLES["topic_emotions"]
SUMMARIZED = ("emotion_log", "recordings", "contacts", "call_events", "surveys")

_MODEL_ERROR = "the model returned no numbers for a segment of it; the log of classify_emotions says which kind"


def run(context: StepContext) -> Mapping[str, float]:
    """Summarize the day; returns the counts planned, scored, quarantined, skipped and the call hours scored."""
    from jobs.spark import read_staged, spark_session, write_staged
    from jobs.summary import summarize, summarize_topics

    settings, staging = context.settings, context.staging
    if staging.run_spec().kind == "night":
        recordings, quarantine = outcomes(staging)
        before = Warehouse(open_storage(settings.warehouse, settings)).read("quarantine", call_date=context.call_date)
        staging.write_table(RECORDINGS, recordings)
        quarantine = carry_forward(quarantine, before)
        staging.write_table(QUARANTINE, with_given_up(quarantine, settings.quarantine_attempts))
        staging.write_table(CALL_EVENTS, without_opted_out(events(staging, recordings), recordings))
        for table in (SURVEYS, TOPICS):
            staging.write_table(table, without_opted_out(staging.read_table(table), recordings))

    spark = spark_session("callmood summarize_calls", settings)
    # Each is read by several parts of the queries, and reading passes through Python: once is enough.
    tables = {name: read_staged(spark, staging, TABLES[name]).cache() for name in SUMMARIZED}
    calls, satisfaction_daily = summarize(
        spark, **tables, call_date=context.call_date, run_id=context.run_id, by_agent=settings.report_by_agent
    )
    n_calls = write_staged(calls, staging, TABLES["calls"])
    write_staged(satisfaction_daily, staging, TABLES["satisfaction_daily"])
    if staging.manifest(TOPICS).rows:
        heard = {name: tables[name] for name in ("emotion_log", "recordings")}
        topics = read_staged(spark, staging, TOPICS)
        write_staged(summarize_topics(spark, **heard, topics=topics, run_id=context.run_id), staging, TOPIC_EMOTIONS)
    else:  # a query that Spark has not seen takes seconds to be planned
        staging.write_table(TOPIC_EMOTIONS, TOPIC_EMOTIONS.empty())
    spark.stop()
    expect_scores(staging, open_storage(settings.warehouse, settings))
    stage_alerts(staging, settings)

    recordings = staging.read_table(RECORDINGS, ["status", "duration_s"])
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


def expect_scores(staging: RunStaging, warehouse: Storage) -> None:
    """Fill the staged calls' expected survey scores, where a calibration is kept in the warehouse."""
    calibration = Calibration.load(warehouse)
    if calibration is not None:
        filled = calibration.fill(staging.read_table(TABLES["calls"]), staging.read_table(TABLES["contacts"]))
        staging.write_table(TABLES["calls"], filled)


def events(staging: RunStaging, recordings: pa.Table) -> pa.Table:
    """The rows of ``call_events``: those of the sidecars, and the pauses heard in the recordings that were scored."""
    heard = staging.read_table(CALL_AUDIO, ["contact_id", "source_uri", "pauses"])
    scored = recordings.filter(pc.field("status") == "scored").column("source_uri").combine_chunks()
    heard = heard.filter(pc.is_in(heard.column("source_uri"), value_set=scored)).combine_chunks()
    pauses = pc.list_flatten(heard.column("pauses"))
    contact_ids = heard.column("contact_id").take(pc.list_parent_indices(heard.column("pauses")))
    of_recordings = {
        "call_date": pa.repeat(pa.scalar(staging.call_date), len(pauses)),
        "contact_id": contact_ids,
        "kind": pa.repeat(pa.scalar("pause"), len(pauses)),
        "start_s": pc.struct_field(pauses, "start_s"),
        "end_s": pc.struct_field(pauses, "end_s"),
        "source": pa.repeat(pa.scalar("recording"), len(pauses)),
        "run_id": pa.repeat(pa.scalar(staging.run_id), len(pauses)),
    }
    told = staging.read_table(SIDECAR_EVENTS)
    found = pa.concat_tables([CALL_EVENTS.conform(told), CALL_EVENTS.conform(pa.table(of_recordings))])
    return found.sort_by([(name, "ascending") for name in CALL_EVENTS.sort])


def without_opted_out(rows: pa.Table, recordings: pa.Table) -> pa.Table:
    """Leave out what is of customers who opted out: it is not to be known here."""
    opted_out = recordings.filter(pc.field("reason_code") == "opted_out").column("contact_id").combine_chunks()
    return rows.filter(pc.invert(pc.is_in(rows.column("contact_id"), value_set=opted_out)))


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


def with_given_up(quarantine: pa.Table, attempts: int) -> pa.Table:
    """Say of the recordings that were tried that often for a reason that may heal, that later nights will not."""
    retried = pa.array([code for code, reason in REASONS.items() if reason.retried])
    spent = pc.and_(
        pc.is_in(quarantine["reason_code"], value_set=retried), pc.greater_equal(quarantine["attempts"], attempts)
    )
    place = quarantine.schema.get_field_index("status")
    statuses = pc.if_else(spent, "given_up", quarantine["status"])
    return quarantine.set_column(place, quarantine.schema.field(place), statuses)


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
    run_command(lambda: step_main("summarize_calls", run, __doc__))
