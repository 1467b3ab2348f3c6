"""plan_recordings: what is to be done on a call date.

Lists the recordings of the day in S3, reads the contact records, events and surveys, joins them, and writes the staged
tables ``plan`` (a row a recording), ``contacts``, ``sidecar_events`` and ``surveys``. Every object of the day that
could be audio has a row, with the reason where it is not to be read; other keys are counted as ignored. No object is
asked for here, only lists of them: what is skipped now, such as a call of a customer who opted out, is never fetched.
"""

from __future__ import annotations

import argparse
import gc
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from jobs.alert_rules import load_rules
from jobs.command import run_command
from jobs.contacts import ContactRecord, contact_day
from jobs.errors import ContactRecordsError
from jobs.identity import keyed_hash
from jobs.layouts import Layout, Layouts, RecordingKey, is_audio, local_date, open_layouts, utc_dates
from jobs.model import portable, read_card
from jobs.opt_outs import OptOuts
from jobs.records import DayRecords, read_day_records
from jobs.settings import Settings, code_version, load_settings
from jobs.staging import RunSpec
from jobs.step import StepContext, step_main
from jobs.storage import open_storage, s3_client, s3_errors
from jobs.suppressions import Suppressions
from jobs.tabular import EXPECTED_FILES
from schemas import STAGED_TABLES
from schemas.staging import PLAN

log = logging.getLogger("callmood.plan")

ROWS_AT_ONCE = 65536


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """An object of the day that could hold a recording, and what its key says; no layout where none reads the key.

    ``misplaced`` says that its key's time is of a day whose plan does not look where it lies.
    """

    uri: str
    etag: str
    size_bytes: int
    last_modified: datetime
    layout: Layout | None = None
    key: RecordingKey | None = None
    misplaced: bool = False


@dataclass(frozen=True)
class Listing:
    """What lies under a day's prefixes.

    Attributes
    ----------
    stored
        The day's objects that could be recordings.
    recorded_elsewhere
        The contacts with a record whose recordings have no time, and lie under the prefix of another date.
    ignored
        How many objects are no recordings, of whatever day.
    """

    stored: list[StoredRecording]
    recorded_elsewhere: set[str]
    ignored: int


