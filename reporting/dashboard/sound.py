"""A recording's sound for the page: how loud each side is over time, and a piece of it as WAV.

Decodes with `ser_model` in blocks; only the piece is kept, and only it leaves the machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ser_model.audio import CallReader, ChannelRole
from ser_model.features import Pcm16, from_pcm16

RATE_HZ = 8000
STEP_S = 0.1
"""A point of the waveform is the peak of so much sound."""
_STEP = round(STEP_S * RATE_HZ)


@dataclass(frozen=True)
class Waveform:
    """How loud each role is: peaks, 0 to 1, float32 ``[shape=(roles, steps)]``, a step every `STEP_S`."""

    roles: tuple[str, ...]
    peaks: npt.NDArray[np.float32]


def waveform(files: Sequence[BinaryIO], channel_roles: Sequence[ChannelRole]) -> Waveform:
    """Read how loud a recording is over time; raises `ser_model.errors.RecordingError` as `CallReader` does."""
    call = CallReader(files, channel_roles, RATE_HZ)
    found, rest = [], np.empty((len(call.roles), 0), np.float32)
    for block in call.blocks():
        levels = np.concatenate((rest, np.abs(from_pcm16(block))), axis=1)
        whole = levels.shape[1] // _STEP * _STEP
        rest = levels[:, whole:]
        found.append(levels[:, :whole].reshape(len(levels), -1, _STEP).max(axis=2))
    return Waveform(tuple(call.roles), np.concatenate(found, axis=1))


def excerpt(
    files: Sequence[BinaryIO],
    channel_roles: Sequence[ChannelRole],
    start_s: float,
    end_s: float,
    *,
    only: str | None = None,
) -> bytes:
    """Cut a piece out of a recording.

    Parameters
    ----------
    files, channel_roles
        As `ser_model.audio.CallReader` takes them.
    start_s, end_s
        The piece; an end beyond the recording's is its end.
    only
        The role that is heard; None: all of them, a channel each. A role that has no channel of its own is heard with
        the others.

    Returns
    -------
    WAV, PCM of 16 bit at 8 kHz.

    Raises
    ------
    ser_model.errors.RecordingError
        Where the recording cannot be read.
    """
    import soundfile

    call = CallReader(files, channel_roles, RATE_HZ)
    pieces = list(_cut(call.blocks(), round(start_s * RATE_HZ), round(end_s * RATE_HZ)))
    samples = np.concatenate([*pieces, np.empty((len(call.roles), 0), np.int16)], axis=1)
    kept = [place for place, role in enumerate(call.roles) if role == only]
    if kept:
        samples = samples[kept]
    written = io.BytesIO()
    soundfile.write(written, samples.T, RATE_HZ, format="WAV", subtype="PCM_16")
    return written.getvalue()


def _cut(blocks: Iterator[Pcm16], start: int, end: int) -> Iterator[Pcm16]:
    """What of the blocks lies from sample ``start`` to before ``end``; stops reading there."""
    at = 0
    for block in blocks:
        yield block[:, max(0, start - at) : max(0, end - at)]
        at += block.shape[1]
        if at >= end:
            return
