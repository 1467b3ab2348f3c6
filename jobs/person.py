"""What is held on a person: ``python -m jobs.person --customer KEY`` prints it, as JSON and in plain words.

Looks into every table of the warehouse, whatever its day, and into what every run has staged. A person is a customer,
by the key that stands in ``contacts.customer_key`` (``python -m jobs.identity`` makes it of a telephone number or id),
or single contacts. `jobs.erase` looks in the same way, so that what is disclosed is what is erased.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.command import run_command
from jobs.errors import JobError, WrongPerson
from jobs.identity import DIGITS
from jobs.labels import Labels
from jobs.render_report import review_pages
from jobs.settings import Settings, load_settings
from jobs.staging import day_of
from jobs.storage import Storage, open_storage
from jobs.suppressions import ADDRESSES, REFERENCES
from jobs.warehouse import Snapshot, Warehouse
from schemas import LABELS, TABLES
from schemas.staging import PLAN
from schemas.table import PARTITION_COLUMN

TELLING_CHARACTERS = 8
"""A shorter id is not looked for within other text, where it may stand by chance."""
_KEY = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
_IDENTIFYING = ("contact_id", "customer_key", *REFERENCES, *ADDRESSES)


@dataclass(frozen=True)
class Person:
    """Who is looked for.

    Attributes
    ----------
    contacts
        Contact ids.
    customers
        Customer keys, as in ``contacts.customer_key``.
    objects
        Addresses of recordings.
    """

    contacts: frozenset[str] = frozenset()
    customers: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, contacts: Iterable[str] = (), customers: Iterable[str] = ()) -> Person:
        """Check what was given.

        Raises
        ------
        WrongPerson
            Where nobody is named, or what should be a customer key is none.
        """
        found = cls(
            frozenset(filter(None, map(str.strip, contacts))), frozenset(each.strip().lower() for each in customers)
        )
        wrong = sum(not _KEY.fullmatch(each) for each in found.customers)
        if wrong:
            raise WrongPerson(
                f"{wrong} of {len(found.customers)} customers are no customer keys; expected {DIGITS} hexadecimal "
                "digits: python -m jobs.identity makes keys of telephone numbers and ids"
            )
        if not found.contacts and not found.customers:
            raise WrongPerson("nobody is named; expected a contact id, a customer key, or a file of them")
        return found

    @property
    def telling(self) -> tuple[str, ...]:
        """The ids that are long enough to be looked for within other text."""
        return tuple(sorted(each for each in self.contacts | self.customers if len(each) >= TELLING_CHARACTERS))

    def rows(self, columns: Iterable[str], *, named: bool = True) -> pc.Expression:
        """An expression that is true of the person's rows, and of those that only name one of the person's contacts.

        Parameters
        ----------
        columns
            Those of the rows.
        named
            Whether rows of others count that name a contact of the person's.
        """
        columns = set(columns)
        terms = [pc.scalar(False)]
        of_contact = ("contact_id", *REFERENCES) if named else ("contact_id",)
        by_value = {"customer_key": self.customers, **dict.fromkeys(of_contact, self.contacts)}
        for name, values in {**by_value, **dict.fromkeys(ADDRESSES, self.objects)}.items():
            if name in columns and values:
                terms.append(pc.field(name).isin(pa.array(sorted(values), pa.string())))
        telling = [re.escape(each) for each in self.contacts if len(each) >= TELLING_CHARACTERS]
        if telling and {"contact_id", "source_uri"} <= columns:
            # A key that no layout reads has no contact, and may name one all the same.
            named = pc.match_substring_regex(pc.field("source_uri"), "|".join(sorted(telling)))
            terms.append(pc.field("contact_id").is_null() & named)
        return reduce(or_, terms)


@dataclass(frozen=True)
class Held:
    """Where something is held on a person.

    Attributes
    ----------
    person
        With the contacts of the customers, and the addresses of the recordings, that were found.
    rows
        How many rows each table, ``labels`` included, has of the person, or naming one of the person's contacts.
    days
        The published days that have such rows.
    runs
        The runs whose staging has such rows.
    unreadable
        The runs with staged files that cannot be read, and no plan that could tell of whom these are.
    """

    person: Person
    rows: Mapping[str, int] = field(default_factory=dict)
    days: frozenset[date] = frozenset()
    runs: frozenset[tuple[date, str]] = frozenset()
    unreadable: frozenset[tuple[date, str]] = frozenset()


def find(person: Person, warehouse: Warehouse, staging: Storage) -> Held:
    """Find where something is held on a person, in every day of the warehouse and every run's staging."""
    contacts = set(person.contacts)
    if person.customers:
        of_customers = pc.field("customer_key").isin(pa.array(sorted(person.customers), pa.string()))
        found = warehouse.view(
            lambda view: view.dataset("contacts").to_table(["contact_id"], of_customers), ["contacts"]
        )
        contacts |= set(found["contact_id"].to_pylist())
        for file in staged_rows(staging):
            if file.rows is not None and "customer_key" in file.rows.column_names:
                contacts |= set(file.rows.filter(of_customers)["contact_id"].to_pylist())
    person = Person(frozenset(contacts), person.customers)

    published = warehouse.view(lambda view: dict(_published(person, view)))
    labels = Labels(warehouse.storage).read().filter(person.rows(LABELS.schema.names))
    addresses = set()
    for rows in published.values():
        addresses |= _addresses(person, rows)
    runs, planned, broken = set(), set(), set()
    for file in staged_rows(staging):
        if file.rows is None:
            broken.add(file.run)
            continue
        if file.table == PLAN.name:
            planned.add(file.run)
        rows = file.rows.filter(person.rows(file.rows.column_names))
        if rows.num_rows:
            runs.add(file.run)
            addresses |= _addresses(person, rows)
    return Held(
        Person(person.contacts, person.customers, frozenset(addresses)),
        {name: rows.num_rows for name, rows in (*published.items(), (LABELS.name, labels)) if rows.num_rows},
        frozenset(day for rows in published.values() for day in rows[PARTITION_COLUMN].unique().to_pylist()),
        frozenset(runs),
        frozenset(broken - planned - runs),
    )


