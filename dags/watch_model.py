"""Looks once a week whether the model is still what it was, and the data: drift, and a golden set scored again.

Says in its log how unlike the four weeks before the last seven published days are, and the share of the clips of a
golden set (`CALLMOOD_GOLDEN_SET`) in which the model finds another emotion than before (docs/operations.md). It changes
nothing that is published.

**When it fails.** A transient failure (storage) is retried with growing waits. It ends at once where the same model
finds other emotions than it did itself: something beside the model has changed; the log says what to look at.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronTriggerTimetable, dag
from deployment import read_deployment
from runs import default_args
from steps import JobCommand

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
    JobCommand(task_id="watch", module="watch_model", arguments=[], deployment=DEPLOYMENT)


watch_model()
