"""Suppressions: of whom everything was erased, as keyed hashes, so that no later run brings it back.

An erasure leaves ``<warehouse>/_erasures/<erasure>/suppressed.json``: HMAC-SHA256 of contact ids, of customer keys and
of recordings' addresses. The key is the one of the tables' keyed hashes and lives outside the warehouse, so the list
tells nobody who is on it. A contact is suppressed for good; a customer for the contacts that began before the erasure:
who calls again is a customer like any other, and opts out by docs/records.md.

Knows of rows, records and hashes; nothing of how something is erased (`jobs.erase`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import SettingsError
from jobs.identity import keyed_hash

if TYPE_CHECKING:
    from jobs.contacts import ContactRecord
    from jobs.records import DayRecords
    from jobs.storage import Storage

Value = TypeVar("Value")

FOLDER = "_erasures"
FILE = "suppressed.json"
REFERENCES = ("initial_contact_id", "previous_contact_id", "next_contact_id")
"""Columns of a contact's row that name other contacts."""
ADDRESSES = ("source_uri", "partner_uri")
IDENTIFYING = frozenset({"contact_id", "customer_key", "started_at", *REFERENCES, *ADDRESSES})
"""The columns by which a row is known to be an erased person's, or to name one."""
_CONTACT, _CUSTOMER, _OBJECT, _KEY = "erased contact", "erased customer", "erased object", "key of suppressions"


@dataclass(frozen=True)
class Suppressed:
    """What one erasure suppresses: hashes, and of each customer until when.

    Attributes
    ----------
    key
        A hash by which the key is known again: under another one the list would suppress nobody, without a word.
    """

    key: str
    contacts: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    customers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        secret: bytes,
        *,
        contacts: Iterable[str] = (),
        customers: Iterable[str] = (),
        objects: Iterable[str] = (),
        at: datetime,
    ) -> Self:
        """Hash contact ids, customer keys (as in ``contacts.customer_key``) and addresses of recordings."""
        return cls(
            key=keyed_hash(secret, _KEY, ""),
            contacts=tuple(sorted(keyed_hash(secret, _CONTACT, each) for each in contacts)),
            objects=tuple(sorted(keyed_hash(secret, _OBJECT, each) for each in objects)),
            customers={keyed_hash(secret, _CUSTOMER, each): at.isoformat() for each in sorted(customers)},
        )

    def to_json(self) -> bytes:
        """Return the content of the erasure's file."""
        return json.dumps(asdict(self), indent=1).encode()


