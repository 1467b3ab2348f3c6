"""The tables as the design has them, what a table refuses, and the definitions' own consistency."""

import itertools
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import STAGED_TABLES, TABLES, definitions, reference
from schemas.errors import TableSchemaError
from schemas.table import TIMESTAMP, Table, column
from ser_model.taxonomy import EMOTIONS, MOOD, VALENCE_AROUSAL

ROOT = Path(__file__).resolve().parents[2]

COLUMNS = {
    "contacts": """call_date contact_id initial_contact_id previous_contact_id next_contact_id customer_key queue team
        site agent_id channel initiation_method disconnect_reason language started_at answered_at ended_at local_hour
        queue_wait_s hold_count hold_s longest_hold_s after_call_work_s expects_recording attributes record_updated_at
        run_id""",
    "recordings": """call_date contact_id source_uri etag partner_uri partner_etag size_bytes last_modified layout
        started_at agent_id status reason_code channels channel_kind codec sample_rate_hz duration_s clipped_share
        nonspeech_s run_id""",
    "call_events": "call_date contact_id kind start_s end_s source run_id",
    "surveys": "call_date contact_id score answered_at run_id",
    "topics": "call_date contact_id topic start_s end_s run_id",
    "topic_emotions": """call_date contact_id topic topic_s speech_s dominant_emotion negative_share neutral_share
        positive_share valence p_neutral p_calm p_happy p_amused p_surprised p_sad p_angry p_fearful p_disgusted p_bored
        p_sleepy run_id""",
    "emotion_log": """call_date contact_id role turn_index segment_index start_s end_s classified emotion confidence
        p_neutral p_calm p_happy p_amused p_surprised p_sad p_angry p_fearful p_disgusted p_bored p_sleepy emotion_set
        valence arousal loudness_dbfs pitch_hz pitch_range_st speaking_rate_hz model_id run_id""",
    "calls": """call_date contact_id source_uri started_at queue team agent_id duration_s customer_talk_s agent_talk_s
        non_talk_s longest_silence_s overlap_s customer_interruptions agent_interruptions median_response_gap_s
        longest_turn_s nonspeech_s dominant_emotion negative_share neutral_share positive_share mood_start mood_end
        mood_change mood_q1 mood_q2 mood_q3 mood_q4 anger_s anger_peak escalated recovered satisfaction_index
        satisfaction_low satisfaction_high index_version csat_survey csat_predicted csat_low csat_high review_reasons
        model_id run_id""",
    "satisfaction_daily": """call_date scope queue team agent_id contacts_expected calls_scored calls_indexed
        calls_with_mood_change index_sum index_sumsq index_mean index_low index_high negative_share escalated_share
        recovered_share mood_change_mean coverage""",
    "alerts": """call_date rule severity scope contact_id queue value threshold usual expected_precision raised_at
        run_id""",
    "quarantine": """call_date contact_id source_uri etag queue stage reason_code detail attempts first_seen last_seen
        status run_id""",
    "runs": """run_id call_date kind model_id code_version planned scored quarantined skipped suppressed ignored
        audio_hours step_seconds coverage scored_of_planned status status_detail table_versions published_at""",
}

SMALL = Table(
    "small",
    "A row a test.",
    [
        column("contact_id", pa.string(), "An id"),
        column("at", TIMESTAMP, "A time", null_when="unknown"),
        column("hold_s", pa.float32(), "A duration", null_when="unknown"),
        column("turns", pa.int32(), "A count"),
        column("reasons", pa.list_(pa.string()), "Codes", null_when="unknown"),
    ],
    key=("contact_id",),
    sort=("contact_id", "at"),
)
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


def small_rows(**columns: Any) -> pa.Table:
    values = {
        "contact_id": pa.array(["a", "b"]),
        "at": pa.array([AT, None], TIMESTAMP),
        "hold_s": pa.array([1.5, None], pa.float32()),
        "turns": pa.array([1, 2], pa.int32()),
        "reasons": pa.array([["x"], []], pa.list_(pa.string())),
    } | columns
    return pa.table({name: value for name, value in values.items() if value is not None})


