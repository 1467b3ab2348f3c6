"""Runs the steps of a night, and ends each by SIGKILL before, during and after each of its writes and deletions.

A program of its own, so that it can fork: each try of a step is a process, with whatever that starts; Spark's workers,
which are no forks of it, begin with ``watched_workers.py``. After a kill the step is run again, and what it staged,
published and reported then is compared, row for row, with what an undisturbed try made. Publishing has a harness of its
own (kill_points.py). The settings come from the environment. Prints a line of JSON a kill.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from jobs.own_process import in_own_process
from jobs.settings import load_settings
from jobs.staging import STEPS, RunSpec, RunStaging, StepMarker, TableWriter
from jobs.step import step_main
from jobs.storage import LocalStorage
from jobs.warehouse import DAY_TABLES, Warehouse
from schemas import STAGED_TABLES, TABLES

DAY = date(2026, 11, 20)
RUN = "20261121T013000Z-00dead"
MOMENTS = ("before", "during", "after")
MEMORY_MB = 8192
OF_THE_CLOCK = {"first_seen", "last_seen", "raised_at"}
TIME = re.compile(r"\d{8}T\d{6}\.\d+Z|Made by Callmood on \S+ \S+|\d{4}-\d\d-\d\d \d\d:\d\d")
PLACES = ("staging", "warehouse", "reports")
SUMMARIES = ("recordings", "quarantine", "call_events", "calls", "satisfaction_daily")
VARIABLE = "CALLMOOD_KILL_POINTS"
KILLED = "killed "


@dataclass(frozen=True)
class StepKill:
    """What came of a kill.

    Attributes
    ----------
    reached
        Whether the step said that it was there when it was killed.
    killed_by
        The signal that ended the step; None where it came to its end.
    marker
        The step's marker then: none, unless it was killed after that was written.
    same
        Whether the step, run again, made what an undisturbed try made.
    """

    step: str
    change: str
    moment: str
    reached: bool
    killed_by: int | None
    marker: str | None
    same: bool


@dataclass(frozen=True)
class Points:
    """The changes that a try of a step makes, counted over its process, those that it forks, and Spark's workers.

    All of them find it in the environment, and say each change in one file before they make it.

    Attributes
    ----------
    said
        The file.
    step_process
        The id of the step's process.
    kill_at, moment
        The number of the change that ends the step, and when of it; none ends it where they are not given.
    """

    said: str
    step_process: int
    kill_at: int | None = None
    moment: str = ""

    @contextmanager
    def change(self, name: str) -> Iterator[Callable[[], bool]]:
        """A change; gives what says whether the process is to end in the midst of it."""
        number = self._say(name)

        def now(moment: str) -> bool:
            return (number, moment) == (self.kill_at, self.moment)

        if now("before"):
            self.kill()
        yield lambda: now("during")
        if now("after"):
            self.kill()

    def _say(self, name: str) -> int:
        """Append a change to the file; how many there were before."""
        with Path(self.said).open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = sum(1 for _ in file)
            file.write(f"{name}\n")
        return before

    def kill(self) -> None:
        """End the step at once and for good, and this process, if it is another."""
        self._say(f"{KILLED}{self.moment} {self.kill_at}")
        os.kill(self.step_process, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Let every change of this process from now on be one of these, and those of the processes it starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))
        put, delete, close = LocalStorage._put, LocalStorage.delete, TableWriter.__exit__
        points = self

        def watched_put(
            storage: LocalStorage,
            path: str,
            fill: Callable[[BinaryIO], object],
            name_it: Callable[[Path, Path], object],
        ) -> None:
            if "/_progress/" in path:  # by the clock, and nothing comes of it
                return put(storage, path, fill, name_it)
            with points.change(f"put {path}") as in_the_midst:

                def half(part: BinaryIO) -> object:
                    if not in_the_midst():
                        return fill(part)
                    whole = io.BytesIO()
                    fill(whole)
                    part.write(whole.getvalue()[: len(whole.getvalue()) // 2])
                    part.flush()
                    return points.kill()

                put(storage, path, half, name_it)

        def watched_delete(storage: LocalStorage, path: str) -> None:
            with points.change(f"delete {path}") as in_the_midst:
                if in_the_midst():
                    (storage.folder / path).unlink(missing_ok=True)
                    points.kill()
                delete(storage, path)

        def watched_close(writer: TableWriter, *failure: object) -> None:
            with points.change(f"close a file of {writer._table.name}") as in_the_midst:
                if in_the_midst():
                    points.kill()  # without the end that makes it Parquet
                close(writer, *failure)

        LocalStorage._put = watched_put  # type: ignore[method-assign]
        LocalStorage.delete = watched_delete  # type: ignore[method-assign]
        TableWriter.__exit__ = watched_close  # type: ignore[method-assign]


@dataclass(frozen=True)
class Try:
    """A try of a step: the changes that it said it was about to make, where it was killed, and what ended it."""

    changes: tuple[str, ...]
    killed_at: str | None
    killed_by: int | None


class Night:
    """A night in a folder, step by step, each of which can be done again from the state before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = folder.with_name("before")
        self._folder.mkdir()

    def stage_a_day(self, steps: Sequence[str]) -> None:
        """Stage a day that holds, as these steps would."""
        from test_expectations import a_day

        staging, given = self.staging, a_day()
        staging.start_run(RunSpec(RUN, DAY, load_settings().model, ("customer",), "abc", "2026-11-21T08:00:00+00:00"))
        given["call_audio"] = [
            row | ({"status": "decoded", "nonspeech_s": 0.0, "pauses": []} if row["status"] == "scored" else {})
            for row in given["recordings"]
            if row["status"] != "skipped"
        ]
        if "summarize_calls" not in steps:
            for name in SUMMARIES:
                del given[name]
        for name, table in STAGED_TABLES.items():
            rows = [{**row, "call_date": DAY, "run_id": RUN} for row in given.get(name, [])]
            known = [{column: row.get(column) for column in table.schema.names} for row in rows]
            staging.write_table(table, pa.Table.from_pylist(known, schema=table.schema))
        for step in steps:
            staging.end(StepMarker(step, RUN, "done", 1.0))

    def run(self, step: str, kill_at: int | None = None, moment: str = "") -> Try:
        """Try a step in a process of its own, and end it at this moment of this change."""
        said = self._folder.with_name("said")
        said.write_text("")

        def work() -> None:
            Points(str(said), os.getpid(), kill_at, moment).watch()
            module = import_module(f"jobs.{step}")
            arguments = ["--call-date", DAY.isoformat(), "--run-id", RUN]
            adds = getattr(module, "_add_arguments", None)
            os._exit(step_main(step, module.run, None, arguments, adds))

        process = get_context("fork").Process(target=work)
        process.start()
        process.join()
        code = process.exitcode
        assert code is not None
        assert code <= 0, f"{step} failed with {code}"
        lines = said.read_text().splitlines()
        killed_at = next((line.removeprefix(KILLED) for line in lines if line.startswith(KILLED)), None)
        return Try(tuple(line for line in lines if not line.startswith(KILLED)), killed_at, -code or None)

    def keep(self) -> None:
        """Remember this state."""
        shutil.rmtree(self._before, ignore_errors=True)
        shutil.copytree(self._folder, self._before)

    def put_back(self) -> None:
        """Go back to the state that was kept; what a killed step's processes still wrote is gone, too."""
        for _ in range(50):
            try:
                shutil.rmtree(self._folder)
                break
            except OSError:  # a process of the killed step writes still, for the moment that it takes to notice
                time.sleep(0.1)
        shutil.copytree(self._before, self._folder)

    @property
    def staging(self) -> RunStaging:
        return RunStaging(LocalStorage(self._folder / "staging"), DAY, RUN)

    def made(self) -> Mapping[str, Any]:
        """All that the run has staged, published and reported, but for what is of the clock."""
        return in_own_process(self._made, MEMORY_MB)

    def _made(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        view = Warehouse(LocalStorage(self._folder / "warehouse")).snapshot()
        for table in {**STAGED_TABLES, **TABLES}.values():
            try:
                found[table.name] = _rows(self.staging.read_table(table))
            except Exception as error:  # not staged yet; the same in both, or they differ
                found[table.name] = type(error).__name__
        for table in DAY_TABLES:
            found[f"published {table.name}"] = _rows(view.dataset(table.name, DAY).to_table())
        found["done"] = {
            step: (marker.status, _whole(marker.counts)) for step, marker in self.staging.markers().items()
        }
        # The pages of Data Docs have the time in their names and everywhere in them: that they are there is compared.
        for file in (self._folder / "reports").rglob("*"):
            if file.is_file():
                page = file.read_text() if file.suffix == ".html" and "data_docs" not in file.parts else ""
                found[TIME.sub("", str(file))] = TIME.sub("", page)
        return found


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    kept = table.select([name for name in table.column_names if name not in OF_THE_CLOCK])
    return sorted(kept.to_pylist(), key=repr)


def _whole(counts: Mapping[str, float]) -> Mapping[str, float]:
    return {name: value for name, value in counts.items() if float(value).is_integer() and not name.endswith("_s")}


def main() -> int:
    """Kill each of the steps at every so many-th point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("killed", nargs="+", metavar="STEP=N", help="a step, and that every N-th of its points is one")
    parser.add_argument(
        "--of-a-made-up-day", action="store_true", help="which is staged up to the first of these steps"
    )
    arguments = parser.parse_args()
    every = {step: int(number) for step, _, number in (each.partition("=") for each in arguments.killed)}
    for step in STEPS["night"]:
        import_module(f"jobs.{step}")  # once, here, not in every fork
    import_module("schemas.expectations")
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder) / "night")
        for place in PLACES:
            os.environ[f"CALLMOOD_{place.upper()}"] = str(Path(folder) / "night" / place)
        before: Sequence[str] = ()
        if arguments.of_a_made_up_day:
            before = STEPS["night"][: min(map(STEPS["night"].index, every))]
            in_own_process(lambda: night.stage_a_day(before), MEMORY_MB)
        for step in STEPS["night"][: 1 + max(map(STEPS["night"].index, every))]:
            if step in before:
                continue
            night.keep()
            changes = night.run(step).changes
            if step not in every:
                continue
            undisturbed = night.made()
            points = [(number, moment) for number in range(len(changes)) for moment in MOMENTS]
            for number, moment in points[every[step] - 1 :: every[step]]:
                night.put_back()
                killed = night.run(step, number, moment)
                marker = night.staging.marker(step)
                night.run(step)
                same = night.made() == undisturbed
                reached = killed.killed_at == f"{moment} {number}"
                kill = StepKill(
                    step, killed.changes[number], moment, reached, killed.killed_by, marker and marker.status, same
                )
                print(json.dumps({**asdict(kill), "points": len(points)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
