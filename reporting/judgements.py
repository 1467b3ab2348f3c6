"""What judgements of segments say of the model on one's own calls: precision, recall and agreement, with intervals.

From the table ``labels``, whose rows were heard without the model's view. Flagged is a segment that the model calls
angry. Each segment counts once, by the annotators' majority; where they tie, or none could tell, it does not count. A
mood alone says that it is not anger, but where it is negative: then it does not count.
Knows nothing of pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FLAGGED = "angry"
CONFIDENCE = 0.95
EVEN_WITHIN_FLAGGED = frozenset({"flagged", "random"})
"""The draws that take every flagged segment with the same chance; uncertain ones are drawn more often."""
FEWEST = 30
"""With fewer judgements nothing is said of the model."""
NOT_YET = "not yet measured on your calls"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share with its interval, 0 to 1.

    Attributes
    ----------
    hits, n
        So many of so many segments; weights are not in them.
    share, low, high
        The share, by weight, and its 95% interval.
    """

    hits: int
    n: int
    share: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        """In percent: 73% (61 to 83)."""
        return f"{self.share:.0%} ({100 * self.low:.0f} to {100 * self.high:.0f})"


@dataclass(frozen=True)
class Agreement:
    """How often two judge a segment alike.

    Attributes
    ----------
    alike
        The share of the pairs of judgements that name the same emotion.
    kappa
        Cohen's kappa: what of the agreement is beyond chance; None where there is no disagreement to be had.
    """

    alike: Share
    kappa: float | None


@dataclass(frozen=True)
class Measured:
    """What judgements say; None where there are too few (`FEWEST`).

    Attributes
    ----------
    judged
        Segments that count.
    precision
        Of the flagged segments that were heard by `EVEN_WITHIN_FLAGGED`, those that are angry.
    recall
        Of the angry segments of the random draws, those that are flagged, by weight.
    annotators
        Of two annotators.
    model
        Of an annotator and the model, on the segments that two annotators judged, or on all where none were.
    """

    judged: int = 0
    precision: Share | None = None
    recall: Share | None = None
    annotators: Agreement | None = None
    model: Agreement | None = None

    @property
    def says_something(self) -> bool:
        """Whether there were enough judgements for any figure."""
        return any(each is not None for each in (self.precision, self.recall, self.annotators, self.model))

    @property
    def sentences(self) -> Sequence[str]:
        """Say it in plain words."""
        said = [f"Precision of anger: {NOT_YET}."]
        if self.precision is not None:
            found = self.precision
            said = [f"Of {found.n} flagged segments heard, {found.hits} were really {FLAGGED}: {found.in_words}."]
        said.append(
            f"Recall of anger: {NOT_YET}."
            if self.recall is None
            else f"Of {self.recall.n} really {FLAGGED} segments in the random part, {self.recall.hits} were flagged; "
            f"by their weights {self.recall.in_words}."
        )
        if self.annotators is not None:
            said.append(f"Two annotators name the same emotion in {_agreed(self.annotators)}.")
        if self.model is not None:
            said.append(f"An annotator and the model name the same emotion in {_agreed(self.model)}.")
        return said


NOTHING_JUDGED = Measured()


def of_model(labels: pa.Table, model_id: str) -> pa.Table:
    """The judgements of a model's segments: those of another say nothing of it."""
    return labels.filter(pc.field("model_id") == model_id)


def measure(labels: pa.Table) -> Measured:
    """Measure the model by judgements.

    Parameters
    ----------
    labels
        Rows of `schemas.labels`.
    """
    rows = labels.to_pylist()
    # The last that each annotator said of it counts.
    rows.sort(key=lambda row: row["labelled_at"])
    heard = _by_segment(row for row in rows if row["sampled_by"] in EVEN_WITHIN_FLAGGED)
    flagged = [each.truth == FLAGGED for each in heard if each.flagged and each.truth is not None]
    drawn = [each for each in _by_segment(row for row in rows if row["sampled_by"] == "random") if each.truth]
    angry = [each for each in drawn if each.truth == FLAGGED]
    named = _by_segment(row for row in rows if row["emotion"] is not None)
    by_two = [each for each in named if len(each.choices) > 1]
    return Measured(
        judged=sum(each.truth is not None for each in _by_segment(rows)),
        precision=_share(flagged) if len(flagged) >= FEWEST else None,
        recall=_share([each.flagged for each in angry], [each.weight for each in angry])
        if len(drawn) >= FEWEST and angry
        else None,
        annotators=_agreement(pair for each in by_two for pair in combinations(each.choices.values(), 2)),
        model=_agreement((choice, each.model_emotion) for each in by_two or named for choice in each.choices.values()),
    )


def wilson(hits: npt.ArrayLike, n: npt.ArrayLike, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Wilson's interval of a share (Journal of the American Statistical Association 22, 1927).

    Parameters
    ----------
    hits, n
        So many of so many, n over 0; any shapes that fit together, and need not be whole.
    confidence
        How often the interval is to cover the truth.

    Returns
    -------
    Its lower and upper ends, 0 to 1.
    """
    n = np.asarray(n, float)
    share = np.asarray(hits, float) / n
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


@dataclass
class _Segment:
    """A segment and what each annotator heard in it."""

    weight: float
    model_emotion: str
    choices: dict[str, str]

    @property
    def flagged(self) -> bool:
        return self.model_emotion == FLAGGED

    @property
    def truth(self) -> str | None:
        counts = Counter(self.choices.values()).most_common(2)
        return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else None


def _by_segment(rows: Iterable[Mapping[str, Any]]) -> list[_Segment]:
    found: dict[tuple[Any, ...], _Segment] = {}
    for row in rows:
        heard = row["emotion"] or (row["mood"] if row["mood"] != "negative" else None)
        key = (row["contact_id"], row["role"], row["start_s"], row["model_id"])
        segment = found.setdefault(key, _Segment(row["weight"], row["model_emotion"], {}))
        if heard is None:
            segment.choices.pop(row["annotator"], None)
        else:
            segment.choices[row["annotator"]] = heard
    return list(found.values())


def _share(hits: Sequence[bool], weights: Sequence[float] | None = None) -> Share:
    """The share of what is true, by weight; its interval is Wilson's, of Kish's effective number."""
    weight = np.ones(len(hits)) if weights is None else np.asarray(weights, float)
    effective = weight.sum() ** 2 / np.square(weight).sum()
    share = float(weight @ np.asarray(hits, float) / weight.sum())
    low, high = wilson(share * effective, effective)
    return Share(sum(hits), len(hits), share, float(low), float(high))


def _agreement(pairs: Iterable[tuple[str, str]]) -> Agreement | None:
    pairs = list(pairs)
    if len(pairs) < FEWEST:
        return None
    alike = _share([one == other for one, other in pairs])
    ones, others = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(ones[each] * others[each] for each in ones) / len(pairs) ** 2
    return Agreement(alike, None if chance == 1 else (alike.share - chance) / (1 - chance))


def _agreed(found: Agreement) -> str:
    kappa = "" if found.kappa is None else f", Cohen's kappa {found.kappa:.2f}"
    return f"{found.alike.hits} of {found.alike.n} judgements: {found.alike.in_words}{kappa}"
