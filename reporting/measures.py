"""Means that a report shows: their intervals, which of them are of too few calls, and what is usual of a day.

Numbers in, numbers out: knows nothing of tables, words or pages.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
    """The mean index of some calls with its 95% intervals, 0 to 100; None where there is none.

    Attributes
    ----------
    calls, mean
        How many calls, and their mean.
    low, high
        As if the customers were drawn from many like them (`CustomerSums.interval`): for comparing calls that one model
        heard. The table satisfaction_daily has these of a day.
    level_low, level_high
        The same with what the classifier may be off for all calls alike: for believing a level. None where no such
        error is known.
    """

    calls: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    level_low: float | None = None
    level_high: float | None = None

    @classmethod
    def of_customers(cls, sums: CustomerSums, error: float | None = None) -> Mean:
        """Compute it from the customers' sums and, where it is known, the classifier's error in points."""
        if not sums.calls:
            return cls(0, None)
        level = (None, None) if error is None else sums.interval(error)
        return cls(sums.calls, sums.mean, *sums.interval(), *level)

    @classmethod
    def of(cls, indices: Sequence[float], customers: Sequence[Hashable], error: float | None = None) -> Mean:
        """Compute it from the calls' indices and who made each."""
        return cls.of_customers(CustomerSums.of(indices, customers), error)


NO_CALLS: Final = Mean(0, None)


@dataclass(frozen=True)
class CustomerSums:
    """Sums over the customers of some calls, of how many calls each made (n) and the sum of their indices (total).

    Attributes
    ----------
    calls, total, customers
        The sum of n, the sum of total, and how many customers there are.
    n_squares, total_squares, products
        The sums of n n, of total total and of n total.
    """

    calls: int
    total: float
    customers: int
    n_squares: float
    total_squares: float
    products: float

    @classmethod
    def of(cls, indices: Sequence[float], customers: Sequence[Hashable]) -> CustomerSums:
        """Sum up calls by their indices and who made each."""
        totals: dict[Hashable, list[float]] = {}
        for index, customer in zip(indices, customers, strict=True):
            totals.setdefault(customer, []).append(index)
        by_customer = [(len(made), sum(made)) for made in totals.values()]
        return cls(
            calls=len(indices),
            total=sum(indices),
            customers=len(by_customer),
            n_squares=sum(n * n for n, _ in by_customer),
            total_squares=sum(total * total for _, total in by_customer),
            products=sum(n * total for n, total in by_customer),
        )

    @property
    def mean(self) -> float:
        """The mean index of the calls; there has to be one."""
        return self.total / self.calls

    @property
    def variance(self) -> float | None:
        """Of the mean, clustered by customer: that of the sums of residuals (Liang, Zeger 1986); None of one customer.

        A customer's residual is (total - n mean) / calls.
        """
        if self.customers < 2:
            return None
        mean = self.mean
        squares = self.total_squares - 2 * mean * self.products + mean**2 * self.n_squares
        return max(squares, 0.0) / self.calls**2 * self.customers / (self.customers - 1)

    def interval(self, error: float = 0.0) -> tuple[float | None, float | None]:
        """Compute the 95% interval of the mean, within 0 to 100: Student's t over customers; None of one customer.

        Parameters
        ----------
        error
            A standard deviation that all calls share, in points.
        """
        variance = self.variance
        if variance is None:
            return None, None
        half = t_quantile(self.customers - 1, 1 - DAILY_CONFIDENCE) * sqrt(variance + error**2)
        return max(0.0, self.mean - half), min(100.0, self.mean + half)


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
