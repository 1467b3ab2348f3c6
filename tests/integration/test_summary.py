"""calls and satisfaction_daily against the definitions: cases worked out by hand, and a plain reference.

The reference knows nothing of SQL: it lays a call on a grid of 10 ms and counts.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.settings import load_settings
from jobs.spark import spark_session
from jobs.summary import summarize, summarize_topics
from reporting.measures import Mean
from schemas import TABLES
from schemas import definitions as d
from ser_model.taxonomy import EMOTIONS, VALENCE_AROUSAL

pyspark = pytest.importorskip("pyspark")

pytestmark = pytest.mark.spark

DAY = date(2026, 11, 20)
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
RUN_ID = "20261121T083905Z-3fa9c1"
STEP_S = 0.01
MAX_SEGMENT_S = 3.0

Probabilities = dict[str, float]

NEUTRAL: Probabilities = {"neutral": 1.0}
ANGRY: Probabilities = {"angry": 1.0}
HAPPY: Probabilities = {"happy": 1.0}


@dataclass(frozen=True)
class Turn:
    """A turn; with probabilities it is classified.

    One that goes on is the rest of the turn before it of the same role, with a gap between their segments.
    """

    role: str
    start_s: float
    end_s: float
    probabilities: Probabilities | None = None
    goes_on: bool = False


def customer(start_s: float, end_s: float, probabilities: Probabilities | None = None) -> Turn:
    return Turn("customer", start_s, end_s, NEUTRAL if probabilities is None else probabilities)


def agent(start_s: float, end_s: float) -> Turn:
    return Turn("agent", start_s, end_s)


@dataclass(frozen=True)
class Call:
    """A call and, for those of the table of cases, what is to come out.

    Pauses are heard in the recording; events (kind, start, end) are told by a sidecar.
    """

    name: str
    duration_s: float
    turns: Sequence[Turn]
    pauses: Sequence[tuple[float, float]] = ()
    events: Sequence[tuple[str, float, float | None]] = ()
    expected: dict[str, Any] = field(default_factory=dict)
    status: str = "scored"
    labels: Sequence[str] = EMOTIONS


CASES = [
    Call(
        "the customer interrupts, the agent answers after half a second",
        30,
        [agent(0, 10), customer(9, 12), agent(12.5, 15)],
        expected={
            "customer_interruptions": 1,
            "agent_interruptions": 0,
            "overlap_s": 1.0,
            "customer_talk_s": 3.0,
            "agent_talk_s": 12.5,
            "median_response_gap_s": 0.5,
            "longest_turn_s": 10.0,
            "non_talk_s": 15.5,
            "longest_silence_s": 15.0,
        },
    ),
    Call(
        "the agent interrupts",
        20,
        [customer(0, 6), agent(5.5, 8)],
        expected={
            "customer_interruptions": 0,
            "agent_interruptions": 1,
            "overlap_s": 0.5,
            "median_response_gap_s": None,
        },
    ),
    Call(
        "back-channels interrupt nobody: inside the agent's turn, and going on after it",
        30,
        [agent(0, 10), customer(5, 5.6), customer(9.4, 10.39), agent(12, 13)],
        expected={
            "customer_interruptions": 0,
            "agent_interruptions": 0,
            "overlap_s": 1.2,
            "median_response_gap_s": 1.61,
        },
    ),
    Call(
        "a turn of just 1 s and a lead of just 0.5 s interrupt",
        30,
        [agent(0, 10), customer(9.5, 10.5)],
        expected={"customer_interruptions": 1},
    ),
    Call(
        "a lead under 0.5 s does not interrupt",
        30,
        [agent(0, 10), customer(9.6, 12)],
        expected={"customer_interruptions": 0, "overlap_s": 0.4},
    ),
    Call(
        "long speech that ends within the other's turn does not interrupt",
        30,
        [agent(0, 10), customer(5, 9)],
        expected={"customer_interruptions": 0, "overlap_s": 4.0},
    ),
    Call(
        "two who start together interrupt nobody",
        30,
        [agent(2, 6), customer(2, 8)],
        expected={"customer_interruptions": 0, "agent_interruptions": 0, "overlap_s": 4.0},
    ),
    Call(
        "the customer goes on before the agent answers: one gap, from the last turn",
        30,
        [customer(0, 2), customer(4, 6), agent(7, 9), customer(10, 11), agent(14, 15)],
        expected={"median_response_gap_s": 2.0},
    ),
    Call(
        "digital silence is a pause and no silence",
        60,
        [agent(0, 5), customer(45, 55)],
        pauses=[(10, 40)],
        expected={"non_talk_s": 15.0, "longest_silence_s": 5.0, "review_reasons": []},
    ),
    Call(
        "the same without digital silence",
        60,
        [agent(0, 5), customer(45, 55)],
        expected={"non_talk_s": 45.0, "longest_silence_s": 40.0, "review_reasons": ["long_silence"]},
    ),
    Call(
        "a gap between two segments of a turn is no talk, nor is a pause of the recording in it; the turn is one",
        20,
        [customer(0, 4), agent(6, 6.5), Turn("customer", 7, 12, NEUTRAL, goes_on=True), agent(13, 14)],
        pauses=[(4.5, 5.5)],
        expected={
            "customer_talk_s": 9.0,
            "agent_talk_s": 1.5,
            "overlap_s": 0.0,
            "longest_turn_s": 12.0,
            "median_response_gap_s": 1.0,
            "non_talk_s": 8.5,
            "longest_silence_s": 6.0,
        },
    ),
    Call(
        "in a hold the agent's side is music: no talk, no turn, no answer; the customer waits, and is heard",
        60,
        [customer(0, 4), agent(5, 45), customer(20, 23), agent(50, 55)],
        events=[("hold", 10, 40)],
        expected={
            "agent_talk_s": 15.0,
            "customer_talk_s": 7.0,
            "overlap_s": 0.0,
            "customer_interruptions": 0,
            "longest_turn_s": 5.0,
            "median_response_gap_s": 9.0,
            "non_talk_s": 38.0,
            "longest_silence_s": 17.0,
        },
    ),
    Call(
        "without the hold the same are one turn and an overlap",
        60,
        [customer(0, 4), agent(5, 45), customer(20, 23), agent(50, 55)],
        expected={
            "agent_talk_s": 45.0,
            "overlap_s": 3.0,
            "longest_turn_s": 40.0,
            "median_response_gap_s": 14.0,
            "non_talk_s": 11.0,
        },
    ),
    Call(
        "a customer who goes on as a hold begins interrupts nobody, and neither does an agent cut off by it",
        40,
        [agent(5, 20), customer(9.9, 13), customer(28, 33), agent(26, 36)],
        events=[("hold", 10, 30)],
        expected={"customer_interruptions": 0, "agent_interruptions": 1, "agent_talk_s": 11.0, "overlap_s": 3.1},
    ),
    Call(
        "holds that touch, overlap and reach beyond the call; one without an end is an instant, and so is a transfer",
        60,
        [agent(0, 60), customer(0, 12)],
        events=[
            *(("hold", 10, 20), ("hold", 20, 30), ("hold", 25, 28), ("hold", 50, 99)),
            *(("hold", 5, None), ("transfer", 32, None), ("transfer", 35, 45)),
        ],
        expected={"agent_talk_s": 30.0, "overlap_s": 10.0, "longest_turn_s": 20.0, "non_talk_s": 28.0},
    ),
    Call(
        "a pause of the telephone system is a pause as digital silence is, and nothing said in it counts",
        60,
        [customer(0, 15, NEUTRAL), agent(20, 40), customer(30, 45, ANGRY)],
        events=[("pause", 25, 50)],
        expected={
            "customer_talk_s": 15.0,
            "agent_talk_s": 5.0,
            "overlap_s": 0.0,
            "longest_turn_s": 15.0,
            "non_talk_s": 15.0,
            "longest_silence_s": 10.0,
            "negative_share": 0.0,
            "anger_s": 0.0,
            "satisfaction_index": 60.0,
        },
    ),
    Call(
        "a pause within the customer's segment leaves what is on either side of it",
        40,
        [customer(0, 3, ANGRY), customer(4, 7, HAPPY)],
        events=[("pause", 1, 5)],
        expected={"customer_talk_s": 3.0, "negative_share": 0.333333, "positive_share": 0.666667, "anger_s": 1.0},
    ),
    Call(
        "a pause in a hold, heard or told, is a pause and no waiting; one beyond the call is none",
        60,
        [customer(0, 5), agent(55, 60)],
        pauses=[(12, 18)],
        events=[("hold", 10, 50), ("pause", 16, 20), ("pause", 70, 80)],
        expected={"non_talk_s": 42.0, "longest_silence_s": 35.0},
    ),
    Call(
        "mono: in a hold both sides' channel is music",
        60,
        [Turn("mixed", 0, 15, NEUTRAL), Turn("mixed", 20, 35, ANGRY)],
        events=[("hold", 18, 40)],
        expected={"customer_talk_s": None, "longest_turn_s": 15.0, "non_talk_s": 45.0, "negative_share": 0.0},
    ),
    Call(
        "mono: all of it in a hold",
        30,
        [Turn("mixed", 0, 15, NEUTRAL)],
        events=[("hold", 0, 30)],
        expected={"agent_talk_s": None, "longest_turn_s": None, "non_talk_s": 30.0, "dominant_emotion": None},
    ),
    Call(
        "under 10 s of customer speech has shares, but no index, edge or peak",
        30,
        [agent(0, 5), customer(6, 15.9, ANGRY)],
        expected={
            "negative_share": 1.0,
            "dominant_emotion": "angry",
            "anger_s": 9.9,
            "anger_peak": None,
            "mood_start": None,
            "escalated": None,
            "recovered": None,
            "satisfaction_index": None,
            "satisfaction_low": None,
            "satisfaction_high": None,
            "review_reasons": [],
        },
    ),
    Call(
        "10 s of customer speech have an index; the edges of the mood need 12",
        30,
        [customer(6, 16, NEUTRAL)],
        expected={
            "satisfaction_index": 60.0,
            "satisfaction_low": 60.0,
            "satisfaction_high": 60.0,
            "anger_peak": 0.0,
            "mood_start": None,
            "mood_change": None,
            "escalated": None,
        },
    ),
    Call(
        "no agent",
        20,
        [customer(2, 14)],
        expected={
            "agent_talk_s": 0.0,
            "median_response_gap_s": None,
            "overlap_s": 0.0,
            "agent_interruptions": 0,
            "non_talk_s": 8.0,
            "mood_start": 0.0,
            "mood_end": 0.0,
        },
    ),
    Call(
        "no customer",
        20,
        [agent(2, 14)],
        expected={
            "customer_talk_s": 0.0,
            "dominant_emotion": None,
            "negative_share": None,
            "anger_s": None,
            "mood_q1": None,
            "satisfaction_index": None,
            "model_id": None,
        },
    ),
    Call(
        "nobody",
        40,
        [],
        expected={
            "customer_talk_s": 0.0,
            "non_talk_s": 40.0,
            "longest_silence_s": 40.0,
            "longest_turn_s": None,
            "satisfaction_index": None,
            "review_reasons": ["long_silence"],
        },
    ),
    Call(
        "mono: moods of the mixed speech, no talk of either side",
        40,
        [Turn("mixed", 0, 15, HAPPY), Turn("mixed", 20, 35, NEUTRAL)],
        expected={
            "customer_talk_s": None,
            "agent_talk_s": None,
            "overlap_s": None,
            "customer_interruptions": None,
            "agent_interruptions": None,
            "median_response_gap_s": None,
            "longest_turn_s": 15.0,
            "non_talk_s": 10.0,
            "positive_share": 0.5,
            "neutral_share": 0.5,
            "mood_start": 0.85,
            "mood_end": 0.0,
            "dominant_emotion": "neutral",
        },
    ),
    Call(
        "surprise counts in no share; 60 + 40 x 0.15",
        40,
        [customer(0, 15, {"surprised": 1.0})],
        expected={
            "positive_share": 0.0,
            "neutral_share": 0.0,
            "negative_share": 0.0,
            "dominant_emotion": "surprised",
            "satisfaction_index": 66.0,
        },
    ),
    Call(
        "of equally probable emotions, the first of the taxonomy",
        40,
        [customer(0, 9, {"angry": 1.0}), customer(10, 19, {"sad": 1.0})],
        expected={"dominant_emotion": "sad", "negative_share": 1.0},
    ),
    Call(
        "shares are by probability, not by the most probable; weighted by duration",
        40,
        [customer(0, 9, {"neutral": 0.6, "angry": 0.4}), customer(10, 13, {"happy": 0.8, "surprised": 0.2})],
        expected={
            "neutral_share": 0.45,
            "negative_share": 0.3,
            "positive_share": 0.2,
            "anger_s": 3.6,
            "dominant_emotion": "neutral",
        },
    ),
    Call(
        "escalating: 60 - 20 x 0.5 - 20 - 10 x 0.5 - 10",
        40,
        [customer(0, 15, NEUTRAL), customer(20, 35, ANGRY)],
        expected={
            "mood_start": 0.0,
            "mood_end": -0.65,
            "mood_change": -0.65,
            "mood_q1": 0.0,
            "mood_q2": 0.0,
            "mood_q3": -0.65,
            "mood_q4": -0.65,
            "anger_s": 15.0,
            "anger_peak": 1.0,
            "escalated": True,
            "recovered": False,
            "satisfaction_index": 15.0,
            "review_reasons": ["sustained_anger", "escalated", "mood_fall", "low_satisfaction"],
        },
    ),
    Call(
        "recovering: 60 - 20 x 0.075 + 20 x 0.85 - 10 x 0.5 - 10 x 0.5",
        40,
        [customer(0, 15, ANGRY), customer(20, 35, HAPPY)],
        expected={
            "mood_start": -0.65,
            "mood_end": 0.85,
            "mood_change": 1.5,
            "escalated": False,
            "recovered": True,
            "satisfaction_index": 65.5,
            "review_reasons": ["sustained_anger"],
        },
    ),
    Call(
        "sadness is a fall of the mood and no escalation",
        40,
        [customer(0, 15, NEUTRAL), customer(20, 35, {"sad": 1.0})],
        expected={
            "mood_change": -0.75,
            "escalated": False,
            "satisfaction_index": 32.5,
            "review_reasons": ["mood_fall", "low_satisfaction"],
        },
    ),
    Call(
        "the peak takes 10 s of speech across turns, the agent's left out: 7 s of anger in 10",
        60,
        [customer(0, 4), customer(10, 14, ANGRY), agent(14, 20), customer(20, 23, ANGRY), customer(30, 34)],
        expected={"anger_peak": 0.7, "anger_s": 7.0},
    ),
    Call(
        "a segment across the middle of the call counts in both quarters",
        40,
        [customer(8, 11, HAPPY), customer(19, 20, NEUTRAL), customer(20, 22, ANGRY)],
        expected={"mood_q1": 0.85, "mood_q2": 0.425, "mood_q3": -0.65, "mood_q4": None},
    ),
    Call(
        "an even chance of neutral and angry in each of four segments: an interval",
        40,
        [customer(0, 12, {"neutral": 0.5, "angry": 0.5})],
        expected={
            "mood_start": -0.325,
            "anger_peak": 0.5,
            "satisfaction_index": 30.0,
            "satisfaction_low": 0.84,
            "satisfaction_high": 59.16,
        },
    ),
    Call(
        "a model that does not know anger",
        40,
        [customer(0, 15, {"sad": 0.5, "neutral": 0.5})],
        labels=[emotion for emotion in EMOTIONS if emotion != "angry"],
        expected={
            "anger_s": None,
            "anger_peak": None,
            "escalated": None,
            "negative_share": 0.5,
            "mood_start": -0.375,
            "satisfaction_index": 40.0,
        },
    ),
    Call(
        "five interruptions are many",
        60,
        [turn for t in range(0, 50, 10) for turn in (agent(t, t + 5), customer(t + 4, t + 7))],
        expected={"customer_interruptions": 5, "review_reasons": ["many_interruptions"]},
    ),
]


# Random calls, and the same with more anger


def random_call(seed: int) -> Call:
    rng = random.Random(seed)

    def time(low_s: float, high_s: float) -> float:
        return round(rng.uniform(low_s, high_s), 2)

    turns = []
    for role in ("customer", "agent"):
        at_s = time(0, 8)
        for _ in range(rng.randint(2, 12)):
            end_s = round(at_s + time(0.3, 9), 2)
            weights = [rng.expovariate(1) ** 3 for _ in EMOTIONS]
            probabilities = {e: weight / sum(weights) for e, weight in zip(EMOTIONS, weights, strict=True)}
            turns.append(Turn(role, at_s, end_s, probabilities if role == "customer" else None))
            at_s = round(end_s + time(0.05, 9), 2)
    duration_s = round(max(turn.end_s for turn in turns) + time(0, 20), 2)
    pause_s = time(0, duration_s / 2)
    pauses = [(pause_s, round(pause_s + time(0.5, 10), 2))]
    events = []
    for kind in ("hold", "hold", "pause") if seed % 2 else ():
        start_s = time(0, duration_s)
        events.append((kind, start_s, round(start_s + time(0.3, 12), 2)))
    return Call(f"random {seed}", duration_s, turns, pauses=pauses, events=events)


def angrier(call: Call) -> Call:
    """Turn into anger a part of another emotion's probability, in some of the customer's turns."""
    rng = random.Random(call.name)
    turns = []
    for turn in call.turns:
        if turn.probabilities is not None and rng.random() < 0.5:
            emotion = rng.choice(EMOTIONS)
            moved = rng.random() * turn.probabilities[emotion]
            changed = dict(turn.probabilities)
            changed[emotion] -= moved
            changed["angry"] += moved
            turn = replace(turn, probabilities=changed)
        turns.append(turn)
    return replace(call, name=f"{call.name}, angrier", turns=turns)


RANDOM_CALLS = [random_call(seed) for seed in range(40)]
ANGRIER_CALLS = [angrier(call) for call in RANDOM_CALLS]


# Calls as staged rows


def segments(contact_id: str, call: Call) -> Iterator[dict[str, Any]]:
    turns = sorted(call.turns, key=lambda turn: turn.role)
    for role, of_role in groupby(turns, key=lambda turn: turn.role):
        turn_index, segment_index = -1, 0
        for turn in sorted(of_role, key=lambda turn: turn.start_s):
            if not turn.goes_on:
                turn_index, segment_index = turn_index + 1, 0
            pieces = math.ceil((turn.end_s - turn.start_s) / MAX_SEGMENT_S - 1e-9)
            bounds = [round(turn.start_s + MAX_SEGMENT_S * piece, 6) for piece in range(pieces)] + [turn.end_s]
            for start_s, end_s in pairwise(bounds):
                yield {
                    "call_date": DAY,
                    "contact_id": contact_id,
                    "role": role,
                    "turn_index": turn_index,
                    "segment_index": segment_index,
                    "start_s": float(start_s),
                    "end_s": float(end_s),
                    "classified": turn.probabilities is not None,
                    "run_id": RUN_ID,
                } | (_classified(turn.probabilities, call.labels) if turn.probabilities is not None else {})
                segment_index += 1


def _classified(probabilities: Probabilities, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "emotion": max(probabilities, key=lambda emotion: probabilities[emotion]),
        "confidence": max(probabilities.values()),
        **{f"p_{emotion}": probabilities.get(emotion, 0.0) for emotion in labels},
        "valence": sum(p * VALENCE_AROUSAL[emotion][0] for emotion, p in probabilities.items()),
        "arousal": sum(p * VALENCE_AROUSAL[emotion][1] for emotion, p in probabilities.items()),
        "emotion_set": sorted(probabilities),
        "model_id": "test-1-00000000",
    }


def recording(contact_id: str | None, call: Call, **values: Any) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": contact_id,
        "source_uri": f"s3://recordings/{contact_id or call.name}.wav",
        "etag": "0",
        "size_bytes": 1,
        "last_modified": START,
        "layout": "amazon-connect",
        "started_at": START,
        "status": call.status,
        "reason_code": None if call.status == "scored" else "no_speech",
        "duration_s": float(call.duration_s),
        "nonspeech_s": 0.0,
        "run_id": RUN_ID,
        **values,
    }


def call_events(contact_id: str, call: Call) -> Iterator[dict[str, Any]]:
    spans = [("recording", "pause", start_s, end_s) for start_s, end_s in call.pauses]
    spans += [("sidecar", *event) for event in call.events]
    for source, kind, start_s, end_s in spans:
        row = {"call_date": DAY, "contact_id": contact_id, "kind": kind, "source": source, "run_id": RUN_ID}
        yield row | {"start_s": float(start_s), "end_s": end_s if end_s is None else float(end_s)}


def survey(contact_id: str, score: float) -> dict[str, Any]:
    return {"call_date": DAY, "contact_id": contact_id, "score": score, "answered_at": None, "run_id": RUN_ID}


def contact(
    contact_id: str, queue: str | None, *, expects_recording: bool = True, customer_key: str | None = None
) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": contact_id,
        "queue": queue,
        "team": None,
        "agent_id": f"agent of {queue}",
        "customer_key": customer_key,
        "started_at": START,
        "local_hour": 9,
        "expects_recording": expects_recording,
        "attributes": {},
        "run_id": RUN_ID,
    }


# Spark


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The jobs' own session, which finds Java where there is none on PATH."""
    place = str(tmp_path_factory.mktemp("places"))
    places = dict.fromkeys(("staging", "warehouse", "reports"), place)
    session = spark_session("test_summary", load_settings(recordings="s3://none", spark_master="local[2]", **places))
    session.conf.set("spark.sql.shuffle.partitions", "2")
    yield session
    session.stop()


