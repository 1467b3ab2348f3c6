"""Fields: what a value of each type may be, what is said of others, and where a field is looked for."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.fields import COUNT, FLAG, ID, MAPPING, MOMENT, NAME, NUMBER, SECONDS, Field, FieldReader, Type, WrongValue
from jobs.tabular import BadRow

BERLIN = ZoneInfo("Europe/Berlin")
EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)
SECONDS_OF_EIGHT = 1_795_161_600


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (ID, "c1", "c1"),
        (ID, " c1\n", "c1"),
        (ID, " ", None),
        (ID, "é" * 256, "é" * 256),
        (ID, 4711, "4711"),
        (NAME, "Billing", "Billing"),
        (NUMBER, 1, 1.0),
        (NUMBER, -0.5, -0.5),
        (NUMBER, " -1.5e3 ", -1500.0),
        (NUMBER, ".5", 0.5),
        (NUMBER, Decimal("1.5"), 1.5),
        (SECONDS, 0, 0.0),
        (SECONDS, "42", 42.0),
        (SECONDS, "0:01:02.5", 62.5),
        (SECONDS, "100:00:00", 360_000.0),
        (SECONDS, timedelta(minutes=2), 120.0),
        (COUNT, 2, 2),
        (COUNT, 2.0, 2),
        (COUNT, "2", 2),
        (FLAG, True, True),
        (FLAG, "Yes", True),
        (FLAG, " ON ", True),
        (FLAG, 1, True),
        (FLAG, "y", True),
        (FLAG, False, False),
        (FLAG, "FALSE", False),
        (FLAG, 0, False),
        (MAPPING, {"a": 1}, {"a": 1}),
        (MAPPING, [("a", "1"), ("b", None)], {"a": "1", "b": None}),
        (MAPPING, '{"a": 1}', {"a": 1}),
        (MOMENT, "2026-11-20T08:00:00Z", EIGHT),
        (MOMENT, "2026-11-20T08:00:00.250+00:00", EIGHT.replace(microsecond=250_000)),
        (MOMENT, "2026-11-20T13:30:00+05:30", EIGHT),
        (MOMENT, "20261120T080000Z", EIGHT),
        (MOMENT, " 2026-11-20 09:00 ", EIGHT),
        (MOMENT, SECONDS_OF_EIGHT, EIGHT),
        (MOMENT, SECONDS_OF_EIGHT * 1000, EIGHT),
        (MOMENT, str(SECONDS_OF_EIGHT), EIGHT),
        (MOMENT, f"{SECONDS_OF_EIGHT}.5", EIGHT.replace(microsecond=500_000)),
        (MOMENT, f"{SECONDS_OF_EIGHT}000", EIGHT),
        (MOMENT, "1760101212345", datetime(2025, 10, 10, 13, 0, 12, 345_000, tzinfo=UTC)),
        (MOMENT, EIGHT, EIGHT),
        (MOMENT, EIGHT.astimezone(timezone(timedelta(hours=-8))), EIGHT),
        (MOMENT, datetime(2026, 11, 20, 9), EIGHT),
        (MOMENT, pd.Timestamp("2026-11-20T09:00:00.000000001"), EIGHT),
        (MOMENT, pd.Timestamp("2026-11-20T03:00:00", tz="America/New_York"), EIGHT),
        # The night in which clocks are put back shows 02:30 twice: the first one is taken.
        (MOMENT, "2026-10-25T02:30:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        # The night in which they are put forward never shows it: it is what the clock before would show.
        (MOMENT, "2026-03-29T02:30:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (MOMENT, "2000-01-01T01:00:00", datetime(2000, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_value(type_: Type, value: Any, expected: object) -> None:
    found = type_.read(value, BERLIN)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("type_", "value", "found"),
    [
        (ID, "x" * 257, "text of 257 characters"),
        (ID, 1.5, "a number"),
        (ID, True, "true or false"),
        (ID, "a\ud800", "text with what is no character"),
        (ID, "a\0", "text with what is no character"),
        (NAME, 7, "a number"),
        (NAME, {}, "an object"),
        (NUMBER, "1,5", "text"),
        (NUMBER, "1_000", "text"),
        (NUMBER, "NaN", "text"),
        (NUMBER, math.nan, "a number"),
        (NUMBER, math.inf, "a number"),
        (NUMBER, "1e999", "text"),
        (NUMBER, 10**400, "a number"),
        (NUMBER, True, "true or false"),
        (NUMBER, None, "nothing"),
        (SECONDS, -1, "another number"),
        (SECONDS, 1e9, "another number"),
        (SECONDS, "1:02", "text"),
        (SECONDS, "0:61:00", "text"),
        (SECONDS, "9" * 5000 + ":00:00", "another number"),
        (SECONDS, timedelta(seconds=-1), "another number"),
        (COUNT, 1.5, "another number"),
        (COUNT, -1, "another number"),
        (COUNT, "two", "text"),
        (FLAG, "perhaps", "text"),
        (FLAG, 2, "a number"),
        (FLAG, [], "a list"),
        (MAPPING, "a", "text that is no JSON object"),
        (MAPPING, "[" * 100_000, "text that is no JSON object"),
        (MAPPING, "5", "a number"),
        (MAPPING, ["a"], "a list"),
        (MOMENT, "20 November", "text"),
        (MOMENT, "11/20/2026 08:00", "text"),
        (MOMENT, "2026-11-20", "a date without a time"),
        (MOMENT, "2026-W47-5", "a date without a time"),
        (MOMENT, date(2026, 11, 20), "a date"),
        (MOMENT, "2026-11-20T08:00:60Z", "text"),
        (MOMENT, True, "true or false"),
        (MOMENT, math.nan, "a number"),
        (MOMENT, 5, "a time out of the years 2000 to 2100"),
        (MOMENT, -1, "a time out of the years 2000 to 2100"),
        (MOMENT, 10**400, "a number"),
        (MOMENT, "20261120", "a time out of the years 2000 to 2100"),
        (MOMENT, "1999-12-31T23:59:59Z", "a time out of the years 2000 to 2100"),
        (MOMENT, "2000-01-01T00:30:00", "a time out of the years 2000 to 2100"),
        (MOMENT, "2101-01-01T00:00:00Z", "a time out of the years 2000 to 2100"),
        (MOMENT, "0001-01-01T00:00:00+05:00", "a time out of the years 2000 to 2100"),
        (MOMENT, "9999-12-31T23:59:59-05:00", "a time out of the years 2000 to 2100"),
        (MOMENT, "²", "text"),
    ],
)
def test_a_wrong_value(type_: Type, value: Any, found: str) -> None:
    with pytest.raises(WrongValue) as caught:
        type_.read(value, BERLIN)
    assert str(caught.value) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
VALUES = JSON | st.datetimes() | st.dates() | st.timedeltas() | st.decimals() | st.binary(max_size=9)
TYPES = (ID, NAME, NUMBER, SECONDS, COUNT, FLAG, MAPPING, MOMENT)


@given(type_=st.sampled_from(TYPES), value=VALUES.filter(lambda value: value is not None))
def test_every_value_is_one_or_is_said_to_be_none(type_: Type, value: Any) -> None:
    try:
        found = type_.read(value, BERLIN)
    except WrongValue as wrong:
        assert str(wrong)
    else:
        assert found is None or isinstance(found, str | float | int | datetime | dict)


FIELDS = (
    Field("id", ID, ("Id",), required=True),
    Field("name", NAME, ("A.Name", "Name")),
    Field("n", NUMBER, ("A.B.N",)),
    Field("unmapped", NAME, ()),
)


@pytest.mark.parametrize(
    ("row", "expected", "problems"),
    [
        ({"Id": "x"}, {"name": None, "n": None}, []),
        ({"Id": "x", "A": {"Name": "a", "B": {"N": 1}}, "Name": "b", "C": 1}, {"name": "a", "n": 1.0}, []),
        ({"Id": "x", "A": None, "Name": "b"}, {"name": "b", "n": None}, []),
        ({"Id": "x", "A": {"Name": ""}, "Name": "b"}, {"name": "b", "n": None}, []),
        ({"Id": "x", "A.Name": "a", "A.B.N": "2"}, {"name": "a", "n": 2.0}, []),
        (
            {"Id": "x", "A": {"Name": 7, "B": 5}},
            {},
            [
                "name (A.Name or Name): found a number, expected text",
                "n (A.B.N): found a number in place of an object, expected a number",
            ],
        ),
    ],
)
def test_where_a_field_is(row: dict[str, Any], expected: dict[str, Any], problems: list[str]) -> None:
    said: list[str] = []
    found = FieldReader(FIELDS, BERLIN).read(row, said.append)
    assert found == {"id": "x", "unmapped": None, **expected}
    assert said == problems


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "id (Id) is missing"),
        ({"Id": ""}, "id (Id) is missing"),
        ({"Id": " "}, "id (Id) is missing"),
        ({"Id": None}, "id (Id) is missing"),
        ({"Id": []}, "id (Id) is missing"),
        ({"Id": {"secret": 1}}, "id (Id): found an object, expected text of at most 256 characters, or a whole number"),
    ],
)
def test_a_row_without_a_required_field(row: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRow) as caught:
        FieldReader(FIELDS, BERLIN).read(row, lambda _: None)
    assert str(caught.value) == says


def test_the_columns_that_are_asked_for() -> None:
    columns = FieldReader(FIELDS, BERLIN).columns
    assert columns.wanted == ("Id", "A.Name", "Name", "A.B.N")
    assert columns.required == (("Id",),)
