"""The figures of the report on a model, measured on clips of speakers that the networks never heard.

Everything follows from the runs, the corpora and fixed seeds. Figures of several seeds are of their predictions
together: each clip counts once a seed. Intervals are 95%, over draws of whole speakers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reporting.model_report.alerts import anger, calls, recordings
from reporting.model_report.figures import (
    FALL,
    TELEPHONE,
    Beside,
    Calibration,
    LengthFigures,
    PriorsTried,
    Report,
    Task,
)
from ser_model.baselines import FeatureSet, functionals, svm_predictions
from ser_model.classifier import Classifier, Probabilities
from ser_model.conditions import Condition
from ser_model.corpora import CORPORA, Clip, CorpusContents
from ser_model.crossvalidation import RANDOM_FOLD, fold_groups
from ser_model.evaluate import (
    LONGEST_SEGMENT_S,
    Evaluation,
    among,
    evaluate,
    figures,
    unheard_clips,
    unweighted_average_recall,
)
from ser_model.folds import speaker_folds
from ser_model.predictions import Predictions, joined
from ser_model.priors import (
    adjust_to_priors,
    call_priors,
    estimate_priors,
    estimate_priors_by_confusion,
    uniform_priors,
    weights_for_priors,
)
from ser_model.reliability import (
    coverage,
    expected_calibration_error,
    reliability,
    speaker_interval,
)
from ser_model.saved_runs import Cache, Listener, Run, clips_digest
from ser_model.taxonomy import EMOTIONS
from ser_model.train import Split

LENGTHS_S: Final = ((0.5, 1.0), (1.0, 2.0), (2.0, 3.0))

_DRAWN_TO_MIX: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the report is made of.

    Attributes
    ----------
    runs, random_runs
        Finished runs of the folds, and of a random split.
    unfinished
        Names of runs that are left out.
    n_expected
        Runs that a whole cross-validation has.
    splits
        The clips of each run by use.
    corpora
        All that were given.
    conditions, noise
        What clips are sent through, and the name of the noise in it.
    listener
        Lets runs hear clips.
    cache
        Of the baselines.
    shipped
        The model that ships: what hears the real recordings.
    previous
        The one that shipped before, measured on speakers that it never heard; None: left out.
    recordings
        A folder of calls, if any.
    """

    runs: Sequence[Run]
    random_runs: Sequence[Run]
    unfinished: Sequence[str]
    n_expected: int
    splits: Mapping[str, Split]
    corpora: Mapping[str, CorpusContents]
    conditions: Mapping[str, Condition]
    noise: str
    listener: Listener
    cache: Cache
    shipped: Classifier
    previous: Classifier | None
    recordings: Path | None

    def heard(self, corpus: str, condition: str, longest_s: float = LONGEST_SEGMENT_S) -> Predictions | None:
        """Return what each run makes of its own test clips of a corpus; None where no run has one."""
        parts = []
        for run in self.runs:
            clips = [clip for clip in self.splits[run.name].test if clip.corpus == corpus and clip.agreed]
            if clips:
                parts.append(self.listener.hear(run, clips, condition, longest_s))
        return joined(parts) if parts else None


def evaluation(
    heard: Predictions, condition: str, labels: Sequence[str], clean: Predictions | None = None
) -> Evaluation:
    """Return the figures of clips, named among some of the classes.

    Parameters
    ----------
    heard
        Clips of one corpus; those of other classes are left out.
    condition
        What they were sent through.
    labels
        The classes.
    clean
        The same rows without the condition.
    """
    rows = heard.rows(np.array([clip.emotion in labels for clip in heard.clips]))
    probabilities = among(rows.probabilities, heard.labels, labels)
    unchanged = 1.0
    if clean is not None:
        unchanged = float((clean.probabilities.argmax(axis=1) == heard.probabilities.argmax(axis=1)).mean())
    return figures(probabilities, rows.clips, labels, condition, rows.thresholds, unchanged)


