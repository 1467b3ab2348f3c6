"""Nights on this machine: what ends with them, Airflow's database, and how make hands on what a user gives."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from infra import night
from infra.demo.__main__ import _environment
from infra.demo.__main__ import main as demo
from infra.demo.local_s3 import LocalS3
from infra.night import LocalAirflow, NightFailed
from jobs.due_days import DueDay
from jobs.staging import RunStaging, StepMarker
from jobs.storage import LocalStorage
from jobs.warehouse import Snapshot, Warehouse
from tests import signals

ROOT = Path(__file__).resolve().parent.parent.parent
NASTY = "a `touch x` $HOME $(HOME) \"b\" 'c'"
WAIT_S = 30

# Runs a shell with a child of its own as a process group until it is ended, and says both their ids first. The signals
# of its arguments reach it while the shell is being started.
NIGHT = """
import os, signal, subprocess, sys
from infra.night import _process_group, unwind_on_signals

class Interrupted(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for number in sys.argv[2:]:
            os.kill(os.getpid(), int(number))

subprocess.Popen = Interrupted
unwind_on_signals()
try:
    with _process_group(["bash", "-c", "sleep 300 & echo $$ $!; wait"], {"PATH": sys.argv[1]}, sys.stdout) as process:
        process.wait()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """What main does with signals is for its process, which here is pytest's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def is_alive(process_id: int) -> bool:
    try:
        # A dead process stays in the table until somebody reaps it.
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_S
    while not (held := is_so()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes = []

    def start(*before: str, sent: Sequence[signal.Signals] = ()) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-c", NIGHT, os.environ["PATH"], *(str(int(each)) for each in sent)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=signals.heed,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        with process:  # closes the pipe, which a group that was left would keep open
            pass


def children(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(number) for number in process.stdout.readline().split()]


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT], [signal.SIGHUP] * 3])
def test_a_signal_ends_the_whole_process_group(
    started: Callable[..., subprocess.Popen[str]], numbers: list[signal.Signals]
) -> None:
    process = started()
    group = children(process)
    assert len(group) == 2 and all(map(is_alive, group))
    for number in numbers:
        process.send_signal(number)
    assert process.wait(WAIT_S) == 130
    assert wait_until(lambda: not any(map(is_alive, group)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_comes_while_a_group_is_started_ends_it(
    started: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = started(sent=[number])
    assert process.wait(WAIT_S) == 130
    group = children(process)  # of a shell that was ended before it could say them: none
    assert wait_until(lambda: not any(map(is_alive, group)))


def test_under_nohup_a_night_outlives_its_terminal(started: Callable[..., subprocess.Popen[str]]) -> None:
    process = started("nohup")
    group = children(process)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None and all(map(is_alive, group))
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 130
    assert wait_until(lambda: not any(map(is_alive, group)))


class FakeAirflow:
    """An Airflow that notes how it is called, and ends as it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = folder / "calls"
        self.executable = folder / "airflow"
        self.lock = folder / "requirements" / "airflow.txt"
        self.lock.parent.mkdir()
        self.lock.write_text("apache-airflow==3.3.2\n")
        self.home = LocalAirflow(folder / "home")
        self.home.home.mkdir()
        self.said = io.StringIO()
        monkeypatch.setattr(night, "AIRFLOW", self.executable)
        monkeypatch.setattr(night, "ROOT", folder)

    def migrate(self, status: int = 0) -> None:
        self.executable.write_text(f'#!/bin/sh\necho "$@" >> "{self.calls}"\nexit {status}\n')
        self.executable.chmod(0o755)
        with self.home.log_file.open("a") as log:
            night.migrate(self.home, {"PATH": os.defpath}, log, Console(file=self.said))

    @property
    def n_migrated(self) -> int:
        return self.calls.read_text().splitlines().count("db migrate") if self.calls.exists() else 0


@pytest.fixture
def airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAirflow:
    return FakeAirflow(tmp_path, monkeypatch)


def test_the_database_is_made_once(airflow: FakeAirflow) -> None:
    airflow.migrate()
    airflow.migrate()
    assert airflow.n_migrated == 1
    assert len(airflow.home.stamp_file.read_text()) == 64


def test_another_lock_migrates_again(airflow: FakeAirflow) -> None:
    airflow.migrate()
    airflow.lock.write_text("apache-airflow==3.3.3\n")
    airflow.migrate()
    airflow.migrate()
    assert airflow.n_migrated == 2


def test_another_configuration_migrates_again_since_it_may_name_another_database(airflow: FakeAirflow) -> None:
    airflow.migrate()
    (airflow.home.home / "airflow.cfg").write_text("[database]\nsql_alchemy_conn = postgresql://\n")
    airflow.migrate()
    airflow.migrate()
    assert airflow.n_migrated == 2


def test_a_database_that_could_not_be_made_is_made_again(airflow: FakeAirflow) -> None:
    (airflow.home.home / "airflow.db").touch()  # half-made
    with pytest.raises(NightFailed, match=r"night\.log"):
        airflow.migrate(status=1)
    assert not airflow.home.stamp_file.exists()
    airflow.migrate()
    assert airflow.n_migrated == 2
    assert airflow.home.stamp_file.exists()


def make(folder: Path, *arguments: str) -> list[str]:
    """What a target of the Makefile starts instead of the jobs' interpreter, one argument a line."""
    folder.mkdir(exist_ok=True)
    fake = folder / "fake"
    fake.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    fake.chmod(0o755)
    # `make test` itself must not be heard.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-s", *arguments, f"JOBS={fake}"],  # noqa: S607 - as on PATH
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_make_hands_on_what_is_given_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / NASTY).mkdir()
    asked = ("RECORDINGS", "CONTACTS", "DATE", "LAYOUT", "OUT")
    said = make(tmp_path / "bin", "demo", *(f"{name}={tmp_path / NASTY}" for name in asked))
    options = [word for name in asked for word in (f"--{name.lower()}", str(tmp_path / NASTY))]
    assert said == ["-m", "infra.demo", *options]
    assert not (ROOT / "x").exists()


