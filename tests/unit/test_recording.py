"""Recordings made here, and the real ones: what is read, what is refused and with which reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.audio import AudioReader
from ser_model.errors import RecordingError
from ser_model.features import FeatureSpec, WaveformSpec
from ser_model.recording import RecordingSegments, SegmentExtractor

Voice = Callable[..., np.ndarray]
RATE = 8000


def call(voice: Voice, rate_hz: int = RATE) -> np.ndarray:
    """10 s: the customer (left) speaks from 1 to 4, the agent from 5 to 8, on lines with some noise."""
    sound = np.random.default_rng(0).standard_normal((10 * rate_hz, 2)).astype(np.float32) * 1e-3
    sound[1 * rate_hz : 4 * rate_hz, 0] += voice(3.0, 150, rate_hz=rate_hz)
    sound[5 * rate_hz : 8 * rate_hz, 1] += voice(3.0, 110, rate_hz=rate_hz)
    return sound


def file(sound: np.ndarray, rate_hz: int = RATE, container: str = "WAV", subtype: str = "ULAW") -> io.BytesIO:
    written = io.BytesIO()
    soundfile.write(written, sound, rate_hz, format=container, subtype=subtype)
    written.seek(0)
    return written


def extract(source: io.BytesIO, *classify: str) -> RecordingSegments:
    return SegmentExtractor(FeatureSpec(), classify or ("customer",))([source])


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz"),
    [
        ("WAV", "ULAW", 8000),
        ("WAV", "ALAW", 8000),
        ("WAV", "PCM_16", 8000),
        ("WAV", "PCM_U8", 8000),
        ("WAV", "PCM_24", 16000),
        ("WAV", "FLOAT", 44100),
        ("WAVEX", "PCM_16", 8000),
        ("RF64", "PCM_16", 8000),
        ("FLAC", "PCM_16", 16000),
        ("MP3", "MPEG_LAYER_III", 16000),
        ("OGG", "VORBIS", 16000),
        ("OGG", "OPUS", 48000),
    ],
)
def test_both_sides_are_found_in_every_format(voice: Voice, container: str, subtype: str, rate_hz: int) -> None:
    found = extract(file(call(voice, rate_hz), rate_hz, container, subtype))
    assert found.channel_kind == "two_channel"
    assert found.info.sample_rate_hz == rate_hz
    assert found.info.duration_s == pytest.approx(10, abs=0.2)
    spoken = {role: [s for s in found.segments if s.role == role] for role in ("customer", "agent")}
    for role, (start_s, end_s) in {"customer": (1, 4), "agent": (5, 8)}.items():
        assert spoken[role][0].start_s == pytest.approx(start_s, abs=0.15)
        assert spoken[role][-1].end_s == pytest.approx(end_s, abs=0.15)
        assert sum(s.end_s - s.start_s for s in spoken[role]) == pytest.approx(3, abs=0.3)


def test_only_the_roles_asked_for_get_features(voice: Voice) -> None:
    for asked in ({"customer"}, {"agent"}, {"customer", "agent"}):
        segments = extract(file(call(voice)), *asked).segments
        assert {s.role for s in segments if s.features is not None} == asked
        assert {s.role for s in segments if s.prosody is not None} == asked
        assert {s.role for s in segments} == {"customer", "agent"}


def test_features_are_those_of_the_segment(voice: Voice) -> None:
    spec = FeatureSpec()
    segment = extract(file(call(voice))).segments[0]
    assert segment.features is not None
    length = round((segment.end_s - segment.start_s) * RATE)
    assert segment.features.shape == (spec.n_frames(length), spec.n_mels)
    assert segment.features.dtype == np.uint8


@pytest.mark.parametrize("gain", [1.0, 0.5, -1.0])
def test_one_signal_in_two_channels_is_one(voice: Voice, gain: float) -> None:
    mono = call(voice).sum(axis=1)
    twice = file(np.stack([mono, gain * mono], axis=1))
    with pytest.raises(RecordingError) as refused:
        extract(twice)
    assert refused.value.reason_code == "mono_not_separable"
    found = extract(twice, "mixed")
    assert found.channel_kind == "identical"
    assert {s.role for s in found.segments} == {"mixed"}


def test_mono_is_mixed_where_that_is_asked_for(voice: Voice) -> None:
    mono = file(call(voice).sum(axis=1))
    with pytest.raises(RecordingError) as refused:
        extract(mono)
    assert refused.value.reason_code == "mono_not_separable"
    found = extract(mono, "customer", "mixed")
    assert found.channel_kind == "mono"
    assert sum(s.end_s - s.start_s for s in found.segments) == pytest.approx(6, abs=0.6)
    assert all(s.role == "mixed" for s in found.segments)


def test_blocks_leave_no_seam(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extract(file(call(voice, 16000), 16000, subtype="PCM_16"))
    monkeypatch.setattr("ser_model.audio.BLOCK_S", 0.7)
    blocks = extract(file(call(voice, 16000), 16000, subtype="PCM_16"))
    assert [(s.start_s, s.end_s) for s in blocks.segments] == [(s.start_s, s.end_s) for s in whole.segments]
    for one, other in zip(blocks.segments, whole.segments, strict=True):
        if one.features is not None and other.features is not None:
            assert np.abs(one.features.astype(int) - other.features.astype(int)).max() <= 1


def test_recordings_leave_nothing_to_each_other_in_memory_or_in_a_file(
    voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = call(voice), call(voice)[: 7 * RATE] / 2
    alone = [extract(file(sound)).segments for sound in (long, short)]
    monkeypatch.setattr("ser_model.audio.BLOCK_S", 0.7)
    for in_memory_s in (60, 8):  # the long one goes to a file where 8 s fit
        monkeypatch.setattr("ser_model.recording.IN_MEMORY_BYTES", in_memory_s * RATE * 2)
        extractor = SegmentExtractor(FeatureSpec(), {"customer"})
        together = [extractor([file(sound)]).segments for sound in (long, short, long)]
        for found, expected in zip(together, (*alone, alone[0]), strict=True):
            assert [replace(s, features=None) for s in found] == [replace(s, features=None) for s in expected]
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one.features, other.features)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_a_model_that_hears_samples_gets_those_of_the_same_segments(voice: Voice, rate_hz: int) -> None:
    sound = call(voice)
    sound[round(2.4 * RATE) : round(2.46 * RATE)] *= 0.1  # where both are cut
    by_spectra = extract(file(sound, subtype="PCM_16")).segments
    spec = WaveformSpec(sample_rate_hz=rate_hz)
    by_samples = SegmentExtractor(spec, {"customer"})([file(sound, subtype="PCM_16")]).segments
    assert len(by_spectra) == len(by_samples) >= 2
    for one, other in zip(by_spectra, by_samples, strict=True):
        assert (one.start_s, one.end_s, one.role) == pytest.approx((other.start_s, other.end_s, other.role), abs=0.05)
        assert (one.features is None) == (other.features is None)
        if other.features is not None and other.prosody is not None and one.prosody is not None:
            assert (other.features.dtype, other.features.ndim) == (np.int16, 1)
            assert len(other.features) == pytest.approx((other.end_s - other.start_s) * rate_hz)
            assert other.prosody.pitch_hz == pytest.approx(one.prosody.pitch_hz, rel=0.02)
    if rate_hz == RATE:
        first = next(segment for segment in by_samples if segment.features is not None)
        heard = sound[round(first.start_s * RATE) : round(first.end_s * RATE), 0]
        np.testing.assert_allclose(first.features / 32768, heard - heard.mean(), atol=1e-3)


def test_clipped_samples_are_counted(voice: Voice) -> None:
    sound = call(voice)
    sound[:800, 0] = 1.0
    assert extract(file(sound, subtype="PCM_16")).clipped_share == pytest.approx(800 / sound.size, rel=0.01)


def test_tones_are_counted_as_nonspeech(voice: Voice) -> None:
    sound = call(voice)
    sound[round(8.5 * RATE) : round(9.5 * RATE), 0] += 0.1 * np.sin(2 * np.pi * 425 * np.arange(RATE) / RATE)
    found = extract(file(sound))
    assert found.nonspeech_s == pytest.approx(1, abs=0.2)
    assert max(s.end_s for s in found.segments if s.role == "customer") < 5


def truncated(sound: np.ndarray, share: float, container: str = "WAV", subtype: str = "ULAW") -> io.BytesIO:
    content = file(sound, container=container, subtype=subtype).getvalue()
    return io.BytesIO(content[: round(len(content) * share)])


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("empty", lambda sound: io.BytesIO(b"")),
        ("empty", lambda sound: file(sound[:0])),
        ("not_audio", lambda sound: io.BytesIO(b"<html>not found</html>" * 100)),
        ("not_audio", lambda sound: io.BytesIO(bytes(10_000))),
        ("not_audio", lambda sound: io.BytesIO(b"x")),
        ("unsupported_codec", lambda sound: io.BytesIO(b"RIFF" + bytes(8) + b"WAVE" + bytes(100))),
        ("truncated", lambda sound: truncated(sound, 0.5)),
        ("truncated", lambda sound: truncated(sound, 0.5, "FLAC", "PCM_16")),
        ("too_short", lambda sound: file(sound[: RATE // 2])),
        ("unsupported_rate", lambda sound: file(sound, 4000)),
        ("unsupported_rate", lambda sound: file(sound, 96000)),
        ("unsupported_channels", lambda sound: file(np.concatenate([sound, sound], axis=1))),
        ("no_speech", lambda sound: file(sound[8 * RATE :])),
        ("no_speech", lambda sound: file(np.zeros_like(sound))),
    ],
)
def test_what_cannot_be_scored_has_a_reason(
    voice: Voice, reason: str, make: Callable[[np.ndarray], io.BytesIO]
) -> None:
    with pytest.raises(RecordingError) as refused:
        extract(make(call(voice)))
    assert refused.value.reason_code == reason
    assert len(str(refused.value)) > 20


def test_numbers_that_are_none_are_silence(voice: Voice) -> None:
    sound = call(voice)
    sound[100:200, 0] = np.nan
    sound[200:300, 1] = np.inf
    assert extract(file(sound, subtype="FLOAT")).segments


def test_an_offset_is_not_heard(voice: Voice) -> None:
    sound = call(voice) / 4
    plain, offset = (extract(file(each, subtype="FLOAT")).segments for each in (sound, sound + np.float32([0.5, -0.5])))
    for found, expected in zip(offset, plain, strict=True):
        assert (found.start_s, found.end_s) == pytest.approx((expected.start_s, expected.end_s), abs=0.02)
    with pytest.raises(RecordingError) as refused:
        extract(file(np.full_like(sound, 0.5), subtype="FLOAT"))
    assert refused.value.reason_code == "no_speech"


def test_a_header_of_unknown_length_is_no_truncation(voice: Voice) -> None:
    content = bytearray(file(call(voice)).getvalue())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    assert AudioReader(io.BytesIO(bytes(content)), RATE).info.duration_s > 9


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("Auto0_GUID_000_AGENT_ChrisL_DT_2025-02-19T06-01-22_Mono.wav", "mono_not_separable"),
        ("Auto_Repairs_40_UTC_agent.wav", "mono_not_separable"),
        ("Auto_Repairs_40_UTC_caller.wav", "mono_not_separable"),
        ("Sample1.mp3", "mono_not_separable"),
        ("Sample3.mp3", "mono_not_separable"),
        ("two_channel_16k.wav", "two_channel"),
    ],
)
def test_real_recordings(shared_dir: Path, name: str, outcome: str) -> None:
    content = io.BytesIO((shared_dir / "calls" / "recordings" / name).read_bytes())
    try:
        found = extract(content).channel_kind
    except RecordingError as error:
        found = error.reason_code
    assert found == outcome


@pytest.mark.shared
def test_a_call_of_two_files_has_the_talk_shares_that_listeners_hear(shared_dir: Path) -> None:
    """Customer about 37%, agent about 37%, neither 27%."""
    sides = [
        soundfile.read(shared_dir / "calls" / "recordings" / f"Auto_Repairs_40_UTC_{side}.wav", dtype="float32")[0]
        for side in ("caller", "agent")
    ]
    length = min(map(len, sides))
    found = extract(file(np.stack([side[:length] for side in sides], axis=1), subtype="PCM_16"))
    talk = dict.fromkeys(("customer", "agent"), 0.0)
    for segment in found.segments:
        talk[segment.role] += segment.end_s - segment.start_s
    assert talk["customer"] / found.info.duration_s == pytest.approx(0.37, abs=0.05)
    assert talk["agent"] / found.info.duration_s == pytest.approx(0.37, abs=0.05)
