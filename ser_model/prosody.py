"""How something is said: loudness, pitch, pitch range and speaking rate of a segment.

Pitch comes from the power spectra that the log-mel needs anyway: their inverse transform is the autocorrelation.
"""

from __future__ import annotations

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
    """

    pitch_hz: npt.NDArray[np.float32]
    strength: npt.NDArray[np.float32]

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
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._min_lag = int(spec.sample_rate_hz / MAX_PITCH_HZ)
        self._max_lag = int(np.ceil(spec.sample_rate_hz / MIN_PITCH_HZ)) + 1
        # Dividing by the window's own autocorrelation undoes its taper (Boersma 1993, IFA Proceedings 17).
        window = hann_window(spec)
        of_window = scipy.fft.irfft(np.square(np.abs(scipy.fft.rfft(window))), n=spec.window_length)
        self._untaper = (of_window[0] / of_window[: self._max_lag + 1]).astype(np.float32)
        lags = np.arange(self._min_lag, self._max_lag)
        self._cost = (OCTAVE_COST * np.log2(lags / self._min_lag)).astype(np.float32)

    def __call__(self, samples: Samples, power: PowerSpectra, track: PitchTrack) -> Prosody:
        """Describe a segment.

        Parameters
        ----------
        samples
            The segment, float32 ``[shape=(n,)]`` at the specification's rate.
        power
            Its power spectra as `LogMel.power_spectra` gives them, float32 ``[shape=(frames, bins)]``.
        track
            Its pitch in these frames.
        """
        heard = track.pitch_hz[track.voiced]
        enough = len(heard) >= MIN_VOICED_FRAMES
        low, middle, high = np.percentile(heard, (10, 50, 90)) if enough else (np.nan, np.nan, np.nan)
        return Prosody(
            loudness_dbfs=float(10 * np.log10(np.mean(np.square(samples), dtype=np.float64) + 1e-12)),
            pitch_hz=float(middle),
            pitch_range_st=float(12 * np.log2(high / low)) if enough else np.nan,
            speaking_rate_hz=self._nuclei(power, track.voiced) / (len(samples) / self.spec.sample_rate_hz),
        )

    def track(self, power: PowerSpectra) -> PitchTrack:
        """Follow the pitch.

        Parameters
        ----------
        power
            Power spectra, float32 ``[shape=(frames, bins)]``.
        """
        first, end = self._min_lag, self._max_lag
        correlation = scipy.fft.irfft(power, n=self.spec.window_length, axis=1)[:, : end + 1]
        normalized = correlation * self._untaper
        normalized /= np.maximum(correlation[:, :1], np.float32(1e-12))
        before, at, after = (normalized[:, first + offset : end + offset] for offset in (-1, 0, 1))
        # Only a local maximum is a period: the slope down from lag zero is not.
        maxima = (at >= before) & (at >= after)
        best = np.argmax(np.where(maxima, at - self._cost, np.float32(-1)), axis=1)
        rows = np.arange(len(power))
        before, at, after = before[rows, best], at[rows, best], after[rows, best]
        # The vertex of the parabola through three points places the maximum between the lags.
        curvature = before - 2 * at + after
        shift = np.where(curvature < -1e-6, 0.5 * (before - after) / np.minimum(curvature, -1e-6), 0.0)
        pitch_hz = self.spec.sample_rate_hz / (first + best + np.clip(shift, -0.5, 0.5))
        return PitchTrack(pitch_hz.astype(np.float32), np.clip(at, 0, 1).astype(np.float32))

    def _nuclei(self, power: PowerSpectra, voiced: npt.NDArray[np.bool_]) -> int:
        """Count syllable nuclei: voiced peaks of intensity with a dip between them."""
        intensity_db = 10 * np.log10(power.sum(axis=1) + 1e-10)
        audible = intensity_db.max() - 25
        # A margin lets a peak at the segment's edge count.
        padded = np.pad(intensity_db, 1, constant_values=intensity_db.min() - NUCLEUS_DIP_DB)
        peaks, _ = find_peaks(padded, height=audible, prominence=NUCLEUS_DIP_DB)
        return int(voiced[peaks - 1].sum())
