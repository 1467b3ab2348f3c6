"""Published tables of a call center that never was, with planted effects: for tests and for figures at scale.

`simulate` makes every published table of any number of days, seeded and vectorised (a month of 300 calls a day in under
a second, a year of 1,000 a day in some 15 s), `register` gives them to DuckDB as views, and `publish` writes
them as a warehouse. What is true of them is what `Plants` says; nothing in them was heard by a model. Segments,
holds and transfers in ``emotion_log`` and ``call_events`` are those of a sample of the calls.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction

from jobs.storage import LocalStorage
from schemas import TABLES
from schemas import definitions as d

MODEL_ID = "research-0.1.0-66ea78d8"
QUEUES = ("Billing", "Orders", "Returns", "Support", "Sales", "VIP")
QUEUE_SHARES = (0.30, 0.25, 0.20, 0.148, 0.10, 0.002)
QUEUE_POINTS = (-3.0, 1.0, -1.0, 0.0, 3.0, 0.0)
TEAMS = ("North", "South", "East", "West")
TOPICS = ("delivery", "refund", "change of address", "invoice", "other")
HOURS = np.arange(8, 20)
SEGMENTS = 12
"""Of each call in ``emotion_log``: the sides take turns, the customer begins."""


@dataclass(frozen=True)
class Plants:
    """What is true of the simulated calls; points are of the satisfaction index."""

    wait_points_a_minute: float = -1.5
    hold_points: float = -6.0
    repeat_points: float = -4.0
    transfer_points: float = -5.0
    refund_points: float = -5.0
    refund_anger: float = 0.15
    poor_codec: str = "WAV/GSM610"
    poor_codec_points: float = -3.0
    recovering_team: str = "North"
    recovering_mood: float = 0.3
    hold_anger: float = 0.25
    silence_anger: float = 0.2
    survey_slope: float = 0.12
    survey_wait_slope: float = -0.2
    answers_when_unhappy: float = 0.15
    lost_queue: str | None = None
    lost_from: date | None = None
    lost_share: float = 0.6
    fall_queue: str | None = None
    fall_from: date | None = None
    fall_points: float = -5.0


Tables = Mapping[str, pa.Table]


def simulate(
    first_day: date,
    days: int,
    calls_a_day: int,
    seed: int,
    plants: Plants = Plants(),
    *,
    logged_share: float = 0.05,
    by_agent: bool = False,
) -> Tables:
    """Make every published table of these days.

    Parameters
    ----------
    calls_a_day
        Contacts; a few are not scored.
    logged_share
        The share of the calls that have segments.
    by_agent
        Whether ``satisfaction_daily`` has rows for agents.
    """
    rng = np.random.default_rng(seed)
    contacts = _contacts(rng, first_day, days, calls_a_day, plants)
    calls = _calls(rng, contacts[contacts.status == "scored"], plants)
    contacts["disconnect_reason"] = calls.disconnect_reason
    log, events = _segments(rng, calls[rng.random(len(calls)) < logged_share], plants)
    recordings = contacts[contacts.status != "none"]
    frames = {
        "contacts": contacts,
        "calls": calls,
        "emotion_log": log,
        "call_events": events,
        "recordings": recordings,
        "quarantine": recordings[recordings.status == "quarantined"].assign(
            status="open",
            stage="extract_features",
            detail=None,
            attempts=1,
            first_seen=recordings.started_at,
            last_seen=recordings.started_at,
        ),
        "surveys": calls[calls.csat_survey.notna()].assign(score=calls.csat_survey, answered_at=calls.started_at),
        "topics": calls.assign(start_s=10.0, end_s=40.0),
        "topic_emotions": _topic_emotions(rng, calls, plants),
        "satisfaction_daily": _daily(contacts, calls, by_agent),
        "alerts": pd.DataFrame(),
        "runs": _runs(contacts),
    }
    return {name: _table(name, frame) for name, frame in frames.items()}


def register(tables: Tables) -> duckdb.DuckDBPyConnection:
    """Open DuckDB on the tables, as ``make sql`` does on published ones."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "TimeZone": "UTC"})
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def publish(tables: Tables, folder: LocalStorage) -> None:
    """Write the tables as a warehouse in which one run a day was published."""
    for name, table in TABLES.items():
        actions = []
        rows = tables[name]
        days, starts = np.unique(rows["call_date"].to_numpy(), return_index=True)
        for day, (start, stop) in zip(days.tolist(), pairwise([*starts, rows.num_rows]), strict=True):
            path = f"call_date={day}/part-{_run_id(day)}-0.parquet"
            sink = pa.BufferOutputStream()
            part = rows.slice(start, stop - start).select(table.published_schema.names)
            pq.write_table(part.cast(table.published_schema), sink, compression="zstd")
            content = sink.getvalue()
            folder.write(f"{name}/{path}", content.to_pybytes())
            stats = json.dumps({"numRecords": part.num_rows})
            now = int(time.time() * 1000)
            actions.append(AddAction(path, content.size, {"call_date": str(day)}, now, True, stats))
        handle = DeltaTable.create(
            folder.uri(name), schema=Schema.from_arrow(table.schema), partition_by=["call_date"], name=name
        )
        if actions:
            handle.create_write_transaction(actions, "append", handle.schema(), partition_by=["call_date"])


