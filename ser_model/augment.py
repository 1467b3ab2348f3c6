"""What training does to a clip before the network hears it: a telephone line, another voice, another room.

A clip becomes a segment as the pipeline cuts them (0.5 to 3 s), spoken a little faster or slower, over a line
of its own equalisation, noise, level and mu-law coding. Works on samples and log-mel spectrograms in numpy;
knows nothing of networks or corpora.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from ser_model.features import LogMel, LogMelDb, QuantizedLogMel, Samples, quantize


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each change goes; a share is the part of the segments that undergo it.

    Attributes
    ----------
    longest_s, shortest_s
        Length of segments.
    crop_share
        Cut to a random length between `shortest_s` and the whole.
    speed
        Fastest change of speed (and, with it, of pitch), as a part of 1.
    equalizer_db
        Gain of the line's bands, at most, either way.
    highpass_hz, lowpass_hz
        Highest lower and lowest upper limit of the line.
    noise_share, snr_db
        Environmental noise, and its range of signal-to-noise ratios.
    level_dbfs
        Range of levels (root mean square).
    mu_law_share
        Coded by G.711 mu-law and back.
    warp
        Largest change of the frequency axis (the length of the vocal tract), as a part of 1.
    band_mask, frame_mask
        Widest stripes of bands and of frames that are silenced (SpecAugment, Park et al. 2019); two of each.
    """

    longest_s: float = 3.0
    shortest_s: float = 0.5
    crop_share: float = 0.4
    speed: float = 0.12
    equalizer_db: float = 6.0
    highpass_hz: float = 300.0
    lowpass_hz: float = 3300.0
    noise_share: float = 0.3
    snr_db: tuple[float, float] = (5.0, 30.0)
    level_dbfs: tuple[float, float] = (-48.0, -14.0)
    mu_law_share: float = 0.7
    warp: float = 0.1
    band_mask: int = 8
    frame_mask: int = 24


