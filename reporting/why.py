"""Why satisfaction moved from one week to the next, what waiting costs, and who is won back.

Goes by ``calls`` and ``contacts`` as DuckDB has them, as ``reporting.aggregates`` does. Says what goes with what: a
queue whose waits grew while its index fell need not have fallen because of them. docs/reporting.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from reporting.aggregates import ReportingError
from reporting.measures import FEWEST_CALLS
from schemas import definitions as d

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

WAIT_EDGES_S: Final = (30.0, 60.0, 120.0, 300.0)
WAITS: Final = ("under 30 s", "30 s to 1 min", "1 to 2 min", "2 to 5 min", "5 min and more", "in no queue")
OTHERS: Final = "other queues"
Z: Final = 1.959963984540054
"""Standard deviations on each side of a 95% interval."""

Array = npt.NDArray[np.float64]

_CALLS = """
    SELECT c.call_date, coalesce(c.queue, 'no queue') AS queue, coalesce(c.team, 'no team') AS team,
        coalesce(k.customer_key, c.contact_id) AS customer, c.satisfaction_index::double AS index,
        k.queue_wait_s::double AS wait_s, coalesce(k.hold_s, 0)::double AS hold_s,
        coalesce(k.hold_count, 0) > 0 AS held,
        k.previous_contact_id IS NOT NULL AS transferred, coalesce(k.local_hour, hour(c.started_at)) AS hour,
        c.mood_start::double AS mood_start, c.recovered
    FROM calls c LEFT JOIN contacts k ON k.call_date = c.call_date AND k.contact_id = c.contact_id
    WHERE c.call_date BETWEEN $first AND $last AND c.satisfaction_index IS NOT NULL
"""


# Why it moved


@dataclass(frozen=True)
class Part:
    """What one queue adds to the change of the mean index, in points.

    Attributes
    ----------
    within
        Calls of the queue that waited equally long were judged differently.
    mix
        The queue had another share of the calls.
    wait
        The queue's calls waited longer or shorter.
    calls_before, calls
        With an index, in the two weeks.
    """

    queue: str
    within: float
    mix: float
    wait: float
    calls_before: int
    calls: int


@dataclass(frozen=True)
class Decomposition:
    """A change of the mean index, split: within + mix + wait is the change, exactly.

    Attributes
    ----------
    before, after
        The mean indices.
    queues
        The parts of each queue; small queues are one.
    """

    before: float
    after: float
    queues: tuple[Part, ...]

    @property
    def change(self) -> float:
        """After - before."""
        return self.after - self.before

    @property
    def within(self) -> float:
        """The change within queues, at equal waits."""
        return sum(part.within for part in self.queues)

    @property
    def mix(self) -> float:
        """The change by the mix of queues."""
        return sum(part.mix for part in self.queues)

    @property
    def wait(self) -> float:
        """The change by the mix of waits within queues."""
        return sum(part.wait for part in self.queues)


def decompose(counts: Array, totals: Array, queues: Sequence[str]) -> Decomposition:
    """Split the change of a mean between two periods.

    Kitagawa's symmetric decomposition (1955), once over queues and, within each, once over waits: a share's change
    weighs by the mean of both periods' means (less the overall one), a mean's change by the mean of both shares. A
    queue or wait that one period lacks has there the mean that it has in the other, so that all of it is mix.

    Parameters
    ----------
    counts, totals
        Calls, and the sum of their index, of each period, queue and wait, ``[shape=(2, queues, waits)]``; every
        period has calls.
    queues
        Names.
    """
    by_queue, periods = counts.sum(axis=2), counts.sum(axis=(1, 2))
    overall = totals.sum(axis=(1, 2)) / periods
    means = _filled(totals.sum(axis=2), by_queue)
    shares = by_queue / periods[:, None]
    mix = (shares[1] - shares[0]) * (means.mean(axis=0) - overall.mean())
    wait_means = _filled(totals, counts)
    # A queue that one period lacks has there the waits of the other one, so that its mean does not change.
    waits = _filled(counts, np.broadcast_to(by_queue[:, :, None], counts.shape))
    weight = shares.mean(axis=0)
    wait = weight * ((waits[1] - waits[0]) * wait_means.mean(axis=0)).sum(axis=1)
    within = weight * (waits.mean(axis=0) * (wait_means[1] - wait_means[0])).sum(axis=1)
    parts = tuple(
        Part(name, float(within[n]), float(mix[n]), float(wait[n]), int(by_queue[0, n]), int(by_queue[1, n]))
        for n, name in enumerate(queues)
    )
    return Decomposition(float(overall[0]), float(overall[1]), parts)


def _filled(sums: Array, counts: Array) -> Array:
    """Means of both periods; where one has nothing, the other's, and where both have not, 0."""
    means = np.divide(sums, counts, out=np.zeros(sums.shape), where=counts > 0)
    filled: Array = np.where(counts > 0, means, means[::-1])
    return filled


