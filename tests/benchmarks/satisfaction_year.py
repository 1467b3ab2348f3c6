"""A simulated year: is a planted fall found, are quiet weeks left alone, do intervals cover, is a calibration right?

``python -m tests.benchmarks.satisfaction_year`` prints the figures of docs/measurements.md;
tests/unit/test_satisfaction_year.py looks at fewer calls. What is true is what tests/simulated.py plants.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.append(str(Path(__file__).resolve().parent.parent))

import simulated

from jobs.calibrate_satisfaction import calibrate, in_words
from reporting.aggregates import aggregate

MONDAY = date(2025, 1, 6)
DAYS = 371
"""53 weeks: 52 that have one before."""
FALL = MONDAY + timedelta(200)
QUEUE = "Returns"
POINTS = -5.0


@dataclass(frozen=True)
class Weeks:
    """What is said of weeks in which nothing changes.

    Attributes
    ----------
    weeks, flagged
        Weeks that have one before, and of these the ones with any queue called changed.
    covered
        Share of the weekly intervals of the queues that hold the queue's mean of all weeks.
    """

    weeks: int
    flagged: int
    covered: float


@dataclass(frozen=True)
class Fall:
    """What is said in the seven days from the fall on.

    Attributes
    ----------
    found_on_day
        The first day on which the queue's fall was called real, 1 for that of the fall itself; None if none was.
    others_flagged
        Queues that did not fall and were called changed.
    """

    found_on_day: int | None
    others_flagged: int


def with_fall(tables: simulated.Tables) -> simulated.Tables:
    """The same year, in which one queue falls by five points from a day on."""
    calls = tables["calls"]
    fallen = pc.and_(pc.equal(calls["queue"], QUEUE), pc.greater_equal(calls["call_date"], pa.scalar(FALL)))
    lower = pc.max_element_wise(pc.add(calls["satisfaction_index"], pa.scalar(POINTS, pa.float32())), 0.0)
    place = calls.schema.get_field_index("satisfaction_index")
    index = pc.if_else(fallen, lower.cast(pa.float32()), calls["satisfaction_index"])
    return {**tables, "calls": calls.set_column(place, calls.schema.field(place), index)}


def judge_weeks(tables: simulated.Tables) -> Weeks:
    """Look at every week of the tables."""
    days = tables["runs"]["call_date"]
    first, last = pc.min(days).as_py(), pc.max(days).as_py()
    found = aggregate(simulated.register(tables), period="week", scope="queue", first=first, last=last)
    flagged = {each.start for each in found if each.change is not None and each.change.real}
    covered = []
    for queue in {each.group for each in found}:
        shown = [each for each in found if each.group == queue and each.mean is not None]
        truth = np.average([each.mean or 0.0 for each in shown], weights=[each.calls or 0 for each in shown])
        covered += [(each.sampling_low or 0.0) <= truth <= (each.sampling_high or 0.0) for each in shown]
    return Weeks(len({each.start for each in found}) - 1, len(flagged), float(np.mean(covered)))


def judge_fall(tables: simulated.Tables) -> Fall:
    """Look at the seven days from the fall on, each against the same weekday of the week before."""
    connection = simulated.register(with_fall(tables))
    found_on, others = None, set()
    for number in range(1, 8):
        day = FALL + timedelta(number - 1)
        for each in aggregate(connection, period="day", scope="queue", first=day, last=day):
            if each.change is not None and each.change.real:
                if each.group != QUEUE:
                    others.add(each.group)
                elif found_on is None and each.change.points < 0:
                    found_on = number
    return Fall(found_on, len(others))


def main() -> None:
    """Print the figures of as many seeds as are given as arguments, by default of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[1], help="of the simulated years, 1 by default")
    for seed in parser.parse_args().seeds:
        tables = simulated.simulate(MONDAY, DAYS, 1000, seed, logged_share=0.0)
        print(f"seed {seed}: {judge_weeks(tables)} {judge_fall(tables)}", flush=True)
        recent = pc.field("call_date") >= pa.scalar(MONDAY + timedelta(DAYS - 60))
        print(in_words(calibrate(tables["calls"].filter(recent), tables["contacts"].filter(recent))), flush=True)


if __name__ == "__main__":
    main()
