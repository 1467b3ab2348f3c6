"""What a day's records say: contact records, call events, survey answers and topics, read together, made staged tables.

The one way in which planning and enrichment come to records; docs/records.md is its page.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING

from jobs.contacts import ContactRecord, contact_day, contacts_table, read_contacts
from jobs.sidecars import CallEvent, Survey, Topic, read_events, read_surveys, read_topics
from schemas import TABLES
from schemas.staging import SIDECAR_EVENTS

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.layouts import Layouts
    from jobs.settings import Settings

log = logging.getLogger("callmood.records")

CONTACTS = TABLES["contacts"]
SURVEYS = TABLES["surveys"]
TOPICS = TABLES["topics"]


@dataclass(frozen=True)
class DayRecords:
    """The records of some days, by contact id.

    Attributes
    ----------
    contacts
        The newest contact record of each contact.
    left_out
        The contacts of which there are rows that are no records, and no record.
    events
        The call events of each contact.
    surveys
        The newest survey answer of each contact.
    topics
        The topics of each contact.
    counts
        What was wrong or superseded: bad_contact_records, bad_contact_fields, superseded_contact_records, bad_events,
        bad_surveys, bad_survey_fields, bad_topics, unreadable_files (but for contact records), and unknown_events,
        unknown_surveys and unknown_topics, whose contacts have no record here (where there are records).
    no_contacts_at
        The places of contact records, where there is nothing at any of them.
    """

    contacts: Mapping[str, ContactRecord]
    left_out: Set[str]
    events: Mapping[str, Sequence[CallEvent]]
    surveys: Mapping[str, Survey]
    topics: Mapping[str, Sequence[Topic]]
    counts: Mapping[str, int]
    no_contacts_at: Sequence[str] = ()

    def tables(
        self,
        call_date: date,
        run_id: str,
        contact_ids: Collection[str],
        layouts: Layouts,
        settings: Settings,
        recorded_elsewhere: Set[str] = frozenset(),
    ) -> Mapping[str, pa.Table]:
        """Make the staged tables of a call date.

        Parameters
        ----------
        call_date, run_id
            The run's.
        contact_ids
            The contacts that have recordings on that day.
        layouts
            They tell the day of a contact by the recordings that its record names.
        recorded_elsewhere
            The contacts that are known to have recordings on another day: unless they have one on this day, too, they
            are of that day, whatever their records say.

        Returns
        -------
        By the tables' names: ``contacts``, the records of these contacts and the others of the day;
        ``sidecar_events``, ``surveys`` and ``topics``, those of the same contacts. Each conforms to its schema and is
        sorted.
        """
        import pyarrow as pa

        planned = frozenset(contact_ids)
        records = [
            record
            for record in self.contacts.values()
            if record.contact_id in planned
            or (record.contact_id not in recorded_elsewhere and contact_day(record, layouts, settings) == call_date)
        ]
        contacts = planned.union(record.contact_id for record in records)
        every = {"call_date": call_date, "run_id": run_id}
        events = [
            {
                **every,
                "contact_id": event.contact_id,
                "kind": event.kind,
                "start_s": event.start_s,
                "end_s": event.end_s,
                "source": "sidecar",
            }
            for contact_id in sorted(contacts & self.events.keys())
            for event in self.events[contact_id]
        ]
        surveys = [
            {**every, "contact_id": contact_id, "score": survey.score, "answered_at": survey.answered_at}
            for contact_id in sorted(contacts & self.surveys.keys())
            for survey in (self.surveys[contact_id],)
        ]
        topics = [
            {**every, **asdict(topic)}
            for contact_id in sorted(contacts & self.topics.keys())
            for topic in self.topics[contact_id]
        ]
        return {
            CONTACTS.name: contacts_table(records, call_date, run_id, settings),
            SIDECAR_EVENTS.name: SIDECAR_EVENTS.conform(pa.Table.from_pylist(events, schema=SIDECAR_EVENTS.schema)),
            SURVEYS.name: SURVEYS.conform(pa.Table.from_pylist(surveys, schema=SURVEYS.schema)),
            TOPICS.name: TOPICS.conform(pa.Table.from_pylist(topics, schema=TOPICS.schema)),
        }


def read_day_records(settings: Settings, days: Sequence[date]) -> DayRecords:
    """Read contact records, events, surveys and topics of the places of some days.

    Parameters
    ----------
    settings
        ``contacts``, ``events``, ``surveys`` and ``topics`` name the places, whose strftime codes are filled with each
        day.
    days
        UTC dates.

    Raises
    ------
    ContactRecordsError
        Where no row of contact records can be used, or a file of them cannot be read to its end.
    SettingsError
        Where ``contact_columns`` or a place is wrong.
    StorageError, StorageAccessDenied
        Where the store does not answer, or refuses.
    """
    contacts = read_contacts(settings, days)
    events = read_events(settings, days)
    surveys = read_surveys(settings, days)
    topics = read_topics(settings, days)
    told = events.by_contact.keys() | surveys.by_contact.keys() | topics.by_contact.keys()
    known = contacts.by_contact.keys() if settings.contacts else told
    counts = {
        "bad_contact_records": contacts.bad_rows,
        "bad_contact_fields": contacts.bad_fields,
        "superseded_contact_records": contacts.superseded,
        "bad_events": events.bad_rows,
        "bad_surveys": surveys.bad_rows,
        "bad_survey_fields": surveys.bad_fields,
        "bad_topics": topics.bad_rows,
        "unreadable_files": events.unreadable_files + surveys.unreadable_files + topics.unreadable_files,
        "unknown_events": sum(len(found) for contact, found in events.by_contact.items() if contact not in known),
        "unknown_surveys": len(surveys.by_contact.keys() - known),
        "unknown_topics": sum(len(found) for contact, found in topics.by_contact.items() if contact not in known),
    }
    sidecars = (events.by_contact, surveys.by_contact, topics.by_contact)
    return DayRecords(contacts.by_contact, contacts.left_out, *sidecars, counts, contacts.nothing_at)
