"""The log-mel spectrogram: the fast path equals librosa's, in blocks, and the specification has one hash."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_model.errors import FeatureSpecError, SamplesError
from ser_model.features import (
    FeatureSpec,
    InputSpec,
    LogMel,
    WaveformSpec,
    analysis_spec,
    dequantize,
    mel_filters,
    model_input,
    padded_length,
    quantize,
    reference_log_mel,
)

SPEC = FeatureSpec()
RATE_HZ = SPEC.sample_rate_hz
QUANTIZER_STEP_DB = 100 / 255


def noise(n_samples: int, level: float, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def sine(frequency_hz: float, amplitude: float = 1.0, duration_s: float = 1.0) -> np.ndarray:
    times_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


SIGNALS = {
    "noise": noise(40_000, 0.1),
    "noise near the floor": noise(40_000, 3e-5),
    "two blocks and a frame": noise(SPEC.window_length + 512 * SPEC.hop_length, 0.1),
    "exactly one window": noise(SPEC.window_length, 0.1),
    "silence": np.zeros(8000, dtype=np.float32),
    "tone on a bin": sine(1000),
    "tone between bins": sine(437.3, 0.5),
    "loud and faint tone": sine(301) + sine(3017, 1e-4),
    "chirp in noise": sine(700) * np.linspace(0, 1, 8000, dtype=np.float32) + noise(8000, 1e-3),
    "clipped": np.clip(3 * sine(220), -1, 1),
    "one click": np.eye(1, 8000, 4000, dtype=np.float32)[0],
}


def assert_equals_reference(samples: np.ndarray, spec: FeatureSpec = SPEC) -> None:
    """Compare with the reference in double precision.

    Within 1e-4 dB for the bands up to 40 dB under the frame's loudest. Below, single precision itself (a
    rounding of 1e-7 of the loudest amplitude) is the limit: there the difference is under a tenth of a
    quantiser step.
    """
    fast, reference = LogMel(spec)(samples), reference_log_mel(samples, spec)
    assert fast.dtype == reference.dtype == np.float32
    assert fast.shape == reference.shape == (spec.n_frames(len(samples)), spec.n_mels)
    difference_db = np.abs(fast - reference)
    audible = reference >= reference.max(axis=1, keepdims=True) - 40
    assert audible.any()
    assert difference_db[audible].max() <= 1e-4
    assert difference_db.max() <= QUANTIZER_STEP_DB / 10


@pytest.mark.parametrize("name", SIGNALS)
def test_fast_path_equals_librosa(name: str) -> None:
    assert_equals_reference(SIGNALS[name])


@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(sample_rate_hz=16000, window_length=640, hop_length=160, n_mels=40, f_max_hz=8000),
        FeatureSpec(window_length=256, hop_length=80, f_min_hz=0, f_max_hz=3400, n_mels=32),
        FeatureSpec(min_db=-80, max_db=-20),
    ],
)
def test_fast_path_equals_librosa_for_other_specifications(spec: FeatureSpec) -> None:
    assert_equals_reference(noise(20_000, 0.1), spec)


@pytest.mark.shared
@pytest.mark.parametrize("clip", ["03-01-05-02-01-01-01.flac", "03-01-06-01-02-02-01.flac"])
def test_fast_path_equals_librosa_on_speech(shared_dir: Path, clip: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    samples, rate_hz = soundfile.read(shared_dir / "corpora" / "ravdess" / "Actor_01" / clip, dtype="float32")
    assert_equals_reference(samples, replace(SPEC, sample_rate_hz=rate_hz, window_length=800, hop_length=256))


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        FeatureSpec(sample_rate_hz=16000, window_length=512, hop_length=160, n_mels=80, f_min_hz=0, f_max_hz=7600),
    ],
)
def test_mel_filters_are_librosas(spec: FeatureSpec) -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.window_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min_hz,
        fmax=spec.f_max_hz,
        norm=None,
    )
    np.testing.assert_allclose(mel_filters(spec), expected, rtol=0, atol=1e-7)
    assert (mel_filters(spec).sum(axis=1) > 0).all(), "a band without a bin would be deaf"


@pytest.mark.parametrize(("amplitude", "level_db"), [(1.0, 0.0), (0.1, -20.0), (0.001, -60.0)])
def test_a_sine_reads_its_level(amplitude: float, level_db: float) -> None:
    assert LogMel(SPEC)(sine(1000, amplitude)).max() == pytest.approx(level_db, abs=2)


def test_a_sine_is_loudest_in_its_band() -> None:
    filters = mel_filters(SPEC)
    bin_of_1_khz = round(1000 * SPEC.window_length / RATE_HZ)
    assert set(LogMel(SPEC)(sine(1000)).argmax(axis=1)) == {filters[:, bin_of_1_khz].argmax()}


def test_silence_reads_the_floor() -> None:
    np.testing.assert_array_equal(LogMel(SPEC)(np.zeros(8000, np.float32)), np.full((60, 64), -100, np.float32))


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(0, 0), (399, 0), (400, 1), (527, 1), (528, 2), (8000, 60), (24_000, 185)]
)
def test_number_of_frames(n_samples: int, n_frames: int) -> None:
    assert SPEC.n_frames(n_samples) == n_frames
    assert LogMel(SPEC)(np.zeros(n_samples, np.float32)).shape == (n_frames, 64)
    assert reference_log_mel(np.zeros(n_samples, np.float32), SPEC).shape == (n_frames, 64)


def test_from_power_of_power_spectra_is_the_same_to_the_bit() -> None:
    log_mel = LogMel(SPEC)
    power = log_mel.power_spectra(SIGNALS["noise"])
    assert power.shape == (SPEC.n_frames(40_000), SPEC.n_bins)
    np.testing.assert_array_equal(log_mel.from_power(power), log_mel(SIGNALS["noise"]))


def test_power_of_a_full_scale_sine_is_one_in_its_bin() -> None:
    assert LogMel(SPEC).power_spectra(sine(1000))[:, 50] == pytest.approx(1, abs=1e-5)


def test_a_later_call_does_not_change_an_earlier_result() -> None:
    log_mel = LogMel(SPEC)
    first = log_mel(SIGNALS["noise"])
    kept = first.copy()
    log_mel(SIGNALS["tone on a bin"])
    np.testing.assert_array_equal(first, kept)


def test_memory_is_bounded() -> None:
    """Ten minutes: all frames at once would take 60 MB, the result itself takes 9.6 MB."""
    samples = noise(600 * RATE_HZ, 0.1)
    log_mel = LogMel(SPEC)
    tracemalloc.start()
    try:
        result = log_mel(samples)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes - result.nbytes < 2e6


@pytest.mark.parametrize(
    "samples",
    [np.zeros(800), np.zeros(800, np.int16), np.zeros((2, 800), np.float32), np.zeros((800, 1), np.float32)],
)
def test_samples_of_another_kind_are_refused(samples: np.ndarray) -> None:
    for compute in (LogMel(SPEC), LogMel(SPEC).power_spectra, lambda s: reference_log_mel(s, SPEC)):
        with pytest.raises(SamplesError, match="expected float32 of one dimension"):
            compute(samples)


def test_quantizing_is_off_by_half_a_step_at_most() -> None:
    log_mel = np.linspace(-100, 0, 64_000, dtype=np.float32).reshape(-1, 64)
    quantized = quantize(log_mel, SPEC)
    assert quantized.dtype == np.uint8
    assert (quantized.min(), quantized.max()) == (0, 255)
    assert np.abs(dequantize(quantized, SPEC) - log_mel).max() <= QUANTIZER_STEP_DB / 2 + 1e-4


def test_quantizing_what_was_dequantized_changes_nothing() -> None:
    steps = np.arange(256, dtype=np.uint8).reshape(4, 64)
    np.testing.assert_array_equal(quantize(dequantize(steps, SPEC), SPEC), steps)


@pytest.mark.parametrize(("value_db", "step"), [(-150.0, 0), (-100.0, 0), (0.0, 255), (6.0, 255)])
def test_quantizing_clips(value_db: float, step: int) -> None:
    assert quantize(np.full((1, 64), value_db, np.float32), SPEC)[0, 0] == step


@pytest.mark.parametrize(("n_frames", "padded"), [(0, 16), (1, 16), (16, 16), (17, 32), (185, 192)])
def test_padded_length(n_frames: int, padded: int) -> None:
    assert padded_length(n_frames, SPEC) == padded


def test_hash_is_fixed() -> None:
    """The default specification's hash is in shipped models: a change here breaks them."""
    assert SPEC.hash == "0f9a8552fdfeea31"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate_hz", 16000),
        ("window_length", 256),
        ("hop_length", 80),
        ("n_mels", 40),
        ("f_min_hz", 0.0),
        ("f_max_hz", 3400.0),
        ("min_db", -80.0),
        ("max_db", 10.0),
        ("pad_frames", 8),
    ],
)
def test_hash_changes_with_every_number(name: str, value: float) -> None:
    assert replace(SPEC, **{name: value}).hash != SPEC.hash


