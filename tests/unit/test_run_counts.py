"""What a run had counted until it stopped, as far as it got."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import run_counts as module
from jobs.run_counts import run_counts
from jobs.staging import RunStaging, StepMarker
from jobs.storage import LocalStorage
from schemas import TABLES
from schemas.staging import CALL_AUDIO, PLAN
from schemas.table import Table
from tests.integration.sample_runs import rows_of

DAY = date(2026, 11, 20)


def stage(staging: RunStaging, table: Table, *codes: str | None) -> None:
    rows = rows_of(table, DAY, "run-1", len(codes))
    place = rows.schema.get_field_index("reason_code")
    staging.write_table(table, rows.set_column(place, rows.schema.field(place), pa.array(codes, pa.string())))


def test_reasons_are_those_known_so_far(tmp_path: Path) -> None:
    staging = RunStaging(LocalStorage(tmp_path), DAY, "run-1")
    assert run_counts(staging) == {"steps": {}, "reasons": {}}
    stage(staging, PLAN, "opted_out", None, None, None)
    assert run_counts(staging)["reasons"] == {"opted_out": 1}
    stage(staging, CALL_AUDIO, "truncated", "truncated", None)
    assert list(run_counts(staging)["reasons"].items()) == [("truncated", 2), ("opted_out", 1)]
    stage(staging, TABLES["recordings"], "opted_out", "truncated", "truncated", "model_error")
    assert run_counts(staging)["reasons"] == {"truncated": 2, "opted_out": 1, "model_error": 1}


def test_the_command_prints_the_counts_of_the_steps_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    staging = RunStaging(LocalStorage(tmp_path), DAY, "run-1")
    staging.end(StepMarker("plan_recordings", "run-1", "done", 1.0, counts={"planned": 4}))
    staging.end(StepMarker("extract_features", "run-1", "failed", 1.0, reason="full"))

    class Here:
        staging = str(tmp_path)
        s3_endpoint = None
        s3_region = ""
        folder_readers = "owner"

    monkeypatch.setattr(module, "load_settings", lambda: Here)
    given: Any = ["--call-date", str(DAY), "--run-id", "run-1"]
    assert module.main(given) == 0
    assert json.loads(capsys.readouterr().out) == {"steps": {"plan_recordings": {"planned": 4}}, "reasons": {}}
