"""Planning a day: what each object becomes, from a store that answers lists and refuses everything else."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from listed_store import WRITTEN, ListedStore

from jobs import plan_recordings
from jobs.errors import ContactRecordsError, SettingsError
from jobs.identity import keyed_hash
from jobs.settings import load_settings
from jobs.staging import RunStaging
from jobs.step import StepContext
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed
from schemas import STAGED_TABLES, TABLES
from schemas.staging import PLAN

DAY = date(2026, 11, 20)
SECRET = "0123456789abcdef0123456789abcdef"
FOLDER = "CallRecordings/2026/11/20/"


def connect(contact_id: str, at: str = "08:00", ending: str = "wav") -> str:
    return f"{FOLDER}{contact_id}_20261120T{at}_UTC.{ending}"


def record(contact_id: str, at: str = "2026-11-20T08:00:00Z", **fields: Any) -> dict[str, Any]:
    return {"ContactId": contact_id, "InitiationTimestamp": at, "Queue": {"Name": "Billing"}, **fields}


PAIRS = {
    "kind": "paired-mono",
    "name": "pairs",
    "pattern": r"^(?P<contact_id>\w+)(?:@(?P<time>\d{8}T\d{4}))?-(?P<role>in|out)\.wav$",
    "time_format": "%Y%m%dT%H%M",
    "roles": {"in": "customer", "out": "agent"},
}
TIMELESS_PAIRS = {
    **{name: value for name, value in PAIRS.items() if name != "time_format"},
    "pattern": r"^(?P<contact_id>\w+)-(?P<role>in|out)\.wav$",
}
IDS = {"name": "ids", "pattern": r"^(?P<contact_id>\w+)\.wav$"}
DATED_IDS = {"name": "ids", "pattern": r"(?P<contact_id>\w+)\.wav$", "prefix": "d/%Y-%m-%d/"}


@dataclass(frozen=True)
class Planned:
    """What a run of the step left."""

    rows: list[dict[str, Any]]
    counts: Mapping[str, float]
    store: ListedStore
    staging: RunStaging

    def outcomes(self) -> dict[str, tuple[str, str | None]]:
        """Status and reason by key."""
        return {key_in(row["source_uri"]): (row["status"], row["reason_code"]) for row in self.rows}


def key_in(uri: str) -> str:
    assert uri.startswith("s3://recordings/")
    return uri.removeprefix("s3://recordings/")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Planned]:
    """Runs the step over keys, or over sizes and times of writing by key."""

    def run(
        objects: Mapping[str, tuple[int, datetime]] | list[str],
        *,
        layouts: list[Any] | None = None,
        records: list[dict[str, Any]] | None = None,
        day: date = DAY,
        **settings: str | None,
    ) -> Planned:
        file = tmp_path / "contacts.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in records or []))
        layout_file = tmp_path / "layouts.yaml"
        layout_file.write_text(yaml.safe_dump(layouts or ["amazon-connect"]))
        values = {
            "recordings": "s3://recordings",
            "layouts": str(layout_file),
            "accept_non_commercial": "true",
            "identity_key": SECRET,
            **({} if records is None else {"contacts": str(file)}),
            **dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path)),
            **settings,
        }
        for name in [name for name in os.environ if name.startswith("CALLMOOD_")]:
            monkeypatch.delenv(name)
        for name, value in values.items():
            if value is not None:
                monkeypatch.setenv(f"CALLMOOD_{name.upper()}", value)
        store = ListedStore(objects, page_size=3)
        monkeypatch.setattr(plan_recordings, "s3_client", lambda *_: store)
        staging = RunStaging(LocalStorage(tmp_path / "staging"), day, "run-1")
        context = StepContext(load_settings(), staging, argparse.Namespace(model=None, roles=None))
        counts = plan_recordings.run(context)
        return Planned(staging.read_table(PLAN).to_pylist(), counts, store, staging)

    return run


def test_a_row_of_the_plan(plan: Callable[..., Planned]) -> None:
    key = connect("c1")
    found = plan([key], records=[record("c1")])
    assert found.rows == [
        {
            "call_date": DAY,
            "contact_id": "c1",
            "source_uri": f"s3://recordings/{key}",
            "etag": f"etag of {key}",
            "partner_uri": None,
            "partner_etag": None,
            "size_bytes": 1000,
            "last_modified": WRITTEN,
            "layout": "amazon-connect",
            "started_at": datetime(2026, 11, 20, 8, tzinfo=UTC),
            "agent_id": None,
            "channel_roles": ["customer", "agent"],
            "queue": "Billing",
            "status": "planned",
            "reason_code": None,
            "detail": None,
            "run_id": "run-1",
        }
    ]


def test_what_every_key_becomes(plan: Callable[..., Planned]) -> None:
    keys = {
        connect("known"): ("planned", None),
        connect("with_no_such_id"): ("quarantined", "unknown_layout"),
        f"{FOLDER}export.WAV": ("quarantined", "unknown_layout"),
        f"{FOLDER}c1_20261320T08:00_UTC.wav": ("quarantined", "unknown_layout"),
        connect("c2", ending="gsm"): ("quarantined", "unknown_layout"),
        connect("c3", ending="json"): None,
        FOLDER: None,
        f"{FOLDER}folder.wav/": None,
        f"{FOLDER}_SUCCESS": None,
        "CallRecordings/2026/11/21/late_20261121T08:00_UTC.wav": None,
        "elsewhere/x.wav": None,
    }
    found = plan(list(keys))
    assert found.outcomes() == {key: outcome for key, outcome in keys.items() if outcome is not None}
    assert found.counts["planned"] == 5
    assert (found.counts["quarantined"], found.counts["skipped"], found.counts["ignored"]) == (4, 0, 4)


def test_what_no_layout_reads_has_no_contact_and_says_no_id(plan: Callable[..., Planned]) -> None:
    found = plan([f"{FOLDER}4711-secret.mp3", connect("c1")])
    (row,) = [row for row in found.rows if row["reason_code"] == "unknown_layout"]
    assert [row[name] for name in ("contact_id", "layout", "started_at", "channel_roles", "queue")] == [None] * 5
    assert "amazon-connect" in row["detail"]
    assert "docs/layouts.md" in row["detail"]
    assert "4711" not in row["detail"]
    assert found.rows[-1] == row  # sorted by contact, those without one last


@pytest.mark.parametrize(
    ("layouts", "time_zone", "written", "expected"),
    [
        # Under a dated prefix the prefix's date, however late it was written.
        (["amazon-connect"], "UTC", datetime(2026, 12, 24, 12, tzinfo=UTC), "2026-11-20"),
        # Without one the local day of writing.
        ([IDS], "UTC", datetime(2026, 11, 20, 23, 30, tzinfo=UTC), "2026-11-20"),
        ([IDS], "Europe/Berlin", datetime(2026, 11, 20, 23, 30, tzinfo=UTC), "2026-11-21"),
        ([IDS], "America/Los_Angeles", datetime(2026, 11, 20, 3, 30, tzinfo=UTC), "2026-11-19"),
        # Where one layout lists everything, no prefix says a day.
        (["amazon-connect", IDS], "UTC", datetime(2026, 11, 21, 12, tzinfo=UTC), "2026-11-21"),
    ],
)
def test_what_no_layout_reads_is_on_one_day(
    plan: Callable[..., Planned], layouts: list[Any], time_zone: str, written: datetime, expected: str
) -> None:
    key = f"{FOLDER}un-known.mp3"
    days = [date(2026, 11, 18 + offset) for offset in range(5)]
    found = [
        day.isoformat() for day in days if plan({key: (9, written)}, layouts=layouts, time_zone=time_zone, day=day).rows
    ]
    assert found == [expected]


def test_a_key_may_lie_under_the_prefix_of_another_layout(plan: Callable[..., Planned]) -> None:
    layouts = ["amazon-connect", {**IDS, "pattern": r"(?P<contact_id>m\d+)\.wav$", "prefix": "moved/%Y%m%d/"}]
    found = plan([f"{FOLDER}m7.wav", "moved/20261120/m8.wav"], layouts=layouts)
    assert [(row["contact_id"], row["layout"], row["status"]) for row in found.rows] == [
        ("m7", "ids", "planned"),
        ("m8", "ids", "planned"),
    ]


def test_overlapping_prefixes_are_listed_once(plan: Callable[..., Planned]) -> None:
    layouts = [
        "amazon-connect",
        {**IDS, "prefix": "CallRecordings/%Y/%m/%d/east/", "prefix_days_after": 0},
        {**IDS, "name": "b", "prefix": "x/"},
    ]
    keys = [connect("c1"), f"{FOLDER}east/c2_20261120T08:00_UTC.wav", f"{FOLDER}east/un-known.wav"]
    found = plan(keys, layouts=layouts)
    assert found.store.listed == [FOLDER, "x/"]
    assert sorted(found.outcomes()) == sorted(keys)


def test_recordings_below_a_prefix_of_the_bucket(plan: Callable[..., Planned]) -> None:
    keys = [f"calls/{connect('c1')}", connect("c2"), f"calls2/{connect('c3')}"]
    found = plan(keys, recordings="s3://recordings/calls/")
    assert found.store.listed == [f"calls/{FOLDER}"]
    assert list(found.outcomes()) == [keys[0]]


@pytest.mark.parametrize(
    ("layouts", "says"),
    [
        ([IDS], "s3://recordings/ was listed (keys: 2)"),
        ([{**IDS, "prefix": "a"}], "s3://recordings/a was listed (keys: 1)"),
    ],
)
def test_the_log_says_where_everything_is_listed(
    plan: Callable[..., Planned], layouts: list[Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan(["a.wav", "b.json"], layouts=layouts)
    assert says in caplog.text
    caplog.clear()
    plan([connect("c1")])
    assert "was listed" not in caplog.text


# Two files


def pair(contact_id: str, at: str = "") -> tuple[str, str]:
    return f"{contact_id}{at}-in.wav", f"{contact_id}{at}-out.wav"


def test_two_files_of_one_contact_are_one_recording(plan: Callable[..., Planned]) -> None:
    customer, agent = pair("c1", "@20261120T0815")
    sizes = {customer: (700, WRITTEN), agent: (500, datetime(2026, 11, 21, 1, tzinfo=UTC))}
    (row,) = plan(sizes, layouts=[PAIRS]).rows
    expected = {
        "source_uri": f"s3://recordings/{customer}",
        "etag": f"etag of {customer}",
        "partner_uri": f"s3://recordings/{agent}",
        "partner_etag": f"etag of {agent}",
        "size_bytes": 1200,
        "last_modified": datetime(2026, 11, 21, 1, tzinfo=UTC),
        "started_at": datetime(2026, 11, 20, 8, 15, tzinfo=UTC),
        "channel_roles": ["customer", "agent"],
        "layout": "pairs",
        "status": "planned",
    }
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["c1-in.wav"], {"c1-in.wav": ("quarantined", "incomplete_pair")}),
        (["c1-out.wav"], {"c1-out.wav": ("quarantined", "incomplete_pair")}),
        # Two of one side are no pair; neither is a pair of two contacts.
        (
            ["c1-in.wav", "c2-out.wav"],
            {"c1-in.wav": ("quarantined", "incomplete_pair"), "c2-out.wav": ("quarantined", "incomplete_pair")},
        ),
    ],
)
def test_a_side_alone(
    plan: Callable[..., Planned], keys: list[str], expected: dict[str, tuple[str, str | None]]
) -> None:
    found = plan(keys, layouts=[TIMELESS_PAIRS])
    assert found.outcomes() == expected
    for row in found.rows:
        side, other = ("customer", "agent") if row["source_uri"].endswith("-in.wav") else ("agent", "customer")
        assert row["channel_roles"] == [side]
        assert row["detail"].startswith(f"found the {side}'s side alone, expected the {other}'s")
        assert "next run" in row["detail"]


def test_the_next_run_takes_the_pair_once_it_is_whole(plan: Callable[..., Planned]) -> None:
    customer, agent = pair("c1")
    assert plan([agent], layouts=[TIMELESS_PAIRS]).outcomes() == {agent: ("quarantined", "incomplete_pair")}
    assert plan([agent, customer], layouts=[TIMELESS_PAIRS]).outcomes() == {customer: ("planned", None)}


def test_pairs_go_by_contact_and_time(plan: Callable[..., Planned]) -> None:
    first, second = pair("c1", "@20261120T0800"), pair("c1", "@20261120T0900")
    sizes = dict.fromkeys(first, (10, WRITTEN)) | dict.fromkeys(second, (20, WRITTEN))
    found = plan({**sizes, "c1@20261120T1000-in.wav": (90, WRITTEN)}, layouts=[PAIRS])
    assert found.outcomes() == {
        second[0]: ("planned", None),
        first[0]: ("skipped", "another_part"),
        "c1@20261120T1000-in.wav": ("quarantined", "incomplete_pair"),
    }


def test_of_many_copies_of_a_side_the_largest_is_taken(plan: Callable[..., Planned]) -> None:
    layout = {**TIMELESS_PAIRS, "pattern": r"/(?P<contact_id>\w+)-(?P<role>in|out)\.wav$"}
    sizes = {"a/c-in.wav": 5, "b/c-in.wav": 7, "a/c-out.wav": 6, "b/c-out.wav": 6, "c/c-out.wav": 3}
    found = plan({key: (size, WRITTEN) for key, size in sizes.items()}, layouts=[layout])
    # The largest with the largest, of equals the first; then the next ones; the rest has no partner left.
    assert [(key_in(row["source_uri"]), row["partner_uri"] and key_in(row["partner_uri"])) for row in found.rows] == [
        ("a/c-in.wav", "b/c-out.wav"),
        ("b/c-in.wav", "a/c-out.wav"),
        ("c/c-out.wav", None),
    ]
    assert [row["reason_code"] for row in found.rows] == ["duplicate", None, "duplicate"]


# Several recordings of a contact


@pytest.mark.parametrize(
    ("sizes", "planned"),
    [
        ({connect("c", "08:00"): 5, connect("c", "09:00"): 7}, connect("c", "09:00")),
        ({connect("c", "08:00"): 7, connect("c", "09:00"): 7}, connect("c", "08:00")),
        ({connect("c", "08:00"): 7, connect("c", "08:00", "mp3"): 3}, connect("c", "08:00")),
    ],
)
def test_of_several_recordings_one_is_planned(
    plan: Callable[..., Planned], sizes: dict[str, int], planned: str
) -> None:
    found = plan({key: (size, WRITTEN) for key, size in sizes.items()}).outcomes()
    (other,) = set(sizes) - {planned}
    same_time = "08:00" in other and "08:00" in planned
    assert found == {planned: ("planned", None), other: ("skipped", "duplicate" if same_time else "another_part")}


def test_the_agent_alone_is_not_taken_for_the_call(plan: Callable[..., Planned]) -> None:
    found = plan({"c-in.wav": (5, WRITTEN), "c-out.wav": (9, WRITTEN)}, layouts=[{**TIMELESS_PAIRS, "kind": "regex"}])
    assert found.outcomes() == {"c-in.wav": ("planned", None), "c-out.wav": ("skipped", "duplicate")}
    assert {tuple(row["channel_roles"]) for row in found.rows} == {("customer",), ("agent",)}


# Recordings without a time


def test_a_recording_without_a_time_takes_the_runs_date(plan: Callable[..., Planned]) -> None:
    for day in (DAY, date(2020, 2, 29)):
        (row,) = plan(["c1.wav"], layouts=[IDS], day=day).rows
        assert (row["call_date"], row["started_at"], row["status"]) == (day, None, "planned")


def test_its_contact_record_tells_when_it_started(plan: Callable[..., Planned]) -> None:
    found = plan(["c1.wav", "c2.wav"], layouts=[IDS], records=[record("c1", "2026-11-20T08:03:04Z")])
    assert {row["contact_id"]: row["started_at"] for row in found.rows} == {
        "c1": datetime(2026, 11, 20, 8, 3, 4, tzinfo=UTC),
        "c2": None,
    }


def test_one_whose_record_is_of_another_day_is_not_of_the_runs(plan: Callable[..., Planned]) -> None:
    records = [record("c1", "2026-11-19T23:30:00Z"), record("c2", "2026-11-19T22:30:00Z")]
    found = plan(["c1.wav", "c2.wav"], layouts=[IDS], records=records, time_zone="Europe/Berlin")
    assert list(found.outcomes()) == ["c1.wav"]


def test_under_a_dated_prefix_it_takes_the_prefixs_date(plan: Callable[..., Planned]) -> None:
    keys = ["d/2026-11-19/a.wav", "d/2026-11-20/b.wav", "d/2026-11-21/c.wav"]
    found = plan(keys, layouts=[DATED_IDS], time_zone="Europe/Berlin")
    assert list(found.outcomes()) == ["d/2026-11-20/b.wav"]


# Misplaced


MISPLACED = {
    "name": "pbx",
    "pattern": r"(?P<time>\d{8}T\d{4})-(?P<contact_id>\w+)\.wav$",
    "time_format": "%Y%m%dT%H%M",
    "prefix": "d/%Y%m%d/",
}


def test_a_recording_that_its_days_plan_would_not_find_is_quarantined_on_one_day(plan: Callable[..., Planned]) -> None:
    """A call from before midnight, filed under the date of its end."""
    key = "d/20261121/20261120T2355-c1.wav"
    found = {
        day: plan([key], layouts=[MISPLACED], records=[record("c1", "2026-11-20T23:50:00Z")], day=day)
        for day in (date(2026, 11, 19 + offset) for offset in range(4))
    }
    assert {day.day: each.outcomes() for day, each in found.items() if each.rows} == {
        21: {key: ("quarantined", "misplaced")}
    }
    # Its contact is of the call's day alone.
    contacts = {day.day: each.staging.read_table(TABLES["contacts"]).num_rows for day, each in found.items()}
    assert contacts == {19: 0, 20: 1, 21: 0, 22: 0}


def test_where_the_layout_says_so_the_plan_looks_there(plan: Callable[..., Planned]) -> None:
    key = "d/20261121/20261120T2355-c1.wav"
    layouts = [{**MISPLACED, "prefix_days_after": 1}]
    found = [plan([key], layouts=layouts, day=date(2026, 11, 19 + offset)).outcomes() for offset in range(4)]
    assert found == [{}, {key: ("planned", None)}, {}, {}]


# Agents


def test_the_agent_of_the_key_is_hashed_as_in_contacts(plan: Callable[..., Planned]) -> None:
    layout = {**TIMELESS_PAIRS, "pattern": r"^(?P<contact_id>[a-z]\d)(?:\.(?P<agent>\w+))?-(?P<role>in|out)\.wav$"}
    keys = ["a1-in.wav", "a1.jane-out.wav", "b1-in.wav", "b1-out.wav"]
    records = [record("a1", Agent={"Username": "jane"})]
    found = plan(keys, layouts=[layout], records=records)
    hashed = keyed_hash(SECRET.encode(), "agent", "jane")
    assert [row["agent_id"] for row in found.rows] == [hashed, None]
    assert found.staging.read_table(TABLES["contacts"]).column("agent_id").to_pylist() == [hashed]
    plain = plan(keys, layouts=[layout], records=records, plain_agent_ids="true")
    assert [row["agent_id"] for row in plain.rows] == ["jane", None]


def test_a_key_for_the_hashes_is_asked_for_only_where_there_is_an_agent(plan: Callable[..., Planned]) -> None:
    layout = {"name": "agents", "pattern": r"^(?:(?P<agent>\w+)-)?(?P<contact_id>c\d)\.wav$"}
    assert plan(["c1.wav"], layouts=[layout], identity_key=None).rows
    with pytest.raises(SettingsError, match="IDENTITY_KEY_FILE"):
        plan(["jane-c1.wav"], layouts=[layout], identity_key=None)


# Opt-outs


OPT_OUT = {"opt_out_attribute": "no_analysis"}
OPTED_OUT = {"Attributes": {"no_analysis": "true"}}


def test_who_opted_out_is_skipped_and_nothing_but_lists_is_asked_for(plan: Callable[..., Planned]) -> None:
    """ListedStore fails the test on every other request, a HEAD or a GET above all."""
    customer, agent = pair("p1")
    layouts = ["amazon-connect", {**TIMELESS_PAIRS, "pattern": r"^(?P<contact_id>p\d)-(?P<role>in|out)\.wav$"}]
    keys = [connect("c1"), connect("c1", "09:00"), connect("c2"), customer, agent, "p2-in.wav"]
    records = [record(contact, **OPTED_OUT) for contact in ("c1", "p1", "p2")] + [record("c2")]
    found = plan(keys, layouts=layouts, records=records, **OPT_OUT)
    assert found.outcomes() == {
        connect("c1"): ("skipped", "opted_out"),
        connect("c1", "09:00"): ("skipped", "opted_out"),
        connect("c2"): ("planned", None),
        customer: ("skipped", "opted_out"),
        "p2-in.wav": ("skipped", "opted_out"),
    }
    assert found.counts["skipped"] == 4


def test_by_a_list_of_customer_keys(plan: Callable[..., Planned], tmp_path: Path) -> None:
    listed = tmp_path / "opt_outs.txt"
    listed.write_text(keyed_hash(SECRET.encode(), "customer", "+15550100") + "\n")
    records = [
        record("c1", CustomerEndpoint={"Address": "+15550100"}),
        record("c2", CustomerEndpoint={"Address": "+15550199"}),
    ]
    found = plan([connect("c1"), connect("c2")], records=records, opt_outs=str(listed))
    assert found.outcomes() == {connect("c1"): ("skipped", "opted_out"), connect("c2"): ("planned", None)}


@pytest.mark.parametrize(("settings", "outcome"), [(OPT_OUT, ("skipped", "opted_out")), ({}, ("planned", None))])
def test_a_record_that_is_wrong_may_have_been_an_opt_out(
    plan: Callable[..., Planned], settings: dict[str, Any], outcome: tuple[str, str | None]
) -> None:
    """Where customers can opt out, whoever's record cannot be read is not scored; a right record beside it tells."""
    wrong = {"InitiationTimestamp": "at noon"}
    records = [record("c1", **wrong), record("c2", **wrong), record("c2"), record("c3"), {"ContactId": 7}]
    found = plan([connect(contact) for contact in ("c1", "c2", "c3")], records=records, **settings)
    planned = ("planned", None)
    assert found.outcomes() == {connect("c1"): outcome, connect("c2"): planned, connect("c3"): planned}


