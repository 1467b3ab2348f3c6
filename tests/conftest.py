"""What all tests share: the shared recordings, where they are, and sounds made here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A process of pytest-xdist has a main module without a file, which pyspark takes for its own doctests: it exits.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-fault", action="store_true", help="inject every fault, not only some")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared calls and corpora; the test skips where there is none."""
    folder = Path(os.environ.get("CALLMOOD_SHARED", ROOT.parent / "shared"))
    if not (folder / "calls").is_dir():
        pytest.skip(f"needs the shared calls and corpora: {folder} is not there (set CALLMOOD_SHARED)")
    return folder


@pytest.fixture(scope="session")
def voice() -> Callable[..., object]:
    """Makes something like a voice: harmonics of a pitch that rises and falls with the sentence, in syllables."""
    import numpy as np

    def make(
        seconds: float,
        pitch_hz: float = 140.0,
        level_dbfs: float = -22.0,
        syllables_hz: float = 4.0,
        rate_hz: int = 8000,
        intonation_st: float = 3.0,
    ) -> np.ndarray:
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        moved = 2 ** (intonation_st / 12 * np.sin(2 * np.pi * 0.8 * time_s))
        phase = 2 * np.pi * pitch_hz * np.cumsum(moved) / rate_hz
        tone = sum(np.sin(k * phase + k) / k for k in range(1, int(3400 / pitch_hz)))
        syllables = 0.05 + 0.95 * np.abs(np.sin(np.pi * syllables_hz * time_s))
        sound = tone * syllables
        return (sound * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(sound**2))).astype(np.float32)

    return make
