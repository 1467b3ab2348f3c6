"""Recordings decoded in blocks, at the pipeline's rate, as one stream a role, and what the container says of them.

Bytes come in, blocks of 16-bit samples go out, as telephones make them; a whole call is never held as float. Knows
nothing of who speaks when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ser_model.containers import Container, cut_in_header, open_container
from ser_model.errors import (
    EmptyRecording,
    RecordingError,
    TooLong,
    TooShort,
    TruncatedRecording,
    UnsupportedChannels,
    UnsupportedCodec,
    UnsupportedRate,
)
from ser_model.features import Pcm16, from_pcm16, to_pcm16

_Decoded = npt.NDArray[Any]
"""int16 where the encoding is of 16 bit, else float32, full scale 1.0."""
Role = Literal["customer", "agent", "mixed"]
ChannelRole = Literal["customer", "agent", "mixed", "none"]
"""Whose a channel is; one of none is not read."""

BLOCK_S: Final = 30.0
MIN_DURATION_S: Final = 1.0
MAX_DURATION_S: Final = 6 * 3600.0
MIN_RATE_HZ: Final = 8000
MAX_RATE_HZ: Final = 48000
CLIPPED_LEVEL: Final = 0.979
"""Samples at least this far from zero count as clipped: G.711's highest step is 0.980 of full scale."""

LENGTH_TOLERANCE_S: Final = 0.5
"""How much less than announced may be there: an MP3's announced length counts its encoder's padding."""

_OF_16_BIT: Final = frozenset({"PCM_16", "ULAW", "ALAW"})
"""Encodings of 16 bit, which are decoded as that: several times as fast as libsndfile's floats, and exact."""

