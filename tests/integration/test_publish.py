"""Publishing a day: whole or not at all, once, without leftovers, beside other days; on a folder and on S3."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from sample_runs import figures, rows_of, staged

import jobs.warehouse
from jobs.classify_emotions import emotion_rows
from jobs.day_lock import DayLock
from jobs.errors import DayLocked, DayPublishedAnew, StepOrderError, StorageError, ValidationFailed
from jobs.staging import RunStaging
from jobs.storage import LocalStorage, Storage
from jobs.warehouse import DAY_TABLES, Warehouse, carry_forward
from schemas import TABLES
from schemas.staging import SEGMENTS
from schemas.table import Table

DAY = date(2026, 11, 20)
NAMES = [table.name for table in DAY_TABLES]
NewStorage = Callable[[str], Storage]


@pytest.fixture
def staging(new_storage: NewStorage) -> Storage:
    return new_storage("staging")


@pytest.fixture
def warehouse(new_storage: NewStorage) -> Warehouse:
    return Warehouse(new_storage("warehouse"), lease_s=20.0)


def parquet_files(warehouse: Warehouse, table: str) -> list[str]:
    """What a glob finds."""
    files = (file.path.removeprefix(f"{table}/") for file in warehouse.storage.files(table))
    return sorted(path for path in files if path.endswith(".parquet") and "_delta_log" not in path)


def delta_files(warehouse: Warehouse, table: str) -> list[str]:
    """What Delta's log names."""
    handle = delta(warehouse, table)
    return sorted(pa.table(handle.get_add_actions(flatten=True)).column("path").to_pylist())


def delta(warehouse: Warehouse, table: str) -> DeltaTable:
    return DeltaTable(warehouse.storage.uri(table), storage_options=warehouse.storage.delta_options())


def rows_in(warehouse: Warehouse, table: str, paths: list[str]) -> int:
    total = 0
    for path in paths:
        with warehouse.storage.open_input(f"{table}/{path}") as file:
            total += pq.read_metadata(file).num_rows
    return total


