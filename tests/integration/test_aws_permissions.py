"""What the jobs ask of S3, request by request, against what their roles in infra/aws/callmood.yaml may.

Each kind of work is done on an S3 server (moto) that writes down every request, those of boto3, pyarrow and deltalake
alike. All of them must be allowed to the role that does the work in AWS, and no role may do in S3 what none of
its work asks. summarize_calls, validate_tables and render_report are not run: they read and write by the same storage.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from moto.server import DomainDispatcherApplication, create_backend_app
from sample_runs import figures, rows_of
from werkzeug.serving import make_server

from infra.demo.local_s3 import LocalS3
from jobs import classify_emotions, due_days, erase, extract_features, plan_recordings, retention
from jobs.settings import ROOT, Settings, load_settings
from jobs.staging import RunStaging, StepMarker
from jobs.step import step_main
from jobs.storage import open_storage
from jobs.warehouse import DAY_TABLES, Warehouse
from schemas.staging import PLAN
from tests.aws import is_allowed, load, resolve

pytestmark = pytest.mark.s3

DAY = date(2026, 11, 20)
RECORDINGS, RECORDS = "connect/CallRecordings/", "connect/records/"
POLICIES = {"score": ["ScorePolicy"], "publish": ["PublishPolicy"], "erase": ["PublishPolicy", "ErasePolicy"]}
NOT_SEEN_HERE = {
    ("score", "s3:AbortMultipartUpload", "staging"): "a stream that breaks off",
    ("publish", "s3:AbortMultipartUpload", "warehouse"): "a stream that breaks off",
    ("publish", "s3:AbortMultipartUpload", "staging"): "a stream that breaks off",
    ("erase", "s3:GetObject", "center"): "the list of whom to erase, where it is a file in S3",
    ("erase", "s3:DeleteObject", "center"): "a recording in a bucket that keeps no versions",
}
Asked = tuple[str, str, str]
"""An action, its bucket, and its key; of a list the prefix."""


def asked(environ: Mapping[str, Any]) -> Asked:
    """A request as IAM sees it."""
    bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
    query, method = parse_qs(environ["QUERY_STRING"], keep_blank_values=True), environ["REQUEST_METHOD"]
    if not key:
        assert method in {"GET", "HEAD"}, environ
        action = "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
        return action, bucket, query.get("prefix", [""])[0]
    if method == "DELETE":
        action = "AbortMultipartUpload" if "uploadId" in query else "DeleteObject" + "Version" * ("versionId" in query)
    else:
        action = "GetObject" if method in {"GET", "HEAD"} else "PutObject"
    return f"s3:{action}", bucket, key


class Seen:
    """What was asked, by the role that does the work."""

    def __init__(self) -> None:
        self.requests: dict[str, set[Asked]] = {who: set() for who in POLICIES}
        self._who: str | None = None

    def write_down(self, environ: Mapping[str, Any]) -> None:
        """Add a request, where somebody works."""
        if self._who is not None:
            self.requests[self._who].add(asked(environ))

    @contextmanager
    def by(self, who: str) -> Iterator[None]:
        self._who = who
        yield
        self._who = None

    def policies(self, who: str) -> list[Any]:
        """The role's policies, about the buckets here."""
        names = {"Warehouse.Arn": "arn:aws:s3:::warehouse", "Staging.Arn": "arn:aws:s3:::staging"}
        names |= {"RecordingsBucket": "center", "RecordsBucket": "center"}
        names |= {"RecordingsPrefix": RECORDINGS, "RecordsPrefix": RECORDS, "AWS::Partition": "aws"}
        resources = load(ROOT / "infra" / "aws" / "callmood.yaml")["Resources"]
        return [resolve(resources[name]["Properties"]["PolicyDocument"], names) for name in POLICIES[who]]


