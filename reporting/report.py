"""The nightly report: a day's published tables in, one self-contained HTML page out.

First the view, frozen dataclasses computed from Arrow tables, then the template; the demo's summary is made of the
same view. Reads no storage and no clock: the same input gives the same bytes. This is the review edition: it shows
contact ids and the recordings' addresses, for those who may see them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from reporting import figures, words
from reporting.figures import IndexRow, MoodBar, Speech
from schemas import definitions as d
from schemas.reasons import REASONS, Reason

CALLS_TO_HEAR = 10
FEWEST_TO_HEAR = 3
"""Where fewer calls have a reason to be heard, those with the lowest index are added up to this many."""

ARCS_LIMIT = 30
"""A day of at most this many calls is shown with every call's mood path."""

COMPARABLE_CALLS = 5
"""A queue with fewer calls is not called the worst."""

QUEUES_IN_CHARTS = 12
FILES_LISTED = 20
EMOTION_LOG_COLUMNS = ("contact_id", "role", "start_s", "end_s", "emotion", "confidence", "valence", "p_angry")
"""What the report needs of emotion_log, and of the calls to hear only."""

NO_QUEUE = "no queue"
_STRETCHES = 16
_NICE_SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_TEMPLATES = Path(__file__).parent / "templates"

Tables = Mapping[str, pa.Table]
"""The published tables of one call date by their names (`schemas.TABLES`)."""


@dataclass(frozen=True, kw_only=True)
class ModelNote:
    """What the page says of the model.

    Attributes
    ----------
    labels
        The emotions that it tells apart.
    corpora
        What it was trained on.
    license
        Of its weights.
    commercial_use
        Whether they may be used commercially.
    accuracy
        A sentence with its measured figures and the protocol; None where the card has none.
    evaluated_languages
        What was spoken in the tests that these figures are of: primary language subtags of BCP 47.
    """

    labels: tuple[str, ...]
    corpora: tuple[str, ...]
    license: str
    commercial_use: bool
    accuracy: str | None = None
    evaluated_languages: tuple[str, ...] = ()


# The view: calls


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
    mood_q1: float | None
    mood_q2: float | None
    mood_q3: float | None
    mood_q4: float | None
    anger_peak: float | None
    satisfaction_index: float | None
    satisfaction_low: float | None
    satisfaction_high: float | None
    review_reasons: Sequence[str]

    @property
    def mood_path(self) -> tuple[float | None, ...]:
        """Mood by quarter of the call."""
        return self.mood_q1, self.mood_q2, self.mood_q3, self.mood_q4

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