def content(warehouse: Warehouse, day: date = DAY, *, with_run: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The day's rows of every table, by default without the run's id."""
    snapshot = warehouse.snapshot()
    found = {}
    for table in DAY_TABLES:
        rows = snapshot.dataset(table.name, day).to_table()
        if "run_id" in rows.column_names and not with_run:
            rows = rows.drop_columns(["run_id"])
        found[table.name] = sorted(rows.to_pylist(), key=repr)
    return found


def assert_clean(warehouse: Warehouse) -> None:
    """Under the partitions is what the logs name and nothing else, and no intent is left."""
    for table in TABLES:
        assert parquet_files(warehouse, table) == delta_files(warehouse, table), table
    stray = {file.path.split("/")[0] for file in warehouse.storage.files()} - {*TABLES, "_locks"}
    assert stray == set()


# What a publication is


def test_published_rows_are_the_staged_ones(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1", rows=4, files=2), figures())
    for table in DAY_TABLES:
        expected = pa.concat_tables(rows_of(table, DAY, "run-1", 4, str(part)) for part in range(2))
        assert warehouse.read(table.name).equals(expected), table.name
    assert warehouse.read("calls", call_date=DAY + timedelta(1)).num_rows == 0
    assert warehouse.read("calls", columns=["contact_id", "call_date"]).column_names == ["contact_id", "call_date"]
    assert_clean(warehouse)


def test_the_marker_says_what_the_run_did_and_the_versions_it_made(staging: Storage, warehouse: Warehouse) -> None:
    versions = warehouse.publish(staged(staging, DAY, "run-1"), figures(coverage=None))
    assert versions == {name: delta(warehouse, name).version() for name in NAMES}
    assert warehouse.versions() == versions
    (row,) = warehouse.read("runs").to_pylist()
    assert row.pop("published_at").year >= 2026
    assert row == {
        **vars(figures(coverage=None)),
        "run_id": "run-1",
        "call_date": DAY,
        "step_seconds": [("plan_recordings", 1.5), ("extract_features", 20.0)],
        "table_versions": list(versions.items()),
    }


@pytest.mark.parametrize("kept", [0, 4, 400])
def test_a_published_file_that_is_damaged_is_an_error_that_says_what_to_do(
    staging: Storage, warehouse: Warehouse, kept: int
) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    (path,) = (file.path for file in warehouse.storage.files("calls") if file.path.endswith(".parquet"))
    warehouse.storage.write(path, warehouse.storage.read(path)[:kept])
    with pytest.raises(StorageError, match=r"cannot be (read|used)"):
        warehouse.read("calls")


def test_before_the_first_publication_there_is_nothing(warehouse: Warehouse) -> None:
    assert warehouse.read("quarantine", call_date=DAY).equals(TABLES["quarantine"].empty())
    assert warehouse.versions() == {}
    assert warehouse.snapshot().call_dates == []


def test_names_and_logs_hold_no_id_and_no_statistic_but_the_number_of_rows(
    staging: Storage, warehouse: Warehouse
) -> None:
    warehouse.publish(staged(staging, DAY, "run-1", rows=4), figures())
    entries = [file.path for file in warehouse.storage.files() if file.path.endswith(".json")]
    logged = [json.loads(line) for path in entries if "_delta_log" in path for line in lines(warehouse, path)]
    added = [entry["add"] for entry in logged if "add" in entry]
    assert len(added) == len(TABLES)
    assert {stats for add in added for stats in json.loads(add["stats"])} == {"numRecords"}
    texts = [
        *(file.path for file in warehouse.storage.files()),
        *(text for path in entries for text in lines(warehouse, path)),
    ]
    assert not [text for text in texts if "contact_id-" in text or "agent_id-" in text or "source_uri-" in text]


def lines(warehouse: Warehouse, path: str) -> list[str]:
    return warehouse.storage.read(path).decode().splitlines()


def test_any_reader_of_delta_sees_the_columns_with_their_descriptions(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    for table in TABLES.values():
        found = pa.schema(delta(warehouse, table.name).schema().to_arrow())
        assert found.names == table.schema.names
        assert delta(warehouse, table.name).metadata().partition_columns == ["call_date"]
        for field in table.schema:
            assert found.field(field.name).type == field.type
            assert found.field(field.name).metadata[b"comment"] == field.metadata[b"description"]


def test_a_day_without_recordings_is_published_and_replaces(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1", rows=0), figures())
    assert {len(rows) for rows in content(warehouse).values()} == {0}
    warehouse.publish(staged(staging, DAY, "run-2", rows=3), figures())
    assert {len(rows) for rows in content(warehouse).values()} == {3}
    warehouse.publish(staged(staging, DAY, "run-3", rows=0), figures(planned=0, scored=0))
    assert {len(rows) for rows in content(warehouse).values()} == {0}
    assert warehouse.read("runs").column("run_id").to_pylist() == ["run-1", "run-2", "run-3"]
    assert_clean(warehouse)


# Again


def test_a_day_published_again_is_the_same_but_for_the_run(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1", rows=5), figures())
    other_day = DAY + timedelta(1)
    warehouse.publish(staged(staging, other_day, "run-1b", rows=2), figures())
    first, other = content(warehouse), content(warehouse, other_day, with_run=True)
    warehouse.publish(staged(staging, DAY, "run-2", rows=5), figures())
    assert content(warehouse) == first
    assert content(warehouse, other_day, with_run=True) == other
    for name in NAMES:
        found = parquet_files(warehouse, name)
        assert not [path for path in found if "run-1-" in path]
        assert rows_in(warehouse, name, found) == rows_in(warehouse, name, delta_files(warehouse, name)) == 7
    assert warehouse.read("runs", call_date=DAY).column("run_id").to_pylist() == ["run-1", "run-2"]
    assert_clean(warehouse)


def test_the_same_run_publishes_once_and_cleans_again(staging: Storage, warehouse: Warehouse) -> None:
    run = staged(staging, DAY, "run-1")
    versions = warehouse.publish(run, figures())
    orphan = f"calls/call_date={DAY}/part-run-0-0.parquet"
    elsewhere = f"calls/call_date={DAY + timedelta(1)}/part-run-0-0.parquet"
    for path in (orphan, elsewhere):
        warehouse.storage.write(path, b"left by a run that died")
    assert warehouse.publish(run, figures()) == versions
    assert warehouse.versions() == versions
    assert warehouse.read("runs").num_rows == 1
    assert not warehouse.storage.exists(orphan)
    assert warehouse.storage.exists(elsewhere), "another day's files are its own publisher's"


def test_what_a_run_published_is_not_changed_by_staging_it_again(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    before = content(warehouse)
    warehouse.publish(staged(staging, DAY, "run-1", salt="computed again"), figures())
    assert content(warehouse) == before
    assert_clean(warehouse)


def test_replaced_files_stay_for_the_grace(
    staging: Storage, new_storage: NewStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(new_storage("warehouse"), grace_s=7.0)
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    waited = []
    other_threads_sleep = time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            return other_threads_sleep(seconds)
        waited.append((seconds, len(parquet_files(warehouse, "calls"))))

    monkeypatch.setattr(jobs.warehouse.time, "sleep", sleep)
    warehouse.publish(staged(staging, DAY, "run-2"), figures())
    assert waited == [(7.0, 2)]
    assert_clean(warehouse)


# Refusals


def damage_type(staging: RunStaging, path: str) -> None:
    table = pq.read_table(path)
    where = table.schema.get_field_index("duration_s")
    pq.write_table(table.set_column(where, "duration_s", table["duration_s"].cast(pa.string())), path)


def damage_column(staging: RunStaging, path: str) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["queue"]), path)


def damage_rows(staging: RunStaging, path: str) -> None:
    pq.write_table(pq.read_table(path).slice(1), path)


def damage_bytes(staging: RunStaging, path: str) -> None:
    Path(path).write_bytes(b"PAR1 is how it starts, and nothing more")


def damage_away(staging: RunStaging, path: str) -> None:
    Path(path).unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_type, "column duration_s: found type string, expected double"),
        (damage_column, "lacks column queue"),
        (damage_rows, "2 rows in a file of which its manifest says 3"),
        (damage_bytes, "staged calls of run run-2: Parquet"),
        (damage_away, "a file of the manifest is missing"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_that_is_not_the_tables_is_refused_before_anything_is_placed(
    tmp_path: Path, damage: Callable[[RunStaging, str], None], says: str
) -> None:
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"))
    staging = LocalStorage(tmp_path / "staging")
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    before = content(warehouse, with_run=True)
    run = staged(staging, DAY, "run-2", salt="other")
    damage(run, f"{staging.location}/{run.folder}/{run.manifest(TABLES['calls']).files[0].path}")
    with pytest.raises(ValidationFailed, match=says):
        warehouse.publish(run, figures())
    assert content(warehouse, with_run=True) == before
    assert_clean(warehouse)


def cut_short(storage: Storage, path: str) -> None:
    storage.write(path, storage.read(path)[:-1])


def fail(storage: Storage, path: str) -> None:
    raise StorageError("no answer")


@pytest.mark.parametrize(("copied", "says"), [(cut_short, "missing or of another size"), (fail, "no answer")])
def test_a_copy_that_goes_wrong_changes_nothing_and_leaves_nothing(
    staging: Storage, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, copied: Callable[..., None], says: str
) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    copy_in = warehouse.storage.copy_in

    def wrong_for_calls(source: Storage, source_path: str, path: str) -> None:
        copy_in(source, source_path, path)
        if path.startswith("calls/"):
            copied(warehouse.storage, path)

    run = staged(staging, DAY, "run-2")
    with monkeypatch.context() as patch, pytest.raises(StorageError, match=says):
        patch.setattr(warehouse.storage, "copy_in", wrong_for_calls)
        warehouse.publish(run, figures())
    assert views(warehouse) == {"run-1"}
    assert_clean(warehouse)
    warehouse.publish(run, figures())
    assert views(warehouse) == {"run-2"}


def test_a_table_that_was_not_staged_is_named(staging: Storage, warehouse: Warehouse) -> None:
    with pytest.raises(StepOrderError, match="run run-1 has no table contacts"):
        warehouse.publish(RunStaging(staging, DAY, "run-1"), figures())


# Schemas that change


@contextmanager
def code_with(*changed: Table, without: Iterable[str] = ()) -> Iterator[None]:
    """Let the code's tables of these names be other ones, and some not be there."""
    tables = {**TABLES, **{table.name: table for table in changed}}
    tables = {name: table for name, table in tables.items() if name not in without}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.warehouse, "TABLES", tables)
        patch.setattr(jobs.warehouse, "RUNS", tables["runs"])
        patch.setattr(jobs.warehouse, "DAY_TABLES", tuple(tables[name] for name in NAMES if name in tables))
        yield


