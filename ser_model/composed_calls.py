"""Calls composed of labelled clips: what a call's figures and flags come to where it is known how the customer felt.

A composed call is one speaker's segments in a row, drawn from the clips of an emotion. Its anger peak and moods are
taken as the pipeline takes a call's (jobs/sql/calls.sql); by what rule a call is flagged is given, or found here. Pure
functions of arrays; knows nothing of models, files or tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ser_model.errors import EvaluationError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CallRules:
    """How figures of a call are taken, in seconds of the customer's speech.

    Attributes
    ----------
    peak_window_s
        The anger peak is the highest mean over so much speech.
    edge_share, edge_min_s
        The mood at the start and at the end is that of this share of the speech, and at least of so much of it.
    """

    peak_window_s: float
    edge_share: float
    edge_min_s: float


@dataclass(frozen=True)
class CallFigures:
    """A call's anger peak and moods; NaN where there is too little speech for them."""

    anger_peak: float
    mood_start: float
    mood_change: float


def call_figures(
    seconds: npt.ArrayLike, p_angry: npt.ArrayLike, valence: npt.ArrayLike, rules: CallRules
) -> CallFigures:
    """Return the figures of a call.

    Parameters
    ----------
    seconds, p_angry, valence
        Length, probability of anger and valence of the customer's segments, in their order, ``[shape=(n,)]``.
    rules
        How the figures are taken.
    """
    ends = np.cumsum(np.asarray(seconds, dtype=np.float64))
    places = np.concatenate([[0.0], ends])
    speech_s = places[-1]
    anger_s = np.concatenate([[0.0], np.cumsum(np.multiply(seconds, p_angry))])
    mood = np.concatenate([[0.0], np.cumsum(np.multiply(seconds, valence))])
    peak = np.nan
    if speech_s >= rules.peak_window_s:
        # The mean over a window is highest where the window starts with a segment or ends with one.
        starts = np.concatenate([places, places - rules.peak_window_s])
        starts = starts[(starts >= 0) & (starts + rules.peak_window_s <= speech_s)]
        inside = np.interp(starts + rules.peak_window_s, places, anger_s) - np.interp(starts, places, anger_s)
        peak = float(inside.max()) / rules.peak_window_s
    if speech_s < 2 * rules.edge_min_s:
        return CallFigures(peak, np.nan, np.nan)
    edge_s = max(rules.edge_share * speech_s, rules.edge_min_s)
    start = float(np.interp(edge_s, places, mood)) / edge_s
    end = float(mood[-1] - np.interp(speech_s - edge_s, places, mood)) / edge_s
    return CallFigures(peak, start, end - start)


@dataclass(frozen=True)
class Part:
    """A stretch of a composed call: seconds of speech of these emotions, in these proportions."""

    seconds: float
    mix: Mapping[str, float]


def compose(
    parts: Sequence[Part], emotions: Sequence[str], seconds: Array, random: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the segments of a call of one speaker, drawn with replacement, in order.

    Parameters
    ----------
    parts
        The call's course.
    emotions, seconds
        Of the speaker's segments, ``[shape=(n,)]``.
    random
        What draws.

    Raises
    ------
    EvaluationError
        If the speaker has no segment of any emotion of a part.
    """
    of_segment = np.asarray(emotions)
    drawn: list[np.intp] = []
    for part in parts:
        pools = {emotion: np.flatnonzero(of_segment == emotion) for emotion in part.mix}
        there = [emotion for emotion, pool in pools.items() if len(pool)]
        if not there:
            raise EvaluationError(f"no segment is {' or '.join(part.mix)}; expected some of each speaker")
        shares = np.array([part.mix[emotion] for emotion in there])
        left_s = part.seconds
        while left_s > 0:
            pool = pools[there[random.choice(len(there), p=shares / shares.sum())]]
            drawn.append(pool[random.integers(len(pool))])
            left_s -= float(seconds[drawn[-1]])
    return np.array(drawn, dtype=np.intp)


@dataclass(frozen=True)
class Rule:
    """Two scores from which on, both together, a call is flagged."""

    first: float
    second: float

    def flags(self, scores: Array) -> npt.NDArray[np.bool_]:
        """Return which calls of scores ``[shape=(n, 2)]`` are flagged; one without a score is not."""
        flagged: npt.NDArray[np.bool_] = (scores[:, 0] >= self.first) & (scores[:, 1] >= self.second)
        return flagged


def best_rule(calm: Array, wanted: Array, firsts: Sequence[float], seconds: Sequence[float], rate: float) -> Rule:
    """Return the rule that flags most of the wanted calls, and calm ones at most at a rate.

    Of several, the one that flags the fewest calm calls; of these, the strictest.

    Parameters
    ----------
    calm, wanted
        Two scores of each call, ``[shape=(n, 2)]``.
    firsts, seconds
        The thresholds to choose from.
    rate
        Share of the calm calls that may be flagged.

    Raises
    ------
    EvaluationError
        If every rule flags more.
    """
    tried = []
    for first, second in product(firsts, seconds):
        rule = Rule(first, second)
        if (false := float(rule.flags(calm).mean())) <= rate:
            tried.append((float(rule.flags(wanted).mean()), -false, first, second))
    if not tried:
        raise EvaluationError(f"every rule flags more than {rate:g} of {len(calm)} calm calls; expected stricter ones")
    return Rule(*max(tried)[2:])
