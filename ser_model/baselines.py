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
_GRID: Final[Sequence[Mapping[str, Sequence[Any]]]] = (
    {"svc__kernel": ["linear"], "svc__C": [0.0003, 0.003, 0.03, 0.3]},
    {"svc__kernel": ["rbf"], "svc__C": [1.0, 10.0]},
)
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
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    emotions = np.array([clip.emotion for clip in clips])
    speakers = np.array([clip.speaker for clip in clips])
    predictions = np.empty_like(emotions)
    for tested in folds:
        machine = GridSearchCV(
            make_pipeline(StandardScaler(), SVC(class_weight="balanced")),
            list(_GRID),
            scoring="balanced_accuracy",
            cv=GroupKFold(_INNER_FOLDS),
        )
        machine.fit(features[~tested], emotions[~tested], groups=speakers[~tested])
        predictions[tested] = machine.predict(features[tested])
    return predictions
