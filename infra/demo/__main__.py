"""``make demo``: a night on this machine, from recordings in a local S3 to the report; no installing, no signing up.

Makes sample calls (or takes a folder of recordings), starts an S3 server on a free loopback port, uploads them, runs
the DAG through Airflow with Spark on this machine, shows what came out, and stops what it started.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from rich.console import Console

from infra.demo.errors import DemoError
from infra.demo.local_s3 import LocalS3, local_s3, upload_folder
from infra.demo.sample_calls import BESIDE, CONTACTS, make_sample_calls
from infra.demo.summary import print_summary
from infra.night import LocalAirflow, NightFailed, bars, run_night, unwind_on_signals
from jobs.command import call_date
from jobs.errors import JobError
from jobs.layouts import Layouts, is_audio, local_date, read_layouts
from jobs.settings import ROOT
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import TABLES

SAMPLE_DATE = date(2026, 11, 20)
BUCKET = "recordings"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 0 where the day was published."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--recordings", type=Path, help="a folder of recordings, whose relative paths are the keys")
    parser.add_argument("--contacts", type=Path, help="contact records as JSON Lines")
    parser.add_argument("--date", type=call_date, help="the call date, YYYY-MM-DD")
    parser.add_argument(
        "--layout",
        default="amazon-connect",
        help="the namings of the recordings: names or YAML files (docs/layouts.md), separated by commas",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "demo", help="where everything goes")
    arguments = parser.parse_args(argv)
    console = Console(markup=False, soft_wrap=True, highlight=False)
    unwind_on_signals()
    try:
        run(arguments, console)
    except (DemoError, JobError, NightFailed, OSError) as error:
        console.print(f"the demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 0


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Run the demo.

    Raises
    ------
    DemoError
        Where the arguments do not fit together.
    NightFailed
        Where the night failed.
    """
    out: Path = arguments.out.absolute()
    layouts = _open_layouts(arguments.layout)
    recordings, contacts, topics, call_date = _input(arguments, out, console)
    call_date = _day(recordings, layouts, call_date, console)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with local_s3(out / "s3.log", buckets=(BUCKET,)) as s3:
        console.print(f"S3 server at {s3.endpoint_url}; uploading {recordings}")
        with _bar("uploading", console) as move:
            n_uploaded = upload_folder(s3, recordings, BUCKET, move, ignore=BESIDE)
        airflow = LocalAirflow(out / "airflow", retry_delay_s=2.0)
        console.print(f"uploaded {n_uploaded} files; running the night of {call_date}; logs: {airflow.log_file}")
        environment = _environment(s3, out, contacts, arguments.layout, topics)
        run_night(call_date, airflow, LocalStorage(out / "staging"), environment, console)
    warehouse = Warehouse(LocalStorage(out / "warehouse"))
    tables = {name: warehouse.read(name, call_date=call_date) for name in TABLES}
    print_summary(
        tables,
        seconds=time.monotonic() - started,
        report=out / "reports" / call_date.isoformat() / "nightly.html",
        warehouse=out / "warehouse",
        console=console,
    )


