"""A small made center for tests of the dashboard: published tables of a few days, and recordings that sound alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from tests.benchmarks.dashboard import SEGMENTS, publish

CALLS, DAYS = 80, 2


def make(folder: Path, voice: Callable[..., Any], *, calls: int = CALLS, days: int = DAYS) -> Path:
    """Publish to FOLDER/warehouse; FOLDER/recordings has each call's sound, which is one file."""
    publish(folder, calls, days)
    (folder / "recordings").mkdir()
    sound = np.zeros((round((SEGMENTS * 20 + 5) * 8000), 2), np.float32)
    for number in range(SEGMENTS):
        start = number * 20 * 8000
        sound[start : start + 20000, 0] = voice(2.5, pitch_hz=150 + 5 * number)
        sound[start + 24000 : start + 40000, 1] = voice(2.0, pitch_hz=110)
    one = folder / "sound.wav"
    soundfile.write(one, sound, 8000, subtype="ULAW")
    for contact_id in Warehouse(LocalStorage(folder / "warehouse")).read("calls")["contact_id"].to_pylist():
        (folder / "recordings" / f"{contact_id}.wav").hardlink_to(one)
    return folder
