"""Which days are run again for what came late, changed or may have healed; and what is put back for another try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import SecretStr
from sample_runs import figures, staged

from jobs import due_days, plan_recordings, release, summarize_calls
from jobs.due_days import DueDay
from jobs.errors import NothingToRelease, SettingsError
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from jobs.suppressions import Suppressed
from jobs.warehouse import Warehouse
from schemas import TABLES
from tests.unit.listed_store import ListedStore

NIGHT = date(2026, 11, 20)
SEEN = datetime(2026, 11, 19, 2, tzinfo=UTC)


def before(days: int) -> date:
    return NIGHT - timedelta(days=days)


def key(name: str, day: date) -> str:
    return f"CallRecordings/{day:%Y/%m/%d}/{name}_{day:%Y%m%d}T08:00_UTC.wav"


def recording(name: str, day: date, etag: str | None = None, **values: Any) -> dict[str, Any]:
    """A row of recordings, scored unless said otherwise; its ETag is the one that the store gives."""
    return {
        "call_date": day,
        "contact_id": name,
        "source_uri": f"s3://recordings/{key(name, day)}",
        "etag": etag or f"etag of {key(name, day)}",
        "size_bytes": 1000,
        "last_modified": SEEN,
        "status": "scored",
        "run_id": "run",
        **values,
    }


def quarantined(
    name: str | None, day: date, reason_code: str, attempts: int = 1, status: str = "open"
) -> dict[str, Any]:
    return {
        "call_date": day,
        "contact_id": name,
        "source_uri": f"s3://recordings/{key(name or 'strange', day)}",
        "etag": "e",
        "stage": "extract_features",
        "reason_code": reason_code,
        "attempts": attempts,
        "first_seen": SEEN,
        "last_seen": SEEN,
        "status": status,
        "run_id": "run",
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {name: str(tmp_path / name) for name in ("staging", "warehouse", "reports")}
    return load_settings(recordings="s3://recordings", quarantine_attempts=3, lookback_days=3, **places)


Publish = Callable[..., None]


@pytest.fixture
def publish(settings: Settings) -> Publish:
    """Publishes a day with these rows of recordings and quarantine."""

    def run(day: date, recordings: list[dict[str, Any]], quarantine: list[dict[str, Any]] | None = None) -> None:
        staging = staged(LocalStorage(settings.staging), day, f"run-{day}", rows=1)
        for name, rows in (("recordings", recordings), ("quarantine", quarantine or [])):
            staging.write_table(TABLES[name], pa.Table.from_pylist(rows, schema=TABLES[name].schema))
        Warehouse(LocalStorage(settings.warehouse)).publish(staging, figures())

    return run


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets these keys, and no others, lie in the store."""

    def holds(*keys: str) -> None:
        monkeypatch.setattr(plan_recordings, "s3_client", lambda *_: ListedStore(list(keys)))

    return holds


YESTERDAY, LONG_AGO = before(1), before(20)
DUE: list[tuple[str, list[str], Mapping[str, Any], list[DueDay]]] = [
    ("as it was", ["a", "b"], {}, []),
    ("one came", ["a", "b", "late"], {}, [DueDay(YESTERDAY, came=1)]),
    ("one was written anew", ["a", "b"], {"b": {"etag": "before"}}, [DueDay(YESTERDAY, came=1)]),
    ("one that was not scored went", ["a"], {"b": {"status": "quarantined", "reason_code": "empty"}}, []),
    (
        "one came, another went that was not scored",
        ["a", "late"],
        {"b": {"status": "quarantined", "reason_code": "empty"}},
        [DueDay(YESTERDAY, came=1)],
    ),
    ("one came, and one that was scored went", ["a", "late"], {}, []),
]


@pytest.mark.parametrize(("there", "changes", "expected"), [case[1:] for case in DUE], ids=[case[0] for case in DUE])
def test_a_day_is_due_for_what_came_or_changed(
    settings: Settings,
    publish: Publish,
    store: Callable[..., None],
    there: list[str],
    changes: Mapping[str, Any],
    expected: list[DueDay],
) -> None:
    publish(YESTERDAY, [recording(name, YESTERDAY, **changes.get(name, {})) for name in ("a", "b")])
    store(*(key(name, YESTERDAY) for name in there))
    assert due_days.due_days(settings, NIGHT) == expected


