"""Every call, and its contact, is on exactly one local day, whatever the zones of center, recorder and folders.

Days are planned one after another from a store that only answers by prefix, so that a call under a prefix that no
day asks for would be missed, and one that two days take would be seen twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_store import ListedStore

from jobs import plan_recordings
from jobs.contacts import ContactRecord
from jobs.layouts import local_date, open_layouts
from jobs.records import DayRecords
from jobs.settings import Settings, load_settings

ZONES = (
    "America/Los_Angeles",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Pacific/Kiritimati",  # +14
    "Pacific/Pago_Pago",  # -11
    "UTC",
    "Africa/Cairo",  # its clocks change at midnight
    "Australia/Lord_Howe",  # by half an hour
)
CHANGES_2026 = {
    "America/Los_Angeles": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
}


def days_of(configured: Settings, keys: Sequence[str], days: Iterable[date]) -> dict[str, list[date]]:
    """On which of the days each key is planned."""
    layouts, store = open_layouts(configured), ListedStore(list(keys))
    found: dict[str, list[date]] = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_recordings, "s3_client", lambda *_: store)
        for day in days:
            for each in plan_recordings.list_day(configured, layouts, {}, day).stored:
                assert not each.misplaced, each.uri
                found[each.uri.removeprefix("s3://recordings/")].append(day)
    return found


def settings_of(zone: str, time_zone: str, prefix: str, prefix_zone: str | None = None) -> Settings:
    layout = {
        "name": "pbx",
        "pattern": r"(?P<time>\d{8}T\d{6})-(?P<contact_id>\w+)\.wav$",
        "time_format": "%Y%m%dT%H%M%S",
        "time_zone": time_zone,
        "prefix": prefix,
        **({} if prefix_zone is None else {"prefix_time_zone": prefix_zone}),
    }
    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    return load_settings(
        recordings="s3://recordings", time_zone=zone, layouts=(layout,), identity_key="k" * 32, **places
    )


def key_of(moment: datetime, number: int, time_zone: str, prefix: str, prefix_zone: str) -> str:
    """What a recorder writes whose clock and whose folders go by these zones."""
    folder = moment.astimezone(ZoneInfo(prefix_zone)).strftime(prefix)
    return f"{folder}{moment.astimezone(ZoneInfo(time_zone)):%Y%m%dT%H%M%S}-c{number}.wav"


def around(day: date, margin: int = 4) -> list[date]:
    return [day + timedelta(days=offset) for offset in range(-margin, margin + 1)]


def at(zone: str, text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize("recorder", ["the center's", "UTC"])
@pytest.mark.parametrize("prefix", ["calls/%Y/%m/%d/", "calls/%Y-%-m-%-d/", "calls/%Y/%m/", "calls/", ""])
@pytest.mark.parametrize(
    ("zone", "moment", "expected"),
    [
        # A call over midnight is of the day on which it starts.
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-11-20T23:59:59"), "2026-11-20"),
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-11-21T00:00:00"), "2026-11-21"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-11-20T23:59:59"), "2026-11-20"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-11-21T00:00:00"), "2026-11-21"),
        ("Asia/Kolkata", at("Asia/Kolkata", "2026-11-20T23:59:59"), "2026-11-20"),
        ("Asia/Kolkata", at("Asia/Kolkata", "2026-11-21T00:00:00"), "2026-11-21"),
        ("Pacific/Kiritimati", at("Pacific/Kiritimati", "2026-11-20T23:59:59"), "2026-11-20"),
        ("Pacific/Kiritimati", at("Pacific/Kiritimati", "2026-11-21T00:00:00"), "2026-11-21"),
        ("Pacific/Pago_Pago", at("Pacific/Pago_Pago", "2026-11-20T23:59:59"), "2026-11-20"),
        ("Pacific/Pago_Pago", at("Pacific/Pago_Pago", "2026-11-21T00:00:00"), "2026-11-21"),
        # The day before clocks change, the day itself, and the hour that occurs twice, both times.
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-03-07T23:30:00"), "2026-03-07"),
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-03-08T03:00:00"), "2026-03-08"),
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-11-01T01:30:00"), "2026-11-01"),
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-11-01T01:30:00", fold=1), "2026-11-01"),
        ("America/Los_Angeles", at("America/Los_Angeles", "2026-11-01T23:30:00"), "2026-11-01"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-03-29T00:30:00"), "2026-03-29"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-03-29T23:30:00"), "2026-03-29"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-10-25T00:30:00"), "2026-10-25"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-10-25T02:30:00"), "2026-10-25"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-10-25T02:30:00", fold=1), "2026-10-25"),
        ("Europe/Berlin", at("Europe/Berlin", "2026-10-25T23:30:00"), "2026-10-25"),
        ("Africa/Cairo", at("Africa/Cairo", "2026-04-24T01:00:00"), "2026-04-24"),  # the day's first moment
        ("Africa/Cairo", at("Africa/Cairo", "2026-10-29T23:30:00"), "2026-10-29"),
        ("Africa/Cairo", at("Africa/Cairo", "2026-10-29T23:30:00", fold=1), "2026-10-29"),
    ],
)
def test_named_calls(zone: str, moment: datetime, expected: str, prefix: str, recorder: str) -> None:
    recorder_zone = zone if recorder == "the center's" else recorder
    key = key_of(moment, 1, recorder_zone, prefix, recorder_zone)
    found = days_of(settings_of(zone, recorder_zone, prefix), [key], around(date.fromisoformat(expected)))
    assert found == {key: [date.fromisoformat(expected)]}


@pytest.mark.parametrize("zone", ZONES)
def test_amazon_connect_around_the_year(zone: str) -> None:
    """A call every 29 minutes, for three days around each change of the clocks and a day without one."""
    dates = [date.fromisoformat(text) for text in (*CHANGES_2026.get(zone, ()), "2026-11-20")]
    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    configured = load_settings(recordings="s3://recordings", time_zone=zone, **places)
    for day in dates:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        moments = [noon + timedelta(minutes=29 * step) for step in range(-75, 75)]
        keys = {f"CallRecordings/{moment:%Y/%m/%d}/c_{moment:%Y%m%dT%H:%M}_UTC.wav": moment for moment in moments}
        found = days_of(configured, list(keys), around(day))
        assert found == {key: [local_date(moment, ZoneInfo(zone))] for key, moment in keys.items()}


prefixes = st.sampled_from(["%Y/%m/%d/", "rec/%Y%m%d/", "%Y/%j/", "y=%Y/m=%-m/d=%-d/", "%Y-%m/", "%G-%V/", "all/", ""])
change_days = sorted(date.fromisoformat(text) for texts in CHANGES_2026.values() for text in texts)


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    time_zone=st.sampled_from(ZONES),
    prefix_zone=st.sampled_from(ZONES),
    prefix=prefixes,
    day=st.sampled_from([*change_days, date(2026, 2, 28), date(2026, 12, 31)]),
    minutes=st.lists(st.integers(-2 * 1440, 2 * 1440), min_size=1, max_size=20, unique=True),
)
def test_every_call_is_on_exactly_one_local_day(
    zone: str, time_zone: str, prefix_zone: str, prefix: str, day: date, minutes: list[int]
) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    moments = [noon + timedelta(minutes=offset) for offset in minutes]
    keys = {key_of(moment, number, time_zone, prefix, prefix_zone): moment for number, moment in enumerate(moments)}
    found = days_of(settings_of(zone, time_zone, prefix, prefix_zone), list(keys), around(day, margin=5))
    assert set(found) == set(keys)
    for key, moment in keys.items():
        written = moment.astimezone(ZoneInfo(time_zone))
        # A text that occurs twice when clocks are set back is the first of its moments.
        read = written.replace(fold=0).astimezone(UTC)
        assert found[key] == [local_date(read, ZoneInfo(zone))]


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    prefix_zone=st.sampled_from(ZONES),
    prefix=prefixes.filter(lambda pattern: pattern in {"%Y/%m/%d/", "rec/%Y%m%d/", "%Y/%j/", "y=%Y/m=%-m/d=%-d/"}),
    day=st.sampled_from(change_days),
)
def test_what_names_no_time_is_on_the_date_of_its_prefix(zone: str, prefix_zone: str, prefix: str, day: date) -> None:
    """Recordings without a time, and audio that no layout reads."""
    timeless = {"name": "ids", "pattern": r"id(?P<contact_id>\d+)\.wav$", "prefix": prefix}
    timeless["prefix_time_zone"] = prefix_zone
    configured = settings_of(zone, "UTC", prefix).model_copy(update={"layouts": (timeless,)})
    expected = {f"{each.strftime(prefix)}{name}": [each] for each in around(day, 2) for name in ("id7.wav", "what.mp3")}
    assert days_of(configured, list(expected), around(day)) == expected


# Contacts


def days_of_contact(
    configured: Settings, record: ContactRecord, keys: Sequence[str], days: Iterable[date]
) -> list[date]:
    """On which of the days a contact is."""
    layouts, store = open_layouts(configured), ListedStore(list(keys))
    records = DayRecords({record.contact_id: record}, set(), {}, {}, {}, {})
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_recordings, "s3_client", lambda *_: store)
        for day in days:
            listing = plan_recordings.list_day(configured, layouts, records.contacts, day)
            planned = {each.key.contact_id for each in listing.stored if each.key is not None}
            elsewhere = listing.recorded_elsewhere
            tables = records.tables(day, "run", planned, layouts, configured, elsewhere)
            found += tables["contacts"].column("call_date").to_pylist()
    return found


def timeless(zone: str, prefix: str, **fields: object) -> Settings:
    layout = {"name": "ids", "pattern": r"id(?P<contact_id>\d+)\.wav$", "prefix": prefix, **fields}
    return settings_of(zone, "UTC", prefix).model_copy(update={"layouts": (layout,)})


@pytest.mark.parametrize("named", ["s3://recordings/d/2026-11-{}/id7.wav", "d/2026-11-{}/id7.wav", None])
@pytest.mark.parametrize(
    ("start", "recorded", "expected"),
    [
        ("2026-11-20T08:00", ["20"], "2026-11-20"),
        # The call is of the evening, and its recording was filed after midnight.
        ("2026-11-19T23:55", ["20"], "2026-11-20"),
        ("2026-11-19T23:55", ["19"], "2026-11-19"),
        # One that lies on both days is a recording on each, and so is its contact.
        ("2026-11-19T23:55", ["19", "20"], "2026-11-19, 2026-11-20"),
        # None has come: the day on which it began.
        ("2026-11-19T23:55", [], "2026-11-19"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Los_Angeles"])
def test_a_contact_is_on_the_day_of_its_recording(
    zone: str, start: str, recorded: list[str], expected: str, named: str | None
) -> None:
    keys = [f"d/2026-11-{day}/id7.wav" for day in recorded]
    locations = tuple(named.format(day) for day in recorded) if named else ()
    record = ContactRecord("7", at(zone, start), recordings=locations)
    found = days_of_contact(
        timeless(zone, "d/%Y-%m-%d/", prefix_time_zone=zone), record, keys, around(date(2026, 11, 20))
    )
    assert ", ".join(map(str, found)) == expected


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    prefix_zone=st.sampled_from(ZONES),
    prefix=prefixes,
    day=st.sampled_from(change_days),
    minutes=st.integers(0, 1439),
    late_days=st.integers(0, 2),
    names_it=st.booleans(),
)
def test_every_contact_is_on_exactly_one_day(
    zone: str, prefix_zone: str, prefix: str, day: date, minutes: int, late_days: int, names_it: bool
) -> None:
    """Also where neither the key says a time nor the record the key, and the recorder files up to two days late."""
    started_at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)
    key = f"{(started_at.astimezone(ZoneInfo(prefix_zone)) + timedelta(days=late_days)):{prefix}}id7.wav"
    configured = timeless(
        zone, prefix, prefix_time_zone=prefix_zone, **({"prefix_days_after": 2} if late_days > 1 else {})
    )
    record = ContactRecord("7", started_at, recordings=(key,) if names_it else ())
    found = days_of_contact(configured, record, [key], around(day, margin=5))
    assert len(found) == 1
    assert found[0] in days_of(configured, [key], around(day, margin=5))[key]