@contextmanager
def _bar(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar, and what moves it: called with how much is done of how much; shows nothing but on a terminal."""
    with bars(console) as progress:
        task = progress.add_task(what, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


def _input(
    arguments: argparse.Namespace, out: Path, console: Console
) -> tuple[Path, Path | None, Path | None, date | None]:
    """The folder of recordings, the contact records, the topics, and the day; made where no recordings are given."""
    if arguments.recordings is None:
        call_date = arguments.date or SAMPLE_DATE
        console.print("making sample calls: synthetic voices, which show the machinery and not the model")
        with _bar("making calls", console) as move:
            sample = make_sample_calls(out / "sample_calls" / call_date.isoformat(), call_date, move)
        return sample.folder, arguments.contacts or sample.contacts, sample.topics, call_date
    folder: Path = arguments.recordings
    if not folder.is_dir():
        raise DemoError(f"RECORDINGS={folder} is not a folder; expected one of recordings")
    beside = folder / CONTACTS
    contacts = arguments.contacts or (beside if beside.is_file() else None)
    if contacts is not None and not contacts.is_file():
        raise DemoError(f"CONTACTS={contacts} is not a file; expected contact records as JSON Lines")
    return folder, contacts, None, arguments.date


def _open_layouts(named: str) -> Layouts:
    """The layouts that are named, in the zone that the night goes by."""
    zone = os.environ.get("CALLMOOD_TIME_ZONE") or "UTC"
    if zone not in available_timezones():
        raise DemoError(f"CALLMOOD_TIME_ZONE={zone} is no IANA time zone; expected one such as Europe/Berlin")
    return read_layouts(_layouts(named), ZoneInfo(zone), f"s3://{BUCKET}")


def _day(folder: Path, layouts: Layouts, asked: date | None, console: Console) -> date:
    """The day to run: the one that is asked for, else the only one that the files' names say.

    Raises
    ------
    DemoError
        Where the night would have nothing to do, or it is not known of which day.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    found = {name: match[1] for name in names if (match := layouts.match(name)) is not None}
    unread = sum(is_audio(name) for name in names if name not in found)
    tried = ", ".join(layout.name for layout in layouts.layouts)
    if not found:
        raise DemoError(
            f"{folder} holds files: {len(names)}, of them audio: {unread}; named as a layout says ({tried}): none. "
            + (
                "Describe how they are named in a file, LAYOUT=file.yaml (docs/layouts.md has examples)"
                if unread
                else "Expected a folder of recordings: RECORDINGS=folder"
            )
        )
    days = Counter(local_date(said.started_at, layouts.zone) for said in found.values() if said.started_at is not None)
    # Files whose names say no time are of the day that is run.
    can_be_asked = asked in days or days.total() < len(found)
    if not (len(days) == 1 if asked is None else can_be_asked):
        listed = ", ".join(f"{day} ({count})" for day, count in sorted(days.most_common(5)))
        raise DemoError(
            f"{folder} holds recordings of the days {listed}; choose one: DATE=YYYY-MM-DD"
            if days
            else f"the names in {folder} do not say when the calls were; give the day: DATE=YYYY-MM-DD"
        )
    if unread:
        console.print(
            f"audio files whose names no layout reads: {unread} of {len(names)}; they are quarantined as "
            "unknown_layout, on the date of the folder that they lie under, else on that of their upload, which is "
            "today (docs/layouts.md)"
        )
    return asked or next(iter(days))


def _layouts(named: str) -> list[str]:
    """The layouts as the setting has them: a file is meant to be found from here, not from the project's folder."""
    entries = (entry.strip() for entry in named.split(","))
    return [str(Path(entry).absolute()) if Path(entry).suffix else entry for entry in entries if entry]


def _environment(
    s3: LocalS3, out: Path, contacts: Path | None, layouts: str, topics: Path | None = None
) -> Mapping[str, str]:
    """The jobs' settings for the demo; of those set outside only the model, the roles and the like are heard."""
    places = ("RECORDINGS", "CONTACTS", "STAGING", "WAREHOUSE", "REPORTS", "LAYOUTS", "SETTINGS_FILE", "IDENTITY_KEY")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name.removeprefix("CALLMOOD_") not in places
    }
    key = out / "identity.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32), encoding="utf-8")
    # A proxy that serves this machine must not be asked for the S3 server on it.
    direct = ",".join(filter(None, (kept.get("no_proxy") or kept.get("NO_PROXY"), "127.0.0.1,localhost")))
    return {
        **kept,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "CALLMOOD_S3_ENDPOINT": s3.endpoint_url,
        "CALLMOOD_S3_REGION": s3.region,
        "CALLMOOD_RECORDINGS": f"s3://{BUCKET}",
        **({"CALLMOOD_CONTACTS": str(contacts.absolute())} if contacts else {}),
        **({"CALLMOOD_TOPICS": str(topics.absolute())} if topics else {}),
        "CALLMOOD_LAYOUTS": ",".join(_layouts(layouts)),
        "CALLMOOD_STAGING": str(out / "staging"),
        "CALLMOOD_WAREHOUSE": str(out / "warehouse"),
        "CALLMOOD_REPORTS": str(out / "reports"),
        "CALLMOOD_IDENTITY_KEY_FILE": str(key),
        # A demo shows what it makes of any folder; the report says how much that was.
        "CALLMOOD_COVERAGE_DEGRADED": "0",
        # So small a day would be read without Spark: a demo shows the whole.
        "CALLMOOD_PARTITION_MB": "1",
        # The shipped model is a research model; a demo is research.
        "CALLMOOD_ACCEPT_NON_COMMERCIAL": "true",
    }


if __name__ == "__main__":
    sys.exit(main())