# The tables


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_have_the_columns_of_the_design(name: str) -> None:
    assert TABLES[name].schema.names == COLUMNS[name].split()


def test_there_are_no_other_tables() -> None:
    assert set(TABLES) == set(COLUMNS)
    assert set(STAGED_TABLES) == {*COLUMNS, "plan", "sidecar_events", "segments", "call_audio"}


@pytest.mark.parametrize("table", STAGED_TABLES.values(), ids=lambda table: table.name)
def test_every_column_is_described(table: Table) -> None:
    for field in table.schema:
        assert field.metadata[b"description"], field.name
        assert field.nullable == (b"null_when" in field.metadata), field.name
        if field.name.endswith("_s"):
            assert field.metadata[b"unit"] == b"s", field.name
    assert set(table.key) | set(table.sort) <= set(table.schema.names)


@pytest.mark.parametrize("table", STAGED_TABLES.values(), ids=lambda table: table.name)
def test_a_table_conforms_to_itself_through_parquet(table: Table, tmp_path: Path) -> None:
    conformed = table.conform(table.empty())
    assert conformed.schema.equals(table.schema, check_metadata=True)
    pq.write_table(conformed, tmp_path / "empty.parquet")
    read = pq.read_table(tmp_path / "empty.parquet")
    table.check(read)
    assert read.schema.metadata[b"callmood.table"] == table.name.encode()
    assert read.schema.metadata[b"callmood.schema_version"] == str(table.version).encode()


def test_published_files_lack_the_partition() -> None:
    published = TABLES["calls"].published_schema
    assert published.names == [name for name in TABLES["calls"].schema.names if name != "call_date"]
    assert published.metadata == TABLES["calls"].schema.metadata


def test_the_table_reference_is_current() -> None:
    written = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert written == reference.render(), "run: python -m schemas.reference > docs/tables.md"
    for table in TABLES.values():
        for field in table.schema:
            assert f"| `{field.name}` |" in written


