"""Retention: what is past its lifetime goes, and what is not stays; on folders and on S3."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sample_runs import figures, rows_of, staged

from jobs import retention
from jobs.day_lock import DayLock
from jobs.labels import Label, Labels
from jobs.retention import begun_at, due, enforce, in_words
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging
from jobs.storage import Storage
from jobs.suppressions import Suppressed
from jobs.warehouse import Warehouse
from schemas import TABLES
from schemas.staging import PLAN, SEGMENTS

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)
OLD, YOUNG = date(2026, 8, 1), date(2026, 11, 20)
SECRET = "k" * 32


@dataclass(frozen=True)
class Place:
    """Warehouse, staging and reports, with two published days."""

    storage: Callable[[str], Storage]

    def settings(self, **lifetimes: object) -> Settings:
        places = {name: self.storage(name).location for name in ("warehouse", "staging", "reports")}
        endpoint = getattr(self.storage("warehouse"), "endpoint", None)
        return load_settings(recordings="s3://r", identity_key=SECRET, s3_endpoint=endpoint, **places, **lifetimes)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.storage("warehouse"))

    def staging(self, day: date, begun: str) -> RunStaging:
        run = RunStaging(self.storage("staging"), day, f"{begun}-000000")
        run.write_table(SEGMENTS, rows_of(SEGMENTS, day, run.run_id, 2))
        run.write_table(PLAN, rows_of(PLAN, day, run.run_id, 2))
        return run

    def kinds(self, settings: Settings) -> set[tuple[str, date]]:
        return {(each.what, each.call_date) for each in due(settings, NOW)}


@pytest.fixture
def place(new_storage: Callable[[str], Storage], monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(new_storage)
    for day in (OLD, YOUNG):
        run = staged(new_storage("elsewhere"), day, f"{day:%Y%m%d}T013000Z-000001")
        made.warehouse.publish(run, figures())
        for name in ("nightly.html", "data_docs/index.html"):
            made.storage("reports").write(f"{day}/{name}", b"<p>")
    return made


def judgement(day: date, contact_id: str) -> Label:
    return Label(day, contact_id, "customer", 1.0, 3.0, "sad", "negative", "heron", "random", 2.0, "m", "sad", 0.5, NOW)


def test_labels_go_when_their_lifetime_is_over_and_with_whom_they_are_of(place: Place) -> None:
    labels = Labels(place.storage("warehouse"))
    for day, contact_id in ((OLD, "old"), (YOUNG, "young"), (YOUNG, "erased")):
        labels.add(judgement(day, contact_id))
    assert due(place.settings(), NOW) == []
    settings = place.settings(retention_days={"labels": 90})
    found = due(settings, NOW)
    assert [(each.what, each.call_date, each.files) for each in found] == [("labels", OLD, 1)]

    # Judged while the contact was being erased.
    suppressed = Suppressed.of(SECRET.encode(), contacts=["erased"], at=NOW)
    place.storage("warehouse").write("_erasures/1/suppressed.json", suppressed.to_json())
    assert enforce(found, settings) == set()
    assert Labels(place.storage("warehouse")).read()["contact_id"].to_pylist() == ["young"]


def test_a_tables_day_goes_when_its_lifetime_is_over(place: Place) -> None:
    before = {name: place.warehouse.read(name, call_date=YOUNG) for name in TABLES}
    settings = place.settings(retention_days={"emotion_log": 90, "calls": 730, "contacts": 112})
    found = due(settings, NOW)
    assert [(each.what, each.call_date, each.files, each.run_id) for each in found] == [("emotion_log", OLD, 1, None)]
    assert "would" not in "".join(in_words(found))
    assert place.warehouse.read("emotion_log", call_date=OLD).num_rows == 3

    assert enforce(found, settings) == set()
    assert place.warehouse.read("emotion_log", call_date=OLD).num_rows == 0
    assert place.warehouse.read("calls", call_date=OLD).num_rows == 3
    assert [file.path for file in place.storage("warehouse").files(f"emotion_log/call_date={OLD}")] == []
    assert {name: place.warehouse.read(name, call_date=YOUNG) for name in TABLES} == before
    assert due(settings, NOW) == []
    assert list(in_words([])) == ["nothing is past its lifetime"]

    # Run again, the day is published as any other.
    again = staged(place.storage("elsewhere"), OLD, "20261121T013000Z-000009", salt="again")
    place.warehouse.publish(again, figures())
    assert place.warehouse.read("emotion_log", call_date=OLD).num_rows == 3


def test_what_is_due(place: Place) -> None:
    for lifetimes, expected in (
        ({}, set()),
        ({"report_days": 111}, {("reports", OLD)}),
        ({"report_days": 112}, set()),
        ({"retention_days": {"calls": 100}}, {("calls", OLD), ("reports", OLD)}),
        ({"retention_days": {"calls": 100}, "report_days": 200}, {("calls", OLD)}),
        ({"retention_days": {"surveys": 1}}, {("surveys", OLD)}),
    ):
        assert place.kinds(place.settings(**lifetimes)) == expected, lifetimes
    settings = place.settings(report_days=100)
    enforce(due(settings, NOW), settings)
    assert {file.path for file in place.storage("reports").files()} == {
        *(f"{YOUNG}/nightly.html", f"{YOUNG}/data_docs/index.html"),
    }


def test_what_runs_have_staged_goes_and_features_before_the_rest(place: Place) -> None:
    now, hours, days = (
        place.staging(YOUNG, begun) for begun in ("20261121T013000Z", "20261120T050000Z", "20261114T050000Z")
    )
    settings = place.settings()
    # What is in no folder of a day is not the jobs'.
    place.storage("staging").write("lost+found/of/others.parquet", b"")
    assert [(each.what, each.run_id) for each in due(settings, NOW)] == [
        ("staging", days.run_id),
        ("features", hours.run_id),
    ]
    enforce(due(settings, NOW), settings)
    left = {file.path.removeprefix(f"{YOUNG}/").rpartition("/")[0] for file in place.storage("staging").files()}
    assert left == {f"{now.run_id}/segments", f"{now.run_id}/plan", f"{hours.run_id}/plan", "lost+found/of"}
    assert due(place.settings(staging_days=0, features_days=0), NOW)


def test_orphans_go_and_a_day_that_is_being_published_waits(place: Place) -> None:
    storage = place.storage("warehouse")
    storage.write(f"calls/call_date={YOUNG}/part-died-0.parquet", b"PAR1")
    storage.write(f"calls/call_date={OLD}/part-died-0.parquet", b"PAR1")
    settings = place.settings(retention_days={"calls": 1})
    with DayLock(storage, OLD, "a run"):
        assert enforce(due(settings, NOW), settings) == {OLD}
    assert place.warehouse.read("calls", call_date=OLD).num_rows == 3
    assert not storage.exists(f"calls/call_date={YOUNG}/part-died-0.parquet")
    assert enforce(due(settings, NOW), settings) == set()
    assert [file.path for file in storage.files(f"calls/call_date={OLD}")] == []


def test_what_a_run_staged_of_erased_people_goes_at_once(place: Place) -> None:
    touched = place.staging(YOUNG, "20261121T013000Z")
    kept = RunStaging(touched.storage, OLD, "20261121T023000Z-000000")
    kept.write_table(PLAN, rows_of(PLAN, OLD, kept.run_id, 2, "of others"))
    suppressed = Suppressed.of(SECRET.encode(), contacts=["contact_id-0"], at=NOW)
    place.storage("warehouse").write("_erasures/e/suppressed.json", suppressed.to_json())
    settings = place.settings()
    enforce([], settings)
    assert (kept.is_withdrawn, touched.is_withdrawn) == (False, True)
    assert not [file for file in touched.storage.files(touched.folder) if file.path.endswith(".parquet")]


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [
        ("20261121T013000Z-0a1b2c", datetime(2026, 11, 21, 1, 30, tzinfo=UTC)),
        ("by-hand", datetime(2026, 11, 21, tzinfo=UTC)),
    ],
)
def test_a_runs_age_is_by_its_name(run_id: str, expected: datetime) -> None:
    assert begun_at(YOUNG, run_id) == expected


def test_a_dry_run_only_says_what_would_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("warehouse", "staging", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://r")
    monkeypatch.setenv("CALLMOOD_REPORT_DAYS", "30")
    page = tmp_path / "reports" / str(date.today() - timedelta(days=31)) / "nightly.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"<p>")
    for arguments, says, there in (
        (["--dry-run"], "would be deleted: reports: 1 days", True),
        ([], "deleted: reports", False),
    ):
        with caplog.at_level(logging.INFO):
            assert retention.main(arguments) == 0
        assert says in caplog.text
        assert page.exists() == there
        caplog.clear()