def test_a_pair_is_due_once_its_other_side_came(
    settings: Settings, publish: Publish, store: Callable[..., None]
) -> None:
    other = {"partner_uri": "s3://recordings/" + key("b", YESTERDAY), "partner_etag": "etag of " + key("b", YESTERDAY)}
    publish(YESTERDAY, [recording("a", YESTERDAY, **other)])
    store(key("a", YESTERDAY), key("b", YESTERDAY))
    assert due_days.due_days(settings, NIGHT) == []
    store(key("a", YESTERDAY), key("b", YESTERDAY), key("c", YESTERDAY))
    assert due_days.due_days(settings, NIGHT) == [DueDay(YESTERDAY, came=1)]


def test_no_day_is_due_for_who_was_erased(settings: Settings, publish: Publish, store: Callable[..., None]) -> None:
    """Their objects lie in the store and are in no table, as if they had come since."""
    publish(YESTERDAY, [recording("a", YESTERDAY)])
    store(key("a", YESTERDAY), key("erased", YESTERDAY))
    assert due_days.due_days(settings, NIGHT) == [DueDay(YESTERDAY, came=1)]
    suppressed = Suppressed.of(b"k" * 32, contacts=["erased"], at=SEEN)
    LocalStorage(settings.warehouse).write("_erasures/e/suppressed.json", suppressed.to_json())
    keyed = settings.model_copy(update={"identity_key": SecretStr("k" * 32)})
    assert due_days.due_days(keyed, NIGHT) == []
    with pytest.raises(SettingsError, match="no key"):
        due_days.due_days(settings, NIGHT)


def test_the_lookback_ends(settings: Settings, publish: Publish, store: Callable[..., None]) -> None:
    days = [before(number) for number in (4, 3, 2)]
    for day in days:
        publish(day, [])
    store(*(key("late", day) for day in [NIGHT, YESTERDAY, *days, before(5)]))
    # Yesterday's night did not get to publish; the first published day has no gap before it.
    assert due_days.due_days(settings, NIGHT) == [
        DueDay(before(3), came=1),
        DueDay(before(2), came=1),
        DueDay(YESTERDAY, came=1, published=False),
    ]
    assert due_days.due_days(settings.model_copy(update={"lookback_days": 0}), NIGHT) == []


def test_before_the_first_publication_nothing_is_due(settings: Settings, store: Callable[..., None]) -> None:
    store(key("a", YESTERDAY))
    assert due_days.due_days(settings, NIGHT) == []


@pytest.mark.parametrize(
    ("row", "retried"),
    [
        (quarantined("a", LONG_AGO, "access_denied"), 1),
        (quarantined("a", LONG_AGO, "access_denied", attempts=2), 1),
        (quarantined("a", LONG_AGO, "access_denied", attempts=3), 0),
        (quarantined("a", LONG_AGO, "access_denied", attempts=3, status="given_up"), 0),
        (quarantined("a", LONG_AGO, "no_speech"), 0),
        (quarantined("a", LONG_AGO, "no_speech", attempts=7, status="released"), 1),
        (quarantined("a", before(32), "access_denied"), 0),
    ],
)
def test_a_day_is_due_for_what_may_have_healed(
    settings: Settings, publish: Publish, store: Callable[..., None], row: dict[str, Any], retried: int
) -> None:
    day = row["call_date"]
    publish(day, [recording("a", day, status="quarantined", reason_code=row["reason_code"])], [row])
    store(key("a", day))
    assert due_days.due_days(settings, NIGHT) == ([DueDay(day, retried=retried)] if retried else [])


