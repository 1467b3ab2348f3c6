"""Who is to be won back: by a table of customers, and without those who opted out or were erased."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import simulated

from jobs.command import EXIT_PERMANENT
from jobs.storage import LocalStorage
from reporting.win_back import main, win_back

LAST = date(2026, 11, 20)
FINE: dict[str, Any] = {"index": 60.0, "mood_end": 0.0, "reasons": []}
BAD: dict[str, Any] = {"index": 30.0, "mood_end": -0.4, "reasons": ["low_satisfaction"]}


def tables(calls: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    """DuckDB with calls of customer, days_ago, and what else differs from a fine call."""
    filled = {"queue": "Billing", "chain": None, "reason_code": None, "scored": True, **FINE}
    frame = pd.DataFrame([{**filled, "contact_id": f"c{n}", **call} for n, call in enumerate(calls)])
    frame["call_date"] = [LAST - timedelta(days) for days in frame.days_ago]
    connection = duckdb.connect()
    contacts = frame.assign(
        customer_key=frame.customer.astype("string"),
        initial_contact_id=frame.chain.astype("string"),
        started_at=[datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in frame.call_date],
    )
    connection.register(
        "contacts", contacts[["call_date", "contact_id", "customer_key", "initial_contact_id", "started_at"]]
    )
    connection.register(
        "recordings", frame[["call_date", "contact_id", "reason_code"]].astype({"reason_code": "string"})
    )
    scored = frame[frame.scored].rename(columns={"index": "satisfaction_index", "reasons": "review_reasons"})
    columns = ["call_date", "contact_id", "queue", "satisfaction_index", "mood_end", "review_reasons"]
    connection.register("scored_calls", scored[columns])
    connection.sql(
        "create view calls as select * replace (review_reasons::varchar[] as review_reasons) from scored_calls"
    )
    return connection


def call(customer: str | None, days_ago: int, **values: Any) -> dict[str, Any]:
    return {"customer": customer, "days_ago": days_ago, **values}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param([call("a", 3)], [], id="a fine call"),
        pytest.param([call("a", 3, **BAD)], [("a", "ended_badly", 3)], id="a bad one"),
        pytest.param([call("a", 30, **BAD)], [], id="a bad one before the days asked for"),
        pytest.param([call("a", 20, **BAD), call("a", 3)], [], id="a bad one, and later a fine one"),
        pytest.param([call("a", 20), call("a", 3, **BAD)], [("a", "ended_badly", 3)], id="the last one counts"),
        pytest.param([call("a", 3, **BAD | {"mood_end": 0.1})], [], id="bad, but it ended well"),
        pytest.param([call("a", 3, **BAD | {"mood_end": None})], [("a", "ended_badly", 3)], id="too short for an end"),
        pytest.param([call("a", 3, reasons=["long_silence"], mood_end=-0.4)], [], id="a silence is no bad end"),
        pytest.param([call("a", 10), call("a", 3)], [("a", "called_again", 3)], id="again after seven days"),
        pytest.param([call("a", 11), call("a", 3)], [], id="again after eight"),
        pytest.param([call("a", 3, chain="x"), call("a", 3, chain="x")], [], id="a transfer is one call"),
        pytest.param([call("a", 5), call("a", 3, **BAD)], [("a", "ended_badly, called_again", 3)], id="both"),
        pytest.param([call(None, 5), call(None, 3, **BAD)], [], id="nobody knows who"),
        pytest.param(
            [call("a", 3, **BAD), call("b", 1, **BAD)],
            [("b", "ended_badly", 1), ("a", "ended_badly", 3)],
            id="the most recent first",
        ),
        pytest.param(
            [call("a", 90, reason_code="opted_out", scored=False), call("a", 3, **BAD), call("b", 3, **BAD)],
            [("b", "ended_badly", 3)],
            id="who opted out of any call is in none",
        ),
    ],
)
def test_who_is_to_be_won_back(calls: list[dict[str, Any]], expected: list[tuple[str, str, int]]) -> None:
    rows = win_back(tables(calls), LAST - timedelta(27), LAST).to_pylist()
    assert [(row["customer_key"], row["reason"], row["days_since"]) for row in rows] == expected


def test_of_customers_who_called_last_from_a_day_on_the_days_before_count() -> None:
    calls = [call("a", 9, index=70.0), call("a", 1, **BAD), call("b", 3, **BAD), call("c", 5), call("c", 1)]
    rows = win_back(tables(calls), LAST - timedelta(27), LAST, called_from=LAST - timedelta(1)).to_pylist()
    said = [(row["customer_key"], row["reason"], row["trend"], row["calls"]) for row in rows]
    assert said == [("a", "ended_badly", -40.0, 2), ("c", "called_again", 0.0, 2)]


def test_queue_trend_and_contact_are_of_the_last_call() -> None:
    earlier = [call("a", 20, index=70.0, queue="Sales"), call("a", 9, index=60.0, queue="Sales")]
    row = win_back(tables([*earlier, call("a", 2, **BAD)]), LAST - timedelta(27), LAST).to_pylist()[0]
    names = ("contact_id", "queue", "index", "trend", "calls", "calls_again")
    assert tuple(row[name] for name in names) == ("c2", "Billing", 30.0, -35.0, 3, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    place = LocalStorage(tmp_path / "warehouse")
    simulated.publish(simulated.simulate(LAST - timedelta(8), 9, 60, 4), place)
    return place.location


def test_today_s_list_of_opt_outs_is_heeded(
    warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--warehouse", warehouse, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert "opt-outs is not asked" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].startswith("customer_key,contact_id,reason,last_call,days_since,queue,index,trend,calls")
    assert len(lines) > 3
    one = lines[1].split(",")[0]
    (tmp_path / "opt-outs.txt").write_text(f"{one}\n")
    places = {name: str(tmp_path / name) for name in ("staging", "reports")}
    settings = {"recordings": "s3://b", "contacts": str(tmp_path), "opt_outs": str(tmp_path / "opt-outs.txt")}
    for name, value in {**places, **settings, "warehouse": warehouse, "identity_key": "k" * 32}.items():
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", value)
    assert main(["--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [line for line in lines if not line.startswith(one)]


def test_a_table_that_cannot_be_read_is_said_in_a_line(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    next(Path(warehouse).glob("calls/**/*.parquet")).unlink()
    assert main(["--warehouse", warehouse, "--from", str(LAST - timedelta(27))]) == EXIT_PERMANENT
    said = capsys.readouterr().err
    assert said.startswith("the published tables cannot be read (")
    assert said.count("\n") == 1