def _published(person: Person, view: Snapshot) -> Iterator[tuple[str, pa.Table]]:
    for name, table in TABLES.items():
        identifying = [each for each in _IDENTIFYING if each in table.schema.names]
        if identifying:
            yield name, view.dataset(name).to_table([PARTITION_COLUMN, *identifying], person.rows(identifying))


def _addresses(person: Person, rows: pa.Table) -> set[str]:
    own = rows.filter(person.rows(rows.column_names, named=False))
    return {each for name in ADDRESSES if name in rows.column_names for each in own[name].drop_null().to_pylist()}


@dataclass(frozen=True)
class StagedRows:
    """The identifying columns of a Parquet file that some attempt staged; no rows where it cannot be read."""

    run: tuple[date, str]
    table: str
    rows: pa.Table | None


def staged_rows(storage: Storage) -> Iterator[StagedRows]:
    """Every Parquet file that any attempt of any run has staged, committed or not."""
    for file in storage.files():
        day = day_of(file.path)
        run_id, _, name = file.path.partition("/")[2].partition("/")
        if day is None or not name.endswith(".parquet"):
            continue
        rows = None
        # A task that died, or is still writing, leaves a file without its end.
        with suppress(pa.ArrowInvalid), storage.open_input(file.path) as source, pq.ParquetFile(source) as parquet:
            rows = parquet.read([each for each in _IDENTIFYING if each in parquet.schema_arrow.names])
        yield StagedRows((day, run_id), name.partition("/")[0], rows)


# Disclosure


