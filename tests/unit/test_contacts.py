"""Contact records: Amazon Connect's and others', the newest wins, wrong values are reported and left empty."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.contacts import (
    CONTACTS,
    FIELDS,
    ContactReader,
    ContactRecord,
    contact_day,
    contacts_table,
    field_reference,
    mapped_fields,
    read_contacts,
)
from jobs.errors import ContactRecordsError, SettingsError
from jobs.identity import keyed_hash
from jobs.layouts import Layouts, open_layouts
from jobs.settings import ROOT, Settings, load_settings
from jobs.tabular import BadRow

INSTANCE = "arn:aws:connect:eu-central-1:123456789012:instance/258252ea-967d-46f9-a510-b7f0bae69eea"
LOCATION = "amazon-connect-b278e465e71c/connect/center/CallRecordings/2026/11/20/c1_20261120T08:00_UTC.wav"
RECORD: dict[str, Any] = {
    "AWSAccountId": "123456789012",
    "AWSContactTraceRecordFormatVersion": "2017-03-10",
    "Agent": {
        "ARN": f"{INSTANCE}/agent/57db30ae-8c01-44e6-abd5-80b7b51944cf",
        "AfterContactWorkDuration": 15,
        "AfterContactWorkEndTimestamp": "2026-11-20T08:05:15Z",
        "AfterContactWorkStartTimestamp": "2026-11-20T08:05:00Z",
        "AgentInteractionDuration": 210,
        "ConnectedToAgentTimestamp": "2026-11-20T08:01:00Z",
        "CustomerHoldDuration": 30,
        "HierarchyGroups": {"Level1": {"ARN": f"{INSTANCE}/agent-group/1", "GroupName": "North"}, "Level2": None},
        "LongestHoldDuration": 20,
        "NumberOfHolds": 2,
        "RoutingProfile": {"ARN": f"{INSTANCE}/routing-profile/1", "Name": "Basic Routing Profile"},
        "Username": "jane",
    },
    "AgentConnectionAttempts": 1,
    "AnsweringMachineDetectionStatus": None,
    "Attributes": {"tier": "gold", "secret": "x"},
    "Campaign": {"CampaignId": None},
    "Channel": "VOICE",
    "ConnectedToSystemTimestamp": "2026-11-20T08:00:00Z",
    "ContactDetails": {},
    "ContactId": "c1",
    "ContactLens": {"ConversationalAnalytics": {"Configuration": {"Enabled": True, "LanguageLocale": "en-GB"}}},
    "CustomerEndpoint": {"Address": "+15550100", "Type": "TELEPHONE_NUMBER"},
    "DisconnectReason": "CUSTOMER_DISCONNECT",
    "DisconnectTimestamp": "2026-11-20T08:05:00Z",
    "InitialContactId": "c0",
    "InitiationMethod": "INBOUND",
    "InitiationTimestamp": "2026-11-20T08:00:00Z",
    "InstanceARN": INSTANCE,
    "LastUpdateTimestamp": "2026-11-20T08:10:00Z",
    "MediaStreams": [{"Type": "AUDIO"}],
    "NextContactId": None,
    "PreviousContactId": "c0",
    "Queue": {
        "ARN": f"{INSTANCE}/queue/c677a7a5",
        "DequeueTimestamp": "2026-11-20T08:01:00Z",
        "Duration": 42,
        "EnqueueTimestamp": "2026-11-20T08:00:18Z",
        "Name": "Billing",
    },
    "Recording": {"DeletionReason": None, "Location": LOCATION, "Status": "AVAILABLE", "Type": "AUDIO"},
    "Recordings": [
        {
            "DeletionReason": None,
            "FragmentStartNumber": None,
            "FragmentStopNumber": None,
            "Location": LOCATION,
            "MediaStreamType": "AUDIO",
            "ParticipantType": None,
            "StartTimestamp": None,
            "Status": "AVAILABLE",
            "StopTimestamp": None,
            "StorageType": "S3",
        }
    ],
    "References": [],
    "ScheduledTimestamp": None,
    "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
    "SystemEndpoint": {"Address": "+14065003978", "Type": "TELEPHONE_NUMBER"},
    "Tags": {"aws:connect:instanceId": "258252ea-967d-46f9-a510-b7f0bae69eea"},
    "TransferCompletedTimestamp": None,
    "TransferredToEndpoint": None,
    "VoiceIdResult": None,
}
"""A record with the fields of Amazon Connect's contact records data model."""

EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)
DAYS = [date(2026, 11, 20), date(2026, 11, 21)]


def configured(folder: str | Path = "/tmp", **values: Any) -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(folder))
    return load_settings(**{"recordings": "s3://b", "identity_key": "k" * 32, **places, **values})


def record_of(row: dict[str, Any], **values: Any) -> tuple[ContactRecord, list[str]]:
    """A row's record, and what was reported."""
    said: list[str] = []
    return ContactReader(configured(**values)).read(row, said.append), said


def table_row(row: dict[str, Any], **values: Any) -> dict[str, Any]:
    record, _ = record_of(row, **values)
    (found,) = contacts_table([record], date(2026, 11, 20), "run", configured(**values)).to_pylist()
    return found


def test_amazon_connects_full_record() -> None:
    record, said = record_of(RECORD, attributes=("tier",))
    assert record == ContactRecord(
        contact_id="c1",
        started_at=EIGHT,
        answered_at=EIGHT.replace(minute=1),
        ended_at=EIGHT.replace(minute=5),
        updated_at=EIGHT.replace(minute=10),
        initial_contact_id="c0",
        previous_contact_id="c0",
        next_contact_id=None,
        customer="+15550100",
        agent="jane",
        team="North",
        queue="Billing",
        site="258252ea-967d-46f9-a510-b7f0bae69eea",
        channel="VOICE",
        initiation_method="INBOUND",
        disconnect_reason="CUSTOMER_DISCONNECT",
        language="en-GB",
        queue_wait_s=42.0,
        hold_count=2,
        hold_s=30.0,
        longest_hold_s=20.0,
        after_call_work_s=15.0,
        opted_out=False,
        attributes=(("tier", "gold"),),
        recordings=(LOCATION,),
    )
    assert said == []


def test_a_row_of_the_table() -> None:
    found = table_row(RECORD, attributes=("tier",), time_zone="Europe/Berlin")
    record, _ = record_of(RECORD, attributes=("tier",))
    same = {name: getattr(record, name) for name in found if hasattr(record, name)}
    expected = {
        **same,
        "call_date": date(2026, 11, 20),
        "customer_key": keyed_hash(b"k" * 32, "customer", "+15550100"),
        "agent_id": keyed_hash(b"k" * 32, "agent", "jane"),
        "local_hour": 9,
        "expects_recording": True,
        "attributes": [("tier", "gold")],
        "record_updated_at": EIGHT.replace(minute=10),
        "run_id": "run",
    }
    assert found == expected
    assert "+15550100" not in str(found)
    assert "jane" not in str(found)


def test_a_table_of_records_is_in_the_tables_form() -> None:
    records = [record_of({**RECORD, "ContactId": name})[0] for name in ("c2", "c1")]
    table = contacts_table(records, date(2026, 11, 20), "run", configured())
    CONTACTS.check(table)
    assert table["contact_id"].to_pylist() == ["c1", "c2"]
    CONTACTS.check(contacts_table([], date(2026, 11, 20), "run", configured(identity_key=None)))


def test_agents_can_be_named() -> None:
    assert table_row(RECORD, plain_agent_ids=True)["agent_id"] == "jane"


def test_the_least_that_a_record_says() -> None:
    row = {"ContactId": "c1", "InitiationTimestamp": "2026-11-20T08:00:00Z"}
    assert record_of(row) == (ContactRecord("c1", EIGHT), [])


