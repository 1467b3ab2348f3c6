"""Tells people of a published day over every channel, from a DAG's task, or by hand: ``python dags/notify.py``.

What is to be said, and what was, is the jobs' to know (``jobs.notifications``). By hand, in Airflow's environment:
``--call-date 2026-11-20`` says what was not said of a day yet; without, one notification is read as JSON from standard
input (severity, title, body), which needs no Airflow running. Connections are then found in the environment
(``AIRFLOW_CONN_...``) or a secrets backend.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from channels import Channel, Notification, NotSent, send
from deployment import Deployment, read_deployment
from steps import StepFailed, ask

log = logging.getLogger("callmood.notify")


class Notify(BaseOperator):
    """Says what was not said yet of a published day; a channel that fails is tried again, and stops no night.

    Parameters
    ----------
    call_date
        The day, templated.
    part
        night: its status and alerts; report: the reports that end with it.
    """

    template_fields: Sequence[str] = ("call_date",)
    ui_color = "#f0e4e8"

    def __init__(self, *, call_date: str, part: str, deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.call_date = call_date
        self.part = part
        self.deployment = deployment

    def execute(self, context: Context) -> None:
        """Say it.

        Raises
        ------
        StepFailed
            A channel failed; another try comes, which leaves alone those that did not.
        AirflowSkipException
            It was the last try. The task does not fail, since the day is published and its run is to say so.
        """
        failed = tell_day(self.deployment, self.call_date, ("--part", self.part, "--recent"))
        if failed:
            task_instance = context["ti"]
            message = f"{len(failed)} of {len(self.deployment.channels)} channels failed; the log above says why"
            last = task_instance.try_number > task_instance.max_tries
            raise (AirflowSkipException if last else StepFailed)(message)


def tell_day(deployment: Deployment, call_date: str, options: Sequence[str] = ()) -> list[Channel]:
    """Say over every channel what it has not said yet of a published day; returns the channels that failed."""
    failed = []
    for channel in deployment.channels:
        of_channel = ("--call-date", call_date, "--channel", channel.name)
        try:
            pending = ask(deployment, "jobs.notifications", *of_channel, "--at-least", channel.at_least, *options)
            for each in pending:
                page = each["page"] or {"name": None, "html": None}
                send(Notification(each["severity"], each["title"], each["body"], page["name"], page["html"]), channel)
                ask(deployment, "jobs.notifications", *of_channel, "--sent", each["about"], each["mark"])
        except AirflowException as error:
            log.error("%s", error)
            failed.append(channel)
    return failed


def tell(deployment: Deployment, notification: Notification) -> list[Channel]:
    """Say something over every channel that is for what is so severe; returns the channels that failed."""
    failed = []
    for channel in deployment.channels:
        if channel.takes(notification.severity):
            try:
                send(notification, channel)
            except NotSent as error:
                log.error("%s", error)
                failed.append(channel)
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Say it; the exit status is 1 where a channel failed, or there is none for what was given."""
    parser = argparse.ArgumentParser(
        prog="python dags/notify.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", help="the published day, YYYY-MM-DD")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    deployment = read_deployment()
    if not deployment.channels:
        log.warning("nobody is told: no channel is set (AIRFLOW__CALLMOOD__CHANNELS; docs/alerts.md)")
        return 0 if arguments.call_date else 1
    if arguments.call_date:
        failed = tell_day(deployment, arguments.call_date)
    else:
        failed = tell(deployment, Notification(**json.load(sys.stdin)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