def test_hash_does_not_depend_on_how_a_number_is_written() -> None:
    assert FeatureSpec.from_dict({**SPEC.to_dict(), "f_min_hz": 50, "n_mels": 64.0}).hash == SPEC.hash
    assert FeatureSpec(f_min_hz=50).hash == SPEC.hash


def test_dictionary_round_trip() -> None:
    spec = FeatureSpec(n_mels=40, f_max_hz=3800.0)
    assert FeatureSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_mels": None}, "n_mels is None"),
        ({"n_mels": 40.5}, "n_mels is 40.5"),
        ({"hop_length": True}, "hop_length is True"),
        ({"window": "hann"}, r"unknown \['window'\]"),
        ({"n_mels": 10**400}, "expected a whole number"),
        ({"min_db": float("nan")}, "min_db is nan; expected a number"),
        ({"min_db": float("-inf")}, "min_db is -inf"),
        ({3: 4}, r"unknown \['3'\]"),
    ],
)
def test_a_dictionary_that_is_no_specification_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(FeatureSpecError, match=message):
        FeatureSpec.from_dict({**SPEC.to_dict(), **change})


def test_a_missing_number_is_named() -> None:
    values = SPEC.to_dict()
    del values["hop_length"]
    with pytest.raises(FeatureSpecError, match=r"missing \['hop_length'\]"):
        FeatureSpec.from_dict(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_mels": 0}, "n_mels is 0"),
        ({"f_max_hz": 4001.0}, "half of sample_rate_hz"),
        ({"f_min_hz": 4000.0}, "expected 0 <= f_min_hz < f_max_hz"),
        ({"min_db": 0.0}, "expected min_db < max_db"),
        ({"sample_rate_hz": 6000}, "sample_rate_hz is 6000; expected 8000 to 48000"),
        ({"window_length": 8001}, "a window of at most a second"),
        ({"n_mels": 202}, "no more bands than the 201 bins"),
        ({"pad_frames": 1025}, "at most 1024 frames"),
        ({"hop_length": 70_000}, "hop_length is 70000; expected a positive whole number up to 65536"),
    ],
)
def test_a_specification_that_cannot_be_computed_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(FeatureSpecError, match=message):
        FeatureSpec(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("sample_rate_hz", "pad_samples"), [(8000, 1600), (16000, 320)])
