"""The warehouse: published tables, a day replaced as a whole, and views of it that are never mixed.

The one module that writes or reads Delta logs. It knows nothing of how tables are computed, and no DuckDB: a
process that holds both is not sure to end well (docs/decisions.md).

``<warehouse>/<table>/`` is a Delta table: ``_delta_log``, and Parquet files that any reader can read
without it, in ``call_date=.../part-<run_id>-<n>.parquet``. Beside the tables lie
``_intents/<call_date>.json``, what a publication is about to commit, and ``_locks/``. No name and no log
entry holds a person's id, and the log's only statistic is numRecords.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties

from jobs.day_lock import LEASE_S, DayLock, locked_days
from jobs.errors import DayPublishedAnew, ErasedMeanwhile, JobError, StorageError, ValidationFailed
from jobs.storage import S3_ATTEMPTS, parquet_errors, said_by_a_store
from jobs.suppressions import IDENTIFYING, Suppressions
from schemas import TABLES
from schemas.errors import TableSchemaError
from schemas.table import PARTITION_COLUMN, Table

if TYPE_CHECKING:
    from jobs.staging import Manifest, RunStaging, StagedFile
    from jobs.storage import Storage

RUNS = TABLES["runs"]
DAY_TABLES = tuple(table for table in TABLES.values() if table is not RUNS)

# Each lost race of commits is one that another day's publisher won: thirty days side by side lose a few each.
COMMIT_ATTEMPTS = 100
VIEW_ATTEMPTS = 10
PARALLEL = 8

log = logging.getLogger("callmood.warehouse")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RunFigures:
    """What a row of ``runs`` says of a run, under the columns' names; publishing adds the rest.

    The columns' descriptions are in ``schemas.runs``. An intent that older code left has no kind: it was a night's.
    """

    model_id: str
    code_version: str
    planned: int
    scored: int
    quarantined: int
    skipped: int
    suppressed: int
    ignored: int
    audio_hours: float
    step_seconds: Mapping[str, float]
    coverage: float | None
    scored_of_planned: float | None
    status: str
    kind: str = "night"
    status_detail: str | None = None


@dataclass(frozen=True)
class PublishedFile:
    """A Parquet file of a published table: its path below the table's folder, size in bytes, and rows."""

    path: str
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class Replacement:
    """The files of a table's day: those to come and those to go."""

    new: tuple[PublishedFile, ...]
    old: tuple[PublishedFile, ...]


@dataclass(frozen=True)
class Intent:
    """What a publication is about to commit: enough for another run to carry it through.

    ``kept`` has the versions of the tables that it leaves as they are published.
    """

    call_date: date
    run_id: str
    figures: RunFigures
    tables: Mapping[str, Replacement]
    kept: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the content of the intent's file."""
        return json.dumps({**asdict(self), "call_date": self.call_date.isoformat()}, indent=1).encode()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Intent:
        """Read the JSON object that ``to_json`` wrote."""

        def files(listed: Iterable[Mapping[str, Any]]) -> tuple[PublishedFile, ...]:
            return tuple(PublishedFile(**file) for file in listed)

        return cls(
            date.fromisoformat(found["call_date"]),
            found["run_id"],
            RunFigures(**found["figures"]),
            {name: Replacement(*map(files, (table["new"], table["old"]))) for name, table in found["tables"].items()},
            found.get("kept", {}),
        )


DayFiles = Mapping[date, tuple[PublishedFile, ...]]


