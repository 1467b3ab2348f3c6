"""What is to be said of a published day, and over which channels it was: ``python -m jobs.notifications``.

Says what holds of the day as it is published: that it is thin, the alerts that were raised, and its report. What a
channel has sent stands in ``<warehouse>/_notified/<call_date>/``, a small file a channel, so that a day that is
published again says only what is new; nobody's id is in it. Knows nothing of how a channel sends (dags/channels.py):
prints JSON, and is told with ``--sent`` what got through.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from jobs.alert_rules import load_rules
from jobs.command import call_date, exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import JobError
from jobs.settings import Settings, load_settings
from jobs.storage import open_storage
from jobs.warehouse import Snapshot, Warehouse
from reporting import words
from reporting.measures import FEWEST_CALLS
from reporting.periods import Period
from schemas.alerts import SEVERITIES, Severity
from schemas.errors import SchemaError

FOLDER = "_notified"
NAMED_CONTACTS = 20
"""Of a rule's calls, how many contacts are named at most, where any may be."""
Part = Literal["night", "report"]
PARTS: tuple[Part, ...] = get_args(Part)

log = logging.getLogger("callmood.notifications")


@dataclass(frozen=True)
class Page:
    """A page that goes with a notification: a file's name, and its HTML."""

    name: str
    html: str


@dataclass(frozen=True)
class Notification:
    """Something to be said.

    Attributes
    ----------
    about
        What of the day: status, alerts, or the report on the day, week or month.
    mark
        What a channel has said, once this got through: what is said next time goes by it.
    """

    about: str
    mark: str
    severity: Severity
    title: str
    body: str
    page: Page | None = None


class Sent:
    """What a channel has sent of a day.

    Parameters
    ----------
    warehouse
        Keeps it.
    channel
        The channel's name; no file has it in its name.
    """

    def __init__(self, warehouse: Warehouse, day: date, channel: str) -> None:
        self._storage = warehouse.storage
        name = hashlib.sha256(channel.encode()).hexdigest()[:16]
        self._path = f"{FOLDER}/{day.isoformat()}/{name}.json"

    def marks(self) -> Mapping[str, str]:
        """The last mark of everything that was said."""
        try:
            return self._storage.read_json(self._path, dict)
        except FileNotFoundError:
            return {}

    def add(self, about: str, mark: str) -> None:
        """Keep that something was said."""
        self._storage.write(self._path, json.dumps({**self.marks(), about: mark}).encode())


