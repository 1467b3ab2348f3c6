"""Whole nights through Airflow, Spark and a local S3: what is published, what a rerun changes, what parameters do.

And an enrichment of a night, as ``make enrich`` runs it.

Each night takes about a minute on two cores.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pytest
from rich.console import Console

from infra.demo.__main__ import _environment
from infra.demo.local_s3 import local_s3, upload_folder
from infra.demo.sample_calls import BESIDE, CONTACTS, TRUTH, make_sample_calls
from infra.night import LocalAirflow, NightFailed, run_night, what_changed
from jobs.settings import ROOT
from jobs.staging import RunKind, RunStaging
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import TABLES
from tests import signals

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DAY = date(2026, 11, 20)
UNLIKE = {
    # By the design: what two runs of a day may differ in.
    "contacts": {"run_id"},
    "recordings": {"run_id"},
    "emotion_log": {"run_id"},
    "calls": {"run_id"},
    "call_events": {"run_id"},
    "surveys": {"run_id"},
    "topics": {"run_id"},
    "topic_emotions": {"run_id"},
    "satisfaction_daily": set(),
    "alerts": {"run_id"},
    "quarantine": {"run_id", "attempts", "last_seen"},
}


@dataclass(frozen=True)
class Place:
    """A warehouse and how to run nights into it."""

    out: Path
    environment: Mapping[str, str]

    def night(self, call_date: date = DAY, **parameters: str) -> RunStaging:
        """Run a night."""
        return self._run(call_date, parameters, "night")

    def enrichment(self, call_date: date = DAY) -> RunStaging:
        """Enrich a published day."""
        return self._run(call_date, {}, "enrichment")

    def _run(self, call_date: date, parameters: Mapping[str, str], kind: RunKind) -> RunStaging:
        airflow = LocalAirflow(self.out / "airflow", retry_delay_s=1.0)
        console = Console(markup=False, highlight=False, soft_wrap=True)
        staging = LocalStorage(self.out / "staging")
        return run_night(call_date, airflow, staging, self.environment, console, parameters, kind)

    def read(self, table: str, call_date: date = DAY) -> pa.Table:
        return Warehouse(LocalStorage(self.out / "warehouse")).read(table, call_date=call_date)

    def files(self, table: str, call_date: date = DAY) -> list[Path]:
        return sorted((self.out / "warehouse" / table / f"call_date={call_date}").glob("*.parquet"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    out = tmp_path_factory.mktemp("night")
    sample = make_sample_calls(out / "calls", DAY)
    with local_s3(out / "s3.log") as s3:
        upload_folder(s3, sample.folder, "recordings", ignore=BESIDE)
        # Shares of 1 MB, so that Spark's workers read them; the demo's own fit one share.
        yield Place(out, {**_environment(s3, out, sample.contacts, "amazon-connect"), "CALLMOOD_PARTITION_MB": "1"})


def spark_that_tells_all(folder: Path) -> Path:
    """Spark's configuration with an event log, which holds all that its pages show."""
    shutil.copytree(ROOT / "infra" / "spark" / "conf", folder)
    (folder / "events").mkdir()
    with (folder / "spark-defaults.conf").open("a") as defaults:
        defaults.write(f"spark.eventLog.enabled true\nspark.eventLog.dir file://{folder}/events\n")
        defaults.write("spark.eventLog.compress false\n")
    return folder


@pytest.fixture(scope="module")
def first(place: Place) -> Mapping[str, pa.Table]:
    """The tables after one night, whose Spark says all."""
    Place(place.out, {**place.environment, "SPARK_CONF_DIR": str(spark_that_tells_all(place.out / "spark"))}).night()
    return {name: place.read(name) for name in TABLES}


def rows(table: pa.Table, without: set[str]) -> list[dict[str, object]]:
    names = [name for name in table.column_names if name not in without]
    return sorted(table.select(names).to_pylist(), key=repr)


