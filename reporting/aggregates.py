"""Mean satisfaction by day, week or month, of all calls or by queue, team or agent, and how sure each figure is.

Goes by ``calls`` and ``contacts`` (and, for agents, ``satisfaction_daily``) as DuckDB has them: the views that
``reporting.sql`` opens on the last publication of each day, or any tables under these names. Groups are in the order
of their names; nothing is ranked. What the figures mean is in docs/reporting.md. Knows no storage and no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from reporting.measures import FEWEST_CALLS, CustomerSums, t_quantile
from schemas import definitions as d

if TYPE_CHECKING:
    import duckdb

    from ser_model.classifier import ModelCard

Period = Literal["day", "week", "month"]
Scope = Literal["total", "queue", "team", "agent"]

FEWEST_CALLS_OF_AN_AGENT: Final = {"week": 30, "month": 120}
"""By period; agents have no figures of single days."""

CONFIDENCE: Final = 0.95
REAL: Final = 0.01
"""A change is called real at this false discovery rate over the groups of a period.

At 0.05, two to three of a year's 52 weeks would be called changed where nothing has."""

TELEPHONE: Final = "g711"
"""The condition of a model card's figures that calls are heard under."""

_COLUMNS: Final = {"total": "''", "queue": "coalesce(c.queue, '')", "team": "coalesce(c.team, '')"}
_BEFORE: Final = {"day": "7 days", "week": "7 days", "month": "1 month"}


class ReportingError(Exception):
    """A figure that was asked for cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class ClassifierError:
    """How far the mean index may be off because the classifier is, whatever the number of calls.

    Attributes
    ----------
    model_id
        The model that it was measured of.
    points
        Its standard deviation, in points of the index.
    """

    model_id: str
    points: float

    @classmethod
    def of_card(cls, card: ModelCard) -> ClassifierError | None:
        """Read it off a model's card; None where the card has no calibration error through the telephone.

        The expected calibration error is the share of probability that is, on average, at the wrong emotion. Here all
        of it is taken to be wrong in one direction and for every call alike; which emotion it should have been is
        not known, so a share of 1 would move the index by the root mean square difference of two emotions' points.
        Of several corpora, their mean, weighted by their clips.
        """
        heard = [each for each in card.metrics.get("results", ()) if each["condition"] == TELEPHONE and "ece" in each]
        if not heard:
            return None
        share = float(np.average([each["ece"] for each in heard], weights=[each["n"] for each in heard]))
        points = np.array(
            [
                (d.INDEX_MEAN_WEIGHT + d.INDEX_END_WEIGHT) * d.INDEX_FEELING[label]
                - d.INDEX_NEGATIVE_WEIGHT * (label in d.NEGATIVE_EMOTIONS)
                - d.INDEX_ANGER_WEIGHT * (label == "angry")
                for label in card.labels
            ]
        )
        n = len(points)
        return cls(card.model_id, share * float(np.sqrt(2 * points.var() * n / (n - 1))))

    def points_of(self, model_ids: Iterable[str]) -> float | None:
        """Return its points for calls that these models heard; None where it was not measured of all of them."""
        return self.points if set(model_ids) == {self.model_id} else None


@dataclass(frozen=True, kw_only=True)
class Change:
    """The mean index against that of the period before (of a day: of the same weekday a week before).

    Attributes
    ----------
    points
        Now minus then.
    low, high
        Its 95% interval, clustered by customer over both periods. The classifier's error is in it only where the
        model changed in between: the same model is wrong in the same way on both sides.
    p_value
        As if this were the only group.
    adjusted_p_value
        After Benjamini and Hochberg (1995), over the groups of the period.
    real
        Whether it is at most `REAL`.
    """

    points: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    real: bool


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A group's figures in one period; where it has too few calls, all but its name are None.

    Attributes
    ----------
    start
        First day of the period; weeks begin on Monday.
    group
        Name of the queue, team or agent; None for all calls, or where calls have none.
    suppressed
        It has too few calls to be shown, or would give away by subtraction another one that has.
    days
        Days of the period that have calls of the group.
    calls
        With an index.
    customers
        Who called: the clusters of the intervals. A call without a customer key is a customer of its own.
    mean
        Of the index, 0 to 100.
    low, high
        Its 95% interval: calls drawn by customers, and the classifier's error where its card gives one.
    sampling_low, sampling_high
        The same without the classifier's error: for comparing groups that one model has heard.
    includes_classifier_error
        Whether low and high have it.
    negative_share, escalated_share, recovered_share
        Means over the calls, 0 to 1.
    change
        None where the period before has no such group, or too few calls.
    """

    start: date
    scope: Scope
    group: str | None
    suppressed: bool = False
    days: int | None = None
    calls: int | None = None
    customers: int | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    sampling_low: float | None = None
    sampling_high: float | None = None
    includes_classifier_error: bool | None = None
    negative_share: float | None = None
    escalated_share: float | None = None
    recovered_share: float | None = None
    change: Change | None = None


