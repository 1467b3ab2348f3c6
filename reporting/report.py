"""The report on a day, a week or a month: its published tables in, one self-contained HTML page out.

First the view, frozen dataclasses computed from Arrow tables, then the template; the demo's summary is made of the
same view. Reads no storage and no clock: the same input gives the same bytes. There are two editions: the review
edition shows contact ids and the recordings' addresses, for those who may see them; the summary edition is made of a
view that holds neither a call nor an id (`Night.for_sharing`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from reporting import figures, words
from reporting.course import DAYS_BEFORE, PATH, Course, HourMean, MoodPath, by_hour, course, mood_paths
from reporting.drift import MUCH, NOTABLE, Profile, drift
from reporting.figures import IndexRow, MoodBar, Speech, TimeMark
from reporting.judgements import FEWEST as FEWEST_JUDGED
from reporting.judgements import NOT_YET, NOTHING_JUDGED, Measured
from reporting.measures import FEWEST_CALLS, Mean, too_few
from reporting.periods import Period
from reporting.topics import Topics, TopicTime, side_by_side, topics, topics_at
from schemas import definitions as d
from schemas.reasons import REASONS, Reason

CALLS_TO_HEAR = 10
FEWEST_TO_HEAR = 3
"""Where fewer calls have a reason to be heard, those with the lowest index are added up to this many."""

QUEUES_IN_CHARTS = 12
QUEUES_IN_SENTENCE = 2
FILES_LISTED = 20
EMOTION_LOG_COLUMNS = ("contact_id", "role", "start_s", "end_s", "emotion", "confidence", "valence", "p_angry")
"""What the report needs of emotion_log, and of the calls to hear only."""

NO_QUEUE = "no queue"
TOPICS_TITLE = "Which emotions customers' speech shows, by what the call is about"
NEW_MODEL = "another model"
_STRETCHES = 16
_NICE_SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_TEMPLATES = Path(__file__).parent / "templates"

Tables = Mapping[str, pa.Table]
"""The published tables of one call date, or of those of a period, by their names (`schemas.TABLES`)."""

Edition = Literal["review", "summary"]


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
        mood=_weighted([(seconds, part.valence) for seconds, part in heard]),
        anger=_weighted([(seconds, part.anger) for seconds, part in heard]),
        topics=about,
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

    Recordings of customers who opted out are not expected, and not among the skipped ones. Where ``few``, the figures
    of how customers felt are withheld: they would be of too few calls, or tell those of such a group.
    """

    name: str
    queue: str | None = None
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
    few: bool = False

    def withheld(self) -> Group:
        """The same without a figure of how customers felt: it would be of too few calls."""
        return replace(
            self,
            few=True,
            index_mean=None,
            index_low=None,
            index_high=None,
            moods=None,
            escalated_share=None,
            recovered_share=None,
            mood_change_mean=None,
        )


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
    """The run that published a day's tables: its row of runs."""

    call_date: date
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
    """What the page shows of a day or period, but for its course.

    Attributes
    ----------
    total, queues
        All calls; and each queue's, the lowest index first, those without one last.
    escalated, recovered
        How many calls; None where that is withheld.
    to_hear, flagged, reasons
        The calls to hear first; how many have a reason; and how many have each, in words, the most pressing first.
    not_scored
        What was not scored, by reason.
    runs
        The last run of each day.
    agents_classified
        Whether agents' speech was classified in the calls to hear.
    emotions
        Those in the timelines.
    languages
        The languages of the scored calls, of those that are known: primary subtags, with the calls.
    """

    total: Group
    queues: tuple[Group, ...]
    escalated: int | None
    recovered: int | None
    to_hear: tuple[CallToHear, ...]
    flagged: int
    reasons: tuple[tuple[str, int], ...]
    not_scored: tuple[NotScored, ...]
    runs: tuple[Run, ...]
    agents_classified: bool
    emotions: tuple[str, ...]
    languages: tuple[tuple[str, int], ...]

    @property
    def planned(self) -> int:
        """Recordings that were planned."""
        return self.total.scored + self.total.quarantined + self.total.skipped + self.total.opted_out

    @property
    def run(self) -> Run | None:
        """The last day's last run."""
        return self.runs[-1] if self.runs else None

    def for_sharing(self) -> Night:
        """The same without calls and addresses, and of too few calls without figures: what the summary shows."""
        view = replace(
            self,
            to_hear=(),
            emotions=(),
            not_scored=tuple(replace(line, recordings=()) for line in self.not_scored),
        )
        if self.total.calls_indexed >= FEWEST_CALLS:
            return view
        return replace(view, total=self.total.withheld(), escalated=None, recovered=None, flagged=0, reasons=())


