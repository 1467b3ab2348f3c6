"""alerts: applies the rules to a day: ``python -m jobs.alerts --call-date 2026-11-20``; ``--dry-run`` only prints.

A night and an enrichment apply them to what they staged, and publish the alerts with the day (summarize_calls). This
command applies the rules as they are now to a day that is published. Where that changes anything, it publishes the
table ``alerts`` alone, with a row of kind alerts in ``runs``. Who is told of it is `jobs.notifications`'s.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.alert_rules import CallRule, QueueRule, load_rules
from jobs.command import call_date, exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import JobError, NotPublished
from jobs.release import last_figures
from jobs.settings import Settings, load_settings
from jobs.staging import RunStaging, new_run_id
from jobs.storage import open_storage
from jobs.warehouse import Snapshot, Warehouse
from schemas import TABLES
from schemas.errors import SchemaError

ALERTS, CALLS, DAILY = TABLES["alerts"], TABLES["calls"], TABLES["satisfaction_daily"]
Rules = Sequence[CallRule | QueueRule]

log = logging.getLogger("callmood.alerts")


def stage_alerts(staging: RunStaging, settings: Settings) -> int:
    """Apply the rules to the calls and figures that a run has staged, and stage the alerts; how many they are."""
    rules = load_rules(settings.alert_rules)
    day, run_id = staging.call_date, staging.run_id
    calls, daily = staging.read_table(CALLS), staging.read_table(DAILY)
    warehouse = Warehouse(open_storage(settings.warehouse, settings))

    def raised(view: Snapshot) -> pa.Table:
        return raise_alerts(rules, calls, daily, figures_before(view, day, rules), published_alerts(view, day), run_id)

    alerts = warehouse.view(raised, [ALERTS.name, DAILY.name])
    staging.write_table(ALERTS, alerts)
    return int(alerts.num_rows)


def apply_rules(settings: Settings, day: date, *, dry_run: bool = False) -> pa.Table:
    """Apply the rules to a published day, and publish the alerts where anything changed.

    Returns
    -------
    The day's alerts.

    Raises
    ------
    NotPublished
        Where the day was never published.
    DayPublishedAnew
        Where it was published meanwhile. Nothing was replaced.
    DayLocked, StorageError
        As of `Warehouse.publish`.
    """
    rules = load_rules(settings.alert_rules)
    storage = open_storage(settings.warehouse, settings)
    warehouse = Warehouse(storage, grace_s=settings.replaced_files_grace_s, secret=settings.identity_secret)
    run_id = new_run_id()

    def read(view: Snapshot) -> tuple[pa.Table, pa.Table, Any, tuple[str, ...]]:
        if day not in view.call_dates:
            raise NotPublished(f"{day} was never published, so there is nothing to apply rules to: make run DATE={day}")
        calls, daily = (view.dataset(name, day).to_table() for name in (CALLS.name, DAILY.name))
        before = published_alerts(view, day)
        raised = raise_alerts(rules, calls, daily, figures_before(view, day, rules), before, run_id)
        return raised, before, view.last_run(day), view.run_ids(day)

    raised, before, last, run_ids = warehouse.view(read, ["runs", CALLS.name, DAILY.name, ALERTS.name])
    if dry_run or raised.drop_columns("run_id").equals(before.drop_columns("run_id")):
        return raised
    staging = RunStaging(open_storage(settings.staging, settings), day, run_id)
    staging.write_table(ALERTS, raised)
    warehouse.publish(staging, last_figures(last, "alerts"), run_ids, tables=[ALERTS])
    return raised


def figures_before(view: Snapshot, day: date, rules: Rules) -> pa.Table:
    """The published rows of ``satisfaction_daily`` of the days that the rules on queues look back at."""
    first = day - timedelta(days=max((rule.days for rule in rules if isinstance(rule, QueueRule)), default=0))
    wanted = (pc.field("call_date") >= first) & (pc.field("call_date") < day) & (pc.field("scope") == "queue")
    return view.dataset(DAILY.name).to_table(filter=wanted)


def published_alerts(view: Snapshot, day: date) -> pa.Table:
    """The day's alerts as they are published."""
    return view.dataset(ALERTS.name, day).to_table()


