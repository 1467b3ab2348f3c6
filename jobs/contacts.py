"""Contact records: which fields they have, where Amazon Connect's have them, and the rows of ``contacts``.

The one place that knows a contact record's fields. Knows nothing of files (`jobs.tabular`) and days (`jobs.records`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jobs.errors import ContactRecordsError, SettingsError
from jobs.fields import (
    ANYTHING,
    COUNT,
    FLAG,
    ID,
    MAPPING,
    MOMENT,
    NAME,
    SECONDS,
    Field,
    FieldReader,
    Type,
    WrongValue,
    as_flag,
    field_table,
)
from jobs.identity import keyed_hash
from jobs.layouts import local_date
from jobs.settings import Settings
from jobs.tabular import BadRow, Complain, Row, encodable, kind_of, places, read_places
from schemas import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.layouts import Layouts

log = logging.getLogger("callmood.contacts")

CONTACTS = TABLES["contacts"]
ATTRIBUTE = "attributes."
"""With the name of a contact attribute after it, a field of ``contact_columns``: the attribute's column."""

_OLDEST = datetime.min.replace(tzinfo=UTC)
_VOICE = frozenset({"voice", "phone", "telephone", "telephony", "call"})
_WITHHELD = frozenset({"anonymous", "private", "restricted", "unavailable", "unknown", "withheld"})


@dataclass(frozen=True, slots=True)
class ContactRecord:
    """A contact record; None where it does not say. Times are in UTC.

    Attributes
    ----------
    customer, agent
        The customer's endpoint or id and the agent's user name themselves: never to be written anywhere.
    opted_out
        Whether the record says that the customer opted out.
    attributes
        Those that the settings let through.
    recordings
        Where the audio recordings are, as the telephone system writes it.
    """

    contact_id: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None
    initial_contact_id: str | None = None
    previous_contact_id: str | None = None
    next_contact_id: str | None = None
    customer: str | None = None
    agent: str | None = None
    team: str | None = None
    queue: str | None = None
    site: str | None = None
    channel: str | None = None
    initiation_method: str | None = None
    disconnect_reason: str | None = None
    language: str | None = None
    queue_wait_s: float | None = None
    hold_count: int | None = None
    hold_s: float | None = None
    longest_hold_s: float | None = None
    after_call_work_s: float | None = None
    opted_out: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    recordings: tuple[str, ...] = ()

    @property
    def expects_recording(self) -> bool:
        """Whether a recording should exist: a voice contact whose record names one, or that reached an agent."""
        is_voice = self.channel is None or self.channel.lower() in _VOICE
        return is_voice and (bool(self.recordings) or self.agent is not None)


# Types that only contact records have


def _customer(value: Any, zone: ZoneInfo) -> str | None:
    """An endpoint or id; one that is withheld is nobody's, and would make one customer of many."""
    text: str | None = ID.read(value, zone)
    return None if text is not None and text.lower() in _WITHHELD else text


def _site(value: Any, zone: ZoneInfo) -> str | None:
    """A name, or the last part of an ARN."""
    text: str | None = NAME.read(value, zone)
    return NAME.read(text.rpartition("/")[2], zone) if text and text.startswith("arn:") else text


def _recordings(value: Any, _: ZoneInfo) -> tuple[str, ...]:
    if not isinstance(value, str | dict | list):
        raise WrongValue(kind_of(value))
    entries = map(_location, value if isinstance(value, list) else [value])
    return tuple(location for location in entries if isinstance(location, str) and encodable(location))


def _location(entry: Any) -> Any:
    """Where an audio recording is; those of a screen, a chat or a media stream are none."""
    if not isinstance(entry, dict):
        return entry
    is_audio = entry.get("MediaStreamType") in (None, "AUDIO") and entry.get("StorageType") != "KINESIS_VIDEO_STREAM"
    return entry.get("Location") if is_audio else None


