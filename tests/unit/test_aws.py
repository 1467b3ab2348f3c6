"""What CloudFormation makes of infra/aws: linted, deployed into moto, and who may do what with it.

moto makes the key, the buckets, the roles with their policies, and the topic. The types in `NOT_IN_MOTO` its
CloudFormation lacks: they are left out, and those that moto has an API of are made by that from the template's own
properties, so that at least names and shapes are checked. Nothing here was run in AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pyarrow as pa
import pytest
from moto import mock_aws

from infra.aws import tables
from jobs.settings import ROOT
from schemas import LABELS, TABLES
from tests.aws import is_allowed, load, resolve

AWS = ROOT / "infra" / "aws"
ACCOUNT, REGION, STACK = "123456789012", "eu-central-1", "callmood"
PARAMETERS = {
    "RecordingsBucket": "center",
    "RecordingsPrefix": "connect/CallRecordings/",
    "RecordsBucket": "center",
    "RecordsPrefix": "connect/records/",
    "RecordingsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/centers-own",
    "AirflowRoleArn": f"arn:aws:iam::{ACCOUNT}:role/airflow",
    "AlarmEmail": "night@example.com",
}
NOT_IN_MOTO = {
    "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::EMRServerless::Application",
    "AWS::Glue::Database",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
}
ROLES = {
    "score": ("ScorePolicy", "ScoreReadsEncryptedRecordings"),
    "publish": ("PublishPolicy",),
    "erase": ("PublishPolicy", "ErasePolicy", "ScoreReadsEncryptedRecordings"),
    "airflow": ("Schedule",),
    "analyst": ("Analysts",),
}
"""Whom a role is, and its policies."""


@dataclass(frozen=True)
class Stack:
    """The stack as moto made it: what its names stand for, and the template's resources with that put in."""

    names: Mapping[str, str]
    resources: Mapping[str, Any]

    def policies(self, who: str) -> list[Any]:
        return [self.resources[name]["Properties"]["PolicyDocument"] for name in ROLES[who]]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack in moto."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        template = load(AWS / "callmood.yaml")
        left_out = {name for name, each in template["Resources"].items() if each["Type"] in NOT_IN_MOTO}
        # What refers to those gets the names that they might have.
        names = _names(template, {name: f"{STACK}-{name.lower()}" for name in left_out})
        deployed = resolve(template, names)
        deployed["Resources"] = {name: each for name, each in deployed["Resources"].items() if name not in left_out}
        formation = boto3.client("cloudformation")
        formation.create_stack(
            StackName=STACK,
            TemplateBody=json.dumps(deployed),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        made = formation.describe_stack_resources(StackName=STACK)["StackResources"]
        names |= _names(template, {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in made})
        yield Stack(names, resolve(template["Resources"], names))


def _names(template: Mapping[str, Any], made: Mapping[str, str]) -> dict[str, str]:
    """What Ref and GetAtt of parameters and of these resources are."""
    defaults = {name: str(each.get("Default", "")) for name, each in template["Parameters"].items()}
    names = {**defaults, **PARAMETERS, "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
    names |= {"AWS::StackName": STACK, **made}
    for name, found in made.items():
        arn = {
            "AWS::S3::Bucket": f"arn:aws:s3:::{found}",
            "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{found}",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{found}",
            "AWS::EMRServerless::Application": f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/{found}",
        }.get(template["Resources"][name]["Type"])
        if arn is not None:
            names[f"{name}.Arn"] = arn
    return names


# The templates


@pytest.mark.parametrize("name", ["callmood.yaml", "tables.json"])
def test_cfn_lint_has_nothing_to_say(name: str) -> None:
    import cfnlint

    options = cfnlint.ManualArgs(regions=["us-east-1", "eu-central-1"])
    found = cfnlint.lint((AWS / name).read_text(), config=options)
    assert not found, found


def test_the_registered_tables_are_current() -> None:
    written = json.loads((AWS / "tables.json").read_text())
    assert written == tables.template(), "run: python -m infra.aws.tables > infra/aws/tables.json"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.string(), "string"),
        (pa.float32(), "float"),
        (pa.int64(), "bigint"),
        (pa.timestamp("us", tz="UTC"), "timestamp"),
        (pa.list_(pa.string()), "array<string>"),
        (pa.map_(pa.string(), pa.int64()), "map<string,bigint>"),
    ],
)
def test_types_have_names_in_glue(kind: pa.DataType, name: str) -> None:
    assert tables.glue_type(kind) == name