def table_with(name: str, columns: Iterable[pa.Field]) -> Table:
    table = TABLES[name]
    return Table(name, table.description, list(columns), key=table.key, sort=table.sort, version=table.version)


CALLS = list(TABLES["calls"].schema)
OLDER = table_with("calls", [field for field in CALLS if field.name != "csat_survey"])
OLDER_RUNS = table_with("runs", [field for field in TABLES["runs"].schema if field.name != "kind"])
NEWER = {"call_events", "surveys", "topics", "topic_emotions"}
NEXT_DAY = DAY + timedelta(1)


def test_a_new_column_is_null_on_older_days(staging: Storage, warehouse: Warehouse) -> None:
    with code_with(OLDER):
        warehouse.publish(staged(staging, DAY, "run-1"), figures())
        assert "csat_survey" not in warehouse.read("calls").column_names
    warehouse.publish(staged(staging, NEXT_DAY, "run-2"), figures())
    assert warehouse.read("calls").column("csat_survey").null_count == 3
    assert warehouse.read("calls", call_date=DAY).column("csat_survey").null_count == 3
    assert warehouse.read("calls", call_date=DAY).column("duration_s").null_count == 0


def test_models_of_other_labels_stand_beside_each_other(staging: Storage, warehouse: Warehouse) -> None:
    """Each day has the probabilities of its own model's labels, and null for the others."""
    log = TABLES["emotion_log"]
    known = {DAY: ("angry", "happy", "neutral"), NEXT_DAY: ("bored", "neutral", "sad")}
    for day, labels in known.items():
        run = staged(staging, day, f"run-{day}")
        card = SimpleNamespace(labels=labels, model_id=f"model-of-{day}", conformal_threshold=0.1)
        model: Any = SimpleNamespace(card=card)
        segments = rows_of(SEGMENTS, day, run.run_id, 2).drop_columns("source_uri")  # one classified, one not
        run.write_table(log, emotion_rows(segments, np.array([[0.1, 0.2, 0.7]], np.float32), model, run.run_id))
        warehouse.publish(run, figures())
    rows = [row for row in warehouse.read("emotion_log").to_pylist() if row["classified"]]
    assert sorted(row["call_date"] for row in rows) == [DAY, NEXT_DAY]
    for row in rows:
        said = {name.removeprefix("p_"): row[name] for name in row if name.startswith("p_") and row[name] is not None}
        assert said == dict(zip(known[row["call_date"]], map(pytest.approx, (0.1, 0.2, 0.7)), strict=True))
        assert (row["model_id"], row["emotion"]) == (f"model-of-{row['call_date']}", known[row["call_date"]][2])


