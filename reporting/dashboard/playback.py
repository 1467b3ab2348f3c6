"""A call's sound for the pages: its waveform and pieces of it, or in a sentence why it cannot be heard."""

from __future__ import annotations

import streamlit as st

from reporting.dashboard.places import RecordingUnreachable
from reporting.dashboard.shared import places
from reporting.dashboard.sound import Waveform, excerpt, waveform
from ser_model.errors import SerModelError

KEPT = 32
"""So many pieces and waveforms stay in memory, for who goes back and forth."""
KEPT_S = 600


@st.cache_data(max_entries=KEPT, ttl=KEPT_S, show_spinner="Reading the recording")
def heard_waveform(addresses: tuple[str, ...]) -> Waveform | str:
    """How loud a recording's sides are over time; why not, as a sentence, where it cannot be reached or read."""
    recordings = places().recordings
    try:
        with recordings.opened(addresses) as files:
            return waveform(files, recordings.channel_roles(addresses[0]))
    except (RecordingUnreachable, SerModelError) as error:
        return str(error)


@st.cache_data(max_entries=KEPT, ttl=KEPT_S, show_spinner="Reading the recording")
def heard_piece(addresses: tuple[str, ...], start_s: float, end_s: float, only: str | None = None) -> bytes | str:
    """A piece of a recording as WAV; why not, as a sentence, where it cannot be reached or read.

    Parameters
    ----------
    only
        The role that is heard; None: all.
    """
    recordings = places().recordings
    try:
        with recordings.opened(addresses) as files:
            return excerpt(files, recordings.channel_roles(addresses[0]), start_s, end_s, only=only)
    except (RecordingUnreachable, SerModelError) as error:
        return str(error)
