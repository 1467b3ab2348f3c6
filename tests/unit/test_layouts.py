"""Layouts: what keys say, what a description may say, which prefixes are listed, and that docs/layouts.md is right."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from jobs import layouts
from jobs.errors import SettingsError
from jobs.layouts import Layouts, RecordingKey, is_audio, local_date, read_layouts, touched_dates, utc_dates
from jobs.settings import ROOT, load_settings

FOLDER = "CallRecordings/2026/11/20/"
UTC_ZONE = ZoneInfo("UTC")
TIMED = {
    "name": "timed",
    "pattern": r"(?P<time>\d{8}T\d{4})-(?P<contact_id>\w+)",
    "time_format": "%Y%m%dT%H%M",
}
IDS = {"name": "ids", "pattern": r"(?P<contact_id>\w+)\.wav$"}
PAIRED = {
    "kind": "paired-mono",
    "name": "pairs",
    "pattern": r"(?P<contact_id>\w+)-(?P<role>a|c)\.wav$",
    "roles": {"a": "agent", "c": "customer"},
}


def opened(*entries: str | dict[str, Any], zone: ZoneInfo = UTC_ZONE, recordings: str = "s3://b") -> Layouts:
    return read_layouts(entries, zone, recordings)


def said(found: RecordingKey | None) -> tuple[str, str | None, str | None, str | None] | None:
    if found is None:
        return None
    return found.contact_id, found.started_at and found.started_at.isoformat(), found.agent, found.role


# Keys


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"{FOLDER}3ea05187-9498_20261120T08:00_UTC.wav", ("3ea05187-9498", "2026-11-20T08:00:00+00:00")),
        (f"{FOLDER}3ea05187-9498_20261120T08%3A00_UTC.wav", ("3ea05187-9498", "2026-11-20T08:00:00+00:00")),
        (f"some/prefix/{FOLDER}a_20261120T23:59_UTC.wav", ("a", "2026-11-20T23:59:00+00:00")),
        (f"{FOLDER}a_20261120T08:00_UTC.mp3", ("a", "2026-11-20T08:00:00+00:00")),
        (f"{FOLDER}a_20261120T08:00_UTC.json", None),
        (f"{FOLDER}a_20261120T25:00_UTC.wav", None),
        (f"{FOLDER}a_20261320T08:00_UTC.wav", None),
        (f"{FOLDER}a_00010101T00:00_UTC.wav", None),
        (f"{FOLDER}a_99991231T23:59_UTC.wav", None),
        (f"{FOLDER}_20261120T08:00_UTC.wav", None),
        (f"{FOLDER}../../etc_20261120T08:00_UTC.wav", None),
        ("CallRecordings/a_20261120T08:00_UTC.wav", None),
        ("x" * 1000 + f"/{FOLDER}a_20261120T08:00_UTC.wav", None),
        ("", None),
    ],
)
def test_amazon_connect_keys(key: str, expected: tuple[str, str] | None) -> None:
    found = opened("amazon-connect").parse(key)
    assert said(found) == (None if expected is None else (*expected, None, None))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("20261120T0815+0100-abc.wav", ("abc", "2026-11-20T07:15:00+00:00")),
        ("20261120T2315-0800-abc.wav", ("abc", "2026-11-21T07:15:00+00:00")),
        ("20261120T0815Z-abc.wav", ("abc", "2026-11-20T08:15:00+00:00")),
        ("00010101T0000+0500-abc.wav", None),
        ("99991231T2359-0500-abc.wav", None),
        ("20261120T0815Z-.wav", None),
        ("20261120T0815Z.wav", None),
        ("-abc.wav", None),
        (".wav", None),
    ],
)
def test_keys_with_an_offset_and_with_groups_that_may_be_missing(key: str, expected: tuple[str, str] | None) -> None:
    pattern = r"^(?P<time>\d{8}T\d{4}(?:Z|[+-]\d{4}))?(?:-(?P<contact_id>\w*))?\.wav$"
    layout = opened({"name": "zoned", "pattern": pattern, "time_format": "%Y%m%dT%H%M%z"})
    assert said(layout.parse(key)) == (None if expected is None else (*expected, None, None))


@pytest.mark.parametrize(
    ("zone", "text", "expected"),
    [
        ("UTC", "20261120T0815", "2026-11-20T08:15:00+00:00"),
        ("America/Los_Angeles", "20261120T1815", "2026-11-21T02:15:00+00:00"),
        ("Asia/Kolkata", "20261120T0015", "2026-11-19T18:45:00+00:00"),
        # Clocks are set back at 3:00 to 2:00: of the two moments the first.
        ("Europe/Berlin", "20261025T0230", "2026-10-25T00:30:00+00:00"),
        ("Europe/Berlin", "20261025T0300", "2026-10-25T02:00:00+00:00"),
        # Clocks are set forward at 2:00 to 3:00: as long after the last moment that there was.
        ("Europe/Berlin", "20260329T0230", "2026-03-29T01:30:00+00:00"),
        ("Europe/Berlin", "20260329T0330", "2026-03-29T01:30:00+00:00"),
    ],
)
def test_times_in_local_time(zone: str, text: str, expected: str) -> None:
    found = opened({**TIMED, "time_zone": zone}).parse(f"{text}-c.wav")
    assert said(found) == ("c", expected, None, None)


@pytest.mark.parametrize(
    ("kind", "key", "expected"),
    [
        ("regex", "c1-agent.wav", ("c1", None, None, "agent")),
        ("regex", "c1-caller.wav", ("c1", None, None, "customer")),
        ("regex", "c1.wav", ("c1", None, None, None)),
        ("regex", "c1-boss.wav", None),
        ("paired-mono", "c1-agent.wav", ("c1", None, None, "agent")),
        ("paired-mono", "c1.wav", None),
        ("paired-mono", "c1-boss.wav", None),
    ],
)
def test_a_key_that_says_whose_side_it_is(kind: str, key: str, expected: tuple[str | None, ...] | None) -> None:
    layout = opened(
        {
            "kind": kind,
            "name": "sides",
            "pattern": r"^(?P<contact_id>\w+)(?:-(?P<role>\w+))?\.wav$",
            "roles": {"agent": "agent", "caller": "customer"},
        }
    )
    assert said(layout.parse(key)) == expected


@pytest.mark.parametrize(
    ("description", "key", "expected"),
    [
        (TIMED, "20261120T0815-c.wav", ("customer", "agent")),
        ({**TIMED, "channels": ["agent", "none", "customer"]}, "20261120T0815-c.wav", ("agent", "none", "customer")),
        ({**TIMED, "channels": ["mixed"]}, "20261120T0815-c.wav", ("mixed",)),
        ({**PAIRED, "kind": "regex"}, "x-a.wav", ("agent",)),
        (PAIRED, "x-c.wav", ("customer",)),
    ],
)
def test_whose_each_channel_is(description: dict[str, Any], key: str, expected: tuple[str, ...]) -> None:
    match = opened(description).match(key)
    assert match is not None
    layout, found = match
    assert layout.channel_roles(found) == expected


def test_the_first_layout_that_reads_a_key_wins() -> None:
    broad = {"name": "broad", "pattern": r"(?P<contact_id>[^/]+)\.wav$"}
    key = f"{FOLDER}a_20261120T08:00_UTC.wav"
    for entries, winner in ((("amazon-connect", broad), "amazon-connect"), ((broad, "amazon-connect"), "broad")):
        match = opened(*entries).match(key)
        assert match is not None
        assert match[0].name == winner


@pytest.mark.parametrize(
    "location",
    [
        "s3://b/calls/20261120T0815-abc.wav",
        "b/calls/20261120T0815-abc.wav",
        "calls/20261120T0815-abc.wav",
        "20261120T0815-abc.wav",
    ],
)
def test_where_a_record_says_its_recording_is(location: str) -> None:
    anchored = {**TIMED, "pattern": r"^(?:calls/)?(?P<time>\d{8}T\d{4})-(?P<contact_id>\w+)"}
    found = opened(anchored, recordings="s3://b/calls").parse(location)
    assert said(found) == ("abc", "2026-11-20T08:15:00+00:00", None, None)


def test_a_long_key_does_not_keep_a_bad_expression_busy() -> None:
    bad = {"name": "bad", "pattern": r"^(?P<contact_id>\w+)(?:\d+)*-end$"}
    begun = time.monotonic()
    assert opened(bad).parse("1" * 1_000_000) is None
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.wav", True),
        ("folder/a.b.MP3", True),
        ("a.Opus", True),
        ("a.gsm", True),
        ("a.vox", True),
        ("a.wav.json", False),
        ("a.json", False),
        ("wav", False),
        ("a.wav/", False),
        ("folder.wav/a", False),
        ("_SUCCESS", False),
        ("", False),
    ],
)
def test_what_looks_like_audio(key: str, expected: bool) -> None:
    assert is_audio(key) is expected


# Days and prefixes


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("UTC", "2026-11-20", ["2026-11-20"]),
        ("America/Los_Angeles", "2026-11-20", ["2026-11-20", "2026-11-21"]),
        ("Europe/Berlin", "2026-11-20", ["2026-11-19", "2026-11-20"]),
        ("Asia/Kolkata", "2026-11-20", ["2026-11-19", "2026-11-20"]),
        ("Pacific/Kiritimati", "2026-11-20", ["2026-11-19", "2026-11-20"]),
        ("Europe/Berlin", "2026-03-29", ["2026-03-28", "2026-03-29"]),  # 23 hours
        ("Europe/Berlin", "2026-10-25", ["2026-10-24", "2026-10-25"]),  # 25 hours
        ("Europe/London", "2026-03-29", ["2026-03-29"]),
        ("Europe/London", "2026-10-25", ["2026-10-24", "2026-10-25"]),
    ],
)
def test_utc_dates_of_a_local_day(zone: str, day: str, expected: list[str]) -> None:
    assert [found.isoformat() for found in utc_dates(date.fromisoformat(day), ZoneInfo(zone))] == expected


@pytest.mark.parametrize("day", [date.min, date(1998, 12, 31), date(2102, 1, 1), date.max])
def test_a_day_that_no_call_can_be_of(day: date) -> None:
    with pytest.raises(SettingsError, match="call date"):
        touched_dates(day, ZoneInfo("Asia/Kolkata"), UTC)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("first", [date(2026, 3, 7), date(2026, 3, 28), date(2026, 10, 24), date(2026, 10, 31)])
def test_every_moment_is_on_one_local_day_and_its_utc_date_is_touched(zone: str, first: date) -> None:
    moments = [datetime(first.year, first.month, first.day, hour, 30, tzinfo=UTC) for hour in range(24)]
    for moment in moments:
        day = local_date(moment, ZoneInfo(zone))
        assert moment.date() in utc_dates(day, ZoneInfo(zone))


def dated(name: str, prefix: str, **fields: Any) -> dict[str, Any]:
    return {**TIMED, "name": name, "prefix": prefix, **fields}


DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("entries", "zone", "expected"),
    [
        (["amazon-connect"], "UTC", {"CallRecordings/2026/11/20/": "2026-11-20"}),
        (
            ["amazon-connect"],
            "Europe/Berlin",
            {"CallRecordings/2026/11/19/": "2026-11-19", "CallRecordings/2026/11/20/": "2026-11-20"},
        ),
        ([dated("a", "c/%Y%m%d/", time_zone="Europe/Berlin")], "Europe/Berlin", {"c/20261120/": "2026-11-20"}),
        (
            [dated("a", "c/%Y%m%d/", time_zone="Asia/Kolkata")],
            "UTC",
            {"c/20261120/": "2026-11-20", "c/20261121/": "2026-11-21"},
        ),
        (
            [dated("a", "c/%Y%m%d/", prefix_time_zone="Asia/Kolkata")],
            "UTC",
            {"c/20261120/": "2026-11-20", "c/20261121/": "2026-11-21"},
        ),
        (
            [dated("a", "c/%Y%m%d/", prefix_days_after=1)],
            "UTC",
            {"c/20261120/": "2026-11-20", "c/20261121/": "2026-11-21"},
        ),
        # Without a time nothing but the next date's prefix shows what an evening's contacts left there.
        (
            [{**IDS, "prefix": "c/%Y%m%d/"}],
            "UTC",
            {"c/20261120/": "2026-11-20", "c/20261121/": "2026-11-21"},
        ),
        ([{**IDS, "prefix": "c/%Y%m%d/", "prefix_days_after": 0}], "UTC", {"c/20261120/": "2026-11-20"}),
        # The farthest that zones are apart: the date of the call date itself is listed, too.
        (
            [dated("a", "c/%Y%m%d/", time_zone="Pacific/Kiritimati")],
            "Pacific/Pago_Pago",
            {"c/20261120/": "2026-11-20", "c/20261121/": "2026-11-21", "c/20261122/": "2026-11-22"},
        ),
        # Prefixes that are of no one date.
        ([TIMED], "UTC", {"": None}),
        ([dated("a", "calls/")], "UTC", {"calls/": None}),
        ([dated("a", "calls/%Y/%m/")], "UTC", {"calls/2026/11/": None}),
        ([dated("a", "calls/%d/")], "UTC", {"calls/20/": None}),
        ([dated("a", "calls/%G-W%V/")], "UTC", {"calls/2026-W47/": None}),
        ([dated("a", "calls/%Y-%-m-%-d/")], "UTC", {"calls/2026-11-20/": "2026-11-20"}),
        (
            [dated("a", "calls/%Y-%-m-%-d")],
            "UTC",
            {"calls/2026-11-20": None},
        ),  # the 2nd begins the 20th
        ([dated("a", "calls/%Y/%j/100%%/")], "UTC", {"calls/2026/324/100%/": "2026-11-20"}),
        # Several layouts: each prefix once, and none below another.
        ([dated("a", "x/%Y/%m/%d/"), dated("b", "x/%Y/%m/%d/")], "UTC", {"x/2026/11/20/": "2026-11-20"}),
        ([dated("a", "x/%Y/%m/%d/"), dated("b", "x/%Y/%m/%d/east/")], "UTC", {"x/2026/11/20/": "2026-11-20"}),
        ([dated("a", "x/%Y/%m/%d/"), dated("b", "x/")], "UTC", {"x/": None}),
        (["amazon-connect", TIMED], "UTC", {"": None}),
        (
            ["amazon-connect", dated("a", "x/%Y/%m/%d/")],
            "UTC",
            {"CallRecordings/2026/11/20/": "2026-11-20", "x/2026/11/20/": "2026-11-20"},
        ),
    ],
)
def test_prefixes_of_a_day(entries: list[str | dict[str, Any]], zone: str, expected: dict[str, str | None]) -> None:
    found = opened(*entries, zone=ZoneInfo(zone)).prefixes(DAY)
    assert {prefix: day and day.isoformat() for prefix, day in found.items()} == expected


# Descriptions


def test_layouts_come_from_names_files_and_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, several = tmp_path / "one.yaml", tmp_path / "several.yml"
    one.write_text(yaml.safe_dump({**TIMED, "name": "one"}))
    several.write_text(yaml.safe_dump([{**TIMED, "name": "two"}, PAIRED]))
    places = dict.fromkeys(("staging", "warehouse", "reports"), str(tmp_path))
    monkeypatch.setenv("CALLMOOD_LAYOUTS", f"amazon-connect, {one},{several}")
    found = layouts.open_layouts(load_settings(recordings="s3://b", **places))
    assert [layout.name for layout in found.layouts] == ["amazon-connect", "one", "two", "pairs"]

    monkeypatch.delenv("CALLMOOD_LAYOUTS")
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"layouts": [str(one), PAIRED]}))
    found = layouts.open_layouts(load_settings(recordings="s3://b", settings_file=str(file), **places))
    assert [layout.name for layout in found.layouts] == ["one", "pairs"]


def test_a_relative_path_is_below_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "ROOT", tmp_path)
    (tmp_path / "acme.yaml").write_text(yaml.safe_dump(TIMED))
    assert opened("acme.yaml").layouts[0].name == "timed"


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in TIMED.items() if name != field}


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ([], "expected the fields"),
        (7, "expected the fields"),
        (None, "expected the fields"),
        ({"kind": "amazon"}, "kind is 'amazon'; expected one of amazon-connect, regex, paired-mono"),
        ({"kind": ["regex"]}, "kind is"),
        ({}, "name is missing; pattern is missing"),
        (without("name"), "name is missing"),
        ({**TIMED, "name": ""}, "name"),
        ({**TIMED, "name": "two\nlines"}, "name"),
        ({**TIMED, "name": 7}, "name"),
        (
            {**TIMED, "colour": "red"},
            "found colour, which a regex layout does not have; expected of kind, name, pattern",
        ),
        ({**TIMED, "colour": "red", "size": 1}, "found colour, size, which a regex layout does not have"),
        ({**TIMED, 7: "red"}, "found 7, which a regex"),
        ({**TIMED, "pattern": "("}, "no regular expression"),
        ({**TIMED, "pattern": ["a"]}, "pattern"),
        ({**TIMED, "pattern": r"(?P<time>\d+)"}, "contact_id"),
        ({**TIMED, "pattern": r"(?P<tiem>\d+)(?P<contact_id>\w+)"}, "tiem"),
        (without("time_format"), "time_format go together"),
        ({**TIMED, "pattern": r"(?P<contact_id>\w+)"}, "time_format go together"),
        ({**TIMED, "time_format": "%Y%Q"}, "time_format"),
        ({**TIMED, "time_format": "%Y%m%d%Y"}, "time_format"),
        ({**TIMED, "time_format": "%H:%M"}, "year, month and day"),
        ({**TIMED, "time_zone": "Berlin"}, "no IANA time zone"),
        ({**TIMED, "time_zone": 1}, "no IANA time zone"),
        ({**TIMED, "prefix_time_zone": "CET/Nowhere"}, "no IANA time zone"),
        ({**TIMED, "prefix": "calls/%H/"}, "'%H'"),
        ({**TIMED, "prefix": "calls/%Q/"}, "'%Q'"),
        ({**TIMED, "prefix": "calls/%"}, "'%'"),
        ({**TIMED, "prefix_days_after": -1}, "prefix_days_after"),
        ({**TIMED, "prefix_days_after": True}, "prefix_days_after"),
        ({**TIMED, "channels": []}, "channels"),
        ({**TIMED, "channels": ["none", "none"]}, "channels"),
        (
            {**TIMED, "channels": ["customer", "boss"]},
            "channels.1 is 'boss'; expected 'customer', 'agent', 'mixed' or 'none'",
        ),
        ({**TIMED, "prefix": 5}, "prefix is 5; expected text"),
        ({**TIMED, "channels": ["customer", "mixed"]}, "channels"),
        ({**TIMED, "channels": "customer"}, "channels"),
        ({**TIMED, "roles": {"a": "agent"}}, "roles go together"),
        ({**PAIRED, "roles": {}}, "roles go together"),
        ({**PAIRED, "roles": {"a": "agent"}}, "the customer and what the agent"),
        ({**PAIRED, "roles": {"a": "agent", "c": "customer", "m": "mixed"}}, "the customer and what the agent"),
        ({**PAIRED, "roles": {"a": "boss"}}, "roles.a is 'boss'; expected 'customer', 'agent' or 'mixed'"),
        ({**PAIRED, "roles": {True: "agent"}}, "roles: True is a key; put it into quotes"),
        ({**PAIRED, "pattern": r"(?P<contact_id>\w+)"}, "roles go together"),
        ({**PAIRED, "channels": ["customer", "agent"]}, "found channels, which a paired-mono layout does not have"),
        ({"kind": "paired-mono", "name": "p", "pattern": r"(?P<contact_id>\w+)"}, "roles is missing"),
        ({"kind": "amazon-connect", "channels": ["left"]}, "channels"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(tmp_path: Path, description: Any, says: str) -> None:
    file = tmp_path / "layout.yaml"
    file.write_text(yaml.safe_dump([description]))
    with pytest.raises(SettingsError, match=re.escape(says)) as refused:
        opened(str(file))
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("layout file layout.yaml: ")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([], "CALLMOOD_LAYOUTS is empty"),
        (["amazon-conect"], "layout 'amazon-conect' is unknown; expected amazon-connect, or a file (.yaml)"),
        (["layout.txt"], "layout 'layout.txt' is unknown; expected amazon-connect, or a file (.yaml)"),
        (["regex"], "layout regex: name is missing; pattern is missing"),
        (["/none/missing.yaml"], "layout file /none/missing.yaml is not there; expected the path of a YAML file"),
        (["amazon-connect", "amazon-connect"], "more than one layout of the name amazon-connect"),
        ([TIMED, {**PAIRED, "name": "timed"}], "more than one layout of the name timed"),
    ],
)
def test_a_wrong_list_is_refused(entries: list[str | dict[str, Any]], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        opened(*entries)


@pytest.mark.parametrize("content", [b"\tx: [", b"pattern: %Y", b"\xff\xfe\x00", b"a: 2026-13-45", b"[" * 5000])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "layout.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"layout\.yaml is no YAML"):
        opened(str(file))


# The page


def examples() -> Iterator[tuple[str, str, str]]:
    """The page's YAML blocks with the title above each and the lines of the block below it."""
    page = (ROOT / "docs" / "layouts.md").read_text()
    for section in re.split(r"^##+ ", page, flags=re.MULTILINE)[1:]:
        described = re.search(r"```yaml\n(.*?)```\n```text\n(.*?)```", section, re.DOTALL)
        if described:
            yield section.partition("\n")[0], described[1], described[2]