def test_a_warehouse_made_before_a_table_existed_is_read_and_published_to(
    staging: Storage, warehouse: Warehouse
) -> None:
    with code_with(OLDER_RUNS, without=NEWER):
        warehouse.publish(staged(staging, DAY, "run-1"), figures())
    assert warehouse.snapshot().run_ids(DAY) == ("run-1",)
    for name in NEWER:
        assert warehouse.read(name, call_date=DAY).equals(TABLES[name].empty())
    warehouse.publish(staged(staging, NEXT_DAY, "run-2"), figures())
    for name in NEWER:
        assert warehouse.read(name, call_date=DAY).num_rows == 0
        assert warehouse.read(name).num_rows == 3
    assert warehouse.read("calls").num_rows == 6
    older, newer = warehouse.read("runs").to_pylist(maps_as_pydicts="strict")
    assert (older["kind"], newer["kind"]) == (None, "night")
    assert newer["table_versions"].keys() - older["table_versions"].keys() == NEWER
    warehouse.publish(staged(staging, DAY, "run-3"), figures())
    assert {len(rows) for rows in content(warehouse).values()} == {3}
    assert_clean(warehouse)


def test_what_older_code_was_about_to_publish_is_carried_through(tmp_path: Path) -> None:
    """It died at its first commit, and its intent names neither the newer tables nor what kind of run it was."""
    place, staging = LocalStorage(tmp_path / "warehouse"), LocalStorage(tmp_path / "staging")
    warehouse = Warehouse(place)
    with code_with(OLDER_RUNS, without=NEWER):
        older = staged(staging, DAY, "run-1")
        n_tables = len(jobs.warehouse.TABLES)
        killed = Process(killed_at=n_tables + n_tables - 1 + 2)  # tables made, lock, copies, intent; then the commit
        with pytest.raises(Killed):
            killed.publish(place, older)
    assert killed.done[-1].startswith("commit")
    intent = json.loads(place.read(f"_intents/{DAY}.json"))
    del intent["figures"]["kind"]
    place.write(f"_intents/{DAY}.json", json.dumps(intent).encode())
    let_the_lease_end(place)
    warehouse.publish(staged(staging, DAY, "run-2"), figures(kind="enrichment"), based_on=("run-1",))
    kinds = {row["run_id"]: row["kind"] for row in warehouse.read("runs").to_pylist()}
    assert kinds == {"run-1": "night", "run-2": "enrichment"}
    assert views(warehouse) == {"run-2"}
    assert_clean(warehouse)


