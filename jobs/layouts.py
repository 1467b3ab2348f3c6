"""Layouts: how the keys of recordings name the contact and the time, and under which prefixes a day's keys lie."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from jobs.errors import SettingsError

YEARS = range(2000, 2101)
"""The years that a call can be of; any time zone's local time of these can be computed."""


@dataclass(frozen=True)
class RecordingKey:
    """What a key says: the contact, and when the recording started (UTC)."""

    contact_id: str
    started_at: datetime


class Layout(ABC):
    """A naming of recordings.

    Attributes
    ----------
    name
        Stands in the tables.
    """

    name: str

    @abstractmethod
    def prefix(self, utc_date: date) -> str:
        """The prefix under which the recordings of a UTC date lie."""

    @abstractmethod
    def parse(self, key: str) -> RecordingKey | None:
        """Read a key; None where it is no recording of this layout."""


class RegexLayout(Layout):
    """Keys by a regular expression.

    Parameters
    ----------
    name
        The layout's name.
    pattern
        With the named groups ``contact_id`` and ``time``; searched in the key, after ``%3A`` and the like are decoded.
    time_format
        How ``time`` is written (``datetime.strptime``): in UTC, unless it has ``%z``.
    prefix
        The day's prefix as a ``strftime`` pattern; empty lists everything.
    """

    def __init__(self, name: str, pattern: str, time_format: str, prefix: str = "") -> None:
        self.name = name
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise SettingsError(f"layout {name}: {pattern!r} is no regular expression ({error})") from None
        missing = {"contact_id", "time"} - set(self._pattern.groupindex)
        if missing:
            raise SettingsError(
                f"layout {name}: the pattern lacks the named groups {sorted(missing)}; write (?P<contact_id>...)"
            )
        self._time_format = time_format
        self._prefix = prefix

    def prefix(self, utc_date: date) -> str:  # noqa: D102
        return utc_date.strftime(self._prefix)

    def parse(self, key: str) -> RecordingKey | None:  # noqa: D102
        found = self._pattern.search(unquote(key))
        if found is None or not found["contact_id"] or not found["time"]:
            return None
        try:
            started_at = datetime.strptime(found["time"], self._time_format)
            started_at = started_at.replace(tzinfo=UTC) if started_at.tzinfo is None else started_at.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        if started_at.year not in YEARS:
            return None
        return RecordingKey(found["contact_id"], started_at)


AMAZON_CONNECT = RegexLayout(
    "amazon-connect",
    r"(?:^|/)CallRecordings/\d{4}/\d{2}/\d{2}/(?P<contact_id>[0-9A-Za-z-]{1,256})_(?P<time>\d{8}T\d{2}:\d{2})_UTC"
    r"\.(?:wav|flac|mp3|ogg|opus)$",
    "%Y%m%dT%H:%M",
    "CallRecordings/%Y/%m/%d/",
)


def open_layout(name: str) -> Layout:
    """The layout of that name, or the one that a YAML file describes.

    The file has ``name``, ``pattern``, ``time_format`` and, optionally, ``prefix`` (see `RegexLayout`).

    Raises
    ------
    SettingsError
        Where there is no such layout, or the file does not describe one.
    """
    if name == AMAZON_CONNECT.name:
        return AMAZON_CONNECT
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        raise SettingsError(f"layout {name!r} is neither amazon-connect nor a YAML file that is there")
    import yaml

    try:
        described = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        raise SettingsError(f"layout file {path.name} is no YAML; see docs/configuration.md") from None
    required, optional = {"name", "pattern", "time_format"}, {"prefix"}
    if (
        not isinstance(described, dict)
        or not required <= set(described) <= required | optional
        or not all(isinstance(value, str) for value in described.values())
    ):
        raise SettingsError(
            f"layout file {path.name}: expected the texts {sorted(required)} and, if wanted, {sorted(optional)}"
        )
    return RegexLayout(**described)


def utc_dates(call_date: date, zone: ZoneInfo) -> Sequence[date]:
    """Every UTC date that a local day touches: one or two, and never three, however long the day."""
    start = datetime.combine(call_date, datetime.min.time(), zone).astimezone(UTC)
    end = datetime.combine(call_date + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)
    last = (end - timedelta(microseconds=1)).date()
    return [start.date() + timedelta(days=offset) for offset in range((last - start.date()).days + 1)]


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """The local calendar day of a moment."""
    return moment.astimezone(zone).date()
