"""What the report shows of a day or a period: of all calls and each queue, what was not scored, and the runs.

Frozen dataclasses computed from the published tables, as Arrow tables. Reads no storage and no clock, knows no page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reporting import figures, words
from reporting.aggregates import ClassifierError
from reporting.calls import Call, CallToHear, calls_to_hear, queue_name, read_calls, weighted
from reporting.course import ALL_CALLS
from reporting.figures import Speech
from reporting.measures import FEWEST_CALLS, NO_CALLS, Mean, too_few
from reporting.topics import TopicTime
from schemas import definitions as d
from schemas.reasons import REASONS, Reason

FILES_LISTED = 20
EMOTION_LOG_COLUMNS = ("contact_id", "role", "start_s", "end_s", "emotion", "confidence", "valence", "p_angry")
"""What the report needs of emotion_log, and of the calls to hear only."""

Tables = Mapping[str, pa.Table]
"""The published tables of one call date, or of those of a period, by their names (`schemas.TABLES`)."""


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
    """All calls, or those of a queue: its figures of satisfaction_daily, and what became of its recordings.

    The index is a `Mean` of the calls themselves: days cannot be added up to customers. Recordings of customers who
    opted out are not expected, and not among the skipped ones. Where ``few``, the figures of how customers felt are
    withheld: they would be of too few calls, or tell those of such a group.
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
    index: Mean = NO_CALLS
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
            index=Mean(self.index.calls, None),
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
        if self.total.index.calls >= FEWEST_CALLS:
            return view
        return replace(view, total=self.total.withheld(), escalated=None, recovered=None, flagged=0, reasons=())


def night(tables: Tables, error: ClassifierError | None = None) -> Night:
    """Compute what the page shows from the published tables of a day, or of the days of a period.

    Parameters
    ----------
    tables
        contacts, recordings, emotion_log, calls, satisfaction_daily, topics, quarantine and runs; of emotion_log
        `EMOTION_LOG_COLUMNS` of the calls to hear are enough, of topics those calls.
    error
        What is known of the error of the classifier: it is in the intervals of levels if the calls are all its own.
    """
    calls = read_calls(tables["calls"])
    heard_by = pc.unique(tables["calls"]["model_id"]).to_pylist()
    groups = _groups(tables, None if error is None else error.points_of(heard_by))
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


def with_customers(calls: pa.Table, contacts: pa.Table) -> pa.Table:
    """The calls with a column customer: who made each; a call whose customer has no key is a customer's of its own."""
    by_contact = zip(*(contacts[name].to_pylist() for name in ("call_date", "contact_id")), strict=True)
    keys = dict(zip(by_contact, contacts["customer_key"].to_pylist(), strict=True))
    made = zip(*(calls[name].to_pylist() for name in ("call_date", "contact_id")), strict=True)
    return calls.append_column("customer", pa.array([keys.get(each) or each[1] for each in made], pa.string()))


def _groups(tables: Tables, error: float | None) -> list[Group]:
    """All calls first, then the queues, the lowest index first."""
    daily = _added_up(tables["satisfaction_daily"])
    indexed = with_customers(tables["calls"], tables["contacts"])
    indexed = indexed.filter(pc.is_valid(pc.field("satisfaction_index")))
    indices = {queue: _mean(indexed.filter(_is(queue)), error) for queue in pc.unique(indexed["queue"]).to_pylist()}
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
        _group(queue_name(queue), row, indices.get(queue, NO_CALLS), moods.get(queue), counts.get(queue, {}))
        for (scope, queue), row in daily.items()
        if scope == "queue"
    ]
    few = too_few({group.queue: group.index.calls for group in queues})
    queues = [group.withheld() if group.queue in few else group for group in queues]
    queues.sort(key=lambda group: (group.index.mean is None, group.index.mean or 0.0, group.name))
    total = daily.get(("total", None), {})
    kinds = ("quarantined", "skipped", "no_recording", "opted_out")
    summed = {kind: sum(each.get(kind, 0) for each in counts.values()) for kind in kinds}
    overall = _moods(*(pc.mean(indexed[f"{mood}_share"]).as_py() for mood in ("negative", "neutral", "positive")))
    return [_group(ALL_CALLS, total, _mean(indexed, error), overall, summed), *queues]


def _is(queue: str | None) -> pc.Expression:
    return pc.field("queue").is_null() if queue is None else pc.field("queue") == queue


def _mean(indexed: pa.Table, error: float | None) -> Mean:
    return Mean.of(indexed["satisfaction_index"].to_pylist(), indexed["customer"].to_pylist(), error)


def _group(name: str, row: Mapping[str, Any], index: Mean, moods: Moods | None, counts: Mapping[str, int]) -> Group:
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
        index=index,
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
    sums = {name: sum(row[name] for row in rows) for name in ("contacts_expected", "calls_scored")}
    weights = {"negative_share": "calls_indexed", "escalated_share": "calls_with_mood_change"}
    weights |= dict.fromkeys(("recovered_share", "mood_change_mean"), "calls_with_mood_change")
    means = {name: weighted([(row[weight], row[name]) for row in rows]) for name, weight in weights.items()}
    covered = sums["calls_scored"] / sums["contacts_expected"] if sums["contacts_expected"] else None
    return {"queue": rows[0]["queue"], **sums, **means, "coverage": covered}


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
