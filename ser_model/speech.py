"""Who speaks when: speech activity from frame energies, turns, and the segments that are classified.

Works on levels of 10 ms frames in a few bands, which cost next to nothing, not on a network a frame. Levels of all
channels come in, spans of frames go out. Whether a sound is a voice is for `ser_model.voice` to say. Knows nothing of
files or features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

LevelsDb = npt.NDArray[np.float32]
BandLevelsDb = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""First frame, and the frame after the last."""

FRAME_S: Final = 0.01
N_BANDS: Final = 4
"""The whole band, and of it the lowest quarter, the second quarter and the upper half."""
DIGITAL_SILENCE_DB: Final = -200.0
"""The level given to a frame whose samples are all the same."""


@dataclass(frozen=True)
class SpeechSpec:
    """How speech is told from the rest.

    Attributes
    ----------
    above_floor_db, above_band_floor_db
        A frame is active where its level is this far above the channel's noise floor, or that of a part of the band
        this far above the part's own: a soft voice is in the low part, a soft consonant in the high one ...
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
    hidden_onset_s, hidden_ending_s
        What is added to that where noise hides them: all of it `buried_db` below loud speech, none `clear_db` below.
    clear_db, buried_db
        How far the noise floor is below loud speech.
    fill_pause_s
        Shorter pauses belong to the speech around them.
    turn_pause_s
        Speech of one side after a longer pause is a new turn.
    min_pause_s
        Digital silence on all channels for as long is a pause of the recording.
    announcement_s, announcement_correlation
        Sounds of at least this length whose levels correlate this much with another's are announcements.
    max_segment_s, min_segment_s
        Bounds of a piece of a turn; a shorter one joins its neighbour, or is not classified.
    """

    above_floor_db: float = 6.0
    above_band_floor_db: float = 5.5
    below_peak_db: float = 33.0
    min_level_dbfs: float = -70.0
    floor_window_s: float = 10.0
    echo_margin_db: float = 12.0
    echo_delay_s: float = 0.25
    min_speech_s: float = 0.10
    padding_s: float = 0.02
    hidden_onset_s: float = 0.04
    hidden_ending_s: float = 0.07
    clear_db: float = 40.0
    buried_db: float = 20.0
    fill_pause_s: float = 0.20
    turn_pause_s: float = 1.0
    min_pause_s: float = 1.0
    announcement_s: float = 2.0
    announcement_correlation: float = 0.95
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


def band_levels(samples: npt.NDArray[np.float32], frame_length: int) -> BandLevelsDb:
    """Levels of a channel's frames, without their mean (DC), in the whole band and three parts of it.

    The parts are those of a Haar wavelet, whose energies add up to the whole: two sums of neighbours are all it costs.

    Parameters
    ----------
    samples
        float32 ``[shape=(n,)]``, n a multiple of `frame_length`, which is one of 4.

    Returns
    -------
    dBFS, float32 ``[shape=(N_BANDS, frames)]``: 0 for a full-scale square wave, `DIGITAL_SILENCE_DB` where the frame's
    samples are all the same.
    """
    frames = samples.reshape(-1, frame_length)
    pairs = frames[:, 0::2] + frames[:, 1::2]
    fours = pairs[:, 0::2] + pairs[:, 1::2]
    # A product with a vector is six times as fast as numpy's mean along short rows.
    offset = np.square(frames @ np.full(frame_length, 1 / frame_length, dtype=np.float32))
    whole, half, quarter = (
        np.einsum("ij,ij->i", part, part) / (frame_length * summed) - offset
        for part, summed in ((frames, 1), (pairs, 2), (fours, 4))
    )
    power = np.stack((whole, quarter, half - quarter, whole - half))
    levels: BandLevelsDb = 10 * np.log10(np.maximum(power, np.float32(1e-12)))
    # Squares of a large DC leave rounding errors of about a millionth.
    levels[:, whole <= 1e-12 + 1e-6 * offset] = DIGITAL_SILENCE_DB
    return levels


def speech_spans(levels: BandLevelsDb, spec: SpeechSpec) -> list[list[Span]]:
    """Find each channel's speech.

    Parameters
    ----------
    levels
        dBFS of the channels' frames, float32 ``[shape=(channels, N_BANDS, frames)]``.

    Returns
    -------
    For each channel its spans of speech, in order, at least `fill_pause_s` apart.
    """
    return [_channel_spans(levels, channel, spec) for channel in range(len(levels))]


def _channel_spans(levels: BandLevelsDb, channel: int, spec: SpeechSpec) -> list[Span]:
    own = uniform_filter1d(np.maximum(levels[channel, 0], -100), 3)
    floor = noise_floor(own, spec)
    audible = own > np.maximum(floor + spec.above_floor_db, spec.min_level_dbfs)
    if not audible.any():
        return []
    loud = np.percentile(own[audible], 90)
    active = audible
    for band in levels[channel, 1:]:
        part = uniform_filter1d(np.maximum(band, -100), 5)
        active = active | ((part > noise_floor(part, spec) + spec.above_band_floor_db) & (own > spec.min_level_dbfs))
    active &= own > loud - spec.below_peak_db
    for other in range(len(levels)):
        if other != channel:
            active &= own > _echo_level(levels[other, 0], spec) - spec.echo_margin_db
    active &= levels[channel, 0] > DIGITAL_SILENCE_DB
    spans = [span for span in join(spans_of(active), _frames(0.05)) if span[1] - span[0] >= _frames(spec.min_speech_s)]
    return join([_padded(span, loud - floor, spec) for span in spans], _frames(spec.fill_pause_s))


