"""What has to hold before a day is published: expectations a table, and between tables.

Great Expectations judges them and writes its Data Docs; it is imported when a day is validated, since that takes
seconds. Every expectation is on one column of a narrow frame: a column of the table, or one derived here (a flag
for each rule that needs more than one column, row or table). No id enters a frame, so neither Data Docs nor
messages can show one; rows are named by their number in the staged table.

Expectations are on what the jobs compute. What a record says about a call (negative times, odd hours) is carried as
it came and must not stop a night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from schemas import call_events, definitions, emotion_log, quarantine, recordings, satisfaction_daily, staging
from schemas.errors import ExpectationError
from schemas.reasons import REASONS
from ser_model.taxonomy import EMOTIONS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

PROBABILITY_TOLERANCE = 1e-3
END_TOLERANCE_S = 0.05
"""A segment may end this much after its call: features come in frames."""
MAX_SEGMENT_S = 3.05
SAMPLE_ROWS = 5

Tables = Mapping[str, pa.Table]
Flags = npt.NDArray[np.bool_]

_UNNEEDED = {"emotion_log": {"emotion_set", "model_id", "run_id"}}


def needed_columns(name: str) -> list[str]:
    """List the columns of a staged table that `validate` reads: of a large one, not all."""
    return [column for column in schemas.STAGED_TABLES[name].schema.names if column not in _UNNEEDED.get(name, ())]


# Rules: an expectation and the same rule as a mask, to name rows


@dataclass(frozen=True)
class Between:
    """Values lie in ``low..high``, both included; nulls are left alone."""

    column: str
    low: float | None
    high: float | None
    words: str

    def expectation(self) -> Expectation:
        """Make the Great Expectations form."""
        from great_expectations.expectations.core.expect_column_values_to_be_between import (
            ExpectColumnValuesToBeBetween,
        )

        return ExpectColumnValuesToBeBetween(
            column=self.column, min_value=self.low, max_value=self.high, description=f"{self.column}: {self.words}"
        )

    def broken(self, values: pd.Series[Any]) -> Flags:
        """Flag the values that break the rule."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return ((values < low) | (values > high)).fillna(False).to_numpy(dtype=bool)


@dataclass(frozen=True)
class OneOf:
    """Values are of a set; nulls are left alone."""

    column: str
    values: tuple[str, ...]
    words: str

    def expectation(self) -> Expectation:
        """Make the Great Expectations form."""
        from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet

        return ExpectColumnValuesToBeInSet(
            column=self.column, value_set=list(self.values), description=f"{self.column}: {self.words}"
        )

    def broken(self, values: pd.Series[Any]) -> Flags:
        """Flag the values that break the rule."""
        return (values.notna() & ~values.isin(self.values)).to_numpy(dtype=bool)


Rule = Between | OneOf


def _share(*columns: str) -> tuple[Rule, ...]:
    return tuple(Between(column, 0, 1, "a share or probability, 0 to 1") for column in columns)


def _not_negative(*columns: str) -> tuple[Rule, ...]:
    return tuple(Between(column, 0, None, "not negative") for column in columns)


def _never(flag: str, words: str) -> Rule:
    return Between(flag, 0, 0, f"never: {words}")


def _codes_of(outcome: str) -> tuple[str, ...]:
    return tuple(code for code, reason in REASONS.items() if reason.outcome == outcome)


_EVERY_TABLE = (
    _never("duplicate_key", "two rows have the same key"),
    _never("required_null", "a column that is never null is null"),
    _never("not_a_number", "a figure is NaN or infinite"),
)

