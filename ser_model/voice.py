"""Whether a sound is a voice: not noise, not the tones of a telephone, not music.

A voice's pitch glides and its level rises and falls with its syllables; a note stays where it is; noise has no pitch.
Each piece of sound gives evidence from its spectra and pitch, which the features need anyway, and evidence adds up over
neighbouring pieces: hold music is long, and so is talk. Knows nothing of recordings or roles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ser_model.features import PowerSpectra
from ser_model.prosody import PitchTrack

# Fitted by logistic regression (tests/benchmarks/voice.py): pieces of speech of seven sources against music of four
# and environmental sounds, through the telephone, clean and in noise at 20 and 10 dB.
STEADY_WEIGHT: Final = -7.0
GLIDE_WEIGHT: Final = 12.0
LEVEL_WEIGHT: Final = 6.7
BIAS: Final = -12.4
"""Fitted -13.0, and a little in favor of voices: a lost sentence costs more than a bar of music."""
STEADY_ST: Final = 0.1
"""From frame to frame (16 ms) a pitch that moves by less is steady; one that moves by less than `LEAP_ST` glides."""
LEAP_ST: Final = 3.0
MAX_EVIDENCE: Final = 5.0
MIN_FRAMES: Final = 5

MIN_VOICED_SHARE: Final = 0.08
TONE_BINS: Final = 10
TONE_POWER: Final = 0.97
TONE_SHARE: Final = 0.8
TONE_GLIDES: Final = 0.2
TONE_AUDIBLE: Final = 0.1
"""A sound is a tone where ``TONE_SHARE`` of the frames with this share of the loudest one's power are one."""

FULL_WEIGHT_S: Final = 1.5
"""A piece at least this long counts fully."""
CHANGE_COST: Final = 6.0
"""What a change between voice and other sound costs at once; less after a pause, by 1/e every `CHANGE_PAUSE_S`."""
CHANGE_PAUSE_S: Final = 10.0


def voice_evidence(power: PowerSpectra, track: PitchTrack) -> float:
    """The evidence of one piece of sound.

    Parameters
    ----------
    power
        Its power spectra, float32 ``[shape=(frames, bins)]``.
    track
        Its pitch in the same frames.

    Returns
    -------
    Log-odds that it is a voice, within ``MAX_EVIDENCE``; 0, which says nothing, for fewer than ``MIN_FRAMES`` frames.
    """
    if len(power) < MIN_FRAMES:
        return 0.0
    if _share(track.voiced) < MIN_VOICED_SHARE:
        return -MAX_EVIDENCE
    steady, gliding = pitch_moves(track)
    if _is_tone(power, track.power, gliding):
        return -MAX_EVIDENCE
    evidence = BIAS + np.dot((STEADY_WEIGHT, GLIDE_WEIGHT, LEVEL_WEIGHT), voice_features(track.power, steady, gliding))
    return min(max(float(evidence), -MAX_EVIDENCE), MAX_EVIDENCE)


def voice_features(
    total: npt.NDArray[np.float32], steady: npt.NDArray[np.bool_], gliding: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """What the evidence is made of.

    Parameters
    ----------
    total
        The power of each frame, float32 ``[shape=(frames,)]``.
    steady, gliding
        What `pitch_moves` gave.

    Returns
    -------
    float64 ``[shape=(3,)]``: the shares of the frames in which the pitch stays and in which it glides, and the
    logarithm of how much the level varies in dB.
    """
    level_db = 10 * np.log10(total + 1e-10)
    variation_db = float(level_db.std())
    return np.array([_share(steady), _share(gliding), math.log(variation_db + 0.5)])


def pitch_moves(track: PitchTrack) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether the pitch stays, and whether it glides, from each frame to the next: bool ``[shape=(frames - 1,)]``."""
    pitch_st = 12 * np.log2(track.pitch_hz)
    moves_st = np.abs(pitch_st[1:] - pitch_st[:-1])
    voiced = track.voiced
    followed = voiced[1:] & voiced[:-1]
    return followed & (moves_st < STEADY_ST), followed & (moves_st >= STEADY_ST) & (moves_st < LEAP_ST)


def voices(spans_s: Sequence[tuple[float, float]], evidence: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Decide which pieces of a channel are a voice, each in the light of its neighbours.

    The likeliest course of a chain with two states (Viterbi 1967), in which changing costs.

    Parameters
    ----------
    spans_s
        The pieces in order: start and end in seconds.
    evidence
        The evidence of each.

    Returns
    -------
    bool ``[shape=(pieces,)]``.
    """
    if not spans_s:
        return np.zeros(0, dtype=bool)
    starts, ends = np.array(spans_s).T
    gain = np.array(evidence) * np.minimum(ends - starts, FULL_WEIGHT_S)
    change_cost = CHANGE_COST * np.exp(-np.maximum(starts[1:] - ends[:-1], 0) / CHANGE_PAUSE_S)
    voice, other = max(gain[0], 0.0), max(-gain[0], 0.0)
    came_from = []
    for step, cost in zip(gain[1:], change_cost, strict=True):
        came_from.append((voice >= other - cost, voice - cost > other))
        voice, other = max(voice, other - cost) + max(step, 0.0), max(other, voice - cost) + max(-step, 0.0)
    course = [bool(voice >= other)]
    for if_voice, if_other in reversed(came_from):
        course.append(if_voice if course[-1] else if_other)
    return np.array(course[::-1])


def _is_tone(power: PowerSpectra, total: npt.NDArray[np.float32], gliding: npt.NDArray[np.bool_]) -> bool:
    """Whether a few frequencies hold nearly all the power of each frame, and do not glide: ring tones, beeps and DTMF.

    A tone's power lies within two bins on each side of it; two tones, so the ten strongest bins.
    """
    # The silence around a tone, and the frames half in it, say nothing of it.
    audible = total > TONE_AUDIBLE * total.max()
    if np.count_nonzero(gliding & audible[1:]) >= TONE_GLIDES * np.count_nonzero(audible):
        return False
    sounding = power[audible]
    strongest = np.partition(sounding, -TONE_BINS, axis=1)[:, -TONE_BINS:].sum(axis=1)
    return _share(strongest > TONE_POWER * total[audible]) >= TONE_SHARE


def _share(mask: npt.NDArray[np.bool_]) -> float:
    """How much of a mask is true; numpy's mean takes as long as the figures that it is for."""
    return np.count_nonzero(mask) / len(mask)
