"""Recordings to measure speed on: two channels at 8 kHz, mixed lengths and codecs, talk and silence as in calls.

Made of the two-channel calls of a folder, such as the sample calls of ``make demo``: each recording is one of them from
some place on, repeated up to its length.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ = 8000
DAY = date(2026, 11, 20)
SECONDS = (45, 120, 245, 245, 400, 900)
"""Lengths in turn; 326 s in the mean."""
CODECS = (
    ("WAV", "PCM_16"),
    ("WAV", "ULAW"),
    ("WAV", "PCM_16"),
    ("WAV", "ALAW"),
    ("WAV", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
)
"""Containers and encodings in turn: as many as the lengths and one, so that each meets each."""


@dataclass(frozen=True)
class Recording:
    """A recording's bytes, its codec's name, and its length in seconds."""

    content: bytes
    codec: str
    duration_s: float


def make_recordings(folder: Path, number: int) -> list[Recording]:
    """Make so many recordings of a folder's two-channel WAV files at 8 kHz.

    Raises
    ------
    ValueError
        Where the folder has no such file.
    """
    calls = read_calls(folder)
    rng = np.random.default_rng(1)
    return [_recording(index, calls, rng) for index in range(number)]


def read_calls(folder: Path) -> list[npt.NDArray[np.int16]]:
    """The samples ``[shape=(n, 2)]`` of a folder's two-channel WAV files at 8 kHz.

    Raises
    ------
    ValueError
        Where the folder has no such file.
    """
    calls = [samples for path in sorted(folder.rglob("*.wav")) for samples in _two_channels(path)]
    if not calls:
        raise ValueError(
            f"{folder} holds no two-channel WAV file at {RATE_HZ} Hz; expected calls to make recordings of"
        )
    return calls


def _two_channels(path: Path) -> Iterator[npt.NDArray[np.int16]]:
    """The file's samples ``[shape=(n, 2)]`` where it is a call to be used."""
    try:
        samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        return
    if rate_hz == RATE_HZ and samples.shape[1] == 2 and len(samples) > 10 * RATE_HZ and samples.any(axis=0).all():
        yield samples


def _recording(index: int, calls: Sequence[npt.NDArray[np.int16]], rng: np.random.Generator) -> Recording:
    call = calls[index % len(calls)]
    seconds = SECONDS[index % len(SECONDS)]
    container, encoding = CODECS[index % len(CODECS)]
    start = int(rng.integers(len(call)))
    samples = np.take(call, np.arange(start, start + seconds * RATE_HZ), axis=0, mode="wrap")
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, subtype=encoding, format=container)
    return Recording(file.getvalue(), f"{container}/{encoding}", float(seconds))


def key(index: int) -> str:
    """The key of a recording in Amazon Connect's naming, on `DAY`."""
    minute = index % (24 * 60)
    contact_id = uuid.uuid5(uuid.NAMESPACE_OID, f"benchmark {index}")
    return f"CallRecordings/{DAY:%Y/%m/%d}/{contact_id}_{DAY:%Y%m%d}T{minute // 60:02}:{minute % 60:02}_UTC.wav"