class PlanRow(NamedTuple):  # a day has a million, and of tuples columns are made at once
    """A row of ``plan``, but for the day and the run; the attributes are its columns."""

    contact_id: str | None
    source_uri: str
    etag: str
    partner_uri: str | None
    partner_etag: str | None
    size_bytes: int
    last_modified: datetime
    layout: str | None
    started_at: datetime | None
    agent_id: str | None
    channel_roles: tuple[str, ...] | None
    queue: str | None
    status: str
    reason_code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the plan says of a recording."""

    status: str
    reason_code: str | None = None
    detail: str | None = None


PLANNED = Outcome("planned")
OPTED_OUT = Outcome("skipped", "opted_out")
DUPLICATE = Outcome("skipped", "duplicate")
ANOTHER_PART = Outcome("skipped", "another_part")
MISPLACED = Outcome(
    "quarantined",
    "misplaced",
    "found a time of another day than the prefix is of, where that day's plan does not look; check the layout's "
    "time_zone, prefix_time_zone and prefix_days_after (docs/layouts.md), then plan both days again",
)

Recording = tuple[StoredRecording, ...]
"""One object, or two, the customer's before the agent's."""


def run(context: StepContext) -> Mapping[str, float]:
    """Plan the day; returns the counts of recordings, of other keys and of contacts, and what the records came to."""
    # A day's objects stay to the end, and none is in a cycle: looking through them for garbage, again and again, takes
    # a quarter of a large day's time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _plan(context)
    finally:
        if collects:
            gc.enable()


def _plan(context: StepContext) -> Mapping[str, float]:
    arguments = context.arguments
    settings = load_settings(model=arguments.model, roles=arguments.roles)
    card = read_card(settings.model, accept_non_commercial=settings.accept_non_commercial)
    layouts = open_layouts(settings)
    load_rules(settings.alert_rules)  # a mistake in them is to end a night before it reads anything
    opt_outs = OptOuts.load(settings)
    days = utc_dates(context.call_date, settings.zone)
    # A record is written after its call has ended, so that of a late call lies under the date after.
    records = read_day_records(settings, [*days, days[-1] + timedelta(days=1)])

    suppressions = Suppressions.load(open_storage(settings.warehouse, settings), settings.identity_secret)
    erased = suppressions.in_records(records)
    listing = list_day(settings, layouts, records.contacts, context.call_date)
    stored = [each for each in listing.stored if not is_erased(each, suppressions, erased)]
    if stored and records.no_contacts_at:
        raise ContactRecordsError(
            f"there are no contact records at {' or '.join(records.no_contacts_at)}, and {len(stored):,} objects that "
            f"could be recordings of {context.call_date}; expected {EXPECTED_FILES}, or a folder or an s3:// prefix "
            "with such files below it"
        )
    records = suppressions.of_records(records, erased)
    tolerance = timedelta(seconds=settings.clock_skew_s)
    rows = plan_rows(stored, layouts, records, opt_outs, _agent_ids(settings), tolerance)
    plan = plan_table(rows, context.call_date, context.run_id)
    # What is misplaced is of another day, and so is its contact.
    of_the_day = plan.filter(pc.not_equal(pc.fill_null(plan["reason_code"], ""), MISPLACED.reason_code))
    contact_ids = set(of_the_day["contact_id"].drop_null().to_pylist())
    tables = records.tables(
        context.call_date, context.run_id, contact_ids, layouts, settings, listing.recorded_elsewhere
    )

    context.staging.start_run(
        RunSpec(
            run_id=context.run_id,
            call_date=context.call_date,
            model=portable(settings.model),
            roles=settings.roles,
            code_version=code_version(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )
    context.staging.write_table(PLAN, plan)
    for name, table in tables.items():
        context.staging.write_table(STAGED_TABLES[name], table)
    log.info("the model is %s; classified are %s", card.model_id, ", ".join(settings.roles))
    _warn(plan, records, settings)
    statuses = Counter(plan["status"].to_pylist())
    return {
        "planned": plan.num_rows,
        "skipped": statuses["skipped"],
        "quarantined": statuses["quarantined"],
        "ignored": listing.ignored,
        # Nothing else says of them that they are there.
        "suppressed": len(listing.stored) - len(stored),
        "contacts": tables["contacts"].num_rows,
        **records.counts,
    }


def list_day(settings: Settings, layouts: Layouts, contacts: Mapping[str, ContactRecord], call_date: date) -> Listing:
    """List a day's objects.

    An object is of the day that its key's time is of. Where the key has no time, or no layout reads it, it is of the
    date of the prefix that it lies under; where that is of no one date, either, a recording is of its contact's
    day, or, without a contact record, of any day that is planned, and what no layout reads is of the day that it was
    last written on.
    """
    bucket, _, root = settings.recordings.removeprefix("s3://").partition("/")
    below = f"{root}/" if root else ""
    with s3_errors(f"s3://{bucket}"):
        client = s3_client(settings.s3_endpoint, settings.s3_region)
    stored: list[StoredRecording] = []
    recorded_elsewhere: set[str] = set()
    ignored = 0
    for prefix, prefix_date in layouts.prefixes(call_date).items():
        listed = 0
        for item in _objects(client, bucket, below + prefix):
            listed += 1
            key = item["Key"].removeprefix(below)
            layout, says = layouts.match(key) or (None, None)
            if says is None and not is_audio(key):
                ignored += 1
                continue
            misplaced = False
            if says is not None and says.started_at is not None:
                day = local_date(says.started_at, settings.zone)
                if day != call_date == prefix_date:
                    misplaced = not any(key.startswith(other) for other in layouts.prefixes(day))
            elif prefix_date is not None:
                day = prefix_date
                if says is not None and day != call_date and says.contact_id in contacts:
                    recorded_elsewhere.add(says.contact_id)
            elif says is None:
                day = local_date(item["LastModified"], settings.zone)
            else:
                record = contacts.get(says.contact_id)
                day = call_date if record is None else contact_day(record, layouts, settings)
            if day == call_date or misplaced:
                uri, etag = f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"')
                stored.append(StoredRecording(uri, etag, item["Size"], item["LastModified"], layout, says, misplaced))
        if prefix_date is None:
            log.warning(
                "all of s3://%s/%s was listed (keys: %d), as for every day: no layout has a prefix of the date there",
                *(bucket, below + prefix, listed),
            )
    return Listing(stored, recorded_elsewhere, ignored)


def is_erased(stored: StoredRecording, suppressions: Suppressions, erased: Set[str]) -> bool:
    """Whether the object is of somebody of whom everything was erased."""
    if not suppressions:
        return False
    contact_id = None if stored.key is None else stored.key.contact_id
    of_contact = contact_id is not None and (contact_id in erased or suppressions.has_contact(contact_id))
    return of_contact or suppressions.has_object(stored.uri)


def _objects(client: Any, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """The objects below a prefix; a page is fetched while the one before it is worked on."""
    with ThreadPoolExecutor(1) as ahead, s3_errors(f"s3://{bucket}"):
        pages = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
        fetched = ahead.submit(next, pages, None)
        while (page := fetched.result()) is not None:
            fetched = ahead.submit(next, pages, None)
            yield from page.get("Contents", [])


def plan_rows(
    stored: Iterable[StoredRecording],
    layouts: Layouts,
    records: DayRecords,
    opt_outs: OptOuts,
    agent_id: Callable[[str], str],
    clock_skew: timedelta,
) -> Iterator[PlanRow]:
    """Say what is to be done with each of a day's objects.

    Of several recordings of a contact one is planned: the largest, of equals the one whose address comes first; unless
    its times contradict each other by more than ``clock_skew``.

    Yields
    ------
    A row an object, but one for the two objects of a pair.
    """
    names = ", ".join(layout.name for layout in layouts.layouts)
    unknown = Outcome(
        "quarantined",
        "unknown_layout",
        f"found a key with an audio file's ending that no layout reads; expected one of {names}: "
        "add a layout (docs/layouts.md), or move the object elsewhere",
    )
    by_contact: dict[str, list[StoredRecording]] = defaultdict(list)
    for each in stored:
        if each.key is None:
            yield _row((each,), unknown, None, agent_id)
        else:
            by_contact[each.key.contact_id].append(each)
    for contact_id, objects in by_contact.items():
        record = records.contacts.get(contact_id)
        opted_out = opt_outs.holds(record, left_out=contact_id in records.left_out)
        for recording, outcome in _outcomes(objects):
            checked = _by_the_clock(recording, record, clock_skew) if outcome is PLANNED else outcome
            yield _row(recording, OPTED_OUT if opted_out else checked, record, agent_id)


def _by_the_clock(recording: Recording, record: ContactRecord | None, clock_skew: timedelta) -> Outcome:
    """Planned, unless its times cannot all be right: of the key, of the object, of the contact record.

    A call of the wrong hour, or day, would be counted where it does not belong, and joined to what it was not.
    """
    at = _known(recording[0])[1].started_at
    written = max(each.last_modified for each in recording)
    contradictions: list[tuple[str, datetime | None, datetime | None]] = [
        ("its object was written before its key's time", written, at),
    ]
    if record is not None:
        contradictions += [
            ("its object was written before its contact began", written, record.started_at),
            ("its contact record ends before it begins", record.ended_at, record.started_at),
            ("its key's time is before its contact began", at, record.started_at),
            ("its contact ended before its key's time", record.ended_at, at),
        ]
    for says, earlier, later in contradictions:
        if earlier is not None and later is not None and later - earlier > clock_skew:
            hours = (later - earlier).total_seconds() / 3600
            return Outcome(
                "quarantined",
                "clock_skew",
                f"{says}, by {hours:.1f} h, expected at most {clock_skew.total_seconds() / 3600:.1f} h; check the "
                "recorder's clock and the time zones of layout and records (docs/layouts.md, docs/records.md)",
            )
    return PLANNED


def _outcomes(objects: Sequence[StoredRecording]) -> Iterator[tuple[Recording, Outcome]]:
    """Put the objects of one contact together, and say what is to be done with each recording."""
    if len(objects) == 1 and not objects[0].misplaced and not _known(objects[0])[0].pairs:  # nearly always
        yield (objects[0],), PLANNED
        return
    whole: list[Recording] = []
    pairs: dict[tuple[str, datetime | None], list[StoredRecording]] = defaultdict(list)
    for each in objects:
        layout, key = _known(each)
        if each.misplaced:
            yield (each,), MISPLACED
        elif layout.pairs:
            pairs[layout.name, key.started_at].append(each)
        else:
            whole.append((each,))
    for sides in pairs.values():
        customers, agents = (
            sorted((each for each in sides if _known(each)[1].role == role), key=lambda each: _order((each,)))
            for role in ("customer", "agent")
        )
        both = min(len(customers), len(agents))
        whole += zip(customers, agents, strict=False)
        for each in (*customers[both:], *agents[both:]):
            yield (each,), DUPLICATE if both else _incomplete(each)
    whole.sort(key=_order)
    for position, recording in enumerate(whole):
        same_time = _known(recording[0])[1].started_at == _known(whole[0][0])[1].started_at
        yield recording, PLANNED if position == 0 else DUPLICATE if same_time else ANOTHER_PART


def _order(recording: Recording) -> tuple[bool, int, str]:
    """The first is planned: one with the customer's voice before one without, then the largest."""
    roles = _channel_roles(recording)
    without_customer = "agent" in roles and "customer" not in roles
    return without_customer, -sum(each.size_bytes for each in recording), recording[0].uri


