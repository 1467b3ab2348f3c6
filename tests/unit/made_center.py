"""A small made center for tests of the dashboard: published tables of two days, and the last day's recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from tests.benchmarks.dashboard import LAST, SEGMENTS, publish

CALLS, DAYS = 80, 2


def make(folder: Path, voice: Callable[..., Any], *, days: int = DAYS) -> Path:
    """Publish to FOLDER/warehouse; FOLDER/recordings has the last day's sound."""
    publish(folder, CALLS, days)
    (folder / "recordings").mkdir()
    sound = np.zeros((round((SEGMENTS * 20 + 5) * 8000), 2), np.float32)
    for number in range(SEGMENTS):
        start = number * 20 * 8000
        sound[start : start + 20000, 0] = voice(2.5, pitch_hz=150 + 5 * number)
        sound[start + 24000 : start + 40000, 1] = voice(2.0, pitch_hz=110)
    calls = Warehouse(LocalStorage(folder / "warehouse")).read("calls", call_date=LAST)
    for contact_id in calls["contact_id"].to_pylist():
        soundfile.write(folder / "recordings" / f"{contact_id}.wav", sound, 8000, subtype="ULAW")
    return folder
