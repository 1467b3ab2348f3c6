"""What is done with every format of recordings and layout of channels: the cases, tried, and the page made of them.

``make docs`` writes docs/formats.md; tests/unit/test_formats.py holds the page and the code to the cases.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import soundfile

from ser_model.audio import ChannelRole
from ser_model.errors import RecordingError
from ser_model.features import FeatureSpec
from ser_model.recording import RecordingSegments, SegmentExtractor

Samples = npt.NDArray[np.float32]

RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
SOME_RATES_HZ = (8000, 11025, 16000, 44100, 48000)
SIDES: Sequence[ChannelRole] = ("customer", "agent")
SPOKEN_S = {"customer": (0.5, 2.5), "agent": (3.5, 5.5)}
CALL_S = 6.0


def voice(seconds: float, pitch_hz: float, rate_hz: int, level_dbfs: float = -22.0) -> Samples:
    """Something like a voice: harmonics of a pitch that rises and falls, in four syllables a second."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * pitch_hz * np.cumsum(2 ** (0.25 * np.sin(2 * np.pi * 0.8 * time_s))) / rate_hz
    syllables = 0.05 + 0.95 * np.abs(np.sin(4 * np.pi * time_s))
    sound = syllables * sum(np.sin(k * phase + k) / k for k in range(1, int(3400 / pitch_hz)))
    return (sound * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(sound**2))).astype(np.float32)


@cache
def two_sides(rate_hz: int = 8000) -> Samples:
    """A call: the customer speaks in the left channel, then the agent in the right one, on lines with some noise."""
    noise = np.random.default_rng(0).standard_normal((round(CALL_S * rate_hz), 2)).astype(np.float32)
    sound = noise * np.float32(1e-3)
    for channel, (pitch_hz, (start_s, end_s)) in enumerate(zip((150, 110), SPOKEN_S.values(), strict=True)):
        part = voice(end_s - start_s, pitch_hz, rate_hz)
        start = round(start_s * rate_hz)
        sound[start : start + len(part), channel] += part
    sound.flags.writeable = False
    return sound


def mono(rate_hz: int = 8000) -> Samples:
    """The same call in one channel, ``[shape=(n,)]``."""
    return two_sides(rate_hz).sum(axis=1)


def written(
    sound: Samples, rate_hz: int = 8000, container: str = "WAV", subtype: str = "ULAW", **options: object
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format=container, subtype=subtype, **options)
    return file.getvalue()


# --- Formats ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A container and encoding, and what is expected of it."""

    container: str
    encoding: str
    subtype: str
    codec: str
    channels: Sequence[int] = (1, 2)
    rates_hz: Sequence[int] = RATES_HZ
    cut: str = "truncated"

    def write(self, n_channels: int, rate_hz: int) -> bytes:
        sound = two_sides(rate_hz) if n_channels == 2 else mono(rate_hz)
        if self.container == "WAV, MP3 inside":
            return mp3_in_wav(written(sound, rate_hz, "MP3", "MPEG_LAYER_III"), n_channels, rate_hz)
        if self.container == "WAV, big-endian (RIFX)":
            return written(sound, rate_hz, "WAV", self.subtype, endian="BIG")
        return written(sound, rate_hz, self.codec.split("/")[0], self.subtype)