def test_older_code_publishes_beside_newer_and_drops_no_column(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    with code_with(OLDER):
        warehouse.publish(staged(staging, NEXT_DAY, "run-2"), figures())
    assert pa.schema(delta(warehouse, "calls").schema().to_arrow()).names == TABLES["calls"].schema.names
    assert warehouse.read("calls").column("csat_survey").null_count == 3


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            [field if field.name != "duration_s" else field.with_type(pa.string()) for field in CALLS],
            "column duration_s of calls is double in the warehouse, and string",
        ),
        (
            [*CALLS, pa.field("mandatory", pa.string(), nullable=False, metadata={"description": "A new one"})],
            "lacks mandatory, which may not be null",
        ),
    ],
    ids=["another type", "never null"],
)
def test_an_incompatible_schema_is_refused(
    staging: Storage, warehouse: Warehouse, columns: list[pa.Field], says: str
) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    before = content(warehouse, with_run=True)
    with code_with(table_with("calls", columns)), pytest.raises(ValidationFailed, match=says):
        warehouse.publish(staged(staging, DAY, "run-2"), figures())
    assert content(warehouse, with_run=True) == before
    assert_clean(warehouse)


# Side by side


def test_days_are_published_side_by_side(
    staging: Storage, new_storage: NewStorage, pytestconfig: pytest.Config
) -> None:
    place = new_storage("warehouse")
    at_once = 30 if pytestconfig.getoption("every_fault") else 6
    days = [DAY + timedelta(number) for number in range(at_once if isinstance(place, LocalStorage) else 3)]
    runs = [[staged(staging, day, f"run-{turn}", salt=day.isoformat()) for turn in range(2)] for day in days]

    def publish(turns: list[RunStaging]) -> None:
        for run in turns:
            Warehouse(new_storage("warehouse")).publish(run, figures())

    with ThreadPoolExecutor(len(days)) as pool:
        list(pool.map(publish, runs))
    warehouse = Warehouse(place)
    assert warehouse.snapshot().call_dates == days
    for day in days:
        for table in DAY_TABLES:
            expected = rows_of(table, day, "run-1", 3, f"{day}0")
            assert warehouse.read(table.name, call_date=day).equals(expected), (table.name, day)
    assert warehouse.read("runs").num_rows == 2 * len(days)
    assert_clean(warehouse)


def test_a_second_run_of_the_day_is_kept_out(staging: Storage, warehouse: Warehouse) -> None:
    run = staged(staging, DAY, "run-2")
    with DayLock(warehouse.storage, DAY, "run-1"), pytest.raises(DayLocked, match="by run run-1"):
        warehouse.publish(run, figures())
    assert warehouse.read("runs").num_rows == 0
    warehouse.publish(run, figures())
    assert warehouse.read("runs").num_rows == 1


def test_two_runs_of_a_day_at_once_leave_one_of_them_whole(staging: Storage, new_storage: NewStorage) -> None:
    runs = [staged(staging, DAY, f"run-{number}", salt=f"salt-{number}-") for number in range(2)]
    together = threading.Barrier(len(runs))

    def is_published(run: RunStaging) -> bool:
        together.wait()
        try:
            Warehouse(new_storage("warehouse"), lease_s=20.0).publish(run, figures())
        except DayLocked:
            return False
        return True

    with ThreadPoolExecutor(len(runs)) as pool:
        published = [run.run_id for run, went in zip(runs, pool.map(is_published, runs), strict=True) if went]
    warehouse = Warehouse(new_storage("warehouse"))
    view = warehouse.snapshot()
    assert published, "the one that is kept out is kept out by the other"
    assert list(view.run_ids(DAY)) == published
    last = view.last_run(DAY)["run_id"]
    for table in DAY_TABLES:
        assert view.dataset(table.name).to_table().equals(rows_of(table, DAY, last, 3, f"salt-{last[-1]}-0")), (
            table.name
        )
    assert_clean(warehouse)


@contextmanager
def commits(before: Callable[[str], None]) -> Iterator[list[str]]:
    """Have ``before`` called with the table's name before each commit; gives the names of the lost ones."""
    commit = DeltaTable.create_write_transaction
    lost = []

    def watched(handle: DeltaTable, *args: Any, **kwargs: Any) -> None:
        name = handle.table_uri.rstrip("/").rpartition("/")[2]
        before(name)
        try:
            commit(handle, *args, **kwargs)
        except CommitFailedError:
            lost.append(name)
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeltaTable, "create_write_transaction", watched)
        yield lost


def once(table: str, work: Callable[[], object]) -> Callable[[str], None]:
    """Do the work before the first commit of the table, which has opened its handle by then."""
    waiting = [work]

    def before(name: str) -> None:
        if name == table and waiting:
            waiting.pop()()

    return before


