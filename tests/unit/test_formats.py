"""Every format, irregular file and layout of channels does what its case expects, and docs/formats.md says so."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_model.audio import CallReader
from ser_model.errors import RecordingError
from tests import format_table
from tests.format_table import FORMATS, IRREGULAR, LAYOUTS, REFUSED, Case, Format, written

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "formats.md"


@pytest.mark.parametrize("case", FORMATS, ids=lambda case: f"{case.container} {case.subtype}")
def test_a_format_is_read_at_every_rate(case: Format) -> None:
    assert format_table.found(case) == format_table.expected(case)


@pytest.mark.parametrize("case", [*IRREGULAR, *REFUSED, *LAYOUTS], ids=lambda case: case.what)
def test_a_file_has_the_outcome_that_is_expected(case: Case) -> None:
    assert format_table.tried(case) == case.outcome


def test_the_page_says_what_was_found() -> None:
    assert PAGE.read_text() == format_table.render() + "\n", "run make docs"


def test_a_wrong_reading_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in FORMATS if case.codec == "WAV/PCM_16")
    monkeypatch.setattr(format_table, "SIDES", ("agent", "customer"))
    assert format_table.found.__wrapped__(case) != format_table.expected(case)


@pytest.mark.parametrize(
    ("subtype", "rate_hz", "options", "most_kbit_s", "leak_db"),
    [
        ("MPEG_LAYER_III", 8000, {"compression_level": 0.99, "bitrate_mode": "CONSTANT"}, 8.5, (-200, -40)),
        ("VORBIS", 8000, {"compression_level": 0.99}, 21, (-200, -40)),
        ("OPUS", 8000, {"compression_level": 0.945}, 42, (-200, -40)),
        ("OPUS", 16000, {"compression_level": 0.945}, 42, (-200, -40)),
        ("OPUS", 48000, {"compression_level": 0.945}, 42, (-200, -40)),
        ("OPUS", 48000, {"compression_level": 0.975}, 25, (-30, 1)),
        ("OPUS", 48000, {"compression_level": 1.0}, 12, (-1, 1)),
    ],
)
def test_what_the_page_says_of_lossy_coding(
    subtype: str, rate_hz: int, options: dict[str, object], most_kbit_s: float, leak_db: tuple[float, float]
) -> None:
    """Both speak in turns; what is in the agent's channel while the customer speaks."""
    quiet = np.full(2 * rate_hz, 1e-4, dtype=np.float32) * (-1) ** np.arange(2 * rate_hz)
    customer = np.tile(np.concatenate([format_table.voice(2.0, 150, rate_hz), quiet]), 4)
    agent = np.tile(np.concatenate([quiet, format_table.voice(2.0, 110, rate_hz)]), 4)
    container = "MP3" if subtype == "MPEG_LAYER_III" else "OGG"
    coded = written(np.stack([customer, agent], axis=1), rate_hz, container, subtype, **options)
    heard, _ = soundfile.read(io.BytesIO(coded))
    customers = heard[: 16 * rate_hz].reshape(4, 4 * rate_hz, 2)[:, rate_hz // 2 : 3 * rate_hz // 2]
    left, right = np.square(customers).mean(axis=(0, 1))
    assert len(coded) * 8 / 16_000 <= most_kbit_s
    assert leak_db[0] < 10 * np.log10(right / left) < leak_db[1]


# What a damaged file may do. Each container once, and each decoder that is not plain PCM.
SEEDS = (
    ("WAV", "ULAW"),
    ("WAV", "FLOAT"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "G721_32"),
    ("WAV", "NMS_ADPCM_16"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "ULAW"),
    ("AIFF", "PCM_16"),
    ("AIFF", "IMA_ADPCM"),
    ("AU", "ULAW"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
)


@cache
def seed(container: str, subtype: str) -> bytes:
    n_channels = 1 if subtype in ("GSM610", "G721_32", "NMS_ADPCM_16") else 2
    return written(format_table.two_sides()[:16000, :n_channels], 8000, container, subtype)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    of=st.sampled_from(SEEDS),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
    flips=st.lists(
        st.tuples(st.one_of(st.integers(0, 150), st.integers(0, 2**20)), st.integers(0, 255)), min_size=1, max_size=8
    ),
)
def test_a_damaged_file_ends_in_a_reason(of: tuple[str, str], cut: float, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(seed(*of))
    for place, value in flips:
        damaged[place % len(damaged)] = value
    file = io.BytesIO(damaged[: round(cut * len(damaged))])
    try:
        for block in CallReader([file], ("customer", "agent"), 8000).blocks():
            assert block.dtype == np.int16
    except RecordingError as error:
        assert error.reason_code != RecordingError.reason_code
        assert " at 0x" not in str(error)
