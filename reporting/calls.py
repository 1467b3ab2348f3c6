"""The calls to hear first: which, why in words, and each with its timeline.

Frozen dataclasses computed from rows of the table calls and from what was said in them. Knows no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa

from reporting import words
from reporting.figures import Speech
from reporting.topics import TopicTime, side_by_side, topics_at
from schemas import definitions as d

CALLS_TO_HEAR = 10
FEWEST_TO_HEAR = 3
"""Where fewer calls have a reason to be heard, those with the lowest index are added up to this many."""

NO_QUEUE = "no queue"
_STRETCHES = 16
_NICE_SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A scored call: columns of the table calls, by their names."""

    contact_id: str
    source_uri: str
    started_at: datetime | None
    queue: str | None
    duration_s: float
    longest_silence_s: float
    customer_interruptions: int | None
    agent_interruptions: int | None
    dominant_emotion: str | None
    mood_start: float | None
    mood_end: float | None
    mood_change: float | None
    anger_peak: float | None
    satisfaction_index: float | None
    satisfaction_low: float | None
    satisfaction_high: float | None
    review_reasons: Sequence[str]

    @property
    def queue_name(self) -> str:
        """The queue, fit to be shown."""
        return queue_name(self.queue)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A row of a timeline's table: what was spoken between two times of the call."""

    start_s: float
    end_s: float
    customer_s: float
    agent_s: float
    emotion: str | None
    mood: float | None
    anger: float | None
    topics: tuple[str, ...]


@dataclass(frozen=True)
class TopicBand:
    """A topic below a timeline: where it begins and how wide it is, 0 to 100, and when it is spoken of, in words."""

    topic: str
    place: float
    width: float
    when: str


