"""A company's own labels: a table of labelled pieces of its recordings, read as a corpus.

A row is what one annotator heard in one piece of one recording; several rows of a piece are several annotators, whose
choices become the piece's probabilities. Knows nothing of the pipeline's tables or of S3: recordings are local files.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ser_model.corpora import Clip, CorpusContents, file_digest
from ser_model.errors import CorpusError
from ser_model.taxonomy import EMOTIONS

REQUIRED_COLUMNS: Final = ("source_uri", "start_s", "end_s", "emotion", "speaker")
CHANNEL_COLUMNS: Final = ("channel", "role")
"""At least one of them is there; a row's channel counts before its role."""
ROLE_CHANNELS: Final[Mapping[str, int | None]] = {"customer": 0, "agent": 1, "mixed": None}
"""The customer is on the left, the agent on the right, as in Amazon Connect's recordings."""
MIN_PIECE_S: Final = 0.2

Row = Mapping[str, Any]


class _NotUnderstood(Exception):
    """Why a row is left out."""


@dataclass
class _Piece:
    """A labelled piece of a recording, and what each annotator heard in it."""

    path: Path
    channel: int | None
    start_s: float
    end_s: float
    speaker: str
    choices: dict[str, str] = field(default_factory=dict)


def read_labels(table: Path) -> CorpusContents:
    """Read a table of labels.

    Parameters
    ----------
    table
        CSV (UTF-8, comma) or Parquet with the columns source_uri (a path, absolute or below the table's folder, or a
        ``file://`` address), channel (from 0) or role (customer, agent, mixed), start_s, end_s, emotion (of the
        taxonomy), speaker and, where there are several, annotator.

    Returns
    -------
    A clip a piece, sorted by recording, start and channel. Two recordings of the same bytes are one.

    Raises
    ------
    CorpusError
        If the table is missing, is of another kind, lacks a column or holds no row that can be used.
    """
    pieces: dict[tuple[Any, ...], _Piece] = {}
    unknown: list[str] = []
    duplicates: list[str] = []
    recording = _remembered(partial(_Recording.open, table.parent))
    for number, row in enumerate(_rows(table), start=1):
        try:
            if not _add(pieces, row, recording):
                duplicates.append(f"row {number}")
        except _NotUnderstood as reason:
            unknown.append(f"row {number}: {reason}")
    if not pieces:
        raise CorpusError(
            f"{table} has no row that can be used ({len(unknown)} are not understood, the first: "
            f"{unknown[0] if unknown else 'none'}); expected labelled pieces of recordings: docs/model-corpora.md"
        )
    ordered = sorted(pieces.values(), key=lambda piece: (piece.path, piece.start_s, piece.channel or 0))
    return CorpusContents(tuple(map(_clip, ordered)), tuple(unknown), tuple(duplicates))


@dataclass(frozen=True)
class _Recording:
    path: Path
    digest: bytes
    channels: int
    duration_s: float

    @classmethod
    def open(cls, folder: Path, source_uri: str) -> "_Recording":
        import soundfile

        address = urlsplit(source_uri)
        if address.scheme not in ("", "file"):
            raise _NotUnderstood(
                f"source_uri is on {address.scheme}://; expected a local path: copy the recordings here"
            )
        path = folder / (unquote(address.path) if address.scheme else source_uri)
        try:
            info = soundfile.info(path)
            return cls(path, file_digest(path), info.channels, info.duration)
        except (soundfile.SoundFileError, OSError):
            raise _NotUnderstood(f"no audio at {path}; expected a recording that libsndfile reads") from None


