"""Fields of rows: in which column a field is, of which type it is, and what is said of a value of another type.

A value has the same meaning in every format: a number is a number or its digits as text, a time is a timestamp, ISO
8601 or seconds or milliseconds since 1970. Knows nothing of what the fields mean, nor of files.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from jobs.layouts import YEARS
from jobs.tabular import BadRow, Columns, Complain, Row, encodable, kind_of

MAX_ID_CHARACTERS = 256

_DIGITS = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)
_MILLISECONDS = 1e11
"""From here on a number is milliseconds since 1970: seconds come to it in the year 5138, milliseconds did in 1973."""
_LATEST_MILLISECONDS = 1e13


class WrongValue(ValueError):
    """A value is not of its field's type; says what it is, without the value."""


@dataclass(frozen=True)
class Type:
    """A type of fields.

    Parameters
    ----------
    expected
        What a value of it is, for messages and the documentation.
    read
        Makes a value of what is found, which is never None; None where that says nothing.
        A time without a zone is of the one given.
    """

    expected: str
    read: Callable[[Any, ZoneInfo], Any]


@dataclass(frozen=True)
class Field:
    """A field of a row.

    Parameters
    ----------
    name
        Its name here.
    type
        Its type.
    paths
        Where it is: names of columns, dotted where the column lies within another; the first that has a value counts.
    required
        Whether a row without it is none.
    """

    name: str
    type: Type
    paths: tuple[str, ...]
    required: bool = False


class FieldReader:
    """Reads the fields of rows.

    Parameters
    ----------
    fields
        What is read.
    zone
        The time zone of times that name none.
    """

    def __init__(self, fields: Sequence[Field], zone: ZoneInfo) -> None:
        self._fields = [(field, [_finder(path) for path in field.paths], field.type.read) for field in fields]
        self._zone = zone
        self.columns = Columns(
            wanted=tuple(path for field in fields for path in field.paths),
            required=tuple(field.paths for field in fields if field.required),
        )

    def read(self, row: Row, complain: Complain) -> dict[str, Any]:
        """Return the value of each field by its name, None where there is none.

        A value of a wrong type is reported, and its field is not among the returned.

        Raises
        ------
        BadRow
            Where a required field is missing or of a wrong type.
        """
        values: dict[str, Any] = {}
        zone = self._zone
        for field, finders, read in self._fields:
            value = None
            try:
                for find in finders:
                    found = find(row)
                    if found or (found is not None and found != "" and found != []):
                        value = read(found, zone)
                        break
            except WrongValue as wrong:
                problem = f"{field.name} ({' or '.join(field.paths)}): found {wrong}, expected {field.type.expected}"
                if field.required:
                    raise BadRow(problem) from None
                complain(problem)
                continue
            if value is None and field.required:
                raise BadRow(f"{field.name} ({' or '.join(field.paths)}) is missing")
            values[field.name] = value
        return values


def _finder(path: str) -> Callable[[Row], Any]:
    """Makes a function that finds the value of a dotted path: of that very column, else of one within others."""
    parts = path.split(".")
    if len(parts) == 1:
        return lambda row: row.get(path)

    def find(row: Row) -> Any:
        value: Any = row.get(path)
        if value is not None:
            return value
        value = row
        for part in parts:
            if not isinstance(value, dict):
                if not value:  # "" and [] stand for no object
                    return None
                raise WrongValue(f"{kind_of(value)} in place of an object")
            value = value.get(part)
            if value is None:
                return None
        return value

    return find


# Types


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        raise WrongValue(kind_of(value))
    if "\0" in value or not encodable(value):
        raise WrongValue("text with what is no character")
    return value.strip() or None


def _id(value: Any, _: ZoneInfo) -> str | None:
    text = str(value) if _is_whole(value) else _text(value)
    if text is not None and len(text) > MAX_ID_CHARACTERS:
        raise WrongValue(f"text of {len(text)} characters")
    return text


def _name(value: Any, _: ZoneInfo) -> str | None:
    text = _text(value)
    # There are few names and many rows.
    return text and sys.intern(text)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18


