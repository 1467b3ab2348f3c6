"""Tabular files at a place: contact records, events or surveys, row by row, in bounded memory.

A place is a file, a folder, an object or an s3:// prefix; a file is JSON, CSV or Parquet (docs/records.md). Knows
nothing of what the rows mean: whoever reads them says which columns they need and what a good row is.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import logging
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from jobs.discretion import file_name
from jobs.errors import SettingsError, UnreadableFile
from jobs.storage import Storage, open_storage

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.settings import Settings

log = logging.getLogger("callmood.records")

MAX_ROW_CHARACTERS = 1_000_000
LOGGED_ROWS = 20
"""Of a file's wrong rows, how many are logged one by one."""

_CHUNK_BYTES = 4 << 20
_UNPACKED_FREE_BYTES = 100_000_000
_UNPACKED_RATIO = 200
"""What is packed may unpack to so many times its size, beyond the free bytes; logs come to 10 to 50 times."""
_PARQUET_ROWS = 4096
_DELIMITERS = (",", ";", "\t")
_KINDS = {
    "": "json",  # as Kinesis Firehose names its objects
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
EXPECTED_FILES = "JSON (.jsonl, .ndjson, .json or no extension), CSV (.csv, .tsv; each also .gz), or .parquet"

_GAP = re.compile(r"[ \t\r\n,\x1e]*")
# Where reading goes on after a record that is none: at the next line, or where one object follows another.
_NEXT_RECORD = re.compile(r"\n|(?<=\})[ \t\r]*(?=\{)")
_NEXT_ELEMENT = re.compile(r"\n|(?<=\})[ \t\r]*,?[ \t\r]*(?=\{)")


class BadRow(ValueError):
    """A row cannot be used; says what was found and what was expected, without the row's values."""


Row = Mapping[str, Any]
Complain = Callable[[str], None]
"""Reports something wrong with a row that is used all the same."""


@dataclass(frozen=True)
class Columns:
    """What is read of a file.

    Parameters
    ----------
    wanted
        The names of the columns that are used, dotted where the column lies within another.
    required
        The names without which a CSV or Parquet file is not what it should be; of each group one is enough.
    """

    wanted: Collection[str]
    required: Collection[Collection[str]]


@dataclass
class Reading:
    """What came of reading places."""

    rows: int = 0
    bad_rows: int = 0
    bad_fields: int = 0
    missing: list[str] = field(default_factory=list)
    """The places where there is nothing to read."""
    unreadable: list[str] = field(default_factory=list)
    """What was wrong with each file that could not be read to its end."""


def read_places(
    pattern: str,
    days: Iterable[date],
    settings: Settings,
    columns: Columns,
    take: Callable[[Row, Complain], None],
) -> Reading:
    """Read every row of the places of some days, in a fixed order: by day, by the files' names, by row.

    Parameters
    ----------
    pattern
        The place, whose strftime codes are filled with each of the days.
    days
        UTC dates.
    columns
        What is read of the files.
    take
        Called with each row and a way to report what is wrong with single fields. Where it raises `BadRow`, the row
        is left out and reported: the first of a file one by one, then how many.

    Raises
    ------
    SettingsError
        Where the place is none.
    StorageError, StorageAccessDenied
        Where the store does not answer, or refuses.
    """
    reading = Reading()
    for place in places(pattern, days):
        found = False
        for name, file in _open_files(place, settings):
            found = True
            with file:
                _FileReading(name, reading).take_rows(_rows(name, file, columns), take)
        if not found:
            reading.missing.append(place)
    return reading


def places(pattern: str, days: Iterable[date]) -> list[str]:
    """The places of some days, each once."""
    try:
        return list(dict.fromkeys(day.strftime(pattern) for day in days))
    except ValueError:
        raise SettingsError(
            f"{pattern!r} cannot be filled with a date; see docs/records.md for what a place is"
        ) from None


class _FileReading:
    """The reading of one file: counts its rows, and logs what is wrong with them."""

    def __init__(self, name: str, reading: Reading) -> None:
        self._name = file_name(name)
        self._reading = reading
        self._row = 0
        self._problems = 0

    def take_rows(self, rows: Iterator[tuple[int, Row | BadRow]], take: Callable[[Row, Complain], None]) -> None:
        """Hand on every row that is one, up to the file's end or to where it cannot be read."""
        try:
            for self._row, values in rows:
                self._reading.rows += 1
                try:
                    if isinstance(values, BadRow):
                        raise values
                    take(values, self._complain)
                except BadRow as problem:
                    self._reading.bad_rows += 1
                    self._log(f"{problem}; the row is left out")
        except UnreadableFile as error:
            self._reading.unreadable.append(f"{self._name}: {error}")
            log.warning("%s: %s", self._name, error)
        if self._problems > LOGGED_ROWS:
            log.warning("%s: %d more problems are not logged", self._name, self._problems - LOGGED_ROWS)

    def _complain(self, problem: str) -> None:
        self._reading.bad_fields += 1
        self._log(problem)

    def _log(self, problem: str) -> None:
        self._problems += 1
        if self._problems <= LOGGED_ROWS:
            log.warning("%s, row %d: %s", self._name, self._row, problem)


# Files of a place


def _open_files(place: str, settings: Settings) -> Iterator[tuple[str, BinaryIO]]:
    """The place's files by name, open: the file itself, or those below it."""
    ways = [_named_file, _files_below]
    if place.endswith("/") or PurePosixPath(place).suffix == "" or _kind(place) is None:
        ways.reverse()
    for way in ways:
        found = False
        for name, file in way(place, settings):
            found = True
            yield name, file
        if found:
            return


def _named_file(place: str, settings: Settings) -> Iterator[tuple[str, BinaryIO]]:
    folder, _, name = place.rstrip("/").rpartition("/")
    if not name or folder.endswith(":/"):  # the root, or a bucket alone
        return
    try:
        file = open_storage(folder or "/", settings).open_binary(name)
    except FileNotFoundError:
        return
    yield name, file


def _files_below(place: str, settings: Settings) -> Iterator[tuple[str, BinaryIO]]:
    storage = open_storage(place.rstrip("/"), settings)
    passed_over = 0
    for path in [file.path for file in storage.files()]:
        if any(part.startswith(("_", ".")) for part in path.split("/")) or path.endswith("/"):
            continue  # what Spark, Delta and S3's console leave beside the data
        if _kind(path) is None:
            passed_over += 1
            continue
        file = _open_listed(storage, path)
        if file is not None:
            yield path, file
    if passed_over:
        log.info("%s: %d files of other kinds are passed over; read are %s", place, passed_over, EXPECTED_FILES)


def _open_listed(storage: Storage, path: str) -> BinaryIO | None:
    try:
        return storage.open_binary(path)
    except FileNotFoundError:
        log.info("%s is gone since the listing", file_name(path))
        return None


def _kind(path: str) -> str | None:
    return _KINDS.get(PurePosixPath(PurePosixPath(path).name.lower().removesuffix(".gz")).suffix)


# Rows of a file


def _rows(name: str, file: BinaryIO, columns: Columns) -> Iterator[tuple[int, Row | BadRow]]:
    """The rows with their numbers.

    Raises
    ------
    UnreadableFile
        Where the file is not what its name says, or ends before its end.
    """
    kind = _kind(name)
    if kind is None:
        raise UnreadableFile(f"found a file of another kind, expected {EXPECTED_FILES}")
    if kind == "parquet":
        yield from _parquet_rows(file, columns)
        return
    packed = file.read(2) == b"\x1f\x8b"  # whatever the name says
    file.seek(0)
    content = io.BufferedReader(_Unpacked(file), 1 << 16) if packed else file
    try:
        yield from _json_rows(content) if kind == "json" else _csv_rows(content, columns)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage = "ends before its end" if isinstance(error, EOFError) else "is damaged"
        raise UnreadableFile(f"the gzip file {damage}; deliver it again") from None
    except OSError as error:
        raise UnreadableFile(f"it cannot be read ({error.strerror or type(error).__name__})") from None


class _Unpacked(io.RawIOBase):
    """What a gzip file holds, as long as that is in proportion to its size."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._total += len(content)
        if self._total > _UNPACKED_FREE_BYTES + _UNPACKED_RATIO * self._packed.tell():
            raise UnreadableFile(
                f"the gzip file unpacks to over {_UNPACKED_RATIO} times its size, as no records do; "
                "check where it is from"
            )
        return len(content)


def _json_rows(content: BinaryIO) -> Iterator[tuple[int, Row | BadRow]]:
    """Objects one after another, a line each or not, or one array of them.

    The number of a row is its line's; where several stand on a line they are numbered on.
    """
    text = _JsonText(content)
    number = 0
    in_array = text.next_character() == "["
    if in_array:
        text.advance(text.position + 1)
    while character := text.next_character():
        if in_array and character == "]":
            in_array = False
            text.advance(text.position + 1)
            continue
        number = max(text.line, number + 1)
        yield number, text.next_row(_NEXT_ELEMENT if in_array else _NEXT_RECORD)
    if in_array:
        yield number + 1, BadRow("the array is not closed: the file may be cut off")


class _JsonText:
    """A text of JSON values, of which a part is in memory: of every row that is not too long the end is in sight.

    So what does not parse is no JSON, and not the beginning of some.
    """

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        # Bytes that are no UTF-8 become lone surrogates, so that they spoil their own row only.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._ended = False
        self.position = 0
        self.line = 1
        self._fill()
        _refuse_utf16(self._text)

    def next_character(self) -> str:
        """The first character of the next value, none at the end."""
        while True:
            self._fill()
            gap = _GAP.match(self._text, self.position)
            self.advance(gap.end() if gap else self.position)
            if self.position < len(self._text):
                self._fill()
                return self._text[self.position]
            if self._ended:
                return ""

    def next_row(self, break_: re.Pattern[str]) -> Row | BadRow:
        """The value that begins here; where there is none, what is here up to the next break."""
        start = self.position
        try:
            values, end = self._parse(self._text, start)
        except (ValueError, RecursionError):
            return self._pass_over(break_)
        text = self._text[start:end]
        self.advance(end)
        if len(text) > MAX_ROW_CHARACTERS:
            return BadRow(_TOO_LONG)
        if not encodable(text):
            return BadRow("not UTF-8")
        if not isinstance(values, dict):
            return BadRow(f"found {kind_of(values)}, expected a JSON object")
        return values

    def _pass_over(self, break_: re.Pattern[str]) -> BadRow:
        start = self.position
        found = break_.search(self._text, start + 1)
        text = self._text[start : found.start() if found else None]
        while found is None and not self._ended:
            self.advance(len(self._text) - 1)  # a break may look at the character before it
            self._fill()
            found = break_.search(self._text, self.position + 1)
        self.advance(found.start() if found else len(self._text))
        if len(text) > MAX_ROW_CHARACTERS:
            return BadRow(_TOO_LONG)
        return BadRow("not JSON" if encodable(text) else "not UTF-8")

    def advance(self, position: int) -> None:
        """Go on to a later position of the text in memory."""
        self.line += self._text.count("\n", self.position, position)
        self.position = position

    def _fill(self) -> None:
        while not self._ended and len(self._text) - self.position <= MAX_ROW_CHARACTERS:
            chunk = self._content.read(_CHUNK_BYTES)
            self._ended = not chunk
            self._text = self._text[self.position :] + self._decoder.decode(chunk, self._ended)
            self.position = 0


_TOO_LONG = f"found a row of over {MAX_ROW_CHARACTERS:,} characters, expected a record"


def _refuse_utf16(text: str) -> None:
    start = text[:2].encode(errors="surrogateescape")
    if start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} and "\0" in text[2:4]:
        raise UnreadableFile("found UTF-16, expected UTF-8; save it as UTF-8")


def encodable(text: str) -> bool:
    """Whether UTF-8 can write the text: JSON can hold half of a surrogate pair, a table cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(value: object) -> str:
    """The kind of a value in words, without the value."""
    for kinds, words in _IN_WORDS:
        if isinstance(value, kinds):
            return words
    return type(value).__name__


_IN_WORDS: tuple[tuple[Any, str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (dict, "an object"),
    ((list, tuple), "a list"),
    (date, "a date"),
    (bytes, "bytes"),
    (type(None), "nothing"),
)


def _csv_rows(content: BinaryIO, columns: Columns) -> Iterator[tuple[int, Row | BadRow]]:
    """Rows below a header; the number of a row is a spreadsheet's: the header is row 1."""
    # Bytes that are no UTF-8 become lone surrogates, so that they spoil their own row only.
    lines = _Lines(io.TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline=""))
    try:
        header = next((line for line in lines if line.strip()), None)
        if header is None:
            return
        _refuse_utf16(header)
        delimiter = max(_DELIMITERS, key=lambda candidate: _fit(header, candidate, columns))
        # Strict: what a wrong quote makes of a row is an error, not a guess.
        reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader)]
    except (csv.Error, BadRow) as error:
        raise UnreadableFile(f"its first row is no header of a CSV file ({error})") from None
    _check_columns(names, columns, "; is its first row the header?")
    places = {name: names.index(name) for name in columns.wanted if name in names}
    number = 1
    while True:
        number += 1
        lines.characters = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, BadRow) as error:
            yield number, BadRow(f"not CSV ({error})")
            continue
        if any(cells):
            yield number, _csv_row(cells, len(names), places)