def _add(pieces: dict[tuple[Any, ...], _Piece], row: Row, recording: Callable[[str], _Recording]) -> bool:
    """Add what a row says; False where it was said already."""
    emotion, speaker = _text(row, "emotion"), _text(row, "speaker")
    if emotion not in EMOTIONS:
        raise _NotUnderstood(f"emotion is {emotion!r}; expected one of {', '.join(EMOTIONS)}")
    source = recording(_text(row, "source_uri"))
    channel = _channel(row, source)
    start_s, end_s = _seconds(row, "start_s"), _seconds(row, "end_s")
    # What was cut by rounded times may seem to end a little after the recording.
    if not 0 <= start_s < end_s <= source.duration_s + 0.1 or round(end_s - start_s, 3) < MIN_PIECE_S:
        raise _NotUnderstood(
            f"from {start_s} to {end_s} s of {source.duration_s:.2f} s; expected a piece of it, {MIN_PIECE_S} s or more"
        )
    piece = pieces.get(key := (source.digest, channel, start_s, end_s))
    if piece is None:
        piece = _Piece(source.path, channel, start_s, min(end_s, source.duration_s), speaker)
    if piece.speaker != speaker:
        raise _NotUnderstood(f"speaker is {speaker!r}, in an earlier row of the same piece {piece.speaker!r}")
    annotator = _text(row, "annotator", "")
    said = piece.choices.get(annotator)
    if said not in (None, emotion):
        raise _NotUnderstood(f"annotator {annotator!r} says {emotion}, in an earlier row of the same piece {said}")
    piece.choices[annotator] = emotion
    pieces[key] = piece
    return said is None


def _clip(piece: _Piece) -> Clip:
    choices = tuple(piece.choices.values())
    return Clip(
        piece.path,
        "calls",
        piece.speaker,
        # Of a tie the first of the taxonomy: there is no better reason, and `Clip.agreed` tells.
        max(EMOTIONS, key=choices.count),
        channel=piece.channel,
        start_s=piece.start_s,
        end_s=piece.end_s,
        annotations=choices if len(choices) > 1 else (),
    )


def _channel(row: Row, source: _Recording) -> int | None:
    role = _text(row, "role", "")
    if channel_text := _text(row, "channel", ""):
        if not channel_text.removesuffix(".0").isdecimal():
            raise _NotUnderstood(f"channel is {channel_text!r}; expected 0, 1, ... from the left")
        channel: int | None = int(channel_text.removesuffix(".0"))
    elif role not in ROLE_CHANNELS:
        raise _NotUnderstood(f"role is {role!r} and channel empty; expected a channel, or {', '.join(ROLE_CHANNELS)}")
    else:
        channel = ROLE_CHANNELS[role]
    if channel is not None and channel >= source.channels:
        raise _NotUnderstood(f"channel is {channel} of a recording of {source.channels}; expected less")
    return channel


def _text(row: Row, column: str, default: str | None = None) -> str:
    value = row.get(column)
    # What a data frame has for an empty cell is not a number.
    text = "" if value is None or value != value else str(value).strip()
    if text or default is not None:
        return text or default or ""
    raise _NotUnderstood(f"{column} is empty")


def _seconds(row: Row, column: str) -> float:
    text = _text(row, column)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _NotUnderstood(f"{column} is {text!r}; expected seconds")
    return value


def _rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a table that has the columns."""
    if not table.is_file():
        raise CorpusError(f"{table} is not a file; expected a table of labels: docs/model-corpora.md")
    if table.suffix.lower() == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            rows = pyarrow.parquet.read_table(table).to_pylist()
        except pyarrow.ArrowException as error:
            raise CorpusError(f"{table} is not Parquet: {error}; expected a table of labels") from error
        _check_columns(table, list(rows[0]) if rows else [])
        yield from rows
        return
    try:
        # A spreadsheet may write a byte order mark.
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(table, reader.fieldnames or [])
            yield from reader
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{table} is not CSV in UTF-8: {error}; expected a table of labels") from error


def _check_columns(table: Path, found: Sequence[str]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    if missing or not set(CHANNEL_COLUMNS) & set(found):
        raise CorpusError(
            f"{table} has the columns {list(found)}; expected {', '.join(REQUIRED_COLUMNS)}, one of "
            f"{' and '.join(CHANNEL_COLUMNS)} and, where there are several, annotator"
        )


def _remembered(open_recording: Callable[[str], _Recording]) -> Callable[[str], _Recording]:
    """Open each recording once, also one that cannot be opened."""
    known: dict[str, _Recording | _NotUnderstood] = {}

    def find(source_uri: str) -> _Recording:
        if source_uri not in known:
            try:
                known[source_uri] = open_recording(source_uri)
            except _NotUnderstood as reason:
                known[source_uri] = reason
        found = known[source_uri]
        if isinstance(found, _NotUnderstood):
            raise found
        return found

    return find
