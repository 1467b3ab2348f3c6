"""Whose master a step takes: spark-submit's, by which Airflow says where the night is computed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEP = """
from jobs.settings import load_settings
from jobs.spark import spark_session
places = dict(staging="s", warehouse="w", reports="r")
print("master:", spark_session("test", load_settings(recordings="s3://none", **places)).sparkContext.master)
"""


@pytest.mark.spark
def test_spark_submits_master_wins_over_the_settings(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    ended = subprocess.run(
        [ROOT / "infra" / "spark" / "bin" / "spark-submit", "--master", "local[3]", tmp_path / "step.py"],
        env={**os.environ, "CALLMOOD_SPARK_MASTER": "local[1]"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "master: local[3]" in ended.stdout, ended.stderr[-2000:]