def measured_conditions(
    material: Material,
) -> tuple[dict[str, Predictions], dict[str, Evaluation], dict[int, dict[str, Evaluation]], tuple[str, ...]]:
    """Return what is heard, the figures of all runs, those of each seed, and the conditions that cost too much."""
    found = {condition: material.heard("ravdess", condition) for condition in material.conditions}
    heard = {condition: rows for condition, rows in found.items() if rows is not None}
    clean = heard["clean"]
    together = {name: evaluation(rows, name, rows.labels, clean) for name, rows in heard.items()}
    by_seed = {
        int(seed): {
            name: evaluation(rows.rows(rows.seeds == seed), name, rows.labels, clean.rows(clean.seeds == seed))
            for name, rows in heard.items()
        }
        for seed in np.unique(clean.seeds)
    }
    falls = tuple(name for name, result in together.items() if together["clean"].uar - result.uar > FALL)
    return heard, together, by_seed, falls


def tasks(heard: Predictions, eight: Evaluation) -> tuple[Task, ...]:
    """Return the figures of other classes than the eight, on the same clips."""
    seven = [label for label in heard.labels if label in CORPORA["tess"].emotions]
    of_seven = evaluation(heard, TELEPHONE, seven)
    of_two = evaluation(heard, TELEPHONE, ["happy", "sad"])
    truth = heard.truth == heard.labels.index("angry")
    named = heard.probabilities.argmax(axis=1) == heard.labels.index("angry")

    def of_angry(rows: npt.NDArray[np.intp]) -> float:
        return unweighted_average_recall(truth[rows].astype(np.intp), named[rows].astype(np.intp))

    return (
        Task("the eight emotions", len(eight.labels), eight.uar, eight.uar_interval),
        Task("the seven that TESS has (without calm)", len(seven), of_seven.uar, of_seven.uar_interval),
        Task("moods: negative, neutral, positive", 3, eight.mood_uar, eight.intervals["mood_uar"]),
        Task("angry against the rest", 2, of_angry(np.arange(len(truth))), speaker_interval(of_angry, heard.speakers)),
        Task("happy against sad, nothing else", 2, of_two.uar, of_two.uar_interval),
    )


def calibration(material: Material, heard: Mapping[str, Predictions]) -> Calibration:
    """Return how far the probabilities are right, as they are and at other mixes of the classes."""
    rows = heard[TELEPHONE]
    truth, probabilities = rows.truth, rows.probabilities
    priors = call_priors(rows.labels)
    weights = weights_for_priors(truth, priors)
    moved = adjust_to_priors(probabilities, uniform_priors(len(rows.labels)), priors)
    sets = coverage(probabilities, truth, rows.thresholds)
    return Calibration(
        temperatures={run.name: material.listener.calibration(run)[0] for run in material.runs},
        before=tuple(reliability(rows.uncalibrated, truth)),
        after=tuple(reliability(probabilities, truth)),
        ece_before=expected_calibration_error(rows.uncalibrated, truth),
        ece_of_a_run={
            condition: float(np.mean([_ece(found.rows(np.array(found.runs) == run)) for run in set(found.runs)]))
            for condition, found in heard.items()
        },
        ece_at_call_priors=expected_calibration_error(probabilities, truth, weights),
        ece_at_call_priors_moved=expected_calibration_error(moved, truth, weights),
        coverage=sets.coverage,
        worst_class=sets.worst_class,
        set_size=sets.mean_size,
        priors=_priors_tried(material, rows),
    )


def _ece(heard: Predictions) -> float:
    return expected_calibration_error(heard.probabilities, heard.truth)


def _priors_tried(material: Material, heard: Predictions) -> tuple[PriorsTried, ...]:
    """Return what moving to a mix gives on each run's test clips drawn to `CALL_PRIORS`, the run knowing no label."""
    true_mix, uniform = call_priors(heard.labels), uniform_priors(len(heard.labels))
    tried: dict[str, list[tuple[float, float, float, float]]] = {}
    for run in material.runs:
        development = material.listener.hear(run, material.splits[run.name].development, TELEPHONE)
        labelled, named = development.truth, development.probabilities.argmax(axis=1)
        n = len(heard.labels)
        confusion = np.bincount(labelled * n + named, minlength=n * n).reshape(n, n)
        mine = heard.rows(np.array(heard.runs) == run.name)
        random = np.random.default_rng(run.seed)
        drawn = random.choice(len(mine.clips), _DRAWN_TO_MIX, p=weights_for_priors(mine.truth, true_mix))
        probabilities, truth = mine.probabilities[drawn], mine.truth[drawn]
        mixes = {
            "as they are: every emotion as frequent": uniform,
            "the true mix, were it known": true_mix,
            "estimated, expectation maximisation": estimate_priors(probabilities, uniform),
            "estimated, black box shift": estimate_priors_by_confusion(confusion, probabilities.argmax(axis=1)),
        }
        for name, mix in mixes.items():
            moved: Probabilities = adjust_to_priors(probabilities, uniform, mix)
            tried.setdefault(name, []).append(
                (
                    float(np.abs(mix - true_mix).sum()) / 2,
                    float(mix[heard.labels.index("angry")]),
                    expected_calibration_error(moved, truth),
                    float((moved.argmax(axis=1) == truth).mean()),
                )
            )
    return tuple(PriorsTried(name, *np.mean(rows, axis=0).tolist()) for name, rows in tried.items())


