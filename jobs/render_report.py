"""render_report: write the day's report from its published tables, in both editions, into ``<reports>/<call_date>/``.

Run ``python -m jobs.render_report --call-date 2026-11-20 --run-id ID`` after publish_tables. It writes nightly.html,
the review edition with ids, and nightly-summary.html without any. The reports on the week and the month that end with
the day are written, too; those that are there already are written anew, so that they stay what the tables say.

Run ``python -m jobs.render_report --week 2026-W47`` or ``--month 2026-11`` for a report on what is published of a week
or month: weekly.html and weekly-summary.html, monthly.html and monthly-summary.html in the folder of its first day,
with which they go when their time is over. What a page shows is what the warehouse shows: one view of the tables as
the days' last markers have them. How it looks is ``reporting.report``'s.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import exit_status, run_command
from jobs.discretion import start_logging
from jobs.errors import JobError
from jobs.labels import Labels
from jobs.model import model_folder
from jobs.settings import Settings, load_settings
from jobs.step import StepContext, step_main
from jobs.storage import open_storage
from jobs.warehouse import Snapshot, Warehouse
from reporting.aggregates import ClassifierError
from reporting.calls import calls_to_hear, read_calls
from reporting.course import DAYS_BEFORE
from reporting.drift import Profile, day_profiles
from reporting.judgements import NOTHING_JUDGED, measure, of_model
from reporting.night import EMOTION_LOG_COLUMNS, Run, last_runs
from reporting.periods import Period
from reporting.report import Edition, ModelNote, render_page
from reporting.win_back import read_for_win_back, win_back
from schemas import TABLES
from schemas.errors import SchemaError
from ser_model.classifier import ModelCard
from ser_model.errors import SerModelError

STEP = "render_report"
NAMES = {"day": "nightly", "week": "weekly", "month": "monthly"}
_TELEPHONE = "g711"

log = logging.getLogger("callmood")


def run(context: StepContext) -> Mapping[str, float]:
    """Write the report, and those on its week and month; returns the day's calls, and the bytes of its pages."""
    settings, day, model = context.settings, context.call_date, context.staging.run_spec().model
    counts = write_report(settings, Period.day(day), model)
    reports = open_storage(settings.reports, settings)
    for period in (Period.week(day), Period.month(day)):
        if day == period.last or reports.exists(page_path(period, "review")):
            write_report(settings, period, model)
    return counts


def page_path(period: Period, edition: Edition) -> str:
    """Where a page is, below the reports."""
    ending = "" if edition == "review" else f"-{edition}"
    return f"{period.first.isoformat()}/{NAMES[period.kind]}{ending}.html"


def review_pages(call_date: date) -> tuple[str, ...]:
    """Where the pages would be that may name a day's calls: its own, its week's and its month's."""
    return tuple(page_path(of(call_date), "review") for of in (Period.day, Period.week, Period.month))


def write_report(settings: Settings, period: Period, model: str) -> Mapping[str, float]:
    """Write both editions of a report; returns the calls that it is of, and the bytes of the pages.

    Parameters
    ----------
    model
        The folder of the model that the last day was classified by, as far as is known.

    Raises
    ------
    StorageError
        Where the storage fails, or days are replaced again and again.
    """
    warehouse = open_storage(settings.warehouse, settings)
    tables, history, profiles = read_period(Warehouse(warehouse), period)
    runs = last_runs(tables["runs"])
    customers = to_win_back(Warehouse(warehouse), period, runs[-1].call_date) if runs else None
    note = model_note(model, runs[-1] if runs else None)
    judged = measure(of_model(Labels(warehouse).read(), runs[-1].model_id)) if runs else NOTHING_JUDGED
    reports = open_storage(settings.reports, settings)
    # What a killed writer of these pages left half-written; one that writes now notices, and writes once more.
    for file in list(reports.files(period.first.isoformat())):
        if file.path.startswith(f"{period.first.isoformat()}/.{NAMES[period.kind]}"):
            reports.delete(file.path)
    generated_at = datetime.now(UTC)
    written = 0
    for edition in get_args(Edition):
        page = render_page(
            tables,
            period=period,
            generated_at=generated_at,
            edition=edition,
            history=history,
            time_zone=settings.time_zone,
            model=note,
            judged=judged,
            profiles=profiles,
            to_win_back=customers,
        ).encode()
        path = page_path(period, edition)
        reports.write(path, page)
        log.info("the report is at %s", reports.uri(path))
        written += len(page)
    return {"calls": tables["calls"].num_rows, "bytes": written}