def night(tables: Tables) -> Night:
    """Compute what the page shows from the published tables of a day, or of the days of a period.

    Parameters
    ----------
    tables
        contacts, recordings, emotion_log, calls, satisfaction_daily, topics, quarantine and runs; of emotion_log
        `EMOTION_LOG_COLUMNS` of the calls to hear are enough, of topics those calls.
    """
    calls = read_calls(tables["calls"])
    groups = _groups(tables)
    to_hear = calls_to_hear(calls)
    speech = _speech(tables["emotion_log"], [each.call.contact_id for each in to_hear])
    told = _told(tables["topics"], [each.call.contact_id for each in to_hear])
    to_hear = [
        replace(each, speech=speech.get(each.call.contact_id, ()), topics=told.get(each.call.contact_id, ()))
        for each in to_hear
    ]
    shown = {part.emotion for each in to_hear for part in each.speech if part.role != "agent"}
    return Night(
        total=groups[0],
        queues=tuple(groups[1:]),
        escalated=_true(tables["calls"], "escalated"),
        recovered=_true(tables["calls"], "recovered"),
        to_hear=tuple(to_hear),
        flagged=sum(bool(call.review_reasons) for call in calls),
        reasons=_by_reason(calls),
        not_scored=tuple(not_scored(tables)),
        runs=last_runs(tables["runs"]),
        agents_classified=any(part.role == "agent" and part.emotion for each in to_hear for part in each.speech),
        emotions=tuple(emotion for emotion in figures.EMOTION_COLORS if emotion in shown),
        languages=_languages(tables),
    )


def never_evaluated(languages: Iterable[tuple[str, int]], model: ModelNote) -> tuple[tuple[str, int], ...]:
    """Of the languages of the calls, those that the model was not evaluated on, the most frequent first."""
    unknown = (each for each in languages if each[0] not in model.evaluated_languages)
    return tuple(sorted(unknown, key=lambda each: (-each[1], each[0])))


def last_runs(runs: pa.Table) -> tuple[Run, ...]:
    """Take each day's last run, which the day's other tables are of."""
    last: dict[date, Run] = {}
    rows = runs.to_pylist(maps_as_pydicts="strict")
    for row in sorted(rows, key=lambda row: (row["call_date"], row["published_at"], row["run_id"])):
        row["step_seconds"] = tuple(row["step_seconds"].items())
        row["table_versions"] = tuple(sorted(row["table_versions"].items()))
        last[row["call_date"]] = Run(**{each.name: row[each.name] for each in fields(Run)})
    return tuple(last.values())


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
    daily = _added_up(tables["satisfaction_daily"])
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
        _group(queue_name(queue), row, moods.get(queue), counts.get(queue, {}))
        for (scope, queue), row in daily.items()
        if scope == "queue"
    ]
    few = too_few({group.queue: group.calls_indexed for group in queues})
    queues = [group.withheld() if group.queue in few else group for group in queues]
    queues.sort(key=lambda group: (group.index_mean is None, group.index_mean or 0.0, group.name))
    total = daily.get(("total", None), {})
    kinds = ("quarantined", "skipped", "no_recording", "opted_out")
    summed = {kind: sum(each.get(kind, 0) for each in counts.values()) for kind in kinds}
    overall = _moods(*(pc.mean(indexed[f"{mood}_share"]).as_py() for mood in ("negative", "neutral", "positive")))
    return [_group("All calls", total, overall, summed), *queues]


