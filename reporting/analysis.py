"""Figures with their uncertainty from the published tables, printed: ``make figures`` and ``make why``.

``figures`` by day, week or month, of all calls or by queue, team or agent; ``week``: why a week differs from the one
before; ``price`` of waiting; ``recovery`` of customers who began badly; ``silent``: who answers surveys and who does
not. Computes nothing itself (reporting.aggregates, reporting.why, reporting.surveys); docs/reporting.md explains each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from jobs.command import EXIT_PERMANENT, run_command
from jobs.errors import JobError
from reporting.aggregates import ClassifierError, ReportingError, aggregate
from reporting.sql import (
    Session,
    add_day_options,
    add_warehouse_options,
    asked_days,
    published_session,
    reading,
    show,
)
from reporting.surveys import silent_majority
from reporting.why import price_of_waiting, recovery, why_it_moved
from ser_model.classifier import ModelCard
from ser_model.errors import SerModelError

SHIPPED = Path(__file__).resolve().parent.parent / "ser_model" / "models" / "research"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was asked for, or in one line why it cannot be had; the exit status."""
    arguments = _arguments(argv)
    try:
        session = published_session(arguments)
        with reading():
            rows = _rows(session, arguments, *asked_days(arguments, session))
    except (JobError, ReportingError, SerModelError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_PERMANENT
    _show(session, rows, arguments.format)
    return 0


def _rows(session: Session, arguments: argparse.Namespace, first: date, last: date) -> list[dict[str, Any]]:
    if arguments.what == "figures":
        error = ClassifierError.of_card(ModelCard.load(arguments.model))
        found = aggregate(
            session.tables,
            period=arguments.period,
            scope=arguments.by or "total",
            first=first,
            last=last,
            errors=[error] if error else [],
        )
        return [_flat(asdict(figure)) for figure in found]
    if arguments.what == "week":
        split = why_it_moved(session.tables, last)
        parts = [{**asdict(part), "change": part.within + part.mix + part.wait} for part in split.queues]
        names = ("within", "mix", "wait", "change", "calls_before", "calls")
        total = {"queue": "all", **{name: sum(part[name] for part in parts) for name in names}}
        return [{name: row[name] for name in ("queue", *names)} for row in (*parts, total)]
    if arguments.what == "price":
        prices = price_of_waiting(session.tables, first, last)
        costs = [{"of": price.of, **_interval(price.points, price.low, price.high)} for price in prices.prices]
        bands = [
            {"of": f"index of calls that waited {band.wait}", **_interval(band.mean, band.low, band.high)}
            for band in prices.by_wait
        ]
        return costs + bands
    if arguments.what == "recovery":
        found_by = recovery(session.tables, first, last, by="queue" if arguments.by == "queue" else "team")
        return [{**asdict(each), "difference": each.difference} for each in found_by]
    return [asdict(each) for each in silent_majority(session.tables, first, last)]


def _interval(points: float | None, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"points": points, "low": low, "high": high}


def _flat(figure: dict[str, Any]) -> dict[str, Any]:
    change = figure.pop("change") or dict.fromkeys(("points", "low", "high", "p_value", "adjusted_p_value", "real"))
    named = {f"change_{name}" if name != "points" else "change": value for name, value in change.items()}
    return {**figure, **named}


def _show(session: Session, rows: list[dict[str, Any]], style: str) -> None:
    import pyarrow as pa

    rounded = [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()} for row in rows
    ]
    if not rounded:
        sys.stderr.write("no calls in these days\n")
        return
    show(session.tables.from_arrow(pa.Table.from_pylist(rounded)), style)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.analysis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("figures", "week", "price", "recovery", "silent"))
    parser.add_argument("--period", choices=("day", "week", "month"), default="week", help="of figures")
    parser.add_argument("--by", choices=("total", "queue", "team", "agent"), help="of figures and recovery")
    add_day_options(parser)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="the folder of the model whose error is put in")
    add_warehouse_options(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_command(main)
