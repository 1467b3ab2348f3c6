"""How something is said: loudness, pitch, pitch range and speaking rate of a segment; and whether it is a voice at all.

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
MIN_VOICED_SHARE: Final = 0.08
TONE_SHARE: Final = 0.8


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
        self._of_window = (of_window / of_window[0]).astype(np.float32)

    def __call__(self, samples: Samples, power: PowerSpectra) -> tuple[Prosody, bool]:
        """Describe a segment.

        Parameters
        ----------
        samples
            The segment, float32 ``[shape=(n,)]`` at the specification's rate.
        power
            Its power spectra as `LogMel.power_spectra` gives them, float32 ``[shape=(frames, bins)]``.

        Returns
        -------
        Its prosody, and whether it is a voice: neither noise, which is nowhere periodic, nor a tone, which stays.
        """
        pitch_hz, strength = self.track(power)
        voiced = strength >= VOICED_STRENGTH
        heard = pitch_hz[voiced]
        enough = len(heard) >= MIN_VOICED_FRAMES
        low, middle, high = np.percentile(heard, (10, 50, 90)) if enough else (np.nan, np.nan, np.nan)
        prosody = Prosody(
            loudness_dbfs=float(10 * np.log10(np.mean(np.square(samples), dtype=np.float64) + 1e-12)),
            pitch_hz=float(middle),
            pitch_range_st=float(12 * np.log2(high / low)) if enough else np.nan,
            speaking_rate_hz=self._nuclei(power, voiced) / (len(samples) / self.spec.sample_rate_hz),
        )
        return prosody, bool(voiced.mean() >= MIN_VOICED_SHARE) and not _is_tone(power)

    def track(self, power: PowerSpectra) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Follow the pitch.

        Parameters
        ----------
        power
            float32 ``[shape=(frames, bins)]``.

        Returns
        -------
        Of each frame the likeliest pitch in Hz and its strength, 0 to 1: both float32 ``[shape=(frames,)]``.
        """
        lags = np.arange(self._min_lag, self._max_lag)
        correlation = scipy.fft.irfft(power, n=self.spec.window_length, axis=1)[:, : self._max_lag + 1]
        at_zero = np.maximum(correlation[:, :1], np.float32(1e-12))
        normalized = correlation / at_zero / self._of_window[: self._max_lag + 1]
        scored = normalized[:, lags] - np.float32(OCTAVE_COST) * np.log2(lags / self._min_lag).astype(np.float32)
        # Only a local maximum is a period: the slope down from lag zero is not.
        rises = normalized[:, lags] >= normalized[:, lags - 1]
        falls = normalized[:, lags] >= normalized[:, lags + 1]
        best = np.argmax(np.where(rises & falls, scored, np.float32(-1)), axis=1)
        rows = np.arange(len(power))
        lag = lags[best]
        before, at, after = (normalized[rows, lag + offset] for offset in (-1, 0, 1))
        # The vertex of the parabola through three points places the maximum between the lags.
        curvature = before - 2 * at + after
        shift = np.where(curvature < -1e-6, 0.5 * (before - after) / np.minimum(curvature, -1e-6), 0.0)
        pitch_hz = self.spec.sample_rate_hz / (lag + np.clip(shift, -0.5, 0.5))
        return pitch_hz.astype(np.float32), np.clip(at, 0, 1).astype(np.float32)

    def _nuclei(self, power: PowerSpectra, voiced: npt.NDArray[np.bool_]) -> int:
        """Count syllable nuclei: voiced peaks of intensity with a dip between them."""
        intensity_db = 10 * np.log10(power.sum(axis=1) + 1e-10)
        audible = intensity_db.max() - 25
        # A margin lets a peak at the segment's edge count.
        padded = np.pad(intensity_db, 1, constant_values=intensity_db.min() - NUCLEUS_DIP_DB)
        peaks, _ = find_peaks(padded, height=audible, prominence=NUCLEUS_DIP_DB)
        return int(voiced[peaks - 1].sum())


def _is_tone(power: PowerSpectra) -> bool:
    """Whether the same few frequencies hold nearly all the power throughout, as in ring tones, beeps and DTMF.

    A tone's power lies within two bins on each side of it; two tones, so the ten strongest bins.
    """
    strongest = np.argsort(power.mean(axis=0))[-10:]
    held = power[:, strongest].sum(axis=1) / np.maximum(power.sum(axis=1), 1e-12)
    return bool(np.mean(held > 0.97) >= TONE_SHARE)
