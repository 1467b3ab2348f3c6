"""How a staged table is divided for Spark: whole files, and a partition only where there are rows for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from jobs import spark
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas.table import Table, call_date, column

TABLE = Table(
    "things", "Things.", [call_date(), column("name", pa.string(), "Its name")], key=("name",), sort=("name",)
)


class Ranges:
    """As much of a Spark session as tells into how many partitions numbers are dealt."""

    def range(self, start: int, end: int, *, numPartitions: int) -> Any:  # noqa: N803 - Spark's word
        def read_all(read: Callable[..., Any], schema: object) -> tuple[int, list[str]]:
            numbers = pa.RecordBatch.from_pydict({"id": list(range(start, end))})
            return numPartitions, [name for rows in read(iter([numbers])) for name in rows.column("name").to_pylist()]

        return SimpleNamespace(mapInArrow=read_all)


@pytest.mark.parametrize(
    ("rows_of_files", "n_partitions"),
    [([], 1), ([3], 1), ([3, 3, 3], 1), ([7, 7, 7], 2), ([10, 10, 10], 3), ([30, 30, 30], 3), ([90], 1)],
)
def test_a_partition_needs_rows_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of_files: Sequence[int], n_partitions: int
) -> None:
    monkeypatch.setattr(spark, "ROWS_A_PARTITION", 10)
    staging = RunStaging(LocalStorage(tmp_path), date(2026, 11, 20), "run-1")
    written = [[f"{file}-{row}" for row in range(n_rows)] for file, n_rows in enumerate(rows_of_files)]
    files = []
    for names in written:
        with staging.writer(TABLE) as writer:
            writer.write(pa.table({"call_date": [staging.call_date] * len(names), "name": names}))
        files.append(writer.file)
    staging.commit(TABLE, files)
    session: Any = Ranges()
    found: Any = spark.read_staged(session, staging, TABLE)
    assert found == (n_partitions, [name for names in written for name in names])
