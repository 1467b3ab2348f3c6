"""S3 as it is: what a store that refuses, resets, truncates, damages and delays costs, and what it does not.

Before the S3 server of the tests stands a proxy that misbehaves (`tests/faulty_proxy.py`).
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config

import jobs.extract_features as extracting
from infra.demo.local_s3 import LocalS3
from jobs import storage as storing
from jobs.errors import JobError, StorageAccessDenied, StorageError
from jobs.extract_features import Recording, _fetch
from jobs.plan_recordings import _objects
from jobs.storage import S3Storage
from ser_model.errors import RecordingError
from tests.faulty_proxy import Decide, FaultyProxy, Request, faulty_proxy

pytestmark = pytest.mark.s3

BUCKET = "callmood-tests"
CONTENT = bytes(range(256)) * 400
N_OBJECTS = 30


@pytest.fixture(scope="module")
def proxy(s3: LocalS3) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint_url) as running:
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long botocore and the jobs wanted to wait between their tries: they do not."""
    waited: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(extracting, "FETCH_WAIT_S", 0.0)
    monkeypatch.setattr(storing, "BODY_WAIT_S", 0.0)
    return waited


@pytest.fixture
def place(proxy: FaultyProxy, s3: LocalS3, waits: list[float]) -> S3Storage:
    """An empty location behind the proxy, which behaves."""
    proxy.reset(lambda _: None)
    return S3Storage(f"s3://{BUCKET}/{secrets.token_hex(6)}", proxy.endpoint_url, s3.region)


def first(number: int, fault: str, of: Callable[[Request], bool] = lambda _: True) -> Decide:
    """So many requests of a kind meet a fault, and then no more."""
    left = number

    def decide(request: Request) -> str | None:
        nonlocal left
        if not of(request) or not left:
            return None
        left -= 1
        return fault

    return decide


def always(fault: str) -> Decide:
    return lambda _: fault


def sometimes(share: float, *faults: str, seed: int = 0) -> Decide:
    chance = random.Random(seed)
    return lambda _: chance.choice(faults) if chance.random() < share else None


def put(place: S3Storage, name: str, content: bytes = CONTENT, checksum: bool = True) -> Recording:
    """Put an object, with a checksum that the store keeps or without; as a recording of a plan."""
    config = Config(request_checksum_calculation="when_supported" if checksum else "when_required")
    client = storing._session().client(
        "s3",
        endpoint_url=place.endpoint,
        region_name=place.region,
        config=config.merge(Config(s3={"addressing_style": "path"})),
    )
    etag = client.put_object(Bucket=place.bucket, Key=f"{place.prefix}/{name}", Body=content)["ETag"].strip('"')
    return Recording(name, place.uri(name), etag, None, None, len(content), ("customer", "agent"))


def fetched(place: S3Storage, recording: Recording) -> bytes | str:
    """The recording's bytes, or why it has none."""
    try:
        (file,) = _fetch(place.client, recording, looks_at_md5=True)
    except RecordingError as error:
        return error.reason_code
    return file.read()


# Recordings

HEALED = [
    *((fault, 3, checksum) for fault in ("break off", "too short", "damage") for checksum in (True, False)),
    ("SlowDown", 9, True),
    ("InternalError", 9, True),
    ("reset", 9, True),
    ("drip", 1, True),
]


@pytest.mark.parametrize(("fault", "times", "checksum"), HEALED)
def test_what_passes_is_tried_again(
    place: S3Storage, proxy: FaultyProxy, fault: str, times: int, checksum: bool
) -> None:
    recording = put(place, "call", checksum=checksum)
    proxy.reset(first(times, fault))
    assert fetched(place, recording) == CONTENT
    assert proxy.met == [fault] * times + [None] * (fault != "drip")


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        ("break off", "fetch_failed", 4),
        ("too short", "fetch_failed", 4),
        ("reset", "fetch_failed", 40),
        ("SlowDown", "fetch_failed", 40),
        ("AccessDenied", "access_denied", 1),
        ("SignatureDoesNotMatch", "access_denied", 1),
    ],
)
def test_what_does_not_pass_is_a_reason(
    place: S3Storage, proxy: FaultyProxy, fault: str, reason: str, requests: int
) -> None:
    recording = put(place, "call")
    proxy.reset(always(fault))
    assert fetched(place, recording) == reason
    # A connection that is reset before the request was read counts as a try, too.
    assert requests - 4 * (fault == "reset") <= len(proxy.met) <= requests


@pytest.mark.parametrize("checksum", [True, False])
def test_bytes_that_are_never_those_of_the_store_are_not_taken(
    place: S3Storage, proxy: FaultyProxy, checksum: bool
) -> None:
    recording = put(place, "call", checksum=checksum)
    proxy.reset(always("damage"))
    assert fetched(place, recording) == "fetch_failed"


@pytest.mark.parametrize(("checksum", "requests"), [(True, 1), (False, 2)])
def test_an_etag_that_is_no_md5_costs_a_second_look(
    place: S3Storage, proxy: FaultyProxy, checksum: bool, requests: int
) -> None:
    """Stores differ in what their ETags are of; the same bytes twice are what the store has."""
    recording = put(place, "call", checksum=checksum)
    proxy.reset(always("another ETag"))
    assert fetched(place, recording) == CONTENT
    assert len(proxy.met) == requests