def raise_alerts(
    rules: Rules, calls: pa.Table, daily: pa.Table, before: pa.Table, published: pa.Table, run_id: str
) -> pa.Table:
    """Apply rules to a day.

    Parameters
    ----------
    calls, daily
        The day's rows of ``calls`` and ``satisfaction_daily``.
    before
        Rows of ``satisfaction_daily`` of days before, of scope queue.
    published
        The day's alerts as they were published last: those that are raised again keep their ``raised_at``.
    run_id
        The run that raises them.

    Returns
    -------
    Rows of ``alerts``, sorted.
    """
    models = calls["model_id"].drop_null()
    model_id = models[0].as_py() if len(models) else None
    known = {_same(row): row["raised_at"] for row in published.to_pylist()}
    now = datetime.now(UTC)
    rows = []
    for rule in rules:
        common = {"rule": rule.name, "severity": rule.severity, "expected_precision": rule.precision(model_id)}
        raised = _of_calls(rule, calls) if isinstance(rule, CallRule) else _of_queues(rule, daily, before)
        for found in raised:
            row = {**common, **found, "run_id": run_id}
            rows.append({**row, "raised_at": known.get(_same(row), now)})
    alerts = ALERTS.conform(pa.Table.from_pylist(rows, schema=ALERTS.schema))
    return alerts.sort_by([(name, "ascending") for name in ALERTS.sort])


def _same(row: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """By what an alert is known again: a call's whatever its queue is now."""
    contact_id = row["contact_id"]
    return row["rule"], contact_id, row["queue"] if contact_id is None else None


def _of_calls(rule: CallRule, calls: pa.Table) -> Iterator[dict[str, Any]]:
    met = calls.filter(rule.condition).select(["call_date", "contact_id", "queue", rule.column])
    for row in met.to_pylist():
        value = float(row.pop(rule.column))
        yield {**row, "scope": "call", "value": value, "threshold": rule.threshold, "usual": None}


def _of_queues(rule: QueueRule, daily: pa.Table, before: pa.Table) -> Iterator[dict[str, Any]]:
    wanted = (
        (pc.field("scope") == "queue")
        & pc.field("queue").is_valid()
        & pc.field(rule.column).is_valid()
        & (pc.field("calls_indexed") >= rule.min_calls)
    )
    if rule.queues is not None:
        wanted &= pc.field("queue").isin(rule.queues)
    for row in daily.filter(wanted).to_pylist():
        first = row["call_date"] - timedelta(days=rule.days)
        of_queue = wanted & (pc.field("queue") == row["queue"]) & (pc.field("call_date") >= first)
        usual = rule.usual(before.filter(of_queue)[rule.column].to_pylist())
        value = row[rule.column]
        if usual is not None and rule.is_met(value, usual):
            where = {"call_date": row["call_date"], "contact_id": None, "queue": row["queue"]}
            yield {**where, "scope": "queue", "value": value, "threshold": usual.limit, "usual": usual.middle}


def in_words(alerts: pa.Table) -> Iterator[str]:
    """Say what was raised, a line a rule and queue; nobody is named."""
    rows = alerts.to_pylist()
    for (rule, severity, scope, queue), number in Counter(
        (row["rule"], row["severity"], row["scope"], row["queue"]) for row in rows
    ).items():
        where = "no queue" if queue is None else queue
        if scope == "call":
            yield f"{rule} ({severity}), {where}: {number} calls"
        else:
            (row,) = (each for each in rows if (each["rule"], each["scope"], each["queue"]) == (rule, scope, queue))
            yield (
                f"{rule} ({severity}), {where}: {row['value']:.3f}; usually {row['usual']:.3f}, "
                f"limit {row['threshold']:.3f}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Apply the rules; the exit status is 0, 2 where it failed for good, 75 where another try may help."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date, help="the published day, YYYY-MM-DD")
    parser.add_argument("--dry-run", action="store_true", help="publish nothing; only say what the rules would raise")
    arguments = parser.parse_args(argv)
    start_logging()
    day = arguments.call_date
    try:
        settings = load_settings()
        alerts = apply_rules(settings, day, dry_run=arguments.dry_run)
    except (JobError, SchemaError) as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    log.info("%s: %d alerts%s", day, alerts.num_rows, ", nothing was published" if arguments.dry_run else "")
    for line in in_words(alerts):
        log.info("%s", line)
    return 0


if __name__ == "__main__":
    run_command(main)
