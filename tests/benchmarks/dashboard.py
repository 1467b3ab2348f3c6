"""How long the dashboard's views take on a month of generated calls: ``python -m tests.benchmarks.dashboard FOLDER``.

Publishes tables of ``--calls`` calls over ``--days`` days to FOLDER/warehouse, where there are none yet. Of the days
before the last, segments are made of `SEGMENTED_CALLS` calls alone: no view reads more of a day. Prints seconds a view
and, for a machine that does other things, too, seconds of processor: medians of three. Each question goes to the
tables; the profiles of days, which the page Drift keeps, are said apart, the first time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from jobs.warehouse import DAY_TABLES, RunFigures, Warehouse
from reporting.course import PATH
from reporting.dashboard.tables import Filter, Tables
from schemas import TABLES
from schemas.table import Table

LAST = date(2026, 11, 20)
QUEUES = ("Billing", "Orders", "Support", "Sales", "Claims", "Returns")
SEGMENTS = 14
SEGMENTED_CALLS = 4_000
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry")
MODEL, MODEL_BEFORE = "made", "made-before"
NEW_MODEL_FROM = LAST - timedelta(days=7)
NEW_CODEC = "MP3/MPEG_LAYER_III"
"""Of every second recording of the last day."""
TOPICS = {"refund": 0.45, "delivery": 0.2, "change of address": 0.05, "invoice": 0.15}
"""How angry customers are about each, on average."""
CUSTOMERS = 300_000
ROWS_A_FILE = SEGMENTED_CALLS * SEGMENTS


def publish(folder: Path, calls: int, days: int) -> None:
    """Publish the tables."""
    rng = np.random.default_rng(7)
    per_day = calls // days
    warehouse = Warehouse(LocalStorage(folder / "warehouse"))
    for number in range(days):
        day = LAST - timedelta(days=number)
        staging = RunStaging(LocalStorage(folder / "staging"), day, f"{day:%Y%m%d}T013000Z-000001")
        model = MODEL if day >= NEW_MODEL_FROM else MODEL_BEFORE
        made = _day(rng, day, per_day, model, segmented=per_day if number == 0 else min(per_day, SEGMENTED_CALLS))
        for table in DAY_TABLES:
            rows = made.get(table.name)
            _write(staging, table, table.empty() if rows is None else _whole(table.name, rows))
        figures = RunFigures(model, "made", 0, 0, 0, 0, 0, 0, 0.0, {}, 1.0, 1.0, "published")
        warehouse.publish(staging, figures)
        staging.withdraw()


def _write(staging: RunStaging, table: Table, rows: pa.Table) -> None:
    """Write a table in files such as a night's tasks write."""
    files = []
    for start in range(0, max(1, rows.num_rows), ROWS_A_FILE):
        with staging.writer(table) as writer:
            writer.write(rows.slice(start, ROWS_A_FILE))
        files.append(writer.file)
    staging.commit(table, files)


def _whole(name: str, rows: Mapping[str, object]) -> pa.Table:
    """The rows as the table has them, with something in columns that are not of interest and may not be null."""
    schema = TABLES[name].schema
    n = len(next(value for value in rows.values() if not isinstance(value, str | date | bool)))  # type: ignore[arg-type]
    columns = []
    for field in schema:
        value = rows.get(field.name)
        if value is None and not field.nullable:
            columns.append(pa.repeat(pa.scalar(_plain(field.type), field.type), n))
        elif value is None or isinstance(value, str | date | bool | int | float | datetime):
            columns.append(pa.repeat(pa.scalar(value, field.type), n))
        elif isinstance(value, pa.Array):
            columns.append(value)
        else:
            columns.append(pa.array(value, field.type))
    return pa.table(columns, schema=schema)


def _plain(kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 1, tzinfo=UTC)
    return [] if pa.types.is_list(kind) or pa.types.is_map(kind) else 0