def lengths(material: Material) -> tuple[LengthFigures, ...]:
    """Return the figures of the test clips' speech cut into segments of several lengths."""
    result = []
    for from_s, to_s in LENGTHS_S:
        heard = material.heard("ravdess", TELEPHONE, longest_s=to_s)
        if heard is None:
            continue
        inside = np.flatnonzero(heard.segment_s > from_s)
        if not len(inside):
            continue
        truth = heard.truth[heard.row_of_segment[inside]]
        named = heard.by_segment[inside].argmax(axis=1)
        speakers = heard.speakers[heard.row_of_segment[inside]]

        def uar(
            rows: npt.NDArray[np.intp], truth: npt.NDArray[np.intp] = truth, named: npt.NDArray[np.intp] = named
        ) -> float:
            return unweighted_average_recall(truth[rows], named[rows])

        result.append(
            LengthFigures(from_s, to_s, len(inside), uar(np.arange(len(inside))), speaker_interval(uar, speakers))
        )
    return tuple(result)


def other_corpora(material: Material) -> dict[str, Evaluation]:
    """Return the figures of corpora that no run was trained on, each on its own labels, by the first seed's runs."""
    seed = material.runs[0].seed
    chosen = [run for run in material.runs if run.seed == seed]
    heard_in_training = set(material.runs[0].config.corpora)
    result = {}
    for name, contents in material.corpora.items():
        # TESS has two speakers and one sentence: a test on it means nothing.
        if name in heard_in_training or name == "tess":
            continue
        labels = [label for label in chosen[0].config.labels if label in CORPORA[name].emotions]
        clips = [clip for clip in contents.clips if clip.emotion in labels and clip.agreed]
        parts = [material.listener.hear(run, clips, TELEPHONE) for run in chosen]
        result[name] = evaluation(joined(parts), TELEPHONE, labels)
    return result


def beside(material: Material, eight: Evaluation, heard: Predictions) -> tuple[Beside, ...]:
    """Return what the network is compared with: baselines, the previous model, and itself on a random split."""
    network = Beside(
        "this network",
        f"{_runs(len(material.runs))}, speakers apart",
        eight.n,
        len(eight.speakers),
        eight.uar,
        eight.uar_interval,
    )
    clips = [clip for clip in material.corpora["ravdess"].clips if clip.emotion in heard.labels]
    rows = [network, *(_machine(material, clips, name) for name in _MACHINES)]
    if material.previous is not None:
        rows += _previous(material, material.previous, clips, heard)
    for run in material.random_runs:
        split = material.splits[run.name]
        leaking = material.listener.hear(run, [c for c in split.test if c.corpus == "ravdess"], TELEPHONE)
        found = evaluation(leaking, TELEPHONE, leaking.labels)
        rows.append(
            Beside(
                "this network, random split",
                f"{run.config.epochs} epochs, the test speakers' other clips in training: not to be believed",
                found.n,
                len(found.speakers),
                found.uar,
                found.uar_interval,
            )
        )
    return tuple(rows)


def _previous(material: Material, previous: Classifier, clips: Sequence[Clip], heard: Predictions) -> list[Beside]:
    """Return the previous model on speakers that it never heard, and this network on the same.

    Raises
    ------
    EvaluationError
        If it heard all.
    """
    card = previous.card
    found = evaluate(previous, unheard_clips(card, "ravdess", clips), TELEPHONE, material.conditions)
    name, how = f"{card.name} {card.version}, before", "one run, its own test speakers"
    rows = [Beside(name, how, found.n, len(found.speakers), found.uar, found.uar_interval)]
    same = heard.rows(np.isin(heard.speakers, found.speakers))
    if len(same.clips):
        found = evaluation(same, TELEPHONE, heard.labels)
        rows.append(
            Beside(
                "this network, the same speakers",
                _runs(len(set(same.runs))),
                found.n,
                len(found.speakers),
                found.uar,
                found.uar_interval,
            )
        )
    return rows


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


