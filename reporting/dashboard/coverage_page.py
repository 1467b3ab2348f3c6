"""The page of coverage and data quality: what was expected, what was scored, and why the rest was not."""

from __future__ import annotations

import streamlit as st

from reporting.dashboard import charts
from reporting.dashboard.shared import Chosen, tables
from reporting.words import NONE, percent
from schemas.reasons import REASONS


def show() -> None:
    """Show it."""
    chosen = Chosen.get()
    st.title("Coverage and data quality")
    st.caption("Of all queues and teams: the filters of queue and team do not count here.")
    by_day = tables().coverage(chosen)
    if not len(by_day):
        st.info("No day of that period was published.")
        return
    expected, scored = int(by_day["contacts_expected"].sum()), int(by_day["calls_scored"].sum())
    share, contacts, calls, days = st.columns(4)
    share.metric("Coverage", percent(scored / expected) if expected else NONE)
    contacts.metric("Contacts expected", f"{expected:,}")
    calls.metric("Calls scored", f"{scored:,}")
    days.metric("Days published", len(by_day))
    st.altair_chart(charts.coverage(by_day), alt="Coverage by day")
    left, right = st.columns(2)
    with left:
        st.subheader("By queue")
        by_queue = tables().coverage_by_queue(chosen)
        by_queue["coverage"] = [percent(None if each != each else each) for each in by_queue["coverage"]]
        st.dataframe(by_queue, hide_index=True)
        st.subheader("What was recorded")
        st.dataframe(tables().codecs(chosen), hide_index=True)
    with right:
        st.subheader("Not scored, and why")
        reasons = tables().not_scored(chosen)
        meant = {code: reason.why for code, reason in REASONS.items()}
        reasons["why"] = [meant.get(code, "") for code in reasons["reason_code"]]
        st.dataframe(reasons, hide_index=True)
    st.subheader("Publications")
    st.dataframe(tables().publications(chosen), hide_index=True)