def why_it_moved(tables: duckdb.DuckDBPyConnection, week: date) -> Decomposition:
    """Split the change from the week before to the week of a day.

    Raises
    ------
    ReportingError
        Where one of the two has under `FEWEST_CALLS` calls.
    """
    monday = week - timedelta(days=week.weekday())
    calls = _calls(tables, monday - timedelta(days=7), monday + timedelta(days=6))
    calls["after"] = (calls.call_date.dt.date >= monday).astype(int)
    if min((calls.after == 0).sum(), (calls.after == 1).sum()) < FEWEST_CALLS:
        raise ReportingError(
            f"the week of {monday} or the one before has under {FEWEST_CALLS} calls with an index; take another week"
        )
    calls["queue"] = _with_others(calls)
    queues = sorted(calls.queue.unique())
    counts, totals = np.zeros((2, 2, len(queues), len(WAITS)))
    at = (calls.after.to_numpy(), calls.queue.map({name: n for n, name in enumerate(queues)}).to_numpy(), _waits(calls))
    np.add.at(counts, at, 1.0)
    np.add.at(totals, at, calls["index"].to_numpy())
    return decompose(counts, totals, queues)


def _with_others(calls: pd.DataFrame) -> pd.Series[str]:
    """Put queues together that have too few calls in either week to be shown, until these are enough."""
    by_queue = calls.groupby(["queue", "after"]).size().unstack(fill_value=0)
    # A queue that one of the weeks lacks altogether gives nobody's calls away there.
    smallest_first = by_queue.where(by_queue > 0).min(axis=1).sort_values(kind="stable")
    others: list[str] = []
    for queue, fewest in smallest_first.items():
        together = by_queue.loc[others].sum()
        enough = ((together >= FEWEST_CALLS) | (together == 0)).all()
        if fewest >= FEWEST_CALLS and enough:
            break
        others.append(str(queue))
    return calls.queue.where(~calls.queue.isin(others), OTHERS)


def _waits(calls: pd.DataFrame) -> npt.NDArray[np.intp]:
    wait_s = calls.wait_s.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isnan(wait_s), len(WAITS) - 1, np.digitize(wait_s, WAIT_EDGES_S))


# The price of waiting


@dataclass(frozen=True)
class Price:
    """What something costs, in points of the index, at equal queue and hour, with its 95% interval.

    Attributes
    ----------
    of
        A minute in the queue, a hold, a minute on hold, or a transfer.
    """

    of: str
    points: float
    low: float
    high: float


@dataclass(frozen=True)
class WaitBand:
    """The mean index of the calls that waited so long, with its 95% interval; None where they are under 5."""

    wait: str
    calls: int | None
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PriceOfWaiting:
    """Prices by one regression, and the means by wait that it is to be held against."""

    calls: int
    prices: tuple[Price, ...]
    by_wait: tuple[WaitBand, ...]


def price_of_waiting(tables: duckdb.DuckDBPyConnection, first: date, last: date) -> PriceOfWaiting:
    """Measure what waits, holds and transfers go with.

    Least squares of the index on minutes of wait, whether there was a hold, minutes on hold, and whether the call
    continues another one, with a level for every queue and hour; intervals clustered by customer. Calls in no
    queue have no wait and are left out.

    Raises
    ------
    ReportingError
        Where there are too few calls, or none of them differ in one of these.
    """
    import pandas as pd
    import statsmodels.api as sm

    calls = _calls(tables, first, last).dropna(subset="wait_s")
    causes = pd.DataFrame(
        {
            "a minute of wait": calls.wait_s / 60,
            "a hold": calls.held.astype(float),
            "a minute on hold": calls.hold_s / 60,
            "a transfer": calls.transferred.astype(float),
        }
    )
    causes = causes.loc[:, causes.std() > 0]
    levels = pd.get_dummies(calls[["queue", "hour"]].astype(str), drop_first=True, dtype=float)
    design = sm.add_constant(pd.concat([causes, levels], axis=1))
    if len(calls) < 10 * design.shape[1] or causes.empty:
        raise ReportingError(
            f"found {len(calls)} calls with a wait from {first} to {last}, with {design.shape[1]} figures to fit; "
            "expected ten times as many that do not all wait alike; take a longer time"
        )
    customers = pd.factorize(calls.customer)[0]
    fit = sm.OLS(calls["index"], design).fit(cov_type="cluster", cov_kwds={"groups": customers})
    intervals = fit.conf_int()
    return PriceOfWaiting(
        len(calls),
        tuple(Price(str(name), float(fit.params[name]), *map(float, intervals.loc[name])) for name in causes),
        _by_wait(calls, customers),
    )


