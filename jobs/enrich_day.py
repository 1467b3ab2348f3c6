"""enrich_day: a published day joined with the records and sidecars that came later, as a new run's staging.

Reads the day's published tables in one view, and contact records, call events, surveys, topics and opt-outs anew from
their places. summarize_calls, validate_tables, publish_tables and render_report of the same run follow: they make
``calls``, ``topic_emotions`` and ``satisfaction_daily`` again, by today's formulas, and replace the day. Reads no
recording and needs none to be there: what was heard in them stands in the published tables.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import run_command
from jobs.contacts import contact_day
from jobs.errors import NotEnrichable
from jobs.layouts import MAX_DAYS_AFTER, Layouts, open_layouts, utc_dates
from jobs.opt_outs import OptOuts
from jobs.records import DayRecords, read_day_records
from jobs.settings import Settings, code_version
from jobs.staging import ROW_GROUP_ROWS, Basis, RunSpec, RunStaging
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.suppressions import Suppressions
from jobs.warehouse import Snapshot, Warehouse
from schemas import TABLES, Table
from schemas.staging import PLAN

STEP = "enrich_day"
OPTED_OUT, MISPLACED = "opted_out", "misplaced"

CONTACTS, RECORDINGS, QUARANTINE = TABLES["contacts"], TABLES["recordings"], TABLES["quarantine"]
EMOTION_LOG, CALL_EVENTS = TABLES["emotion_log"], TABLES["call_events"]
SURVEYS, TOPICS = TABLES["surveys"], TABLES["topics"]
_OF_THE_OBJECT = RECORDINGS.schema.names[: RECORDINGS.schema.names.index("status")]
_NEVER = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), CONTACTS.schema.field("record_updated_at").type)

log = logging.getLogger("callmood.enrich")


@dataclass(frozen=True)
class Day:
    """The small tables of a day, as published or joined; emotion_log, the large one, passes through in batches."""

    contacts: pa.Table
    recordings: pa.Table
    quarantine: pa.Table
    call_events: pa.Table
    surveys: pa.Table
    topics: pa.Table


def run(context: StepContext) -> Mapping[str, float]:
    """Enrich the day; returns how many records, events and surveys changed it, and the counts of its recordings.

    Raises
    ------
    NotEnrichable
        Where the day was never published, or not with all that its calls are summarized from.
    """
    settings = context.settings
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    # Before records are looked for, and these once, however often the day is replaced while it is read.
    warehouse.view(lambda view: last_run(view, context.call_date), ["runs"])
    days = record_days(context.call_date, settings, datetime.now(UTC).date())
    records = read_day_records(settings, days)
    suppressions = Suppressions.load(warehouse.storage, settings.identity_secret)
    records = suppressions.of_records(records, suppressions.in_records(records))
    return warehouse.view(lambda view: _enrich(view, records, context))


def _enrich(view: Snapshot, records: DayRecords, context: StepContext) -> Mapping[str, float]:
    settings, staging, day = context.settings, context.staging, context.call_date
    last = last_run(view, day)
    _check_lifetimes(view, day, last["scored"])
    published = Day(**{name: view.dataset(name, day).to_table() for name in Day.__dataclass_fields__})
    others = recorded_elsewhere(view, day, _ids(published.contacts) | records.contacts.keys())
    enriched, changes = join(published, records, others, staging, settings)

    staging.start_run(
        RunSpec(
            run_id=context.run_id,
            call_date=day,
            model=settings.model,
            roles=(),
            code_version=code_version(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            basis=Basis(view.run_ids(day), last["model_id"]),
        )
    )
    staging.write_table(PLAN, plan(published.recordings, staging))
    for name in Day.__dataclass_fields__:
        staging.write_table(TABLES[name], getattr(enriched, name))
    restore_emotion_log(view, staging, opted_out_contacts(enriched.recordings))
    return {
        "planned": published.recordings.num_rows,
        "suppressed": last["suppressed"],
        "ignored": last["ignored"],
        **changes,
        **records.counts,
    }


def last_run(view: Snapshot, call_date: date) -> Mapping[str, Any]:
    """The row of ``runs`` of the day's last publication.

    Raises
    ------
    NotEnrichable
        Where there is none, or it did not publish what an enrichment needs.
    """
    last = last_publication(view, call_date)
    if CALL_EVENTS.name not in last["table_versions"]:
        raise NotEnrichable(
            f"{call_date} was published before there was a table {CALL_EVENTS.name}, so the pauses of its recordings "
            "are not known; run its night again"
        )
    return last


def last_publication(view: Snapshot, call_date: date) -> Mapping[str, Any]:
    """As `last_run`, whatever was published."""
    runs = view.dataset("runs", call_date).to_table().to_pylist(maps_as_pydicts="strict")
    if not runs:
        raise NotEnrichable(f"{call_date} was never published, so there is nothing to enrich; run its night first")
    last: Mapping[str, Any] = max(runs, key=lambda row: (row["published_at"], row["run_id"]))
    return last


def _check_lifetimes(view: Snapshot, call_date: date, scored: int) -> None:
    """Refuse a day of which retention has deleted what its calls are summarized from."""
    kept = {name: view.dataset(name, call_date).count_rows() for name in (EMOTION_LOG.name, RECORDINGS.name)}
    if (scored or view.dataset("calls", call_date).count_rows()) and not all(kept.values()):
        raise NotEnrichable(
            f"what was heard on {call_date} is past its lifetime (CALLMOOD_RETENTION_DAYS), and its calls cannot be "
            "summarized without; what is published stays"
        )


def record_days(call_date: date, settings: Settings, today: date) -> Sequence[date]:
    """The UTC dates under which records, events and surveys of a day may lie: its own and the days after.

    A night looks one day ahead, an enrichment ``late_days``, but no further than to the day after today (UTC).
    """
    days = list(utc_dates(call_date, settings.zone))
    until = min(days[-1] + timedelta(days=max(settings.late_days, 1)), today + timedelta(days=1))
    return [*days, *(days[-1] + timedelta(days=offset) for offset in range(1, (until - days[-1]).days + 1))]


def recorded_elsewhere(view: Snapshot, call_date: date, contact_ids: Collection[str]) -> set[str]:
    """Those of the contacts that have recordings on published days around this one."""
    days = [day for day in view.call_dates if 0 < abs((day - call_date).days) <= MAX_DAYS_AFTER + 1]
    wanted = pc.field("contact_id").isin(pa.array(sorted(contact_ids), pa.string()))
    of_other_days = (view.dataset(RECORDINGS.name, day).to_table(["contact_id", "reason_code"], wanted) for day in days)
    return {contact_id for recordings in of_other_days for contact_id in _ids(_not_misplaced(recordings))}


def join(
    published: Day, records: DayRecords, others: Collection[str], staging: RunStaging, settings: Settings
) -> tuple[Day, Mapping[str, float]]:
    """Join what was found to what is published.

    A contact's published rows stay where none were found: its records may lie there no longer. A contact without a
    recording of this day leaves it where its newest record is of another day, or it is one of those (``others``) that
    have recordings there.

    Returns
    -------
    The enriched day, and the counts of what changed it.
    """
    layouts = open_layouts(settings)
    recorded = _ids(_not_misplaced(published.recordings))
    known = _ids(published.contacts)
    found = records.tables(staging.call_date, staging.run_id, recorded | known, layouts, settings)
    newest = not_older(found["contacts"], published.contacts)
    moved = elsewhere(_ids(newest) - recorded, records, staging.call_date, layouts, settings) | (set(others) - recorded)
    contacts, changed = joined(CONTACTS, published.contacts, _without(newest, moved))
    contacts = _without(contacts, moved)
    recordings, n_opted_out = without_opted_out(published.recordings, contacts, records, staging, settings)
    gone = opted_out_contacts(recordings) | moved

    told, heard = (published.call_events.filter(pc.field("source") == source) for source in ("sidecar", "recording"))
    events, with_events = joined(CALL_EVENTS, told, _without(found["sidecar_events"], gone))
    surveys, with_surveys = joined(SURVEYS, published.surveys, _without(found["surveys"], gone))
    topics, with_topics = joined(TOPICS, published.topics, _without(found["topics"], gone))
    enriched = Day(
        contacts=_sorted(CONTACTS, contacts),
        recordings=_sorted(RECORDINGS, dated(recordings, contacts)),
        quarantine=requeued(_of_quarantined(published.quarantine, recordings), contacts),
        call_events=_sorted(CALL_EVENTS, _without(pa.concat_tables([events, heard]), gone)),
        surveys=_sorted(SURVEYS, _without(surveys, gone)),
        topics=_sorted(TOPICS, _without(topics, gone)),
    )
    return enriched, {
        "new_records": len(changed - known),
        "changed_records": len(changed & known),
        "moved_contacts": len(moved & known),
        "changed_events": len(with_events),
        "changed_surveys": len(with_surveys),
        "changed_topics": len(with_topics),
        "opted_out": n_opted_out,
    }


def joined(table: Table, published: pa.Table, found: pa.Table) -> tuple[pa.Table, set[str]]:
    """Replace the rows of each contact of which other rows were found.

    Returns
    -------
    The rows, those that did not change as they were published; and the contacts whose rows are new or other ones.
    """
    before, now = _digests(published), _digests(found)
    changed = {contact_id for contact_id, digest in now.items() if digest != before.get(contact_id)}
    kept = table.conform(_without(published, changed))
    return pa.concat_tables([kept, table.conform(_only(found, changed))]), changed


def not_older(found: pa.Table, published: pa.Table) -> pa.Table:
    """The contact records that are at least as new as the published ones of the same contacts."""
    before = _of_contact(found, published, "record_updated_at")
    return found.filter(
        pc.greater_equal(pc.fill_null(found["record_updated_at"], _NEVER), pc.fill_null(before, _NEVER))
    )


def elsewhere(
    contact_ids: Collection[str], records: DayRecords, call_date: date, layouts: Layouts, settings: Settings
) -> set[str]:
    """The contacts without a recording of this day that by their newest record belong to another day."""
    found = ((contact_id, records.contacts.get(contact_id)) for contact_id in contact_ids)
    return {
        contact_id
        for contact_id, record in found
        if record is not None and contact_day(record, layouts, settings) != call_date
    }


def without_opted_out(
    recordings: pa.Table, contacts: pa.Table, records: DayRecords, staging: RunStaging, settings: Settings
) -> tuple[pa.Table, int]:
    """Skip the recordings of customers who have opted out since.

    Returns
    -------
    The recordings, and how many of them are skipped now that were not. Of these nothing stays that was heard.
    """
    opt_outs = OptOuts.load(settings)
    keys = dict(zip(contacts["contact_id"].to_pylist(), contacts["customer_key"].to_pylist(), strict=True))
    opted_out = {
        contact_id
        for contact_id in _ids(recordings)
        if opt_outs.holds(records.contacts.get(contact_id), left_out=contact_id in records.left_out)
        or opt_outs.lists(keys.get(contact_id))
    }
    already = opted_out_contacts(recordings)
    withdrawn = _only(recordings, opted_out - already).select(_OF_THE_OBJECT)
    for name, value in (("status", "skipped"), ("reason_code", OPTED_OUT), ("run_id", staging.run_id)):
        withdrawn = withdrawn.append_column(name, pa.repeat(pa.scalar(value), withdrawn.num_rows))
    left = _without(recordings, opted_out - already)
    return pa.concat_tables([RECORDINGS.conform(left), RECORDINGS.conform(withdrawn)]), withdrawn.num_rows


def opted_out_contacts(recordings: pa.Table) -> set[str]:
    """The contacts whose recordings are skipped since the customer opted out."""
    return _ids(recordings.filter(pc.field("reason_code") == OPTED_OUT))


def plan(recordings: pa.Table, staging: RunStaging) -> pa.Table:
    """What the outcomes of the enriched day must add up to: the objects that were published, as they were."""
    status = pc.replace_substring_regex(recordings["status"], "^scored$", "planned")
    rows = recordings.select([*_OF_THE_OBJECT, "reason_code"]).append_column("status", status)
    return PLAN.conform(rows.append_column("run_id", pa.repeat(pa.scalar(staging.run_id), rows.num_rows)))


def requeued(quarantine: pa.Table, contacts: pa.Table) -> pa.Table:
    """Give quarantined recordings the queue of their contacts' records; the others keep theirs."""
    has_record = pc.is_in(quarantine["contact_id"], value_set=contacts["contact_id"].combine_chunks())
    queues = pc.if_else(has_record, _of_contact(quarantine, contacts, "queue"), quarantine["queue"])
    return quarantine.set_column(quarantine.column_names.index("queue"), quarantine.schema.field("queue"), queues)


