"""``make up``, ``make down``, ``make status``, ``make sample-day``, ``make trigger``: a lasting stack on this machine.

Everything listens on loopback and keeps what it keeps below one folder. What runs is recorded in ``stack.json`` there,
so that any of these commands finds what an earlier one started.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.error import HTTPError, URLError

from botocore.exceptions import ClientError
from rich.console import Console

from infra.demo.errors import DemoError
from infra.demo.local_s3 import upload_folder
from infra.demo.sample_calls import BESIDE, CONTACTS, make_sample_calls
from infra.night import DAGS, NightFailed, migrate
from infra.stack.database import check_database, keep_database
from infra.stack.errors import StackError
from infra.stack.nights import Nights
from infra.stack.processes import Started, end, is_running, start
from infra.stack.services import (
    BUCKETS,
    PORTS,
    S3_PYTHON,
    SPARK_POOL,
    USER,
    Places,
    Service,
    airflow_address,
    choose_ports,
    job_variables,
    prepare,
    services,
)
from jobs.command import call_date
from jobs.errors import JobError
from jobs.settings import ROOT, load_settings
from jobs.storage import open_storage
from jobs.warehouse import Warehouse

UP_S = 300.0
POLL_S = 1.0
SPARK_SLOTS = 2
"""Spark steps at once, until the user changes the pool: one computes while the next one starts."""
NIGHTLY = (DAGS["night"], "late_recordings")
"""The DAGs that are switched on when the stack is first started; the others wait for whoever wants them."""


@dataclass(frozen=True)
class State:
    """What is recorded of a stack.

    Attributes
    ----------
    ports
        Of its last start.
    processes
        Its services' processes by name.
    switched_on
        Whether its nights were switched on, once: who pauses them later wants that.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    processes: Mapping[str, Started] = field(default_factory=dict)
    switched_on: bool = False

    @property
    def running(self) -> set[str]:
        """The services whose process is there."""
        return {name for name, process in self.processes.items() if is_running(process)}


