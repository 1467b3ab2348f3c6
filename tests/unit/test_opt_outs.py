"""Opt-outs: who is on the list, and that a list which cannot be trusted stops the night."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.contacts import ContactRecord
from jobs.errors import OptOutsError, SettingsError, StorageAccessDenied
from jobs.identity import keyed_hash
from jobs.opt_outs import OptOuts
from jobs.settings import load_settings

SECRET = "k" * 32
KEY = keyed_hash(SECRET.encode(), "customer", "+15550100")
OTHER = keyed_hash(SECRET.encode(), "customer", "+15550199")


def loaded(tmp_path: Path, content: bytes | None = None, **values: Any) -> OptOuts:
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path))
    if content is not None:
        (tmp_path / "opt-outs.txt").write_bytes(content)
        values = {"opt_outs": str(tmp_path / "opt-outs.txt"), **values}
    values = {"contacts": str(tmp_path), "identity_key": SECRET, **values}
    return OptOuts.load(load_settings(recordings="s3://b", **places, **values))


def record(**values: Any) -> ContactRecord:
    return ContactRecord("c1", datetime(2026, 11, 20, tzinfo=UTC), **values)


@pytest.mark.parametrize(
    ("content", "found", "expected"),
    [
        (f"{KEY}\n", record(customer="+15550100"), True),
        (f"{OTHER}\n\n# asked on 20 November\n  {KEY}\r\n", record(customer="+15550100"), True),
        (f"\ufeff{KEY.upper()}", record(customer="+15550100"), True),
        (KEY, record(customer="5550100"), False),
        (KEY, record(customer=None), False),
        (KEY, record(agent="+15550100"), False),
        (KEY, record(opted_out=True), True),
        (KEY, None, False),
        ("", record(customer="+15550100"), False),
        ("# nobody yet\n", record(customer="+15550100"), False),
        (None, record(customer="+15550100"), False),
        (None, record(customer="+15550100", opted_out=True), True),
        (None, None, False),
    ],
)
def test_who_opted_out(tmp_path: Path, content: str | None, found: ContactRecord | None, expected: bool) -> None:
    assert loaded(tmp_path, None if content is None else content.encode()).holds(found) is expected


def test_a_published_key_is_enough_to_be_found(tmp_path: Path) -> None:
    opt_outs = loaded(tmp_path, KEY.encode())
    assert [opt_outs.lists(key) for key in (KEY, OTHER, None)] == [True, False, False]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"{KEY}\n+15550100\n".encode(), r"line 2 of the list .* found 9 bytes, expected 32 hexadecimal digits"),
        (f"{KEY} # why\n".encode(), "line 1 of the list .* found 38 bytes"),
        (KEY[:31].encode(), "line 1 .* found 31 bytes"),
        (f"{KEY}{KEY}".encode(), "line 1 .* found 64 bytes"),
        (f"{KEY},{OTHER}".encode(), "line 1"),
        (KEY.encode("utf-16"), "line 1"),
        (b"\xff" * 32, "line 1 .* found 32 bytes"),
        (b"\0", "line 1"),
        (b"# fine\n" + b"a" * 10_000_000, "line 2"),
    ],
)
def test_a_list_with_a_wrong_line_stops_the_night(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(OptOutsError, match=says) as caught:
        loaded(tmp_path, content)
    assert caught.value.permanent
    assert "python -m jobs.identity" in str(caught.value)
    assert "+1555" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("place", ["{folder}/none.txt", "{folder}", "{folder}/file/below", "s3://bucket-alone", "/"])
def test_a_list_that_is_not_there_stops_the_night(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OptOutsError, match=r"there is no list of opt-outs at .*nobody is scored until it is there"):
        loaded(tmp_path, opt_outs=place.format(folder=tmp_path))


def test_a_list_that_may_not_be_read_stops_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unhindered = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "opt-outs.txt" and "r" in arguments[0]:
            raise PermissionError(13, "Permission denied")
        return unhindered(path, *arguments, **named)

    (tmp_path / "opt-outs.txt").write_bytes(b"")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageAccessDenied, match="cannot be read"):
        loaded(tmp_path, opt_outs=str(tmp_path / "opt-outs.txt"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"contacts": None}, "need contact records"),
        ({"contacts": None, "opt_outs": None, "opt_out_attribute": "opt"}, "need contact records"),
        ({"contact_columns": {"contact_id": "i", "started_at": "s"}}, "name its column as customer"),
        ({"identity_key": None}, "no key for the hashes"),
        ({"opt_outs": "gs://bucket/list"}, "expected s3://bucket/prefix or the path of a folder"),
    ],
)
def test_settings_with_which_nobody_could_be_found(tmp_path: Path, values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        loaded(tmp_path, KEY.encode(), **values)


def test_without_a_list_no_key_is_needed(tmp_path: Path) -> None:
    assert not loaded(tmp_path, identity_key=None, contacts=None).holds(record(customer="x"))


@given(content=st.binary(max_size=100) | st.text(f"{KEY}\n#", max_size=100).map(str.encode))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_list_raises_anything_but_our_error(tmp_path: Path, content: bytes) -> None:
    try:
        loaded(tmp_path, content)
    except OptOutsError as error:
        assert error.permanent
