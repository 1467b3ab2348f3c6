"""Tasks with a fate, by spark-submit on a cluster: one kills its executor, one fails thrice, one never comes to an end.

Prints which attempt of each task counted, as JSON; what they wrote is staged and committed as a step does it. Run by
test_spark_cluster.py: ``spark-submit ... cluster_tasks.py STAGING killed,failing,stuck``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa

from jobs.settings import load_settings
from jobs.spark import run_tasks, spark_session
from jobs.staging import RunStaging, StagedFile
from jobs.storage import LocalStorage
from schemas.staging import CALL_AUDIO

DAY, RUN = date(2026, 11, 20), "run-1"
N_TASKS, N_ROWS = 8, 50
FATES = {"killed": 2, "failing": 5, "stuck": 6}
"""The task of each fate."""


def rows_of(task: int) -> pa.Table:
    row = {"call_date": DAY, "source_uri": "s3://b/k", "status": "decoded"}
    return pa.Table.from_pylist(
        [{**row, "contact_id": f"{task}-{number}"} for number in range(N_ROWS)], schema=CALL_AUDIO.schema
    )


def parent(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])


def run(staging: RunStaging, fates: dict[str, int]) -> list[int]:
    """Run the tasks; returns the attempt of each that counted."""

    def work(task: int) -> tuple[int, StagedFile]:
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        attempt = context.attemptNumber()
        with staging.writer(CALL_AUDIO, f"{task:05d}") as writer:
            writer.write(rows_of(task))
            if task == fates.get("killed") and attempt == 0:
                # The Python worker is a child of its daemon, and that one of the executor's JVM.
                os.kill(parent(parent(os.getpid())), signal.SIGKILL)
                signal.pause()
            if task == fates.get("stuck") and attempt == 0:
                signal.pause()
        if task == fates.get("failing") and attempt < 3:
            raise OSError("a failure that passes")
        return attempt, writer.file

    settings = load_settings(recordings="s3://none", **dict.fromkeys(("staging", "warehouse", "reports"), "unused"))
    spark = spark_session("cluster_tasks", settings)
    try:
        answers = run_tasks(spark, work, list(range(N_TASKS)), "tasks")
    finally:
        spark.stop()
    staging.commit(CALL_AUDIO, [file for _, file in answers])
    return [attempt for attempt, _ in answers]


if __name__ == "__main__":
    chosen = {fate: FATES[fate] for fate in sys.argv[2].split(",")}
    print(json.dumps(run(RunStaging(LocalStorage(sys.argv[1]), DAY, RUN), chosen)))