def _run_id(day: date) -> str:
    return f"{day:%Y%m%d}T230000Z-0000aa"


def _table(name: str, frame: pd.DataFrame) -> pa.Table:
    table = TABLES[name]
    columns = {}
    for field in table.schema:
        if field.name not in frame:
            columns[field.name] = pa.nulls(len(frame), field.type)
            continue
        values = frame[field.name]
        if pa.types.is_list(field.type) or pa.types.is_map(field.type):
            columns[field.name] = pa.array(values.tolist(), field.type)
        else:
            columns[field.name] = pa.Array.from_pandas(values).cast(field.type)
    rows = pa.table(columns, schema=table.schema)
    return rows.sort_by([("call_date", "ascending"), *((each, "ascending") for each in table.sort)])


def _contacts(rng: np.random.Generator, first_day: date, days: int, calls_a_day: int, plants: Plants) -> pd.DataFrame:
    n = days * calls_a_day
    number = np.arange(n)
    day = np.repeat(np.datetime64(first_day) + np.arange(days), calls_a_day)
    busy = np.exp(-(((HOURS - 13.5) / 3.5) ** 2))
    hour = np.sort(rng.choice(HOURS, (days, calls_a_day), p=busy / busy.sum()), axis=1).ravel()
    started = day.astype("datetime64[s]") + hour * 3600 + rng.integers(0, 3600, n)
    queue = rng.choice(len(QUEUES), n, p=QUEUE_SHARES)

    # A customer's contact is a first one, a second within six days, or, at once, the continuation of the one before.
    customer = rng.integers(0, 3 * n, n)
    back = np.arange(n) - rng.integers(calls_a_day, 6 * calls_a_day, n)
    repeats = (rng.random(n) < 0.12) & (back >= 0)
    customer[repeats] = customer[back[repeats]]
    queue[repeats] = queue[back[repeats]]
    continues = (rng.random(n) < 0.05) & (number > 0) & np.r_[False, day[1:] == day[:-1]]
    continues &= ~np.r_[False, continues[:-1]]
    customer[continues] = customer[number[continues] - 1]
    ids = np.array([f"c{each:08d}" for each in number], dtype=object)
    previous = np.where(continues, np.roll(ids, 1), None)
    following = np.where(np.r_[continues[1:], False], np.roll(ids, -1), None)
    keys = np.array([f"{each:032x}" for each in customer], dtype=object)
    keys[(rng.random(3 * n) < 0.05)[customer]] = None

    agent = rng.integers(0, 60, n)
    wait_s = rng.exponential(30 + 12 * busy[hour - HOURS[0]] * 6, n)
    held = rng.random(n) < 0.25
    hold_s = np.where(held, 20 + rng.exponential(70, n), 0.0)
    status = rng.choice(["scored", "quarantined", "skipped", "none"], n, p=[0.975, 0.015, 0.008, 0.002])
    if plants.lost_queue is not None and plants.lost_from is not None:
        lost = (queue == QUEUES.index(plants.lost_queue)) & (day >= np.datetime64(plants.lost_from))
        status[lost & (rng.random(n) < plants.lost_share)] = "none"
    reason = np.full(n, None, dtype=object)
    reason[status == "quarantined"] = rng.choice(
        ["truncated", "not_audio", "no_speech"], (status == "quarantined").sum()
    )
    reason[status == "skipped"] = rng.choice(["opted_out", "mono_not_separable"], (status == "skipped").sum())
    topic = rng.choice(TOPICS, n)
    codec = rng.choice(["WAV/ULAW", "WAV/PCM_16", plants.poor_codec], n, p=[0.6, 0.32, 0.08])
    duration_s = 60 + rng.gamma(2.5, 75, n)
    run_ids = np.array([_run_id(each.item()) for each in np.unique(day)], dtype=object)
    return pd.DataFrame(
        {
            "call_date": day,
            "contact_id": ids,
            "initial_contact_id": np.where(continues, np.roll(ids, 1), ids),
            "previous_contact_id": previous,
            "next_contact_id": following,
            "customer_key": keys,
            "customer": customer,
            "queue": np.array(QUEUES, dtype=object)[queue],
            "queue_number": queue,
            "team": np.array(TEAMS, dtype=object)[agent % len(TEAMS)],
            "site": "main",
            "agent_id": np.array([f"{each:032x}" for each in range(60)], dtype=object)[agent],
            "channel": "VOICE",
            "initiation_method": np.where(continues, "TRANSFER", "INBOUND"),
            "language": np.where(rng.random(n) < 0.9, "en", "de"),
            "started_at": pd.to_datetime(started, utc=True),
            "answered_at": pd.to_datetime(started + wait_s.astype(int), utc=True),
            "ended_at": pd.to_datetime(started + (wait_s + duration_s).astype(int), utc=True),
            "local_hour": hour,
            "queue_wait_s": wait_s,
            "hold_count": held.astype(int),
            "hold_s": hold_s,
            "longest_hold_s": hold_s,
            "after_call_work_s": rng.exponential(40, n),
            "expects_recording": True,
            "attributes": [[("topic", each)] for each in topic],
            "topic": topic,
            "run_id": np.repeat(run_ids, calls_a_day),
            # Of the recording.
            "source_uri": np.array([f"s3://recordings/{each}.wav" for each in ids], dtype=object),
            "etag": "0",
            "size_bytes": 1000,
            "last_modified": pd.to_datetime(started + 4000, utc=True),
            "layout": "amazon-connect",
            "status": status,
            "reason_code": reason,
            "channels": 2,
            "channel_kind": "two_channel",
            "codec": codec,
            "sample_rate_hz": 8000,
            "duration_s": duration_s,
            "clipped_share": 0.0,
            "nonspeech_s": 0.0,
            # Of what happened.
            "repeats": repeats,
            "continues": continues,
            "disconnect_draw": rng.random(n),
        }
    )