def test_every_published_column_is_registered() -> None:
    registered = {
        each["Properties"]["TableInput"]["Name"]: each["Properties"]["TableInput"]
        for each in tables.template()["Resources"].values()
    }
    assert set(registered) == {*TABLES, LABELS.name}
    for table in (*TABLES.values(), LABELS):
        found = registered[table.name]
        columns = [*found["PartitionKeys"], *found["StorageDescriptor"]["Columns"]]
        assert sorted(each["Name"] for each in columns) == sorted(table.schema.names)


# Deployed


def test_moto_makes_what_it_can(stack: Stack) -> None:
    made = boto3.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    assert {each["ResourceStatus"] for each in made} == {"CREATE_COMPLETE"}
    expected = {name for name, each in stack.resources.items() if each["Type"] not in NOT_IN_MOTO}
    assert {each["LogicalResourceId"] for each in made} == expected


@pytest.mark.parametrize("who", ROLES)
def test_policies_are_deployed_as_they_are_tested_here(stack: Stack, who: str) -> None:
    iam = boto3.client("iam")
    for name in ROLES[who]:
        arn = stack.names[name]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        deployed = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        assert deployed == stack.resources[name]["Properties"]["PolicyDocument"]


@pytest.mark.parametrize(("who", "role"), [("score", "Score"), ("publish", "Publish"), ("erase", "Erase")])
def test_roles_have_these_policies_and_no_other(stack: Stack, who: str, role: str) -> None:
    attached = boto3.client("iam").list_attached_role_policies(RoleName=stack.names[role])["AttachedPolicies"]
    assert {each["PolicyArn"] for each in attached} == {stack.names[name] for name in ROLES[who]}


@pytest.mark.parametrize("name", ["Warehouse", "Staging", "QueryResults"])
def test_buckets_are_closed_encrypted_and_cleared(stack: Stack, name: str) -> None:
    s3, bucket, properties = boto3.client("s3"), stack.names[name], stack.resources[name]["Properties"]
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == stack.names["Key.Arn"]
    # Of the rest moto's CloudFormation makes nothing.
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    (cleared,) = properties["LifecycleConfiguration"]["Rules"]
    assert cleared["Status"] == "Enabled"
    # What erasures and retention delete is gone at once, or after the days of replaced files.
    has_versions = properties.get("VersioningConfiguration") == {"Status": "Enabled"}
    assert has_versions == (name == "Warehouse") == ("NoncurrentVersionExpiration" in cleared)
    policy = stack.resources[f"{name}Policy"]["Properties"]
    s3.put_bucket_policy(Bucket=policy["Bucket"], Policy=json.dumps(policy["PolicyDocument"]))


def test_the_key_is_turned_every_year(stack: Stack) -> None:
    assert boto3.client("kms").get_key_rotation_status(KeyId=stack.names["Key"])["KeyRotationEnabled"]