@dataclass(frozen=True, kw_only=True)
class CallToHear:
    """A call that is worth hearing, with its reasons in words and its timeline."""

    rank: int
    call: Call
    reasons: tuple[str, ...]
    speech: tuple[Speech, ...] = ()

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
    def stretches(self) -> tuple[Stretch, ...]:
        """The timeline as a table."""
        step = next((s for s in _NICE_SECONDS if self.duration_s / s <= _STRETCHES), _NICE_SECONDS[-1])
        starts = range(0, max(1, int(-(-self.duration_s // step))) * step, step)
        return tuple(_stretch(self.speech, start, min(start + step, self.duration_s)) for start in starts)


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
        return (f"No rule was met; its index, {words.number(call.satisfaction_index)}, is among the day's lowest",)
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


def _stretch(speech: Sequence[Speech], start_s: float, end_s: float) -> Stretch:
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
        mood=_weighted([(seconds, part.valence) for seconds, part in heard]),
        anger=_weighted([(seconds, part.anger) for seconds, part in heard]),
    )


def _weighted(values: Sequence[tuple[float, float | None]]) -> float | None:
    known = [(weight, value) for weight, value in values if value is not None]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if total else None


# The view: the day and its queues


@dataclass(frozen=True, kw_only=True)
class Moods:
    """Shares of the customers' speech by mood, each the mean over calls with an index; they sum to 1."""

    negative: float
    neutral: float
    ambiguous: float
    positive: float

    @property
    def stacked(self) -> tuple[float, float, float, float]:
        """In the order of a stacked bar."""
        return self.negative, self.neutral, self.ambiguous, self.positive


@dataclass(frozen=True, kw_only=True)
class Group:
    """All calls, or those of a queue: its row of satisfaction_daily, and what became of its recordings.

    Recordings of customers who opted out are not expected, and not among the skipped ones.
    """

    name: str
    expected: int = 0
    scored: int = 0
    quarantined: int = 0
    skipped: int = 0
    no_recording: int = 0
    opted_out: int = 0
    coverage: float | None = None
    calls_indexed: int = 0
    index_mean: float | None = None
    index_low: float | None = None
    index_high: float | None = None
    moods: Moods | None = None
    escalated_share: float | None = None
    recovered_share: float | None = None
    mood_change_mean: float | None = None


@dataclass(frozen=True)
class RecordingNotScored:
    """Its address; of a quarantined one also what was found and how many runs have tried it."""

    source_uri: str
    detail: str | None = None
    attempts: int | None = None


@dataclass(frozen=True, kw_only=True)
class NotScored:
    """Recordings that were not scored for one reason, or contacts of which there is none."""

    status: str
    reason_code: str
    amount: int
    queues: str
    recordings: tuple[RecordingNotScored, ...] = ()

    @property
    def reason(self) -> Reason:
        """The reason in plain words, and what to do; of a code that newer code published, the code itself."""
        says = f"{self.reason_code.replace('_', ' ').capitalize()}."
        return REASONS.get(self.reason_code, Reason("quarantined", says, "See the column detail of quarantine."))


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run that published the tables: its row of runs."""

    run_id: str
    kind: str | None
    model_id: str
    code_version: str
    status: str
    status_detail: str | None
    audio_hours: float
    ignored: int
    suppressed: int
    step_seconds: tuple[tuple[str, float], ...]
    table_versions: tuple[tuple[str, int], ...]
    published_at: datetime

    @property
    def seconds(self) -> float:
        """Of all steps together."""
        return sum(seconds for _, seconds in self.step_seconds)

    @property
    def status_in_words(self) -> str:
        """What the status says of the day."""
        return {"published": "whole", "published_degraded": "degraded", "volume_low": "low in volume"}.get(
            self.status, words.printable(self.status.replace("_", " "))
        )

    @property
    def is_enrichment(self) -> bool:
        """Whether it read no audio, but joined what came later to the day that was published before."""
        return self.kind == "enrichment"


@dataclass(frozen=True, kw_only=True)
class Night:
    """All that the page shows of a day."""

    total: Group
    queues: tuple[Group, ...]
    escalated: int
    recovered: int
    to_hear: tuple[CallToHear, ...]
    flagged: int
    paths: tuple[Call, ...]
    not_scored: tuple[NotScored, ...]
    run: Run | None
    agents_classified: bool
    emotions: tuple[str, ...]
    languages: tuple[tuple[str, int], ...]
    """The languages of the scored calls, of those that are known: primary subtags, with the calls."""

    @property
    def planned(self) -> int:
        """Recordings of the day."""
        return self.total.scored + self.total.quarantined + self.total.skipped + self.total.opted_out

    @property
    def every_path(self) -> bool:
        """Whether the mood paths are of all calls, not only of those to hear."""
        return len(self.paths) == self.total.scored

    @property
    def headline(self) -> tuple[str, ...]:
        """The day in three sentences; of a day without recordings or scores, in as many as there is to say."""
        if not self.planned:
            return (_nothing_planned(self.total.expected),)
        sentences = (_coverage_sentence(self), _mood_sentence(self), _queue_sentence(self))
        return tuple(sentence for sentence in sentences if sentence)


def night(tables: Tables) -> Night:
    """Compute what the page shows from a day's published tables.

    Parameters
    ----------
    tables
        contacts, recordings, emotion_log, calls, satisfaction_daily, quarantine and runs of one call date; of
        emotion_log `EMOTION_LOG_COLUMNS` of the calls to hear are enough.
    """
    calls = read_calls(tables["calls"])
    groups = _groups(tables)
    to_hear = calls_to_hear(calls)
    speech = _speech(tables["emotion_log"], [each.call.contact_id for each in to_hear])
    to_hear = [replace(each, speech=speech.get(each.call.contact_id, ())) for each in to_hear]
    shown = {part.emotion for each in to_hear for part in each.speech if part.role != "agent"}
    return Night(
        total=groups[0],
        queues=tuple(groups[1:]),
        escalated=_true(tables["calls"], "escalated"),
        recovered=_true(tables["calls"], "recovered"),
        to_hear=tuple(to_hear),
        flagged=sum(bool(call.review_reasons) for call in calls),
        paths=tuple(sorted(calls, key=_unhappy) if len(calls) <= ARCS_LIMIT else [each.call for each in to_hear]),
        not_scored=tuple(not_scored(tables)),
        run=last_run(tables["runs"]),
        agents_classified=any(part.role == "agent" and part.emotion for each in to_hear for part in each.speech),
        emotions=tuple(emotion for emotion in figures.EMOTION_COLORS if emotion in shown),
        languages=_languages(tables),
    )


def never_evaluated(languages: Iterable[tuple[str, int]], model: ModelNote) -> tuple[tuple[str, int], ...]:
    """Of the languages of the calls, those that the model was not evaluated on, the most frequent first."""
    unknown = (each for each in languages if each[0] not in model.evaluated_languages)
    return tuple(sorted(unknown, key=lambda each: (-each[1], each[0])))


def last_run(runs: pa.Table) -> Run | None:
    """Take the day's last run, which the other tables are of."""
    if not runs.num_rows:
        return None
    row = max(runs.to_pylist(maps_as_pydicts="strict"), key=lambda row: (row["published_at"], row["run_id"]))
    row["step_seconds"] = tuple(row["step_seconds"].items())
    row["table_versions"] = tuple(sorted(row["table_versions"].items()))
    return Run(**{each.name: row[each.name] for each in fields(Run)})


def not_scored(tables: Tables) -> list[NotScored]:
    """Count by reason what was not scored: quarantined, skipped, then contacts without their recording."""
    recordings = _with_queue(tables["recordings"].filter(pc.field("status") != "scored"), tables["contacts"])
    tried = {row["source_uri"]: row for row in tables["quarantine"].to_pylist()}
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for status, code, queue, uri in zip(
        *(recordings[name].to_pylist() for name in ("status", "reason_code", "queue", "source_uri")), strict=True
    ):
        found.setdefault((status, code or "unknown"), []).append((uri, queue_name(queue)))
    lines = [
        NotScored(
            status=status,
            reason_code=code,
            amount=len(rows),
            queues=_by_queue([queue for _, queue in rows]),
            recordings=tuple(_recording(uri, tried.get(uri, {})) for uri, _ in sorted(rows)[:FILES_LISTED]),
        )
        for (status, code), rows in found.items()
    ]
    missing = [queue_name(queue) for queue in _without_recording(tables)["queue"].to_pylist()]
    if missing:
        queues = _by_queue(missing)
        lines.append(NotScored(status="expected", reason_code="no_recording", amount=len(missing), queues=queues))
    order = ("quarantined", "skipped", "expected")
    return sorted(lines, key=lambda line: (order.index(line.status), -line.amount, line.reason_code))


def _groups(tables: Tables) -> list[Group]:
    """All calls first, then the queues, the lowest index first."""
    daily = tables["satisfaction_daily"]
    indexed = tables["calls"].filter(pc.is_valid(pc.field("satisfaction_index")))
    moods = _moods_by_queue(indexed)
    recordings = _with_queue(tables["recordings"], tables["contacts"])
    counts: dict[str | None, dict[str, int]] = {}
    opted_out = pc.fill_null(pc.equal(recordings["reason_code"], "opted_out"), False)
    outcomes = pc.if_else(opted_out, "opted_out", recordings["status"])
    recordings = recordings.append_column("outcome", outcomes)
    for row in recordings.group_by(["queue", "outcome"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["queue"], {})[row["outcome"]] = row["count_all"]
    for row in _without_recording(tables).group_by("queue").aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["queue"], {})["no_recording"] = row["count_all"]

    queues = [
        _group(queue_name(row["queue"]), row, moods.get(row["queue"]), counts.get(row["queue"], {}))
        for row in daily.filter(pc.field("scope") == "queue").to_pylist()
    ]
    queues.sort(key=lambda group: (group.index_mean is None, group.index_mean or 0.0, group.name))
    total: Mapping[str, Any] = next(iter(daily.filter(pc.field("scope") == "total").to_pylist()), {})
    kinds = ("quarantined", "skipped", "no_recording", "opted_out")
    summed = {kind: sum(each.get(kind, 0) for each in counts.values()) for kind in kinds}
    overall = _moods(*(pc.mean(indexed[f"{mood}_share"]).as_py() for mood in ("negative", "neutral", "positive")))
    return [_group("All calls", total, overall, summed), *queues]


def _group(name: str, row: Mapping[str, Any], moods: Moods | None, counts: Mapping[str, int]) -> Group:
    return Group(
        name=name,
        expected=int(row.get("contacts_expected") or 0),
        scored=int(row.get("calls_scored") or 0),
        quarantined=counts.get("quarantined", 0),
        skipped=counts.get("skipped", 0),
        no_recording=counts.get("no_recording", 0),
        opted_out=counts.get("opted_out", 0),
        coverage=row.get("coverage"),
        calls_indexed=int(row.get("calls_indexed") or 0),
        index_mean=row.get("index_mean"),
        index_low=row.get("index_low"),
        index_high=row.get("index_high"),
        moods=moods,
        escalated_share=row.get("escalated_share"),
        recovered_share=row.get("recovered_share"),
        mood_change_mean=row.get("mood_change_mean"),
    )


def _moods_by_queue(indexed: pa.Table) -> dict[str | None, Moods | None]:
    columns = ("negative_share", "neutral_share", "positive_share")
    means = indexed.group_by("queue", use_threads=False).aggregate([(column, "mean") for column in columns]).to_pylist()
    return {row["queue"]: _moods(*(row[f"{column}_mean"] for column in columns)) for row in means}


def _moods(negative: float | None, neutral: float | None, positive: float | None) -> Moods | None:
    if negative is None or neutral is None or positive is None:
        return None
    rest = max(0.0, 1.0 - negative - neutral - positive)
    return Moods(negative=negative, neutral=neutral, ambiguous=rest, positive=positive)


def _with_queue(recordings: pa.Table, contacts: pa.Table) -> pa.Table:
    names = ("contact_id", "source_uri", "status", "reason_code")
    return recordings.select(names).join(contacts.select(["contact_id", "queue"]), "contact_id")


def _without_recording(tables: Tables) -> pa.Table:
    expecting = tables["contacts"].filter(pc.field("expects_recording")).select(["contact_id", "queue"])
    recorded = pc.is_in(expecting["contact_id"], value_set=tables["recordings"]["contact_id"].drop_null())
    return expecting.filter(pc.invert(recorded))


def _languages(tables: Tables) -> tuple[tuple[str, int], ...]:
    known = dict(zip(*(tables["contacts"][name].to_pylist() for name in ("contact_id", "language")), strict=True))
    spoken = Counter(words.primary_language(known.get(each)) for each in tables["calls"]["contact_id"].to_pylist())
    return tuple(sorted((code, calls) for code, calls in spoken.items() if code is not None))


def _by_queue(queues: Sequence[str]) -> str:
    amounts = {queue: queues.count(queue) for queue in sorted(set(queues))}
    return ", ".join(f"{queue} {amount}" for queue, amount in sorted(amounts.items(), key=lambda each: -each[1]))


def _recording(source_uri: str, tried: Mapping[str, Any]) -> RecordingNotScored:
    return RecordingNotScored(words.printable(source_uri), tried.get("detail"), tried.get("attempts"))


def _true(table: pa.Table, column: str) -> int:
    return int(pc.sum(table[column]).as_py() or 0)


def _speech(emotion_log: pa.Table, contact_ids: Sequence[str]) -> dict[str, tuple[Speech, ...]]:
    wanted = pc.is_in(emotion_log["contact_id"], value_set=pa.array(contact_ids, pa.string()))
    names = EMOTION_LOG_COLUMNS
    rows = emotion_log.select(names).filter(wanted).sort_by([("start_s", "ascending"), ("role", "ascending")])
    speech: dict[str, list[Speech]] = {}
    for contact_id, *rest in zip(*(rows[name].to_pylist() for name in names), strict=True):
        speech.setdefault(contact_id, []).append(Speech(*rest))
    return {contact_id: tuple(parts) for contact_id, parts in speech.items()}


# The day in words


def _nothing_planned(expected: int) -> str:
    if not expected:
        return "No recordings were planned for this day."
    return (
        f"No recordings were planned for this day, though {words.count(expected, 'contact')} should have one: check "
        "the recordings' place, their layout and the time zone."
    )


def _coverage_sentence(view: Night) -> str:
    total = view.total
    rest = [
        f"{amount:,} {what}"
        for amount, what in (
            (total.quarantined, "quarantined"),
            (total.skipped, "skipped"),
            (total.no_recording, "without a recording"),
        )
        if amount
    ]
    scored = f"{total.scored:,} of {words.count(total.expected, 'expected call')} were scored"
    covered = "" if total.coverage is None else f", a coverage of {words.percent(total.coverage)}"
    left_out = words.count(
        total.opted_out, "recording was left out, its customer", "recordings were left out, their customers"
    )
    opted_out = f" {left_out} having opted out." if total.opted_out else ""
    return f"{scored}{covered}{'; ' + words.listing(rest) if rest else ''}.{opted_out}"


def _mood_sentence(view: Night) -> str:
    total = view.total
    if total.moods is None or total.index_mean is None:
        return "In no call did the customer speak long enough to tell a mood."
    index = f"the satisfaction index was {total.index_mean:.0f} on average"
    if total.index_low is not None and total.index_high is not None:
        index += f" (95% interval {total.index_low:.0f} to {total.index_high:.0f})"
    return (
        f"Of the customers' speech {words.percent(total.moods.negative)} was negative, "
        f"{words.percent(total.moods.neutral)} neutral and {words.percent(total.moods.positive)} positive; {index}, "
        f"where {d.INDEX_NEUTRAL:.0f} is neutral; {words.count(view.escalated, 'call')} escalated and "
        f"{words.count(view.recovered, 'recovered', 'recovered')}."
    )


def _queue_sentence(view: Night) -> str:
    if view.total.index_mean is None or len(view.queues) < 2:
        return ""
    comparable = [group for group in view.queues if group.calls_indexed >= COMPARABLE_CALLS]
    if len(comparable) < 2:
        return f"Fewer than two queues had {COMPARABLE_CALLS} calls, too few to say which fared worst."
    worst = comparable[0]
    says = f"{worst.name} had the lowest index, {words.number(worst.index_mean)}"
    if worst.index_low is None or worst.index_high is None:
        return says + "."
    says += f" ({worst.index_low:.0f} to {worst.index_high:.0f}), "
    if worst.index_high < view.total.index_mean:
        return says + "clearly below the day's mean."
    return says + "which may be chance: the day's mean lies within its interval."


# The page


def render_nightly(
    tables: Tables,
    *,
    call_date: date,
    generated_at: datetime,
    time_zone: str = "UTC",
    model: ModelNote | None = None,
) -> str:
    """Render the report of a day.

    Parameters
    ----------
    tables
        As for `night`.
    call_date
        The day.
    generated_at
        When the page is made, with its time zone.
    time_zone
        IANA name of the zone in which times are shown.
    model
        What is known of the model; without it the page says only what holds for any.

    Returns
    -------
    The page: HTML that loads nothing and runs no script.
    """
    view = night(tables)
    zone = ZoneInfo(time_zone)
    charted = [group for group in (view.total, *view.queues[:QUEUES_IN_CHARTS]) if group.index_mean is not None]

    def local(moment: datetime | None, form: str = "%H:%M") -> str:
        return words.NONE if moment is None else moment.astimezone(zone).strftime(form)

    page = _environment().get_template("nightly.html.j2")
    return page.render(
        view=view,
        call_date=call_date,
        generated_at=generated_at,
        time_zone=time_zone,
        model=model,
        never_evaluated=() if model is None else never_evaluated(view.languages, model),
        local=local,
        definitions=d,
        figures=figures,
        charts=_charts(charted),
        charted=len(charted),
        timelines={each.rank: _timeline(each, local(each.call.started_at)) for each in view.to_hear},
        arcs=[
            (call, figures.arc(f"path-{number}", f"Mood path of the call at {local(call.started_at)}", call.mood_path))
            for number, call in enumerate(view.paths, start=1)
        ],
    )


def _charts(groups: Sequence[Group]) -> Mapping[str, Markup]:
    if not groups:
        return {}
    bars = [MoodBar(group.name, group.moods.stacked) for group in groups if group.moods is not None]
    rows = [
        IndexRow(group.name, group.index_mean, group.index_low, group.index_high)
        for group in groups
        if group.index_mean is not None
    ]
    return {
        "moods": figures.mood_chart("moods", "Customers' moods by queue: shares of their speech", bars),
        "index": figures.index_chart("index", "Satisfaction index by queue, with its interval", rows, d.INDEX_NEUTRAL),
    }


def _timeline(each: CallToHear, start: str) -> Markup:
    title = f"Timeline of the call at {start}, {each.call.queue_name}"
    return figures.timeline(f"call-{each.rank}", title, each.speech, each.duration_s)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "number": words.number,
        "signed": words.signed,
        "clock": words.clock,
        "duration": words.duration,
        "printable": words.printable,
        "language": words.language,
        "listing": words.listing,
    }
    return environment
