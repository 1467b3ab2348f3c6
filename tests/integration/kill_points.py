"""Publishes a day again and again, and ends the publishing process by SIGKILL at another point each time.

A program of its own, so that it can fork: a process in which deltalake's threads run cannot. Each fork publishes, and
kills itself before, during or after one write, copy, deletion or commit. What it was about to do it says first, through
a pipe; that it was killed, its exit status says. Then others look at the warehouse as a reader does, publish the day,
and look again. Prints a line of JSON a kill.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from deltalake import DeltaTable
from sample_runs import figures, rows_of, staged

from jobs.own_process import in_own_process
from jobs.staging import RunStaging
from jobs.storage import LocalStorage, Storage
from jobs.warehouse import DAY_TABLES, Warehouse
from schemas import TABLES

DAY = date(2026, 11, 20)
MOMENTS = ("before", "during", "after")
MEMORY_MB = 4096

Rows = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Point:
    """Where a publication is killed: at which of its changes, and when of it."""

    change: str
    moment: str


@dataclass(frozen=True)
class Kill:
    """What came of it.

    Attributes
    ----------
    reached
        What the process said that it was about to do, before it was killed.
    seen
        What a reader saw then: the day as it was before, as it is after, or something mixed.
    healed
        Whether the next publication of the day gave what an undisturbed one gives, and left nothing behind.
    """

    scenario: str
    change: str
    moment: str
    reached: str
    killed_by: int | None
    seen: str
    healed: bool


@dataclass(frozen=True)
class Scenario:
    """A publication: of what was published before, and what the process that is killed publishes."""

    name: str
    earlier: bool
    release: bool = False

    def publish(self, staging: Storage, warehouse: Warehouse, run_id: str) -> None:
        """Publish as the process that may be killed, or as the one after it."""
        if not self.release:
            warehouse.publish(RunStaging(staging, DAY, run_id), figures())
            return
        quarantine = TABLES["quarantine"]
        run = RunStaging(staging, DAY, f"release-{run_id}")
        warehouse.publish(run, figures(kind="release"), tables=[quarantine])


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("a day published before", earlier=True),
        Scenario("an empty warehouse", earlier=False),
        Scenario("one table of a day", earlier=True, release=True),
    )
}


class Watched(LocalStorage):
    """A folder that says each change before it is made, and lets the process be killed at one."""

    def __init__(self, folder: Path, at: Callable[[str], Killer]) -> None:
        super().__init__(folder)
        self._at = at

    def _put(self, path: str, fill: Callable[[BinaryIO], object], name_it: Callable[[Path, Path], object]) -> None:
        with self._at(f"put {path}") as killer:

            def half(part: BinaryIO) -> object:
                if not killer.now("during"):
                    return fill(part)
                whole = io.BytesIO()
                fill(whole)
                part.write(whole.getvalue()[: len(whole.getvalue()) // 2])
                part.flush()
                return killer.kill()

            super()._put(path, half, name_it)

    def delete(self, path: str) -> None:
        with self._at(f"delete {path}") as killer:
            if killer.now("during"):
                # Between the file and the folder that it leaves empty.
                (self.folder / path).unlink(missing_ok=True)
                killer.kill()
            super().delete(path)


class Killer:
    """Kills this process before, during or after a change, if that is the point."""

    def __init__(self, change: str, point: Point | None, said: int) -> None:
        self._moment = point.moment if point is not None and point.change == change else None
        self._change = change
        self._said = said

    def now(self, moment: str) -> bool:
        """Whether this is the moment."""
        return moment == self._moment

    def kill(self) -> None:
        """End this process, at once and for good."""
        os.write(self._said, f"{self._moment} {self._change}".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_soon(self) -> None:
        """End it from another thread, out of the midst of whatever this one does."""

        def end() -> None:
            time.sleep(0.002)
            self.kill()

        threading.Thread(target=end, daemon=True).start()

    def __enter__(self) -> Killer:
        if self.now("before"):
            self.kill()
        return self

    def __exit__(self, *failure: object) -> None:
        if self.now("after") and failure == (None, None, None):
            self.kill()


class Changes:
    """The changes that a publication makes, each under a name of its own; several threads make them."""

    def __init__(self, point: Point | None, said: int) -> None:
        self.made: list[str] = []
        self._point = point
        self._said = said
        self._counting = threading.Lock()

    def __call__(self, change: str) -> Killer:
        with self._counting:
            again = sum(each.partition(", time ")[0] == change for each in self.made)
            name = f"{change}, time {again + 1}" if again else change
            self.made.append(name)
        return Killer(name, self._point, self._said)


@contextmanager
def watched_commits(at: Callable[[str], Killer]) -> Iterator[None]:
    """Let commits be points as the changes of files are."""
    commit, create = DeltaTable.create_write_transaction, DeltaTable.create

    def watched_commit(handle: DeltaTable, *args: Any, **kwargs: Any) -> None:
        with at(f"commit {Path(handle.table_uri).name}") as killer:
            if killer.now("during"):
                killer.kill_soon()
            commit(handle, *args, **kwargs)
            if killer.now("during"):
                time.sleep(1)  # it was faster than the thread

    def watched_create(location: str, *args: Any, **kwargs: Any) -> DeltaTable:
        with at(f"create {Path(location).name}") as killer:
            if killer.now("during"):
                killer.kill_soon()
            made = create(location, *args, **kwargs)
            if killer.now("during"):
                time.sleep(1)
            return made

    DeltaTable.create_write_transaction = watched_commit  # type: ignore[method-assign]
    DeltaTable.create = watched_create  # type: ignore[method-assign,assignment]
    yield


class Range:
    """A scenario's warehouses, each a copy of one that is prepared."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.staging = LocalStorage(folder / "staging")
        self._prepared = folder / "prepared"
        self._copy = folder / "copy"
        self._prepared.mkdir(parents=True)
        in_own_process(self._prepare, MEMORY_MB)
        self.old = self._rows(self._prepared)
        self._fresh()
        self.changes = self._undisturbed()
        self.new = self._rows(self._copy)
        assert self.new != self.old

    def points(self) -> Iterator[Point]:
        """Every change of an undisturbed publication, before, during and after."""
        for change in self.changes:
            for moment in MOMENTS:
                yield Point(change, moment)

    def kill(self, point: Point, rerun: str) -> Kill:
        """Publish and be killed at the point; then publish the run of that name."""
        self._fresh()
        reached, killed_by = self._killed(point)
        seen = self._rows(self._copy)
        let_the_lease_end(LocalStorage(self._copy))
        in_own_process(lambda: self._publish(rerun), MEMORY_MB)
        healed = self._rows(self._copy) == self.new and in_own_process(lambda: is_clean(self._copy), MEMORY_MB)
        said = {"old": seen == self.old, "new": seen == self.new}
        return Kill(
            self.scenario.name,
            point.change,
            point.moment,
            reached,
            killed_by,
            next((name for name, is_so in said.items() if is_so), "mixed"),
            healed,
        )

    def _prepare(self) -> None:
        staged(self.staging, DAY, "run-1", salt="old")
        for name in ("run-2", "run-3"):
            staged(self.staging, DAY, name)
            quarantine = TABLES["quarantine"]
            RunStaging(self.staging, DAY, f"release-{name}").write_table(
                quarantine, rows_of(quarantine, DAY, "run-1", 2, "released")
            )
        if self.scenario.earlier:
            Warehouse(LocalStorage(self._prepared)).publish(RunStaging(self.staging, DAY, "run-1"), figures())

    def _fresh(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._prepared, self._copy)

    def _publish(self, run_id: str) -> None:
        self.scenario.publish(self.staging, Warehouse(LocalStorage(self._copy)), run_id)

    def _undisturbed(self) -> list[str]:
        def publish() -> list[str]:
            changes = Changes(None, 0)
            with watched_commits(changes):
                self.scenario.publish(self.staging, Warehouse(Watched(self._copy, changes)), "run-2")
            return changes.made

        return in_own_process(publish, MEMORY_MB)

    def _killed(self, point: Point) -> tuple[str, int | None]:
        """What the process said that it was about to do, and the signal that ended it."""
        receiving, saying = os.pipe()

        def publish() -> None:
            changes = Changes(point, saying)
            with watched_commits(changes):
                self.scenario.publish(self.staging, Warehouse(Watched(self._copy, changes)), "run-2")

        process = get_context("fork").Process(target=publish)
        process.start()
        os.close(saying)
        with os.fdopen(receiving) as pipe:
            reached = pipe.read()
        process.join()
        exit_code = process.exitcode
        return reached, -exit_code if exit_code is not None and exit_code < 0 else None

    def _rows(self, folder: Path) -> Rows:
        return in_own_process(lambda: read_day(folder), MEMORY_MB)


