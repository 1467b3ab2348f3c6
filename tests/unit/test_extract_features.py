"""Fetching from a store that misbehaves: what is tried again, and which reason remains."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest
from botocore.exceptions import ClientError, ResponseStreamingError

from jobs.errors import StorageAccessDenied, StorageError
from jobs.extract_features import NOTHING_YET, Recording, _check_failures, _fetch
from jobs.settings import ROOT
from ser_model.errors import RecordingError

RECORDING = Recording("contact", "s3://bucket/key", "etag", None, None, 4, ("customer", "agent"))
PAIR = replace(RECORDING, partner_uri="s3://bucket/partner", partner_etag="partner's", size_bytes=10)


class Store:
    """Answers each request with the next of its answers: bytes, or an error."""

    def __init__(self, *answers: bytes | Exception | str) -> None:
        self.answers = list(answers)
        self.requests = 0

    def get_object(self, **request: Any) -> dict[str, io.BytesIO]:
        assert request["IfMatch"] == "etag"
        self.requests += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "GetObject")
        if isinstance(answer, Exception):
            raise answer
        return {"Body": io.BytesIO(answer)}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.extract_features.FETCH_WAIT_S", 0.0)


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([b"good"], 1),
        ([b"go", b"good"], 2),
        ([ConnectionResetError(), ResponseStreamingError(error="reset"), b"good"], 3),
        (["SlowDown", b"good"], 2),
    ],
)
def test_what_breaks_off_is_fetched_again(answers: list[bytes | Exception | str], requests: int) -> None:
    store = Store(*answers)
    (file,) = _fetch(store, RECORDING)
    assert file.read() == b"good"
    assert store.requests == requests


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        ("NoSuchKey", "vanished", 1),
        ("AccessDenied", "access_denied", 1),
        ("PreconditionFailed", "changed_while_reading", 1),
        ("InvalidObjectState", "archived", 1),
        ("InternalError", "fetch_failed", 4),
        (b"go", "fetch_failed", 4),
        (ConnectionResetError(), "fetch_failed", 4),
    ],
)
def test_what_cannot_be_fetched_has_a_reason(answer: bytes | Exception | str, reason: str, requests: int) -> None:
    store = Store(answer)
    with pytest.raises(RecordingError) as failed:
        _fetch(store, RECORDING)
    assert failed.value.reason_code == reason
    assert store.requests == requests


class PairStore:
    """Answers by key; keeps the requests."""

    def __init__(self, answers: Mapping[str, bytes | str]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str]] = []

    def get_object(self, **request: Any) -> dict[str, io.BytesIO]:
        self.requests.append((request["Key"], request["IfMatch"]))
        answer = self.answers[request["Key"]]
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "GetObject")
        return {"Body": io.BytesIO(answer)}


@pytest.mark.parametrize("in_memory", [10, 9])
def test_both_objects_of_a_pair_are_fetched_as_they_were_planned(
    in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.extract_features.IN_MEMORY_BYTES", in_memory)
    store = PairStore({"key": b"the", "partner": b"partner"})
    customer, agent = _fetch(store, PAIR)
    assert (customer.read(), agent.read()) == (b"the", b"partner")
    assert store.requests == [("key", "etag"), ("partner", "partner's")]
    assert isinstance(customer, io.BytesIO) is isinstance(agent, io.BytesIO) is (in_memory == 10)


@pytest.mark.parametrize(
    ("answers", "reason", "says"),
    [
        ({"key": "NoSuchKey", "partner": b"partner"}, "vanished", "the customer's object"),
        ({"key": b"the", "partner": "NoSuchKey"}, "vanished", "the agent's object"),
        ({"key": b"the", "partner": "PreconditionFailed"}, "changed_while_reading", "the agent's object"),
        ({"key": b"the", "partner": "AccessDenied"}, "access_denied", "the agent's object"),
        ({"key": "InvalidObjectState", "partner": b"partner"}, "archived", "the customer's object"),
        ({"key": b"the", "partner": "InternalError"}, "fetch_failed", "the agent's object"),
        ({"key": b"the", "partner": b"part"}, "fetch_failed", "fetched 7 of 10 bytes"),
    ],
)
def test_the_reason_says_which_side_could_not_be_fetched(
    answers: Mapping[str, bytes | str], reason: str, says: str
) -> None:
    with pytest.raises(RecordingError, match=says) as failed:
        _fetch(PairStore(answers), PAIR)
    assert failed.value.reason_code == reason


@pytest.mark.parametrize(
    ("reason", "error"),
    [("fetch_failed", StorageError), ("access_denied", StorageAccessDenied), ("read_failed", StorageAccessDenied)],
)
def test_where_most_fail_for_a_reason_not_theirs_the_night_stops(reason: str, error: type[Exception]) -> None:
    _check_failures({**NOTHING_YET, reason: 5}, 10)
    with pytest.raises(error, match="6 of 10"):
        _check_failures({**NOTHING_YET, reason: 6}, 10)


def test_a_worker_that_is_ready_has_imported_what_its_processes_need() -> None:
    lines = """
        import sys
        import pyarrow as pa
        from jobs.extract_features import _make_ready
        from schemas.staging import SEGMENTS
        from ser_model.features import FeatureSpec
        _make_ready(FeatureSpec(), ("customer",), "http://127.0.0.1:1", "us-east-1")
        before = set(sys.modules)
        pa.Table.from_pylist([dict.fromkeys(SEGMENTS.schema.names)], schema=SEGMENTS.schema)
        import pyarrow.parquet
        print(sorted(set(sys.modules) - before))
    """
    ran = subprocess.run([sys.executable, "-c", dedent(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(("asked_for", "threads"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2)])
def test_a_step_computes_on_one_thread_unless_told_otherwise(asked_for: Mapping[str, str], threads: int) -> None:
    lines = "import jobs.extract_features, threadpoolctl; print(threadpoolctl.threadpool_info())"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ran = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=ROOT,
        env={**environment, **asked_for},
        capture_output=True,
        text=True,
        check=True,
    )
    pools = ast.literal_eval(ran.stdout)
    assert {pool["num_threads"] for pool in pools if pool["internal_api"] == "openblas"} == {threads}
