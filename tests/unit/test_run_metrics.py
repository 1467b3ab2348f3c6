"""run_metrics: what a published run came to, as metrics, and what the pages say of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from jobs import run_metrics
from jobs.command import EXIT_PERMANENT
from jobs.run_metrics import METRICS
from jobs.settings import ROOT
from jobs.staging import StepMarker
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from reporting.drift import Profile, Published
from tests.integration.sample_runs import figures, staged

DAY, BEFORE = date(2026, 11, 20), date(2026, 11, 19)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Two days are published, each by a run named after it; returns when the second was."""
    for name in ("staging", "warehouse", "reports", "contacts"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    monkeypatch.setenv("CALLMOOD_IDENTITY_KEY", "0" * 64)
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"))
    outcomes = {"planned": 9, "scored": 5, "quarantined": 3, "skipped": 1, "suppressed": 2}
    for day, coverage in ((DAY, 0.5), (BEFORE, None)):
        staging = staged(LocalStorage(tmp_path / "staging"), day, f"run-{day:%d}")
        warehouse.publish(staging, figures(**outcomes, audio_hours=0.25, coverage=coverage))
        for number, step in enumerate(("plan_recordings", "publish_tables", "render_report"), 1):
            staging.end(StepMarker(step, staging.run_id, "done", float(number)))
    rows = warehouse.read("runs").to_pylist()
    found: datetime = next(row["published_at"] for row in rows if row["call_date"] == DAY)
    return found


def measured(capsys: pytest.CaptureFixture[str], day: date) -> dict[tuple[str, ...], float]:
    assert run_metrics.main(["--call-date", f"{day}", "--run-id", f"run-{day:%d}"]) == 0
    listed = json.loads(capsys.readouterr().out)
    found = {(each["name"].removeprefix("callmood."), *each["tags"].values()): each["value"] for each in listed}
    assert len(found) == len(listed)
    return found


def test_every_metric_of_a_run(published: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    assert measured(capsys, DAY) == {
        ("recordings", "planned"): 9,
        ("recordings", "scored"): 5,
        ("recordings", "quarantined"): 3,
        ("recordings", "skipped"): 1,
        ("recordings", "suppressed"): 2,
        # Those of the steps after publish_tables, too, which its row of runs cannot have.
        ("step_seconds", "plan_recordings"): 1.0,
        ("step_seconds", "publish_tables"): 2.0,
        ("step_seconds", "render_report"): 3.0,
        ("audio_hours",): 0.25,
        ("coverage",): 0.5,
        ("last_published",): published.timestamp(),
        ("newest_call_date",): datetime(2026, 11, 20, tzinfo=UTC).timestamp(),
    }


def test_an_older_day_that_is_run_again_does_not_pass_for_the_newest(
    published: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, BEFORE)
    assert found[("last_published",)] > published.timestamp()
    assert found[("newest_call_date",)] == datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    assert ("coverage",) not in found


def test_drift_is_the_day_against_the_28_before(
    published: datetime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not of what is like that by chance alone, with so few calls, nor of what the days before do not have."""

    def profiles(_: Published, days: Sequence[date]) -> dict[date, Profile]:
        assert (days[0], days[-1], len(days)) == (DAY - timedelta(28), DAY, 29)
        usual = {"levels": {"loud": 60.0, "soft": 40.0}, "codecs": {"WAV": 100.0}, "confidence": {"low": 1, "high": 1}}
        now = {**usual, "levels": {"loud": 10.0, "soft": 90.0}, "coverage": {"scored": 9.0}}
        nothing: dict[str, dict[str, float]] = {"emotions": {}, "coverage": {}}
        return {day: Profile("m", {**nothing, **(now if day == DAY else usual)}) for day in days}

    monkeypatch.setattr("reporting.drift.day_profiles", profiles)
    found = measured(capsys, DAY)
    assert found[("drift", "codecs")] == pytest.approx(0.0, abs=1e-3)
    assert found[("drift", "levels")] > 1
    assert {key for key in found if key[0] == "drift"} == {("drift", "codecs"), ("drift", "levels")}


@pytest.mark.parametrize(("day", "run_id"), [(DAY, "run-19"), (date(2026, 11, 18), "run-20")])
def test_a_run_that_is_not_published_has_none(
    published: datetime, day: date, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_metrics.main(["--call-date", f"{day}", "--run-id", run_id]) == EXIT_PERMANENT
    assert f"run {run_id} of {day} is not published" in caplog.text


def test_the_page_for_operators_has_every_metric_with_its_unit() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for name, meaning in METRICS.items():
        assert f"| `airflow.{name}` | {meaning} |" in page
