"""Figures by day, week and month: what their intervals hold, what is not shown, which changes are called real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import simulated
import statsmodels.api as sm

from reporting.aggregates import ClassifierError, Figure, ReportingError, aggregate
from ser_model.classifier import ModelCard

MONDAY = date(2026, 11, 2)
WEEK = timedelta(7)
CARD = Path(__file__).parents[2] / "ser_model" / "models" / "research"


def tables(calls: pd.DataFrame) -> duckdb.DuckDBPyConnection:
    """DuckDB with calls of columns call_date, queue, customer (None: unknown) and index; others may be given."""
    filled = {
        "contact_id": [f"c{n}" for n in range(len(calls))],
        "team": None,
        "agent_id": None,
        "negative_share": 0.2,
        "escalated": False,
        "recovered": True,
        "model_id": "m",
        "index_version": 1,
    }
    calls = calls.assign(**{name: value for name, value in filled.items() if name not in calls})
    calls = calls.rename(columns={"index": "satisfaction_index"})
    connection = duckdb.connect()
    contacts = calls[["call_date", "contact_id"]].assign(customer_key=calls.customer.astype("string"))
    connection.register("calls", calls.drop(columns="customer").astype({"team": "string", "agent_id": "string"}))
    connection.register("contacts", contacts)
    agents = calls.loc[calls.agent_id.notna(), ["call_date"]].assign(scope="agent")
    connection.register("satisfaction_daily", agents)
    return connection


def figures(calls: pd.DataFrame, scope: str = "queue", period: str = "week", **options: Any) -> list[Figure]:
    bounds = {"first": calls.call_date.min(), "last": calls.call_date.max()} | options
    return aggregate(tables(calls), period=period, scope=scope, **bounds)  # type: ignore[arg-type]


def some_calls(counts: Mapping[tuple[date, str], int]) -> pd.DataFrame:
    days, queues = zip(*[key for key, n in counts.items() for _ in range(n)], strict=True)
    index = np.random.default_rng(0).normal(55, 8, len(days))
    return pd.DataFrame({"call_date": days, "queue": queues, "customer": None, "index": index})


def replicas(bias: float = 0.0, weeks: int = 1) -> pd.DataFrame:
    """Eight hundred queues of mean 55, each of 40 customers who call once to thrice a week and differ."""
    rng = np.random.default_rng(7)
    n_queues, n_customers = 800, 40
    queue = np.repeat(np.arange(n_queues), n_customers)
    temper = rng.normal(0, 6, queue.size)
    error = rng.normal(0, bias, n_queues)[queue] if bias else np.zeros(queue.size)
    parts = []
    for week in range(weeks):
        calls = np.repeat(np.arange(queue.size), rng.integers(1, 4, queue.size))
        index = 55 + (temper + error)[calls] + rng.normal(0, 10, calls.size)
        part = {"queue": queue[calls].astype(str), "customer": calls.astype(str), "index": index}
        parts.append(pd.DataFrame(part).assign(call_date=MONDAY + week * WEEK))
    return pd.concat(parts, ignore_index=True)


def share_covering(found: list[Figure], low: str, high: str) -> float:
    return float(np.mean([getattr(each, low) <= 55 <= getattr(each, high) for each in found]))


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    assert share_covering(figures(replicas()), "low", "high") == pytest.approx(0.95, abs=0.02)


def test_with_the_classifiers_error_it_still_does_and_without_it_does_not() -> None:
    found = figures(replicas(bias=3.9), errors=[ClassifierError("m", 3.9)])
    assert all(each.includes_classifier_error for each in found)
    assert share_covering(found, "low", "high") == pytest.approx(0.95, abs=0.02)
    assert share_covering(found, "sampling_low", "sampling_high") < 0.7


def test_the_error_of_another_model_is_not_put_in() -> None:
    found = figures(some_calls({(MONDAY, "A"): 9}), errors=[ClassifierError("another", 3.9)])[0]
    assert (found.low, found.includes_classifier_error) == (found.sampling_low, False)


def test_the_interval_of_a_change_covers_none_as_often_as_it_says_although_customers_call_in_both_weeks() -> None:
    found = [each.change for each in figures(replicas(weeks=2), first=MONDAY + WEEK)]
    assert len(found) == 800
    covered = [each.low <= 0 <= each.high for each in found if each is not None]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert not any(each.real for each in found if each is not None)


def test_the_spread_is_that_of_a_regression_clustered_by_customer() -> None:
    calls = replicas().query("queue == '0'")
    fit = sm.OLS(calls["index"], np.ones(len(calls))).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(calls.customer)[0]}, use_t=True
    )
    found = figures(calls)[0]
    assert (found.mean, found.low, found.high) == pytest.approx((fit.params.iloc[0], *fit.conf_int().iloc[0]))


def test_calls_without_a_customer_are_customers_of_their_own() -> None:
    assert figures(some_calls({(MONDAY, "A"): 7}))[0].customers == 7


def test_a_model_that_changed_widens_the_change_by_both_models_errors() -> None:
    calls = some_calls({(MONDAY, "A"): 50, (MONDAY + WEEK, "A"): 50})
    calls["model_id"] = np.where(calls.call_date == MONDAY, "old", "new")
    errors = [ClassifierError("old", 3.0), ClassifierError("new", 4.0)]
    same = figures(calls.assign(model_id="new"), errors=errors)[1].change
    other = figures(calls, errors=errors)[1].change
    assert same is not None
    assert other is not None
    widths = [(each.high - each.low) / 2 / 2.0096 for each in (same, other)]  # Student's t with 49
    assert widths[1] ** 2 - widths[0] ** 2 == pytest.approx(3.0**2 + 4.0**2, rel=1e-3)


def test_another_formula_of_the_index_is_not_compared() -> None:
    calls = some_calls({(MONDAY, "A"): 50, (MONDAY + WEEK, "A"): 50})
    calls["index_version"] = np.where(calls.call_date == MONDAY, 1, 2)
    assert figures(calls)[1].change is None


def test_changes_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(3)
    counts = {(MONDAY + week * WEEK, f"Q{n}"): 60 for week in (0, 1) for n in range(20)}
    calls = some_calls(counts)
    calls.loc[(calls.queue == "Q3") & (calls.call_date > MONDAY), "index"] -= 12
    calls["index"] += rng.normal(0, 1, len(calls))
    changes = {each.group: each.change for each in figures(calls, first=MONDAY + WEEK)}
    assert [name for name, change in changes.items() if change and change.real] == ["Q3"]
    assert all(change and change.adjusted_p_value >= change.p_value for change in changes.values())


A, B, C = (MONDAY, "A"), (MONDAY, "B"), (MONDAY, "C")


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        ({A: 9, B: 9, C: 9}, ""),
        ({A: 4, B: 9, C: 20}, "AB"),  # B, or A would be what is missing in the total
        ({A: 3, B: 4, C: 20}, "AB"),
        ({A: 1, B: 2, C: 20}, "ABC"),  # together under five: the next one, too
        ({A: 4, B: 5}, "AB"),
        ({A: 5}, ""),
        ({A: 4}, "A"),
    ],
)
def test_small_groups_are_not_shown_and_cannot_be_had_by_subtraction(
    counts: dict[tuple[date, str], int], hidden: str
) -> None:
    found = figures(some_calls(counts))
    assert "".join(each.group or "" for each in found if each.suppressed) == hidden
    for each in found:
        assert (each.calls, each.mean) == (None, None) if each.suppressed else each.calls == counts[MONDAY, each.group]


def test_a_small_day_takes_another_day_of_its_week_with_it() -> None:
    days = [MONDAY + timedelta(n) for n in range(5)]
    counts = dict(
        zip([(day, queue) for day in days for queue in "AB"], [3, 30, 9, 31, 8, 32, 9, 33, 9, 34], strict=True)
    )
    found = figures(some_calls(counts), period="day")
    hidden = {(each.start.weekday(), each.group) for each in found if each.suppressed}
    assert hidden == {(0, "A"), (0, "B"), (2, "A"), (2, "B")}
    one_day = figures(some_calls(counts), period="day", first=days[2], last=days[2])
    assert [each.suppressed for each in one_day] == [True, True]


def test_what_is_not_shown_is_not_compared() -> None:
    counts = {(MONDAY, "A"): 4, (MONDAY, "B"): 40, (MONDAY + WEEK, "A"): 50, (MONDAY + WEEK, "B"): 50}
    assert [each.change for each in figures(some_calls(counts), first=MONDAY + WEEK)] == [None, None]


@pytest.mark.parametrize(
    ("period", "first", "starts"),
    [
        ("day", date(2026, 11, 1), ["2026-11-01", "2026-11-02"]),
        ("week", date(2026, 11, 1), ["2026-10-26", "2026-11-02"]),
        ("month", date(2026, 11, 1), ["2026-11-01"]),
        ("month", date(2026, 10, 31), ["2026-10-01", "2026-11-01"]),
    ],
)
def test_periods(period: str, first: date, starts: list[str]) -> None:
    calls = some_calls({(date(2026, 10, 26), "A"): 9, (date(2026, 11, 1), "A"): 9, (date(2026, 11, 2), "A"): 9})
    found = figures(calls, "total", period, first=first, last=date(2026, 11, 2))
    assert [each.start.isoformat() for each in found] == starts
    assert all(each.group is None for each in found)


def test_agents_need_thirty_calls_a_week_and_days_that_were_published_with_agents() -> None:
    calls = some_calls({(MONDAY, "A"): 29, (MONDAY, "B"): 31, (MONDAY, "C"): 60}).assign(team=None)
    with pytest.raises(ReportingError, match="CALLMOOD_REPORT_BY_AGENT"):
        figures(calls, "agent")
    with pytest.raises(ReportingError, match="week or month"):
        figures(calls, "agent", "day")
    found = figures(calls.assign(agent_id=calls.queue), "agent")
    assert [(each.group, each.suppressed) for each in found] == [("A", True), ("B", True), ("C", False)]


def test_the_classifiers_error_is_read_off_its_card() -> None:
    card = ModelCard.load(CARD)
    error = ClassifierError.of_card(card)
    assert error is not None
    heard = [each for each in card.metrics["results"] if each["condition"] == "g711"]
    shares = sum(each["ece"] * each["n"] for each in heard) / sum(each["n"] for each in heard)
    # Of the shipped model's eight emotions: 0, 16, 34, 6, -40, -60, -38 and -38 points.
    points = np.array([0, 16, 34, 6, -40, -60, -38, -38])
    pairs = [(one - other) ** 2 for k, one in enumerate(points) for j, other in enumerate(points) if k != j]
    assert error.model_id == card.model_id
    assert error.points == pytest.approx(shares * np.sqrt(np.mean(pairs)))


def test_groups_are_in_the_order_of_their_names() -> None:
    """Nothing is ranked."""
    month = simulated.register(simulated.simulate(MONDAY, 7, 300, 5))
    found = aggregate(month, period="week", scope="team", first=MONDAY, last=MONDAY)
    assert [each.group for each in found] == sorted(simulated.TEAMS)