def _calls(rng: np.random.Generator, contacts: pd.DataFrame, plants: Plants) -> pd.DataFrame:
    calls = contacts.copy()
    n = len(calls)
    temper = rng.normal(0, 5, int(contacts.customer.max()) + 1)[calls.customer]
    index = 60 + np.array(QUEUE_POINTS)[calls.queue_number] + temper + rng.normal(0, 10, n)
    index += plants.wait_points_a_minute * calls.queue_wait_s / 60 + plants.hold_points * (calls.hold_count > 0)
    index += plants.repeat_points * calls.repeats + plants.transfer_points * calls.continues
    index += plants.refund_points * (calls.topic == "refund")
    index += plants.poor_codec_points * (calls.codec == plants.poor_codec)
    if plants.fall_queue is not None and plants.fall_from is not None:
        fallen = (calls.queue == plants.fall_queue) & (calls.call_date >= np.datetime64(plants.fall_from))
        index += plants.fall_points * fallen
    index = np.clip(index.to_numpy(), 0, 100)
    mood = (index - 60) / 40
    start = np.clip(mood + rng.normal(0, 0.25, n), -0.85, 0.85)
    change = (mood - start) * 0.8 + rng.normal(0, 0.15, n)
    change += plants.recovering_mood * ((calls.team == plants.recovering_team).to_numpy() & (start < -0.15))
    end = np.clip(start + change, -0.85, 0.85)
    negative = np.clip(0.22 - mood * 0.5 + rng.normal(0, 0.06, n), 0, 1)
    positive = np.clip((1 - negative) * (0.15 + mood * 0.3), 0, 1)
    anger = np.clip(0.2 - mood * 0.6 + rng.normal(0, 0.1, n), 0, 1)
    latent = plants.survey_slope * (index - 55) + plants.survey_wait_slope * calls.queue_wait_s / 60
    score = 1.0 + sum((latent + rng.logistic(0, 1, n) > cut).astype(float) for cut in (-2.5, -1.0, 0.5, 2.0))
    answers = rng.random(n) < 0.12 + plants.answers_when_unhappy * (index < 50)
    silence = 2 + rng.exponential(5, n) + calls.longest_hold_s
    interruptions = rng.poisson(np.clip(1.2 - 2 * mood, 0.1, 6))
    # Who is angry hangs up more often.
    calls["disconnect_reason"] = np.where(
        calls.disconnect_draw < 0.4 + 0.4 * (anger > 0.5), "CUSTOMER_DISCONNECT", "AGENT_DISCONNECT"
    )
    calls = calls.assign(
        customer_talk_s=calls.duration_s * 0.4,
        agent_talk_s=calls.duration_s * 0.4,
        non_talk_s=calls.duration_s * 0.2,
        longest_silence_s=silence,
        overlap_s=calls.duration_s * 0.02,
        customer_interruptions=interruptions,
        agent_interruptions=rng.poisson(0.8, n),
        median_response_gap_s=rng.gamma(2, 0.4, n),
        longest_turn_s=20.0,
        dominant_emotion=np.where(anger > 0.5, "angry", "neutral"),
        negative_share=negative,
        positive_share=positive,
        neutral_share=1 - negative - positive,
        mood_start=start,
        mood_end=end,
        mood_change=end - start,
        mood_q1=start,
        mood_q2=start + (end - start) / 3,
        mood_q3=start + 2 * (end - start) / 3,
        mood_q4=end,
        anger_s=anger * 30,
        anger_peak=anger,
        escalated=(end - start <= d.ESCALATED_MOOD_CHANGE) & (anger >= d.ESCALATED_ANGER_PEAK),
        recovered=(start <= d.RECOVERED_MOOD_START) & (end - start >= d.RECOVERED_MOOD_CHANGE),
        satisfaction_index=index,
        satisfaction_low=np.clip(index - 15, 0, 100),
        satisfaction_high=np.clip(index + 15, 0, 100),
        index_version=d.INDEX_VERSION,
        csat_survey=np.where(answers, score, np.nan),
        model_id=MODEL_ID,
    )
    flags = {
        "sustained_anger": calls.anger_peak >= d.SUSTAINED_ANGER_PEAK,
        "escalated": calls.escalated,
        "mood_fall": calls.mood_change <= d.MOOD_FALL,
        "low_satisfaction": calls.satisfaction_index <= d.LOW_SATISFACTION,
        "long_silence": calls.longest_silence_s >= d.LONG_SILENCE_S,
        "many_interruptions": calls.customer_interruptions + calls.agent_interruptions >= d.MANY_INTERRUPTIONS,
    }
    met = np.column_stack([flag.to_numpy() for flag in flags.values()])
    places = np.r_[0, met.sum(axis=1).cumsum()]
    codes = np.array(list(flags), dtype=object)[np.nonzero(met)[1]]
    calls["review_reasons"] = [codes[start:stop] for start, stop in pairwise(places)]
    return calls


