"""Contact records: read from JSON Lines as Amazon Connect writes them, and made rows of ``contacts``.

The one place that knows a contact record's fields.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from jobs.errors import ContactRecordsError
from jobs.identity import keyed_hash
from jobs.layouts import YEARS, Layout, local_date
from jobs.settings import Settings
from jobs.storage import open_storage

log = logging.getLogger("callmood.contacts")

MAX_LINE_BYTES = 1_000_000
LOGGED_BAD_LINES = 20
_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass
class ContactRecords:
    """The newest record of each contact, and how many lines were not usable."""

    by_contact: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bad_lines: int = 0
    superseded: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in a record, unless a newer one of its contact is there: records arrive more than once, in any order."""
        contact_id = record["ContactId"]
        known = self.by_contact.get(contact_id)
        if known is not None:
            self.superseded += 1
            if _updated_at(record) < _updated_at(known):
                return
        self.by_contact[contact_id] = record


class _BadRecord(ValueError):
    """A line is no contact record; says what is wrong with it, without its ids."""


def read_contacts(settings: Settings, days: Iterator[date] | list[date]) -> ContactRecords:
    """Read the contact records.

    Parameters
    ----------
    settings
        ``contacts`` names a file, or an s3:// prefix; ``strftime`` codes in it are filled with each of `days`.
    days
        UTC dates.

    Raises
    ------
    ContactRecordsError
        Where none of the days' places holds records, or one cannot be read. One that is missing is a warning.
    """
    records = ContactRecords()
    if settings.contacts is None:
        return records
    places = list(dict.fromkeys(day.strftime(settings.contacts) for day in days))
    missing = []
    for place in places:
        found = False
        for name, content in _contents(place, settings):
            found = True
            _read_lines(name, content, records)
        if not found:
            missing.append(place)
    if missing and missing == places:
        raise ContactRecordsError(
            f"there are no contact records at {' or '.join(missing)}; "
            "expected a JSON Lines file, or an s3:// prefix with .jsonl objects under it"
        )
    for place in missing:
        log.warning("there are no contact records at %s; those of the other places are used", place)
    if records.bad_lines:
        log.warning("%d lines are no contact records and were left out", records.bad_lines)
    return records


def _contents(place: str, settings: Settings) -> Iterator[tuple[str, bytes]]:
    """The place's files by name; none where it is missing."""
    if not place.startswith("s3://"):
        try:
            content = Path(place).read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ContactRecordsError(
                f"contact records {place} cannot be read ({error.strerror}); expected a JSON Lines file"
            ) from None
        yield Path(place).name, content
        return
    if place.endswith(".jsonl"):
        folder, _, name = place.rpartition("/")
        try:
            content = open_storage(folder, settings).read(name)
        except FileNotFoundError:
            return
        yield name, content
        return
    storage = open_storage(place.rstrip("/"), settings)
    for file in storage.files():
        if file.path.endswith(".jsonl"):
            yield file.path, storage.read(file.path)


def _read_lines(name: str, content: bytes, records: ContactRecords) -> None:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            records.add(_parse(line))
        except _BadRecord as error:
            records.bad_lines += 1
            if records.bad_lines <= LOGGED_BAD_LINES:
                log.warning("%s, line %d: %s; the line is left out", name, number, error)


