"""Recordings decoded in blocks, at the pipeline's rate, and what the container says of them.

Bytes come in, blocks of samples go out; a whole call is never held as float. Knows nothing of who speaks when.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ser_model.errors import (
    EmptyRecording,
    NotAudio,
    TooLong,
    TooShort,
    TruncatedRecording,
    UnsupportedChannels,
    UnsupportedCodec,
    UnsupportedRate,
)

if TYPE_CHECKING:
    import soundfile

Samples = npt.NDArray[np.float32]

BLOCK_S: Final = 30.0
MIN_DURATION_S: Final = 1.0
MAX_DURATION_S: Final = 6 * 3600.0
MIN_RATE_HZ: Final = 8000
MAX_RATE_HZ: Final = 48000
MAX_CHANNELS: Final = 2
CLIPPED_LEVEL: Final = 0.979
"""Samples at least this far from zero count as clipped: G.711's highest step is 0.980 of full scale."""

LENGTH_TOLERANCE_S: Final = 0.5
"""How much less than announced may be there: an MP3's announced length counts its encoder's padding."""

# Writers that did not know the length in advance leave one of these in the header.
_LENGTH_UNKNOWN: Final = {0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF - 36}


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's container says.

    Attributes
    ----------
    codec
        Container and encoding, such as ``WAV/ULAW``.
    sample_rate_hz
        The recording's own rate.
    channels
        How many channels it has.
    duration_s
        Its length.
    """

    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float


class AudioReader:
    """A recording opened for one pass through its audio.

    Parameters
    ----------
    file
        The recording's bytes, seekable.
    sample_rate_hz
        The rate at which blocks are wanted.

    Raises
    ------
    EmptyRecording, NotAudio, UnsupportedCodec, UnsupportedChannels, UnsupportedRate, TooShort, TooLong,
    TruncatedRecording
        As their names say.
    """

    def __init__(self, file: BinaryIO, sample_rate_hz: int) -> None:
        import soundfile

        self.sample_rate_hz = sample_rate_hz
        _check_not_empty(file)
        _check_wav_length(file)
        try:
            self._sound: soundfile.SoundFile = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:
            raise _refused(file, error) from None
        sound = self._sound
        self.info = AudioInfo(
            codec=f"{sound.format}/{sound.subtype}",
            sample_rate_hz=sound.samplerate,
            channels=sound.channels,
            duration_s=sound.frames / sound.samplerate if sound.samplerate else 0.0,
        )
        self._check_bounds()

    def _check_bounds(self) -> None:
        info = self.info
        if not MIN_RATE_HZ <= info.sample_rate_hz <= MAX_RATE_HZ:
            raise UnsupportedRate(
                f"found {info.sample_rate_hz} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz: check the recorder"
            )
        if info.channels > MAX_CHANNELS:
            raise UnsupportedChannels(f"found {info.channels} channels; expected 1 or 2, customer left and agent right")
        if self._sound.frames == 0:
            raise EmptyRecording("found a header without audio; check the recorder")
        if info.duration_s < MIN_DURATION_S:
            raise TooShort(f"found {info.duration_s:.2f} s; expected at least {MIN_DURATION_S:g} s of call")
        if info.duration_s > MAX_DURATION_S:
            raise TooLong(
                f"found {info.duration_s / 3600:.1f} h; expected at most {MAX_DURATION_S / 3600:g} h: split it"
            )

    def blocks(self) -> Iterator[Samples]:
        """Yield the audio at the wanted rate, block by block.

        Yields
        ------
        float32 ``[shape=(channels, n)]``, full scale 1.0; non-finite samples of float files read as zero.

        Raises
        ------
        TruncatedRecording
            Where the audio ends before the length that the container announced.
        """
        import soundfile

        sound, info = self._sound, self.info
        resample = _Resampler(info.sample_rate_hz, self.sample_rate_hz, info.channels)
        size = int(BLOCK_S * info.sample_rate_hz)
        decoded = 0
        while decoded < sound.frames:
            try:
                block = sound.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise TruncatedRecording(
                    f"decoding stopped after {decoded / info.sample_rate_hz:.1f} of {info.duration_s:.1f} s "
                    f"({error.error_string.strip()}); fetch the recording again from where it was made"
                ) from None
            if not len(block):
                if sound.frames - decoded <= LENGTH_TOLERANCE_S * info.sample_rate_hz:
                    return
                raise TruncatedRecording(
                    f"audio ends after {decoded / info.sample_rate_hz:.1f} s; the container announces "
                    f"{info.duration_s:.1f} s: fetch the recording again from where it was made"
                )
            decoded += len(block)
            if not np.isfinite(block).all():
                block = np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            yield resample(block, last=decoded >= sound.frames)


class _Resampler:
    """Brings blocks to another rate, with no seam between them; the identity where the rates are equal."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")

    def __call__(self, block: Samples, *, last: bool) -> Samples:
        if self._stream is not None:
            block = self._stream.resample_chunk(block, last=last)
        return np.ascontiguousarray(block.T)


def _check_not_empty(file: BinaryIO) -> None:
    file.seek(0, 2)
    if file.tell() == 0:
        raise EmptyRecording("found 0 bytes; fetch the recording again from where it was made")
    file.seek(0)


def _check_wav_length(file: BinaryIO) -> None:
    """Compare the length that a RIFF header announces with the bytes that are there: libsndfile reads on in silence."""
    size = file.seek(0, 2)
    file.seek(0)
    riff, _, kind = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    if riff == b"RIFF" and kind == b"WAVE":
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name == b"data":
                there = size - file.tell()
                if length not in _LENGTH_UNKNOWN and there < length:
                    raise TruncatedRecording(
                        f"found {there} of the {length} bytes of audio that the header announces; fetch the recording "
                        "again from where it was made"
                    )
                break
            file.seek(length + length % 2, 1)
    file.seek(0)


def _refused(file: BinaryIO, error: soundfile.LibsndfileError) -> NotAudio | UnsupportedCodec:
    """Tell bytes that are no audio from audio in an encoding that libsndfile does not read."""
    file.seek(0)
    start = file.read(12)
    why = error.error_string.strip().rstrip(".")
    if start[:4] in (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3\x03", b"ID3\x04") or start[:2] == b"\xff\xfb":
        return UnsupportedCodec(
            f"found a container whose audio cannot be read ({why}); expected one of docs/formats.md"
        )
    return NotAudio("found bytes that are no audio; expected WAV, FLAC, MP3 or Ogg: check what wrote this object")
