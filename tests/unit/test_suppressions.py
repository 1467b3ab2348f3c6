"""Suppressions: what the list tells and does not tell, whom it finds in rows, and what keys have to do with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.errors import SettingsError
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed, Suppressions

SECRET = b"k" * 32
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLIER, LATER = datetime(2026, 11, 20, 11, tzinfo=UTC), datetime(2026, 11, 20, 13, tzinfo=UTC)
LISTS = (
    Suppressed.of(SECRET, contacts=["c1", "c2"], objects=["s3://r/odd.wav"], at=AT),
    Suppressed.of(SECRET, customers=["ab" * 16], at=AT),
)
SUPPRESSIONS = Suppressions(LISTS, SECRET)


def test_the_list_names_nobody_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for number, one in enumerate(LISTS):
        storage.write(f"_erasures/{number}/suppressed.json", one.to_json())
    storage.write("_erasures/0/certificate.json", b"{}")
    for file in tmp_path.rglob("*.json"):
        assert not {"c1", "c2", "odd.wav", "ab" * 16} & set(file.read_text().replace('"', " ").split())
    found = Suppressions.load(storage, lambda: SECRET)
    assert (found.has_contact("c1"), found.has_contact("c3"), found.has_object("s3://r/odd.wav")) == (True, False, True)
    assert found.has_customer("ab" * 16, EARLIER)
    assert not found.has_customer("ab" * 16, LATER)  # who calls again is a customer like any other


def test_the_key_is_needed_where_there_is_a_list_and_only_there(tmp_path: Path) -> None:
    def no_key() -> bytes:
        raise SettingsError("no key")

    storage = LocalStorage(tmp_path)
    assert not Suppressions.load(storage, no_key)
    storage.write("_erasures/0/suppressed.json", LISTS[0].to_json())
    for secret, says in ((no_key, "no key"), (None, "nobody can tell of whom"), (lambda: b"x" * 32, "another key")):
        with pytest.raises(SettingsError, match=says):
            Suppressions.load(storage, secret)


def test_whose_rows_go_and_what_is_said_of_them_in_others() -> None:
    rows = pa.table(
        {
            "contact_id": ["c1", None, "c3", "c4", "c5", "c6"],
            "previous_contact_id": [None, None, "c2", "c6", None, "c3"],
            "customer_key": [None, None, None, "ab" * 16, "ab" * 16, "cd" * 16],
            "started_at": [EARLIER, EARLIER, EARLIER, EARLIER, LATER, EARLIER],
            "source_uri": ["s3://r/1", "s3://r/odd.wav", None, None, None, None],
        }
    )
    assert SUPPRESSIONS.contacts_in(rows) == {"c1", "c4"}
    kept = SUPPRESSIONS.without(rows)
    assert kept.select(["contact_id", "previous_contact_id"]).to_pylist() == [
        {"contact_id": "c3", "previous_contact_id": None},
        {"contact_id": "c5", "previous_contact_id": None},
        {"contact_id": "c6", "previous_contact_id": "c3"},
    ]
    assert kept.schema == rows.schema
    # What another table says is an erased customer's contact.
    assert SUPPRESSIONS.without(pa.table({"contact_id": ["c4", "c5"]}), {"c4"})["contact_id"].to_pylist() == ["c5"]
    assert SUPPRESSIONS.without(rows, {"c3"})["contact_id"].to_pylist() == ["c5", "c6"]
    assert SUPPRESSIONS.without(rows, {"c3"})["previous_contact_id"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"contact_id": ["c1"]}, True),
        ({"contact_id": ["c3"], "next_contact_id": ["c2"]}, True),
        ({"contact_id": ["c3"], "next_contact_id": ["c4"]}, False),
        ({"contact_id": pa.array([], pa.string())}, False),
        ({"queue": ["c1"]}, False),
    ],
)
def test_whether_rows_touch_anyone(rows: dict[str, pa.Array], expected: bool) -> None:
    assert SUPPRESSIONS.touches(pa.table(rows)) is expected
    assert not Suppressions().touches(pa.table(rows))
