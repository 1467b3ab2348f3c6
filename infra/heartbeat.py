"""Alarms when no night was published in time, without Airflow: ``make heartbeat``, for cron or a systemd timer.

An Airflow whose scheduler is dead alerts nobody. This looks at the warehouse itself: from the hour ``--by`` on (06:00
of ``CALLMOOD_TIME_ZONE``) the day before has to be published. Where it is not, or that cannot be told, it says so on
standard error, tells people over the channels of the DAGs, by a process of Airflow's environment that needs no Airflow
running, and its exit status is not 0. It keeps nothing: it alarms each time that it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from jobs.command import run_command
from jobs.errors import JobError
from jobs.settings import ROOT, Settings, load_settings
from jobs.storage import open_storage
from jobs.warehouse import Warehouse
from schemas.alerts import Severity

AIRFLOW_PYTHON = ROOT / ".venv" / "airflow" / "bin" / "python"
BY = time(6)


@dataclass(frozen=True)
class Alarm:
    """What people are told; `dags/notify.py` reads it."""

    title: str
    body: str
    severity: Severity = "page"


def expected_day(now: datetime, by: time) -> date:
    """The last day that has to be published: yesterday from the hour on, else the day before.

    Parameters
    ----------
    now
        In the time zone of the call dates.
    """
    return now.date() - timedelta(days=1 if now.time() >= by else 2)


def alarm(settings: Settings, now: datetime, by: time) -> Alarm | None:
    """What is wrong; None where the last night was published.

    Raises
    ------
    JobError
        Where the warehouse cannot be read.
    """
    day = expected_day(now.astimezone(settings.zone), by)
    runs = Warehouse(open_storage(settings.warehouse, settings)).read("runs", columns=["call_date", "published_at"])
    if day in runs["call_date"].to_pylist():
        return None
    last = "Nothing was ever published."
    if runs.num_rows:
        newest = max(runs.to_pylist(), key=lambda run: (run["call_date"], run["published_at"]))
        at = f"{newest['published_at']:%Y-%m-%d %H:%M} UTC"
        last = f"The last published day is {newest['call_date']}, published at {at}."
    return Alarm(
        f"{day} is not published by {by:%H:%M}",
        f"{last}\nAffected: readers have no {day}; what was published before stays.\n"
        "Look: is the scheduler running, and what does the night's run say (make status, Airflow's page)?\n"
        f"Rerun: safe; it replaces the day as a whole.\nType: make run DATE={day}",
    )


def tell(found: Alarm, python: Path) -> bool:
    """Tell people over the DAGs' channels; whether that got through."""
    command = [str(python), str(ROOT / "dags" / "notify.py")]
    try:
        done = subprocess.run(command, input=json.dumps(asdict(found)), text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"nobody could be told: {type(error).__name__} of {python}\n")
        return False
    return done.returncode == 0


def _hour(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no hour; expected HH:MM") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Look; the exit status is 0 where the night is published, 1 where it is not, 2 where that cannot be told."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.heartbeat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--by", type=_hour, default=BY, help="the hour, HH:MM; 06:00 unless given")
    parser.add_argument("--airflow-python", type=Path, default=AIRFLOW_PYTHON, help="of Airflow's environment")
    arguments = parser.parse_args(argv)
    status = 1
    try:
        found = alarm(load_settings(), datetime.now(UTC), arguments.by)
    except JobError as error:
        found = Alarm("It cannot be told whether the night is published", f"{error}\nType: make heartbeat")
        status = 2
    if found is None:
        return 0
    sys.stderr.write(f"{found.title}\n{found.body}\n")
    tell(found, arguments.airflow_python)
    return status


if __name__ == "__main__":
    run_command(main)
