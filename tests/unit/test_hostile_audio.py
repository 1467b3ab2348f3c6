"""Files made to mislead whatever decodes them: each ends in a reason, or is heard for what it is, and soon."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from ser_model.audio import CallReader
from ser_model.errors import RecordingError

RATE = 8000
SOUND = (np.random.default_rng(0).standard_normal((4 * RATE, 2)) * 3000).astype(np.int16)


def wav(
    *,
    channels: int = 2,
    rate_hz: int = RATE,
    bits: int = 16,
    encoding: int = 1,
    block: int | None = None,
    data: bytes = SOUND.tobytes(),
    says: int | None = None,
    riff: bytes = b"RIFF",
    between: bytes = b"",
) -> bytes:
    """A WAV file whose header says what it is told to say."""
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, encoding, channels, rate_hz, rate_hz * block % 2**32, block, bits)
    body = b"WAVE" + fmt + between + struct.pack("<4sI", b"data", len(data) if says is None else says) + data
    return riff + struct.pack("<I", min(len(body), 2**32 - 1)) + body


def mp3(garbage: bytes) -> bytes:
    """An MP3 with garbage between its halves, which no frame begins at."""
    content = io.BytesIO()
    soundfile.write(content, SOUND, RATE, format="MP3")
    whole = content.getvalue()
    cut = whole.index(b"\xff", len(whole) // 2)
    return whole[:cut] + garbage + whole[cut:]


def flac(channels: int, minutes: int) -> bytes:
    """Silence: a megabyte and less for hours of it, in every channel."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", RATE, channels, "PCM_16", format="FLAC") as file:
        silence = np.zeros((60 * RATE, channels), np.int16)
        for _ in range(minutes):
            file.write(silence)
    return content.getvalue()


def heard(content: bytes, n_channels: int = 2) -> str:
    """What became of a file: why it is refused, or how many seconds are heard of it."""
    roles = ("customer", "agent")[:n_channels]
    try:
        with io.BytesIO(content) as file:
            blocks = list(CallReader([file], roles, RATE).blocks())
    except RecordingError as error:
        assert error.reason_code != RecordingError.reason_code
        assert len(str(error)) > 20
        return str(error.reason_code)
    sound = np.concatenate(blocks, axis=1)
    assert sound.dtype == np.int16
    return f"{sound.shape[1] / RATE:.0f} s"


RF64 = b"ds64" + struct.pack("<I", 28) + struct.pack("<QQQI", 2**63, 2**63, 2**63, 0)
CASES: list[tuple[str, Callable[[], bytes], set[str]]] = [
    ("as it should be", wav, {"4 s"}),
    ("44 bytes of header", lambda: wav(data=b""), {"empty"}),
    ("no channel", lambda: wav(channels=0, block=4), {"not_audio", "unsupported_codec", "unsupported_channels"}),
    *(
        (f"{n} channels", lambda n=n: wav(channels=n, data=bytes(2 * n * 4000)), {"unsupported_channels"})
        for n in (3, 8, 64)
    ),
    (
        "65,535 channels",
        lambda: wav(channels=65535, block=2),
        {"unsupported_channels", "unsupported_codec", "not_audio"},
    ),
    ("0 Hz", lambda: wav(rate_hz=0), {"unsupported_rate", "unsupported_codec", "not_audio"}),
    ("1 Hz", lambda: wav(rate_hz=1), {"unsupported_rate"}),
    ("768 kHz", lambda: wav(rate_hz=768_000), {"unsupported_rate"}),
    ("4 GHz", lambda: wav(rate_hz=2**32 - 1), {"unsupported_rate", "unsupported_codec", "not_audio"}),
    ("0 bits", lambda: wav(bits=0, block=4), {"unsupported_codec", "not_audio", "4 s"}),
    ("a block of 0 bytes", lambda: wav(block=0), {"unsupported_codec", "not_audio", "4 s"}),
    ("a block of 65,535 bytes", lambda: wav(block=65535), {"unsupported_codec", "not_audio", "4 s"}),
    ("an unknown encoding", lambda: wav(encoding=0x7A7A), {"unsupported_codec"}),
    ("more announced than there is", lambda: wav(says=2**27), {"truncated"}),
    # As recorders write it that do not know how long they will go on.
    ("as much announced as can be", lambda: wav(says=2**31 - 8), {"4 s"}),
    ("less announced than there is", lambda: wav(says=2 * RATE * 4), {"2 s", "truncated"}),
    (
        "a chunk of 4 GB before the audio",
        lambda: wav(between=b"LIST" + b"\xff\xff\xff\xff"),
        {"truncated", "not_audio", "empty", "unsupported_codec"},
    ),
    (
        "100,000 empty chunks before the audio",
        lambda: wav(between=b"LIST\0\0\0\0" * 100_000),
        {"4 s", "unsupported_codec"},
    ),
    (
        "RF64 of 2^63 bytes",
        lambda: b"RF64\xff\xff\xff\xffWAVE" + RF64 + wav()[12:],
        {"truncated", "not_audio", "unsupported_codec", "too_long", "4 s"},
    ),
    ("all at full scale", lambda: wav(data=np.full((4 * RATE, 2), -32768, np.int16).tobytes()), {"4 s"}),
    ("FLAC of eight channels of silence", lambda: flac(8, 3), {"unsupported_channels"}),
    ("MP3 with garbage between its frames", lambda: mp3(bytes(range(256)) * 40), {"4 s", "truncated", "not_audio"}),
    ("MP3 with a web page between its frames", lambda: mp3(b"<html>" * 500), {"4 s", "truncated", "not_audio"}),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.timeout(120)
def test_a_hostile_file_ends_in_a_reason(make: Callable[[], bytes], expected: set[str]) -> None:
    assert heard(make()) in expected