_OWN_RULES: Mapping[str, tuple[Rule, ...]] = {
    "plan": (
        OneOf("status", staging.PLAN_STATUSES, "a plan's status"),
        *_not_negative("size_bytes"),
        _never("without_outcome", "a recording of the plan has no row in recordings"),
    ),
    "contacts": (Between("local_hour", 0, 23, "an hour of the day"),),
    "recordings": (
        OneOf("status", recordings.STATUSES, "an outcome"),
        OneOf("channel_kind", recordings.CHANNEL_KINDS, "a kind of channels"),
        Between("channels", 1, None, "at least one"),
        Between("sample_rate_hz", 1, None, "positive"),
        *_not_negative("size_bytes", "duration_s", "nonspeech_s"),
        *_share("clipped_share"),
        _never("reason_misplaced", "a scored recording has a reason, or another has none"),
        _never("scored_without_duration", "a scored recording has no duration"),
        _never("not_in_plan", "a recording is not in the plan"),
        _never("outcome_not_of_plan", "the plan says skipped or quarantined of a recording that has another outcome"),
        _never("reason_not_of_status", "a reason code is none of its outcome's (docs/reason-codes.md)"),
        _never("scored_without_call", "a scored recording has no row in calls"),
        _never("quarantined_without_record", "a quarantined recording has no row in quarantine"),
    ),
    "emotion_log": (
        OneOf("role", emotion_log.ROLES, "a role"),
        OneOf("emotion", EMOTIONS, "an emotion of the taxonomy"),
        *_not_negative("turn_index", "segment_index", "start_s", "pitch_range_st", "speaking_rate_hz"),
        Between("length_s", 1e-6, MAX_SEGMENT_S, "a segment starts before it ends, and has at most 3 s"),
        Between("after_call_s", None, END_TOLERANCE_S, "a segment ends within its call"),
        *_share("confidence", *(f"p_{emotion}" for emotion in EMOTIONS)),
        Between(
            "probability_sum",
            1 - PROBABILITY_TOLERANCE,
            1 + PROBABILITY_TOLERANCE,
            "the probabilities of a classified segment sum to 1",
        ),
        *(Between(column, -1, 1, "a coordinate of the circumplex") for column in ("valence", "arousal")),
        Between("loudness_dbfs", -200, 10, "a level re full scale"),
        Between("pitch_hz", 20, 2000, "a voice's pitch"),
        _never("emotion_misplaced", "a classified segment has no emotion, or another has one"),
        _never("overlaps_own_role", "a segment starts before the same role's earlier segment ends"),
        _never("call_not_scored", "a segment is of a recording that was not scored"),
    ),
    "calls": (
        OneOf("dominant_emotion", EMOTIONS, "an emotion of the taxonomy"),
        *_not_negative(
            *("duration_s", "customer_talk_s", "agent_talk_s", "non_talk_s", "longest_silence_s", "overlap_s"),
            *("customer_interruptions", "agent_interruptions", "median_response_gap_s", "longest_turn_s"),
            *("nonspeech_s", "anger_s"),
        ),
        *_share("negative_share", "neutral_share", "positive_share", "anger_peak"),
        Between("share_sum", 0, 1 + PROBABILITY_TOLERANCE, "the shares of the moods together"),
        *(
            Between(column, -1, 1, "a valence")
            for column in ("mood_start", "mood_end", *(f"mood_q{quarter}" for quarter in (1, 2, 3, 4)))
        ),
        Between("mood_change", -2, 2, "a difference of valences"),
        Between("satisfaction_index", 0, 100, "an index"),
        Between("satisfaction_low", 0, 100, "an index"),
        Between("satisfaction_high", 0, 100, "an index"),
        Between("index_version", definitions.INDEX_VERSION, definitions.INDEX_VERSION, "today's formula"),
        Between("beyond_call_s", None, END_TOLERANCE_S, "nothing in a call is longer than the call"),
        _never("index_outside_interval", "the index lies outside its interval, or lacks one"),
        _never("index_misplaced", "a call has an anger peak and no index"),
        _never("unknown_review_reason", "a review reason is not one of the definitions"),
        _never("recording_not_scored", "a call has no scored recording"),
        _never("survey_misplaced", "csat_survey is not the score of the contact's survey"),
    ),
    "call_events": (
        OneOf("kind", call_events.KINDS, "a kind of event"),
        OneOf("source", call_events.SOURCES, "a source"),
        Between("length_s", 0, None, "an event does not end before it starts"),
        _never("heard_misplaced", "what is heard in a recording is no pause, or has no end"),
        _never("heard_not_scored", "what is heard in a recording is of a contact without a scored one"),
        _never("opted_out", "an event is of a contact that opted out"),
    ),
    "surveys": (_never("opted_out", "a survey is of a contact that opted out"),),
    "topics": (
        Between("length_s", 1e-9, None, "a topic ends after it starts"),
        _never("overlaps_itself", "a stretch starts before the same topic's earlier one ends"),
        _never("opted_out", "a topic is of a contact that opted out"),
    ),
    "topic_emotions": (
        OneOf("dominant_emotion", EMOTIONS, "an emotion of the taxonomy"),
        *_not_negative("topic_s", "speech_s"),
        *_share("negative_share", "neutral_share", "positive_share", *(f"p_{emotion}" for emotion in EMOTIONS)),
        Between("valence", -1, 1, "a valence"),
        _never("emotion_misplaced", "there is an emotion without speech, or speech without one"),
        _never("call_not_scored", "a topic's emotions are of a recording that was not scored"),
        _never("topic_not_told", "a topic's emotions are of a topic that the call does not have"),
    ),
    "satisfaction_daily": (
        OneOf("scope", satisfaction_daily.SCOPES, "a scope"),
        *_not_negative("contacts_expected", "calls_scored", "calls_indexed", "calls_with_mood_change"),
        *_not_negative("index_sum", "index_sumsq"),
        *_share("negative_share", "escalated_share", "recovered_share", "coverage"),
        *(Between(column, 0, 100, "an index") for column in ("index_mean", "index_low", "index_high")),
        Between("mood_change_mean", -2, 2, "a difference of valences"),
        _never("scored_beyond_expected", "more calls are scored than contacts expected"),
        _never("scope_misplaced", "a row names what is not its scope"),
    ),
    "quarantine": (
        OneOf("status", quarantine.STATUSES, "a status"),
        Between("attempts", 1, None, "at least one"),
        OneOf("reason_code", _codes_of("quarantined"), "a code of the taxonomy (docs/reason-codes.md)"),
        _never("seen_backwards", "first_seen is after last_seen"),
        _never("open_without_recording", "an open row has no quarantined recording"),
    ),
    "reconciliation": (
        Between("planned_minus_outcomes", 0, 0, "planned = scored + quarantined + skipped"),
        Between("plan_minus_recordings", 0, 0, "every recording of the plan has an outcome"),
        Between("scored_minus_calls", 0, 0, "a row in calls for each scored recording"),
        Between("calls_minus_daily_total", 0, 0, "the day's total counts every call"),
        Between("index_sum_minus_daily_total", -0.01, 0.01, "the day's total sums every index"),
        Between("daily_totals", 1, 1, "one total a day"),
        *(
            Between(f"daily_total_minus_{scope}s", 0, 0, f"the {scope}s of a day add up to its total")
            for scope in ("queue", "team")
        ),
        Between("call_dates", 0, 1, "all rows are of one day"),
    ),
}

