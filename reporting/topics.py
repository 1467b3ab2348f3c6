"""Which subjects bring up which emotions: over the calls of a period, from the table ``topic_emotions``.

The call is the unit: each counts once in a topic, however long it speaks of it. Nothing is said of a topic of fewer
than `FEWEST_CALLS` calls. And when a call was about what, to be shown beside its timeline. Knows nothing of pages, and
not whether a subject is why somebody is angry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from reporting.measures import FEWEST_CALLS, t_quantile
from ser_model.taxonomy import EMOTIONS

SHOWN: Final = 12
FEWEST_SPEECH_S: Final = 3.0
"""A call counts in a topic where so much of the customer's speech is about it: one segment's length."""
CONFIDENCE: Final = 0.95

_PROBABILITIES = {emotion: f"p_{emotion}" for emotion in EMOTIONS}
_SHARES = ("negative_share", "positive_share")
TOPIC_COLUMNS: Final = ("topic", "speech_s", *_SHARES, *_PROBABILITIES.values())
"""What is needed of topic_emotions."""


@dataclass(frozen=True)
class TopicMoods:
    """What customers' speech about a topic shows, each figure a mean over calls.

    Attributes
    ----------
    calls
        Those with at least `FEWEST_SPEECH_S` of the customer's speech about it.
    anger, anger_low, anger_high
        The probability of anger, 0 to 1, with its 95% interval (Student's t over calls).
    negative_share, positive_share
        Of the speech, by probability.
    emotions
        The emotions with their mean probabilities, the most probable first; without those that the model lacks.
    """

    topic: str
    calls: int
    anger: float
    anger_low: float
    anger_high: float
    negative_share: float
    positive_share: float
    emotions: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Topics:
    """The topics of enough calls, the angriest first, and how many others there are."""

    shown: tuple[TopicMoods, ...]
    too_few: int

    @property
    def emotions(self) -> frozenset[str]:
        """Those that any of them shows."""
        return frozenset(emotion for each in self.shown for emotion, _ in each.emotions)


@dataclass(frozen=True)
class TopicTime:
    """A stretch of a call that was about a topic, in seconds from the recording's start."""

    topic: str
    start_s: float
    end_s: float


def topics(topic_emotions: pa.Table) -> Topics:
    """Sum up the topics of a period.

    Parameters
    ----------
    topic_emotions
        Rows of the table, of which `TOPIC_COLUMNS` are enough.
    """
    heard = topic_emotions.select(TOPIC_COLUMNS).filter(pc.field("speech_s") >= FEWEST_SPEECH_S)
    for name in _PROBABILITIES.values():
        # An emotion that the model lacks is never found; of several models, one may know it.
        heard = heard.set_column(heard.column_names.index(name), name, pc.fill_null(heard[name], 0.0))
    means: list[Any] = [(name, "mean") for name in (*_SHARES, *_PROBABILITIES.values())]
    spread = ("p_angry", "stddev", pc.VarianceOptions(ddof=1))
    # On one thread, so that the same rows give the same sums.
    rows = heard.group_by("topic", use_threads=False).aggregate([([], "count_all"), spread, *means]).to_pylist()
    enough = [_moods(row) for row in rows if row["count_all"] >= FEWEST_CALLS]
    # Which are shown goes by how often they come up: the angriest of many rare ones would be so by chance.
    enough = sorted(enough, key=lambda each: (-each.calls, each.topic))[:SHOWN]
    enough.sort(key=lambda each: (-each.anger, each.topic))
    return Topics(tuple(enough), len(rows) - len(enough))


def topics_at(told: Iterable[TopicTime], start_s: float, end_s: float) -> tuple[str, ...]:
    """Name what a call was about between two times of it, each topic once, in order of start."""
    return tuple(dict.fromkeys(each.topic for each in told if each.start_s < end_s and each.end_s > start_s))


def side_by_side(told: Sequence[TopicTime]) -> tuple[tuple[TopicTime, ...], ...]:
    """Distribute stretches over as few rows as they need, so that none overlaps another in its row."""
    rows: list[list[TopicTime]] = []
    for each in sorted(told, key=lambda each: (each.start_s, each.end_s, each.topic)):
        free = next((row for row in rows if row[-1].end_s <= each.start_s), None)
        if free is None:
            rows.append([each])
        else:
            free.append(each)
    return tuple(tuple(row) for row in rows)


def _moods(row: Mapping[str, Any]) -> TopicMoods:
    mean, calls = row["p_angry_mean"], row["count_all"]
    half = t_quantile(calls - 1, 1 - CONFIDENCE) * row["p_angry_stddev"] / sqrt(calls)
    emotions = [(emotion, row[f"{name}_mean"]) for emotion, name in _PROBABILITIES.items() if row[f"{name}_mean"]]
    return TopicMoods(
        row["topic"],
        calls,
        mean,
        max(mean - half, 0.0),
        min(mean + half, 1.0),
        row["negative_share_mean"],
        row["positive_share_mean"],
        tuple(sorted(emotions, key=lambda each: -each[1])),
    )