def _incomplete(alone: StoredRecording) -> Outcome:
    side = _known(alone)[1].role
    other = "agent" if side == "customer" else "customer"
    return Outcome(
        "quarantined",
        "incomplete_pair",
        f"found the {side}'s side alone, expected the {other}'s beside it; the day's next run takes both once it came",
    )


def _row(
    recording: Recording, outcome: Outcome, record: ContactRecord | None, agent_id: Callable[[str], str]
) -> PlanRow:
    first, partner = recording[0], recording[1] if len(recording) > 1 else None
    key = first.key
    agent = next((each.key.agent for each in recording if each.key is not None and each.key.agent), None)
    return PlanRow(
        contact_id=None if key is None else key.contact_id,
        source_uri=first.uri,
        etag=first.etag,
        partner_uri=None if partner is None else partner.uri,
        partner_etag=None if partner is None else partner.etag,
        size_bytes=sum(each.size_bytes for each in recording),
        last_modified=max(each.last_modified for each in recording),
        layout=None if first.layout is None else first.layout.name,
        started_at=(None if key is None else key.started_at) or (None if record is None else record.started_at),
        agent_id=None if agent is None else agent_id(agent),
        channel_roles=None if key is None else _channel_roles(recording),
        queue=None if record is None else record.queue,
        status=outcome.status,
        reason_code=outcome.reason_code,
        detail=outcome.detail,
    )