def test_the_answer_is_json_without_ids(
    settings: Settings,
    publish: Publish,
    store: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(YESTERDAY, [])
    store(key("late", YESTERDAY))
    monkeypatch.setattr(due_days, "load_settings", lambda: settings)
    assert due_days.main(["--call-date", str(NIGHT)]) == 0
    assert capsys.readouterr().out == '[{"call_date": "2026-11-19", "came": 1, "retried": 0, "published": true}]\n'


# Release


def statuses(settings: Settings) -> dict[str, str]:
    rows = Warehouse(LocalStorage(settings.warehouse)).read("quarantine").to_pylist()
    return {f"{row['contact_id']} {row['call_date']:%d}": row["status"] for row in rows}


@pytest.fixture
def two_days(publish: Publish) -> None:
    rows = [
        quarantined("a", YESTERDAY, "truncated"),
        quarantined("b", YESTERDAY, "access_denied", 3, "given_up"),
        quarantined(None, YESTERDAY, "unknown_layout"),
    ]
    publish(YESTERDAY, [recording("scored", YESTERDAY)], rows)
    publish(before(2), [], [quarantined("c", before(2), "access_denied", 3, "given_up")])


@pytest.mark.usefixtures("two_days")
@pytest.mark.parametrize(
    ("arguments", "released"),
    [
        (["--contact", "a"], {"a 19"}),
        (["--reason", "access_denied"], {"b 19", "c 18"}),
        (["--reason", "unknown_layout"], {"None 19"}),
    ],
)
def test_what_is_released_is_tried_again_by_the_next_night(
    settings: Settings,
    store: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    released: set[str],
) -> None:
    before_it = statuses(settings)
    warehouse = Warehouse(LocalStorage(settings.warehouse))
    last = warehouse.read("runs", call_date=YESTERDAY).to_pylist()[0]
    others = warehouse.read("recordings")
    monkeypatch.setattr(release, "load_settings", lambda: settings)
    assert release.main(arguments) == 0
    assert statuses(settings) == {**before_it, **dict.fromkeys(released, "released")}
    assert warehouse.read("recordings").equals(others)
    runs = warehouse.read("runs", call_date=YESTERDAY).to_pylist()
    released_there = bool({each for each in released if each.endswith("19")})
    assert {run["kind"] for run in runs} == ({"night", "release"} if released_there else {"night"})
    assert all(run["scored"] == last["scored"] and run["table_versions"] for run in runs)
    store(key("scored", YESTERDAY))
    due = {day.call_date for day in due_days.due_days(settings, NIGHT)}
    assert due == {date(2026, 11, int(each[-2:])) for each in released}


@pytest.mark.usefixtures("two_days")
def test_who_releases_nothing_is_told_so(settings: Settings) -> None:
    with pytest.raises(NothingToRelease):
        release.release(settings, pc.field("contact_id") == "nobody")
    release.release(settings, pc.field("contact_id") == "a")
    with pytest.raises(NothingToRelease, match="released already"):
        release.release(settings, pc.field("contact_id") == "a")


@pytest.mark.usefixtures("two_days")
def test_a_night_that_publishes_meanwhile_is_not_undone(
    settings: Settings, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = release._marked

    def night_in_between(*arguments: Any) -> Any:
        found = marked(*arguments)
        monkeypatch.setattr(release, "_marked", marked)
        night = staged(LocalStorage(settings.staging), YESTERDAY, "night", rows=0)
        Warehouse(LocalStorage(settings.warehouse)).publish(night, figures())
        return found

    monkeypatch.setattr(release, "_marked", night_in_between)
    with pytest.raises(NothingToRelease):
        release.release(settings, pc.field("contact_id") == "a")
    assert statuses(settings) == {"c 18": "given_up"}


def test_a_staging_of_a_release_holds_its_one_table(settings: Settings, two_days: None) -> None:
    release.release(settings, pc.field("contact_id") == "a")
    (run_id,) = {
        file.path.split("/")[1]
        for file in LocalStorage(settings.staging).files(str(YESTERDAY))
        if not file.path.split("/")[1].startswith("run-")
    }
    staging = RunStaging(LocalStorage(settings.staging), YESTERDAY, run_id)
    assert staging.manifest(TABLES["quarantine"]).rows == 3


# Giving up


@pytest.mark.parametrize(
    ("reason_code", "attempts", "status"),
    [
        ("access_denied", 2, "open"),
        ("access_denied", 3, "given_up"),
        ("fetch_failed", 4, "given_up"),
        ("no_speech", 9, "open"),
    ],
)
def test_what_may_heal_is_given_up_after_the_last_attempt(reason_code: str, attempts: int, status: str) -> None:
    rows = [quarantined("a", YESTERDAY, reason_code, attempts), quarantined("b", YESTERDAY, "empty")]
    table = pa.Table.from_pylist(rows, schema=TABLES["quarantine"].schema)
    found = summarize_calls.with_given_up(table, 3)
    assert found["status"].to_pylist() == [status, "open"]
    assert found.drop_columns("status").equals(table.drop_columns("status"))
