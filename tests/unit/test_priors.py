"""Priors: on data whose mix and posteriors are known, the mix is found and the probabilities become right."""

import numpy as np
import pytest

from ser_model.errors import EvaluationError
from ser_model.priors import (
    CALL_PRIORS,
    adjust_to_priors,
    call_priors,
    estimate_priors,
    estimate_priors_by_confusion,
    uniform_priors,
    weights_for_priors,
)
from ser_model.reliability import expected_calibration_error
from ser_model.taxonomy import EMOTIONS

# Three classes, normally distributed about these places: Bayes' rule gives their exact probabilities.
PLACES = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 2.0]])
UNIFORM = uniform_priors(3)
MIXES = [[1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05], [0.1, 0.6, 0.3], [0.97, 0.02, 0.01]]


def drawn(priors: list[float], n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clips of a mix: their exact probabilities where classes are equally frequent, and their classes."""
    random = np.random.default_rng(seed)
    truth = random.choice(3, n, p=priors)
    points = PLACES[truth] + random.standard_normal((n, 2))
    likelihood = np.exp(-0.5 * np.square(points[:, None] - PLACES).sum(axis=2))
    return (likelihood / likelihood.sum(axis=1, keepdims=True)).astype(np.float32), truth


@pytest.mark.parametrize("mix", MIXES)
def test_the_mix_of_unlabelled_data_is_estimated(mix: list[float]) -> None:
    probabilities, _ = drawn(mix, 20_000)
    np.testing.assert_allclose(estimate_priors(probabilities, UNIFORM), mix, atol=0.02)


@pytest.mark.parametrize("mix", MIXES)
def test_the_mix_is_estimated_from_confusions_too(mix: list[float]) -> None:
    labelled, truth = drawn([1 / 3, 1 / 3, 1 / 3], 30_000, seed=1)
    confusion = np.bincount(truth * 3 + labelled.argmax(axis=1), minlength=9).reshape(3, 3)
    unlabelled, _ = drawn(mix, 20_000)
    estimate = estimate_priors_by_confusion(confusion, unlabelled.argmax(axis=1))
    np.testing.assert_allclose(estimate, mix, atol=0.02)
    assert estimate.min() >= 0


def test_confusions_need_no_calibration_and_expectation_maximisation_does() -> None:
    mix = [0.8, 0.1, 0.1]
    labelled, truth = drawn(MIXES[0], 30_000, seed=1)
    confusion = np.bincount(truth * 3 + labelled.argmax(axis=1), minlength=9).reshape(3, 3)
    unlabelled, _ = drawn(mix, 20_000)
    too_sure = (unlabelled**3 / (unlabelled**3).sum(axis=1, keepdims=True)).astype(np.float32)
    by_confusion = estimate_priors_by_confusion(confusion, too_sure.argmax(axis=1))
    by_probability = estimate_priors(too_sure, UNIFORM)
    assert np.abs(by_confusion - mix).max() < 0.02 < np.abs(by_probability - mix).max()


@pytest.mark.parametrize("mix", MIXES[1:])
def test_probabilities_moved_to_the_true_mix_are_calibrated_and_more_often_right(mix: list[float]) -> None:
    probabilities, truth = drawn(mix, 20_000)
    moved = adjust_to_priors(probabilities, UNIFORM, np.array(mix))
    np.testing.assert_allclose(moved.sum(axis=1), 1, atol=1e-5)
    assert expected_calibration_error(moved, truth) < 0.015
    shares = np.bincount(truth, minlength=3) / len(truth)
    np.testing.assert_allclose(moved.mean(axis=0), shares, atol=0.01)
    assert np.abs(probabilities.mean(axis=0) - shares).max() > 0.03
    assert (moved.argmax(axis=1) == truth).mean() > (probabilities.argmax(axis=1) == truth).mean()


def test_moving_there_and_back_changes_nothing() -> None:
    probabilities, _ = drawn(MIXES[2], 100)
    there = adjust_to_priors(probabilities, UNIFORM, np.array(MIXES[2]))
    np.testing.assert_allclose(adjust_to_priors(there, np.array(MIXES[2]), UNIFORM), probabilities, atol=1e-5)


def test_a_class_that_never_occurs_has_no_prior() -> None:
    probabilities, _ = drawn([0.5, 0.5, 0.0], 20_000)
    assert estimate_priors(probabilities, UNIFORM)[2] < 0.01


def test_weights_make_a_balanced_set_speak_for_another_mix() -> None:
    """Weighted figures of a balanced set are those of a set of that mix."""
    mix = MIXES[1]
    balanced, truth = drawn(MIXES[0], 60_000, seed=2)
    weights = weights_for_priors(truth, np.array(mix))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose([weights[truth == label].sum() for label in range(3)], mix)
    real, real_truth = drawn(mix, 60_000, seed=3)
    weighted = (balanced.argmax(axis=1) == truth) @ weights
    assert weighted == pytest.approx((real.argmax(axis=1) == real_truth).mean(), abs=0.01)
    error = expected_calibration_error(balanced, truth, weights)
    assert error == pytest.approx(expected_calibration_error(real, real_truth), abs=0.01)


def test_weights_of_classes_that_are_not_there() -> None:
    weights = weights_for_priors(np.array([0, 0, 2]), np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(weights, [0.25 / 0.7, 0.25 / 0.7, 0.2 / 0.7])


def test_confusions_without_a_class_are_refused() -> None:
    with pytest.raises(EvaluationError, match="expected some of each"):
        estimate_priors_by_confusion(np.array([[3, 1], [0, 0]]), np.array([0, 1]))


def test_the_assumed_mix_of_calls_is_mostly_neutral() -> None:
    assert set(CALL_PRIORS) == set(EMOTIONS)
    assert sum(CALL_PRIORS.values()) == pytest.approx(1)
    np.testing.assert_allclose(call_priors(["neutral", "angry"]), [0.70 / 0.72, 0.02 / 0.72])
