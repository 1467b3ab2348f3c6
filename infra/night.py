"""Runs nights through Airflow on this machine, without a scheduler, and shows how far they are.

``make run`` and ``make backfill`` come here, and so does the demo. What a night is, is the DAG's to say; whether it
succeeded stands in the markers of its steps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.errors import JobError
from jobs.settings import ROOT, load_settings
from jobs.staging import STEPS, RunStaging, StepMarker
from jobs.storage import Storage, open_storage

DAG = "nightly_emotion_log"
AIRFLOW = ROOT / ".venv" / "airflow" / "bin" / "airflow"
POLL_S = 0.5
STOP_S = 15
MIGRATED = "migrated-for"


class NightFailed(Exception):
    """A night did not get to its end; the message says at which step and why."""


@dataclass(frozen=True)
class LocalAirflow:
    """An Airflow without a scheduler: a folder for its database and logs, and how it starts Spark.

    Attributes
    ----------
    home
        Airflow's folder.
    retry_delay_s
        The wait before the first retry of a step.
    spark_master
        For Airflow's connection to Spark.
    """

    home: Path
    retry_delay_s: float = 30.0
    spark_master: str = "local[*]"

    @property
    def log_file(self) -> Path:
        """Where Airflow's and Spark's output goes."""
        return self.home / "night.log"

    @property
    def stamp_file(self) -> Path:
        """Says for which lock Airflow's database was made, or brought up to date; there only once that succeeded."""
        return self.home / MIGRATED

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables with which Airflow runs, on top of `base`."""
        return {
            **base,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CALLMOOD__HOME": str(ROOT),
            "AIRFLOW__CALLMOOD__RETRY_DELAY_S": str(self.retry_delay_s),
            "AIRFLOW__CALLMOOD__TIME_ZONE": base.get("CALLMOOD_TIME_ZONE", "UTC"),
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": self.spark_master}),
            # Its own spark-submit first: the one in Airflow's environment is none.
            "PATH": f"{ROOT / 'infra' / 'spark' / 'bin'}{os.pathsep}{base.get('PATH', os.defpath)}",
        }


def unwind_on_signals() -> None:
    """Let a polite end (make's, a service manager's, a closed terminal's) unwind as Ctrl-C does.

    So whatever was started is stopped. An ignored signal stays so: ``nohup make backfill`` outlives its terminal.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature is signal's
    # A closed terminal sends more than one, and the second must not cut the unwinding short.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def bars(console: Console) -> Progress:
    """Bars of things done of things to do; none where the console is no terminal."""
    return Progress(
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def run_night(
    call_date: date,
    airflow: LocalAirflow,
    staging: Storage,
    environment: Mapping[str, str],
    console: Console,
    parameters: Mapping[str, str] | None = None,
) -> RunStaging:
    """Run the DAG for a call date and wait for its end.

    Parameters
    ----------
    call_date
        The day to compute.
    airflow
        Where Airflow runs.
    staging
        The staging location that the settings in `environment` name.
    environment
        The variables of the jobs.
    console
        For the progress: bars on a terminal, plain lines elsewhere.
    parameters
        More parameters of the DAG: model, roles.

    Returns
    -------
    The run's staging.

    Raises
    ------
    NightFailed
        Where a step failed for good, or Airflow's database could not be made.
    """
    airflow.home.mkdir(parents=True, exist_ok=True)
    variables = airflow.environment(environment)
    with airflow.log_file.open("a") as log:
        _migrate(airflow, variables, log, console)
        # The logical date names the run in Airflow: one of its own for each try of a day.
        now = datetime.now(UTC)
        command = [str(AIRFLOW), "dags", "test", DAG, now.isoformat(timespec="seconds")]
        command += ["--conf", json.dumps({"call_date": call_date.isoformat(), **(parameters or {})})]
        with _process_group(command, variables, log) as process:
            watch = _Watch(staging, call_date, now, console)
            with watch.progress:
                while process.poll() is None:
                    watch.look()
                    time.sleep(POLL_S)
                watch.look()
    run = watch.run
    markers = {} if run is None else run.markers()
    failed = next((marker for marker in markers.values() if marker.status == "failed"), None)
    if failed is not None:
        raise NightFailed(f"{failed.step}: {failed.reason}\nlogs: {airflow.log_file}")
    if run is None or STEPS[-1] not in markers:
        last = list(markers)[-1] if markers else "the start"
        raise NightFailed(f"the night stopped after {last}; the end of {airflow.log_file} says why")
    return run


def _migrate(airflow: LocalAirflow, variables: Mapping[str, str], log: object, console: Console) -> None:
    """Make Airflow's database or bring it up to date, unless that was done for the Airflow that is locked now."""
    wanted = hashlib.sha256((ROOT / "requirements" / "airflow.txt").read_bytes()).hexdigest()
    if airflow.stamp_file.is_file() and airflow.stamp_file.read_text() == wanted:
        return
    console.print("making Airflow's database")
    with _process_group([str(AIRFLOW), "db", "migrate"], variables, log) as process:
        status = process.wait()
    if status != 0:
        raise NightFailed(f"Airflow's database could not be made; the end of {airflow.log_file} says why")
    airflow.stamp_file.write_text(wanted)


@contextmanager
def _process_group(
    command: Sequence[str], environment: Mapping[str, str], log: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with all that it started, however the block is left."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        for way in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, way)
                process.wait(STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


class _Watch:
    """Looks at a run's staging, and shows what changed since the last look."""

    def __init__(self, staging: Storage, call_date: date, since: datetime, console: Console) -> None:
        self.run: RunStaging | None = None
        self.progress = bars(console)
        self._staging = staging
        self._call_date = call_date
        self._since = f"{since:%Y%m%dT%H%M%SZ}"
        self._console = console
        self._tasks: dict[str, object] = {}
        self._ended: dict[str, StepMarker] = {}
        self._said = 0

    def look(self) -> None:
        """Look once."""
        try:
            self._look()
        except JobError:
            # The store may be busy; the next look sees more.
            return

    def _look(self) -> None:
        if self.run is None:
            found = {file.path.split("/")[1] for file in self._staging.files(self._call_date.isoformat())}
            started = sorted(run_id for run_id in found if run_id >= self._since)
            if not started:
                return
            self.run = RunStaging(self._staging, self._call_date, started[-1])
        markers = self.run.markers()
        for step, marker in markers.items():
            if self._ended.get(step) != marker:
                self._ended[step] = marker
                self._end(marker)
        current = next((step for step in STEPS if step not in markers or markers[step].status == "failed"), None)
        if current is not None:
            self._show(current, markers)

    def _total(self, step: str, markers: Mapping[str, StepMarker]) -> int:
        if step == "extract_features":
            counts = markers["plan_recordings"].counts
            return int(counts["planned"] - counts["skipped"])
        if step == "classify_emotions":
            return int(markers["extract_features"].counts["segments"])
        return 0

    def _show(self, step: str, markers: Mapping[str, StepMarker]) -> None:
        assert self.run is not None  # noqa: S101 - _look made it
        total = self._total(step, markers)
        done = self.run.progress(step) if total else 0
        if self._console.is_terminal:
            if step not in self._tasks:
                self._tasks[step] = self.progress.add_task(step, total=total or None)
            self.progress.update(self._tasks[step], completed=done)  # type: ignore[arg-type]
        elif done and done != self._said:
            self._said = done
            what = "recordings" if step == "extract_features" else "segments"
            self._console.print(f"{step}: {done} of {total} {what}")

    def _end(self, marker: StepMarker) -> None:
        task = self._tasks.pop(marker.step, None)
        if task is not None:
            self.progress.remove_task(task)  # type: ignore[arg-type]
        counts = ", ".join(f"{name} {value:g}" for name, value in marker.counts.items() if value)
        words = f"{marker.seconds:.1f} s  {counts}" if marker.status == "done" else f"failed: {marker.reason}"
        self._console.print(f"{marker.step:<18} {words}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the nights of a range of call dates, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m infra.night", description=__doc__)
    parser.add_argument("--from", dest="first", required=True, help="the first call date, YYYY-MM-DD")
    parser.add_argument("--to", dest="last", required=True, help="the last call date, included")
    parser.add_argument("--model", help="the folder of another model than the settings name")
    parser.add_argument("--roles", help="whose speech is classified, instead of what the settings say")
    arguments = parser.parse_args(argv)
    asked = {}
    if arguments.model:
        # The jobs run in another folder.
        asked["model"] = str(Path(arguments.model).absolute())
    if arguments.roles:
        asked["roles"] = arguments.roles
    console = Console(markup=False, soft_wrap=True, highlight=False)
    unwind_on_signals()
    try:
        first, last = date.fromisoformat(arguments.first), date.fromisoformat(arguments.last)
    except ValueError:
        console.print("expected call dates as YYYY-MM-DD: make run DATE=..., make backfill FROM=... TO=...")
        return 2
    if last < first:
        console.print(f"the last call date, {last}, is before the first, {first}")
        return 2
    failed = []
    try:
        settings = load_settings()
        staging = open_storage(settings.staging, settings)
        airflow = LocalAirflow(ROOT / ".airflow", spark_master=settings.spark_master)
        for offset in range((last - first).days + 1):
            call_date = first + timedelta(days=offset)
            console.print(f"night of {call_date}; logs: {airflow.log_file}")
            try:
                run_night(call_date, airflow, staging, os.environ, console, asked)
            except NightFailed as error:
                console.print(f"{call_date} failed: {error}")
                failed.append(call_date)
    except JobError as error:
        console.print(str(error))
        return 2
    except KeyboardInterrupt:
        console.print("stopped; what was published stays, the day that ran can be run again")
        return 130
    if failed:
        console.print(f"{len(failed)} of {(last - first).days + 1} days failed: {', '.join(map(str, failed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
