"""A Spark cluster whose executor is killed, whose task fails thrice, or never ends: no row is lost, none is double.

In local mode a dead worker takes the application down, so this needs executors that are JVMs of their own: Spark's
local-cluster mode, and two workers on hosts of their own, which speculation needs. ``make chaos`` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.settings import ROOT
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas.staging import CALL_AUDIO
from tests.integration import cluster_tasks, spark_hosts
from tests.integration.cluster_tasks import FATES, N_ROWS, N_TASKS

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the executor by Linux's /proc"),
]
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.multiplier": "2",
    "spark.speculation.minTaskRuntime": "3s",
}


@pytest.fixture(autouse=True)
def _only_in_chaos(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("every_fault"):
        pytest.skip("a cluster takes a minute to start: make chaos")


def run(folder: Path, master: str, fates: Sequence[str], host: str, options: dict[str, str]) -> list[int]:
    """The attempt of each task that counted, where every row is there once."""
    staging = folder / "staging"
    command = [str(ROOT / "infra" / "spark" / "bin" / "spark-submit"), "--master", master]
    command += [part for name, value in options.items() for part in ("--conf", f"{name}={value}")]
    command += [cluster_tasks.__file__, str(staging), ",".join(fates)]
    environment = {**os.environ, "SPARK_LOCAL_IP": host}
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    attempts: list[int] = json.loads(ended.stdout.splitlines()[-1])
    staged = RunStaging(LocalStorage(staging), cluster_tasks.DAY, cluster_tasks.RUN)
    found = Counter(staged.read_table(CALL_AUDIO)["contact_id"].to_pylist())
    assert found == dict.fromkeys((f"{task}-{number}" for task in range(N_TASKS) for number in range(N_ROWS)), 1)
    written = list(staging.rglob("*.parquet"))
    assert len(written) > N_TASKS, "what the other attempts wrote lies there, and counts for nothing"
    return attempts


def test_a_killed_executor_and_a_task_that_fails_thrice(tmp_path: Path) -> None:
    attempts = run(tmp_path, "local-cluster[2,1,1024]", ("killed", "failing"), "127.0.0.1", {})
    assert attempts[FATES["failing"]] == 3
    assert attempts[FATES["killed"]] >= 1


def test_on_two_hosts_an_executor_is_killed_and_another_attempt_overtakes_a_task_that_never_ends(
    tmp_path: Path,
) -> None:
    if not spark_hosts.can_be_made():
        pytest.skip("hosts are network namespaces, which take root and ip to make")
    with spark_hosts.two_hosts(tmp_path) as master:
        attempts = run(tmp_path, master, ("killed", "failing", "stuck"), spark_hosts.HERE, SPECULATION)
    assert attempts[FATES["failing"]] == 3
    assert attempts[FATES["killed"]] >= 1
    assert attempts[FATES["stuck"]] >= 1, "an attempt elsewhere was begun while the first one hung"
