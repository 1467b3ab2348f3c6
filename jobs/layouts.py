"""Layouts: what the keys of recordings say, and under which prefixes those of a day lie.

A kind of layout is a class below, registered in `KINDS`; its fields are what a layout file may say. docs/layouts.md
shows how to describe a layout and how to add a kind. Knows nothing of S3, of contact records or of tables.

A key is below the place of the recordings (``CALLMOOD_RECORDINGS``), as the patterns and prefixes of layouts are.
"""

from __future__ import annotations

import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from jobs.errors import SettingsError
from jobs.settings import ROOT, Settings
from ser_model.audio import ChannelRole

YEARS = range(2000, 2101)
"""The years that a call can be of; any time zone's local time of these can be computed."""

MAX_KEY_LENGTH: Final = 1024
"""Of a key in S3. What is longer is none, so that no expression is searched for long."""

MAX_DAYS_AFTER: Final = 7
"""How many dates after its start a recording may be filed under."""

_AUDIO: Final = re.compile(
    r"\.(?:3gp|aac|aif|aifc|aiff|al|alaw|amr|au|awb|caf|flac|g722|g729|gsm|m4a|mka|mp2|mp3|mp4|mulaw|oga|ogg|opus|pcm|raw"
    r"|rf64|sln|snd|ul|ulaw|vox|w64|wav|wave|webm|wma)$",
    re.IGNORECASE,
)

Voice = Literal["customer", "agent", "mixed"]

_GROUPS: Final = ("contact_id", "time", "agent", "role")
# Those of strftime that a date alone fills. %-d is %d without the zero.
_DATE_CODES: Final = re.compile(r"%(?:-?[dmjyYGVUWuw]|[aAbBF%])")


@dataclass(frozen=True, slots=True)
class RecordingKey:
    """What a key says.

    Attributes
    ----------
    contact_id
        The contact.
    started_at
        When the recording started (UTC); None where the layout's keys do not say.
    agent
        The agent, as the key names him.
    role
        Whose voice the object holds (customer, agent or mixed), where its name says so.
    """

    contact_id: str
    started_at: datetime | None
    agent: str | None = None
    role: str | None = None


def _known_zone(name: object) -> ZoneInfo:
    if not isinstance(name, str) or name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; expected one such as Europe/Berlin")
    return ZoneInfo(name)


Zone = Annotated[ZoneInfo, BeforeValidator(_known_zone)]
Name = Annotated[str, Field(pattern=r"^[\w. -]{1,64}$")]


