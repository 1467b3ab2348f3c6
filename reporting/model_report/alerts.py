"""Can an alert be believed: anger where it is rare, calls composed of unseen speakers' clips, and real recordings.

What is measured here are the definitions of `schemas.definitions`; the thresholds that these calls would set stand
beside those in use, and nothing is changed.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from reporting.model_report.figures import (
    CALL_S,
    CUSTOMER_SHARE,
    FALSE_CALLS,
    OUTBURST_S,
    PREVALENCES,
    Anger,
    AngerRule,
    CallRule,
    Calls,
    FalseFlags,
    Interval,
    Recording,
)
from schemas import definitions
from ser_model.classifier import Classifier
from ser_model.composed_calls import CallRules, Part, Rule, best_rule, call_figures, compose
from ser_model.errors import SerModelError
from ser_model.predictions import Predictions
from ser_model.priors import CALL_PRIORS, call_priors, weights_for_priors
from ser_model.recording import SegmentExtractor
from ser_model.recording_emotions import classify_recording
from ser_model.reliability import (
    alarm,
    drawn_sums,
    interval,
    share_interval,
    speaker_interval,
    threshold_for_false_positives,
    threshold_for_recall,
)
from ser_model.taxonomy import valence_arousal

_CALLS_A_SPEAKER: Final = 25
_CURVE_POINTS: Final = 120
_RULES: Final = CallRules(
    peak_window_s=definitions.ANGER_PEAK_WINDOW_S,
    edge_share=definitions.MOOD_EDGE_SHARE,
    edge_min_s=definitions.MOOD_EDGE_MIN_S,
)
_ANY: Final = float("-inf")


def area_under_roc(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """Return how often a true one scores higher than another one; NaN without both."""
    n, others = int(positive.sum()), int((~positive).sum())
    if not n or not others:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * others))


def anger(heard: Predictions) -> Anger:
    """Return what flagging segments as angry comes to where few are."""
    angry = heard.labels.index("angry")
    scores = heard.by_segment[:, angry]
    truth = heard.truth[heard.row_of_segment]
    positive = truth == angry
    speakers = heard.speakers[heard.row_of_segment]
    weights = weights_for_priors(truth, call_priors(heard.labels))
    called = (heard.by_segment.argmax(axis=1) == angry).astype(np.float32)
    at_recall = threshold_for_recall(scores, positive, 0.5)
    at_false = threshold_for_false_positives(scores, positive, 0.01)
    rules = []
    for name, values, threshold in (
        ("called angry (the most probable)", called, 0.5),
        ("p_angry at least 0.5", scores, 0.5),
        (f"p_angry at least {at_recall:.2f}: half of the angry ones", scores, at_recall),
        (f"p_angry at least {at_false:.2f}: 1% of the other acted ones", scores, at_false),
    ):
        at = {prevalence: alarm(values, positive, threshold, prevalence, weights) for prevalence in PREVALENCES}
        rules.append(
            AngerRule(
                name,
                at[PREVALENCES[0]].recall,
                at[PREVALENCES[0]].false_positive_rate,
                {prevalence: found.precision for prevalence, found in at.items()},
                _precision_intervals(values >= threshold, positive, weights, speakers),
            )
        )
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, _CURVE_POINTS)))
    curve = [
        [alarm(scores, positive, float(threshold), prevalence, weights) for threshold in thresholds]
        for prevalence in PREVALENCES
    ]
    return Anger(
        auc=area_under_roc(scores, positive),
        auc_interval=speaker_interval(lambda rows: area_under_roc(scores[rows], positive[rows]), speakers),
        n_angry=int(positive.sum()),
        n_others=int((~positive).sum()),
        rules=tuple(rules),
        recalls=tuple(point.recall for point in curve[0]),
        precisions={
            prevalence: tuple(point.precision for point in points)
            for prevalence, points in zip(PREVALENCES, curve, strict=True)
        },
    )


def _precision_intervals(
    raised: npt.NDArray[np.bool_],
    positive: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    speakers: npt.NDArray[np.str_],
) -> dict[float, Interval]:
    """Return the 95% intervals of an alarm's precision at each prevalence, over draws of whole speakers."""
    columns = np.stack([positive & raised, positive, ~positive & raised, ~positive], axis=1) * weights[:, None]
    recalled, true, false, others = drawn_sums(columns, speakers).T
    result = {}
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw in which nothing is raised has no precision
        for prevalence in PREVALENCES:
            true_part, false_part = prevalence * recalled / true, (1 - prevalence) * false / others
            result[prevalence] = interval(true_part / (true_part + false_part))
    return result


