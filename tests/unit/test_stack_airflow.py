"""The stack's Airflow: its database, tried and kept where only its user reads it; its pool; the nights that wait."""

from __future__ import annotations

import shlex
import socket
import stat
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.error import HTTPError

import pytest

from infra.night import AIRFLOW
from infra.stack import database
from infra.stack import nights as nights_module
from infra.stack.database import check_database, keep_database
from infra.stack.errors import StackError
from infra.stack.nights import Nights
from infra.stack.services import PORTS, SPARK_POOL, Places, prepare, services
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from tests.integration.sample_runs import figures, staged

ADDRESS = "postgresql+psycopg2://airflow:pass%word@127.0.0.1:5432/airflow"
in_airflows_environment = pytest.mark.skipif(not AIRFLOW.exists(), reason="needs make setup")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    places = Places(tmp_path / "stack")
    prepare(places)
    return places.airflow.home


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were tried; all of them answer."""
    tried: list[str] = []
    monkeypatch.setattr(database, "_connect", lambda address, _: tried.append(address))
    return tried


def test_it_is_tried_kept_once_and_its_users_alone(home: Path, asked: list[str]) -> None:
    check_database(home)
    assert asked == []  # none is named: Airflow takes SQLite
    keep_database(home, ADDRESS)
    kept = (home / "airflow.cfg").read_text()
    assert stat.S_IMODE((home / "airflow.cfg").stat().st_mode) == 0o600
    keep_database(home, ADDRESS)
    assert (home / "airflow.cfg").read_text() == kept
    check_database(home)
    assert asked == [ADDRESS, ADDRESS]


def test_another_one_is_not_written_over_the_first(home: Path, asked: list[str]) -> None:
    keep_database(home, ADDRESS)
    with pytest.raises(StackError, match=r"airflow\.cfg has a section \[database\] already: change sql_alchemy_conn"):
        keep_database(home, ADDRESS.replace("5432", "5433"))


def test_sqlite_is_not_tried(home: Path, asked: list[str]) -> None:
    with (home / "airflow.cfg").open("a") as file:
        file.write(f"[database]\nsql_alchemy_conn = sqlite:///{home}/airflow.db\n")
    check_database(home)
    assert asked == []


@in_airflows_environment
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql+psycopg2://airflow:password@127.0.0.1:{port}/airflow", "does not answer: .*refused"),
        ("nothing://airflow:password@127.0.0.1/airflow", "does not answer: Can't load plugin"),
        ("password", "is no address of a database"),
    ],
)
def test_a_wrong_one_is_refused_says_why_and_is_not_kept(home: Path, address: str, expected: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        with pytest.raises(StackError, match=expected) as refused:
            keep_database(home, address.format(port=taken.getsockname()[1]))
    said = str(refused.value).replace("user:password@host", "")
    assert "expected [database] sql_alchemy_conn in" in said and "password" not in said
    assert "[database]" not in (home / "airflow.cfg").read_text()


def test_percent_signs_that_are_not_doubled_are_an_error_of_ours(home: Path) -> None:
    with (home / "airflow.cfg").open("a") as file:
        file.write(f"[database]\nsql_alchemy_conn = {ADDRESS}\n")
    with pytest.raises(StackError, match="in values, % is written %%"):
        check_database(home)


@pytest.mark.parametrize(("code", "refused"), [(None, False), (409, False), (403, True)])
def test_a_pool_that_is_there_is_left_as_its_user_made_it(
    monkeypatch: pytest.MonkeyPatch, code: int | None, refused: bool
) -> None:
    def ask(address: str, *given: object, **more: object) -> object:
        if address.endswith("/auth/token"):
            return {"access_token": "t"}
        assert (address, given) == ("http://here/api/v2/pools", ("t", "POST", {"name": "spark", "slots": 2}))
        if code is not None:
            raise HTTPError(address, code, "", {}, None)  # type: ignore[arg-type]
        return {}

    monkeypatch.setattr(nights_module, "ask", ask)
    nights = Nights("http://here", "admin", "x", None, None)  # type: ignore[arg-type]
    if refused:
        with pytest.raises(HTTPError):
            nights.make_pool("spark", 2)
    else:
        nights.make_pool("spark", 2)


def test_nights_that_wait_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"queued": [{"dag_run_id": f"backfill-{number}"} for number in range(6)]}

    def ask(address: str, *given: object, **more: object) -> object:
        if address.endswith("/auth/token"):
            return {"access_token": "t"}
        if "dagRuns?" in address:
            return {"dag_runs": runs.get(address.partition("state=")[2].partition("&")[0], [])}
        return {"is_paused": False, "next_dagrun_run_after": "tomorrow"}

    monkeypatch.setattr(nights_module, "ask", ask)
    nights = Nights("http://here", "admin", "x", None, None)  # type: ignore[arg-type]
    assert nights.lines(datetime.now(UTC)) == ["waiting: 6 more", "next night: tomorrow"]
    runs.clear()
    assert nights.lines(datetime.now(UTC)) == ["next night: tomorrow"]


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [("run-20", "; 2026-11-20 is volume_low: no recordings were found"), ("of-no-row", ""), (None, "")],
)
def test_what_the_last_night_published_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_id: str | None, expected: str
) -> None:
    def ask(address: str, *given: object, **more: object) -> object:
        if address.endswith("/auth/token"):
            return {"access_token": "t"}
        if address.endswith("deserialize=true"):
            if run_id is None:
                raise HTTPError(address, 404, "", {}, None)  # type: ignore[arg-type]
            return {"value": {"call_date": "2026-11-20", "run_id": run_id}}
        if "dagRuns?" in address:
            ended = {"dag_run_id": "night-1", "state": "success", "duration": 66.0, "end_date": "2026-11-21T02:00:00Z"}
            return {"dag_runs": [ended] if "state=success" in address else []}
        return {"is_paused": False, "next_dagrun_run_after": "tomorrow"}

    monkeypatch.setattr(nights_module, "ask", ask)
    staging, warehouse = LocalStorage(tmp_path / "staging"), Warehouse(LocalStorage(tmp_path / "warehouse"))
    low = figures(status="volume_low", status_detail="no recordings were found")
    warehouse.publish(staged(staging, date(2026, 11, 20), "run-20"), low)
    said = Nights("http://here", "admin", "x", staging, warehouse).lines(datetime.now(UTC))
    assert said == [f"last night: night-1, success, 1.1 min{expected}", "next night: tomorrow"]


def test_airflows_own_commands_find_it_and_no_secret_lies_there(tmp_path: Path) -> None:
    from rich.console import Console

    from infra.stack.__main__ import Stack, State

    stack = Stack(tmp_path / "stack", Console())
    prepare(stack.places)
    stack._write_environment(State(PORTS))
    lines = [shlex.split(line) for line in stack.places.airflow_environment.read_text().splitlines()]
    found = dict(line.partition("=")[::2] for (line,) in lines)
    scheduler = next(each for each in services(stack.places, PORTS, {}) if each.name == "airflow-scheduler")
    assert all(name.startswith(("AIRFLOW", "OTEL_")) for name in found)
    assert found["AIRFLOW_HOME"] == str(stack.places.airflow.home)
    assert found["AIRFLOW__CALLMOOD__SPARK_POOL"] == SPARK_POOL
    assert found["AIRFLOW_CONN_SPARK_DEFAULT"] == scheduler.environment["AIRFLOW_CONN_SPARK_DEFAULT"]