@dataclass(frozen=True)
class Snapshot:
    """One view of the warehouse: of each day, in every table, the files of one publication.

    It holds names of files. When a day is replaced later, its files go away, after the grace that the
    settings give, and reading them raises FileNotFoundError: take a new snapshot then, as
    ``Warehouse.read`` does.
    """

    storage: Storage
    files: Mapping[str, DayFiles]

    @property
    def call_dates(self) -> list[date]:
        """The days that were published, in order."""
        return sorted(self.files[RUNS.name])

    def run_ids(self, call_date: date) -> tuple[str, ...]:
        """The runs that have published a day; none where it was never published."""
        return _run_ids(self.files[RUNS.name].get(call_date, ()))

    def last_run(self, call_date: date) -> Mapping[str, Any]:
        """The row of ``runs`` of the day's last publication; the day has to be published."""
        rows = self.dataset(RUNS.name, call_date).to_table().to_pylist(maps_as_pydicts="strict")
        last: Mapping[str, Any] = max(rows, key=lambda row: (row["published_at"], row["run_id"]))
        return last

    def dataset(self, table: str, call_date: date | None = None) -> pads.Dataset:
        """Return a table, or one day of it, as a dataset with the columns of its schema.

        Columns that older files lack are null in their rows. Filters on call_date skip files unread.
        """
        schema = TABLES[table].schema
        listed = self.files[table]
        days = sorted(listed) if call_date is None else [call_date]
        filesystem, root = self.storage.filesystem()
        paths = [(f"{root}/{table}/{file.path}", day) for day in days for file in listed.get(day, ())]
        return pads.FileSystemDataset.from_paths(
            [path for path, _ in paths],
            schema=schema,
            format=pads.ParquetFileFormat(),
            filesystem=filesystem,
            partitions=[pads.field(PARTITION_COLUMN) == pa.scalar(day, pa.date32()) for _, day in paths],
        )


