"""What a model is worth: its figures on clips of speakers that it never heard, under stated conditions.

The same code path as the pipeline's: samples, quantised log-mel, the ONNX classifier. Knows nothing of training,
needs no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from ser_model.augment import mu_law_round_trip
from ser_model.classifier import Classifier, ModelCard, Probabilities, softmax
from ser_model.corpora import CORPORA, Clip, read_samples, trim_silence
from ser_model.errors import EvaluationError
from ser_model.features import LogMel, QuantizedLogMel, Samples, quantize
from ser_model.taxonomy import MOOD

LONGEST_SEGMENT_S: Final = 3.0
_BOOTSTRAP_DRAWS: Final = 2000
_CALIBRATION_BINS: Final = 10

CONDITIONS: Final[Mapping[str, Callable[[Samples], Samples]]] = MappingProxyType(
    {"clean": lambda samples: samples, "g711": mu_law_round_trip}
)
"""What happens to the 8 kHz samples before the model hears them."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one emotion: precision, recall, F1 and the number of clips."""

    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of one model on one set of clips under one condition.

    Attributes
    ----------
    condition
        A key of `CONDITIONS`.
    corpus, speakers, n
        What it was measured on.
    uar
        Unweighted average recall: the mean of the classes' recalls.
    uar_interval
        95% interval of `uar`, by a bootstrap over speakers.
    accuracy, macro_f1
        Share of right clips; mean of the classes' F1.
    ece
        Expected calibration error over ten bins of equal width (Guo et al., ICML 2017).
    mood_uar
        Mean recall of negative, neutral and positive; clips of an ambiguous emotion are left out.
    conformal_coverage, conformal_size
        How often the 90% emotion set holds the true emotion, and its mean size.
    labels
        The emotions, in the order of `confusion`.
    per_class
        Figures of each emotion.
    confusion
        Clips of the row's emotion that were called the column's.
    """

    condition: str
    corpus: str
    speakers: tuple[str, ...]
    n: int
    uar: float
    uar_interval: tuple[float, float]
    accuracy: float
    macro_f1: float
    ece: float
    mood_uar: float
    conformal_coverage: float
    conformal_size: float
    labels: tuple[str, ...]
    per_class: Mapping[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, figures rounded to four digits."""
        plain: dict[str, Any] = _rounded(asdict(self))
        return plain


def unheard_clips(card: ModelCard, corpus: str, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Return the clips that a model may be measured on: of its test speakers, or of a corpus it never heard.

    Raises
    ------
    EvaluationError
        If the model was trained on the corpus and no speaker of it was held back.
    """
    if corpus not in card.corpora:
        return tuple(clips)
    speakers = card.test_speakers.get(corpus, ())
    unheard = tuple(clip for clip in clips if clip.speaker in speakers)
    if not unheard:
        raise EvaluationError(
            f"{card.model_id} was trained on {corpus} and its test speakers there, {list(speakers)}, have no clip "
            "among those given; expected speakers that it never heard: a figure on others means nothing (name "
            "speakers yourself to insist)"
        )
    return unheard


def evaluate(classifier: Classifier, clips: Sequence[Clip], condition: str) -> Evaluation:
    """Measure a model on clips of one corpus.

    Probabilities of emotions that the corpus does not have are left out and the rest brought to sum 1, as a model of
    eight classes could not be measured on a corpus of seven otherwise.

    Parameters
    ----------
    classifier
        The model.
    clips
        Of one corpus; those of emotions that the model lacks are left out.
    condition
        A key of `CONDITIONS`.

    Raises
    ------
    EvaluationError
        If the condition is unknown, the clips are of several corpora or none is of an emotion that the model has.
    """
    corpora = {clip.corpus for clip in clips}
    if len(corpora) != 1:
        raise EvaluationError(f"clips are of the corpora {sorted(corpora)}; expected one corpus")
    corpus = corpora.pop()
    labels = tuple(label for label in classifier.card.labels if label in CORPORA[corpus].emotions)
    known = [clip for clip in clips if clip.emotion in labels]
    if not known:
        raise EvaluationError(
            f"{corpus}: none of {len(clips)} clips has an emotion of the model; expected one of "
            f"{list(classifier.card.labels)}"
        )
    columns = [classifier.card.labels.index(label) for label in labels]
    probabilities = clip_probabilities(classifier, known, condition)[:, columns]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return figures(probabilities, known, labels, condition, classifier.card.conformal_threshold)


def clip_probabilities(classifier: Classifier, clips: Sequence[Clip], condition: str) -> Probabilities:
    """Return the class probabilities of clips, float32 ``[shape=(len(clips), classes)]``.

    A clip is trimmed to its speech and cut into equal segments of at most 3 s; its probabilities are their mean.

    Raises
    ------
    EvaluationError
        If the condition is unknown.
    """
    if condition not in CONDITIONS:
        raise EvaluationError(f"no condition {condition!r}; expected one of {sorted(CONDITIONS)}")
    spec = classifier.card.feature_spec
    log_mel = LogMel(spec)
    segments: list[QuantizedLogMel] = []
    clip_of_segment: list[int] = []
    for index, clip in enumerate(clips):
        samples = CONDITIONS[condition](read_samples(clip.path, spec.sample_rate_hz))
        for piece in cut_segments(trim_silence(samples, spec.sample_rate_hz), spec.sample_rate_hz):
            segments.append(quantize(log_mel(piece), spec))
            clip_of_segment.append(index)
    by_segment = classifier.probabilities(segments)
    sums = np.zeros((len(clips), by_segment.shape[1]), dtype=np.float32)
    np.add.at(sums, clip_of_segment, by_segment)
    probabilities: Probabilities = sums / sums.sum(axis=1, keepdims=True)
    return probabilities


def cut_segments(samples: Samples, sample_rate_hz: int) -> list[Samples]:
    """Cut samples into equal segments of at most 3 s (views)."""
    count = max(1, int(np.ceil(len(samples) / (LONGEST_SEGMENT_S * sample_rate_hz))))
    return np.array_split(samples, count)


def figures(
    probabilities: Probabilities,
    clips: Sequence[Clip],
    labels: Sequence[str],
    condition: str,
    conformal_threshold: float,
) -> Evaluation:
    """Return the figures of probabilities, a row a clip, a column a label."""
    truth = np.array([labels.index(clip.emotion) for clip in clips])
    predicted = probabilities.argmax(axis=1)
    confusion = _confusion(truth, predicted, len(labels))
    per_class = _per_class(confusion, labels)
    present = [label for label in labels if per_class[label].n]
    speakers = np.array([clip.speaker for clip in clips])
    in_set = (probabilities >= conformal_threshold) | (
        np.arange(len(labels)) == predicted[:, None]  # emotion_set() is never empty
    )
    return Evaluation(
        condition=condition,
        corpus=clips[0].corpus,
        speakers=tuple(sorted(set(speakers.tolist()))),
        n=len(clips),
        uar=unweighted_average_recall(truth, predicted),
        uar_interval=_speaker_interval(truth, predicted, speakers),
        accuracy=float((truth == predicted).mean()),
        macro_f1=float(np.mean([per_class[label].f1 for label in present])),
        ece=expected_calibration_error(probabilities, truth),
        mood_uar=mood_uar(probabilities, truth, labels),
        conformal_coverage=float(in_set[np.arange(len(truth)), truth].mean()),
        conformal_size=float(in_set.sum(axis=1).mean()),
        labels=tuple(labels),
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def unweighted_average_recall(truth: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp]) -> float:
    """Return the mean recall of the classes that occur in `truth`; both ``[shape=(n,)]``."""
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def expected_calibration_error(probabilities: Probabilities, truth: npt.NDArray[np.intp]) -> float:
    """Return the mean distance of confidence and accuracy over ten bins, weighted by their clips."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    return float(
        sum(
            abs(right[bins == index].mean() - confidence[bins == index].mean()) * (bins == index).mean()
            for index in np.unique(bins)
        )
    )


