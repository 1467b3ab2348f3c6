"""How a DAG runs a step: as a process of the jobs' environment, or through spark-submit; judged by its marker.

A step's exit status is not trusted: whether it is done stands in the marker that it commits, and so does
whether another try could help.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from deployment import Deployment

EXIT_PERMANENT = 2
"""By which a module of the jobs says that another try cannot help."""


class StepFailed(AirflowException):
    """The step failed, but another try may help."""


class JobProcess(BaseOperator):
    """Runs a module of the jobs as a process, whose output is the task's log, and ends it with the task."""

    def __init__(self, *, deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self._process: subprocess.Popen[str] | None = None

    def run_module(self, module: str, arguments: Sequence[str]) -> int:
        """Run ``jobs.<module>`` to its end; returns its exit status."""
        command = [self.deployment.jobs_python, "-m", f"jobs.{module}", *arguments]
        with subprocess.Popen(
            command,
            cwd=self.deployment.home,
            env=_environment(self.deployment.aws_profile(module)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as self._process:
            assert self._process.stdout is not None  # noqa: S101 - it was asked for
            for line in self._process.stdout:
                self.log.info(line.rstrip())
        return self._process.returncode

    def on_kill(self) -> None:
        """End the process with the task."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


class ProcessStep(JobProcess):
    """Runs a step as a process of the jobs' environment.

    Parameters
    ----------
    step
        The module's name in ``jobs``.
    night
        ``--call-date`` and ``--run-id`` with their values, templated.
    arguments
        More arguments of the step, templated; empty ones are left out with their names.
    """

    template_fields: Sequence[str] = ("night", "arguments")
    ui_color = "#e8f0e4"

    def __init__(self, *, step: str, night: list[str], arguments: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(task_id=step, **kwargs)
        self.step = step
        self.night = night
        self.arguments = arguments or {}

    def execute(self, context: Context) -> None:  # noqa: ARG002 - the signature is Airflow's
        """Run the step and judge it by its marker."""
        given = [part for name, value in self.arguments.items() if value for part in (name, value)]
        night = [*self.night, "--attempt", new_attempt()]
        self.run_module(self.step, [*night, *given])
        judge(self.step, night, self.deployment)


class JobCommand(JobProcess):
    """Runs a command of the jobs that is no step of a run; judged by its exit status.

    Parameters
    ----------
    module
        The module's name in ``jobs``.
    arguments
        Its arguments, templated; empty ones are left out. They are shown in Airflow: never an id.
    """

    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#e4e8f0"

    def __init__(self, *, module: str, arguments: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments

    def execute(self, context: Context) -> None:  # noqa: ARG002 - the signature is Airflow's
        """Run the command.

        Raises
        ------
        AirflowFailException
            It failed, and another try cannot help.
        StepFailed
            It failed or was killed; another try may help.
        """
        status = self.run_module(self.module, [each for each in self.arguments if each])
        if status != 0:
            kind = AirflowFailException if status == EXIT_PERMANENT else StepFailed
            raise kind(f"{self.module} ended with exit status {status}; the log above says why")


class SparkStep(SparkSubmitOperator):
    """Runs a step through spark-submit.

    Parameters
    ----------
    step, night
        As for `ProcessStep`.
    """

    ui_color = "#fdf0e0"

    def __init__(self, *, step: str, night: list[str], deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(
            task_id=step,
            name=f"callmood_{step}",
            application=str(deployment.home / "jobs" / f"{step}.py"),
            application_args=night,
            conn_id=deployment.spark_conn_id,
            pool=deployment.spark_pool,
            verbose=False,
            **kwargs,
        )
        self.step = step
        self.deployment = deployment
        self.application_args: list[str] = night

    def execute(self, context: Context) -> None:
        """Run the step and judge it by its marker, whatever spark-submit said."""
        self.application_args = [*self.application_args, "--attempt", new_attempt()]
        try:
            super().execute(context)
        except AirflowException as error:
            self.log.warning("spark-submit ended with an error: %s", error)
        judge(self.step, self.application_args, self.deployment)


def spark_step(step: str, night: list[str], deployment: Deployment) -> BaseOperator:
    """The task of a Spark step: on EMR Serverless where the deployment has a file for it, else by spark-submit."""
    if deployment.emr_serverless is None:
        return SparkStep(step=step, night=night, deployment=deployment)
    from emr import EmrServerlessStep  # Amazon's provider takes seconds to import

    return EmrServerlessStep(step=step, night=night, deployment=deployment)


def judge(step: str, night: Sequence[str], deployment: Deployment) -> None:
    """Look at the marker of a try of a step.

    Parameters
    ----------
    step
        The step.
    night
        The arguments that it was started with: the day, the run, and the try's name.

    Raises
    ------
    AirflowFailException
        The step failed, and another try cannot help.
    StepFailed
        The step failed or left no marker; another try may help.
    """
    asked = subprocess.run(
        [deployment.jobs_python, "-m", "jobs.step", *night, "--step", step],
        cwd=deployment.home,
        env=_environment(deployment.aws_profile(step)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if asked.returncode != 0:
        raise StepFailed(f"{step}: its marker could not be read: {asked.stderr.strip()[-500:]}")
    marker = json.loads(asked.stdout)
    if marker is None:
        raise StepFailed(f"{step} left no marker: it was killed or could not start; the log above says more")
    if marker["status"] != "done":
        raise (AirflowFailException if marker["permanent"] else StepFailed)(f"{step}: {marker['reason']}")


def ask(deployment: Deployment, module: str, *arguments: str) -> Any:
    """Run a module of the jobs that prints its answer as JSON, and return the answer.

    Raises
    ------
    AirflowFailException
        It says that another try cannot help.
    StepFailed
        It failed otherwise.
    """
    asked = subprocess.run(
        [deployment.jobs_python, "-m", module, *arguments],
        cwd=deployment.home,
        env=_environment(deployment.aws_profile(module.removeprefix("jobs."))),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        permanent = asked.returncode == EXIT_PERMANENT
        raise (AirflowFailException if permanent else StepFailed)(f"{module}: {asked.stderr.strip()[-2000:]}")
    return json.loads(asked.stdout)


def new_attempt() -> str:
    """A name for one try of a step: the marker of an earlier try is none of this one's."""
    return secrets.token_hex(4)


def _environment(aws_profile: str | None = None) -> dict[str, str]:
    """What a step's process sees: all but Airflow's own configuration, which holds secrets that it has no use for."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return seen if aws_profile is None else {**seen, "AWS_PROFILE": aws_profile}