def pending(
    settings: Settings,
    day: date,
    channel: str,
    at_least: Severity = "note",
    parts: Sequence[Part] = ("night", "report"),
) -> list[Notification]:
    """What a channel has not said yet of a day, as it is published.

    Parameters
    ----------
    at_least
        The least severity that the channel is for.
    parts
        night: its status and alerts; report: the reports that end with it.

    Returns
    -------
    None of a day that was never published.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    marks = Sent(warehouse, day, channel).marks()

    def read(view: Snapshot) -> tuple[Mapping[str, Any], pa.Table, int] | None:
        if day not in view.call_dates:
            return None
        total = view.dataset("satisfaction_daily", day).to_table(["calls_indexed"], pc.field("scope") == "total")
        indexed = pc.sum(total["calls_indexed"]).as_py() or 0
        return view.last_run(day), view.dataset("alerts", day).to_table(), indexed

    found = warehouse.view(read, ["runs", "alerts", "satisfaction_daily"])
    if found is None:
        return []
    last, alerts, indexed = found
    said: list[Notification] = []
    if "night" in parts:
        said += _of_status(day, last, marks)
        said += _of_alerts(day, alerts, indexed, marks, at_least, settings)
    if "report" in parts and _reaches("note", at_least):
        said += _of_reports(day, warehouse, marks, settings)
    return [each for each in said if _reaches(each.severity, at_least)]


def _reaches(severity: Severity, at_least: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(at_least)


def _of_status(day: date, last: Mapping[str, Any], marks: Mapping[str, str]) -> Iterator[Notification]:
    status, detail = last["status"], last["status_detail"] or ""
    mark = f"{status}: {detail}"
    if status == "published" or marks.get("status") == mark:
        return
    title = f"{day} is published, and {'low in volume' if status == 'volume_low' else 'degraded'}"
    body = (
        f"{detail}.\nPlanned {last['planned']}: {last['scored']} scored, {last['quarantined']} quarantined, "
        f"{last['skipped']} skipped.\nA rerun is safe, and replaces the day: make run DATE={day}\n"
        "Why: docs/operations.md, a thin night."
    )
    yield Notification("status", mark, "ticket", title, body)


def _of_alerts(
    day: date,
    alerts: pa.Table,
    indexed: int,
    marks: Mapping[str, str],
    at_least: Severity,
    settings: Settings,
) -> Iterator[Notification]:
    before = marks.get("alerts")
    rows = [
        row
        for row in alerts.to_pylist()
        if _reaches(row["severity"], at_least) and (before is None or row["raised_at"].isoformat() > before)
    ]
    if not rows:
        return
    says = {rule.name: rule.says for rule in load_rules(settings.alert_rules)}
    more = "" if before is None else "more "
    few = indexed < FEWEST_CALLS
    lines = []
    for name, number in Counter(row["rule"] for row in rows).items():
        of_rule = [row for row in rows if row["rule"] == name]
        first = of_rule[0]
        meaning = says.get(name, name.replace("_", " "))
        if first["scope"] == "call":
            amount = "some calls" if few else words.count(number, f"{more}call")
            lines.append(f"- {name} ({first['severity']}), {amount}: {meaning}. {_precision(first)}")
            if settings.alerts_name_contacts:
                named = [row["contact_id"] for row in of_rule[:NAMED_CONTACTS]]
                rest = number - len(named)
                lines.append(f"  contacts {', '.join(named)}" + (f" and {rest} more" if rest else ""))
        else:
            lines.append(f"- {name} ({first['severity']}): {meaning}. {_precision(first)}")
            lines += [
                f"  {row['queue']}: {row['value']:.2f}; usually {row['usual']:.2f}, limit {row['threshold']:.2f}"
                for row in of_rule
            ]
    severity: Severity = max((row["severity"] for row in rows), key=SEVERITIES.index)
    title = f"{more}alerts on {day}".capitalize() if few else f"{words.count(len(rows), f'{more}alert')} on {day}"
    lines.append(f"All of them: make sql Q=\"from alerts where call_date = '{day}'\"")
    yield Notification("alerts", max(row["raised_at"] for row in rows).isoformat(), severity, title, "\n".join(lines))


def _precision(row: Mapping[str, Any]) -> str:
    share = row["expected_precision"]
    if share is None:
        return "How many of these are right was not measured for this model."
    return f"Of such alerts {share:.0%} are expected to be right."


def _of_reports(
    day: date, warehouse: Warehouse, marks: Mapping[str, str], settings: Settings
) -> Iterator[Notification]:
    # With the plotting library, which takes seconds and is needed here alone.
    from jobs.render_report import model_note, page_path, read_period
    from reporting.headline import in_sentences
    from reporting.night import last_runs

    reports = open_storage(settings.reports, settings)
    for period in (Period.day(day), Period.week(day), Period.month(day)):
        about, path = f"report on the {period.kind}", page_path(period, "summary")
        if day != period.last or about in marks or not reports.exists(path):
            continue
        tables, history, _ = read_period(warehouse, period)
        runs = last_runs(tables["runs"])
        note = model_note(settings.model, runs[-1] if runs else None)
        sentences = in_sentences(tables, period, history, None if note is None else note.error)
        link = f"{settings.reports_link.rstrip('/')}/{path}" if settings.reports_link else reports.uri(path)
        page = Page(f"callmood-{period.kind}-{period.first}.html", reports.read(path).decode())
        title = f"The report on the {period.kind} {period.name}"
        yield Notification(about, "sent", "note", title, "\n".join([*sentences, f"The page: {link}"]), page)


def is_recent(settings: Settings, day: date, now: datetime) -> bool:
    """Whether a night of this day notifies anybody, as ``CALLMOOD_NOTIFY_DAYS`` says."""
    return day >= now.astimezone(settings.zone).date() - timedelta(days=settings.notify_days)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is to be said as JSON, or keep what was; the exit status is 2 or 75 where that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.notifications", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date, help="the published day, YYYY-MM-DD")
    parser.add_argument("--channel", required=True, help="the channel's name, as the DAGs' option channels has it")
    parser.add_argument("--at-least", choices=SEVERITIES, default="note", help="the least severity it is for")
    parser.add_argument("--part", choices=PARTS, help="of a night's status and alerts, or of reports alone")
    parser.add_argument("--recent", action="store_true", help="nothing of days before CALLMOOD_NOTIFY_DAYS")
    parser.add_argument("--sent", nargs=2, metavar=("ABOUT", "MARK"), help="keep that this was sent")
    arguments = parser.parse_args(argv)
    start_logging()
    day = arguments.call_date
    try:
        settings = load_settings()
        if arguments.sent:
            Sent(Warehouse(open_storage(settings.warehouse, settings)), day, arguments.channel).add(*arguments.sent)
            found: list[Notification] = []
        elif arguments.recent and not is_recent(settings, day, datetime.now(UTC)):
            found = []
        else:
            parts: Sequence[Part] = [arguments.part] if arguments.part else PARTS
            found = pending(settings, day, arguments.channel, arguments.at_least, parts)
    except (JobError, SchemaError) as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    sys.stdout.write(json.dumps([asdict(each) for each in found]) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
