"""The Spark session, and staged tables as Spark reads and writes them.

Audio and features never cross into the JVM: tasks are plain Python over parts of the plan, and write their Parquet
files themselves (``run_tasks``). Only rows that Spark SQL works on pass through it (``read_staged``, ``write_staged``).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from jobs.discretion import ids_are_shown, show_ids, start_logging
from jobs.errors import JobError, SettingsError, TaskFailed, TaskRefused
from jobs.settings import ROOT
from jobs.staging import RunStaging, StagedFile
from schemas.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from jobs.settings import Settings
    from schemas.table import Table

log = logging.getLogger("callmood.spark")
Task = TypeVar("Task")
Result = TypeVar("Result")

ROWS_A_PARTITION = 50_000
"""Rows of a staged table that are worth a partition: every query that reads the table has a task for each."""


def spark_session(name: str, settings: Settings) -> SparkSession:
    """The application's Spark session, in UTC; ``spark-submit``'s own configuration wins over the settings."""
    from pyspark.sql import SparkSession

    _complete_environment()
    builder = SparkSession.builder.appName(name)
    # Its configuration is in its JVM, which Python has not joined yet: a SparkConf would show nothing of it.
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        builder = builder.master(settings.spark_master)
    session: SparkSession = (
        builder.config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("WARN")
    return session


def _complete_environment() -> None:
    """Set what spark-submit would have set, for a step that was started as a plain module; what is set wins."""
    paths = {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_CONF_DIR": str(ROOT / "infra" / "spark" / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    for name, value in paths.items():
        os.environ.setdefault(name, value)
    find_java = ROOT / "infra" / "spark" / "find-java"
    if find_java.is_file():
        found = subprocess.run([str(find_java)], capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise SettingsError(found.stderr.strip())
        os.environ["JAVA_HOME"] = found.stdout.strip()


def run_tasks(
    spark: SparkSession | None, work: Callable[[Task], Result], tasks: Sequence[Task], progress: str
) -> list[Result]:
    """Run ``work`` on every task, one Spark task each, and return the results in the tasks' order.

    Without a session this process runs them: a Spark session takes longer to start than a small day to compute.
    Spark may try a task twice, or twice at once; only one attempt's result is returned, so what a task wrote under
    names of its own counts once when the caller commits the names in the results.

    Raises
    ------
    TaskRefused
        Where a task failed in a way that another try cannot heal.
    """
    if spark is None:
        return [work(task) for task in tasks]
    spark.sparkContext.setJobDescription(progress)

    shown = ids_are_shown()

    def attempt(task: Task) -> Result | _Refused:
        start_logging()
        show_ids(shown)
        # What cannot heal comes back as a value: Spark would try it again, and hand over a stack trace of its own.
        try:
            return work(task)
        except (JobError, SchemaError) as error:
            if error.permanent:
                return _Refused(str(error))
            raise
        except Exception as error:
            # Spark's own logs, on both sides, have what is raised here.
            log.exception("a task failed unexpectedly")
            raise TaskFailed(f"unexpected {type(error).__name__}; the worker's log says where") from None

    results: list[Result] = []
    for result in spark.sparkContext.parallelize(tasks, len(tasks)).map(attempt).collect():
        if isinstance(result, _Refused):
            raise TaskRefused(result.reason)
        results.append(result)
    return results


@dataclass(frozen=True)
class _Refused:
    """A task failed, and another try cannot help."""

    reason: str


def read_staged(spark: SparkSession, staging: RunStaging, table: Table) -> DataFrame:
    """A staged table as Spark sees it: whole files of its manifest, `ROWS_A_PARTITION` rows or more to a partition."""
    from pyspark.sql.pandas.types import from_arrow_schema

    manifest = staging.manifest(table)
    files = manifest.files

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                yield from staging.read_file(table, files[number])

    # The numbers are dealt evenly, and tasks write files of like size.
    n_partitions = max(1, min(len(files), manifest.rows // ROWS_A_PARTITION))
    numbers = spark.range(0, len(files), numPartitions=n_partitions)
    return numbers.mapInArrow(read, from_arrow_schema(table.schema))


def write_staged(frame: DataFrame, staging: RunStaging, table: Table) -> int:
    """Write and commit a staged table from Spark, a file a partition; the number of rows."""
    import pyarrow as pa

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with staging.writer(table, "spark") as writer:
            for batch in batches:
                writer.write(pa.Table.from_batches([batch]))
        file = writer.file
        yield pa.RecordBatch.from_pydict({"path": [file.path], "rows": [file.rows], "size_bytes": [file.size_bytes]})

    written = frame.mapInArrow(write, "path string, rows bigint, size_bytes bigint").collect()
    return staging.commit(table, [StagedFile(row.path, row.rows, row.size_bytes) for row in written]).rows


def balanced(sizes: Sequence[int], n_parts: int) -> list[list[int]]:
    """Divide items over parts of like total size: longest first, each to the lightest part.

    Parameters
    ----------
    sizes
        The items' sizes.
    n_parts
        How many parts at most.

    Returns
    -------
    The indices of each part's items, largest item first; parts that would be empty are left out.
    """
    import heapq

    parts: list[list[int]] = [[] for _ in range(n_parts)]
    lightest = [(0, part) for part in range(n_parts)]
    for index in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        total, part = heapq.heappop(lightest)
        parts[part].append(index)
        heapq.heappush(lightest, (total + sizes[index], part))
    return [part for part in parts if part]


def totals(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The tasks' counts, summed by name."""
    summed: dict[str, float] = {}
    for result in results:
        for name, value in result.items():
            summed[name] = summed.get(name, 0) + value
    return summed
