"""How far a model's probabilities can be trusted: calibration, sets that cover, and alarms among few true ones.

Pure functions of probabilities and true classes, without a choice of their own: what is fitted is fitted elsewhere.
Figures can be weighted, so that a balanced test set speaks for another mix of classes (`ser_model.priors`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_model.classifier import Probabilities, emotion_sets

Truth = npt.NDArray[np.intp]
"""True classes, ``[shape=(n,)]``."""
Weights = npt.NDArray[np.float64]
"""What each clip counts, ``[shape=(n,)]``."""

N_BINS: Final = 10
_DRAWS: Final = 2000


@dataclass(frozen=True)
class ReliabilityBin:
    """Clips whose confidence lies in one tenth of 0 to 1: their mean confidence, their accuracy and their share."""

    confidence: float
    accuracy: float
    share: float


def reliability(probabilities: Probabilities, truth: Truth, weights: Weights | None = None) -> list[ReliabilityBin]:
    """Return the bins of a reliability diagram that hold a clip, from the least confident."""
    counted = np.full(len(truth), 1 / len(truth)) if weights is None else weights / weights.sum()
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = confidence_bin(confidence)
    result = []
    for index in np.unique(bins):
        inside = bins == index
        if share := float(counted[inside].sum()):
            parts = counted[inside] / share
            result.append(ReliabilityBin(float(parts @ confidence[inside]), float(parts @ right[inside]), share))
    return result


def confidence_bin(confidence: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Return the number of each confidence's bin, of `N_BINS` of equal width."""
    return np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)


def expected_calibration_error(probabilities: Probabilities, truth: Truth, weights: Weights | None = None) -> float:
    """Return the mean distance of confidence and accuracy over ten bins of equal width (Guo et al., ICML 2017)."""
    return sum(abs(b.accuracy - b.confidence) * b.share for b in reliability(probabilities, truth, weights))


def accuracy_of_the_certain(probabilities: Probabilities, truth: Truth, left_out: float = 0.25) -> float:
    """Return the accuracy without the share of the clips that the model is least confident of."""
    order = np.argsort(probabilities.max(axis=1), kind="stable")[round(left_out * len(truth)) :]
    return float((probabilities[order].argmax(axis=1) == truth[order]).mean())


@dataclass(frozen=True)
class Coverage:
    """How often the sets hold the true class, over all clips and in the worst class, and how many classes they hold."""

    coverage: float
    worst_class: float
    mean_size: float


def coverage(probabilities: Probabilities, truth: Truth, threshold: float | npt.NDArray[np.floating[Any]]) -> Coverage:
    """Return what the sets at a conformal threshold, or each clip's own, come to on clips that it was not fitted on."""
    sets = emotion_sets(probabilities, threshold)
    held = sets[np.arange(len(truth)), truth]
    return Coverage(
        coverage=float(held.mean()),
        worst_class=min(float(held[truth == label].mean()) for label in np.unique(truth)),
        mean_size=float(sets.sum(axis=1).mean()),
    )


@dataclass(frozen=True)
class Alarm:
    """What an alarm at one threshold comes to.

    Attributes
    ----------
    threshold
        The score from which on it is raised.
    recall
        Share of the true ones that raise it.
    false_positive_rate
        Share of the others that raise it.
    precision
        Share of the true ones among those that raise it, at the prevalence asked for; NaN where none does.
    """

    threshold: float
    recall: float
    false_positive_rate: float
    precision: float


def alarm(
    scores: npt.NDArray[np.floating],
    positive: npt.NDArray[np.bool_],
    threshold: float,
    prevalence: float,
    weights: Weights | None = None,
) -> Alarm:
    """Return what an alarm comes to where true ones are rarer than in the test set.

    Parameters
    ----------
    scores
        Such as the probability of angry, ``[shape=(n,)]``.
    positive
        Which clips are true ones.
    threshold
        The score from which on the alarm is raised.
    prevalence
        Share of true ones where it is to work.
    weights
        What each clip counts among its kind: how the others are mixed decides how many of them raise it.
    """
    counted = np.ones(len(scores)) if weights is None else weights
    raised = scores >= threshold
    recall = float(np.average(raised[positive], weights=counted[positive]))
    false_rate = float(np.average(raised[~positive], weights=counted[~positive]))
    true_part, false_part = prevalence * recall, (1 - prevalence) * false_rate
    precision = true_part / (true_part + false_part) if raised.any() else float("nan")
    return Alarm(threshold, recall, false_rate, precision)


def threshold_for_recall(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_], recall: float) -> float:
    """Return the highest threshold at which at least this share of the true ones raises the alarm."""
    ordered = np.sort(scores[positive])[::-1]
    return float(ordered[int(np.ceil(recall * len(ordered))) - 1])


def threshold_for_false_positives(
    scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_], rate: float
) -> float:
    """Return the lowest of the scores' thresholds at which at most this share of the others raises the alarm."""
    others = np.sort(scores[~positive])[::-1]
    allowed = int(rate * len(others))
    if allowed >= len(others):
        return float(others[-1])
    # Just above the first that must not raise it.
    return float(np.nextafter(others[allowed], np.inf, dtype=others.dtype))


def speaker_draws(n_speakers: int) -> npt.NDArray[np.intp]:
    """Return how often each speaker counts in each of 2,000 draws of whole speakers, ``[shape=(draws, speakers)]``.

    Clips of one speaker are not independent, so intervals are taken over draws of speakers (bootstrap).
    """
    return np.random.default_rng(0).multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), _DRAWS)


def interval(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95% interval of a figure's values over draws, of those that are not NaN; NaN where all are."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def drawn_sums(values: npt.ArrayLike, speakers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the sums of what adds up over clips, of each of the draws of whole speakers.

    Parameters
    ----------
    values
        Of each clip, ``[shape=(n, figures)]``.
    speakers
        Each clip's speaker, ``[shape=(n,)]``.

    Returns
    -------
    ``[shape=(draws, figures)]``.
    """
    rows = np.asarray(values, dtype=np.float64)
    names, speaker = np.unique(speakers, return_inverse=True)
    of_speaker = np.zeros((len(names), rows.shape[1]))
    np.add.at(of_speaker, speaker, rows)
    sums: npt.NDArray[np.float64] = speaker_draws(len(names)) @ of_speaker
    return sums


def share_interval(
    counted: npt.ArrayLike, speakers: npt.ArrayLike, out_of: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Return the 95% interval of a share over draws of whole speakers.

    Parameters
    ----------
    counted
        What counts of each clip, ``[shape=(n,)]``.
    speakers
        Each clip's speaker, ``[shape=(n,)]``.
    out_of
        What each clip is counted out of; 1 where not given.
    """
    parts = np.asarray(counted, dtype=np.float64)
    wholes = np.ones_like(parts) if out_of is None else np.asarray(out_of, dtype=np.float64)
    some, every = drawn_sums(np.stack([parts, wholes], axis=1), speakers).T
    return interval(some / every)


def speaker_interval(figure: Callable[[npt.NDArray[np.intp]], float], speakers: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95% interval of any figure over draws of whole speakers.

    Parameters
    ----------
    figure
        Returns the figure of the clips of these numbers; NaN where it has none.
    speakers
        Each clip's speaker, ``[shape=(n,)]``.
    """
    names, speaker = np.unique(speakers, return_inverse=True)
    clips = [np.flatnonzero(speaker == index) for index in range(len(names))]
    return interval(
        [
            figure(np.concatenate([clips[index] for index in np.repeat(np.arange(len(names)), times)]))
            for times in speaker_draws(len(names))
        ]
    )