VALIDATED = tuple(name for name in _OWN_RULES if name != "reconciliation")
"""The staged tables that `validate` needs."""

RULES: Mapping[str, tuple[Rule, ...]] = {
    name: rules if name == "reconciliation" else _EVERY_TABLE + rules for name, rules in _OWN_RULES.items()
}
"""The rules of each table, and under ``reconciliation`` those between tables."""


# What comes out


@dataclass(frozen=True)
class Failure:
    """A broken expectation.

    ``rows`` are the numbers of the first rows that break it, from 0, in the table as it was given.
    """

    table: str
    column: str
    expectation: str
    unexpected_count: int
    rows: tuple[int, ...]
    found: tuple[str, ...]

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows))
        values = ", ".join(self.found)
        return (
            f"{self.table}.{self.column}: {self.expectation}; {self.unexpected_count} rows do not, "
            f"such as row {rows} (found {values})"
        )


@dataclass(frozen=True)
class ValidationReport:
    """What validation came to, and where its Data Docs begin."""

    failures: tuple[Failure, ...]
    n_expectations: int
    docs_index: Path

    @property
    def success(self) -> bool:
        """Whether every expectation holds."""
        return not self.failures


def validate(tables: Tables, docs_folder: Path) -> ValidationReport:
    """Judge a day's staged tables.

    Parameters
    ----------
    tables
        The tables of `VALIDATED`, each with at least its `needed_columns`.
    docs_folder
        Where the Data Docs go: static HTML, in a folder of their own.

    Returns
    -------
    The broken expectations; everything is judged, also after the first failure.

    Raises
    ------
    ExpectationError
        Where a table is missing, or an expectation could not be judged.
    """
    missing = [name for name in VALIDATED if name not in tables]
    if missing:
        raise ExpectationError(f"validation needs the tables {', '.join(VALIDATED)}; {', '.join(missing)} missing")
    judge = _Judge(docs_folder)
    failures: list[Failure] = []
    for name, rules in RULES.items():
        judged = frame(name, tables)
        failures += [_failure(name, rule, judged[rule.column]) for rule in judge.broken_rules(name, judged, rules)]
    return ValidationReport(tuple(failures), sum(map(len, RULES.values())), judge.build_docs())


