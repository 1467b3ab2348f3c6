"""Erases everything on a person, everywhere: ``python -m jobs.erase --contact ID | --customer KEY | --file FILE``.

In this order, so that nothing can come back in between: the suppression is written, which keeps plans and publications
from now on free of the person; publications under way are waited for, dead ones carried through; with ``--recordings``
the recordings are deleted in S3; each published day that has the person is published again without (`jobs.erase_day`);
every run's staging that has the person is deleted; reports, logs and state are looked through; and then everything is
searched again. Only where nothing is found there is a certificate:
``<warehouse>/_erasures/<erasure>/certificate.json``, which says what was where, and names nobody.

An erasure that stopped half-way is begun again with the same words; it does what is left.
"""

from __future__ import annotations

import argparse
import html
import json
import logging
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs import erase_day, publish_tables, render_report
from jobs.command import exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import DayLocked, ErasureIncomplete, JobError, WrongPerson
from jobs.identity import keyed_hash
from jobs.labels import Labels
from jobs.person import Held, Person, find
from jobs.settings import Settings, code_version, load_settings
from jobs.staging import STEPS, RunStaging, new_run_id
from jobs.step import StepContext, step_main
from jobs.storage import Storage, open_storage, s3_client, s3_errors
from jobs.suppressions import FILE, FOLDER, Suppressed, Suppressions
from jobs.warehouse import Warehouse
from schemas import LABELS
from schemas.errors import SchemaError

ROUNDS = 3
"""How often a day that is published anew meanwhile is begun again."""
LOCK_TRIES, LOCK_WAIT_S = 30, 3.0
_STEPS: Mapping[str, Callable[[StepContext], Mapping[str, float]]] = {
    "erase_day": erase_day.run,
    "publish_tables": publish_tables.run,
    "render_report": render_report.run,
}

log = logging.getLogger("callmood.erase")


@dataclass(frozen=True)
class Place:
    """What was done somewhere: how many of what."""

    place: str
    done: str
    count: int


@dataclass(frozen=True)
class Certificate:
    """What was erased, without a word of whose it was.

    Attributes
    ----------
    subjects
        HMAC-SHA256 of each id that was asked for: who has the id and the key can tell that this is the certificate.
    places
        What was found and done where.
    remains
        What was not erased, in words.
    """

    erasure: str
    subjects: tuple[str, ...]
    began_at: str
    ended_at: str
    code_version: str
    places: tuple[Place, ...]
    remains: tuple[str, ...]
    searched_again: str = "nothing was found"

    def to_json(self) -> bytes:
        """Return the content of the certificate's file."""
        return json.dumps(asdict(self), indent=1).encode()