class Augmenter:
    """Makes segments of clips. Every choice comes from the generator given, so a seed repeats a segment.

    Not to be shared by threads.

    Parameters
    ----------
    config
        How far each change goes.
    log_mel
        What the network hears, and its rate.
    noises
        Environmental noise at that rate, float32 ``[shape=(n,)]`` each; none switches noise off.
    """

    def __init__(self, config: AugmentConfig, log_mel: LogMel, noises: Sequence[Samples]) -> None:
        self._config = config
        self._log_mel = log_mel
        self._rate_hz = log_mel.spec.sample_rate_hz
        self._noises = noises

    def piece(self, n_samples: int, random: np.random.Generator) -> slice:
        """Return which part of a clip of so many samples becomes a segment."""
        config = self._config
        length = min(n_samples, int(config.longest_s * self._rate_hz))
        shortest = int(config.shortest_s * self._rate_hz)
        if length > shortest and random.random() < config.crop_share:
            length = int(random.integers(shortest, length + 1))
        start = int(random.integers(n_samples - length + 1))
        return slice(start, start + length)

    def __call__(self, samples: Samples, random: np.random.Generator) -> QuantizedLogMel:
        """Return a segment as the network will hear it.

        Parameters
        ----------
        samples
            The `piece` of a clip, float32 ``[shape=(n,)]``.
        random
            Where the choices come from.

        Returns
        -------
        uint8 ``[shape=(frames, n_mels)]``; at least one frame.
        """
        config = self._config
        segment = self._change_speed(samples, random)
        segment = self._equalize(segment, random)
        if self._noises and random.random() < config.noise_share:
            noise = self._noises[int(random.integers(len(self._noises)))]
            segment = add_noise(segment, noise, random.uniform(*config.snr_db), random)
        segment = set_level(segment, random.uniform(*config.level_dbfs))
        if random.random() < config.mu_law_share:
            segment = mu_law_round_trip(segment)
        decibels = self._warp(self._log_mel(segment), random)
        self._mask(decibels, random)
        return quantize(decibels, self._log_mel.spec)

    def _change_speed(self, samples: Samples, random: np.random.Generator) -> Samples:
        import soxr

        speed = 1 + random.uniform(-self._config.speed, self._config.speed)
        changed = soxr.resample(samples, self._rate_hz, self._rate_hz / speed, quality="LQ")
        return np.ascontiguousarray(changed, dtype=np.float32)

    def _equalize(self, samples: Samples, random: np.random.Generator) -> Samples:
        config, nyquist_hz = self._config, self._rate_hz / 2
        corners_hz = np.concatenate(([0.0], np.sort(random.uniform(100, nyquist_hz, 6)), [nyquist_hz]))
        gains_db = random.uniform(-config.equalizer_db, config.equalizer_db, len(corners_hz))
        # Of a length with small factors: of a prime length a transform takes ten times as long.
        n = scipy.fft.next_fast_len(len(samples), real=True)
        spectrum = scipy.fft.rfft(samples, n)
        frequencies_hz = scipy.fft.rfftfreq(n, 1 / self._rate_hz)
        response_db = np.interp(frequencies_hz, corners_hz, gains_db)
        # Beyond the limits of the line 24 dB an octave, the slope of an ordinary telephone filter.
        highpass_hz = random.uniform(20, config.highpass_hz)
        lowpass_hz = random.uniform(config.lowpass_hz, nyquist_hz)
        response_db += 24 * np.minimum(0, np.log2(np.maximum(frequencies_hz, 1) / highpass_hz))
        response_db -= 24 * np.maximum(0, np.log2(np.maximum(frequencies_hz, 1) / lowpass_hz))
        gains = (10 ** (response_db / 20)).astype(np.float32)
        equalized: Samples = scipy.fft.irfft(spectrum * gains, n)[: len(samples)]
        return equalized

    def _warp(self, log_mel: LogMelDb, random: np.random.Generator) -> LogMelDb:
        """Stretch or shrink the frequency axis about its lower end."""
        n_bands = log_mel.shape[1]
        factor = 1 + random.uniform(-self._config.warp, self._config.warp)
        places = np.minimum(np.arange(n_bands) * factor, n_bands - 1)
        below = np.minimum(places.astype(np.intp), n_bands - 2)
        part = (places - below).astype(np.float32)
        return log_mel[:, below] * (1 - part) + log_mel[:, below + 1] * part

    def _mask(self, log_mel: LogMelDb, random: np.random.Generator) -> None:
        """Silence stripes of bands and frames, in place; never more than a third of the frames."""
        n_frames, n_bands = log_mel.shape
        silence = self._log_mel.spec.min_db
        for _ in range(2):
            width = int(random.integers(self._config.band_mask + 1))
            start = int(random.integers(n_bands - width + 1))
            log_mel[:, start : start + width] = silence
            width = int(random.integers(min(self._config.frame_mask, n_frames // 6) + 1))
            start = int(random.integers(n_frames - width + 1))
            log_mel[start : start + width] = silence


_SILENCE_POWER: Final = 1e-12


def set_level(samples: Samples, level_dbfs: float) -> Samples:
    """Bring samples to a level (root mean square, dB of full scale), clipped at full scale; silence stays."""
    power = float(np.square(samples).mean())
    if power < _SILENCE_POWER:
        return samples
    return np.clip(samples * np.float32(10 ** (level_dbfs / 20) / np.sqrt(power)), -1, 1).astype(np.float32)


def add_noise(samples: Samples, noise: Samples, snr_db: float, random: np.random.Generator) -> Samples:
    """Add noise from a random place on, repeated where it is too short, at a signal-to-noise ratio in dB."""
    start = int(random.integers(len(noise)))
    piece = np.take(noise, np.arange(start, start + len(samples)), mode="wrap")
    noise_power = max(float(np.square(piece).mean()), _SILENCE_POWER)
    gain = np.sqrt(float(np.square(samples).mean()) / noise_power) * 10 ** (-snr_db / 20)
    return samples + piece * np.float32(gain)


def mu_law_round_trip(samples: Samples) -> Samples:
    """Code samples by G.711 mu-law and decode them, as a telephone network does; float32 of the same shape."""
    steps = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int32)
    return _mu_law_table()[steps + 32768]


@cache
def _mu_law_table() -> npt.NDArray[np.float32]:
    """Return what each 16-bit sample becomes (ITU-T G.711, table 2)."""
    steps = np.arange(-32768, 32768)
    bias, largest = 132, 32635
    magnitudes = np.minimum(np.abs(steps), largest) + bias
    segments = np.floor(np.log2(magnitudes)).astype(np.int64) - 7
    mantissas = (magnitudes >> (segments + 3)) & 0xF
    decoded = (((mantissas << 3) + bias) << segments) - bias
    return (np.where(steps < 0, -decoded, decoded) / 32768).astype(np.float32)