def run_summary(
    spark: Any,
    calls: dict[str, Call],
    contacts: Sequence[dict[str, Any]] = (),
    surveys: Sequence[dict[str, Any]] = (),
    recordings: Sequence[dict[str, Any]] = (),
    **options: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The day's rows of calls and satisfaction_daily; ``recordings`` stand beside those of the calls."""

    def frame(table: Any, rows: Sequence[dict[str, Any]]) -> Any:
        arrow = pa.Table.from_pylist(list(rows), schema=pa.schema([f.with_nullable(True) for f in table.schema]))
        return spark.createDataFrame(table.conform(arrow))

    made, daily = summarize(
        spark,
        emotion_log=frame(TABLES["emotion_log"], [row for key, call in calls.items() for row in segments(key, call)]),
        recordings=frame(TABLES["recordings"], [*(recording(key, call) for key, call in calls.items()), *recordings]),
        contacts=frame(TABLES["contacts"], contacts),
        call_events=frame(
            TABLES["call_events"], [row for key, call in calls.items() for row in call_events(key, call)]
        ),
        surveys=frame(TABLES["surveys"], surveys),
        call_date=DAY,
        run_id=RUN_ID,
        **options,
    )
    tables = TABLES["calls"].conform(made.toArrow()), TABLES["satisfaction_daily"].conform(daily.toArrow())
    made.unpersist()
    return tables[0].to_pylist(), tables[1].to_pylist()


@pytest.fixture(scope="module")
def summarized(spark: Any) -> dict[str, dict[str, Any]]:
    """The rows of all cases and of the random calls, computed together, by the calls' names."""
    calls = {call.name: call for call in [*CASES, *RANDOM_CALLS, *ANGRIER_CALLS]}
    assert len(calls) == len(CASES) + len(RANDOM_CALLS) + len(ANGRIER_CALLS)
    rows, _ = run_summary(spark, calls)
    return {row["contact_id"]: row for row in rows}


def test_a_topic_has_the_speech_that_lies_in_it_by_the_part_that_does(spark: Any) -> None:
    """Segments of the customer from 0 to 3, 3 to 6 and 10 to 12 s, more and more angry; the agent's are left out."""
    rows = [
        {"contact_id": contact, "role": role, "segment_index": number, "start_s": start_s, "end_s": end_s}
        | {"call_date": DAY, "turn_index": 0, "classified": True, "run_id": RUN_ID}
        | _classified({"angry": anger, "calm": 1 - anger}, ("angry", "calm", "happy"))
        for contact in ("a", "skipped")
        for role in ("customer", "agent")
        for number, (start_s, end_s, anger) in enumerate([(0.0, 3.0, 0.1), (3.0, 6.0, 0.3), (10.0, 12.0, 0.9)])
    ]
    told = [
        ("a", "wait", 2.0, 4.0),
        ("a", "wait", 11.0, 20.0),
        ("a", "silence", 6.0, 9.5),
        ("a", "all", 0.0, 12.0),
        ("skipped", "wait", 0.0, 5.0),
        ("no recording", "wait", 0.0, 5.0),
    ]
    topics = [
        {"call_date": DAY, "contact_id": contact, "topic": topic, "start_s": start_s, "end_s": end_s, "run_id": "told"}
        for contact, topic, start_s, end_s in told
    ]
    recordings = [
        {**recording(name, CASES[0]), "status": status} for name, status in (("a", "scored"), ("skipped", "skipped"))
    ]
    given = {"emotion_log": rows, "topics": topics, "recordings": recordings}
    frames = {
        name: spark.createDataFrame(
            TABLES[name].conform(
                pa.Table.from_pylist(part, schema=pa.schema([f.with_nullable(True) for f in TABLES[name].schema]))
            )
        )
        for name, part in given.items()
    }
    made = TABLES["topic_emotions"].conform(summarize_topics(spark, **frames, run_id=RUN_ID).toArrow()).to_pylist()
    of = {row["topic"]: row for row in made}
    assert [(row["contact_id"], row["topic"], row["run_id"]) for row in made] == [
        ("a", "all", RUN_ID),
        ("a", "silence", RUN_ID),
        ("a", "wait", RUN_ID),
    ]
    # 1 s at 0.1, 1 s at 0.3 and 1 s at 0.9.
    assert (of["wait"]["topic_s"], of["wait"]["speech_s"]) == (11.0, 3.0)
    assert of["wait"]["p_angry"] == of["wait"]["negative_share"] == pytest.approx(1.3 / 3, abs=1e-6)
    assert of["wait"]["dominant_emotion"] == "calm"
    assert of["wait"]["valence"] == pytest.approx(
        (1.3 * VALENCE_AROUSAL["angry"][0] + 1.7 * VALENCE_AROUSAL["calm"][0]) / 3, abs=1e-6
    )
    assert (of["wait"]["p_happy"], of["wait"]["p_sad"]) == (0.0, None)
    assert of["all"]["p_angry"] == pytest.approx((3 * 0.1 + 3 * 0.3 + 2 * 0.9) / 8, abs=1e-6)
    silent = {name: value for name, value in of["silence"].items() if value is not None}
    assert silent == {
        "call_date": DAY,
        "contact_id": "a",
        "topic": "silence",
        "topic_s": 3.5,
        "speech_s": 0.0,
        "run_id": RUN_ID,
    }


# The plain reference


def reference(call: Call) -> dict[str, Any]:
    n = round(call.duration_s / STEP_S)

    def on_grid(spans: Sequence[tuple[float, float]]) -> Any:
        grid = np.zeros(n, dtype=bool)
        for start_s, end_s in spans:
            grid[round(start_s / STEP_S) : round(end_s / STEP_S)] = True
        return grid

    paused = on_grid([(start_s, end_s) for kind, start_s, end_s in call.events if kind == "pause"])
    held = on_grid([(start_s, end_s) for kind, start_s, end_s in call.events if kind == "hold"])
    withheld = {"customer": paused, "agent": paused | held}
    of_role = {
        role: [
            Turn(role, *part)
            for turn in call.turns
            if turn.role == role
            for part in parts(turn.start_s, turn.end_s, withheld[role])
        ]
        for role in ("customer", "agent")
    }
    talking = {role: on_grid([(turn.start_s, turn.end_s) for turn in turns]) for role, turns in of_role.items()}
    silent = ~(talking["customer"] | talking["agent"] | on_grid(call.pauses) | paused)
    figures: dict[str, Any] = {
        "customer_talk_s": talking["customer"].sum() * STEP_S,
        "agent_talk_s": talking["agent"].sum() * STEP_S,
        "overlap_s": (talking["customer"] & talking["agent"]).sum() * STEP_S,
        "non_talk_s": silent.sum() * STEP_S,
        "longest_silence_s": max(len(list(run)) for is_silent, run in groupby(silent) if is_silent) * STEP_S,
        "longest_turn_s": max(turn.end_s - turn.start_s for turns in of_role.values() for turn in turns),
        "customer_interruptions": interruptions(of_role["customer"], of_role["agent"]),
        "agent_interruptions": interruptions(of_role["agent"], of_role["customer"]),
        "median_response_gap_s": None,
    }
    gaps = []
    for turn in of_role["customer"]:
        answers = [answer.start_s for answer in of_role["agent"] if answer.start_s >= turn.end_s]
        resumes = [later.start_s for later in of_role["customer"] if later.start_s > turn.start_s]
        if answers and not any(resume < min(answers) for resume in resumes):
            gaps.append(min(answers) - turn.end_s)
    if gaps:
        figures["median_response_gap_s"] = float(np.median(gaps))
    return figures | moods(call, paused)


def parts(start_s: float, end_s: float, withheld: Any) -> Iterator[tuple[float, float]]:
    """What of a time of the call is not withheld."""
    steps = range(round(start_s / STEP_S), round(end_s / STEP_S))
    for is_withheld, run in groupby(steps, key=lambda step: bool(withheld[step])):
        if not is_withheld:
            run_steps = list(run)
            yield round(run_steps[0] * STEP_S, 2), round((run_steps[-1] + 1) * STEP_S, 2)


def interruptions(turns: Sequence[Turn], others: Sequence[Turn]) -> int:
    return sum(
        any(
            other.start_s < turn.start_s and round(other.end_s - turn.start_s, 6) >= 0.5 and turn.end_s > other.end_s
            for other in others
        )
        for turn in turns
        if round(turn.end_s - turn.start_s, 6) >= 1.0
    )


def moods(call: Call, paused: Any) -> dict[str, Any]:
    pieces = [
        {**row, "start_s": start_s, "end_s": end_s}
        for row in segments("", call)
        if row["classified"]
        for start_s, end_s in parts(row["start_s"], row["end_s"], paused)
    ]
    pieces.sort(key=lambda row: row["start_s"])
    steps = [(row, round((row["end_s"] - row["start_s"]) / STEP_S)) for row in pieces]
    of_segment = np.repeat(np.arange(len(steps)), [count for _, count in steps])
    p = np.array([[row[f"p_{emotion}"] for emotion in EMOTIONS] for row, _ in steps])[of_segment]
    clock = np.concatenate([row["start_s"] + (np.arange(count) + 0.5) * STEP_S for row, count in steps])
    of = {emotion: index for index, emotion in enumerate(EMOTIONS)}
    valences = np.array([VALENCE_AROUSAL[emotion][0] for emotion in EMOTIONS])
    feelings = valences.copy()
    feelings[of["angry"]] = -1.0
    negative = np.isin(EMOTIONS, ["sad", "angry", "fearful", "disgusted"]).astype(float)
    valence, feeling = p @ valences, p @ feelings
    total_s = len(p) * STEP_S
    edge = round(min(max(0.2 * total_s, 6.0), total_s) / STEP_S)
    quarter = np.floor(clock / (call.duration_s / 4)).astype(int)

    figures: dict[str, Any] = {
        "negative_share": (p @ negative).mean(),
        "positive_share": p[:, [of["happy"], of["amused"]]].sum(1).mean(),
        "neutral_share": p[:, [of["neutral"], of["calm"], of["bored"], of["sleepy"]]].sum(1).mean(),
        "dominant_emotion": EMOTIONS[int(p.mean(0).argmax())],
        "anger_s": p[:, of["angry"]].sum() * STEP_S,
        **{
            f"mood_q{number + 1}": valence[quarter == number].mean() if (quarter == number).any() else None
            for number in range(4)
        },
    }
    figures |= dict.fromkeys(("mood_start", "mood_end", "mood_change", "escalated", "recovered"))
    figures |= dict.fromkeys(("anger_peak", "satisfaction_index", "satisfaction_low", "satisfaction_high"))
    if total_s < 10 - 1e-6:
        return figures
    window = round(10 / STEP_S)
    sums = np.concatenate([[0], p[:, of["angry"]].cumsum()])
    figures["anger_peak"] = peak = (sums[window:] - sums[:-window]).max() / window
    if total_s >= 12 - 1e-6:
        start, end = valence[:edge].mean(), valence[-edge:].mean()
        figures |= {"mood_start": start, "mood_end": end, "mood_change": end - start}
        figures["escalated"] = end - start <= d.ESCALATED_MOOD_CHANGE and peak >= d.ESCALATED_ANGER_PEAK
        figures["recovered"] = start <= d.RECOVERED_MOOD_START and end - start >= d.RECOVERED_MOOD_CHANGE
    relief = min(max((feeling[-edge:].mean() + 0.2) / 0.4, 0), 1)
    index = 60 + 20 * feeling.mean() + 20 * feeling[-edge:].mean() - 10 * figures["negative_share"]
    index -= 10 * peak * (1 - relief / 2)
    spreads = []
    for segment in range(len(steps)):
        mine = of_segment == segment
        points = feelings * (20 * mine.mean() + 20 * mine[-edge:].mean()) - negative * 10 * mine.mean()
        probabilities = p[mine][0]
        spreads.append(math.sqrt(probabilities @ points**2 - (probabilities @ points) ** 2))
    spread = math.sqrt(0.7 * sum(s * s for s in spreads) + 0.3 * sum(spreads) ** 2)
    figures["satisfaction_index"] = index
    figures["satisfaction_low"] = max(index - 1.6448536 * spread, 0)
    figures["satisfaction_high"] = min(index + 1.6448536 * spread, 100)
    return figures


# Half a step of the grid at an edge of 6 s, and what it moves in the index; else rounding.
TOLERANCE = {
    "anger_s": 0.001,
    **dict.fromkeys(("mood_start", "mood_end", "mood_change"), 0.003),
    **{f"mood_q{number}": 0.02 for number in (1, 2, 3, 4)},
    **dict.fromkeys(("satisfaction_index", "satisfaction_low", "satisfaction_high"), 0.1),
}


def assert_figures(row: dict[str, Any], expected: dict[str, Any], tolerance: dict[str, float]) -> None:
    for name, value in expected.items():
        if isinstance(value, float):
            assert row[name] == pytest.approx(value, abs=tolerance.get(name, 2e-4)), name
        else:
            assert row[name] == value, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_worked_out_by_hand(summarized: dict[str, dict[str, Any]], case: Call) -> None:
    assert case.expected
    assert_figures(summarized[case.name], case.expected, {})


@pytest.mark.parametrize("call", RANDOM_CALLS, ids=lambda call: call.name)
def test_random_calls_agree_with_the_plain_reference(summarized: dict[str, dict[str, Any]], call: Call) -> None:
    assert_figures(summarized[call.name], reference(call), TOLERANCE)


def test_random_calls_reach_what_they_are_to_try() -> None:
    figures = [reference(call) for call in RANDOM_CALLS]
    for column in ("customer_interruptions", "agent_interruptions", "overlap_s", "satisfaction_index"):
        assert sum(bool(figure[column]) for figure in figures) > 10, column
    assert sum(figure["median_response_gap_s"] is not None for figure in figures) > 10
    assert {figure["satisfaction_index"] is None for figure in figures} == {True, False}


def test_shares_and_surprise_are_the_whole_speech(summarized: dict[str, dict[str, Any]]) -> None:
    for call in RANDOM_CALLS:
        row = summarized[call.name]
        if call.events:
            continue
        speech_s = sum(t.end_s - t.start_s for t in call.turns if t.probabilities)
        surprised_s = sum((t.end_s - t.start_s) * t.probabilities["surprised"] for t in call.turns if t.probabilities)
        shares = row["positive_share"] + row["neutral_share"] + row["negative_share"]
        assert shares <= 1
        assert shares + surprised_s / speech_s == pytest.approx(1, abs=1e-5)


def test_more_anger_never_raises_the_index(summarized: dict[str, dict[str, Any]]) -> None:
    falls = []
    for calmer, angry in zip(RANDOM_CALLS, ANGRIER_CALLS, strict=True):
        before, after = (summarized[call.name]["satisfaction_index"] for call in (calmer, angry))
        if before is not None:
            falls.append(before - after)
    assert min(falls) >= -0.011, "rounding to 0.01 aside"
    assert sum(fall > 0.1 for fall in falls) > len(falls) / 2


def test_talk_and_silence_add_up_to_the_call(summarized: dict[str, dict[str, Any]]) -> None:
    for call in (*CASES, *RANDOM_CALLS):
        row = summarized[call.name]
        if row["customer_talk_s"] is None or call.pauses or call.events:
            continue
        total_s = row["customer_talk_s"] + row["agent_talk_s"] - row["overlap_s"] + row["non_talk_s"]
        assert total_s == pytest.approx(call.duration_s, abs=0.005), call.name


# The day


RECOVERING = next(call for call in CASES if call.name.startswith("recovering"))
SURPRISED = next(call for call in CASES if call.name.startswith("surprise counts"))
NEUTRAL_CALL = Call("neutral", 30, [customer(0, 15)])
SILENT = Call("silent", 30, [], status="quarantined")


def test_a_day_by_hand(spark: Any) -> None:
    calls = {"a1": RECOVERING, "a2": SURPRISED, "b1": SILENT, "unrecorded": NEUTRAL_CALL}
    contacts = [
        contact("a1", "Billing"),
        contact("a2", "Billing"),
        contact("b1", "Support"),
        contact("b2", "Support"),
        contact("chat", "Support", expects_recording=False),
    ]
    made, daily = run_summary(spark, calls, contacts)

    assert [(row["contact_id"], row["queue"]) for row in made] == [
        ("a1", "Billing"),
        ("a2", "Billing"),
        ("unrecorded", None),
    ]
    by_scope = {(row["scope"], row["queue"]): row for row in daily}
    assert list(by_scope) == [
        ("queue", None),
        ("queue", "Billing"),
        ("queue", "Support"),
        ("team", None),
        ("total", None),
    ]
    total = by_scope["total", None]
    assert_figures(
        total,
        {
            "call_date": DAY,
            "contacts_expected": 5,
            "calls_scored": 3,
            "calls_indexed": 3,
            "calls_with_mood_change": 3,
            "index_sum": 191.5,
            "index_sumsq": 12246.25,
            "index_mean": 63.8333,
            "index_low": 63.8333 - 4.302653 * 1.922094,
            "index_high": 63.8333 + 4.302653 * 1.922094,
            "negative_share": 0.166667,
            "escalated_share": 0.0,
            "recovered_share": 0.333333,
            "mood_change_mean": 0.5,
            "coverage": 0.6,
        },
        {},
    )
    counts = {
        queue: (by_scope["queue", queue]["calls_scored"], by_scope["queue", queue]["contacts_expected"])
        for queue in (None, "Billing", "Support")
    }
    assert counts == {None: (1, 1), "Billing": (2, 2), "Support": (0, 2)}
    support = by_scope["queue", "Support"]
    assert_figures(support, {"index_sum": 0.0, "index_mean": None, "index_low": None, "coverage": 0.0}, {})
    assert_figures(by_scope["queue", None], {"index_mean": 60.0, "index_low": None}, {})


def test_a_call_has_its_survey_and_the_agent_of_its_key_where_no_record_names_one(spark: Any) -> None:
    keyed = recording("keyed", NEUTRAL_CALL, agent_id="agent of the key")
    known = recording("known", NEUTRAL_CALL, agent_id="agent of the key")
    made, daily = run_summary(
        spark,
        {"plain": NEUTRAL_CALL},
        [contact("known", "Billing")],
        surveys=[survey("known", 4.5), survey("of no call", 1.0)],
        recordings=[keyed, known],
        by_agent=True,
    )
    assert {row["contact_id"]: (row["agent_id"], row["csat_survey"]) for row in made} == {
        "keyed": ("agent of the key", None),
        "known": ("agent of Billing", 4.5),
        "plain": (None, None),
    }
    agents = {row["agent_id"]: row["calls_scored"] for row in daily if row["scope"] == "agent"}
    assert agents == {"agent of the key": 1, "agent of Billing": 1, None: 1}


def test_what_is_expected_of_a_day(spark: Any) -> None:
    """Every contact and every object once; but nothing of customers who opted out."""
    calls = {"scored": NEUTRAL_CALL}
    others = [
        recording("opted out", SILENT, status="skipped", reason_code="opted_out"),
        recording("mono", SILENT, status="skipped", reason_code="mono_not_separable"),
        recording("scored", SILENT, status="skipped", reason_code="another_part", source_uri="s3://recordings/2.wav"),
        *(
            recording(None, SILENT, reason_code="unknown_layout", source_uri=f"s3://recordings/{name}.wav")
            for name in ("odd", "odder")
        ),
    ]
    contacts = [contact(name, "Billing") for name in ("scored", "opted out", "unrecorded")]
    _, daily = run_summary(spark, calls, contacts, recordings=others)
    found = {(row["scope"], row["queue"]): (row["calls_scored"], row["contacts_expected"]) for row in daily}
    assert found == {
        ("total", None): (1, 5),
        ("queue", "Billing"): (1, 2),
        ("queue", None): (0, 3),
        ("team", None): (1, 5),
    }


def test_an_empty_day_has_its_total(spark: Any) -> None:
    made, daily = run_summary(spark, {})
    assert made == []
    (total,) = daily
    assert_figures(
        total,
        {
            "scope": "total",
            "contacts_expected": 0,
            "calls_scored": 0,
            "index_sum": 0.0,
            "index_mean": None,
            "coverage": None,
        },
        {},
    )


def test_the_order_of_the_rows_changes_nothing_and_agents_are_there_if_asked_for(spark: Any) -> None:
    calls = {call.name: call for call in RANDOM_CALLS[:20]}
    backwards = dict(reversed(calls.items()))
    # The calls of six customers, and of two of whom nobody knows who they are.
    contacts = [
        contact(name, f"queue {len(name) % 3}", customer_key=None if number < 2 else f"{number % 6}")
        for number, name in enumerate(calls)
    ]
    before = spark.conf.get("spark.sql.shuffle.partitions")
    first = run_summary(spark, calls, contacts, by_agent=True)
    try:
        spark.conf.set("spark.sql.shuffle.partitions", "5")
        second = run_summary(spark, backwards, contacts[::-1], by_agent=True)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert first == second
    assert len(first[0]) == 20
    keys = {each["contact_id"]: each["customer_key"] or each["contact_id"] for each in contacts}
    for row in first[1]:
        if row["scope"] in ("total", "queue"):
            own = [call for call in first[0] if row["scope"] == "total" or call["queue"] == row["queue"]]
            own = [call for call in own if call["satisfaction_index"] is not None]
            by_hand = Mean.of([call["satisfaction_index"] for call in own], [keys[call["contact_id"]] for call in own])
            assert row["index_low"] == pytest.approx(by_hand.low, abs=1e-4)
            assert row["index_high"] == pytest.approx(by_hand.high, abs=1e-4)
            assert row["calls_indexed"] == by_hand.calls
    agents = {row["agent_id"]: row["calls_scored"] for row in first[1] if row["scope"] == "agent"}
    queues = {f"agent of {row['queue']}": row["calls_scored"] for row in first[1] if row["scope"] == "queue"}
    assert agents == queues
    assert sum(agents.values()) == 20