# libsndfile's word for a length that the container does not tell.
_NO_LENGTH: Final = 2**63 - 1


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is.

    Attributes
    ----------
    codec
        Container and encoding, such as ``WAV/ULAW``; of two files that differ, ``WAV/ULAW+MP3/MPEG_LAYER_III``.
    sample_rate_hz
        The recording's own rate; of two files, the first one's.
    channels
        How many channels it has; of two files, both together.
    duration_s
        Its length; of two files, the longer one's.
    """

    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float


class AudioReader:
    """A file opened for one pass through its audio.

    Parameters
    ----------
    file
        The recording's bytes, seekable.
    sample_rate_hz
        The rate at which blocks are wanted.

    Attributes
    ----------
    info
        What the file is. Until its blocks are read, duration_s is what the container says, or the longest that may be.
    n_read, n_clipped
        How many samples were read, of the channels that any stream is of, and how many of them are at full scale.

    Raises
    ------
    EmptyRecording, NotAudio, UnsupportedCodec, UnsupportedRate, TooLong, TruncatedRecording
        As their names say.
    """

    def __init__(self, file: BinaryIO, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        container = open_container(file)
        self._sound = sound = _open(container)
        if not MIN_RATE_HZ <= sound.samplerate <= MAX_RATE_HZ:
            raise UnsupportedRate(
                f"found {sound.samplerate} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz: check the recorder"
            )
        duration_s = sound.frames / sound.samplerate
        # What a file that was cut holds is read first: only then is it known how much that is.
        self._announced_s = duration_s * container.announced
        if not container.counted or sound.frames == _NO_LENGTH:
            duration_s, self._announced_s = MAX_DURATION_S, 0.0
        if duration_s > MAX_DURATION_S:
            raise _too_long(duration_s)
        self.info = AudioInfo(f"{sound.format}/{sound.subtype}", sound.samplerate, sound.channels, duration_s)
        self.n_read = self.n_clipped = 0

    def blocks(self, streams: Sequence[Sequence[int]]) -> Iterator[Pcm16]:
        """Yield the audio at the wanted rate, block by block.

        Parameters
        ----------
        streams
            Of which channels each stream is the mean.

        Yields
        ------
        int16 ``[shape=(streams, n)]``; what is beyond full scale is clipped, and samples of float files that are no
        finite number are zero.

        Raises
        ------
        EmptyRecording
            Where there is nothing.
        TruncatedRecording
            Where the audio ends before the length that the container announced, or cannot be decoded.
        TooLong
            Where no length was announced and there is more than a call may have.
        """
        rate_hz = self.info.sample_rate_hz
        resample = _Resampler(rate_hz, self.sample_rate_hz, len(streams))
        n_decoded = 0
        while len(block := self._decode(n_decoded)):
            n_decoded += len(block)
            if n_decoded > MAX_DURATION_S * rate_hz:
                raise _too_long(n_decoded / rate_hz)
            yield resample(self._streams(block, streams))
        yield resample.rest()
        duration_s = n_decoded / rate_hz
        if self._announced_s - duration_s > LENGTH_TOLERANCE_S:
            raise TruncatedRecording(
                f"audio ends after {duration_s:.1f} s; the container announces {self._announced_s:.1f} s: fetch the "
                "recording again from where it was made"
            )
        if n_decoded == 0:
            raise _no_audio()
        self.info = replace(self.info, duration_s=duration_s)

    def _decode(self, n_decoded: int) -> _Decoded:
        """The next block ``[shape=(n, channels)]``; empty at the end."""
        rate_hz = self.info.sample_rate_hz
        dtype = "int16" if self._sound.subtype in _OF_16_BIT else "float32"
        try:
            block: _Decoded = self._sound.read(int(BLOCK_S * rate_hz), dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            why = error.error_string.strip().rstrip(".")
            raise TruncatedRecording(
                f"decoding broke off within {BLOCK_S:g} s after {n_decoded / rate_hz:.0f} s ({why}): the file is cut "
                "or damaged; fetch the recording again from where it was made"
            ) from None
        return block

    def _streams(self, block: _Decoded, streams: Sequence[Sequence[int]]) -> _Decoded:
        """Make streams of channels, both ``[shape=(n, ...)]``, and count what is clipped."""
        used = sorted({channel for stream in streams for channel in stream})
        if len(used) < block.shape[1]:
            block = block[:, used]
        clipped = CLIPPED_LEVEL * (32768 if block.dtype == np.int16 else 1)
        low, high = float(block.min()), float(block.max())
        if not np.isfinite(high - low):
            np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            low, high = float(block.min()), float(block.max())
        self.n_read += block.size
        if max(-low, high) >= clipped:
            self.n_clipped += int(np.count_nonzero((block >= clipped) | (block <= -clipped)))
            if block.dtype == np.float32:
                np.clip(block, -1, 1, out=block)
        if [[channel] for channel in used] == [list(stream) for stream in streams]:
            return block
        block = _as_float(block)
        return np.stack([block[:, np.searchsorted(used, stream)].mean(axis=1) for stream in streams], axis=1)


class CallReader:
    """A call's recording opened for one pass: one file, or two that are read in step.

    Parameters
    ----------
    files
        The recording's bytes, seekable; two where each side has a file of its own.
    channel_roles
        Whose each channel is, from the left; a second file's after the first's.
    sample_rate_hz
        The rate at which blocks are wanted.

    Attributes
    ----------
    roles
        Whose each stream is.

    Raises
    ------
    UnsupportedChannels
        There are other channels than the map has.
    ser_model.errors.RecordingError
        As `AudioReader`; of two files, the message says whose.
    """

    def __init__(self, files: Sequence[BinaryIO], channel_roles: Sequence[ChannelRole], sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._owners: Sequence[str] = channel_roles if len(files) > 1 else ("",)
        if len(files) > 1 and sorted(channel_roles) != ["agent", "customer"]:
            raise UnsupportedChannels(
                f"found {len(files)} files of {', '.join(channel_roles)}; expected one of the customer and one of the "
                "agent: check the layout's channel roles"
            )
        self._readers: list[AudioReader] = []
        for file, owner in zip(files, self._owners, strict=True):
            with _of(owner):
                self._readers.append(AudioReader(file, sample_rate_hz))
                _check_side(self._readers[-1].info.channels, owner)
        channels = sum(reader.info.channels for reader in self._readers)
        if channels == 1 and len(channel_roles) > 1:
            channel_roles = ("mixed",)
        if channels != len(channel_roles):
            raise UnsupportedChannels(
                f"found {channels} channels; expected {len(channel_roles)} ({', '.join(channel_roles)}): give the "
                "layout the roles of all channels"
            )
        self.roles: Sequence[Role] = tuple(dict.fromkeys(role for role in channel_roles if role != "none"))
        if not self.roles:
            raise UnsupportedChannels("the layout gives no channel a role; name customer and agent in it")
        of_role = [[channel for channel, role in enumerate(channel_roles) if role == name] for name in self.roles]
        self._streams = [of_role] if len(files) == 1 else [[[0]], [[0]]]

    @property
    def info(self) -> AudioInfo:
        """What the recording is. Until its blocks are read, its length is what the containers say, or the longest."""
        infos = [reader.info for reader in self._readers]
        return AudioInfo(
            codec="+".join(dict.fromkeys(info.codec for info in infos)),
            sample_rate_hz=infos[0].sample_rate_hz,
            channels=sum(info.channels for info in infos),
            duration_s=max(info.duration_s for info in infos),
        )

    @property
    def clipped_share(self) -> float:
        """Share of the samples read so far that are at full scale."""
        n_read = sum(reader.n_read for reader in self._readers)
        return sum(reader.n_clipped for reader in self._readers) / max(1, n_read)

    def blocks(self) -> Iterator[Pcm16]:
        """Yield the streams at the wanted rate, block by block; the shorter of two files goes on in digital silence.

        Yields
        ------
        int16 ``[shape=(roles, n)]``, as `AudioReader.blocks`.

        Raises
        ------
        TooShort
            At the end, where that was less than any call has.
        ser_model.errors.RecordingError
            As `AudioReader.blocks`; of two files, the message says whose.
        """
        files = [
            self._side(reader, streams, owner)
            for reader, streams, owner in zip(self._readers, self._streams, self._owners, strict=True)
        ]
        yield from files[0] if len(files) == 1 else _in_step(files, int(BLOCK_S * self._sample_rate_hz))
        if self.info.duration_s < MIN_DURATION_S:
            raise TooShort(f"found {self.info.duration_s:.2f} s; expected at least {MIN_DURATION_S:g} s of call")

    @staticmethod
    def _side(reader: AudioReader, streams: Sequence[Sequence[int]], owner: str) -> Iterator[Pcm16]:
        with _of(owner):
            yield from reader.blocks(streams)


def _in_step(files: Sequence[Iterator[Pcm16]], length: int) -> Iterator[Pcm16]:
    """Join the streams of files whose blocks are of other lengths, with zeros where a file has ended."""
    ended = np.empty((1, 0), dtype=np.int16)
    for parts in zip_longest(*(_blocks_of(length, blocks) for blocks in files), fillvalue=ended):
        longest = max(part.shape[1] for part in parts)
        yield np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]))) for part in parts])


def _blocks_of(length: int, blocks: Iterator[Pcm16]) -> Iterator[Pcm16]:
    """Cut a stream into blocks of one length, the last one of what is left."""
    waiting: list[Pcm16] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += block.shape[1]
        while n_waiting >= length:
            joined = np.concatenate(waiting, axis=1)
            yield joined[:, :length]
            waiting = [joined[:, length:]]
            n_waiting -= length
    if n_waiting:
        yield np.concatenate(waiting, axis=1)


class _Resampler:
    """Brings blocks to another rate, with no seam between them, and to 16 bit."""

    def __init__(self, from_hz: int, to_hz: int, n_streams: int) -> None:
        self._n_streams = n_streams
        self._stream = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, n_streams, dtype="float32")

    def __call__(self, block: _Decoded, *, last: bool = False) -> Pcm16:
        """Take in a block ``[shape=(n, streams)]``, give what is ready, ``[shape=(streams, n)]``."""
        if self._stream is not None:
            block = self._stream.resample_chunk(_as_float(block), last=last)
        return np.ascontiguousarray((block if block.dtype == np.int16 else to_pcm16(block)).T)

    def rest(self) -> Pcm16:
        """Give what was held back."""
        return self(np.empty((0, self._n_streams), dtype=np.float32), last=True)


def _as_float(block: _Decoded) -> npt.NDArray[np.float32]:
    return from_pcm16(block) if block.dtype == np.int16 else block


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Read from the beginning to the end.

    soundfile seeks after each block, which costs decoders time, fails where no length was announced, and is not exact
    in MP3; it does not where a file cannot be sought in.
    """

    def seekable(self) -> bool:
        return False


def _open(container: Container) -> soundfile.SoundFile:
    try:
        sound = _Forward(container.file)
    except soundfile.LibsndfileError as error:
        why = error.error_string.strip().rstrip(".")
        raise UnsupportedCodec(
            f"found a container whose audio cannot be read ({why}); expected one of docs/formats.md"
        ) from None
    if sound.frames == 0:
        raise cut_in_header() if container.announced > 1 else _no_audio()
    return sound


def _no_audio() -> EmptyRecording:
    return EmptyRecording("found a header without audio; check the recorder")


def _too_long(duration_s: float) -> TooLong:
    return TooLong(f"found {duration_s / 3600:.1f} h; expected at most {MAX_DURATION_S / 3600:g} h: split it")


def _check_side(channels: int, owner: str) -> None:
    if owner and channels != 1:
        raise UnsupportedChannels(f"found {channels} channels; expected one, where each side has a file of its own")


@contextmanager
def _of(owner: str) -> Iterator[None]:
    """Say of an error whose file it is about, where each side has one."""
    try:
        yield
    except RecordingError as error:
        raise (type(error)(f"in the {owner}'s file: {error}") if owner else error) from None