_MACHINES: Final[Mapping[FeatureSet, str]] = {"ComParE_2016": "ComParE, SVM", "eGeMAPSv02": "eGeMAPS, SVM"}


def _machine(material: Material, clips: Sequence[Clip], feature_set: FeatureSet) -> Beside:
    """Return a support vector machine on openSMILE's functionals: RAVDESS alone, the folds' groups of speakers."""
    groups = fold_groups()

    def compute() -> dict[str, npt.NDArray[Any]]:
        features = functionals(clips, feature_set, TELEPHONE, material.conditions)
        named = svm_predictions(features, clips, speaker_folds(clips, groups.values()))
        return {"named": np.array([EMOTIONS.index(emotion) for emotion in named], dtype=np.intp)}

    key = [clips_digest(clips), [clip.emotion for clip in clips], feature_set, TELEPHONE, sorted(groups.items())]
    sources = ("augment", "baselines", "conditions", "corpora", "folds")
    named = material.cache.get("baseline", key, sources, compute)["named"]
    truth = np.array([EMOTIONS.index(clip.emotion) for clip in clips], dtype=np.intp)
    speakers = np.array([clip.speaker for clip in clips])

    def uar(rows: npt.NDArray[np.intp]) -> float:
        return unweighted_average_recall(truth[rows], named[rows])

    return Beside(
        _MACHINES[feature_set],
        "trained on RAVDESS alone, the five folds, speakers apart",
        len(clips),
        len(np.unique(speakers)),
        uar(np.arange(len(clips))),
        speaker_interval(uar, speakers),
    )


def measure(material: Material, timed: Callable[[str], Any]) -> Report:
    """Measure everything.

    Parameters
    ----------
    material
        What there is.
    timed
        Returns a context that measures the time of what is named.
    """
    first = material.runs[0].config
    with timed("conditions"):
        heard, together, by_seed, falls = measured_conditions(material)
    rows, eight = heard[TELEPHONE], together[TELEPHONE]
    with timed("recordings"):
        found = recordings(material.recordings, material.shipped) if material.recordings else ()
    with timed("alerts"):
        of_tasks, of_anger, of_calls = tasks(rows, eight), anger(rows), calls(rows, found)
    with timed("calibration"):
        of_calibration = calibration(material, heard)
    with timed("lengths"):
        of_lengths = lengths(material)
    with timed("other corpora"):
        emodb = material.heard("emodb", TELEPHONE)
        emodb_labels = [label for label in first.labels if label in CORPORA["emodb"].emotions]
        others = other_corpora(material)
    with timed("baselines"):
        compared = beside(material, eight, rows)
    every = [*material.runs, *material.random_runs]
    return Report(
        model=f"{first.name} {first.version}",
        commits=tuple(sorted({run.commit for run in every})),
        runs=tuple(run.name for run in every),
        unfinished=tuple(material.unfinished),
        n_expected=material.n_expected,
        epochs=first.epochs,
        precision=every[0].precision,
        training_s={run.name: run.training_s for run in every if run.training_s is not None},
        noise=material.noise,
        conditions=together,
        by_seed=by_seed,
        falls=falls,
        tasks=of_tasks,
        anger=of_anger,
        calls=of_calls,
        recordings=found,
        shipped=material.shipped.card.model_id,
        calibration=of_calibration,
        emodb=evaluation(emodb, TELEPHONE, emodb_labels) if emodb is not None else None,
        other_corpora=others,
        by_sex={
            sex: evaluation(rows.rows(np.array([clip.sex == sex for clip in rows.clips])), TELEPHONE, rows.labels)
            for sex in eight.uar_by_sex
        },
        lengths=of_lengths,
        beside=compared,
    )


def split_runs(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that the folds test speakers with, and those of a random split; others are left out."""
    groups = fold_groups()
    return [run for run in runs if run.fold in groups], [run for run in runs if run.fold == RANDOM_FOLD]
