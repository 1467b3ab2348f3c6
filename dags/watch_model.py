"""Looks once a week whether the model is still what it was, and the data: drift, and a golden set scored again.

Says in its log how unlike the four weeks before the last seven published days are, and the share of the clips of a
golden set (`CALLMOOD_GOLDEN_SET`) in which the model finds another emotion than before (docs/operations.md). It changes
nothing that is published. Where channels are set (docs/alerts.md), tell_drift sends a ticket where the data have moved.

**When it fails.** A transient failure (storage) is retried with growing waits. It ends at once where the same model
finds other emotions than it did itself: something beside the model has changed; the log says what to look at.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from channels import Notification
from deployment import read_deployment
from notify import tell
from runs import default_args
from steps import JobCommand, ask

DEPLOYMENT = read_deployment()


@dag(
    dag_id="watch_model",
    schedule=CronTriggerTimetable(DEPLOYMENT.watch_schedule, timezone=str(DEPLOYMENT.zone)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["emotion"],
    default_args=default_args(DEPLOYMENT),
)
def watch_model() -> None:
    """Build the DAG."""

    @task
    def tell_drift() -> None:
        """Tell people where the data are much unlike the weeks before."""
        for said in ask(DEPLOYMENT, "jobs.watch_model", "--drift"):
            if failed := tell(DEPLOYMENT, Notification(**said)):
                # Not tried again: over the other channels it was said.
                raise AirflowSkipException(f"{len(failed)} of {len(DEPLOYMENT.channels)} channels failed; see the log")

    JobCommand(task_id="watch", module="watch_model", arguments=[], deployment=DEPLOYMENT)
    if DEPLOYMENT.channels:
        tell_drift()


watch_model()