def test_every_recording_is_accounted_for(first: Mapping[str, pa.Table]) -> None:
    outcomes = Counter((row["status"], row["reason_code"]) for row in first["recordings"].to_pylist())
    assert outcomes == {
        ("scored", None): 19,
        ("quarantined", "no_speech"): 1,
        ("quarantined", "not_audio"): 1,
        ("quarantined", "truncated"): 1,
        ("skipped", "mono_not_separable"): 2,
    }
    (run,) = first["runs"].to_pylist()
    assert run["planned"] == run["scored"] + run["quarantined"] + run["skipped"] == 24
    assert (run["scored"], run["quarantined"], run["skipped"]) == (19, 3, 2)
    assert first["calls"].num_rows == 19
    assert set(first["quarantine"].column("reason_code").to_pylist()) == {"no_speech", "not_audio", "truncated"}


def test_only_customers_are_classified(first: Mapping[str, pa.Table]) -> None:
    classified = Counter((row["role"], row["classified"]) for row in first["emotion_log"].to_pylist())
    assert classified["customer", True] > 100
    assert classified["agent", True] == 0
    assert classified["agent", False] > 100
    for row in first["emotion_log"].to_pylist():
        known = [value for name, value in row.items() if name.startswith("p_") and value is not None]
        assert (sum(known) == pytest.approx(1, abs=1e-3)) if row["classified"] else known == []


def test_calls_are_joined_to_their_records(first: Mapping[str, pa.Table]) -> None:
    queues = Counter(first["calls"].column("queue").to_pylist())
    # One recording has no contact record.
    assert queues[None] == 1
    assert len(queues) == 4
    (total,) = [row for row in first["satisfaction_daily"].to_pylist() if row["scope"] == "total"]
    assert total["calls_scored"] == 19
    assert total["contacts_expected"] == 25  # 24 recordings and one that a record names and is not there


def test_the_report_is_there(place: Place, first: Mapping[str, pa.Table]) -> None:
    page = (place.out / "reports" / DAY.isoformat() / "nightly.html").read_text()
    assert "<svg" in page
    assert (place.out / "reports" / DAY.isoformat() / "data_docs" / "index.html").is_file()


