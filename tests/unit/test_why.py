"""Why satisfaction moved, what waiting costs, who recovers: exact where it says so, and right on planted effects."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
import simulated
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from reporting import why
from reporting.aggregates import ReportingError
from reporting.why import decompose, price_of_waiting, recovery, why_it_moved

FIRST = date(2026, 10, 5)
LAST = FIRST + timedelta(34)
FALL = date(2026, 11, 2)


@pytest.fixture(scope="module")
def tables() -> duckdb.DuckDBPyConnection:
    plants = simulated.Plants(fall_queue="Returns", fall_from=FALL, fall_points=-5.0)
    return simulated.register(simulated.simulate(FIRST, 35, 400, 2, plants))


@given(
    st.integers(1, 5).flatmap(
        lambda queues: st.tuples(
            st_numpy.arrays(np.int64, (2, queues, 3), elements=st.integers(0, 50)),
            st_numpy.arrays(np.float64, (2, queues, 3), elements=st.floats(0, 100)),
        )
    )
)
def test_the_parts_sum_to_the_change(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    counts, means = drawn
    counts[:, 0, 0] += 1  # each period has a call
    found = decompose(counts.astype(float), counts * means, [str(n) for n in range(counts.shape[1])])
    overall = (counts * means).sum(axis=(1, 2)) / counts.sum(axis=(1, 2))
    assert found.change == pytest.approx(overall[1] - overall[0], abs=1e-9)
    assert found.within + found.mix + found.wait == pytest.approx(found.change, abs=1e-9)


# Calls and means of two queues at short and long waits, in two weeks: what they come to.
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (([[10, 10], [10, 10]], [[60, 50], [60, 50]]), ([[10, 10], [10, 10]], [[60, 50], [60, 50]]), (0, 0, 0)),
        (([[10, 10], [10, 10]], [[60, 50], [60, 50]]), ([[10, 10], [10, 10]], [[56, 46], [60, 50]]), (-2, 0, 0)),
        (([[10, 0], [10, 0]], [[60, 0], [40, 0]]), ([[30, 0], [10, 0]], [[60, 0], [40, 0]]), (0, 5, 0)),
        (([[20, 0], [10, 10]], [[60, 50], [60, 50]]), ([[0, 20], [10, 10]], [[60, 50], [60, 50]]), (0, 0, -5)),
        # A queue that is new, and one that is gone: all of it is mix.
        (([[20, 0], [0, 0]], [[60, 0], [0, 0]]), ([[0, 0], [20, 0]], [[0, 0], [40, 0]]), (0, -20, 0)),
    ],
)
def test_each_part_is_what_its_name_says(before: tuple, after: tuple, expected: tuple[float, ...]) -> None:
    counts = np.array([before[0], after[0]], dtype=float)
    found = decompose(counts, counts * np.array([before[1], after[1]]), ["A", "B"])
    assert (found.within, found.mix, found.wait) == pytest.approx(expected, abs=1e-9)


def test_a_planted_fall_is_found_within_its_queue(tables: duckdb.DuckDBPyConnection) -> None:
    found = why_it_moved(tables, FALL + timedelta(3))
    assert found.within + found.mix + found.wait == pytest.approx(found.change, abs=1e-9)
    assert {part.queue for part in found.queues} <= {*simulated.QUEUES, why.OTHERS}
    worst = min(found.queues, key=lambda part: part.within)
    assert worst.queue == "Returns"
    assert worst.within == pytest.approx(0.2 * -5.0, abs=0.3)  # a fifth of the calls fell by five points
    assert abs(found.mix) < 0.2


def test_small_queues_are_one(tables: duckdb.DuckDBPyConnection) -> None:
    names = [part.queue for part in why_it_moved(tables, FIRST + timedelta(7)).queues]
    assert all(part.calls >= 5 for part in why_it_moved(tables, FIRST + timedelta(7)).queues)
    assert names == sorted(names)


def test_weeks_without_calls_are_refused(tables: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ReportingError, match="under 5 calls"):
        why_it_moved(tables, FIRST)


def test_the_price_of_waiting_is_the_planted_one(tables: duckdb.DuckDBPyConnection) -> None:
    found = price_of_waiting(tables, FIRST, LAST)
    prices = {price.of: price for price in found.prices}
    planted = {"a minute of wait": -1.5, "a hold": -6.0, "a minute on hold": 0.0, "a transfer": -5.0}
    assert prices.keys() == planted.keys()
    for of, points in planted.items():
        # What leaves the scale at 0 and 100 takes a little of every price.
        assert prices[of].low - 0.2 <= points <= prices[of].high + 0.2, of
    assert prices["a hold"].high < 0 < prices["a minute on hold"].high
    means = [band.mean for band in found.by_wait if band.mean is not None]
    assert len(means) == 5
    assert means == sorted(means, reverse=True)


def test_a_price_needs_calls_enough(tables: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ReportingError, match="take a longer time"):
        price_of_waiting(tables, LAST + timedelta(1), LAST + timedelta(9))


def test_the_team_that_wins_customers_back_stands_out(tables: duckdb.DuckDBPyConnection) -> None:
    found = recovery(tables, FIRST, LAST)
    assert [each.group for each in found] == sorted(simulated.TEAMS)
    assert [each.group for each in found if each.low > 0] == ["North"]
    assert sum(each.calls * each.difference for each in found) == pytest.approx(0, abs=1.0)


def test_queues_that_satisfy_more_win_more_back(tables: duckdb.DuckDBPyConnection) -> None:
    found = {each.group: each.difference for each in recovery(tables, FIRST, LAST, by="queue")}
    assert found["Sales"] > 0 > found["Billing"]