@pytest.mark.parametrize(
    ("change", "field", "expected", "reported"),
    [
        ({"Queue": None}, "queue", None, 0),
        ({"Queue": "Billing"}, "queue", None, 2),
        ({"Queue": {"Name": 7}}, "queue", None, 1),
        ({"Queue": {"Name": "B", "Duration": "long"}}, "queue_wait_s", None, 1),
        ({"Queue": {"Name": "B", "Duration": "42"}}, "queue_wait_s", 42.0, 0),
        ({"Queue": {"Name": "B", "Duration": -1}}, "queue_wait_s", None, 1),
        ({"Queue": {"Name": "B", "Duration": 1e400}}, "queue_wait_s", None, 1),
        ({"Agent": []}, "agent", None, 0),
        ({"Agent": ""}, "agent", None, 0),
        ({"Agent": 5}, "agent", None, 7),
        ({"Agent": {"Username": "j", "NumberOfHolds": 1.5}}, "hold_count", None, 1),
        ({"CustomerEndpoint": None}, "customer", None, 0),
        ({"CustomerEndpoint": {"Address": "anonymous"}}, "customer", None, 0),
        ({"DisconnectTimestamp": "yesterday"}, "ended_at", None, 1),
        ({"DisconnectTimestamp": "1999-12-31T23:59:59Z"}, "ended_at", None, 1),
        ({"DisconnectTimestamp": "0001-01-01T00:00:00+05:00"}, "ended_at", None, 1),
        ({"LastUpdateTimestamp": "9999-12-31T23:59:59-05:00"}, "updated_at", None, 1),
        ({"LastUpdateTimestamp": 5}, "updated_at", None, 1),
        ({"Queue": {"Name": "\ud800"}}, "queue", None, 1),
        ({"Agent": {"Username": "\udfff"}}, "agent", None, 1),
        ({"CustomerEndpoint": {"Address": "+1\ud800"}}, "customer", None, 1),
        ({"LanguageCode": "de-DE"}, "language", "de-DE", 0),
        ({"ContactLens": None}, "language", None, 0),
        ({"InstanceARN": "Leeds/North"}, "site", "Leeds/North", 0),
        ({"Attributes": "secret"}, "attributes", (), 1),
        ({"Attributes": '{"tier": "gold"}'}, "attributes", (("tier", "gold"),), 0),
        ({"Attributes": {"tier": 3}}, "attributes", (("tier", "3"),), 0),
        ({"Attributes": {"tier": True}}, "attributes", (("tier", "true"),), 0),
        ({"Attributes": {"tier": {}}}, "attributes", (), 0),
        ({"Attributes": {"tier": "\ud800"}}, "attributes", (), 0),
        ({"Recordings": None}, "recordings", (LOCATION,), 0),
        ({"Recordings": []}, "recordings", (LOCATION,), 0),
        ({"Recordings": "x"}, "recordings", ("x",), 0),
        ({"Recordings": ["x", {"Location": "y"}, None, {"Location": 5}, {}]}, "recordings", ("x", "y"), 0),
        ({"Recordings": [{"Location": "x", "MediaStreamType": "VIDEO"}]}, "recordings", (), 0),
        ({"Recordings": [{"Location": "x", "StorageType": "KINESIS_VIDEO_STREAM"}]}, "recordings", (), 0),
        ({"Recordings": 5}, "recordings", (), 1),
    ],
)
def test_a_wrong_value_is_reported_and_left_empty(
    change: dict[str, Any], field: str, expected: object, reported: int
) -> None:
    record, said = record_of({**RECORD, **change}, attributes=("tier",))
    assert getattr(record, field) == expected
    assert len(said) == reported


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"Recordings": None, "Recording": None}, True),
        ({"Agent": None}, True),
        ({"Agent": None, "Recordings": None}, True),
        ({"Agent": None, "Recordings": None, "Recording": None}, False),
        ({"Agent": None, "Recordings": [{"Location": "x", "MediaStreamType": "VIDEO"}]}, False),
        ({"Channel": "CHAT"}, False),
        ({"Channel": "TASK", "Agent": None}, False),
        ({"Channel": None}, True),
        ({"Channel": "Phone"}, True),
    ],
)
def test_whether_a_recording_is_expected(change: dict[str, Any], expected: bool) -> None:
    assert table_row({**RECORD, **change})["expects_recording"] is expected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ContactId": None}, "contact_id (ContactId) is missing"),
        ({"ContactId": ""}, "contact_id (ContactId) is missing"),
        ({"ContactId": "x" * 257}, "found text of 257 characters"),
        ({"ContactId": "c1\ud800"}, "found text with what is no character"),
        ({"ContactId": ["c1"]}, "found a list, expected text"),
        ({"InitiationTimestamp": None}, "started_at (InitiationTimestamp) is missing"),
        ({"InitiationTimestamp": "20 November"}, "found text, expected a time"),
        ({"InitiationTimestamp": "1999-12-31T23:59:59Z"}, "found a time out of the years 2000 to 2100"),
        ({"InitiationTimestamp": "2101-01-01T00:00:00Z"}, "found a time out of the years 2000 to 2100"),
        ({"InitiationTimestamp": "0001-01-01T00:00:00+05:00"}, "found a time out of the years 2000 to 2100"),
    ],
)
def test_a_record_without_an_id_or_a_start_is_none(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRow, match=re.escape(says)) as caught:
        record_of({**RECORD, **change})
    assert "c1" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Location", "Name", "tier"]), inner),
)