def read_period(
    warehouse: Warehouse, period: Period
) -> tuple[Mapping[str, pa.Table], pa.Table, Mapping[date, Profile]]:
    """Read a period's tables in one view; of emotion_log and topics only the calls that the report shows.

    Returns
    -------
    The tables by name; the rows of satisfaction_daily of the days before, of scope total and queue; and the profiles of
    the published days before and of the period's.

    Raises
    ------
    StorageError
        Where the storage fails, or days are replaced again and again.
    """

    def rows(view: Snapshot, name: str, days: Sequence[date], **options: Any) -> pa.Table:
        parts = [view.dataset(name, day).to_table(**options) for day in days if day in view.files[name]]
        return pa.concat_tables(parts) if parts else view.dataset(name, days[0]).to_table(**options)

    def read(view: Snapshot) -> tuple[Mapping[str, pa.Table], pa.Table, Mapping[date, Profile]]:
        of_calls = ("emotion_log", "topics")
        tables = {name: rows(view, name, period.days) for name in TABLES if name not in of_calls}
        shown = [each.call.contact_id for each in calls_to_hear(read_calls(tables["calls"]))]
        of_shown = pc.field("contact_id").isin(pa.array(shown, pa.string()))
        columns = list(EMOTION_LOG_COLUMNS)
        tables["emotion_log"] = rows(view, "emotion_log", period.days, columns=columns, filter=of_shown)
        tables["topics"] = rows(view, "topics", period.days, filter=of_shown)
        of_all_calls = pc.field("scope").isin(["total", "queue"])
        before = period.before(DAYS_BEFORE)
        history = rows(view, "satisfaction_daily", before, filter=of_all_calls)
        return tables, history, day_profiles(view, (*before, *period.days))

    return warehouse.view(read)


def to_win_back(warehouse: Warehouse, period: Period, last: date) -> pa.Table:
    """Find the customers to win back who called last in a period, by the calls of the 28 days up to its ``last``.

    A page names calls of its own days alone, and so no longer than they are kept. Nobody asks today's list of opt-outs,
    which let these calls through when they were scored.

    Raises
    ------
    StorageError
        Where the storage fails, or days are replaced again and again.
    """
    # Takes a third of a second to import, which those who only ask for a page's place need not wait for.
    import duckdb

    first = min(period.first, last - timedelta(days=DAYS_BEFORE - 1))
    # Read before DuckDB asks: what is replaced meanwhile is read anew.
    tables = warehouse.view(lambda view: read_for_win_back(view, first, last), ["calls", "contacts", "recordings"])
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return win_back(connection, first, last, called_from=period.first)


def model_note(folder: str, run: Run | None) -> ModelNote | None:
    """Say what the page says of the run's model; None where its card is not to be had any more.

    An enriched day may have been classified by another model than the one that the settings name now.
    """
    try:
        card = ModelCard.load(model_folder(folder))
    except SerModelError as error:
        log.warning("the report says nothing of the model's accuracy: %s", error)
        return None
    if run is not None and run.model_id != card.model_id:
        log.warning(
            "the report says nothing of the model's accuracy: the day was classified by %s, and CALLMOOD_MODEL is %s",
            run.model_id,
            card.model_id,
        )
        return None
    return ModelNote(
        labels=card.labels,
        corpora=card.corpora,
        license=card.license,
        commercial_use=card.commercial_use,
        accuracy=accuracy(card.metrics),
        evaluated_languages=card.evaluated_languages,
        error=ClassifierError.of_card(card),
    )


def accuracy(metrics: Mapping[str, Any]) -> str | None:
    """Say a card's figures through the telephone in sentences; None where it has none."""
    sentences = []
    for result in metrics.get("results", ()):
        if result["condition"] != _TELEPHONE:
            continue
        low, high = result["uar_interval"]
        sentences.append(
            f"Of acted speech of {result['corpus'].upper()} by {len(result['speakers'])} speakers whom it never heard, "
            f"through telephone coding, it recognizes {result['uar']:.0%} of each emotion on average (95% interval "
            f"{low:.0%} to {high:.0%}; guessing gives {1 / len(result['recall']):.0%})."
        )
    return " ".join(sentences) or None


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report on a week or month, or run the step of a night; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jobs.render_report", add_help=False)
    either = parser.add_mutually_exclusive_group()
    for kind in ("week", "month"):
        either.add_argument(f"--{kind}", type=_period(kind))
    given, others = parser.parse_known_args(argv)
    period = given.week or given.month
    if period is None:
        return step_main(STEP, run, __doc__, others)
    if others:
        parser.error(f"--{period.kind} goes without {' '.join(others)}")
    start_logging()
    try:
        settings = load_settings()
        write_report(settings, period, settings.model)
    except (JobError, SchemaError) as error:
        log.error("%s", error)
        return exit_status(permanent=error.permanent)
    return 0


def _period(kind: str) -> Callable[[str], Period]:
    def read(text: str) -> Period:
        try:
            return Period.parse(kind, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


if __name__ == "__main__":
    run_command(main)
