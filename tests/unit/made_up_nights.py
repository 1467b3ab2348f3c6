"""Nights as they would be published, made up, and a reader of the pages that are made of them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
from scipy.stats import t

from schemas import TABLES
from schemas import definitions as d
from ser_model.taxonomy import EMOTIONS, MOOD, VALENCE_AROUSAL

DAY = date(2026, 11, 20)
RUN_ID = "20261121T083905Z-3fa9c1"
GENERATED_AT = datetime(2026, 11, 21, 8, 42, tzinfo=UTC)
ARCS: Mapping[str, Sequence[str]] = {
    "content": ("neutral", "calm", "happy", "happy"),
    "delighted": ("happy", "happy", "amused", "happy"),
    "flat": ("neutral", "bored", "neutral", "calm"),
    "recovering": ("angry", "angry", "neutral", "happy"),
    "distressed": ("sad", "fearful", "sad", "sad"),
    "escalating": ("neutral", "sad", "angry", "angry"),
    "furious": ("angry", "angry", "angry", "angry"),
}
ARC_WEIGHTS = (30, 8, 30, 6, 8, 8, 4)


# A maker of made-up nights: segments along an arc, calls from segments, days from calls


@dataclass(frozen=True)
class Odd:
    """Recordings of a made-up night that were not scored."""

    status: str
    reason_code: str
    amount: int = 1


ODD = (
    Odd("quarantined", "truncated"),
    Odd("quarantined", "not_audio", 2),
    Odd("skipped", "mono_not_separable"),
    Odd("skipped", "opted_out"),
)


def made_up_night(
    calls: int = 24,
    queues: Sequence[str | None] = ("Billing", "Support", "Sales"),
    odd: Sequence[Odd] = ODD,
    unrecorded: int = 2,
    seed: int = 7,
    minutes: tuple[float, float] = (2.0, 6.0),
    day: date = DAY,
) -> dict[str, pa.Table]:
    """A night as it would be published: every table conforms to its schema, and the tables agree with each other."""
    chance = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for number in range(calls):
        queue = queues[number % len(queues)]
        # The first queue has the hard calls more often, so that a queue is worst.
        weights = ARC_WEIGHTS if number % len(queues) else (18, 3, 22, 10, 14, 22, 12)
        arc = chance.choices(list(ARCS), weights)[0]
        contact = _contact(rows, chance, number, queue, day)
        segments = _segments(chance, contact, ARCS[arc], 60 * chance.uniform(*minutes))
        rows["emotion_log"] += segments
        rows["calls"].append(_call(rows["contacts"][-1], segments))
        _recording(rows, contact, "scored", None)
    odd_ones = [each for each in odd for _ in range(each.amount)]
    for number, each in enumerate(odd_ones, start=calls):
        contact = _contact(rows, chance, number, queues[number % len(queues)], day)
        _recording(rows, contact, each.status, each.reason_code)
    for number in range(calls + len(odd_ones), calls + len(odd_ones) + unrecorded):
        _contact(rows, chance, number, queues[number % len(queues)], day)
    rows["satisfaction_daily"] = [_daily(rows, "total", None)]
    rows["satisfaction_daily"] += [_daily(rows, "queue", queue) for queue in dict.fromkeys(queues)] if calls else []
    rows["runs"] = [_run(rows)]
    return {name: TABLES[name].conform(_table(name, rows[name], day)) for name in TABLES}


def _table(name: str, rows: list[dict[str, Any]], day: date) -> pa.Table:
    schema = TABLES[name].schema
    known = [{column: row.get(column) for column in schema.names} for row in rows]
    filled = [{**row, "call_date": day, "run_id": RUN_ID} for row in known]
    return pa.Table.from_pylist(filled, schema=schema)


def _contact(
    rows: dict[str, list[dict[str, Any]]], chance: random.Random, number: int, queue: str | None, day: date
) -> str:
    contact = f"{chance.getrandbits(32):08x}-{number:04x}-4582-9582-{chance.getrandbits(48):012x}"
    started = datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(seconds=number * 400 % 36_000)
    record = {"contact_id": contact, "queue": queue, "started_at": started, "local_hour": started.hour}
    # Some call twice on a day, and most on several; of every sixth nobody knows who it is.
    record |= {"customer_key": f"{(number + day.day) % 17:032x}" if number % 6 else None}
    rows["contacts"].append(record | {"expects_recording": True, "attributes": []})
    return contact


def _recording(rows: dict[str, list[dict[str, Any]]], contact: str, status: str, code: str | None) -> None:
    uri = f"s3://recordings/CallRecordings/2026/11/20/{contact}_20261120T08:00_UTC.wav"
    common = {"contact_id": contact, "source_uri": uri, "etag": "e", "status": status, "reason_code": code}
    rows["recordings"].append(common | {"size_bytes": 1, "last_modified": GENERATED_AT})
    if status == "quarantined":
        seen = {"attempts": 1, "first_seen": GENERATED_AT, "last_seen": GENERATED_AT}
        rows["quarantine"].append(common | seen | {"stage": "extract_features", "status": "open"})


def _segments(chance: random.Random, contact: str, arc: Sequence[str], duration_s: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    at, turn = 1.0, 0
    while at < duration_s - 12:
        for role in ("agent", "customer"):
            for index in range(chance.randint(1, 4)):
                length = chance.uniform(1.2, 3.0)
                row = {"contact_id": contact, "role": role, "turn_index": turn, "segment_index": index}
                row |= {"start_s": at, "end_s": at + length, "classified": role == "customer"}
                if role == "customer":
                    row |= _judged(chance, arc[min(3, int(4 * at / duration_s))])
                found.append(row)
                at += length
            at += chance.uniform(0.3, 1.5)
        turn += 1
    return found


def _judged(chance: random.Random, emotion: str) -> dict[str, Any]:
    weights = {each: chance.random() ** 4 for each in EMOTIONS}
    weights[emotion] += chance.uniform(1.0, 9.0)
    total = sum(weights.values())
    probabilities = {each: weight / total for each, weight in weights.items()}
    top = max(probabilities, key=lambda each: probabilities[each])
    valence, arousal = (sum(p * VALENCE_AROUSAL[each][axis] for each, p in probabilities.items()) for axis in (0, 1))
    row = {"emotion": top, "confidence": probabilities[top], "emotion_set": [top], "model_id": "m-1-00000000"}
    row |= {f"p_{each}": p for each, p in probabilities.items()}
    return row | {"valence": valence, "arousal": arousal, "loudness_dbfs": -22.0}


def _call(contact: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    heard = [part for part in segments if part["classified"]]
    duration_s = segments[-1]["end_s"] + 1.0
    edge = max(2, len(heard) // 5)

    def mean(column: str, parts: Sequence[Mapping[str, Any]]) -> float | None:
        return statistics.fmean(part[column] for part in parts) if parts else None

    def share(mood: str) -> float:
        return sum(mean(f"p_{each}", heard) or 0.0 for each in EMOTIONS if MOOD[each] == mood)

    start, end = mean("valence", heard[:edge]) or 0.0, mean("valence", heard[-edge:]) or 0.0
    peak = max(mean("p_angry", heard[at : at + 4]) or 0.0 for at in range(max(1, len(heard) - 3)))
    index = 60 + 20 * (mean("valence", heard) or 0.0) + 20 * end - 10 * share("negative") - 10 * peak
    quarters = [[p for p in heard if int(4 * p["start_s"] / duration_s) == quarter] for quarter in range(4)]
    escalated = end - start <= d.ESCALATED_MOOD_CHANGE and peak >= d.ESCALATED_ANGER_PEAK
    reasons = {
        "sustained_anger": peak >= d.SUSTAINED_ANGER_PEAK,
        "escalated": escalated,
        "mood_fall": end - start <= d.MOOD_FALL,
        "low_satisfaction": index <= d.LOW_SATISFACTION,
    }
    means = {each: mean(f"p_{each}", heard) or 0.0 for each in EMOTIONS}
    return {
        "contact_id": contact["contact_id"],
        "source_uri": f"s3://recordings/CallRecordings/2026/11/20/{contact['contact_id']}_20261120T08:00_UTC.wav",
        "started_at": contact["started_at"],
        "queue": contact["queue"],
        "duration_s": duration_s,
        "customer_talk_s": sum(part["end_s"] - part["start_s"] for part in heard),
        "agent_talk_s": sum(part["end_s"] - part["start_s"] for part in segments if not part["classified"]),
        "non_talk_s": 10.0,
        "longest_silence_s": 1.5,
        "overlap_s": 0.0,
        "customer_interruptions": 0,
        "agent_interruptions": 0,
        "nonspeech_s": 0.0,
        "dominant_emotion": max(means, key=lambda each: means[each]),
        **{f"{mood}_share": share(mood) for mood in ("negative", "neutral", "positive")},
        "mood_start": start,
        "mood_end": end,
        "mood_change": end - start,
        **{f"mood_q{quarter + 1}": mean("valence", parts) for quarter, parts in enumerate(quarters)},
        "anger_s": 1.0,
        "anger_peak": peak,
        "escalated": escalated,
        "recovered": start <= d.RECOVERED_MOOD_START and end - start >= d.RECOVERED_MOOD_CHANGE,
        "satisfaction_index": index,
        "satisfaction_low": max(0.0, index - 6),
        "satisfaction_high": min(100.0, index + 6),
        "index_version": 1,
        "review_reasons": [code for code, holds in reasons.items() if holds],
        "model_id": "m-1-00000000",
    }


def _daily(rows: Mapping[str, list[dict[str, Any]]], scope: str, queue: str | None) -> dict[str, Any]:
    calls, contacts = (
        [row for row in rows[name] if scope == "total" or row["queue"] == queue] for name in ("calls", "contacts")
    )
    opted_out = {row["contact_id"] for row in rows["recordings"] if row["reason_code"] == "opted_out"}
    contacts = [row for row in contacts if row["contact_id"] not in opted_out]
    indices = [call["satisfaction_index"] for call in calls]
    row: dict[str, Any] = {"scope": scope, "queue": queue if scope == "queue" else None}
    row |= {"contacts_expected": len(contacts), "calls_scored": len(calls), "calls_indexed": len(calls)}
    row |= {"calls_with_mood_change": len(calls), "index_sum": sum(indices), "index_sumsq": sum(x * x for x in indices)}
    row |= {"coverage": len(calls) / len(contacts) if contacts else None}
    if calls:
        row |= {
            "index_mean": statistics.fmean(indices),
            "negative_share": statistics.fmean(call["negative_share"] for call in calls),
            "escalated_share": statistics.fmean(call["escalated"] for call in calls),
            "recovered_share": statistics.fmean(call["recovered"] for call in calls),
            "mood_change_mean": statistics.fmean(call["mood_change"] for call in calls),
        }
    keys = {contact["contact_id"]: contact["customer_key"] or contact["contact_id"] for contact in contacts}
    low, high = clustered_interval(indices, [keys[call["contact_id"]] for call in calls])
    return row | {"index_low": low, "index_high": high}


def clustered_interval(
    indices: Sequence[float], customers: Sequence[str], error: float = 0.0
) -> tuple[float | None, float | None]:
    """The 95% interval of the mean: of each customer what the calls add to it, and Student's t of these sums."""
    mean = statistics.fmean(indices) if indices else 0.0
    added: dict[str, float] = {}
    for index, customer in zip(indices, customers, strict=True):
        added[customer] = added.get(customer, 0.0) + (index - mean) / len(indices)
    n = len(added)
    if n < 2:
        return None, None
    variance = n / (n - 1) * sum(each * each for each in added.values())
    half = float(t.ppf(0.975, n - 1)) * (variance + error**2) ** 0.5
    return max(0.0, mean - half), min(100.0, mean + half)


