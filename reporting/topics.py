"""Which subjects bring up which emotions: over the calls of a period, from the table ``topic_emotions``.

The call is the unit: each counts once in a topic, however long it speaks of it. Nothing is said of a topic of fewer
than `FEWEST_CALLS` calls. Knows nothing of pages, and not whether a subject is why somebody is angry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from reporting.measures import FEWEST_CALLS, t_quantile
from ser_model.taxonomy import EMOTIONS

SHOWN: Final = 12
FEWEST_SPEECH_S: Final = 3.0
"""A call counts in a topic where so much of the customer's speech is about it: one segment's length."""
CONFIDENCE: Final = 0.95


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
        The two most probable emotions, with their mean probabilities.
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


def topics(topic_emotions: pa.Table) -> Topics:
    """Sum up the topics of a period.

    Parameters
    ----------
    topic_emotions
        Rows of the table.
    """
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for row in topic_emotions.filter(pc.field("speech_s") >= FEWEST_SPEECH_S).to_pylist():
        by_topic.setdefault(row["topic"], []).append(row)
    enough = [_moods(topic, rows) for topic, rows in by_topic.items() if len(rows) >= FEWEST_CALLS]
    # Which are shown goes by how often they come up: the angriest of many rare ones would be so by chance.
    enough = sorted(enough, key=lambda each: (-each.calls, each.topic))[:SHOWN]
    enough.sort(key=lambda each: (-each.anger, each.topic))
    return Topics(tuple(enough), len(by_topic) - len(enough))


def _moods(topic: str, rows: Sequence[dict[str, Any]]) -> TopicMoods:
    angry = [row["p_angry"] or 0.0 for row in rows]
    mean = fmean(angry)
    half = t_quantile(len(rows) - 1, 1 - CONFIDENCE) * stdev(angry) / sqrt(len(rows))
    means = {emotion: fmean(row[f"p_{emotion}"] or 0.0 for row in rows) for emotion in EMOTIONS}
    first = sorted(means, key=lambda emotion: -means[emotion])[:2]
    return TopicMoods(
        topic,
        len(rows),
        mean,
        max(mean - half, 0.0),
        min(mean + half, 1.0),
        fmean(row["negative_share"] for row in rows),
        fmean(row["positive_share"] for row in rows),
        tuple((emotion, means[emotion]) for emotion in first),
    )
