"""How a step runs and what its marker says: of this try alone, permanent or not, and never outside staging."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from jobs.command import EXIT_PERMANENT, EXIT_TRANSIENT
from jobs.errors import SettingsError, StorageError
from jobs.staging import STEPS, RunSpec, RunStaging, StepMarker
from jobs.step import StepContext, step_main, step_status
from jobs.storage import LocalStorage
from schemas.errors import TableSchemaError

NIGHT = ["--call-date", "2026-11-20", "--run-id", "run"]


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStaging:
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://none")
    for name in ("STAGING", "WAREHOUSE", "REPORTS"):
        monkeypatch.setenv(f"CALLMOOD_{name}", str(tmp_path / name.lower()))
    return RunStaging(LocalStorage(tmp_path / "staging"), date(2026, 11, 20), "run")


def ended(staging: RunStaging, *steps: str) -> None:
    """A night whose steps up to some are done."""
    staging.start_run(RunSpec("run", staging.call_date, "model", ("customer",), "abc", "2026-11-21T08:00:00+00:00"))
    for step in steps:
        staging.end(StepMarker(step, "run", "done", 1.0))


def nothing(context: StepContext) -> Mapping[str, float]:
    return {"rows": 3}


def failing(error: Exception):
    def run(context: StepContext) -> Mapping[str, float]:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "permanent"),
    [
        (SettingsError("wrong"), EXIT_PERMANENT, True),
        (TableSchemaError("wrong"), EXIT_PERMANENT, True),
        (StorageError("away"), EXIT_TRANSIENT, False),
        (ValueError("a slip"), EXIT_TRANSIENT, False),
    ],
)
def test_a_failure_says_whether_another_try_may_help(
    staging: RunStaging, error: Exception, status: int, permanent: bool
) -> None:
    assert step_main("plan_recordings", failing(error), None, NIGHT) == status
    marker = staging.marker("plan_recordings")
    assert marker is not None
    assert (marker.status, marker.permanent) == ("failed", permanent)


def test_a_step_that_is_stopped_leaves_no_marker(staging: RunStaging) -> None:
    def stopped(context: StepContext) -> Mapping[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step_main("plan_recordings", stopped, None, NIGHT)
    assert staging.marker("plan_recordings") is None


def test_a_done_step_says_what_it_counted(staging: RunStaging) -> None:
    assert step_main("plan_recordings", nothing, None, [*NIGHT, "--attempt", "a1"]) == 0
    marker = staging.marker("plan_recordings")
    assert marker is not None
    assert (marker.status, marker.counts, marker.attempt) == ("done", {"rows": 3}, "a1")


@pytest.mark.parametrize(("asked", "found"), [(["--attempt", "a1"], "done"), (["--attempt", "a2"], None), ([], None)])
def test_the_marker_of_another_try_is_none(
    staging: RunStaging, capsys: pytest.CaptureFixture[str], asked: list[str], found: str | None
) -> None:
    step_main("plan_recordings", nothing, None, [*NIGHT, "--attempt", "a1"])
    capsys.readouterr()
    assert step_status([*NIGHT, "--step", "plan_recordings", *asked]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer and answer["status"]) == found


def test_a_step_waits_for_the_one_before(staging: RunStaging) -> None:
    assert step_main("extract_features", nothing, None, NIGHT) == EXIT_PERMANENT
    ended(staging, "plan_recordings")
    assert step_main("extract_features", nothing, None, NIGHT) == 0


def test_a_step_takes_back_the_markers_after_it(staging: RunStaging) -> None:
    ended(staging, *STEPS["night"][:5])
    step_main("extract_features", nothing, None, NIGHT)
    assert list(staging.markers()) == ["plan_recordings", "extract_features"]


def test_a_published_run_is_not_computed_again(staging: RunStaging) -> None:
    ended(staging, *STEPS["night"][:6])
    assert step_main("classify_emotions", nothing, None, NIGHT) == EXIT_PERMANENT
    assert step_main("render_report", nothing, None, NIGHT) == 0


@pytest.mark.parametrize("name", ["../escaped", "a/b", "", ".hidden", "x" * 65, "a b"])
def test_a_run_id_is_no_path(staging: RunStaging, name: str) -> None:
    with pytest.raises(SystemExit):
        step_main("plan_recordings", nothing, None, ["--call-date", "2026-11-20", "--run-id", name])
