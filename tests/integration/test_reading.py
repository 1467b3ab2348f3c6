"""The examples of docs/reading.md, run as they stand there on published tables; Athena's and Polars' are not run."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sample_runs import figures, staged

from jobs.settings import ROOT
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse

DAY = date(2026, 11, 20)
PAGE = (ROOT / "docs" / "reading.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a warehouse, where the examples run: a day of three calls and one of two, each published twice."""
    warehouse = Warehouse(LocalStorage(tmp_path / "warehouse"))
    for number, (day, rows) in enumerate([(DAY, 4), (date(2026, 11, 21), 2), (DAY, 3), (date(2026, 11, 21), 2)]):
        warehouse.publish(staged(LocalStorage(tmp_path / "staging"), day, f"run-{number}", rows), figures())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(section: str) -> dict[str, Any]:
    """Run a section's Python; what it leaves."""
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - it is the page's
    return names


def test_the_page_has_an_example_of_each_reader() -> None:
    assert [*SECTIONS] == ["pandas", "Polars", "Spark", "Athena", "Two tables that belong together"]


def test_pandas(place: Path) -> None:
    left = run("pandas")
    assert len(left["calls"]) == 3, "the day's calls as they were published last"
    assert left["by_queue"]["size"].tolist() == [1, 1, 1]


def test_tables_that_belong_together(place: Path) -> None:
    assert len(run("Two tables that belong together")["joined"]) == 3 + 2


@pytest.mark.spark
def test_spark(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.settings import load_settings
    from jobs.spark import spark_session

    places = dict.fromkeys(("staging", "warehouse", "reports"), "unused")
    session = spark_session("reading", load_settings(recordings="s3://none", spark_master="local[1]", **places))
    try:
        rows = run("Spark")["rows"]
    finally:
        session.stop()
    assert [(row.call_date, row.calls) for row in rows] == [(DAY, 1)] * 3
