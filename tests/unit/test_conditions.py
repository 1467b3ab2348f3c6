"""Conditions: real codecs, exact noise levels, and the same result for the same clip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.conditions import (
    CONDITIONS,
    conditions,
    gsm_round_trip,
    lose_packets,
    opus_round_trip,
    read_noises,
    speech_shaped_noise,
)
from ser_model.errors import CorpusError

Voice = Callable[..., np.ndarray]


def snr_db(samples: np.ndarray, heard: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) / np.mean((heard - samples) ** 2)))


# The least and the most that a condition leaves of a voice: signal-to-noise ratio in dB.
@pytest.mark.parametrize(
    ("condition", "least_db", "most_db"),
    [
        ("g711", 30, 40),
        ("gsm", 7, 20),
        ("opus", 7, 25),
        ("noise20", 19.5, 20.5),
        ("noise10", 9.9, 10.1),
        ("loss3", 5, 30),
    ],
)
def test_a_condition_changes_a_voice_as_much_as_it_should(
    voice: Voice, condition: str, least_db: float, most_db: float
) -> None:
    samples = voice(4.0)
    assert least_db < snr_db(samples, CONDITIONS[condition](samples, 1)) < most_db


def test_clean_changes_nothing(voice: Voice) -> None:
    samples = voice(1.0)
    assert CONDITIONS["clean"](samples) is samples


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("n_samples", [1, 159, 4001])
def test_length_and_type_stay(voice: Voice, condition: str, n_samples: int) -> None:
    samples = voice(1.0)[:n_samples]
    heard = CONDITIONS[condition](samples, 1)
    assert (heard.shape, heard.dtype) == (samples.shape, np.float32)
    assert np.isfinite(heard).all()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_clip_is_always_changed_alike_and_silence_stays_finite(voice: Voice, condition: str) -> None:
    samples = voice(1.0)
    np.testing.assert_array_equal(CONDITIONS[condition](samples, 7), CONDITIONS[condition](samples, 7))
    assert np.isfinite(CONDITIONS[condition](np.zeros(8000, np.float32), 7)).all()


@pytest.mark.parametrize("condition", ["noise20", "noise10", "loss3"])
def test_another_clip_is_changed_otherwise(voice: Voice, condition: str) -> None:
    samples = voice(3.0)
    assert (CONDITIONS[condition](samples, 1) != CONDITIONS[condition](samples, 2)).any()


def test_codecs_add_no_delay(voice: Voice) -> None:
    samples = voice(2.0)
    for coded in (gsm_round_trip(samples), opus_round_trip(samples)):
        correlation = np.correlate(coded[4000:12000], samples[3800:12200], "valid")
        assert correlation.argmax() == 200


def test_opus_loses_more_at_fewer_bits(voice: Voice) -> None:
    samples = voice(2.0)
    ratios = [snr_db(samples, opus_round_trip(samples, bit_s)) for bit_s in (6_000, 12_000, 24_000, 64_000)]
    assert ratios == sorted(ratios)


def test_loud_samples_do_not_wrap_around() -> None:
    samples = (1.5 * np.sin(2 * np.pi * 300 * np.arange(8000) / 8000)).astype(np.float32)
    for coded in (gsm_round_trip(samples), opus_round_trip(samples)):
        assert np.corrcoef(coded, samples)[0, 1] > 0.9


def test_a_lost_packet_is_the_one_before_at_half_its_level() -> None:
    samples = np.repeat(np.arange(1, 1001, dtype=np.float32), 160)  # a packet a number
    packets = lose_packets(samples, seed=3, share=0.3).reshape(-1, 160)
    assert (packets == packets[:, :1]).all()
    heard = packets[:, 0]
    lost = heard != np.arange(1, 1001)
    assert lost.mean() == pytest.approx(0.3, abs=0.05)
    before = np.concatenate([[0], heard[:-1]])
    np.testing.assert_array_equal(heard[lost], before[lost] / 2)


def test_three_packets_in_a_hundred_are_lost() -> None:
    samples = np.arange(1, 160 * 20_000 + 1, dtype=np.float32)
    changed = (lose_packets(samples, seed=0) != samples).reshape(-1, 160)
    assert changed.any(axis=1).mean() == pytest.approx(0.03, abs=0.004)


def test_noise_has_the_spectrum_of_speech() -> None:
    noise = speech_shaped_noise(800_000, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    level_db = {hz: 10 * np.log10(power[hz * 90 : hz * 110].mean()) for hz in (200, 400, 1000, 2000)}
    assert level_db[200] - level_db[400] == pytest.approx(0, abs=0.3)
    assert level_db[1000] - level_db[2000] == pytest.approx(9, abs=0.3)


def test_recorded_noise_takes_the_place_of_it(voice: Voice) -> None:
    samples = voice(1.0)
    hum = (0.1 * np.sin(2 * np.pi * 50 * np.arange(8000) / 8000)).astype(np.float32)
    heard = conditions([hum])["noise10"](samples, 1)
    spectrum = np.abs(np.fft.rfft(heard - samples))
    assert spectrum.argmax() == 50


def test_a_model_is_not_measured_in_noise_that_it_was_trained_in(tmp_path: Path) -> None:
    """ESC-50's names begin with a fold; other names say nothing, and are for both."""
    (tmp_path / "rain").mkdir()
    names = ["1-17367-A", "5-17367-A", "5-181766-A-10", "2-1234-B-10", "my street"]
    for index, name in enumerate(names):
        soundfile.write(tmp_path / "rain" / f"{name}.wav", np.full(80, (index + 1) / 8), 8000)

    def heard(part: str) -> list[str]:
        levels = [noise[0] for noise in read_noises(tmp_path, 8000, part)]  # type: ignore[arg-type]
        return sorted(names[round(float(level) * 8) - 1] for level in levels)

    assert heard("test") == ["5-17367-A", "5-181766-A-10", "my street"]
    assert heard("train") == ["1-17367-A", "2-1234-B-10", "my street"]


def test_a_folder_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no noise for test"):
        read_noises(tmp_path, 8000, "test")