CUSTOMER = Type(f"{ID.expected}; {', '.join(sorted(_WITHHELD))} are none", _customer)
SITE = Type("text, of an ARN the last part", _site)
RECORDINGS = Type("a location, or a list of locations or of objects with Location", _recordings)

FIELDS = (
    Field("contact_id", ID, ("ContactId",), required=True),
    Field("started_at", MOMENT, ("InitiationTimestamp",), required=True),
    Field("answered_at", MOMENT, ("Agent.ConnectedToAgentTimestamp",)),
    Field("ended_at", MOMENT, ("DisconnectTimestamp",)),
    Field("updated_at", MOMENT, ("LastUpdateTimestamp",)),
    Field("initial_contact_id", ID, ("InitialContactId",)),
    Field("previous_contact_id", ID, ("PreviousContactId",)),
    Field("next_contact_id", ID, ("NextContactId",)),
    Field("customer", CUSTOMER, ("CustomerEndpoint.Address",)),
    Field("agent", ID, ("Agent.Username",)),
    Field("team", NAME, ("Agent.HierarchyGroups.Level1.GroupName",)),
    Field("queue", NAME, ("Queue.Name",)),
    Field("site", SITE, ("InstanceARN",)),
    Field("channel", NAME, ("Channel",)),
    Field("initiation_method", NAME, ("InitiationMethod",)),
    Field("disconnect_reason", NAME, ("DisconnectReason",)),
    Field("language", NAME, ("LanguageCode", "ContactLens.ConversationalAnalytics.Configuration.LanguageLocale")),
    Field("queue_wait_s", SECONDS, ("Queue.Duration",)),
    Field("hold_count", COUNT, ("Agent.NumberOfHolds",)),
    Field("hold_s", SECONDS, ("Agent.CustomerHoldDuration",)),
    Field("longest_hold_s", SECONDS, ("Agent.LongestHoldDuration",)),
    Field("after_call_work_s", SECONDS, ("Agent.AfterContactWorkDuration",)),
    Field("opt_out", FLAG, ()),
    Field("attributes", MAPPING, ("Attributes",)),
    Field("recordings", RECORDINGS, ("Recordings", "Recording")),
)
"""A contact record's fields, and where Amazon Connect's contact records have them."""


def mapped_fields(columns: Mapping[str, str]) -> tuple[Field, ...]:
    """The fields of records whose columns are called otherwise; those that are not mapped are unknown.

    Parameters
    ----------
    columns
        The setting ``contact_columns``; Amazon Connect's fields where it is empty.

    Raises
    ------
    SettingsError
        Where it names a field that there is not, or lacks a required one.
    """
    if not columns:
        return FIELDS
    known = {field.name: field for field in FIELDS}
    unknown = sorted(name for name in columns if name not in known and not name.startswith(ATTRIBUTE))
    if unknown or not all(columns.values()):
        problem = f"has the unknown fields {', '.join(unknown)}" if unknown else "has an empty column name"
        raise SettingsError(
            f"CALLMOOD_CONTACT_COLUMNS {problem}; expected some of {', '.join(known)}, and {ATTRIBUTE}NAME for a "
            "contact attribute, each with the column that holds it (docs/records.md)"
        )
    missing = [field.name for field in FIELDS if field.required and field.name not in columns]
    if missing:
        raise SettingsError(
            f"CALLMOOD_CONTACT_COLUMNS lacks {' and '.join(missing)}; name the columns that hold them (docs/records.md)"
        )
    named = (field for field in FIELDS if field.name in columns)
    fields = [Field(field.name, field.type, (columns[field.name],), field.required) for field in named]
    attributes = (name for name in columns if name.startswith(ATTRIBUTE))
    return (*fields, *(Field(name, ANYTHING, (columns[name],)) for name in attributes))


