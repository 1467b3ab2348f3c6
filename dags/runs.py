"""What the DAGs that compute a day have in common: how they name a run and retry, what they update, whom they tell."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, BaseOperator, get_current_context
from call_dates import call_date_of
from deployment import Deployment
from failures import tell_failure
from notify import Notify

TABLES = (
    "contacts",
    "recordings",
    "emotion_log",
    "calls",
    "call_events",
    "surveys",
    "topics",
    "topic_emotions",
    "satisfaction_daily",
    "alerts",
    "quarantine",
    "runs",
)
ASSETS = [Asset(name=table, uri=f"callmood://warehouse/{table}") for table in TABLES]


def new_run(deployment: Deployment) -> dict[str, str]:
    """Decide which day the DAG run computes, and name the run; called in its first task."""
    context = get_current_context()
    dag_run = context["dag_run"]
    call_date = call_date_of(context["params"]["call_date"], dag_run.logical_date, dag_run.run_after, deployment.zone)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    return {"call_date": call_date.isoformat(), "run_id": run_id}


def run_arguments(first_task: str) -> list[str]:
    """The arguments of every step, templated with what `new_run` returned in the first task."""
    pulled = f"ti.xcom_pull(task_ids='{first_task}')"
    return ["--call-date", f"{{{{ {pulled}['call_date'] }}}}", "--run-id", f"{{{{ {pulled}['run_id'] }}}}"]


def default_args(deployment: Deployment) -> dict[str, Any]:
    """Whose the tasks are, and how they are tried again."""
    return {
        "owner": "callmood",
        "retries": 3,
        "retry_delay": deployment.retry_delay,
        "retry_exponential_backoff": True,
        "max_retry_delay": deployment.retry_delay * 12,
        "on_failure_callback": tell_failure,
    }


def tell_people(deployment: Deployment, first_task: str, publish: BaseOperator, report: BaseOperator) -> None:
    """Where a channel is set: say how the day is once it is published, and send its report once that is written."""
    day = run_arguments(first_task)[1]
    if deployment.channels:
        publish >> Notify(task_id="notify", call_date=day, part="night", deployment=deployment)
        report >> Notify(task_id="send_report", call_date=day, part="report", deployment=deployment)