def test_a_store_that_slows_down_and_breaks_off_loses_nothing(
    place: S3Storage, proxy: FaultyProxy, waits: list[float]
) -> None:
    recordings = [put(place, f"call-{number}", CONTENT[number:]) for number in range(N_OBJECTS)]
    proxy.reset(sometimes(0.3, "SlowDown", "SlowDown", "SlowDown", "reset", "break off"))
    assert [fetched(place, each) for each in recordings] == [CONTENT[number:] for number in range(N_OBJECTS)]
    assert 0.15 < sum(fault is not None for fault in proxy.met) / len(proxy.met) < 0.45
    assert waits, "a store that says that it is too much is given time"


@pytest.mark.parametrize("code", ["ExpiredToken", "NoSuchBucket"])
def test_what_no_recording_can_help_ends_the_step(place: S3Storage, proxy: FaultyProxy, code: str) -> None:
    """Were they quarantined, half a night could be published without the other half."""
    recordings = [put(place, f"call-{number}") for number in range(4)]
    proxy.reset(lambda request: code if request.number >= 2 else None)
    assert [fetched(place, each) for each in recordings[:2]] == [CONTENT] * 2
    with pytest.raises(JobError, match=code) as failed:
        fetched(place, recordings[2])
    assert failed.value.permanent is (code == "NoSuchBucket"), "new credentials may come by themselves"


def test_what_comes_too_slowly_is_given_up(
    place: S3Storage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = put(place, "call")
    monkeypatch.setattr(storing, "_SLOWEST_AFTER_S", 0.02)
    monkeypatch.setattr(storing, "_SLOWEST_BYTES_S", 10**9)
    monkeypatch.setattr(storing, "_CHUNK_BYTES", 10_000)
    proxy.reset(always("drip"))
    assert fetched(place, recording) == "fetch_failed"


# Lists


def listed(place: S3Storage) -> list[str]:
    class Pages:
        """A client whose pages have three keys."""

        def get_paginator(self, name: str) -> Any:
            return SimpleNamespace(
                paginate=lambda **given: place.client.get_paginator(name).paginate(
                    **given, PaginationConfig={"PageSize": 3}
                )
            )

    return [item["Key"].rpartition("/")[2] for item in _objects(Pages(), place.bucket, place.prefix)]


def is_second_page(request: Request) -> bool:
    return "continuation-token" in request.query


@pytest.mark.parametrize("fault", ["SlowDown", "InternalError", "reset", "break off", "too short"])
def test_a_page_that_fails_in_the_middle_is_asked_for_again(place: S3Storage, proxy: FaultyProxy, fault: str) -> None:
    names = [f"call-{number}" for number in range(8)]
    for name in names:
        put(place, name, b"x")
    proxy.reset(first(2, fault, is_second_page))
    assert listed(place) == names
    assert [each for each in proxy.met if each] == [fault] * 2
    proxy.reset(lambda request: fault if is_second_page(request) else None)
    with pytest.raises(StorageError):
        listed(place)


# Staging and warehouse


def test_a_location_is_read_and_written_all_the_same(place: S3Storage, proxy: FaultyProxy) -> None:
    proxy.reset(sometimes(0.3, "SlowDown", "SlowDown", "reset", "break off"))
    for number in range(10):
        place.write(f"file-{number}", CONTENT[number:])
        assert place.create(f"new-{number}", str(number).encode() + secrets.token_bytes(8))
        assert not place.create(f"new-{number}", secrets.token_bytes(8))
    assert len(list(place.files())) == 20
    for number in range(10):
        assert place.read(f"file-{number}") == CONTENT[number:]
        with place.open_binary(f"file-{number}") as file:
            assert file.read() == CONTENT[number:]
        place.copy_in(place, f"file-{number}", f"copy-{number}")
        place.delete(f"new-{number}")
    assert {file.path for file in place.files()} == {f"{kind}-{n}" for kind in ("file", "copy") for n in range(10)}
    assert any(proxy.met)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("ExpiredToken", StorageError, "have expired; give the jobs a role"),
        ("SignatureDoesNotMatch", StorageAccessDenied, "answers SignatureDoesNotMatch; check that"),
        ("NoSuchBucket", StorageAccessDenied, "answers NoSuchBucket; check that the bucket exists"),
        ("AccessDenied", StorageAccessDenied, "answers AccessDenied"),
        ("SlowDown", StorageError, "answers SlowDown after 10 attempts"),
        ("reset", StorageError, "cannot be reached"),
        ("break off", StorageError, "cannot be reached"),
    ],
)
def test_what_stays_is_an_error_that_says_what_to_do(
    place: S3Storage, proxy: FaultyProxy, fault: str, error: type[Exception], says: str
) -> None:
    place.write("file", CONTENT)
    proxy.reset(always(fault))
    with pytest.raises(error, match=says):
        place.read("file")