class ContactReader:
    """Makes contact records of rows.

    Raises
    ------
    SettingsError
        Where ``contact_columns`` is wrong, or does not say where an attribute is that another setting names.
    """

    def __init__(self, settings: Settings) -> None:
        fields = mapped_fields(settings.contact_columns)
        _check_attributes(settings, {field.name for field in fields})
        self._attributes = [field.name for field in fields if field.name.startswith(ATTRIBUTE)]
        zone = ZoneInfo(settings.records_time_zone)
        self._reader = FieldReader(fields, zone)
        self._id_reader = FieldReader([field for field in fields if field.name == "contact_id"], zone)
        self._carried = settings.attributes
        self._opt_out = settings.opt_out_attribute
        told_by = {"opt_out", "attributes"} if self._opt_out else {"opt_out"}
        self._told_by = told_by & {field.name for field in fields}
        self.columns = self._reader.columns

    def read(self, row: Row, complain: Complain) -> ContactRecord:
        """Return the row's record.

        Raises
        ------
        BadRow
            Where the contact's id or start is missing or wrong. What else is wrong is reported and left empty; but
            where it cannot be told whether the customer opted out, that is taken for true.
        """
        values = self._reader.read(row, complain)
        cannot_be_told = not self._told_by <= values.keys()
        attributes = dict(values.pop("attributes", None) or {})
        for name in self._attributes:
            attributes[name.removeprefix(ATTRIBUTE)] = values.pop(name)
        opted_out = values.pop("opt_out", None) or cannot_be_told or self._opted_out(attributes, complain)
        carried = tuple((name, text) for name in self._carried if (text := _as_text(attributes.get(name))) is not None)
        recordings = values.pop("recordings", None) or ()
        return ContactRecord(**values, opted_out=opted_out, attributes=carried, recordings=recordings)

    def contact_id(self, row: Row) -> str | None:
        """The contact of a row that is no record, where at least that can be read."""
        try:
            contact_id: str = self._id_reader.read(row, lambda _: None)["contact_id"]
        except BadRow:
            return None
        return contact_id

    def _opted_out(self, attributes: Mapping[str, Any], complain: Complain) -> bool:
        value = attributes.get(self._opt_out) if self._opt_out else None
        if value is None or value == "":
            return False
        flag = as_flag(value)
        if flag is None:
            complain(f"the attribute that says who opted out: found {kind_of(value)}, expected {FLAG.expected}")
        return flag is not False


def _check_attributes(settings: Settings, mapped: Collection[str]) -> None:
    named = {*settings.attributes, settings.opt_out_attribute} - {None}
    lacking = sorted(f"{ATTRIBUTE}{name}" for name in named if f"{ATTRIBUTE}{name}" not in mapped)
    if lacking and "attributes" not in mapped:
        raise SettingsError(
            f"CALLMOOD_CONTACT_COLUMNS lacks {' and '.join(lacking)}, which CALLMOOD_ATTRIBUTES or "
            "CALLMOOD_OPT_OUT_ATTRIBUTE needs; name the column that holds it (docs/records.md)"
        )


