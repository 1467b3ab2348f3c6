"""Reads a day's call recordings from S3 and publishes its tables and the nightly report.

The tables are the emotion log, a row per call, and the day's satisfaction figures.

**The day** is the parameter `call_date`, else the local day before the run's logical date. Running a day again
replaces its rows; running two days at once is fine, the same day twice is not (the second waits and retries).

**Steps.** plan_recordings lists the day; extract_features and classify_emotions (Spark) read the recordings and
classify the customers' speech; summarize_calls (Spark) makes the tables; validate_tables stops a night whose tables
break an expectation, before anyone sees them; publish_tables replaces the day; render_report writes the report.
A recording that cannot be scored is quarantined with its reason and stops nothing. Where channels are set
(docs/alerts.md), notify and send_report tell people of the day, its alerts and its report; they fail no night. Where
Airflow's metrics are on, send_metrics sends what the night came to with them (docs/operations.md).

**When it fails.** A transient failure (storage, network, a lost worker) is retried with growing waits. A permanent one
(settings, validation) ends at once, with the reason in the task's last lines; mend it and clear the task. What was
published before stays published.

A night that scored too little of what was expected stops at publish_tables and asks (docs/operations.md, a thin night).

**Parameters.** `call_date`: the day, YYYY-MM-DD. `model`: the folder of another model. `roles`: whose speech is
classified, such as `customer` or `customer,agent` (classifying employees' emotions is prohibited in the EU). `accept`:
`thin` publishes a night although too little of it was scored.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, CronTriggerTimetable, Param, chain, dag, get_current_context, task
from deployment import read_deployment
from run_metrics import send_run_metrics
from runs import ASSETS, default_args, new_run, run_arguments, tell_people
from steps import ProcessStep, spark_step

DEPLOYMENT = read_deployment()


@dag(
    dag_id="nightly_emotion_log",
    schedule=CronTriggerTimetable(DEPLOYMENT.schedule, timezone=str(DEPLOYMENT.zone)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    doc_md=__doc__,
    tags=["nightly", "emotion"],
    default_args=default_args(DEPLOYMENT),
    params={
        "call_date": Param(None, type=["null", "string"], format="date", description="the day to compute"),
        "model": Param(None, type=["null", "string"], description="the folder of another model"),
        "roles": Param(None, type=["null", "string"], description="whose speech is classified"),
        "accept": Param(None, enum=[None, "thin"], description="thin: publish although too little was scored"),
    },
)
def nightly_emotion_log() -> None:
    """Build the DAG."""

    @task
    def start_night() -> dict[str, str]:
        """Decide which day the run computes, and name the run."""
        return new_run(DEPLOYMENT)

    @task
    def send_metrics() -> None:
        """Send what the night came to with Airflow's own metrics."""
        context = get_current_context()
        run = context["ti"].xcom_pull(task_ids="start_night")
        send_run_metrics(DEPLOYMENT, run, context["dag_run"].run_type.value)

    started = start_night()
    night = run_arguments("start_night")
    asked = {"--model": "{{ params.model or '' }}", "--roles": "{{ params.roles or '' }}"}

    def process(step: str, **options: Any) -> ProcessStep:
        return ProcessStep(step=step, night=night, deployment=DEPLOYMENT, **options)

    def spark(step: str) -> BaseOperator:
        return spark_step(step, night, DEPLOYMENT)

    publish = process("publish_tables", arguments={"--accept": "{{ params.accept or '' }}"}, outlets=ASSETS)
    report = process("render_report")
    chain(
        started,
        process("plan_recordings", arguments=asked),
        spark("extract_features"),
        spark("classify_emotions"),
        spark("summarize_calls"),
        process("validate_tables"),
        publish,
        report,
    )
    if DEPLOYMENT.sends_metrics:
        report >> send_metrics()
    tell_people(DEPLOYMENT, "start_night", publish, report)


nightly_emotion_log()
