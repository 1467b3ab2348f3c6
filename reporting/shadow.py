"""What a candidate model would change of a published day: of segments, calls and queues.

Arrow tables of both in, frozen dataclasses out. The two hear the same segments, as speech activity does not depend on
the model; where the code or the recordings changed since, what only one of them has is counted and left out. Knows
nothing of which of the two is right: people who listen say that (`reporting.judgements`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

import pyarrow as pa

from reporting.measures import t_quantile

CONFIDENCE: Final = 0.95
SEGMENT_COLUMNS: Final = ("contact_id", "role", "start_s", "end_s", "classified", "emotion", "model_id")
CALL_COLUMNS: Final = ("contact_id", "queue", "satisfaction_index", "review_reasons")


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95% interval; these are None of fewer than two calls."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CallChange:
    """What changes of a call.

    Attributes
    ----------
    segments, changed
        The classified segments that both have, and those of them that are another emotion.
    index, index_after
        The satisfaction index; None where there is none.
    reasons, reasons_after
        The review reasons.
    """

    contact_id: str
    queue: str | None
    segments: int
    changed: int
    index: float | None
    index_after: float | None
    reasons: tuple[str, ...]
    reasons_after: tuple[str, ...]

    @property
    def index_change(self) -> float | None:
        """By how many points the index changes."""
        return None if self.index is None or self.index_after is None else self.index_after - self.index

    @property
    def flagged(self) -> str:
        """newly; no longer; or nothing, where it is flagged by both or by neither."""
        if bool(self.reasons) == bool(self.reasons_after):
            return ""
        return "no longer" if self.reasons else "newly"


@dataclass(frozen=True)
class GroupChange:
    """What changes of all calls, or of a queue's.

    Attributes
    ----------
    calls, segments
        Calls and classified segments that both have.
    changed_share
        The share of the segments that are another emotion; None without a segment.
    index_change
        The mean change of the index over the calls that have one in both; None without such a call.
    newly_flagged, no_longer_flagged
        Calls that have a review reason by the one and none by the other.
    """

    name: str
    calls: int
    segments: int
    changed_share: Estimate | None
    index_change: Estimate | None
    newly_flagged: int
    no_longer_flagged: int


@dataclass(frozen=True)
class Comparison:
    """What a candidate changes of a day.

    Attributes
    ----------
    model, candidate
        The models' names.
    groups
        All calls, then the queues by name.
    calls
        The calls that both scored: those whose flag changes first, then by the change of the index.
    only_published, only_candidate
        Calls that only one of them scored.
    unmatched_segments
        Classified segments of these calls that only one of them has.
    """

    model: str
    candidate: str
    groups: tuple[GroupChange, ...]
    calls: tuple[CallChange, ...]
    only_published: int
    only_candidate: int
    unmatched_segments: int


def compare(published: Mapping[str, pa.Table], candidate: Mapping[str, pa.Table]) -> Comparison:
    """Compare a day's published tables with those that a candidate made of its recordings.

    Parameters
    ----------
    published, candidate
        ``emotion_log`` and ``calls``, with `SEGMENT_COLUMNS` and `CALL_COLUMNS`.
    """
    before, after = ({row["contact_id"]: row for row in side["calls"].to_pylist()} for side in (published, candidate))
    both = sorted(before.keys() & after.keys())
    emotions = [_emotions(side["emotion_log"], set(both)) for side in (published, candidate)]
    calls, unmatched = [], 0
    for contact_id in both:
        here, there = (each.get(contact_id, {}) for each in emotions)
        shared = here.keys() & there.keys()
        unmatched += len(here) + len(there) - 2 * len(shared)
        calls.append(
            CallChange(
                contact_id,
                before[contact_id]["queue"],
                len(shared),
                sum(here[each] != there[each] for each in shared),
                *(side[contact_id]["satisfaction_index"] for side in (before, after)),
                *(tuple(side[contact_id]["review_reasons"]) for side in (before, after)),
            )
        )
    queues = sorted({call.queue for call in calls}, key=lambda queue: (queue is None, queue))
    return Comparison(
        model=_model(published["emotion_log"]),
        candidate=_model(candidate["emotion_log"]),
        groups=(
            _group("all", calls),
            *(_group(queue or "no queue", [each for each in calls if each.queue == queue]) for queue in queues),
        ),
        calls=tuple(sorted(calls, key=lambda each: (not each.flagged, -abs(each.index_change or 0.0)))),
        only_published=len(before) - len(both),
        only_candidate=len(after) - len(both),
        unmatched_segments=unmatched,
    )


def _emotions(segments: pa.Table, contact_ids: set[str]) -> dict[str, dict[tuple[Any, ...], str]]:
    """Of each call, the emotion of each classified segment, by who speaks and when."""
    found: dict[str, dict[tuple[Any, ...], str]] = {}
    columns = (segments[name].to_pylist() for name in SEGMENT_COLUMNS[:-1])
    for contact_id, role, start_s, end_s, classified, emotion in zip(*columns, strict=True):
        if classified and contact_id in contact_ids:
            found.setdefault(contact_id, {})[role, round(start_s, 2), round(end_s, 2)] = emotion
    return found


def _model(segments: pa.Table) -> str:
    named = segments["model_id"].unique().drop_null().to_pylist()
    return ", ".join(sorted(named)) or "none: no segment was classified"


def _group(name: str, calls: Sequence[CallChange]) -> GroupChange:
    changes = [call.index_change for call in calls if call.index_change is not None]
    flags = [call.flagged for call in calls]
    return GroupChange(
        name,
        len(calls),
        sum(call.segments for call in calls),
        _share([(call.changed, call.segments) for call in calls if call.segments]),
        _mean(changes),
        flags.count("newly"),
        flags.count("no longer"),
    )


def _mean(values: Sequence[float]) -> Estimate | None:
    """The mean over calls, with Student's t interval."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, None)
    half = t_quantile(len(values) - 1, 1 - CONFIDENCE) * stdev(values) / sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def _share(counts: Iterable[tuple[int, int]]) -> Estimate | None:
    """The share of segments, whose interval takes a call's segments together: the ratio estimator of a cluster sample.

    Cochran, Sampling Techniques (1977), 6.3: the variance is that of the calls' residuals, with calls - 1.
    """
    counts = list(counts)
    if not counts:
        return None
    total = sum(n for _, n in counts)
    share = sum(hits for hits, _ in counts) / total
    if len(counts) == 1:
        return Estimate(share, None, None)
    n_calls = len(counts)
    squares = sum((hits - share * n) ** 2 for hits, n in counts)
    half = t_quantile(n_calls - 1, 1 - CONFIDENCE) * sqrt(squares * n_calls / (n_calls - 1)) / total
    return Estimate(share, max(share - half, 0.0), min(share + half, 1.0))