def _group(name: str, row: Mapping[str, Any], moods: Moods | None, counts: Mapping[str, int]) -> Group:
    return Group(
        name=name,
        queue=row.get("queue"),
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


def _added_up(daily: pa.Table) -> dict[tuple[str, str | None], Mapping[str, Any]]:
    """Add up the rows of the days of satisfaction_daily, of the total and each queue; of one day they stay as is."""
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in daily.filter(pc.is_in(pc.field("scope"), pa.array(["total", "queue"]))).to_pylist():
        found.setdefault((row["scope"], row["queue"]), []).append(row)
    return {key: rows[0] if len(rows) == 1 else _sum_of(rows) for key, rows in found.items()}


def _sum_of(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    sums = {
        name: sum(row[name] for row in rows)
        for name in ("contacts_expected", "calls_scored", "calls_indexed", "index_sum", "index_sumsq")
    }
    index = Mean.of_sums(sums["calls_indexed"], sums["index_sum"], sums["index_sumsq"])
    weights = {"negative_share": "calls_indexed", "escalated_share": "calls_with_mood_change"}
    weights |= dict.fromkeys(("recovered_share", "mood_change_mean"), "calls_with_mood_change")
    means = {name: _weighted([(row[weight], row[name]) for row in rows]) for name, weight in weights.items()}
    covered = sums["calls_scored"] / sums["contacts_expected"] if sums["contacts_expected"] else None
    interval = {"index_mean": index.mean, "index_low": index.low, "index_high": index.high}
    return {"queue": rows[0]["queue"], **sums, **means, **interval, "coverage": covered}


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
    names = ("call_date", "contact_id", "source_uri", "status", "reason_code")
    keys = ["call_date", "contact_id"]
    return recordings.select(names).join(contacts.select([*keys, "queue"]), keys)


def _without_recording(tables: Tables) -> pa.Table:
    keys = ["call_date", "contact_id"]
    expecting = tables["contacts"].filter(pc.field("expects_recording")).select([*keys, "queue"])
    return expecting.join(tables["recordings"].select(keys), keys, join_type="left anti")


def _languages(tables: Tables) -> tuple[tuple[str, int], ...]:
    known = dict(zip(*(tables["contacts"][name].to_pylist() for name in ("contact_id", "language")), strict=True))
    spoken = Counter(words.primary_language(known.get(each)) for each in tables["calls"]["contact_id"].to_pylist())
    return tuple(sorted((code, calls) for code, calls in spoken.items() if code is not None))


def _by_reason(calls: Iterable[Call]) -> tuple[tuple[str, int], ...]:
    amounts = Counter(code for call in calls for code in call.review_reasons)
    order = [*d.REVIEW_REASONS, *sorted(amounts.keys() - d.REVIEW_REASONS.keys())]
    says = {code: d.REVIEW_REASONS.get(code, words.printable(code.replace("_", " "))) for code in order}
    return tuple((says[code], amounts[code]) for code in order if amounts[code])


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


def _told(topics: pa.Table, contact_ids: Sequence[str]) -> dict[str, tuple[TopicTime, ...]]:
    rows = topics.filter(pc.is_in(topics["contact_id"], value_set=pa.array(contact_ids, pa.string())))
    told: dict[str, list[TopicTime]] = {}
    for row in rows.sort_by([("start_s", "ascending"), ("topic", "ascending")]).to_pylist():
        told.setdefault(row["contact_id"], []).append(TopicTime(row["topic"], row["start_s"], row["end_s"]))
    return {contact_id: tuple(times) for contact_id, times in told.items()}


# The period in words


def headline(view: Night, period: Period, how: Course) -> tuple[str, ...]:
    """Say the period in three sentences; one without recordings or scores, in as many as there is to say."""
    if not view.planned:
        return (_nothing_planned(view.total.expected, period),)
    sentences = (_mood_sentence(view, how), _queue_sentence(view, period, how), _coverage_sentence(view))
    return tuple(sentence for sentence in sentences if sentence)


def _nothing_planned(expected: int, period: Period) -> str:
    if not expected:
        return f"No recordings were planned for this {period.kind}."
    return (
        f"No recordings were planned for this {period.kind}, though {words.count(expected, 'contact')} should have "
        "one: check the recordings' place, their layout and the time zone."
    )


def _mood_sentence(view: Night, how: Course) -> str:
    total = view.total
    if total.few:
        return f"Fewer than {FEWEST_CALLS} calls have an index, too few to say how customers felt."
    if total.moods is None or total.index_mean is None:
        return "In no call did the customer speak long enough to tell a mood."
    index = f"The satisfaction index was {total.index_mean:.0f} on average"
    if total.index_low is not None and total.index_high is not None:
        index += f" (95% interval {total.index_low:.0f} to {total.index_high:.0f})"
    moods = total.moods
    return (
        f"{index}, where {d.INDEX_NEUTRAL:.0f} is neutral{_against_the_usual(total.index_mean, how)}; of the "
        f"customers' speech {words.percent(moods.negative)} was negative, {words.percent(moods.neutral)} neutral and "
        f"{words.percent(moods.positive)} positive; {words.count(view.escalated or 0, 'call')} escalated and "
        f"{words.count(view.recovered or 0, 'recovered', 'recovered')}."
    )


def _against_the_usual(index: float, how: Course) -> str:
    usual = how.usual
    if usual is None:
        return ""
    where = "below" if index < usual.low else "above" if index > usual.high else "within"
    return f" and {where} the {usual.low:.0f} to {usual.high:.0f} that are usual by the {usual.days} days before"


def _queue_sentence(view: Night, period: Period, how: Course) -> str:
    if view.total.index_mean is None or len(view.queues) < 2:
        return ""
    if how.outside:
        return _outside_sentence(how)
    comparable = [group for group in view.queues if group.index_mean is not None]
    if len(comparable) < 2:
        return f"Fewer than two queues had {FEWEST_CALLS} calls, too few to say which fared worst."
    worst = comparable[0]
    says = f"{worst.name} had the lowest index, {words.number(worst.index_mean)}"
    if worst.index_low is not None and worst.index_high is not None:
        says += f" ({worst.index_low:.0f} to {worst.index_high:.0f}), "
        if worst.index_high < view.total.index_mean:
            says += f"clearly below the {period.kind}'s mean"
        else:
            says += f"which may be chance: the {period.kind}'s mean lies within its interval"
    unchanged = f"; none of the {how.compared} queues compared is outside its usual range" if how.compared > 1 else ""
    return f"{says}{unchanged}."


def _outside_sentence(how: Course) -> str:
    fell = [each for each in how.outside if each.change < 0]
    rose = [each for each in reversed(how.outside) if each.change > 0]
    parts = [
        f"{queue_name(each.queue)} {moved} to {each.index:.0f}, usually {each.usual.low:.0f} to {each.usual.high:.0f}"
        for moved, queues in (("fell", fell), ("rose", rose))
        for each in queues[:QUEUES_IN_SENTENCE]
    ]
    rest = len(how.outside) - len(parts)
    others = f", and {words.count(rest, 'other queue')} left the usual" if rest else ""
    return f"{'; '.join(parts)}{others} (of {words.count(how.compared, 'queue')} compared, corrected for that many)."


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


def in_sentences(tables: Tables, period: Period, history: pa.Table) -> tuple[str, ...]:
    """The period in the sentences with which the summary edition begins; the arguments are those of `render_page`."""
    daily = tables["satisfaction_daily"]
    how = course(pa.concat_tables([history.select(daily.column_names), daily]), period)
    return headline(night(tables).for_sharing(), period, how)


# The page


def render_page(
    tables: Tables,
    *,
    period: Period,
    generated_at: datetime,
    edition: Edition = "review",
    history: pa.Table | None = None,
    time_zone: str = "UTC",
    model: ModelNote | None = None,
    judged: Measured = NOTHING_JUDGED,
    profiles: Mapping[date, Profile] | None = None,
) -> str:
    """Render the report on a day, a week or a month.

    Parameters
    ----------
    tables
        As for `night`.
    period
        The days that the tables are of.
    generated_at
        When the page is made, with its time zone.
    edition
        review, with the calls to hear and their ids; or summary, without any id.
    history
        Rows of satisfaction_daily of the days before the period, as for `reporting.course.course`.
    time_zone
        IANA name of the zone in which times are shown.
    model
        What is known of the model; without it the page says only what holds for any.
    judged
        What people's judgements say of the model that classified the last day.
    profiles
        What the data of the period's days and of those before it look like, as for `reporting.drift.drift`.

    Returns
    -------
    The page: HTML that loads nothing and runs no script.
    """
    view = night(tables) if edition == "review" else night(tables).for_sharing()
    zone = ZoneInfo(time_zone)
    daily = tables["satisfaction_daily"]
    how = course(daily if history is None else pa.concat_tables([history.select(daily.column_names), daily]), period)
    about = topics(tables["topic_emotions"])
    moved = drift(profiles or {}, period, DAYS_BEFORE)
    changed = frozenset(each.day for each in moved.changes)
    hours = () if view.total.few else by_hour(tables["calls"], zone)
    charted = [group for group in (view.total, *view.queues) if group.index_mean is not None][: QUEUES_IN_CHARTS + 1]
    paths = () if view.total.few else mood_paths(tables["calls"], [(group.name, group.queue) for group in view.queues])
    edge = figures.arc_edge([path.moods for path in paths])

    def local(moment: datetime | None, form: str = "%H:%M") -> str:
        return words.NONE if moment is None else moment.astimezone(zone).strftime(form)

    def call_start(moment: datetime | None) -> str:
        return local(moment, "%H:%M" if period.kind == "day" else "%a %-d %b, %H:%M")

    return (
        _environment()
        .get_template("nightly.html.j2")
        .render(
            view=view,
            review=edition == "review",
            period=period,
            headline=headline(view, period, how),
            how=how,
            drift=moved,
            topics=about,
            notable=NOTABLE,
            much=MUCH,
            new_model=changed,
            hours=hours,
            paths=paths,
            path_points=list(PATH.items()),
            unpublished=[day for day in period.days if day not in {run.call_date for run in view.runs}],
            thin=[run for run in view.runs if run.status != "published"],
            generated_at=generated_at,
            time_zone=time_zone,
            model=model,
            judged=judged,
            fewest_judged=FEWEST_JUDGED,
            not_yet=NOT_YET,
            never_evaluated=() if model is None else never_evaluated(view.languages, model),
            local=local,
            call_start=call_start,
            definitions=d,
            fewest=FEWEST_CALLS,
            figures=figures,
            charts=_charts(tuple(charted), how, hours, changed, about),
            charted=len(charted),
            uncharted=sum(group.index_mean is not None for group in view.queues) + 1 - len(charted),
            timelines={each.rank: _timeline(each, call_start(each.call.started_at)) for each in view.to_hear},
            arcs=_arcs(paths, edge),
            arc_edge=edge,
        )
    )


@dataclass(frozen=True)
class Charts:
    """The pictures that matplotlib draws; None where there is nothing to be drawn."""

    moods: Markup | None
    index: Markup | None
    days: Markup | None
    hours: Markup | None
    topics: Markup | None


# Drawing takes most of the time that a page takes, and both editions show the same pictures.
@lru_cache(maxsize=1)
def _charts(
    groups: tuple[Group, ...], how: Course, hours: tuple[HourMean, ...], new_model: frozenset[date], about: Topics
) -> Charts:
    bars = [MoodBar(group.name, group.moods.stacked) for group in groups if group.moods is not None]
    rows = [
        IndexRow(group.name, group.index_mean, group.index_low, group.index_high)
        for group in groups
        if group.index_mean is not None
    ]
    days = [
        TimeMark(f"{each.day:%-d %b}", *(each.index, each.said, each.in_period), NEW_MODEL * (each.day in new_model))
        for each in how.days
    ]
    usual = None if how.usual is None else (how.usual.low, how.usual.high)
    of_hours = [TimeMark(f"{each.hour}:00", each.index, "too few calls" if each.few else "") for each in hours]
    neutral = d.INDEX_NEUTRAL
    titles = (
        "Customers' moods by queue: shares of their speech",
        *(f"Satisfaction index by {group}, with its interval" for group in ("queue", "day", "hour")),
    )
    return Charts(
        moods=figures.mood_chart("moods", titles[0], bars) if bars else None,
        index=figures.index_chart("index", titles[1], rows, neutral) if rows else None,
        days=_over_time("days", titles[2], days, every=7 if len(days) < 40 else 14, usual=usual),
        hours=_over_time("hours", titles[3], of_hours, every=2),
        topics=figures.topic_chart("topics", TOPICS_TITLE, about.shown) if about.shown else None,
    )


def _over_time(
    name: str, title: str, marks: Sequence[TimeMark], *, every: int, usual: tuple[float, float] | None = None
) -> Markup | None:
    if all(mark.index.mean is None for mark in marks):
        return None
    return figures.time_chart(name, title, marks, d.INDEX_NEUTRAL, every=every, usual=usual)


def _arcs(paths: Sequence[MoodPath], edge: float) -> list[Markup]:
    return [
        figures.arc(f"path-{number}", f"Mood through a call, {path.name}", list(PATH.values()), path.moods, edge)
        for number, path in enumerate(paths[: QUEUES_IN_CHARTS + 1], start=1)
    ]


def _timeline(each: CallToHear, start: str) -> Markup:
    title = f"Timeline of the call at {start}, {each.call.queue_name}"
    return figures.timeline(f"call-{each.rank}", title, each.speech, each.duration_s, each.topics)


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