@cache
def configured_once() -> tuple[Settings, Layouts]:
    settings = configured(attributes=("tier",), opt_out_attribute="tier")
    return settings, open_layouts(settings)


@given(changes=st.dictionaries(st.sampled_from(sorted(RECORD)), JSON, max_size=6))
@hypothesis_settings(deadline=None)
def test_whatever_a_record_holds_it_is_one_or_none(changes: dict[str, Any]) -> None:
    settings, layouts = configured_once()
    try:
        record = ContactReader(settings).read({**RECORD, **changes}, lambda _: None)
    except BadRow:
        return
    CONTACTS.check(contacts_table([record], date(2026, 11, 20), "run", settings))
    contact_day(record, layouts, settings)


# Other systems' records

COLUMNS = {
    "contact_id": "Call ID",
    "started_at": "Start",
    "queue": "Queue",
    "customer": "CRM no.",
    "queue_wait_s": "Waited",
    "attributes.tier": "Tier",
    "opt_out": "No analysis",
}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_column_map(tmp_path: Path, kind: str) -> None:
    row = {"Call ID": "7", "Start": "2026-11-20 09:00:00", "Queue": "Billing", "CRM no.": "K12", "Waited": "0:00:42"}
    row |= {"Tier": "gold", "No analysis": "yes", "Agent": "jane"}
    file = tmp_path / f"records.{kind}"
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, row, delimiter=";")
        writer.writeheader()
        writer.writerow(row)
        file.write_text(text.getvalue(), encoding="utf-8-sig")
    elif kind == "json":
        file.write_text(json.dumps(row))
    else:
        typed = {**row, "Call ID": 7, "Start": datetime(2026, 11, 20, 9), "Waited": 42, "No analysis": True}
        pq.write_table(pa.Table.from_pylist([typed]), file)
    values = {"contact_columns": COLUMNS, "records_time_zone": "Europe/Berlin", "attributes": ("tier",)}
    found = read_contacts(configured(contacts=str(file), **values), DAYS).by_contact
    expected = ContactRecord("7", EIGHT, queue="Billing", customer="K12", queue_wait_s=42.0, opted_out=True)
    assert found == {"7": replace(expected, attributes=(("tier", "gold"),))}


def test_what_is_not_mapped_is_unknown() -> None:
    record, _ = record_of(RECORD, contact_columns={"contact_id": "ContactId", "started_at": "InitiationTimestamp"})
    assert record == ContactRecord("c1", EIGHT)


def test_a_map_may_point_into_nested_records() -> None:
    columns = {"contact_id": "a.b.id", "started_at": "a.at", "attributes": "more"}
    row = {"a": {"b": {"id": "x"}, "at": "2026-11-20T08:00:00Z"}, "more": [("tier", "gold")]}
    record, _ = record_of(row, contact_columns=columns, attributes=("tier",))
    assert record == ContactRecord("x", EIGHT, attributes=(("tier", "gold"),))


