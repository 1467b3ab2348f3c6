"""Augmentation: the telephone is the real one, and every choice comes from the seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.augment import AugmentConfig, Augmenter, add_noise, mu_law_round_trip, set_level
from ser_model.features import FeatureSpec, LogMel, quantize

SPEC = FeatureSpec()
RATE_HZ = SPEC.sample_rate_hz
# Nothing happens to the samples but what a test switches on.
NOTHING = AugmentConfig(
    crop_share=0,
    speed=0,
    equalizer_db=0,
    highpass_hz=20.001,
    lowpass_hz=3999.999,
    noise_share=0,
    level_dbfs=(-20, -20),
    mu_law_share=0,
    warp=0,
    band_mask=0,
    frame_mask=0,
)


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def augmenter(noises: list[np.ndarray] | None = None, **changes: object) -> Augmenter:
    return Augmenter(replace(NOTHING, **changes), LogMel(SPEC), noises or [])  # type: ignore[arg-type]


def segment_of(augment: Augmenter, clip: np.ndarray, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return augment(clip[augment.piece(len(clip), random)], random)


def level_dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


def test_mu_law_is_libsndfiles(tmp_path: Path) -> None:
    every_step = np.arange(-32768, 32768).astype(np.int16)
    path = tmp_path / "coded.wav"
    soundfile.write(path, every_step, RATE_HZ, subtype="ULAW")
    coded = mu_law_round_trip((every_step / 32768).astype(np.float32))
    np.testing.assert_array_equal(coded, soundfile.read(path, dtype="float32")[0])


def test_mu_law_takes_what_is_beyond_full_scale() -> None:
    coded = mu_law_round_trip(np.array([-2, 2], np.float32))
    np.testing.assert_allclose(coded, [-0.98, 0.98], atol=0.01)


def test_without_any_change_the_features_are_the_pipelines() -> None:
    samples = set_level(speechlike(1.5), -20)
    result = segment_of(augmenter(), samples).astype(int)
    expected = quantize(LogMel(SPEC)(samples), SPEC).astype(int)
    assert result.shape == expected.shape
    # Below 50 Hz the line's limit takes a little.
    assert np.abs(result - expected)[:, 1:].max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_as_long_as_the_pipelines(seed: int) -> None:
    config = AugmentConfig()
    longest = SPEC.n_frames(int(config.longest_s * RATE_HZ / (1 - config.speed)) + 1)
    shortest = SPEC.n_frames(int(config.shortest_s * RATE_HZ / (1 + config.speed)) - 1)
    for seconds in (0.6, 2.0, 4.5):
        segment = segment_of(Augmenter(config, LogMel(SPEC), []), speechlike(seconds), seed)
        assert segment.dtype == np.uint8
        assert shortest <= len(segment) <= longest


def test_a_seed_repeats_a_segment_and_another_does_not() -> None:
    make = Augmenter(AugmentConfig(), LogMel(SPEC), [speechlike(1, seed=9)])
    clip = speechlike(2)
    first, again, other = (segment_of(make, clip, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_the_clip_itself_is_not_changed() -> None:
    clip = speechlike(2)
    kept = clip.copy()
    Augmenter(AugmentConfig(), LogMel(SPEC), [speechlike(1, seed=9)])(clip, np.random.default_rng(0))
    np.testing.assert_array_equal(clip, kept)


@pytest.mark.parametrize("change", [{"crop_share": 1.0}, {"speed": 0.12}], ids=["crop", "speed"])
def test_changes_of_length(change: dict[str, float]) -> None:
    lengths = {len(segment_of(augmenter(**change), speechlike(2), seed)) for seed in range(10)}
    assert len(lengths) > 5


@pytest.mark.parametrize(
    "change",
    [
        {"equalizer_db": 6.0},
        {"highpass_hz": 300.0},
        {"lowpass_hz": 2000.0},
        {"noise_share": 1.0, "snr_db": (5, 5)},
        {"level_dbfs": (-40, -30)},
        {"mu_law_share": 1.0},
        {"warp": 0.1},
        {"band_mask": 8},
        {"frame_mask": 24},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_change_is_heard(change: dict[str, object]) -> None:
    """A voice-like sound: loud below 1 kHz, 60 dB less above, where a line's noise is heard."""
    spectrum = np.fft.rfft(speechlike(1.5))
    spectrum[1500:] *= 1e-3
    samples = np.fft.irfft(spectrum).astype(np.float32)
    noises = [speechlike(1, seed=9)]
    differences = []
    for seed in range(4):
        unchanged = segment_of(augmenter(noises), samples, seed)
        changed = segment_of(augmenter(noises, **change), samples, seed)
        differences.append(np.abs(unchanged.astype(int) - changed.astype(int)).max())
    assert max(differences) > 5


def test_masks_leave_most_of_a_short_segment() -> None:
    for seed in range(20):
        segment = segment_of(augmenter(frame_mask=24, band_mask=8), speechlike(0.5), seed)
        assert (segment.max(axis=1) == 0).mean() <= 1 / 3
        assert (segment.max(axis=0) == 0).mean() <= 1 / 4


@pytest.mark.parametrize("snr_db", [-5, 0, 20])
@pytest.mark.parametrize("noise_s", [0.3, 5.0])
def test_noise_comes_at_its_ratio(snr_db: float, noise_s: float) -> None:
    speech = speechlike(2)
    noise = 7 * speechlike(noise_s, seed=1)
    added = add_noise(speech, noise, snr_db, np.random.default_rng(0)) - speech
    assert level_dbfs(speech) - level_dbfs(added) == pytest.approx(snr_db, abs=0.01)


def test_silent_noise_adds_nothing() -> None:
    speech = speechlike(1)
    added = add_noise(speech, np.zeros(100, np.float32), 5, np.random.default_rng(0))
    np.testing.assert_array_equal(added, speech)


@pytest.mark.parametrize("wanted_dbfs", [-48, -20])
def test_level_is_set(wanted_dbfs: float) -> None:
    assert level_dbfs(set_level(speechlike(1), wanted_dbfs)) == pytest.approx(wanted_dbfs, abs=0.01)


def test_level_clips_at_full_scale_and_leaves_silence() -> None:
    assert np.abs(set_level(speechlike(1), 6)).max() == 1
    assert not set_level(np.zeros(100, np.float32), -20).any()