def _formats(container: str, name: str, *encodings: str, **other: object) -> list[Format]:
    labels = {
        "PCM_U8": "PCM, unsigned 8 bit",
        "PCM_S8": "PCM, 8 bit",
        "PCM_16": "PCM, 16 bit",
        "PCM_24": "PCM, 24 bit",
        "PCM_32": "PCM, 32 bit",
        "FLOAT": "float, 32 bit",
        "DOUBLE": "float, 64 bit",
        "ULAW": "G.711 mu-law",
        "ALAW": "G.711 A-law",
        "GSM610": "GSM 06.10",
        "IMA_ADPCM": "IMA ADPCM",
        "MS_ADPCM": "Microsoft ADPCM",
        "G721_32": "G.721 ADPCM, 32 kbit/s at 8 kHz",
        "G723_24": "G.723 ADPCM, 24 kbit/s at 8 kHz",
        "NMS_ADPCM_16": "NMS ADPCM, 16 kbit/s at 8 kHz",
        "NMS_ADPCM_24": "NMS ADPCM, 24 kbit/s at 8 kHz",
        "NMS_ADPCM_32": "NMS ADPCM, 32 kbit/s at 8 kHz",
        "MPEG_LAYER_III": "MPEG layer III",
        "VORBIS": "Vorbis",
        "OPUS": "Opus",
    }
    return [Format(container, labels[subtype], subtype, f"{name}/{subtype}", **other) for subtype in encodings]


PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
FORMATS: Sequence[Format] = (
    *_formats("WAV", "WAV", "ULAW", "ALAW", "PCM_U8", *PCM, "IMA_ADPCM", "MS_ADPCM"),
    *_formats("WAV", "WAV", "GSM610", "G721_32", channels=(1,)),
    *_formats("WAV", "WAV", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32", channels=(1,), rates_hz=SOME_RATES_HZ),
    *_formats("WAV, MP3 inside", "MP3", "MPEG_LAYER_III"),
    *_formats("WAV, big-endian (RIFX)", "WAV", "PCM_16", rates_hz=SOME_RATES_HZ),
    *_formats("WAV, extensible", "WAVEX", "ULAW", "ALAW", "PCM_U8", *PCM, rates_hz=SOME_RATES_HZ),
    *_formats("RF64", "RF64", "ULAW", "ALAW", "PCM_U8", *PCM, rates_hz=SOME_RATES_HZ),
    *_formats("Wave64", "W64", "ULAW", "ALAW", *PCM, rates_hz=SOME_RATES_HZ),
    *_formats("FLAC", "FLAC", "PCM_S8", "PCM_16", "PCM_24"),
    *_formats("MP3", "MP3", "MPEG_LAYER_III"),
    *_formats("Ogg", "OGG", "VORBIS"),
    *_formats("Ogg", "OGG", "OPUS", rates_hz=OPUS_RATES_HZ),
    *_formats("AU", "AU", "ULAW", "ALAW", *PCM, rates_hz=SOME_RATES_HZ),
    *_formats("AU", "AU", "G721_32", "G723_24", channels=(1,), rates_hz=SOME_RATES_HZ),
    *_formats("AIFF", "AIFF", "ULAW", "ALAW", *PCM, "IMA_ADPCM", rates_hz=SOME_RATES_HZ),
    *_formats("AIFF", "AIFF", "GSM610", channels=(1,), rates_hz=SOME_RATES_HZ),
)


@dataclass(frozen=True)
class Found:
    """What was found of a format: how files of each number of channels at each rate are read, and what a cut one is."""

    kinds: frozenset[tuple[int, int, str]]
    codecs: frozenset[str]
    cut: str


def expected(case: Format) -> Found:
    kind = {1: "mono", 2: "two_channel"}
    kinds = {(n_channels, rate_hz, kind[n_channels]) for n_channels in case.channels for rate_hz in case.rates_hz}
    return Found(frozenset(kinds), frozenset({case.codec}), case.cut)


@cache
def found(case: Format) -> Found:
    """Write and read a format at all its rates and numbers of channels."""
    kinds, codecs = set(), set()
    for n_channels in case.channels:
        for rate_hz in case.rates_hz:
            outcome = _heard([case.write(n_channels, rate_hz)], SIDES[:n_channels], ())
            if isinstance(outcome, str):
                kinds.add((n_channels, rate_hz, outcome))
                continue
            wrong = "" if _is_right(outcome, rate_hz, n_channels) else ", but not the call that was written"
            kinds.add((n_channels, rate_hz, outcome.channel_kind + wrong))
            codecs.add(outcome.info.codec)
    whole = case.write(case.channels[-1], 8000)
    cut = _heard([whole[: len(whole) // 2]], SIDES[: case.channels[-1]], ())
    return Found(frozenset(kinds), frozenset(codecs), cut if isinstance(cut, str) else "read as far as it goes")


def _is_right(outcome: RecordingSegments, rate_hz: int, n_channels: int) -> bool:
    """Whether both sides speak when they do, at the file's own rate and length."""
    for role, (start_s, end_s) in SPOKEN_S.items():
        segments = [
            segment
            for segment in outcome.segments
            if segment.role == (role if n_channels == 2 else "customer") and start_s - 0.4 < segment.start_s < end_s
        ]
        if not segments or abs(segments[0].start_s - start_s) > 0.15 or abs(segments[-1].end_s - end_s) > 0.2:
            return False
    info = outcome.info
    return info.sample_rate_hz == rate_hz and info.channels == n_channels and abs(info.duration_s - CALL_S) < 0.4


# --- Single cases ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Files, whose their channels are, and what is expected: a channel kind where they are read, else a reason."""

    what: str
    outcome: str
    make: Callable[[], Sequence[bytes]]
    note: str = ""
    channel_roles: Sequence[ChannelRole] = ("customer", "agent")
    classify: Sequence[str] = ("customer",)


@cache
def tried(case: Case) -> str:
    outcome = _heard(case.make(), case.channel_roles, case.classify)
    return outcome if isinstance(outcome, str) else outcome.channel_kind


def _heard(
    files: Sequence[bytes], channel_roles: Sequence[ChannelRole], classify: Sequence[str]
) -> RecordingSegments | str:
    try:
        return SegmentExtractor(FeatureSpec(), classify)([io.BytesIO(file) for file in files], channel_roles)
    except RecordingError as error:
        return error.reason_code


def mp3_in_wav(mp3: bytes, n_channels: int, rate_hz: int) -> bytes:
    """A WAV of the encoding 0x55, as the ACM codecs of Windows write it."""
    of_mp3 = struct.pack("<HHIIHHHHIHHH", 0x55, n_channels, rate_hz, 4000, 1, 0, 12, 1, 2, 288, 1, 1393)
    return riff([(b"fmt ", of_mp3), (b"fact", bytes(4)), (b"data", mp3)])


def riff(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def wav_chunks(wav: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 12
    while at < len(wav):
        name, length = struct.unpack("<4sI", wav[at : at + 8])
        chunks.append((name, wav[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return chunks


def _wav_of_length(announced: int, riff_length: int) -> bytes:
    wav = bytearray(written(two_sides()))
    wav[4:8] = struct.pack("<I", riff_length)
    at = wav.index(b"data") + 4
    wav[at : at + 4] = struct.pack("<I", announced)
    return bytes(wav)


def _wav_with_other_chunks() -> bytes:
    *before, data = wav_chunks(written(two_sides()))
    other = [(b"JUNK", bytes(27)), (b"bext", bytes(602)), (b"LIST", b"INFOISFT" + struct.pack("<I", 3) + b"abc\0")]
    return riff([*other, *before, *other, data, *other])


def _au_of_unknown_length() -> bytes:
    au = bytearray(written(two_sides(), container="AU"))
    au[8:12] = b"\xff\xff\xff\xff"
    return bytes(au)


def flac_of_total(n_samples: int) -> bytes:
    """A FLAC that announces so many samples; 0 is what an encoder writes into a pipe."""
    flac = bytearray(written(two_sides(), container="FLAC", subtype="PCM_16"))
    flac[21] &= 0xF0
    flac[22:26] = struct.pack(">I", n_samples)
    return bytes(flac)


def mp3(sound: Samples, rate_hz: int = 8000, *, counted: bool = True, **options: object) -> bytes:
    """An MP3, with or without the frame before the audio that counts its frames."""
    content = written(sound, rate_hz, "MP3", "MPEG_LAYER_III", **options)
    return content if counted else content[content.index(content[:2], 4) :]


def soft_then_loud(rate_hz: int = 16000) -> Samples:
    """A call whose first frames take many bits and most of the others few."""
    sound = np.concatenate([two_sides(rate_hz), np.zeros((14 * rate_hz, 2), dtype=np.float32)])
    noise = np.random.default_rng(0).standard_normal((rate_hz // 4, 2)).astype(np.float32)
    sound[: len(noise)] = 0.3 * noise
    return sound


def _id3(length: int = 2048) -> bytes:
    size = bytes((0, 0, length >> 7, length & 127))
    return b"ID3\x04\0\0" + size + bytes(length)


def _ogg_page(packet: bytes) -> bytes:
    return b"OggS\0\x02" + bytes(20) + bytes((1, len(packet))) + packet


def _wav_of(encoding: int) -> bytes:
    header = struct.pack("<HHIIHHH", encoding, 1, 8000, 1000, 10, 0, 0)
    return riff([(b"fmt ", header), (b"data", bytes(10_000))])


def _with_header_of(rate_hz: int) -> bytes:
    wav = bytearray(written(two_sides(16000), 16000))
    wav[24:28] = struct.pack("<I", rate_hz)
    return bytes(wav)


IRREGULAR: Sequence[Case] = (
    Case("WAV never closed: length 0", "two_channel", lambda: [_wav_of_length(0, 0)], "read to the end"),
    Case(
        "WAV written into a pipe: length 0xFFFFFFFF or about 0x7FFFFFFF",
        "two_channel",
        lambda: [_wav_of_length(0xFFFFFFFF, 0xFFFFFFFF)],
        "read to the end",
    ),
    Case("WAV written by SoX into a pipe: 0x7FFFF000", "two_channel", lambda: [_wav_of_length(0x7FFFF000, 0x7FFFF024)]),
    Case(
        "WAV with LIST, bext, JUNK, fact before and after the audio", "two_channel", lambda: [_wav_with_other_chunks()]
    ),
    Case(
        "WAV with other bytes behind the audio", "two_channel", lambda: [written(two_sides()) + b"x" * 999], "left out"
    ),
    Case("AU of unknown length", "two_channel", lambda: [_au_of_unknown_length()], "read to the end"),
    Case("FLAC of unknown length", "two_channel", lambda: [flac_of_total(0)], "read to the end"),
    Case(
        "FLAC with an ID3 tag",
        "two_channel",
        lambda: [_id3() + written(two_sides(), container="FLAC", subtype="PCM_16")],
    ),
    Case(
        "MP3 with ID3 tags before and behind", "two_channel", lambda: [_id3() + mp3(two_sides()) + b"TAG" + bytes(125)]
    ),
    Case(
        "MP3 without a count of its frames, constant bit rate",
        "two_channel",
        lambda: [mp3(two_sides(), counted=False, bitrate_mode="CONSTANT")],
        "read to the end",
    ),
    Case(
        "MP3 without a count of its frames, variable bit rate",
        "two_channel",
        lambda: [mp3(soft_then_loud(), 16000, counted=False, bitrate_mode="VARIABLE", compression_level=0.3)],
        "read to the end",
    ),
    Case(
        "two MP3s one after the other in a file",
        "two_channel",
        lambda: [mp3(two_sides()) + mp3(two_sides())],
        "both are heard",
    ),
    Case(
        "two Ogg streams one after the other in a file",
        "unsupported_codec",
        lambda: [2 * written(two_sides(), container="OGG", subtype="OPUS")],
        "only the first would be heard",
    ),
    Case(
        "float samples beyond full scale",
        "two_channel",
        lambda: [written(30 * two_sides(), subtype="FLOAT")],
        "clipped, and counted in clipped_share",
    ),
    Case(
        "float samples that are no number",
        "two_channel",
        lambda: [written(np.where(np.arange(48000)[:, None] % 1000 == 7, np.nan, two_sides()), subtype="FLOAT")],
        "read as 0",
    ),
    Case("DC offset", "two_channel", lambda: [written(two_sides() + np.float32(0.2), subtype="PCM_16")], "left out"),
)

REFUSED: Sequence[Case] = (
    Case("no bytes", "empty", lambda: [b""]),
    Case("a header without audio", "empty", lambda: [written(two_sides()[:0])]),
    Case("less than 1 s", "too_short", lambda: [written(two_sides()[:4000])]),
    Case(
        "more than 6 h",
        "too_long",
        lambda: [flac_of_total(7 * 3600 * 8000)],
    ),
    Case("below 8 kHz", "unsupported_rate", lambda: [written(two_sides(), 6000)]),
    Case("above 48 kHz", "unsupported_rate", lambda: [_with_header_of(96000)]),
    Case(
        "more than two channels, and no map for them",
        "unsupported_channels",
        lambda: [written(np.tile(two_sides(), (1, 2)))],
    ),
    Case("nobody speaks", "no_speech", lambda: [written(_hiss())]),
    Case("a file that was cut, see below", "truncated", lambda: [written(two_sides())[:48000]]),
    Case("WAV with G.729 (0x83)", "unsupported_codec", lambda: [_wav_of(0x83)]),
    Case("WAV with G.723.1 (0x42)", "unsupported_codec", lambda: [_wav_of(0x42)]),
    Case("WAV with G.726 (0x45)", "unsupported_codec", lambda: [_wav_of(0x45)]),
    Case("WAV with Dialogic ADPCM (0x17)", "unsupported_codec", lambda: [_wav_of(0x17)]),
    Case("WAV with TrueSpeech (0x22)", "unsupported_codec", lambda: [_wav_of(0x22)]),
    Case("Ogg with Speex", "unsupported_codec", lambda: [_ogg_page(b"Speex   1.2".ljust(80, b"\0"))]),
    Case("MP4, M4A: AAC, ALAC", "unsupported_codec", lambda: [b"\0\0\0\x20ftypM4A ".ljust(4000, b"\0")]),
    Case("AAC (ADTS)", "unsupported_codec", lambda: [b"\xff\xf1\x50\x80".ljust(4000, b"\0")]),
    Case("AMR", "unsupported_codec", lambda: [b"#!AMR\n".ljust(4000, b"\0")]),
    Case("WMA, ASF", "unsupported_codec", lambda: [b"\x30\x26\xb2\x75\x8e\x66\xcf\x11".ljust(4000, b"\0")]),
    Case("WebM, Matroska", "unsupported_codec", lambda: [b"\x1a\x45\xdf\xa3".ljust(4000, b"\0")]),
    Case("AVI", "unsupported_codec", lambda: [b"RIFF\xf0\x0f\0\0AVI LIST".ljust(4096, b"\0")]),
    Case("CAF", "unsupported_codec", lambda: [written(two_sides(), container="CAF")]),
    Case("VOC", "unsupported_codec", lambda: [written(two_sides(), container="VOC")]),
    Case("NIST SPHERE", "unsupported_codec", lambda: [written(two_sides(), container="NIST")]),
    Case("raw G.711 without a header (.ulaw, .alaw, .pcm)", "not_audio", lambda: [written(two_sides())[58:]]),
    Case("text", "not_audio", lambda: [b"Dear customer, your call is important to us.\n" * 99]),
    Case("JSON", "not_audio", lambda: [b'{"contact": {"state": "connected"}}\n' * 99]),
    Case("an error page in HTML", "not_audio", lambda: [b"<!doctype html><html><title>503</title></html>" * 99]),
    Case("a zip archive", "not_audio", lambda: [b"PK\x03\x04".ljust(4000, b"\0")]),
    Case("gzip", "not_audio", lambda: [b"\x1f\x8b\x08".ljust(4000, b"\0")]),
    Case("zeros", "not_audio", lambda: [bytes(4000)]),
    Case("encrypted, or random bytes", "not_audio", lambda: [np.random.default_rng(1).bytes(4000)]),
)


def _delayed(sound: Samples, seconds: float) -> Samples:
    return np.concatenate([np.zeros(round(seconds * 8000), dtype=np.float32), sound])[: len(sound)]


def _copies(gain: float = 1.0, delay_s: float = 0.0, dc: float = 0.0) -> Samples:
    """The call in one channel, and again in the other."""
    return np.stack([mono(), gain * _delayed(mono(), delay_s) + np.float32(dc)], axis=1)


def _leaking(gain_db: float, delay_s: float = 0.0) -> Samples:
    """Each side is heard in the other's channel as well."""
    sound = two_sides()
    other = np.stack([_delayed(sound[:, 1], delay_s), _delayed(sound[:, 0], delay_s)], axis=1)
    return sound + np.float32(10 ** (gain_db / 20)) * other


def _one_side(noise_dbfs: float | None) -> Samples:
    """The whole call in the left channel, and silence or noise in the right one."""
    right = np.zeros(len(mono()), dtype=np.float32)
    if noise_dbfs is not None:
        right += np.random.default_rng(1).standard_normal(len(right)).astype(np.float32) * 10 ** (noise_dbfs / 20)
    return np.stack([mono(), right], axis=1)


def _hiss() -> Samples:
    return np.random.default_rng(2).standard_normal((48000, 2)).astype(np.float32) * np.float32(0.01)


def _bridged() -> Samples:
    """An announcement that both sides hear, then the call."""
    announcement = voice(5.0, 200, 8000)
    return np.concatenate([np.stack([announcement, announcement], axis=1), two_sides()])


def _sides(**options: object) -> list[bytes]:
    return [written(side, **options) for side in two_sides().T]


MIXED = ("customer", "mixed")
LAYOUTS: Sequence[Case] = (
    Case("two channels", "two_channel", lambda: [written(two_sides())], "customer left, agent right"),
    Case(
        "two channels, the layout says agent, customer",
        "two_channel",
        lambda: [written(two_sides())],
        "agent left, customer right",
        ("agent", "customer"),
    ),
    Case(
        "... with an echo of the other side at -15 dB, 120 ms later",
        "two_channel",
        lambda: [written(_leaking(-15, 0.12))],
    ),
    Case("... with crosstalk of -6 dB", "two_channel", lambda: [written(_leaking(-6))]),
    Case("... with an announcement in both channels before the call", "two_channel", lambda: [written(_bridged())]),
    Case(
        "... with everything in one and digital silence in the other",
        "two_channel",
        lambda: [written(_one_side(None))],
        "see below",
    ),
    Case(
        "... with everything in one and noise in the other",
        "two_channel",
        lambda: [written(_one_side(-60))],
        "see below",
    ),
    Case("... with noise only", "no_speech", lambda: [written(_hiss())]),
    Case("two channels with one signal", "mono_not_separable", lambda: [written(_copies())], "skipped"),
    Case(
        "... and mixed speech is classified",
        "identical",
        lambda: [written(_copies())],
        "all of it is mixed",
        classify=MIXED,
    ),
    Case("... one of them softer by 10 dB", "identical", lambda: [written(_copies(0.316))], classify=MIXED),
    Case("... one of them upside down", "identical", lambda: [written(_copies(-1.0))], classify=MIXED),
    Case("... one of them with a DC offset", "identical", lambda: [written(_copies(dc=0.05))], classify=MIXED),
    Case("... one of them 0.4 s later", "identical", lambda: [written(_copies(delay_s=0.4))], classify=MIXED),
    Case("... as MP3", "identical", lambda: [mp3(_copies(0.7))], classify=MIXED),
    Case("one channel", "mono_not_separable", lambda: [written(mono())], "skipped"),
    Case("... and mixed speech is classified", "mono", lambda: [written(mono())], "all of it is mixed", classify=MIXED),
    Case(
        "... the layout says customer",
        "mono",
        lambda: [written(mono())],
        "all of it is the customer's",
        ("customer",),
    ),
    Case("two files of one channel each", "two_channel", _sides, "the first customer, the second agent"),
    Case(
        "... the layout says agent, customer",
        "two_channel",
        lambda: _sides()[::-1],
        "the first agent, the second customer",
        ("agent", "customer"),
    ),
    Case(
        "... of different length",
        "two_channel",
        lambda: [written(two_sides()[:24000, 0]), _sides()[1]],
        "the shorter goes on in digital silence",
    ),
    Case(
        "... of different rate and encoding",
        "two_channel",
        lambda: [written(two_sides(16000)[:, 0], 16000, "FLAC", "PCM_16"), _sides()[1]],
    ),
    Case("... with one signal", "mono_not_separable", lambda: 2 * [written(mono())], "skipped"),
    Case("... one of which has no bytes", "empty", lambda: [_sides()[0], b""], "the detail says whose"),
    Case("... one of which was cut", "truncated", lambda: [_sides()[0][:9000], _sides()[1]], "the detail says whose"),
    Case("... one of which is no audio", "not_audio", lambda: [_sides()[0], b"503" * 99], "the detail says whose"),
    Case(
        "... one of which has two channels",
        "unsupported_channels",
        lambda: [written(two_sides()), _sides()[1]],
        "the detail says whose",
    ),
    Case(
        "four channels, the layout says customer, none, agent, agent",
        "two_channel",
        lambda: [written(two_sides()[:, [0, 1, 1, 1]])],
        "the second is not read, the last two are mixed down",
        ("customer", "none", "agent", "agent"),
    ),
    Case(
        "two channels, the layout says customer, none",
        "mono",
        lambda: [written(two_sides())],
        "the agent is not heard",
        ("customer", "none"),
    ),
    Case(
        "two channels, the layout says mixed, none",
        "mono_not_separable",
        lambda: [written(_one_side(None))],
        "skipped",
        ("mixed", "none"),
    ),
    Case(
        "three channels, the layout says two",
        "unsupported_channels",
        lambda: [written(two_sides()[:, [0, 1, 1]])],
    ),
)


# --- The page --------------------------------------------------------------------------------------------------------

INTRODUCTION = """\
# Formats and layouts of recordings

Generated by `python -m tests.format_table > docs/formats.md`, which writes every file of these tables and reads it; do
not edit. The test of the page tries them again.

## What to set a recorder to

- **A side a channel**, customer left and agent right (another order is told by the layout), or a file a side. What is
  mixed on the way to the disk cannot be separated again: such a call is skipped as `mono_not_separable`.
- **WAV, 8 kHz, G.711** (mu-law or A-law, as the line has it) or PCM of 16 bit. Everything is brought to 8 kHz for the
  shipped model: a higher rate takes space and time and changes nothing. FLAC saves space without loss. What lossy
  coding, GSM 06.10 or ADPCM cost the classifier has not been measured.
- **Opus at 40 kbit/s or more** for two channels together, or a file a side: below, Opus mixes the sides. In a real call
  at 25 kbit/s and 48 kHz each side was nearly as loud in the other's channel; at 12 kbit/s both channels were one
  (`identical`). MP3 from 8 kbit/s and Vorbis from 20 kbit/s let less than -40 dB of a side through.
- **Loud speech stays below full scale**: `clipped_share` in the table `recordings` says what did not.
- **The file is closed before it is uploaded.** One that was never closed is read to its end, but nobody can say whether
  that was the end of the call.
- G.729, G.723.1, G.726, AMR, AAC, Speex and WMA are not read. If a recorder can write nothing else, convert on export.
"""

ABOUT_FORMATS = """\
## What is read

`codec` in the table `recordings` is the short name of container and encoding, such as `WAV/ULAW`.
"""

ABOUT_IRREGULAR = """\
## Files that are not as they should be
"""

ABOUT_REFUSED = """\
## What is refused

Such a recording is in `quarantine` with the reason code, and a sentence that says what was found.
"""

ABOUT_LAYOUTS = """\
## Whose channel is whose

A channel is the customer's, the agent's, mixed, or none, as the [layout](layouts.md) of the recordings says. Those of
one role are mixed down. `channel_kind` in the table `recordings` says what was found.
"""

ABOUT_KINDS = """\
**One signal in both channels** (`identical`) is a mono recording, whatever its container: neither channel is the
customer's. Two channels are taken for one signal when, at one gain and one delay of up to 0.5 s, all that is in one of
them above its noise is in the other within 4 dB; gain, sign, DC offset and coding do not matter. Half a second that is
in one channel alone makes them two. A channel that is softer by 12 dB or more and has nothing of its own is the echo of
the other, not a copy. Crosstalk of -2 dB and more in both directions cannot be told from a copy.

**Everything in one channel and nothing in the other** is read as two channels with one silent side: so looks a call in
which one side never spoke, such as a message left on a machine. A recorder that writes a mono call into the left
channel makes the same recording, and then **the agent's voice is taken for the customer's**. No recording tells the two
apart, but a day does: where many calls of a queue have an `agent_talk_s` of 0 (or `customer_talk_s`), look at the
recorder. For one that does so, give its layout the role mixed for that channel and none for the other.

**One channel** is mixed unless the layout names one role for it. Where mixed speech is not classified, which is the
default, mono and `identical` recordings are skipped, and counted in coverage.

**Two files a call** have one channel each, and are read in step from their first samples on. A recorder that starts
them at different times shifts the sides against each other, which shows as wrong overlaps and gaps.
"""

ABOUT_CUT = """\
## Cut files

A recording that ends before the length that its container announces is `truncated`, not scored as a short call; up to
half a second may be missing. How it is known:

| container | known by | not known |
| --- | --- | --- |
| WAV, RF64, Wave64, AIFF, AU | the announced bytes of audio | where the length is unknown (0, 0xFFFFFFFF, ...) |
| FLAC | the number of samples; a frame that does not decode | where the number is 0: a cut between two frames |
| MP3 | the number of frames in the first frame (Xing, Info) | where there is no such frame |
| Ogg | a last page that is not whole | a cut between two pages |

Damage within a file is known where the container has checksums (FLAC); in PCM and G.711 it is heard as noise. Bytes
behind the announced audio are not looked at.
"""


def render() -> str:
    """Try every case and write what was found as Markdown."""
    return "\n".join(
        [
            INTRODUCTION,
            ABOUT_FORMATS,
            _format_table(),
            ABOUT_IRREGULAR,
            _case_table(("file", "outcome", ""), IRREGULAR),
            ABOUT_REFUSED,
            _case_table(("what", "reason"), REFUSED),
            ABOUT_LAYOUTS,
            _case_table(("recording", "outcome", ""), LAYOUTS),
            ABOUT_KINDS,
            ABOUT_CUT,
        ]
    ).rstrip()


def _format_table() -> str:
    """A row for the encodings of a container with which the same happens."""
    rows: dict[Sequence[str], list[str]] = {}
    for case in FORMATS:
        outcome = found(case)
        kinds = {kind for _, _, kind in outcome.kinds}
        what = (
            case.container,
            ", ".join(sorted({codec.split("/")[0] for codec in outcome.codecs})),
            ", ".join(f"{rate_hz / 1000:g}" for rate_hz in sorted({rate_hz for _, rate_hz, _ in outcome.kinds})),
            ", ".join(f"`{kind}`" for kind in sorted(kinds)),
            f"`{outcome.cut}`",
        )
        rows.setdefault(what, []).append(f"{case.encoding} (`{case.subtype}`)")
    return _table(
        ("container", "short", "encodings", "tried at kHz", "one or two channels are", "cut in the middle"),
        [(container, short, "; ".join(encodings), *others) for (container, short, *others), encodings in rows.items()],
    )


def _case_table(head: Sequence[str], cases: Sequence[Case]) -> str:
    return _table(head, [(case.what, f"`{tried(case)}`", case.note)[: len(head)] for case in cases])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    sys.stdout.write(render() + "\n")