def _segments(rng: np.random.Generator, calls: pd.DataFrame, plants: Plants) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segments of 3 s in turns; a hold comes after the sixth, and an eighth of the customer's come after a silence."""
    n = len(calls)
    held = (calls.hold_count > 0).to_numpy()
    silent = (rng.random((n, SEGMENTS)) < 0.125) & (np.arange(SEGMENTS) > 0)
    gap = np.where(silent, 6.0, 0.5)
    gap[:, SEGMENTS // 2] += calls.hold_s.to_numpy() + np.where(held, 1.0, 0.0)
    start = np.cumsum(gap + 3.0, axis=1) - 3.0
    customer = np.tile(np.arange(SEGMENTS) % 2 == 0, (n, 1))
    after_hold = held[:, None] & (np.arange(SEGMENTS) >= SEGMENTS // 2)
    anger = calls.anger_peak.to_numpy()[:, None] * 0.4 + rng.normal(0, 0.05, (n, SEGMENTS))
    anger = np.clip(anger + plants.hold_anger * after_hold + plants.silence_anger * silent, 0.01, 0.98)
    rest = {
        "neutral": 0.6,
        "calm": 0.1,
        "happy": 0.1,
        "surprised": 0.05,
        "sad": 0.1,
        "fearful": 0.03,
        "disgusted": 0.02,
    }
    p = {"angry": anger} | {emotion: (1 - anger) * share for emotion, share in rest.items()}
    told = customer.ravel()

    def heard(values: np.ndarray) -> np.ndarray:
        return np.where(told, values.ravel(), np.nan)

    log = calls.loc[calls.index.repeat(SEGMENTS), ["call_date", "contact_id", "run_id"]].assign(
        role=np.where(told, "customer", "agent"),
        turn_index=np.tile(np.arange(SEGMENTS) // 2, n),
        segment_index=0,
        start_s=start.ravel(),
        end_s=start.ravel() + 3.0,
        classified=told,
        emotion=np.where(told, np.where(anger.ravel() > 0.375, "angry", "neutral"), None),
        confidence=heard(np.maximum(anger, p["neutral"])),
        valence=heard(-0.65 * anger + sum(share * d.INDEX_FEELING[each] for each, share in rest.items()) * (1 - anger)),
        arousal=heard(anger),
        loudness_dbfs=heard(np.full_like(anger, -24.0)),
        emotion_set=np.where(told, "angry", None),
        model_id=np.where(told, MODEL_ID, None),
        **{f"p_{emotion}": heard(values) for emotion, values in p.items()},
    )
    log["emotion_set"] = [None if each is None else [each] for each in log.emotion_set]
    hold_start = (start[:, SEGMENTS // 2] - calls.hold_s.to_numpy() - 0.5)[held]
    events = calls.loc[held, ["call_date", "contact_id", "run_id"]].assign(
        kind="hold", source="sidecar", start_s=hold_start, end_s=hold_start + calls.hold_s.to_numpy()[held]
    )
    return log, events


def _topic_emotions(rng: np.random.Generator, calls: pd.DataFrame, plants: Plants) -> pd.DataFrame:
    """While it is about its topic, a call is as angry as ever, but for refunds."""
    anger = calls.anger_s / calls.customer_talk_s + plants.refund_anger * (calls.topic == "refund")
    anger = np.clip(anger + rng.normal(0, 0.05, len(calls)), 0.01, 0.98)
    return calls[["call_date", "contact_id", "topic", "run_id"]].assign(
        topic_s=30.0,
        speech_s=20.0,
        dominant_emotion=np.where(anger > 0.5, "angry", "neutral"),
        negative_share=anger,
        neutral_share=1 - anger,
        positive_share=0.0,
        valence=-0.65 * anger,
        p_angry=anger,
        p_neutral=1 - anger,
    )


def _daily(contacts: pd.DataFrame, calls: pd.DataFrame, by_agent: bool) -> pd.DataFrame:
    expected = contacts[contacts.reason_code != "opted_out"]
    parts = []
    for scope, column in [("total", None), ("queue", "queue"), ("team", "team"), ("agent", "agent_id")]:
        if scope == "agent" and not by_agent:
            continue
        by = ["call_date", *([column] if column else [])]
        scored = calls.assign(square=calls.satisfaction_index**2).groupby(by)
        part = pd.DataFrame(
            {
                "contacts_expected": expected.groupby(by).size(),
                "calls_scored": scored.size(),
                "index_sum": scored.satisfaction_index.sum(),
                "index_sumsq": scored.square.sum(),
                "negative_share": scored.negative_share.mean(),
                "escalated_share": scored.escalated.mean(),
                "recovered_share": scored.recovered.mean(),
                "mood_change_mean": scored.mood_change.mean(),
            }
        ).reset_index()
        n = part.calls_scored = part.calls_scored.fillna(0).astype(int)
        part["calls_indexed"] = part["calls_with_mood_change"] = n
        part[["index_sum", "index_sumsq"]] = part[["index_sum", "index_sumsq"]].fillna(0.0)
        part["index_mean"] = part.index_sum / n.where(n > 0)
        spread = np.sqrt((part.index_sumsq - n * part.index_mean**2).clip(lower=0) / (n - 1).where(n > 1) / n)
        part["index_low"], part["index_high"] = part.index_mean - 1.96 * spread, part.index_mean + 1.96 * spread
        part["coverage"] = n / part.contacts_expected
        parts.append(part.assign(scope=scope))
    return pd.concat(parts, ignore_index=True)


def _runs(contacts: pd.DataFrame) -> pd.DataFrame:
    by_day = contacts.groupby("call_date").status.value_counts().unstack(fill_value=0)
    counts = {name: by_day.get(name, 0) for name in ("scored", "quarantined", "skipped")}
    days = [each.date() for each in by_day.index]
    frame = pd.DataFrame(counts, index=by_day.index).reset_index()
    planned = frame.scored + frame.quarantined + frame.skipped
    return frame.assign(
        run_id=[_run_id(day) for day in days],
        kind="night",
        model_id=MODEL_ID,
        code_version="simulated",
        planned=planned,
        suppressed=0,
        ignored=0,
        audio_hours=1.0,
        step_seconds=[[] for _ in days],
        coverage=frame.scored / planned,
        scored_of_planned=frame.scored / planned,
        status="published",
        table_versions=[[] for _ in days],
        published_at=[datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=26) for day in days],
    )
