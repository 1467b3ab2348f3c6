"""The voices of the sample calls: text to 8 kHz samples with espeak-ng, through PyPI's espeakng-loader.

espeak-ng is GPL: it is loaded at run time, for the demo only. This module knows nothing of calls.
"""

from __future__ import annotations

import ctypes
import importlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from infra.demo.errors import VoicesMissingError

Samples: TypeAlias = npt.NDArray[np.float32]

RATE_HZ = 8000

_ESPEAK_RATE_HZ = 22050
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Delivery:
    """How something is said: words a minute, espeak's pitch and range (0 to 99), level while speaking."""

    rate_wpm: float
    pitch: float
    pitch_range: float
    level_dbfs: float


class Speaker:
    """espeak-ng, loaded afresh; see `speaker`."""

    def __init__(self, library: ctypes.CDLL, data: Path) -> None:
        """Initialize the library with its data folder."""
        self._library = library
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._callback = _SYNTH_CALLBACK(self._keep)  # espeak keeps the pointer: the object must live as long
        if library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT) != _ESPEAK_RATE_HZ:
            raise VoicesMissingError(f"espeak-ng does not start with its data at {data}: reinstall espeakng-loader")
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else it takes the time of day

    def _keep(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, delivery: Delivery) -> Samples:
        """Speak a text: float32 [samples] at 8 kHz, at the delivery's level, trimmed of silence."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise VoicesMissingError(f"espeak-ng has no voice {voice!r}: reinstall espeakng-loader")
        settings = ((_RATE, delivery.rate_wpm), (_PITCH, delivery.pitch), (_RANGE, delivery.pitch_range))
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, round(value), 0)
        self._pieces.clear()
        encoded = text.encode() + b"\0"
        self._library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _UTF8, None, None)
        if not self._pieces:
            raise VoicesMissingError(f"espeak-ng said nothing for {text!r}: reinstall espeakng-loader")
        wide = np.concatenate(self._pieces).astype(np.float32) / 32768
        return _at_level(_trimmed(soxr.resample(wide, _ESPEAK_RATE_HZ, RATE_HZ)), delivery.level_dbfs)


@contextmanager
def speaker() -> Iterator[Speaker]:
    """Load espeak-ng from a copy of its own.

    It carries state from one utterance to the next, also over a termination, so only a library loaded afresh
    gives the same bytes again; and a library is loaded afresh only from a path not loaded before. Its data
    folder is linked beside it because espeak-ng takes no path of more than about 160 characters.
    """
    try:
        loader = importlib.import_module("espeakng_loader")
    except ModuleNotFoundError as error:
        raise VoicesMissingError(
            "espeakng-loader is not installed, and the sample calls are spoken by it: run 'make setup', "
            "or install the dependency group 'demo' of pyproject.toml into the jobs' environment"
        ) from error
    with tempfile.TemporaryDirectory(prefix="callmood-voices-") as name:
        library = Path(shutil.copy(loader.get_library_path(), name))
        data = Path(name, "espeak-ng-data")
        data.symlink_to(loader.get_data_path())
        yield Speaker(ctypes.CDLL(str(library)), data)


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 10 ** (-45 / 20) * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def active_level_dbfs(samples: Samples) -> float:
    """Level of speech without its pauses: RMS over the 20 ms frames within 30 dB of the loudest, in dBFS."""
    frame = RATE_HZ // 50
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame).astype(np.float64)
    power = np.square(frames).mean(axis=1)
    active = power[power > 1e-3 * power.max()]
    return float(10 * np.log10(active.mean()))


def _at_level(samples: Samples, level_dbfs: float) -> Samples:
    gain = np.float32(10 ** ((level_dbfs - active_level_dbfs(samples)) / 20))
    # A raised voice reaches full scale: its peaks bend, none is clipped.
    bent: Samples = np.tanh(gain * samples)
    return bent
