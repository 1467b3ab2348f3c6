"""A Spark cluster whose executor is killed from outside, a task that fails thrice and one that is tried twice at once.

No row is lost, none is double. In local mode a dead worker takes the application down, and nothing is tried twice at
once: so this needs Spark's local-cluster mode, of two executors, each a JVM with Python workers of its own. ``make
chaos`` runs it.
"""

from __future__ import annotations

import os
import signal
import time
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
KILLER, FAILER, DAWDLER = 2, 5, 6


def rows_of(task: int) -> pa.Table:
    row = {"call_date": DAY, "source_uri": "s3://b/k", "status": "decoded"}
    return pa.Table.from_pylist(
        [{**row, "contact_id": f"{task}-{number}"} for number in range(N_ROWS)], schema=CALL_AUDIO.schema
    )


def written(staging: RunStaging, task: int) -> list[str]:
    """The files that the attempts of a task have begun."""
    below = f"{staging.folder}/{CALL_AUDIO.name}"
    return [file.path for file in staging.storage.files(below) if file.path.startswith(f"{below}/{task:05d}-")]


def parent(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.spark
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the executor by Linux's /proc")
def test_a_killed_executor_a_task_that_fails_thrice_and_speculation(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        if task == DAWDLER and attempt == 0:
            # Its file is whole; it waits for that of the attempt that Spark starts beside it.
            until = time.monotonic() + 240
            while len(here.written(staging, task)) < 2 and time.monotonic() < until:
                time.sleep(0.5)
        return attempt, writer.file

    speculation = {
        "spark.speculation": "true",
        "spark.speculation.quantile": "0.5",
        "spark.speculation.multiplier": "1.1",
    }
    given = [f"--conf {name}={value}" for name, value in speculation.items()]
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", " ".join([*given, "pyspark-shell"]))
    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    settings = load_settings(recordings="s3://none", spark_master="local-cluster[2,1,1024]", **places)
    spark = spark_session("test_spark_cluster", settings)
    try:
        answers = run_tasks(spark, work, list(range(N_TASKS)), "tasks")
    finally:
        spark.stop()
    attempts = dict(enumerate(attempt for attempt, _ in answers))
    assert attempts[FAILER] >= 3
    assert attempts[KILLER] >= 1
    assert len(written(staging, DAWDLER)) >= 2
    staging.commit(CALL_AUDIO, [file for _, file in answers])
    found = Counter(staging.read_table(CALL_AUDIO)["contact_id"].to_pylist())
    assert found == dict.fromkeys((f"{task}-{number}" for task in range(N_TASKS) for number in range(N_ROWS)), 1)
    assert sum(len(written(staging, task)) for task in range(N_TASKS)) > N_TASKS, (
        "what the other attempts wrote lies there, and counts for nothing"
    )
