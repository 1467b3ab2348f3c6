"""Runs that have staged every table of a day, with rows made up by the schemas: for the tests of publishing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

import jobs.warehouse
from jobs.staging import RunStaging
from jobs.storage import Storage
from jobs.warehouse import RunFigures
from schemas import Table


def rows_of(table: Table, day: date, run_id: str, number: int, salt: str = "") -> pa.Table:
    """So many rows of any table, each of its own value by row and ``salt``."""
    at = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)

    def value(field: pa.Field, row: int) -> Any:
        kind = field.type
        fixed = {"call_date": day, "run_id": run_id}
        if field.name in fixed:
            return fixed[field.name]
        if pa.types.is_string(kind):
            return f"{field.name}{salt}-{row}"
        if pa.types.is_binary(kind):
            return b"features"
        if pa.types.is_timestamp(kind):
            return at + timedelta(seconds=row)
        if pa.types.is_list(kind) or pa.types.is_map(kind):
            return []
        return kind.to_pandas_dtype()(row + len(salt))

    columns = [pa.array([value(field, row) for row in range(number)], field.type) for field in table.schema]
    return pa.table(columns, schema=table.schema)


def staged(storage: Storage, day: date, run_id: str, rows: int = 3, salt: str = "", files: int = 1) -> RunStaging:
    """A run that has staged every table of a day, in so many files of so many rows."""
    staging = RunStaging(storage, day, run_id)
    for table in jobs.warehouse.DAY_TABLES:
        parts = []
        for part in range(files):
            with staging.writer(table) as writer:
                writer.write(rows_of(table, day, run_id, rows, f"{salt}{part}"))
            parts.append(writer.file)
        staging.commit(table, parts)
    return staging


def figures(**changes: Any) -> RunFigures:
    """The figures of some run."""
    values: dict[str, Any] = {
        "model_id": "research-1-0a1b2c3d",
        "code_version": "abc",
        "planned": 3,
        "scored": 3,
        "quarantined": 0,
        "skipped": 0,
        "suppressed": 0,
        "ignored": 1,
        "audio_hours": 0.5,
        "step_seconds": {"plan_recordings": 1.5, "extract_features": 20.0},
        "coverage": 1.0,
        "scored_of_planned": 1.0,
        "status": "published",
    }
    return RunFigures(**{**values, **changes})
