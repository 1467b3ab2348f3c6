"""Customers to win back: whose last call ended badly, or who called again within 7 days; ``make win-back``.

Prints a row a customer, with the last contact, as CSV or a table, for those who may call customers back. Of the
published tables, without customers who opted out; by the jobs' settings, also without those on today's list of opt-outs
and without those who were erased. docs/reporting.md says what the columns mean. Knows no names or numbers: who keeps
the telephone system looks the contact up there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import EXIT_PERMANENT, run_command
from jobs.errors import JobError
from jobs.opt_outs import OptOuts
from jobs.settings import load_settings
from jobs.storage import open_storage
from jobs.suppressions import Suppressions
from reporting.sql import (
    add_day_options,
    add_warehouse_options,
    asked_days,
    published_session,
    reading,
    show,
)
from schemas import definitions as d

if TYPE_CHECKING:
    import duckdb

    from jobs.warehouse import Snapshot

BAD_REASONS: Final = ["sustained_anger", "escalated", "mood_fall", "low_satisfaction"]
"""A last call ended badly where it has one of these review reasons and mood_end is as low as a bad start's."""

CALL_COLUMNS: Final = ["call_date", "contact_id", "queue", "satisfaction_index", "mood_end", "review_reasons"]
CONTACT_COLUMNS: Final = ["call_date", "contact_id", "customer_key", "initial_contact_id", "started_at"]
_SQL = Path(__file__).parent / "win_back.sql"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the customers, or in one line why they cannot be had; the exit status."""
    arguments = _arguments(argv)
    try:
        session = published_session(arguments)
        first, last = asked_days(arguments, session)
        excluded = _excluded() if arguments.warehouse is None else None
        with reading():
            found = win_back(session.tables, first, last, excluded)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_PERMANENT
    if excluded is None:
        sys.stderr.write("--warehouse: no settings, so today's list of opt-outs is not asked\n")
    show(session.tables.from_arrow(found), arguments.format)
    return 0


def win_back(
    tables: duckdb.DuckDBPyConnection,
    first: date,
    last: date,
    excluded: Callable[[pa.Table], pa.Array] | None = None,
    called_from: date | None = None,
) -> pa.Table:
    """Find the customers to win back in the calls from one day to another.

    Parameters
    ----------
    tables
        DuckDB with the views ``calls``, ``contacts`` and ``recordings``.
    excluded
        Which rows to leave out: True for each of them.
    called_from
        Only customers whose last call is of this day or later; by default all.

    Returns
    -------
    customer_key; contact_id of the last call; reason (ended_badly, called_again, or both); last_call and days_since, to
    `last`; queue and index of the last call; trend (its index less the mean of the customer's earlier ones, null
    without these); calls and calls_again (calls within 7 days of the one before). The most recent first, then by key.
    """
    given = {
        "first": first,
        "last": last,
        "called_from": called_from or first,
        "bad_mood": d.RECOVERED_MOOD_START,
        "bad_reasons": BAD_REASONS,
    }
    found = tables.sql(_SQL.read_text(encoding="utf-8"), params=given).to_arrow_table()
    return found if excluded is None else found.filter(pc.invert(excluded(found)))


def read_for_win_back(view: Snapshot, first: date, last: date) -> Mapping[str, pa.Table]:
    """Read what `win_back` needs of calls, contacts and recordings to answer from one day to another."""
    asked = (pc.field("call_date") >= first) & (pc.field("call_date") <= last)
    opted_out = pc.field("reason_code") == "opted_out"
    recordings = view.dataset("recordings").to_table(
        columns=["call_date", "contact_id", "reason_code"], filter=opted_out
    )
    calls, contacts = (view.dataset(name) for name in ("calls", "contacts"))
    whose = pc.field("contact_id").isin(recordings["contact_id"].combine_chunks())
    return {
        "calls": calls.to_table(columns=CALL_COLUMNS, filter=asked),
        "contacts": contacts.to_table(columns=CONTACT_COLUMNS, filter=asked | whose),
        "recordings": recordings,
    }


def _excluded() -> Callable[[pa.Table], pa.Array]:
    settings = load_settings()
    opt_outs = OptOuts.load(settings)
    suppressed = Suppressions.load(open_storage(settings.warehouse, settings), settings.identity_secret)

    def are_excluded(found: pa.Table) -> pa.Array:
        rows = zip(found["customer_key"].to_pylist(), found["contact_id"].to_pylist(), strict=True)
        return pa.array([opt_outs.lists(key) or suppressed.has_contact(contact) for key, contact in rows], pa.bool_())

    return are_excluded


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.win_back", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_day_options(parser)
    add_warehouse_options(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_command(main)
