"""Keys of recordings, the UTC dates of a local day, and keyed hashes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobs.errors import SettingsError
from jobs.identity import keyed_hash
from jobs.layouts import AMAZON_CONNECT, RegexLayout, local_date, open_layout, utc_dates

FOLDER = "CallRecordings/2026/11/20/"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"{FOLDER}3ea05187-9498_20261120T08:00_UTC.wav", ("3ea05187-9498", datetime(2026, 11, 20, 8, 0, tzinfo=UTC))),
        (
            f"{FOLDER}3ea05187-9498_20261120T08%3A00_UTC.wav",
            ("3ea05187-9498", datetime(2026, 11, 20, 8, 0, tzinfo=UTC)),
        ),
        (f"some/prefix/{FOLDER}a_20261120T23:59_UTC.wav", ("a", datetime(2026, 11, 20, 23, 59, tzinfo=UTC))),
        (f"{FOLDER}a_20261120T08:00_UTC.mp3", ("a", datetime(2026, 11, 20, 8, 0, tzinfo=UTC))),
        (f"{FOLDER}a_20261120T08:00_UTC.json", None),
        (f"{FOLDER}a_20261120T25:00_UTC.wav", None),
        (f"{FOLDER}a_20261320T08:00_UTC.wav", None),
        (f"{FOLDER}a_00010101T00:00_UTC.wav", None),
        (f"{FOLDER}a_99991231T23:59_UTC.wav", None),
        (f"{FOLDER}_20261120T08:00_UTC.wav", None),
        (f"{FOLDER}../../etc_20261120T08:00_UTC.wav", None),
        ("CallRecordings/a_20261120T08:00_UTC.wav", None),
        ("", None),
    ],
)
def test_amazon_connect_keys(key: str, expected: tuple[str, datetime] | None) -> None:
    found = AMAZON_CONNECT.parse(key)
    assert (None if found is None else (found.contact_id, found.started_at)) == expected


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
def test_keys_with_a_zone_and_with_groups_that_may_be_missing(key: str, expected: tuple[str, str] | None) -> None:
    layout = RegexLayout(
        "zoned", r"^(?P<time>\d{8}T\d{4}(?:Z|[+-]\d{4}))?(?:-(?P<contact_id>\w*))?\.wav$", "%Y%m%dT%H%M%z"
    )
    found = layout.parse(key)
    assert (None if found is None else (found.contact_id, found.started_at.isoformat())) == expected


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


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("first", [date(2026, 3, 7), date(2026, 3, 28), date(2026, 10, 24), date(2026, 10, 31)])
def test_every_moment_is_on_one_local_day_and_its_prefix_is_listed(zone: str, first: date) -> None:
    moments = [datetime(first.year, first.month, first.day, hour, 30, tzinfo=UTC) for hour in range(24)]
    for moment in moments:
        day = local_date(moment, ZoneInfo(zone))
        assert moment.date() in utc_dates(day, ZoneInfo(zone))


def test_a_layout_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "layout.yaml"
    file.write_text(
        "name: acme\npattern: '(?P<time>\\d{14})-(?P<contact_id>\\w+)\\.wav$'\ntime_format: '%Y%m%d%H%M%S'\n"
        "prefix: 'calls/%Y-%m-%d/'\n"
    )
    layout = open_layout(str(file))
    found = layout.parse("calls/2026-11-20/20261120081530-abc.wav")
    assert found is not None
    assert (found.contact_id, found.started_at.isoformat()) == ("abc", "2026-11-20T08:15:30+00:00")
    assert layout.prefix(date(2026, 11, 20)) == "calls/2026-11-20/"


@pytest.mark.parametrize(
    "content",
    ["[]", "name: x", "name: x\npattern: '('\ntime_format: '%Y'", "name: x\npattern: 'a'\ntime_format: '%Y'", "\tx: ["],
)
def test_a_wrong_layout_file_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "layout.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        open_layout(str(file))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["amazon-conect", "missing.yaml", ""])
def test_an_unknown_layout_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        open_layout(name)


def test_keyed_hashes() -> None:
    key = b"0123456789abcdef"
    assert keyed_hash(key, "customer", "+1555") == keyed_hash(key, "customer", "+1555")
    others = [(key, "agent", "+1555"), (key, "customer", "+1556"), (b"another key of 16", "customer", "+1555")]
    assert all(keyed_hash(*other) != keyed_hash(key, "customer", "+1555") for other in others)
    assert len(keyed_hash(key, "customer", "+1555")) == 32