class Erasure:
    """One erasure.

    Parameters
    ----------
    person
        Of whom everything goes.
    settings
        The jobs'.
    recordings
        Whether the recordings are deleted in S3, too.

    Raises
    ------
    SettingsError
        Where there is no key for the hashes, or another one than that of earlier erasures.
    """

    def __init__(self, person: Person, settings: Settings, *, recordings: bool = False) -> None:
        self._asked = person
        self._settings = settings
        self._recordings = recordings
        self._secret = settings.identity_secret()
        self._warehouse = Warehouse(open_storage(settings.warehouse, settings))
        Suppressions.load(self._warehouse.storage, settings.identity_secret)  # refuses another key than earlier ones'
        self._staging = open_storage(settings.staging, settings)
        self._reports = open_storage(settings.reports, settings)
        self._began = datetime.now(UTC)
        self.name = new_run_id(self._began)
        self._done: Counter[tuple[str, str]] = Counter()

    def run(self) -> Certificate:
        """Erase, search again, and certify.

        Raises
        ------
        ErasureIncomplete
            Where a day cannot be rebuilt, or something is still found at the end.
        """
        held = self._suppress()
        # First, while the tables still say where they are: what fails here can be done again.
        self._delete_labels(held.person)
        left = self._delete_recordings(held.person) if self._recordings else len(held.person.objects)
        self._rebuild(held)
        self._withdraw(held)
        self._mask(held.person)
        remains = [
            "contact records, call events, survey answers and lists of opt-outs, where other systems put them",
            "copies and logs outside the places of the settings, such as backups, and versions that a store keeps",
        ]
        if left:
            which = "outside CALLMOOD_RECORDINGS" if self._recordings else "that RECORDINGS=1 would have deleted"
            remains.insert(0, f"{left} recordings in S3 {which}")
        self._search_again(held.person)
        certificate = Certificate(
            self.name,
            tuple(sorted(self._hashes())),
            self._began.isoformat(timespec="seconds"),
            datetime.now(UTC).isoformat(timespec="seconds"),
            code_version(),
            tuple(Place(place, done, count) for (place, done), count in sorted(self._done.items())),
            tuple(remains),
        )
        self._warehouse.storage.write(f"{FOLDER}/{self.name}/certificate.json", certificate.to_json())
        return certificate

    # The steps of it, in their order

    def _suppress(self) -> Held:
        """Find the person, and keep every run from now on from having them; returns what there is of them then."""
        self._write_list(self._asked)
        # Who publishes now may have read the list before; what it publishes is found after it.
        for day in sorted(self._warehouse.unsettled()):
            self._settle(day)
        held = find(self._asked, self._warehouse, self._staging)
        self._write_list(held.person)
        return held

    def _write_list(self, person: Person) -> None:
        suppressed = Suppressed.of(
            self._secret,
            contacts=person.contacts,
            customers=person.customers,
            objects=person.objects,
            at=self._began,
        )
        self._warehouse.storage.write(f"{FOLDER}/{self.name}/{FILE}", suppressed.to_json())

    def _settle(self, day: date) -> None:
        for _ in range(LOCK_TRIES):
            try:
                return self._warehouse.settle(day, f"erasure {self.name}")
            except DayLocked as error:
                log.info("%s", error)
                time.sleep(LOCK_WAIT_S)
        return self._warehouse.settle(day, f"erasure {self.name}")

    def _rebuild(self, held: Held) -> None:
        """Publish each day that has the person again without, with its report."""
        for table, number in held.rows.items():
            if table == LABELS.name:
                continue
            self._done[f"table {table}", "rows erased, or freed of a reference"] += number
        for day in sorted(held.days):
            for left in reversed(range(ROUNDS)):
                run_id = new_run_id()
                staging = RunStaging(self._staging, day, run_id)
                failed = next((step for step in STEPS["erasure"] if not self._step(step, staging)), None)
                if failed is None:
                    break
                marker = staging.marker(failed)
                reason = "it left no marker" if marker is None else marker.reason
                if not left:
                    raise ErasureIncomplete(
                        f"{day} could not be rebuilt: {failed}: {reason}; mend that and erase again"
                    )
                log.warning("%s is begun again: %s: %s", day, failed, reason)
                time.sleep(LOCK_WAIT_S)
            counts = staging.markers()["erase_day"].counts
            self._done["warehouse", "days published again without the person"] += 1
            self._done["table satisfaction_daily", "days of which the published figures were kept"] += int(
                counts["figures_kept"]
            )
            # They are of the tables as they were; no id enters them, but this is simpler to be sure of.
            docs = self._reports.delete_below(f"{day.isoformat()}/data_docs")
            self._done["reports", "pages written anew"] += 1
            self._done["reports", "files of Data Docs deleted"] += docs

    @staticmethod
    def _step(step: str, staging: RunStaging) -> bool:
        arguments = ["--call-date", staging.call_date.isoformat(), "--run-id", staging.run_id]
        return step_main(step, _STEPS[step], None, arguments) == 0

    def _delete_labels(self, person: Person) -> None:
        self._done[f"table {LABELS.name}", "rows erased"] += Labels(self._warehouse.storage).delete(
            person.rows(LABELS.schema.names)
        )

    def _withdraw(self, held: Held) -> None:
        """Delete what runs have staged that hold the person, those that began meanwhile included."""
        held = find(held.person, self._warehouse, self._staging)
        for day, run_id in sorted(held.runs | held.unreadable):
            self._done["staging", "files deleted"] += RunStaging(self._staging, day, run_id).withdraw()
            self._done["staging", "runs withdrawn"] += 1

    def _mask(self, person: Person) -> None:
        """Make ids unreadable in reports of other days, in logs and in the state of runs."""
        if person.telling:
            pattern = spellings(person)
            for place, storage in self._texts():
                for path, _ in _with(pattern, storage):
                    masked = pattern.sub(lambda found: b"*" * len(found.group()), storage.read(path))
                    storage.write(path, masked)
                    self._done[place, "files in which an id was made unreadable"] += 1

    def _texts(self) -> Iterator[tuple[str, Storage]]:
        yield "reports", self._reports
        yield "staging", self._staging
        for folder in self._settings.logs:
            yield "logs", open_storage(folder, self._settings)

    def _delete_recordings(self, person: Person) -> int:
        """Delete the recordings below the configured place; returns how many lie elsewhere, and are left."""
        ours = sorted(each for each in person.objects if each.startswith(f"{self._settings.recordings}/"))
        self._done["recordings in S3", "versions deleted"] += delete_objects(ours, self._settings)
        self._done["recordings in S3", "objects deleted"] += len(ours)
        return len(person.objects) - len(ours)

    def _search_again(self, person: Person) -> None:
        """Look for the person everywhere, in every file: also in those that no table names, and in Delta's own."""
        found: Counter[str] = Counter()
        for day in sorted(self._warehouse.unsettled()):
            self._settle(day)
        held = find(person, self._warehouse, self._staging)
        found.update(held.rows)
        found["staging"] += len(held.runs)
        if person.telling:
            pattern = spellings(person)
            for _place, storage in (*self._texts(), ("warehouse", self._warehouse.storage)):
                found[storage.location] += sum(1 for _ in _with(pattern, storage))
            found["Delta log"] += sum(
                bool(pattern.search(content)) for content in _checkpoints(self._warehouse.storage)
            )
        left = ", ".join(f"{place} ({number})" for place, number in sorted(found.items()) if number)
        if left:
            raise ErasureIncomplete(
                f"the person is still found in {left}; nothing was certified; a run may have been under way: erase "
                "again when it has ended"
            )

    def _hashes(self) -> Iterator[str]:
        for kind, values in (("contact", self._asked.contacts), ("customer", self._asked.customers)):
            for value in values:
                yield keyed_hash(self._secret, f"subject of an erasure, {kind}", value)


