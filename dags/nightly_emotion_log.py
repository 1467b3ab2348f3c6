"""Reads a day's call recordings from S3 and publishes its tables and the nightly report.

The tables are the emotion log, a row per call, and the day's satisfaction figures.

**The day** is the parameter `call_date`, else the local day before the run's logical date. Running a day again
replaces its rows; running two days at once is fine, the same day twice is not (the second waits and retries).

**Steps.** plan_recordings lists the day; extract_features and classify_emotions (Spark) read the recordings and
classify the customers' speech; summarize_calls (Spark) makes the tables; validate_tables stops a night whose tables
break an expectation, before anyone sees them; publish_tables replaces the day; render_report writes the report.
A recording that cannot be scored is quarantined with its reason and stops nothing.

**When it fails.** A transient failure (storage, network, a lost worker) is retried with growing waits. A permanent one
(settings, validation) ends at once, with the reason in the task's last lines; mend it and clear the task. What was
published before stays published.

**Parameters.** `call_date`: the day, YYYY-MM-DD. `model`: the folder of another model. `roles`: whose speech is
classified, such as `customer` or `customer,agent` (classifying employees' emotions is prohibited in the EU).
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, CronTriggerTimetable, Param, chain, dag, get_current_context, task
from call_dates import call_date_of
from deployment import read_deployment
from steps import ProcessStep, SparkStep

DEPLOYMENT = read_deployment()
TABLES = ("contacts", "recordings", "emotion_log", "calls", "satisfaction_daily", "quarantine", "runs")
ASSETS = [Asset(name=table, uri=f"callmood://warehouse/{table}") for table in TABLES]


@dag(
    dag_id="nightly_emotion_log",
    schedule=CronTriggerTimetable(DEPLOYMENT.schedule, timezone=str(DEPLOYMENT.zone)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    doc_md=__doc__,
    tags=["nightly", "emotion"],
    default_args={
        "owner": "callmood",
        "retries": 3,
        "retry_delay": DEPLOYMENT.retry_delay,
        "retry_exponential_backoff": True,
        "max_retry_delay": DEPLOYMENT.retry_delay * 12,
    },
    params={
        "call_date": Param(None, type=["null", "string"], format="date", description="the day to compute"),
        "model": Param(None, type=["null", "string"], description="the folder of another model"),
        "roles": Param(None, type=["null", "string"], description="whose speech is classified"),
    },
)
def nightly_emotion_log() -> None:
    """Build the DAG."""

    @task
    def start_night() -> dict[str, str]:
        """Decide which day the run computes, and name the run."""
        context = get_current_context()
        dag_run = context["dag_run"]
        call_date = call_date_of(
            context["params"]["call_date"], dag_run.logical_date, dag_run.run_after, DEPLOYMENT.zone
        )
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        return {"call_date": call_date.isoformat(), "run_id": run_id}

    started = start_night()
    pulled = "{{{{ ti.xcom_pull(task_ids='start_night')['{}'] }}}}".format
    night = ["--call-date", pulled("call_date"), "--run-id", pulled("run_id")]
    asked = {"--model": "{{ params.model or '' }}", "--roles": "{{ params.roles or '' }}"}

    def process(step: str, **options: Any) -> ProcessStep:
        return ProcessStep(step=step, night=night, deployment=DEPLOYMENT, **options)

    def spark(step: str) -> SparkStep:
        return SparkStep(step=step, night=night, deployment=DEPLOYMENT)

    chain(
        started,
        process("plan_recordings", arguments=asked),
        spark("extract_features"),
        spark("classify_emotions"),
        spark("summarize_calls"),
        process("validate_tables"),
        process("publish_tables", outlets=ASSETS),
        process("render_report"),
    )


nightly_emotion_log()
