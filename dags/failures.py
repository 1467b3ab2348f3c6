"""What people are told when a task has failed for good: which step, the counts, why, what follows, what to type.

Every DAG's tasks have ``tell_failure`` as their ``on_failure_callback`` (``runs.default_args``). What the run had
counted until then is asked of the jobs; where that cannot be told, the notification says so and goes all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from channels import Notification
from deployment import Deployment, read_deployment
from notify import tell
from steps import ask

PAGES = frozenset({"validate_tables", "publish_tables", "erase"})
"""Tasks whose failure is a page: an invariant is broken, or somebody who is to be erased is not. Others are tickets."""
LONGEST_REASON = 1000

log = logging.getLogger("callmood.failures")


@dataclass(frozen=True)
class Consequence:
    """What follows of a failure: what is affected, whether a rerun is safe, and the one command."""

    affected: str
    rerun: str
    command: str


def consequence(dag_id: str, task_id: str, day: str, run_id: str, conf: Mapping[str, Any]) -> Consequence:
    """What follows of a task's failure; `day` and `run_id` are empty where it is of no run."""
    replaced = "safe: it replaces the day as a whole, and what is published stays until then"
    if task_id == "render_report":
        command = f".venv/jobs/bin/python -m jobs.render_report --call-date {day} --run-id {run_id}"
        return Consequence(
            f"the tables of {day} are published; its report is missing, or the former one", "safe", command
        )
    if dag_id == "nightly_emotion_log":
        affected = f"{day or 'the day'}: nothing of this run is published; readers see what was before, or no such day"
        return Consequence(affected, replaced, f"make run DATE={day}" if day else f"airflow dags trigger {dag_id}")
    if dag_id == "enrich_emotion_log":
        affected = f"{day or 'the day'} stays as it is published, without what came later"
        command = f"make enrich FROM={day} TO={day}" if day else f"airflow dags trigger {dag_id}"
        return Consequence(affected, replaced, command)
    if dag_id == "late_recordings":
        affected = "days before that are due are not run again; last night's own run is not affected"
        return Consequence(affected, "safe: a day with nothing new is not touched", f"airflow dags trigger {dag_id}")
    if dag_id == "erase_persons":
        affected = "the people of the file are suppressed, perhaps not erased everywhere; nothing is certified"
        command = f"airflow dags trigger {dag_id} --conf '{json.dumps(dict(conf))}'"
        return Consequence(affected, "safe, with the same file: it does what is left", command)
    if dag_id == "enforce_retention":
        affected = "what is past its lifetime is still there"
        return Consequence(affected, "safe: what is deleted already is passed over", "make retention")
    if dag_id == "watch_model":
        affected = "this week's look at the data and the golden set; no night is affected"
        return Consequence(affected, "safe: it only reads", f"airflow dags trigger {dag_id}")
    affected = f"what {dag_id} does; its page in Airflow says what that is"
    return Consequence(affected, "its page in Airflow says whether it is", f"airflow dags trigger {dag_id}")


def tell_failure(context: Context) -> None:
    """Tell people of a task that has failed for good, where a channel is set."""
    deployment = read_deployment()
    if deployment.channels:
        for channel in tell(deployment, failure(context, deployment)):
            log.error("the failure could not be told over %s", channel.kind)


def failure(context: Mapping[str, Any], deployment: Deployment) -> Notification:
    """What is said of a failed task.

    Parameters
    ----------
    context
        Airflow's, of the failed task.
    """
    task_instance, task = context["ti"], context.get("task")
    dag_id, task_id = task_instance.dag_id, task_instance.task_id
    night = _night(task)
    day, run_id = night.get("--call-date", ""), night.get("--run-id", "")
    follows = consequence(dag_id, task_id, day, run_id, context.get("params") or {})
    of_run = f", {day}, run {run_id}" if day else ""
    lines = [f"Step: {task_id} of {dag_id}{of_run}", f"Why: {_reason(context.get('exception'))}"]
    if day:
        lines += _counts(deployment, day, run_id)
    lines += [f"Affected: {follows.affected}.", f"Rerun: {follows.rerun}.", f"Type: {follows.command}"]
    severity = "page" if task_id in PAGES else "ticket"
    title = f"{dag_id}{f' of {day}' if day else ''} failed at {task_id}"
    return Notification(severity, title, "\n".join(lines))


def _night(task: Any) -> dict[str, str]:
    """A step's ``--call-date`` and ``--run-id``; none where the task is no step, or its templates are not filled in."""
    given = getattr(task, "night", None) or getattr(task, "application_args", None) or []
    found = dict(zip(given[::2], given[1::2], strict=False))
    return {} if any("{{" in value for value in found.values()) else found


def _reason(error: object) -> str:
    """Why it failed: what our own steps say names nobody, and others' errors may."""
    if isinstance(error, AirflowException):
        return str(error)[:LONGEST_REASON]
    return f"{type(error).__name__}; the task's log says more" if error is not None else "the task's log says"


def _counts(deployment: Deployment, day: str, run_id: str) -> list[str]:
    try:
        found = ask(deployment, "jobs.run_counts", "--call-date", day, "--run-id", run_id)
    except AirflowException as error:
        return [f"Counts: they cannot be told: {_reason(error)}"]
    steps = [f"{step}: {_in_words(counts)}" for step, counts in found["steps"].items()]
    reasons = _in_words(found["reasons"]) or "none so far"
    return [f"Counts: {'; '.join(steps) or 'no step was done'}", f"First reasons of what was not scored: {reasons}"]


def _in_words(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in counts.items())