def dated(recordings: pa.Table, contacts: pa.Table) -> pa.Table:
    """Give recordings whose keys do not say when they started the time of their contacts' records, as a night does."""
    started_at = pc.coalesce(recordings["started_at"], _of_contact(recordings, contacts, "started_at"))
    place = recordings.column_names.index("started_at")
    return recordings.set_column(place, recordings.schema.field("started_at"), started_at)


def restore_emotion_log(view: Snapshot, staging: RunStaging, but: Collection[str]) -> None:
    """Stage the published segments as they are, but for those of some contacts: file by file, batch by batch."""
    dataset = view.dataset(EMOTION_LOG.name, staging.call_date)
    others = ~pc.field("contact_id").isin(pa.array(sorted(but), pa.string()))
    files = []
    for number, fragment in enumerate(dataset.get_fragments()):
        with staging.writer(EMOTION_LOG, f"{number:05d}") as writer:
            for batch in fragment.to_batches(
                schema=EMOTION_LOG.schema, filter=others, batch_size=ROW_GROUP_ROWS, batch_readahead=2
            ):
                writer.write(pa.Table.from_batches([batch]))
        files.append(writer.file)
    staging.commit(EMOTION_LOG, files)


def _not_misplaced(recordings: pa.Table) -> pa.Table:
    """As in a night, a misplaced recording is of another day, and so is its contact."""
    return recordings.filter(pc.not_equal(pc.fill_null(recordings["reason_code"], ""), MISPLACED))


