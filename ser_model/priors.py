"""How often each emotion occurs: what a model trained on balanced, acted speech must be told about real calls.

Probabilities are right only for the mix of classes that they were calibrated on. Here they are moved to another mix,
and the mix of unlabelled speech is estimated from them. Pure functions of arrays; knows nothing of models or files.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from ser_model.classifier import Probabilities
from ser_model.errors import EvaluationError

Priors = npt.NDArray[np.float64]
"""How often each class occurs, ``[shape=(classes,)]``, sum 1."""

CALL_PRIORS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "neutral": 0.70,
        "calm": 0.12,
        "happy": 0.05,
        "amused": 0.02,
        "surprised": 0.02,
        "sad": 0.02,
        "angry": 0.02,
        "fearful": 0.01,
        "disgusted": 0.01,
        "bored": 0.02,
        "sleepy": 0.01,
    }
)
"""How often each emotion is *assumed* to occur in customers' speech. Measured nowhere: it shows what a mix of mostly
neutral speech does to figures of balanced corpora; a company that has labels, or estimates, has better numbers."""


def call_priors(labels: Sequence[str]) -> Priors:
    """Return `CALL_PRIORS` of a model's labels, brought to sum 1."""
    shares = np.array([CALL_PRIORS[label] for label in labels])
    priors: Priors = shares / shares.sum()
    return priors


def uniform_priors(n_classes: int) -> Priors:
    """Return the mix in which every class is as frequent."""
    return np.full(n_classes, 1 / n_classes)


def adjust_to_priors(probabilities: Probabilities, from_priors: Priors, to_priors: Priors) -> Probabilities:
    """Move probabilities from one mix of classes to another.

    Parameters
    ----------
    probabilities
        Calibrated where classes occur as `from_priors` says, ``[shape=(n, classes)]``.
    from_priors, to_priors
        How often each class occurs there, and where the probabilities are to hold.

    Returns
    -------
    float32 of the same shape; each row sums to 1.
    """
    moved = probabilities * (to_priors / from_priors)
    adjusted: Probabilities = (moved / moved.sum(axis=1, keepdims=True)).astype(np.float32)
    return adjusted


def estimate_priors(
    probabilities: Probabilities, from_priors: Priors, tolerance: float = 1e-7, max_rounds: int = 10_000
) -> Priors:
    """Estimate how often each class occurs in unlabelled data, from a calibrated model's probabilities of it.

    Expectation maximisation (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002). Right as far as the
    model is calibrated and the classes sound alike in both places; of classes that the model confuses it is unsure.

    Parameters
    ----------
    probabilities
        Of unlabelled data, calibrated at `from_priors`, ``[shape=(n, classes)]``.
    from_priors
        The mix that the model was calibrated at.
    tolerance, max_rounds
        Ends where no prior changes by more in a round, or after so many rounds.
    """
    ratios = probabilities.astype(np.float64) / from_priors
    priors = np.asarray(from_priors, dtype=np.float64)
    for _ in range(max_rounds):
        weighted = ratios * priors
        updated: Priors = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(updated - priors).max() < tolerance:
            return updated
        priors = updated
    return priors


def estimate_priors_by_confusion(confusion: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp]) -> Priors:
    """Estimate how often each class occurs in unlabelled data, from what a model calls it and which it confuses.

    Black box shift estimation (Lipton, Wang and Smola, ICML 2018), with shares that are not negative. Needs no
    calibrated probabilities, but labelled data that the model was not trained on.

    Parameters
    ----------
    confusion
        Labelled clips by true class (row) and the class that they were called, ``[shape=(classes, classes)]``.
    predicted
        What unlabelled data was called, ``[shape=(n,)]``.

    Raises
    ------
    EvaluationError
        If a class has no labelled clip.
    """
    if not confusion.sum(axis=1).all():
        raise EvaluationError(f"labelled clips by class are {confusion.sum(axis=1)}; expected some of each")
    called_of_true = confusion / confusion.sum(axis=1, keepdims=True)
    called = np.bincount(predicted, minlength=len(confusion)) / len(predicted)
    shares, _ = nnls(called_of_true.T, called)
    priors: Priors = shares / shares.sum()
    return priors


def weights_for_priors(truth: npt.NDArray[np.intp], priors: Priors) -> npt.NDArray[np.float64]:
    """Return what each labelled clip counts so that the classes count as often as priors say, ``[shape=(n,)]``, sum 1.

    Classes of which there is no clip are left out and the others keep their proportions.
    """
    counts = np.bincount(truth, minlength=len(priors))
    weights = priors[truth] / counts[truth]
    normalized: npt.NDArray[np.float64] = weights / weights.sum()
    return normalized