def test_without_a_record_nobody_knows_and_the_log_says_so(
    plan: Callable[..., Planned], caplog: pytest.LogCaptureFixture
) -> None:
    found = plan([connect("c1"), connect("c2")], records=[record("c2")], **OPT_OUT)
    assert set(found.outcomes().values()) == {("planned", None)}
    assert "1 of the planned recordings have no contact record" in caplog.text
    caplog.clear()
    plan([connect("c1"), connect("c2")], records=[record("c2")])
    assert "no contact record" not in caplog.text


# What is written


def test_every_staged_table_is_written_and_the_counts_are_kept(plan: Callable[..., Planned]) -> None:
    records = [
        record("c1"),
        record("no-recording"),
        record("of-another-day", "2026-11-18T08:00:00Z"),
        {"ContactId": ""},
    ]
    found = plan([connect("c1"), f"{FOLDER}x.txt"], records=records)
    for name in ("plan", "contacts", "sidecar_events", "surveys", "topics"):
        assert found.staging.manifest(STAGED_TABLES[name]).run_id == "run-1"
    assert found.staging.read_table(TABLES["contacts"]).column("contact_id").to_pylist() == ["c1", "no-recording"]
    expected = {"planned": 1, "skipped": 0, "quarantined": 0, "ignored": 1, "contacts": 2, "bad_contact_records": 1}
    assert {name: found.counts[name] for name in expected} == expected


