"""Deletes what is past its lifetime: tables' days, what runs have staged, features, reports.

How long what is kept is the jobs' settings' to say (`CALLMOOD_RETENTION_DAYS` and others; docs/privacy.md): without
any, only staging goes. `make retention DRY_RUN=1` says what would be deleted.

**When it fails.** A transient failure is retried with growing waits; nothing is lost if it runs a day later. A day that
is being published is passed over and goes the next time.

**Parameters.** `dry_run`: only say in the log what would be deleted.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronTriggerTimetable, Param, dag
from deployment import read_deployment
from runs import default_args
from steps import JobCommand

DEPLOYMENT = read_deployment()


@dag(
    dag_id="enforce_retention",
    schedule=CronTriggerTimetable(DEPLOYMENT.retention_schedule, timezone=str(DEPLOYMENT.zone)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["privacy"],
    default_args=default_args(DEPLOYMENT),
    params={"dry_run": Param(False, type="boolean", description="only say what would be deleted")},
)
def enforce_retention() -> None:
    """Build the DAG."""
    JobCommand(
        task_id="retention",
        module="retention",
        arguments=["{{ '--dry-run' if params.dry_run else '' }}"],
        deployment=DEPLOYMENT,
    )


enforce_retention()
