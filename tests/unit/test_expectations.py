"""What validation finds: a day that holds, and for every rule a day that breaks it."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas import STAGED_TABLES
from schemas.errors import ExpectationError
from schemas.expectations import RULES, VALIDATED, ValidationReport, frame, needed_columns, validate
from ser_model.taxonomy import EMOTIONS

Day = dict[str, list[dict[str, Any]]]

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
RUN_ID = "20261121T083905Z-3fa9c1"
MARKED_ID = "contact-that-no-message-may-name"


def a_recording(contact_id: str, status: str, **values: Any) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": contact_id,
        "source_uri": f"s3://recordings/{contact_id}.wav",
        "etag": "0",
        "size_bytes": 1000,
        "last_modified": AT,
        "status": status,
        "reason_code": None if status in ("scored", "planned") else "no_speech",
        "run_id": RUN_ID,
        **values,
    }


def a_segment(role: str, segment_index: int, start_s: float, end_s: float, **values: Any) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": MARKED_ID,
        "role": role,
        "turn_index": 0,
        "segment_index": segment_index,
        "start_s": start_s,
        "end_s": end_s,
        "classified": False,
        "run_id": RUN_ID,
        **values,
    }


def classified(**values: Any) -> dict[str, Any]:
    probabilities = {f"p_{emotion}": 0.0 for emotion in EMOTIONS if emotion != "amused"}
    return {
        "classified": True,
        **probabilities,
        "p_angry": 0.75,
        "p_neutral": 0.25,
        "emotion": "angry",
        "confidence": 0.75,
        "emotion_set": ["angry"],
        "valence": -0.49,
        "arousal": 0.56,
        "loudness_dbfs": -20.0,
        "pitch_hz": 200.0,
        "pitch_range_st": 3.0,
        "speaking_rate_hz": 4.0,
        "model_id": "m",
        **values,
    }


def an_event(kind: str, start_s: float, end_s: float | None, *, source: str = "sidecar") -> dict[str, Any]:
    span = {"start_s": start_s, "end_s": end_s}
    return {"call_date": DAY, "contact_id": MARKED_ID, "kind": kind, "source": source, "run_id": RUN_ID, **span}


def a_survey(contact_id: str, score: float) -> dict[str, Any]:
    return {"call_date": DAY, "contact_id": contact_id, "score": score, "answered_at": AT, "run_id": RUN_ID}


def a_topic(contact_id: str, topic: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": contact_id,
        "topic": topic,
        "start_s": start_s,
        "end_s": end_s,
        "run_id": RUN_ID,
    }


def a_day() -> Day:
    """One call scored, one recording quarantined, one skipped."""
    return {
        "plan": [
            a_recording(MARKED_ID, "planned"),
            a_recording("broken", "planned"),
            a_recording("opted out", "skipped", reason_code="opted_out"),
        ],
        "contacts": [
            {
                "call_date": DAY,
                "contact_id": MARKED_ID,
                "queue": "Billing",
                "started_at": AT,
                "local_hour": 9,
                "expects_recording": True,
                "attributes": [],
                "run_id": RUN_ID,
            }
        ],
        "recordings": [
            a_recording(
                *(MARKED_ID, "scored"),
                channels=2,
                channel_kind="two_channel",
                sample_rate_hz=8000,
                duration_s=30.0,
                clipped_share=0.0,
            ),
            a_recording("broken", "quarantined"),
            a_recording("opted out", "skipped", reason_code="opted_out"),
        ],
        "emotion_log": [
            a_segment("agent", 0, 0.0, 3.0),
            a_segment("customer", 0, 4.0, 7.0, **classified()),
            a_segment("customer", 1, 7.0, 9.5, **classified()),
        ],
        "calls": [
            {
                "call_date": DAY,
                "contact_id": MARKED_ID,
                "source_uri": f"s3://recordings/{MARKED_ID}.wav",
                "started_at": AT,
                "queue": "Billing",
                "duration_s": 30.0,
                "customer_talk_s": 5.5,
                "agent_talk_s": 3.0,
                "non_talk_s": 21.5,
                "longest_silence_s": 20.5,
                "overlap_s": 0.0,
                "customer_interruptions": 0,
                "agent_interruptions": 0,
                "longest_turn_s": 5.5,
                "nonspeech_s": 0.0,
                "dominant_emotion": "angry",
                "negative_share": 0.75,
                "neutral_share": 0.25,
                "positive_share": 0.0,
                "mood_q1": -0.5,
                "anger_s": 4.125,
                "anger_peak": 0.75,
                "satisfaction_index": 20.0,
                "satisfaction_low": 10.0,
                "satisfaction_high": 30.0,
                "index_version": 1,
                "csat_survey": 4.1,
                "review_reasons": ["low_satisfaction"],
                "model_id": "m",
                "run_id": RUN_ID,
            }
        ],
        "call_events": [
            an_event("pause", 10.0, 12.5, source="recording"),
            an_event("hold", 10.0, 20.0),
            an_event("transfer", 25.0, None),
        ],
        "surveys": [a_survey(MARKED_ID, 4.1), a_survey("without a recording", 2.0)],
        "topics": [
            a_topic(MARKED_ID, "refund", 3.0, 8.0),
            a_topic(MARKED_ID, "refund", 10.0, 12.0),
            a_topic("without a recording", "refund", 4.0, 5.0),
        ],
        "topic_emotions": [
            {
                "call_date": DAY,
                "contact_id": MARKED_ID,
                "topic": "refund",
                "topic_s": 7.0,
                "speech_s": 4.0,
                "dominant_emotion": "angry",
                "negative_share": 0.75,
                "neutral_share": 0.25,
                "positive_share": 0.0,
                "valence": -0.5,
                "p_angry": 0.75,
                "p_neutral": 0.25,
                "run_id": RUN_ID,
            }
        ],
        "satisfaction_daily": [
            {
                "call_date": DAY,
                "scope": scope,
                "queue": "Billing" if scope == "queue" else None,
                "contacts_expected": 3,
                "calls_scored": 1,
                "calls_indexed": 1,
                "calls_with_mood_change": 0,
                "index_sum": 20.0,
                "index_sumsq": 400.0,
                "index_mean": 20.0,
                "negative_share": 0.75,
                "coverage": 1 / 3,
            }
            for scope in ("queue", "team", "total")
        ],
        "quarantine": [
            {
                "call_date": DAY,
                "contact_id": "broken",
                "source_uri": "s3://recordings/broken.wav",
                "etag": "0",
                "stage": "extract_features",
                "reason_code": "no_speech",
                "attempts": 1,
                "first_seen": AT,
                "last_seen": AT,
                "status": "open",
                "run_id": RUN_ID,
            }
        ],
    }


def as_tables(day: Day) -> dict[str, pa.Table]:
    """Lay out rows as tables whose columns may all be null: validation has to find those that may not."""
    return {
        name: pa.Table.from_pylist(
            rows, schema=pa.schema([field.with_nullable(True) for field in STAGED_TABLES[name].schema])
        )
        for name, rows in day.items()
    }


def changed(table: str, row: int, **values: Any) -> Callable[[Day], None]:
    return lambda day: day[table][row].update(values)


def doubled(table: str) -> Callable[[Day], None]:
    return lambda day: day[table].append(dict(day[table][0]))


def removed(table: str, row: int) -> Callable[[Day], None]:
    def remove(day: Day) -> None:
        del day[table][row]

    return remove


def together(*changes: Callable[[Day], None]) -> Callable[[Day], None]:
    def change(day: Day) -> None:
        for one in changes:
            one(day)

    return change


BREAKS: list[tuple[str, Callable[[Day], None], set[str]]] = [
    ("a contact twice", doubled("contacts"), {"contacts.duplicate_key"}),
    (
        "a segment twice",
        doubled("emotion_log"),
        {"emotion_log.duplicate_key", "emotion_log.overlaps_own_role"},
    ),
    ("a quarantined recording twice", doubled("quarantine"), {"quarantine.duplicate_key"}),
    ("no contact id", changed("contacts", 0, contact_id=None), {"contacts.required_null"}),
    ("no start", changed("emotion_log", 1, start_s=None), {"emotion_log.required_null"}),
    ("no hour of the day", changed("contacts", 0, local_hour=24), {"contacts.local_hour"}),
    ("an unknown outcome of a plan", changed("plan", 0, status="done"), {"plan.status"}),
    ("a negative size", changed("plan", 0, size_bytes=-1), {"plan.size_bytes"}),
    (
        "an unknown outcome",
        changed("recordings", 2, status="lost"),
        {"recordings.status", "reconciliation.planned_minus_outcomes"},
    ),
    ("an unknown kind of channels", changed("recordings", 0, channel_kind="stereo"), {"recordings.channel_kind"}),
    ("no channel", changed("recordings", 0, channels=0), {"recordings.channels"}),
    ("no rate", changed("recordings", 0, sample_rate_hz=0), {"recordings.sample_rate_hz"}),
    ("more than all clipped", changed("recordings", 0, clipped_share=1.5), {"recordings.clipped_share"}),
    (
        "as many outcomes as were planned, but one is another recording's",
        changed("recordings", 2, source_uri="s3://recordings/other.wav"),
        {"plan.without_outcome", "recordings.not_in_plan"},
    ),
    (
        "a recording that was skipped by the plan for another reason",
        changed("plan", 2, reason_code="duplicate", status="quarantined"),
        set(),  # an opt-out that an enrichment found
    ),
    (
        "a recording that the plan quarantined, and that was skipped",
        together(
            changed("plan", 2, status="quarantined", reason_code="misplaced"),
            changed("recordings", 2, reason_code="duplicate"),
        ),
        {"recordings.outcome_not_of_plan"},
    ),
    (
        "a skipped recording with a reason of quarantine",
        changed("recordings", 2, reason_code="empty"),
        {"recordings.reason_not_of_status", "recordings.outcome_not_of_plan"},
    ),
    ("a code that nobody knows", changed("quarantine", 0, reason_code="bad_luck"), {"quarantine.reason_code"}),
    ("a scored recording with a reason", changed("recordings", 0, reason_code="x"), {"recordings.reason_misplaced"}),
    (
        "a skipped one without",
        changed("recordings", 2, reason_code=None),
        {"recordings.reason_misplaced", "recordings.outcome_not_of_plan"},
    ),
    (
        "a scored recording without length",
        changed("recordings", 0, duration_s=None),
        {"recordings.scored_without_duration"},
    ),
    (
        "a recording that was not planned",
        removed("plan", 2),
        {"recordings.not_in_plan", "reconciliation.planned_minus_outcomes", "reconciliation.plan_minus_recordings"},
    ),
    (
        "a planned recording without outcome",
        removed("recordings", 2),
        {"plan.without_outcome", "reconciliation.planned_minus_outcomes", "reconciliation.plan_minus_recordings"},
    ),
    (
        "a scored recording without call",
        removed("calls", 0),
        {
            "recordings.scored_without_call",
            "reconciliation.scored_minus_calls",
            "reconciliation.calls_minus_daily_total",
            "reconciliation.index_sum_minus_daily_total",
        },
    ),
    (
        "a call whose recording was skipped",
        changed("recordings", 0, status="skipped", reason_code="opted_out"),
        {
            "calls.recording_not_scored",
            "emotion_log.call_not_scored",
            "call_events.heard_not_scored",
            "call_events.opted_out",
            "surveys.opted_out",
            "topics.opted_out",
            "topic_emotions.call_not_scored",
            "reconciliation.scored_minus_calls",
        },
    ),
    ("a quarantined recording not in quarantine", removed("quarantine", 0), {"recordings.quarantined_without_record"}),
    (
        "an open quarantine of a recording that is not quarantined",
        changed("recordings", 1, status="skipped", reason_code="duplicate"),
        {"quarantine.open_without_recording"},
    ),
    ("an unknown role", changed("emotion_log", 0, role="robot"), {"emotion_log.role"}),
    ("an unknown emotion", changed("emotion_log", 1, emotion="hungry"), {"emotion_log.emotion"}),
    ("a segment that ends before it starts", changed("emotion_log", 2, end_s=6.5), {"emotion_log.length_s"}),
    ("a segment of 6 s", changed("emotion_log", 2, end_s=13.0), {"emotion_log.length_s"}),
    (
        "a segment past the end of its call",
        changed("emotion_log", 2, start_s=28.0, end_s=30.5),
        {"emotion_log.after_call_s"},
    ),
    ("a segment before the call", changed("emotion_log", 0, start_s=-0.5, end_s=1.0), {"emotion_log.start_s"}),
    ("a second classified twice", changed("emotion_log", 2, start_s=6.5), {"emotion_log.overlaps_own_role"}),
    (
        "probabilities above 1",
        changed("emotion_log", 1, p_angry=1.25),
        {"emotion_log.p_angry", "emotion_log.probability_sum"},
    ),
    ("probabilities that miss a part", changed("emotion_log", 1, p_angry=0.7), {"emotion_log.probability_sum"}),
    (
        "a probability that is no number",
        changed("emotion_log", 1, p_angry=float("nan")),
        {"emotion_log.not_a_number", "emotion_log.probability_sum"},
    ),
    (
        "an infinite level",
        changed("emotion_log", 1, loudness_dbfs=float("-inf")),
        {"emotion_log.not_a_number", "emotion_log.loudness_dbfs"},
    ),
    (
        "a classified segment without emotion",
        changed("emotion_log", 1, emotion=None),
        {"emotion_log.emotion_misplaced"},
    ),
    (
        "an emotion of what was not classified",
        changed("emotion_log", 0, emotion="sad"),
        {"emotion_log.emotion_misplaced"},
    ),
    ("valence out of range", changed("emotion_log", 1, valence=-1.5), {"emotion_log.valence"}),
    ("a pitch of 3 Hz", changed("emotion_log", 1, pitch_hz=3.0), {"emotion_log.pitch_hz"}),
    ("shares above the whole", changed("calls", 0, positive_share=0.5), {"calls.share_sum"}),
    ("an index above 100", changed("calls", 0, satisfaction_high=101.0), {"calls.satisfaction_high"}),
    ("an index outside its interval", changed("calls", 0, satisfaction_low=25.0), {"calls.index_outside_interval"}),
    ("an index without interval", changed("calls", 0, satisfaction_high=None), {"calls.index_outside_interval"}),
    (
        "an anger peak without index",
        changed("calls", 0, satisfaction_index=None),
        {"calls.index_misplaced", "reconciliation.index_sum_minus_daily_total"},
    ),
    ("another formula", changed("calls", 0, index_version=0), {"calls.index_version"}),
    ("less than no sound", changed("recordings", 0, nonspeech_s=-1.0), {"recordings.nonspeech_s"}),
    ("more talk than call", changed("calls", 0, customer_talk_s=31.0), {"calls.beyond_call_s"}),
    ("a negative gap", changed("calls", 0, median_response_gap_s=-1.0), {"calls.median_response_gap_s"}),
    ("an unknown reason", changed("calls", 0, review_reasons=["boring"]), {"calls.unknown_review_reason"}),
    ("a survey that the call has not", changed("calls", 0, csat_survey=None), {"calls.survey_misplaced"}),
    ("a survey of another score", changed("surveys", 0, score=2.0), {"calls.survey_misplaced"}),
    ("a call with the survey of nobody", removed("surveys", 0), {"calls.survey_misplaced"}),
    ("a survey twice", doubled("surveys"), {"surveys.duplicate_key"}),
    ("a score that is no number", changed("surveys", 1, score=float("nan")), {"surveys.not_a_number"}),
    ("a survey of an opt-out", changed("surveys", 1, contact_id="opted out"), {"surveys.opted_out"}),
    ("a topic twice", doubled("topics"), {"topics.duplicate_key", "topics.overlaps_itself"}),
    ("a topic of no length", changed("topics", 1, end_s=10.0), {"topics.length_s"}),
    ("a topic that overlaps itself", changed("topics", 1, start_s=7.5), {"topics.overlaps_itself"}),
    ("a topic of an opt-out", changed("topics", 2, contact_id="opted out"), {"topics.opted_out"}),
    (
        "an unknown emotion of a topic",
        changed("topic_emotions", 0, dominant_emotion="wrath"),
        {"topic_emotions.dominant_emotion"},
    ),
    ("a topic's share beyond 1", changed("topic_emotions", 0, p_angry=1.5), {"topic_emotions.p_angry"}),
    (
        "a topic without speech that has an emotion",
        changed("topic_emotions", 0, speech_s=0.0),
        {"topic_emotions.emotion_misplaced"},
    ),
    (
        "emotions of a topic that was not told",
        changed("topic_emotions", 0, topic="wait"),
        {"topic_emotions.topic_not_told"},
    ),
    (
        "emotions of a call that was not scored",
        changed("topic_emotions", 0, contact_id="broken"),
        {"topic_emotions.call_not_scored", "topic_emotions.topic_not_told"},
    ),
    ("an event twice", doubled("call_events"), {"call_events.duplicate_key"}),
    ("an unknown kind of event", changed("call_events", 1, kind="lunch"), {"call_events.kind"}),
    ("an unknown source", changed("call_events", 1, source="rumor"), {"call_events.source"}),
    ("an event that ends before it starts", changed("call_events", 1, end_s=9.0), {"call_events.length_s"}),
    ("an event without a start", changed("call_events", 1, start_s=None), {"call_events.required_null"}),
    ("an event of an opt-out", changed("call_events", 1, contact_id="opted out"), {"call_events.opted_out"}),
    ("a hold that was heard", changed("call_events", 0, kind="hold"), {"call_events.heard_misplaced"}),
    ("a heard pause without end", changed("call_events", 0, end_s=None), {"call_events.heard_misplaced"}),
    (
        "a pause heard in a recording that was not scored",
        changed("call_events", 0, contact_id="broken"),
        {"call_events.heard_not_scored"},
    ),
    (
        "an unknown scope",
        together(doubled("satisfaction_daily"), changed("satisfaction_daily", 3, scope="world", queue=None)),
        {"satisfaction_daily.scope"},
    ),
    ("a queue in the total", changed("satisfaction_daily", 2, queue="Billing"), {"satisfaction_daily.scope_misplaced"}),
    (
        "more scored than expected",
        together(*(changed("satisfaction_daily", row, contacts_expected=0) for row in range(3))),
        {"satisfaction_daily.scored_beyond_expected"},
    ),
    ("a queue lost", removed("satisfaction_daily", 0), {"reconciliation.daily_total_minus_queues"}),
    (
        "no total",
        removed("satisfaction_daily", 2),
        {
            "reconciliation.daily_totals",
            "reconciliation.calls_minus_daily_total",
            "reconciliation.index_sum_minus_daily_total",
            "reconciliation.daily_total_minus_queues",
            "reconciliation.daily_total_minus_teams",
        },
    ),
    (
        "a call that the total does not sum",
        changed("satisfaction_daily", 2, index_sum=15.0),
        {"reconciliation.index_sum_minus_daily_total"},
    ),
    ("no attempt", changed("quarantine", 0, attempts=0), {"quarantine.attempts"}),
    (
        "seen last before it was seen first",
        changed("quarantine", 0, last_seen=datetime(2026, 11, 19, tzinfo=UTC)),
        {"quarantine.seen_backwards"},
    ),
    ("a row of another day", changed("contacts", 0, call_date=date(2026, 11, 21)), {"reconciliation.call_dates"}),
]


def broken_rules(tables: dict[str, pa.Table]) -> set[str]:
    """Find the broken rules by their masks, which is quick."""
    found = set()
    for name, rules in RULES.items():
        judged = frame(name, tables)
        found |= {f"{name}.{rule.column}" for rule in rules if rule.broken(judged[rule.column]).any()}
    return found


def test_a_day_that_holds_breaks_no_rule() -> None:
    assert broken_rules(as_tables(a_day())) == set()


@pytest.mark.parametrize(("change", "expected"), [(c, e) for _, c, e in BREAKS], ids=[name for name, _, _ in BREAKS])
def test_every_break_is_found_and_named(change: Callable[[Day], None], expected: set[str]) -> None:
    day = a_day()
    change(day)
    assert broken_rules(as_tables(day)) == expected


def test_a_column_has_one_rule_and_large_tables_are_read_in_part() -> None:
    for name, rules in RULES.items():
        columns = [rule.column for rule in rules]
        assert len(columns) == len(set(columns)), name
    assert "emotion_set" not in needed_columns("emotion_log")
    assert needed_columns("calls") == STAGED_TABLES["calls"].schema.names


def test_no_frame_holds_an_id() -> None:
    tables = as_tables(a_day())
    for name in RULES:
        assert MARKED_ID not in frame(name, tables).to_csv()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ValidationReport]:
    """Great Expectations on a day that holds, and on one with many breaks at once."""
    folder = tmp_path_factory.mktemp("docs")
    broken = a_day()
    for change in (
        changed("emotion_log", 1, p_angry=1.25, emotion="hungry"),
        changed("recordings", 2, status="lost"),
        changed("calls", 0, review_reasons=["boring"], anger_peak=None),
        doubled("contacts"),
        removed("satisfaction_daily", 0),
    ):
        change(broken)
    tables = {name: as_tables(a_day())[name].select(needed_columns(name)) for name in VALIDATED}
    return {
        "holds": validate(tables, folder / "holds"),
        "broken": validate(as_tables(broken), folder / "broken"),
        "empty": validate({**as_tables({name: [] for name in VALIDATED})}, folder / "empty"),
    }


def test_great_expectations_passes_a_day_that_holds(reports: dict[str, ValidationReport]) -> None:
    assert reports["holds"].success
    assert reports["holds"].failures == ()
    assert reports["holds"].n_expectations == sum(map(len, RULES.values())) > 100


def test_great_expectations_finds_what_the_masks_find(reports: dict[str, ValidationReport]) -> None:
    report = reports["broken"]
    assert not report.success
    assert {f"{failure.table}.{failure.column}" for failure in report.failures} == {
        "emotion_log.emotion",
        "emotion_log.p_angry",
        "emotion_log.probability_sum",
        "recordings.status",
        "reconciliation.planned_minus_outcomes",
        "calls.unknown_review_reason",
        "contacts.duplicate_key",
        "reconciliation.daily_total_minus_queues",
    }


def test_a_failure_names_expectation_and_rows_but_no_id(reports: dict[str, ValidationReport]) -> None:
    failure = next(failure for failure in reports["broken"].failures if failure.column == "emotion")
    assert (failure.table, failure.unexpected_count, failure.rows, failure.found) == (
        "emotion_log",
        1,
        (1,),
        ("hungry",),
    )
    assert str(failure) == (
        "emotion_log.emotion: an emotion of the taxonomy; 1 rows do not, such as row 1 (found hungry)"
    )
    assert not any(MARKED_ID in str(failure) for failure in reports["broken"].failures)


def test_a_day_without_calls_lacks_only_its_total(reports: dict[str, ValidationReport]) -> None:
    assert [failure.column for failure in reports["empty"].failures] == ["daily_totals"]


def test_data_docs_are_written_without_ids(reports: dict[str, ValidationReport]) -> None:
    index = reports["broken"].docs_index
    pages = [page.read_text(encoding="utf-8") for page in index.parent.rglob("*.html")]
    assert index.is_file()
    assert len(pages) > len(RULES)
    assert any("an emotion of the taxonomy" in page for page in pages)
    assert not any(MARKED_ID in page for page in pages)


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    tables = as_tables(a_day())
    del tables["calls"]
    with pytest.raises(ExpectationError, match="calls missing"):
        validate(tables, tmp_path)
