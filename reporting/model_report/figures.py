"""What the report on a model says: its figures, as `measure` and `alerts` make them. Computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ser_model.composed_calls import Rule
from ser_model.evaluate import Evaluation
from ser_model.reliability import ReliabilityBin

Interval = tuple[float, float]
"""95%, over draws of whole speakers."""

TELEPHONE: Final = "g711"
"""The condition of all figures that name none."""
FALL: Final = 0.03
"""A condition that costs more UAR than this is named."""
PREVALENCES: Final = (0.01, 0.03, 0.10)
"""Shares of angry speech that precision is given at."""
FALSE_CALLS: Final = 1 / 50
"""Share of calm calls that may be flagged."""
CALL_S: Final = 245.0
CUSTOMER_SHARE: Final = 0.37
"""Length of a composed call and the customer's share of it: those of the call that speed is measured on."""
OUTBURST_S: Final = 20.0
"""Of the customer's speech: angry at the end of an escalating call, negative at the start of a recovering one."""


@dataclass(frozen=True)
class Task:
    """Clips named among other classes than the eight.

    Attributes
    ----------
    name
        What is told from what.
    n_classes
        How many.
    uar, interval
        Mean recall of the classes.
    """

    name: str
    n_classes: int
    uar: float
    interval: Interval


@dataclass(frozen=True)
class AngerRule:
    """What a rule that flags segments as angry comes to where angry ones are rare.

    Attributes
    ----------
    name
        The rule.
    recall, false_rate
        Share of the angry segments that it flags, and of the others, these mixed as `CALL_PRIORS` assumes.
    precision, intervals
        Share of the angry ones among the flagged, by prevalence.
    """

    name: str
    recall: float
    false_rate: float
    precision: Mapping[float, float]
    intervals: Mapping[float, Interval]


@dataclass(frozen=True)
class Anger:
    """Anger in segments: the area under the ROC curve, rules, and precision by recall at each prevalence."""

    auc: float
    auc_interval: Interval
    n_angry: int
    n_others: int
    rules: tuple[AngerRule, ...]
    recalls: tuple[float, ...]
    precisions: Mapping[float, tuple[float, ...]]


@dataclass(frozen=True)
class FalseFlags:
    """What is flagged in calm calls.

    Attributes
    ----------
    name
        The flag.
    share, interval
        Share of the segments or calls that have it.
    per_100_hours
        How many are in 100 hours of calls.
    """

    name: str
    share: float
    interval: Interval
    per_100_hours: float


@dataclass(frozen=True)
class CallRule:
    """A rule that flags calls: as it is used, and as it would be set by these calls.

    Attributes
    ----------
    name, first_name, second_name
        The flag, and what its two thresholds are of; one without a first has one threshold.
    used, found
        Thresholds in use, and those that flag the most wanted calls at one false flag in 50 calm calls.
    used_false, used_detected, used_false_interval, used_detected_interval
        Share of calm and of wanted calls that the thresholds in use flag.
    used_real, found_real
        Real recordings that each flags, by the shipped model.
    found_false, found_detected
        The same of thresholds found on the other speakers, for each speaker anew.
    """

    name: str
    first_name: str | None
    second_name: str
    used: Rule
    used_false: float
    used_false_interval: Interval
    used_detected: float
    used_detected_interval: Interval
    used_real: int
    found: Rule
    found_real: int
    found_false: float
    found_detected: float


@dataclass(frozen=True)
class Calls:
    """Calls composed of the test speakers' clips.

    Attributes
    ----------
    n_calm, n_speakers
        Calm calls, and the speakers that they are of.
    n_calm_clips
        Different neutral and calm clips in them.
    false_flags, rules
        What is flagged.
    calm_peaks, escalating_peaks
        The anger peaks of calm and escalating calls.
    """

    n_calm: int
    n_speakers: int
    n_calm_clips: int
    false_flags: tuple[FalseFlags, ...]
    rules: tuple[CallRule, ...]
    calm_peaks: tuple[float, ...]
    escalating_peaks: tuple[float, ...]