def spellings(person: Person) -> re.Pattern[bytes]:
    """A pattern of the ids, however text files write them: as they are, in HTML, in an address, in JSON."""
    found = set()
    for each in (*person.telling, *person.objects):
        found |= {each, html.escape(each), urllib.parse.quote(each), urllib.parse.quote(each, safe="")}
        found.add(json.dumps(each)[1:-1])
    longest_first = sorted(found, key=lambda each: (-len(each), each))
    return re.compile(b"|".join(re.escape(each.encode()) for each in longest_first))


def _with(pattern: re.Pattern[bytes], storage: Storage) -> Iterator[tuple[str, int]]:
    """The files of a place, but for Parquet and databases, in which the pattern is found, and how often."""
    for file in list(storage.files()):
        if not file.path.endswith((".parquet", ".db")):
            try:
                number = len(pattern.findall(storage.read(file.path)))
            except FileNotFoundError:
                continue
            if number:
                yield file.path, number


def _checkpoints(storage: Storage) -> Iterator[bytes]:
    """What the checkpoints of the Delta logs say, as text: their Parquet is compressed."""
    for file in list(storage.files()):
        if "/_delta_log/" in f"/{file.path}" and file.path.endswith(".parquet"):
            try:
                with storage.open_input(file.path) as source:
                    yield repr(pq.read_table(source).to_pylist()).encode()
            except (FileNotFoundError, pa.ArrowInvalid):
                continue


