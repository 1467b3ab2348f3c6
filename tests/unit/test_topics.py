"""Topics in the report: computed again with pandas, and nothing of topics that few calls are about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_up_nights import DAY, GENERATED_AT, Page, made_up_night
from scipy.stats import t

from reporting.periods import Period
from reporting.report import render_page
from reporting.topics import SHOWN, Topics, topics
from schemas import TABLES
from ser_model.taxonomy import EMOTIONS

TOPIC_EMOTIONS = TABLES["topic_emotions"]


def rows(**calls: int) -> list[dict[str, Any]]:
    """So many calls of each topic."""
    rng = np.random.default_rng(3)
    found = []
    for topic, number in calls.items():
        for call in range(number):
            p = rng.dirichlet(np.ones(4) * 2)
            emotions = dict(zip(("neutral", "angry", "happy", "sad"), p.tolist(), strict=True))
            found.append(
                {
                    **dict.fromkeys(TOPIC_EMOTIONS.schema.names),
                    "call_date": DAY,
                    "contact_id": f"{topic}-{call}",
                    "topic": topic,
                    "topic_s": 30.0,
                    "speech_s": 12.0,
                    "dominant_emotion": max(emotions, key=lambda each: emotions[each]),
                    "negative_share": emotions["angry"] + emotions["sad"],
                    "neutral_share": emotions["neutral"],
                    "positive_share": emotions["happy"],
                    "valence": 0.0,
                    "run_id": "run",
                }
                | {f"p_{each}": share for each, share in emotions.items()}
            )
    return found


def table(of: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(of, TOPIC_EMOTIONS.schema)


def test_a_topics_figures_are_means_over_its_calls() -> None:
    told = rows(refund=9, wait=7)
    frame = pd.DataFrame(told)
    found = topics(table(told))
    assert {each.topic for each in found.shown} == {"refund", "wait"}
    for each in found.shown:
        of = frame[frame["topic"] == each.topic]
        assert each.calls == len(of)
        assert each.anger == pytest.approx(of["p_angry"].mean(), rel=1e-6)
        low, high = t.interval(0.95, len(of) - 1, of["p_angry"].mean(), of["p_angry"].sem())
        assert (each.anger_low, each.anger_high) == pytest.approx((max(0, low), min(1, high)), rel=1e-5)
        assert each.negative_share == pytest.approx(of["negative_share"].mean(), rel=1e-6)
        means = of[[f"p_{emotion}" for emotion in EMOTIONS]].astype(float).fillna(0).mean().nlargest(2)
        assert dict(each.emotions) == pytest.approx({name[2:]: mean for name, mean in means.items()}, rel=1e-6)
    assert [each.anger for each in found.shown] == sorted((each.anger for each in found.shown), reverse=True)


def test_of_few_calls_nothing_is_said() -> None:
    told = rows(refund=5, wait=4)
    assert [each.topic for each in topics(table(told)).shown] == ["refund"]
    assert topics(table(told)).too_few == 1
    # A call that says next to nothing about it is none.
    told[0]["speech_s"] = 2.9
    assert topics(table(told)) == Topics((), 2)
    told[0] |= {"speech_s": 0.0, "p_angry": None, "negative_share": None, "positive_share": None}
    assert topics(table(told)) == Topics((), 2)


def test_of_many_topics_the_most_frequent_are_shown() -> None:
    told = rows(**{f"topic {number}": 5 + number for number in range(SHOWN + 3)})
    found = topics(table(told))
    assert {each.topic for each in found.shown} == {f"topic {number}" for number in range(3, SHOWN + 3)}
    assert found.too_few == 3


@pytest.mark.parametrize("edition", ["review", "summary"])
def test_the_page_says_it(edition: Any) -> None:
    evil = "<b>refund</b>"
    told = rows(**{evil: 8, "wait": 6, "parking": 2})
    tables = {**made_up_night(), "topic_emotions": table(told)}
    page = Page(render_page(tables, period=Period.day(DAY), generated_at=GENERATED_AT, edition=edition))
    for each in topics(tables["topic_emotions"]).shown:
        for name in ("calls", "anger", "anger_low", "anger_high", "negative_share", "positive_share"):
            assert page.one(f"topic.{each.topic}.{name}") == pytest.approx(getattr(each, name), rel=1e-4)
    assert evil in page.text
    assert "b" not in {tag for tag, _ in page.tags}
    assert "parking" not in page.text
    assert page.one("topics.not_shown") == 1
    assert "refund-1" not in page.html
    assert "#topics" in {attributes.get("href") for _, attributes in page.tags}


def test_without_topics_there_is_no_section() -> None:
    page = Page(render_page(made_up_night(), period=Period.day(DAY), generated_at=GENERATED_AT))
    assert "topics" not in {attributes.get("id") for _, attributes in page.tags}