def _failure(table: str, rule: Rule, values: pd.Series[Any]) -> Failure:
    rows = np.flatnonzero(rule.broken(values))
    sample = tuple(int(row) for row in rows[:SAMPLE_ROWS])
    found = tuple(dict.fromkeys(str(values.iloc[row]) for row in sample))
    return Failure(table, rule.column, rule.words, len(rows), sample, found)


class _Judge:
    """Great Expectations, in memory but for its Data Docs, sending nothing anywhere."""

    def __init__(self, docs_folder: Path) -> None:
        import os

        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self._gx = gx
        self._docs_folder = docs_folder
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        for site in list(self._context.get_site_names()):
            self._context.delete_data_docs_site(site)
        self._context.add_data_docs_site(
            "callmood",
            {
                "class_name": "SiteBuilder",
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(docs_folder.resolve()),
                },
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )
        self._source = self._context.data_sources.add_pandas("staged")

    def broken_rules(self, name: str, judged: pd.DataFrame, rules: tuple[Rule, ...]) -> list[Rule]:
        gx = self._gx
        batch = self._source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("day")
        expectations = [rule.expectation() for rule in rules]
        suite = self._context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        result = definition.run(
            batch_parameters={"dataframe": judged},
            result_format={"result_format": "BASIC", "partial_unexpected_count": SAMPLE_ROWS},
        )
        outcomes: dict[str, Any] = {
            outcome.expectation_config.kwargs["column"]: outcome for outcome in cast("list[Any]", result.results)
        }
        for column, outcome in outcomes.items():
            # Nothing was found where nothing could be computed: the exception's text may hold values, its type not.
            if not outcome.success and "unexpected_count" not in outcome.result:
                raise ExpectationError(f"the expectation on {name}.{column} could not be judged; see the Data Docs")
        return [rule for rule in rules if not outcomes[rule.column].success]

    def build_docs(self) -> Path:
        self._context.build_data_docs()
        return self._docs_folder / "index.html"


# Frames: a column a rule


def frame(name: str, tables: Tables) -> pd.DataFrame:
    """Lay out what the rules of a table, or of ``reconciliation``, are on: a column a rule."""
    if name == "reconciliation":
        return _reconciliation(tables)
    table = tables[name]
    derived: dict[str, Any] = {
        "duplicate_key": _duplicate_key(name, table),
        "required_null": _required_null(name, table),
        "not_a_number": _not_a_number(table),
    }
    if name in _DERIVED:
        derived |= _DERIVED[name](tables)
    columns = {
        rule.column: derived[rule.column] if rule.column in derived else _to_pandas(table.column(rule.column))
        for rule in RULES[name]
    }
    return pd.DataFrame(columns)


def _to_pandas(values: pa.ChunkedArray) -> pd.Series[Any]:
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    series: pd.Series[Any] = values.to_pandas()
    return series


