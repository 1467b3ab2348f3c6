"""What an erasure does in S3: recordings go in every version, a file of ids is read from there, tables lie there."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pytest
from sample_runs import figures, rows_of

from infra.demo.local_s3 import LocalS3
from jobs import erase
from jobs.erase import delete_objects, main, read_ids
from jobs.errors import WrongPerson
from jobs.person import Person, find
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging
from jobs.storage import S3Storage
from jobs.warehouse import DAY_TABLES, Warehouse
from schemas.staging import PLAN

pytestmark = pytest.mark.s3

DAY = date(2026, 11, 20)
CONTACT = "contact_id-1"


@pytest.fixture
def bucket(s3: LocalS3) -> Iterator[str]:
    """A bucket that keeps versions."""
    name = f"recordings-{secrets.token_hex(4)}"
    client = s3.client()
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name


@pytest.fixture
def settings(s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    values = {name: f"s3://callmood-tests/{bucket}/{name}" for name in ("warehouse", "staging", "reports")}
    values |= {"recordings": f"s3://{bucket}", "identity_key": "k" * 32, "s3_endpoint": s3.endpoint_url, "logs": ""}
    for name, value in values.items():
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", value)
    return load_settings()


def versions(s3: LocalS3, bucket: str) -> dict[str, int]:
    found: dict[str, int] = {}
    page = s3.client().list_object_versions(Bucket=bucket)
    for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
        found[each["Key"]] = found.get(each["Key"], 0) + 1
    return found


def test_recordings_go_in_every_version_and_no_other_with_them(s3: LocalS3, bucket: str, settings: Settings) -> None:
    client = s3.client()
    for key, times in (("a b/c1:x.wav", 2), ("a b/c1:x.wav.json", 1), ("c2.wav", 1), ("gone.wav", 1)):
        for number in range(times):
            client.put_object(Bucket=bucket, Key=key, Body=str(number).encode())
    client.delete_object(Bucket=bucket, Key="gone.wav")  # only marked, as versioned buckets do
    addresses = [f"s3://{bucket}/{key}" for key in ("a b/c1:x.wav", "gone.wav", "never-there.wav")]
    assert delete_objects(addresses, settings) == 4
    assert versions(s3, bucket) == {"a b/c1:x.wav.json": 1, "c2.wav": 1}


def test_a_file_of_ids_may_lie_in_s3(s3: LocalS3, bucket: str, settings: Settings) -> None:
    content = f"\ufeff# today\r\n\r\n c1 \ncontact:customer:odd\ncustomer:{'AB' * 16}\n".encode()
    s3.client().put_object(Bucket=bucket, Key="in/ids.txt", Body=content)
    found = read_ids(f"s3://{bucket}/in/ids.txt", settings)
    assert found == Person(frozenset({"c1", "customer:odd"}), frozenset({"ab" * 16}))
    with pytest.raises(WrongPerson, match="there is no file"):
        read_ids(f"s3://{bucket}/in/none.txt", settings)


def test_an_erasure_of_a_warehouse_in_s3(
    s3: LocalS3, bucket: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of rows made up, whose figures cannot be added up again and so are kept; the page is another test's."""
    monkeypatch.setitem(erase._STEPS, "render_report", lambda _: {})
    warehouse = Warehouse(S3Storage(settings.warehouse, s3.endpoint_url, s3.region), secret=settings.identity_secret)
    staging = S3Storage(settings.staging, s3.endpoint_url, s3.region)
    run = RunStaging(staging, DAY, "20261121T013000Z-000001")
    for table in (*DAY_TABLES, PLAN):
        rows = rows_of(table, DAY, run.run_id, 3)
        if table.name == "recordings":
            uris = [f"s3://{bucket}/{number}.wav" for number in range(3)]
            others = ["s3://callmood-tests/another's.wav" if number == 1 else None for number in range(3)]
            for name, values in (("source_uri", uris), ("partner_uri", others), ("status", ["scored"] * 3)):
                place = rows.column_names.index(name)
                rows = rows.set_column(place, rows.schema.field(place), pa.array(values, pa.string()))
        if table.name == "emotion_log":
            place = rows.column_names.index("model_id")
            rows = rows.set_column(place, rows.schema.field(place), pa.repeat(pa.scalar("model-1-abc"), 3))
        run.write_table(table, rows)
    warehouse.publish(run, figures())
    for number in range(3):
        s3.client().put_object(Bucket=bucket, Key=f"{number}.wav", Body=b"x")
    s3.client().put_object(Bucket="callmood-tests", Key="another's.wav", Body=b"x")

    with caplog.at_level(logging.INFO):
        assert main(["--contact", CONTACT, "--recordings"]) == 0, caplog.text
    assert versions(s3, bucket) == {"0.wav": 1, "2.wav": 1}
    # What a table says lies elsewhere is left, and said to be.
    assert "another's.wav" in versions(s3, "callmood-tests")
    assert "recordings in S3 outside CALLMOOD_RECORDINGS" in caplog.text
    for table in DAY_TABLES:
        if "contact_id" in table.schema.names:
            left = warehouse.read(table.name, call_date=DAY)["contact_id"].to_pylist()
            assert left == ["contact_id-0", "contact_id-2"], table.name
    assert not find(Person.of([CONTACT]), warehouse, staging).runs
    assert run.is_withdrawn
    assert CONTACT not in caplog.text
