"""What the DAGs know of where they run: the section ``[callmood]`` of Airflow's own configuration.

Each option is also the variable ``AIRFLOW__CALLMOOD__<OPTION>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from airflow.sdk.configuration import conf
from channels import Channel, read_channels

SECTION = "callmood"
DUTIES = {
    **dict.fromkeys(("plan_recordings", "extract_features", "classify_emotions", "summarize_calls"), "score"),
    **dict.fromkeys(("enrich_day", "due_days"), "score"),
    "erase": "erase",
}
"""Modules of the jobs that read recordings or records, and the one that erases; the others' duty is to publish."""


@dataclass(frozen=True)
class Deployment:
    """Where the project and its jobs' interpreter are, and when the nights run.

    Attributes
    ----------
    home
        The project's folder (option ``home``).
    jobs_python
        The interpreter of the jobs' environment (``jobs_python``).
    schedule
        When the night starts, as cron in `zone` (``schedule``).
    retention_schedule
        When what is past its lifetime is deleted, as cron in `zone` (``retention_schedule``).
    watch_schedule
        When model and data are looked at, as cron in `zone` (``watch_schedule``).
    zone
        The zone of schedule and call dates (``time_zone``): the same as the jobs' setting.
    retry_delay
        The wait before the first retry, doubled each time (``retry_delay_s``).
    spark_conn_id
        Airflow's connection to Spark (``spark_conn_id``).
    emr_serverless
        A JSON file by which the Spark steps run on EMR Serverless instead (``emr_serverless``); see ``emr.py``.
    aws_profiles
        Which profiles of AWS the jobs' processes use, as JSON (``aws_profiles``): by the duty, score, publish or
        erase; without it all use the credentials that Airflow's tasks have.
    spark_pool
        Airflow's pool of the steps that start Spark (``spark_pool``); a pool that is not there starts none.
    sends_metrics
        Whether Airflow sends metrics anywhere, by its own section ``[metrics]``.
    channels
        Over which people are told of alerts, reports and failures (``channels``); without any, nobody is.
    """

    home: Path
    jobs_python: str
    schedule: str
    retention_schedule: str
    watch_schedule: str
    zone: ZoneInfo
    retry_delay: timedelta
    spark_conn_id: str
    emr_serverless: Path | None
    aws_profiles: Mapping[str, str]
    spark_pool: str
    sends_metrics: bool
    channels: tuple[Channel, ...] = ()

    def aws_profile(self, module: str) -> str | None:
        """The profile of AWS that a module of the jobs uses; None: the credentials that the task has."""
        return self.aws_profiles.get(DUTIES.get(module, "publish"))


def read_deployment() -> Deployment:
    """Read the options; every one has a default that fits a checkout made by ``make setup``."""
    home = Path(conf.get(SECTION, "home", fallback=str(Path(__file__).resolve().parent.parent)))
    return Deployment(
        home=home,
        jobs_python=conf.get(SECTION, "jobs_python", fallback=str(home / ".venv" / "jobs" / "bin" / "python")),
        schedule=conf.get(SECTION, "schedule", fallback="30 1 * * *"),
        retention_schedule=conf.get(SECTION, "retention_schedule", fallback="30 5 * * *"),
        watch_schedule=conf.get(SECTION, "watch_schedule", fallback="0 7 * * 1"),
        zone=ZoneInfo(conf.get(SECTION, "time_zone", fallback="UTC")),
        retry_delay=timedelta(seconds=conf.getfloat(SECTION, "retry_delay_s", fallback=300.0)),
        spark_conn_id=conf.get(SECTION, "spark_conn_id", fallback="spark_default"),
        emr_serverless=home / emr if (emr := conf.get(SECTION, "emr_serverless", fallback="")) else None,
        aws_profiles=json.loads(conf.get(SECTION, "aws_profiles", fallback="{}")),
        spark_pool=conf.get(SECTION, "spark_pool", fallback="default_pool"),
        sends_metrics=any(
            conf.getboolean("metrics", option, fallback=False)
            for option in ("otel_on", "statsd_on", "statsd_datadog_enabled")
        ),
        channels=read_channels(conf.get(SECTION, "channels", fallback="")),
    )