def _parse(line: bytes) -> Mapping[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise _BadRecord(f"found {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _BadRecord("not UTF-8") from None
    except (ValueError, RecursionError):
        raise _BadRecord("not JSON") from None
    if not isinstance(record, dict):
        raise _BadRecord(f"found a JSON {type(record).__name__}, expected an object")
    contact_id = record.get("ContactId")
    if not isinstance(contact_id, str) or not 0 < len(contact_id) <= 256:
        raise _BadRecord("ContactId is missing or no text of 1 to 256 characters")
    if not _encodable(contact_id):
        raise _BadRecord("ContactId has half of a surrogate pair, which is no character")
    if _moment(record, "InitiationTimestamp") is None:
        raise _BadRecord(f"InitiationTimestamp is missing or not of the years {YEARS[0]} to {YEARS[-1]}")
    _updated_at(record)
    return record


def contact_day(record: Mapping[str, Any], layout: Layout, settings: Settings) -> date:
    """The local day that a contact belongs to: its recording's where the record names one, else its start's."""
    started_at = next(
        (key.started_at for location in recording_locations(record) if (key := layout.parse(location)) is not None),
        None,
    )
    return local_date(started_at or _started_at(record), settings.zone)


def recording_locations(record: Mapping[str, Any]) -> list[str]:
    """Where the record says that the contact's audio recordings are: those of a screen, say, are left out."""
    recordings = record.get("Recordings") or (
        [record["Recording"]] if isinstance(record.get("Recording"), dict) else []
    )
    if not isinstance(recordings, list):
        return []
    locations = (
        entry.get("Location")
        for entry in recordings
        if isinstance(entry, dict) and entry.get("MediaStreamType") in (None, "AUDIO")
    )
    return [location for location in locations if isinstance(location, str)]


def queue_name(record: Mapping[str, Any]) -> str | None:
    """The queue that the contact waited in."""
    return _text(_part(record, "Queue"), "Name")


def contact_row(record: Mapping[str, Any], call_date: date, run_id: str, settings: Settings) -> dict[str, Any]:
    """A row of ``contacts``: a value of a wrong type is as if it were not there."""
    identify = _identifier(settings)
    started_at = _started_at(record)
    agent = _part(record, "Agent")
    endpoint = _text(_part(record, "CustomerEndpoint"), "Address")
    attributes = _part(record, "Attributes")
    agent_name = _text(agent, "Username")
    channel = _text(record, "Channel")
    is_voice = channel in (None, "VOICE")
    return {
        "call_date": call_date,
        "contact_id": record["ContactId"],
        "initial_contact_id": _text(record, "InitialContactId"),
        "previous_contact_id": _text(record, "PreviousContactId"),
        "next_contact_id": _text(record, "NextContactId"),
        "customer_key": endpoint and identify("customer", endpoint),
        "queue": queue_name(record),
        "team": _text(_part(_part(agent, "HierarchyGroups"), "Level1"), "GroupName"),
        "site": (_text(record, "InstanceARN") or "").rpartition("/")[2] or None,
        "agent_id": agent_name if settings.plain_agent_ids else agent_name and identify("agent", agent_name),
        "channel": channel,
        "initiation_method": _text(record, "InitiationMethod"),
        "disconnect_reason": _text(record, "DisconnectReason"),
        "language": _text(record, "LanguageCode"),
        "started_at": started_at,
        "answered_at": _lenient_moment(agent, "ConnectedToAgentTimestamp"),
        "ended_at": _lenient_moment(record, "DisconnectTimestamp"),
        "local_hour": started_at.astimezone(settings.zone).hour,
        "queue_wait_s": _number(_part(record, "Queue"), "Duration"),
        "hold_count": _count(agent, "NumberOfHolds"),
        "hold_s": _number(agent, "CustomerHoldDuration"),
        "longest_hold_s": _number(agent, "LongestHoldDuration"),
        "after_call_work_s": _number(agent, "AfterContactWorkDuration"),
        "expects_recording": is_voice and (bool(recording_locations(record)) or agent_name is not None),
        "attributes": [(name, value) for name in settings.attributes if (value := _text(attributes, name)) is not None],
        "record_updated_at": _lenient_moment(record, "LastUpdateTimestamp"),
        "run_id": run_id,
    }


def _identifier(settings: Settings) -> Callable[[str, str], str]:
    secret = settings.identity_secret()
    return lambda kind, value: keyed_hash(secret, kind, value)


def _started_at(record: Mapping[str, Any]) -> datetime:
    started_at = _moment(record, "InitiationTimestamp")
    assert started_at is not None  # noqa: S101 - _parse let no record without it pass
    return started_at


def _updated_at(record: Mapping[str, Any]) -> datetime:
    return _moment(record, "LastUpdateTimestamp") or _OLDEST


def _moment(record: Mapping[str, Any], name: str) -> datetime | None:
    """A time of the record in UTC; None where it is missing or no year of a call's."""
    text = record.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        raise _BadRecord(f"{name} is no time such as 2026-11-20T08:00:00Z") from None
    return found if found.year in YEARS else None


def _lenient_moment(record: Mapping[str, Any], name: str) -> datetime | None:
    try:
        return _moment(record, name)
    except _BadRecord:
        return None


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _text(record: Mapping[str, Any], name: str) -> str | None:
    text = record.get(name)
    return text if isinstance(text, str) and text and _encodable(text) else None


def _encodable(text: str) -> bool:
    """Whether UTF-8 can write the text: JSON can hold half of a surrogate pair, a table cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(record: Mapping[str, Any], name: str) -> float | None:
    number = record.get(name)
    usable = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 1e9
    return float(number) if usable else None  # type: ignore[arg-type]


def _count(record: Mapping[str, Any], name: str) -> int | None:
    number = _number(record, name)
    return None if number is None else int(number)
