"""Sidecars: what other systems know of a contact, call events, survey answers and topics, by contact id.

They are optional and come late: a place where there is nothing is no error, and a file that cannot be read is left out;
enrichment takes in what comes later. Knows nothing of files (`jobs.tabular`) and days (`jobs.records`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from jobs.fields import ID, MOMENT, NAME, NUMBER, SECONDS, Field, FieldReader, Type, WrongValue
from jobs.settings import Settings
from jobs.tabular import BadRow, Complain, Reading, Row, kind_of, read_places
from schemas.call_events import KINDS

log = logging.getLogger("callmood.sidecars")

_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A hold, transfer or pause of a contact, in seconds from the recording's start; an instant has no end."""

    contact_id: str
    kind: str
    start_s: float
    end_s: float | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A customer's answer to a survey, on the survey's own scale."""

    contact_id: str
    score: float
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Topic:
    """What a call was about from when to when, in seconds from the recording's start."""

    contact_id: str
    topic: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class CallEvents:
    """The events of each contact in the order of their starts, and how much was wrong."""

    by_contact: Mapping[str, tuple[CallEvent, ...]]
    bad_rows: int = 0
    unreadable_files: int = 0


@dataclass(frozen=True)
class Surveys:
    """The newest answer of each contact, and how much was wrong."""

    by_contact: Mapping[str, Survey]
    bad_rows: int = 0
    bad_fields: int = 0
    unreadable_files: int = 0


@dataclass(frozen=True)
class Topics:
    """The topics of each contact in the order of their starts, and how much was wrong."""

    by_contact: Mapping[str, tuple[Topic, ...]]
    bad_rows: int = 0
    unreadable_files: int = 0


def _kind(value: Any, _: ZoneInfo) -> str:
    if not isinstance(value, str):
        raise WrongValue(kind_of(value))
    kind = value.strip().lower()
    if kind not in KINDS:
        raise WrongValue("another text")
    return kind


def _score(value: Any, zone: ZoneInfo) -> float:
    number: float = NUMBER.read(value, zone)
    if abs(number) >= 1e9:
        raise WrongValue("another number")
    return number


CONTACT = Field("contact_id", ID, ("contact_id",), required=True)
EVENT_FIELDS = (
    CONTACT,
    Field("kind", Type(f"one of {', '.join(KINDS)}", _kind), ("kind",), required=True),
    Field("start_s", SECONDS, ("start_s",), required=True),
    Field("end_s", SECONDS, ("end_s",)),
)
TOPIC_FIELDS = (
    CONTACT,
    Field("topic", NAME, ("topic",), required=True),
    Field("start_s", SECONDS, ("start_s",), required=True),
    Field("end_s", SECONDS, ("end_s",), required=True),
)
SURVEY_FIELDS = (
    CONTACT,
    Field("score", Type("a number of less than a billion", _score), ("score",), required=True),
    Field("answered_at", MOMENT, ("answered_at",)),
)


def read_events(settings: Settings, days: Iterable[date]) -> CallEvents:
    """Read the call events of some days; of those of one contact, kind and start the last read counts.

    Parameters
    ----------
    settings
        ``events`` names the place; no events where it is not set.
    days
        UTC dates.
    """
    found: dict[str, dict[tuple[float, str], CallEvent]] = {}

    def take(values: dict[str, Any]) -> None:
        event = CallEvent(**values)
        if event.end_s is not None and event.end_s < event.start_s:
            raise BadRow("found an end before the start, expected end_s from start_s on")
        found.setdefault(event.contact_id, {})[event.start_s, event.kind] = event

    # An event whose end is wrong is no instant: it is left out.
    reading = _read("call events", settings.events, days, settings, EVENT_FIELDS, take, whole_rows=True)
    by_contact = {contact_id: tuple(events[key] for key in sorted(events)) for contact_id, events in found.items()}
    return CallEvents(by_contact, reading.bad_rows, len(reading.unreadable))


def read_surveys(settings: Settings, days: Iterable[date]) -> Surveys:
    """Read the survey answers of some days; of several of one contact the newest counts, else the last read.

    Parameters
    ----------
    settings
        ``surveys`` names the place; no answers where it is not set.
    days
        UTC dates.
    """
    by_contact: dict[str, Survey] = {}

    def take(values: dict[str, Any]) -> None:
        survey = Survey(values["contact_id"], values["score"], values.get("answered_at"))
        known = by_contact.get(survey.contact_id)
        if known is None or (survey.answered_at or _OLDEST) >= (known.answered_at or _OLDEST):
            by_contact[survey.contact_id] = survey

    reading = _read("survey answers", settings.surveys, days, settings, SURVEY_FIELDS, take)
    return Surveys(by_contact, reading.bad_rows, reading.bad_fields, len(reading.unreadable))


def read_topics(settings: Settings, days: Iterable[date]) -> Topics:
    """Read the topics of some days; stretches of one contact and topic that overlap or touch are made one.

    Parameters
    ----------
    settings
        ``topics`` names the place; no topics where it is not set.
    days
        UTC dates.
    """
    found: dict[str, set[Topic]] = {}

    def take(values: dict[str, Any]) -> None:
        topic = Topic(**values)
        if topic.end_s <= topic.start_s:
            raise BadRow("found an end that is not after the start, expected end_s after start_s")
        found.setdefault(topic.contact_id, set()).add(topic)

    reading = _read("topics", settings.topics, days, settings, TOPIC_FIELDS, take, whole_rows=True)
    by_contact = {contact_id: _merged(topics) for contact_id, topics in found.items()}
    return Topics(by_contact, reading.bad_rows, len(reading.unreadable))


def _merged(topics: Iterable[Topic]) -> tuple[Topic, ...]:
    merged: list[Topic] = []
    for each in sorted(topics, key=lambda topic: (topic.topic, topic.start_s)):
        if merged and merged[-1].topic == each.topic and each.start_s <= merged[-1].end_s:
            merged[-1] = replace(merged[-1], end_s=max(merged[-1].end_s, each.end_s))
        else:
            merged.append(each)
    return tuple(sorted(merged, key=lambda topic: (topic.start_s, topic.topic)))


def _read(
    what: str,
    place: str | None,
    days: Iterable[date],
    settings: Settings,
    fields: Sequence[Field],
    take: Callable[[dict[str, Any]], None],
    *,
    whole_rows: bool = False,
) -> Reading:
    """Read the rows of a sidecar's place, and say what is missing; none where no place is set.

    Parameters
    ----------
    take
        Called with the values of each row; `BadRow` leaves the row out.
    whole_rows
        Whether a row with a wrong field is left out as a whole, instead of the field alone.
    """
    if place is None:
        return Reading()
    reader = FieldReader(fields, ZoneInfo(settings.records_time_zone))

    def take_row(row: Row, complain: Complain) -> None:
        take(reader.read(row, _refuse if whole_rows else complain))

    reading = read_places(place, days, settings, reader.columns, take_row)
    _say_what_is_missing(what, reading)
    return reading


def _refuse(problem: str) -> NoReturn:
    raise BadRow(problem)


def _say_what_is_missing(what: str, reading: Reading) -> None:
    for place in reading.missing:
        log.info("there are no %s at %s", what, place)
    if reading.unreadable:
        log.warning(
            "%d files of %s cannot be read to their end; what could be read is used: mend them, then enrich the days",
            len(reading.unreadable),
            what,
        )
    if reading.bad_rows:
        log.warning("%d rows are no %s and were left out", reading.bad_rows, what)
