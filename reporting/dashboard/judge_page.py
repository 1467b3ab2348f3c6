"""The page on which people judge segments: hear one, press a key, and only then see what the model says.

What they say goes to the table ``labels``; what follows from it for the model is below.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import streamlit as st

from jobs.errors import JobError
from jobs.labels import Label
from reporting.dashboard.playback import heard_piece
from reporting.dashboard.sampling import Drawn, draw
from reporting.dashboard.shared import Chosen, labels, tables
from reporting.judgements import FEWEST, NOT_YET, measure, of_model
from reporting.words import count, percent
from ser_model.taxonomy import MOOD

KEYS = {
    "a": "angry",
    "s": "sad",
    "f": "fearful",
    "d": "disgusted",
    "n": "neutral",
    "k": "calm",
    "h": "happy",
    "m": "amused",
    "u": "surprised",
    "b": "bored",
}
"""The key of each emotion, none of them c or r, which Streamlit keeps. Sleepy has none: few sound so in a call."""
MOOD_KEYS = {"1": "negative", "2": "neutral", "3": "positive"}
UNCLEAR_KEY = "x"
A_ROW = 5
_PSEUDONYM = re.compile(r"[A-Za-z0-9_-]{2,20}")


def show() -> None:
    """Show it."""
    st.title("Hear and judge")
    annotator = st.text_input(
        "Your pseudonym",
        key="annotator",
        help="2 to 20 letters, digits, - or _; not your name. It stands beside what you judge.",
        max_chars=20,
    ).strip()
    if not _PSEUDONYM.fullmatch(annotator):
        st.info("Choose a pseudonym of 2 to 20 letters, digits, - or _, the same every time.")
    else:
        _queue(annotator)
    st.divider()
    _measured()


def _queue(annotator: str) -> None:
    """Play the next segment, and take what is judged."""
    waiting: list[Drawn] = st.session_state.get("queue", [])
    drawn_for = (annotator, Chosen.get())
    if not waiting or st.session_state.get("queue_for") != drawn_for:
        with st.spinner("Drawing segments"):
            waiting = draw(tables(), Chosen.get(), labels().read(), annotator)
        st.session_state["queue"], st.session_state["queue_for"] = waiting, drawn_for
    _last_judged()
    if not waiting:
        st.success("Everything that there was to draw from these days and queues is judged.")
        return
    segment = waiting[0]
    st.caption(f"{len(waiting)} of this batch are left. Press a key for what you hear in the voice, not in the words.")
    addresses = tuple(tables().addresses(segment.call_date, segment.contact_id))
    piece: bytes | str = "Nothing is known any more of where this call's recording is."
    if addresses:
        piece = heard_piece(addresses, segment.start_s, segment.end_s, segment.role)
    if isinstance(piece, str):
        st.warning(piece)
        st.button("Go on with the next", on_click=_skip, key="skip")
        return
    st.audio(piece, autoplay=True, alt="The segment to judge")
    emotions = [(key, (emotion, emotion, MOOD[emotion])) for key, emotion in KEYS.items()]
    for row in (emotions[:A_ROW], emotions[A_ROW:]):
        _keys(dict(row), annotator)
    others = {key: (f"{mood}, no more", None, mood) for key, mood in MOOD_KEYS.items()}
    _keys({**others, UNCLEAR_KEY: ("cannot tell", None, None)}, annotator)


def _keys(choices: dict[str, tuple[str, str | None, str | None]], annotator: str) -> None:
    """A row of buttons, each with its key, what it says, and the emotion and mood that it gives."""
    for column, (key, (says, emotion, mood)) in zip(st.columns(len(choices)), choices.items(), strict=True):
        column.button(
            says, key=f"judge-{key}", shortcut=key, on_click=_judge, args=(emotion, mood, annotator), width="stretch"
        )


def _skip() -> None:
    st.session_state["queue"] = st.session_state["queue"][1:]


def _judge(emotion: str | None, mood: str | None, annotator: str) -> None:
    """Keep what was judged; where that fails the segment stays."""
    segment: Drawn = st.session_state["queue"][0]
    label = Label(
        segment.call_date,
        segment.contact_id,
        segment.role,
        segment.start_s,
        segment.end_s,
        emotion,
        mood,
        annotator,
        segment.sampled_by,
        segment.weight,
        segment.model_id,
        segment.model_emotion,
        segment.model_confidence,
        datetime.now(UTC),
    )
    try:
        labels().add(label)
    except JobError as error:
        st.session_state["judged"] = f"Not kept: {error}"
        return
    said = emotion or mood or "that you cannot tell"
    st.session_state["judged"] = (
        f"You said {said}; the model said {segment.model_emotion}, {percent(segment.model_confidence)}."
    )
    _skip()


def _last_judged() -> None:
    if "judged" in st.session_state:
        st.info(st.session_state["judged"])


def _measured() -> None:
    """What all judgements say of each model."""
    st.subheader("What the judgements say")
    found = labels().read()
    for model_id in sorted(found["model_id"].unique().to_pylist(), reverse=True):
        measured = measure(of_model(found, model_id))
        st.markdown(f"**Model {model_id}**, {count(measured.judged, 'segment')} judged")
        for sentence in measured.sentences:
            st.markdown(f"- {sentence}")
    if not found.num_rows:
        st.markdown(f"The model is {NOT_YET}.")
    st.caption(
        f"Intervals are 95%. Under {FEWEST} judgements nothing is said. Random draws are of all customer segments of "
        "1 s and more, flagged ones of those that the model calls angry."
    )