def disclose(person: Person, settings: Settings) -> Mapping[str, Any]:
    """Everything that the tables hold on a person, with where else something is held.

    Returns
    -------
    What becomes the JSON: ``tables`` has the rows, by table, without those of others that only name a contact.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    held = find(person, warehouse, open_storage(settings.staging, settings))

    def rows(view: Snapshot) -> dict[str, list[dict[str, Any]]]:
        found = {}
        for name in held.rows.keys() & TABLES.keys():
            of_person = held.person.rows(TABLES[name].schema.names, named=False)
            found[name] = view.dataset(name).to_table(filter=of_person).to_pylist(maps_as_pydicts="strict")
        return found

    of_person = held.person.rows(LABELS.schema.names)
    labels = {LABELS.name: Labels(warehouse.storage).read().filter(of_person).to_pylist()}
    reports = open_storage(settings.reports, settings)
    pages = sorted({page for day in held.days for page in review_pages(day)})
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "contacts": sorted(held.person.contacts),
        "customers": sorted(held.person.customers),
        "recordings": sorted(held.person.objects),
        "reports": [f"{settings.reports}/{page}" for page in pages if reports.exists(page)],
        "staged_runs": [f"{settings.staging}/{day}/{run_id}" for day, run_id in sorted(held.runs)],
        "tables": {**warehouse.view(rows), **(labels if LABELS.name in held.rows else {})},
    }


def in_words(found: Mapping[str, Any]) -> str:
    """Say in plain words what `disclose` found."""
    tables: Mapping[str, list[dict[str, Any]]] = found["tables"]
    contacts, calls = tables.get("contacts", []), tables.get("calls", [])
    if not any(tables.values()) and not found["staged_runs"]:
        return "Nothing is held on this person."
    recordings = Counter(row["status"] for row in tables.get("recordings", []))
    days = sorted({row[PARTITION_COLUMN] for rows in tables.values() for row in rows})
    lines = [
        f"Held on this person, as of {found['made_at']}:",
        f"- {_count(len(contacts), 'contact record')}, on {_count(len(days), 'day')}"
        + (f" from {days[0]} to {days[-1]}." if days else "."),
    ]
    if recordings:
        said = ", ".join(f"{number} {status}" for status, number in sorted(recordings.items()))
        lines.append(f"- The list of {_count(recordings.total(), 'recording')}: {said}.")
    for call in calls:
        index = call["satisfaction_index"]
        shares = (
            "too little speech to say more"
            if call["negative_share"] is None
            else f"speech taken for {call['negative_share']:.0%} negative, {call['neutral_share']:.0%} neutral and "
            f"{call['positive_share']:.0%} positive; most often for {call['dominant_emotion']}"
        )
        queue = "no queue" if call["queue"] is None else f"queue {call['queue']}"
        lines.append(
            f"- A call of {call['duration_s']:.0f} s on {call[PARTITION_COLUMN]} ({queue}): {shares}; "
            + ("no satisfaction index." if index is None else f"satisfaction index {index:.0f} of 100, an estimate.")
        )
    for name, what in (
        (
            "emotion_log",
            "stretch of speech, each with its times, loudness and pitch, and the customer's with estimates",
        ),
        ("call_events", "hold, transfer or pause"),
        ("surveys", "survey answer"),
        ("topics", "stretch of a call with what it was about"),
        ("topic_emotions", "topic of a call with estimates of the emotions in it"),
        ("alerts", "rule that a call met, with the figure"),
        ("quarantine", "recording that could not be read"),
        (LABELS.name, "judgement by somebody who listened to a stretch of a call"),
    ):
        if tables.get(name):
            lines.append(f"- {name}: {_count(len(tables[name]), 'row')}, each a {what}.")
    if found["staged_runs"]:
        lines.append(f"- Working copies of {_count(len(found['staged_runs']), 'run')}, deleted by retention.")
    lines.append(
        "An emotion is a model's estimate from the sound of the voice, often wrong; no decision is made by it alone. "
        "The recordings themselves, the contact records and survey answers as other systems delivered them, are held "
        "there, not here."
    )
    return "\n".join(lines)


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is held on a person; the exit status is 2 where that cannot be told."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.person", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customer", action="append", default=[], metavar="KEY", help="a customer key")
    parser.add_argument("--contact", action="append", default=[], metavar="ID", help="a contact id")
    parser.add_argument("--json", action="store_true", help="the JSON alone, without the plain words")
    arguments = parser.parse_args(argv)
    try:
        found = disclose(Person.of(arguments.contact, arguments.customer), load_settings())
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(found, indent=1, default=str) + "\n")
    if not arguments.json:
        sys.stdout.write(f"\n{in_words(found)}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
