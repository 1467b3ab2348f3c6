"""The Spark steps on EMR Serverless: what is asked of it, by the shapes of its API. Nothing here was run in AWS."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROLE = "arn:aws:iam::123456789012:role/score"
FILE = {
    "application_id": "00abc",
    "execution_role_arn": ROLE,
    "packages": "s3://warehouse/packages",
    "logs": "s3://staging/logs/",
    "region": "eu-central-1",
    "settings": {"CALLMOOD_STAGING": "s3://staging/runs"},
}
NIGHT = ["--call-date", "2026-11-20", "--run-id", "run-1"]


@pytest.fixture
def deployment(tmp_path: Path) -> Any:
    from deployment import read_deployment

    file = tmp_path / "emr.json"
    file.write_text(json.dumps(FILE))
    return dataclasses.replace(read_deployment(), emr_serverless=file)


def test_a_step_is_a_job_of_the_application(deployment: Any) -> None:
    from steps import spark_step

    step = spark_step("extract_features", NIGHT, deployment)
    assert (step.application_id, step.execution_role_arn) == ("00abc", ROLE)
    assert step.job_driver["sparkSubmit"] == {
        "entryPoint": "s3://warehouse/packages/run_step.py",
        "entryPointArguments": ["extract_features", *NIGHT],
    }
    (defaults,) = step.configuration_overrides["applicationConfiguration"]
    properties = defaults["properties"]
    assert properties["spark.archives"] == "s3://warehouse/packages/callmood.tar.gz#environment"
    assert properties["spark.executorEnv.PYSPARK_PYTHON"] == "./environment/bin/python"
    assert properties["spark.emr-serverless.driverEnv.CALLMOOD_STAGING"] == "s3://staging/runs"
    assert step.waiter_delay * step.waiter_max_attempts == 12 * 3600
    assert not step.deferrable
    assert {"job_driver", "night"} <= set(step.template_fields)


def test_the_marker_decides_whatever_emr_says(deployment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import emr
    from airflow.sdk.exceptions import AirflowException

    asked: list[Any] = []
    state = {"application": {"state": "STARTED"}, "applicationId": "00abc"}

    def start_job_run(**request: Any) -> dict[str, Any]:
        asked.append(request)
        raise AirflowException("EMR does not answer")

    step = emr.EmrServerlessStep(step="extract_features", night=NIGHT, deployment=deployment)
    hook = SimpleNamespace(conn=SimpleNamespace(get_application=lambda **_: state, start_job_run=start_job_run))
    monkeypatch.setattr(emr.EmrServerlessStep, "hook", hook)
    monkeypatch.setattr(emr, "judge", lambda *words: asked.append(words))
    step.execute({})
    request, (name, night, where) = asked
    assert (name, where) == ("extract_features", deployment)
    assert request["jobDriver"]["sparkSubmit"]["entryPointArguments"] == ["extract_features", *night]
    assert night[:-1] == [*NIGHT, "--attempt"]


def test_what_is_asked_has_the_shapes_of_the_api(deployment: Any) -> None:
    import boto3
    from botocore.validate import ParamValidator
    from emr import EmrServerlessStep

    step = EmrServerlessStep(step="classify_emotions", night=NIGHT, deployment=deployment)
    model = boto3.client("emr-serverless", region_name="eu-central-1").meta.service_model.operation_model("StartJobRun")
    request = {
        "applicationId": step.application_id,
        "clientToken": step.client_request_token,
        "executionRoleArn": step.execution_role_arn,
        "jobDriver": step.job_driver,
        "configurationOverrides": step.configuration_overrides,
    }
    assert not ParamValidator().validate(request, model.input_shape).has_errors()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bucket": "x"}, "unexpected keyword argument 'bucket'; expected application_id"),
        ({"settings": {"CALLMOOD_IDENTITY_KEY": "secret"}}, "which EMR would show"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    from emr import read_emr_serverless

    file = tmp_path / "emr.json"
    file.write_text(json.dumps({**FILE, **change}))
    with pytest.raises(ValueError, match=says):
        read_emr_serverless(file)


@pytest.mark.parametrize(
    ("module", "profile"),
    [("plan_recordings", "s"), ("summarize_calls", "s"), ("publish_tables", "p"), ("retention", "p"), ("erase", "e")],
)
def test_each_module_uses_the_profile_of_its_duty(module: str, profile: str) -> None:
    from deployment import read_deployment

    deployment = dataclasses.replace(read_deployment(), aws_profiles={"score": "s", "publish": "p", "erase": "e"})
    assert deployment.aws_profile(module) == profile
    assert read_deployment().aws_profile(module) is None