def test_the_report_on_a_model_is_made_by_the_python_of_training(tmp_path: Path) -> None:
    fake = f"TRAINING={tmp_path / 'bin' / 'fake'}"
    given = [f"{name}={NASTY}" for name in ("RUNS", "CORPORA", "NOISE", "RECORDINGS", "MODEL", "OUT")]
    options = ("--runs", "--corpora", "--noise", "--recordings", "--shipped", "--out")
    words = [word for option in options for word in (option, NASTY)]
    assert make(tmp_path / "bin", "model-report", fake, *given) == ["-m", "reporting.model_report", *words]
    assert make(tmp_path / "bin", "model-report", fake, "RUNS=a", "CORPORA=b", "INT8=1")[-1] == "--int8"
    trained = make(tmp_path / "bin", "model-report", fake, "RUNS=a", "CORPORA=b", "RETRAIN=1")
    assert trained[-2:] == ["--retrain", "ser_model/configs/research.yaml"]
    trained = make(tmp_path / "bin", "model-report", fake, "RUNS=a", "CORPORA=b", "RETRAIN=1", f"CONFIG={NASTY}")
    assert trained[-2:] == ["--retrain", NASTY]


@pytest.mark.parametrize(
    ("given", "started"),
    [
        (["demo"], ["-m", "infra.demo"]),
        (["demo", "RECORDINGS=../calls"], ["-m", "infra.demo", "--recordings", "../calls"]),
        (["run"], ["-m", "infra.night", "--look-back", "--from", "", "--to", ""]),
        (
            ["run", "DATE=2026-11-20", f"MODEL={NASTY}", "ROLES=customer,agent", "ACCEPT=thin"],
            [
                *("-m", "infra.night", "--model", NASTY, "--roles", "customer,agent", "--accept", "thin"),
                *("--look-back", "--from", "2026-11-20", "--to", "2026-11-20"),
            ],
        ),
        (["backfill", f"FROM={NASTY}", "TO=$b"], ["-m", "infra.night", "--from", NASTY, "--to", "$b"]),
        (["enrich", f"FROM={NASTY}", "TO=$b"], ["-m", "infra.night", "--enrich", "--from", NASTY, "--to", "$b"]),
        (["release", f"CONTACT={NASTY}"], ["-m", "jobs.release", "--contact", NASTY]),
        (["republish", f"RUN={NASTY}"], ["-m", "jobs.republish", "--run-id", NASTY]),
        (["release", "REASON=access_denied"], ["-m", "jobs.release", "--reason", "access_denied"]),
        (
            ["sql", f"OUT={NASTY}", "Q=select '$1' \"x\""],
            ["-m", "reporting.sql", "--warehouse", f"{NASTY}/warehouse", "select '$1' \"x\""],
        ),
    ],
)
def test_make_starts(given: list[str], started: list[str], tmp_path: Path) -> None:
    assert make(tmp_path, *given) == started


def test_a_night_by_hand_then_runs_the_days_that_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    due = [DueDay(date(2026, 11, 18), came=2), DueDay(date(2026, 11, 19), came=1, retried=1, published=False)]
    ran: list[tuple[str, object]] = []

    def run(call_date: date, *arguments: object) -> None:
        ran.append((str(call_date), arguments[4]))
        if call_date.day == 18:
            raise NightFailed("why")

    monkeypatch.setattr(night, "due_days", lambda _, call_date: due if call_date == date(2026, 11, 20) else [])
    monkeypatch.setattr(night, "run_night", run)
    asked = ["--from", "2026-11-20", "--to", "2026-11-20", "--accept", "thin"]
    assert night.main(asked) == 0
    assert night.main([*asked, "--look-back"]) == 1
    own = ("2026-11-20", {"accept": "thin"})
    # What was asked for is of the night's own day, and one that fails keeps no other from being run.
    assert ran == [own, own, ("2026-11-18", {}), ("2026-11-19", {})]
    said = capsys.readouterr().out
    assert "2026-11-18 has 2 objects that came or changed\n" in said
    assert "2026-11-19, which is not published, has 1 object that came or changed and 1 recording to be tried" in said