def _channel_roles(recording: Recording) -> tuple[str, ...]:
    """Whose each channel is, over the channels of the objects one after another."""
    return tuple(role for layout, key in map(_known, recording) for role in layout.channel_roles(key))


def _known(stored: StoredRecording) -> tuple[Layout, RecordingKey]:
    assert stored.layout is not None  # noqa: S101 - only what a layout reads has a contact, and comes here
    assert stored.key is not None  # noqa: S101
    return stored.layout, stored.key


def _agent_ids(settings: Settings) -> Callable[[str], str]:
    """What stands in the tables for an agent's name, as in contacts; the key is asked for with the first name."""
    secret = cache(settings.identity_secret)
    return cache(lambda name: name if settings.plain_agent_ids else keyed_hash(secret(), "agent", name))


def plan_table(rows: Iterable[PlanRow], call_date: date, run_id: str) -> pa.Table:
    """Make the staged table of its rows."""
    same = {"call_date": call_date, "run_id": run_id}
    rows, parts = iter(rows), [PLAN.empty()]
    # Rows are many times as large as columns, so that no more of them than these are held at once.
    while part := list(islice(rows, ROWS_AT_ONCE)):
        values = dict(zip(PlanRow._fields, zip(*part, strict=True), strict=True))
        columns = [
            pa.repeat(pa.scalar(same[field.name], field.type), len(part))
            if field.name in same
            else pa.array(values[field.name], field.type)
            for field in PLAN.schema
        ]
        parts.append(pa.table(columns, schema=PLAN.schema))
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in PLAN.sort])


def _warn(plan: pa.Table, records: DayRecords, settings: Settings) -> None:
    """Say in the log what somebody should look at."""
    reasons = Counter(plan.filter(pc.equal(plan["status"], "quarantined"))["reason_code"].to_pylist())
    if reasons:
        log.warning("quarantined: %s", ", ".join(f"{count} as {reason}" for reason, count in sorted(reasons.items())))
    if settings.asks_for_opt_outs:
        planned = plan.filter(pc.equal(plan["status"], "planned"))["contact_id"].to_pylist()
        unknown = sum(contact_id not in records.contacts for contact_id in planned)
        if unknown:
            log.warning(
                "%d of the planned recordings have no contact record, so it is not known whether customers opted out; "
                "enrichment withdraws them where a record says so later",
                unknown,
            )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="the folder of the classifier's model, instead of the setting")
    parser.add_argument("--roles", help="whose speech is classified, instead of the setting: customer,agent,mixed")


if __name__ == "__main__":
    run_command(lambda: step_main("plan_recordings", run, __doc__, add_arguments=_add_arguments))