class Layout(BaseModel, ABC):
    """A naming of recordings.

    A subclass is a kind: it reads keys, and says with its fields what a layout file of the kind may say.

    Attributes
    ----------
    kind
        The kind's name.
    pairs
        Whether two objects of one contact and time, one a side, are one recording.
    name
        Stands in the tables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: ClassVar[str]
    pairs: ClassVar[bool] = False

    name: Name

    @abstractmethod
    def parse(self, key: str) -> RecordingKey | None:
        """Read a key; None where it is no recording of this layout."""

    def channel_roles(self, found: RecordingKey) -> tuple[str, ...]:  # noqa: ARG002 - a kind may ask the key
        """Whose each channel of the object is, from the left: customer, agent, mixed or none."""
        return ("customer", "agent")

    def prefixes(self, call_date: date, zone: ZoneInfo) -> Mapping[str, date | None]:  # noqa: ARG002
        """Under which prefixes the recordings of a day of that zone lie.

        Returns
        -------
        With each the date that it alone is of; None where its keys may be of other dates, too.
        """
        return {"": None}


class PatternLayout(Layout):
    """What the kinds have in common that read keys by a regular expression.

    Attributes
    ----------
    pattern
        Searched in the key, after ``%3A`` and the like are decoded; with the named groups ``contact_id`` and, where
        the key says it, ``time``, ``agent`` and ``role``.
    time_format
        How ``time`` is written (``datetime.strptime``).
    time_zone
        The zone of times that have no offset of their own, and of the prefix's dates.
    prefix
        A date's prefix as a ``strftime`` pattern. Without codes of the date everything below it is listed every time.
    prefix_time_zone
        The zone of the prefix's dates, where it is another than the times'.
    prefix_days_after
        How many dates after that of its start a recording's prefix may be of; where it is not said 0, but 1 where keys
        have no time, since nothing else shows that the recording of an evening's contact lies there.
    roles
        What ``role`` can say, and whose voice that is.
    """

    pattern: str
    time_format: str | None = None
    time_zone: Zone = Field(ZoneInfo("UTC"))
    prefix: str = ""
    prefix_time_zone: Zone | None = None
    prefix_days_after: int | None = Field(None, ge=0, le=MAX_DAYS_AFTER, strict=True)
    roles: dict[str, Voice] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            groups = re.compile(self.pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"pattern is no regular expression ({error})") from None
        unknown = sorted(set(groups) - set(_GROUPS))
        if unknown:
            raise ValueError(f"pattern has the named groups {unknown}; expected of {list(_GROUPS)}, else write (?:...)")
        if "contact_id" not in groups:
            raise ValueError("pattern lacks the named group contact_id; write (?P<contact_id>...)")
        for group, field in (("time", "time_format"), ("role", "roles")):
            if (group in groups) != bool(getattr(self, field)):
                raise ValueError(f"the named group {group} and the field {field} go together; found one of them")
        if self.time_format is not None:
            _check_time_format(self.time_format)
        unusable = re.search("%.?", _DATE_CODES.sub("", self.prefix), re.DOTALL)
        if unusable:
            raise ValueError(f"prefix has {unusable[0]!r}; expected codes of dates alone, such as %Y/%m/%d")
        return self

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @cached_property
    def _prefix_is_of_one_date(self) -> bool:
        """Whether no two dates' prefixes are one, or one the start of the other; tried on years, one a leap year."""
        first = date(2027, 1, 1)
        prefixes = sorted((first + timedelta(days=days)).strftime(self.prefix) for days in range(3 * 366))
        return not any(after.startswith(before) for before, after in pairwise(prefixes))

    def parse(self, key: str) -> RecordingKey | None:
        """Read a key; None where it is no recording of this layout."""
        found = self._expression.search(unquote(key))
        if found is None:
            return None
        said = found.groupdict()
        started_at = None
        if self.time_format is not None:
            started_at = _moment(said["time"] or "", self.time_format, self.time_zone)
        role = self.roles.get(said["role"]) if said.get("role") else None
        if (
            not said["contact_id"]
            or (self.time_format is not None and started_at is None)
            or (said.get("role") and role is None)
        ):
            return None
        return RecordingKey(said["contact_id"], started_at, said.get("agent") or None, role)

    def prefixes(self, call_date: date, zone: ZoneInfo) -> Mapping[str, date | None]:
        """Under which prefixes the recordings of a day of that zone lie, each with the date that it alone is of."""
        # What lies below a date's prefix and names no time of its own is of that date, so that is always listed.
        dates = {call_date, *touched_dates(call_date, zone, self.prefix_time_zone or self.time_zone)}
        last, days_after = max(dates), self.prefix_days_after
        if days_after is None:
            days_after = 1 if self.time_format is None else 0
        dates |= {last + timedelta(days=days) for days in range(1, days_after + 1)}
        return {day.strftime(self.prefix): day if self._prefix_is_of_one_date else None for day in sorted(dates)}


