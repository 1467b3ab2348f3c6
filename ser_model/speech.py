"""Who speaks when: speech activity from frame energies, turns, and the segments that are classified.

Works on levels of 10 ms frames, which cost next to nothing, not on a network a frame. Levels of all channels come
in, spans of frames go out. Knows nothing of files or features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

LevelsDb = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""First frame, and the frame after the last."""

FRAME_S: Final = 0.01
DIGITAL_SILENCE_DB: Final = -200.0
"""The level given to a frame whose samples are all the same."""


@dataclass(frozen=True)
class SpeechSpec:
    """How speech is told from the rest.

    Attributes
    ----------
    above_floor_db
        A frame is active where its level is this far above the channel's noise floor ...
    below_peak_db
        ... and no further than this below the channel's loud speech ...
    min_level_dbfs
        ... and at least this loud.
    floor_window_s
        The noise floor is the lowest level (10th percentile of a second) within half this time on each side.
    echo_margin_db
        A frame this far below the other channel's level (of the last `echo_delay_s`) is that channel's echo.
    echo_delay_s
        The longest way of an echo.
    min_speech_s
        Shorter activity is a click.
    padding_s
        Speech is extended by this much on both sides: soft onsets and endings.
    fill_pause_s
        Shorter pauses belong to the speech around them.
    turn_pause_s
        Speech of one side after a longer pause is a new turn.
    min_pause_s
        Digital silence on all channels for as long is a pause of the recording.
    max_segment_s, min_segment_s
        Bounds of a piece of a turn; a shorter one joins its neighbour, or is not classified.
    """

    above_floor_db: float = 6.0
    below_peak_db: float = 33.0
    min_level_dbfs: float = -70.0
    floor_window_s: float = 10.0
    echo_margin_db: float = 12.0
    echo_delay_s: float = 0.25
    min_speech_s: float = 0.10
    padding_s: float = 0.04
    fill_pause_s: float = 0.20
    turn_pause_s: float = 1.0
    min_pause_s: float = 1.0
    max_segment_s: float = 3.0
    min_segment_s: float = 0.4


@dataclass(frozen=True)
class Piece:
    """A segment: a piece of a turn.

    Attributes
    ----------
    turn_index, segment_index
        The turn's number within the channel, and the piece's within the turn, from 0.
    start, end
        First frame, and the frame after the last.
    """

    turn_index: int
    segment_index: int
    start: int
    end: int


def frame_levels(samples: npt.NDArray[np.float32], frame_length: int) -> LevelsDb:
    """Levels of a channel's frames, without their mean (DC).

    Parameters
    ----------
    samples
        float32 ``[shape=(n,)]``, n a multiple of `frame_length`.

    Returns
    -------
    dBFS, float32 ``[shape=(frames,)]``: 0 for a full-scale square wave, `DIGITAL_SILENCE_DB` for constant samples.
    """
    frames = samples.reshape(-1, frame_length)
    power = np.einsum("ij,ij->i", frames, frames) / frame_length - np.square(frames.mean(axis=1))
    constant = power <= 1e-12
    levels: LevelsDb = 10 * np.log10(np.where(constant, 1.0, power))
    return np.where(constant, np.float32(DIGITAL_SILENCE_DB), levels).astype(np.float32)


def speech_spans(levels: LevelsDb, spec: SpeechSpec) -> list[list[Span]]:
    """Find each channel's speech.

    Parameters
    ----------
    levels
        dBFS of the channels' frames, float32 ``[shape=(channels, frames)]``.

    Returns
    -------
    For each channel its spans of speech, in order, at least `fill_pause_s` apart.
    """
    return [_channel_spans(levels, channel, spec) for channel in range(len(levels))]


def _channel_spans(levels: LevelsDb, channel: int, spec: SpeechSpec) -> list[Span]:
    own = uniform_filter1d(np.maximum(levels[channel], -100), 3)
    active = own > np.maximum(noise_floor(own, spec) + spec.above_floor_db, spec.min_level_dbfs)
    if not active.any():
        return []
    loud = np.percentile(own[active], 90)
    active &= own > loud - spec.below_peak_db
    for other in range(len(levels)):
        if other != channel:
            active &= own > _echo_level(levels[other], spec) - spec.echo_margin_db
    active &= levels[channel] > DIGITAL_SILENCE_DB
    spans = [span for span in join(spans_of(active), _frames(0.05)) if span[1] - span[0] >= _frames(spec.min_speech_s)]
    padding = _frames(spec.padding_s)
    padded = [(max(0, start - padding), min(len(own), end + padding)) for start, end in spans]
    return join(padded, _frames(spec.fill_pause_s))


