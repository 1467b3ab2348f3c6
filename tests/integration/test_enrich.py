"""Enrichment: what came later changes a published day as a night would have, and nothing else; no audio is asked for.

The night is a real one but for its audio: what plan_recordings, extract_features and classify_emotions stage is made up
here; every step from summarize_calls on is the jobs' own, and so is the reading of records, events and surveys.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest

from jobs import enrich_day, publish_tables, render_report, summarize_calls, validate_tables
from jobs.command import EXIT_PERMANENT
from jobs.identity import keyed_hash
from jobs.layouts import open_layouts
from jobs.records import read_day_records
from jobs.settings import load_settings
from jobs.staging import STEPS, RunSpec, RunStaging, StepMarker
from jobs.step import step_main
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import STAGED_TABLES, TABLES, definitions
from schemas.staging import CALL_AUDIO, PLAN
from ser_model.taxonomy import VALENCE_AROUSAL

pyspark = pytest.importorskip("pyspark")

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

DAY = date(2026, 11, 20)
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
SECRET = "k" * 32
MODEL_ID = "test-1-00000000"
STEPS_RUN = {
    "enrich_day": enrich_day,
    "summarize_calls": summarize_calls,
    "validate_tables": validate_tables,
    "publish_tables": publish_tables,
    "render_report": render_report,
}
NOTHING = dict.fromkeys(
    (
        *("new_records", "changed_records", "moved_contacts", "changed_events", "changed_surveys", "changed_topics"),
        "opted_out",
    ),
    0,
)
RUN_ID = frozenset({"run_id"})
# What a rerun may change: never what was heard.
PROCESSING = {
    **dict.fromkeys(("contacts", "recordings", "calls", "call_events", "surveys", "quarantine"), RUN_ID),
    **dict.fromkeys(("topics", "topic_emotions"), RUN_ID),
    **dict.fromkeys(("emotion_log", "satisfaction_daily"), frozenset()),
}

Day = Mapping[str, list[dict[str, Any]]]


def uri(name: str) -> str:
    return f"s3://recordings/CallRecordings/2026/11/20/{name}_20261120T09:00_UTC.wav"


def record(name: str, queue: str, updated: str = "2026-11-20T10:00:00Z", **values: Any) -> dict[str, Any]:
    """A contact record as Amazon Connect writes it."""
    return {
        "ContactId": name,
        "Channel": "VOICE",
        "InitiationTimestamp": "2026-11-20T09:00:00Z",
        "LastUpdateTimestamp": updated,
        "Queue": {"Name": queue},
        "Agent": {"Username": f"agent of {queue}"},
        "CustomerEndpoint": {"Address": f"+1555{name}"},
        **values,
    }


def event(name: str, kind: str, start_s: float, end_s: float | None) -> dict[str, Any]:
    return {"contact_id": name, "kind": kind, "start_s": start_s, "end_s": end_s}


def topic(name: str, what: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {"contact_id": name, "topic": what, "start_s": start_s, "end_s": end_s}


def survey(name: str, score: float, answered: str = "2026-11-20T12:00:00Z") -> dict[str, Any]:
    return {"contact_id": name, "score": score, "answered_at": answered}


SCORED = ("angry", "calm", "unrecorded")
RECORDS = {
    "contacts": [
        *(
            record("angry", "Billing"),
            record("calm", "Billing"),
            record("broken", "Support"),
            record("mono", "Support"),
        ),
        record("late", "Support"),
    ],
    "events": [event("calm", "transfer", 30.0, None), event("calm", "hold", 30.0, 35.0)],
    "surveys": [survey("calm", 4.0)],
    "topics": [topic("calm", "refund", 1.0, 30.0)],
}


@dataclass(frozen=True)
class Center:
    """A call center's records and warehouse in a folder."""

    folder: Path
    records: Mapping[str, list[dict[str, Any]]] = field(default_factory=lambda: MappingProxyType(RECORDS))

    def write_records(self) -> None:
        for name, rows in self.records.items():
            (self.folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def having(self, **changes: list[dict[str, Any]]) -> Center:
        """With other records from now on."""
        center = replace(self, records={**self.records, **changes})
        center.write_records()
        return center

    def staging(self, run_id: str) -> RunStaging:
        return RunStaging(LocalStorage(self.folder / "staging"), DAY, run_id)

    def step(self, step: str, run_id: str) -> int:
        arguments = ["--call-date", DAY.isoformat(), "--run-id", run_id]
        return step_main(step, STEPS_RUN[step].run, None, arguments)

    def publish(self, run_id: str, *steps: str) -> Mapping[str, float]:
        """Run these steps; what the first one counted."""
        for step in steps:
            assert self.step(step, run_id) == 0, self.staging(run_id).markers()[step].reason
        return self.staging(run_id).markers()[steps[0]].counts

    def night(self, run_id: str, **heard: Any) -> None:
        """Run a night whose audio is made up."""
        stage_night(self.staging(run_id), **heard)
        self.publish(run_id, *STEPS["night"][3:])

    def enrich(self, run_id: str, *, publish: bool = True) -> Mapping[str, float]:
        """Enrich the day, or only look what there is to join; what that changed."""
        counts = self.publish(run_id, *STEPS["enrichment"][: None if publish else 1])
        return {name: value for name, value in counts.items() if name in NOTHING}

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(LocalStorage(self.folder / "warehouse"))

    def read(self) -> Day:
        """The day's rows of every table."""
        return {name: self.warehouse.read(name, call_date=DAY).to_pylist(maps_as_pydicts="strict") for name in TABLES}


def stage_night(staging: RunStaging, agent_ends_s: float = 50.0) -> None:
    """Stage what a night has before summarize_calls."""
    settings = load_settings()
    records = read_day_records(settings, [DAY])
    planned = (*SCORED, "broken", "mono")
    plan = [
        {"contact_id": name, "source_uri": uri(name), "layout": "amazon-connect", "started_at": START}
        | {"status": "planned", "channel_roles": ["customer", "agent"]}
        for name in planned
    ]
    plan.append({"contact_id": None, "source_uri": "s3://recordings/odd.wav", "status": "quarantined"})
    plan[-1] |= {"reason_code": "unknown_layout", "detail": "no layout reads its key"}
    queues = {row["contact_id"]: row.get("queue") for row in records_of(records, "contacts", planned).to_pylist()}
    common = {"call_date": DAY, "etag": "e", "size_bytes": 1000, "last_modified": START, "run_id": staging.run_id}
    rows = [{**common, "queue": queues.get(row["contact_id"]), **row} for row in plan]
    staging.write_table(PLAN, pa.Table.from_pylist(rows, schema=PLAN.schema))

    heard: list[dict[str, Any]] = [
        {"contact_id": name, "source_uri": uri(name), "status": "decoded", "channels": 2, "channel_kind": "two_channel"}
        | {"codec": "WAV/PCM_16", "sample_rate_hz": 8000, "duration_s": 60.0, "clipped_share": 0.0, "nonspeech_s": 2.5}
        | {"pauses": [{"start_s": 52.0, "end_s": 55.0}, {"start_s": 58.0, "end_s": 60.0}]}
        for name in SCORED
    ]
    heard.append({"contact_id": "broken", "source_uri": uri("broken"), "status": "quarantined"})
    heard[-1] |= {"reason_code": "not_audio", "detail": "found text"}
    heard.append({"contact_id": "mono", "source_uri": uri("mono"), "status": "skipped"})
    heard[-1] |= {"reason_code": "mono_not_separable"}
    rows = [{"call_date": DAY, **row} for row in heard]
    staging.write_table(CALL_AUDIO, pa.Table.from_pylist(rows, schema=CALL_AUDIO.schema))

    log = TABLES["emotion_log"]
    files = []
    for name in SCORED:  # a file each, as tasks write them
        with staging.writer(log, name) as writer:
            segments = [{**row, "call_date": DAY, "run_id": staging.run_id} for row in speech(name, agent_ends_s)]
            writer.write(pa.Table.from_pylist(segments, schema=log.schema))
        files.append(writer.file)
    staging.commit(log, files)
    for name in ("contacts", "sidecar_events", "surveys", "topics"):
        staging.write_table(STAGED_TABLES[name], records_of(records, name, planned, staging.run_id))
    staging.start_run(RunSpec(staging.run_id, DAY, settings.model, ("customer",), "abc", "2026-11-21T01:30:00+00:00"))
    for step in STEPS["night"][:3]:
        counts = {"ignored": 2, "suppressed": 1} if step == "plan_recordings" else {}
        staging.end(StepMarker(step, staging.run_id, "done", 1.0, counts))


def records_of(records: Any, name: str, contact_ids: Any, run_id: str = "") -> pa.Table:
    settings = load_settings()
    return records.tables(DAY, run_id, set(contact_ids), open_layouts(settings), settings)[name]


def speech(name: str, agent_ends_s: float) -> Iterator[dict[str, Any]]:
    """The customer for 15 s in segments, and the agent in a turn of 3 s pieces."""
    emotion = "angry" if name == "angry" else "calm"
    for index in range(5):
        yield {
            "contact_id": name,
            "role": "customer",
            "turn_index": 0,
            "segment_index": index,
            "start_s": 3.0 * index,
            "end_s": 3.0 * index + 3,
            "classified": True,
            "model_id": MODEL_ID,
            "emotion": emotion,
            "confidence": 1.0,
            f"p_{emotion}": 1.0,
            "emotion_set": [emotion],
            "valence": VALENCE_AROUSAL[emotion][0],
            "arousal": VALENCE_AROUSAL[emotion][1],
        }
    for index in range(round((agent_ends_s - 20) / 3)):
        start_s = 20.0 + 3 * index
        yield {
            "contact_id": name,
            "role": "agent",
            "turn_index": 0,
            "segment_index": index,
            "start_s": start_s,
            "end_s": start_s + 3,
            "classified": False,
        }


@pytest.fixture(scope="module")
def trap() -> Iterator[list[str]]:
    """Where an S3 server would be: notes every connection."""
    connections: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def note() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append("a connection")
                connection.close()

        threading.Thread(target=note, daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CALLMOOD_S3_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
            patch.setenv("AWS_ACCESS_KEY_ID", "x")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
            yield connections
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def spark_stays() -> Iterator[None]:
    """One Spark session for all runs, which each would stop."""
    from pyspark.sql import SparkSession

    from jobs.spark import spark_session

    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    session = spark_session("test_enrich", load_settings(recordings="s3://none", spark_master="local[2]", **places))
    session.conf.set("spark.sql.shuffle.partitions", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SparkSession, "stop", lambda self: self.catalog.clearCache())
        yield
    session.stop()


def set_up(folder: Path, patch: pytest.MonkeyPatch) -> Center:
    """The settings of a center whose recordings' bucket does not exist."""
    for name in ("staging", "warehouse", "reports"):
        patch.setenv(f"CALLMOOD_{name.upper()}", str(folder / name))
    for name in RECORDS:
        patch.setenv(f"CALLMOOD_{name.upper()}", str(folder / f"{name}.jsonl"))
    patch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    patch.setenv("CALLMOOD_IDENTITY_KEY", SECRET)
    patch.setenv("CALLMOOD_REPORT_BY_AGENT", "true")
    patch.setenv("CALLMOOD_COVERAGE_DEGRADED", "0")
    center = Center(folder)
    center.write_records()
    return center


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, trap: list[str], spark_stays: None) -> Path:
    """A folder with a center whose night is published."""
    with pytest.MonkeyPatch.context() as patch:
        center = set_up(tmp_path_factory.mktemp("published"), patch)
        center.night("20261121T013000Z-000001")
        return center.folder


@pytest.fixture
def center(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Center:
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return set_up(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def nobody_asks_for_audio(trap: list[str]) -> Iterator[None]:
    """No enrichment opens a connection to the recordings' store, let alone asks for an object."""
    yield
    assert trap == []


def changed(before: Day, after: Day) -> dict[str, set[str]]:
    """The columns of each table in which rows differ, but for what any run changes; rows that came or went as such."""
    found: dict[str, set[str]] = {}
    for name, processing in PROCESSING.items():
        old, new = (
            {tuple(row[column] for column in TABLES[name].key): row for row in day[name]} for day in (before, after)
        )
        columns = {
            column for key in old.keys() & new.keys() for column in old[key] if old[key][column] != new[key][column]
        }
        columns |= {"rows gone"} if old.keys() - new.keys() else set()
        columns |= {"rows new"} if new.keys() - old.keys() else set()
        if columns - processing:
            found[name] = columns - processing
    return found


def of(day: Day, table: str, contact_id: str) -> dict[str, Any]:
    (row,) = (row for row in day[table] if row["contact_id"] == contact_id)
    return row


def counts(day: Day) -> dict[tuple[str, str | None], tuple[int, int]]:
    return {
        (row["scope"], row["queue"]): (row["calls_scored"], row["contacts_expected"])
        for row in day["satisfaction_daily"]
        if row["scope"] in ("total", "queue")
    }


def test_with_nothing_new_the_same_rows_are_published(center: Center) -> None:
    before = center.read()
    assert center.enrich("20261122T000000Z-000002") == NOTHING
    after = center.read()
    assert changed(before, after) == {}
    assert {row["run_id"] for row in after["emotion_log"]} == {"20261121T013000Z-000001"}
    assert {row["run_id"] for row in after["calls"]} == {"20261122T000000Z-000002"}
    night, enrichment = sorted(after["runs"], key=lambda row: row["run_id"])
    assert (night["kind"], enrichment["kind"]) == ("night", "enrichment")
    for figure in ("planned", "scored", "quarantined", "skipped", "ignored", "suppressed", "audio_hours", "coverage"):
        assert night[figure] == enrichment[figure], figure
    assert (enrichment["model_id"], enrichment["planned"], enrichment["ignored"]) == (MODEL_ID, 6, 2)
    assert list(enrichment["step_seconds"]) == ["enrich_day", "summarize_calls", "validate_tables"]
    page = (center.folder / "reports" / DAY.isoformat() / "nightly.html").read_text()
    assert "20261122T000000Z-000002" in page


def test_what_came_later_changes_the_day_as_a_night_would_have(center: Center) -> None:
    """A corrected queue, a record of a contact that had none, one without a recording, a survey, events."""
    before = center.read()
    assert counts(before) == {
        ("queue", "Billing"): (2, 2),
        ("queue", "Support"): (0, 3),
        ("queue", None): (1, 2),
        ("total", None): (3, 7),
    }
    later = center.having(
        contacts=[
            record("angry", "Support", "2026-11-21T10:00:00Z", LanguageCode="es-US"),
            record("calm", "Support", "2026-11-20T09:30:00Z"),  # older than the published one
            record("unrecorded", "Sales"),
            record("rang", "Sales"),
            record("of another day", "Sales", InitiationTimestamp="2026-11-21T09:00:00Z"),
        ],
        events=[
            event("angry", "hold", 19.0, 51.0),
            event("calm", "hold", 30.0, 36.0),
            event("nobody", "hold", 1.0, 2.0),
        ],
        surveys=[survey("angry", 1.5), survey("nobody", 3.0)],
        topics=[topic("angry", "wait", 0.0, 40.0), topic("nobody", "wait", 1.0, 2.0)],
    )
    found = later.enrich("20261122T000000Z-000002")
    assert found == {
        **NOTHING,
        "new_records": 2,
        "changed_records": 1,
        "changed_events": 2,
        "changed_surveys": 1,
        "changed_topics": 1,
    }
    enriched = later.read()
    assert of(enriched, "calls", "angry") | {"queue": None} != of(before, "calls", "angry") | {"queue": None}
    angry, calm, unrecorded = (of(enriched, "calls", name) for name in SCORED)
    assert (angry["queue"], angry["csat_survey"], angry["agent_talk_s"]) == ("Support", 1.5, 0.0)
    assert (calm["queue"], calm["csat_survey"], calm["agent_talk_s"]) == ("Billing", 4.0, 24.0)
    assert (unrecorded["queue"], unrecorded["csat_survey"]) == ("Sales", None)
    assert counts(enriched) == {
        ("queue", "Billing"): (1, 1),
        ("queue", "Support"): (1, 4),
        ("queue", "Sales"): (1, 2),
        ("queue", None): (0, 1),
        ("total", None): (3, 8),
    }
    assert {row["contact_id"]: row["language"] for row in enriched["contacts"]}["angry"] == "es-US"
    assert "of another day" not in {row["contact_id"] for row in enriched["contacts"]}
    assert {(row["kind"], row["end_s"]) for row in enriched["call_events"] if row["contact_id"] == "calm"} == {
        *{("hold", 36.0), ("pause", 55.0), ("pause", 60.0)},
    }
    # Of whom nothing new was told, the topic stays as it was.
    assert [(row["contact_id"], row["topic"]) for row in before["topic_emotions"]] == [("calm", "refund")]
    assert [(row["contact_id"], row["topic"]) for row in enriched["topic_emotions"]] == [
        ("angry", "wait"),
        ("calm", "refund"),
    ]
    figures = ("topic_s", "speech_s", "dominant_emotion", "p_angry", "p_calm", "negative_share")
    assert [[row[name] for name in figures] for row in enriched["topic_emotions"]] == [
        [40.0, 15.0, "angry", 1.0, None, 1.0],
        [29.0, 14.0, "calm", None, 1.0, 0.0],
    ]
    assert changed(before, enriched)["topics"] == changed(before, enriched)["topic_emotions"] == {"rows new"}
    assert changed(before, enriched).keys() == {
        *("contacts", "calls", "call_events", "surveys", "topics", "topic_emotions", "satisfaction_daily")
    }

    assert later.enrich("20261123T000000Z-000003") == NOTHING
    again = later.read()
    assert changed(enriched, again) == {}

    # A night that reads the same records: what an enrichment keeps though its records are older is all that differs.
    later.having(contacts=[*RECORDS["contacts"], *later.records["contacts"]]).night("20261124T013000Z-000004")
    of_a_night = later.read()
    assert changed(enriched, of_a_night) == {
        "surveys": {"rows gone"},
        "topics": {"rows gone"},
        "topic_emotions": {"rows gone"},
        "calls": {"csat_survey"},
        "quarantine": {"attempts", "last_seen"},
        "emotion_log": {"run_id"},
    }


def test_records_that_are_gone_leave_what_is_published(center: Center) -> None:
    before = center.read()
    for name in RECORDS:
        (center.folder / f"{name}.jsonl").unlink()
    assert center.enrich("20261122T000000Z-000002") == NOTHING
    assert changed(before, center.read()) == {}


@pytest.mark.parametrize("by", ["attribute", "list", "list, the record gone"])
def test_late_opt_outs_withdraw_what_was_heard(center: Center, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    before = center.read()
    contacts = [row for row in RECORDS["contacts"] if "gone" not in by or row["ContactId"] == "angry"]
    if by == "attribute":
        monkeypatch.setenv("CALLMOOD_OPT_OUT_ATTRIBUTE", "no_analysis")
        said = {"Attributes": {"no_analysis": "yes"}, "LastUpdateTimestamp": "2026-11-22T10:00:00Z"}
        contacts = [{**row, **said} if row["ContactId"] in ("calm", "broken") else row for row in contacts]
    else:
        keys = (keyed_hash(SECRET.encode(), "customer", f"+1555{name}") for name in ("calm", "broken"))
        (center.folder / "opt_outs").write_text("".join(f"{key}\n" for key in keys))
        monkeypatch.setenv("CALLMOOD_OPT_OUTS", str(center.folder / "opt_outs"))
    found = center.having(contacts=contacts).enrich("20261122T000000Z-000002")
    assert (found["opted_out"], found["changed_events"], found["changed_surveys"]) == (2, 0, 0)
    after = center.read()
    for name in ("emotion_log", "calls", "call_events", "surveys", "topics", "topic_emotions", "quarantine"):
        assert not {"calm", "broken"} & {row["contact_id"] for row in after[name]}, name
        assert {"calm", "broken"} & {row["contact_id"] for row in before[name]}, name
    nothing_heard = {"codec": None, "duration_s": None, "channels": None, "channel_kind": None, "nonspeech_s": None}
    for name in ("calm", "broken"):
        recording = of(after, "recordings", name)
        assert recording | {"status": "skipped", "reason_code": "opted_out"} | nothing_heard == recording
        assert recording["etag"] == of(before, "recordings", name)["etag"]
    (run,) = (row for row in after["runs"] if row["kind"] == "enrichment")
    assert (run["planned"], run["scored"], run["quarantined"], run["skipped"]) == (6, 2, 1, 3)
    assert counts(before)["total", None] == (3, 7)
    assert counts(after)["total", None] == (2, 5)

    assert center.enrich("20261123T000000Z-000003", publish=False) == NOTHING


def test_a_day_whose_customers_all_opt_out_is_emptied(center: Center, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLMOOD_OPT_OUT_ATTRIBUTE", "no_analysis")
    contacts = [record(name, "Billing", Attributes={"no_analysis": "true"}) for name in SCORED]
    assert center.having(contacts=contacts).enrich("20261122T000000Z-000002")["opted_out"] == 3
    after = center.read()
    assert (after["calls"], after["emotion_log"]) == ([], [])
    assert after["runs"][-1]["model_id"] == MODEL_ID


def test_a_contact_that_turns_out_to_be_of_another_day_leaves(center: Center) -> None:
    """It was in progress at midnight when the night read its record, which then named no recording."""
    assert "late" in {row["contact_id"] for row in center.read()["contacts"]}
    recorded = {"Location": "recordings/CallRecordings/2026/11/21/late_20261121T00:01_UTC.wav"}
    contacts = [record("late", "Support", "2026-11-21T10:00:00Z", Recordings=[recorded])]
    found = center.having(contacts=contacts, surveys=[survey("late", 2.0)]).enrich("20261122T000000Z-000002")
    assert found == {**NOTHING, "moved_contacts": 1}
    after = center.read()
    assert not [row for name in ("contacts", "surveys") for row in after[name] if row["contact_id"] == "late"]
    assert counts(after)["total", None] == (3, 6)


def test_another_formula_shows_in_calls_and_the_days_figures_and_nowhere_else(
    center: Center, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = center.read()
    monkeypatch.setattr(definitions, "INDEX_VERSION", 2)
    monkeypatch.setattr(definitions, "INDEX_NEGATIVE_WEIGHT", 5.0)
    monkeypatch.setattr("schemas.expectations.RULES", without_rule("calls", "index_version"))
    center.enrich("20261122T000000Z-000002")
    after = center.read()
    assert {row["index_version"] for row in after["calls"]} == {2}
    angry = (of(day, "calls", "angry")["satisfaction_index"] for day in (before, after))
    assert [*angry] == [0.0, 5.0]
    assert changed(before, after) == {
        "calls": {"index_version", "satisfaction_index", "satisfaction_low", "satisfaction_high"},
        # Of so few calls the interval is 0 to 100 by either formula.
        "satisfaction_daily": {"index_sum", "index_sumsq", "index_mean"},
    }


def without_rule(table: str, column: str) -> Mapping[str, Any]:
    from schemas.expectations import RULES

    return {**RULES, table: tuple(rule for rule in RULES[table] if rule.column != column)}


def test_a_night_that_was_faster_is_not_undone(center: Center) -> None:
    """It replaced the day after the enrichment had read it."""
    late = center.having(surveys=[*RECORDS["surveys"], survey("angry", 1.5)])
    late.publish("20261122T000000Z-000002", *STEPS["enrichment"][:3])
    center.having(surveys=RECORDS["surveys"]).night("20261122T013000Z-000003", agent_ends_s=41.0)
    of_the_night = center.read()
    assert of(of_the_night, "calls", "angry")["agent_talk_s"] == 21.0
    assert late.step("publish_tables", "20261122T000000Z-000002") == EXIT_PERMANENT
    reason = late.staging("20261122T000000Z-000002").markers()["publish_tables"].reason
    assert reason is not None
    assert "published anew, by run 20261122T013000Z-000003" in reason
    assert center.read() == of_the_night

    late.write_records()
    assert late.enrich("20261122T020000Z-000004", publish=False) == {**NOTHING, "changed_surveys": 1}


def test_a_day_that_was_never_published_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    center = set_up(tmp_path, monkeypatch)
    assert center.step("enrich_day", "20261122T000000Z-000002") == EXIT_PERMANENT
    reason = center.staging("20261122T000000Z-000002").markers()["enrich_day"].reason
    assert reason == "2026-11-20 was never published, so there is nothing to enrich; run its night first"
    assert not (tmp_path / "warehouse").exists()
