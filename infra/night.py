"""Runs nights and enrichments through Airflow on this machine, without a scheduler, and shows how far they are.

``make run``, ``make backfill`` and ``make enrich`` come here, and so does the demo. What a night is, is the DAG's to
say; whether it succeeded stands in the markers of its steps.
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

from jobs.command import call_date
from jobs.due_days import due_days
from jobs.errors import JobError
from jobs.settings import ROOT, Settings, load_settings
from jobs.staging import STEPS, RunKind, RunStaging, StepMarker
from jobs.storage import Storage, open_storage
from jobs.warehouse import Warehouse
from reporting import words

DAGS: Mapping[RunKind, str] = {"night": "nightly_emotion_log", "enrichment": "enrich_emotion_log"}
AIRFLOW = ROOT / ".venv" / "airflow" / "bin" / "airflow"
POLL_S = 0.5
STOP_S = 15
NAMED = 7
"""Of days that are passed over, how many are named."""
MIGRATED = "migrated-for"
UNWINDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
            "AIRFLOW__CALLMOOD__TIME_ZONE": base.get("CALLMOOD_TIME_ZONE") or "UTC",
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
    kind: RunKind = "night",
) -> RunStaging:
    """Run a DAG for a call date and wait for its end.

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
        More parameters of the DAG: model, roles, accept.
    kind
        Whether the day's night is run, or its published tables are enriched.

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
        migrate(airflow, variables, log, console)
        # The logical date names the run in Airflow: one of its own for each try of a day.
        now = datetime.now(UTC)
        command = [str(AIRFLOW), "dags", "test", DAGS[kind], now.isoformat(timespec="seconds")]
        command += ["--conf", json.dumps({"call_date": call_date.isoformat(), **(parameters or {})})]
        with _process_group(command, variables, log) as process:
            watch = _Watch(staging, call_date, kind, now, console)
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
    if run is None or STEPS[kind][-1] not in markers:
        last = list(markers)[-1] if markers else "the start"
        raise NightFailed(f"the {kind} stopped after {last}; the end of {airflow.log_file} says why")
    return run


def migrate(airflow: LocalAirflow, variables: Mapping[str, str], log: object, console: Console) -> None:
    """Make Airflow's database or bring it up to date, unless that was done for it by the Airflow that is locked now.

    Raises
    ------
    NightFailed
        Airflow could not do it.
    """
    wanted = _digest(airflow)
    if airflow.stamp_file.is_file() and airflow.stamp_file.read_text(encoding="utf-8") == wanted:
        return
    console.print("making Airflow's database")
    with _process_group([str(AIRFLOW), "db", "migrate"], variables, log) as process:
        status = process.wait()
    if status != 0:
        raise NightFailed(f"Airflow's database could not be made; the end of {airflow.log_file} says why")
    # Airflow's first command writes its configuration.
    airflow.stamp_file.write_text(_digest(airflow), encoding="utf-8")


def _digest(airflow: LocalAirflow) -> str:
    """Of what decides how the database is made: the locked Airflow, and the configuration, which may name another."""
    configuration = airflow.home / "airflow.cfg"
    locked = (ROOT / "requirements" / "airflow.txt").read_bytes()
    return hashlib.sha256(locked + (configuration.read_bytes() if configuration.exists() else b"")).hexdigest()


