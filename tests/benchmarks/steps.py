"""The steps of a night as an operator runs them, each a process, against a local S3, without Airflow; timed.

The cores that a night may use are set from outside; the S3 server has the last core, and takes its time from a night
that has it too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.demo.local_s3 import LocalS3, local_s3
from jobs.settings import ROOT
from jobs.staging import STEPS
from tests.benchmarks.recordings import DAY, Recording, key

BUCKET = "benchmark"
READING = ("plan_recordings", "extract_features", "classify_emotions")
"""The steps whose work grows with the recordings' length."""


@dataclass(frozen=True)
class Night:
    """What the steps of a night took, from their processes' start to their end.

    Attributes
    ----------
    call_hours
        What the night read.
    seconds, processor_s
        Of each step: on the wall, and of processors with all that it started (its JVM, Spark's workers).
    """

    call_hours: float
    seconds: Mapping[str, float]
    processor_s: Mapping[str, float]


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Keep this process, and what it starts within the block, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def store(folder: Path, core: int) -> Iterator[LocalS3]:
    """A local S3 server on a core of its own."""
    with on_cores({core}):
        server = local_s3(folder / "s3.log", buckets=(BUCKET,))
        s3 = server.__enter__()
    try:
        yield s3
    finally:
        server.__exit__(None, None, None)


def upload(s3: LocalS3, prefix: str, recordings: Sequence[Recording], number: int) -> float:
    """Put so many recordings below a prefix, those given again and again; the call hours of all of them."""
    client = s3.client()

    def put(index: int) -> float:
        recording = recordings[index % len(recordings)]
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key(index)}", Body=recording.content)
        return recording.duration_s / 3600

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(put, range(number)))


def run_steps(
    s3: LocalS3,
    folder: Path,
    prefix: str,
    cores: Collection[int],
    call_hours: float,
    only: Sequence[str] = STEPS["night"],
    *,
    master: str | None = None,
) -> Night:
    """Run the steps of a night on some cores, in one process of Spark or by a cluster's master.

    Raises
    ------
    RuntimeError
        Where a step failed; with the end of what it said.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    variables = environment(s3, folder, prefix) | {"CALLMOOD_SPARK_MASTER": master or f"local[{len(cores)}]"}
    used = folder / "processor_s"
    watched = [sys.executable, "-m", "tests.benchmarks.processor_time", str(used), sys.executable]
    seconds, processor_s = {}, {}
    with on_cores(cores):
        for step in only:
            command = [*watched, "-m", f"jobs.{step}", "--call-date", DAY.isoformat(), "--run-id", "benchmark"]
            started = time.perf_counter()
            ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise RuntimeError(f"{step} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
            seconds[step] = time.perf_counter() - started
            processor_s[step] = float(used.read_text())
    return Night(call_hours, seconds, processor_s)


def environment(s3: LocalS3, folder: Path, prefix: str) -> dict[str, str]:
    """The variables of a step; a key for ids is made in the folder where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    identity_key = folder / "identity.key"
    if not identity_key.exists():
        identity_key.write_text(secrets.token_hex(32))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CALLMOOD_"))}
    return {
        **kept,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "CALLMOOD_S3_ENDPOINT": s3.endpoint_url,
        "CALLMOOD_S3_REGION": s3.region,
        "CALLMOOD_RECORDINGS": f"s3://{BUCKET}/{prefix}".rstrip("/"),
        "CALLMOOD_STAGING": str(folder / "staging"),
        "CALLMOOD_WAREHOUSE": str(folder / "warehouse"),
        "CALLMOOD_REPORTS": str(folder / "reports"),
        "CALLMOOD_IDENTITY_KEY_FILE": str(identity_key),
        "CALLMOOD_ACCEPT_NON_COMMERCIAL": "true",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
