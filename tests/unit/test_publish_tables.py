"""publish_tables: the run's figures out of what its steps staged, and the step from its start to its marker."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import publish_tables
from jobs.command import EXIT_PERMANENT, EXIT_TRANSIENT
from jobs.day_lock import DayLock
from jobs.errors import ReconciliationError, SettingsError
from jobs.publish_tables import run_figures
from jobs.settings import ROOT
from jobs.staging import STEPS, Basis, RunSpec, RunStaging, StepMarker
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import STAGED_TABLES, TABLES
from schemas.table import Table

DAY = date(2026, 11, 20)
ENRICHMENT = Basis(("run-0",), "model-0-def")


def rows(table: Table, *given: dict[str, Any]) -> pa.Table:
    """Rows with these values, and any in the columns that may not be null."""

    def some(field: pa.Field) -> Any:
        if field.nullable:
            return None
        if pa.types.is_timestamp(field.type):
            return datetime(2026, 11, 20, tzinfo=UTC)
        if pa.types.is_date(field.type):
            return DAY
        if pa.types.is_list(field.type) or pa.types.is_map(field.type):
            return []
        return "" if pa.types.is_string(field.type) else field.type.to_pandas_dtype()(0)

    filled = [{**{field.name: some(field) for field in table.schema}, **each} for each in given]
    return pa.Table.from_pylist(filled, schema=table.schema)


def before_publishing(staging: RunStaging) -> tuple[str, ...]:
    steps = STEPS[staging.run_spec().kind]
    return steps[: steps.index("publish_tables")]


def stage(
    staging: RunStaging,
    *outcomes: tuple[str, float | None],
    planned: int | None = None,
    models: tuple[str | None, ...] = ("model-1-abc", None),
    coverage: tuple[float | None, ...] = (0.5,),
    expected: int | None = None,
    model: str = "nowhere",
    basis: Basis | None = None,
    opted_out: bool = False,
) -> RunStaging:
    """Stage the run of recordings with these outcomes and lengths, the skipped ones opted out or not.

    Without a number of contacts expected, just the calls scored were.
    """
    content: dict[str, list[dict[str, Any]]] = {name: [] for name in STAGED_TABLES}
    content["recordings"] = [
        {
            "source_uri": f"s3://recordings/{number}.wav",
            "contact_id": f"contact {number}",
            "status": status,
            "duration_s": seconds,
            "reason_code": "opted_out" if opted_out and status == "skipped" else None,
        }
        for number, (status, seconds) in enumerate(outcomes)
    ]
    content["calls"] = [{"source_uri": row["source_uri"]} for row in content["recordings"] if row["status"] == "scored"]
    content["plan"] = [{"status": "planned"}] * (len(outcomes) if planned is None else planned)
    content["emotion_log"] = [{"model_id": model_id} for model_id in models]
    scored = len(content["calls"])
    counts = {"contacts_expected": scored if expected is None else expected, "calls_scored": scored}
    content["satisfaction_daily"] = [{"scope": "total", "coverage": each, **counts} for each in coverage]
    content["satisfaction_daily"].append({"scope": "queue", "queue": "sales", "coverage": 0.9})
    for name, table in STAGED_TABLES.items():
        staging.write_table(table, rows(table, *content[name]))
    spec = RunSpec(staging.run_id, DAY, model, ("customer",), "abc123", "2026-11-21T08:00:00+00:00", basis)
    staging.start_run(spec)
    for seconds, step in enumerate(before_publishing(staging), 1):
        counts = {"ignored": 7, "suppressed": 2} if seconds == 1 else {}
        staging.end(StepMarker(step, staging.run_id, "done", float(seconds), counts))
    return staging


@pytest.fixture
def staging(tmp_path: Path) -> RunStaging:
    return RunStaging(LocalStorage(tmp_path / "staging"), DAY, "run-1")


@pytest.mark.parametrize(("basis", "kind"), [(None, "night"), (ENRICHMENT, "enrichment")])
def test_the_figures_are_added_up_from_what_was_staged(staging: RunStaging, basis: Basis | None, kind: str) -> None:
    outcomes = ("scored", 1800.0), ("scored", 900.0), ("quarantined", 3600.0), ("skipped", None)
    stage(staging, *outcomes, basis=basis)
    found = run_figures(staging)
    assert (found.planned, found.scored, found.quarantined, found.skipped) == (4, 2, 1, 1)
    assert (found.suppressed, found.ignored) == (2, 7)
    assert found.audio_hours == 0.75
    assert (found.coverage, found.scored_of_planned) == (0.5, 0.5)
    assert (found.model_id, found.code_version, found.status) == ("model-1-abc", "abc123", "published")
    assert found.kind == kind
    assert found.step_seconds == {step: float(seconds) for seconds, step in enumerate(before_publishing(staging), 1)}


def test_a_day_without_recordings_has_figures_too(staging: RunStaging) -> None:
    found = run_figures(stage(staging, coverage=(None,)))
    assert (found.planned, found.audio_hours, found.coverage, found.scored_of_planned) == (0, 0.0, None, None)


def test_where_nothing_was_classified_the_models_card_names_it(staging: RunStaging) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        run_figures(stage(staging, models=(None,)))


def test_of_an_enrichment_it_is_the_model_of_the_run_that_it_read(staging: RunStaging) -> None:
    assert run_figures(stage(staging, models=(None,), basis=ENRICHMENT)).model_id == "model-0-def"


@pytest.mark.parametrize(
    ("staged", "says"),
    [
        ({"planned": 3}, "planned 3 recordings, but 1 scored \\+ 1 quarantined \\+ 0 skipped"),
        ({"coverage": ()}, "satisfaction_daily has 0 rows for the whole day"),
        ({"coverage": (0.5, 0.6)}, "satisfaction_daily has 2 rows for the whole day"),
        ({"models": ("b", "a")}, "by 2 models, a, b, expected one"),
    ],
)
def test_figures_that_do_not_add_up_are_not_published(staging: RunStaging, staged: dict[str, Any], says: str) -> None:
    stage(staging, ("scored", 10.0), ("quarantined", None), **staged)
    with pytest.raises(ReconciliationError, match=says):
        run_figures(staging)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")


ARGUMENTS = ["--call-date", DAY.isoformat(), "--run-id", "run-1"]


@pytest.mark.usefixtures("settings")
def test_the_step_publishes_and_its_marker_says_what(staging: RunStaging, tmp_path: Path) -> None:
    stage(staging, ("scored", 10.0), ("skipped", None))
    assert publish_tables.main(ARGUMENTS) == 0
    marker = staging.marker("publish_tables")
    assert marker is not None
    assert (marker.status, marker.counts["recordings"], marker.counts["emotion_log"]) == ("done", 2, 2)
    (run,) = Warehouse(LocalStorage(tmp_path / "warehouse")).read("runs").to_pylist()
    assert (run["run_id"], run["planned"], run["coverage"]) == ("run-1", 2, 0.5)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("expected", "accept", "basis", "status"),
    [
        (10, (), None, "published"),
        (11, (), None, "published_degraded"),
        (12, (), None, None),
        (12, ("--accept", "thin"), None, "published_degraded"),
        (12, (), ENRICHMENT, "published_degraded"),
        (25, ("--accept", "thin"), None, "volume_low"),
    ],
)
def test_a_night_that_scored_too_little_stops_and_asks(
    staging: RunStaging, tmp_path: Path, expected: int, accept: tuple[str, ...], basis: Basis | None, status: str | None
) -> None:
    stage(staging, *[("scored", 10.0)] * 10, expected=expected, basis=basis)
    assert publish_tables.main([*ARGUMENTS, *accept]) == (EXIT_PERMANENT if status is None else 0)
    runs = Warehouse(LocalStorage(tmp_path / "warehouse")).read("runs").to_pylist()
    assert [run["status"] for run in runs] == ([] if status is None else [status])
    if status is None:
        marker = staging.marker("publish_tables")
        assert marker is not None and marker.reason is not None
        assert "10 of 12 expected calls were scored, 83.33%, under 90%; nothing was published" in marker.reason
        # What it says to do, does it; and once that is done, the night's own task ends well, too.
        command = marker.reason.partition("python -m jobs.publish_tables ")[2].split()
        assert publish_tables.main(command) == 0
        assert publish_tables.main(ARGUMENTS) == 0
        assert Warehouse(LocalStorage(tmp_path / "warehouse")).read("runs").num_rows == 1


@pytest.mark.usefixtures("settings")
def test_a_locked_day_is_worth_another_try(staging: RunStaging, tmp_path: Path) -> None:
    stage(staging, ("scored", 10.0))
    with DayLock(LocalStorage(tmp_path / "warehouse"), DAY, "run-0"):
        assert publish_tables.main(ARGUMENTS) == EXIT_TRANSIENT
    marker = staging.marker("publish_tables")
    assert marker is not None
    assert (marker.status, marker.permanent) == ("failed", False)
    assert "is being published by run run-0" in (marker.reason or "")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("outcomes", "opted_out", "emptied"),
    [
        ([], False, False),
        ([("skipped", None), ("skipped", None)], False, False),
        ([("skipped", None), ("quarantined", None)], True, False),
        ([("skipped", None), ("skipped", None)], True, True),
        ([("skipped", None), ("scored", 5.0)], True, True),
    ],
    ids=["no recording", "none scored", "one opted out, one lost", "all opted out", "one opted out, one scored"],
)
def test_a_day_of_calls_is_emptied_by_opt_outs_alone(
    tmp_path: Path, outcomes: list[tuple[str, float | None]], opted_out: bool, emptied: bool
) -> None:
    storage = LocalStorage(tmp_path / "staging")
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"))
    first = stage(RunStaging(storage, DAY, "run-0"), ("scored", 10.0), ("scored", 20.0))
    warehouse.publish(first, run_figures(first))
    stage(RunStaging(storage, DAY, "run-1"), *outcomes, opted_out=opted_out)
    assert (publish_tables.main(ARGUMENTS) == 0) == emptied
    marker = RunStaging(storage, DAY, "run-1").marker("publish_tables")
    assert marker is not None
    assert emptied or ("CALLMOOD_ALLOW_EMPTY_DAY" in (marker.reason or "") and marker.permanent)


@pytest.mark.usefixtures("settings")
def test_an_enrichment_does_not_put_back_what_a_night_has_replaced(tmp_path: Path) -> None:
    storage, warehouse = LocalStorage(tmp_path / "staging"), Warehouse(LocalStorage(tmp_path / "warehouse"))
    for run_id in ("run-0", "night"):
        night = stage(RunStaging(storage, DAY, run_id), ("scored", 10.0))
        warehouse.publish(night, run_figures(night))
    stage(RunStaging(storage, DAY, "run-1"), ("scored", 10.0), basis=ENRICHMENT)
    assert publish_tables.main(ARGUMENTS) == EXIT_PERMANENT
    marker = RunStaging(storage, DAY, "run-1").marker("publish_tables")
    assert marker is not None
    assert "2026-11-20 was published anew, by run night, since this run read it" in (marker.reason or "")
    assert [row["run_id"] for row in warehouse.read("runs").to_pylist()] == ["night", "run-0"]


def test_the_dags_say_that_publishing_updates_every_table() -> None:
    """They run where the schemas cannot be imported, so they name the tables themselves."""
    assigned = [
        node for node in ast.parse((ROOT / "dags" / "runs.py").read_text()).body if isinstance(node, ast.Assign)
    ]
    named = {ast.unparse(node.targets[0]): node.value for node in assigned}
    assert set(ast.literal_eval(named["TABLES"])) == set(TABLES)