@contextmanager
def _process_group(
    command: Sequence[str], environment: Mapping[str, str], log: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with all that it started, however the block is left."""
    process: subprocess.Popen[bytes] | None = None
    # A signal that would unwind while the process is being started waits until it can be ended.
    unwinding = {number: handler for number in UNWINDING if callable(handler := signal.getsignal(number))}
    came: list[int] = []
    try:
        try:
            for number in unwinding:
                signal.signal(number, lambda number, _: came.append(number))
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # type: ignore[call-overload]
            )
        finally:
            for number, handler in unwinding.items():
                signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
        yield process
    finally:
        if process is not None:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for way in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, way)
            process.wait(STOP_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


@dataclass(frozen=True)
class StepProgress:
    """How far a run is.

    Attributes
    ----------
    step
        The step that is under way, or to come next.
    done, total
        Of what it goes through, how much it has gone through; total is 0 where that is not counted.
    unit
        What that is: recordings or segments.
    """

    step: str
    done: int = 0
    total: int = 0
    unit: str = "recordings"


def step_progress(run: RunStaging, kind: RunKind, markers: Mapping[str, StepMarker]) -> StepProgress | None:
    """How far a run with these markers is; None once every step is done."""
    step = next((step for step in STEPS[kind] if step not in markers or markers[step].status == "failed"), None)
    if step == "extract_features":
        counts = markers["plan_recordings"].counts
        total = int(counts["planned"] - counts["skipped"] - counts["quarantined"])
        return StepProgress(step, run.progress(step), total)
    if step == "classify_emotions":
        total = int(markers["extract_features"].counts["segments"])
        return StepProgress(step, run.progress(step) if total else 0, total, "segments")
    return None if step is None else StepProgress(step)


class _Watch:
    """Looks at a run's staging, and shows what changed since the last look."""

    def __init__(self, staging: Storage, call_date: date, kind: RunKind, since: datetime, console: Console) -> None:
        self.run: RunStaging | None = None
        self.progress = bars(console)
        self._staging = staging
        self._call_date = call_date
        self._kind = kind
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
        current = step_progress(self.run, self._kind, markers)
        if current is not None:
            self._show(current)

    def _show(self, at: StepProgress) -> None:
        if self._console.is_terminal:
            if at.step not in self._tasks:
                self._tasks[at.step] = self.progress.add_task(at.step, total=at.total or None)
            self.progress.update(self._tasks[at.step], completed=at.done)  # type: ignore[arg-type]
        elif at.done and at.done != self._said:
            self._said = at.done
            self._console.print(f"{at.step}: {at.done} of {at.total} {at.unit}")

    def _end(self, marker: StepMarker) -> None:
        task = self._tasks.pop(marker.step, None)
        if task is not None:
            self.progress.remove_task(task)  # type: ignore[arg-type]
        counts = ", ".join(f"{name} {value:g}" for name, value in marker.counts.items() if value)
        words = f"{marker.seconds:.1f} s  {counts}" if marker.status == "done" else f"failed: {marker.reason}"
        self._console.print(f"{marker.step:<18} {words}")


def what_changed(run: RunStaging) -> str:
    """Say in words what an enrichment found that the published day did not have."""
    markers = run.markers()
    counts, calls = markers["enrich_day"].counts, int(markers["summarize_calls"].counts["scored"])
    found = [
        words.count(int(counts[name]), *noun)
        for name, noun in (
            ("new_records", ("new contact record",)),
            ("changed_records", ("changed contact record",)),
            ("moved_contacts", ("contact that is of another day", "contacts that are of another day")),
            ("changed_events", ("contact with other call events", "contacts with other call events")),
            ("changed_surveys", ("new or other survey answer",)),
            ("changed_topics", ("contact with other topics", "contacts with other topics")),
            ("opted_out", ("recording withdrawn for an opt-out", "recordings withdrawn for opt-outs")),
        )
        if counts[name]
    ]
    return f"{words.count(calls, 'call')}; {words.listing(found) or 'nothing new'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the nights of a range of call dates, or enrich its published days, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m infra.night", description=__doc__)
    parser.add_argument("--from", dest="first", required=True, help="the first call date, YYYY-MM-DD")
    parser.add_argument("--to", dest="last", required=True, help="the last call date, included")
    parser.add_argument("--enrich", action="store_true", help="enrich the days that are published")
    parser.add_argument(
        "--look-back", action="store_true", help="then run the days before that are due again: late recordings, retries"
    )
    parser.add_argument("--model", help="the folder of another model than the settings name")
    parser.add_argument("--roles", help="whose speech is classified, instead of what the settings say")
    parser.add_argument("--accept", choices=["thin"], help="publish although too little was scored")
    arguments = parser.parse_args(argv)
    asked = {}
    if arguments.model:
        # The jobs run in another folder.
        asked["model"] = str(Path(arguments.model).absolute())
    if arguments.roles:
        asked["roles"] = arguments.roles
    if arguments.accept:
        asked["accept"] = arguments.accept
    console = Console(markup=False, soft_wrap=True, highlight=False)
    unwind_on_signals()
    try:
        first, last = call_date(arguments.first), call_date(arguments.last)
    except argparse.ArgumentTypeError as error:
        console.print(f"{error}: make run DATE=..., make backfill FROM=... TO=..., make enrich FROM=... TO=...")
        return 2
    if last < first:
        console.print(f"the last call date, {last}, is before the first, {first}")
        return 2
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    try:
        settings = load_settings()
        if arguments.enrich:
            days = _published(days, Warehouse(open_storage(settings.warehouse, settings)), console)
        status = _run_days(days, settings, asked, "enrichment" if arguments.enrich else "night", console)
        return max(status, _look_back(first, settings, console)) if arguments.look_back else status
    except JobError as error:
        console.print(str(error))
        return 2
    except KeyboardInterrupt:
        console.print("stopped; what was published stays, the day that ran can be run again")
        return 130


def _published(days: Sequence[date], warehouse: Warehouse, console: Console) -> list[date]:
    """Those of the days that are published; says which are not."""
    published = set(warehouse.snapshot(["runs"]).call_dates)
    missing = [str(day) for day in days if day not in published]
    if missing:
        shown = missing if len(missing) <= NAMED else [*missing[:NAMED], f"{len(missing) - NAMED:,} more"]
        console.print(f"never published, and passed over: {words.listing(shown)}")
    return [day for day in days if day in published]


def _look_back(night: date, settings: Settings, console: Console) -> int:
    """Run the days before a night's again of which recordings came late or are to be tried again; the exit status.

    By the settings alone: what was asked for is of the night's own day.
    """
    due = due_days(settings, night)
    for each in due:
        found = [
            said
            for amount, said in (
                (each.came, words.count(each.came, "object that came or changed", "objects that came or changed")),
                (
                    each.retried,
                    words.count(each.retried, "recording to be tried again", "recordings to be tried again"),
                ),
            )
            if amount
        ]
        not_yet = "" if each.published else ", which is not published,"
        console.print(f"{each.call_date}{not_yet} has {words.listing(found)}")
    return _run_days([each.call_date for each in due], settings, {}, "night", console) if due else 0


def _run_days(
    days: Sequence[date], settings: Settings, asked: Mapping[str, str], kind: RunKind, console: Console
) -> int:
    """Run the days one after the other, also where one fails; the exit status."""
    if not days:
        console.print("there is no day to enrich: run its night first, make run DATE=...")
        return 1
    staging = open_storage(settings.staging, settings)
    airflow = LocalAirflow(ROOT / ".airflow", spark_master=settings.spark_master)
    failed = []
    for day in days:
        console.print(f"{kind} of {day}; logs: {airflow.log_file}")
        try:
            run = run_night(day, airflow, staging, os.environ, console, asked, kind)
        except NightFailed as error:
            console.print(f"{day} failed: {error}")
            failed.append(day)
        else:
            if kind == "enrichment":
                console.print(f"{day} enriched: {what_changed(run)}")
    if failed:
        console.print(f"{len(failed)} of {len(days)} days failed: {', '.join(map(str, failed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
