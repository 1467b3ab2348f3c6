"""Recordings that end whatever process reads them: the night goes on, and each culprit is named.

The decoder of these tests is the real one, but for files that begin with a marked word: of those it dies, for real.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile

from jobs import extract_features
from jobs.errors import StorageAccessDenied
from jobs.extract_features import ExtractResult, ExtractTask, Recording, extract
from jobs.own_process import _resident_mb
from jobs.settings import load_settings
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas.staging import CALL_AUDIO, SEGMENTS
from ser_model.features import FeatureSpec
from ser_model.recording import RecordingSegments, SegmentExtractor

DAY = date(2026, 11, 20)
DEADLY: Mapping[bytes, Callable[[], object]] = {
    b"KILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"EXIT": lambda: os._exit(1),
    b"HANG": lambda: time.sleep(300),
    b"HUGE": lambda: [(bytearray(64 * 2**20), time.sleep(0.01)) for _ in range(10_000)],
    b"RAM!": lambda: bytearray(2**62),
}


class DeadlyDecoder(SegmentExtractor):
    """The real one, but for files that begin with a marked word."""

    def __call__(self, files: Sequence[BinaryIO], *arguments: Any) -> RecordingSegments:
        word = files[0].read(4)
        files[0].seek(0)
        if word in DEADLY:
            DEADLY[word]()
        return super().__call__(files, *arguments)


class Store:
    """Holds objects by their keys."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = objects

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, BinaryIO]:  # noqa: N803 - boto3's names
        assert (Bucket, IfMatch) == ("recordings", "etag")
        return {"Body": io.BytesIO(self.objects[Key])}


def a_call(voice: Callable[..., np.ndarray]) -> bytes:
    content = io.BytesIO()
    sound = np.stack([np.pad(voice(3.0), (8000, 16000)), np.pad(voice(2.0, pitch_hz=210.0), (32000, 0))], axis=1)
    soundfile.write(content, sound, 8000, format="WAV", subtype="PCM_16")
    return content.getvalue()


def task_of(
    objects: Mapping[str, bytes], staging: RunStaging, number: int = 0, recording_timeout_s: int = 60
) -> ExtractTask:
    recordings = tuple(
        Recording(key, f"s3://recordings/{key}", "etag", None, None, len(content), ("customer", "agent"))
        for key, content in objects.items()
    )
    # A fork begins with what this process holds, which is more where other tests ran in it before.
    limits = {"recording_timeout_s": recording_timeout_s, "worker_memory_mb": round(_resident_mb(os.getpid())) + 400}
    return ExtractTask(number, recordings, staging, FeatureSpec(), ("customer",), None, "us-east-1", **limits)


@pytest.fixture
def staging(tmp_path: Path) -> RunStaging:
    return RunStaging(LocalStorage(tmp_path), DAY, "run-1")


def outcomes(staging: RunStaging, results: Sequence[ExtractResult]) -> dict[str, str]:
    """By contact its status, or why it is quarantined; every recording has one row."""
    staging.commit(CALL_AUDIO, [file for result in results for file in result.call_audio])
    staging.commit(SEGMENTS, [file for result in results for file in result.segments])
    rows = staging.read_table(CALL_AUDIO).to_pylist()
    assert len({row["source_uri"] for row in rows}) == len(rows)
    heard = {row["contact_id"] for row in rows if row["status"] == "decoded"}
    assert set(staging.read_table(SEGMENTS, ["contact_id"])["contact_id"].to_pylist()) == heard
    return {row["contact_id"]: row["reason_code"] or row["status"] for row in rows}


CASES: list[tuple[str, Mapping[str, str]]] = [
    # The files' first words in the order of reading, "good" for a call; and what becomes of those that are no call.
    ("good", {}),
    ("good KILL good good", {"1": "worker_crashed"}),
    ("KILL", {"0": "worker_crashed"}),
    ("KILL good KILL KILL good", {"0": "worker_crashed", "2": "worker_crashed", "3": "worker_crashed"}),
    ("good good EXIT", {"2": "worker_crashed"}),
    ("good RAM! good", {"1": "worker_crashed"}),
    ("good HANG good", {"1": "decode_timeout"}),
    ("good HUGE good", {"1": "worker_crashed"}),
    ("good what good", {"1": "not_audio"}),
]


