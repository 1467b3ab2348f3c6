"""A Spark cluster whose executor is killed from outside, and a task that fails thrice: no row is lost, none is double.

In local mode a dead worker takes the application down, so this needs Spark's local-cluster mode: two executors, each a
JVM with Python workers of its own. ``make chaos`` runs it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.settings import load_settings
from jobs.staging import RunStaging, StagedFile
from jobs.storage import LocalStorage
from schemas.staging import CALL_AUDIO

DAY = date(2026, 11, 20)
N_TASKS, N_ROWS = 8, 50
KILLER, FAILER = 2, 5


def rows_of(task: int) -> pa.Table:
    row = {"call_date": DAY, "source_uri": "s3://b/k", "status": "decoded"}
    return pa.Table.from_pylist(
        [{**row, "contact_id": f"{task}-{number}"} for number in range(N_ROWS)], schema=CALL_AUDIO.schema
    )


def parent(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.spark
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the executor by Linux's /proc")
def test_a_killed_executor_and_a_task_that_fails_thrice(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("every_fault"):
        pytest.skip("a cluster takes a minute to start: make chaos")
    from jobs.spark import run_tasks, spark_session

    staging = RunStaging(LocalStorage(tmp_path / "staging"), DAY, "run-1")

    def work(task: int) -> tuple[int, StagedFile]:
        from pyspark import TaskContext

        from tests.integration import test_spark_cluster as here

        context = TaskContext.get()
        assert context is not None
        attempt = context.attemptNumber()
        with staging.writer(CALL_AUDIO, f"{task:05d}") as writer:
            writer.write(here.rows_of(task))
            if task == KILLER and attempt == 0:
                # The Python worker is a child of its daemon, and that one of the executor's JVM.
                os.kill(here.parent(here.parent(os.getpid())), signal.SIGKILL)
                signal.pause()
        if task == FAILER and attempt < 3:
            raise OSError("a failure that passes")
        return attempt, writer.file

    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    settings = load_settings(recordings="s3://none", spark_master="local-cluster[2,1,1024]", **places)
    spark = spark_session("test_spark_cluster", settings)
    try:
        answers = run_tasks(spark, work, list(range(N_TASKS)), "tasks")
    finally:
        spark.stop()
    attempts = dict(enumerate(attempt for attempt, _ in answers))
    assert attempts[FAILER] == 3
    assert attempts[KILLER] >= 1
    staging.commit(CALL_AUDIO, [file for _, file in answers])
    found = Counter(staging.read_table(CALL_AUDIO)["contact_id"].to_pylist())
    assert found == dict.fromkeys((f"{task}-{number}" for task in range(N_TASKS) for number in range(N_ROWS)), 1)
    written = list((tmp_path / "staging").rglob("*.parquet"))
    assert len(written) > N_TASKS, "what the other attempts wrote lies there, and counts for nothing"
