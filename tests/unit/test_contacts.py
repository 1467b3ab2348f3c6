"""Contact records: the newest wins, wrong values are as if missing, bad lines are counted."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import contacts
from jobs.contacts import contact_day, contact_row, read_contacts
from jobs.errors import ContactRecordsError
from jobs.layouts import AMAZON_CONNECT
from jobs.settings import Settings, StoreSettings, load_settings
from jobs.storage import LocalStorage

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
        ({"Channel": "CHAT"}, "expects_recording", False),
        ({"Channel": None}, "expects_recording", True),
        ({"Recordings": [{"Location": "x", "MediaStreamType": "AUDIO"}], "Agent": None}, "expects_recording", True),
        ({"Recordings": [{"Location": "x", "MediaStreamType": "VIDEO"}], "Agent": None}, "expects_recording", False),
        ({"DisconnectTimestamp": "1999-12-31T23:59:59Z"}, "ended_at", None),
        ({"DisconnectTimestamp": "0001-01-01T00:00:00+05:00"}, "ended_at", None),
        ({"LastUpdateTimestamp": "9999-12-31T23:59:59-05:00"}, "record_updated_at", None),
        ({"Queue": {"Name": "\ud800"}}, "queue", None),
        ({"Agent": {"Username": "\udfff"}}, "agent_id", None),
        ({"CustomerEndpoint": {"Address": "+1\ud800"}}, "customer_key", None),
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
        json.dumps(RECORD).encode().replace(b"jane", b"\xe9"),
        json.dumps(RECORD).encode().replace(b"jane", b"\xed\xa0\x80"),
        json.dumps(RECORD).replace("c1", "é").encode("latin-1"),
        {**RECORD, "ContactId": "c1\ud800"},
        {**RECORD, "InitiationTimestamp": "1999-12-31T23:59:59Z"},
        {**RECORD, "InitiationTimestamp": "2101-01-01T00:00:00Z"},
        {**RECORD, "InitiationTimestamp": "0001-01-01T00:00:00+05:00"},
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
        # No zone can tell the local day of this recording.
        (
            "America/Los_Angeles",
            {**RECORD, "Recordings": [{"Location": "CallRecordings/0001/01/01/c1_00010101T00:00_UTC.wav"}]},
            "2026-11-20",
        ),
    ],
)
def test_the_day_of_a_contact(tmp_path: Path, zone: str, record: dict[str, Any], expected: str) -> None:
    assert contact_day(record, AMAZON_CONNECT, settings(tmp_path, time_zone=zone)).isoformat() == expected


@pytest.mark.parametrize("updated_at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59Z"])
def test_an_update_of_no_possible_year_is_the_oldest(tmp_path: Path, updated_at: str) -> None:
    found = read(tmp_path, RECORD, {**RECORD, "LastUpdateTimestamp": updated_at, "Queue": {"Name": "Sales"}})
    assert found.by_contact["c1"]["Queue"]["Name"] == "Billing"
    assert found.bad_lines == 0


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert set(read(tmp_path, b"\xef\xbb\xbf" + json.dumps(RECORD).encode()).by_contact) == {"c1"}


def test_only_the_first_bad_lines_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, *[b"{"] * 30).bad_lines == 30
    assert sum("the line is left out" in message for message in caplog.messages) == 20
    assert caplog.messages[-1].startswith("30 lines")


DAYS = [date(2026, 11, 20), date(2026, 11, 21)]
PLACES = ["{root}/%d.jsonl", "s3://b/%d.jsonl", "s3://b/%d", "s3://b/%d/"]


def read_place(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> contacts.ContactRecords:
    """Read the records of two days; the folder stands for the bucket."""

    def open_storage(location: str, _: StoreSettings) -> LocalStorage:
        return LocalStorage(str(tmp_path) + location.removeprefix("s3://b"))

    monkeypatch.setattr(contacts, "open_storage", open_storage)
    return read_contacts(settings(tmp_path, contacts=place.format(root=tmp_path)), DAYS)


@pytest.mark.parametrize("place", PLACES)
def test_no_place_is_there(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "20").mkdir()
    (tmp_path / "20" / "readme.txt").write_text("no records")
    with pytest.raises(ContactRecordsError, match=r"20.* or .*21.*; expected a JSON Lines file"):
        read_place(tmp_path, place, monkeypatch)


@pytest.mark.parametrize("there", ["20", "21"])
@pytest.mark.parametrize("place", PLACES)
def test_one_place_of_two_is_there(
    tmp_path: Path, place: str, there: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / (f"{there}.jsonl" if place.endswith(".jsonl") else f"{there}/part.jsonl")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(RECORD))
    assert set(read_place(tmp_path, place, monkeypatch).by_contact) == {"c1"}
    (warning,) = caplog.messages
    assert warning.startswith("there are no contact records at ")
    assert "c1" not in warning.replace(str(tmp_path), "")


def test_a_place_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ContactRecordsError, match="cannot be read"):
        read_contacts(settings(tmp_path, contacts=str(tmp_path)), DAYS)
