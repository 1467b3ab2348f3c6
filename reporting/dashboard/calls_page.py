"""The call explorer: the calls most worth hearing, and one of them with its timeline, sound and segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import pandas as pd
import streamlit as st

from reporting.dashboard import charts
from reporting.dashboard.playback import heard_piece, heard_waveform
from reporting.dashboard.shared import Chosen, tables
from reporting.dashboard.tables import MAX_CALLS
from reporting.figures import topics_in_words
from reporting.topics import TopicTime, topics_at
from reporting.words import NONE, clock, number, percent, printable, signed
from schemas.definitions import REVIEW_REASONS

PLAYED_S = 120.0
"""At most so much is cut out to be heard, from the chosen segment on."""
Row: TypeAlias = dict[str, Any]
SHOWN = ("start_s", "end_s", "role", "emotion", "confidence", "valence", "arousal", "loudness_dbfs", "pitch_hz")


def show() -> None:
    """Show it."""
    st.title("Calls to hear")
    calls = tables().calls(Chosen.get())
    if not len(calls):
        st.info("There are no such calls.")
        return
    if len(calls) == MAX_CALLS:
        st.caption(f"The {MAX_CALLS} most worth hearing; choose fewer days, or a queue or team, for others.")
    rows: list[Row] = _rows(calls)
    names = [_name(row) for row in rows]
    picked = st.selectbox(
        "Call, the one most worth hearing first", range(len(calls)), format_func=lambda place: names[place], key="call"
    )
    call = rows[picked]
    st.subheader(names[picked])
    _figures(call)
    segments = tables().segments(call["call_date"], call["contact_id"])
    if not len(segments):
        st.info("The segments of this call are past their lifetime.")
        return
    segments["number"] = range(len(segments))
    told = tables().call_topics(call["call_date"], call["contact_id"])
    segments["about"] = [
        ", ".join(map(printable, topics_at(told, start_s, end_s)))
        for start_s, end_s in zip(segments["start_s"], segments["end_s"], strict=True)
    ]
    start = _chosen_segment(segments, told, float(call["duration_s"]), str(call["contact_id"]))
    _sound(call, _rows(segments)[start])
    st.markdown("**Segments**")
    known = [name for name in map(str, segments) if name.startswith("p_") and segments[name].notna().any()]
    about = ["about"] if told else []
    st.dataframe(segments[[*SHOWN[:3], *about, *SHOWN[3:], *known]].round(2), hide_index=True, height=320)
    st.caption(f"Contact {call['contact_id']} · recording {call['source_uri']} · model {call['model_id']}")


def _rows(frame: pd.DataFrame) -> list[Row]:
    return cast(list[Row], frame.to_dict("records"))


def _name(call: Row) -> str:
    queue = printable(call["queue"]) if call["queue"] else "no queue"
    day, started_at = call["call_date"], call["started_at"]
    started: str = f"{day:%Y-%m-%d}" if pd.isna(started_at) else f"{started_at:%Y-%m-%d %H:%M} UTC"
    index: str = "no index" if pd.isna(call["satisfaction_index"]) else f"index {call['satisfaction_index']:.0f}"
    reasons = [str(code).replace("_", " ") for code in call["review_reasons"]]
    return " · ".join([started, queue, clock(call["duration_s"]), index, *reasons[:2], str(call["contact_id"])[:8]])


def _figures(call: Row) -> None:
    def value(name: str) -> float | None:
        return None if pd.isna(call[name]) else float(call[name])

    index, negative, anger, mood, silence = st.columns(5)
    low, high = value("satisfaction_low"), value("satisfaction_high")
    interval = None if low is None or high is None else f"{low:.0f} to {high:.0f}"
    index.metric("Index (90%)", number(value("satisfaction_index")), interval, delta_color="off", delta_arrow="off")
    negative.metric("Negative speech", percent(value("negative_share")))
    peak = value("anger_peak")
    anger.metric("Anger peak", NONE if peak is None else f"{peak:.2f}")
    mood.metric("Mood, start to end", signed(value("mood_change")))
    silence.metric("Longest silence", f"{call['longest_silence_s']:.0f} s")
    for code in call["review_reasons"]:
        st.markdown(f"- {REVIEW_REASONS.get(code, code)}")


def _chosen_segment(segments: pd.DataFrame, told: Sequence[TopicTime], duration_s: float, contact_id: str) -> int:
    """Show the timeline and what the call was about; the number of the segment that was clicked or chosen below."""
    key, clicked = f"from-{contact_id}", f"timeline-{contact_id}"

    def take() -> None:
        points = st.session_state[clicked]["selection"].get("segment") or []
        if points:
            st.session_state[key] = int(points[0]["number"])

    st.altair_chart(
        charts.timeline(segments, duration_s),
        key=clicked,
        on_select=take,
        alt="Who speaks when, and the customer's emotion by color; the table below has the same.",
    )
    if told:
        st.altair_chart(charts.topics(told, duration_s), alt=f"What the call is about: {topics_in_words(told)}.")
    says = [
        f"{clock(row['start_s'])} {row['role']}" + (f", {row['emotion']}" if row["emotion"] else "")
        for row in segments.to_dict("records")
    ]
    label = "Hear from (or click in the timeline)"
    return int(st.selectbox(label, range(len(says)), format_func=lambda each: says[each], key=key))


def _sound(call: Row, segment: Row) -> None:
    addresses = tuple(tables().addresses(call["call_date"], call["contact_id"]))
    if not addresses:
        st.info("Nothing is known any more of where this call's recording is.")
        return
    found = heard_waveform(addresses)
    if isinstance(found, str):
        st.info(found)
        return
    start_s = float(segment["start_s"])
    piece = heard_piece(addresses, start_s, min(start_s + PLAYED_S, float(call["duration_s"])))
    if isinstance(piece, str):
        st.info(piece)
        return
    st.audio(piece, alt=f"The call from {clock(start_s)} on")
    st.altair_chart(charts.sound(found, float(call["duration_s"])), alt="How loud each side is over time")
