"""Fetching from a store that misbehaves: what is tried again, and which reason remains."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError, ResponseStreamingError

from jobs.errors import StorageAccessDenied, StorageError
from jobs.extract_features import NOTHING_YET, Recording, _check_failures, _fetch
from ser_model.errors import RecordingError

RECORDING = Recording("contact", "s3://bucket/key", "etag", 4)


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
    assert _fetch(store, RECORDING).read() == b"good"
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


@pytest.mark.parametrize(
    ("reason", "error"),
    [("fetch_failed", StorageError), ("access_denied", StorageAccessDenied), ("read_failed", StorageAccessDenied)],
)
def test_where_most_fail_for_a_reason_not_theirs_the_night_stops(reason: str, error: type[Exception]) -> None:
    _check_failures({**NOTHING_YET, reason: 5}, 10)
    with pytest.raises(error, match="6 of 10"):
        _check_failures({**NOTHING_YET, reason: 6}, 10)
