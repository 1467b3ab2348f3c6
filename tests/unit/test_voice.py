"""What is a voice and what is not: sounds made here, and a piece in the light of its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ser_model.features import FeatureSpec, LogMel
from ser_model.prosody import ProsodyExtractor
from ser_model.voice import MAX_EVIDENCE, voice_evidence, voices
from tests.benchmarks import sounds

SPEC = FeatureSpec()
RATE = SPEC.sample_rate_hz


def evidence(samples: np.ndarray) -> float:
    power = LogMel(SPEC).power_spectra(samples.astype(np.float32))
    return voice_evidence(power, ProsodyExtractor(SPEC).track(power))


@pytest.mark.parametrize("pitch_hz", [90, 140, 210, 300])
@pytest.mark.parametrize("level_dbfs", [-45.0, -22.0, -6.0])
def test_a_voice(voice: Callable[..., np.ndarray], pitch_hz: float, level_dbfs: float) -> None:
    assert evidence(voice(2.5, pitch_hz, level_dbfs)) > 1


@pytest.mark.parametrize("snr_db", [20, 10])
def test_a_voice_in_noise(voice: Callable[..., np.ndarray], snr_db: float) -> None:
    noise = sounds.noise("pink", 5 * RATE // 2, np.random.default_rng(0)) * 10 ** ((-22 - snr_db) / 20)
    assert evidence(voice(2.5) + noise) > 0


def tone(seconds: float, *frequencies_hz: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * sum(np.sin(2 * np.pi * frequency * time_s) for frequency in frequencies_hz)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("white noise", sounds.noise("white", 2 * RATE, np.random.default_rng(0)) * 0.05),
        ("pink noise", sounds.noise("pink", 2 * RATE, np.random.default_rng(0)) * 0.05),
        ("ring tone", tone(2.0, 440, 480)),
        ("European ring tone", tone(1.0, 425)),
        ("a ring tone with the silence around it", np.pad(tone(1.0, 425), RATE // 10)),
        ("beep", tone(1.0, 1000)),
        ("DTMF 5", tone(0.5, 770, 1336)),
        ("two digits", np.concatenate((tone(0.1, 770, 1336), np.zeros(800), tone(0.1, 697, 1209)))),
    ],
)
def test_noise_and_tones_are_none(name: str, sound: np.ndarray) -> None:
    assert evidence(sound) == -MAX_EVIDENCE, name


@pytest.mark.parametrize("style", sounds.MUSIC)
def test_music_is_none(style: str) -> None:
    music = sounds.MUSIC[style](30.0, np.random.default_rng(0)) * 0.05
    pieces = [(float(start), start + 3.0) for start in range(0, 30, 3)]
    found = [evidence(music[round(start * RATE) : round(end * RATE)]) for start, end in pieces]
    assert not voices(pieces, found).any()


def test_a_moment_says_nothing() -> None:
    assert evidence(np.random.default_rng(0).standard_normal(600)) == 0


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(3, 2.0)], [1], id="one voice"),
        pytest.param([(3, -2.0)], [0], id="one other sound"),
        pytest.param([(3, 4.0), (1, -1.0), (3, 4.0)], [1, 1, 1], id="a doubtful piece amid talk"),
        pytest.param([(3, -4.0), (1, 1.0), (3, -4.0)], [0, 0, 0], id="a doubtful piece amid music"),
        pytest.param([(3, -4.0)] * 3 + [(3, 4.0)] * 3, [0, 0, 0, 1, 1, 1], id="talk after music"),
        pytest.param([(3, 4.0), (1, -5.0), (1, -5.0), (3, 4.0)], [1, 1, 1, 1], id="two short doubtful pieces"),
        pytest.param([(6, 4.0)] * 2 + [(3, -5.0)] * 2 + [(6, 4.0)] * 2, [1, 1, 0, 0, 1, 1], id="music amid talk"),
        pytest.param([(3, 0.0), (3, 4.0)], [1, 1], id="one that says nothing"),
    ],
)
def test_pieces_in_the_light_of_their_neighbours(pieces: list[tuple[float, float]], expected: list[int]) -> None:
    ends = np.cumsum([length for length, _ in pieces])
    spans = [(float(end) - length, float(end)) for end, (length, _) in zip(ends, pieces, strict=True)]
    assert voices(spans, [each for _, each in pieces]).tolist() == [bool(each) for each in expected]


def test_after_a_long_pause_neighbours_say_less() -> None:
    assert voices([(0, 3), (3, 6), (6, 7.5)], [4, 4, -3]).tolist() == [True, True, True]
    assert voices([(0, 3), (3, 6), (66, 67.5)], [4, 4, -3]).tolist() == [True, True, False]
