"""Contact records: the newest wins, wrong values are as if missing, bad lines are counted."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.contacts import contact_day, contact_row, read_contacts
from jobs.errors import ContactRecordsError
from jobs.layouts import AMAZON_CONNECT
from jobs.settings import Settings, load_settings

RECORD: dict[str, Any] = {
    "ContactId": "c1",
    "InitialContactId": "c0",
    "Channel": "VOICE",
    "InitiationMethod": "INBOUND",
    "DisconnectReason": "CUSTOMER_DISCONNECT",
    "InitiationTimestamp": "2026-11-20T08:00:00Z",
    "DisconnectTimestamp": "2026-11-20T08:05:00Z",
    "LastUpdateTimestamp": "2026-11-20T08:10:00Z",
    "Queue": {"Name": "Billing", "Duration": 42},
    "Agent": {
        "Username": "jane",
        "ConnectedToAgentTimestamp": "2026-11-20T08:01:00Z",
        "NumberOfHolds": 2,
        "CustomerHoldDuration": 30,
        "LongestHoldDuration": 20,
        "AfterContactWorkDuration": 15,
        "HierarchyGroups": {"Level1": {"GroupName": "North"}},
    },
    "CustomerEndpoint": {"Address": "+15550100", "Type": "TELEPHONE_NUMBER"},
    "Attributes": {"tier": "gold", "secret": "x"},
    "Recordings": [{"Location": "b/CallRecordings/2026/11/20/c1_20261120T08:00_UTC.wav"}],
}


def settings(tmp_path: Path, **values: Any) -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path))
    return load_settings(**{"recordings": "s3://b", "identity_key": "k" * 32, **places, **values})


def read(tmp_path: Path, *lines: object) -> Any:
    file = tmp_path / "contacts.jsonl"
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return read_contacts(settings(tmp_path, contacts=str(file)), [date(2026, 11, 20)])


def row(tmp_path: Path, record: dict[str, Any], **values: Any) -> dict[str, Any]:
    return contact_row(record, date(2026, 11, 20), "run", settings(tmp_path, **values))


def test_a_full_record(tmp_path: Path) -> None:
    found = row(tmp_path, RECORD, attributes=("tier",), time_zone="Europe/Berlin")
    expected = {
        "contact_id": "c1",
        "initial_contact_id": "c0",
        "queue": "Billing",
        "team": "North",
        "queue_wait_s": 42.0,
        "hold_count": 2,
        "hold_s": 30.0,
        "local_hour": 9,
        "expects_recording": True,
        "attributes": [("tier", "gold")],
        "answered_at": datetime(2026, 11, 20, 8, 1, tzinfo=UTC),
    }
    assert {name: found[name] for name in expected} == expected
    assert "+15550100" not in str(found)
    assert "jane" not in str(found)


def test_agents_can_be_named(tmp_path: Path) -> None:
    assert row(tmp_path, RECORD, plain_agent_ids=True)["agent_id"] == "jane"


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({"Queue": None}, "queue", None),
        ({"Queue": "Billing"}, "queue", None),
        ({"Queue": {"Name": 7}}, "queue", None),
        ({"Queue": {"Name": "B", "Duration": "long"}}, "queue_wait_s", None),
        ({"Queue": {"Name": "B", "Duration": -1}}, "queue_wait_s", None),
        ({"Agent": []}, "agent_id", None),
        ({"CustomerEndpoint": None}, "customer_key", None),
        ({"DisconnectTimestamp": "yesterday"}, "ended_at", None),
        ({"Recordings": [], "Agent": None}, "expects_recording", False),
        ({"Recordings": []}, "expects_recording", True),
        ({"Recordings": [], "Channel": "CHAT"}, "expects_recording", False),
        ({"Recordings": None, "Recording": {"Location": "x"}, "Agent": None}, "expects_recording", True),
    ],
)
def test_a_wrong_value_is_as_if_missing(tmp_path: Path, change: dict[str, Any], column: str, expected: object) -> None:
    assert row(tmp_path, {**RECORD, **change})[column] == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_record_wins_in_any_order(tmp_path: Path, order: tuple[int, int]) -> None:
    versions = [RECORD, {**RECORD, "LastUpdateTimestamp": "2026-11-20T09:00:00Z", "Queue": {"Name": "Sales"}}]
    found = read(tmp_path, *(versions[place] for place in order))
    assert found.by_contact["c1"]["Queue"]["Name"] == "Sales"
    assert found.superseded == 1


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"c1"',
        b"\xff\xfe",
        b"[" * 100_000,
        {**RECORD, "ContactId": None},
        {**RECORD, "ContactId": ""},
        {**RECORD, "ContactId": "x" * 257},
        {**RECORD, "InitiationTimestamp": "20 November"},
        {**RECORD, "InitiationTimestamp": None},
        {**RECORD, "LastUpdateTimestamp": 5},
        {**RECORD, "Filler": "x" * 1_000_001},
    ],
)
def test_a_bad_line_is_counted_and_named_without_ids(
    tmp_path: Path, line: object, caplog: pytest.LogCaptureFixture
) -> None:
    found = read(tmp_path, line, {**RECORD, "ContactId": "good"})
    assert set(found.by_contact) == {"good"}
    assert found.bad_lines == 1
    assert "line 1" in caplog.text
    assert "c1" not in caplog.text


@pytest.mark.parametrize(
    ("zone", "record", "expected"),
    [
        ("UTC", RECORD, "2026-11-20"),
        (
            "America/Los_Angeles",
            {**RECORD, "Recordings": [], "InitiationTimestamp": "2026-11-20T07:59:00Z"},
            "2026-11-19",
        ),
        # The contact began before midnight, its recording after: the recording's day counts.
        ("UTC", {**RECORD, "InitiationTimestamp": "2026-11-19T23:59:00Z"}, "2026-11-20"),
    ],
)
def test_the_day_of_a_contact(tmp_path: Path, zone: str, record: dict[str, Any], expected: str) -> None:
    assert contact_day(record, AMAZON_CONNECT, settings(tmp_path, time_zone=zone)).isoformat() == expected


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ContactRecordsError):
        read_contacts(settings(tmp_path, contacts=str(tmp_path / "none.jsonl")), [date(2026, 11, 20)])
