"""What a recording's container is, and whether it is whole, read from its own headers before libsndfile opens it.

libsndfile reads a cut file to where it ends and says nothing, takes the length of some files from a guess, and reads
containers that no recorder writes with decoders that no one looks after. So only the containers of docs/formats.md
reach it, and what they announce is compared with what is there. Knows nothing of samples.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from ser_model.errors import EmptyRecording, NotAudio, TruncatedRecording, UnsupportedCodec

_AGAIN: Final = "fetch the recording again from where it was made"

# Containers of audio that are not read: where their mark is, the mark, their name.
_NOT_READ: Final = (
    (4, b"ftyp", "MP4 (AAC, or a video)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75", "ASF (WMA, or a video)"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (0, b"caff", "CAF"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"NIST_1A", "SPHERE"),
    (0, b"wvpk", "WavPack"),
)
_WAV_MP3: Final = 0x0055
_EXTENSIBLE: Final = 0xFFFE


class Stretch:
    """A stretch of a file, with other bytes before it where these are needed, as a file: as much as libsndfile uses.

    libsndfile seeks before the beginning of some damaged files, which here ends at the beginning.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes = b"") -> None:
        self._head, self._file, self._start = head, file, start
        self._size = len(head) + end - start
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def read(self, length: int) -> bytes:
        """As many bytes, or as there are left."""
        length = max(0, min(length, self._size - self._at))
        part = self._head[self._at : self._at + length]
        if len(part) < length:
            part += _read(self._file, self._start + self._at + len(part) - len(self._head), length - len(part))
        self._at += len(part)
        return part


@dataclass(frozen=True)
class Container:
    """What is to be read of a file, and what is known of its length.

    Attributes
    ----------
    file
        The bytes that libsndfile is to read.
    announced
        How much audio the headers announce, as a multiple of what is there: above 1 where the file was cut.
    counted
        Whether the headers say how long the audio is; else it lasts as long as there is something to decode.
    """

    file: Stretch
    announced: float = 1.0
    counted: bool = True


def open_container(file: BinaryIO) -> Container:
    """Look at a file's headers.

    Parameters
    ----------
    file
        The recording's bytes, seekable.

    Raises
    ------
    EmptyRecording
        There are no bytes.
    NotAudio
        It is none of the known containers.
    UnsupportedCodec
        It is a container of audio that is not read.
    TruncatedRecording
        It ends within its headers, or within an Ogg page.
    """
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise EmptyRecording(f"found 0 bytes; {_AGAIN}")
    start = _after_tags(file)
    if start >= size:
        raise cut_in_header()
    mark = _read(file, start, 20)
    for begins, look in _READ.items():
        if mark.startswith(begins):
            return look(file, start, size)
    if _mpeg_frame(mark) is not None or start > 0:
        return _mp3(file, start, size)
    for offset, known, name in _NOT_READ:
        if mark[offset:].startswith(known):
            raise UnsupportedCodec(f"found {name}; expected one of docs/formats.md: set the recorder to write it")
    raise NotAudio(
        "found bytes that are no audio; expected WAV, FLAC, MP3 or Ogg: check what wrote this object (raw telephone "
        "audio without a header, such as .ulaw or .vox, needs a WAV header)"
    )


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)