def _csv_row(cells: list[str], width: int, places: Mapping[str, int]) -> Row | BadRow:
    if len(cells) < width or any(cells[width:]):
        return BadRow(f"found {len(cells)} cells, expected {width} as in the header")
    row = {name: cells[place].strip() or None for name, place in places.items()}
    if not all(cell is None or encodable(cell) for cell in row.values()):
        return BadRow("not UTF-8")
    return row


class _Lines:
    """Lines of a text for the CSV reader; ``characters`` counts those of the row that it is reading."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.characters = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW_CHARACTERS + 1)
        if not line:
            raise StopIteration
        self.characters += len(line)
        if self.characters > MAX_ROW_CHARACTERS:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(MAX_ROW_CHARACTERS)
            raise BadRow(_TOO_LONG)
        return line


def _fit(header: str, delimiter: str, columns: Columns) -> tuple[int, int]:
    """How well the delimiter fits the header: by the columns that are then there, else by their number."""
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    return len(set(columns.wanted) & set(names)), len(names)


def _check_columns(names: list[str], columns: Columns, hint: str = "") -> None:
    there = {*names, *(name for name in columns.wanted if name.partition(".")[0] in names)}
    for group in columns.required:
        if not there.intersection(group):
            raise UnreadableFile(
                f"it has no column {' or '.join(group)} among its {len(names)}, which is required "
                f"(contact_columns and docs/records.md say what a column is called){hint}"
            )
    twice = [name for name in columns.wanted if names.count(name) > 1]
    if twice:
        raise UnreadableFile(f"it has the column {twice[0]} more than once")


def _parquet_rows(file: BinaryIO, columns: Columns) -> Iterator[tuple[int, Row | BadRow]]:
    """Rows from 1 on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        source = pq.ParquetFile(file, coerce_int96_timestamp_unit="us")
        names = source.schema_arrow.names
        _check_columns(names, columns)
        read = {name if name in names else name.partition(".")[0] for name in columns.wanted}
        for batch in source.iter_batches(_PARQUET_ROWS, columns=sorted(read.intersection(names))):
            for row in _pylist(batch):
                number += 1
                yield number, row
        if number != source.metadata.num_rows:
            raise UnreadableFile(f"found {number} rows, expected {source.metadata.num_rows} by its own footer")
    except (pa.ArrowException, OSError, ValueError):
        raise UnreadableFile("it is no Parquet file, or is damaged; deliver it again") from None


def _pylist(batch: pa.RecordBatch) -> Iterator[Row | BadRow]:
    """The batch's rows; one that holds what Python cannot hold, such as a time after the year 9999, is a bad row."""
    import pyarrow as pa

    try:
        yield from batch.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        if batch.num_rows == 1:
            yield BadRow("found a value that cannot be read, such as a time out of range or text that is not UTF-8")
        else:
            for place in range(batch.num_rows):
                yield from _pylist(batch.slice(place, 1))