def _padded(span: Span, clearance_db: LevelsDb, spec: SpeechSpec) -> Span:
    """The span with its onset and ending, more of which are hidden the nearer the noise is to the speech."""
    start, end = span
    hidden = (spec.clear_db - clearance_db[(start + end) // 2]) / (spec.clear_db - spec.buried_db)
    hidden = min(max(float(hidden), 0.0), 1.0)
    before = _frames(spec.padding_s + hidden * spec.hidden_onset_s)
    after = _frames(spec.padding_s + hidden * spec.hidden_ending_s)
    return max(0, start - before), min(len(clearance_db), end + after)


def noise_floor(levels: LevelsDb, spec: SpeechSpec) -> LevelsDb:
    """The level of what is there when nobody speaks, frame by frame: low percentiles of seconds, the lowest around.

    Digital silence says nothing of the noise and is left out of it.
    """
    second = round(1 / FRAME_S)
    n_seconds = -(-len(levels) // second)
    padded = np.pad(levels, (0, n_seconds * second - len(levels)), mode="edge").reshape(n_seconds, second)
    n_heard = np.count_nonzero(padded > -99, axis=1)
    some = n_heard > 0
    if not some.any():
        return np.full(len(levels), np.float32(-100))
    # What np.nanpercentile gives, which goes from row to row in Python.
    in_order = np.sort(np.where(padded > -99, padded, np.inf), axis=1)[some]
    below, part = np.divmod(0.1 * (n_heard[some] - 1), 1)
    low, high = (
        np.take_along_axis(in_order, place[:, None], 1)[:, 0]
        for place in (below.astype(int), np.ceil(below + part).astype(int))
    )
    lowest = np.empty(n_seconds, dtype=np.float32)
    lowest[some] = low + part * (high - low)
    lowest[~some] = lowest[some].max()
    floor = minimum_filter1d(lowest, max(1, round(spec.floor_window_s)), mode="nearest")
    return np.repeat(floor, second)[: len(levels)]


def _echo_level(other: LevelsDb, spec: SpeechSpec) -> LevelsDb:
    """The loudest that the other channel was within the way of an echo before each frame."""
    delay = _frames(spec.echo_delay_s)
    # origin shifts the window so that it ends at the frame itself.
    heard: LevelsDb = maximum_filter1d(uniform_filter1d(other, 3), delay + 1, origin=delay // 2, mode="nearest")
    return heard


def pauses(levels: BandLevelsDb, spec: SpeechSpec) -> list[Span]:
    """Stretches of digital silence on all channels: pauses of the recording, not of the talk."""
    silent: Mask = np.all(levels[:, 0] <= DIGITAL_SILENCE_DB, axis=0)
    return [span for span in spans_of(silent) if span[1] - span[0] >= _frames(spec.min_pause_s)]


def played(spans: list[Span], levels: BandLevelsDb, spec: SpeechSpec) -> Mask:
    """Which spans of a channel sound the same more than once, as announcements do and people never.

    The course of the levels of two renderings by a person, even of one sentence by an actor in one mood, correlates by
    less than 0.94; that of one announcement played twice through a noisy line by more than 0.95 (tests/benchmarks).

    Parameters
    ----------
    spans
        The channel's spans.
    levels
        The channel's levels, dBFS, float32 ``[shape=(N_BANDS, frames)]``.

    Returns
    -------
    bool ``[shape=(spans,)]``.
    """
    compared = _frames(spec.announcement_s)
    lengths = np.array([end - start for start, end in spans])
    long = np.flatnonzero(lengths >= compared) if spans else np.zeros(0, dtype=int)
    found = np.zeros(len(spans), dtype=bool)
    if len(long) < 2:
        return found
    courses = np.stack([_course(levels[1:, spans[index][0] :][:, :compared]) for index in long])
    alike = courses @ courses.T >= spec.announcement_correlation
    alike &= np.abs(lengths[long][:, None] - lengths[long][None]) <= _frames(0.03)
    found[long] = alike.sum(axis=1) > 1
    return found


def _course(levels: BandLevelsDb) -> npt.NDArray[np.float32]:
    """How the bands' levels go up and down, of length 1: float32 ``[shape=(bands * frames,)]``."""
    smooth = uniform_filter1d(np.maximum(levels, levels.max(axis=1, keepdims=True) - 40), 3, axis=1).ravel()
    course: npt.NDArray[np.float32] = smooth - smooth.mean()
    return course / np.float32(max(float(np.linalg.norm(course)), 1e-6))


def pieces_of(spans: list[Span], levels: LevelsDb, spec: SpeechSpec) -> list[Span]:
    """Cut spans of sound into pieces of at most `max_segment_s`, at their quietest frames.

    Parameters
    ----------
    spans
        A channel's spans.
    levels
        The channel's levels in the whole band, dBFS, float32 ``[shape=(frames,)]``.
    """
    return [piece for span in spans for piece in _cut(*span, levels, _frames(spec.max_segment_s))]


def in_turns(pieces: list[Span], others: list[Span], spec: SpeechSpec) -> list[Piece]:
    """Number the pieces of a channel's speech by turns.

    Speech after a pause longer than `turn_pause_s`, or after the other side spoke within the pause, is a new turn.

    Parameters
    ----------
    pieces
        The channel's pieces of speech, in order.
    others
        The other side's speech.
    """
    numbered: list[Piece] = []
    for start, end in pieces:
        turn, index = 0, 0
        if numbered:
            last = numbered[-1]
            turn, index = last.turn_index, last.segment_index + 1
            if start - last.end > _frames(spec.turn_pause_s) or _overlap(others, last.end, start):
                turn, index = turn + 1, 0
        numbered.append(Piece(turn, index, start, end))
    return numbered


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