def _codes(values: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Number the distinct values; null is one of them."""
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: npt.NDArray[np.int32] = encoded.indices.to_numpy(zero_copy_only=False)
    return codes


def _flags(mask: pa.ChunkedArray) -> Flags:
    """Turn an Arrow mask into one without nulls: unknown is false."""
    flags: Flags = pc.fill_null(mask, False).to_numpy()
    return flags


def _duplicate_key(name: str, table: pa.Table) -> Flags:
    key = schemas.STAGED_TABLES[name].key
    return pd.DataFrame({column: _codes(table.column(column)) for column in key}).duplicated(keep=False).to_numpy()


def _required_null(name: str, table: pa.Table) -> Flags:
    found = np.zeros(table.num_rows, dtype=bool)
    for field in schemas.STAGED_TABLES[name].schema:
        if not field.nullable and field.name in table.column_names:
            found |= table.column(field.name).is_null().to_numpy()
    return found


def _not_a_number(table: pa.Table) -> Flags:
    found = np.zeros(table.num_rows, dtype=bool)
    for field in table.schema:
        if pa.types.is_floating(field.type):
            found |= _flags(pc.invert(pc.is_finite(table.column(field.name))))
    return found


def _ids(table: pa.Table, column: str, status: str | None = None) -> pa.Array:
    values = table.column(column) if status is None else table.filter(pc.equal(table["status"], status))[column]
    return values.combine_chunks()


def _of_plan(tables: Tables) -> dict[str, Any]:
    with_outcome = pc.is_in(tables["plan"]["source_uri"], value_set=_ids(tables["recordings"], "source_uri"))
    return {"without_outcome": ~_flags(with_outcome)}


def _of_recordings(tables: Tables) -> dict[str, Any]:
    table, plan = tables["recordings"], tables["plan"]
    position = pc.index_in(table["source_uri"], value_set=_ids(plan, "source_uri"))
    planned_as, planned_reason = (plan[name].take(position) for name in ("status", "reason_code"))
    decided = pc.is_in(planned_as, value_set=pa.array(["skipped", "quarantined"]))
    same = pc.and_(pc.equal(planned_as, table["status"]), pc.equal(planned_reason, table["reason_code"]))
    # An enrichment withdraws recordings of customers who have opted out since.
    kept = pc.or_kleene(same, pc.equal(table["reason_code"], "opted_out"))
    of_status = np.zeros(table.num_rows, dtype=bool)
    for outcome in ("skipped", "quarantined"):
        fits = pc.is_in(table["reason_code"], value_set=pa.array(_codes_of(outcome)))
        of_status |= _flags(pc.and_(pc.equal(table["status"], outcome), pc.invert(fits)))
    scored = _flags(pc.equal(table["status"], "scored"))
    quarantined = _flags(pc.equal(table["status"], "quarantined"))
    has_reason = table["reason_code"].is_valid().to_numpy()
    has_call = _flags(pc.is_in(table["source_uri"], value_set=_ids(tables["calls"], "source_uri")))
    in_quarantine = _flags(pc.is_in(table["source_uri"], value_set=_ids(tables["quarantine"], "source_uri")))
    return {
        "reason_misplaced": scored == has_reason,
        "scored_without_duration": scored & table["duration_s"].is_null().to_numpy(),
        "not_in_plan": position.is_null().to_numpy(),
        "outcome_not_of_plan": _flags(decided) & ~_flags(kept),
        "reason_not_of_status": of_status & has_reason,
        "scored_without_call": scored & ~has_call,
        "quarantined_without_record": quarantined & ~in_quarantine,
    }


def _of_emotion_log(tables: Tables) -> dict[str, Any]:
    table = tables["emotion_log"]
    start_s, end_s = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    classified = _flags(table["classified"])

    scored = tables["recordings"].filter(pc.equal(tables["recordings"]["status"], "scored"))
    position = pc.index_in(table["contact_id"], value_set=scored["contact_id"].combine_chunks())
    durations = pc.take(scored["duration_s"].combine_chunks(), position.combine_chunks())

    total = np.zeros(table.num_rows)
    for emotion in EMOTIONS:
        total += pc.fill_null(table[f"p_{emotion}"], 0.0).to_numpy()
    # Of unclassified segments there is no sum to judge; one that is no number is judged as 0.
    total = np.where(classified, np.nan_to_num(total, nan=0.0), np.nan)

    contact, role = _codes(table["contact_id"]), _codes(table["role"])
    order = np.lexsort((start_s, role, contact))
    same = (np.diff(contact[order]) == 0) & (np.diff(role[order]) == 0)
    overlaps = np.zeros(table.num_rows, dtype=bool)
    overlaps[order[1:]] = same & (start_s[order[1:]] < end_s[order[:-1]] - 1e-6)
    return {
        "length_s": end_s - start_s,
        "after_call_s": end_s - durations.to_numpy(zero_copy_only=False),
        "probability_sum": total,
        "emotion_misplaced": classified == table["emotion"].is_null().to_numpy(),
        "overlaps_own_role": overlaps,
        "call_not_scored": position.is_null().to_numpy(),
    }


def _of_calls(tables: Tables) -> dict[str, Any]:
    table = tables["calls"]
    index, low, high = (table[f"satisfaction_{part}"] for part in ("index", "low", "high"))
    # Not nonspeech_s, which is summed over the channels.
    spans = ("customer_talk_s", "agent_talk_s", "non_talk_s", "longest_silence_s", "overlap_s", "longest_turn_s")
    longest_s = pd.DataFrame({span: table[span].to_pandas() for span in (*spans, "anger_s")}).max(axis=1)
    shares = [table[f"{mood}_share"].to_pandas() for mood in ("negative", "neutral", "positive")]
    known = set(definitions.REVIEW_REASONS)
    has_interval = pc.and_(low.is_valid(), high.is_valid())
    inside = pc.and_(pc.less_equal(low, index), pc.less_equal(index, high))
    surveys = tables["surveys"]
    position = pc.index_in(table["contact_id"], value_set=surveys["contact_id"].combine_chunks())
    scores = pc.take(surveys["score"].combine_chunks(), position.combine_chunks()).cast(table["csat_survey"].type)
    same = pc.fill_null(pc.equal(table["csat_survey"], scores), False).to_numpy()
    neither = table["csat_survey"].is_null().to_numpy() & scores.is_null().to_numpy(zero_copy_only=False)
    return {
        "share_sum": sum(shares),
        "beyond_call_s": longest_s - table["duration_s"].to_pandas(),
        "index_outside_interval": _flags(
            pc.and_(index.is_valid(), pc.invert(pc.and_(has_interval, pc.fill_null(inside, False))))
        ),
        "index_misplaced": index.is_null().to_numpy() & table["anger_peak"].is_valid().to_numpy(),
        "unknown_review_reason": np.array(
            [not known.issuperset(reasons or ()) for reasons in table["review_reasons"].to_pylist()], dtype=bool
        ),
        "recording_not_scored": ~_flags(
            pc.is_in(table["source_uri"], value_set=_ids(tables["recordings"], "source_uri", "scored"))
        ),
        "survey_misplaced": ~(same | neither),
    }


def _of_call_events(tables: Tables) -> dict[str, Any]:
    table = tables["call_events"]
    heard = _flags(pc.equal(table["source"], "recording"))
    is_span = _flags(pc.equal(table["kind"], "pause")) & table["end_s"].is_valid().to_numpy()
    scored = _ids(tables["recordings"], "contact_id", "scored").drop_null()
    return {
        "length_s": pc.subtract(table["end_s"], table["start_s"]).to_pandas(),
        "heard_misplaced": heard & ~is_span,
        "heard_not_scored": heard & ~_flags(pc.is_in(table["contact_id"], value_set=scored)),
        "opted_out": _opted_out("call_events", tables),
    }


def _of_surveys(tables: Tables) -> dict[str, Any]:
    return {"opted_out": _opted_out("surveys", tables)}


def _of_topics(tables: Tables) -> dict[str, Any]:
    table = tables["topics"]
    start_s, end_s = (table[name].to_numpy() for name in ("start_s", "end_s"))
    contact, topic = _codes(table["contact_id"]), _codes(table["topic"])
    order = np.lexsort((start_s, topic, contact))
    same = (np.diff(contact[order]) == 0) & (np.diff(topic[order]) == 0)
    overlaps = np.zeros(table.num_rows, dtype=bool)
    overlaps[order[1:]] = same & (start_s[order[1:]] < end_s[order[:-1]])
    return {
        "length_s": end_s - start_s,
        "overlaps_itself": overlaps,
        "opted_out": _opted_out("topics", tables),
    }


def _of_topic_emotions(tables: Tables) -> dict[str, Any]:
    table = tables["topic_emotions"]
    scored = _ids(tables["recordings"], "contact_id", "scored").drop_null()
    told = {(row["contact_id"], row["topic"]) for row in tables["topics"].select(["contact_id", "topic"]).to_pylist()}
    named = zip(table["contact_id"].to_pylist(), table["topic"].to_pylist(), strict=True)
    return {
        "emotion_misplaced": (table["speech_s"].to_numpy() > 0) == table["dominant_emotion"].is_null().to_numpy(),
        "call_not_scored": ~_flags(pc.is_in(table["contact_id"], value_set=scored)),
        "topic_not_told": np.array([each not in told for each in named], dtype=bool),
    }


def _opted_out(name: str, tables: Tables) -> Flags:
    recorded = tables["recordings"]
    gone = recorded.filter(pc.equal(recorded["reason_code"], "opted_out"))["contact_id"].combine_chunks().drop_null()
    return _flags(pc.is_in(tables[name]["contact_id"], value_set=gone))


def _of_satisfaction_daily(tables: Tables) -> dict[str, Any]:
    table = tables["satisfaction_daily"]
    scope = table["scope"].to_pandas()
    misplaced = np.zeros(table.num_rows, dtype=bool)
    for column, own_scope in (("queue", "queue"), ("team", "team"), ("agent_id", "agent")):
        misplaced |= ((scope != own_scope) & table[column].to_pandas().notna()).to_numpy(dtype=bool)
    return {
        "scored_beyond_expected": _flags(pc.greater(table["calls_scored"], table["contacts_expected"])),
        "scope_misplaced": misplaced,
    }


def _of_quarantine(tables: Tables) -> dict[str, Any]:
    table = tables["quarantine"]
    in_recordings = pc.is_in(table["source_uri"], value_set=_ids(tables["recordings"], "source_uri", "quarantined"))
    return {
        "seen_backwards": _flags(pc.greater(table["first_seen"], table["last_seen"])),
        "open_without_recording": _flags(pc.equal(table["status"], "open")) & ~_flags(in_recordings),
    }


_DERIVED: Mapping[str, Callable[[Tables], dict[str, Any]]] = {
    "plan": _of_plan,
    "recordings": _of_recordings,
    "emotion_log": _of_emotion_log,
    "calls": _of_calls,
    "call_events": _of_call_events,
    "surveys": _of_surveys,
    "topics": _of_topics,
    "topic_emotions": _of_topic_emotions,
    "satisfaction_daily": _of_satisfaction_daily,
    "quarantine": _of_quarantine,
}


def _reconciliation(tables: Tables) -> pd.DataFrame:
    """Lay out the numbers between tables, in one row."""
    outcomes = tables["recordings"]["status"].to_pandas().value_counts()
    planned, scored = tables["plan"].num_rows, int(outcomes.get("scored", 0))
    daily = tables["satisfaction_daily"].select(["scope", "calls_scored", "contacts_expected", "index_sum"]).to_pandas()
    by_scope = daily.groupby("scope")[["calls_scored", "contacts_expected", "index_sum"]].sum()
    by_scope = by_scope.reindex(list(satisfaction_daily.SCOPES), fill_value=0)
    total = by_scope.loc["total"]
    index_sum = pc.sum(pc.cast(tables["calls"]["satisfaction_index"], pa.float64())).as_py() or 0.0
    dates = {day for name in VALIDATED for day in pc.unique(tables[name]["call_date"]).to_pylist()}
    return pd.DataFrame(
        {
            "planned_minus_outcomes": planned - sum(int(outcomes.get(status, 0)) for status in recordings.STATUSES),
            "plan_minus_recordings": planned - tables["recordings"].num_rows,
            "scored_minus_calls": scored - tables["calls"].num_rows,
            "calls_minus_daily_total": tables["calls"].num_rows - int(total["calls_scored"]),
            "index_sum_minus_daily_total": index_sum - float(total["index_sum"]),
            "daily_totals": int((daily["scope"] == "total").sum()),
            **{
                f"daily_total_minus_{scope}s": int(
                    abs(total["contacts_expected"] - by_scope.loc[scope, "contacts_expected"])
                    + abs(total["calls_scored"] - by_scope.loc[scope, "calls_scored"])
                )
                for scope in ("queue", "team")
            },
            "call_dates": len(dates),
        },
        index=[0],
    )
