"""The dashboard's charts, in Altair: figures of a period, and a call's two speakers over time.

Colors are those of the report's pictures. Knows nothing of pages or of where the figures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt
import numpy as np
import pandas as pd

from reporting.course import ALL_CALLS, PATH
from reporting.dashboard.sound import STEP_S, Waveform
from reporting.drift import MUCH, NOTABLE, Drift, ModelChange
from reporting.figures import EMOTION_COLORS
from reporting.topics import TopicTime, side_by_side
from reporting.words import clock, printable
from schemas.definitions import INDEX_NEUTRAL

INDEX = alt.Scale(zero=False)
"""As far as the intervals reach, and the neutral line: over 0 to 100 those of many calls would not be seen."""
ACCENT = "#0b6e77"
GRAY = "#8a8578"
MARKS = ("#0b6e77", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c5e69")
"""Of queues beside each other: Okabe and Ito's, which can be told apart with any color vision, after the accent."""
PALE, ON_PALE = "#bfdde0", "#16191c"
NOT_CLASSIFIED = "not classified"
AGENT = "agent speaks"
_LANE = 2.2
_NAMES_WIDTH = 80
"""Of what stands left of a call's charts, so that they are of one scale."""
Drawn: TypeAlias = Any
"""A chart of Altair, whose methods' types say less than they give."""
_COLORS = {**EMOTION_COLORS, NOT_CLASSIFIED: "#d9d6cf", AGENT: "#b9b3a7"}


def index_over(figures: pd.DataFrame, title: str, *, kind: str, changes: Sequence[ModelChange] = ()) -> Drawn:
    """The index with its interval, over days (``kind`` T) or hours (O); a dotted line where the model changes."""
    base = alt.Chart(figures.dropna(subset=["index_mean"])).encode(x=alt.X(f"key:{kind}", title=title))
    where = alt.Y("index_mean:Q", title="satisfaction index", scale=INDEX)
    tooltip = ["key", "calls", alt.Tooltip("index_mean", format=".1f"), alt.Tooltip("index_low", format=".1f")]
    tooltip.append(alt.Tooltip("index_high", format=".1f"))
    marks = base.mark_rule(color=ACCENT, strokeWidth=2, opacity=0.5).encode(
        y=alt.Y("index_low:Q", scale=INDEX), y2="index_high:Q"
    )
    dots = alt.OverlayMarkDef(color=ACCENT, size=45)
    points = base.mark_line(color=ACCENT, point=dots).encode(y=where, tooltip=tooltip)
    layers = [_neutral("y"), marks, points]
    if changes:
        # Between the last day of the one model and the first of the other.
        where_new = [pd.Timestamp(each.day) - pd.Timedelta(hours=12) for each in changes]
        new = alt.Chart(pd.DataFrame({"key": where_new, "model": [each.after for each in changes]}))
        layers.append(new.mark_rule(strokeDash=[2, 3], color=GRAY).encode(x="key:T", tooltip=["model"]))
        text = new.mark_text(align="left", baseline="top", dx=4, y=0, color=GRAY)
        layers.append(text.encode(x="key:T", text=alt.value("another model")))
    return alt.layer(*layers).properties(height=240)


def index_by(figures: pd.DataFrame, title: str) -> Drawn:
    """The index of groups with their intervals, a row each."""
    base = alt.Chart(figures.dropna(subset=["index_mean"])).encode(
        y=alt.Y("key:N", title=None, sort=list(figures["key"]), axis=alt.Axis(labelLimit=220))
    )
    tooltip = [alt.Tooltip("key", title=title), "calls", alt.Tooltip("index_mean", format=".1f")]
    interval = base.mark_rule(color=ACCENT, strokeWidth=3, opacity=0.5).encode(
        x=alt.X("index_low:Q", scale=INDEX, title="satisfaction index"), x2="index_high:Q"
    )
    points = base.mark_point(color=ACCENT, filled=True, size=80).encode(x="index_mean:Q", tooltip=tooltip)
    return alt.layer(_neutral("x"), interval, points).properties(height=40 + 30 * len(figures))


