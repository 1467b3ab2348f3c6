"""What the benchmark measures with: seconds by stage, processor time, and what moved since the last result."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.settings import ROOT
from jobs.spark import run_tasks
from tests.benchmarks.stopwatch import Stopwatch

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def _burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_stage_within_another_counts_for_itself_alone() -> None:
    watch = Stopwatch()
    with watch.stage("outer"):
        _burn(0.05)
        with watch.stage("inner"):
            _burn(0.15)
    assert watch.seconds["inner"] == pytest.approx(0.15, abs=0.03)
    assert watch.seconds["outer"] == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param("{child}.wait()", id="waited for"),
        pytest.param("{child}", id="an orphan"),
        # as Spark's daemon does with its workers
        pytest.param("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); {child}.wait()", id="ignored"),
    ],
)
def test_processor_time_counts_all_that_was_started(tmp_path: Path, parent: str) -> None:
    child = f"subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.8)!r}])"
    script = "import subprocess, sys; " + parent.format(child=child)
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.processor_time",
        str(tmp_path / "s"),
        sys.executable,
        "-c",
        script,
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    assert float((tmp_path / "s").read_text()) > 0.5


def test_a_small_days_tasks_run_in_order_in_this_process() -> None:
    assert run_tasks(None, lambda number: 2 * number, [1, 2, 3], "nothing") == [2, 4, 6]
