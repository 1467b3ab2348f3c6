"""calibrate_satisfaction: fit survey scores to calls, and keep the fit if it says more than the mean.

Run ``python -m jobs.calibrate_satisfaction`` (``make calibrate``) once there are some hundreds of answers, and again
when the model changed. Prints how well a model fitted to other customers predicts each score; where that beats
predicting the mean, nights and enrichments from then on fill csat_predicted, csat_low and csat_high by it, else they
leave them empty. Reads the published tables; what it keeps names nobody.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import call_date, run_command
from jobs.errors import CalibrationError, JobError
from jobs.satisfaction_model import (
    FILE,
    INTERVAL,
    OF_CALLS,
    OF_CONTACTS,
    Array,
    Calibration,
    ScoreModel,
    contacts_of,
    features_of,
)
from jobs.settings import load_store_settings
from jobs.storage import open_storage
from jobs.warehouse import Warehouse

FEWEST_ANSWERS: Final = 200
MOST_ANSWERS: Final = 20_000
"""Of more, the newest: more would change the fit by less than its error."""

FOLDS: Final = 5
DRAWS: Final = 400
SEED: Final = 1

_CALLS = ("call_date", "contact_id", "csat_survey", "model_id", "index_version", *OF_CALLS)
_CONTACTS = ("call_date", "contact_id", "customer_key", *OF_CONTACTS)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, print and, where it is worth it, keep; the exit status is 2 where it cannot be tried."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.calibrate_satisfaction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="first", type=call_date, default=date.min, help="first call date")
    parser.add_argument("--to", dest="last", type=call_date, default=date.max, help="last call date")
    arguments = parser.parse_args(argv)
    try:
        settings = load_store_settings()
        storage = open_storage(settings.warehouse, settings)
        tables = Warehouse(storage)
        calls, contacts = tables.read("calls", columns=_CALLS), tables.read("contacts", columns=_CONTACTS)
        inside = (pc.field("call_date") >= arguments.first) & (pc.field("call_date") <= arguments.last)
        calibration = calibrate(calls.filter(inside), contacts.filter(inside))
        if calibration.beats_the_mean:
            calibration.save(storage)
        elif Calibration.load(storage) is not None:
            storage.delete(FILE)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(in_words(calibration))
    return 0


def calibrate(calls: pa.Table, contacts: pa.Table) -> Calibration:
    """Fit the model to all answers, and judge it by customers that it was not fitted to.

    Parameters
    ----------
    calls, contacts
        Published rows of the same days. Of several classifiers or formulas, those of the newest call are taken.

    Raises
    ------
    CalibrationError
        Where there are too few answers, or scores without steps.
    """
    order = [("call_date", "descending"), ("contact_id", "ascending")]
    answered = calls.filter(pc.field("csat_survey").is_valid() & pc.field("satisfaction_index").is_valid()).sort_by(
        order
    )
    if answered.num_rows:
        newest = answered.slice(0, 1).to_pylist()[0]
        same = (pc.field("model_id") == newest["model_id"]) & (pc.field("index_version") == newest["index_version"])
        answered = answered.filter(same).slice(0, MOST_ANSWERS)
    if answered.num_rows < FEWEST_ANSWERS:
        raise CalibrationError(
            f"found {answered.num_rows} calls of one model with an index and an answer to a survey, expected at least "
            f"{FEWEST_ANSWERS}; bring surveys (docs/records.md) or take more days"
        )
    features, scores = features_of(answered, contacts), answered["csat_survey"].cast(pa.float64()).to_numpy()
    keys = contacts["customer_key"].take(contacts_of(answered, contacts))
    _, customers = np.unique(pc.coalesce(keys, answered["contact_id"]).to_pylist(), return_inverse=True)
    expected, mean, inside = _held_out(features, scores, customers)
    worse = (scores - mean) ** 2 - (scores - expected) ** 2
    spent = float(((scores - mean) ** 2).mean())
    ranks = _rank_correlations(expected, scores, customers)
    days = answered["call_date"]
    return Calibration(
        model_id=newest["model_id"],
        index_version=newest["index_version"],
        first=pc.min(days).as_py().isoformat(),
        last=pc.max(days).as_py().isoformat(),
        answers=answered.num_rows,
        rank_correlation=ranks[0],
        rank_low=ranks[1],
        rank_high=ranks[2],
        slope=float(np.polyfit(expected, scores, 1)[0]) if expected.std() > 0 else 0.0,
        skill=float(worse.mean()) / spent,
        skill_low=(float(worse.mean()) - 1.96 * _spread_of_mean(worse, customers)) / spent,
        coverage=float(inside.mean()),
        model=ScoreModel.fit(features, scores),
    )


def _held_out(
    features: Array, scores: Array, customers: npt.NDArray[np.intp]
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Of each call, by a fit to other customers: the expected score, the mean score, and whether the interval held."""
    folds = np.random.default_rng(SEED).permutation(int(customers.max()) + 1)[customers] % FOLDS
    expected, mean, inside = np.zeros(len(scores)), np.zeros(len(scores)), np.zeros(len(scores), dtype=bool)
    for fold in range(FOLDS):
        held = folds == fold
        predicted, low, high = ScoreModel.fit(features[~held], scores[~held]).predict(features[held])
        expected[held], mean[held] = predicted, scores[~held].mean()
        inside[held] = (low <= scores[held]) & (scores[held] <= high)
    return expected, mean, inside


def _rank_correlations(expected: Array, scores: Array, customers: npt.NDArray[np.intp]) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95% interval by a bootstrap over customers."""
    from scipy.stats import rankdata

    x, y = (rankdata(each) - (len(each) + 1) / 2 for each in (expected, scores))
    # Weights in place of copies of rows: a customer who is drawn twice counts twice.
    rng = np.random.default_rng(SEED)
    n = int(customers.max()) + 1

    def correlation(weights: Array) -> float:
        centred = [each - np.average(each, weights=weights) for each in (x, y)]
        cross, *squares = (float((weights * a * b).sum()) for a, b in ((*centred,), *((c, c) for c in centred)))
        spread = (squares[0] * squares[1]) ** 0.5
        return cross / spread if spread else 0.0

    drawn = [correlation(rng.multinomial(n, np.full(n, 1 / n))[customers].astype(float)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return correlation(np.ones(len(x))), float(low), float(high)


def _spread_of_mean(values: Array, customers: npt.NDArray[np.intp]) -> float:
    sums = np.bincount(customers, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(values))


def in_words(calibration: Calibration) -> str:
    """Say how good it is, and what came of it."""
    verdict = (
        "It beats predicting the mean: nights and enrichments from now on fill csat_predicted, csat_low and csat_high."
        if calibration.beats_the_mean
        else "It does not beat predicting the mean: nothing is kept, and csat_predicted stays empty."
    )
    found = calibration
    return (
        f"{found.answers:,} answers from {found.first} to {found.last}, calls of {found.model_id}; "
        f"each predicted by a fit to other customers ({FOLDS} parts):\n"
        f"  rank correlation with the score   {found.rank_correlation:.2f} "
        f"(95% interval {found.rank_low:.2f} to {found.rank_high:.2f})\n"
        f"  squared error less than the mean's {found.skill:.1%} (at least {found.skill_low:.1%})\n"
        f"  scores rise by                    {found.slope:.2f} for each point predicted (1 is calibrated)\n"
        f"  scores inside the {INTERVAL:.0%} interval    {found.coverage:.0%}\n"
        f"{verdict}\n"
    )


if __name__ == "__main__":
    run_command(main)
