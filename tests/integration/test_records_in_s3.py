"""Records and lists of opt-outs on an S3 server: objects, prefixes, what is missing and what cannot be reached."""

from __future__ import annotations

import gzip
import io
import json
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.demo.local_s3 import LocalS3
from jobs import storage
from jobs.errors import OptOutsError, StorageAccessDenied
from jobs.identity import keyed_hash
from jobs.opt_outs import OptOuts
from jobs.records import DayRecords, read_day_records
from jobs.settings import Settings, load_settings
from jobs.storage import S3Storage
from tests.integration.conftest import BUCKET

pytestmark = pytest.mark.s3

DAYS = [date(2026, 11, 20), date(2026, 11, 21)]


def contact(name: str) -> dict[str, Any]:
    return {
        "ContactId": name,
        "InitiationTimestamp": "2026-11-20T08:00:00Z",
        "CustomerEndpoint": {"Address": f"+1 {name}"},
    }


def as_json(*names: str) -> bytes:
    return b"".join(json.dumps(contact(name)).encode() for name in names)


def as_parquet(*names: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([contact(name) for name in names]), file)
    return file.getvalue()


@pytest.fixture
def root(s3: LocalS3, request: pytest.FixtureRequest) -> str:
    """A prefix of this test's own, with a day's records in every format below it."""
    place = f"s3://{BUCKET}/records/{request.node.name.partition('[')[0]}"
    there = S3Storage(place, s3.endpoint_url, s3.region)
    there.write("20/08/stream-1-2026-11-20-08-00-00-0b9e", as_json("a", "b"))
    there.write("20/09/stream-1-2026-11-20-09-00-00-77c1.gz", gzip.compress(as_json("c")))
    there.write("20/more.parquet", as_parquet("d"))
    there.write("20/call.wav", b"RIFF")
    there.write("20/folder/", b"")
    there.write("opt-outs.txt", keyed_hash(b"k" * 32, "customer", "+1 b").encode() + b"\n")
    return place


def configured(s3: LocalS3, **values: Any) -> Settings:
    places = dict.fromkeys(("staging", "warehouse", "reports"), "/tmp")
    return load_settings(
        recordings="s3://b", identity_key="k" * 32, s3_endpoint=s3.endpoint_url, s3_region=s3.region, **places, **values
    )


def read(s3: LocalS3, **values: Any) -> DayRecords:
    return read_day_records(configured(s3, **values), DAYS)


@pytest.mark.parametrize("spooled_bytes", [32 << 20, 10])
@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("%d", "abcd"),
        ("%d/", "abcd"),
        ("20/more.parquet", "d"),
        ("20/08/stream-1-2026-11-20-08-00-00-0b9e", "ab"),
        ("%d/09/stream-1-2026-11-20-09-00-00-77c1.gz", "c"),
    ],
)
def test_objects_and_prefixes(
    s3: LocalS3, root: str, place: str, names: str, spooled_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SPOOLED_BYTES", spooled_bytes)
    assert "".join(sorted(read(s3, contacts=f"{root}/{place}").contacts)) == names


@pytest.mark.parametrize("place", ["22", "none.csv", "20/0"])
def test_what_is_not_there(s3: LocalS3, root: str, place: str) -> None:
    assert read(s3, contacts=f"{root}/{place}").no_contacts_at == [f"{root}/{place}"]
    assert read(s3, events=f"{root}/{place}", surveys=f"{root}/{place}").counts["unreadable_files"] == 0


def test_a_bucket_that_is_not_there(s3: LocalS3) -> None:
    with pytest.raises(StorageAccessDenied, match="NoSuchBucket"):
        read(s3, surveys="s3://there-is-no-such-bucket/surveys/%Y")


def test_the_list_of_opt_outs(s3: LocalS3, root: str) -> None:
    values = {"contacts": f"{root}/20", "opt_outs": f"{root}/opt-outs.txt"}
    opt_outs = OptOuts.load(configured(s3, **values))
    contacts = read(s3, **values).contacts
    assert [name for name in sorted(contacts) if opt_outs.holds(contacts[name])] == ["b"]
    with pytest.raises(OptOutsError, match="there is no list"):
        OptOuts.load(configured(s3, **{**values, "opt_outs": f"{root}/none.txt"}))