LEAST = {"contact_id": "i", "started_at": "s"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"contact_columns": {**LEAST, "que": "Queue"}},
            "has the unknown fields que; expected some of contact_id, .*queue",
        ),
        ({"contact_columns": {**LEAST, "queue": ""}}, "has an empty column name"),
        ({"contact_columns": {"queue": "Queue"}}, "lacks contact_id and started_at"),
        ({"contact_columns": LEAST, "opt_out_attribute": "no"}, "lacks attributes.no, which"),
        ({"contact_columns": LEAST, "attributes": ("tier",)}, "lacks attributes.tier, which"),
    ],
)
def test_a_wrong_column_map(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        ContactReader(configured(**values))


@pytest.mark.parametrize("name", [field.name for field in FIELDS])
def test_every_field_can_be_mapped(name: str) -> None:
    assert name in {field.name for field in mapped_fields({**LEAST, name: "column"})}


# Who opted out


@pytest.mark.parametrize(
    ("attributes", "expected", "reported"),
    [
        *[({"opt": value}, True, 0) for value in ("true", "TRUE", "yes", "1", "y", "on", " On ", True, 1)],
        *[({"opt": value}, False, 0) for value in ("false", "no", "0", "N", "off", "", None, False, 0)],
        # Where it cannot be told, nobody is scored by accident.
        *[({"opt": value}, True, 1) for value in ("2026-01-05", "perhaps", 7, [], {})],
        ("no object", True, 1),
        ({"other": "true"}, False, 0),
        ({}, False, 0),
        (None, False, 0),
    ],
)
def test_the_attribute_of_opt_outs(attributes: Any, expected: bool, reported: int) -> None:
    record, said = record_of({**RECORD, "Attributes": attributes}, opt_out_attribute="opt")
    assert (record.opted_out, len(said)) == (expected, reported)
    assert record_of({**RECORD, "Attributes": attributes})[0].opted_out is False


@pytest.mark.parametrize(
    ("value", "expected", "reported"), [("y", True, 0), (None, False, 0), ("n", False, 0), ("perhaps", True, 1)]
)
def test_the_column_of_opt_outs(value: object, expected: bool, reported: int) -> None:
    record, said = record_of(
        {"i": "c1", "s": "2026-11-20T08:00:00Z", "o": value}, contact_columns={**LEAST, "opt_out": "o"}
    )
    assert (record.opted_out, len(said)) == (expected, reported)


# The records of some days


def read(tmp_path: Path, *rows: object, **values: Any) -> Any:
    file = tmp_path / "contacts.jsonl"
    file.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return read_contacts(configured(contacts=str(file), **values), DAYS)


NEWER = {**RECORD, "LastUpdateTimestamp": "2026-11-20T09:00:00Z", "Queue": {"Name": "Sales"}}
UNDATED = {**RECORD, "LastUpdateTimestamp": None, "Queue": {"Name": "Undated"}}
NO_YEAR = {**RECORD, "LastUpdateTimestamp": "9999-12-31T23:59:59Z", "Queue": {"Name": "No year"}}
AGAIN = {**RECORD, "Queue": {"Name": "Again"}}


@pytest.mark.parametrize(
    ("rows", "queue"),
    [
        ([RECORD, NEWER], "Sales"),
        ([NEWER, RECORD], "Sales"),
        ([NEWER, RECORD, UNDATED], "Sales"),
        ([UNDATED, RECORD], "Billing"),
        ([RECORD, NO_YEAR], "Billing"),
        ([NO_YEAR, UNDATED], "Undated"),
        ([RECORD, AGAIN], "Again"),
        ([AGAIN, RECORD], "Billing"),
    ],
)
def test_the_record_that_was_updated_last_counts(tmp_path: Path, rows: list[object], queue: str) -> None:
    found = read(tmp_path, *rows)
    assert found.by_contact["c1"].queue == queue
    assert found.superseded == len(rows) - 1


def test_of_files_the_later_name_is_read_later(tmp_path: Path) -> None:
    for name, row in (("b", AGAIN), ("a", RECORD)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    assert read_contacts(configured(contacts=str(tmp_path)), DAYS).by_contact["c1"].queue == "Again"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[5]",
        b'"c1"',
        b"\xff\xfe",
        json.dumps(RECORD).encode().replace(b"jane", b"\xe9"),
        json.dumps(RECORD).encode().replace(b"jane", b"\xed\xa0\x80"),
        json.dumps(RECORD).replace("c1", "é").encode("latin-1"),
        {**RECORD, "ContactId": "c1\ud800"},
        {**RECORD, "InitiationTimestamp": "1999-12-31T23:59:59Z"},
        b"[" * 100_000,
        {**RECORD, "ContactId": None},
        {**RECORD, "Filler": "x" * 1_000_001},
    ],
)
def test_a_bad_row_is_counted_and_named_without_ids(
    tmp_path: Path, line: object, caplog: pytest.LogCaptureFixture
) -> None:
    found = read(tmp_path, {**RECORD, "ContactId": "good"}, line, {**RECORD, "ContactId": "fine"})
    assert set(found.by_contact) == {"good", "fine"}
    assert (found.bad_rows, found.bad_fields) == (1, 0)
    assert caplog.messages[0].startswith("contacts.jsonl, row 2: ")
    assert "c1" not in caplog.text


def test_bad_fields_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read(tmp_path, {**RECORD, "Queue": {"Name": "B", "Duration": "secret"}})
    assert (found.bad_rows, found.bad_fields) == (0, 1)
    assert caplog.messages == [
        "contacts.jsonl, row 1: queue_wait_s (Queue.Duration): found text, expected seconds as a number from 0 on, "
        "or h:mm:ss",
        "0 rows are no contact records and were left out; 1 fields of others are wrong and left empty",
    ]