def test_what_cloudformation_cannot_make_in_moto_its_services_take(stack: Stack) -> None:
    of = {name: each["Properties"] for name, each in stack.resources.items()}
    workgroup = dict(of["Sql"])
    workgroup.pop("RecursiveDeleteOption")
    workgroup["Configuration"] = {
        **workgroup.pop("WorkGroupConfiguration"),
        "BytesScannedCutoffPerQuery": int(of["Sql"]["WorkGroupConfiguration"]["BytesScannedCutoffPerQuery"]),
    }
    boto3.client("athena").create_work_group(**workgroup)
    results = boto3.client("athena").get_work_group(WorkGroup=STACK)["WorkGroup"]["Configuration"]
    assert results["EnforceWorkGroupConfiguration"]
    assert results["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert results["BytesScannedCutoffPerQuery"] == 100 << 30
    for name in ("StepFailed", "NoNight"):
        boto3.client("cloudwatch").put_metric_alarm(AlarmName=name, **of[name])
    glue = boto3.client("glue")
    glue.create_database(**of["Database"])
    location = {
        "Database": "callmood",
        "Warehouse": f"s3://{stack.names['Warehouse']}/tables",
        "AWS::AccountId": ACCOUNT,
    }
    for resource in resolve(tables.template()["Resources"], location).values():
        glue.create_table(**resource["Properties"])
    registered = {each["Name"]: each for each in glue.get_tables(DatabaseName="callmood")["TableList"]}
    assert set(registered) == {*TABLES, LABELS.name}
    assert registered["calls"]["StorageDescriptor"]["Location"] == f"{location['Warehouse']}/calls"


# Who may do what

WAREHOUSE, STAGING, CENTER = "${Warehouse.Arn}", "${Staging.Arn}", "arn:aws:s3:::center"
RECORDING = f"{CENTER}/connect/CallRecordings/2026/11/20/c1.wav"
RECORD = f"{CENTER}/connect/records/2026/11/20.jsonl"
IN_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
CENTERS_KEY = PARAMETERS["RecordingsKeyArn"]
QUERY = f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/${{Sql}}"
WHO_MAY: list[tuple[str, str, dict[str, str], str]] = [
    # action, resource, context: who may
    ("s3:GetObject", RECORDING, {}, "score"),
    ("s3:GetObject", RECORD, {}, "score erase"),
    ("s3:GetObject", f"{CENTER}/connect/Chats/1.json", {}, ""),
    ("s3:ListBucket", CENTER, {}, "score"),
    ("s3:ListBucketVersions", CENTER, {"s3:prefix": "connect/CallRecordings/2026/11/20/c1.wav"}, "erase"),
    ("s3:ListBucketVersions", CENTER, {"s3:prefix": "connect/Chats/"}, ""),
    ("s3:PutObject", RECORDING, {}, ""),
    ("s3:DeleteObject", RECORDING, {}, "erase"),
    ("s3:DeleteObjectVersion", RECORDING, {}, "erase"),
    ("s3:DeleteObject", RECORD, {}, ""),
    ("s3:GetObject", f"{WAREHOUSE}/tables/calls/x.parquet", {}, "score publish erase analyst"),
    ("s3:PutObject", f"{WAREHOUSE}/tables/calls/x.parquet", {}, "publish erase"),
    ("s3:DeleteObject", f"{WAREHOUSE}/tables/calls/x.parquet", {}, "publish erase"),
    ("s3:DeleteObjectVersion", f"{WAREHOUSE}/tables/calls/x.parquet", {}, ""),
    ("s3:ListBucket", WAREHOUSE, {}, "score publish erase analyst"),
    ("s3:GetObject", f"{WAREHOUSE}/reports/2026-11-20/nightly.html", {}, "publish erase"),
    ("s3:PutObject", f"{WAREHOUSE}/reports/2026-11-20/nightly.html", {}, "publish erase"),
    ("s3:GetObject", f"{WAREHOUSE}/packages/callmood.tar.gz", {}, "score"),
    ("s3:PutObject", f"{WAREHOUSE}/packages/callmood.tar.gz", {}, ""),
    ("s3:GetObject", f"{STAGING}/runs/2026-11-20/r/plan/x.parquet", {}, "score publish erase"),
    ("s3:PutObject", f"{STAGING}/runs/2026-11-20/r/plan/x.parquet", {}, "score publish erase"),
    ("s3:ListBucket", STAGING, {}, "score publish erase"),
    ("s3:PutObject", f"{STAGING}/logs/applications/x", {}, "score"),
    ("s3:GetObject", f"{STAGING}/logs/applications/x", {}, ""),
    ("s3:DeleteBucket", WAREHOUSE, {}, ""),
    ("s3:PutBucketPolicy", WAREHOUSE, {}, ""),
    ("s3:PutLifecycleConfiguration", WAREHOUSE, {}, ""),
    ("kms:Decrypt", "${Key.Arn}", IN_S3, "score publish erase analyst"),
    ("kms:GenerateDataKey", "${Key.Arn}", IN_S3, "score publish erase analyst"),
    ("kms:Decrypt", "${Key.Arn}", {}, ""),
    ("kms:ScheduleKeyDeletion", "${Key.Arn}", IN_S3, ""),
    ("kms:Decrypt", CENTERS_KEY, IN_S3, "score erase"),
    ("kms:GenerateDataKey", CENTERS_KEY, IN_S3, ""),
    ("emr-serverless:StartJobRun", "${Spark.Arn}", {}, "airflow"),
    ("emr-serverless:CancelJobRun", "${Spark.Arn}/jobruns/1", {}, "airflow"),
    ("emr-serverless:DeleteApplication", "${Spark.Arn}", {}, ""),
    ("iam:PassRole", "${Score.Arn}", {"iam:PassedToService": "emr-serverless.amazonaws.com"}, "airflow"),
    ("iam:PassRole", "${Score.Arn}", {"iam:PassedToService": "ec2.amazonaws.com"}, ""),
    ("iam:PassRole", "${Publish.Arn}", {"iam:PassedToService": "emr-serverless.amazonaws.com"}, ""),
    ("sts:AssumeRole", "${Erase.Arn}", {}, "airflow"),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {}, ""),
    ("sns:Publish", "${Alarms}", {}, "airflow"),
    ("athena:StartQueryExecution", QUERY, {}, "analyst"),
    ("athena:StartQueryExecution", f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/primary", {}, ""),
    ("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/${{Database}}/calls", {}, "analyst"),
    ("glue:DeleteTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/${{Database}}/calls", {}, ""),
]


@pytest.mark.parametrize(("action", "resource", "context", "who"), WHO_MAY)
def test_who_may_do_what(stack: Stack, action: str, resource: str, context: dict[str, str], who: str) -> None:
    place = resolve({"Fn::Sub": resource}, stack.names)
    may = {each for each in ROLES if is_allowed(stack.policies(each), action, place, context)}
    assert may == set(who.split())


@pytest.mark.parametrize("bucket", ["Warehouse", "Staging"])
@pytest.mark.parametrize(
    ("action", "context", "expected"),
    [
        ("s3:PutObject", {"aws:SecureTransport": "true"}, True),
        ("s3:PutObject", {"aws:SecureTransport": "false"}, False),
        ("s3:GetObject", {"aws:SecureTransport": "false"}, False),
        ("s3:PutObject", {"s3:x-amz-server-side-encryption-aws-kms-key-id": "${Key.Arn}"}, True),
        ("s3:PutObject", {"s3:x-amz-server-side-encryption-aws-kms-key-id": CENTERS_KEY}, False),
    ],
)
def test_buckets_refuse_what_no_role_may(
    stack: Stack, bucket: str, action: str, context: dict[str, str], expected: bool
) -> None:
    said = {key: resolve({"Fn::Sub": value}, stack.names) for key, value in context.items()}
    policy = stack.resources[f"{bucket}Policy"]["Properties"]["PolicyDocument"]
    place = f"{stack.names[f'{bucket}.Arn']}/runs/tables/x"
    anything = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    assert is_allowed([anything, policy], action, place, said) == expected


def test_only_airflow_and_spark_take_on_roles(stack: Stack) -> None:
    trusted = {
        name: [
            each["Principal"] for each in stack.resources[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        ]
        for name in ("Score", "Publish", "Erase")
    }
    airflow = {"AWS": PARAMETERS["AirflowRoleArn"]}
    assert trusted == {
        "Score": [airflow, {"Service": "emr-serverless.amazonaws.com"}],
        "Publish": [airflow],
        "Erase": [airflow],
    }


def test_nothing_secret_and_no_account_stands_in_the_templates() -> None:
    import re

    for name in ("callmood.yaml", "tables.json"):
        assert not re.search(r"\b\d{12}\b(?!\d)|AKIA[A-Z0-9]{16}", (AWS / name).read_text().replace("107374182400", ""))
