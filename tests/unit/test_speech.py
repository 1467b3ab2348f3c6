"""Speech activity: spans, turns and pieces on made-up levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ser_model.speech import (
    DIGITAL_SILENCE_DB,
    N_BANDS,
    SpeechSpec,
    band_levels,
    in_turns,
    join,
    noise_floor,
    pauses,
    pieces_of,
    played,
    spans_of,
    speech_spans,
)

SPEC = SpeechSpec()
NOISE, TALK = -60.0, -25.0


def levels(*stretches: tuple[float, float]) -> np.ndarray:
    """Levels of consecutive stretches, each of so many seconds at so many dBFS."""
    return np.concatenate([np.full(round(100 * seconds), level, np.float32) for seconds, level in stretches])


def in_bands(channel: np.ndarray) -> np.ndarray:
    """Levels of a sound that fills the band evenly."""
    return np.stack([channel, channel - 6, channel - 6, channel - 3])


def seconds(spans: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(start / 100, end / 100) for start, end in spans]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        pytest.param(levels((5, NOISE)), [], id="noise only"),
        pytest.param(levels((5, DIGITAL_SILENCE_DB)), [], id="digital silence"),
        pytest.param(levels((2, NOISE), (1, TALK), (2, NOISE)), [(2, 3)], id="one stretch"),
        pytest.param(levels((2, NOISE), (1, TALK), (0.1, NOISE), (1, TALK), (2, NOISE)), [(2, 4.1)], id="short pause"),
        pytest.param(
            levels((2, NOISE), (1, TALK), (0.6, NOISE), (1, TALK), (2, NOISE)), [(2, 3), (3.6, 4.6)], id="long pause"
        ),
        pytest.param(levels((2, NOISE), (0.05, TALK), (2, NOISE)), [], id="a click"),
        pytest.param(levels((2, NOISE), (1, TALK), (1, TALK - 45), (2, NOISE)), [(2, 3)], id="far below the voice"),
        pytest.param(levels((2, -40), (1, TALK), (2, -40)), [(2, 3)], id="loud noise"),
        pytest.param(levels((2, -75), (1, -50), (2, -75)), [(2, 3)], id="quiet line"),
    ],
)
def test_spans(channel: np.ndarray, expected: list[tuple[float, float]]) -> None:
    (found,) = speech_spans(in_bands(channel)[None], SPEC)
    assert len(found) == len(expected)
    assert np.allclose(seconds(found), expected, atol=0.1) if expected else True


@pytest.mark.parametrize("echo_db", [-15, -20, -30])
def test_echo_of_the_other_channel_is_no_speech(echo_db: float) -> None:
    agent = levels((2, NOISE), (3, TALK), (3, NOISE))
    # The echo comes 120 ms later.
    customer = np.maximum(np.roll(agent + echo_db, 12), NOISE)
    assert speech_spans(np.stack([in_bands(customer), in_bands(agent)]), SPEC)[0] == []


def test_speech_over_the_other_side_is_heard() -> None:
    customer, agent = levels((3, NOISE), (2, TALK), (3, NOISE)), levels((2, NOISE), (4, TALK), (2, NOISE))
    both = np.stack([in_bands(customer), in_bands(agent)])
    assert np.allclose(seconds(speech_spans(both, SPEC)[0]), [(3, 5)], atol=0.06)


def test_digital_silence_is_a_pause_and_not_the_noise_floor() -> None:
    channel = levels((2, NOISE), (3, DIGITAL_SILENCE_DB), (2, NOISE))
    assert seconds(pauses(np.stack([in_bands(channel)] * 2), SPEC)) == [(2, 5)]
    assert noise_floor(np.maximum(channel, -100), SPEC).min() == NOISE
    only_one = np.stack([in_bands(channel), in_bands(levels((7, NOISE)))])
    assert pauses(only_one, SPEC) == []


@pytest.mark.parametrize("band", [1, 2, 3])
def test_sound_in_a_part_of_the_band_is_heard_though_the_whole_is_hardly_louder(band: int) -> None:
    channel = in_bands(levels((6, -50)))
    # Loud speech elsewhere says what loud is.
    channel[:, 400:500] += 25
    assert len(speech_spans(channel[None], SPEC)[0]) == 1
    channel[band, 100:150] += 9
    assert [round(start / 100) for start, _ in speech_spans(channel[None], SPEC)[0]] == [1, 4]


@pytest.mark.parametrize(("noise_dbfs", "least_s", "most_s"), [(-80, 1.03, 1.05), (-55, 1.07, 1.14), (-44, 1.14, 1.2)])
def test_more_of_the_onsets_and_endings_is_hidden_the_louder_the_noise(
    noise_dbfs: float, least_s: float, most_s: float
) -> None:
    ((start, end),) = speech_spans(in_bands(levels((3, noise_dbfs), (1, TALK), (3, noise_dbfs)))[None], SPEC)[0]
    assert least_s <= (end - start) / 100 <= most_s


def test_turns_end_at_a_long_pause_or_where_the_other_side_speaks() -> None:
    pieces = in_turns([(0, 100), (150, 250), (400, 500), (560, 660)], [(510, 550)], SPEC)
    assert [(piece.turn_index, piece.segment_index) for piece in pieces] == [(0, 0), (0, 1), (1, 0), (2, 0)]


@pytest.mark.parametrize("length_s", [0.3, 2.99, 3.0, 3.01, 6.5, 17.3, 3600.0])
def test_pieces_cover_a_span_and_are_at_most_three_seconds(length_s: float) -> None:
    n = round(100 * length_s)
    level = np.random.default_rng(1).uniform(-40, -20, n + 10).astype(np.float32)
    pieces = pieces_of([(5, 5 + n)], level, SPEC)
    assert pieces[0][0] == 5
    assert pieces[-1][1] == 5 + n
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))
    assert all(0 < end - start <= 300 for start, end in pieces)
    assert len(pieces) <= -(-n // 300) + 1


def test_a_long_span_is_cut_where_it_is_quietest() -> None:
    level = np.full(500, TALK, np.float32)
    level[233] = -50
    assert pieces_of([(0, 500)], level, SPEC) == [(0, 233), (233, 500)]


def test_what_sounds_the_same_twice_is_played() -> None:
    rng = np.random.default_rng(0)

    def said() -> np.ndarray:
        """Three seconds in syllables of uneven loudness, in every band its own."""
        return np.repeat(rng.uniform(-50, -15, (4, 25)), 12, axis=1).astype(np.float32)

    announcement, gap = said(), np.full((4, 150), NOISE, np.float32)
    line = rng.normal(0, 0.7, (4, 5 * 300 + 6 * 150)).astype(np.float32)
    sounds = [announcement, said(), announcement, said(), announcement - 1]
    channel = np.concatenate([part for sound in sounds for part in (gap, sound)] + [gap], axis=1) + line
    spans = [(150 + 450 * number, 450 + 450 * number) for number in range(5)]
    assert played(spans, channel, SPEC).tolist() == [True, False, True, False, True]
    assert played(spans[:1], channel, SPEC).tolist() == [False]
    assert played([], channel, SPEC).tolist() == []


@pytest.mark.parametrize(
    ("sample", "expected"), [(np.ones(800), DIGITAL_SILENCE_DB), (np.zeros(800), DIGITAL_SILENCE_DB)]
)
def test_constant_samples_are_digital_silence(sample: np.ndarray, expected: float) -> None:
    assert (band_levels(sample.astype(np.float32), 80) == expected).all()


def test_every_16_bit_value_held_is_digital_silence() -> None:
    held = np.repeat(np.arange(-32768, 32768, dtype=np.float32) / 32768, 80)
    assert (band_levels(held, 80) == DIGITAL_SILENCE_DB).all()


def test_levels_are_those_of_the_signal_without_dc() -> None:
    square = np.tile([0.6, 0.4], 400).astype(np.float32)
    assert np.allclose(band_levels(square, 80)[0], 20 * np.log10(0.1), atol=1e-3)


@pytest.mark.parametrize(("hz", "loudest"), [(300, 1), (1500, 2), (3000, 3)])
def test_the_parts_of_the_band_add_up_and_hold_their_tones(hz: float, loudest: int) -> None:
    tone = np.sin(2 * np.pi * hz * np.arange(8000) / 8000).astype(np.float32)
    levels_db = band_levels(tone, 80)
    assert levels_db.shape == (N_BANDS, 100)
    power = 10 ** (levels_db.astype(np.float64) / 10)
    assert np.allclose(power[1:].sum(axis=0), power[0], rtol=1e-4)
    assert (np.argmax(levels_db[1:], axis=0) == loudest - 1).all()


def test_masks_and_gaps() -> None:
    assert spans_of(np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)) == [(0, 2), (3, 4), (6, 7)]
    assert join([(0, 2), (3, 4), (6, 7)], 2) == [(0, 4), (6, 7)]
