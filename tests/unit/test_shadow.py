"""What a candidate model would change: the figures on made-up calls, and that nothing published does."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from made_up_nights import DAY, RUN_ID, made_up_night
from rich.console import Console
from scipy.stats import t
from small_models import write_model

from infra import shadow as command
from infra.demo.local_s3 import local_s3
from jobs.command import EXIT_PERMANENT
from jobs.staging import RunSpec, RunStaging
from jobs.storage import LocalStorage, s3_client
from jobs.warehouse import RunFigures, Warehouse
from reporting.shadow import CallChange, Comparison, Estimate, compare
from schemas import TABLES

Calls = Mapping[str, tuple[str | None, float | None, Sequence[str]]]
Heard = Mapping[str, Sequence[str | None]]


def a_day(calls: Calls, heard: Heard, model_id: str = "old-1") -> dict[str, pa.Table]:
    """Calls with queue, index and reasons, and the emotions of their segments, one after the other."""
    segments = [
        {
            "contact_id": contact,
            "role": "customer",
            "start_s": 3.0 * number,
            "end_s": 3.0 * number + 2.5,
            "classified": emotion is not None,
            "emotion": emotion,
            "model_id": None if emotion is None else model_id,
        }
        for contact, emotions in heard.items()
        for number, emotion in enumerate(emotions)
    ]
    rows = [
        {"contact_id": contact, "queue": queue, "satisfaction_index": index, "review_reasons": list(reasons)}
        for contact, (queue, index, reasons) in calls.items()
    ]
    chosen = {name: pa.schema([TABLES[name].schema.field(each) for each in command.COLUMNS[name]]) for name in
        command.COLUMNS}  # fmt: skip
    return {
        "emotion_log": pa.Table.from_pylist(segments, chosen["emotion_log"]),
        "calls": pa.Table.from_pylist(rows, chosen["calls"]),
    }


BEFORE = a_day(
    {
        "a": ("Billing", 60.0, []),
        "b": ("Billing", 40.0, ["sustained_anger"]),
        "c": (None, 50.0, ["long_silence"]),
        "d": ("Sales", None, []),
        "gone": ("Sales", 10.0, []),
    },
    {"a": ["neutral", "sad"], "b": ["angry"] * 4, "c": ["sad", None], "d": [], "gone": ["sad"]},
)
AFTER = a_day(
    {
        "a": ("Billing", 40.0, ["mood_fall", "low_satisfaction"]),
        "b": ("Billing", 44.0, []),
        "c": (None, 51.0, ["long_silence", "escalated"]),
        "d": ("Sales", 70.0, []),
        "new": ("Sales", 10.0, []),
    },
    {"a": ["angry", "sad"], "b": ["angry", "sad", "angry", "neutral", "sad"], "c": ["sad", None], "new": ["sad"]},
    "new-2",
)


def test_segments_calls_and_queues_are_compared() -> None:
    found = compare(BEFORE, AFTER)
    assert (found.model, found.candidate) == ("old-1", "new-2")
    assert (found.only_published, found.only_candidate, found.unmatched_segments) == (1, 1, 1)
    assert found.calls == (
        CallChange("a", "Billing", 2, 1, 60.0, 40.0, (), ("mood_fall", "low_satisfaction")),
        CallChange("b", "Billing", 4, 2, 40.0, 44.0, ("sustained_anger",), ()),
        CallChange("c", None, 1, 0, 50.0, 51.0, ("long_silence",), ("long_silence", "escalated")),
        CallChange("d", "Sales", 0, 0, None, 70.0, (), ()),
    )
    assert [(each.name, each.calls, each.segments, each.newly_flagged, each.no_longer_flagged) for each in found.groups]
    groups = {each.name: each for each in found.groups}
    assert list(groups) == ["all", "Billing", "Sales", "no queue"]
    billing, sales = groups["Billing"], groups["Sales"]
    assert (billing.calls, billing.segments, billing.newly_flagged, billing.no_longer_flagged) == (2, 6, 1, 1)
    assert billing.changed_share is not None and billing.changed_share.value == 0.5
    assert billing.index_change is not None and billing.index_change.value == -8.0
    half = t.ppf(0.975, 1) * np.std([-20, 4], ddof=1) / np.sqrt(2)
    assert billing.index_change.high == pytest.approx(-8.0 + half)
    assert (sales.changed_share, sales.index_change) == (None, None)
    assert groups["no queue"].index_change == Estimate(1.0, None, None)


def test_a_day_against_itself_changes_nothing() -> None:
    tables = made_up_night(calls=12)
    found = compare(tables, tables)
    assert {(call.changed, call.index_change, call.flagged) for call in found.calls} == {(0, 0.0, "")}
    total = found.groups[0]
    assert total.changed_share == Estimate(0.0, 0.0, 0.0)
    assert total.index_change == Estimate(0.0, 0.0, 0.0)
    assert (found.only_published, found.only_candidate, found.unmatched_segments) == (0, 0, 0)


def test_the_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Segments of a call change together: of 150 days of 60 calls, 95% of the intervals hold the share of all calls."""
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(150):
        rates, sizes = rng.beta(1, 4, 60), rng.integers(1, 30, 60)
        changed = rng.binomial(sizes, rates)
        calls: Calls = {str(number): ("Q", 50.0, []) for number in range(60)}
        heard = {str(number): ["sad"] * size for number, size in enumerate(sizes)}
        other = {each: ["angry"] * changed[int(each)] + ["sad"] * (len(was) - changed[int(each)]) for each, was in
            heard.items()}  # fmt: skip
        share = compare(a_day(calls, heard), a_day(calls, other)).groups[0].changed_share
        assert share is not None and share.low is not None and share.high is not None
        covered.append(share.low <= 0.2 <= share.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_it_is_printed_for_people() -> None:
    out = io.StringIO()
    command.in_words(compare(BEFORE, AFTER), Console(file=out, width=200, markup=False))
    text = out.getvalue()
    assert "new-2 in place of old-1; nothing was published." in text
    assert "42.9% (" in text  # 3 of 7
    assert "60 to 40" in text and "newly flagged: +mood_fall" in text and "no longer flagged: -sustained_anger" in text
    assert (
        "Left out: 1 call that only the published day has, 1 call that only the candidate scored and 1 segment" in text
    )


# The command, with the night's own steps on recordings in an S3 server


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def center(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published day, made up; the settings name it."""
    tables = made_up_night(calls=3, odd=(), unrecorded=0, minutes=(0.5, 0.7))
    staging = RunStaging(LocalStorage(tmp_path / "old"), DAY, RUN_ID)
    staging.start_run(RunSpec(RUN_ID, DAY, "m", ("customer",), "0", f"{DAY}T23:00:00Z"))
    for name, table in TABLES.items():
        if name != "runs":
            staging.write_table(table, tables[name])
    counts = dict.fromkeys(("planned", "scored", "quarantined", "skipped", "suppressed", "ignored"), 3)
    figures = RunFigures(
        "m-1", "0", **counts, audio_hours=1.0, step_seconds={}, coverage=1.0, scored_of_planned=1.0, status="published"
    )
    Warehouse(LocalStorage(tmp_path / "warehouse")).publish(staging, figures)
    (tmp_path / "identity.key").write_text("k" * 40)
    records = [
        {"ContactId": row["contact_id"], "InitiationTimestamp": row["started_at"].isoformat(), "Channel": "VOICE"}
        for row in tables["contacts"].to_pylist()
    ]
    (tmp_path / "contacts.jsonl").write_text("\n".join(map(json.dumps, records)))
    given = {
        "RECORDINGS": "s3://recordings",
        "CONTACTS": tmp_path / "contacts.jsonl",
        "STAGING": tmp_path / "staging",
        "WAREHOUSE": tmp_path / "warehouse",
        "REPORTS": tmp_path / "reports",
        "IDENTITY_KEY_FILE": tmp_path / "identity.key",
        # The objects are written today, long after their keys' times.
        "CLOCK_SKEW_S": 10**9,
        "SPARK_MASTER": "local[1]",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"CALLMOOD_{name}", str(value))
    return tmp_path


@pytest.fixture
def recordings(center: Path, voice: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server with recordings of the day's calls."""
    sound = np.zeros((25 * 8000, 2), np.float32)
    sound[8000 : 13 * 8000, 0], sound[14 * 8000 : 20 * 8000, 1] = voice(12.0), voice(6.0, pitch_hz=110)
    soundfile.write(center / "call.wav", sound, 8000, subtype="PCM_16")
    published = Warehouse(LocalStorage(center / "warehouse")).read("recordings")
    with local_s3(center / "s3.log", buckets=("recordings",)) as server:
        monkeypatch.setenv("CALLMOOD_S3_ENDPOINT", server.endpoint_url)
        monkeypatch.setenv("CALLMOOD_S3_REGION", server.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        client = s3_client(server.endpoint_url, server.region)
        for uri in published["source_uri"].to_pylist():
            client.upload_file(str(center / "call.wav"), *uri.removeprefix("s3://").split("/", 1))
        yield


@pytest.mark.spark
@pytest.mark.s3
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("recordings")
def test_a_candidate_scores_the_days_recordings_and_nothing_published_changes(
    center: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = content(center / "warehouse")
    candidate = write_model(center / "candidate", change={"name": "candidate"})
    asked = ["--call-date", str(DAY), "--model", os.path.relpath(candidate), "--format", "json"]
    assert command.main(asked) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["candidate"].startswith("candidate-1.0-")
    assert found["model"] == "m-1-00000000"
    assert len(found["calls"]) == 3
    assert all(call["index_after"] is not None for call in found["calls"])
    assert "summarize_calls done" in said.err
    assert content(center / "warehouse") == published
    assert not content(center / "staging"), "what it staged, features of speech among it, is gone"
    assert not (center / "reports").exists()


@pytest.mark.parametrize(
    ("day", "model", "says"),
    [
        (str(DAY), "no-model", "plan_recordings: "),
        (str(DAY - timedelta(1)), "no-model", "2026-11-19 was never published, so there is nothing to compare with"),
    ],
)
def test_what_cannot_be_compared_is_said(
    center: Path, capsys: pytest.CaptureFixture[str], day: str, model: str, says: str
) -> None:
    published = content(center / "warehouse")
    assert command.main(["--call-date", day, "--model", str(center / model)]) == EXIT_PERMANENT
    assert says in capsys.readouterr().err
    assert content(center / "warehouse") == published
    assert not content(center / "staging")


def test_csv_has_a_row_a_call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(*_: Any) -> Comparison:
        return compare(BEFORE, AFTER)

    monkeypatch.setattr(command, "shadow", compared)
    monkeypatch.setattr(command, "load_settings", lambda: None)
    assert command.main(["--call-date", str(DAY), "--model", "m", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["contact_id"] for row in rows] == ["a", "b", "c", "d"]
    assert rows[0]["reasons_after"] == "mood_fall low_satisfaction"
    assert (rows[0]["index_change"], rows[3]["index_change"], rows[1]["flagged"]) == ("-20.0", "", "no longer")