@pytest.mark.parametrize(("files", "expected"), CASES, ids=[files for files, _ in CASES])
def test_a_recording_that_ends_its_reader_ends_nobody_else(
    files: str,
    expected: Mapping[str, str],
    staging: RunStaging,
    voice: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = a_call(voice)
    objects = {str(number): good if word == "good" else word.encode() for number, word in enumerate(files.split())}
    monkeypatch.setattr(extract_features, "SegmentExtractor", DeadlyDecoder)
    monkeypatch.setattr(extract_features, "s3_client", lambda *_: Store(objects))
    limit_s = 4 if "HANG" in files else 60
    result = extract(task_of(objects, staging, recording_timeout_s=limit_s))
    assert outcomes(staging, [result]) == {**dict.fromkeys(objects, "decoded"), **expected}
    counts = Counter(expected.values())
    assert (result.counts["decoded"], result.counts["quarantined"]) == (len(objects) - len(expected), len(expected))
    assert result.counts["worker_crashed"] == counts["worker_crashed"]
    assert result.counts["decode_timeout"] == counts["decode_timeout"]


def test_a_process_that_dies_once_of_something_else_is_begun_again(
    staging: RunStaging, voice: Callable[..., np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another program took all memory, and the system ended this one."""
    objects = {"0": a_call(voice), "1": a_call(voice)}

    class DiesOnce(SegmentExtractor):
        def __call__(self, *arguments: Any) -> RecordingSegments:
            try:
                (tmp_path / "died").touch(exist_ok=False)
            except FileExistsError:
                return super().__call__(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    monkeypatch.setattr(extract_features, "SegmentExtractor", DiesOnce)
    monkeypatch.setattr(extract_features, "s3_client", lambda *_: Store(objects))
    result = extract(task_of(objects, staging))
    assert outcomes(staging, [result]) == dict.fromkeys(objects, "decoded")
    assert len(result.segments) == 1


def test_what_a_culprit_is_quarantined_with_says_what_happened(
    staging: RunStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = {"secret-id": b"KILL"}
    monkeypatch.setattr(extract_features, "SegmentExtractor", DeadlyDecoder)
    monkeypatch.setattr(extract_features, "s3_client", lambda *_: Store(objects))
    outcomes(staging, [extract(task_of(objects, staging))])
    (row,) = staging.read_table(CALL_AUDIO).to_pylist()
    assert (row["status"], row["source_uri"]) == ("quarantined", "s3://recordings/secret-id")
    assert row["detail"] == "the process that read it was ended by SIGKILL, also when it read nothing else"


def test_where_every_recording_ends_its_reader_the_night_stops() -> None:
    """An installation without a decoder that works must not replace a good day."""
    counts = {**extract_features.NOTHING_YET, "worker_crashed": 6}
    with pytest.raises(StorageAccessDenied, match="6 of 10 recordings ended as worker_crashed"):
        extract_features._check_failures(counts, 10)


@pytest.mark.spark
def test_a_spark_worker_outlives_what_it_reads(
    staging: RunStaging, voice: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    """In local mode a worker that dies once takes the whole application down."""
    from jobs.spark import run_tasks, spark_session

    good = a_call(voice)
    tasks = []
    objects: dict[str, bytes] = {}
    for number in range(4):
        words = ["good", "KILL", "good"] if number == 1 else ["good", "good"]
        share = {f"{number}-{place}": good if word == "good" else word.encode() for place, word in enumerate(words)}
        objects |= share
        tasks.append(task_of(share, staging, number))

    def work(task: ExtractTask) -> tuple[int, ExtractResult]:
        from pyspark import TaskContext

        from jobs import extract_features as in_worker
        from tests.integration import test_poison

        in_worker.SegmentExtractor = test_poison.DeadlyDecoder  # type: ignore[misc]
        in_worker.s3_client = lambda *_: test_poison.Store(objects)  # type: ignore[assignment]
        context = TaskContext.get()
        assert context is not None
        return context.attemptNumber(), in_worker.extract(task)

    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    spark = spark_session("test_poison", load_settings(recordings="s3://none", spark_master="local[1]", **places))
    try:
        answers = run_tasks(spark, work, tasks, "extract_features")
    finally:
        spark.stop()
    found = outcomes(staging, [result for _, result in answers])
    assert found == {**dict.fromkeys(objects, "decoded"), "1-1": "worker_crashed"}
    assert {attempt for attempt, _ in answers} == {0}, "Spark tried no task again"
