"""A run's staging: what counts is what a manifest names, and markers say which steps are done."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import DamagedFile, RunWithdrawn, StepOrderError, StorageError
from jobs.staging import STEPS, Basis, RunKind, RunSpec, RunStaging, StepMarker
from jobs.storage import LocalStorage
from schemas.errors import TableSchemaError
from schemas.table import Table, call_date, column

DAY = date(2026, 11, 20)
TABLE = Table(
    "things",
    "A row a thing.",
    [
        call_date(),
        column("name", pa.string(), "Its name"),
        column("size_s", pa.float32(), "Its size", null_when="unknown"),
    ],
    key=("call_date", "name"),
    sort=("name",),
)


def things(*names: str) -> pa.Table:
    return pa.table({"call_date": [DAY] * len(names), "name": list(names), "size_s": [1.5] * len(names)})


def names(staging: RunStaging) -> list[str]:
    return staging.read_table(TABLE).column("name").to_pylist()


@pytest.fixture
def staging(tmp_path: Path) -> RunStaging:
    return RunStaging(LocalStorage(tmp_path), DAY, "run-1")


NIGHT, ENRICHMENT = STEPS["night"], STEPS["enrichment"]
A_NIGHT = RunSpec("run-1", DAY, "models/research", ("customer",), "abc", "2026-11-21T08:00:00+00:00")
SPECS: dict[RunKind, RunSpec] = {
    "night": A_NIGHT,
    "enrichment": replace(A_NIGHT, roles=(), basis=Basis(("run-0",), "research-1-0a1b2c3d")),
    "erasure": replace(A_NIGHT, roles=(), basis=Basis(("run-0",), "research-1-0a1b2c3d", "erasure")),
}


def done(staging: RunStaging, *steps: str) -> None:
    for step in steps:
        staging.end(StepMarker(step, staging.run_id, "done", 1.0))


# Tables


def test_a_table_is_read_as_it_was_written_with_the_day_of_its_folder(staging: RunStaging) -> None:
    staging.write_table(TABLE, things("a", "b"))
    assert staging.read_table(TABLE).equals(TABLE.conform(things("a", "b")))
    assert staging.read_table(TABLE, ["size_s", "call_date"]).column_names == ["size_s", "call_date"]


def test_the_file_itself_holds_no_call_date(staging: RunStaging) -> None:
    manifest = staging.write_table(TABLE, things("a"))
    with staging.storage.open_input(f"{staging.folder}/{manifest.files[0].path}") as file:
        assert pq.read_schema(file).names == ["name", "size_s"]


def test_the_manifest_says_how_much_there_is(staging: RunStaging) -> None:
    manifest = staging.write_table(TABLE, things("a", "b", "c"))
    sizes = {file.path: file.size_bytes for file in staging.storage.files(f"{staging.folder}/things")}
    assert staging.manifest(TABLE) == manifest
    assert manifest.rows == 3
    assert [(file.rows, file.size_bytes) for file in manifest.files] == [
        (3, sizes[f"{staging.folder}/{manifest.files[0].path}"])
    ]


def test_attempts_that_were_not_committed_do_not_count(staging: RunStaging) -> None:
    written = []
    for attempt in ("first", "second"):
        with staging.writer(TABLE, "task0") as writer:
            writer.write(things(attempt))
        written.append(writer.file)
    staging.commit(TABLE, written[1:])
    assert names(staging) == ["second"]


def test_committing_again_replaces_the_table(staging: RunStaging) -> None:
    staging.write_table(TABLE, things("old"))
    staging.write_table(TABLE, things("new"))
    assert names(staging) == ["new"]


def test_a_table_without_rows_is_a_table(staging: RunStaging) -> None:
    manifest = staging.write_table(TABLE, TABLE.empty())
    assert manifest.files == ()
    assert staging.read_table(TABLE).equals(TABLE.empty())


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (things("a").drop_columns(["name"]), "lacks column name"),
        (things("a").append_column("colour", pa.array(["red"])), "has unknown.* column colour"),
        (things("a").set_column(1, "name", pa.array([1])), "column name: found type int64, expected string"),
    ],
)
def test_rows_of_another_form_are_refused(staging: RunStaging, rows: pa.Table, says: str) -> None:
    with pytest.raises(TableSchemaError, match=says):
        staging.write_table(TABLE, rows)
    with pytest.raises(StepOrderError):
        staging.manifest(TABLE)


def test_a_table_of_another_schema_version_is_refused(staging: RunStaging) -> None:
    staging.write_table(TABLE, things("a"))
    newer = Table("things", "", list(TABLE.schema), key=TABLE.key, sort=TABLE.sort, version=2)
    with pytest.raises(StepOrderError, match="schema version 1; expected run-1, 2"):
        staging.manifest(newer)


def test_a_table_that_was_never_written_is_named(staging: RunStaging) -> None:
    with pytest.raises(StepOrderError, match="run-1 has no table things"):
        staging.read_table(TABLE)


# Steps


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_starts_after_the_one_before(staging: RunStaging, kind: RunKind) -> None:
    staging.begin(STEPS[kind][0])
    staging.start_run(SPECS[kind])
    for before, step in pairwise(STEPS[kind]):
        with pytest.raises(StepOrderError, match=f"{step} needs {before} to be done in run run-1, but it has not"):
            staging.begin(step)
        done(staging, before)
        staging.begin(step)


@pytest.mark.parametrize(
    "marker",
    [
        StepMarker(NIGHT[0], "run-1", "failed", 1.0, reason="it did"),
        StepMarker(NIGHT[0], "another", "done", 1.0),
    ],
    ids=["failed", "foreign"],
)
def test_no_step_starts_on_a_failed_or_foreign_marker(staging: RunStaging, marker: StepMarker) -> None:
    staging.start_run(SPECS["night"])
    staging.end(marker)
    with pytest.raises(StepOrderError, match=f"but it {marker.status} \\(run {marker.run_id}\\)"):
        staging.begin(NIGHT[1])


@pytest.mark.parametrize("step", [*NIGHT[1:], *ENRICHMENT[1:]])
def test_no_step_but_a_first_one_starts_before_the_run_is_there(staging: RunStaging, step: str) -> None:
    done(staging, *NIGHT, *ENRICHMENT)
    with pytest.raises(StepOrderError, match="holds no run; start with plan_recordings or enrich_day"):
        staging.begin(step)


@pytest.mark.parametrize(("kind", "others"), [("night", "enrich_day"), ("enrichment", "plan_recordings")])
def test_a_run_is_a_night_or_an_enrichment(staging: RunStaging, kind: RunKind, others: str) -> None:
    staging.start_run(SPECS[kind])
    with pytest.raises(StepOrderError, match=f"{others} is no step of run run-1, whose steps are {STEPS[kind][0]}"):
        staging.begin(others)


def test_starting_a_step_again_takes_back_what_followed(staging: RunStaging) -> None:
    staging.start_run(SPECS["night"])
    done(staging, *NIGHT[:4])
    staging.begin(NIGHT[1])
    assert list(staging.markers()) == [NIGHT[0]]


@pytest.mark.parametrize("kind", STEPS)
def test_markers_come_in_the_steps_order_also_before_the_run_is_there(staging: RunStaging, kind: RunKind) -> None:
    assert staging.markers() == {}
    done(staging, *reversed(STEPS[kind]))
    assert tuple(staging.markers()) == STEPS[kind]


def test_a_marker_is_read_as_it_was_written(staging: RunStaging) -> None:
    marker = StepMarker(NIGHT[0], "run-1", "failed", 2.5, {"planned": 3}, "no bucket", permanent=True)
    assert staging.marker(NIGHT[0]) is None
    staging.end(marker)
    assert staging.marker(NIGHT[0]) == marker


@pytest.mark.parametrize("kind", STEPS)
def test_what_a_run_does_is_read_as_it_was_written(staging: RunStaging, kind: RunKind) -> None:
    with pytest.raises(StepOrderError, match="holds no run; start with plan_recordings"):
        staging.run_spec()
    staging.start_run(SPECS[kind])
    assert staging.run_spec() == SPECS[kind]
    assert staging.run_spec().kind == kind


def test_a_run_that_older_code_started_is_a_night(staging: RunStaging) -> None:
    staging.start_run(SPECS["night"])
    path = f"{staging.folder}/_run.json"
    older = {name: value for name, value in json.loads(staging.storage.read(path)).items() if name != "basis"}
    staging.storage.write(path, json.dumps(older).encode())
    assert staging.run_spec() == SPECS["night"]


def test_a_basis_that_older_code_wrote_is_an_enrichments(staging: RunStaging) -> None:
    staging.start_run(SPECS["enrichment"])
    path = f"{staging.folder}/_run.json"
    older = json.loads(staging.storage.read(path))
    del older["basis"]["kind"]
    staging.storage.write(path, json.dumps(older).encode())
    assert staging.run_spec() == SPECS["enrichment"]


def test_a_withdrawn_run_keeps_no_table_and_goes_no_further(staging: RunStaging) -> None:
    staging.start_run(SPECS["night"])
    staging.write_table(TABLE, things("a"))
    done(staging, NIGHT[0])
    assert staging.withdraw() == 1
    with pytest.raises(RunWithdrawn, match="run-1 had rows of somebody who was erased"):
        staging.begin(NIGHT[1])
    # A step that had begun before, and ends after.
    staging.write_table(TABLE, things("a"))
    with pytest.raises(RunWithdrawn):
        done(staging, NIGHT[1])
    assert not [file.path for file in staging.storage.files() if file.path.endswith(".parquet")]
    assert staging.marker(NIGHT[1]) is None


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(400) + b"PAR1", b"\0" * 500, "half"])
def test_a_damaged_file_of_a_table_is_an_error_that_says_what_to_do(staging: RunStaging, content: bytes | str) -> None:
    (file,) = staging.write_table(TABLE, things("a")).files
    path = Path(staging.storage.uri(staging.folder)) / file.path
    path.write_bytes(path.read_bytes()[: file.size_bytes // 2] if isinstance(content, str) else content)
    with pytest.raises(StorageError, match=r"cannot be read .*(run what wrote it again|check the disk)"):
        names(staging)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"3", b'{"step": ', b'{"status": "done"}', b'{"sizes": {}}']
)
def test_a_damaged_file_of_a_runs_own_is_named(staging: RunStaging, content: bytes) -> None:
    staging.start_run(A_NIGHT)
    done(staging, "plan_recordings")
    staging.write_table(TABLE, things("a"))
    for path, read in {
        "_run.json": staging.run_spec,
        "_steps/plan_recordings.json": staging.markers,
        "things/_manifest.json": lambda: staging.manifest(TABLE),
    }.items():
        staging.storage.write(f"{staging.folder}/{path}", content)
        with pytest.raises(DamagedFile, match=rf"{path} is damaged.* its {len(content)} bytes .*start a new run"):
            read()


def test_runs_do_not_see_each_other(staging: RunStaging) -> None:
    other = RunStaging(staging.storage, DAY, "run-2")
    staging.write_table(TABLE, things("a"))
    done(staging, NIGHT[0])
    assert other.markers() == {}
    with pytest.raises(StepOrderError):
        other.manifest(TABLE)


def test_progress_is_the_sum_of_the_tasks(staging: RunStaging) -> None:
    assert staging.progress(NIGHT[1]) == 0
    staging.report_progress(NIGHT[1], "task0", 1, 5)
    staging.report_progress(NIGHT[1], "task0", 4, 5)
    staging.report_progress(NIGHT[1], "task1", 2, 3)
    assert staging.progress(NIGHT[1]) == 6
    # A task that is writing: os.replace gives the file its name once it is whole.
    being_written = staging.storage.folder / staging.folder / "_progress" / NIGHT[1] / ".task1.json.1f2e3d4c"
    being_written.touch()
    assert staging.progress(NIGHT[1]) == 6
    done(staging, NIGHT[0])
    staging.start_run(SPECS["night"])
    staging.begin(NIGHT[1])
    assert staging.progress(NIGHT[1]) == 0