@pytest.fixture(scope="module")
def seen(voice: Callable[..., Any]) -> Iterator[Seen]:
    """The work of every role, done once."""
    written = Seen()
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start: Any) -> Any:
        written.write_down(environ)
        return moto(environ, start)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s3 = LocalS3(f"http://127.0.0.1:{server.server_port}")
    for bucket in ("center", "warehouse", "staging"):
        s3.client().create_bucket(Bucket=bucket)
    s3.client().put_bucket_versioning(Bucket="center", VersioningConfiguration={"Status": "Enabled"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
        values = {
            "recordings": "s3://center/connect",
            "contacts": f"s3://center/{RECORDS}",
            "opt_outs": f"s3://center/{RECORDS}opt-outs.txt",
            "warehouse": "s3://warehouse/tables",
            "reports": "s3://warehouse/reports",
            "staging": "s3://staging/runs",
            "s3_endpoint": s3.endpoint_url,
            "identity_key": "k" * 32,
            "accept_non_commercial": "true",
            "logs": "",
            "staging_days": "0",
        }
        for name, value in values.items():
            patch.setenv(f"CALLMOOD_{name.upper()}", value)
        # Of rows that are made up no page can be made.
        patch.setitem(erase._STEPS, "render_report", lambda _: {})
        plan_and_score(written, s3, voice)
        publish_and_erase(written, s3, load_settings())
    yield written
    server.shutdown()


def plan_and_score(seen: Seen, s3: LocalS3, voice: Callable[..., Any]) -> None:
    """One call, its record, and a list of opt-outs: planned, read, classified."""
    sound = io.BytesIO()
    soundfile.write(sound, np.stack([voice(8.0), voice(8.0, 220.0)], axis=1), 8000, format="WAV", subtype="PCM_16")
    record = {"ContactId": "c1", "Channel": "VOICE", "InitiationTimestamp": f"{DAY}T09:00:00Z"}
    for key, body in (
        (f"{RECORDINGS}{DAY:%Y/%m/%d}/c1_{DAY:%Y%m%d}T09:00_UTC.wav", sound.getvalue()),
        (f"{RECORDS}{DAY}.jsonl", json.dumps(record).encode()),
        (f"{RECORDS}opt-outs.txt", f"{'ab' * 16}\n".encode()),
    ):
        s3.client().put_object(Bucket="center", Key=key, Body=body)
    run = ["--call-date", str(DAY), "--run-id", "20261121T013000Z-0a0001"]
    with seen.by("score"):
        assert step_main("plan_recordings", plan_recordings.run, None, run, plan_recordings._add_arguments) == 0
        assert step_main("extract_features", extract_features.run, None, run) == 0
        assert step_main("classify_emotions", classify_emotions.run, None, run) == 0


def publish_and_erase(seen: Seen, s3: LocalS3, settings: Settings) -> None:
    """Tables of rows that are made up: published twice, looked at by the next night, erased in part, cleared."""
    keys = [f"{RECORDINGS}{number}.wav" for number in range(3)]
    for key in keys:
        s3.client().put_object(Bucket="center", Key=key, Body=b"x")
    made_up = {
        "recordings": {
            "source_uri": [f"s3://center/{key}" for key in keys],
            "status": ["scored"] * 3,
            "partner_uri": [None] * 3,
        },
        "emotion_log": {"model_id": ["model-1-abc"] * 3},
    }
    warehouse = Warehouse(open_storage(settings.warehouse, settings), secret=settings.identity_secret)
    for run_id in ("20261121T013000Z-000001", "20261121T013000Z-000002"):
        run = RunStaging(open_storage(settings.staging, settings), DAY, run_id)
        with seen.by("score"):
            for table in (*DAY_TABLES, PLAN):
                rows = rows_of(table, DAY, run_id, 3)
                for name, values in made_up.get(table.name, {}).items():
                    place = rows.column_names.index(name)
                    rows = rows.set_column(place, rows.schema.field(place), pa.array(values, pa.string()))
                run.write_table(table, rows)
        with seen.by("publish"):
            warehouse.publish(run, figures())
            run.end(StepMarker("publish_tables", run_id, "done", 1.0))
    with seen.by("score"):
        assert due_days.main(["--call-date", "2026-11-21"]) == 0
    with seen.by("erase"):
        assert erase.main(["--contact", "contact_id-1", "--recordings"]) == 0
    with seen.by("publish"):
        assert retention.main([]) == 0
        open_storage(settings.reports, settings).write(f"{DAY}/nightly.html", b"page")


@pytest.mark.parametrize("who", POLICIES)
def test_a_role_may_do_all_that_its_work_asks(seen: Seen, who: str) -> None:
    policies, refused = seen.policies(who), set()
    for action, bucket, key in seen.requests[who]:
        is_list = action.startswith("s3:List")
        place = f"arn:aws:s3:::{bucket}" if is_list else f"arn:aws:s3:::{bucket}/{key}"
        if not is_allowed(policies, action, place, {"s3:prefix": key} if is_list else {}):
            refused.add((action, place))
    assert len(seen.requests[who]) > 10
    assert not refused


@pytest.mark.parametrize("who", POLICIES)
def test_a_role_may_do_nothing_in_s3_that_no_work_of_it_asks(seen: Seen, who: str) -> None:
    used = {(action, bucket) for action, bucket, _ in seen.requests[who]}
    granted = set()
    # What an erasure may as publishing does is asked of publishing.
    for statement in seen.policies(who)[-1]["Statement"]:
        actions, places = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            for place in [places] if isinstance(places, str) else places:
                if action.startswith("s3:") and "/logs/" not in place and "/packages/" not in place:  # which Spark does
                    granted.add((action, place.removeprefix("arn:aws:s3:::").partition("/")[0]))
    assert granted - used == {(action, bucket) for role, action, bucket in NOT_SEEN_HERE if role == who}