def _of_quarantined(quarantine: pa.Table, recordings: pa.Table) -> pa.Table:
    quarantined = recordings.filter(pc.field("status") == "quarantined")["source_uri"].combine_chunks()
    return quarantine.filter(pc.is_in(quarantine["source_uri"], value_set=quarantined))


def _of_contact(rows: pa.Table, contacts: pa.Table, column: str) -> pa.ChunkedArray:
    """A column of the rows' contacts, null where there is no record."""
    return contacts[column].take(pc.index_in(rows["contact_id"], value_set=contacts["contact_id"].combine_chunks()))


def _ids(rows: pa.Table) -> set[str]:
    return set(rows["contact_id"].drop_null().to_pylist())


def _only(rows: pa.Table, contact_ids: Collection[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["contact_id"], value_set=pa.array(sorted(contact_ids), pa.string())))


def _without(rows: pa.Table, contact_ids: Collection[str]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["contact_id"], value_set=pa.array(sorted(contact_ids), pa.string()))))


def _digests(rows: pa.Table) -> dict[str, int]:
    """A hash of the rows of each contact, but for the run that computed them: rows are many times as large."""
    found: dict[str, int] = {}
    for batch in rows.drop_columns(["run_id"]).to_batches(ROW_GROUP_ROWS):
        for row in batch.to_pylist():
            contact_id = row["contact_id"]
            found[contact_id] = hash((found.get(contact_id), repr(row)))
    return found


def _sorted(table: Table, rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in table.sort])


if __name__ == "__main__":
    run_command(lambda: step_main(STEP, run, __doc__))
