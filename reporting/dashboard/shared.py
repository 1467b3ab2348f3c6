"""What the dashboard's pages share: the places, the tables, the calls that are chosen, and how figures are written."""

from __future__ import annotations

import sys
from datetime import date
from xml.etree import ElementTree

import pandas as pd
import streamlit as st
from markupsafe import Markup

from jobs.labels import Labels
from reporting import figures
from reporting.aggregates import ClassifierError
from reporting.dashboard.places import Places
from reporting.dashboard.tables import MIN_GROUP, Filter, Tables
from reporting.words import NONE, number, percent
from ser_model.classifier import ModelCard
from ser_model.errors import SerModelError

REFRESH_S = 30
"""How old what is shown may be: so long the tables are not looked at for new publications."""


class Chosen:
    """The calls that the sidebar's filter chooses, for the run of the script that is under way."""

    @staticmethod
    def put(chosen: Filter) -> None:
        """Keep what was chosen."""
        st.session_state["filter"] = chosen

    @staticmethod
    def get() -> Filter:
        """What was chosen."""
        found = st.session_state["filter"]
        if not isinstance(found, Filter):
            raise TypeError(f"the filter is a {type(found).__name__}; expected what Chosen.put kept")
        return found


@st.cache_resource(show_spinner=False)
def places() -> Places:
    """Where the data are, by the arguments of the script."""
    return Places.of(sys.argv[1:])


@st.cache_resource(show_spinner="Opening the tables")
def _tables() -> Tables:
    return Tables(places().warehouse)


@st.cache_data(ttl=REFRESH_S, show_spinner=False)
def _refreshed() -> bool:
    return _tables().refreshed()


def tables() -> Tables:
    """The published tables, not older than `REFRESH_S`."""
    found = _tables()
    _refreshed()
    return found


@st.cache_resource(show_spinner=False)
def labels() -> Labels:
    """The judgements of the warehouse; each read sees those of others."""
    return Labels(places().warehouse)


@st.cache_resource(show_spinner=False)
def classifier_error() -> ClassifierError | None:
    """What the model's card says of how far it may be off; None where it says nothing, or there is none."""
    try:
        return ClassifierError.of_card(ModelCard.load(places().model))
    except SerModelError:
        return None


PICTURE_COLORS = {
    "light": "--ink:#31333f;--muted:#5c5e69;--line:#dfe0e4;",
    "dark": "--ink:#fafafa;--muted:#b4b5bb;--line:#3b3e48;",
}
"""What the report's pictures take from the page, in Streamlit's colors."""
LEGEND_STYLE = """
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; margin: 0; }
.legend li { margin: 0 !important; font-size: .9rem; }
.legend .swatch { display: inline-block; width: 14px; height: 14px; border-radius: 3px; margin-right: 6px;
  vertical-align: -2px; }
"""
PICTURE_WIDTH = 520


def picture(drawn: Markup, legend: Markup) -> None:
    """Show a picture of the report (`reporting.figures`) with its legend.

    Streamlit takes SVG as an image alone, so what the picture says to those who cannot see it becomes its alternative
    text, and the page's colors are written into it.
    """
    root = ElementTree.fromstring(drawn)  # noqa: S314 - drawn by reporting.figures
    says = ": ".join(str(root.findtext(part)) for part in ("title", "desc"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    theme = PICTURE_COLORS["dark" if st.context.theme.type == "dark" else "light"]
    style = f":root{{font-family:sans-serif;{theme}{figures.color_variables()}}}"
    size = f'width="{PICTURE_WIDTH}" height="{PICTURE_WIDTH * height / width:.0f}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size}'
    st.image(str(drawn).replace("<svg", opening, 1).replace("><title", f"><style>{style}</style><title", 1), alt=says)
    colors = f".legend{{{figures.color_variables()}}}"
    st.html(f'<ul class="legend"><style>{LEGEND_STYLE}{colors}</style>{legend}</ul>')


def few(calls: int) -> str:
    """What is said instead of figures of too few calls."""
    return f"Fewer than {MIN_GROUP} calls: no figures are shown of so few." if calls else "There are no such calls."


def in_words(figures: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table of figures as people read them; suppressed ones are a dash."""

    def written(value: float, as_percent: bool) -> str:
        if pd.isna(value):
            return NONE
        return percent(float(value)) if as_percent else number(float(value), 1)

    def between(low: str, high: str) -> list[str]:
        bounds = zip(figures[low], figures[high], strict=True)
        return [NONE if pd.isna(least) else f"{least:.1f} to {most:.1f}" for least, most in bounds]

    level = {"with the model's error": between("level_low", "level_high")}
    return pd.DataFrame(
        {
            name: [each.isoformat() if isinstance(each, date) else str(each) for each in figures["key"]],
            "calls": [number(each) if each >= MIN_GROUP else f"under {MIN_GROUP}" for each in figures["calls"]],
            "index": [written(each, False) for each in figures["index_mean"]],
            "95% interval": between("index_low", "index_high"),
            **(level if figures["level_low"].notna().any() else {}),
            "negative speech": [written(each, True) for each in figures["negative_share"]],
            "escalated": [written(each, True) for each in figures["escalated_share"]],
            "recovered": [written(each, True) for each in figures["recovered_share"]],
        }
    )