def test_the_loser_of_a_race_of_commits_tries_again(staging: Storage, new_storage: NewStorage) -> None:
    warehouse, other = Warehouse(new_storage("warehouse")), Warehouse(new_storage("warehouse"))
    for day in (DAY, NEXT_DAY):
        warehouse.publish(staged(staging, day, "run-1"), figures())
    run, faster = staged(staging, DAY, "run-2"), staged(staging, NEXT_DAY, "run-2")
    with commits(before=once("calls", lambda: other.publish(faster, figures()))) as lost:
        warehouse.publish(run, figures())
    assert lost == ["calls"]
    for day in (DAY, NEXT_DAY):
        assert set(warehouse.read("calls", call_date=day).column("run_id").to_pylist()) == {"run-2"}
    assert_clean(warehouse)


def test_commits_that_are_always_lost_end_as_an_error_that_can_be_tried_again(
    staging: Storage, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise CommitFailedError("lost")

    monkeypatch.setattr(jobs.warehouse, "COMMIT_ATTEMPTS", 3)
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="3 commits of contacts were lost"):
        patch.setattr(DeltaTable, "create_write_transaction", lose)
        warehouse.publish(staged(staging, DAY, "run-1"), figures())
    warehouse.publish(RunStaging(staging, DAY, "run-1"), figures())
    assert warehouse.read("calls").num_rows == 3
    assert_clean(warehouse)


def test_a_publisher_taken_for_dead_that_comes_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps between the lock's check and a commit to an empty partition, where Delta itself sees no conflict."""
    lease_s = 2.0
    staging, place = LocalStorage(tmp_path / "staging"), LocalStorage(tmp_path / "warehouse")
    sleeper, successor = (Warehouse(place, lease_s=lease_s) for _ in range(2))
    run, next_run = staged(staging, DAY, "run-1"), staged(staging, DAY, "run-2", salt="other")
    monkeypatch.setattr(DayLock, "_beat", lambda lock: None)

    def sleep_while_the_successor_works() -> None:
        time.sleep(lease_s)
        successor.publish(next_run, figures())

    with commits(before=once("calls", sleep_while_the_successor_works)) as lost, pytest.raises(DayLocked):
        sleeper.publish(run, figures())
    assert lost == ["calls"]
    assert successor.read("calls").equals(rows_of(TABLES["calls"], DAY, "run-2", 3, "other0"))
    assert successor.read("runs").column("run_id").to_pylist() == ["run-1", "run-2"]
    assert_clean(successor)


