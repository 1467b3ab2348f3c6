"""How something is said: loudness, pitch, pitch range and speaking rate of a segment.

Pitch comes from the power spectra that the log-mel needs anyway: their inverse transform is the autocorrelation.
Few of its lags are needed, so it is a product with a matrix of cosines, which takes less time than a transform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.signal import find_peaks

from ser_model.features import FeatureSpec, PowerSpectra, Samples, hann_window

MIN_PITCH_HZ: Final = 70.0
MAX_PITCH_HZ: Final = 450.0
VOICED_STRENGTH: Final = 0.5
"""A frame is voiced where its normalised autocorrelation at the pitch lag is at least this (1: periodic)."""
OCTAVE_COST: Final = 0.03
"""What a lag an octave longer must be stronger by to be preferred (Boersma 1993)."""
MIN_VOICED_FRAMES: Final = 4
NUCLEUS_DIP_DB: Final = 2.0
"""Two syllables are told apart by a dip of at least this between their peaks (De Jong and Wempe 2009)."""


@dataclass(frozen=True)
class PitchTrack:
    """The pitch of consecutive frames.

    Attributes
    ----------
    pitch_hz
        The likeliest pitch of each frame, float32 ``[shape=(frames,)]``.
    strength
        How periodic the frame is at it, 0 to 1, float32 ``[shape=(frames,)]``.
    power
        The sum of the frame's power spectrum, float32 ``[shape=(frames,)]``.
    """

    pitch_hz: npt.NDArray[np.float32]
    strength: npt.NDArray[np.float32]
    power: npt.NDArray[np.float32]

    @property
    def voiced(self) -> npt.NDArray[np.bool_]:
        """Which frames have a pitch, bool ``[shape=(frames,)]``."""
        voiced: npt.NDArray[np.bool_] = self.strength >= VOICED_STRENGTH
        return voiced


@dataclass(frozen=True)
class Prosody:
    """The prosody of a segment; NaN where it cannot be told, as the pitch of a whisper.

    Attributes
    ----------
    loudness_dbfs
        Root mean square of the samples; 0 is a full-scale square wave.
    pitch_hz
        Median fundamental frequency of the voiced frames.
    pitch_range_st
        From the 10th to the 90th percentile of the voiced frames' pitch, in semitones.
    speaking_rate_hz
        Syllable nuclei a second.
    """

    loudness_dbfs: float
    pitch_hz: float
    pitch_range_st: float
    speaking_rate_hz: float


class ProsodyExtractor:
    """Computes the prosody of segments; its tables are made once.

    Parameters
    ----------
    spec
        The frames and rate of the power spectra.

    Attributes
    ----------
    n_lags
        Lags of the autocorrelation that are computed.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._min_lag = int(spec.sample_rate_hz / MAX_PITCH_HZ)
        self._max_lag = int(np.ceil(spec.sample_rate_hz / MIN_PITCH_HZ)) + 1
        lags = np.arange(self._min_lag - 1, self._max_lag + 1)
        self.n_lags = len(lags)
        bins = np.arange(spec.n_bins)
        # The spectrum's other half is the mirror of this one, but for the bins at 0 and at half the rate.
        mirrored = np.where((bins == 0) | (2 * bins == spec.window_length), 1, 2) / spec.window_length
        cosines = mirrored[:, None] * np.cos(2 * np.pi / spec.window_length * np.outer(bins, lags))
        # Dividing by the window's own autocorrelation undoes its taper (Boersma 1993, IFA Proceedings 17).
        of_window = scipy.fft.irfft(np.square(np.abs(scipy.fft.rfft(hann_window(spec)))), n=spec.window_length)
        self._cosines = (cosines * (of_window[0] / of_window[lags])).astype(np.float32)
        self._at_zero = mirrored.astype(np.float32)
        # Less 1, so that what is no maximum can be set to 0, below all that is one.
        self._cost = (OCTAVE_COST * np.log2(lags[1:-1] / self._min_lag) - 1).astype(np.float32)

    def __call__(self, samples: Samples, track: PitchTrack) -> Prosody:
        """Describe a segment.

        Parameters
        ----------
        samples
            The segment, float32 ``[shape=(n,)]`` at the specification's rate.
        track
            Its pitch, as `track` gives it of its power spectra.
        """
        voiced = track.voiced
        heard = np.sort(track.pitch_hz[voiced])
        enough = len(heard) >= MIN_VOICED_FRAMES
        low, middle, high = (_quantile(heard, share) if enough else math.nan for share in (0.1, 0.5, 0.9))
        return Prosody(
            loudness_dbfs=10 * math.log10(float(np.dot(samples, samples)) / len(samples) + 1e-12),
            pitch_hz=middle,
            pitch_range_st=12 * math.log2(high / low) if enough else math.nan,
            speaking_rate_hz=self._nuclei(track.power, voiced) / (len(samples) / self.spec.sample_rate_hz),
        )

    def track(self, power: PowerSpectra) -> PitchTrack:
        """Follow the pitch.

        Parameters
        ----------
        power
            Power spectra, float32 ``[shape=(frames, bins)]``.
        """
        correlation = power @ self._cosines
        correlation *= (1 / np.maximum(power @ self._at_zero, np.float32(1e-12)))[:, None]
        at = correlation[:, 1:-1]
        # Only a local maximum is a period: the slope down from lag zero is not.
        merit = at - self._cost
        merit *= (at >= correlation[:, :-2]) & (at >= correlation[:, 2:])
        best = merit.argmax(axis=1)
        rows = np.arange(len(power))
        before, at, after = (correlation[rows, best + offset] for offset in range(3))
        # The vertex of the parabola through three points places the maximum between the lags.
        curvature = before - 2 * at + after
        shift = np.where(curvature < -1e-6, 0.5 * (before - after) / np.minimum(curvature, -1e-6), 0.0)
        pitch_hz = self.spec.sample_rate_hz / (self._min_lag + best + np.clip(shift, -0.5, 0.5))
        return PitchTrack(pitch_hz.astype(np.float32), np.clip(at, 0, 1).astype(np.float32), power.sum(axis=1))

    def _nuclei(self, power: npt.NDArray[np.float32], voiced: npt.NDArray[np.bool_]) -> int:
        """Count syllable nuclei: voiced peaks of the frames' power with a dip between them."""
        intensity_db = 10 * np.log10(power + 1e-10)
        audible = intensity_db.max() - 25
        # A margin lets a peak at the segment's edge count.
        margin = [intensity_db.min() - NUCLEUS_DIP_DB]
        padded = np.concatenate((margin, intensity_db, margin))
        peaks, _ = find_peaks(padded, height=audible, prominence=NUCLEUS_DIP_DB)
        return int(voiced[peaks - 1].sum())


def _quantile(ordered: npt.NDArray[np.float32], share: float) -> float:
    """The quantile of ordered values, as `numpy.quantile` has it, which takes longer than the rest of a segment."""
    place = share * (len(ordered) - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (place - below) * (high - low)
