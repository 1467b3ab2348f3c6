"""The survey score that a call leads one to expect: an ordinal model of scores on what is known of calls.

Proportional odds (McCullagh 1980), fitted by statsmodels to the calls whose customers answered a survey. What it says
is for those who answer: who does not may think otherwise (``make why WHAT=silent``). Knows arrays and tables, and the
one file that keeps a calibration; nothing of how calls are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import CalibrationError

if TYPE_CHECKING:
    from jobs.storage import Storage

Array = npt.NDArray[np.float64]

FILE: Final = "_calibration/satisfaction.json"
"""Below the warehouse; it holds coefficients and figures, and nothing of anybody."""

OF_CALLS: Final = (
    "satisfaction_index",
    "mood_end",
    "mood_change",
    "negative_share",
    "anger_peak",
    "duration_s",
    "longest_silence_s",
    "customer_interruptions",
    "agent_interruptions",
    "median_response_gap_s",
)
OF_CONTACTS: Final = ("queue_wait_s", "hold_s")
FEATURES: Final = (*OF_CALLS, *OF_CONTACTS)
"""What is known of a call: columns of ``calls`` and ``contacts``. Seconds are taken as logarithms, ln(1 + s)."""

MAX_SCORES: Final = 11
"""A scale of 0 to 10 has that many."""

INTERVAL: Final = 0.9
"""Probability of csat_low to csat_high."""


@dataclass(frozen=True)
class ScoreModel:
    """A fitted model of scores.

    Attributes
    ----------
    scores
        The survey's scores, in order.
    means, scales
        Of each of `FEATURES`: what is taken off, and by what is divided; a missing value counts as the mean.
    coefficients
        Of each of `FEATURES`.
    thresholds
        Between the scores, one fewer than these: P(score <= k) = logistic(threshold k - coefficients x features).
    """

    scores: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    thresholds: tuple[float, ...]

    @classmethod
    def fit(cls, features: Array, scores: Array) -> ScoreModel:
        """Fit it.

        Parameters
        ----------
        features
            As `features_of` returns them, ``[shape=(calls, features)]``.
        scores
            ``[shape=(calls,)]``.

        Raises
        ------
        CalibrationError
            Where the scores are all one, or more different ones than a survey has.
        """
        from statsmodels.miscmodels.ordinal_model import OrderedModel

        steps, codes = np.unique(scores, return_inverse=True)
        if not 2 <= len(steps) <= MAX_SCORES:
            raise CalibrationError(
                f"the answers have {len(steps)} different scores, expected 2 to {MAX_SCORES}: an ordinal model needs a "
                "scale of steps; round the scores where the survey's are finer (docs/records.md)"
            )
        known = np.isfinite(features)
        counts = known.sum(axis=0)
        filled = np.where(known, features, 0.0)
        means = filled.sum(axis=0) / np.maximum(counts, 1)
        standard = np.where(known, features - means, 0.0)
        scales = np.sqrt((standard**2).sum(axis=0) / np.maximum(counts, 1))
        varies = scales > 1e-9
        scales = np.where(varies, scales, 1.0)
        model = OrderedModel(codes, (standard / scales)[:, varies], distr="logit")
        found = np.asarray(model.fit(method="bfgs", disp=False, maxiter=200, skip_hessian=True).params)
        n_used = int(varies.sum())
        coefficients = np.zeros(len(means))
        coefficients[varies] = found[:n_used]
        thresholds = model.transform_threshold_params(found[n_used:])[1:-1]
        if not np.isfinite(found).all():
            raise CalibrationError("the ordinal model found no finite coefficients; take days with more answers")
        return cls(*(tuple(map(float, each)) for each in (steps, means, scales, coefficients, thresholds)))

    def probabilities(self, features: Array) -> Array:
        """Return the probability of each score, ``[shape=(calls, scores)]``."""
        from scipy.special import expit

        standard = np.where(np.isfinite(features), features - self.means, 0.0) / self.scales
        below = expit(np.asarray(self.thresholds) - (standard @ np.asarray(self.coefficients))[:, None])
        found: Array = np.diff(below, axis=1, prepend=0.0, append=1.0)
        return found

    def predict(self, features: Array) -> tuple[Array, Array, Array]:
        """Return the expected score, and the ends of the interval that has at least `INTERVAL` of the probability."""
        probabilities = self.probabilities(features)
        scores, up_to = np.asarray(self.scores), probabilities.cumsum(axis=1)
        tail = (1 - INTERVAL) / 2
        low = scores[(up_to > tail).argmax(axis=1)]
        high = scores[(up_to >= 1 - tail - 1e-12).argmax(axis=1)]
        return probabilities @ scores, low, high


@dataclass(frozen=True)
class Calibration:
    """A model of scores with what it was fitted to and how well it did on customers that it had not seen.

    Attributes
    ----------
    model_id, index_version
        The calls that it is for: another classifier or formula means other features.
    first, last
        The days of the calls.
    answers
        Calls with a score.
    rank_correlation, rank_low, rank_high
        Spearman's, of expected and given score, with its 95% interval.
    slope
        Of given scores on expected ones: 1 where it is calibrated, under 1 where it says too much.
    skill, skill_low
        1 - mean squared error / that of predicting the mean, and the lower end of its 95% interval (one-sided 97.5%).
    coverage
        Share of the scores within the interval, which promises `INTERVAL`.
    """

    model_id: str
    index_version: int
    first: str
    last: str
    answers: int
    rank_correlation: float
    rank_low: float
    rank_high: float
    slope: float
    skill: float
    skill_low: float
    coverage: float
    model: ScoreModel

    @property
    def beats_the_mean(self) -> bool:
        """Whether it says more of a customer than the mean of all does."""
        return self.skill_low > 0 and self.rank_low > 0

    def save(self, warehouse: Storage) -> None:
        """Keep it, in place of the last one."""
        warehouse.write(FILE, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, warehouse: Storage) -> Calibration | None:
        """Read the one that is kept; None where there is none."""
        try:
            return warehouse.read_json(FILE, cls._from_json)
        except FileNotFoundError:
            return None

    @classmethod
    def _from_json(cls, found: dict[str, Any]) -> Calibration:
        model = {name: tuple(values) for name, values in found.pop("model").items()}
        return cls(**found, model=ScoreModel(**model))

    def fill(self, calls: pa.Table, contacts: pa.Table) -> pa.Table:
        """Put csat_predicted, csat_low and csat_high into the calls that it is for; the others' stay null."""
        mine = pc.and_(
            pc.and_(pc.equal(calls["model_id"], self.model_id), pc.equal(calls["index_version"], self.index_version)),
            pc.is_valid(calls["satisfaction_index"]),
        ).fill_null(False)
        predicted = self.model.predict(features_of(calls, contacts))
        for name, values in zip(("csat_predicted", "csat_low", "csat_high"), predicted, strict=True):
            place = calls.schema.get_field_index(name)
            column = pc.if_else(mine, pa.array(values, pa.float32()), pa.scalar(None, pa.float32()))
            calls = calls.set_column(place, calls.schema.field(name), column)
        return calls


def features_of(calls: pa.Table, contacts: pa.Table) -> Array:
    """Return what is known of each call, ``[shape=(calls, features)]``, nan where it is not.

    Parameters
    ----------
    calls
        With `OF_CALLS`, call_date and contact_id.
    contacts
        With `OF_CONTACTS`, call_date and contact_id: of the same days.
    """
    rows = contacts_of(calls, contacts)
    columns: Mapping[str, Any] = {
        **{name: calls[name] for name in OF_CALLS},
        **{name: contacts[name].take(rows) for name in OF_CONTACTS},
    }
    found = [column.cast(pa.float64()).to_numpy() for column in columns.values()]
    taken: Array = np.column_stack(
        [np.log1p(np.maximum(v, 0.0)) if name.endswith("_s") else v for name, v in zip(columns, found, strict=True)]
    )
    return taken


def contacts_of(calls: pa.Table, contacts: pa.Table) -> pa.Array:
    """Return the row of each call's contact record; null where it has none."""

    def keys(rows: pa.Table) -> pa.ChunkedArray:
        return pc.binary_join_element_wise(rows["call_date"].cast(pa.string()), rows["contact_id"], " ")

    return pc.index_in(keys(calls), value_set=keys(contacts).combine_chunks()).combine_chunks()
