"""Erasure: a person is nowhere any more, in no table, file, version, orphan, page or log; the others are as they were.

The day is the one of test_enrich: real steps on a night whose audio is made up. ``traces`` is what decides: it decodes
every Parquet file and checkpoint and searches values and raw bytes, and is shown to find the person first.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from test_enrich import (
    DAY,
    RECORDS,
    SECRET,
    Center,
    counts,
    record,
    set_up,
    spark_stays,
    stage_night,
    trap,
    uri,
)

from jobs import erase, person
from jobs.command import EXIT_PERMANENT
from jobs.enrich_day import plan
from jobs.errors import RunWithdrawn
from jobs.identity import keyed_hash
from jobs.labels import Label, Labels
from jobs.settings import load_settings
from jobs.staging import STEPS, RunSpec, RunStaging, StepMarker
from jobs.storage import LocalStorage
from jobs.warehouse import DAY_TABLES
from schemas import TABLES
from schemas.staging import PLAN, SEGMENTS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

__all__ = ["spark_stays", "trap"]

NIGHT, AGAIN, ORPHAN = "20261121T013000Z-000001", "20261121T023000Z-000002", "20261121T020000Z-00000f"
CONTACT = "unrecorded"
CUSTOMER = keyed_hash(SECRET.encode(), "customer", "+1555calm")
CONTACTS = [
    record("angry", "Billing", NextContactId="calm", PreviousContactId=CONTACT),
    *(row for row in RECORDS["contacts"] if row["ContactId"] != "angry"),
]


def traces(folder: Path, *ids: str) -> set[str]:
    """The files below a folder that hold one of these ids, as a value or in their bytes."""
    found = set()
    for file in folder.rglob("*"):
        if not file.is_file() or "jsonl" in str(file):
            continue
        content = file.read_bytes()
        with suppress(pa.ArrowInvalid):
            if file.suffix == ".parquet":
                content += repr(pq.read_table(file, partitioning=None).to_pylist()).encode()
                content += repr(pq.read_metadata(file).metadata).encode()
                content += repr(pq.ParquetFile(file).metadata.row_group(0).to_dict() if content else "").encode()
        if any(each.encode() in content for each in ids):
            found.add(str(file.relative_to(folder)))
    return found


def ready(center: Center, run_id: str) -> RunStaging:
    """A run that is to be published next, with the rows of the published night."""
    staging = center.staging(run_id)
    for name in [table.name for table in DAY_TABLES]:
        rows = center.warehouse.read(name, call_date=DAY)
        place = rows.column_names.index("run_id") if "run_id" in rows.column_names else None
        if place is not None:
            rows = rows.set_column(place, rows.schema.field(place), pa.repeat(pa.scalar(run_id), rows.num_rows))
        staging.write_table(TABLES[name], rows)
    staging.write_table(PLAN, plan(staging.read_table(TABLES["recordings"]), staging))
    staging.start_run(RunSpec(run_id, DAY, load_settings().model, ("customer",), "abc", "2026-11-21T01:30:00+00:00"))
    for step in STEPS["night"][: STEPS["night"].index("publish_tables")]:
        staging.end(StepMarker(step, run_id, "done", 1.0))
    return staging


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, trap: list[str], spark_stays: None) -> Path:
    """A center with everything that may hold a person: two nights, a failed run, an orphan, checkpoints, logs."""
    with pytest.MonkeyPatch.context() as patch:
        center = set_up(tmp_path_factory.mktemp("published"), patch).having(contacts=CONTACTS)
        stage_night(center.staging(NIGHT))
        center.publish(NIGHT, "summarize_calls")
        center.staging(NIGHT).end(StepMarker("validate_tables", NIGHT, "done", 1.0))  # takes seconds, and judges only
        center.publish(NIGHT, "publish_tables", "render_report")
        ready(center, AGAIN)
        center.publish(AGAIN, "publish_tables", "render_report")
        warehouse = center.folder / "warehouse"
        for name in TABLES:
            DeltaTable(str(warehouse / name)).create_checkpoint()
        (log,) = (warehouse / "emotion_log" / f"call_date={DAY}").glob(f"part-{AGAIN}-0.parquet")
        shutil.copy(log, log.with_name(f"part-{ORPHAN}-0.parquet"))
        for contact in (CONTACT, "angry"):
            judged_at = datetime(2026, 11, 21, tzinfo=UTC)
            heard = ("customer", 1.0, 3.0, "sad", "negative", "heron", "random", 2.0, "m", "sad", 0.5, judged_at)
            Labels(LocalStorage(warehouse)).add(Label(DAY, contact, *heard))
        elsewhere = warehouse / "calls" / "call_date=2026-11-25"
        elsewhere.mkdir()
        shutil.copy(next((warehouse / "calls").rglob(f"part-{AGAIN}-0.parquet")), elsewhere / "part-x-0.parquet")

        failed = center.staging("20261121T030000Z-00000e")
        stage_night(failed)
        with failed.writer(SEGMENTS, "7") as writer:  # by an attempt that never committed
            writer.write(segments(failed))
        (center.folder / "staging" / failed.folder / "segments" / "8-cut-short.parquet").write_bytes(b"PAR1 cut")
        (center.folder / "logs").mkdir()
        (center.folder / "logs" / "task.log").write_text(f"about {uri(CONTACT)}, at DEBUG\n")
        return center.folder


def segments(staging: RunStaging) -> pa.Table:
    row = {"call_date": DAY, "contact_id": CONTACT, "role": "customer", "turn_index": 0, "segment_index": 0}
    row |= {"start_s": 0.0, "end_s": 1.0, "source_uri": uri(CONTACT), "run_id": staging.run_id}
    given = {field.name: row.get(field.name) for field in SEGMENTS.schema}
    given |= {
        field.name: 0 if pa.types.is_integer(field.type) else False if pa.types.is_boolean(field.type) else 0.0
        for field in SEGMENTS.schema
        if given[field.name] is None and not field.nullable
    }
    return pa.Table.from_pylist([given], schema=SEGMENTS.schema)


@pytest.fixture
def center(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Center:
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("CALLMOOD_LOGS", str(tmp_path / "logs"))
    return set_up(tmp_path, monkeypatch).having(contacts=CONTACTS)


def certificates(center: Center) -> list[Any]:
    files = sorted((center.folder / "warehouse" / "_erasures").rglob("certificate.json"))
    return [json.loads(file.read_text()) for file in files]


def test_a_contact_is_nowhere_any_more_and_the_others_are_as_they_were(
    center: Center, caplog: pytest.LogCaptureFixture
) -> None:
    before = center.read()
    found = traces(center.folder, CONTACT)
    for where in (
        *(
            f"warehouse/{name}/call_date={DAY}/part-{AGAIN}"
            for name in ("recordings", "emotion_log", "calls", "contacts")
        ),
        f"warehouse/emotion_log/call_date={DAY}/part-{ORPHAN}",
        "warehouse/calls/call_date=2026-11-25/part-x",
        *(f"staging/{DAY}/{run_id}/" for run_id in (NIGHT, AGAIN, "20261121T030000Z-00000e")),
        f"staging/{DAY}/20261121T030000Z-00000e/segments/7",
        f"warehouse/labels/call_date={DAY}/",
        f"reports/{DAY}/nightly.html",
        "logs/task.log",
    ):
        assert [path for path in found if path.startswith(where)], where

    with caplog.at_level(logging.INFO):
        assert erase.main(["--contact", CONTACT]) == 0, caplog.text
    assert traces(center.folder, CONTACT) == set()
    assert Labels(LocalStorage(center.folder / "warehouse")).read()["contact_id"].to_pylist() == ["angry"]
    assert CONTACT not in caplog.text.replace("--contact", "")

    after = center.read()
    others = {
        name: [
            {**row, "previous_contact_id": None} if name == "contacts" else row
            for row in rows
            if row.get("contact_id") != CONTACT
        ]
        for name, rows in before.items()
    }
    for name in set(TABLES) - {"runs", "satisfaction_daily"}:
        assert after[name] == others[name], name
    assert counts(before)["queue", None][0] - counts(after)["queue", None][0] == 1
    assert counts(after)["total", None] == (2, 6)
    last = max(after["runs"], key=lambda row: row["published_at"])
    assert (last["kind"], last["planned"], last["scored"], last["suppressed"]) == ("erasure", 5, 2, 1)

    (certificate,) = certificates(center)
    places = {(place["place"], place["done"]): place["count"] for place in certificate["places"]}
    assert places["table emotion_log", "rows erased, or freed of a reference"] == 15
    assert places["table contacts", "rows erased, or freed of a reference"] == 1
    assert places["staging", "runs withdrawn"] == 3
    assert places["logs", "files in which an id was made unreadable"] == 1
    assert certificate["subjects"] == [keyed_hash(SECRET.encode(), "subject of an erasure, contact", CONTACT)]
    assert "1 recordings in S3 that RECORDINGS=1 would have deleted" in certificate["remains"][0]


def test_a_customer_is_erased_by_key_also_from_runs_that_come_after(center: Center) -> None:
    assert traces(center.folder, "calm_2026", CUSTOMER)
    assert erase.main(["--customer", CUSTOMER]) == 0
    assert traces(center.folder, "calm_2026", CUSTOMER) == set()
    after = center.read()
    assert "calm" not in {row[name] for row in after["contacts"] for name in ("contact_id", "next_contact_id")}

    # An enrichment finds the customer's record again, and leaves it.
    assert set(center.enrich("20261122T000000Z-000003", publish=False).values()) == {0}
    assert traces(center.folder, "calm_2026", CUSTOMER) == set()


def test_a_run_that_was_planned_before_is_not_published(center: Center) -> None:
    late = ready(center, "20261122T013000Z-000009")
    unseen = shutil.copytree(center.folder / "staging" / late.folder, center.folder / "jsonl-unseen")
    assert erase.main(["--contact", CONTACT]) == 0
    assert center.step("publish_tables", late.run_id) == EXIT_PERMANENT
    with pytest.raises(RunWithdrawn, match="start a new run"):
        late.begin("publish_tables")

    # As if it had been somewhere where the erasure did not see it.
    shutil.rmtree(center.folder / "staging" / late.folder)
    unseen.rename(center.folder / "staging" / late.folder)
    assert center.step("publish_tables", late.run_id) == EXIT_PERMANENT
    marker = late.marker("publish_tables")
    assert marker is not None
    assert "somebody who was erased since it was planned" in (marker.reason or "")
    assert CONTACT not in (marker.reason or "")
    assert traces(center.folder / "warehouse", CONTACT) == set()


def test_a_step_that_was_running_leaves_nothing(center: Center) -> None:
    run = center.staging("20261122T013000Z-00000b")
    stage_night(run)
    assert erase.main(["--contact", CONTACT]) == 0
    run.write_table(SEGMENTS, segments(run))
    marker = center.staging(NIGHT).marker("plan_recordings")
    assert marker is not None
    with pytest.raises(RunWithdrawn):
        run.end(marker)
    assert traces(center.folder, CONTACT) == set()


def test_a_publication_that_died_is_carried_through_first(center: Center, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows come to light by that, and go with the others."""
    run = ready(center, "20261122T013000Z-00000c")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jobs.warehouse.Warehouse._append_marker", dies)
        with pytest.raises(KeyboardInterrupt):
            center.step("publish_tables", run.run_id)
    assert (center.folder / "warehouse" / "_intents" / f"{DAY}.json").exists()
    assert erase.main(["--contact", CONTACT]) == 0
    assert traces(center.folder, CONTACT) == set()
    assert run.run_id in {row["run_id"] for row in center.read()["runs"]}


