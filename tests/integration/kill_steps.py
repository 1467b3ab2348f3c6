"""Runs the steps of a night, and ends each by SIGKILL before, during and after each of its writes and deletions.

A program of its own, so that it can fork: each try of a step is a process, with whatever that starts. After a kill the
step is run again, and what it staged then is compared, row for row, with what an undisturbed try staged. Publishing has
a harness of its own (kill_points.py). The settings come from the environment. Prints a line of JSON a kill.
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
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

from jobs.own_process import in_own_process
from jobs.staging import STEPS, RunStaging, TableWriter
from jobs.step import step_main
from jobs.storage import LocalStorage
from schemas import STAGED_TABLES, TABLES

DAY = date(2026, 11, 20)
RUN = "20261121T013000Z-00dead"
MOMENTS = ("before", "during", "after")
MEMORY_MB = 8192
OF_THE_CLOCK = {"first_seen", "last_seen"}
PLACES = ("staging", "warehouse", "reports")


@dataclass(frozen=True)
class StepKill:
    """What came of a kill.

    Attributes
    ----------
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
    killed_by: int | None
    marker: str | None
    same: bool


class Points:
    """The changes that a step makes, counted over the step's process and those that it forks."""

    def __init__(self, kill_at: int | None = None, moment: str = "") -> None:
        self.made = get_context("fork").Value("i", 0)
        self._step_process = os.getpid()
        self._kill_at = kill_at
        self._moment = moment
        self.names: list[str] = []

    @contextmanager
    def change(self, name: str) -> Iterator[Callable[[], bool]]:
        """A change; gives what says whether the process is to end in the midst of it."""
        with self.made.get_lock():
            number = self.made.value
            self.made.value += 1
        os.write(self._said, f"{name}\n".encode())

        def now(moment: str) -> bool:
            return (number, moment) == (self._kill_at, self._moment)

        if now("before"):
            self.kill()
        yield lambda: now("during")
        if now("after"):
            self.kill()

    def kill(self) -> None:
        """End the step at once and for good, and this process, if it is another."""
        os.kill(self._step_process, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, said: int) -> None:
        """Let every change of this process from now on be one of these; their names go to a pipe."""
        self._said = said
        self._step_process = os.getpid()
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


class Night:
    """A night in a folder, step by step, each of which can be done again from the state before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = folder.with_name("before")
        self._folder.mkdir()

    def run(self, step: str, points: Points) -> tuple[list[str], int | None]:
        """Try a step in a process of its own: the changes that it said it was about to make, and what ended it."""
        receiving, saying = os.pipe()

        def work() -> None:
            os.close(receiving)
            points.watch(saying)
            module = import_module(f"jobs.{step}")
            arguments = ["--call-date", DAY.isoformat(), "--run-id", RUN]
            adds = getattr(module, "_add_arguments", None)
            os._exit(step_main(step, module.run, None, arguments, adds))

        process = get_context("fork").Process(target=work)
        process.start()
        os.close(saying)
        changes: list[str] = []
        reader = threading.Thread(target=lambda: changes.extend(os.fdopen(receiving).read().splitlines()), daemon=True)
        reader.start()
        process.join()
        reader.join(30)
        code = process.exitcode
        assert code is not None
        assert code <= 0, f"{step} failed with {code}"
        return changes, -code or None

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
        """All that the run has staged, but for what is of the clock."""
        return in_own_process(self._made, MEMORY_MB)

    def _made(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for table in {**STAGED_TABLES, **TABLES}.values():
            try:
                rows = self.staging.read_table(table)
            except Exception as error:  # not staged yet; the same in both, or they differ
                found[table.name] = type(error).__name__
                continue
            kept = rows.select([name for name in rows.column_names if name not in OF_THE_CLOCK])
            found[table.name] = sorted(kept.to_pylist(), key=repr)
        found["done"] = {
            step: (marker.status, _whole(marker.counts)) for step, marker in self.staging.markers().items()
        }
        return found


def _whole(counts: Mapping[str, float]) -> Mapping[str, float]:
    return {name: value for name, value in counts.items() if float(value).is_integer() and not name.endswith("_s")}


def main() -> int:
    """Kill each of the steps at every so many-th point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", required=True, help="which are killed; those between are run")
    parser.add_argument("--every", type=int, default=1, help="of the points, every so many-th")
    arguments = parser.parse_args()
    killed = arguments.steps.split(",")
    for step in STEPS["night"]:
        import_module(f"jobs.{step}")  # once, here, not in every fork
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder) / "night")
        for place in PLACES:
            os.environ[f"CALLMOOD_{place.upper()}"] = str(Path(folder) / "night" / place)
        at = 0
        for step in STEPS["night"][: 1 + max(STEPS["night"].index(each) for each in killed)]:
            night.keep()
            changes, ended_by = night.run(step, Points())
            assert ended_by is None
            if step not in killed:
                continue
            undisturbed = night.made()
            for number, change in enumerate(changes):
                for moment in MOMENTS:
                    at += 1
                    if at % arguments.every:
                        continue
                    night.put_back()
                    reached, ended_by = night.run(step, Points(number, moment))
                    marker = night.staging.marker(step)
                    night.run(step, Points())
                    same = night.made() == undisturbed
                    kill = StepKill(step, change, moment, ended_by, marker and marker.status, same)
                    print(json.dumps({**asdict(kill), "reached": len(reached) == number + 1}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
