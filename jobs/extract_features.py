"""extract_features: from recordings to speech segments with log-mel and prosody.

Spark divides the plan over its workers by bytes; a day that is one worker's share is read without Spark. Each fetches
its recordings from S3 (the next while it computes on this one), reads them once, and writes the staged tables
``segments`` and ``call_audio``. A recording that cannot be read ends as a row with its reason; it never stops the
others. Nor does one that kills whoever decodes it: a share is read in a process of its own (``jobs.own_process``), and
where that dies twice, looks for the culprit.
"""

from __future__ import annotations

import ctypes
import io
import logging
import multiprocessing
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import urllib3.exceptions

from jobs.command import run_command
from jobs.discretion import of
from jobs.errors import JobError, StorageAccessDenied, StorageError
from jobs.model import load_classifier
from jobs.own_process import ProcessDied, end_at, in_own_process
from jobs.staging import RunStaging, StagedFile
from jobs.step import StepContext, step_main
from jobs.storage import NOT_OF_AN_OBJECT, copy_body, is_full, is_plain, s3_client, s3_errors
from schemas.staging import CALL_AUDIO, PLAN, SEGMENTS
from ser_model.audio import ChannelRole
from ser_model.errors import MonoNotSeparable, RecordingError
from ser_model.features import InputSpec
from ser_model.recording import RecordingSegments, SegmentExtractor

log = logging.getLogger("callmood.extract")

Files = tuple[BinaryIO, ...]
"""A recording's objects, fetched: one, or the two of a pair."""

FEATURE_HASH = "callmood.feature_hash"
"""The metadata of a segments file that says what its features are."""

PREFETCH = 3
"""Recordings fetched ahead of the one being read."""
IN_MEMORY_BYTES = 32 * 2**20
"""A larger recording is fetched into a temporary file, or two."""
BUFFERED_ROWS = 2048
PROGRESS_EVERY_S = 1.0
NOT_THEIRS = ("fetch_failed", "access_denied", "read_failed", "worker_crashed", "decode_timeout")
"""Reasons that, where they are many, are the store's, the permissions' or this installation's."""
NOTHING_YET: Mapping[str, int] = dict.fromkeys(("decoded", "skipped", "quarantined", *NOT_THEIRS, "segments"), 0)
PROCESS_TRIES = 2
"""A process may die of something else than what it reads, once."""
FETCH_ATTEMPTS = 4
FETCH_WAIT_S = 0.5
MAX_FAILURES = 0.5
"""Where more of the recordings than this cannot be fetched or read for a reason that is not theirs, the night stops."""


@dataclass(frozen=True)
class Recording:
    """A planned recording, as a task needs it; the attributes are columns of ``plan``."""

    contact_id: str
    source_uri: str
    etag: str
    partner_uri: str | None
    partner_etag: str | None
    size_bytes: int
    channel_roles: tuple[ChannelRole, ...]

    @property
    def objects(self) -> tuple[tuple[str, str, str], ...]:
        """What an error calls the object, its address and its ETag; of a pair the customer's object comes first."""
        if self.partner_uri is None or self.partner_etag is None:
            return (("the object", self.source_uri, self.etag),)
        return (
            ("the customer's object", self.source_uri, self.etag),
            ("the agent's object", self.partner_uri, self.partner_etag),
        )


@dataclass(frozen=True)
class ExtractTask:
    """A worker's share of the plan, and all it needs for it."""

    number: int
    recordings: tuple[Recording, ...]
    staging: RunStaging
    features: InputSpec
    roles: tuple[str, ...]
    s3_endpoint: str | None
    s3_region: str
    recording_timeout_s: int
    worker_memory_mb: int


@dataclass(frozen=True)
class ExtractResult:
    """What a task wrote: a file a table, or several where its recordings were read in several processes."""

    segments: tuple[StagedFile, ...]
    call_audio: tuple[StagedFile, ...]
    counts: Mapping[str, int]


class _FetchFailed(RecordingError):
    reason_code = "fetch_failed"


class _Vanished(RecordingError):
    reason_code = "vanished"


class _ChangedWhileReading(RecordingError):
    reason_code = "changed_while_reading"


class _AccessDenied(RecordingError):
    reason_code = "access_denied"


class _Archived(RecordingError):
    reason_code = "archived"


class _ReadFailed(RecordingError):
    reason_code = "read_failed"


class _WorkerCrashed(RecordingError):
    reason_code = "worker_crashed"


class _DecodeTimeout(RecordingError):
    reason_code = "decode_timeout"


