"""Topics in the report: computed again with pandas, and nothing of topics that few calls are about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_up_nights import DAY, GENERATED_AT, Page, made_up_night
from scipy.stats import t

from reporting.calls import calls_to_hear, read_calls
from reporting.night import night
from reporting.periods import Period
from reporting.report import TOPICS_TITLE, render_page
from reporting.topics import SHOWN, Topics, TopicTime, side_by_side, topics, topics_at
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
        means = of[[f"p_{emotion}" for emotion in EMOTIONS]].astype(float).fillna(0).mean()
        means = means[means > 0].sort_values(ascending=False)
        assert dict(each.emotions) == pytest.approx({name[2:]: mean for name, mean in means.items()}, rel=1e-6)
        assert [name for name, _ in each.emotions] == [name[2:] for name in means.index], "the most probable first"
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


BESIDE = [
    ([], []),
    ([("refund", 5, 20), ("wait", 20, 30)], [["refund", "wait"]]),
    ([("wait", 10, 30), ("refund", 5, 20)], [["refund"], ["wait"]]),
    ([("a", 0, 9), ("b", 1, 2), ("c", 2, 12), ("a", 9, 10)], [["a", "a"], ["b", "c"]]),
]


@pytest.mark.parametrize(("told", "rows_of"), BESIDE)
def test_topics_that_overlap_stand_below_each_other(told: list[Any], rows_of: list[list[str]]) -> None:
    found = side_by_side([TopicTime(*each) for each in told])
    assert [[each.topic for each in row] for row in found] == rows_of


def test_what_a_call_is_about_at_a_time() -> None:
    told = [TopicTime("refund", 5.0, 20.0), TopicTime("wait", 10.0, 30.0), TopicTime("refund", 40.0, 50.0)]
    at = {span: topics_at(told, *span) for span in [(0, 5), (0, 6), (12, 45), (20, 25), (30, 40)]}
    assert list(at.values()) == [(), ("refund",), ("refund", "wait"), ("wait",), ()]


def test_a_calls_timeline_says_what_it_was_about() -> None:
    """In bands below it, in its description and in its table; of the calls to hear alone, and in no summary."""
    tables = made_up_night(minutes=(1.0, 1.5))
    first, *_, last = calls_to_hear(read_calls(tables["calls"]))
    evil = "<i>late</i> parcel"
    told = [(first, "refund", 10.0, 30.0), (first, evil, 20.0, 10_000.0), (last, "wait", 0.0, 5.0)]
    common = {"call_date": DAY, "run_id": "run"}
    rows = [
        {**common, "contact_id": of.call.contact_id, "topic": topic, "start_s": start_s, "end_s": end_s}
        for of, topic, start_s, end_s in told
    ]
    unheard = {**common, "contact_id": "somebody else", "topic": "parking", "start_s": 0.0, "end_s": 9.0}
    tables["topics"] = pa.Table.from_pylist([*rows, unheard], TABLES["topics"].schema)
    view = night(tables)
    (refund,), (late,) = view.to_hear[0].bands
    duration_s = view.to_hear[0].duration_s
    assert (refund.place, refund.width) == pytest.approx((1000 / duration_s, 2000 / duration_s), abs=0.01)
    assert late.place + late.width == pytest.approx(100, abs=0.02), "it ends with the call"
    for row in view.to_hear[0].stretches:
        expected = [topic for _, topic, start_s, end_s in told[:2] if start_s < row.end_s and end_s > row.start_s]
        assert row.topics == tuple(expected)
    page = Page(render_page(tables, period=Period.day(DAY), generated_at=GENERATED_AT))
    (timeline,) = [each for each in page.pictures if each["desc"].endswith("is about wait (0:00 to 0:05).")]
    assert timeline["title"].startswith("Timeline of the call")
    assert evil in page.text and "i" not in {tag for tag, _ in page.tags}
    assert "parking" not in page.html
    summary = Page(render_page(tables, period=Period.day(DAY), generated_at=GENERATED_AT, edition="summary"))
    assert "refund" not in summary.html


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
    (drawn,) = [each for each in page.pictures if each["title"] == TOPICS_TITLE]
    assert f"{evil}, 8 calls: " in drawn["desc"] and "wait, 6 calls: " in drawn["desc"]
    assert "#topics" in {attributes.get("href") for _, attributes in page.tags}


def test_without_topics_there_is_no_section() -> None:
    page = Page(render_page(made_up_night(), period=Period.day(DAY), generated_at=GENERATED_AT))
    assert "topics" not in {attributes.get("id") for _, attributes in page.tags}
