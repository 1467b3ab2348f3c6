"""The page of a period: the index with its interval over days, by queue and team, by hour."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from reporting.dashboard import charts
from reporting.dashboard.shared import Chosen, classifier_error, few, in_words, labels, tables
from reporting.dashboard.tables import MIN_GROUP, Filter
from reporting.judgements import FEWEST, NOT_YET, measure, of_model
from reporting.words import number, percent


def show() -> None:
    """Show it."""
    chosen = Chosen.get()
    st.title("How customers sounded")
    figures = tables().period(chosen, classifier_error())
    total = figures.total
    calls = int(total["calls"])
    if calls < MIN_GROUP:
        st.info(few(calls))
        return
    index, negative, escalated, scored = st.columns(4)
    interval = f"{total['index_low']:.1f} to {total['index_high']:.1f}" if pd.notna(total["index_low"]) else None
    index.metric(
        "Satisfaction index", number(_value(total["index_mean"]), 1), interval, delta_color="off", delta_arrow="off"
    )
    negative.metric("Negative speech", percent(_value(total["negative_share"])))
    escalated.metric("Escalated calls", percent(_value(total["escalated_share"])))
    scored.metric("Calls scored", number(calls))
    st.caption(
        "0 to 100; 60, the dashed line, is neutral throughout. Intervals are 95%, clustered by customer as in make "
        f"figures: they say what chance does between customers.{_level(total)} "
        f"Figures of fewer than {MIN_GROUP} calls are not shown."
    )
    st.markdown(_how_right(chosen))
    if len(figures.by_day) > 1:
        st.subheader("Day by day")
        changes = tables().model_changes(chosen)
        alt = "Satisfaction index with interval, by day"
        for each in changes:
            alt += f"; another model from {each.day:%-d %B} on, {each.after}"
        st.altair_chart(charts.index_over(figures.by_day, "day", kind="T", changes=changes), alt=alt)
    queues, hours = st.columns(2)
    with queues:
        st.subheader("By queue")
        st.altair_chart(charts.index_by(figures.by_queue, "queue"), alt="Satisfaction index with interval, by queue")
    with hours:
        st.subheader("By local hour")
        if figures.by_hour["index_mean"].notna().any():
            st.altair_chart(
                charts.index_over(figures.by_hour, "hour", kind="O"), alt="Satisfaction index with interval, by hour"
            )
        else:
            st.info(f"No hour has {MIN_GROUP} calls.")
    paths = tables().mood_paths(chosen)
    if paths["mood"].notna().any():
        st.subheader("Through a call")
        st.caption(
            "The customers' mean mood in the first 20% of their speech (start), in the quarters of the call, and in "
            "the last 20% of their speech (end); 0 is neutral."
        )
        st.altair_chart(charts.mood_paths(paths), alt="Mood through a call, by queue")
    by = {"queue": figures.by_queue, "team": figures.by_team, "hour": figures.by_hour, "day": figures.by_day}
    for name, groups in by.items():
        with st.expander(f"Table by {name}", expanded=name == "queue"):
            st.dataframe(in_words(groups, name), hide_index=True)


def _level(total: pd.Series[Any]) -> str:
    """What the interval of all calls is with the classifier's error, where that is known."""
    if pd.isna(total["level_low"]):
        return " How often the model is wrong, the page Judge says."
    return (
        f" With what the model may be off for all calls alike, by its card, the index is between "
        f"{total['level_low']:.1f} and {total['level_high']:.1f}."
    )


def _how_right(chosen: Filter) -> str:
    """What judgements say of the model that heard the period's last published day."""
    model_id = str(tables().publications(chosen)["model_id"].iloc[-1])
    measured = measure(of_model(labels().read(), model_id))
    if measured.says_something:
        return f"By people who listened, of the model {model_id}: {' '.join(measured.sentences)}"
    return (
        f"The model {model_id} is {NOT_YET}: {measured.judged} of its segments are judged, and from {FEWEST} on it is "
        "(page Judge)."
    )


def _value(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