def calls(heard: Predictions, real: Sequence[Recording] = ()) -> Calls:
    """Compose calls of each test speaker's clips and return what is flagged of them.

    Parameters
    ----------
    heard
        The clips.
    real
        Recordings, to count what the same thresholds flag of them.
    """
    random = np.random.default_rng(0)
    speech_s = CALL_S * CUSTOMER_SHARE
    calm_mix: dict[str, float] = {
        emotion: CALL_PRIORS[emotion] for emotion in ("neutral", "calm") if emotion in heard.labels
    }
    calm = [Part(speech_s, calm_mix)]
    rest = Part(speech_s - OUTBURST_S, calm_mix)
    escalating = [rest, Part(OUTBURST_S, {"angry": 1.0})]
    recovering = [Part(OUTBURST_S, {"angry": 1.0, "sad": 1.0}), rest]

    emotions = np.array([heard.clips[row].emotion for row in heard.row_of_segment])
    named = heard.by_segment.argmax(axis=1) == heard.labels.index("angry")
    p_angry = heard.by_segment[:, heard.labels.index("angry")]
    valence = valence_arousal(heard.by_segment, heard.labels)[:, 0]
    run_of_segment = np.array(heard.runs)[heard.row_of_segment]
    speaker_of_segment = heard.speakers[heard.row_of_segment]
    found: dict[str, list[tuple[float, float, float]]] = {"calm": [], "escalating": [], "recovering": []}
    speakers: list[str] = []
    angry_segments, n_segments, hours = [], [], []
    for run in dict.fromkeys(heard.runs):
        for speaker in np.unique(speaker_of_segment[run_of_segment == run]):
            mine = np.flatnonzero((run_of_segment == run) & (speaker_of_segment == speaker))
            for _ in range(_CALLS_A_SPEAKER):
                speakers.append(str(speaker))
                for kind, parts in (("calm", calm), ("escalating", escalating), ("recovering", recovering)):
                    drawn = mine[compose(parts, emotions[mine].tolist(), heard.segment_s[mine], random)]
                    of_call = call_figures(heard.segment_s[drawn], p_angry[drawn], valence[drawn], _RULES)
                    found[kind].append((of_call.anger_peak, of_call.mood_start, of_call.mood_change))
                    if kind == "calm":
                        angry_segments.append(int(named[drawn].sum()))
                        n_segments.append(len(drawn))
                        hours.append(float(heard.segment_s[drawn].sum()) / CUSTOMER_SHARE / 3600)
    of_kind = {kind: np.array(rows) for kind, rows in found.items()}
    whose = np.array(speakers)
    of_real = [[row.anger_peak, row.mood_start, row.mood_change] for row in real]
    of_kind["real"] = np.array(of_real, dtype=np.float64).reshape(-1, 3)
    rules = _call_rules(of_kind, whose)
    flagged, out_of = np.array(angry_segments), np.array(n_segments)
    false_flags = [
        FalseFlags(
            "segments called angry",
            float(flagged.sum() / out_of.sum()),
            share_interval(flagged, whose, out_of),
            100 * float(flagged.sum()) / sum(hours),
        ),
        *(
            FalseFlags(
                f"calls flagged {rule.name}",
                rule.used_false,
                rule.used_false_interval,
                rule.used_false * 100 * len(hours) / sum(hours),
            )
            for rule in rules
        ),
    ]
    calm_clips = {clip.path for clip in heard.clips if clip.emotion in calm_mix}
    return Calls(
        n_calm=len(whose),
        n_speakers=len(np.unique(whose)),
        n_calm_clips=len(calm_clips),
        false_flags=tuple(false_flags),
        rules=rules,
        calm_peaks=tuple(of_kind["calm"][:, 0].tolist()),
        escalating_peaks=tuple(of_kind["escalating"][:, 0].tolist()),
    )


