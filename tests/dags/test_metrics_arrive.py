"""A night's figures arrive with Airflow's own metrics at a receiver of OTLP, by the settings that send all of them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parent.parent.parent
MEASURED = [
    {"name": "callmood.recordings", "value": 19, "tags": {"outcome": "scored"}},
    {"name": "callmood.recordings", "value": 3, "tags": {"outcome": "quarantined"}},
    {"name": "callmood.coverage", "value": 0.76, "tags": {}},
    {"name": "callmood.last_published", "value": 1795300525.25, "tags": {}},
]
# As the process of a task does: Airflow's own start of its metrics, the task, and a flush at the process's end.
SEND = """
import sys; sys.path.insert(0, "dags")
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
from deployment import read_deployment
from run_metrics import send_run_metrics
send_run_metrics(read_deployment(), {"call_date": "2026-11-20", "run_id": "run-1"}, "backfill")
"""


def send(tmp_path: Path, **variables: str) -> str:
    """Send what a jobs' interpreter that answers with `MEASURED` measures; returns what it was asked."""
    (python := tmp_path / "python").write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{json.dumps(MEASURED)}'\n"
    )
    python.chmod(0o700)
    given = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CALLMOOD__JOBS_PYTHON": str(python), **variables}
    sent = subprocess.run(
        [sys.executable, "-c", SEND], cwd=ROOT, env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert sent.returncode == 0, sent.stderr
    return (tmp_path / "asked").read_text().strip()


def test_what_a_night_came_to_arrives(tmp_path: Path) -> None:
    from otlp_receiver import Point, receiver

    with receiver() as (address, received):
        asked = send(tmp_path, AIRFLOW__METRICS__OTEL_ON="True", OTEL_EXPORTER_OTLP_ENDPOINT=address)
    assert asked == "-m jobs.run_metrics --call-date 2026-11-20 --run-id run-1"
    kind = ("run_type", "backfill")
    # A gauge that is sent twice, when it is due and when the process ends, says the same.
    assert set(received) == {
        Point("airflow", "airflow.callmood.coverage", (kind,), 0.76),
        Point("airflow", "airflow.callmood.last_published", (kind,), 1795300525.25),
        Point("airflow", "airflow.callmood.recordings", (("outcome", "quarantined"), kind), 3),
        Point("airflow", "airflow.callmood.recordings", (("outcome", "scored"), kind), 19),
    }


def test_a_collector_that_does_not_answer_fails_no_night(tmp_path: Path) -> None:
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    assert send(tmp_path, AIRFLOW__METRICS__OTEL_ON="True", **nobody)


@pytest.mark.parametrize("option", ["otel_on", "statsd_on", "statsd_datadog_enabled"])
def test_any_of_airflows_ways_counts(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from deployment import read_deployment

    assert not read_deployment().sends_metrics
    monkeypatch.setenv(f"AIRFLOW__METRICS__{option.upper()}", "True")
    assert read_deployment().sends_metrics


@pytest.fixture
def measured_night(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The nightly DAG as it is read where Airflow sends metrics."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    return DagBag(str(ROOT / "dags" / "nightly_emotion_log.py")).dags["nightly_emotion_log"]


def test_the_task_says_which_run_it_is_of_and_how_it_was_started(
    measured_night: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.utils.types import DagRunType

    send_metrics = measured_night.get_task("send_metrics").python_callable
    run = {"call_date": "2026-11-20", "run_id": "run-1"}
    ti = SimpleNamespace(xcom_pull=lambda task_ids: {"start_night": run}[task_ids])
    context = {"ti": ti, "dag_run": SimpleNamespace(run_type=DagRunType.BACKFILL_JOB)}
    module = sys.modules[send_metrics.__module__]
    sent: list[object] = []
    monkeypatch.setattr(module, "get_current_context", lambda: context)
    monkeypatch.setattr(module, "send_run_metrics", lambda *given: sent.append(given))
    send_metrics()
    assert sent == [(module.DEPLOYMENT, run, "backfill")]


def test_they_are_the_nights_last_task_where_airflow_sends_any(measured_night: Any, dagbag: Any) -> None:
    task = measured_night.get_task("send_metrics")
    assert task.upstream_task_ids == {"render_report"}
    assert not task.downstream_task_ids
    assert not dagbag.dags["nightly_emotion_log"].has_task("send_metrics")


def test_the_steps_that_start_spark_take_its_pool_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployment import read_deployment
    from steps import ProcessStep, SparkStep

    deployment = dataclasses.replace(read_deployment(), spark_pool="spark")
    assert SparkStep(step="summarize_calls", night=[], deployment=deployment).pool == "spark"
    assert ProcessStep(step="plan_recordings", night=[], deployment=deployment).pool == "default_pool"
    assert read_deployment().spark_pool == "default_pool"