def _day(
    rng: np.random.Generator, day: date, n: int, model: str, *, segmented: int
) -> Mapping[str, Mapping[str, object]]:
    ids = np.array([f"{day:%Y%m%d}-{number:08d}-generated-contact" for number in range(n)])
    addresses = np.array([f"s3://recordings/{each}.wav" for each in ids])
    queue = rng.choice(QUEUES, n)
    team = rng.choice([f"Team {number}" for number in range(12)], n)
    index = np.clip(rng.normal(55, 12, n), 0, 100)
    started = np.datetime64(day) + rng.integers(7 * 3600, 20 * 3600, n).astype("timedelta64[s]")
    at = pa.array(started.astype("datetime64[us]"), TABLES["calls"].schema.field("started_at").type)
    flagged = rng.random(n) < 0.05
    reasons = pa.array([["sustained_anger"] if each else [] for each in flagged], pa.list_(pa.string()))
    shares = rng.random(n) * 0.5
    rise = 0.02 * (np.unique(queue, return_inverse=True)[1] - 2)  # of the mood from point to point, by queue
    common = {"call_date": day, "contact_id": ids, "run_id": "made"}
    made: dict[str, dict[str, object]] = {
        "contacts": {
            **common,
            "queue": queue,
            "team": team,
            "started_at": at,
            "expects_recording": True,
            "customer_key": [f"{number:032x}" for number in rng.integers(0, min(CUSTOMERS, 10 * n), n)],
            "local_hour": rng.integers(7, 20, n),
        },
        "recordings": {
            **common,
            "source_uri": addresses,
            "status": np.where(rng.random(n) < 0.97, "scored", "quarantined"),
            "reason_code": "truncated",
            "codec": np.where((np.arange(n) % 2 == 1) & (day == LAST), NEW_CODEC, "WAV/PCM_16"),
            "channel_kind": "two_channel",
        },
        "calls": {
            **common,
            "source_uri": addresses,
            "queue": queue,
            "team": team,
            "started_at": at,
            "duration_s": 300.0,
            "satisfaction_index": index,
            "satisfaction_low": index - 9,
            "satisfaction_high": index + 9,
            "negative_share": shares,
            "escalated": flagged,
            "recovered": ~flagged,
            "anger_peak": shares,
            "mood_change": shares,
            **{point: (index - 60) / 80 + rise * number for number, point in enumerate(PATH)},
            "longest_silence_s": 5.0,
            "review_reasons": reasons,
            "model_id": model,
        },
        "satisfaction_daily": {
            "call_date": day,
            "scope": ["total"] + ["queue"] * len(QUEUES),
            "queue": [None, *QUEUES],
            "contacts_expected": n,
            "calls_scored": n,
            "coverage": 0.97,
        },
    }
    of = np.repeat(ids[:segmented], SEGMENTS)
    start = np.tile(np.arange(SEGMENTS) * 20.0, segmented)
    made["emotion_log"] = {
        **common,
        "contact_id": of,
        "role": "customer",
        "start_s": start,
        "end_s": start + 2.5,
        "segment_index": 0,
        "turn_index": np.tile(np.arange(SEGMENTS), segmented),
        "classified": True,
        "emotion": rng.choice(EMOTIONS, len(of)),
        "confidence": rng.random(len(of)),
        "loudness_dbfs": rng.normal(-22, 4, len(of)),
        "model_id": model,
    }
    return made | _topics(rng, common, n)


def _topics(rng: np.random.Generator, common: Mapping[str, object], n: int) -> Mapping[str, Mapping[str, object]]:
    """What each call is about: one topic for two minutes, and every third call another one for the next two."""
    first = rng.integers(0, len(TOPICS), n)
    calls = np.concatenate([np.arange(n), np.arange(0, n, 3)])
    topics = np.concatenate([first, (first[::3] + 1) % len(TOPICS)])
    start = np.concatenate([np.full(n, 20.0), np.full(len(calls) - n, 140.0)])
    order = np.lexsort((start, calls))
    calls, topics, start = calls[order], topics[order], start[order]
    angry = np.clip(rng.normal(np.array(list(TOPICS.values()))[topics], 0.1), 0, 0.9)
    names = np.array(list(TOPICS))[topics]
    of = {**common, "contact_id": np.asarray(common["contact_id"])[calls], "topic": names}
    shares = {"p_angry": angry, "p_sad": (1 - angry) / 4, "p_neutral": (1 - angry) / 2, "p_happy": (1 - angry) / 4}
    moods = {
        "negative_share": angry + shares["p_sad"],
        "neutral_share": shares["p_neutral"],
        "positive_share": shares["p_happy"],
    }
    return {
        "topics": {**of, "start_s": start, "end_s": start + 120.0},
        "topic_emotions": {**of, "topic_s": 120.0, "speech_s": 15.0, "valence": 0.0, **shares, **moods},
    }


def views(tables: Tables, chosen: Filter) -> Mapping[str, Callable[[], object]]:
    """The views, each as all the questions that it asks."""

    def call() -> object:
        first = tables.calls(chosen).iloc[0]
        of = (first["call_date"], first["contact_id"])
        return tables.segments(*of), tables.addresses(*of), tables.call_topics(*of)

    return {
        "period": lambda: (tables.period(chosen), tables.mood_paths(chosen), tables.publications(chosen)),
        "topics": lambda: tables.topics(chosen),
        "win back": lambda: tables.win_back(chosen),
        "coverage": lambda: (
            tables.coverage(chosen),
            tables.coverage_by_queue(chosen),
            tables.not_scored(chosen),
            tables.codecs(chosen),
            tables.publications(chosen),
        ),
        "calls": call,
    }


def main() -> None:
    """Publish where nothing is, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=31)
    given = parser.parse_args()
    if not (given.folder / "warehouse").is_dir():
        publish(given.folder, given.calls, given.days)
    began = time.perf_counter()
    tables = Tables(LocalStorage(given.folder / "warehouse"))
    print(f"opening: {time.perf_counter() - began:.2f} s")
    for when in ("the first time", "again"):
        began, used = time.perf_counter(), time.process_time()
        tables.drift(Filter(LAST, LAST))
        said = f"drift of the last day, {when}: {time.perf_counter() - began:.2f} s"
        print(f"{said} ({time.process_time() - used:.2f} s of processor)", flush=True)
    everything = Filter(tables.days()[0], LAST)
    for what, chosen in (
        (f"{given.days} days", everything),
        ("a queue of them", Filter(everything.first, LAST, ("Billing",))),
    ):
        for name, view in views(tables, chosen).items():
            took = []
            for _ in range(3):
                began, used = time.perf_counter(), time.process_time()
                view()
                took.append((time.perf_counter() - began, time.process_time() - used))
            seconds, of_processor = map(statistics.median, zip(*took, strict=True))
            print(f"{name}, {what}: {seconds:.2f} s ({of_processor:.2f} s of processor)", flush=True)


if __name__ == "__main__":
    main()