@pytest.mark.parametrize("wrong", ["", "yesterday", "2026-13-01"])
def test_a_night_without_a_date_says_what_to_give(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert night.main(["--from", wrong, "--to", wrong]) == 2
    said = capsys.readouterr().out
    assert "YYYY-MM-DD: make run DATE=" in said
    assert len(said.splitlines()) == 1


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    for place in ("STAGING", "WAREHOUSE", "REPORTS"):
        monkeypatch.setenv(f"CALLMOOD_{place}", str(tmp_path / place.lower()))


@pytest.mark.usefixtures("settings")
def test_the_model_is_found_from_the_callers_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heard: list[object] = []
    monkeypatch.setattr(night, "run_night", lambda *arguments: heard.extend(arguments[-2:]))
    monkeypatch.chdir(tmp_path)
    assert night.main(["--from", "2026-11-20", "--to", "2026-11-20", "--model", "models/mine"]) == 0
    assert heard == [{"model": str(tmp_path / "models" / "mine")}, "night"]


def enriched(folder: Path, day: date, **counts: int) -> RunStaging:
    """The staging of an enrichment that found so much."""
    run = RunStaging(LocalStorage(folder / "staging"), day, "run")
    records = ("new_records", "changed_records", "moved_contacts")
    nothing = (*records, "changed_events", "changed_surveys", "changed_topics", "opted_out")
    run.end(StepMarker("enrich_day", "run", "done", 1.0, {**dict.fromkeys(nothing, 0), **counts}))
    run.end(StepMarker("summarize_calls", "run", "done", 1.0, {"scored": 1200}))
    return run


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "1,200 calls; nothing new"),
        ({"changed_surveys": 1}, "1,200 calls; 1 new or other survey answer"),
        ({"changed_topics": 2}, "1,200 calls; 2 contacts with other topics"),
        (
            {"new_records": 2, "changed_records": 1, "moved_contacts": 1, "changed_events": 3, "opted_out": 2},
            "1,200 calls; 2 new contact records, 1 changed contact record, 1 contact that is of another day, 3 "
            "contacts with other call events and 2 recordings withdrawn for opt-outs",
        ),
    ],
)
def test_an_enrichment_says_what_it_changed(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    assert night.what_changed(enriched(tmp_path, date(2026, 11, 20), **counts)) == said


ENRICHED = [
    # published days, those whose enrichment fails, exit status, what is said of each day
    (["2026-11-20", "2026-11-22"], [], 0, ["never published, and passed over: 2026-11-21", "2026-11-20", "2026-11-22"]),
    (
        ["2026-11-20", "2026-11-22"],
        ["2026-11-22"],
        1,
        ["passed over", "2026-11-20 enriched", "2026-11-22 failed: it did"],
    ),
    (["2026-11-19"], [], 1, ["passed over: 2026-11-20, 2026-11-21 and 2026-11-22", "there is no day to enrich"]),
    ([], [], 1, ["passed over: 2026-11-20, 2026-11-21 and 2026-11-22", "there is no day to enrich"]),
]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("published", "failing", "status", "said"), ENRICHED)
def test_of_a_range_the_published_days_are_enriched(
    published: list[str],
    failing: list[str],
    status: int,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def run(call_date: date, *arguments: object) -> RunStaging:
        assert arguments[-1] == "enrichment"
        asked.append(call_date.isoformat())
        if call_date.isoformat() in failing:
            raise NightFailed("it did")
        return enriched(tmp_path, call_date, new_records=1)

    days = {date.fromisoformat(day): () for day in published}
    snapshot = Snapshot(LocalStorage(tmp_path), {"runs": days})
    monkeypatch.setattr(Warehouse, "snapshot", lambda warehouse, tables: snapshot)
    monkeypatch.setattr(night, "run_night", run)
    assert night.main(["--enrich", "--from", "2026-11-20", "--to", "2026-11-22"]) == status
    assert asked == [day for day in published if day >= "2026-11-20"]
    text = capsys.readouterr().out
    places = [text.index(part) for part in said]
    assert places == sorted(places)
    assert text.count("enriched: 1,200 calls; 1 new contact record\n") == len(asked) - len(failing)


@pytest.mark.usefixtures("settings")
def test_of_many_days_that_were_never_published_a_few_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert night.main(["--enrich", "--from", "2016-01-01", "--to", "2025-12-31"]) == 1
    missing, why = capsys.readouterr().out.splitlines()
    assert missing.endswith("2016-01-06, 2016-01-07 and 3,646 more")
    assert why.startswith("there is no day to enrich")


def test_the_demo_names_a_wrong_date(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo(["--date", "yesterday"])
    assert "'yesterday' is no date; expected YYYY-MM-DD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "intra.net"}, "intra.net,127.0.0.1,localhost"),
        ({"no_proxy": "intra.net", "NO_PROXY": ""}, "intra.net,127.0.0.1,localhost"),
    ],
)
def test_the_demo_asks_no_proxy_for_its_own_s3(
    before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    made = _environment(LocalS3("http://127.0.0.1:1"), tmp_path, None, "amazon-connect")
    assert made["NO_PROXY"] == made["no_proxy"] == after
