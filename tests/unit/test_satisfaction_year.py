"""A simulated year, with fewer calls a day than the one that docs/measurements.md has the figures of."""

from __future__ import annotations

from datetime import timedelta

import pytest
import simulated
from benchmarks.satisfaction_year import DAYS, FALL, MONDAY, judge_fall, judge_weeks


def test_a_fall_of_five_points_in_one_queue_is_found_within_seven_days_and_no_other() -> None:
    found = judge_fall(simulated.simulate(FALL - timedelta(10), 17, 1000, 1, logged_share=0.0))
    assert found.found_on_day is not None
    assert found.others_flagged <= 1  # of 28, each at a false discovery rate of 1%


def test_of_weeks_without_a_change_at_most_one_in_twenty_is_flagged_and_intervals_cover() -> None:
    found = judge_weeks(simulated.simulate(MONDAY, DAYS, 100, 1, logged_share=0.0))
    assert found.weeks == 52
    assert found.flagged <= 2
    assert found.covered == pytest.approx(0.95, abs=0.03)
