"""The silent majority: how those who answer the survey differ from those who do not, and the survey's mean for all.

Goes by ``calls`` as DuckDB has them. Knows the customers by their calls' index, escalation and queue alone: what else
makes people answer stays in the reweighted mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from reporting.aggregates import ReportingError
from reporting.measures import FEWEST_CALLS

if TYPE_CHECKING:
    import duckdb

FEWEST_ANSWERS: Final = 50
LOWEST_CHANCE: Final = 0.02
"""A lower chance of answering counts as this one, so that no answer stands for more than 50 calls."""


@dataclass(frozen=True)
class Silent:
    """Those of a queue who answered the survey, against those who did not.

    Attributes
    ----------
    queue
        ``all`` for all calls.
    calls, answers
        With an index; and of these, with a survey score.
    index_answered, index_silent
        Mean index of both.
    score
        Mean survey score as it was answered.
    score_reweighted
        The same with each answer weighted by one over its chance of having come: an estimate for all customers.
    """

    queue: str
    calls: int
    answers: int
    index_answered: float
    index_silent: float
    score: float
    score_reweighted: float


def silent_majority(tables: duckdb.DuckDBPyConnection, first: date, last: date) -> tuple[Silent, ...]:
    """Compare answers and silence, over all and by queue; queues with under 5 of either are left out.

    The chance of answering is a logistic regression on the index and its square, escalation and the queue;
    its inverse is an answer's weight, normalised (Hajek's estimator).

    Raises
    ------
    ReportingError
        Where there are too few answers.
    """
    import pandas as pd
    import statsmodels.api as sm

    calls = tables.execute(
        "SELECT coalesce(queue, 'no queue') AS queue, satisfaction_index::double / 100 AS index, csat_survey AS score, "
        "coalesce(escalated, false)::double AS escalated FROM calls "
        "WHERE call_date BETWEEN $first AND $last AND satisfaction_index IS NOT NULL",
        {"first": first, "last": last},
    ).df()
    answered = calls.score.notna()
    if min(answered.sum(), (~answered).sum()) < FEWEST_ANSWERS:
        raise ReportingError(
            f"found {answered.sum()} answers to surveys among {len(calls)} calls from {first} to {last}, expected at "
            f"least {FEWEST_ANSWERS}, and as many calls without; take a longer time (docs/records.md says how to bring "
            "surveys)"
        )
    levels = pd.get_dummies(calls.queue, drop_first=True, dtype=float)
    known = pd.concat([calls[["index", "escalated"]], (calls["index"] ** 2).rename("squared"), levels], axis=1)
    design = sm.add_constant(known, has_constant="add")
    # A queue in which nobody answers has no finite coefficient without a penalty.
    fit = sm.GLM(answered.astype(float), design, family=sm.families.Binomial()).fit_regularized(alpha=1e-6, L1_wt=0.0)
    calls["weight"] = 1 / fit.predict(design).clip(lower=LOWEST_CHANCE)
    found = []
    for queue, group in [("all", calls), *calls.groupby("queue")]:
        told, silent = group[group.score.notna()], group[group.score.isna()]
        if min(len(told), len(silent)) >= FEWEST_CALLS:
            found.append(
                Silent(
                    queue=str(queue),
                    calls=len(group),
                    answers=len(told),
                    index_answered=float(told["index"].mean() * 100),
                    index_silent=float(silent["index"].mean() * 100),
                    score=float(told.score.mean()),
                    score_reweighted=float((told.score * told.weight).sum() / told.weight.sum()),
                )
            )
    return tuple(found)
