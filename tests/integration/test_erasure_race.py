"""An erasure that begins while its day is published: whichever comes first, nothing of the person stays unseen.

An erasure writes the list of the suppressed, waits for the day's lock, and then looks at the tables. A publisher holds
the lock from before it reads the list. (What an erasure does with what it finds is test_erase.py's.)
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from sample_runs import figures, staged

from jobs.errors import DayLocked, ErasedMeanwhile
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed
from jobs.warehouse import Warehouse
from schemas import TABLES

DAY = date(2026, 11, 20)
SECRET = b"k" * 32
MOMENTS = [
    ("jobs.warehouse._checked_manifests", False),
    ("jobs.warehouse._check_nobody_was_erased", True),
    ("jobs.warehouse.Warehouse._place", True),
    ("jobs.warehouse.Warehouse._append_marker", True),
    ("jobs.warehouse.Warehouse._clean", True),
]
"""Where in publishing the erasure begins; and whether the run is published then. The list is read between the first
two."""


@pytest.mark.parametrize(("moment", "is_published"), MOMENTS, ids=[moment.rpartition(".")[2] for moment, _ in MOMENTS])
def test_the_publisher_sees_the_erasure_or_the_erasure_sees_what_it_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, is_published: bool
) -> None:
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"), secret=lambda: SECRET)
    run = staged(LocalStorage(tmp_path / "staging"), DAY, "run-1")
    contact = run.read_table(TABLES["calls"])["contact_id"][0].as_py()
    list_is_written = threading.Event()
    seen: list[set[str]] = []

    def erase() -> None:
        suppressed = Suppressed.of(SECRET, contacts=[contact], at=datetime(2026, 11, 22, tzinfo=UTC))
        warehouse.storage.write("_erasures/e/suppressed.json", suppressed.to_json())
        list_is_written.set()
        while True:
            try:
                warehouse.settle(DAY, "erasure e")
                break
            except DayLocked:
                time.sleep(0.05)
        seen.append(set(warehouse.read("calls")["contact_id"].to_pylist()))

    eraser = threading.Thread(target=erase)
    original = resolve_name(moment)

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        if not eraser.ident:
            eraser.start()
            assert list_is_written.wait(60)
        return original(*arguments, **more)

    monkeypatch.setattr(moment, meanwhile)
    if is_published:
        warehouse.publish(run, figures())
    else:
        with pytest.raises(ErasedMeanwhile):
            warehouse.publish(run, figures())
    eraser.join(120)
    (found,) = seen
    assert (contact in found) is is_published
    assert found == set(warehouse.read("calls")["contact_id"].to_pylist()), "nothing came after the erasure had looked"