class Suppressions:
    """Everyone of whom everything was erased.

    Parameters
    ----------
    lists
        What each erasure suppresses.
    secret
        The key of the hashes; not needed where there are no lists.
    """

    def __init__(self, lists: Iterable[Suppressed] = (), secret: bytes = b"") -> None:
        lists = list(lists)
        self._secret = secret
        self._contacts = frozenset(each for one in lists for each in one.contacts)
        self._objects = frozenset(each for one in lists for each in one.objects)
        self._customers: dict[str, datetime] = {}
        for one in lists:
            for customer, until in one.customers.items():
                at = datetime.fromisoformat(until)
                self._customers[customer] = max(at, self._customers.get(customer, at))

    @classmethod
    def load(cls, warehouse: Storage, secret: Callable[[], bytes] | None) -> Self:
        """Read the lists of all erasures in a warehouse.

        Parameters
        ----------
        warehouse
            The warehouse's location.
        secret
            Gives the key of the hashes; asked for only where there are lists.

        Raises
        ------
        SettingsError
            Where there are lists, and no key or another one: who was erased could not be told.
        """
        paths = [file.path for file in warehouse.files(FOLDER) if file.path.endswith(f"/{FILE}")]
        if not paths:
            return cls()
        if secret is None:
            raise SettingsError(
                f"{warehouse.location} has erasures, and without the key of their hashes nobody can tell of whom; set "
                "CALLMOOD_IDENTITY_KEY_FILE"
            )
        key = secret()
        lists = [warehouse.read_json(path, lambda found: Suppressed(**found)) for path in paths]
        expected = keyed_hash(key, _KEY, "")
        if any(one.key != expected for one in lists):
            raise SettingsError(
                f"the erasures in {warehouse.location} were made with another key than CALLMOOD_IDENTITY_KEY_FILE has "
                "now, so nobody can tell of whom; put the former key back"
            )
        return cls(lists, key)

    def __bool__(self) -> bool:
        return bool(self._contacts or self._objects or self._customers)

    def has_contact(self, contact_id: str) -> bool:
        """Whether the contact was erased."""
        return bool(self._contacts) and keyed_hash(self._secret, _CONTACT, contact_id) in self._contacts

    def has_object(self, address: str) -> bool:
        """Whether the recording at this address was an erased contact's."""
        return bool(self._objects) and keyed_hash(self._secret, _OBJECT, address) in self._objects

    def has_customer(self, customer_key: str, started_at: datetime) -> bool:
        """Whether a contact of this customer's is from before an erasure of everything of the customer."""
        if not self._customers:
            return False
        until = self._customers.get(keyed_hash(self._secret, _CUSTOMER, customer_key))
        return until is not None and started_at < until

    # Rows

    def contacts_in(self, rows: pa.Table) -> set[str]:
        """The erased contacts that these rows are of; not those that they only name."""
        if not self or "contact_id" not in rows.column_names:
            return set()
        return set(rows.filter(self._are_of_erased(rows))["contact_id"].drop_null().to_pylist())

    def without(self, rows: pa.Table, erased: Collection[str] = ()) -> pa.Table:
        """Leave out the rows of erased contacts, and what other rows say of these.

        Parameters
        ----------
        rows
            Of any table.
        erased
            More contacts whose rows go: those that another table says are an erased customer's.
        """
        if not self:
            return rows
        gone = pa.array(sorted(erased), pa.string())
        doomed = self._are_of_erased(rows)
        if "contact_id" in rows.column_names:
            doomed = pc.or_(doomed, pc.is_in(rows["contact_id"], value_set=gone))
        kept = rows.filter(pc.invert(doomed))
        for name in (each for each in REFERENCES if each in kept.column_names):
            named = kept[name]
            hidden = pa.concat_arrays([gone, self._erased_of(named, self.has_contact)])
            place = kept.column_names.index(name)
            shown = pc.if_else(pc.is_in(named, value_set=hidden), pa.scalar(None, pa.string()), named)
            kept = kept.set_column(place, kept.schema.field(name), shown)
        return kept

    def touches(self, rows: pa.Table) -> bool:
        """Whether any row is of an erased contact, or names one."""
        return bool(self) and not self.without(rows).equals(rows)

    def _are_of_erased(self, rows: pa.Table) -> pa.ChunkedArray:
        names = set(rows.column_names)
        masks = [pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])]
        for name, is_erased in (("contact_id", self.has_contact), *((each, self.has_object) for each in ADDRESSES)):
            if name in names:
                masks.append(pc.is_in(rows[name], value_set=self._erased_of(rows[name], is_erased)))
        if self._customers and {"customer_key", "started_at"} <= names:
            pairs = zip(rows["customer_key"].to_pylist(), rows["started_at"].to_pylist(), strict=True)
            of_customers = [key is not None and self.has_customer(key, started_at) for key, started_at in pairs]
            masks.append(pa.chunked_array([pa.array(of_customers, pa.bool_())]))
        return reduce(pc.or_, masks)

    @staticmethod
    def _erased_of(values: pa.ChunkedArray, is_erased: Callable[[str], bool]) -> pa.Array:
        distinct = pc.unique(values).drop_null().to_pylist()
        return pa.array([each for each in distinct if is_erased(each)], pa.string())

    # Records

    def in_records(self, records: DayRecords) -> set[str]:
        """The erased contacts that records, events, surveys or topics are of."""
        if not self:
            return set()
        told = {*records.contacts, *records.left_out, *records.events, *records.surveys, *records.topics}
        return {contact_id for contact_id in told if self.has_contact(contact_id)} | self.of_customers(records.contacts)

    def of_customers(self, contacts: Mapping[str, ContactRecord]) -> set[str]:
        """The contacts that are erased customers', from before the erasure."""
        if not self._customers:
            return set()
        return {
            contact_id
            for contact_id, record in contacts.items()
            if record.customer is not None
            and self.has_customer(keyed_hash(self._secret, "customer", record.customer), record.started_at)
        }

    def of_records(self, records: DayRecords, erased: Set[str]) -> DayRecords:
        """The records without those of erased contacts (`in_records`), and without what the others say of these."""
        if not self:
            return records

        def others(found: Mapping[str, Value]) -> dict[str, Value]:
            return {contact_id: each for contact_id, each in found.items() if contact_id not in erased}

        def is_erased(contact_id: str | None) -> bool:
            return contact_id is not None and (contact_id in erased or self.has_contact(contact_id))

        contacts = {}
        for contact_id, record in others(records.contacts).items():
            hidden: dict[str, Any] = {name: None for name in REFERENCES if is_erased(getattr(record, name))}
            contacts[contact_id] = replace(record, **hidden) if hidden else record
        return replace(
            records,
            contacts=contacts,
            left_out=records.left_out - erased,
            events=others(records.events),
            surveys=others(records.surveys),
            topics=others(records.topics),
        )
