"""The page of topics: which subjects bring up which emotions. The figures and the picture are the report's."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from reporting import figures
from reporting.dashboard.shared import Chosen, picture, tables
from reporting.dashboard.tables import MIN_GROUP
from reporting.report import TOPICS_TITLE
from reporting.topics import FEWEST_SPEECH_S, Topics
from reporting.words import count, number, percent, printable


def show() -> None:
    """Show it."""
    st.title("What it was about")
    found = tables().topics(Chosen.get())
    if not found.shown:
        st.info(_nothing(found))
        return
    st.caption(
        "The customers' speech while their call was about a subject, by the calls' topics, the angriest first. Each "
        f"figure is a mean over calls with at least {FEWEST_SPEECH_S:.0f} s of such speech; the line below a bar is "
        f"the 95% interval of anger. {_not_shown(found)}A subject need not be why a customer is angry."
    )
    picture(
        figures.topic_chart("topics", TOPICS_TITLE, found.shown),
        figures.legend(figures.EMOTION_COLORS, list(found.emotions), "e"),
    )
    st.dataframe(_in_words(found), hide_index=True)


def _nothing(found: Topics) -> str:
    if found.too_few:
        return f"Fewer than {MIN_GROUP} calls are about any topic: no figures are shown of so few."
    return "No topic is told of these calls. What tells topics is named by CALLMOOD_TOPICS (docs/records.md)."


def _not_shown(found: Topics) -> str:
    others = count(found.too_few, "other topic is", "other topics are")
    return f"{others} of fewer calls, and not shown. " if found.too_few else ""


def _in_words(found: Topics) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "topic": printable(each.topic),
            "calls": number(each.calls),
            "anger": number(each.anger, 2),
            "95% interval": f"{number(each.anger_low, 2)} to {number(each.anger_high, 2)}",
            "negative speech": percent(each.negative_share),
            "positive speech": percent(each.positive_share),
            "most probable": ", ".join(f"{emotion} {percent(share)}" for emotion, share in each.emotions),
        }
        for each in found.shown
    )
