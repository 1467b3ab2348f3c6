"""Decoding: samples at the right rate and level, streams of channels, two files in step, lengths that are checked."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.audio import CallReader, ChannelRole
from ser_model.errors import RecordingError, UnsupportedChannels
from ser_model.features import from_pcm16
from tests.format_table import flac_of_total, mono, mp3, soft_then_loud, two_sides, written

RATE = 8000
STEP = 1 / 32768
SIDES: Sequence[ChannelRole] = ("customer", "agent")


def read(*files: bytes, roles: Sequence[ChannelRole] = SIDES, rate_hz: int = RATE) -> tuple[np.ndarray, CallReader]:
    reader = CallReader([io.BytesIO(file) for file in files], roles, rate_hz)
    return from_pcm16(np.concatenate(list(reader.blocks()), axis=1)), reader


def refused(*files: bytes, roles: Sequence[ChannelRole] = SIDES) -> RecordingError:
    with pytest.raises(RecordingError) as error:
        read(*files, roles=roles)
    return error.value


def tone(rate_hz: int, seconds: float = 3.0, frequency_hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("level_dbfs", [0, -10, -20, -30, -40, -50])
@pytest.mark.parametrize(
    ("subtype", "error_dbfs", "error_db"),
    [("PCM_16", -90, 0), ("PCM_24", -100, 0), ("FLOAT", -100, 0), ("ULAW", 0, -28), ("ALAW", 0, -19)],
)
def test_levels_are_kept(level_dbfs: float, subtype: str, error_dbfs: float, error_db: float) -> None:
    """But for what the coding costs: in PCM as much at every level, in G.711 the less the softer."""
    sound = tone(RATE, level=10 ** (level_dbfs / 20) * 0.999)
    heard, _ = read(written(np.stack([sound, -sound], axis=1), RATE, "WAV", subtype))
    allowed_db = min(error_dbfs, 10 * np.log10(np.mean(np.square(sound))) + error_db) if error_db else error_dbfs
    for stream, sign in zip(heard, (1, -1), strict=True):
        assert 10 * np.log10(np.mean(np.square(stream - sign * sound)) + 1e-20) < allowed_db


@pytest.mark.parametrize("from_hz", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("to_hz", [8000, 16000])
@pytest.mark.parametrize("block_s", [30.0, 0.7])
def test_a_tone_is_itself_at_another_rate(
    from_hz: int, to_hz: int, block_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_model.audio.BLOCK_S", block_s)
    heard, reader = read(written(tone(from_hz), from_hz, "WAV", "FLOAT"), roles=("customer",), rate_hz=to_hz)
    assert heard.shape[1] == pytest.approx(3 * to_hz, abs=2)
    assert reader.info.duration_s == 3
    inner = slice(to_hz // 10, 29 * to_hz // 10)
    assert np.abs(heard[0, inner] - tone(to_hz)[inner]).max() < 2e-3


def test_what_is_above_the_band_is_gone() -> None:
    heard, _ = read(written(tone(48000, frequency_hz=6000), 48000, "WAV", "FLOAT"), roles=("customer",))
    assert np.abs(heard[0, 800:-800]).max() < 1e-3


@pytest.mark.parametrize(
    ("roles", "streams", "expected"),
    [
        (("customer", "agent", "none", "none"), ("customer", "agent"), ([0], [1])),
        (("none", "agent", "none", "customer"), ("agent", "customer"), ([1], [3])),
        (("customer", "agent", "agent", "none"), ("customer", "agent"), ([0], [1, 2])),
        (("agent", "customer", "agent", "customer"), ("agent", "customer"), ([0, 2], [1, 3])),
        (("mixed", "mixed", "mixed", "mixed"), ("mixed",), ([0, 1, 2, 3],)),
        (("none", "none", "customer", "none"), ("customer",), ([2],)),
    ],
)
def test_channels_are_those_of_the_map(
    roles: Sequence[ChannelRole], streams: Sequence[str], expected: Sequence[Sequence[int]]
) -> None:
    sound = np.random.default_rng(3).uniform(-0.5, 0.5, (2 * RATE, 4)).astype(np.float32)
    heard, reader = read(written(sound, RATE, "WAV", "FLOAT"), roles=roles)
    assert reader.roles == streams
    assert reader.info.channels == 4
    for stream, channels in zip(heard, expected, strict=True):
        assert np.allclose(stream, sound[:, channels].mean(axis=1), atol=STEP)


@pytest.mark.parametrize(
    ("n_channels", "roles", "streams"),
    [
        (1, ("customer", "agent"), ("mixed",)),
        (1, ("customer", "none"), ("mixed",)),
        (1, ("customer",), ("customer",)),
        (1, ("agent",), ("agent",)),
        (1, ("mixed",), ("mixed",)),
        (2, ("agent", "customer"), ("agent", "customer")),
        (2, ("customer",), None),
        (2, ("customer", "agent", "none"), None),
        (2, ("none", "none"), None),
        (3, ("customer", "agent"), None),
    ],
)
def test_roles_of_one_file(n_channels: int, roles: Sequence[ChannelRole], streams: Sequence[str] | None) -> None:
    file = written(np.tile(mono()[:, None], (1, n_channels)))
    if streams is None:
        assert isinstance(refused(file, roles=roles), UnsupportedChannels)
    else:
        assert read(file, roles=roles)[1].roles == streams


def test_clipped_samples_are_those_of_the_channels_that_are_read_at_their_own_rate() -> None:
    sound = np.zeros((44100 * 2, 3), dtype=np.float32)
    sound[1000:1441, 0] = 1.0
    sound[:, 2] = -1.0
    _, reader = read(written(sound, 44100, "WAV", "PCM_16"), roles=("customer", "agent", "none"))
    assert reader.clipped_share == 441 / (2 * len(sound))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
def test_full_scale_is_clipped_and_half_scale_is_not(subtype: str) -> None:
    sound = np.repeat(np.array([[1.5, 0.5]], dtype=np.float32), 2 * RATE, axis=0)
    heard, reader = read(written(sound if subtype == "FLOAT" else np.clip(sound, -1, 1), RATE, "WAV", subtype))
    assert reader.clipped_share == 0.5
    assert heard.max() <= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_silence(odd: float) -> None:
    sound = two_sides().copy()
    sound[1000:1100, 0] = odd
    heard, reader = read(written(sound, RATE, "WAV", "DOUBLE"))
    assert (heard[0, 1000:1100] == 0).all()
    assert np.allclose(heard[1], sound[:, 1], atol=STEP)
    assert reader.clipped_share == 0


# Two files.


@pytest.mark.parametrize("block_s", [30.0, 0.7])
@pytest.mark.parametrize(
    ("first_s", "second_s"), [(6.0, 6.0), (2.0, 6.0), (6.0, 2.0), (0.3, 6.0), (6.0, 0.7), (1.4, 2.1)]
)
def test_the_shorter_of_two_files_goes_on_in_digital_silence(
    first_s: float, second_s: float, block_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_model.audio.BLOCK_S", block_s)
    sides = [tone(RATE, first_s), tone(RATE, second_s, 300)]
    heard, reader = read(*(written(side, RATE, "WAV", "FLOAT") for side in sides))
    assert heard.shape == (2, max(map(len, sides)))
    assert reader.info.duration_s == max(first_s, second_s)
    for stream, side in zip(heard, sides, strict=True):
        assert np.allclose(stream[: len(side)], side, atol=STEP)
        assert (stream[len(side) :] == 0).all()


def test_two_files_of_other_rates_and_encodings_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_model.audio.BLOCK_S", 1.1)
    sides = written(tone(44100), 44100, "FLAC", "PCM_16"), written(tone(RATE), RATE, "WAV", "PCM_16")
    heard, reader = read(*sides)
    assert np.abs(heard[0] - heard[1])[400:-400].max() < 2e-3
    assert reader.info.codec == "FLAC/PCM_16+WAV/PCM_16"
    assert (reader.info.sample_rate_hz, reader.info.channels) == (44100, 2)
    assert read(sides[1], sides[1])[1].info.codec == "WAV/PCM_16"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(written(mono()[:0]), "empty", id="no audio"),
        pytest.param(b"<html>not found</html>", "not_audio", id="no audio file"),
        pytest.param(written(mono())[:9000], "truncated", id="cut"),
        pytest.param(written(mono(), container="FLAC", subtype="PCM_16")[:9000], "truncated", id="cut while decoding"),
        pytest.param(written(two_sides()), "unsupported_channels", id="stereo"),
        pytest.param(written(mono(), 6000), "unsupported_rate", id="rate"),
        pytest.param(flac_of_total(7 * 3600 * RATE), "too_long", id="too long"),
    ],
)
def test_an_error_says_whose_file_it_is_about(bad: bytes, reason: str) -> None:
    good = written(mono())
    for files, owner in (((bad, good), "customer"), ((good, bad), "agent")):
        error = refused(*files)
        assert error.reason_code == reason
        assert str(error).startswith(f"in the {owner}'s file: ")
        assert str(refused(*files, roles=("agent", "customer"))).startswith("in the ")


@pytest.mark.parametrize("roles", [("customer",), ("customer", "customer"), ("customer", "none"), ("mixed", "agent")])
def test_two_files_are_one_of_each_side(roles: Sequence[ChannelRole]) -> None:
    assert isinstance(refused(written(mono()), written(mono()), roles=roles), UnsupportedChannels)


def test_two_files_that_are_both_too_short_are_too_short() -> None:
    assert refused(written(mono()[:4000]), written(mono()[:7000])).reason_code == "too_short"


# Lengths.


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "ULAW"),
        ("WAV", "PCM_24"),
        ("WAV", "MS_ADPCM"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "ULAW"),
        ("FLAC", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.88])
def test_a_cut_file_is_truncated_wherever_it_was_cut(container: str, subtype: str, share: float) -> None:
    content = written(two_sides(), RATE, container, subtype)
    assert refused(content[: round(len(content) * share)]).reason_code == "truncated"


@pytest.mark.parametrize(
    ("container", "audio_at"), [("WAV", 44), ("RF64", 104), ("W64", 104), ("AIFF", 54), ("AU", 24), ("FLAC", 42)]
)
def test_a_file_that_ends_before_its_audio_is_truncated(container: str, audio_at: int) -> None:
    content = written(two_sides(), RATE, container, "PCM_16")
    for length in range(12, audio_at + 2):
        assert refused(content[:length]).reason_code == "truncated", length


@pytest.mark.parametrize(("missing_s", "is_read"), [(0.0, True), (0.4, True), (0.6, False), (3.0, False)])
def test_half_a_second_may_be_missing(missing_s: float, is_read: bool) -> None:
    content = written(two_sides(), subtype="ULAW")
    content = content[: len(content) - round(missing_s * 2 * RATE)]
    if is_read:
        assert read(content)[1].info.duration_s == pytest.approx(6 - missing_s)
    else:
        assert "found" in str(refused(content)) or "ends after" in str(refused(content))


def test_all_of_an_mp3_without_a_count_is_heard() -> None:
    """libsndfile takes its length from the first frame, and stops there."""
    sound = soft_then_loud()
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.3}
    uncounted = mp3(sound, 16000, counted=False, **options)
    with soundfile.SoundFile(io.BytesIO(uncounted)) as guessed:
        assert guessed.frames < len(sound) / 2
    heard, reader = read(uncounted)
    counted, _ = read(mp3(sound, 16000, **options))
    assert reader.info.duration_s == pytest.approx(len(sound) / 16000, abs=0.2)
    delay = heard.shape[1] - counted.shape[1]
    assert 0 < delay < 0.2 * RATE
    # The decoder's own delay stands before and its padding behind where no count says how much.
    shifted = [np.abs(heard[:, at : at + counted.shape[1]] - counted).mean() for at in range(delay + 1)]
    assert min(shifted) < 1e-3


def test_a_length_that_is_not_announced_is_that_of_the_audio() -> None:
    _, reader = read(flac_of_total(0))
    assert reader.info.duration_s == 6.0


def test_more_than_a_call_may_last_ends_where_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_model.audio.MAX_DURATION_S", 4.0)
    monkeypatch.setattr("ser_model.audio.BLOCK_S", 0.5)
    assert refused(flac_of_total(0)).reason_code == "too_long"


def test_a_message_says_nothing_of_the_machine() -> None:
    for content in (b"RIFF\x24\0\0\0WAVEfmt ".ljust(99, b"\0"), b"fLaC".ljust(99, b"\xff"), written(two_sides())[:999]):
        assert not re.search(r"0x[0-9a-f]{6,}|BytesIO", str(refused(content)))


MEASURE = """
import resource, sys
from ser_model.errors import NoSpeech
from ser_model.features import FeatureSpec
from ser_model.recording import SegmentExtractor
extract = SegmentExtractor(FeatureSpec(), ("customer", "agent"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with open(sys.argv[1], "rb") as file:
        extract([file])
except NoSpeech:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_hours_of_silence_in_a_small_file_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16", format="FLAC") as file:
        block = np.zeros((60 * RATE, 2), dtype=np.int16)
        for _ in range(355):
            file.write(block)
    assert path.stat().st_size < 2**22
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, timeout=200, check=True
    )
    # As float it would be 1.36 GB, as kept for segments 680 MB.
    assert int(done.stdout) * 1024 < 400e6
