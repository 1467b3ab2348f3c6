"""Runs days again of which recordings came late, changed, or are to be tried again; each by nightly_emotion_log.

Looks at the days before the night's own: those of which objects came or were written anew after they were published,
that are not published though later ones are, or that have quarantined recordings which may have healed or were released
(docs/operations.md). A day with nothing new is not touched.

**The day** whose predecessors are looked at is the parameter `call_date`, else the local day before the run's logical
date, as in a night.

**When it fails.** A transient failure (storage, network) is retried with growing waits. A permanent one ends at once,
with the reason in the task's last lines. What it started are runs of nightly_emotion_log, which succeed or fail by
themselves.

**Parameters.** `call_date`: the night's day, YYYY-MM-DD.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronTriggerTimetable, Param, dag, task
from deployment import read_deployment
from runs import default_args, new_run
from steps import ask

DEPLOYMENT = read_deployment()


@dag(
    dag_id="late_recordings",
    schedule=CronTriggerTimetable(DEPLOYMENT.schedule, timezone=str(DEPLOYMENT.zone)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["nightly", "emotion"],
    default_args=default_args(DEPLOYMENT),
    params={"call_date": Param(None, type=["null", "string"], format="date", description="the night's day")},
)
def late_recordings() -> None:
    """Build the DAG."""

    @task
    def find_due_days() -> list[dict[str, Any]]:
        """Ask for the days, and name a run of each."""
        run = new_run(DEPLOYMENT)
        due = ask(DEPLOYMENT, "jobs.due_days", "--call-date", run["call_date"])
        return [
            {"conf": {"call_date": day["call_date"]}, "trigger_run_id": f"late__{day['call_date']}__{run['run_id']}"}
            for day in due
        ]

    TriggerDagRunOperator.partial(task_id="run_again", trigger_dag_id="nightly_emotion_log").expand_kwargs(
        find_due_days()
    )


late_recordings()