def _after_tags(file: BinaryIO) -> int:
    """Where the audio begins behind ID3 tags, which may stand before anything."""
    at = 0
    while len(tag := _read(file, at, 10)) == 10 and tag[:3] == b"ID3" and max(tag[6:]) < 128:
        at += 10 + sum(digit << shift for digit, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    return at


def cut_in_header() -> TruncatedRecording:
    """The error of a file that ends before there is anything to hear."""
    return TruncatedRecording(f"the file ends before its audio begins; {_AGAIN}")


def _unknown(length: int) -> bool:
    """Whether a length is what writers leave that did not know it: nothing, or about the most that fits."""
    return length == 0 or 0x7FFF0000 <= length <= 0x80000000 or 0xFFFF0000 <= length < 2**32 or length >= 2**62


def _share(length: int, there: int) -> float:
    """Announced audio over what is there."""
    if _unknown(length) or length <= there:
        return 1.0
    if there <= 0:
        raise cut_in_header()
    return length / there


def _chunks(file: BinaryIO, at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, length and place of the chunks of a RIFF or AIFF file, until one has no name that is one."""
    while len(header := _read(file, at, 8)) == 8 and all(32 <= letter < 127 for letter in header[:4]):
        name, length = struct.unpack(f"{order}4sI", header)
        yield name, length, at + 8
        at += 8 + length + length % 2


def _riff(file: BinaryIO, start: int, size: int) -> Container:
    """WAV and RF64, in either byte order."""
    if size - start < 12:
        raise cut_in_header()
    magic = _read(file, start, 4)
    order = ">" if magic == b"RIFX" else "<"
    form, kind = struct.unpack(f"{order}I4s", _read(file, start + 4, 8))
    if kind != b"WAVE":
        raise UnsupportedCodec("found RIFF that is no WAV (a video, or an image); expected one of docs/formats.md")
    long_length, encoding = 0, 0
    for name, length, at in _chunks(file, start + 12, order):
        if name == b"ds64":
            (long_length,) = struct.unpack("<8xQ", _read(file, at, 16).ljust(16, b"\0"))
        elif name == b"fmt ":
            encoding = _encoding(_read(file, at, 26), order)
        elif name == b"data":
            if length == 0xFFFFFFFF and long_length:
                length = long_length
            there = size - at
            if encoding == _WAV_MP3:
                if _share(length, there) > 1:
                    raise TruncatedRecording(f"found {there} of the {length} bytes of audio announced; {_AGAIN}")
                return _mp3(file, at, size if _unknown(length) else at + length)
            if length == 0 and there > 0 and (_unknown(form) or start + 8 + form < size):
                # Writers that were never closed leave 0, which libsndfile believes.
                head = bytearray(_read(file, start, at - start))
                head[-4:] = b"\xff\xff\xff\xff"
                return Container(Stretch(file, at, size, bytes(head)))
            return Container(Stretch(file, start, size), _share(length, there))
    if _unknown(form) or start + 8 + form > size:
        raise cut_in_header()
    return Container(Stretch(file, start, size))


def _encoding(format_chunk: bytes, order: str) -> int:
    """The encoding's number in a WAV's format chunk, that of an extensible one from its subformat."""
    (encoding,) = struct.unpack(f"{order}H", format_chunk[:2].ljust(2, b"\0"))
    if encoding == _EXTENSIBLE:
        (encoding,) = struct.unpack(f"{order}H", format_chunk[24:26].ljust(2, b"\0"))
    return int(encoding)


def _wave64(file: BinaryIO, start: int, size: int) -> Container:
    """Sony's WAV with names of 16 bytes and lengths of 8, which count their own header."""
    at = start + 40
    while len(header := _read(file, at, 24)) == 24:
        (length,) = struct.unpack("<16xQ", header)
        if header[:4] == b"data":
            return Container(Stretch(file, start, size), _share(max(0, length - 24), size - at - 24))
        if length < 24 or length > size - at:
            break
        at += -(-length // 8) * 8
    raise cut_in_header()


def _aiff(file: BinaryIO, start: int, size: int) -> Container:
    if size - start < 12:
        raise cut_in_header()
    form, kind = struct.unpack(">I4s", _read(file, start + 4, 8))
    if kind not in (b"AIFF", b"AIFC"):
        raise UnsupportedCodec("found IFF that is no AIFF; expected one of docs/formats.md")
    for name, length, at in _chunks(file, start + 12, ">"):
        if name == b"SSND":
            return Container(Stretch(file, start, size), _share(length - 8, size - at - 8))
    if _unknown(form) or start + 8 + form > size:
        raise cut_in_header()
    return Container(Stretch(file, start, size))


def _au(file: BinaryIO, start: int, size: int) -> Container:
    header = _read(file, start, 12)
    if len(header) < 12:
        raise cut_in_header()
    at, length = struct.unpack(">II" if header[:4] == b".snd" else "<II", header[4:])
    if length == 0 and start + at < size:
        head = bytearray(_read(file, start, at))
        head[8:12] = b"\xff\xff\xff\xff"
        return Container(Stretch(file, start + at, size, bytes(head)))
    return Container(Stretch(file, start, size), _share(length, size - start - at))


def _flac(file: BinaryIO, start: int, size: int) -> Container:
    (total,) = struct.unpack(">Q", _read(file, start + 18, 8).ljust(8, b"\0"))
    n_samples = total & (2**36 - 1)
    at, last = start + 4, False
    while not last:
        header = _read(file, at, 4)
        if len(header) < 4:
            raise cut_in_header()
        last = header[0] >= 128
        at += 4 + int.from_bytes(header[1:], "big")
    if at > size or (at == size and n_samples > 0):
        raise cut_in_header()
    return Container(Stretch(file, start, size), counted=n_samples > 0)


def _ogg(file: BinaryIO, start: int, size: int) -> Container:
    """Go from page to page: the last one must be whole, and all of one stream."""
    at, n_streams = start, 0
    while (header := _read(file, at, 27)) and b"OggS".startswith(header[:4]):
        lacing = file.read(header[26]) if len(header) == 27 else b""
        end = at + 27 + len(lacing) + sum(lacing)
        if len(header) < 27 or len(lacing) < header[26] or end > size:
            raise TruncatedRecording(f"the file ends within an Ogg page; {_AGAIN}")
        n_streams += bool(header[5] & 2)
        at = end
    if n_streams > 1:
        raise UnsupportedCodec(
            f"found {n_streams} Ogg streams in one file, of which only the first would be heard; expected one: "
            "let the recorder write one stream a file, or join them"
        )
    return Container(Stretch(file, start, size))


def _mp3(file: BinaryIO, start: int, end: int) -> Container:
    """MP3, whose length libsndfile guesses from the first frame where no frame with a count begins it.

    It stops at the guess, so a guess that is too short loses audio. A frame with a count put before it, larger than
    can be, lets it read to the end.
    """
    frame = _mpeg_frame(_read(file, start, 4))
    if frame is None:
        return Container(Stretch(file, start, end), counted=False)
    first = _read(file, start, frame.count_at + 16)[frame.count_at :].ljust(16, b"\0")
    name, flags, n_frames, n_bytes = struct.unpack(">4sIII", first)
    # A count of much less than there is belongs to the first of several recordings in one file.
    of_all = not flags & 2 or n_bytes >= 0.95 * (end - start)
    if name in (b"Xing", b"Info") and flags & 1 and n_frames > 0 and of_all:
        return Container(Stretch(file, start, end))
    shortest_frame = 24
    head = frame.with_count((end - start) // shortest_frame + 1)
    return Container(Stretch(file, start, end, head), counted=False)


@dataclass(frozen=True)
class _MpegFrame:
    """The header of an MPEG audio frame of layer III."""

    header: bytes
    version_1: bool
    sample_rate_hz: int

    @property
    def count_at(self) -> int:
        """Where a count of frames stands in a frame that holds one: behind the side information."""
        mono = self.header[3] >> 6 == 3
        return 4 + (32, 17)[mono] if self.version_1 else 4 + (17, 9)[mono]

    def with_count(self, n_frames: int) -> bytes:
        """Make a frame of the same kind that holds no audio but a count of frames."""
        version, rate_and_padding = self.header[1] | 1, self.header[2] & 0x0C
        bitrate_index, bitrate = 9, 128_000 if self.version_1 else 80_000
        length = (144 if self.version_1 else 72) * bitrate // self.sample_rate_hz
        header = bytes((0xFF, version, bitrate_index << 4 | rate_and_padding, self.header[3]))
        return (header.ljust(self.count_at, b"\0") + struct.pack(">4sII", b"Xing", 1, n_frames)).ljust(length, b"\0")


def _mpeg_frame(header: bytes) -> _MpegFrame | None:
    """Read a frame's header; None where these bytes are none, or not of layer III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    rate_hz = (44_100, 48_000, 32_000)[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    return _MpegFrame(header[:4], version == 3, rate_hz)


_READ: Final[dict[bytes, Callable[[BinaryIO, int, int], Container]]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"riff\x2e\x91\xcf\x11": _wave64,
    b"FORM": _aiff,
    b".snd": _au,
    b"dns.": _au,
    b"fLaC": _flac,
    b"OggS": _ogg,
}