def noise_floor(levels: LevelsDb, spec: SpeechSpec) -> LevelsDb:
    """The level of what is there when nobody speaks, frame by frame: low percentiles of seconds, the lowest around.

    Digital silence says nothing of the noise and is left out of it.
    """
    second = round(1 / FRAME_S)
    n_seconds = -(-len(levels) // second)
    padded = np.pad(levels, (0, n_seconds * second - len(levels)), mode="edge").reshape(n_seconds, second)
    heard = np.where(padded > -99, padded, np.nan)
    lowest = np.full(n_seconds, np.float32(np.nan))
    some = ~np.isnan(heard).all(axis=1)
    if not some.any():
        return np.full(len(levels), np.float32(-100))
    lowest[some] = np.nanpercentile(heard[some], 10, axis=1)
    lowest[~some] = np.nanmax(lowest)
    floor = minimum_filter1d(lowest, max(1, round(spec.floor_window_s)), mode="nearest")
    return np.repeat(floor, second)[: len(levels)]


def _echo_level(other: LevelsDb, spec: SpeechSpec) -> LevelsDb:
    """The loudest that the other channel was within the way of an echo before each frame."""
    delay = _frames(spec.echo_delay_s)
    # origin shifts the window so that it ends at the frame itself.
    heard: LevelsDb = maximum_filter1d(uniform_filter1d(other, 3), delay + 1, origin=delay // 2, mode="nearest")
    return heard


def pauses(levels: LevelsDb, spec: SpeechSpec) -> list[Span]:
    """Stretches of digital silence on all channels: pauses of the recording, not of the talk."""
    silent: Mask = np.all(levels <= DIGITAL_SILENCE_DB, axis=0)
    return [span for span in spans_of(silent) if span[1] - span[0] >= _frames(spec.min_pause_s)]


def segments_of(spans: list[Span], levels: LevelsDb, others: list[Span], spec: SpeechSpec) -> list[Piece]:
    """Cut a channel's speech into turns and turns into pieces of at most `max_segment_s`.

    Speech after a pause longer than `turn_pause_s`, or after the other side spoke within the pause, is a new turn.
    A span longer than a piece may be is cut at its quietest frames.

    Parameters
    ----------
    spans
        The channel's speech.
    levels
        The channel's levels, dBFS, float32 ``[shape=(frames,)]``.
    others
        The other side's speech.
    """
    pieces: list[Piece] = []
    turn = -1
    last_end = None
    index = 0
    for start, end in spans:
        if last_end is None or start - last_end > _frames(spec.turn_pause_s) or _overlap(others, last_end, start):
            turn += 1
            index = 0
        for piece_start, piece_end in _cut(start, end, levels, _frames(spec.max_segment_s)):
            pieces.append(Piece(turn, index, piece_start, piece_end))
            index += 1
        last_end = end
    return pieces


def _cut(start: int, end: int, levels: LevelsDb, longest: int) -> list[Span]:
    """Cut a span into the fewest pieces of like length, each cut moved to the quietest frame near it."""
    n_pieces = -(-(end - start) // longest)
    if n_pieces == 1:
        return [(start, end)]
    cuts = [start]
    for number in range(1, n_pieces):
        # The piece before may not get too long, nor leave too much for those after it.
        latest = min(cuts[-1] + longest, end - 1)
        earliest = max(cuts[-1] + longest // 3, end - (n_pieces - number) * longest)
        wanted = start + (end - start) * number // n_pieces
        low, high = max(earliest, wanted - 50), min(latest, wanted + 50)
        low, high = (earliest, latest) if low > high else (low, high)
        cuts.append(low + int(np.argmin(levels[low : high + 1])))
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def spans_of(mask: Mask) -> list[Span]:
    """The stretches where a mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def join(spans: list[Span], gap: int) -> list[Span]:
    """Join spans that are closer together than `gap` frames."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _overlap(spans: list[Span], start: int, end: int) -> bool:
    """Whether any span has a frame in ``start:end``."""
    return any(low < end and high > start for low, high in spans)


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
