"""Sends what a night came to as metrics of Airflow's own, to wherever its section ``[metrics]`` sends all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow.sdk.observability.stats import gauge
from deployment import Deployment
from steps import ask

log = logging.getLogger(__name__)


def send_run_metrics(deployment: Deployment, run: Mapping[str, str], run_type: str) -> None:
    """Send the figures of a published run.

    Parameters
    ----------
    run
        ``call_date`` and ``run_id``.
    run_type
        Airflow's: scheduled, backfill or manual, by which what days that are run again came to is told apart.
    """
    measured = ask(deployment, "jobs.run_metrics", "--call-date", run["call_date"], "--run-id", run["run_id"])
    for each in measured:
        gauge(each["name"], each["value"], tags={**each["tags"], "run_type": run_type})
    log.info("sent %d metrics", len(measured))
