"""Speech activity: spans, turns and pieces on made-up levels; hit and false shares on the shared calls."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from ser_model.features import FeatureSpec
from ser_model.recording import SegmentExtractor
from ser_model.speech import (
    DIGITAL_SILENCE_DB,
    SpeechSpec,
    frame_levels,
    join,
    noise_floor,
    pauses,
    segments_of,
    spans_of,
    speech_spans,
)

SPEC = SpeechSpec()
NOISE, TALK = -60.0, -25.0


def levels(*stretches: tuple[float, float]) -> np.ndarray:
    """Levels of consecutive stretches, each of so many seconds at so many dBFS."""
    return np.concatenate([np.full(round(100 * seconds), level, np.float32) for seconds, level in stretches])


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
    (found,) = speech_spans(channel[None], SPEC)
    assert len(found) == len(expected)
    assert np.allclose(seconds(found), expected, atol=SPEC.padding_s + 0.021) if expected else True


@pytest.mark.parametrize("echo_db", [-15, -20, -30])
def test_echo_of_the_other_channel_is_no_speech(echo_db: float) -> None:
    agent = levels((2, NOISE), (3, TALK), (3, NOISE))
    # The echo comes 120 ms later.
    customer = np.maximum(np.roll(agent + echo_db, 12), NOISE)
    assert speech_spans(np.stack([customer, agent]), SPEC)[0] == []


def test_speech_over_the_other_side_is_heard() -> None:
    both = np.stack([levels((3, NOISE), (2, TALK), (3, NOISE)), levels((2, NOISE), (4, TALK), (2, NOISE))])
    assert np.allclose(seconds(speech_spans(both, SPEC)[0]), [(3, 5)], atol=0.06)


def test_digital_silence_is_a_pause_and_not_the_noise_floor() -> None:
    channel = levels((2, NOISE), (3, DIGITAL_SILENCE_DB), (2, NOISE))
    assert seconds(pauses(np.stack([channel, channel]), SPEC)) == [(2, 5)]
    assert noise_floor(np.maximum(channel, -100), SPEC).min() == NOISE
    only_one = np.stack([channel, levels((7, NOISE))])
    assert pauses(only_one, SPEC) == []


def test_turns_end_at_a_long_pause_or_where_the_other_side_speaks() -> None:
    level = np.full(4000, TALK, np.float32)
    spans = [(0, 100), (150, 250), (400, 500), (560, 660)]
    pieces = segments_of(spans, level, [(510, 550)], SPEC)
    assert [(piece.turn_index, piece.segment_index) for piece in pieces] == [(0, 0), (0, 1), (1, 0), (2, 0)]


@pytest.mark.parametrize("length_s", [0.3, 2.99, 3.0, 3.01, 6.5, 17.3, 3600.0])
def test_pieces_cover_a_span_and_are_at_most_three_seconds(length_s: float) -> None:
    n = round(100 * length_s)
    level = np.random.default_rng(1).uniform(-40, -20, n + 10).astype(np.float32)
    pieces = segments_of([(5, 5 + n)], level, [], SPEC)
    assert pieces[0].start == 5
    assert pieces[-1].end == 5 + n
    assert all(before.end == after.start for before, after in itertools.pairwise(pieces))
    assert all(0 < piece.end - piece.start <= 300 for piece in pieces)
    assert len(pieces) <= -(-n // 300) + 1


def test_a_long_span_is_cut_where_it_is_quietest() -> None:
    level = np.full(500, TALK, np.float32)
    level[233] = -50
    assert [piece.end for piece in segments_of([(0, 500)], level, [], SPEC)] == [233, 500]


@pytest.mark.parametrize(
    ("sample", "expected"), [(np.ones(800), DIGITAL_SILENCE_DB), (np.zeros(800), DIGITAL_SILENCE_DB)]
)
def test_constant_samples_are_digital_silence(sample: np.ndarray, expected: float) -> None:
    assert (frame_levels(sample.astype(np.float32), 80) == expected).all()


def test_levels_are_those_of_the_signal_without_dc() -> None:
    square = np.tile([0.6, 0.4], 400).astype(np.float32)
    assert np.allclose(frame_levels(square, 80), 20 * np.log10(0.1), atol=1e-3)


def test_masks_and_gaps() -> None:
    assert spans_of(np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)) == [(0, 2), (3, 4), (6, 7)]
    assert join([(0, 2), (3, 4), (6, 7)], 2) == [(0, 4), (6, 7)]


@pytest.mark.shared
def test_customers_of_the_scripted_calls_are_found(shared_dir: Path) -> None:
    """At least 90% of the customers' true speech in segments, at most 5% of segment time outside, no agent's speech."""
    truths = [json.loads(line) for line in (shared_dir / "calls/scripted/truth.jsonl").read_text().splitlines()]
    recordings = {path.name.split("_")[0]: path for path in (shared_dir / "calls/scripted").rglob("*.wav")}
    extractor = SegmentExtractor(FeatureSpec(), {"customer"})
    true = hit = found = agents = 0
    for truth in truths:
        spoken = {role: np.zeros(round(100 * truth["duration_s"]) + 1, dtype=bool) for role in ("customer", "agent")}
        for turn in truth["turns"]:
            spoken[turn["role"]][round(100 * turn["start_s"]) : round(100 * turn["end_s"])] = True
        heard = np.zeros_like(spoken["customer"])
        with recordings[truth["contact_id"]].open("rb") as file:
            for segment in extractor(file).segments:
                if segment.role == "customer":
                    heard[round(100 * segment.start_s) : round(100 * segment.end_s)] = True
        true += spoken["customer"].sum()
        hit += (spoken["customer"] & heard).sum()
        found += heard.sum()
        agents += (heard & spoken["agent"] & ~spoken["customer"]).sum()
    assert len(truths) == 14
    assert hit / true >= 0.90
    assert (found - hit) / found <= 0.05
    assert agents / found < 0.001