def test_no_records_are_asked_for() -> None:
    assert read_contacts(configured(), DAYS).by_contact == {}


@pytest.mark.parametrize("there", [[], ["readme.txt"]])
def test_where_nothing_is_at_any_place_that_is_said(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / "20").mkdir()
        (tmp_path / "20" / name).write_text("no records")
    found = read_contacts(configured(contacts=f"{tmp_path}/%d"), DAYS)
    assert (found.by_contact, found.nothing_at) == ({}, [f"{tmp_path}/20", f"{tmp_path}/21"])


@pytest.mark.parametrize("there", ["20", "21"])
def test_one_place_of_two_is_a_warning(tmp_path: Path, there: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{there}.jsonl").write_text(json.dumps(RECORD))
    found = read_contacts(configured(contacts=f"{tmp_path}/%d.jsonl"), DAYS)
    assert (set(found.by_contact), found.nothing_at) == ({"c1"}, ())
    (warning,) = caplog.messages
    assert warning.startswith("there are no contact records at ")
    assert "c1" not in warning.replace(str(tmp_path), "")


def test_an_empty_file_is_a_day_without_contacts(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.by_contact, found.nothing_at) == ({}, ())


def test_rows_none_of_which_is_a_record_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContactRecordsError, match=r"none of the 2 rows .* is a contact record.*CONTACT_COLUMNS"):
        read(tmp_path, {"id": "c1"}, b"{")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(RECORD))
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(ContactRecordsError, match=r"cannot be read: b\.parquet: it is no Parquet file.*mend the file"):
        read_contacts(configured(contacts=str(tmp_path)), DAYS)


@pytest.mark.parametrize(
    ("zone", "change", "expected"),
    [
        ("UTC", {}, "2026-11-20"),
        (
            "America/Los_Angeles",
            {"Recordings": None, "Recording": None, "InitiationTimestamp": "2026-11-20T07:59:00Z"},
            "2026-11-19",
        ),
        # The contact began before midnight, its recording after: the recording's day counts.
        ("UTC", {"InitiationTimestamp": "2026-11-19T23:59:00Z"}, "2026-11-20"),
        # No zone can tell the local day of this recording.
        ("America/Los_Angeles", {"Recordings": "CallRecordings/0001/01/01/c1_00010101T00:00_UTC.wav"}, "2026-11-20"),
        (
            "UTC",
            {"Recordings": ["elsewhere.wav", LOCATION], "InitiationTimestamp": "2026-11-19T23:59:00Z"},
            "2026-11-20",
        ),
    ],
)
def test_the_day_of_a_contact(zone: str, change: dict[str, Any], expected: str) -> None:
    settings = configured(time_zone=zone)
    record, _ = record_of({**RECORD, **change})
    assert contact_day(record, open_layouts(settings), settings).isoformat() == expected


# docs/records.md

PAGE = ROOT / "docs" / "records.md"


def test_the_page_has_the_fields_as_they_are() -> None:
    assert field_reference() in PAGE.read_text(), "python -m jobs.contacts prints the table for docs/records.md"


def test_the_pages_example_works(tmp_path: Path) -> None:
    import yaml

    example = PAGE.read_text().partition("## A CSV export, for example")[2]
    text, described = re.findall(r"```(?:csv|yaml)\n(.*?)```", example, re.DOTALL)[:2]
    (tmp_path / "contacts-2026-11-20.csv").write_text(text)
    values = yaml.safe_load(described)
    assert Path(values.pop("contacts")).name == "contacts-%Y-%m-%d.csv"
    settings = configured(contacts=f"{tmp_path}/contacts-%Y-%m-%d.csv", **values)
    found = read_contacts(settings, [date(2026, 11, 20)])
    assert found.bad_rows == found.bad_fields == 0
    assert found.by_contact == {
        "100417": ContactRecord(
            "100417",
            datetime(2026, 11, 20, 8, 2, 11, tzinfo=UTC),
            answered_at=datetime(2026, 11, 20, 8, 3, 5, tzinfo=UTC),
            customer="K-2231",
            agent="m.weber",
            queue="Billing",
            queue_wait_s=54.0,
            attributes=(("tier", "gold"),),
        ),
        "100418": ContactRecord(
            "100418",
            datetime(2026, 11, 20, 8, 4, tzinfo=UTC),
            customer="K-0107",
            queue="Support; second line",
            queue_wait_s=131.0,
            opted_out=True,
        ),
    }
