"""Undo: an earlier run of a day is published once more, from what it staged."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from pydantic import SecretStr
from sample_runs import figures, staged

from jobs import due_days, plan_recordings, republish
from jobs.command import EXIT_PERMANENT
from jobs.errors import ErasedMeanwhile, NotRepublishable, SettingsError, ValidationFailed
from jobs.settings import Settings, load_settings
from jobs.staging import RunSpec, RunStaging
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed
from jobs.warehouse import DAY_TABLES, Snapshot, Warehouse
from schemas import TABLES
from schemas.staging import SEGMENTS
from tests.unit.listed_store import ListedStore

DAY = date(2026, 11, 20)
RUNS = ("20261121T013000Z-000001", "20261121T083000Z-000002")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    places = {name: str(tmp_path / name) for name in ("staging", "warehouse", "reports")}
    found = load_settings(recordings="s3://recordings", **places)
    monkeypatch.setattr(republish, "load_settings", lambda: found)
    return found


@pytest.fixture
def warehouse(settings: Settings) -> Warehouse:
    """With a day that two runs have published, one after the other."""
    warehouse = Warehouse(LocalStorage(settings.warehouse))
    for number, run_id in enumerate(RUNS):
        run = staged(LocalStorage(settings.staging), DAY, run_id, rows=2 + number, salt=run_id)
        skipped = [
            {**row, "status": "skipped", "reason_code": "duplicate"}
            for row in run.read_table(TABLES["recordings"]).to_pylist()
        ]
        run.write_table(TABLES["recordings"], pa.Table.from_pylist(skipped, TABLES["recordings"].schema))
        run.start_run(RunSpec(run_id, DAY, "nowhere", ("customer",), "abc", "2026-11-21T01:30:00+00:00"))
        warehouse.publish(run, figures(scored=2 + number, model_id=f"model-{number}"))
        run.drop(SEGMENTS)
    return warehouse


def rows(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    return {table.name: warehouse.read(table.name, call_date=DAY).to_pylist() for table in DAY_TABLES}


def test_the_day_is_again_what_the_run_published(settings: Settings, warehouse: Warehouse) -> None:
    second = rows(warehouse)
    assert republish.main(["--run-id", RUNS[0]]) == 0
    first = rows(warehouse)
    assert all(first[name] != second[name] and len(first[name]) == 2 for name in first)
    assert {row["run_id"] for row in first["calls"]} == {RUNS[0]}
    last = warehouse.snapshot().last_run(DAY)
    assert (last["kind"], last["scored"], last["model_id"]) == ("undo", 2, "model-0")
    assert last["run_id"] > RUNS[1] and last["published_at"] > datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    assert last["run_id"] in (Path(settings.reports) / str(DAY) / "nightly.html").read_text()
    # And forth again.
    assert republish.main(["--run-id", RUNS[1]]) == 0
    assert rows(warehouse) == second
    assert warehouse.read("runs").num_rows == 4


def test_a_run_that_has_somebody_who_was_erased_since_is_not_published_again(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = rows(warehouse)
    contact = RunStaging(LocalStorage(settings.staging), DAY, RUNS[0]).read_table(TABLES["calls"])["contact_id"][0]
    suppressed = Suppressed.of(b"k" * 32, contacts=[contact.as_py()], at=datetime(2026, 11, 22, tzinfo=UTC))
    warehouse.storage.write("_erasures/e/suppressed.json", suppressed.to_json())
    for key, says in (("k" * 32, ErasedMeanwhile), ("x" * 32, SettingsError)):
        keyed = settings.model_copy(update={"identity_key": SecretStr(key)})
        with pytest.raises(says):
            republish.republish(keyed, RUNS[0])
    assert rows(warehouse) == published


@pytest.mark.parametrize(
    ("run_id", "says"),
    [
        ("20261121T013000Z-ffffff", "no published run is named"),
        (RUNS[1], "is what is published for 2026-11-20"),
    ],
)
def test_what_is_no_earlier_run_is_refused(settings: Settings, warehouse: Warehouse, run_id: str, says: str) -> None:
    before = rows(warehouse)
    with pytest.raises(NotRepublishable, match=says):
        republish.republish(settings, run_id)
    assert republish.main(["--run-id", run_id]) == EXIT_PERMANENT
    assert rows(warehouse) == before


def test_a_run_whose_tables_are_gone_is_refused_as_a_whole(settings: Settings, warehouse: Warehouse) -> None:
    before = rows(warehouse)
    staging = RunStaging(LocalStorage(settings.staging), DAY, RUNS[0])
    (file,) = staging.manifest(TABLES["surveys"]).files
    staging.storage.delete(f"{staging.folder}/{file.path}")
    with pytest.raises(ValidationFailed, match=r"staged surveys of run .* is missing"):
        republish.republish(settings, RUNS[0])
    staging.drop(TABLES["surveys"])
    with pytest.raises(NotRepublishable, match="make run DATE=2026-11-20"):
        republish.republish(settings, RUNS[0])
    assert rows(warehouse) == before


@pytest.mark.usefixtures("warehouse")
def test_later_nights_leave_an_undone_day_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ListedStore([f"CallRecordings/2026/11/20/{name}_20261120T08:00_UTC.wav" for name in ("a", "b")])
    monkeypatch.setattr(plan_recordings, "s3_client", lambda *_: store)
    # The made-up rows of these runs name other objects: those that lie there came later.
    monkeypatch.setattr(due_days, "_are_gone", lambda *_: False)
    night = date(2026, 11, 21)
    assert [each.call_date for each in due_days.due_days(settings, night)] == [DAY]
    time.sleep(0.01)
    republish.republish(settings, RUNS[0])
    assert due_days.due_days(settings, night) == []


@pytest.mark.parametrize(
    ("kinds", "undone"),
    [
        ("night night undo", True),
        ("night undo erasure", True),
        ("night undo enrichment erasure", True),
        ("night undo night", False),
        ("night undo erasure night erasure", False),
        ("night undo release", False),
        ("night", False),
        ("night erasure", False),
    ],
)
def test_an_undo_stands_until_somebody_runs_the_day(
    kinds: str, undone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an erasure or an enrichment publishes goes on from the undone rows; a night begins anew."""
    runs = [
        {"run_id": f"run-{number}", "kind": kind, "published_at": datetime(2026, 11, 21, number, tzinfo=UTC)}
        for number, kind in enumerate(kinds.split())
    ]
    view = Snapshot(LocalStorage(tmp_path), {})
    monkeypatch.setattr(Snapshot, "dataset", lambda *_: pads.dataset(pa.Table.from_pylist(runs)))
    assert due_days._is_undone(view, DAY) is undone