@dataclass(frozen=True)
class Recording:
    """What the shipped model makes of a recording; without a label, so what it flags is only assumed to be false.

    Attributes
    ----------
    name, kind
        A number, as a file's name may say whose it is; and how its channels are heard.
    duration_s, speech_s, n_segments
        Its length, the classified speech and its segments.
    n_angry
        Segments called angry.
    anger_peak, mood_start, mood_change
        Of the classified speech; None where there is too little.
    flags
        Those of the definitions in use.
    failed
        Why it could not be scored, else None.
    """

    name: str
    kind: str = ""
    duration_s: float = 0.0
    speech_s: float = 0.0
    n_segments: int = 0
    n_angry: int = 0
    anger_peak: float | None = None
    mood_start: float | None = None
    mood_change: float | None = None
    flags: tuple[str, ...] = ()
    failed: str | None = None


@dataclass(frozen=True)
class PriorsTried:
    """Probabilities moved to a mix that was known, assumed or estimated; means over the runs.

    Attributes
    ----------
    name
        Where the mix is from.
    distance
        Total variation distance of the mix and the true one.
    angry
        What the mix says of angry.
    ece, accuracy
        Of the moved probabilities.
    """

    name: str
    distance: float
    angry: float
    ece: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are right.

    Attributes
    ----------
    temperatures
        Of each run.
    before, after
        Reliability without temperature and with it.
    ece_before
        Expected calibration error without temperature.
    ece_of_a_run
        With it, by condition: the mean over runs, each by itself (errors of runs can cancel out in the figures of all).
    ece_at_call_priors, ece_at_call_priors_moved
        With the clips weighted to `CALL_PRIORS`: as they are, and moved to these priors.
    coverage, worst_class, set_size
        Of the 90% sets.
    """

    temperatures: Mapping[str, float]
    before: tuple[ReliabilityBin, ...]
    after: tuple[ReliabilityBin, ...]
    ece_before: float
    ece_of_a_run: Mapping[str, float]
    ece_at_call_priors: float
    ece_at_call_priors_moved: float
    coverage: float
    worst_class: float
    set_size: float
    priors: tuple[PriorsTried, ...]


@dataclass(frozen=True)
class LengthFigures:
    """Segments of one range of lengths."""

    from_s: float
    to_s: float
    n: int
    uar: float
    interval: Interval


@dataclass(frozen=True)
class Beside:
    """What the network is measured beside: a name, how it was measured, UAR with interval."""

    name: str
    protocol: str
    n: int
    n_speakers: int
    uar: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page says.

    Attributes
    ----------
    model, commits
        Name and version of what was trained, and the code of the runs.
    runs, unfinished, n_expected, epochs, training_s
        What there is of the cross-validation; seconds of the runs that wrote them down.
    precision
        What their networks compute in: float32 or int8.
    noise
        The noise of noise20 and noise10.
    clips, speakers
        RAVDESS test clips and their speakers.
    conditions
        Of all runs, by condition.
    by_seed
        UAR by seed and condition.
    falls
        The conditions more than 3 points below clean.
    """

    model: str
    commits: tuple[str, ...]
    runs: tuple[str, ...]
    unfinished: tuple[str, ...]
    n_expected: int
    epochs: int
    training_s: Mapping[str, float]
    precision: str
    noise: str
    conditions: Mapping[str, Evaluation]
    by_seed: Mapping[int, Mapping[str, Evaluation]]
    falls: tuple[str, ...]
    tasks: tuple[Task, ...]
    anger: Anger
    calls: Calls
    recordings: tuple[Recording, ...]
    shipped: str
    calibration: Calibration
    emodb: Evaluation | None
    other_corpora: Mapping[str, Evaluation]
    by_sex: Mapping[str, Evaluation]
    lengths: tuple[LengthFigures, ...]
    beside: tuple[Beside, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