def read_day(folder: Path) -> Rows:
    """The day's rows of every table, as a reader sees them, without the runs' names."""
    view = Warehouse(LocalStorage(folder)).snapshot()
    found = {}
    for table in DAY_TABLES:
        rows = view.dataset(table.name, DAY).to_table()
        kept = rows.drop_columns(["run_id"]) if "run_id" in rows.column_names else rows
        found[table.name] = sorted(kept.to_pylist(), key=repr)
    return found


def is_clean(folder: Path) -> bool:
    """Whether just the files that the tables name are there, and no intent."""
    for name in TABLES:
        handle = DeltaTable(str(folder / name))
        named = set(pa.table(handle.get_add_actions(flatten=True)).column("path").to_pylist())
        there = {
            str(file.relative_to(folder / name))
            for file in (folder / name).rglob("*")
            if file.is_file() and "_delta_log" not in file.parts
        }
        if there != named:
            return False
    return not [file for file in (folder / "_intents").rglob("*") if file.is_file()]


def let_the_lease_end(storage: Storage) -> None:
    """Let the lock that a killed process left be one that can be taken over now."""
    for file in list(storage.files("_locks")):
        if file.path.endswith(".json"):
            state = json.loads(storage.read(file.path))
            storage.write(file.path, json.dumps({**state, "renewed_at": 0.0, "lease_s": 0.01}).encode())


def main() -> int:
    """Kill at every so many-th point, and at the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIOS, required=True)
    parser.add_argument("--every", type=int, default=1, help="of the points, every so many-th")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Range(SCENARIOS[arguments.scenario], Path(folder) / "range")
        points = list(place.points())
        print(json.dumps({"points": len(points)}))
        chosen = sorted({*range(0, len(points), arguments.every), len(points) - 1})
        for number, point in enumerate(points[index] for index in chosen):
            print(json.dumps(asdict(place.kill(point, ("run-2", "run-3")[number % 2]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
