"""Sidecars: events and surveys by contact, what is wrong with a row, and that none of it stops a night."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.fields import field_table
from jobs.settings import ROOT, Settings, load_settings
from jobs.sidecars import (
    EVENT_FIELDS,
    SURVEY_FIELDS,
    TOPIC_FIELDS,
    CallEvent,
    CallEvents,
    Survey,
    Surveys,
    Topic,
    Topics,
    read_events,
    read_surveys,
    read_topics,
)

DAYS = [date(2026, 11, 20), date(2026, 11, 21)]
HOLD: dict[str, Any] = {"contact_id": "c1", "kind": "hold", "start_s": 10, "end_s": 20.5}
SURVEY: dict[str, Any] = {"contact_id": "c1", "score": 4, "answered_at": "2026-11-20T09:00:00Z"}
TOPIC: dict[str, Any] = {"contact_id": "c1", "topic": "refund", "start_s": 10, "end_s": 20.5}
NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)


def configured(folder: Path, **values: Any) -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(folder))
    return load_settings(recordings="s3://b", **places, **values)


def written(folder: Path, *rows: object) -> str:
    file = folder / "rows.jsonl"
    file.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return str(file)


def events(folder: Path, *rows: object) -> CallEvents:
    return read_events(configured(folder, events=written(folder, *rows)), DAYS)


def surveys(folder: Path, *rows: object, **values: Any) -> Surveys:
    return read_surveys(configured(folder, surveys=written(folder, *rows), **values), DAYS)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([HOLD], [CallEvent("c1", "hold", 10.0, 20.5)]),
        ([{**HOLD, "kind": " HOLD ", "other": {}}], [CallEvent("c1", "hold", 10.0, 20.5)]),
        ([{**HOLD, "start_s": "10", "end_s": "0:00:20.5"}], [CallEvent("c1", "hold", 10.0, 20.5)]),
        ([{**HOLD, "kind": "transfer", "end_s": None}], [CallEvent("c1", "transfer", 10.0, None)]),
        ([{"contact_id": "c1", "kind": "pause", "start_s": 0}], [CallEvent("c1", "pause", 0.0, None)]),
        ([{**HOLD, "end_s": ""}], [CallEvent("c1", "hold", 10.0, None)]),
        ([{**HOLD, "end_s": 10}], [CallEvent("c1", "hold", 10.0, 10.0)]),
        ([{**HOLD, "contact_id": 7}], [CallEvent("7", "hold", 10.0, 20.5)]),
        # Of the same contact, kind and start the last counts; the others are put in order.
        (
            [{**HOLD, "start_s": 15}, HOLD, {**HOLD, "kind": "pause"}, {**HOLD, "end_s": 30}],
            [
                CallEvent("c1", "hold", 10.0, 30.0),
                CallEvent("c1", "pause", 10.0, 20.5),
                CallEvent("c1", "hold", 15.0, 20.5),
            ],
        ),
    ],
)
def test_events(tmp_path: Path, rows: list[object], expected: list[CallEvent]) -> None:
    assert events(tmp_path, *rows) == CallEvents({expected[0].contact_id: tuple(expected)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"contact_id": None}, "contact_id (contact_id) is missing"),
        ({"kind": None}, "kind (kind) is missing"),
        ({"kind": "mute"}, "kind (kind): found another text, expected one of hold, transfer, pause"),
        ({"kind": 1}, "kind (kind): found a number, expected one of hold, transfer, pause"),
        ({"start_s": None}, "start_s (start_s) is missing"),
        ({"start_s": -1}, "start_s (start_s): found another number, expected seconds"),
        ({"start_s": float("nan")}, "start_s (start_s): found a number, expected seconds"),
        ({"start_s": "soon"}, "start_s (start_s): found text, expected seconds"),
        # An event whose end is wrong is not made an instant.
        ({"end_s": "late"}, "end_s (end_s): found text, expected seconds"),
        ({"end_s": -1}, "end_s (end_s): found another number, expected seconds"),
        ({"end_s": float("inf")}, "end_s (end_s): found a number, expected seconds"),
        ({"end_s": 9.9}, "found an end before the start, expected end_s from start_s on"),
    ],
)
def test_a_wrong_event_is_left_out_and_named(
    tmp_path: Path, change: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = {**HOLD, "contact_id": "good"}
    found = events(tmp_path, good, {**HOLD, **change})
    assert (set(found.by_contact), found.bad_rows) == ({"good"}, 1)
    assert caplog.messages[0].startswith(f"rows.jsonl, row 2: {says}")
    assert caplog.messages[0].endswith("; the row is left out")
    assert "c1" not in caplog.text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([SURVEY], Survey("c1", 4.0, NINE)),
        ([{"contact_id": "c1", "score": "-0.5"}], Survey("c1", -0.5, None)),
        ([SURVEY, {**SURVEY, "score": 1, "answered_at": "2026-11-20T08:59:59Z"}], Survey("c1", 4.0, NINE)),
        ([SURVEY, {**SURVEY, "score": 1, "answered_at": None}], Survey("c1", 4.0, NINE)),
        ([{**SURVEY, "score": 1, "answered_at": None}, SURVEY], Survey("c1", 4.0, NINE)),
        ([SURVEY, {**SURVEY, "score": 1}], Survey("c1", 1.0, NINE)),
        ([{"contact_id": "c1", "score": 2}, {"contact_id": "c1", "score": 1}], Survey("c1", 1.0, None)),
    ],
)
def test_the_newest_answer_counts(tmp_path: Path, rows: list[object], expected: Survey) -> None:
    assert surveys(tmp_path, *rows) == Surveys({"c1": expected})


def test_an_answers_time_without_a_zone_is_the_settings(tmp_path: Path) -> None:
    found = surveys(tmp_path, {**SURVEY, "answered_at": "2026-11-20 10:00"}, records_time_zone="Europe/Berlin")
    assert found.by_contact["c1"].answered_at == NINE


@pytest.mark.parametrize(
    ("change", "bad_rows", "bad_fields"),
    [
        ({"contact_id": ""}, 1, 0),
        ({"score": None}, 1, 0),
        ({"score": "very good"}, 1, 0),
        ({"score": float("nan")}, 1, 0),
        ({"score": 1e300}, 1, 0),
        ({"score": True}, 1, 0),
        ({"answered_at": "2026-11-20"}, 0, 1),
        ({"answered_at": "later"}, 0, 1),
    ],
)
def test_a_wrong_answer_is_left_out_a_wrong_time_empty(
    tmp_path: Path, change: dict[str, Any], bad_rows: int, bad_fields: int
) -> None:
    found = surveys(tmp_path, {**SURVEY, **change})
    assert (found.bad_rows, found.bad_fields) == (bad_rows, bad_fields)
    assert found.by_contact == ({} if bad_rows else {"c1": Survey("c1", 4.0, None)})


def topics(folder: Path, *rows: object) -> Topics:
    return read_topics(configured(folder, topics=written(folder, *rows)), DAYS)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([TOPIC], [Topic("c1", "refund", 10.0, 20.5)]),
        ([{**TOPIC, "topic": " refund ", "other": 1}], [Topic("c1", "refund", 10.0, 20.5)]),
        ([TOPIC, TOPIC], [Topic("c1", "refund", 10.0, 20.5)]),
        # Stretches of one topic that overlap, touch or lie in each other are one.
        ([{**TOPIC, "start_s": 15, "end_s": 30}, TOPIC], [Topic("c1", "refund", 10.0, 30.0)]),
        ([TOPIC, {**TOPIC, "start_s": 20.5, "end_s": 21}], [Topic("c1", "refund", 10.0, 21.0)]),
        ([TOPIC, {**TOPIC, "start_s": 11, "end_s": 12}], [Topic("c1", "refund", 10.0, 20.5)]),
        (
            [{**TOPIC, "start_s": 30, "end_s": 31}, TOPIC, {**TOPIC, "topic": "wait", "start_s": 12, "end_s": 40}],
            [Topic("c1", "refund", 10.0, 20.5), Topic("c1", "wait", 12.0, 40.0), Topic("c1", "refund", 30.0, 31.0)],
        ),
    ],
)
def test_topics(tmp_path: Path, rows: list[object], expected: list[Topic]) -> None:
    assert topics(tmp_path, *rows) == Topics({"c1": tuple(expected)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"topic": ""}, "topic (topic) is missing"),
        ({"topic": 5.5}, "topic (topic): found a number, expected text"),
        ({"end_s": None}, "end_s (end_s) is missing"),
        ({"start_s": -1}, "start_s (start_s): found another number, expected seconds"),
        ({"end_s": 10}, "found an end that is not after the start, expected end_s after start_s"),
    ],
)
def test_a_wrong_topic_is_left_out_and_named(
    tmp_path: Path, change: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = topics(tmp_path, {**TOPIC, "contact_id": "good"}, {**TOPIC, **change})
    assert (set(found.by_contact), found.bad_rows) == ({"good"}, 1)
    assert caplog.messages[0].startswith(f"rows.jsonl, row 2: {says}")


READERS = [("events", read_events), ("surveys", read_surveys), ("topics", read_topics)]


@pytest.mark.parametrize(("setting", "reader"), READERS)
def test_nothing_is_asked_for(tmp_path: Path, setting: str, reader: Any) -> None:
    assert reader(configured(tmp_path), DAYS).by_contact == {}


@pytest.mark.parametrize(("setting", "reader"), READERS)
def test_a_place_where_nothing_is_yet_is_no_warning(
    tmp_path: Path, setting: str, reader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = reader(configured(tmp_path, **{setting: f"{tmp_path}/%d"}), DAYS)
    assert (found.by_contact, found.unreadable_files) == ({}, 0)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert caplog.messages[0].startswith("there are no ")


@pytest.mark.parametrize(("setting", "reader"), READERS)
def test_a_file_that_cannot_be_read_stops_nothing(
    tmp_path: Path, setting: str, reader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text("contact,value\nc1,1\n")
    (tmp_path / "b.parquet").write_bytes(b"")
    (tmp_path / "c.json").write_text(json.dumps({**TOPIC, **HOLD, **SURVEY}))
    found = reader(configured(tmp_path, **{setting: str(tmp_path)}), DAYS)
    assert (set(found.by_contact), found.unreadable_files) == ({"c1"}, 2)
    assert "a.csv: it has no column contact_id among its 2" in caplog.text
    assert caplog.messages[-1].startswith("2 files of ")


def test_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("contact_id;kind;start_s;end_s\nc1;hold;10;20,5\nc1;hold;10;20.5\nc2;transfer;3;\n")
    pq.write_table(pa.Table.from_pylist([{**HOLD, "contact_id": "c3"}]), tmp_path / "b.parquet")
    found = read_events(configured(tmp_path, events=str(tmp_path)), DAYS)
    assert found == CallEvents(
        {
            "c1": (CallEvent("c1", "hold", 10.0, 20.5),),
            "c2": (CallEvent("c2", "transfer", 3.0, None),),
            "c3": (CallEvent("c3", "hold", 10.0, 20.5),),
        },
        bad_rows=1,
    )


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
)
ROWS = st.dictionaries(st.sampled_from(["contact_id", "kind", "start_s", "end_s", "score", "answered_at"]), VALUES)


@given(rows=st.lists(ROWS.map(lambda row: {**HOLD, **SURVEY, **row}) | st.binary(max_size=9), max_size=4))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_row_holds_it_is_one_or_is_left_out(tmp_path: Path, rows: list[object]) -> None:
    found = events(tmp_path, *rows)
    for event in (event for of_contact in found.by_contact.values() for event in of_contact):
        assert event.start_s >= 0
        assert event.end_s is None or event.end_s >= event.start_s
    assert all(abs(survey.score) < 1e9 for survey in surveys(tmp_path, *rows).by_contact.values())


@pytest.mark.parametrize("fields", [EVENT_FIELDS, SURVEY_FIELDS, TOPIC_FIELDS])
def test_the_page_has_the_fields_as_they_are(fields: Any) -> None:
    assert field_table(fields) in (ROOT / "docs" / "records.md").read_text()
