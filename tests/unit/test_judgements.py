"""What judgements say: the sentences of the issue, what counts and what does not, and intervals that cover."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reporting.judgements import FEWEST, measure, wilson
from schemas import LABELS

DAY = date(2026, 11, 20)


def judged(
    number: int,
    emotion: str | None,
    *,
    model: str = "angry",
    sampled_by: str = "flagged",
    annotator: str = "ann",
    mood: str | None = None,
    weight: float = 2.0,
    later: int = 0,
) -> dict[str, Any]:
    return {
        "call_date": DAY,
        "contact_id": f"contact-{number}",
        "role": "customer",
        "start_s": 1.0,
        "end_s": 3.0,
        "emotion": emotion,
        "mood": mood,
        "annotator": annotator,
        "sampled_by": sampled_by,
        "weight": weight,
        "model_id": "m",
        "model_emotion": model,
        "model_confidence": 0.5,
        "labelled_at": datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=later),
    }


def labels(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=LABELS.schema)


def heard(angry: int, n: int, **how: Any) -> list[dict[str, Any]]:
    return [judged(number, "angry" if number < angry else "neutral", **how) for number in range(n)]


def test_the_precision_is_said_in_words() -> None:
    said = measure(labels(*heard(44, 60))).sentences
    assert said[0] == "Of 60 flagged segments heard, 44 were really angry: 73% (61 to 83)."
    assert "not yet measured on your calls" in said[1]


@pytest.mark.parametrize(("n", "is_said"), [(0, False), (FEWEST - 1, False), (FEWEST, True)])
def test_of_few_judgements_nothing_is_said(n: int, is_said: bool) -> None:
    measured = measure(labels(*heard(0, n)))
    assert (measured.precision is not None) == is_said
    assert ("not yet measured on your calls" in measured.sentences[0]) != is_said


@pytest.mark.parametrize(
    ("more", "hits", "n"),
    [
        ([judged(90, "angry", sampled_by="random")], 31, 41),  # drawn evenly from the flagged ones, too
        ([judged(90, "angry", sampled_by="uncertain")], 30, 40),  # drawn more often than others
        ([judged(90, "angry", sampled_by="random", model="sad")], 30, 40),  # not flagged
        ([judged(90, None)], 30, 40),  # could not tell
        ([judged(90, None, mood="negative")], 30, 40),  # anger or not
        ([judged(90, None, mood="positive")], 30, 41),
        ([judged(0, "sad", later=5)], 29, 40),  # the last that one says
        ([judged(0, "sad", annotator="bob")], 29, 39),  # a tie
        ([judged(0, "sad", annotator=name) for name in ("bob", "eve")], 29, 40),  # the majority
        ([judged(0, "angry", annotator="bob", sampled_by="random")], 30, 40),  # a segment counts once
    ],
)
def test_what_counts(more: list[dict[str, Any]], hits: int, n: int) -> None:
    precision = measure(labels(*heard(30, 40), *more)).precision
    assert precision is not None
    assert (precision.hits, precision.n) == (hits, n)


def test_recall_is_by_the_weights_of_the_random_part() -> None:
    many, few = {"weight": 30.0, "sampled_by": "random"}, {"weight": 10.0, "sampled_by": "random"}
    rows = [judged(number, "angry", model="angry", **many) for number in range(10)]
    rows += [judged(20 + number, "angry", model="sad", **few) for number in range(10)]
    rows += [judged(40 + number, "neutral", model="neutral", **many) for number in range(20)]
    rows += heard(10, 10, annotator="bob")  # flagged draws do not count
    recall = measure(labels(*rows)).recall
    assert recall is not None
    assert (recall.hits, recall.n, recall.share) == (10, 20, 0.75)
    # Kish: (10 * 30 + 10 * 10)^2 / (10 * 900 + 10 * 100) = 16 segments.
    low, high = wilson(12, 16)
    assert (recall.low, recall.high) == pytest.approx((float(low), float(high)))


def test_two_annotators_stand_beside_the_model() -> None:
    rows = [judged(number, "angry" if number < 20 else "sad") for number in range(40)]
    rows += [judged(number, "angry" if number < 30 else "sad", annotator="bob") for number in range(40)]
    rows += [judged(100 + number, "happy") for number in range(40)]  # by one alone
    measured = measure(labels(*rows))
    assert measured.annotators is not None and measured.model is not None
    assert (measured.annotators.alike.hits, measured.annotators.alike.n) == (30, 40)
    # Chance: half of one's and three quarters of the other's are angry: 0.5; (0.75 - 0.5) / 0.5.
    assert measured.annotators.kappa == pytest.approx(0.5)
    assert (measured.model.alike.hits, measured.model.alike.n) == (50, 80)


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    low, high = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    assert np.round(low, 4) == pytest.approx([0.2553, 0.0624, 0.0, 0.0061])
    assert np.round(high, 4) == pytest.approx([0.3662, 0.1605, 0.1611, 0.1718])


def test_from_200_judgements_the_interval_of_the_precision_covers_the_truth_at_the_stated_rate() -> None:
    """Over precisions from 5% to 95%, 4,000 sets of 200 judgements each; Wilson's covers 95% on average."""
    truths = np.linspace(0.05, 0.95, 19)[:, None]
    hits = np.random.default_rng(11).binomial(200, truths, (19, 4000))
    low, high = wilson(hits, 200)
    covered = ((low <= truths) & (truths <= high)).mean(axis=1)
    assert covered.mean() == pytest.approx(0.95, abs=0.006)
    assert covered.min() > 0.92


def test_200_simulated_labels_cover_the_truth_through_the_whole_measure() -> None:
    """Segments of 2,000 as the queue draws them, judged by somebody who is always right."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(40):
        angry = rng.random(2000) < 0.10
        model = np.where(angry, rng.random(2000) < 0.65, rng.random(2000) < 0.04)
        truth = angry[model].mean()
        drawn = rng.choice(np.flatnonzero(model), min(100, model.sum()), replace=False)
        rows = [judged(int(each), "angry" if angry[each] else "neutral") for each in drawn]
        for each in rng.choice(2000, 100, replace=False):
            said = "angry" if angry[each] else "neutral"
            rows.append(judged(int(each), said, model="angry" if model[each] else "neutral", sampled_by="random"))
        precision = measure(labels(*rows)).precision
        assert precision is not None
        covered.append(precision.low <= truth <= precision.high)
    # Drawn without replacement from a finite number the interval covers more often than 95%.
    assert np.mean(covered) >= 0.93
