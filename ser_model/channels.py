"""Whether two channels hold one signal: a mono recording in a container of two channels, or in two files.

Works on levels of frames, as speech activity does. Knows nothing of samples or files.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.ndimage import uniform_filter1d

from ser_model.speech import FRAME_S, LevelsDb, spans_of

MAX_DELAY_S: Final = 0.5
"""How much later than the other a channel may be and still be its copy."""

LIKE_CORRELATION: Final = 0.5
"""Channels whose levels correlate less than this are not looked at more closely: those of two speakers who take turns
have -0.5 to -0.2, copies 0.8 and more."""

SAME_DB: Final = 4.0
"""How far the level of a copy may be off, for less than `OTHER_S`: coding, or a delay of half a frame, cost that."""

OTHER_S: Final = 0.1
MAX_OTHER_S: Final = 0.5
MAX_OTHER_SHARE: Final = 0.001
"""So much may be in one channel alone, of stretches of `OTHER_S` and more, in seconds or as a share of the sound.
Copies have next to none of it; a side that says two words has more."""

MIN_SOUND_S: Final = 1.0
ABOVE_FLOOR_DB: Final = 6.0
BELOW_LOUD_DB: Final = 20.0
_QUIETEST_DB: Final = -100.0


def is_one_signal(levels: LevelsDb, max_gain_db: float) -> bool:
    """Whether two channels are copies of one signal, but for gain, sign, DC, delay and coding.

    All that either channel has above the noise must be in the other, at one gain and one delay throughout. So neither
    an announcement that both sides hear nor an echo makes copies of channels in which both sides speak.

    Parameters
    ----------
    levels
        dBFS of both channels' frames, float32 ``[shape=(2, frames)]``.
    max_gain_db
        What is softer than the other channel by this much is no copy but its echo.

    Notes
    -----
    A channel that is silent, or has nothing but noise of its own, is no copy.
    """
    heard = np.maximum(levels, _QUIETEST_DB)
    n_frames = _frames(OTHER_S)
    whole = heard.shape[1] // n_frames * n_frames
    tenths = heard[:, :whole].reshape(2, -1, n_frames).mean(axis=2)
    if _best_delay(tenths, round(MAX_DELAY_S / OTHER_S) + 1)[0] < LIKE_CORRELATION:
        return False
    smooth: LevelsDb = 10 * np.log10(uniform_filter1d(10 ** (heard / 10), n_frames, axis=1))
    _, delay = _best_delay(smooth, _frames(MAX_DELAY_S) + n_frames // 2)
    left, right = _shifted(smooth, delay)
    quiet = _quiet(left), _quiet(right)
    both = (left > quiet[0]) & (right > quiet[1])
    if np.count_nonzero(both) < _frames(MIN_SOUND_S):
        return False
    gain_db = float(np.median(right[both] - left[both]))
    if abs(gain_db) >= max_gain_db:
        return False
    # What is lost in the noise of either cannot be compared.
    lowest = max(quiet[0] + gain_db, quiet[1])
    left, right = np.maximum(left + gain_db, lowest), np.maximum(right, lowest)
    differ = [end - start for start, end in spans_of(np.abs(left - right) > SAME_DB)]
    n_other = sum(length for length in differ if length >= n_frames)
    n_sound = np.count_nonzero(np.maximum(left, right) > lowest)
    return bool(n_other <= max(_frames(MAX_OTHER_S), MAX_OTHER_SHARE * n_sound))


def _best_delay(levels: LevelsDb, most: int) -> tuple[float, int]:
    """The correlation of two channels' sound, and by how many frames the second is later, where it is highest."""
    sound = np.stack([np.maximum(channel, _quiet(channel)) for channel in levels])
    sound -= sound.mean(axis=1, keepdims=True)
    scale = float(np.sqrt(np.prod(np.square(sound).sum(axis=1, dtype=np.float64))))
    if scale == 0:
        return 0.0, 0
    return max((float(np.dot(*_shifted(sound, delay))) / scale, delay) for delay in range(-most, most + 1))


def _shifted(levels: LevelsDb, delay: int) -> tuple[LevelsDb, LevelsDb]:
    """The two channels where they overlap when the second is earlier by so many frames."""
    n_frames = levels.shape[1]
    return levels[0, max(0, -delay) : n_frames - max(0, delay)], levels[1, max(0, delay) : n_frames - max(0, -delay)]


def _quiet(levels: LevelsDb) -> float:
    """The level below which a channel has noise, or speech too soft to compare."""
    heard = levels[levels > _QUIETEST_DB]
    if not len(heard):
        return 0.0
    floor = float(np.percentile(heard, 10)) + ABOVE_FLOOR_DB
    sound = heard[heard > floor]
    return max(floor, float(np.percentile(sound, 90)) - BELOW_LOUD_DB) if len(sound) else floor


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