def _call_rules(of_kind: Mapping[str, npt.NDArray[np.float64]], speakers: npt.NDArray[np.str_]) -> tuple[CallRule, ...]:
    """Return the rules of schemas.definitions on calm and wanted calls: rows of anger_peak, mood_start, mood_change."""
    peaks = [round(float(value), 2) for value in np.arange(0.10, 1.005, 0.02)]
    moods = [round(float(value), 2) for value in np.arange(0.05, 0.805, 0.05)]

    def scores(kind: str, name: str) -> npt.NDArray[np.float64]:
        peak, start, change = of_kind[kind].T
        columns = {"escalated": (-change, peak), "sustained_anger": (peak, peak), "recovered": (-start, change)}
        return np.stack(columns[name], axis=1)

    def rule(
        name: str,
        wanted: str,
        names: tuple[str | None, str],
        used: Rule,
        firsts: Sequence[float],
        seconds: Sequence[float],
    ) -> CallRule:
        calm, found, real = scores("calm", name), scores(wanted, name), scores("real", name)
        of_calm, of_wanted = used.flags(calm), used.flags(found)
        held_calm, held_wanted = np.empty_like(of_calm), np.empty_like(of_wanted)
        for speaker in np.unique(speakers):
            mine = speakers == speaker
            others = best_rule(calm[~mine], found[~mine], firsts, seconds, FALSE_CALLS)
            held_calm[mine], held_wanted[mine] = others.flags(calm[mine]), others.flags(found[mine])
        best = best_rule(calm, found, firsts, seconds, FALSE_CALLS)
        return CallRule(
            name=name,
            first_name=names[0],
            second_name=names[1],
            used=used,
            used_false=float(of_calm.mean()),
            used_false_interval=share_interval(of_calm, speakers),
            used_detected=float(of_wanted.mean()),
            used_detected_interval=share_interval(of_wanted, speakers),
            used_real=int(used.flags(real).sum()),
            found=best,
            found_real=int(best.flags(real).sum()),
            found_false=float(held_calm.mean()),
            found_detected=float(held_wanted.mean()),
        )

    return (
        rule(
            "escalated",
            "escalating",
            ("mood_change at most -", "anger_peak at least "),
            Rule(-definitions.ESCALATED_MOOD_CHANGE, definitions.ESCALATED_ANGER_PEAK),
            moods,
            peaks,
        ),
        rule(
            "sustained_anger",
            "escalating",
            (None, "anger_peak at least "),
            Rule(_ANY, definitions.SUSTAINED_ANGER_PEAK),
            [_ANY],
            peaks,
        ),
        rule(
            "recovered",
            "recovering",
            ("mood_start at most -", "mood_change at least "),
            Rule(-definitions.RECOVERED_MOOD_START, definitions.RECOVERED_MOOD_CHANGE),
            moods,
            moods,
        ),
    )


_SIDE: Final = re.compile(r"(?P<call>.+?)[-_. ]?(?P<side>agent|caller|customer)")


def recordings_in(folder: Path) -> list[tuple[Path, ...]]:
    """Return the recordings of a folder: a file, or the customer's and the agent's file of one call.

    Two files whose names differ only by ``customer`` (or ``caller``) and ``agent`` at their end are one call.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    sides: dict[str, dict[str, Path]] = {}
    for path in paths:
        if match := _SIDE.fullmatch(path.stem):
            sides.setdefault(match["call"], {})["agent" if match["side"] == "agent" else "customer"] = path
    pairs = [(both["customer"], both["agent"]) for both in sides.values() if len(both) == 2]
    paired = {path for pair in pairs for path in pair}
    return [*pairs, *((path,) for path in paths if path not in paired)]


def recordings(folder: Path, classifier: Classifier) -> tuple[Recording, ...]:
    """Return what a model makes of the recordings of a folder: the customer's side, or both where they are in one."""
    extractor = SegmentExtractor(classifier.card.feature_spec, ("customer", "mixed"))
    return tuple(
        _recording(f"recording {number}", paths, extractor, classifier)
        for number, paths in enumerate(recordings_in(folder), start=1)
    )


def _recording(name: str, paths: Sequence[Path], extractor: SegmentExtractor, classifier: Classifier) -> Recording:
    try:
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("rb")) for path in paths]
            result = classify_recording(name, files, ("customer", "agent"), extractor, classifier)
    except SerModelError as error:
        return Recording(name, failed=error.reason_code)
    rows = [segment for segment in result.segments if segment.emotion is not None]
    labels = classifier.card.labels
    probabilities = np.array([segment.probabilities for segment in rows], dtype=np.float32).reshape(-1, len(labels))
    seconds = np.array([segment.end_s - segment.start_s for segment in rows])
    p_angry = probabilities[:, labels.index("angry")] if "angry" in labels else np.zeros(len(rows))
    of_call = call_figures(seconds, p_angry, valence_arousal(probabilities, labels)[:, 0], _RULES)
    return Recording(
        name=name,
        kind=result.recording.channel_kind,
        duration_s=result.recording.info.duration_s,
        speech_s=float(seconds.sum()),
        n_segments=len(rows),
        n_angry=sum(segment.emotion == "angry" for segment in rows),
        anger_peak=_known(of_call.anger_peak),
        mood_start=_known(of_call.mood_start),
        mood_change=_known(of_call.mood_change),
        flags=_flags(of_call.anger_peak, of_call.mood_start, of_call.mood_change),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _flags(peak: float, start: float, change: float) -> tuple[str, ...]:
    # A comparison with NaN, a call with too little speech, is false.
    rules = {
        "escalated": change <= definitions.ESCALATED_MOOD_CHANGE and peak >= definitions.ESCALATED_ANGER_PEAK,
        "sustained_anger": peak >= definitions.SUSTAINED_ANGER_PEAK,
        "recovered": start <= definitions.RECOVERED_MOOD_START and change >= definitions.RECOVERED_MOOD_CHANGE,
    }
    return tuple(name for name, flagged in rules.items() if flagged)