class RegexLayout(PatternLayout):
    """One object a recording, read by a regular expression.

    Attributes
    ----------
    channels
        Whose each channel is, from the left: customer, agent, mixed, or none for one that is not to be read. An
        object whose name says whose voice it holds has that one channel.
    """

    kind = "regex"

    channels: tuple[ChannelRole, ...] = ("customer", "agent")

    @model_validator(mode="after")
    def _somebody_is_heard(self) -> Self:
        heard = set(self.channels) - {"none"}
        if not heard or ("mixed" in heard and len(heard) > 1):
            raise ValueError(
                f"channels are {list(self.channels)}; expected customer, agent or both among them, or mixed alone, and "
                "none for each channel that is not to be read"
            )
        return self

    def channel_roles(self, found: RecordingKey) -> tuple[str, ...]:
        """Whose each channel of the object is, from the left."""
        return self.channels if found.role is None else (found.role,)


class PairedMonoLayout(PatternLayout):
    """Two objects a recording, each with one channel: the customer's and the agent's, told by the group ``role``."""

    kind = "paired-mono"
    pairs = True

    roles: dict[str, Voice]

    @model_validator(mode="after")
    def _has_both_sides(self) -> Self:
        if set(self.roles.values()) != {"customer", "agent"}:
            raise ValueError("roles have to say what names the customer and what the agent, and nobody else")
        return self

    def parse(self, key: str) -> RecordingKey | None:
        """Read a key; None also where it does not say whose side it is."""
        found = super().parse(key)
        return None if found is None or found.role is None else found

    def channel_roles(self, found: RecordingKey) -> tuple[str, ...]:
        """The side whose the object is."""
        return (found.role or "none",)


class AmazonConnectLayout(RegexLayout):
    """Amazon Connect's naming; agent right, customer left, times and dates in UTC."""

    kind = "amazon-connect"

    name: Name = "amazon-connect"
    pattern: str = (
        r"(?:^|/)CallRecordings/\d{4}/\d{2}/\d{2}/(?P<contact_id>[0-9A-Za-z-]{1,256})_(?P<time>\d{8}T\d{2}:\d{2})_UTC"
        r"\.(?:wav|flac|mp3|ogg|opus)$"
    )
    time_format: str | None = "%Y%m%dT%H:%M"
    prefix: str = "CallRecordings/%Y/%m/%d/"


KINDS: dict[str, type[Layout]] = {kind.kind: kind for kind in (AmazonConnectLayout, RegexLayout, PairedMonoLayout)}
"""The kinds of layouts by their names."""


@dataclass(frozen=True)
class Layouts:
    """The layouts of an installation, in their order: the first that reads a key wins.

    Attributes
    ----------
    layouts
        At least one.
    zone
        The time zone of the call dates.
    recordings
        The place of the recordings, ``s3://bucket`` or ``s3://bucket/prefix``.
    """

    layouts: tuple[Layout, ...]
    zone: ZoneInfo
    recordings: str

    def match(self, key: str) -> tuple[Layout, RecordingKey] | None:
        """The layout that reads a key, and what the key says; None where none does."""
        if len(key) <= MAX_KEY_LENGTH:
            for layout in self.layouts:
                found = layout.parse(key)
                if found is not None:
                    return layout, found
        return None

    def parse(self, location: str) -> RecordingKey | None:
        """What the location of a recording says, as contact records write it: an s3:// address, bucket/key or key."""
        found = self.match(self._key(location)) or self.match(location)
        return None if found is None else found[1]

    def day(self, location: str, near: date) -> date | None:
        """The call date of the recording at a location: its time's local day, or without a time its prefix's date.

        Parameters
        ----------
        location
            As contact records write it.
        near
            The call date on which its contact began. Prefixes are tried of dates from the one before on, and up to
            as many after it as a recording may be filed late.

        Returns
        -------
        None where no layout reads the location, and where neither its time nor its prefix says a date.
        """
        says = self.parse(location)
        if says is None:
            return None
        if says.started_at is not None:
            return local_date(says.started_at, self.zone)
        key = self._key(location)
        for day in (near + timedelta(days=offset) for offset in range(-1, MAX_DAYS_AFTER + 2)):
            if any(of == day and key.startswith(prefix) for prefix, of in self.prefixes(day).items()):
                return day
        return None

    def _key(self, location: str) -> str:
        return location.removeprefix("s3://").removeprefix(self.recordings.removeprefix("s3://") + "/")

    def prefixes(self, call_date: date) -> Mapping[str, date | None]:
        """The prefixes to be listed for a call date, none below another, so that no object is met twice.

        Returns
        -------
        With each the date that it alone is of; None where its keys may be of other dates, too.
        """
        return self._prefixes(call_date)

    @cached_property
    def _prefixes(self) -> Callable[[date], Mapping[str, date | None]]:
        # Asked for the same few days with every key and every contact record.
        return cache(self._made_prefixes)

    def _made_prefixes(self, call_date: date) -> Mapping[str, date | None]:
        found: dict[str, date | None] = {}
        for layout in self.layouts:
            for prefix, day in layout.prefixes(call_date, self.zone).items():
                found.setdefault(prefix, day)
        kept: dict[str, date | None] = {}
        last = None
        for prefix in sorted(found):
            if last is None or not prefix.startswith(last):
                kept[prefix] = found[prefix]
                last = prefix
        return kept


