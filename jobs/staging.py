"""A run's staging: the tables that its steps hand to each other, and the markers that say which steps are done.

``<staging>/<call_date>/<run_id>/`` holds a folder a table with Parquet files, whose names are unique to the
attempt that wrote them, and a manifest that names the files that count. Readers read the manifest and never the
folder, so that retries and speculative attempts leave no duplicate. A step is done when its marker is there,
whatever its process's exit status said.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from jobs.errors import JobError, RunWithdrawn, StepOrderError
from jobs.storage import Made, Storage, local_errors, parquet_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.table import Table

RunKind = Literal["night", "enrichment", "erasure"]
_READING = ("plan_recordings", "extract_features", "classify_emotions")
_PUBLISHING = ("summarize_calls", "validate_tables", "publish_tables", "render_report")
STEPS: Mapping[RunKind, tuple[str, ...]] = MappingProxyType(
    {
        "night": (*_READING, *_PUBLISHING),
        "enrichment": ("enrich_day", *_PUBLISHING),
        "erasure": ("erase_day", "publish_tables", "render_report"),
    }
)
"""The steps of each kind of run, in their order."""
ALL_STEPS = (*_READING, "enrich_day", "erase_day", *_PUBLISHING)
ROW_GROUP_ROWS = 8192
PARTITION_COLUMN = "call_date"


def new_run_id(at: datetime | None = None) -> str:
    """Name a run by when it begins (now, unless told otherwise) and by chance: names sort by time."""
    return f"{at or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def day_of(path: str) -> date | None:
    """The day whose folder a file of staging or of reports lies in; None of what others have put there."""
    folder = path.partition("/")[0]
    try:
        day = date.fromisoformat(folder)
    except ValueError:
        return None
    return day if folder == day.isoformat() else None


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file of a staged table: its path below the run's folder, its rows and its size in bytes."""

    path: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """The files that make a staged table."""

    table: str
    run_id: str
    schema_version: int
    files: tuple[StagedFile, ...]

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(file.rows for file in self.files)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read a manifest's file."""
        return cls(**{**found, "files": tuple(StagedFile(**file) for file in found["files"])})


@dataclass(frozen=True)
class Basis:
    """What a run was made from that read published rows: the runs that had published its day, and the rows' model."""

    run_ids: tuple[str, ...]
    model_id: str
    kind: RunKind = "enrichment"


