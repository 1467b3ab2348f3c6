"""Means that a report shows: their intervals, which of them are of too few calls, and what is usual of a day.

Numbers in, numbers out: knows nothing of tables, words or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Final, TypeVar

from schemas.definitions import DAILY_CONFIDENCE

FEWEST_CALLS: Final = 5
"""Figures of how customers felt are shown of groups of at least so many calls."""

FEWEST_DAYS: Final = 7
"""What is usual is said from so many days on."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Mean:
    """The mean index of some calls, and the 95% interval of the mean; None where there is none.

    The interval is Student's t over calls, within 0 to 100, as in the table satisfaction_daily.
    """

    calls: int
    mean: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of_sums(cls, calls: int, total: float, squares: float) -> Mean:
        """Compute it from the number of calls, the sum of their indices and the sum of the squares."""
        if not calls:
            return cls(0, None)
        mean = total / calls
        if calls == 1:
            return cls(1, mean)
        variance = max(squares - total * total / calls, 0.0) / (calls - 1)
        half = t_quantile(calls - 1, 1 - DAILY_CONFIDENCE) * sqrt(variance / calls)
        return cls(calls, mean, max(mean - half, 0.0), min(mean + half, 100.0))

    @classmethod
    def of(cls, indices: Sequence[float]) -> Mean:
        """Compute it from the calls' indices."""
        return cls.of_sums(len(indices), sum(indices), sum(index * index for index in indices))


@dataclass(frozen=True)
class Usual:
    """Where a day's mean is expected by the days before: a prediction interval for one more such day.

    Attributes
    ----------
    days
        How many days it is of.
    mean, low, high
        Their mean, and the interval.
    """

    days: int
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, means: Sequence[float], comparisons: int = 1) -> Usual | None:
        """Compute it from the means of days; None of fewer than `FEWEST_DAYS`.

        It is mean +- t s sqrt(1 + 1 / n) with the standard deviation s between the n days, which holds both what
        differs from day to day and the chance of which calls a day has. Days are taken as alike and independent.

        Parameters
        ----------
        means
            Each of a day with at least `FEWEST_CALLS` calls.
        comparisons
            How many such intervals are looked at: with more they are wider (Bonferroni), so that of days on which
            nothing changed at most 5% have any group outside.
        """
        if len(means) < FEWEST_DAYS:
            return None
        mean, days = fmean(means), len(means)
        half = t_quantile(days - 1, (1 - DAILY_CONFIDENCE) / comparisons) * stdev(means) * sqrt(1 + 1 / days)
        return cls(days, mean, max(mean - half, 0.0), min(mean + half, 100.0))


def too_few(calls: Mapping[Key, int]) -> frozenset[Key]:
    """Of groups that make up a whole, those whose figures must not be shown.

    Groups of fewer than `FEWEST_CALLS` calls; and where those together are fewer, too, the next smallest groups, since
    the whole less all others would tell theirs. A group without a call has nothing to hide.

    Parameters
    ----------
    calls
        Of each group, how many calls its figures are of.
    """
    by_size = sorted((group for group in calls if calls[group]), key=lambda group: (calls[group], str(group)))
    hidden = [group for group in by_size if calls[group] < FEWEST_CALLS]
    for group in by_size[len(hidden) :]:
        if not 0 < sum(calls[each] for each in hidden) < FEWEST_CALLS:
            break
        hidden.append(group)
    return frozenset(hidden)


def t_quantile(degrees_of_freedom: int, outside: float) -> float:
    """Of Student's t, the value that the share ``outside`` lies beyond, on both sides together."""
    # SciPy takes a good part of a second to import, and most of what imports this module needs no quantile.
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 1 - outside / 2))