def open_layouts(settings: Settings) -> Layouts:
    """The layouts that the settings name or describe; raises as `read_layouts`."""
    return read_layouts(settings.layouts, settings.zone, settings.recordings)


def read_layouts(entries: Sequence[str | Mapping[str, Any]], zone: ZoneInfo, recordings: str) -> Layouts:
    """The layouts of a list.

    Parameters
    ----------
    entries
        Each a kind that needs no description, a YAML file with one description or a list of them, or a description.
    zone, recordings
        As in `Layouts`.

    Raises
    ------
    SettingsError
        Where one of them is unknown, cannot be read or contradicts itself, or two have one name; in one line.
    """
    layouts = [layout for number, entry in enumerate(entries, start=1) for layout in _opened(entry, number)]
    names = [layout.name for layout in layouts]
    if not names:
        raise SettingsError("CALLMOOD_LAYOUTS is empty; expected amazon-connect, or files that describe layouts")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"CALLMOOD_LAYOUTS has more than one layout of the name {', '.join(twice)}; rename them")
    return Layouts(tuple(layouts), zone, recordings)


def is_audio(key: str) -> bool:
    """Whether a key ends as those of audio do: one that no layout reads is a recording that would be missed."""
    return _AUDIO.search(key) is not None


def touched_dates(call_date: date, zone: ZoneInfo, calendar: tzinfo) -> list[date]:
    """Every date of another calendar that a local day touches, in order.

    Raises
    ------
    SettingsError
        Where the day is of no year that a call can be of.
    """
    # A time of the first hours of YEARS may be of the day before them.
    if not YEARS[0] - 1 <= call_date.year <= YEARS[-1] + 1:
        raise SettingsError(f"the call date is {call_date}; expected a day of the years {YEARS[0]} to {YEARS[-1]}")
    start = datetime.combine(call_date, datetime.min.time(), zone).astimezone(UTC)
    end = datetime.combine(call_date + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)
    first = start.astimezone(calendar).date()
    last = (end - timedelta(microseconds=1)).astimezone(calendar).date()
    return [first + timedelta(days=days) for days in range((last - first).days + 1)]


def utc_dates(call_date: date, zone: ZoneInfo) -> list[date]:
    """Every UTC date that a local day touches: one or two, and never three, however long the day."""
    return touched_dates(call_date, zone, UTC)


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """The local calendar day of a moment."""
    return moment.astimezone(zone).date()