def test_what_was_made_of_rows_that_were_replaced_since_is_refused(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    read = warehouse.snapshot().run_ids(DAY)
    warehouse.publish(staged(staging, NEXT_DAY, "run-2"), figures())
    slow, fast = (staged(staging, DAY, f"run-{name}", salt=name) for name in ("slow", "fast"))
    warehouse.publish(fast, figures(), based_on=read)
    before = content(warehouse, with_run=True)
    with pytest.raises(DayPublishedAnew, match=r"2026-11-20 was published anew, by run run-fast, since .* new run"):
        warehouse.publish(slow, figures(), based_on=read)
    assert content(warehouse, with_run=True) == before
    # Its own publication is no other's: a retry only cleans.
    warehouse.publish(fast, figures(), based_on=read)
    assert content(warehouse, with_run=True) == before
    assert_clean(warehouse)


# A part of a day, and once more


def test_one_table_of_a_day_is_replaced_and_the_others_stay(staging: Storage, warehouse: Warehouse) -> None:
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    before, versions = content(warehouse, with_run=True), warehouse.versions()
    run = RunStaging(staging, DAY, "run-2")
    run.write_table(TABLES["quarantine"], rows_of(TABLES["quarantine"], DAY, "run-2", 2))
    warehouse.publish(run, figures(kind="release"), ("run-1",), tables=[TABLES["quarantine"]])
    after = content(warehouse, with_run=True)
    assert len(after.pop("quarantine")) == 2
    del before["quarantine"]
    assert after == before
    assert warehouse.versions() == {**versions, "quarantine": versions["quarantine"] + 1}
    assert_clean(warehouse)


def test_an_earlier_runs_tables_are_published_once_more_under_another_name(
    staging: Storage, warehouse: Warehouse
) -> None:
    first = staged(staging, DAY, "run-1", salt="first")
    warehouse.publish(first, figures())
    before = content(warehouse, with_run=True)
    warehouse.publish(staged(staging, DAY, "run-2"), figures())
    warehouse.publish(first, figures(kind="undo"), as_run="run-3")
    assert content(warehouse, with_run=True) == before
    assert warehouse.snapshot().run_ids(DAY) == ("run-1", "run-2", "run-3")
    assert_clean(warehouse)


# Readers


def views(warehouse: Warehouse) -> set[str]:
    """The runs whose rows a reader sees in the tables of the day; more than one would be a mixed view."""
    while True:
        snapshot = warehouse.snapshot()
        try:
            tables = [snapshot.dataset(name, DAY).to_table() for name in NAMES]
        except FileNotFoundError:  # replaced meanwhile: what the docstring says to do
            continue
        columns = [table.column("run_id").to_pylist() for table in tables if "run_id" in table.column_names]
        assert all(len(column) == 3 for column in columns)
        return {run for column in columns for run in column}


def test_a_reader_sees_the_old_day_or_the_new_whole(staging: Storage, new_storage: NewStorage) -> None:
    warehouse = Warehouse(new_storage("warehouse"))
    runs = [staged(staging, DAY, f"run-{turn}") for turn in range(8 if isinstance(staging, LocalStorage) else 3)]
    warehouse.publish(runs[0], figures())
    seen: list[set[str]] = []
    done = threading.Event()

    def read() -> None:
        reader = Warehouse(new_storage("warehouse"))
        while not done.is_set():
            seen.append(views(reader))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for run in runs[1:]:
            warehouse.publish(run, figures())
        done.set()
        reading.result()
    assert {len(view) for view in seen} == {1}
    assert len({frozenset(view) for view in seen}) > 1, "no replacement fell between two views"


def test_between_the_commits_of_a_day_its_readers_see_the_old_one(staging: Storage, new_storage: NewStorage) -> None:
    warehouse, reader = Warehouse(new_storage("warehouse")), Warehouse(new_storage("warehouse"))
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    seen = []
    with commits(before=lambda table: seen.append((table, views(reader)))):
        warehouse.publish(staged(staging, DAY, "run-2"), figures())
    assert seen == [(table, {"run-1"}) for table in TABLES]
    assert views(reader) == {"run-2"}


def test_a_day_that_is_replaced_while_a_view_is_taken_is_not_mixed(
    staging: Storage, new_storage: NewStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first publication was empty, so that no missing file gives the mixture away."""
    warehouse, reader = Warehouse(new_storage("warehouse")), Warehouse(new_storage("warehouse"))
    runs = [staged(staging, DAY, "run-2", rows=3)]
    warehouse.publish(staged(staging, DAY, "run-1", rows=0), figures())
    states = reader._states

    def some_before_and_some_after(names: Iterable[str]) -> Mapping[str, Any]:
        first, *others = names
        found = states([first])
        if runs:
            warehouse.publish(runs.pop(), figures())
        return {**found, **states(others)}

    monkeypatch.setattr(reader, "_states", some_before_and_some_after)
    assert {len(rows) for rows in content(reader).values()} == {3}


# Killed


class Killed(BaseException):
    """The process ended."""


class Process:
    """Counts what a publication changes, and is killed before or after one of those operations."""

    CHANGES = ("write", "create", "copy_in", "delete")

    def __init__(self, killed_at: int | None = None, after: bool = False) -> None:
        self.killed_at = killed_at
        self.after = after
        self.dead = False
        self.done: list[str] = []
        self._counting = threading.Lock()

    def do(self, label: str, operation: Callable[[], Any]) -> Any:
        self.live()
        with self._counting:
            number = len(self.done)
            self.done.append(label)
        if number != self.killed_at:
            return operation()
        if self.after:
            operation()
        self.dead = True
        raise Killed(label)

    def live(self) -> None:
        if self.dead:
            raise Killed

    def publish(self, storage: Storage, run: RunStaging) -> None:
        """Publish as this process, until it ends or is killed."""
        commit, create = DeltaTable.create_write_transaction, DeltaTable.create

        def watched(handle: DeltaTable, *args: Any, **kwargs: Any) -> None:
            self.do(f"commit {handle.table_uri}", lambda: commit(handle, *args, **kwargs))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DeltaTable, "create_write_transaction", watched)
            patch.setattr(DeltaTable, "create", lambda *a, **k: self.do("create", lambda: create(*a, **k)))
            Warehouse(_StorageOf(self, storage)).publish(run, figures())


class _StorageOf:
    """A storage as a process has it, while it lives."""

    def __init__(self, process: Process, storage: Storage) -> None:
        self._process = process
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found

        def call(*args: Any) -> Any:
            if name in Process.CHANGES:
                return self._process.do(f"{name} {args[-1] if name == 'copy_in' else args[0]}", lambda: found(*args))
            self._process.live()
            return found(*args)

        return call


def let_the_lease_end(storage: Storage) -> None:
    for file in list(storage.files("_locks")):
        state = json.loads(storage.read(file.path))
        storage.write(file.path, json.dumps({**state, "renewed_at": 0.0, "lease_s": 0.01}).encode())


@pytest.mark.parametrize("earlier", [["run-1"], []], ids=["a day published before", "an empty warehouse"])
def test_killed_at_any_change_the_next_run_heals_it(
    staging: Storage, new_storage: NewStorage, earlier: list[str], record_property: Callable[[str, object], None]
) -> None:
    """A reader in between sees the old day or the new, whole; the rerun is the same run or another by turns.

    By turns, too, it is killed before a change or after one: after one is before the next.
    """
    first = staged(staging, DAY, "run-1", salt="old")
    run, other_run = (staged(staging, DAY, name) for name in ("run-2", "run-3"))

    def prepared(name: str) -> Warehouse:
        warehouse = Warehouse(new_storage(name))
        if earlier:
            warehouse.publish(first, figures())
        return warehouse

    undisturbed = prepared("undisturbed")
    old = content(undisturbed)
    whole = Process()
    whole.publish(undisturbed.storage, run)
    new = content(undisturbed)
    assert new != old
    # On S3, where each takes seconds, every ninth: by the offset they fall on every kind of change.
    points = range(0, len(whole.done), 1 if isinstance(staging, LocalStorage) else 9)
    record_property("faults", len(points))
    for point in points:
        after = point % 2 == 1
        rerun = other_run if after else run
        warehouse = prepared(f"killed {'after' if after else 'before'} {point}")
        process = Process(point, after)
        with pytest.raises(Killed):
            process.publish(warehouse.storage, run)
        where = f"killed {'after' if after else 'before'} {process.done[point]}"
        assert content(warehouse) in (old, new), where
        let_the_lease_end(warehouse.storage)
        warehouse.publish(rerun, figures())
        assert content(warehouse) == new, where
        assert_clean(warehouse)
        runs = warehouse.read("runs").column("run_id").to_pylist()
        assert sorted(runs) in ([*earlier, rerun.run_id], [*earlier, "run-2", rerun.run_id]), where


def test_an_intent_whose_files_are_gone_is_not_committed(tmp_path: Path) -> None:
    place, staging = LocalStorage(tmp_path / "warehouse"), LocalStorage(tmp_path / "staging")
    warehouse = Warehouse(place)
    warehouse.publish(staged(staging, DAY, "run-1"), figures())
    run = staged(staging, DAY, "run-2")
    with pytest.raises(Killed):
        killed = Process(killed_at=len(DAY_TABLES) + 3)  # lock, its forerunner's file, copies, intent, a commit
        killed.publish(place, run)
    assert killed.done[-1].startswith("commit")
    place.delete(f"calls/call_date={DAY}/part-run-2-0.parquet")
    let_the_lease_end(place)
    with pytest.raises(StorageError, match=r"1 of 1 files that run run-2 placed in calls .* delete .*_intents/"):
        warehouse.publish(run, figures())
    assert views(warehouse) == {"run-1"}
    place.delete(f"_intents/{DAY}.json")
    warehouse.publish(run, figures())
    assert views(warehouse) == {"run-2"}
    assert_clean(warehouse)


# Quarantine


def quarantined(*rows: tuple[str, int, int]) -> pa.Table:
    table = TABLES["quarantine"]
    made = rows_of(table, DAY, "run", len(rows)).to_pylist()
    for row, (name, attempts, day) in zip(made, rows, strict=True):
        uri, _, etag = name.partition("@")
        row |= {"source_uri": uri, "etag": etag, "attempts": attempts}
        row |= {"first_seen": datetime(2026, 11, day, tzinfo=UTC)}
    return pa.Table.from_pylist(made, schema=table.schema)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ([("a", 1, 21)], [], [("a", 1, 21)]),
        ([("a", 1, 21)], [("a", 1, 20)], [("a", 2, 20)]),
        ([("b", 1, 21), ("a", 1, 21)], [("a", 4, 18), ("healed", 2, 19)], [("b", 1, 21), ("a", 5, 18)]),
        ([], [("healed", 2, 19)], []),
        ([("a@new", 1, 21)], [("a@old", 3, 18)], [("a@new", 1, 18)]),
    ],
    ids=["first failure", "second", "of some", "none any more", "written anew since"],
)
def test_quarantine_counts_on(
    new: list[tuple[str, int, int]], old: list[tuple[str, int, int]], expected: list[tuple[str, int, int]]
) -> None:
    found = carry_forward(quarantined(*new), quarantined(*old))
    assert found.equals(quarantined(*expected))