def run(context: StepContext) -> Mapping[str, float]:
    """Extract the day's segments; returns the counts of recordings by outcome, of segments, and the call hours."""
    from jobs.spark import balanced, run_tasks, spark_session, totals

    settings, staging = context.settings, context.staging
    spec = staging.run_spec()
    columns = [field.name for field in fields(Recording)]
    plan = staging.read_table(PLAN, [*columns, "status"])
    recordings = [
        Recording(**{**{name: row[name] for name in columns}, "channel_roles": tuple(row["channel_roles"])})
        for row in plan.filter(pc.equal(plan["status"], "planned")).to_pylist()
    ]
    results: list[ExtractResult] = []
    if recordings:
        sizes = [recording.size_bytes for recording in recordings]
        n_parts, spark = -(-sum(sizes) // (settings.partition_mb * 2**20)), None
        if n_parts > 1:
            spark = spark_session("callmood extract_features", settings)
            n_parts = max(n_parts, 2 * spark.sparkContext.defaultParallelism)
        tasks = [
            ExtractTask(
                number=number,
                recordings=tuple(sorted((recordings[index] for index in part), key=lambda found: found.contact_id)),
                staging=staging,
                features=load_classifier(spec.model).card.feature_spec,
                roles=spec.roles,
                s3_endpoint=settings.s3_endpoint,
                s3_region=settings.s3_region,
                recording_timeout_s=settings.recording_timeout_s,
                worker_memory_mb=settings.worker_memory_mb,
            )
            for number, part in enumerate(balanced(sizes, n_parts))
        ]
        results = run_tasks(spark, extract, tasks, "extract_features")
        if spark is not None:
            spark.stop()

    counts = totals([NOTHING_YET, *(result.counts for result in results)])
    _check_failures(counts, len(recordings))
    staging.commit(SEGMENTS, [file for result in results for file in result.segments])
    staging.commit(CALL_AUDIO, [file for result in results for file in result.call_audio])
    return {"recordings": len(recordings), **counts}


def _check_failures(counts: Mapping[str, float], n_recordings: int) -> None:
    """Stop the night where most recordings fail for one reason that is not theirs, before it replaces a good day."""
    for reason in NOT_THEIRS:
        if counts[reason] > MAX_FAILURES * n_recordings:
            found = f"{counts[reason]:.0f} of {n_recordings} recordings ended as {reason}"
            if reason == "fetch_failed":
                raise StorageError(f"{found}; is the store in order? Try later")
            raise StorageAccessDenied(f"{found}; check what the jobs may read, and the workers' logs")


def extract(task: ExtractTask) -> ExtractResult:
    """Read a task's recordings, write what they hold; runs in a Spark worker, which outlives whatever they are."""
    _make_ready(task.features, task.roles, task.s3_endpoint, task.s3_region)
    return _outliving(task, PROCESS_TRIES)


def _outliving(task: ExtractTask, tries: int) -> ExtractResult:
    """Read a task's recordings in a process of their own.

    Where that dies so many times, or once of time, the recording that it was at is read alone, and so are those before
    and those after it. What is alone when its process dies, is a culprit.
    """
    at = multiprocessing.get_context("fork").Value("i", 0, lock=False)
    for attempt in range(1, tries + 1):
        try:
            return in_own_process(lambda: _extract(task, at), task.worker_memory_mb)
        except ProcessDied as died:
            log.warning("the process that read %d recordings %s (attempt %d)", len(task.recordings), died, attempt)
            last = died
            if died.signal_number == signal.SIGALRM:
                break
    if len(task.recordings) == 1:
        return _culprit(task, last)
    before, alone, after = (slice(0, at.value), slice(at.value, at.value + 1), slice(at.value + 1, None))
    parts = [
        _outliving(replace(task, recordings=task.recordings[part]), tries=1)
        for part in (before, alone, after)
        if task.recordings[part]
    ]
    return ExtractResult(
        tuple(file for part in parts for file in part.segments),
        tuple(file for part in parts for file in part.call_audio),
        {name: sum(part.counts[name] for part in parts) for name in NOTHING_YET},
    )


def _culprit(task: ExtractTask, died: ProcessDied) -> ExtractResult:
    """The result of a task whose one recording ends whatever process reads it."""
    (recording,) = task.recordings
    error = (
        _DecodeTimeout(f"reading it was not done after {task.recording_timeout_s} s (CALLMOOD_RECORDING_TIMEOUT_S)")
        if died.signal_number == signal.SIGALRM
        else _WorkerCrashed(f"the process that read it {died}, also when it read nothing else")
    )
    with task.staging.writer(CALL_AUDIO, f"{task.number:05d}") as call_audio:
        row = _quarantined(_blank(recording, task.staging), error)
        call_audio.write(pa.Table.from_pylist([row], schema=CALL_AUDIO.schema))
    return ExtractResult((), (call_audio.file,), {**NOTHING_YET, "quarantined": 1, error.reason_code: 1})


@cache
def _make_ready(features: InputSpec, roles: tuple[str, ...], s3_endpoint: str | None, s3_region: str) -> None:
    """Load here, once, what every process of this worker would load for itself."""
    SegmentExtractor(features, roles)
    s3_client(s3_endpoint, s3_region)
    # pyarrow imports pandas with the first rows that it is given: for 0.3 s, in which twelve minutes of call are read.
    pq.write_table(pa.Table.from_pylist([], schema=SEGMENTS.schema), io.BytesIO())


def _extract(task: ExtractTask, at: ctypes.c_int) -> ExtractResult:
    """Read a task's recordings, write what they hold; in a process that may end of it.

    ``at`` says, also to who outlives it, which recording that is at.
    """
    extractor = SegmentExtractor(task.features, task.roles)
    staging, name = task.staging, f"{task.number:05d}"
    counts = dict(NOTHING_YET)
    reported = time.monotonic()
    with (
        staging.writer(SEGMENTS, name, {FEATURE_HASH: task.features.hash}) as segments,
        staging.writer(CALL_AUDIO, name) as call_audio,
    ):
        rows: list[dict[str, Any]] = []
        heard: list[dict[str, Any]] = []
        for done, (recording, fetched) in enumerate(_fetch_ahead(task), start=1):
            at.value = done - 1
            with suppress(Exception):  # what it is, _read says
                fetched.result()
            end_at(task.recording_timeout_s)
            row, found = _read(recording, fetched, extractor, staging)
            end_at(0)
            counts[row["status"]] += 1
            if row["reason_code"] in NOT_THEIRS:
                counts[row["reason_code"]] += 1
            counts["segments"] += len(found)
            heard.append(row)
            rows.extend(found)
            if len(rows) >= BUFFERED_ROWS:
                segments.write(pa.Table.from_pylist(rows, schema=SEGMENTS.schema))
                rows.clear()
            if time.monotonic() - reported >= PROGRESS_EVERY_S or done == len(task.recordings):
                reported = time.monotonic()
                staging.report_progress("extract_features", name, done, len(task.recordings))
        segments.write(pa.Table.from_pylist(rows, schema=SEGMENTS.schema))
        call_audio.write(pa.Table.from_pylist(heard, schema=CALL_AUDIO.schema))
    return ExtractResult((segments.file,), (call_audio.file,), counts)


def _fetch_ahead(task: ExtractTask) -> Iterator[tuple[Recording, Future[Files]]]:
    """Yield the recordings in order, each with its fetch under way or done; a few are fetched ahead."""
    client = s3_client(task.s3_endpoint, task.s3_region)
    waiting: deque[tuple[Recording, Future[Files]]] = deque()
    with ThreadPoolExecutor(PREFETCH, thread_name_prefix="fetch") as pool:
        for recording in task.recordings:
            waiting.append((recording, pool.submit(_fetch, client, recording, is_plain(task.s3_endpoint))))
            if len(waiting) > PREFETCH:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def _fetch(client: Any, recording: Recording, looks_at_md5: bool = False) -> Files:
    """Fetch a recording's objects as they were when it was planned; what breaks off is fetched again, after waits."""
    seen: set[str] | None = set() if looks_at_md5 else None
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        # A body that breaks off is not botocore's to retry: only the request is.
        try:
            return _fetch_once(client, recording, seen)
        except _FetchFailed:
            if attempt == FETCH_ATTEMPTS:
                raise
            time.sleep(FETCH_WAIT_S * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _fetch_once(client: Any, recording: Recording, seen: set[str] | None) -> Files:
    with ExitStack() as opened:
        files = []
        for what, uri, etag in recording.objects:
            file: BinaryIO = io.BytesIO()
            if recording.size_bytes > IN_MEMORY_BYTES:
                file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the stack, or by who reads it
            files.append(opened.enter_context(file))
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            try:
                with s3_errors("the object's bucket"):
                    copy_body(client.get_object(Bucket=bucket, Key=key, IfMatch=etag), file, seen)
            except Exception as error:
                raise _fetch_reason(error, what) from None
        fetched = sum(file.tell() for file in files)
        if fetched != recording.size_bytes:
            raise _FetchFailed(f"fetched {fetched} of {recording.size_bytes} bytes; the next run tries again")
        for file in files:
            file.seek(0)
        opened.pop_all()
        return tuple(files)


def _fetch_reason(error: Exception, what: str) -> Exception:
    """Why an object could not be fetched, as a reason for its row; what is no reason of an object stays as it is."""
    if isinstance(error, FileNotFoundError):
        return _Vanished(f"{what} was there when the day was planned and is gone; nothing to do")
    if isinstance(error, StorageAccessDenied | StorageError) and error.code in NOT_OF_AN_OBJECT:
        return error
    if isinstance(error, StorageAccessDenied):
        said = f"the store refuses {what} ({error.code or 'without a reason'})"
        return _AccessDenied(f"{said}; check the permissions of the role that reads")
    if isinstance(error, StorageError):
        if error.code in {"PreconditionFailed", "412"}:
            return _ChangedWhileReading(f"{what} was written again since the day was planned; run the day again")
        if error.code == "InvalidObjectState":
            return _Archived(f"{what} lies in an archive class of the store; restore it, then run the day again")
        return _FetchFailed(f"the store did not give {what}, after all attempts; the next run tries again")
    if isinstance(error, OSError) and is_full(error):
        return StorageError("the folder for temporary files is full; make room there (TMPDIR), and start again")
    if isinstance(error, OSError | urllib3.exceptions.HTTPError):
        return _FetchFailed(f"fetching {what} broke off ({type(error).__name__}); the next run tries again")
    return error


def _read(
    recording: Recording, fetched: Future[Files], extractor: SegmentExtractor, staging: RunStaging
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A recording's row of ``call_audio`` and its rows of ``segments``, none where it cannot be scored."""
    row = _blank(recording, staging)
    try:
        with ExitStack() as opened:
            files = [opened.enter_context(file) for file in fetched.result()]
            found = extractor(files, recording.channel_roles)
    except MonoNotSeparable as error:
        return {**row, "status": "skipped", "reason_code": error.reason_code, "detail": str(error)}, []
    except RecordingError as error:
        return _quarantined(row, error), []
    except JobError:  # of the store, whichever object is asked for: no recording's fault
        raise
    except MemoryError:
        return _quarantined(row, _WorkerCrashed("reading it takes more memory than there is")), []
    except Exception as error:  # whatever one recording holds, the others go on
        log.exception("a recording could not be read%s", of(recording.source_uri))
        says = f"reading it failed unexpectedly ({type(error).__name__}); the worker's log says where"
        return _quarantined(row, _ReadFailed(says)), []
    row |= {
        "channels": found.info.channels,
        "channel_kind": found.channel_kind,
        "codec": found.info.codec,
        "sample_rate_hz": found.info.sample_rate_hz,
        "duration_s": found.info.duration_s,
        "clipped_share": found.clipped_share,
        "nonspeech_s": found.nonspeech_s,
        "pauses": [{"start_s": start, "end_s": end} for start, end in found.pauses_s],
    }
    return row, segment_rows(recording, found, staging)


def _blank(recording: Recording, staging: RunStaging) -> dict[str, Any]:
    """A recording's row of ``call_audio`` before anything is known of it."""
    return {
        "call_date": staging.call_date,
        "contact_id": recording.contact_id,
        "source_uri": recording.source_uri,
        "status": "decoded",
        "reason_code": None,
    }


def _quarantined(row: dict[str, Any], error: RecordingError) -> dict[str, Any]:
    return {**row, "status": "quarantined", "reason_code": error.reason_code, "detail": str(error)}


def segment_rows(recording: Recording, found: RecordingSegments, staging: RunStaging) -> list[dict[str, Any]]:
    """The rows of ``segments`` of a recording."""
    rows = []
    for segment in found.segments:
        row: dict[str, Any] = {
            "call_date": staging.call_date,
            "contact_id": recording.contact_id,
            "role": segment.role,
            "turn_index": segment.turn_index,
            "segment_index": segment.segment_index,
            "start_s": round(segment.start_s, 2),
            "end_s": round(segment.end_s, 2),
            "classified": segment.features is not None,
            "source_uri": recording.source_uri,
        }
        if segment.features is not None and segment.prosody is not None:
            prosody = segment.prosody
            row |= {
                "loudness_dbfs": prosody.loudness_dbfs,
                "pitch_hz": _known(prosody.pitch_hz),
                "pitch_range_st": _known(prosody.pitch_range_st),
                "speaking_rate_hz": prosody.speaking_rate_hz,
                "features": segment.features.tobytes(),
                "n_frames": len(segment.features),
            }
        rows.append(row)
    return rows


def _known(value: float) -> float | None:
    """None, as tables have it, for what could not be told."""
    return None if np.isnan(value) else value


if __name__ == "__main__":
    # By its module's name, so that Spark's workers import what they run instead of being sent its code.
    from jobs import extract_features

    run_command(lambda: step_main("extract_features", extract_features.run, __doc__))
