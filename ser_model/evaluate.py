"""What a model is worth: its figures on clips of speakers that it never heard, under stated conditions.

The same code path as the pipeline's: samples, what the model hears of them, the ONNX classifier. Knows nothing of
training, needs no torch.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from ser_model.classifier import Classifier, ModelCard, Probabilities, softmax
from ser_model.conditions import CONDITIONS, LINE_RATE_HZ, Condition
from ser_model.corpora import CORPORA, Clip, clip_samples, trim_silence
from ser_model.errors import EvaluationError
from ser_model.features import InputSpec, ModelInput, Samples, model_input
from ser_model.reliability import (
    N_BINS,
    accuracy_of_the_certain,
    confidence_bin,
    coverage,
    interval,
    speaker_draws,
)
from ser_model.taxonomy import MOOD

LONGEST_SEGMENT_S: Final = 3.0


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
    intervals
        The same of `accuracy`, `macro_f1`, `ece` and `mood_uar`.
    accuracy, macro_f1
        Share of right clips; mean of the classes' F1.
    ece
        Expected calibration error over ten bins of equal width (Guo et al., ICML 2017).
    mood_uar
        Mean recall of negative, neutral and positive; clips of an ambiguous emotion are left out.
    accuracy_of_the_certain
        Share of right clips without the quarter that the model is least confident of.
    uar_by_sex
        `uar` of the clips of each sex that the corpus tells.
    conformal_coverage, conformal_size
        How often the 90% emotion set holds the true emotion, and its mean size.
    unchanged
        Share of clips that are called what they are called without the condition.
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
    intervals: Mapping[str, tuple[float, float]]
    accuracy: float
    macro_f1: float
    ece: float
    mood_uar: float
    accuracy_of_the_certain: float
    uar_by_sex: Mapping[str, float]
    conformal_coverage: float
    conformal_size: float
    unchanged: float
    labels: tuple[str, ...]
    per_class: Mapping[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, figures rounded to four digits."""
        plain: dict[str, Any] = _rounded(asdict(self))
        return plain