def _as_text(value: Any) -> str | None:
    """An attribute's value as text; None where it is none, or nothing that text can say."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return json.dumps(value)
    return value if isinstance(value, str) and value and "\0" not in value and encodable(value) else None


# All records of some days


@dataclass(frozen=True)
class ContactRecords:
    """The newest record of each contact, and how much was wrong.

    ``left_out`` are the contacts that have rows, none of which is a record; ``nothing_at`` the places that were looked
    at, where there is nothing at any of them.
    """

    by_contact: Mapping[str, ContactRecord]
    left_out: Set[str] = frozenset()
    bad_rows: int = 0
    bad_fields: int = 0
    superseded: int = 0
    nothing_at: Sequence[str] = ()


def read_contacts(settings: Settings, days: Iterable[date]) -> ContactRecords:
    """Read the contact records of some days.

    Records arrive more than once and in any order: the one that was updated last counts, of those updated at once (or
    that do not say when) the last read.

    Parameters
    ----------
    settings
        ``contacts`` names the place; no records where it is not set.
    days
        UTC dates.

    Raises
    ------
    ContactRecordsError
        Where none of the rows is a record, or a file cannot be read to its end: a night without queues should not look
        like one with them, nor should it score who opted out. Where places are missing, that is a warning.
    """
    if settings.contacts is None:
        return ContactRecords({})
    reader = ContactReader(settings)
    by_contact: dict[str, ContactRecord] = {}
    superseded = 0
    left_out: set[str] = set()

    def take(row: Row, complain: Complain) -> None:
        nonlocal superseded
        try:
            record = reader.read(row, complain)
        except BadRow:
            if (contact_id := reader.contact_id(row)) is not None:
                left_out.add(contact_id)
            raise
        known = by_contact.get(record.contact_id)
        if known is not None:
            superseded += 1
            if (record.updated_at or _OLDEST) < (known.updated_at or _OLDEST):
                return
        by_contact[record.contact_id] = record

    days = list(days)
    reading = read_places(settings.contacts, days, settings, reader.columns, take)
    if reading.unreadable:
        raise ContactRecordsError(
            f"contact records cannot be read: {'; '.join(reading.unreadable[:3])} "
            f"({len(reading.unreadable)} in all); mend the file or take it away, and start again"
        )
    if reading.rows and not by_contact:
        raise ContactRecordsError(
            f"none of the {reading.rows} rows at {settings.contacts} is a contact record, the log says why; where the "
            "columns are not Amazon Connect's, set CALLMOOD_CONTACT_COLUMNS (docs/records.md)"
        )
    for place in reading.missing:
        log.warning("there are no contact records at %s", place)
    if reading.bad_rows or reading.bad_fields:
        log.warning(
            "%d rows are no contact records and were left out; %d fields of others are wrong and left empty",
            reading.bad_rows,
            reading.bad_fields,
        )
    nothing_at = reading.missing if reading.missing == places(settings.contacts, days) else ()
    wrong = (reading.bad_rows, reading.bad_fields, superseded)
    return ContactRecords(by_contact, left_out - by_contact.keys(), *wrong, nothing_at)


def contact_day(record: ContactRecord, layouts: Layouts, settings: Settings) -> date:
    """The local day that a contact belongs to: its recording's where the record names one, else its start's."""
    began = local_date(record.started_at, settings.zone)
    days = (layouts.day(location, began) for location in record.recordings)
    return next((day for day in days if day is not None), began)


def contacts_table(records: Collection[ContactRecord], call_date: date, run_id: str, settings: Settings) -> pa.Table:
    """The rows of ``contacts`` for these records, people's ids hashed, in the table's order."""
    import pyarrow as pa

    secret = settings.identity_secret() if records else b""

    @cache
    def key(kind: str, value: str | None) -> str | None:
        return None if value is None else keyed_hash(secret, kind, value)

    same = [name for name in CONTACTS.schema.names if name in ContactRecord.__dataclass_fields__]
    columns: dict[str, Sequence[Any]] = {name: [getattr(record, name) for record in records] for name in same}
    columns |= {
        "call_date": [call_date] * len(records),
        "customer_key": [key("customer", record.customer) for record in records],
        "agent_id": [record.agent if settings.plain_agent_ids else key("agent", record.agent) for record in records],
        "local_hour": [record.started_at.astimezone(settings.zone).hour for record in records],
        "expects_recording": [record.expects_recording for record in records],
        "record_updated_at": [record.updated_at for record in records],
        "run_id": [run_id] * len(records),
    }
    rows = pa.Table.from_pydict(columns, schema=CONTACTS.schema)
    return CONTACTS.conform(rows).sort_by([(name, "ascending") for name in CONTACTS.sort])


def field_reference() -> str:
    """The table of fields in docs/records.md."""
    return field_table(FIELDS, "in Amazon Connect's record")


if __name__ == "__main__":
    print(field_reference(), end="")  # noqa: T201 - the table