@pytest.fixture
def _kind_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind that the page adds, for one test."""
    page = (ROOT / "docs" / "layouts.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setattr(layouts, "KINDS", dict(layouts.KINDS))
    exec(compile(code, "docs/layouts.md", "exec"), {"__name__": "of_the_page"})  # noqa: S102 - our own page


@pytest.mark.usefixtures("_kind_of_the_page")
@pytest.mark.parametrize(("title", "described", "lines"), examples(), ids=[title for title, _, _ in examples()])
def test_the_examples_of_the_page_read_their_keys(tmp_path: Path, title: str, described: str, lines: str) -> None:
    file = tmp_path / "layout.yaml"
    file.write_text(described)
    found = opened(str(file))
    for line in lines.splitlines():
        key, _, expected = line.partition(" -> ")
        contact_id, started_at, agent, role = expected.split(", ")
        says = found.parse(key)
        assert says is not None, key
        start = "-" if says.started_at is None else says.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert (says.contact_id, start, says.agent or "-", says.role or "-") == (contact_id, started_at, agent, role)
        _check_listed(found, key, says)


def _check_listed(found: Layouts, key: str, says: RecordingKey) -> None:
    """The prefixes of the call's day hold the key."""
    moment = says.started_at or datetime(2026, 11, 20, 12, tzinfo=UTC)
    for zone in ("UTC", "America/Los_Angeles", "Asia/Kolkata"):
        in_zone = Layouts(found.layouts, ZoneInfo(zone), found.recordings)
        assert any(key.startswith(prefix) for prefix in in_zone.prefixes(local_date(moment, ZoneInfo(zone)))), zone


def test_the_page_has_its_examples_and_every_field() -> None:
    page = (ROOT / "docs" / "layouts.md").read_text()
    assert len(list(examples())) == 9
    fields: Mapping[str, Any] = {
        name: field for kind in layouts.KINDS.values() for name, field in kind.model_fields.items()
    }
    missing = [name for name in fields if f"\n| `{name}` |" not in page]
    assert missing == []