def mood_paths(paths: pd.DataFrame) -> Drawn:
    """The mood through a call: a line a queue, and a broken one for all calls."""
    order = list(PATH.values())
    legend = alt.Legend(orient="top", labelLimit=220)
    lines = alt.Chart(paths.dropna(subset=["mood"])).encode(
        x=alt.X("point:O", sort=order, title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("mood:Q", title="mood, -1 to 1", scale=alt.Scale(zero=True)),
        color=alt.Color("queue:N", title=None, legend=legend, scale=alt.Scale(range=list(MARKS))),
        tooltip=["queue", "point", alt.Tooltip("mood", format="+.2f")],
    )
    of_all = alt.condition(f"datum.queue == '{ALL_CALLS}'", alt.value([6, 4]), alt.value([1, 0]))
    points = lines.mark_point(filled=True, size=60).encode(shape=alt.Shape("queue:N", title=None, legend=legend))
    return alt.layer(lines.mark_line().encode(strokeDash=of_all), points).properties(height=260)


def _neutral(axis: str) -> Drawn:
    line = alt.Chart(pd.DataFrame({"neutral": [INDEX_NEUTRAL]})).mark_rule(strokeDash=[4, 4], color=GRAY)
    return line.encode(**{axis: alt.X("neutral:Q") if axis == "x" else alt.Y("neutral:Q")})


def coverage(figures: pd.DataFrame) -> Drawn:
    """Scored of the expected contacts over days."""
    return (
        alt.Chart(figures)
        .mark_bar(color=ACCENT)
        .encode(
            x=alt.X("call_date:T", title="day"),
            y=alt.Y(
                "coverage:Q",
                title="calls scored of contacts expected",
                axis=alt.Axis(format="%"),
                scale={"domain": [0, 1]},
            ),
            tooltip=["call_date", "contacts_expected", "calls_scored", alt.Tooltip("coverage", format=".1%")],
        )
        .properties(height=200)
    )


def drift(found: Drift) -> Drawn:
    """The population stability index by measure, what it is by chance, and where its customary readings begin."""
    shown = pd.DataFrame(
        {"measure": each.quantity, "psi": each.psi, "by chance": each.by_chance, "moved": each.in_words}
        for each in found.shifts
        if each.verdict != "few"
    )
    # Most of the scale is for what is small: indices run from a hundredth to ten and more.
    scale = alt.Scale(type="sqrt", domain=[0, max(1.0, float(shown["psi"].max()))], nice=False)
    axis = alt.Axis(values=[0, NOTABLE, MUCH, 0.5, 1, 2, 5, 10, 20], format="~g", grid=False)
    base = alt.Chart(shown).encode(y=alt.Y("measure:N", title=None, sort=list(shown["measure"])))
    tooltip = ["measure", alt.Tooltip("psi", format=".3f"), alt.Tooltip("by chance", format=".3f"), "moved"]
    bars = base.mark_bar(color=ACCENT, height=14).encode(
        x=alt.X("psi:Q", title="population stability index", scale=scale, axis=axis), tooltip=tooltip
    )
    chance = base.mark_tick(color="#d55e00", thickness=3, size=24).encode(x=alt.X("by chance:Q", scale=scale))
    readings = alt.Chart(pd.DataFrame({"from": [NOTABLE, MUCH]})).mark_rule(strokeDash=[4, 4], color=GRAY)
    return alt.layer(readings.encode(x=alt.X("from:Q", scale=scale)), bars, chance).properties(
        height=50 + 34 * len(shown)
    )


def timeline(segments: pd.DataFrame, duration_s: float) -> Drawn:
    """Both speakers over time, the customer's segments by the color of their emotion; a click chooses a segment.

    Parameters
    ----------
    segments
        With role, start_s, end_s, emotion and confidence, and number, by which the choice ``segment`` names them.
    duration_s
        Of the call.
    """
    shown = segments.assign(
        says=np.where(segments["role"] == "agent", AGENT, segments["emotion"].fillna(NOT_CLASSIFIED)),
        speaker=segments["role"],
    )
    present = [name for name in _COLORS if name in set(shown["says"])]
    chosen = alt.selection_point(name="segment", fields=["number"])
    return (
        alt.Chart(shown)
        .mark_bar(height=22, cursor="pointer")
        .encode(
            x=alt.X("start_s:Q", title="seconds", scale=alt.Scale(domain=[0, max(duration_s, 1)], nice=False)),
            x2="end_s:Q",
            y=alt.Y("speaker:N", title=None, sort=["agent", "customer", "mixed"], axis=_names()),
            color=alt.Color(
                "says:N",
                title=None,
                scale=alt.Scale(domain=present, range=[_COLORS[name] for name in present]),
                legend=alt.Legend(orient="top", columns=4),  # a phone has no room for more
            ),
            opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.35)),
            tooltip=[
                alt.Tooltip("start_s", format=".1f"),
                alt.Tooltip("end_s", format=".1f"),
                "speaker",
                "says",
                alt.Tooltip("confidence", format=".0%"),
            ],
        )
        .add_params(chosen)
        .properties(height=alt.Step(34))
    )


