"""Reliability: each figure by hand or on data whose truth is known."""

import numpy as np
import pytest

from ser_model.classifier import emotion_sets
from ser_model.evaluate import fit_conformal_threshold
from ser_model.reliability import (
    Alarm,
    ReliabilityBin,
    accuracy_of_the_certain,
    alarm,
    coverage,
    expected_calibration_error,
    reliability,
    speaker_interval,
    threshold_for_false_positives,
    threshold_for_recall,
)


def two_classes(confidence: list[float]) -> np.ndarray:
    """Probabilities of which the first class is the most probable."""
    return np.array([[value, 1 - value] for value in confidence], dtype=np.float32)


def test_bins_of_a_diagram() -> None:
    probabilities = two_classes([0.62, 0.68, 0.95, 0.95])
    bins = reliability(probabilities, np.array([0, 1, 0, 0]))
    assert bins == [
        ReliabilityBin(pytest.approx(0.65), 0.5, 0.5),
        ReliabilityBin(pytest.approx(0.95), 1.0, 0.5),
    ]
    assert expected_calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)


def test_weights_count_clips_more_or_less() -> None:
    """A clip that counts three times is as three clips."""
    probabilities, truth = two_classes([0.62, 0.68, 0.95]), np.array([0, 1, 1])
    weighted = reliability(probabilities, truth, np.array([3.0, 1.0, 2.0]))
    repeated = reliability(probabilities.repeat([3, 1, 2], axis=0), truth.repeat([3, 1, 2]))
    for one, other in zip(weighted, repeated, strict=True):
        assert (one.confidence, one.accuracy, one.share) == pytest.approx(
            (other.confidence, other.accuracy, other.share), abs=1e-6
        )


def test_the_least_certain_quarter_is_left_out() -> None:
    probabilities = two_classes([0.9, 0.55, 0.8, 0.7])
    assert accuracy_of_the_certain(probabilities, np.array([0, 1, 0, 1])) == pytest.approx(2 / 3)
    assert accuracy_of_the_certain(probabilities, np.array([0, 1, 0, 1]), left_out=0.0) == 0.5


def test_a_set_holds_what_reaches_the_threshold_and_the_most_probable() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.34, 0.33, 0.33]], dtype=np.float32)
    np.testing.assert_array_equal(
        emotion_sets(probabilities, 0.35), [[True, False, False], [False, True, True], [True, False, False]]
    )
    found = coverage(probabilities, np.array([0, 2, 1]), 0.35)
    assert (found.coverage, found.worst_class, found.mean_size) == pytest.approx((2 / 3, 0, 4 / 3))


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.95])
def test_sets_cover_as_often_as_they_were_fitted_to(wanted: float) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.7] * 6, 8000).astype(np.float32)
    truth = np.array([random.choice(6, p=row / row.sum()) for row in probabilities.astype(float)])
    threshold = fit_conformal_threshold(probabilities[:4000], truth[:4000], wanted)
    assert coverage(probabilities[4000:], truth[4000:], threshold).coverage == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(
    ("prevalence", "precision"),
    [(0.5, 0.7 / 0.75), (0.1, 0.07 / (0.07 + 0.045)), (0.01, 0.007 / (0.007 + 0.0495))],
)
def test_precision_at_a_prevalence(prevalence: float, precision: float) -> None:
    """The example of the design: recall 0.7, 5% false positives, 1% angry: precision 12%."""
    scores = np.array([0.9] * 7 + [0.1] * 3 + [0.9] * 5 + [0.1] * 95)
    positive = np.arange(110) < 10
    found = alarm(scores, positive, 0.5, prevalence)
    assert found == Alarm(0.5, pytest.approx(0.7), pytest.approx(0.05), pytest.approx(precision))
    assert prevalence != 0.01 or found.precision == pytest.approx(0.12, abs=0.005)


def test_precision_is_that_of_a_set_with_that_prevalence() -> None:
    random = np.random.default_rng(0)
    scores = np.concatenate([random.normal(1, 1, 20_000), random.normal(-0.5, 1, 20_000)])
    positive = np.arange(40_000) < 20_000
    rare = np.concatenate([np.flatnonzero(positive)[:600], np.flatnonzero(~positive)[:19_400]])
    raised = scores[rare] >= 1.0
    assert alarm(scores, positive, 1.0, 0.03).precision == pytest.approx(positive[rare][raised].mean(), abs=0.02)


def test_how_the_others_are_mixed_decides_how_many_raise_a_false_alarm() -> None:
    scores, positive = np.array([0.9, 0.9, 0.1]), np.array([True, False, False])
    weights = np.array([1.0, 0.1, 0.9])
    assert alarm(scores, positive, 0.5, 0.1).false_positive_rate == 0.5
    assert alarm(scores, positive, 0.5, 0.1, weights).false_positive_rate == pytest.approx(0.1)


def test_an_alarm_that_is_never_raised_has_no_precision() -> None:
    found = alarm(np.array([0.2, 0.1]), np.array([True, False]), 0.5, 0.1)
    assert found.recall == found.false_positive_rate == 0
    assert np.isnan(found.precision)


@pytest.mark.parametrize("recall", [0.25, 0.5, 0.7, 1.0])
def test_the_threshold_for_a_recall_is_the_highest(recall: float) -> None:
    random = np.random.default_rng(0)
    scores, positive = random.random(200), random.random(200) < 0.3
    threshold = threshold_for_recall(scores, positive, recall)
    assert (scores[positive] >= threshold).mean() >= recall
    assert (scores[positive] > threshold).mean() < recall


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1, 0.5])
def test_the_threshold_for_false_positives_is_the_lowest(rate: float) -> None:
    random = np.random.default_rng(0)
    scores, positive = random.random(300).astype(np.float32), random.random(300) < 0.3
    others = scores[~positive]
    threshold = threshold_for_false_positives(scores, positive, rate)
    assert (others >= threshold).mean() <= rate
    lower = others[others < threshold].max()
    assert (others >= lower).mean() > rate


def test_equal_scores_are_not_flagged_beyond_the_rate() -> None:
    scores, positive = np.array([0.5] * 10), np.array([False] * 10)
    assert (scores >= threshold_for_false_positives(scores, positive, 0.2)).mean() == 0


def test_an_interval_is_over_speakers() -> None:
    right = np.array([True] * 50 + [False] * 50)
    speakers = ["a"] * 50 + ["b"] * 50
    assert speaker_interval(lambda clips: float(right[clips].mean()), speakers) == (0, 1)
    one_each = [f"{index}" for index in range(100)]
    low, high = speaker_interval(lambda clips: float(right[clips].mean()), one_each)
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.03)