@dataclass(frozen=True, kw_only=True)
class CallToHear:
    """A call that is worth hearing, with its reasons in words and its timeline."""

    rank: int
    call: Call
    reasons: tuple[str, ...]
    speech: tuple[Speech, ...] = ()
    topics: tuple[TopicTime, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the timeline, which something must fit into."""
        return max([self.call.duration_s, 1.0, *(part.end_s for part in self.speech)])

    @property
    def mixed(self) -> bool:
        """Whether both sides are in one channel and cannot be told apart."""
        return any(part.role == "mixed" for part in self.speech)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Times below the timeline: each its place, 0 to 100, and what it says."""
        step = next((step for step in _NICE_SECONDS if self.duration_s / step <= 6), _NICE_SECONDS[-1])
        return tuple(
            (round(100 * second / self.duration_s, 2), words.clock(second))
            for second in range(0, int(self.duration_s - step / 3) + 1, step)
        )

    @property
    def bands(self) -> tuple[tuple[TopicBand, ...], ...]:
        """The topics below the timeline, in as many rows as they need."""

        def band(each: TopicTime) -> TopicBand:
            start_s, end_s = (min(second, self.duration_s) for second in (each.start_s, each.end_s))
            place, width = (round(100 * part / self.duration_s, 2) for part in (start_s, end_s - start_s))
            return TopicBand(each.topic, place, width, f"{words.clock(each.start_s)} to {words.clock(each.end_s)}")

        return tuple(tuple(map(band, row)) for row in side_by_side(self.topics))

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The timeline as a table."""
        step = next((s for s in _NICE_SECONDS if self.duration_s / s <= _STRETCHES), _NICE_SECONDS[-1])
        starts = range(0, max(1, int(-(-self.duration_s // step))) * step, step)
        spans = [(start, min(start + step, self.duration_s)) for start in starts]
        return tuple(_stretch(self.speech, *span, topics_at(self.topics, *span)) for span in spans)


def read_calls(calls: pa.Table) -> list[Call]:
    """Take what the report shows of the calls out of the table."""
    names = [each.name for each in fields(Call)]
    return [Call(**row) for row in calls.select(names).to_pylist()]


def calls_to_hear(calls: Iterable[Call], limit: int = CALLS_TO_HEAR) -> list[CallToHear]:
    """Rank the calls to listen to first.

    Calls with a review reason come first: by their most pressing reason (the order of
    `schemas.definitions.REVIEW_REASONS`), then by more reasons, higher anger peak and lower index. If fewer than
    `FEWEST_TO_HEAR` have one, those with the lowest index follow.
    """
    calls = list(calls)
    flagged = sorted((call for call in calls if call.review_reasons), key=_pressing)[:limit]
    others = sorted(
        (call for call in calls if not call.review_reasons and call.satisfaction_index is not None), key=_unhappy
    )[: max(0, min(FEWEST_TO_HEAR, limit) - len(flagged))]
    return [
        CallToHear(rank=rank, call=call, reasons=reasons_in_words(call))
        for rank, call in enumerate([*flagged, *others], start=1)
    ]


def reasons_in_words(call: Call) -> tuple[str, ...]:
    """Say why a call is worth hearing, with its own figures."""
    if not call.review_reasons:
        return (f"No rule was met; its index, {words.number(call.satisfaction_index)}, is among the lowest",)
    # An escalation says already by how much the mood fell.
    said = [code for code in call.review_reasons if code != "mood_fall" or "escalated" not in call.review_reasons]
    return tuple(_reason(code, call) for code in said)


def queue_name(queue: str | None) -> str:
    """Name a queue so that it can be shown."""
    return NO_QUEUE if queue is None else words.printable(queue)


def _pressing(call: Call) -> tuple[int, int, float, float, str]:
    order = list(d.REVIEW_REASONS)
    ranks = [order.index(code) if code in order else len(order) for code in call.review_reasons]
    return min(ranks), -len(ranks), -(call.anger_peak or 0.0), *_unhappy(call)


def _unhappy(call: Call) -> tuple[float, str]:
    return 100.0 if call.satisfaction_index is None else call.satisfaction_index, call.contact_id


def _reason(code: str, call: Call) -> str:
    peak, change = words.number(call.anger_peak, 2), call.mood_change
    fell = words.number(None if change is None else -change, 2)
    interruptions = (call.customer_interruptions or 0, call.agent_interruptions or 0)
    says = {
        "sustained_anger": f"Sustained anger: {peak} on average over {d.ANGER_PEAK_WINDOW_S:.0f} s of speech",
        "escalated": f"Escalated: the mood fell by {fell}, and anger rose to {peak}",
        "mood_fall": f"The mood fell by {fell} from start to end",
        "low_satisfaction": f"Low satisfaction: an index of {words.number(call.satisfaction_index)}, "
        f"where neutral is {d.INDEX_NEUTRAL:.0f}",
        "long_silence": f"Nobody spoke for {call.longest_silence_s:.0f} s",
        "many_interruptions": f"{sum(interruptions)} interruptions, {interruptions[0]} of them by the customer",
    }
    return says.get(code, d.REVIEW_REASONS.get(code, words.printable(code.replace("_", " "))))


def _stretch(speech: Sequence[Speech], start_s: float, end_s: float, about: tuple[str, ...]) -> Stretch:
    spoken = {"agent": 0.0, "customer": 0.0}
    emotions: dict[str, float] = {}
    heard: list[tuple[float, Speech]] = []
    for part in speech:
        seconds = min(part.end_s, end_s) - max(part.start_s, start_s)
        if seconds <= 0:
            continue
        spoken["agent" if part.role == "agent" else "customer"] += seconds
        if part.role != "agent" and part.emotion is not None:
            emotions[part.emotion] = emotions.get(part.emotion, 0.0) + seconds
            heard.append((seconds, part))
    return Stretch(
        start_s=start_s,
        end_s=end_s,
        customer_s=spoken["customer"],
        agent_s=spoken["agent"],
        emotion=max(emotions, key=lambda emotion: emotions[emotion]) if emotions else None,
        mood=weighted([(seconds, part.valence) for seconds, part in heard]),
        anger=weighted([(seconds, part.anger) for seconds, part in heard]),
        topics=about,
    )


def weighted(values: Sequence[tuple[float, float | None]]) -> float | None:
    """The mean of the values that are known, each with its weight before it; None of none."""
    known = [(weight, value) for weight, value in values if value is not None]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if total else None
