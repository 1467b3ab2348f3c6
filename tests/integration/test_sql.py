"""SQL over the published tables, as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from sample_runs import figures, staged

from jobs.storage import LocalStorage, S3Storage, Storage
from jobs.warehouse import Warehouse
from schemas import TABLES

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2026, 11, 20)


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=120
    )


def sql(place: Storage, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    server = ["--s3-endpoint", place.endpoint or ""] if isinstance(place, S3Storage) else []
    return run("-m", "reporting.sql", "--warehouse", place.location, *server, *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    folder = tmp_path_factory.mktemp("published")
    place = LocalStorage(folder / "warehouse")
    Warehouse(place).publish(staged(LocalStorage(folder / "staging"), DAY, "run-1"), figures())
    return place


def test_every_table_is_a_view_of_each_days_last_publication(new_storage: Callable[[str], Storage]) -> None:
    staging, place = new_storage("staging"), new_storage("warehouse")
    for day, run_id in ((DAY, "run-1"), (DAY, "run-2"), (DAY + timedelta(1), "run-3")):
        Warehouse(place).publish(staged(staging, day, run_id), figures())
    of_each = (f"select '{name}' as name, count(*) as n from {name}" for name in TABLES)  # noqa: S608 - our names
    counts = " union all ".join(of_each)
    found = sql(place, "--format", "json", counts)
    assert (found.returncode, found.stderr) == (0, "")
    counted = {row["name"]: row["n"] for row in json.loads(found.stdout)}
    assert counted == {name: 3 if name == "runs" else 6 for name in TABLES}


QUERY = "select call_date, contact_id, started_at, [1, 2] as l from contacts order by contact_id limit 2"


def test_csv(published: Storage) -> None:
    assert sql(published, "--format", "csv", QUERY).stdout.splitlines() == [
        "call_date,contact_id,started_at,l",
        '2026-11-20,contact_id0-0,2026-11-20 09:00:00+00,"[1, 2]"',
        '2026-11-20,contact_id0-1,2026-11-20 09:00:01+00,"[1, 2]"',
    ]


def test_json(published: Storage) -> None:
    assert json.loads(sql(published, "--format", "json", QUERY).stdout)[1] == {
        "call_date": "2026-11-20",
        "contact_id": "contact_id0-1",
        "started_at": "2026-11-20 09:00:01+00",
        "l": [1, 2],
    }


def test_the_prompt_answers_one_query_after_another_also_after_errors(published: Storage) -> None:
    typed = ["selekt 1;", "select count(*) from sys;", "select nothing", "from calls;", "select 6 * 7 as answer;"]
    found = sql(published, stdin="\n".join([".columns runs", ".columns nope", *typed]))
    assert found.stdout.startswith("run_id                    string                  UTC start and six random")
    assert "there is no table 'nope'; the tables are contacts, " in found.stdout
    assert "│     42 │" in found.stdout
    errors = found.stderr.splitlines()
    assert [error.partition(":")[0] for error in errors] == ["Parser Error", "Catalog Error", "Binder Error"]
    assert "Table with name sys does not exist" in errors[1]
    assert found.returncode == 0


def test_a_failed_query_says_so_in_one_line_and_its_status(published: Storage) -> None:
    found = sql(published, "select nothing from calls")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith('Binder Error: Referenced column "nothing" not found in FROM clause!')
    assert found.stderr.count("\n") == 1


def test_nothing_published_is_one_line(tmp_path: Path) -> None:
    found = sql(LocalStorage(tmp_path / "none"), "select 1")
    assert (found.returncode, found.stdout) == (2, "")
    assert (
        found.stderr == f"nothing is published in {tmp_path / 'none'} yet: make demo or make run DATE=YYYY-MM-DD does\n"
    )


def test_a_warehouse_that_is_a_file_is_not_one_without_tables(tmp_path: Path) -> None:
    (tmp_path / "calls.parquet").write_bytes(b"")
    found = sql(LocalStorage(tmp_path / "calls.parquet"), "select 1")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert found.stderr.startswith(f"{tmp_path / 'calls.parquet'} cannot be read: it, or what it is in, is a file")


def test_an_address_that_is_none_is_one_line() -> None:
    found = sql(S3Storage("s3://bucket/warehouse", "nonsense", "us-east-1"), "select 1")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert found.stderr.startswith("S3 cannot be asked (Invalid endpoint: nonsense); expected an endpoint such as")


REPLACED_MEANWHILE = """
import sys
sys.path.append("tests/integration")
from datetime import date
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from reporting.sql import Session
from sample_runs import figures, staged
place, staging, day = LocalStorage(sys.argv[1] + "/w"), LocalStorage(sys.argv[1] + "/s"), date(2026, 11, 20)
Warehouse(place).publish(staged(staging, day, "run-1"), figures())
session = Session(place)
Warehouse(place).publish(staged(staging, day, "run-2"), figures())
session.answer("select run_id, count(contact_id) as n from calls group by 1", "csv")
"""


def test_a_query_on_a_day_that_was_replaced_since_reads_the_new_one(tmp_path: Path) -> None:
    assert run("-c", REPLACED_MEANWHILE, str(tmp_path)).stdout == "run_id,n\nrun-2,3\n"