@lru_cache(2**18)  # times recur: a day has 1,440 minutes, and reading one takes longer than all else of a key
def _moment(text: str, time_format: str, zone: ZoneInfo) -> datetime | None:
    """A time in UTC; None where the text is none, or no year of a call's.

    Of the two moments that a local time is when clocks are set back, the first; a time that clocks leave out is that
    long after the last one that there was. So each text is one moment, of the date that it says.
    """
    try:
        found = datetime.strptime(text, time_format)
        found = (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year in YEARS else None


def _check_time_format(time_format: str) -> None:
    probe = datetime(2026, 11, 20, 13, 47, 31, tzinfo=UTC)
    try:
        found = datetime.strptime(probe.strftime(time_format), time_format)
    except (ValueError, re.error) as error:
        raise ValueError(f"time_format {time_format!r} is none of datetime.strptime's ({error})") from None
    if found.date() != probe.date():
        raise ValueError(f"time_format {time_format!r} does not say the date; expected year, month and day in it")


def _opened(entry: str | Mapping[str, Any], number: int) -> Sequence[Layout]:
    """The layouts of an entry of the settings: a name, a file with one description or several, or a description."""
    if not isinstance(entry, str):
        return [_described(entry, f"layout {number} of CALLMOOD_LAYOUTS")]
    if entry in KINDS:
        return [_described({"kind": entry}, f"layout {entry}")]
    path = ROOT / Path(entry).expanduser()
    if path.suffix not in {".yaml", ".yml"}:
        raise SettingsError(
            f"layout {entry!r} is unknown; expected {AmazonConnectLayout.kind}, or a file (.yaml) that describes a "
            "layout: see docs/layouts.md"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"layout file {path} is not there; expected the path of a YAML file that describes a layout: see "
            "docs/layouts.md"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise SettingsError(
            f"layout file {path.name} is no YAML{line}; put patterns and formats into single quotes: see "
            "docs/layouts.md"
        ) from None
    except OSError as error:
        raise SettingsError(f"layout file {path.name} cannot be read ({error.strerror})") from None
    descriptions = content if isinstance(content, list) else [content]
    return [_described(description, f"layout file {path.name}") for description in descriptions]


def _described(description: object, where: str) -> Layout:
    """The layout of a description: ``kind`` and the kind's fields, or a kind's name where it needs none."""
    if isinstance(description, str):
        description = {"kind": description}
    if not isinstance(description, Mapping):
        raise SettingsError(f"{where}: expected the fields of a layout, or a list of layouts; see docs/layouts.md")
    kind = description.get("kind", RegexLayout.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingsError(f"{where}: kind is {kind!r}; expected one of {', '.join(KINDS)}: see docs/layouts.md")
    layout = KINDS[kind]
    try:
        return layout(**{str(name): value for name, value in description.items() if name != "kind"})
    except ValidationError as error:
        problems: list[dict[str, Any]] = [dict(problem) for problem in error.errors()]
        wrong = [_in_words(problem) for problem in problems if problem["type"] != "extra_forbidden"]
        unknown = [str(problem["loc"][0]) for problem in problems if problem["type"] == "extra_forbidden"]
        if unknown:
            fields = ", ".join(layout.model_fields)
            wrong.append(f"found {', '.join(unknown)}, which a {kind} layout does not have; expected of kind, {fields}")
        raise SettingsError(f"{where}: {' '.join('; '.join(wrong).split())}; see docs/layouts.md") from None


_EXPECTED: Final = {
    "string_type": "text",
    "string_pattern_mismatch": "up to 64 letters, digits, spaces and of _ . -",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "dict_type": "a mapping",
}
"""What pydantic calls otherwise, by its types of errors."""


def _in_words(problem: Mapping[str, Any]) -> str:
    """What is wrong with a field, as somebody wants to read it who writes YAML."""
    place, found = problem["loc"], reprlib.repr(problem["input"])
    field = ".".join(map(str, place))
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "value_error":
        says = str(problem["msg"]).removeprefix("Value error, ")
        return f"{field}: {says}" if field else says
    if place[-1] == "[key]":
        return f"{place[0]}: {found} is a key; put it into quotes, so that it is text"
    expected = _EXPECTED.get(problem["type"]) or str(problem["msg"]).removeprefix("Input should be ")
    return f"{field} is {found}; expected {expected}"
