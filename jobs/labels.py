"""The store of labels: ``<warehouse>/labels/call_date=.../*.parquet``, a file a judgement.

A file is written once, under a name of its own, and never again: annotators who judge at once cannot lose each other's
work, and nothing has to be locked. Erasing and retention delete files. Knows nothing of how segments are chosen or what
follows from judgements.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.storage import Storage, StoredFile, damaged_file
from schemas import LABELS
from schemas.errors import SchemaError
from schemas.table import PARTITION_COLUMN


@dataclass(frozen=True)
class Label:
    """A judgement; `schemas.labels` says what each field is."""

    call_date: date
    contact_id: str
    role: str
    start_s: float
    end_s: float
    emotion: str | None
    mood: str | None
    annotator: str
    sampled_by: str
    weight: float
    model_id: str
    model_emotion: str
    model_confidence: float
    labelled_at: datetime


class Labels:
    """The judgements in a warehouse.

    Parameters
    ----------
    warehouse
        The warehouse's location.
    """

    def __init__(self, warehouse: Storage) -> None:
        self._storage = warehouse
        # Files never change: each is read once.
        self._known: dict[str, pa.Table] = {}

    def add(self, label: Label) -> None:
        """Keep a judgement.

        Raises
        ------
        StorageError, StorageAccessDenied
            Where the warehouse cannot be written to.
        """
        rows = pa.Table.from_pylist([asdict(label)], schema=LABELS.schema)
        LABELS.check(rows)
        content = pa.BufferOutputStream()
        pq.write_table(rows.select(LABELS.published_schema.names), content, compression="zstd")
        # No id in the name: not of the contact, not of the annotator.
        name = f"{label.labelled_at:%Y%m%dT%H%M%S}-{secrets.token_hex(8)}.parquet"
        path = f"{LABELS.name}/{PARTITION_COLUMN}={label.call_date.isoformat()}/{name}"
        self._storage.write(path, content.getvalue().to_pybytes())

    def read(self) -> pa.Table:
        """All judgements, sorted by call date, contact, start, annotator and time.

        Raises
        ------
        StorageError, StorageAccessDenied
            Where the warehouse cannot be read.
        DamagedFile
            Where a file in it is no judgement.
        """
        known: dict[str, pa.Table] = {}
        for _, file in self.files():
            rows = self._known.get(file.path)
            if rows is None:
                try:
                    rows = self._read(file.path)
                except FileNotFoundError:  # erased meanwhile
                    continue
            known[file.path] = rows
        self._known = known
        if not known:
            return LABELS.empty()
        order = [(name, "ascending") for name in (PARTITION_COLUMN, *LABELS.sort)]
        return pa.concat_tables(known.values()).sort_by(order)

    def files(self) -> Iterator[tuple[date, StoredFile]]:
        """The files of judgements, each with its call date; those that are still being written are left out."""
        for file in self._storage.files(LABELS.name):
            if file.path.endswith(".parquet"):
                yield _day(file.path), file

    def delete(self, rows: pc.Expression) -> int:
        """Delete the judgements of which an expression is true; how many there were."""
        doomed = []
        for _, file in list(self.files()):
            try:
                if self._read(file.path).filter(rows).num_rows:
                    doomed.append(file.path)
            except FileNotFoundError:
                continue
        for path in doomed:
            self._storage.delete(path)
        return len(doomed)

    def expire(self, call_date: date) -> int:
        """Delete the judgements of a day; how many there were."""
        return self._storage.delete_below(f"{LABELS.name}/{PARTITION_COLUMN}={call_date.isoformat()}")

    def _read(self, path: str) -> pa.Table:
        content = self._storage.read(path)
        try:
            rows = pq.ParquetFile(pa.BufferReader(content)).read()
            days = pa.repeat(pa.scalar(_day(path), pa.date32()), rows.num_rows)
            return LABELS.conform(rows.append_column(PARTITION_COLUMN, days).select(LABELS.schema.names))
        except (pa.ArrowException, OSError, KeyError, SchemaError) as error:
            raise damaged_file(self._storage.uri(path), content, error) from error


def _day(path: str) -> date:
    return date.fromisoformat(path.split("/")[1].removeprefix(f"{PARTITION_COLUMN}="))