def aggregate(
    tables: duckdb.DuckDBPyConnection,
    *,
    period: Period,
    scope: Scope,
    first: date,
    last: date,
    errors: Iterable[ClassifierError] = (),
) -> list[Figure]:
    """Compute the figures of every period that has a day between two days, both included.

    Parameters
    ----------
    tables
        DuckDB with the views ``calls``, ``contacts`` and, for agents, ``satisfaction_daily``.
    first, last
        Whole periods are computed, of the published days, also where these lie inside one.
    errors
        What is known of the models' errors.

    Raises
    ------
    ReportingError
        For figures by agent that the settings do not allow, or by agent and day.
    """
    if scope == "agent":
        _check_agents(tables, period)
    bounds = dict(zip(("first", "last"), _needed(first, last, period), strict=True))
    found = tables.execute(_query(period, scope), bounds).fetchall()
    known = {error.model_id: error.points for error in errors}
    rows = [_Row(*(*row[:4], CustomerSums(*row[4:10]), *row[10:])) for row in found]
    fewest = FEWEST_CALLS_OF_AN_AGENT[period] if scope == "agent" else FEWEST_CALLS
    hidden = _hidden(rows, period, fewest)
    by_key = {(row.start, row.group): row for row in rows}
    figures = []
    for row in rows:
        if not _period_of(first, period) <= row.start <= last:
            continue
        before = by_key.get((row.before, row.group))
        comparable = before is not None and not hidden & {(row.start, row.group), (row.before, row.group)}
        figures.append(
            Figure(start=row.start, scope=scope, group=row.group or None, suppressed=True)
            if (row.start, row.group) in hidden
            else _figure(row, before if comparable else None, scope, known)
        )
    return [each for _, group in groupby(figures, lambda each: each.start) for each in _judged(list(group))]


@dataclass(frozen=True)
class _Row:
    """A row of the query's answer; covariance is with the period before."""

    start: date
    before: date
    group: str
    days: int
    sums: CustomerSums
    covariance: float
    negative_share: float | None
    escalated_share: float | None
    recovered_share: float | None
    models: tuple[str, ...]
    versions: tuple[int, ...]


def _query(period: Period, scope: Scope) -> str:
    """Sum by group and customer, as `CustomerSums` has it; covariances are those of the customers' residuals."""
    column = _COLUMNS.get(scope, "coalesce(c.agent_id, '')")
    allowed = "(SELECT call_date FROM satisfaction_daily WHERE scope = 'agent')"
    where = f"AND c.call_date IN {allowed}" if scope == "agent" else ""
    # Values are bound; what is put in is one of the words above.
    return f"""
    WITH chosen AS (
        SELECT date_trunc('{period}', c.call_date)::date AS start, {column} AS "group", c.call_date,
            coalesce(k.customer_key, c.contact_id) AS customer, c.satisfaction_index::double AS index,
            c.negative_share, c.escalated, c.recovered, c.model_id, c.index_version
        FROM calls c LEFT JOIN contacts k ON k.call_date = c.call_date AND k.contact_id = c.contact_id
        WHERE c.satisfaction_index IS NOT NULL {where}
            AND c.call_date BETWEEN $first AND $last
    ),
    sums AS (
        SELECT start, "group", count(DISTINCT call_date) AS days, avg(negative_share) AS negative_share,
            avg(escalated::int) AS escalated_share, avg(recovered::int) AS recovered_share,
            list_sort(list(DISTINCT model_id)) AS models,
            list_sort(list(DISTINCT index_version)) AS versions
        FROM chosen GROUP BY ALL
    ),
    by_customer AS (
        SELECT start, "group", customer, count(*) AS n, sum(index) AS total FROM chosen GROUP BY ALL
    ),
    spread AS (
        SELECT start, "group", sum(n)::bigint AS calls, sum(total) AS total, count(*) AS customers,
            sum(n * n)::double AS n_squares, sum(total * total) AS total_squares, sum(n * total) AS products
        FROM by_customer GROUP BY ALL
    ),
    residuals AS (
        SELECT start, "group", customer, (b.total - n * s.total / calls) / calls AS residual
        FROM by_customer b JOIN spread s USING (start, "group")
    ),
    shared AS (
        SELECT n.start, n."group", sum(n.residual * b.residual) AS covariance
        FROM residuals n JOIN residuals b ON b."group" = n."group" AND b.customer = n.customer
            AND b.start = (n.start - INTERVAL '{_BEFORE[period]}')::date
        GROUP BY ALL
    )
    SELECT start, (start - INTERVAL '{_BEFORE[period]}')::date AS before, "group", days, calls, total, customers,
        n_squares, total_squares, products, coalesce(covariance, 0), negative_share, escalated_share,
        recovered_share, models, versions
    FROM sums JOIN spread USING (start, "group") LEFT JOIN shared USING (start, "group")
    ORDER BY start, "group"
    """  # noqa: S608 - put together of our own names alone


