"""The Spark steps on Amazon EMR Serverless instead of by spark-submit; docs/deployment.md says how. Not run in AWS.

What belongs to a deployment stands in a JSON file, which Airflow's option ``[callmood] emr_serverless`` names; Spark's
properties that hold everywhere stand in infra/spark/emr-serverless.conf.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.operators.emr import EmrServerlessStartJobOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from deployment import Deployment
from steps import judge, new_attempt

POLL_S, HOURS = 20, 12
"""How often a job is asked after, and how long it may take."""


@dataclass(frozen=True)
class EmrServerless:
    """Where and as whom the Spark steps run.

    Attributes
    ----------
    application_id, execution_role_arn
        The outputs ApplicationId and ScoreRole of infra/aws/callmood.yaml.
    packages
        The s3:// folder to which what ``make package`` made was copied.
    logs
        The s3:// folder of Spark's logs.
    region
        Of all of it.
    settings
        The jobs' settings (docs/configuration.md) as variables: no secret, since EMR shows them.
    """

    application_id: str
    execution_role_arn: str
    packages: str
    logs: str
    region: str
    settings: Mapping[str, str]


def read_emr_serverless(file: Path) -> EmrServerless:
    """Read the file of a deployment.

    Raises
    ------
    ValueError
        Where names are missing or unknown, or a setting holds a secret.
    """
    try:
        found = EmrServerless(**json.loads(file.read_text(encoding="utf-8")))
    except TypeError as error:
        expected = ", ".join(EmrServerless.__dataclass_fields__)
        raise ValueError(f"{file}: {error}; expected {expected} (docs/deployment.md)") from None
    if "CALLMOOD_IDENTITY_KEY" in found.settings:
        raise ValueError(f"{file} has CALLMOOD_IDENTITY_KEY, which EMR would show and no Spark step needs; take it out")
    return found


class EmrServerlessStep(EmrServerlessStartJobOperator):
    """Runs a step as a job of EMR Serverless, and judges it by its marker.

    Parameters
    ----------
    step, night
        As for `steps.ProcessStep`.
    """

    template_fields: Sequence[str] = (*EmrServerlessStartJobOperator.template_fields, "night")
    ui_color = "#fdf0e0"

    def __init__(self, *, step: str, night: list[str], deployment: Deployment, **kwargs: Any) -> None:
        assert deployment.emr_serverless is not None  # noqa: S101 - who calls has looked
        emr = read_emr_serverless(deployment.emr_serverless)
        super().__init__(
            task_id=step,
            name=f"callmood_{step}",
            application_id=emr.application_id,
            execution_role_arn=emr.execution_role_arn,
            job_driver={
                "sparkSubmit": {"entryPoint": f"{emr.packages}/run_step.py", "entryPointArguments": [step, *night]}
            },
            configuration_overrides={
                "applicationConfiguration": [
                    {"classification": "spark-defaults", "properties": _properties(emr, deployment.home)}
                ],
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": emr.logs}},
            },
            region_name=emr.region,
            aws_conn_id=None,
            waiter_delay=POLL_S,
            waiter_max_attempts=HOURS * 3600 // POLL_S,
            # The marker is looked at when the job has ended, by the task that started it.
            deferrable=False,
            **kwargs,
        )
        self.step = step
        self.night = night
        self.deployment = deployment

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - it never defers
        """Run the step and judge it by its marker, whatever EMR said."""
        arguments: list[str] = self.job_driver["sparkSubmit"]["entryPointArguments"]
        arguments += ["--attempt", new_attempt()]
        try:
            super().execute(context)
        except AirflowException as error:
            self.log.warning("the job on EMR Serverless ended with an error: %s", error)
        judge(self.step, arguments[1:], self.deployment)


def _properties(emr: EmrServerless, home: Path) -> dict[str, str]:
    """Spark's properties: those that hold everywhere, the archive's place, and the driver's settings."""
    lines = (home / "infra" / "spark" / "emr-serverless.conf").read_text(encoding="utf-8").splitlines()
    common = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    settings = {f"spark.emr-serverless.driverEnv.{name}": value for name, value in emr.settings.items()}
    return {**common, "spark.archives": f"{emr.packages}/callmood.tar.gz#environment", **settings}
