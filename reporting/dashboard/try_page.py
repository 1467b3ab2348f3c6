"""The page that tries the model on a recording: uploaded, or spoken into the microphone; nothing of it is kept."""

from __future__ import annotations

from typing import BinaryIO

import pandas as pd
import streamlit as st

from reporting.dashboard import charts
from reporting.dashboard.shared import places
from reporting.words import clock, count, listing
from ser_model.classifier import Classifier
from ser_model.errors import SerModelError
from ser_model.recording import SegmentExtractor
from ser_model.recording_emotions import RecordingEmotions, classify_recording

SIDES = {"customer left, agent right": ("customer", "agent"), "agent left, customer right": ("agent", "customer")}
MEASURES = {
    "loudness_dbfs": "loudness, dBFS",
    "pitch_hz": "pitch, Hz",
    "speaking_rate_hz": "speaking rate, syllables/s",
}


def show() -> None:
    """Show it."""
    st.title("Try a recording")
    left, right = st.columns(2)
    uploaded = left.file_uploader("Upload a recording (WAV, MP3, FLAC, ...)", key="upload")
    spoken = right.audio_input("Or speak", sample_rate=16000, key="spoken")
    sides = left.selectbox("If it has two channels", list(SIDES), key="sides")
    st.caption(
        "It is read on the machine that serves this page and is not kept. One channel is taken for one voice, or "
        "several that cannot be told apart."
    )
    given = uploaded or spoken
    if given is None:
        return
    try:
        found = _classified(given, sides)
    except SerModelError as error:
        st.error(f"This cannot be scored: {error}.")
        return
    given.seek(0)
    st.audio(given)
    _what_was_heard(found)


def _classified(given: BinaryIO, sides: str) -> RecordingEmotions:
    classifier, extractor = _model()
    with st.spinner("Listening"):
        return classify_recording("recording", [given], SIDES[sides], extractor, classifier)  # type: ignore[arg-type]


@st.cache_resource(show_spinner="Loading the model")
def _model() -> tuple[Classifier, SegmentExtractor]:
    classifier = Classifier.load(places().model)
    return classifier, SegmentExtractor(classifier.card.feature_spec, {"customer", "mixed"})


def _what_was_heard(found: RecordingEmotions) -> None:
    info = found.recording.info
    rows = []
    for segment, said in zip(found.recording.segments, found.segments, strict=True):
        row: dict[str, object] = {
            "start_s": said.start_s,
            "end_s": said.end_s,
            "role": said.role,
            "emotion": said.emotion,
            "confidence": said.confidence,
        }
        for name in (*MEASURES, "pitch_range_st"):
            row[name] = None if segment.prosody is None else round(getattr(segment.prosody, name), 2)
        row |= {f"p_{label}": value for label, value in zip(found.card.labels, said.probabilities, strict=False)}
        rows.append(row)
    segments = pd.DataFrame(rows)
    segments["number"] = range(len(segments))
    heard = segments[segments["emotion"].notna()]
    st.subheader(f"{count(len(segments), 'segment')} in {clock(info.duration_s)}, {len(heard)} classified")
    st.altair_chart(charts.timeline(segments, info.duration_s), alt="Who speaks when, and the emotion by color")
    if len(heard):
        for column, (name, title) in zip(st.columns(len(MEASURES)), MEASURES.items(), strict=True):
            if heard[name].notna().any():
                column.altair_chart(charts.over_time(heard, name, title), alt=f"{title} over time")
    st.dataframe(segments.drop(columns="number"), hide_index=True)
    st.markdown(_limits(found))


def _limits(found: RecordingEmotions) -> str:
    """What the model can and cannot tell."""
    card = found.card
    sure = [each for each in found.segments if len(each.emotion_set) == 1]
    classified = [each for each in found.segments if each.emotion is not None]
    said = (
        f"In {len(sure)} of {count(len(classified), 'segment')} one emotion alone is likely, in the others several are."
    )
    return (
        "**What it can tell.** How a voice sounds, of "
        f"{listing(list(card.labels))}, in segments of up to 3 s. The most probable one is a guess; the probabilities "
        f"say how good a one. {said}\n\n"
        "**What it cannot tell.** What is said, irony, why somebody feels so, or what a face would show. It learnt "
        "from actors, mostly: real customers show less. Other languages, ages and voices than it has heard, noise, and "
        "a poor line make it worse. It knows nothing of the person, and is no ground to decide anything about one.\n\n"
        f"Model {card.model_id}" + ("" if card.commercial_use else "; its weights may not be used commercially") + "."
    )