def test_erasing_again_and_erasing_nobody(center: Center, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ids.jsonl"
    file.write_text(f"# whose requests came today\n{CONTACT}\ncustomer:{CUSTOMER.upper()}\nnobody-at-all\n")
    before = center.read()
    assert erase.main(["--file", str(file)]) == 0
    once = center.read()
    assert {row["contact_id"] for row in before["calls"]} - {row["contact_id"] for row in once["calls"]} == {
        CONTACT,
        "calm",
    }
    assert erase.main(["--file", str(file)]) == 0
    assert center.read() == once
    assert [len(each["subjects"]) for each in certificates(center)] == [3, 3]

    monkeypatch.setenv("CALLMOOD_IDENTITY_KEY", "another key, by which nobody is known")
    assert erase.main(["--contact", CONTACT]) == EXIT_PERMANENT


def test_a_person_is_told_what_is_held(center: Center, capsys: pytest.CaptureFixture[str]) -> None:
    assert person.main(["--customer", CUSTOMER]) == 0
    said = capsys.readouterr().out
    found, end = json.JSONDecoder().raw_decode(said)
    before = center.read()
    assert found["contacts"] == ["calm"]
    for name in (
        "contacts",
        "recordings",
        "emotion_log",
        "calls",
        "call_events",
        "surveys",
        "topics",
        "topic_emotions",
    ):
        assert len(found["tables"][name]) == len([row for row in before[name] if row["contact_id"] == "calm"]), name
    assert {row["contact_id"] for rows in found["tables"].values() for row in rows} == {"calm"}
    assert found["recordings"] == [uri("calm")]
    for words in ("1 contact record", "queue Billing", "1 scored", "often wrong", "survey answer"):
        assert words in said[end:], words

    assert erase.main(["--customer", CUSTOMER]) == 0
    capsys.readouterr()
    assert person.main(["--customer", CUSTOMER]) == 0
    assert "Nothing is held on this person." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--customer", "+15550100"], "no customer keys"),
        (["--contact", " "], "nobody is named"),
        (["--file", "/nowhere/ids"], "there is no file"),
    ],
)
def test_whom_nobody_can_tell_is_refused(
    center: Center, arguments: list[str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert erase.main(arguments) == EXIT_PERMANENT
    assert says in caplog.text
    assert not (center.folder / "warehouse" / "_erasures").exists()