@pytest.mark.parametrize("key", [connect("c1"), f"{FOLDER}of-no-layout.wav"])
def test_a_day_with_recordings_and_no_contact_records_anywhere_stops(plan: Callable[..., Planned], key: str) -> None:
    """Calls without queues should not look like calls with them, nor should who opted out be scored."""
    nowhere = "/nowhere/%d"
    says = r"no contact records at /nowhere/20 or /nowhere/21, and 1 objects .* of 2026-11-20; expected JSON .*parquet"
    with pytest.raises(ContactRecordsError, match=says):
        plan([key], contacts=nowhere)
    # Where there is neither it is a day without calls, and its night says so: volume_low.
    assert plan([f"{FOLDER}x.txt"], contacts=nowhere).rows == []


def test_a_day_without_a_recording(plan: Callable[..., Planned]) -> None:
    found = plan([])
    assert found.rows == []
    assert found.counts["planned"] == 0


def test_the_log_names_nobody(plan: Callable[..., Planned], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        plan(
            [connect("c4711"), f"{FOLDER}4712.wav", "q4713-in.wav"],
            layouts=["amazon-connect", {**TIMELESS_PAIRS, "prefix": "q"}],
            records=[record("c4711", **OPTED_OUT)],
            **OPT_OUT,
        )
    assert "unknown_layout" in caplog.text
    assert "47" not in caplog.text


# Erased people


def test_who_was_erased_is_in_no_row_and_in_one_count(plan: Callable[..., Planned], tmp_path: Path) -> None:
    """By contact, by customer and by address, with records that name them; a later call of the customer is planned."""
    customer = keyed_hash(SECRET.encode(), "customer", "+15550100")
    odd = f"{FOLDER}odd-key-of-c1.wav"
    suppressed = Suppressed.of(
        SECRET.encode(),
        contacts=["c1"],
        customers=[customer],
        objects=[f"s3://recordings/{odd}"],
        at=datetime(2026, 11, 20, 12, tzinfo=UTC),
    )
    LocalStorage(tmp_path).write("_erasures/e1/suppressed.json", suppressed.to_json())
    caller = {"CustomerEndpoint": {"Address": "+15550100"}}
    found = plan(
        [connect("c1"), connect("c2"), connect("c3"), connect("c4", "13:00"), odd],
        records=[
            record("c1"),
            record("c2", **caller),
            record("c3", PreviousContactId="c1", NextContactId="c2", InitialContactId="c0"),
            record("c4", "2026-11-20T13:00:00Z", **caller),
        ],
    )
    assert [row["contact_id"] for row in found.rows] == ["c3", "c4"]
    assert {name: found.counts[name] for name in ("planned", "skipped", "quarantined", "suppressed", "ignored")} == {
        "planned": 2,
        "skipped": 0,
        "quarantined": 0,
        "suppressed": 3,
        "ignored": 0,
    }
    contacts = found.staging.read_table(TABLES["contacts"]).to_pylist()
    assert [row["contact_id"] for row in contacts] == ["c3", "c4"]
    assert [contacts[0][name] for name in ("previous_contact_id", "next_contact_id", "initial_contact_id")] == [
        *(None, None),
        "c0",
    ]


def test_without_the_key_of_the_suppressions_nothing_is_planned(plan: Callable[..., Planned], tmp_path: Path) -> None:
    suppressed = Suppressed.of(b"a former key, longer than 16 bytes", contacts=["c1"], at=WRITTEN)
    LocalStorage(tmp_path).write("_erasures/e1/suppressed.json", suppressed.to_json())
    with pytest.raises(SettingsError, match="were made with another key"):
        plan([connect("c1")])
    with pytest.raises(SettingsError, match="IDENTITY_KEY_FILE"):
        plan([connect("c1")], identity_key=None)


# Clocks

SKEWS: list[tuple[str, dict[str, str] | None, datetime, str | None]] = [
    # The key says 08:00: the contact record's times, when the object was written, and what contradicts what.
    ("as it should be", {"at": "07:58", "to": "08:10"}, WRITTEN, None),
    ("without a record", None, WRITTEN, None),
    ("an hour of difference is a clock's", {"at": "09:00", "to": "09:10"}, WRITTEN, None),
    ("long in the queue", {"at": "05:00", "to": "08:10"}, WRITTEN, None),
    ("a record without an end", {"at": "05:00"}, WRITTEN, None),
    ("written months later", {"at": "08:00"}, datetime(2027, 3, 1, tzinfo=UTC), None),
    ("written before", None, datetime(2026, 11, 20, 6, tzinfo=UTC), "its object was written before its key's time"),
    ("in the future", None, datetime(2026, 11, 19, 8, tzinfo=UTC), "by 24.0 h"),
    ("a record of later", {"at": "10:00", "to": "10:10"}, WRITTEN, "its key's time is before its contact began"),
    ("a record of earlier", {"at": "03:00", "to": "06:00"}, WRITTEN, "its contact ended before its key's time"),
    ("a record that ends first", {"at": "08:30", "to": "07:10"}, WRITTEN, "its contact record ends before it begins"),
]


@pytest.mark.parametrize(("times", "written", "says"), [case[1:] for case in SKEWS], ids=[case[0] for case in SKEWS])
def test_times_that_contradict_each_other(
    plan: Callable[..., Planned], times: dict[str, str] | None, written: datetime, says: str | None
) -> None:
    records = None
    if times is not None:
        ends = {"DisconnectTimestamp": f"2026-11-20T{times['to']}:00Z"} if "to" in times else {}
        records = [record("c1", f"2026-11-20T{times['at']}:00Z", **ends)]
    objects = {connect("c1"): (1000, written)}
    (row,) = plan(objects, records=records).rows
    assert (row["status"], row["reason_code"]) == (("quarantined", "clock_skew") if says else ("planned", None))
    assert says is None or says in row["detail"]
    assert "c1" not in (row["detail"] or "")
    (allowed,) = plan(objects, records=records, clock_skew_s="90000").rows
    assert allowed["status"] == "planned"


def test_a_call_whose_key_has_no_time_is_judged_by_its_record(plan: Callable[..., Planned]) -> None:
    rows = plan(
        {"early.wav": (10, datetime(2026, 11, 20, 5, tzinfo=UTC)), "late.wav": (10, WRITTEN)},
        layouts=[IDS],
        records=[record("early"), record("late")],
    ).outcomes()
    assert rows == {"early.wav": ("quarantined", "clock_skew"), "late.wav": ("planned", None)}