def _check_agents(tables: duckdb.DuckDBPyConnection, period: Period) -> None:
    if period not in FEWEST_CALLS_OF_AN_AGENT:
        raise ReportingError(f"agents have no figures by {period}; ask for week or month")
    row = tables.execute("SELECT count(*) FROM satisfaction_daily WHERE scope = 'agent'").fetchone()
    if row is None or not row[0]:
        raise ReportingError(
            "the published days have no figures by agent, which are off by default; where they are lawful, "
            "CALLMOOD_REPORT_BY_AGENT=true turns them on for the nights to come (docs/privacy.md)"
        )


def _period_of(day: date, period: Period) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _needed(first: date, last: date, period: Period) -> tuple[date, date]:
    """The days to read: those of the period before, too, and around single days the weeks and months that hold them."""
    start = _period_of(first, period)
    if period == "month":
        return _period_of(start - timedelta(days=1), period), _end(last, period)
    if period == "week":
        return start - timedelta(days=7), _end(last, period)
    around = min(_period_of(first, "week"), _period_of(first, "month")) - timedelta(days=7)
    return around, max(_end(last, "week"), _end(last, "month"))


def _end(day: date, period: Period) -> date:
    if period == "week":
        return _period_of(day, period) + timedelta(days=6)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _figure(row: _Row, before: _Row | None, scope: Scope, known: dict[str, float]) -> Figure:
    error = known.get(row.models[0]) if len(row.models) == 1 else None
    sampling, both = row.sums.interval(), row.sums.interval(error or 0.0)
    return Figure(
        start=row.start,
        scope=scope,
        group=row.group or None,
        days=row.days,
        calls=row.sums.calls,
        customers=row.sums.customers,
        mean=row.sums.mean,
        low=both[0],
        high=both[1],
        sampling_low=sampling[0],
        sampling_high=sampling[1],
        includes_classifier_error=error is not None,
        negative_share=row.negative_share,
        escalated_share=row.escalated_share,
        recovered_share=row.recovered_share,
        change=None if before is None else _change(row, before, known),
    )


def _change(row: _Row, before: _Row, known: dict[str, float]) -> Change | None:
    """Compare two periods; None where one has a single customer, or the index has another formula."""
    from scipy.stats import t

    now, then = row.sums.variance, before.sums.variance
    if now is None or then is None or row.versions != before.versions:
        return None
    variance = max(0.0, now + then - 2 * row.covariance)
    if row.models != before.models:
        variance += sum(known.get(model, 0.0) ** 2 for model in {*row.models, *before.models})
    points, spread = row.sums.mean - before.sums.mean, variance**0.5
    # The fewer customers of the two: an interval that is rather too wide than too narrow.
    freedom = min(row.sums.customers, before.sums.customers) - 1
    half = t_quantile(freedom, 1 - CONFIDENCE) * spread
    p_value = float(2 * t.sf(abs(points) / spread, freedom)) if spread else float(points == 0)
    return Change(
        points=points,
        low=points - half,
        high=points + half,
        p_value=p_value,
        adjusted_p_value=p_value,
        real=p_value <= REAL,
    )


def _judged(figures: Sequence[Figure]) -> list[Figure]:
    """Correct the changes of one period for their number."""
    from scipy.stats import false_discovery_control

    changes = [each.change for each in figures if each.change is not None]
    adjusted = iter(false_discovery_control([each.p_value for each in changes], method="bh") if changes else ())
    judged = []
    for figure in figures:
        if figure.change is None:
            judged.append(figure)
        else:
            p_value = float(next(adjusted))
            change = replace(figure.change, adjusted_p_value=p_value, real=p_value <= REAL)
            judged.append(replace(figure, change=change))
    return judged


# Suppression


def _hidden(rows: Sequence[_Row], period: Period, fewest: int) -> set[tuple[date, str]]:
    """Choose what is not shown: small groups, and those that would give a small one away by subtraction.

    Along every line whose sum is published elsewhere (the groups of a period; of days, also a group's week and month),
    what is hidden has to be two groups or more, or none, and at least ``fewest`` calls together: until it is, the
    smallest that is shown is hidden, too.
    """
    calls = {(row.start, row.group): row.sums.calls for row in rows}
    lines: dict[tuple[object, ...], list[tuple[date, str]]] = {}
    for start, group in calls:
        lines.setdefault(("period", start), []).append((start, group))
        if period == "day":
            lines.setdefault(("week", group, _period_of(start, "week")), []).append((start, group))
            lines.setdefault(("month", group, _period_of(start, "month")), []).append((start, group))
    hidden = {key for key, n in calls.items() if n < fewest}
    open_lines = bool(hidden)
    while open_lines:
        open_lines = False
        for line in lines.values():
            gone = [key for key in line if key in hidden]
            days = {start for start, _ in hidden}
            # Of periods that lack a group already, first: another one there costs less than a first one elsewhere.
            shown = sorted(set(line) - hidden, key=lambda key: (key[0] not in days, calls[key], key))
            while shown and gone and (len(gone) < 2 or sum(calls[key] for key in gone) < fewest):
                gone.append(shown.pop(0))
                open_lines = True
            hidden.update(gone)
    return hidden
