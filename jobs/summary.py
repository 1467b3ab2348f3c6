"""Segments in, calls and the day's satisfaction figures out: Spark SQL over data frames, by the definitions.

The queries are in ``jobs/sql/``; they read views of five published tables, and nothing that a night alone has, so that
a day can be summarized again without its audio. They take every constant from `schemas.definitions`. Where the frames
come from and where they go is jobs/summarize_calls.py's to know, and so are settings.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from schemas import definitions
from schemas.calls import TABLE as CALLS
from schemas.satisfaction_daily import TABLE as SATISFACTION_DAILY
from schemas.topic_emotions import TABLE as TOPIC_EMOTIONS
from ser_model.taxonomy import EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from schemas.table import Table

SQL = Path(__file__).parent / "sql"

MAX_DEGREES_OF_FREEDOM = 1000
"""Above it, Student's t differs from this one's by less than 0.1%."""


def summarize(
    spark: SparkSession,
    *,
    emotion_log: DataFrame,
    recordings: DataFrame,
    contacts: DataFrame,
    call_events: DataFrame,
    surveys: DataFrame,
    call_date: date,
    run_id: str,
    by_agent: bool = False,
) -> tuple[DataFrame, DataFrame]:
    """Compute ``calls`` and ``satisfaction_daily`` of one day.

    Parameters
    ----------
    spark
        The session, whose time zone is UTC.
    emotion_log, recordings, contacts, call_events, surveys
        The day's rows by their schemas, ``recordings`` with the final outcomes.
    call_date
        The day; a day without a recording has its total row, too.
    run_id
        The run that computes the calls.
    by_agent
        Whether ``satisfaction_daily`` has rows for agents.

    Returns
    -------
    ``calls``, cached since the second is made from it, and ``satisfaction_daily``: columns, types and order
    by their schemas. Their figures are rounded, so that they are the same however Spark divides the work.
    """
    inputs = {
        "emotion_log": emotion_log,
        "recordings": recordings,
        "contacts": contacts,
        "call_events": call_events,
        "surveys": surveys,
    }
    for name, frame in inputs.items():
        frame.createOrReplaceTempView(name)
    constants = {
        name.lower(): value
        for name, value in vars(definitions).items()
        if name.isupper() and isinstance(value, int | float)
    }
    query = _query("calls").format(**_expressions())
    calls = _by_schema(spark.sql(query, args={**constants, "run_id": run_id}), CALLS).cache()
    daily = summarize_daily(
        spark, recordings=recordings, contacts=contacts, calls=calls, call_date=call_date, by_agent=by_agent
    )
    return calls, daily


def summarize_daily(
    spark: SparkSession,
    *,
    recordings: DataFrame,
    contacts: DataFrame,
    calls: DataFrame,
    call_date: date,
    by_agent: bool = False,
) -> DataFrame:
    """Compute ``satisfaction_daily`` of one day from its calls; the parameters are those of `summarize`."""
    for name, frame in {"recordings": recordings, "contacts": contacts, "calls": calls}.items():
        frame.createOrReplaceTempView(name)
    spark.createDataFrame(_t_quantiles()).createOrReplaceTempView("t_quantiles")
    parameters = {"call_date": call_date, "by_agent": by_agent, "max_degrees_of_freedom": MAX_DEGREES_OF_FREEDOM}
    return _by_schema(spark.sql(_query("satisfaction_daily"), args=parameters), SATISFACTION_DAILY)


def summarize_topics(
    spark: SparkSession, *, emotion_log: DataFrame, recordings: DataFrame, topics: DataFrame, run_id: str
) -> DataFrame:
    """Compute ``topic_emotions`` of one day; the parameters are as those of `summarize`."""
    for name, frame in {"emotion_log": emotion_log, "recordings": recordings, "topics": topics}.items():
        frame.createOrReplaceTempView(name)
    query = _query("topic_emotions").format(**_expressions())
    return _by_schema(spark.sql(query, args={"run_id": run_id}), TOPIC_EMOTIONS)


def _query(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def _expressions() -> dict[str, str]:
    """Write out the expressions over all emotions; a probability that the model lacks counts as 0."""
    feeling = definitions.INDEX_FEELING
    negative = definitions.NEGATIVE_EMOTIONS
    means = (
        # Of equal means, the emotion that comes first in the taxonomy wins.
        f"named_struct('mean', round(coalesce(sum(p_{emotion} * length_s), 0), 6), 'rank', {-rank},"
        f" 'emotion', '{emotion}')"
        for rank, emotion in enumerate(EMOTIONS)
    )
    quarters = []
    for quarter in (1, 2, 3, 4):
        first_s, last_s = f"duration_s * {quarter - 1} / 4", f"duration_s * {quarter} / 4"
        inside = f"greatest(least(end_s, {last_s}) - greatest(start_s, {first_s}), 0)"
        quarters.append(f"try_divide(sum(valence * {inside}), sum({inside})) AS mood_q{quarter}")
    return {
        "probabilities": ", ".join(f"p_{emotion}" for emotion in EMOTIONS),
        "positive": _weighted_sum((emotion, 1.0) for emotion in definitions.POSITIVE_EMOTIONS),
        "neutral": _weighted_sum((emotion, 1.0) for emotion in definitions.NEUTRAL_EMOTIONS),
        "negative": _weighted_sum((emotion, 1.0) for emotion in negative),
        "feeling": _weighted_sum((emotion, feeling[emotion]) for emotion in EMOTIONS),
        "feeling_squared": _weighted_sum((emotion, feeling[emotion] ** 2) for emotion in EMOTIONS),
        "feeling_negative": _weighted_sum((emotion, feeling[emotion]) for emotion in negative),
        "emotion_means": ", ".join(means),
        "mean_probabilities": ", ".join(
            f"round(sum(p_{emotion} * length_s) / sum(length_s), 6) AS p_{emotion}" for emotion in EMOTIONS
        ),
        "mood_quarters": ",\n        ".join(quarters),
    }


def _weighted_sum(weights: Iterable[tuple[str, float]]) -> str:
    terms = " + ".join(f"{weight:.6f}D * coalesce(p_{emotion}, 0)" for emotion, weight in weights if weight)
    return f"({terms})"


def _t_quantiles() -> pa.Table:
    import numpy as np
    import pyarrow as pa
    from scipy.stats import t

    degrees = np.arange(1, MAX_DEGREES_OF_FREEDOM + 1)
    return pa.table({"degrees_of_freedom": degrees, "quantile": t.ppf(0.5 + definitions.DAILY_CONFIDENCE / 2, degrees)})


def _by_schema(frame: DataFrame, table: Table) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    fields = from_arrow_schema(table.schema).fields
    typed = frame.select([frame[field.name].cast(field.dataType).alias(field.name) for field in fields])
    # A row a call is little: one sorted partition is quicker than a global sort, and one file to write.
    return typed.repartition(1).sortWithinPartitions(*table.sort)