def _by_wait(calls: pd.DataFrame, customers: npt.NDArray[np.intp]) -> tuple[WaitBand, ...]:
    index, waits = calls["index"].to_numpy(), _waits(calls)
    counts = np.bincount(waits, minlength=len(WAITS))[:-1]
    hidden = set(np.flatnonzero((counts > 0) & (counts < FEWEST_CALLS)).tolist())
    # One hidden band would follow from the number of all calls.
    for number in sorted(set(np.flatnonzero(counts).tolist()) - hidden, key=lambda each: int(counts[each])):
        if not hidden or (len(hidden) > 1 and counts[sorted(hidden)].sum() >= FEWEST_CALLS):
            break
        hidden.add(number)
    bands = []
    for number, n in enumerate(counts.tolist()):
        if number in hidden:
            bands.append(WaitBand(WAITS[number], None, None, None, None))
        elif n:
            inside = waits == number
            mean = float(index[inside].mean())
            half = Z * _spread_of_sum(index[inside] - mean, customers[inside]) / n
            bands.append(WaitBand(WAITS[number], n, mean, mean - half, mean + half))
    return tuple(bands)


# Recovery


@dataclass(frozen=True)
class Recovery:
    """Of a group's calls that began badly: how many ended well, and how many were to be expected to.

    Attributes
    ----------
    calls
        That began badly (mood_start at most `schemas.definitions.RECOVERED_MOOD_START`).
    observed, expected
        Shares that recovered, 0 to 1; expected is what calls of the same queue, hour and start do.
    low, high
        The 95% interval of observed - expected, clustered by customer.
    """

    group: str
    calls: int
    observed: float
    expected: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Observed - expected."""
        return self.observed - self.expected


def recovery(
    tables: duckdb.DuckDBPyConnection, first: date, last: date, by: Literal["team", "queue"] = "team"
) -> tuple[Recovery, ...]:
    """Compare recoveries with what queue, hour and start lead one to expect, in the order of the groups' names.

    Logistic regression of ``recovered`` on the start's mood and its square, with a level for every queue (where `by`
    is not queue) and hour, over all groups together. A group is in its own expectation, so differences are a little
    too small where it is large. Groups under `FEWEST_CALLS` such calls are left out, and with one of them the next
    smallest.

    Raises
    ------
    ReportingError
        Where there are too few such calls.
    """
    import pandas as pd
    import statsmodels.api as sm

    calls = _calls(tables, first, last)
    calls = calls[(calls.mood_start <= d.RECOVERED_MOOD_START) & calls.recovered.notna()]
    known = ["hour"] if by == "queue" else ["queue", "hour"]
    levels = pd.get_dummies(calls[known].astype(str), drop_first=True, dtype=float)
    starts = pd.DataFrame({"start": calls.mood_start, "start_squared": calls.mood_start**2})
    design = sm.add_constant(pd.concat([starts, levels], axis=1))
    happened = calls.recovered.astype(float)
    # A level in which all or none recovered has no finite coefficient; so little is left of it by a weak penalty.
    if len(calls) < 10 * design.shape[1] or happened.nunique() < 2:
        raise ReportingError(
            f"found {len(calls)} calls that began badly from {first} to {last}, with {design.shape[1]} figures to fit; "
            "expected ten times as many, some of them recovered; take a longer time"
        )
    fit = sm.GLM(happened, design, family=sm.families.Binomial()).fit_regularized(alpha=1e-5, L1_wt=0.0)
    calls = calls.assign(happened=happened, expected=fit.predict(design), code=pd.factorize(calls.customer)[0])
    found = []
    for name in _shown({str(name): int(n) for name, n in calls[by].value_counts().items()}):
        group = calls[calls[by] == name]
        residual = (group.happened - group.expected).to_numpy()
        mean = float(residual.mean())
        half = Z * _spread_of_sum(residual - mean, group.code.to_numpy()) / len(group)
        observed, expected = float(group.happened.mean()), float(group.expected.mean())
        found.append(Recovery(name, len(group), observed, expected, mean - half, mean + half))
    return tuple(found)


def _shown(calls: Mapping[str, int]) -> list[str]:
    """The groups to show, by name: without small ones, and never all but one."""
    largest_first = sorted(calls, key=lambda name: -calls[name])
    shown = [name for name in largest_first if calls[name] >= FEWEST_CALLS]
    hidden = largest_first[len(shown) :]
    if hidden and shown and (len(hidden) < 2 or sum(calls[name] for name in hidden) < FEWEST_CALLS):
        shown.pop()
    return sorted(shown)


def _spread_of_sum(residuals: Array, customers: npt.NDArray[np.intp]) -> float:
    """The standard deviation of a sum whose terms go together within a customer."""
    sums = np.bincount(customers, weights=residuals)
    clusters = len(np.unique(customers))
    return float(np.sqrt((sums**2).sum() * clusters / max(1, clusters - 1)))


def _calls(tables: duckdb.DuckDBPyConnection, first: date, last: date) -> pd.DataFrame:
    return tables.execute(_CALLS, {"first": first, "last": last}).df()
