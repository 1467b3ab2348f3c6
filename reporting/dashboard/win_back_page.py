"""The page of customers to win back: whose last call ended badly, or who called again within 7 days."""

from __future__ import annotations

import streamlit as st

from reporting.dashboard.shared import Chosen, tables
from reporting.words import count


def show() -> None:
    """Show it."""
    chosen = Chosen.get()
    st.title("Customers to win back")
    found = tables().win_back(chosen)
    st.caption(
        f"Of the customers who called last on {chosen.last:%-d %B}, the last of the days chosen: whose call ended "
        "badly, or who called again within 7 days. By the calls of 28 days, without who opted out; trend is the index "
        "against the customer's earlier calls. A reason may be the model's mistake: hear the call before you call "
        "back. Those of all days, by today's list of opt-outs: make win-back."
    )
    if found.empty:
        st.info("There is none.")
        return
    st.markdown(f"{count(len(found), 'customer')}, the lowest index first.")
    shown = found[["contact_id", "reason", "queue", "index", "trend", "calls", "calls_again"]]
    reasons = shown["reason"].str.replace("_", " ")
    st.dataframe(shown.assign(reason=reasons), hide_index=True)