def topics(told: Sequence[TopicTime], duration_s: float) -> Drawn:
    """What the call was about over time, on the timeline's scale; topics that overlap stand below each other."""
    shown = pd.DataFrame(
        {
            "start_s": each.start_s,
            "end_s": each.end_s,
            "row": number,
            "topic": printable(each.topic),
            "when": f"{clock(each.start_s)} to {clock(each.end_s)}",
        }
        for number, row in enumerate(side_by_side(told))
        for each in row
    )
    seconds = alt.Scale(domain=[0, max(duration_s, 1)], nice=False)
    axis = _names(labelExpr="datum.value == 0 ? 'about' : ''")
    base = alt.Chart(shown).encode(
        x=alt.X("start_s:Q", title=None, scale=seconds, axis=None), y=alt.Y("row:O", title=None, axis=axis)
    )
    bands = base.mark_bar(height=22, color=PALE, clip=True).encode(x2="end_s:Q", tooltip=["topic", "when"])
    named = base.mark_text(align="left", dx=4, color=ON_PALE, fontSize=12, clip=True).encode(text="topic:N")
    return alt.layer(bands, named).properties(height=alt.Step(28))


def _names(**more: Any) -> alt.Axis:
    return alt.Axis(minExtent=_NAMES_WIDTH, maxExtent=_NAMES_WIDTH, **more)


def sound(found: Waveform, duration_s: float) -> Drawn:
    """How loud each side is over time, a lane a role, on the timeline's scale."""
    seconds = np.arange(found.peaks.shape[1]) * STEP_S
    step = max(1, found.peaks.shape[1] // 1500)  # no screen shows more points
    # From the top as in the timeline: agent, customer, mixed.
    lanes = [_LANE * (len(found.roles) - 1 - sorted(found.roles).index(role)) for role in found.roles]
    rows = [
        pd.DataFrame({"seconds": seconds, "top": lane + peaks, "bottom": lane - peaks, "speaker": role})[::step]
        for role, lane, peaks in zip(found.roles, lanes, found.peaks, strict=True)
    ]
    named = " : ".join(f"datum.value == {lane} ? '{role}'" for role, lane in zip(found.roles, lanes, strict=True))
    return (
        alt.Chart(pd.concat(rows))
        .mark_area(color=ACCENT, opacity=0.7)
        .encode(
            x=alt.X("seconds:Q", title=None, scale=alt.Scale(domain=[0, max(duration_s, 1)], nice=False)),
            y=alt.Y(
                "top:Q",
                title=None,
                axis=_names(values=lanes, labelExpr=f"{named} : ''", grid=False),
                scale=alt.Scale(domain=[-1, max(lanes) + 1], nice=False),
            ),
            y2="bottom:Q",
            detail="speaker:N",
        )
        .properties(height=70 * len(lanes))
    )


def over_time(values: pd.DataFrame, name: str, title: str) -> Drawn:
    """A measure of the segments over time: a step a segment."""
    return (
        alt.Chart(values.dropna(subset=[name]))
        .mark_rule(color=ACCENT, strokeWidth=4)
        .encode(
            x=alt.X("start_s:Q", title="seconds"),
            x2="end_s:Q",
            y=alt.Y(f"{name}:Q", title=None, scale=alt.Scale(zero=False)),
        )
        .properties(height=170, title=alt.Title(title, anchor="start", fontWeight="normal", fontSize=13))
    )
