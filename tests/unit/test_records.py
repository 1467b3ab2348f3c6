"""A day's records: contact records, events and surveys read together, and the staged tables that they make."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import JobError
from jobs.layouts import open_layouts
from jobs.records import CONTACTS, SURVEYS, TOPICS, DayRecords, read_day_records
from jobs.settings import Settings, load_settings
from schemas.staging import SIDECAR_EVENTS

DAY = date(2026, 11, 20)
DAYS = [DAY, date(2026, 11, 21)]


def contact(name: str, day: int, **more: Any) -> dict[str, Any]:
    return {"ContactId": name, "InitiationTimestamp": f"2026-11-{day}T08:00:00Z", **more}


def event(name: str, start_s: float, **more: Any) -> dict[str, Any]:
    return {"contact_id": name, "kind": "hold", "start_s": start_s, **more}


def survey(name: str, score: float, **more: Any) -> dict[str, Any]:
    return {"contact_id": name, "score": score, **more}


def topic(name: str, what: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {"contact_id": name, "topic": what, "start_s": start_s, "end_s": end_s}


WRITTEN: dict[str, list[dict[str, Any]]] = {
    "contacts": [
        contact("of the day", 20, Queue={"Name": "Billing", "Duration": "long"}),
        contact("of the day", 20, Queue={"Name": "Sales"}),
        contact("planned", 19),
        contact("of another day", 21),
        contact(
            "recorded after midnight", 19, Recording={"Location": "CallRecordings/2026/11/20/x_20261120T00:01_UTC.wav"}
        ),
        {"ContactId": "no start"},
    ],
    "events": [
        event("planned", 5, end_s=8),
        event("planned", 1, kind="transfer"),
        event("of the day", 2),
        event("of another day", 3),
        event("recorded, no record", 4),
        event("unknown", 4),
        event("unknown", 6),
        event("planned", -1),
    ],
    "surveys": [
        survey("planned", 3),
        survey("of the day", 5, answered_at="2026-11-20T09:00:00Z"),
        survey("of another day", 1),
        survey("unknown", 1, answered_at="soon"),
        {"contact_id": "planned"},
    ],
    "topics": [
        topic("planned", "refund", 3, 9),
        topic("planned", "refund", 9, 12),
        topic("of another day", "refund", 1, 2),
        topic("unknown", "refund", 1, 2),
        topic("planned", "refund", 2, 1),
    ],
}


def configured(folder: Path, **values: Any) -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(folder))
    return load_settings(**{"recordings": "s3://b", "identity_key": "k" * 32, **places, **values})


def written(folder: Path, kinds: tuple[str, ...] = ("contacts", "events", "surveys", "topics")) -> Settings:
    for kind in kinds:
        (folder / f"{kind}-20.jsonl").write_text("\n".join(map(json.dumps, WRITTEN[kind])))
    return configured(folder, **{kind: f"{folder}/{kind}-%d.jsonl" for kind in kinds})


def tables(records: DayRecords, settings: Settings, contact_ids: set[str]) -> dict[str, list[dict[str, Any]]]:
    found = records.tables(DAY, "run", contact_ids, open_layouts(settings), settings)
    for table in (CONTACTS, SIDECAR_EVENTS, SURVEYS, TOPICS):
        table.check(found[table.name])
        keys = found[table.name].select(list(table.key)).to_pylist()
        assert len({tuple(key.values()) for key in keys}) == len(keys)
        assert all(row["run_id"] == "run" for row in found[table.name].to_pylist())
    return {name: table.drop(["run_id"]).to_pylist() for name, table in found.items()}


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    records = read_day_records(written(tmp_path), DAYS)
    assert records.contacts["of the day"].queue == "Sales"
    assert records.counts == {
        "bad_contact_records": 1,
        "bad_contact_fields": 1,
        "superseded_contact_records": 1,
        "bad_events": 1,
        "bad_surveys": 1,
        "bad_survey_fields": 1,
        "bad_topics": 1,
        "unreadable_files": 0,
        "unknown_events": 3,
        "unknown_surveys": 1,
        "unknown_topics": 1,
    }


def test_the_tables_hold_what_is_of_the_day_or_has_a_recording(tmp_path: Path) -> None:
    settings = written(tmp_path)
    found = tables(read_day_records(settings, DAYS), settings, {"planned", "recorded, no record", "no records at all"})
    assert [row["contact_id"] for row in found["contacts"]] == ["of the day", "planned", "recorded after midnight"]
    assert {row["call_date"] for row in found["contacts"]} == {DAY}
    every = {"call_date": DAY, "source": "sidecar"}
    assert found["sidecar_events"] == [
        {**every, "contact_id": "of the day", "kind": "hold", "start_s": 2.0, "end_s": None},
        {**every, "contact_id": "planned", "kind": "transfer", "start_s": 1.0, "end_s": None},
        {**every, "contact_id": "planned", "kind": "hold", "start_s": 5.0, "end_s": 8.0},
        {**every, "contact_id": "recorded, no record", "kind": "hold", "start_s": 4.0, "end_s": None},
    ]
    nine = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert found["surveys"] == [
        {"call_date": DAY, "contact_id": "of the day", "score": 5.0, "answered_at": nine},
        {"call_date": DAY, "contact_id": "planned", "score": 3.0, "answered_at": None},
    ]
    assert found["topics"] == [{"call_date": DAY, **topic("planned", "refund", 3.0, 12.0)}]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("America/Los_Angeles", ["of another day"]), ("Asia/Kolkata", ["of the day", "recorded after midnight"])],
)
def test_the_day_is_the_local_one(tmp_path: Path, zone: str, expected: list[str]) -> None:
    rows = [*WRITTEN["contacts"], contact("of another day", 21, InitiationTimestamp="2026-11-21T07:59:00Z")]
    (tmp_path / "contacts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = configured(tmp_path, contacts=f"{tmp_path}/contacts.jsonl", time_zone=zone)
    found = tables(read_day_records(settings, DAYS), settings, set())
    named = [row["contact_id"] for row in found["contacts"]]
    assert [name for name in named if name != "of the day"] == [name for name in expected if name != "of the day"]


def test_without_places_there_are_no_records(tmp_path: Path) -> None:
    settings = configured(tmp_path, identity_key=None)
    records = read_day_records(settings, DAYS)
    assert set(records.counts.values()) == {0}
    assert tables(records, settings, {"planned"}) == {"contacts": [], "sidecar_events": [], "surveys": [], "topics": []}


def test_without_contact_records_no_contact_is_unknown(tmp_path: Path) -> None:
    settings = written(tmp_path, ("events", "surveys"))
    records = read_day_records(settings, DAYS)
    assert records.counts["unknown_events"] == records.counts["unknown_surveys"] == 0
    found = tables(records, settings, {"planned"})
    assert [row["contact_id"] for row in found["sidecar_events"]] == ["planned", "planned"]
    assert [row["contact_id"] for row in found["surveys"]] == ["planned"]


ANY = st.binary(max_size=200) | st.text(max_size=100).map(str.encode)
SOME = st.sampled_from([row for rows in WRITTEN.values() for row in rows]).map(lambda row: json.dumps(row).encode())
CONTENT = st.lists(ANY | SOME, max_size=5).map(b"\n".join)


@given(
    contents=st.tuples(CONTENT, CONTENT, CONTENT, CONTENT),
    kind=st.sampled_from(["jsonl", "csv", "parquet"]),
    packed=st.booleans(),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_files_raise_anything_but_our_errors(
    tmp_path: Path, contents: tuple[bytes, bytes, bytes, bytes], kind: str, packed: bool
) -> None:
    places = {name: str(tmp_path / f"{name}.{kind}") for name in ("contacts", "events", "surveys", "topics")}
    for place, content in zip(places.values(), contents, strict=True):
        Path(place).write_bytes(gzip.compress(content) if packed else content)
    settings = configured(tmp_path, opt_out_attribute="opt", attributes=("tier",), **places)
    try:
        records = read_day_records(settings, DAYS)
    except JobError as error:
        assert error.permanent
        return
    tables(records, settings, set(records.contacts))
