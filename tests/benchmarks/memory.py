"""The memory of a worker: its peak and its growth over many recordings, and on a call of hours.

``python -m tests.benchmarks.memory SHORT LONG_HOURS``: run in a process of its own by the benchmark, which prints
one JSON object. What Spark's own worker adds, its interpreter and pyspark, is in it.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

MB = 2**20
SHORT_S = (12, 16, 30, 45)


def resident_mb() -> float:
    """Memory that the process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MB


def peak_mb() -> float:
    """The most that it held, in MB; getrusage would count what its parent held when it started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def write_call(file: BinaryIO, samples: np.ndarray, seconds: float, rate_hz: int) -> None:
    """Write a WAV of so many seconds of a call, repeated."""
    with soundfile.SoundFile(file, "w", rate_hz, 2, "ULAW", format="WAV") as sound:
        left = round(seconds * rate_hz)
        while left > 0:
            sound.write(samples[:left])
            left -= len(samples)
    file.seek(0)


def main() -> None:
    """Read many short recordings, then a long one, as a worker does."""
    import pyspark.worker  # noqa: F401 - what Spark's worker has loaded before ours

    import jobs.extract_features  # noqa: F401
    from ser_model.classifier import Classifier
    from ser_model.recording import SegmentExtractor

    folder, number, hours = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    samples, rate_hz = soundfile.read(next(iter(sorted(folder.rglob("*.wav")))), dtype="int16", always_2d=True)
    classifier = Classifier.load(Path("ser_model/models/research"))
    extractor = SegmentExtractor(classifier.card.feature_spec, {"customer"})
    recordings = [io.BytesIO() for _ in SHORT_S]
    for file, seconds in zip(recordings, SHORT_S, strict=True):
        write_call(file, samples, seconds, rate_hz)

    def read(file: BinaryIO) -> None:
        found = extractor([file])
        classifier.probabilities([each.features for each in found.segments if each.features is not None])

    held = []
    for index in range(number):
        read(recordings[index % len(recordings)])
        if index % (number // 20) == 0:
            held.append(resident_mb())
    many_peak_mb = peak_mb()
    with tempfile.TemporaryFile() as long:  # where the jobs fetch what is large, too
        write_call(long, samples, hours * 3600, rate_hz)
        read(long)
    half = len(held) // 2
    growth_mb = float(np.mean(held[half:]) - np.mean(held[half // 2 : half]))
    print(
        json.dumps({"recordings": number, "peak_mb": many_peak_mb, "growth_mb": growth_mb, "long_peak_mb": peak_mb()})
    )


if __name__ == "__main__":
    main()
