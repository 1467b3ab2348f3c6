"""Joins contact records, call events and surveys that came late to a day that is published, and publishes it again.

Recomputes the rows of calls and the day's satisfaction figures, also by a changed formula of the satisfaction index;
withdraws what was heard of customers who opted out since. Reads no recording.

**The day** is the parameter `call_date`, else the local day before the run's logical date. It must have been published.
Enriching a day again changes nothing that did not change outside. Nothing starts this DAG by itself: days of which
records still come are enriched by hand (`make enrich FROM=... TO=...`), or by whatever else triggers it.

**Steps.** enrich_day joins what is published with what is found now; summarize_calls (Spark) makes the tables;
validate_tables stops a run whose tables break an expectation, before anyone sees them; publish_tables replaces the day;
render_report writes the report anew.

**When it fails.** A transient failure (storage, network, a lost worker) is retried with growing waits. A permanent one
ends at once, with the reason in the task's last lines. "was never published": run its night first
(nightly_emotion_log). "was published anew": a night of the same day was faster, and its rows were kept; trigger this
DAG again, or clear the run with its first task, start_enrichment, since clearing later tasks alone uses what was read
before. Otherwise mend what the message names and clear the task. What was published before stays published.

**Parameters.** `call_date`: the day, YYYY-MM-DD.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, chain, dag, task
from deployment import read_deployment
from runs import ASSETS, default_args, new_run, run_arguments, tell_people
from steps import ProcessStep, spark_step

DEPLOYMENT = read_deployment()


@dag(
    dag_id="enrich_emotion_log",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    doc_md=__doc__,
    tags=["enrichment", "emotion"],
    default_args=default_args(DEPLOYMENT),
    params={"call_date": Param(None, type=["null", "string"], format="date", description="the day to enrich")},
)
def enrich_emotion_log() -> None:
    """Build the DAG."""

    @task
    def start_enrichment() -> dict[str, str]:
        """Decide which day the run enriches, and name the run."""
        return new_run(DEPLOYMENT)

    run = run_arguments("start_enrichment")
    publish = ProcessStep(step="publish_tables", night=run, deployment=DEPLOYMENT, outlets=ASSETS)
    report = ProcessStep(step="render_report", night=run, deployment=DEPLOYMENT)
    chain(
        start_enrichment(),
        ProcessStep(step="enrich_day", night=run, deployment=DEPLOYMENT),
        spark_step("summarize_calls", run, DEPLOYMENT),
        ProcessStep(step="validate_tables", night=run, deployment=DEPLOYMENT),
        publish,
        report,
    )
    tell_people(DEPLOYMENT, "start_enrichment", publish, report)


enrich_emotion_log()
