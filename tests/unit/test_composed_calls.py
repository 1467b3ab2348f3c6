"""Composed calls: their figures are the pipeline's, what is asked for is drawn, and rules keep to their rate."""

from collections.abc import Mapping

import numpy as np
import pytest

from ser_model.composed_calls import CallFigures, CallRules, Part, Rule, best_rule, call_figures, compose
from ser_model.errors import EvaluationError

RULES = CallRules(peak_window_s=10.0, edge_share=0.2, edge_min_s=6.0)
STEP_S = 0.01
NAN = float("nan")


@pytest.mark.parametrize(
    ("seconds", "p_angry", "valence", "expected"),
    [
        ([3.0, 3.0], [1.0, 1.0], [-0.5, -0.5], CallFigures(NAN, NAN, NAN)),
        ([10.0], [0.3], [-0.5], CallFigures(0.3, NAN, NAN)),
        ([10.0, 10.0], [0.0, 1.0], [0.4, -0.6], CallFigures(1.0, 0.4, -1.0)),
        # 20% of 50 s is more than 6 s.
        ([10.0, 30.0, 10.0], [0.0, 0.0, 0.8], [0.2, 0.0, -0.4], CallFigures(0.8, 0.2, -0.6)),
        # 7 s of anger in 10, wherever the window lies around them.
        ([5.0, 7.0, 8.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], CallFigures(0.7, 0.0, 0.0)),
        # The two ends share the middle of 12 s.
        ([6.0, 6.0], [0.0, 0.0], [-1.0, 1.0], CallFigures(0.0, -1.0, 2.0)),
    ],
)
def test_figures_of_a_call(
    seconds: list[float], p_angry: list[float], valence: list[float], expected: CallFigures
) -> None:
    found = call_figures(seconds, p_angry, valence, RULES)
    assert (found.anger_peak, found.mood_start, found.mood_change) == pytest.approx(
        (expected.anger_peak, expected.mood_start, expected.mood_change), nan_ok=True
    )


@pytest.mark.parametrize("seed", range(10))
def test_figures_are_those_of_a_count_in_small_steps(seed: int) -> None:
    """As tests/integration/test_summary.py counts what the pipeline's SQL computes."""
    random = np.random.default_rng(seed)
    n = int(random.integers(5, 40))
    seconds = random.integers(50, 300, n) * STEP_S
    p_angry, valence = random.random(n), random.uniform(-1, 1, n)
    counts = np.rint(seconds / STEP_S).astype(int)
    p, mood = np.repeat(p_angry, counts), np.repeat(valence, counts)
    window = round(10 / STEP_S)
    sums = np.concatenate([[0], p.cumsum()])
    edge = round(min(max(0.2 * len(p) * STEP_S, 6.0), len(p) * STEP_S) / STEP_S)
    found = call_figures(seconds, p_angry, valence, RULES)
    if len(p) >= window:
        assert found.anger_peak == pytest.approx((sums[window:] - sums[:-window]).max() / window, abs=1e-9)
    if len(p) >= round(12 / STEP_S):
        assert found.mood_start == pytest.approx(mood[:edge].mean(), abs=2e-3)
        assert found.mood_change == pytest.approx(mood[-edge:].mean() - mood[:edge].mean(), abs=4e-3)


EMOTIONS = ["neutral"] * 4 + ["calm"] * 4 + ["angry"] * 2
SECONDS = np.full(len(EMOTIONS), 2.0)


@pytest.mark.parametrize(
    ("parts", "seconds_of"),
    [
        ([Part(40.0, {"neutral": 1.0})], {"neutral": 40.0}),
        ([Part(40.0, {"neutral": 0.7, "happy": 0.3})], {"neutral": 40.0}),  # this speaker has no happy clip
        ([Part(30.0, {"calm": 1.0}), Part(10.0, {"angry": 1.0})], {"calm": 30.0, "angry": 10.0}),
        ([Part(5.0, {"angry": 1.0})], {"angry": 6.0}),  # whole segments
    ],
)
def test_a_call_has_the_seconds_of_its_parts_in_their_order(parts: list[Part], seconds_of: Mapping[str, float]) -> None:
    drawn = compose(parts, EMOTIONS, SECONDS, np.random.default_rng(0))
    emotions = [EMOTIONS[index] for index in drawn]
    assert list(dict.fromkeys(emotions)) == list(seconds_of)
    assert {emotion: 2.0 * emotions.count(emotion) for emotion in seconds_of} == seconds_of


def test_a_mix_is_drawn_in_its_proportions_whatever_clips_there_are() -> None:
    drawn = compose([Part(20_000.0, {"neutral": 3.0, "angry": 1.0})], EMOTIONS, SECONDS, np.random.default_rng(0))
    assert np.mean([EMOTIONS[index] == "angry" for index in drawn]) == pytest.approx(0.25, abs=0.02)
    assert set(drawn) == {0, 1, 2, 3, 8, 9}


def test_a_speaker_without_the_emotion_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no segment is sad"):
        compose([Part(1.0, {"sad": 1.0})], EMOTIONS, SECONDS, np.random.default_rng(0))


def test_the_best_rule_finds_most_at_no_more_than_the_rate() -> None:
    random = np.random.default_rng(0)
    calm, wanted = random.normal(0, 1, (400, 2)), random.normal(1.5, 1, (400, 2))
    grid = np.linspace(-3, 5, 33).tolist()
    rule = best_rule(calm, wanted, grid, grid, 0.02)
    assert rule.flags(calm).mean() <= 0.02
    found = rule.flags(wanted).mean()
    for first in grid:
        for second in grid:
            other = Rule(first, second)
            assert other.flags(calm).mean() > 0.02 or other.flags(wanted).mean() <= found


def test_of_equal_rules_the_strictest_is_taken_and_one_threshold_may_be_none() -> None:
    calm, wanted = np.array([[0.1, 0.1]] * 50), np.array([[0.9, 0.9]] * 50)
    assert best_rule(calm, wanted, [float("-inf")], [0.2, 0.5, 0.8, 0.95], 0.02) == Rule(float("-inf"), 0.8)


def test_a_call_without_a_score_is_not_flagged() -> None:
    assert Rule(0.0, 0.0).flags(np.array([[NAN, 1.0], [1.0, NAN], [1.0, 1.0]])).tolist() == [False, False, True]


def test_where_every_rule_flags_more_there_is_none() -> None:
    with pytest.raises(EvaluationError, match=r"every rule flags more than 0\.02 of 3 calm calls"):
        best_rule(np.ones((3, 2)), np.ones((3, 2)), [0.5], [0.5], 0.02)