def _run(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    counts = {each: sum(row["status"] == each for row in rows["recordings"]) for each in ("scored", "quarantined")}
    counts["skipped"] = len(rows["recordings"]) - sum(counts.values())
    return counts | {
        "model_id": "m-1-00000000",
        "code_version": "0123456789ab",
        "planned": len(rows["recordings"]),
        "suppressed": 0,
        "ignored": 3,
        "audio_hours": sum(call["duration_s"] for call in rows["calls"]) / 3600,
        "step_seconds": [("plan_recordings", 1.2), ("extract_features", 21.5), ("publish_tables", 75.0)],
        "status": "published",
        "kind": "night",
        "table_versions": [("calls", 3), ("runs", 4)],
        "published_at": GENERATED_AT - timedelta(minutes=1),
    }


def together(*nights: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables of several days."""
    return {name: pa.concat_tables([night[name] for night in nights]) for name in TABLES}


class Page(HTMLParser):
    """A page, read: its text, tags with their attributes, figures by name, each picture's children; and ``bare``, what
    its cells of numbers say outside of figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[str, list[tuple[float, str]]] = {}
        self.pictures: list[dict[str, str]] = []
        self.bare: list[str] = []
        self._numeric = False
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in ("meta", "link", "img", "br", "input"):
            self._open.append(tag)
        if tag in ("td", "dd"):
            self._numeric = not {"text", "note"} & set((attributes.get("class") or "").split())
        if tag == "svg":
            self.pictures.append({"role": attributes.get("role") or "", "by": attributes.get("aria-labelledby") or ""})
        if tag in ("title", "desc") and self._open[-2] == "svg":
            self.pictures[-1][f"{tag}-id"] = attributes.get("id") or ""
        if tag == "data":
            self._figure = (str(attributes["data-name"]), float(str(attributes["value"])))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data
        if self._open[-1:] == ["data"]:
            self.figures.setdefault(self._figure[0], []).append((self._figure[1], data))
        elif {"td", "dd"} & set(self._open) and self._numeric:
            self.bare.append(data.strip())
        if self._open[-2:] in (["svg", "title"], ["svg", "desc"]):
            self.pictures[-1][self._open[-1]] = data

    def one(self, name: str) -> float:
        values = {value for value, _ in self.figures[name]}
        assert len(values) == 1, f"{name} is said as {values}"
        return values.pop()