def test_a_waveforms_specification(sample_rate_hz: int, pad_samples: int) -> None:
    spec = WaveformSpec(sample_rate_hz=sample_rate_hz, pad_samples=pad_samples)
    assert WaveformSpec.from_dict(spec.to_dict()) == spec
    assert spec.hash not in (SPEC.hash, replace(spec, pad_samples=pad_samples + 1).hash)
    assert [padded_length(n, spec) for n in (1, pad_samples, pad_samples + 1)] == [pad_samples] * 2 + [2 * pad_samples]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sample_rate_hz": 44100}, r"expected one of \(8000, 16000\)"), ({"pad_samples": 0}, "pad_samples is 0")],
)
def test_a_waveforms_specification_is_checked(change: dict[str, int], message: str) -> None:
    with pytest.raises(FeatureSpecError, match=message):
        WaveformSpec(**change)


@pytest.mark.parametrize(
    ("spec", "tolerance"),
    [(WaveformSpec(), 0.5 / 32768), (SPEC, QUANTIZER_STEP_DB / 2 + 1e-4)],
)
def test_a_network_hears_what_was_made_of_the_samples(spec: InputSpec, tolerance: float) -> None:
    samples = SIGNALS["clipped"] * np.float32(0.999)
    made = model_input(spec)(samples)
    assert (made.dtype, made.shape[1:]) == (spec.dtype, spec.item_shape)
    expected = samples if isinstance(spec, WaveformSpec) else LogMel(spec)(samples)
    heard = spec.network_input(made)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, expected, atol=tolerance)


def test_silence_is_zero_in_every_specification() -> None:
    """What pads a segment is zeros."""
    for spec in (SPEC, WaveformSpec()):
        assert not model_input(spec)(np.zeros(8000, np.float32)).any()


def test_samples_beyond_full_scale_are_clipped() -> None:
    loud = np.array([-2, -1, 1, 2], np.float32)
    np.testing.assert_array_equal(model_input(WaveformSpec())(loud), [-32768, -32768, 32767, 32767])


def test_pitch_is_told_by_the_same_frames_whatever_the_model_hears() -> None:
    assert analysis_spec(SPEC) is SPEC
    assert analysis_spec(WaveformSpec()) == SPEC
    wide = analysis_spec(WaveformSpec(sample_rate_hz=16000))
    assert (wide.frame_s, wide.window_length / wide.sample_rate_hz) == (SPEC.frame_s, SPEC.window_length / RATE_HZ)