# What a table takes and refuses


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"turns": None}, "table small lacks column turns"),
        ({"extra": pa.array([1, 2])}, "table small has unknown or repeated column extra"),
        ({"turns": pa.array([1, 2])}, "column turns: found type int64, expected int32"),
        ({"turns": pa.array([1, None], pa.int32())}, "column turns: found 1 nulls in 2 rows, expected none"),
        ({"at": pa.array([AT, None], pa.timestamp("us"))}, r"column at: found type timestamp\[us\], expected .*UTC"),
    ],
)
def test_check_names_what_differs(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(TableSchemaError, match=message):
        SMALL.check(small_rows(**columns))


def test_check_wants_the_order_of_the_schema() -> None:
    with pytest.raises(TableSchemaError, match="has column at where contact_id was expected"):
        SMALL.check(small_rows().select(["at", "contact_id", "hold_s", "turns", "reasons"]))


def test_check_refuses_a_repeated_column() -> None:
    rows = small_rows().append_column("turns", pa.array([1, 2], pa.int32()))
    with pytest.raises(TableSchemaError, match="repeated column turns"):
        SMALL.check(rows)


def test_check_takes_sparks_schema_that_calls_everything_nullable() -> None:
    SMALL.check(pa.schema([field.with_nullable(True).remove_metadata() for field in SMALL.schema]))


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"turns": pa.array([1, 2])},
        {"hold_s": pa.array([1.5, None])},
        {"hold_s": pa.nulls(2)},
        {"hold_s": None},
        {"contact_id": pa.array(["a", "b"], pa.large_string())},
        {"reasons": pa.array([["x"], []], pa.large_list(pa.large_string()))},
        {"at": pa.array([AT, None], pa.timestamp("us", tz="Europe/Berlin"))},
    ],
    ids=lambda columns: " ".join(f"{name}={getattr(value, 'type', None)}" for name, value in columns.items()) or "same",
)
def test_conform_brings_rows_into_form(columns: dict[str, Any]) -> None:
    rows = small_rows(**columns)
    conformed = SMALL.conform(rows.select(sorted(rows.column_names)))
    assert conformed.schema.equals(SMALL.schema, check_metadata=True)
    assert conformed["contact_id"].to_pylist() == ["a", "b"]
    assert conformed["turns"].to_pylist() == [1, 2]
    assert conformed["reasons"].to_pylist() == [["x"], []]
    assert conformed["at"].to_pylist() == [AT, None]
    expected = [None, None] if "hold_s" in columns and columns["hold_s"] in (None, pa.nulls(2)) else [1.5, None]
    assert conformed["hold_s"].to_pylist() == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"turns": None}, "lacks column turns"),
        ({"turns": pa.array(["1", "2"])}, "column turns: found type string, expected int32"),
        ({"turns": pa.array([1.0, 2.0])}, "column turns: found type double, expected int32"),
        ({"turns": pa.array([1, 2**40])}, "column turns: values of type int64 do not fit into int32"),
        ({"turns": pa.array([1, None])}, "column turns: found 1 nulls"),
        ({"at": pa.array([date(2026, 1, 1), None])}, "column at: found type date32"),
        ({"extra": pa.array([1, 2])}, "unknown or repeated column extra"),
    ],
)
def test_conform_refuses_another_kind(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(TableSchemaError, match=message):
        SMALL.conform(small_rows(**columns))


def test_a_key_has_to_be_of_the_columns() -> None:
    with pytest.raises(TableSchemaError, match="column names must be unique and hold key"):
        Table("wrong", "A row a mistake.", [column("a", pa.int32(), "A")], key=("b",), sort=())


# The definitions


def test_moods_are_those_of_the_design() -> None:
    assert definitions.NEGATIVE_EMOTIONS == ("sad", "angry", "fearful", "disgusted")
    assert definitions.POSITIVE_EMOTIONS == ("happy", "amused")
    assert definitions.NEUTRAL_EMOTIONS == ("neutral", "calm", "bored", "sleepy")
    assert [emotion for emotion in EMOTIONS if MOOD[emotion] == "ambiguous"] == ["surprised"]


def test_no_emotion_feels_worse_than_anger() -> None:
    feeling = definitions.INDEX_FEELING
    assert min(feeling.values()) == feeling["angry"] == -1
    assert {emotion: feeling[emotion] for emotion in EMOTIONS if emotion != "angry"} == {
        emotion: VALENCE_AROUSAL[emotion][0] for emotion in EMOTIONS if emotion != "angry"
    }


def test_the_index_cannot_leave_0_to_100() -> None:
    d = definitions
    corners = [
        d.INDEX_NEUTRAL
        + d.INDEX_MEAN_WEIGHT * mean
        + d.INDEX_END_WEIGHT * end
        - d.INDEX_NEGATIVE_WEIGHT * negative
        - d.INDEX_ANGER_WEIGHT * peak * (1 - d.INDEX_RELIEF * relief)
        for mean, end, negative, peak, relief in itertools.product((-1, 1), (-1, 1), (0, 1), (0, 1), (0, 1))
    ]
    assert (min(corners), max(corners)) == (0, 100)


def test_review_reasons_are_those_of_the_query_in_its_order() -> None:
    query = (ROOT / "jobs" / "sql" / "calls.sql").read_text(encoding="utf-8")
    assert re.findall(r"'([a-z]+_[a-z]+|escalated)'", query.split("FROM flagged f")[0].split("filter(")[1]) == list(
        definitions.REVIEW_REASONS
    )


def test_the_queries_use_no_constant_that_is_not_defined() -> None:
    defined = {name.lower() for name in vars(definitions) if name.isupper()}
    query = (ROOT / "jobs" / "sql" / "calls.sql").read_text(encoding="utf-8")
    used = set(re.findall(r"(?<!:):([a-z_]+)", query))
    assert len(used) > 20
    assert used - defined == {"run_id"}
