"""Tables on an S3 that misbehaves: deltalake and pyarrow ask it themselves, each with tries of its own.

Before the S3 server of the tests stands a proxy (`tests/faulty_proxy.py`); what boto3 asks is test_faulty_s3.py's.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace

import pyarrow as pa
import pytest
from sample_runs import figures, rows_of, staged

from infra.demo.local_s3 import LocalS3
from jobs import storage as storing
from jobs.errors import JobError, StorageAccessDenied, StorageError
from jobs.staging import RunStaging
from jobs.storage import S3Storage
from jobs.warehouse import DAY_TABLES, Warehouse
from schemas import TABLES
from schemas.table import Table
from tests.faulty_proxy import FaultyProxy, Request, faulty_proxy

pytestmark = pytest.mark.s3

BUCKET = "callmood-tests"
DAY = date(2026, 11, 20)
CALLS: Table = TABLES["calls"]
AGENTS = {"boto3": "Boto3", "pyarrow": "aws-sdk-cpp", "deltalake": "object_store"}


class Impatient(S3Storage):
    """A location whose clients give up soon."""

    def delta_options(self) -> dict[str, str]:
        return {**super().delta_options(), "max_retries": "1", "retry_timeout": "5s"}


@pytest.fixture(scope="module")
def proxy(s3: LocalS3) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint_url) as running:
        yield running


@pytest.fixture
def place(proxy: FaultyProxy, s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """An empty location behind the proxy, which behaves; boto3 does not wait between its tries."""
    proxy.reset(lambda _: None)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(storing, "BODY_WAIT_S", 0.0)
    return S3Storage(f"s3://{BUCKET}/{secrets.token_hex(6)}", proxy.endpoint_url, s3.region)


@pytest.fixture
def impatient(place: S3Storage, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    monkeypatch.setattr(storing, "S3_ATTEMPTS", 2)
    return Impatient(place.location, place.endpoint, place.region)


def is_of(request: Request, client: str) -> bool:
    return AGENTS[client].lower() in request.agent.lower()


def rows(place: S3Storage) -> dict[str, pa.Table]:
    return Warehouse(place).view(
        lambda view: {table.name: view.dataset(table.name, DAY).to_table() for table in DAY_TABLES}
    )


def expected(run_id: str, salt: str) -> dict[str, pa.Table]:
    return {table.name: rows_of(table, DAY, run_id, 3, f"{salt}0") for table in DAY_TABLES}


def test_a_store_that_refuses_resets_and_loses_answers_loses_no_row(
    place: S3Storage, proxy: FaultyProxy, pytestconfig: pytest.Config
) -> None:
    chance, met = random.Random(0), dict.fromkeys(AGENTS, 0)
    faults = ("SlowDown", "SlowDown", "InternalError", "reset", "lost answer", "break off")

    def decide(request: Request) -> str | None:
        fault = chance.choice(faults) if chance.random() < 0.3 else None
        if fault == "break off" and is_of(request, "deltalake"):
            fault = "reset"  # it asks again for what was refused or reset, not for a body that broke off
        met.update({client: met[client] + (fault is not None) for client in AGENTS if is_of(request, client)})
        return fault

    proxy.reset(decide)
    publications = 2 if pytestconfig.getoption("every_fault") else 1  # of half a minute, mostly of waits
    for number in range(publications):
        Warehouse(place).publish(staged(place, DAY, f"run-{number}", salt=f"{number}"), figures())
        assert rows(place) == expected(f"run-{number}", f"{number}")
    proxy.reset(lambda _: None)
    assert rows(place) == expected(f"run-{publications - 1}", f"{publications - 1}")
    assert Warehouse(place).snapshot().run_ids(DAY) == tuple(f"run-{number}" for number in range(publications))
    assert all(met.values()), met


REFUSALS = [
    ("SlowDown", StorageError, "answers SlowDown after"),
    ("SignatureDoesNotMatch", StorageAccessDenied, "answers SignatureDoesNotMatch; check that"),
    ("AccessDenied", StorageAccessDenied, "answers AccessDenied; check that"),
    ("ExpiredToken", StorageError, "have expired; give the jobs a role"),
    ("reset", StorageError, r"cannot be (reached|used)"),
]


@pytest.mark.parametrize(("fault", "error", "says"), REFUSALS)
def test_what_stays_ends_a_table_of_staging_with_its_reason(
    impatient: S3Storage, proxy: FaultyProxy, fault: str, error: type[JobError], says: str
) -> None:
    """Here pyarrow asks."""
    staging = RunStaging(impatient, DAY, "run-1")
    staging.write_table(CALLS, rows_of(CALLS, DAY, "run-1", 3))
    (file,) = staging.manifest(CALLS).files
    proxy.reset(lambda request: fault if is_of(request, "pyarrow") else None)
    with pytest.raises(error, match=says):
        staging.write_table(CALLS, rows_of(CALLS, DAY, "run-1", 3))
    # The store's answer to a HEAD, with which a file is opened, has no body that would say its code.
    with pytest.raises((StorageAccessDenied, StorageError), match=r"answers|cannot be reached"):
        list(staging.read_file(CALLS, file))


@pytest.mark.parametrize(("fault", "error", "says"), REFUSALS)
def test_what_stays_ends_a_publication_with_its_reason_and_the_day_as_it_was(
    impatient: S3Storage,
    proxy: FaultyProxy,
    pytestconfig: pytest.Config,
    fault: str,
    error: type[JobError],
    says: str,
) -> None:
    """Here deltalake asks, at the commits: what the readers see is the old day, and the next run heals it."""
    if fault not in ("SlowDown", "AccessDenied") and not pytestconfig.getoption("every_fault"):
        pytest.skip("one of each kind is enough: make chaos")
    Warehouse(impatient).publish(staged(impatient, DAY, "run-0", salt="0"), figures())
    run = staged(impatient, DAY, "run-1", salt="1")
    proxy.reset(lambda request: fault if is_of(request, "deltalake") and request.method == "PUT" else None)
    with pytest.raises(error, match=says):
        Warehouse(impatient).publish(run, figures())
    proxy.reset(lambda _: None)
    assert rows(impatient) == expected("run-0", "0")
    Warehouse(impatient).publish(run, figures())
    assert rows(impatient) == expected("run-1", "1")


@pytest.mark.parametrize("client", ["pyarrow", "deltalake"])
def test_bodies_that_are_cut_short_never_pass_for_whole_ones(
    impatient: S3Storage, proxy: FaultyProxy, client: str
) -> None:
    """An error that another try may heal, or the right rows."""
    Warehouse(impatient).publish(staged(impatient, DAY, "run-0", salt="0"), figures())
    for fault in ("break off", "too short"):
        proxy.reset(lambda request, fault=fault: fault if is_of(request, client) and request.method == "GET" else None)
        try:
            found = rows(impatient)
        except StorageError as error:
            assert not error.permanent
            continue
        assert found == expected("run-0", "0"), fault