class Warehouse:
    """The published tables at a location.

    **Publishing** a day, under its lock: staged files are checked, copied beside the day's present ones,
    and named with them in the intent; then the tables are committed one after another and ``runs`` last,
    whose row is the publication's marker; then every file of the day's partitions that no table names is
    deleted, and the intent. A run that ends anywhere in between leaves either no intent, and then nothing
    is committed and its files are deleted by the day's next run, or an intent, which the day's next run
    carries through first. Every step of it can be repeated.

    **Races.** Commits of other days make a commit fail: it is tried again on the table as it is then.
    Deltalake 1.6 does not see by itself that two writers, whose handles are older than both commits, filled
    the same empty partition: both would stay. So each commit carries a transaction of its day, of which it
    accepts one a handle; that also stops a publisher that was taken for dead and comes back between the
    lock's check and its commit.

    **Reading.** Days are published side by side, so one version of a table may hold a day whose other
    tables are not committed yet; even the versions that the newest marker names may. What is guaranteed is
    this: a marker's versions belong together *for its own call date*, and ``snapshot`` shows of each call
    date the files of its last marker in every table, by the intents of the publications under way. A plain
    glob of the Parquet files sees a replaced day twice from the copying to the deletion, and a reader of
    Delta may see tables of a day replaced one after another.

    Parameters
    ----------
    storage
        The warehouse's location.
    grace_s
        Seconds that replaced files stay after the commits, for readers still on them; publishing waits for
        it.
    lease_s
        Seconds after which the lock of a run that died can be taken over.
    secret
        Gives the key of the hashes of people's ids: publishing needs it where anyone was ever erased.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        grace_s: float = 0.0,
        lease_s: float = LEASE_S,
        secret: Callable[[], bytes] | None = None,
    ) -> None:
        self.storage = storage
        self.grace_s = grace_s
        self.lease_s = lease_s
        self._secret = secret

    # Publishing

    def publish(
        self,
        staging: RunStaging,
        figures: RunFigures,
        based_on: Sequence[str] | None = None,
        *,
        tables: Sequence[Table] | None = None,
        as_run: str | None = None,
    ) -> Mapping[str, int]:
        """Replace the day's rows in every table by the run's staged ones, and append the run to ``runs``.

        A run that is in ``runs`` already is not published again: only what it left to clean is cleaned.

        Parameters
        ----------
        staging
            The run's.
        figures
            Its row in ``runs``.
        based_on
            Of a run that was made from the day's published rows: the runs that had published them then.
        tables
            Those that the run replaces, by default all of a day; the others stay as they are published.
        as_run
            The name under which the staged tables of an earlier run are published once more.

        Returns
        -------
        The version of each table with which the run was published, as its row in ``runs`` names them.

        Raises
        ------
        DayLocked
            Where another run publishes the day.
        DayPublishedAnew
            Where the day was published since the rows that the run was made from were read. Nothing was replaced.
        ErasedMeanwhile
            Where the run has rows of someone who was erased since it was planned. Nothing was published.
        StepOrderError
            Where a table was not staged.
        ValidationFailed
            Where a staged file is not what its manifest and its table's schema say, or the warehouse's table
            has columns that the schema contradicts. Nothing was published.
        StorageError
            Where the storage fails, or commits were lost to other days' all along.
        """
        day, run_id = staging.call_date, as_run or staging.run_id
        with DayLock(self.storage, day, run_id, self.lease_s) as lock, _delta_errors(self.storage):
            _at_once(self._prepare, TABLES.values())
            left = self._intent(day)
            if left is not None:
                log.warning("%s: carrying through the publication of run %s, which died", day, left.run_id)
                self._check_placed(left)
                self._carry_through(left, lock)
            if self._is_published(day, run_id):
                log.warning("%s: run %s was published before; nothing is replaced", day, run_id)
                self._clean(day, lock)
            else:
                if based_on is not None:
                    self._check_basis(day, based_on)
                manifests = _checked_manifests(staging, DAY_TABLES if tables is None else tables)
                # Under the lock: an erasure that began since waits for it, and finds what is published here.
                _check_nobody_was_erased(staging, manifests, Suppressions.load(self.storage, self._secret))
                kept = {} if tables is None else self._last_versions(day)
                begun = time.monotonic()
                self._carry_through(self._place(staging, run_id, manifests, figures, kept, lock), lock)
                log.info("%s: old and new files lay side by side for %.2f s", day, time.monotonic() - begun)
            return self._marker_versions(_marker_path(day, run_id))

    def unsettled(self) -> set[date]:
        """The days of which a publication is under way or died, or of which files lie about that no table names."""
        with _delta_errors(self.storage):
            days = locked_days(self.storage) | {intent.call_date for intent in self._intents()}
            for name, by_day in self._states(TABLES).items():
                named = {file.path for files in by_day.values() for file in files}
                paths = (file.path.removeprefix(f"{name}/") for file in self.storage.files(name))
                days |= {
                    _day_of(path) for path in paths if path.startswith(f"{PARTITION_COLUMN}=") and path not in named
                }
        return days

    def settle(self, call_date: date, holder: str) -> None:
        """Carry through what a publication that died left of a day, and delete the files that no table names.

        Raises
        ------
        DayLocked
            Where a run is publishing the day.
        """
        self.expire(call_date, (), holder)

    def days(self) -> Mapping[str, DayFiles]:
        """Return the files of each table's days, as the tables are now."""
        with _delta_errors(self.storage):
            return self._states(TABLES)

    def expire(self, call_date: date, tables: Iterable[str], holder: str) -> None:
        """Take a day out of some tables, and delete its files; whoever reads the day finds these tables empty.

        Raises
        ------
        DayLocked
            Where a run is publishing the day.
        """
        with DayLock(self.storage, call_date, holder, self.lease_s) as lock, _delta_errors(self.storage):
            left = self._intent(call_date)
            if left is not None:
                self._check_placed(left)
                self._carry_through(left, lock)
            for name in tables:
                self._commit(TABLES[name], call_date, (), lock)
            self._clean(call_date, lock)

    def _check_basis(self, day: date, based_on: Sequence[str]) -> None:
        """Refuse to put back what another run has replaced."""
        since = set(_run_ids(self._state(RUNS.name).get(day, ()))) - set(based_on)
        if since:
            raise DayPublishedAnew(
                f"{day} was published anew, by run {', '.join(sorted(since))}, since this run read it; nothing was "
                "replaced; enrich the day again, with a new run"
            )

    def _prepare(self, table: Table) -> None:
        """Create the Delta table, or give it the columns that its schema gained."""
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                handle = self._open(table.name)
                if handle is None:
                    DeltaTable.create(
                        self.storage.uri(table.name),
                        schema=Schema(_delta_fields(table.schema)),
                        mode="ignore",
                        partition_by=[PARTITION_COLUMN],
                        name=table.name,
                        description=table.description,
                        storage_options=self.storage.delta_options(),
                    )
                elif missing := _new_columns(table, handle):
                    log.info("table %s gains %s", table.name, ", ".join(missing.names))
                    handle.alter.add_columns(_delta_fields(missing))
                return
            except (CommitFailedError, OSError) as error:  # another day's run does the same
                _try_again(error, attempt)
        raise _too_busy(table.name)

    def _place(
        self,
        staging: RunStaging,
        run_id: str,
        manifests: Sequence[Manifest],
        figures: RunFigures,
        kept: Mapping[str, int],
        lock: DayLock,
    ) -> Intent:
        """Copy the run's checked files into the partitions, and write the intent that names them."""
        day = staging.call_date
        present = self._states([manifest.table for manifest in manifests])
        tables = {}
        copies = []
        for manifest in manifests:
            new = []
            for number, file in enumerate(manifest.files):
                path = f"{_partition(day)}/part-{run_id}-{number}.parquet"
                new.append(PublishedFile(path, file.size_bytes, file.rows))
                copies.append((f"{staging.folder}/{file.path}", f"{manifest.table}/{path}"))
            tables[manifest.table] = Replacement(tuple(new), present[manifest.table].get(day, ()))
        intent = Intent(day, run_id, figures, tables, {name: kept[name] for name in kept.keys() - tables.keys()})

        def copy(source_and_target: tuple[str, str]) -> None:
            lock.check()
            self.storage.copy_in(staging.storage, *source_and_target)

        try:
            _at_once(copy, copies)
            self._check_placed(intent)
        except Exception:
            with suppress(JobError):  # what cannot be cleaned now is by the day's next run
                self._clean(day, lock)
            raise
        lock.check()
        self.storage.write(_intent_path(day), intent.to_json())
        return intent

    def _carry_through(self, intent: Intent, lock: DayLock) -> None:
        """Commit what the intent names, as far as that was not done before, and clean up."""
        day = intent.call_date
        versions = {
            name: self._commit(TABLES[name], day, replacement.new, lock) for name, replacement in intent.tables.items()
        }
        self._append_marker(intent, {**intent.kept, **versions}, lock)
        if self.grace_s and any(replacement.old for replacement in intent.tables.values()):
            time.sleep(self.grace_s)
        self._clean(day, lock)
        self.storage.delete(_intent_path(day))

    def _commit(self, table: Table, day: date, files: Sequence[PublishedFile], lock: DayLock) -> int:
        """Make these files the table's day (of ``runs``: add them to it); return a version that has them.

        Whether it is done is read back from the log: a commit whose answer was lost counts, and one that was
        refused is tried again on a fresh handle.
        """
        append = table is RUNS
        transaction = f"{PARTITION_COLUMN}={day}"
        for attempt in range(COMMIT_ATTEMPTS):
            handle = self._open(table.name)
            if handle is None:
                raise _gone(self.storage.uri(table.name))
            present = set(_files_by_day(handle).get(day, ()))
            if present == set(files) or (append and present.issuperset(files)):
                return int(handle.version())
            lock.check()
            number = (handle.transaction_version(transaction) or 0) + 1
            try:
                handle.create_write_transaction(
                    [_add_action(file, day) for file in files],
                    mode="append" if append else "overwrite",
                    # The table's own: a column that this code does not know would be dropped without a word.
                    schema=handle.schema(),
                    partition_by=[PARTITION_COLUMN],
                    partition_filters=None if append else [(PARTITION_COLUMN, "=", day.isoformat())],
                    commit_properties=CommitProperties(app_transactions=[Transaction(transaction, number)]),
                )
            except (CommitFailedError, OSError) as error:
                _try_again(error, attempt)
        raise _too_busy(table.name)

    def _append_marker(self, intent: Intent, versions: Mapping[str, int], lock: DayLock) -> None:
        day = intent.call_date
        if self._is_published(day, intent.run_id):
            return
        row = {
            **asdict(intent.figures),
            "run_id": intent.run_id,
            PARTITION_COLUMN: day,
            "step_seconds": list(intent.figures.step_seconds.items()),
            "table_versions": list(versions.items()),
            "published_at": datetime.now(UTC),
        }
        rows = pa.Table.from_pylist([row], schema=RUNS.schema)
        RUNS.check(rows)
        content = pa.BufferOutputStream()
        pq.write_table(rows.select(RUNS.published_schema.names), content, compression="zstd")
        size = content.tell()
        path = _marker_path(day, intent.run_id)
        lock.check()
        self.storage.write(f"{RUNS.name}/{path}", content.getvalue().to_pybytes())
        self._commit(RUNS, day, [PublishedFile(path, size, 1)], lock)

    def _check_placed(self, intent: Intent) -> None:
        """Refuse to commit files that are not there: Delta would not, and nobody could read the day."""
        for name, replacement in intent.tables.items():
            listed = self.storage.files(f"{name}/{_partition(intent.call_date)}")
            sizes = {file.path.removeprefix(f"{name}/"): file.size_bytes for file in listed}
            wrong = [file.path for file in replacement.new if sizes.get(file.path) != file.size_bytes]
            if wrong:
                raise StorageError(
                    f"{len(wrong)} of {len(replacement.new)} files that run {intent.run_id} placed in {name} "
                    f"for {intent.call_date} are missing or of another size, such as {wrong[0]}; publish the "
                    f"day again; if that says the same, delete {self.storage.uri(_intent_path(intent.call_date))}"
                )

    def _clean(self, day: date, lock: DayLock) -> None:
        """Delete the day's files that no table names, and what a write that was cut short left."""
        doomed = []
        for name, days in self._states(TABLES).items():
            kept = {f"{name}/{file.path}" for file in days.get(day, ())}
            present = self.storage.files(f"{name}/{_partition(day)}")
            doomed += [file.path for file in present if file.path not in kept]
        cut_short = _intent_path(day).replace("/", "/.")
        doomed += [file.path for file in self.storage.files("_intents") if file.path.startswith(cut_short)]

        def delete(path: str) -> None:
            lock.check()
            self.storage.delete(path)

        _at_once(delete, doomed)

    # Reading

    def snapshot(self, tables: Iterable[str] = TABLES) -> Snapshot:
        """Take an unmixed view of these tables (``Warehouse``); of no days where nothing was ever published.

        A day is settled once no publication of it ended while the tables, then the intents, were read: its
        current files are those of its last marker then, or, where an intent says that a publication is under
        way, those that the intent calls old are.
        """
        names = [name for name in tables if name != RUNS.name]
        views: dict[str, dict[date, tuple[PublishedFile, ...]]] = {name: {} for name in (*names, RUNS.name)}
        settled: set[date] = set()
        with _delta_errors(self.storage):
            for _ in range(VIEW_ATTEMPTS):
                markers = self._state(RUNS.name)
                current = self._states(names)
                intents = {intent.call_date: intent for intent in self._intents()}
                markers_after = self._state(RUNS.name)
                days = set(markers_after)
                for day in days - settled:
                    published = markers.get(day, ())
                    if published != markers_after[day]:
                        continue
                    under_way = _not_committed(intents.get(day), published)
                    for name in names:
                        old = under_way[name].old if name in under_way else None
                        views[name][day] = current[name].get(day, ()) if old is None else old
                    views[RUNS.name][day] = published
                    settled.add(day)
                if days <= settled:
                    return Snapshot(self.storage, views)
        raise StorageError(f"{self.storage.location} is published to all the time; try again")

    def view(self, work: Callable[[Snapshot], Result], tables: Iterable[str] = TABLES) -> Result:
        """Do work on an unmixed view of these tables; anew on a new one, where a day is replaced while it is read.

        Raises
        ------
        StorageError
            Where the storage fails, or files that the tables name are missing.
        """
        missing = ""
        for _ in range(VIEW_ATTEMPTS):
            snapshot = self.snapshot(tables)
            try:
                with _delta_errors(self.storage):
                    return work(snapshot)
            except FileNotFoundError as error:
                missing = str(error)
        raise StorageError(f"files that tables in {self.storage.location} name are missing: {missing}")

    def dataset(self, table: str) -> pads.Dataset:
        """Return a table in a snapshot of now; see ``Snapshot`` for how long it can be read."""
        return self.snapshot([table]).dataset(table)

    def read(self, table: str, *, call_date: date | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or one day of it, into memory: as the last marker of each day has it.

        No rows where nothing was published. A day that is replaced meanwhile is read anew.

        Raises
        ------
        StorageError
            As of `view`.
        """

        def rows(snapshot: Snapshot) -> pa.Table:
            return snapshot.dataset(table, call_date).to_table(columns=None if columns is None else list(columns))

        return self.view(rows, [table])

    def versions(self) -> Mapping[str, int]:
        """Return the versions of the tables that the newest marker names; none where nothing was published.

        They belong together for the marker's call date. Other days may be under way in them: the view of
        all days is ``snapshot``.
        """
        with _delta_errors(self.storage):
            runs = self._open(RUNS.name)
            added = [] if runs is None else _added(runs)
            if not added:
                return {}
            newest = max(added, key=lambda file: (file["modification_time"], file["path"]))
            return self._marker_versions(newest["path"])

    # Logs and markers

    def _open(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.storage.uri(name), storage_options=self.storage.delta_options())
        except TableNotFoundError:
            # To deltalake a warehouse that is a file is one without tables; to who looks for a file in it, it is not.
            self.storage.exists(f"{name}/_delta_log/{0:020}.json")
            return None

    def _state(self, name: str) -> DayFiles:
        """Return the files of each day at the table's current version; none where there is no table."""
        handle = self._open(name)
        return {} if handle is None else _files_by_day(handle)

    def _states(self, names: Iterable[str]) -> dict[str, DayFiles]:
        names = list(names)
        return dict(zip(names, _at_once(self._state, names), strict=True))

    def _is_published(self, day: date, run_id: str) -> bool:
        path = _marker_path(day, run_id)
        return any(file.path == path for file in self._state(RUNS.name).get(day, ()))

    def _last_versions(self, day: date) -> dict[str, int]:
        """The versions that the day's last marker names; none where it was never published."""
        runs = self._open(RUNS.name)
        added = [] if runs is None else [each for each in _added(runs) if each[f"partition.{PARTITION_COLUMN}"] == day]
        if not added:
            return {}
        return self._marker_versions(max(added, key=lambda file: (file["modification_time"], file["path"]))["path"])

    def _marker_versions(self, path: str) -> dict[str, int]:
        with self.storage.open_input(f"{RUNS.name}/{path}") as file:
            return dict(pq.read_table(file, columns=["table_versions"]).column(0)[0].as_py())

    def _intents(self) -> Iterator[Intent]:
        for file in self.storage.files("_intents"):
            name = file.path.removeprefix("_intents/")
            intent = None if name.startswith(".") else self._intent(date.fromisoformat(name[:10]))
            if intent is not None:
                yield intent

    def _intent(self, day: date) -> Intent | None:
        try:
            return self.storage.read_json(_intent_path(day), Intent.from_json)
        except FileNotFoundError:
            return None


def carry_forward(new: pa.Table, old: pa.Table) -> pa.Table:
    """Count this run's attempts on recordings that were quarantined before on top of the earlier ones.

    Parameters
    ----------
    new
        The run's rows of ``quarantine``: attempts and first_seen as if each recording failed for the first
        time. Of an object that was written anew since, the attempts begin anew.
    old
        The day's rows as they were published last.

    Returns
    -------
    ``new`` with attempts added up and first_seen taken over where ``old`` has the same source_uri.
    """
    uris = old.column("source_uri").combine_chunks()
    before = old.take(pc.index_in(new.column("source_uri"), value_set=uris))
    same = pc.fill_null(pc.equal(before.column("etag"), new.column("etag")), False)
    attempts = pc.add(new.column("attempts"), pc.if_else(same, before.column("attempts"), pa.scalar(0, pa.int32())))
    first_seen = pc.coalesce(before.column("first_seen"), new.column("first_seen"))
    for name, values in (("attempts", attempts), ("first_seen", first_seen)):
        new = new.set_column(new.schema.get_field_index(name), new.schema.field(name), values)
    return new


def _partition(day: date) -> str:
    return f"{PARTITION_COLUMN}={day.isoformat()}"


def _day_of(path: str) -> date:
    return date.fromisoformat(path.removeprefix(f"{PARTITION_COLUMN}=")[:10])


def _marker_path(day: date, run_id: str) -> str:
    return f"{_partition(day)}/part-{run_id}-0.parquet"


def _run_ids(markers: Iterable[PublishedFile]) -> tuple[str, ...]:
    """Return the runs that markers are of: their files' names say it."""
    return tuple(sorted(file.path.rpartition("/part-")[2].removesuffix("-0.parquet") for file in markers))


def _intent_path(day: date) -> str:
    return f"_intents/{day.isoformat()}.json"


def _checked_manifests(staging: RunStaging, tables: Iterable[Table]) -> list[Manifest]:
    """Return the staged tables, once each of their files is what its manifest and its table's schema say."""
    manifests = [staging.manifest(table) for table in tables]
    files = [(TABLES[manifest.table], file) for manifest in manifests for file in manifest.files]
    _at_once(lambda table_and_file: _check_staged(staging, *table_and_file), files)
    return manifests


def _check_staged(staging: RunStaging, table: Table, file: StagedFile) -> None:
    """Refuse a file that could not be read with the others: a commit checks nothing."""
    found = ""
    try:
        with staging.storage.open_input(f"{staging.folder}/{file.path}") as source:
            metadata = pq.read_metadata(source)
        position = table.schema.get_field_index(PARTITION_COLUMN)
        table.check(metadata.schema.to_arrow_schema().insert(position, table.schema.field(position)))
        if metadata.num_rows != file.rows:
            found = f"{metadata.num_rows} rows in a file of which its manifest says {file.rows}"
    except FileNotFoundError:
        found = "a file of the manifest is missing"
    except (pa.ArrowInvalid, TableSchemaError) as error:
        found = str(error)
    if found:
        raise ValidationFailed(
            f"staged {table.name} of run {staging.run_id}: {found}; nothing was published; run the step "
            "that makes the table again"
        )


def _check_nobody_was_erased(staging: RunStaging, manifests: Sequence[Manifest], erased: Suppressions) -> None:
    if not erased:
        return
    for manifest in manifests:
        table = TABLES[manifest.table]
        identifying = [name for name in table.schema.names if name in IDENTIFYING]
        if identifying and erased.touches(staging.read_table(table, identifying)):
            raise ErasedMeanwhile(
                f"run {staging.run_id} has rows in {table.name} of somebody who was erased since it was planned; "
                "nothing was published; start a new run of the day (clear the DAG run with its first task)"
            )


def _not_committed(intent: Intent | None, published: Iterable[PublishedFile]) -> Mapping[str, Replacement]:
    """Return what an intent is about to replace; nothing once its run's marker is published."""
    if intent is None or _marker_path(intent.call_date, intent.run_id) in {file.path for file in published}:
        return {}
    return intent.tables


def _new_columns(table: Table, handle: DeltaTable) -> pa.Schema:
    """Return the columns that the schema has and the warehouse's table lacks.

    A column that only the warehouse has was published by newer code, and is null in what older code
    publishes.
    """
    present = pa.schema(handle.schema().to_arrow())
    for name in set(table.schema.names) & set(present.names):
        found, expected = present.field(name).type, table.schema.field(name).type
        if found != expected:
            raise ValidationFailed(
                f"column {name} of {table.name} is {found} in the warehouse, and {expected} in schema "
                f"version {table.version}; nothing was published; use a new column, or a new warehouse"
            )
    fields = [field for field in table.schema if field.name not in present.names]
    forced = [field.name for field in fields if not field.nullable]
    if forced:
        raise ValidationFailed(
            f"{table.name} in the warehouse lacks {', '.join(forced)}, which may not be null and so cannot "
            "be added; nothing was published; let the column be null, or use a new warehouse"
        )
    return pa.schema(fields)


def _delta_fields(schema: pa.Schema) -> list[Field]:
    """Return the fields for Delta, which Spark, Athena and others show with their ``comment``."""
    described = [
        field.with_metadata({**field.metadata, b"comment": field.metadata[b"description"]}) for field in schema
    ]
    fields: list[Field] = Schema.from_arrow(pa.schema(described)).fields
    return fields


def _add_action(file: PublishedFile, day: date) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.size_bytes,
        partition_values={PARTITION_COLUMN: day.isoformat()},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )


def _added(handle: DeltaTable) -> list[dict[str, Any]]:
    wanted = ["path", "size_bytes", "num_records", "modification_time", f"partition.{PARTITION_COLUMN}"]
    rows: list[dict[str, Any]] = pa.table(handle.get_add_actions(flatten=True)).select(wanted).to_pylist()
    return rows


def _files_by_day(handle: DeltaTable) -> DayFiles:
    days: dict[date, list[PublishedFile]] = {}
    for file in _added(handle):
        published = PublishedFile(file["path"], file["size_bytes"], file["num_records"])
        days.setdefault(file[f"partition.{PARTITION_COLUMN}"], []).append(published)
    return {day: tuple(sorted(files, key=lambda file: file.path)) for day, files in days.items()}


def _try_again(error: Exception, attempt: int) -> None:
    """Wait for another try of a commit that was lost to another's, or whose answer was; raise any other error.

    Deltalake asks again by itself where a store refuses, but not where the connection broke: it may have been done.
    """
    answer_was_lost = "HTTP error" in str(error) and attempt + 1 < S3_ATTEMPTS
    if not (isinstance(error, CommitFailedError) or answer_was_lost):
        raise error
    # A random time, longer from attempt to attempt, so that two do not meet again.
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 - it only has to differ


def _at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do the work on every item, several at once; raises the first error."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(work, items))


def _too_busy(table: str) -> StorageError:
    return StorageError(f"{COMMIT_ATTEMPTS} commits of {table} were lost to those of other days; try again")


def _gone(table: str) -> StorageError:
    return StorageError(f"{table} vanished while it was published to; try again")


@contextmanager
def _delta_errors(storage: Storage) -> Iterator[None]:
    """Turn errors of deltalake and pyarrow into ours; FileNotFoundError stays."""
    try:
        with parquet_errors(storage.location):
            yield
    except FileNotFoundError:
        raise
    except (DeltaError, OSError) as error:
        if (answer := said_by_a_store(storage.location, error)) is not None:
            raise answer from error
        # Of the lines that deltalake says, the first names what was tried, and the last the cause.
        lines = [line.rpartition("\u21b3")[2].removeprefix("\x1b[0m").strip() for line in str(error).splitlines()]
        says = dict.fromkeys((lines[0], lines[-1])) if lines else [type(error).__name__]
        raise StorageError(f"{storage.location} cannot be used: {': '.join(says)}") from error
