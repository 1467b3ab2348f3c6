"""Enriching a day, part by part: what is looked for, what replaces what, and that segments pass through in batches."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.contacts import ContactRecord
from jobs.enrich_day import (
    Day,
    dated,
    join,
    joined,
    last_run,
    not_older,
    record_days,
    recorded_elsewhere,
    requeued,
    restore_emotion_log,
)
from jobs.errors import NotEnrichable
from jobs.records import DayRecords
from jobs.settings import load_settings
from jobs.staging import ROW_GROUP_ROWS, RunStaging, TableWriter
from jobs.storage import LocalStorage
from jobs.warehouse import PublishedFile, Snapshot
from schemas import TABLES

DAY = date(2026, 11, 20)
EARLIER, LATER = (datetime(2026, 11, day, 10, tzinfo=UTC) for day in (20, 21))


def rows(table: str, *given: dict[str, Any], run_id: str = "night") -> pa.Table:
    """Rows of a table with these values, and some in the columns that may not be null."""

    def some(field: pa.Field) -> Any:
        if field.nullable or field.name in fixed:
            return fixed.get(field.name)
        if pa.types.is_timestamp(field.type):
            return EARLIER
        if pa.types.is_list(field.type) or pa.types.is_map(field.type):
            return []
        return "" if pa.types.is_string(field.type) else field.type.to_pandas_dtype()(0)

    schema = TABLES[table].schema
    fixed = {"call_date": DAY, "run_id": run_id}
    usual = {field.name: some(field) for field in schema}
    return pa.Table.from_pylist([{**usual, **each} for each in given], schema=schema)


# What is looked for

DATES = [
    # what, zone, late_days, today, first and last date
    ("a week, all past", "UTC", 7, "2026-12-24", "2026-11-20", "2026-11-27"),
    ("no further than tomorrow", "UTC", 7, "2026-11-22", "2026-11-20", "2026-11-23"),
    ("on the day itself", "UTC", 7, "2026-11-20", "2026-11-20", "2026-11-21"),
    ("never less than the night looks at", "UTC", 0, "2026-12-24", "2026-11-20", "2026-11-21"),
    ("a local day of two UTC dates", "Europe/Berlin", 2, "2026-12-24", "2026-11-19", "2026-11-22"),
    ("west of it", "America/Los_Angeles", 2, "2026-12-24", "2026-11-20", "2026-11-23"),
    ("a day that is to come", "UTC", 7, "2026-11-10", "2026-11-20", "2026-11-20"),
]


@pytest.mark.parametrize(
    ("zone", "late_days", "today", "first", "last"), [c[1:] for c in DATES], ids=[c[0] for c in DATES]
)
def test_records_are_looked_for_from_the_day_on(
    tmp_path: Path, zone: str, late_days: int, today: str, first: str, last: str
) -> None:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path))
    settings = load_settings(recordings="s3://r", time_zone=zone, late_days=late_days, **places)
    days = record_days(DAY, settings, date.fromisoformat(today))
    assert (days[0].isoformat(), days[-1].isoformat()) == (first, last)
    assert [(later - earlier).days for earlier, later in pairwise(days)] == [1] * (len(days) - 1)


# What can be enriched


def view_of_runs(tmp_path: Path, *runs: dict[str, Any]) -> Snapshot:
    published = []
    for number, run in enumerate(runs):
        path = f"call_date={DAY}/part-{number}-0.parquet"
        (tmp_path / "runs" / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows("runs", run).drop_columns(["call_date"]), tmp_path / "runs" / path)
        published.append(PublishedFile(path, 1, 1))
    return Snapshot(LocalStorage(tmp_path), {"runs": {DAY: tuple(published)} if published else {}})


def a_run(run_id: str, published_at: datetime, *tables: str) -> dict[str, Any]:
    return {"run_id": run_id, "published_at": published_at, "table_versions": [(table, 1) for table in tables]}


def test_the_day_is_as_its_last_run_published_it(tmp_path: Path) -> None:
    runs = a_run("a", LATER, "calls", "call_events"), a_run("b", EARLIER, "calls")
    assert last_run(view_of_runs(tmp_path, *runs), DAY)["run_id"] == "a"


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([], "2026-11-20 was never published, so there is nothing to enrich; run its night first"),
        (
            [a_run("a", EARLIER, "calls", "call_events"), a_run("b", LATER, "calls")],
            "2026-11-20 was published before there was a table call_events, .* run its night again",
        ),
    ],
    ids=["never published", "without its pauses"],
)
def test_a_day_that_cannot_be_enriched_is_named(tmp_path: Path, runs: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(NotEnrichable, match=says) as raised:
        last_run(view_of_runs(tmp_path, *runs), DAY)
    assert raised.value.permanent


# What replaces what


def survey(contact_id: str, score: float) -> dict[str, Any]:
    return {"contact_id": contact_id, "score": score}


def pause(contact_id: str, start_s: float) -> dict[str, Any]:
    return {"contact_id": contact_id, "kind": "pause", "start_s": start_s, "end_s": start_s + 1, "source": "sidecar"}


JOINS = [
    # what, table, published, found, what comes out, whose rows changed
    ("nothing", "surveys", [], [], [], set()),
    ("nothing found", "surveys", [survey("a", 1)], [], [("a", "night")], set()),
    ("the same again", "surveys", [survey("a", 1)], [survey("a", 1)], [("a", "night")], set()),
    (
        "another score",
        "surveys",
        [survey("a", 1), survey("b", 1)],
        [survey("a", 2)],
        [("b", "night"), ("a", "new")],
        {"a"},
    ),
    ("a new one", "surveys", [survey("a", 1)], [survey("b", 1)], [("a", "night"), ("b", "new")], {"b"}),
    (
        "one event of two has gone",
        "call_events",
        [pause("a", 1), pause("a", 5), pause("b", 1)],
        [pause("a", 5)],
        [("b", "night"), ("a", "new")],
        {"a"},
    ),
    ("the same events", "call_events", [pause("a", 1)], [pause("a", 1)], [("a", "night")], set()),
]


@pytest.mark.parametrize(
    ("table", "published", "found", "expected", "changed"), [c[1:] for c in JOINS], ids=[c[0] for c in JOINS]
)
def test_what_is_found_of_a_contact_replaces_what_is_published_of_it(
    table: str,
    published: list[dict[str, Any]],
    found: list[dict[str, Any]],
    expected: list[tuple[str, str]],
    changed: set[str],
) -> None:
    made, of = joined(TABLES[table], rows(table, *published), rows(table, *found, run_id="new"))
    assert [(row["contact_id"], row["run_id"]) for row in made.to_pylist()] == expected
    assert of == changed
    assert made.schema.equals(TABLES[table].schema)


@pytest.mark.parametrize(
    ("published", "found", "counts"),
    [
        ("none", LATER, True),
        ("none", None, True),
        (None, EARLIER, True),
        (None, None, True),
        (EARLIER, LATER, True),
        (EARLIER, EARLIER, True),
        (LATER, EARLIER, False),
        (EARLIER, None, False),
    ],
)
def test_an_older_record_replaces_none(published: Any, found: datetime | None, counts: bool) -> None:
    before = [] if published == "none" else [{"contact_id": "a", "record_updated_at": published}]
    kept = not_older(rows("contacts", {"contact_id": "a", "record_updated_at": found}), rows("contacts", *before))
    assert kept.num_rows == counts


def test_rows_take_queue_and_start_of_their_contacts() -> None:
    contacts = rows("contacts", {"contact_id": "a", "queue": "Billing", "started_at": LATER}, {"contact_id": "b"})
    recordings = rows(
        "recordings",
        *({"contact_id": name, "source_uri": name or "odd"} for name in ("a", "b", "c", None)),
        {"contact_id": "a", "source_uri": "timed", "started_at": EARLIER},
    )
    starts = dated(recordings, contacts)["started_at"].to_pylist()
    assert starts == [LATER, EARLIER, None, None, EARLIER]
    quarantine = rows("quarantine", *({"contact_id": name, "queue": "Old"} for name in ("a", "b", "c", None)))
    # Of a contact that has no record here, such as that of a misplaced recording, nothing is known anew.
    assert requeued(quarantine, contacts)["queue"].to_pylist() == ["Billing", None, "Old", "Old"]


def test_the_contact_of_a_misplaced_recording_is_of_another_day(tmp_path: Path) -> None:
    """Unless it has a recording of this day, too. So is one without a recording that has one on another day."""
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path))
    settings = load_settings(recordings="s3://r", identity_key="k" * 32, **places)
    recordings = [
        {"contact_id": contact_id, "source_uri": f"{number}", "reason_code": reason, "status": status}
        for number, (contact_id, status, reason) in enumerate(
            [("a", "scored", None), ("a", "quarantined", "misplaced"), ("b", "quarantined", "misplaced")]
        )
    ]
    published = Day(
        recordings=rows("recordings", *recordings),
        contacts=rows("contacts", {"contact_id": "c"}, {"contact_id": "d"}),
        surveys=rows("surveys", survey("c", 1), survey("d", 1)),
        **{name: rows(name) for name in ("quarantine", "call_events", "topics")},
    )
    starts = {"a": LATER, "b": LATER, "e": EARLIER, "f": EARLIER}
    found = DayRecords({name: ContactRecord(name, start) for name, start in starts.items()}, set(), {}, {}, {}, {})
    staging = RunStaging(LocalStorage(tmp_path), DAY, "new")
    enriched, changes = join(published, found, {"a", "c", "e"}, staging, settings)
    assert enriched.contacts["contact_id"].to_pylist() == ["a", "d", "f"]
    assert enriched.surveys["contact_id"].to_pylist() == ["d"]
    assert (changes["new_records"], changes["moved_contacts"]) == (2, 1)


def test_recordings_of_other_days_are_looked_for_around_the_day(tmp_path: Path) -> None:
    """Of the contacts asked for, on published days that are near, but for misplaced recordings."""
    recorded = {
        DAY - timedelta(days=1): {"contact_id": "before"},
        DAY: {"contact_id": "here"},
        DAY + timedelta(days=1): {"contact_id": "after"},
        DAY + timedelta(days=2): {"contact_id": "misplaced", "reason_code": "misplaced"},
        DAY + timedelta(days=3): {"contact_id": "not asked for"},
        DAY + timedelta(days=30): {"contact_id": "far"},
    }
    files = {}
    for day, recording in recorded.items():
        path = f"call_date={day}/part-0.parquet"
        (tmp_path / "recordings" / path).parent.mkdir(parents=True)
        pq.write_table(rows("recordings", recording).drop_columns(["call_date"]), tmp_path / "recordings" / path)
        files[day] = (PublishedFile(path, 1, 1),)
    view = Snapshot(LocalStorage(tmp_path), {"runs": dict.fromkeys(files, ()), "recordings": files})
    asked_for = {"before", "here", "after", "misplaced", "far", "never recorded"}
    assert recorded_elsewhere(view, DAY, asked_for) == {"before", "after"}


def test_a_day_holds_every_published_table_but_those_that_are_made_anew() -> None:
    made_anew = {"calls", "topic_emotions", "satisfaction_daily", "alerts", "runs"}
    assert set(Day.__dataclass_fields__) == set(TABLES) - made_anew - {"emotion_log"}


# Segments


def test_segments_pass_through_in_batches_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, per_call, files = TABLES["emotion_log"], 100, []
    for number in range(3):
        segments = [
            {"contact_id": f"{number}-{index // per_call}", "segment_index": index, "model_id": "m"}
            for index in range(250 * per_call)
        ]
        path = f"call_date={DAY}/part-night-{number}.parquet"
        (tmp_path / "emotion_log" / path).parent.mkdir(parents=True, exist_ok=True)
        older = rows("emotion_log", *segments).drop_columns(["call_date", "pitch_hz"])  # a column came since
        pq.write_table(older, tmp_path / "emotion_log" / path)
        files.append(PublishedFile(path, 1, len(segments)))
    view = Snapshot(LocalStorage(tmp_path), {"runs": {}, "emotion_log": {DAY: tuple(files)}})
    staging = RunStaging(LocalStorage(tmp_path / "staging"), DAY, "enrichment")
    written: list[int] = []
    write = TableWriter.write

    def watched(writer: TableWriter, batch: pa.Table) -> None:
        written.append(batch.num_rows)
        write(writer, batch)

    monkeypatch.setattr(TableWriter, "write", watched)
    restore_emotion_log(view, staging, {"0-7", "2-249", "of another day"})

    assert max(written) <= ROW_GROUP_ROWS < 250 * per_call
    assert [file.rows for file in staging.manifest(log).files] == [24_900, 25_000, 24_900]
    restored, published = staging.read_table(log), view.dataset("emotion_log", DAY).to_table()
    kept = [contact not in {"0-7", "2-249"} for contact in published["contact_id"].to_pylist()]
    assert restored.equals(published.filter(pa.array(kept)))
    assert restored["pitch_hz"].null_count == restored.num_rows


def test_a_day_without_segments_has_none(tmp_path: Path) -> None:
    view = Snapshot(LocalStorage(tmp_path), {"runs": {}, "emotion_log": {}})
    staging = RunStaging(LocalStorage(tmp_path / "staging"), DAY, "enrichment")
    restore_emotion_log(view, staging, set())
    assert staging.manifest(TABLES["emotion_log"]).files == ()