@dataclass(frozen=True)
class RunSpec:
    """What a run was asked to do; fixed by its first step, the same for all of them.

    ``model`` is the model's folder; ``roles`` are those whose speech the run itself classifies: none in an enrichment
    or an erasure, which have a ``basis``.
    """

    run_id: str
    call_date: date
    model: str
    roles: tuple[str, ...]
    code_version: str
    started_at: str
    basis: Basis | None = None

    @property
    def kind(self) -> RunKind:
        """What the run is: a night computes a day from its recordings, the others from its published tables."""
        return "night" if self.basis is None else self.basis.kind

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "call_date": self.call_date.isoformat()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what ``to_json`` returned."""
        basis = found.get("basis")
        return cls(
            **{
                **found,
                "call_date": date.fromisoformat(found["call_date"]),
                "roles": tuple(found["roles"]),
                "basis": None if basis is None else Basis(**{**basis, "run_ids": tuple(basis["run_ids"])}),
            }
        )


@dataclass(frozen=True)
class StepMarker:
    """A step's end: ``done``, or ``failed`` with the reason and whether another try could help.

    ``attempt`` is the name that whoever started the step gave to this try of it: the marker of an earlier try says
    nothing of a later one that died before it could take the marker back.
    """

    step: str
    run_id: str
    status: str
    seconds: float
    counts: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    permanent: bool = False
    attempt: str | None = None


class RunStaging:
    """The staging of one run.

    Parameters
    ----------
    storage
        The staging location of all runs.
    call_date, run_id
        The run's.
    """

    def __init__(self, storage: Storage, call_date: date, run_id: str) -> None:
        self.storage = storage
        self.call_date = call_date
        self.run_id = run_id
        self.folder = f"{call_date.isoformat()}/{run_id}"

    # The run's order, and the steps' markers

    def start_run(self, spec: RunSpec) -> None:
        """Fix what the run does."""
        self._write_json("_run.json", spec.to_json())

    def run_spec(self) -> RunSpec:
        """What the run was asked to do.

        Raises
        ------
        StepOrderError
            Where no run was started here.
        """
        spec = self._read_json("_run.json", RunSpec.from_json)
        if spec is None:
            raise StepOrderError(
                f"{self.storage.uri(self.folder)} holds no run; start with "
                f"{' or '.join(steps[0] for steps in STEPS.values())} of this call date and run id"
            )
        return spec

    def marker(self, step: str) -> StepMarker | None:
        """The step's marker; None where the step has not ended."""
        return self._read_json(f"_steps/{step}.json", lambda found: StepMarker(**found))

    def markers(self) -> dict[str, StepMarker]:
        """The markers of the steps that ended, in the steps' order."""
        ended = {file.path.rpartition("/")[2] for file in self.storage.files(f"{self.folder}/_steps")}
        found = ((step, self.marker(step)) for step in ALL_STEPS if f"{step}.json" in ended)
        return {step: marker for step, marker in found if marker is not None}

    def begin(self, step: str) -> None:
        """Take back this step's marker and those of the steps after it, whose results are of its old result.

        Raises
        ------
        StepOrderError
            Where the step before is not done, or the run is of a kind without this step.
        """
        self._check_not_withdrawn()
        steps = STEPS[self._kind(step)]
        if step not in steps:
            raise StepOrderError(f"{step} is no step of run {self.run_id}, whose steps are {', '.join(steps)}")
        position = steps.index(step)
        if position:
            before = steps[position - 1]
            marker = self.marker(before)
            if marker is None or marker.status != "done" or marker.run_id != self.run_id:
                found = "has not ended" if marker is None else f"{marker.status} (run {marker.run_id})"
                raise StepOrderError(
                    f"{step} needs {before} to be done in run {self.run_id}, but it {found}; run {before} first"
                )
        published = self.marker("publish_tables")
        if position < steps.index("publish_tables") and published is not None and published.status == "done":
            raise StepOrderError(
                f"run {self.run_id} is published, and a run is published once; to compute the day again start a new "
                "run, or clear the DAG run with its first task, which names the run"
            )
        for later in steps[position:]:
            self.storage.delete(f"{self.folder}/_steps/{later}.json")
        self.storage.delete_below(f"{self.folder}/_progress/{step}")

    def _kind(self, step: str) -> RunKind:
        """The kind of the run, or of the one that this step is the first of."""
        try:
            return self.run_spec().kind
        except StepOrderError:
            for kind, steps in STEPS.items():
                if steps[0] == step:
                    return kind
            raise

    def end(self, marker: StepMarker) -> None:
        """Write the step's marker.

        Raises
        ------
        RunWithdrawn
            Where the run was withdrawn while the step ran; what the step wrote is deleted.
        """
        if marker.status == "done" and self.is_withdrawn:
            self.withdraw()
            self._check_not_withdrawn()
        self._write_json(f"_steps/{marker.step}.json", asdict(marker))

    # Withdrawal

    @property
    def is_withdrawn(self) -> bool:
        """Whether an erasure took the run's tables away."""
        return self.storage.exists(f"{self.folder}/_withdrawn.json")

    def withdraw(self) -> int:
        """Delete every table of the run, and let no step of it go on; returns how many files were deleted."""
        self._write_json("_withdrawn.json", {"run_id": self.run_id})
        doomed = [file.path for file in self.storage.files(self.folder) if file.path.endswith(".parquet")]
        for path in doomed:
            self.storage.delete(path)
        return len(doomed)

    def _check_not_withdrawn(self) -> None:
        if self.is_withdrawn:
            raise RunWithdrawn(
                f"run {self.run_id} had rows of somebody who was erased, and its tables were deleted; start a new run "
                "of the day (clear the DAG run with its first task)"
            )

    # Progress, for whoever watches

    def report_progress(self, step: str, task: str, done: int, total: int) -> None:
        """Say how far one task of a step is; where that cannot be written, the task goes on all the same."""
        with suppress(JobError):
            self._write_json(f"_progress/{step}/{task}.json", {"done": done, "total": total})

    def progress(self, step: str) -> int:
        """How many recordings the step's tasks have done."""
        tasks: dict[str, int] = {}
        for file in self.storage.files(f"{self.folder}/_progress/{step}"):
            # A file that is being written is listed too, under a name of its own (Storage.files).
            whole = file.path.endswith(".json")
            done = self._read_json(file.path.removeprefix(f"{self.folder}/"), itemgetter("done")) if whole else None
            if done is not None:
                tasks[file.path] = done
        return sum(tasks.values())

    # Tables

    def writer(self, table: Table, task: str = "driver", metadata: Mapping[str, str] | None = None) -> TableWriter:
        """A writer of one file of the table; what it wrote counts once committed."""
        return TableWriter(self, table, f"{table.name}/{task}-{secrets.token_hex(8)}.parquet", metadata or {})

    def commit(self, table: Table, files: Sequence[StagedFile]) -> Manifest:
        """Make these files the table, in place of what it was."""
        manifest = Manifest(table.name, self.run_id, table.version, tuple(file for file in files if file.rows))
        self._write_json(f"{table.name}/_manifest.json", asdict(manifest))
        return manifest

    def write_table(self, table: Table, rows: pa.Table) -> Manifest:
        """Write and commit a table that fits into memory."""
        with self.writer(table) as writer:
            writer.write(rows)
        return self.commit(table, [writer.file])

    def drop(self, table: Table) -> None:
        """Delete a table and every file that any attempt wrote for it."""
        self.storage.delete_below(f"{self.folder}/{table.name}")

    def manifest(self, table: Table) -> Manifest:
        """The table's files.

        Raises
        ------
        StepOrderError
            Where the table was not committed, or by another run, or with another version of its schema.
        """
        manifest = self._read_json(f"{table.name}/_manifest.json", Manifest.from_json)
        if manifest is None:
            raise StepOrderError(f"run {self.run_id} has no table {table.name}; run the step that makes it first")
        if manifest.run_id != self.run_id or manifest.schema_version != table.version:
            raise StepOrderError(
                f"staged {table.name} is of run {manifest.run_id}, schema version {manifest.schema_version}; expected "
                f"{self.run_id}, {table.version}; run the steps of this run again with one version of the code"
            )
        return manifest

    def read_table(self, table: Table, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table into memory, with the rows of its files one after another."""
        import pyarrow as pa

        schema = table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        batches = [batch for file in self.manifest(table).files for batch in self.read_file(table, file, columns)]
        return pa.Table.from_batches(batches, schema=schema)

    def read_file(
        self,
        table: Table,
        file: StagedFile,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Read one file of a table, batch by batch, optionally some of its columns only.

        The batches' schema has the metadata that the file was written with.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
        stored = [name for name in schema.names if name != PARTITION_COLUMN]
        with (
            local_errors("read", self.storage.location),
            parquet_errors(self.storage.location),
            self.storage.open_input(f"{self.folder}/{file.path}") as source,
            pq.ParquetFile(source) as parquet,
        ):
            said = parquet.metadata.metadata
            schema = schema.with_metadata({name: said[name] for name in said if name != b"ARROW:schema"})
            for batch in parquet.iter_batches(ROW_GROUP_ROWS, columns=stored):
                arrays = {name: batch.column(name) for name in stored}
                if PARTITION_COLUMN in schema.names:
                    arrays[PARTITION_COLUMN] = pa.repeat(pa.scalar(self.call_date), batch.num_rows)
                yield pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)

    def _read_json(self, path: str, parse: Callable[[Any], Made]) -> Made | None:
        try:
            return self.storage.read_json(f"{self.folder}/{path}", parse)
        except FileNotFoundError:
            return None

    def _write_json(self, path: str, content: Mapping[str, Any]) -> None:
        self.storage.write(f"{self.folder}/{path}", json.dumps(content, indent=1).encode())


class TableWriter:
    """Writes one Parquet file of a staged table; a context manager, after which ``file`` says what was written.

    The file is as the warehouse will hold it: without call_date, which is in the path of both.
    """

    def __init__(self, staging: RunStaging, table: Table, path: str, metadata: Mapping[str, str]) -> None:
        self._staging = staging
        self._table = table
        self._metadata = metadata
        self.file = StagedFile(path, 0, 0)

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        schema = self._table.published_schema
        with local_errors("written", self._staging.storage.location):
            self._sink = self._staging.storage.open_output(f"{self._staging.folder}/{self.file.path}")
        plain = [name for name in schema.names if name != "features"]
        with self._or_give_up():
            self._parquet = pq.ParquetWriter(
                self._sink, schema, compression="zstd", use_dictionary=plain, write_statistics=plain
            )
        self._parquet.add_key_value_metadata(dict(self._metadata))
        return self

    def write(self, rows: pa.Table) -> None:
        """Append rows, of the table's columns in any order; columns that may be null may be missing."""
        conformed = self._table.conform(rows).select(self._table.published_schema.names)
        with self._or_give_up():
            self._parquet.write_table(conformed, row_group_size=ROW_GROUP_ROWS)
        self.file = StagedFile(self.file.path, self.file.rows + rows.num_rows, 0)

    def __exit__(self, *failure: object) -> None:
        if self._sink.closed:  # it was given up
            return
        with self._or_give_up():
            self._parquet.close()
            size = self._sink.tell()
            self._sink.close()
        self.file = StagedFile(self.file.path, self.file.rows, size)

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """Delete what cannot be written to its end: on a full disk, others wait for the room."""
        try:
            with local_errors("written", self._staging.storage.location):
                yield
        except JobError:
            with suppress(OSError):
                self._sink.close()
            with suppress(JobError):
                self._staging.storage.delete(f"{self._staging.folder}/{self.file.path}")
            raise
