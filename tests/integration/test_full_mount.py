"""Staging and a warehouse on a file system that is really full: a small one, mounted for the test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from kill_points import is_clean, let_the_lease_end, read_day
from sample_runs import figures, rows_of, staged

from jobs.errors import StepOrderError, StorageError
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import TABLES
from schemas.table import Table

DAY = date(2026, 11, 20)
CALLS: Table = TABLES["calls"]
SIZE_KB, MORE_ROOM_KB = 8192, 40


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a file system of 8 MB."""
    folder = tmp_path / "mount"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("needs mount and umount")
    command = [mount, "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"may not mount a file system here, as root may: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([umount, str(folder)], check=True)


def fill(mount: Path, room_kb: int) -> Path:
    """Take all of the file system but so much."""
    ballast = mount / "ballast"
    with ballast.open("wb", buffering=0) as file:
        left = shutil.disk_usage(mount).free - 1024 * room_kb
        while left > 0:
            left -= file.write(bytes(left))
    return ballast


def test_a_table_that_finds_no_room_is_staged_once_there_is_some(mount: Path) -> None:
    staging = RunStaging(LocalStorage(mount), DAY, "run-1")
    rows = pa.concat_tables(rows_of(CALLS, DAY, "run-1", 500, f"{part}") for part in range(20))
    ballast = fill(mount, 64)
    before = shutil.disk_usage(mount).free
    with pytest.raises(StorageError, match=r"No space left.*; check the disk") as failed:
        staging.write_table(CALLS, rows)
    assert not failed.value.permanent
    assert shutil.disk_usage(mount).free == before, "what was begun takes no room"
    with pytest.raises(StepOrderError):
        staging.manifest(CALLS)
    ballast.unlink()
    staging.write_table(CALLS, rows)
    assert staging.read_table(CALLS).equals(rows)


def test_a_publication_that_finds_no_room_changes_nothing_and_goes_through_once_there_is_some(
    mount: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each time a little more room than before, until it is enough: so it ends at one place after the other."""
    staging, place = LocalStorage(tmp_path / "staging"), LocalStorage(mount)
    Warehouse(place).publish(staged(staging, DAY, "run-0", salt="0"), figures())
    failed = 0
    for number in count(1):
        run, before = staged(staging, DAY, f"run-{number}", salt=f"{number}"), read_day(mount)
        ballast = fill(mount, MORE_ROOM_KB * (number - 1))
        said = ""
        try:
            Warehouse(place).publish(run, figures())
        except StorageError as error:
            said = str(error)
            failed += 1
        seen = read_day(mount)
        ballast.unlink()
        let_the_lease_end(place)
        Warehouse(place).publish(run, figures())
        after = read_day(mount)
        assert after["calls"] != before["calls"]
        assert seen in (before, after)
        assert is_clean(mount)
        if not said:
            break
        assert "No space left" in said
    record_property("faults", failed)
    assert failed >= 4