def delete_objects(addresses: Sequence[str], settings: Settings) -> int:
    """Delete objects of S3 in every version that the store keeps; how many versions there were.

    Raises
    ------
    StorageAccessDenied
        Where the store refuses: the credentials of the jobs need not be allowed to delete otherwise.
    """
    from botocore.exceptions import ClientError

    deleted = 0
    for address in addresses:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        with s3_errors(f"s3://{bucket}"):
            client = s3_client(settings.s3_endpoint, settings.s3_region)
            versions: list[str | None] = []
            try:
                for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
                    listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                    versions += [each.get("VersionId") for each in listed if each.get("Key") == key]
            except ClientError as error:
                # A store without versions has one of each object.
                if error.response.get("Error", {}).get("Code") not in {"NotImplemented", "MethodNotAllowed"}:
                    raise
                versions = [None]
            for version in versions:
                more = {} if version in (None, "null") else {"VersionId": version}
                client.delete_object(Bucket=bucket, Key=key, **more)  # type: ignore[arg-type]
                deleted += 1
    return deleted


def read_ids(place: str, settings: Settings) -> Person:
    """Read a file of ids: a contact id a line, or ``customer:`` and a customer key; # begins a comment.

    Raises
    ------
    WrongPerson
        Where there is no such file, it is not text, or it names nobody.
    """
    folder, _, name = place.rpartition("/")
    if not place.startswith("s3://"):
        path = Path(place).expanduser().absolute()
        if path.is_dir():
            raise WrongPerson(f"{place} is a folder; expected a file with a contact id a line, or customer:KEY")
        folder, name = str(path.parent), path.name
    try:
        lines = open_storage(folder, settings).read(name).decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise WrongPerson(f"there is no file {place}; expected one with a contact id a line, or customer:KEY") from None
    except UnicodeDecodeError:
        raise WrongPerson(f"{place} is not UTF-8; expected a contact id a line, or customer:KEY") from None
    ids = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return Person.of(
        (each.removeprefix("contact:") for each in ids if not each.startswith("customer:")),
        (each.removeprefix("customer:") for each in ids if each.startswith("customer:")),
    )


def in_words(certificate: Certificate) -> Iterable[str]:
    """Say in plain words what was done."""
    yield f"erasure {certificate.erasure}: done, and searched again: {certificate.searched_again}"
    for place in certificate.places:
        if place.count:
            yield f"  {place.place}: {place.count} {place.done}"
    for what in certificate.remains:
        yield f"  remains: {what}"


def main(argv: Sequence[str] | None = None) -> int:
    """Erase; the exit status is 0, 2 where it failed for good, 75 where another try may help."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.erase", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--contact", metavar="ID", help="a contact id")
    whom.add_argument("--customer", metavar="KEY", help="a customer key, of python -m jobs.identity")
    whom.add_argument(
        "--file", metavar="FILE", help="a file, or s3://bucket/key, with a contact id or customer:KEY a line"
    )
    parser.add_argument("--recordings", action="store_true", help="delete the recordings in S3, too")
    arguments = parser.parse_args(argv)
    start_logging()
    try:
        settings = load_settings()
        if arguments.file is not None:
            person = read_ids(arguments.file, settings)
        else:
            person = Person.of(filter(None, [arguments.contact]), filter(None, [arguments.customer]))
        erasure = Erasure(person, settings, recordings=arguments.recordings)
        certificate = erasure.run()
    except (JobError, SchemaError) as error:
        log.error("the erasure is not done: %s", error)
        return exit_status(permanent=error.permanent)
    for line in in_words(certificate):
        log.info("%s", line)
    log.info("the certificate is %s/%s/%s/certificate.json", settings.warehouse, FOLDER, certificate.erasure)
    if arguments.file is not None:
        log.info("the file of ids is yours to delete")
    return 0


if __name__ == "__main__":
    run_command(main)
