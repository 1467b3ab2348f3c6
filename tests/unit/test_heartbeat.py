"""The heartbeat alarms once the night before should have been published and is not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from infra import heartbeat
from infra.heartbeat import Alarm, alarm, expected_day, tell
from jobs.settings import Settings
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from tests.integration.sample_runs import figures, staged

BY = time(6)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 21, 5, 59), date(2026, 11, 19)),
        (datetime(2026, 11, 21, 6, 0), date(2026, 11, 20)),
        (datetime(2026, 11, 21, 23, 59), date(2026, 11, 20)),
        (datetime(2026, 11, 22, 0, 1), date(2026, 11, 20)),
    ],
)
def test_the_hour_says_which_day_has_to_be_published(now: datetime, expected: date) -> None:
    assert expected_day(now, BY) == expected


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        recordings="s3://recordings",
        staging=str(tmp_path / "staging"),
        warehouse=str(tmp_path / "warehouse"),
        reports=str(tmp_path / "reports"),
        time_zone="Europe/Berlin",
    )


@pytest.mark.parametrize("wrong", ["", "6", "25:00", "06:00+02:00"])
def test_what_is_no_hour_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        heartbeat.main(["--by", wrong])
    assert f"{wrong!r} is no hour; expected HH:MM" in capsys.readouterr().err


def test_it_alarms_when_the_last_published_day_stands_still(settings: Settings) -> None:
    warehouse = Warehouse(LocalStorage(settings.warehouse))
    for day in (date(2026, 11, 18), date(2026, 11, 19)):
        warehouse.publish(staged(LocalStorage(settings.staging), day, f"run-{day}"), figures())
    berlin = ZoneInfo("Europe/Berlin")
    assert alarm(settings, datetime(2026, 11, 21, 5, 30, tzinfo=berlin), BY) is None
    # 04:59 and 05:01 in UTC: the hour is that of the call dates' zone.
    assert alarm(settings, datetime(2026, 11, 21, 4, 59, tzinfo=UTC), BY) is None
    found = alarm(settings, datetime(2026, 11, 21, 5, 1, tzinfo=UTC), BY)
    assert found is not None
    assert (found.severity, found.title) == ("page", "2026-11-20 is not published by 06:00")
    assert "The last published day is 2026-11-19, published at " in found.body
    assert found.body.endswith("Type: make run DATE=2026-11-20")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """In place of Airflow's: keeps what it is given."""
    (script := tmp_path / "python").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat > {tmp_path}/told\n')
    script.chmod(0o700)
    return script


@pytest.mark.parametrize(
    ("found", "status"), [(None, 0), (Alarm("late", "why"), 1), (heartbeat.JobError("no such place"), 2)]
)
def test_the_exit_status_says_whether_all_is_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, python: Path, found: object, status: int
) -> None:
    def answer(*_: object) -> object:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(heartbeat, "load_settings", lambda: None)
    monkeypatch.setattr(heartbeat, "alarm", answer)
    assert heartbeat.main(["--airflow-python", str(python)]) == status
    assert (tmp_path / "told").exists() == (status != 0)
    if status:
        told = json.loads((tmp_path / "told").read_text())
        assert told["severity"] == "page"
        assert ("no such place" in told["body"]) == (status == 2)
        assert (tmp_path / "asked").read_text().strip().endswith("dags/notify.py")


def test_without_airflows_environment_it_says_that_nobody_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not tell(Alarm("late", "why"), tmp_path / "none")
    assert "nobody could be told" in capsys.readouterr().err