def unheard_clips(card: ModelCard, corpus: str, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Return the clips that a model may be measured on: of speakers that it never heard.

    Raises
    ------
    EvaluationError
        If there is none, or the model was trained on the corpus and does not say which speakers it heard.
    """
    if corpus not in card.corpora:
        return tuple(clips)
    speakers = {clip.speaker for clip in clips}
    unheard = speakers - set(card.heard_speakers.get(corpus, speakers))
    if not unheard:
        raise EvaluationError(
            f"{card.model_id} was trained on {corpus} and heard all speakers given: {sorted(speakers)}; expected some "
            "that it never heard: a figure on others means nothing (name speakers yourself to insist)"
        )
    return tuple(clip for clip in clips if clip.speaker in unheard)


def evaluate(
    classifier: Classifier,
    clips: Sequence[Clip],
    condition: str,
    conditions: Mapping[str, Condition] = CONDITIONS,
) -> Evaluation:
    """Measure a model on clips of one corpus.

    Probabilities of emotions that the corpus does not have are left out and the rest brought to sum 1, as a model of
    eight classes could not be measured on a corpus of seven otherwise.

    Parameters
    ----------
    classifier
        The model.
    clips
        Of one corpus; those of emotions that the model lacks, or that annotators did not agree on, are left out.
    condition
        A key of `conditions`.
    conditions
        What the conditions are: with recorded noise, those of `ser_model.conditions.conditions`.

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
    known = [clip for clip in clips if clip.emotion in labels and clip.agreed]
    if not known:
        raise EvaluationError(
            f"{corpus}: none of {len(clips)} clips has an emotion of the model; expected one of "
            f"{list(classifier.card.labels)}"
        )

    def measured(condition: str) -> Probabilities:
        return among(clip_probabilities(classifier, known, condition, conditions), classifier.card.labels, labels)

    probabilities = measured(condition)
    clean = probabilities if condition == "clean" else measured("clean")
    unchanged = float((probabilities.argmax(axis=1) == clean.argmax(axis=1)).mean())
    return figures(probabilities, known, labels, condition, classifier.card.conformal_threshold, unchanged)


def among(probabilities: Probabilities, labels: Sequence[str], chosen: Sequence[str]) -> Probabilities:
    """Return the probabilities of some of the labels, ``[shape=(n, chosen)]``, brought to sum 1."""
    some = probabilities[:, [labels.index(label) for label in chosen]]
    normalized: Probabilities = some / some.sum(axis=1, keepdims=True)
    return normalized


def clip_probabilities(
    classifier: Classifier,
    clips: Sequence[Clip],
    condition: str,
    conditions: Mapping[str, Condition] = CONDITIONS,
) -> Probabilities:
    """Return the class probabilities of clips, float32 ``[shape=(len(clips), classes)]``: the mean of their segments'.

    Raises
    ------
    EvaluationError
        If the condition is unknown.
    """
    by_clip = clip_segments(clips, classifier.card.feature_spec, condition, conditions)
    clip_of_segment = [index for index, segments in enumerate(by_clip) for _ in segments]
    by_segment = classifier.probabilities([segment for segments in by_clip for segment in segments])
    return mean_by_clip(by_segment, clip_of_segment)


def mean_by_clip(by_segment: Probabilities, clip_of_segment: npt.ArrayLike) -> Probabilities:
    """Return the mean of each clip's segments, ``[shape=(clips, classes)]``; `clip_of_segment` counts clips from 0."""
    clip = np.asarray(clip_of_segment, dtype=np.intp)
    sums = np.zeros((clip.max() + 1, by_segment.shape[1]), dtype=np.float32)
    np.add.at(sums, clip, by_segment)
    sums /= np.bincount(clip)[:, None]
    return sums


def clip_segments(
    clips: Sequence[Clip],
    spec: InputSpec,
    condition: str,
    conditions: Mapping[str, Condition] = CONDITIONS,
    longest_s: float = LONGEST_SEGMENT_S,
) -> list[list[ModelInput]]:
    """Return each clip's segments under a condition, as a model hears them.

    A clip is cut to its speech, then sent through the condition (so a signal-to-noise ratio is that of the speech),
    then cut into equal segments of at most `longest_s`. What is random in a condition follows from the clip's name.

    Raises
    ------
    EvaluationError
        If the condition is unknown, or a clip is too short to be heard.
    """
    if condition not in conditions:
        raise EvaluationError(f"no condition {condition!r}; expected one of {list(conditions)}")
    rate_hz, heard_as = spec.sample_rate_hz, model_input(spec)
    result = []
    for clip in clips:
        samples = trim_silence(clip_samples(clip, rate_hz), rate_hz)
        if condition != "clean":
            seed = zlib.crc32(f"{clip.path.name} {clip.channel} {clip.start_s}".encode())
            samples = _on_the_line(conditions[condition], samples, rate_hz, seed)
        segments = [heard_as(piece) for piece in cut_segments(samples, rate_hz, longest_s)]
        if not all(map(len, segments)):
            raise EvaluationError(
                f"{clip.path} has {len(samples) / rate_hz:.3f} s of sound; expected at least a window of the model: "
                "take it out of the corpus"
            )
        result.append(segments)
    return result


def _on_the_line(condition: Condition, samples: Samples, rate_hz: int, seed: int) -> Samples:
    """Send samples of any rate through a condition, which is of 8 kHz."""
    if rate_hz == LINE_RATE_HZ:
        return condition(samples, seed)
    import soxr

    heard = condition(soxr.resample(samples, rate_hz, LINE_RATE_HZ), seed)
    return np.ascontiguousarray(soxr.resample(heard, LINE_RATE_HZ, rate_hz), dtype=np.float32)


def cut_segments(samples: Samples, sample_rate_hz: int, longest_s: float = LONGEST_SEGMENT_S) -> list[Samples]:
    """Cut samples into equal segments of at most `longest_s` (views)."""
    count = max(1, int(np.ceil(len(samples) / (longest_s * sample_rate_hz))))
    return np.array_split(samples, count)


def figures(
    probabilities: Probabilities,
    clips: Sequence[Clip],
    labels: Sequence[str],
    condition: str,
    conformal_threshold: float | npt.NDArray[np.floating[Any]],
    unchanged: float,
) -> Evaluation:
    """Return the figures of probabilities.

    Parameters
    ----------
    probabilities
        A row a clip, a column a label.
    clips, labels
        Of one corpus; each clip's emotion is one of the labels. A clip may be there several times, as several models
        heard it.
    condition
        What the clips were sent through.
    conformal_threshold
        One for all, or each clip's own, ``[shape=(n, 1)]``.
    unchanged
        Share of clips that are called what they are called without the condition.
    """
    truth = np.array([labels.index(clip.emotion) for clip in clips])
    predicted = probabilities.argmax(axis=1)
    speakers, speaker = np.unique([clip.speaker for clip in clips], return_inverse=True)
    counts = _SpeakerCounts.of(probabilities, truth, labels, speaker)
    every_speaker = np.ones((1, len(speakers)))
    of_draws = counts.figures(speaker_draws(len(speakers)))
    intervals = {name: interval(values) for name, values in of_draws.items()}
    per_class = _per_class(_confusion(truth, predicted, len(labels)), labels)
    sets = coverage(probabilities, truth, conformal_threshold)
    return Evaluation(
        condition=condition,
        corpus=clips[0].corpus,
        speakers=tuple(map(str, speakers)),
        n=len(clips),
        uar_interval=intervals.pop("uar"),
        intervals=intervals,
        **{name: float(values[0]) for name, values in counts.figures(every_speaker).items()},
        accuracy_of_the_certain=accuracy_of_the_certain(probabilities, truth),
        uar_by_sex={
            sex: unweighted_average_recall(truth[of_sex], predicted[of_sex])
            for sex in ("female", "male")
            if (of_sex := np.array([clip.sex == sex for clip in clips])).any()
        },
        conformal_coverage=sets.coverage,
        conformal_size=sets.mean_size,
        unchanged=unchanged,
        labels=tuple(labels),
        per_class=per_class,
        confusion=tuple(tuple(map(int, row)) for row in _confusion(truth, predicted, len(labels))),
    )


@dataclass(frozen=True)
class _SpeakerCounts:
    """What the figures are made of, a row a speaker: all of it adds up over speakers.

    Attributes
    ----------
    confusion, moods
        Clips by true and named emotion, and by true and named mood, ``[shape=(speakers, n, n)]``.
    bins
        Of each bin of confidence the clips, the right ones and the sum of confidences, ``[shape=(speakers, bins, 3)]``.
    """

    confusion: npt.NDArray[np.float64]
    moods: npt.NDArray[np.float64]
    bins: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        probabilities: Probabilities,
        truth: npt.NDArray[np.intp],
        labels: Sequence[str],
        speaker: npt.NDArray[np.intp],
    ) -> "_SpeakerCounts":
        n_speakers, predicted = int(speaker.max()) + 1, probabilities.argmax(axis=1)
        confusion = np.zeros((n_speakers, len(labels), len(labels)))
        np.add.at(confusion, (speaker, truth, predicted), 1)
        clear, true_moods, named_moods, n_moods = _moods(probabilities, truth, labels)
        moods = np.zeros((n_speakers, n_moods, n_moods))
        np.add.at(moods, (speaker[clear], true_moods, named_moods), 1)
        confidence = probabilities.max(axis=1)
        bins = np.zeros((n_speakers, N_BINS, 3))
        entries = np.stack([np.ones(len(truth)), predicted == truth, confidence], axis=1)
        np.add.at(bins, (speaker, confidence_bin(confidence)), entries)
        return cls(confusion, moods, bins)

    def figures(self, draws: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
        """Return each figure, ``[shape=(draws,)]``, of how often each speaker counts, ``[shape=(draws, speakers)]``."""
        confusion = np.tensordot(draws, self.confusion, 1)
        right, n, named = (confusion.diagonal(axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):  # a class without a clip counts in no mean
            f1 = np.where(n > 0, 2 * right / (n + named), np.nan)
            clips, of_them_right, confidence = np.moveaxis(np.tensordot(draws, self.bins, 1), 2, 0)
            return {
                "uar": _mean_recall(confusion),
                "accuracy": right.sum(axis=1) / n.sum(axis=1),
                "macro_f1": np.nanmean(f1, axis=1),
                "ece": np.abs(of_them_right - confidence).sum(axis=1) / clips.sum(axis=1),
                "mood_uar": _mean_recall(np.tensordot(draws, self.moods, 1)),
            }


def _mean_recall(confusion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean recall of the classes that occur; NaN where none does."""
    n = confusion.sum(axis=2)
    recall = np.divide(confusion.diagonal(axis1=1, axis2=2), n, out=np.zeros_like(n), where=n > 0)
    present: npt.NDArray[np.float64] = recall.sum(axis=1) / (n > 0).sum(axis=1)
    return present


def unweighted_average_recall(truth: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp]) -> float:
    """Return the mean recall of the classes that occur in `truth`; both ``[shape=(n,)]``."""
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def mood_uar(probabilities: Probabilities, truth: npt.NDArray[np.intp], labels: Sequence[str]) -> float:
    """Return the mean recall of the moods, by the sums of their emotions' probabilities."""
    _, true_moods, named_moods, _ = _moods(probabilities, truth, labels)
    return unweighted_average_recall(true_moods, named_moods)


def _moods(
    probabilities: Probabilities, truth: npt.NDArray[np.intp], labels: Sequence[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Return which clips have a clear mood, their true moods, the named ones, and how many moods there are."""
    moods = sorted({MOOD[label] for label in labels} - {"ambiguous"})
    of_mood = np.array([[MOOD[label] == mood for mood in moods] for label in labels], dtype=np.float32)
    clear = np.flatnonzero([MOOD[labels[label]] != "ambiguous" for label in truth])
    true_moods = np.array([moods.index(MOOD[labels[truth[index]]]) for index in clear], dtype=np.intp)
    return clear, true_moods, (probabilities[clear] @ of_mood).argmax(axis=1), len(moods)


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


def calibrate(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return temperature and conformal threshold by logits of unheard clips, rounded as ``model.yaml`` has them."""
    temperature = round(fit_temperature(logits, truth), 4)
    return temperature, round(fit_conformal_threshold(softmax(logits, temperature), truth), 6)


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


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value