class Stack:
    """A stack in a folder."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.places = Places(folder)
        self.console = console
        self.state_file = folder / "stack.json"

    def read(self) -> State:
        """What is recorded; nothing, where it was never started."""
        try:
            found = json.loads(self.state_file.read_text(encoding="utf-8"))
            processes = {name: Started(**each) for name, each in found["processes"].items()}
            return State(found["ports"], processes, found["switched_on"])
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StackError(
                f"{self.state_file} does not say what runs ({type(error).__name__}); give the folder that make up "
                "wrote, STACK=folder, or end the stack's processes by hand and delete the file"
            ) from None

    def write(self, state: State) -> None:
        """Record, as one change."""
        beside = self.state_file.with_suffix(".new")
        beside.write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
        beside.replace(self.state_file)

    def services(self, state: State) -> list[Service]:
        """The table with what is recorded."""
        return services(self.places, {**PORTS, **state.ports}, os.environ)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other command starts or ends this stack meanwhile.

        Raises
        ------
        StackError
            One does.
        """
        with (self.places.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError("another make up or make down is at work here; wait until it is done") from None
            yield

    def up(self, asked: Mapping[str, int], database: str = "") -> None:
        """Start what does not run, and wait until all is well; with a database for Airflow, where one is given.

        Raises
        ------
        StackError
            A service ended or was not well in time; those that this call started are ended.
        """
        if not S3_PYTHON.exists():
            raise StackError(f"{S3_PYTHON} is missing: run bash infra/setup.sh s3-server, as make up does")
        prepare(self.places)
        if database:
            keep_database(self.places.airflow.home, database)
        with self.alone():
            state = self.read()
            missing = {service.name for service in self.services(state)} - state.running
            if missing:
                ports = choose_ports(asked, state.ports, bool(state.running))
                self._start(State(ports, state.processes, state.switched_on), missing)
            else:
                self.console.print("everything runs already")
            # Also where an earlier call did not get so far.
            self._finish(self.read())

    def _start(self, state: State, missing: set[str]) -> None:
        """Start what is missing, and wait until all is well; else end what was started."""
        self._write_environment(state)
        started: dict[str, Started] = {}
        try:
            self._start_and_wait(state, missing, started)
        except BaseException:
            end(started.values(), self.places.folder)
            raise

    def _start_and_wait(self, state: State, missing: set[str], started: dict[str, Started]) -> None:
        table = self.services(state)
        check_database(self.places.airflow.home)
        with (self.places.logs / "airflow-database.log").open("a") as log:
            variables = next(service.environment for service in table if service.name == "airflow-api")
            migrate(self.places.airflow, variables, log, self.console)
        begun = time.monotonic()
        for service in table:
            if service.name in missing:
                started[service.name] = start(
                    service.command, self.places.folder, service.environment, self.log_file(service.name)
                )
                self.write(State(state.ports, {**state.processes, **started}, state.switched_on))
        waiting = list(table)
        while waiting:
            for service in table:
                if service.name in started and not is_running(started[service.name]):
                    raise StackError(f"{service.name} ended; {self.log_file(service.name)} says why")
            waiting = [service for service in waiting if not service.is_well()]
            if waiting and time.monotonic() - begun > UP_S:
                named = ", ".join(service.name for service in waiting)
                raise StackError(f"not well after {UP_S:.0f} s: {named}; see {self.places.logs}")
            time.sleep(POLL_S if waiting else 0)
        self.console.print(f"started {len(started)} services in {time.monotonic() - begun:.0f} s")

    def _finish(self, state: State) -> None:
        """Make the buckets and the pool, and switch the nights on once."""
        client = self.places.open_s3(state.ports).client()
        for bucket in BUCKETS:
            try:
                client.create_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                    raise StackError(f"bucket {bucket} could not be made: {error}") from error
        nights = self.nights(state)
        nights.make_pool(SPARK_POOL, SPARK_SLOTS)
        if not state.switched_on:
            for dag in NIGHTLY:
                nights.switch_on(dag, UP_S)
            self.write(State(state.ports, state.processes, switched_on=True))

    def _write_environment(self, state: State) -> None:
        lines = [f"{name}={value}" for name, value in job_variables(self.places, state.ports).items()]
        self.places.environment.write_text("\n".join(lines) + "\n", encoding="utf-8")
        airflow = next(service.environment for service in self.services(state) if service.name == "airflow-api")
        lines = [
            f"{name}={shlex.quote(value)}" for name, value in airflow.items() if name.startswith(("AIRFLOW", "OTEL_"))
        ]
        self.places.airflow_environment.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def log_file(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.places.logs / f"{name}.log"

    def nights(self, state: State) -> Nights:
        """The nights, asked of Airflow."""
        password = json.loads(self.places.passwords.read_text(encoding="utf-8"))[USER]
        # The jobs' settings are read as the services read them.
        os.environ.update(job_variables(self.places, state.ports))
        settings = load_settings()
        staging = open_storage(settings.staging, settings)
        warehouse = Warehouse(open_storage(settings.warehouse, settings))
        return Nights(airflow_address(state.ports), USER, password, staging, warehouse)

    def down(self) -> None:
        """End every process of the stack."""
        if not self.state_file.exists():
            self.console.print(f"nothing was ever started in {self.places.folder}")
            return
        with self.alone():
            state = self.read()
            n_running = len(state.running)
            n_forced = end(list(state.processes.values()), self.places.folder)
            self.write(State(state.ports, {}, state.switched_on))
        forced = f"; {n_forced} processes had to be killed" if n_forced else ""
        self.console.print(f"ended {n_running} services{forced}; what they keep stays in {self.places.folder}")

    def status(self) -> int:
        """Show every service and the nights; the exit status is 0 where all is well."""
        state = self.read()
        if not state.processes:
            self.console.print("nothing runs; start it with make up")
            return 1
        found: dict[str, str] = {}
        for service in self.services(state):
            process = state.processes.get(service.name)
            alive = process is not None and is_running(process)
            found[service.name] = said = "well" if alive and service.is_well() else "not well" if alive else "ended"
            number = f"pid {process.pid}" if alive and process is not None else ""
            page = service.page if alive else f"see {self.log_file(service.name)}; make up starts it again"
            self.console.print(f"{service.name:<18} {said:<9} {number:<12} {page}".rstrip())
        self.console.print(f"Airflow's user is {USER}; the password is in {self.places.passwords}")
        if found["airflow-api"] == "well":
            for line in self.nights(state).lines(datetime.now(UTC)):
                self.console.print(line)
        return 0 if set(found.values()) == {"well"} else 1

    def sample_day(self, day: date) -> None:
        """Upload the demo's sample calls as a day's recordings, with their contact records."""
        state = self._running()
        sample = make_sample_calls(self.places.folder / "sample_calls" / day.isoformat(), day)
        s3 = self.places.open_s3(state.ports)
        n_uploaded = upload_folder(s3, sample.folder, BUCKETS[0], ignore=BESIDE)
        s3.client().upload_file(str(sample.contacts), BUCKETS[1], f"contacts/{day:%Y/%m/%d}/{CONTACTS}")
        self.console.print(
            f"uploaded {n_uploaded} recordings of {day} (synthetic voices) and their contact records; the night after "
            f"{day} computes them, and so does make trigger DATE={day}"
        )

    def trigger(self, day: date) -> None:
        """Ask Airflow's scheduler for the night of a day."""
        name = self.nights(self._running()).trigger(day)
        self.console.print(f"the scheduler runs the night of {day} as {name}; make status shows how far it is")

    def _running(self) -> State:
        state = self.read()
        if not {"s3", "airflow-api"} <= state.running:
            raise StackError("the stack does not run; start it with make up")
        return state


def _ports(text: str) -> dict[str, int]:
    ports = {}
    for each in text.split(","):
        name, _, number = each.strip().partition("=")
        if name not in PORTS or not number.isdecimal() or not 0 < int(number) < 65_536:
            raise argparse.ArgumentTypeError(
                f"{each!r} is no port; expected numbers of {', '.join(PORTS)}, such as airflow=8090,s3=9100"
            )
        ports[name] = int(number)
    return ports


def main(argv: Sequence[str] | None = None) -> int:
    """Do one thing with the stack."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".stack", help="where the stack keeps everything")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run")
    up.add_argument("--ports", type=_ports, default={}, help="NAME=NUMBER,...: " + ", ".join(PORTS))
    commands.add_parser("down", help="end everything")
    commands.add_parser("status", help="show what runs, and the nights")
    for name, meaning in (("sample-day", "upload the sample calls as a day"), ("trigger", "run the night of a day")):
        commands.add_parser(name, help=meaning).add_argument("--date", type=call_date, required=True)
    arguments = parser.parse_args(argv)
    console = Console(markup=False, soft_wrap=True, highlight=False)
    stack = Stack(arguments.folder.absolute(), console)
    try:
        match arguments.command:
            case "up":
                # Not by an argument, which others on this machine could see: it holds a password.
                stack.up(arguments.ports, os.environ.pop("AIRFLOW_DATABASE", ""))
                return stack.status()
            case "down":
                stack.down()
            case "status":
                return stack.status()
            case "sample-day":
                stack.sample_day(arguments.date)
            case "trigger":
                stack.trigger(arguments.date)
    except (StackError, NightFailed, DemoError, JobError) as error:
        console.print(str(error))
        return 1
    except HTTPError as error:
        console.print(f"Airflow refused: {error.code} {error.reason}")
        return 1
    except (URLError, TimeoutError) as error:
        console.print(f"Airflow does not answer ({error}): see make status")
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