def as_number(value: Any) -> float | None:
    """The number that a value is, or that a text writes; None where it is none, or not finite."""
    if type(value) is int and -1e15 < value < 1e15:
        return float(value)
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value.strip()):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _number(value: Any, _: ZoneInfo) -> float:
    number = as_number(value)
    if number is None:
        raise WrongValue(kind_of(value))
    return number


def _seconds(value: Any, _: ZoneInfo) -> float:
    if isinstance(value, timedelta):
        number: float | None = value.total_seconds()
    elif isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        number = int(clock[1][:9]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    else:
        number = as_number(value)
    if number is None:
        raise WrongValue(kind_of(value))
    if not 0 <= number < 1e9:
        raise WrongValue("another number")
    return number


def _count(value: Any, _: ZoneInfo) -> int:
    number = as_number(value)
    if number is None:
        raise WrongValue(kind_of(value))
    if not 0 <= number < 1e9 or not number.is_integer():
        raise WrongValue("another number")
    return int(number)


def _moment(value: Any, zone: ZoneInfo) -> datetime:
    """A time in UTC; one that a clock does not show, or shows twice, is of the clock before it was put."""
    if isinstance(value, datetime):
        # Of pandas' own kind, too, which has nanoseconds.
        found = datetime.combine(value.date(), value.timetz())
    elif isinstance(value, str) and not value.isdigit():
        text = value.strip()
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = _since_1970(text)
        else:
            if len(text) <= len("2026-11-20"):
                raise WrongValue("a date without a time")
    else:
        found = _since_1970(value)
    if not YEARS.start - 1 <= found.year <= YEARS.stop:
        raise WrongValue(_OTHER_YEAR)
    if found.tzinfo is not UTC:
        found = (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    if found.year not in YEARS:
        raise WrongValue(_OTHER_YEAR)
    return found


_OTHER_YEAR = f"a time out of the years {YEARS[0]} to {YEARS[-1]}"


def _since_1970(value: Any) -> datetime:
    number = as_number(value)
    if number is None:
        raise WrongValue(kind_of(value))
    if not 0 <= number < _LATEST_MILLISECONDS:
        raise WrongValue(_OTHER_YEAR)
    return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS else number, UTC)


_YES = frozenset({"true", "yes", "1", "y", "on"})
_NO = frozenset({"false", "no", "0", "n", "off"})


def as_flag(value: Any) -> bool | None:
    """Whether a value says yes or no; None where it says neither."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str) or _is_whole(value) else ""
    return True if text in _YES else False if text in _NO else None


def _flag(value: Any, _: ZoneInfo) -> bool:
    flag = as_flag(value)
    if flag is None:
        raise WrongValue(kind_of(value))
    return flag


def _mapping(value: Any, _: ZoneInfo) -> Mapping[str, Any]:
    """An object, a Parquet map (which comes as pairs), or an object as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise WrongValue("text that is no JSON object") from None
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
        value = dict(value)
    if not isinstance(value, dict):
        raise WrongValue(kind_of(value))
    return value


ANYTHING = Type("anything", lambda value, _: value)
ID = Type(f"text of at most {MAX_ID_CHARACTERS} characters, or a whole number", _id)
NAME = Type("text", _name)
NUMBER = Type("a number", _number)
SECONDS = Type("seconds as a number from 0 on, or h:mm:ss", _seconds)
COUNT = Type("a whole number from 0 on", _count)
MOMENT = Type(
    "a time, such as 2026-11-20T08:00:00Z or seconds or milliseconds since 1970, "
    f"of the years {YEARS[0]} to {YEARS[-1]}",
    _moment,
)
FLAG = Type(f"yes ({', '.join(sorted(_YES))}) or no ({', '.join(sorted(_NO))})", _flag)
MAPPING = Type("an object", _mapping)


def field_table(fields: Sequence[Field], path_heading: str | None = None) -> str:
    """A table of fields for the documentation, with the columns that hold them where a heading is given."""
    lines = [f"| field | {path_heading} | value |" if path_heading else "| field | value |"]
    lines.append("|---|---|---|" if path_heading else "|---|---|")
    for field in fields:
        name = f"`{field.name}`{', required' * field.required}"
        paths = " or ".join(f"`{path}`" for path in field.paths)
        lines.append("| " + " | ".join([name, *([paths] if path_heading else []), field.type.expected]) + " |")
    return "\n".join(lines) + "\n"
