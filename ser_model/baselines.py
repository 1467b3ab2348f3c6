"""What a model is measured beside: the field's acoustic functionals with a support vector machine.

ComParE 2016 (6,373 functionals) and eGeMAPS (88), by openSMILE, on the same clips, conditions and folds as a network.
Needs opensmile, which no lock has: its core is for research only. For the report alone; the pipeline uses none of it.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ser_model.conditions import CONDITIONS, LINE_RATE_HZ, Condition
from ser_model.corpora import Clip, clip_samples, trim_silence
from ser_model.folds import Fold

FeatureSet = Literal["ComParE_2016", "eGeMAPSv02"]
Functionals = npt.NDArray[np.float64]
"""``[shape=(clips, functionals)]``."""

# Chosen anew in every fold, by speakers of its training part.
_COSTS: Final[Mapping[str, Sequence[float]]] = {"linear": (0.3, 3.0, 30.0), "rbf": (1.0, 3.0, 10.0)}
_INNER_FOLDS: Final = 4


def functionals(
    clips: Sequence[Clip],
    feature_set: FeatureSet,
    condition: str,
    conditions: Mapping[str, Condition] = CONDITIONS,
) -> Functionals:
    """Return openSMILE's functionals of whole clips at 8 kHz, cut to their speech and sent through a condition.

    Numbers that openSMILE cannot tell are 0.
    """
    import opensmile

    smile = opensmile.Smile(
        feature_set=getattr(opensmile.FeatureSet, feature_set), feature_level=opensmile.FeatureLevel.Functionals
    )
    rows = []
    for clip in clips:
        samples = trim_silence(clip_samples(clip, LINE_RATE_HZ), LINE_RATE_HZ)
        heard = conditions[condition](samples, zlib.crc32(clip.path.name.encode()))
        rows.append(smile.process_signal(heard, LINE_RATE_HZ).to_numpy()[0])
    return np.nan_to_num(np.array(rows, dtype=np.float64))


def svm_predictions(features: Functionals, clips: Sequence[Clip], folds: Sequence[Fold]) -> npt.NDArray[np.str_]:
    """Return what a support vector machine calls each clip, trained on the folds that do not test on it.

    Features are standardised, kernel and cost chosen on speakers of the training part: nothing of a fold's test clips
    is used.

    Parameters
    ----------
    features
        A row a clip.
    clips
        Of one corpus.
    folds
        Each clip is tested on in one of them.

    Returns
    -------
    An emotion a clip.
    """
    emotions = np.array([clip.emotion for clip in clips])
    speakers = np.array([clip.speaker for clip in clips])
    predictions = np.empty_like(emotions)
    for tested in folds:
        trained = ~tested
        grams = _gram_matrices(features, trained)
        tried = {
            (kernel, cost): _inner_uar(
                grams[kernel][np.ix_(trained, trained)], emotions[trained], speakers[trained], cost
            )
            for kernel, costs in _COSTS.items()
            for cost in costs
        }
        kernel, cost = max(tried, key=tried.__getitem__)
        machine = _machine(cost).fit(grams[kernel][np.ix_(trained, trained)], emotions[trained])
        predictions[tested] = machine.predict(grams[kernel][np.ix_(tested, trained)])
    return predictions


def _machine(cost: float) -> Any:
    from sklearn.svm import SVC

    return SVC(kernel="precomputed", C=cost, class_weight="balanced")


def _inner_uar(gram: Functionals, emotions: npt.NDArray[np.str_], speakers: npt.NDArray[np.str_], cost: float) -> float:
    """Return the mean UAR of folds of speakers within a training part."""
    from sklearn.model_selection import GroupKFold, cross_val_score

    folds = GroupKFold(_INNER_FOLDS)
    scores = cross_val_score(_machine(cost), gram, emotions, groups=speakers, cv=folds, scoring="balanced_accuracy")
    return float(scores.mean())


def _gram_matrices(features: Functionals, trained: Fold) -> dict[str, Functionals]:
    """Return what each kernel makes of two clips, ``[shape=(clips, clips)]``, standardised by the training part.

    Computed once a fold: there are more functionals than clips.
    """
    spread = features[trained].std(axis=0)
    scaled = (features - features[trained].mean(axis=0)) / np.where(spread > 0, spread, 1)
    products = scaled @ scaled.T / features.shape[1]
    squares = products.diagonal()
    return {"linear": products, "rbf": np.exp(2 * products - squares[:, None] - squares)}