def mood_uar(probabilities: Probabilities, truth: npt.NDArray[np.intp], labels: Sequence[str]) -> float:
    """Return the mean recall of the moods, by the sums of their emotions' probabilities."""
    moods = sorted({MOOD[label] for label in labels} - {"ambiguous"})
    sums = np.stack(
        [
            probabilities[:, [index for index, label in enumerate(labels) if MOOD[label] == mood]].sum(axis=1)
            for mood in moods
        ],
        axis=1,
    )
    clear = [index for index, label in enumerate(truth) if MOOD[labels[label]] != "ambiguous"]
    true_moods = np.array([moods.index(MOOD[labels[truth[index]]]) for index in clear])
    return unweighted_average_recall(true_moods, sums[clear].argmax(axis=1))


def fit_temperature(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.intp]) -> float:
    """Return the temperature at which logits ``[shape=(n, classes)]`` explain the truth best (Guo et al., 2017)."""

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, float(np.exp(log_temperature)))
        return float(-np.log(probabilities[np.arange(len(truth)), truth] + 1e-12).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded").x))


def fit_conformal_threshold(probabilities: Probabilities, truth: npt.NDArray[np.intp], coverage: float = 0.9) -> float:
    """Return the probability from which on an emotion belongs to a set that covers the truth.

    Split conformal prediction with the least ambiguous sets (Sadinle, Lei and Wasserman, JASA 2019).

    Parameters
    ----------
    probabilities
        Of clips that the model was not trained on, ``[shape=(n, classes)]``.
    truth
        Their true classes, ``[shape=(n,)]``.
    coverage
        How often the set shall hold the true emotion.
    """
    of_truth = np.sort(probabilities[np.arange(len(truth)), truth])
    rank = len(truth) + 1 - int(np.ceil((len(truth) + 1) * coverage))
    return float(of_truth[rank - 1]) if rank >= 1 else 0.0


def _confusion(truth: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    return np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)


def _per_class(confusion: npt.NDArray[np.intp], labels: Sequence[str]) -> dict[str, ClassFigures]:
    result: dict[str, ClassFigures] = {}
    for index, label in enumerate(labels):
        right, n, called = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
        precision, recall = float(right / max(called, 1)), float(right / max(n, 1))
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        result[label] = ClassFigures(precision, recall, f1, int(n))
    return result


def _speaker_interval(
    truth: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp], speakers: npt.NDArray[np.str_]
) -> tuple[float, float]:
    """Return the 95% interval of UAR over draws of whole speakers: clips of one speaker are not independent."""
    random = np.random.default_rng(0)
    by_speaker = [np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers)]
    values = []
    for _ in range(_BOOTSTRAP_DRAWS):
        drawn = np.concatenate([by_speaker[i] for i in random.integers(len(by_speaker), size=len(by_speaker))])
        values.append(unweighted_average_recall(truth[drawn], predicted[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value
