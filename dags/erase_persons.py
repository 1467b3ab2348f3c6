"""Erases everything on the people whose ids a file names, everywhere, and certifies it.

The file holds a contact id a line, or `customer:` and a customer key. This DAG takes its path and never an id, since
Airflow shows and keeps parameters. What is erased, and in which order, is the jobs' to know (`jobs.erase`); the page
docs/privacy.md says it for operators. Nothing starts this DAG by itself.

**When it fails.** Nothing is certified, and triggering it again with the same file does what is left. A day that
another run is publishing is waited for. "could not be rebuilt" names the day and what stopped it.

**Afterwards** the certificate is in the warehouse, under `_erasures/`; the task's last lines say where. Delete the
file.

**Parameters.** `file`: an absolute path that the task's machine has, or s3://bucket/key. `recordings`: delete the
recordings in S3, too, which cannot be done later: their addresses are erased with the rest.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag
from deployment import read_deployment
from runs import ASSETS, default_args
from steps import JobCommand

DEPLOYMENT = read_deployment()


@dag(
    dag_id="erase_persons",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["privacy"],
    default_args=default_args(DEPLOYMENT),
    params={
        "file": Param(type="string", pattern=r"^(/|s3://[^/]+/).*[^/]$", description="the file with the ids: its path"),
        "recordings": Param(False, type="boolean", description="delete the recordings in S3, too"),
    },
)
def erase_persons() -> None:
    """Build the DAG."""
    JobCommand(
        task_id="erase",
        module="erase",
        arguments=["--file", "{{ params.file }}", "{{ '--recordings' if params.recordings else '' }}"],
        deployment=DEPLOYMENT,
        outlets=ASSETS,
    )


erase_persons()
