"""The page of drift: how unlike the days before the data are, and since when another model hears the calls."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from reporting.course import DAYS_BEFORE
from reporting.dashboard import charts
from reporting.dashboard.shared import Chosen, tables
from reporting.drift import MUCH, NOTABLE, Drift
from reporting.words import NONE, number

COMPARED = {"the last of the days": True, "all of the days together": False}
VERDICTS = {"much": "much unlike", "some": "somewhat unlike", "usual": "as before", "few": "too few calls to say"}


def show() -> None:
    """Show it."""
    chosen = Chosen.get()
    st.title("Drift")
    days = [day for day in tables().days() if chosen.first <= day <= chosen.last]
    if not days:
        st.info("No day of that period was published.")
        return
    what = st.radio("Compare, of the days chosen", list(COMPARED), horizontal=True, key="compared")
    if COMPARED[what]:
        chosen = replace(chosen, first=days[-1], last=days[-1])
    with st.spinner("Counting the days"):
        found = tables().drift(chosen)
    when = f"{chosen.first:%-d %B %Y}" + (f" to {chosen.last:%-d %B %Y}" if chosen.first != chosen.last else "")
    st.subheader(f"{when} against the {DAYS_BEFORE} days before")
    st.markdown(" ".join(found.sentences))
    st.caption(
        "Of all queues and teams: the filters of queue and team do not count here. The population stability index "
        f"(PSI) is over calls: under {NOTABLE} is the same, {MUCH} and more is not (the dashed lines); where nothing "
        "changed it stays below what is by chance (the orange mark) in 99 of 100 cases. Another mix of queues moves "
        "everything."
    )
    if any(each.verdict != "few" for each in found.shifts):
        st.altair_chart(charts.drift(found), alt=f"Population stability index by measure. {' '.join(found.sentences)}")
    if found.shifts:
        st.dataframe(_in_words(found), hide_index=True)
    if found.changes:
        st.subheader("Changes of the model")
        changes = [{"from": each.day, "model": each.after, "before": each.before} for each in found.changes]
        st.dataframe(pd.DataFrame(changes), hide_index=True)


def _in_words(found: Drift) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "of the calls": each.quantity,
            "PSI": NONE if each.verdict == "few" else number(each.psi, 2),
            "by chance": NONE if each.verdict == "few" else number(each.by_chance, 2),
            "reading": VERDICTS[each.verdict],
            "calls": number(each.calls),
            "days before": number(each.days),
            "what moved most": NONE if each.verdict == "few" else each.in_words,
        }
        for each in found.shifts
    )
