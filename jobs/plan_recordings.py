"""plan_recordings: what is to be done on a call date.

Lists the recordings of the day in S3, reads the contact records, joins the two, and writes the staged tables
``plan`` (a row an object) and ``contacts``. Recordings without a record and records without a recording are both
kept; other keys under the listed prefixes are counted as ignored.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from jobs.contacts import ContactRecords, contact_day, contact_row, queue_name, read_contacts
from jobs.layouts import Layout, RecordingKey, local_date, open_layout, utc_dates
from jobs.model import read_card
from jobs.settings import Settings, code_version, load_settings
from jobs.staging import RunSpec
from jobs.step import StepContext, step_main
from jobs.storage import s3_client, s3_errors
from schemas import TABLES
from schemas.staging import PLAN

log = logging.getLogger("callmood.plan")

CONTACTS = TABLES["contacts"]


def run(context: StepContext) -> Mapping[str, float]:
    """Plan the day; returns the counts planned, skipped, ignored, contacts and bad_contact_records."""
    arguments = context.arguments
    settings = load_settings(model=arguments.model, roles=arguments.roles)
    card = read_card(settings.model, accept_non_commercial=settings.accept_non_commercial)
    layout = open_layout(settings.layout)

    found, ignored = _list_recordings(settings, layout, context)
    days = utc_dates(context.call_date, settings.zone)
    # A record is written after its call has ended, so that of a late call lies under the date after.
    records = read_contacts(settings, [*days, days[-1] + timedelta(days=1)])
    plan = _plan_rows(found, records, layout, context)
    planned_contacts = {row["contact_id"] for row in plan}
    contacts = [
        contact_row(record, context.call_date, context.run_id, settings)
        for contact_id, record in records.by_contact.items()
        if contact_id in planned_contacts or contact_day(record, layout, settings) == context.call_date
    ]

    context.staging.start_run(
        RunSpec(
            run_id=context.run_id,
            call_date=context.call_date,
            model=settings.model,
            roles=settings.roles,
            code_version=code_version(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )
    context.staging.write_table(PLAN, _table(plan, PLAN.schema, PLAN.sort))
    context.staging.write_table(CONTACTS, _table(contacts, CONTACTS.schema, CONTACTS.sort))
    log.info("the model is %s; classified are %s", card.model_id, ", ".join(settings.roles))
    return {
        "planned": len(plan),
        "skipped": sum(row["status"] == "skipped" for row in plan),
        "ignored": ignored,
        "contacts": len(contacts),
        "bad_contact_records": records.bad_lines,
    }


def _list_recordings(
    settings: Settings, layout: Layout, context: StepContext
) -> tuple[list[tuple[Mapping[str, Any], RecordingKey]], int]:
    """The day's objects with what their keys say, and the number of keys that are no recordings."""
    found = []
    ignored = 0
    for item in _objects(settings, layout, context):
        key = layout.parse(item["Key"])
        if key is None:
            ignored += 1
        elif local_date(key.started_at, settings.zone) == context.call_date:
            found.append((item, key))
    return found, ignored


def _objects(settings: Settings, layout: Layout, context: StepContext) -> Iterator[Mapping[str, Any]]:
    """Every object under the prefixes of the UTC dates that the local day touches, each once."""
    bucket, _, root = settings.recordings.removeprefix("s3://").partition("/")
    with s3_errors(f"s3://{bucket}"):
        client = s3_client(settings.s3_endpoint, settings.s3_region)
    prefixes = dict.fromkeys(layout.prefix(day) for day in utc_dates(context.call_date, settings.zone))
    for prefix in prefixes:
        place = f"{root}/{prefix}" if root else prefix
        with s3_errors(f"s3://{bucket}"):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=place):
                for item in page.get("Contents", []):
                    yield {**item, "Uri": f"s3://{bucket}/{item['Key']}"}


def _plan_rows(
    found: list[tuple[Mapping[str, Any], RecordingKey]],
    records: ContactRecords,
    layout: Layout,
    context: StepContext,
) -> list[dict[str, Any]]:
    """A row an object; of several recordings of one contact and day the largest is planned, the others are skipped."""
    by_contact = defaultdict(list)
    for item, key in found:
        by_contact[key.contact_id].append((item, key))
    rows = []
    for contact_id, recordings in by_contact.items():
        recordings.sort(key=lambda recording: (-recording[0]["Size"], recording[0]["Key"]))
        queue = queue_name(records.by_contact.get(contact_id, {}))
        for position, (item, key) in enumerate(recordings):
            rows.append(
                {
                    "call_date": context.call_date,
                    "contact_id": contact_id,
                    "source_uri": item["Uri"],
                    "etag": item["ETag"].strip('"'),
                    "size_bytes": item["Size"],
                    "last_modified": item["LastModified"],
                    "layout": layout.name,
                    "started_at": key.started_at,
                    "queue": queue,
                    "status": "planned" if position == 0 else "skipped",
                    "reason_code": None if position == 0 else _left_out(key, recordings[0][1]),
                    "run_id": context.run_id,
                }
            )
    return rows


def _left_out(key: RecordingKey, planned: RecordingKey) -> str:
    """Why a recording is not planned beside another of its contact."""
    return "duplicate" if key.started_at == planned.started_at else "another_part"


def _table(rows: list[dict[str, Any]], schema: pa.Schema, sort: tuple[str, ...]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema).sort_by([(name, "ascending") for name in sort])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="the folder of the classifier's model, instead of the setting")
    parser.add_argument("--roles", help="whose speech is classified, instead of the setting: customer,agent,mixed")


if __name__ == "__main__":
    sys.exit(step_main("plan_recordings", run, __doc__, add_arguments=_add_arguments))
