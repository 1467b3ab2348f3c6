"""Prosody of sounds whose pitch, level and syllables are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from ser_model.features import FeatureSpec, LogMel
from ser_model.prosody import Prosody, ProsodyExtractor

SPEC = FeatureSpec()
RATE = SPEC.sample_rate_hz


def describe(samples: np.ndarray) -> Prosody:
    extractor = ProsodyExtractor(SPEC)
    power = LogMel(SPEC).power_spectra(samples)
    return extractor(samples, extractor.track(power))


@pytest.mark.parametrize("pitch_hz", [80, 100, 125, 160, 200, 250, 310, 400])
def test_pitch(voice: Callable[..., np.ndarray], pitch_hz: float) -> None:
    prosody = describe(voice(2.0, pitch_hz, intonation_st=0))
    assert prosody.pitch_hz == pytest.approx(pitch_hz, rel=0.02)
    assert prosody.pitch_range_st < 0.7


def test_pitch_in_line_noise(voice: Callable[..., np.ndarray]) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 10 ** (-42 / 20)
    assert describe(voice(2.0, 180, intonation_st=0) + noise).pitch_hz == pytest.approx(180, rel=0.02)


def test_pitch_range_of_a_glide() -> None:
    time_s = np.arange(2 * RATE) / RATE
    pitch_hz = 120 * 2 ** (time_s / 2)  # an octave in two seconds
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
    glide = sum(np.sin(k * phase) / k for k in range(1, 12)).astype(np.float32) * 0.05
    prosody = describe(glide)
    assert prosody.pitch_range_st == pytest.approx(0.8 * 12, abs=0.8)


@pytest.mark.parametrize("level_dbfs", [-40.0, -22.0, -10.0])
def test_loudness(voice: Callable[..., np.ndarray], level_dbfs: float) -> None:
    assert describe(voice(1.5, level_dbfs=level_dbfs)).loudness_dbfs == pytest.approx(level_dbfs, abs=0.05)


@pytest.mark.parametrize("syllables_hz", [2.0, 3.0, 5.0])
def test_speaking_rate(voice: Callable[..., np.ndarray], syllables_hz: float) -> None:
    assert describe(voice(3.0, syllables_hz=syllables_hz)).speaking_rate_hz == pytest.approx(syllables_hz, abs=0.5)


def test_a_whisper_has_no_pitch() -> None:
    prosody = describe(np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.05)
    assert np.isnan(prosody.pitch_hz)
    assert np.isnan(prosody.pitch_range_st)


def test_pitch_and_its_strength_are_those_of_the_whole_autocorrelation(voice: Callable[..., np.ndarray]) -> None:
    samples = voice(2.0, 180, intonation_st=4) + np.random.default_rng(1).normal(0, 0.01, 2 * RATE).astype(np.float32)
    power = LogMel(SPEC).power_spectra(samples)
    extractor = ProsodyExtractor(SPEC)
    track = extractor.track(power)

    window = scipy.signal.get_window("hann", SPEC.window_length)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window)) ** 2, SPEC.window_length)
    correlation = np.fft.irfft(power.astype(np.float64), SPEC.window_length) / of_window
    normalized = correlation / correlation[:, :1]
    lags = np.rint(RATE / track.pitch_hz).astype(int)
    around = np.stack([normalized[np.arange(len(power)), lags + offset] for offset in (-1, 0, 1)])
    np.testing.assert_allclose(track.strength, np.clip(around.max(axis=0), 0, 1), atol=1e-4)

    heard = track.pitch_hz[track.voiced]
    low, middle, high = np.percentile(heard, (10, 50, 90))
    prosody = extractor(samples, track)
    assert prosody.pitch_hz == pytest.approx(middle, rel=1e-5)
    assert prosody.pitch_range_st == pytest.approx(12 * np.log2(high / low), rel=1e-3)
