"""A disk that is full: a clear error that another try may heal, and nothing half-written that anybody takes for whole.

What is written goes to /dev/full, which answers as a full disk does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest

from jobs import extract_features
from jobs.command import EXIT_TRANSIENT
from jobs.errors import StepOrderError, StorageError
from jobs.extract_features import Recording, _extract
from jobs.staging import RunStaging, StepMarker
from jobs.step import StepContext, step_main
from jobs.storage import LocalStorage
from schemas.staging import CALL_AUDIO, PLAN
from tests.integration.test_poison import Store, task_of

FULL = Path("/dev/full")
DAY = date(2026, 11, 20)
ROWS = pa.Table.from_pylist(
    [
        {"call_date": DAY, "contact_id": f"c{number}", "source_uri": "s3://b/k", "status": "decoded"}
        for number in range(100)
    ],
    schema=CALL_AUDIO.schema,
)

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs a system with /dev/full")


class FullDisk(LocalStorage):
    """A folder on a disk that has no room for tables any more; small files go on for so many bytes."""

    room = 10**6

    def open_output(self, path: str) -> pa.NativeFile:
        super().open_output(path).close()  # a name and no bytes: that much there is room for
        return pa.OSFile(str(FULL), "wb")

    def write(self, path: str, content: bytes) -> None:
        FullDisk.room -= len(content)
        if FullDisk.room >= 0:
            super().write(path, content)
        else:
            self._put(path, fill_up, os.replace)


def fill_up(part: BinaryIO) -> None:
    part.write(b"half of it")
    part.flush()
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FullDisk]:
    FullDisk.room = 10**6
    yield FullDisk(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("rows", [ROWS, ROWS.slice(0, 0)], ids=["rows", "an end without rows"])
def test_a_table_that_finds_no_room_is_not_committed(disk: FullDisk, tmp_path: Path, rows: pa.Table) -> None:
    staging = RunStaging(disk, DAY, "run-1")
    with pytest.raises(StorageError, match=r"cannot be written \(.*No space left.*\); check the disk") as failed:
        staging.write_table(CALL_AUDIO, rows)
    assert not failed.value.permanent
    assert files(tmp_path) == [], "on a full disk, what was begun takes no room"
    with pytest.raises(StepOrderError):
        staging.manifest(CALL_AUDIO)


def test_a_small_file_that_finds_no_room_leaves_the_old_one(disk: FullDisk, tmp_path: Path) -> None:
    disk.write("manifest", b"old")
    FullDisk.room = 0
    with pytest.raises(StorageError, match="No space left"):
        disk.write("manifest", b"new")
    assert disk.read("manifest") == b"old"
    assert files(tmp_path) == ["manifest"]


def test_the_step_fails_for_now_and_the_next_one_does_not_start(
    disk: FullDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(context: StepContext) -> dict[str, float]:
        context.staging.write_table(PLAN, PLAN.empty())
        return {}

    for name in ("recordings", "staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", "s3://b" if name == "recordings" else str(tmp_path))
    monkeypatch.setattr("jobs.step.open_storage", lambda *_: disk)
    arguments = ["--call-date", "2026-11-20", "--run-id", "run-1"]
    assert step_main("plan_recordings", run, None, arguments) == EXIT_TRANSIENT
    marker = RunStaging(disk, DAY, "run-1").marker("plan_recordings")
    assert isinstance(marker, StepMarker)
    assert (marker.status, marker.permanent) == ("failed", False)
    assert "No space left" in (marker.reason or "")
    # And where not even the marker finds room, the exit status says it, and no marker does.
    FullDisk.room = 0
    assert step_main("plan_recordings", run, None, arguments) == EXIT_TRANSIENT
    assert RunStaging(disk, DAY, "run-1").marker("plan_recordings") is None
    assert "nor could the failure be recorded" in caplog.text
    with pytest.raises(StepOrderError):
        RunStaging(disk, DAY, "run-1").begin("extract_features")


def test_a_full_folder_for_temporary_files_is_no_recordings_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be quarantined, although nothing is wrong with them."""
    monkeypatch.setattr(extract_features, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(extract_features, "s3_client", lambda *_: Store({"a": b"x" * 100}))
    monkeypatch.setattr(extract_features.tempfile, "TemporaryFile", lambda: FULL.open("w+b", buffering=0))
    task = task_of({"a": b"x" * 100}, RunStaging(LocalStorage(tmp_path), DAY, "run-1"))
    assert isinstance(task.recordings[0], Recording)

    class At:
        value = 0

    at: Any = At()
    with pytest.raises(StorageError, match="temporary files is full"):
        _extract(task, at)