def test_nothing_but_tables_and_the_reports_lists_names_anyone_or_holds_a_secret(
    place: Place, first: Mapping[str, pa.Table]
) -> None:
    """Airflow's logs, database and rendered templates, Spark's log and events, markers, the page's summary."""
    records = [json.loads(line) for line in Path(place.environment["CALLMOOD_CONTACTS"]).read_text().splitlines()]
    secrets = {
        *(record["ContactId"] for record in records),
        *(record["CustomerEndpoint"]["Address"] for record in records if record.get("CustomerEndpoint")),
        *(record["Agent"]["Username"] for record in records if record.get("Agent")),
        *first["recordings"]["source_uri"].to_pylist(),
        *(uri.rpartition("/")[2] for uri in first["recordings"]["source_uri"].to_pylist()),
        *(place.environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        *(value for name, value in place.environment.items() if name == "CALLMOOD_IDENTITY_KEY"),
    }
    key_file = place.environment.get("CALLMOOD_IDENTITY_KEY_FILE")
    if key_file:
        secrets.add(Path(key_file).read_text().strip())
    assert len(secrets) > 70
    searched = [file for file in (place.out / "airflow").rglob("*") if file.is_file()]
    searched += [file for file in (place.out / "spark" / "events").rglob("*") if file.is_file()]
    searched += [file for file in (place.out / "staging").rglob("*.json") if file.is_file()]
    kinds = {file.name for file in searched} | {file.suffix for file in searched}
    assert {"night.log", "airflow.db", ".json"} <= kinds
    events = b"".join(file.read_bytes() for file in searched if "events" in file.parts)
    assert b"SparkListenerEnvironmentUpdate" in events
    assert b"SparkListenerJobStart" in events
    page = (place.out / "reports" / DAY.isoformat() / "nightly.html").read_text()
    texts = {str(file): file.read_bytes() for file in searched}
    texts["summary"] = page[: page.index('id="hear"')].encode()
    for file in (place.out / "reports" / DAY.isoformat() / "data_docs").rglob("*.html"):
        texts[str(file)] = file.read_bytes()
    found = {(name, secret) for name, text in texts.items() for secret in secrets if secret.encode() in text}
    assert not found
    # The search finds what is there.
    assert any(secret in page for secret in secrets)


def test_a_night_again_gives_the_same_rows_and_leaves_no_file_behind(
    place: Place, first: Mapping[str, pa.Table]
) -> None:
    before = {name: place.files(name) for name in UNLIKE}
    place.night()
    for name, unlike in UNLIKE.items():
        again = place.read(name)
        assert rows(again, unlike) == rows(first[name], unlike), name
        assert not set(before[name]) & set(place.files(name)), name
        counted = sum(pa.parquet.read_metadata(file).num_rows for file in place.files(name))
        assert counted == again.num_rows, name
    assert place.read("runs").num_rows == 2
    assert set(place.read("quarantine").column("attempts").to_pylist()) == {2}


def test_a_late_survey_and_a_corrected_record_enrich_the_day_without_its_audio(
    place: Place, first: Mapping[str, pa.Table], tmp_path: Path
) -> None:
    """Where the recordings were there is no bucket any more."""
    before = {name: place.read(name) for name in UNLIKE}
    call = before["calls"].filter(pa.compute.is_valid(before["calls"]["queue"])).to_pylist()[0]
    records = [json.loads(line) for line in Path(place.environment["CALLMOOD_CONTACTS"]).read_text().splitlines()]
    newest = next(row for row in reversed(records) if row["ContactId"] == call["contact_id"])
    corrected = {**newest, "Queue": {"Name": "Complaints"}, "LastUpdateTimestamp": "2026-11-25T08:00:00Z"}
    (tmp_path / "contacts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*records, corrected]))
    answer = {"contact_id": call["contact_id"], "score": 2, "answered_at": "2026-11-23T10:00:00Z"}
    (tmp_path / "surveys.jsonl").write_text(json.dumps(answer))
    later = {
        "CALLMOOD_RECORDINGS": "s3://deleted-since",
        "CALLMOOD_CONTACTS": str(tmp_path / "contacts.jsonl"),
        "CALLMOOD_SURVEYS": str(tmp_path / "surveys.jsonl"),
    }
    run = Place(place.out, {**place.environment, **later}).enrichment()
    assert what_changed(run) == "19 calls; 1 changed contact record and 1 new or other survey answer"
    after = {name: place.read(name) for name in UNLIKE}
    changed = {row["contact_id"]: row for row in after["calls"].to_pylist()}[call["contact_id"]]
    assert changed == {**call, "queue": "Complaints", "csat_survey": 2.0, "run_id": run.run_id}
    for name in ("recordings", "emotion_log", "call_events", "quarantine"):
        # An enrichment tries nothing, so not even the attempts differ.
        assert rows(after[name], {"run_id"}) == rows(before[name], {"run_id"}), name
    last = max(place.read("runs").to_pylist(), key=lambda row: row["published_at"])
    assert (last["run_id"], last["kind"], last["scored"]) == (run.run_id, "enrichment", 19)
    assert run.run_id in (place.out / "reports" / DAY.isoformat() / "nightly.html").read_text()


def test_roles_and_model_change_what_is_published(place: Place, first: Mapping[str, pa.Table], tmp_path: Path) -> None:
    warmer = tmp_path / "warmer"
    shutil.copytree(ROOT / "ser_model" / "models" / "research", warmer)
    card = (warmer / "model.yaml").read_text()
    (warmer / "model.yaml").write_text(
        "\n".join("name: warmer" if line.startswith("name:") else line for line in card.splitlines()) + "\n"
    )
    place.night(roles="customer,agent", model=str(warmer))
    log = place.read("emotion_log")
    classified = Counter(row["role"] for row in log.to_pylist() if row["classified"])
    assert min(classified["customer"], classified["agent"]) > 100
    models = {row["model_id"] for row in log.to_pylist() if row["classified"]}
    assert len(models) == 1
    assert models.pop().startswith("warmer-")
    assert place.read("runs").num_rows >= 2


def test_a_day_without_recordings_is_published_too(place: Place) -> None:
    empty = date(2026, 11, 10)
    place.night(empty)
    (run,) = place.read("runs", empty).to_pylist()
    assert (run["planned"], run["scored"]) == (0, 0)
    assert place.read("calls", empty).num_rows == 0
    assert (place.out / "reports" / empty.isoformat() / "nightly.html").is_file()


def test_a_day_of_calls_is_not_replaced_by_nothing(place: Place, first: Mapping[str, pa.Table], tmp_path: Path) -> None:
    """A wrong place of the recordings must not empty a published day."""
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: other\npattern: '(?P<contact_id>x)$'\nprefix: 'nowhere/'\n")
    calls = place.read("calls").num_rows
    mistaken = Place(place.out, {**place.environment, "CALLMOOD_LAYOUTS": str(layout)})
    with pytest.raises(NightFailed, match="CALLMOOD_ALLOW_EMPTY_DAY"):
        mistaken.night()
    assert place.read("calls").num_rows == calls > 0


def test_a_wrong_parameter_ends_the_night_at_once_and_changes_nothing(place: Place) -> None:
    before = place.read("runs").num_rows
    started = time.monotonic()
    with pytest.raises(NightFailed, match="CALLMOOD_ROLES"):
        place.night(roles="boss")
    assert time.monotonic() - started < 60
    assert place.read("runs").num_rows == before


@pytest.mark.shared
def test_scripted_calls(shared_dir: Path, tmp_path: Path) -> None:
    """All 14 are scored, with queue and agent; segments hold 90% of the customers' true speech, 5% lie outside it."""
    calls = shared_dir / "calls" / "scripted"
    with local_s3(tmp_path / "s3.log") as s3:
        upload_folder(s3, calls, "recordings", ignore=BESIDE)
        place = Place(tmp_path, _environment(s3, tmp_path, calls / CONTACTS, "amazon-connect"))
        place.night()
    (run,) = place.read("runs").to_pylist()
    assert (run["planned"], run["scored"]) == (14, 14)
    published = place.read("calls").to_pylist()
    assert all(call["queue"] and call["agent_id"] for call in published)
    assert all(call["satisfaction_index"] is not None for call in published)

    heard: dict[str, list[tuple[float, float]]] = {}
    for row in place.read("emotion_log").to_pylist():
        if row["role"] == "customer":
            heard.setdefault(row["contact_id"], []).append((row["start_s"], row["end_s"]))
    true_s = hit_s = heard_s = 0.0
    for truth in map(json.loads, (calls / TRUTH).read_text().splitlines()):
        spoken = [(turn["start_s"], turn["end_s"]) for turn in truth["turns"] if turn["role"] == "customer"]
        segments = heard[truth["contact_id"]]
        true_s += sum(end - start for start, end in spoken)
        heard_s += sum(end - start for start, end in segments)
        # Neither the turns nor the segments of a call overlap one another.
        hit_s += sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in spoken for b in segments)
    assert hit_s / true_s >= 0.90
    assert (heard_s - hit_s) / heard_s <= 0.05


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stops_what_it_started(tmp_path: Path, ending: signal.Signals) -> None:
    """On Ctrl-C and on a polite end: no process of it is left."""
    out = tmp_path / "out"
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "infra.demo", "--out", str(out)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=signals.heed,
        )
        deadline = time.monotonic() + 120
        while not processes_of(out, demo.pid):
            assert demo.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(3)
        demo.send_signal(ending)
        assert demo.wait(60) == 130
    assert "stopped" in (tmp_path / "log").read_text()
    deadline = time.monotonic() + 20
    while processes_of(out, demo.pid) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert processes_of(out, demo.pid) == []


def processes_of(out: Path, but: int) -> list[str]:
    """The processes, but one, that know of a folder by their arguments or their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) not in (but, os.getpid()):
            try:
                known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            except OSError:
                continue
            if str(out).encode() in known:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
