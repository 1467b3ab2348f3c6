"""The dashboard's pages, as Streamlit runs them: ``make dashboard``. docs/dashboard.md says what each is for.

Streamlit runs this file from the top with every change of a widget. What is asked of the tables is in `tables`, what
is drawn in `charts`.
"""

from __future__ import annotations

from datetime import date, timedelta

import streamlit as st

from jobs.errors import JobError
from reporting.dashboard import (
    calls_page,
    coverage_page,
    drift_page,
    judge_page,
    period_page,
    topics_page,
    try_page,
    win_back_page,
)
from reporting.dashboard.shared import Chosen, tables
from reporting.dashboard.tables import Filter

DEFAULT_DAYS = 28
CAUTION = (
    "An emotion is a model's estimate from the sound of a voice, often wrong: decide nothing about a person by it."
)


def main() -> None:
    """Choose a page and what it is about, and show it."""
    # No icons, here and of pages: the browser would fetch them from elsewhere.
    st.set_page_config("Callmood", layout="wide")
    try:
        days = tables().days()
    except JobError as error:
        st.error(f"The warehouse cannot be read: {error}")
        return
    if not days:
        st.info("Nothing is published there yet: make demo or make run DATE=YYYY-MM-DD does.")
        return
    pages = [
        st.Page(period_page.show, title="Period", url_path="period", default=True),
        st.Page(topics_page.show, title="Topics", url_path="topics"),
        st.Page(coverage_page.show, title="Coverage", url_path="coverage"),
        st.Page(drift_page.show, title="Drift", url_path="drift"),
        st.Page(calls_page.show, title="Calls", url_path="calls"),
        st.Page(win_back_page.show, title="Win back", url_path="win-back"),
        st.Page(judge_page.show, title="Judge", url_path="judge"),
        st.Page(try_page.show, title="Try a recording", url_path="try"),
    ]
    page = st.navigation(pages)
    Chosen.put(_filter(days))
    page.run()


def _filter(days: list[date]) -> Filter:
    """Ask in the sidebar which calls."""
    first, last = days[0], days[-1]
    default = (max(first, last - timedelta(days=DEFAULT_DAYS - 1)), last)
    with st.sidebar:
        chosen = st.date_input("Days", default, min_value=first, max_value=last, key="days")
        # While the second day is being chosen there is the first alone.
        picked = [each for each in chosen if each is not None] if isinstance(chosen, tuple) else [chosen]
        start, end = (picked[0], picked[-1]) if picked else default
        queues = st.multiselect("Queues", tables().values("queue", start, end), placeholder="all", key="queues")
        teams = st.multiselect("Teams", tables().values("team", start, end), placeholder="all", key="teams")
        st.caption(CAUTION)
    return Filter(start, end, tuple(queues), tuple(teams))


main()
