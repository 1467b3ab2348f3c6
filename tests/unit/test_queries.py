"""Every ready query on a generated month: it runs, and finds what was planted in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import simulated

from jobs.storage import LocalStorage
from reporting import analysis, ready
from reporting.ready import READY, UnknownQuery
from reporting.sql import Session, main

ROOT = Path(__file__).resolve().parents[2]
FIRST = date(2026, 10, 5)
FALL = FIRST + timedelta(21)
LOST = FIRST + timedelta(25)
PLANTS = simulated.Plants(lost_queue="Support", lost_from=LOST, fall_queue="Returns", fall_from=FALL, fall_points=-6.0)

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def month() -> duckdb.DuckDBPyConnection:
    return simulated.register(simulated.simulate(FIRST, 30, 500, 11, PLANTS, logged_share=0.3))


def ask(month: duckdb.DuckDBPyConnection, name: str) -> Rows:
    found = month.execute(READY[name].sql)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def row(rows: Rows, **which: Any) -> dict[str, Any]:
    found = [each for each in rows if all(each[name] == value for name, value in which.items())]
    assert len(found) == 1, (which, rows)
    return found[0]


def falls(rows: Rows, column: str = "index") -> bool:
    values = [each[column] for each in rows]
    return len(values) > 2 and values == sorted(values, reverse=True)


# What each has to find.
FOUND: dict[str, Callable[[Rows], bool]] = {
    "week_over_week_by_queue": lambda rows: (
        row(rows, week=FALL, queue="Returns")["change"] < -3 and abs(row(rows, week=FALL, queue="Orders")["change"]) < 3
    ),
    "angrier_after_a_hold": lambda rows: len(rows) >= 5 and all(0.15 < each["change"] < 0.35 for each in rows),
    "satisfaction_by_hold": lambda rows: (
        row(rows, hold="0 no hold")["index"] - row(rows, hold="3 1 to 3 min")["index"] > 4
    ),
    "recovery_by_team": lambda rows: (
        row(rows, team="North")["low"] > max(each["high"] for each in rows if each["team"] != "North")
    ),
    "not_scored_by_reason": lambda rows: (
        row(rows, queue="Support", outcome="no_recording")["share"]
        > 5 * row(rows, queue="Billing", outcome="no_recording")["share"]
    ),
    "lost_recordings": lambda rows: (
        {(each["queue"], each["call_date"]) for each in rows} == {("Support", LOST + timedelta(n)) for n in range(5)}
    ),
    "silence_before_anger": lambda rows: (
        row(rows, silence="2 4 to 10 s")["anger"] > row(rows, silence="0 under 1 s")["anger"] + 0.1
    ),
    "repeat_callers": lambda rows: (
        -6 < row(rows, called_again=True)["index"] - row(rows, called_again=False)["index"] < -2
    ),
    "satisfaction_by_wait": falls,
    "mood_by_wait_and_hour": lambda rows: (
        len(rows) >= 8
        and sum(each["calls"] * (each["index_short"] - each["index_long"]) for each in rows)
        > sum(each["calls"] for each in rows)
    ),
    "hung_up_angry": lambda rows: (
        all(each["angry_hung_up"] > each["others_hung_up"] + 0.2 for each in rows if each["angry_calls"] > 50)
        and len(rows) >= 4
    ),
    "survey_answered_or_not": lambda rows: (
        len(rows) >= 5 and all(each["index_answered"] < each["index_silent"] for each in rows if each["calls"] > 500)
    ),
    "survey_by_index": lambda rows: falls(list(reversed([each for each in rows if each["answers"] >= 100])), "score"),
    "mood_across_a_transfer": lambda rows: (
        sum(each["transfers"] * (each["index_after"] - each["index_before"]) for each in rows)
        / sum(each["transfers"] for each in rows)
        < -3
    ),
    "channel_and_codec": lambda rows: (
        row(rows, codec="WAV/GSM610")["index"]
        < min(each["index"] for each in rows if each["codec"] != "WAV/GSM610") - 1.5
    ),
    "anger_by_topic": lambda rows: (
        min(rows, key=lambda each: each["index"])["topic"] == "refund"
        and row(rows, topic="refund")["anger_peak"] == max(each["anger_peak"] for each in rows)
    ),
    "emotions_by_topic": lambda rows: (
        rows[0]["topic"] == "refund"
        and 0.1 < rows[0]["more_anger"] < 0.2
        and all(abs(each["more_anger"]) < 0.03 for each in rows[1:])
    ),
    "mood_path_by_queue": lambda rows: (
        all(abs(each["q4"] - each["q1"] - each["change"]) < 0.003 for each in rows)
        and row(rows, queue="Billing")["q4"] < row(rows, queue="Sales")["q4"]
    ),
    "satisfaction_by_weekday_and_hour": lambda rows: (
        len(rows) > 70 and row(rows, weekday=1, local_hour=13)["wait_s"] > row(rows, weekday=1, local_hour=9)["wait_s"]
    ),
    "interruptions_and_mood": falls,
    "review_reasons_by_queue": lambda rows: (
        row(rows, queue="Billing", reason="low_satisfaction")["share"]
        > row(rows, queue="Sales", reason="low_satisfaction")["share"]
    ),
}


def test_there_are_twenty_and_more_and_each_has_a_plant_to_find() -> None:
    assert set(FOUND) == set(READY)
    assert len(READY) >= 20


@pytest.mark.parametrize("name", list(FOUND))
def test_it_finds_what_was_planted(name: str, month: duckdb.DuckDBPyConnection) -> None:
    rows = ask(month, name)
    assert FOUND[name](rows), rows


@pytest.mark.parametrize("name", ["lost_recordings", "week_over_week_by_queue", "recovery_by_team"])
def test_it_finds_nothing_where_nothing_is(name: str) -> None:
    none = simulated.Plants(recovering_mood=0.0)
    rows = ask(simulated.register(simulated.simulate(FIRST, 30, 300, 12, none)), name)
    if name == "lost_recordings":
        assert rows == []
    elif name == "recovery_by_team":
        assert max(each["low"] for each in rows) < min(each["high"] for each in rows)
    else:
        changes = [each for each in rows if each["change"] is not None and each["calls"] > 100]
        assert sum(abs(each["change"]) > 3 * each["se"] for each in changes) == 0


@pytest.mark.parametrize("name", list(FOUND))
def test_small_groups_and_agents_are_in_no_answer(name: str, month: duckdb.DuckDBPyConnection) -> None:
    rows = ask(month, name)
    sizes = [each[size] for each in rows for size in ("calls", "pieces", "transfers", "answers") if size in each]
    assert all(size >= 5 for size in sizes)
    assert not re.search(r"\bagent_id\b", READY[name].sql)


def test_the_page_is_generated() -> None:
    written = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    assert written == ready.render(), "run: python -m reporting.ready > docs/queries.md"


def test_a_query_without_a_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.sql").write_text("select 1")
    with pytest.raises(ValueError, match=r"bare.sql begins otherwise than with -- Question"):
        ready.Query.load(tmp_path / "bare.sql")


@pytest.mark.parametrize("name", ["nope", "../sql", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownQuery, match="there are anger_by_topic, "):
        READY[name]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = LocalStorage(tmp_path_factory.mktemp("simulated") / "warehouse")
    simulated.publish(simulated.simulate(FIRST, 10, 150, 3, by_agent=True), folder)
    return folder.location


def test_a_simulated_warehouse_is_one(warehouse: str) -> None:
    session = Session(LocalStorage(warehouse))
    assert len(session.call_dates) == 10
    assert session.tables.sql("select count(*) from contacts").fetchall() == [(1500,)]


def test_ready_queries_run_by_name_and_come_as_csv(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--warehouse", warehouse, "--format", "csv", "@recovery_by_team"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "team,calls,recovered,low,high"
    assert [line.split(",")[0] for line in lines[1:]] == sorted(simulated.TEAMS)
    assert main(["--warehouse", warehouse, "@nope"]) == 1
    assert capsys.readouterr().err.startswith("there is no ready query @nope; there are anger_by_topic, ")


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        (["figures", "--by", "queue"], "start,scope,group,suppressed,days,calls,customers,mean,low,high"),
        (["figures", "--by", "agent"], "start,scope,group,suppressed"),
        (["week", "--to", "2026-10-14"], "queue,within,mix,wait,change,calls_before,calls"),
        (["price"], "of,points,low,high"),
        (["recovery"], "group,calls,observed,expected,low,high,difference"),
        (["silent"], "queue,calls,answers,index_answered,index_silent,score,score_reweighted"),
    ],
)
def test_figures_are_printed(
    asked: list[str], columns: str, warehouse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysis.main([*asked, "--warehouse", warehouse, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(columns)
    assert len(lines) > 2


def test_what_cannot_be_had_is_one_line(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["figures", "--by", "agent", "--period", "day", "--warehouse", warehouse]
    assert analysis.main(asked) == 2
    assert capsys.readouterr().err == "agents have no figures by day; ask for week or month\n"
