"""SQL over the published tables, in DuckDB: one query, or a prompt for many.

Run ``python -m reporting.sql "select ..."``, ``@name`` for a ready query (docs/queries.md), or without a query for
the prompt. Every published table is a view with the rows of each day's last publication, whole and in every table
together, also while a day is being published (``jobs.warehouse``). Reads the warehouse only; publishes nothing.
"""

# ruff: noqa: T201 - printing is what it is for

from __future__ import annotations

import argparse
import csv
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING

from jobs.command import EXIT_PERMANENT, call_date, run_command
from jobs.errors import JobError, NotPublished, SettingsError, StorageError
from jobs.settings import load_store_settings
from jobs.storage import Storage, open_storage, storage_from_options
from reporting.ready import READY, UnknownQuery
from schemas import LABELS, TABLES

if TYPE_CHECKING:
    import duckdb

    from jobs.warehouse import Snapshot

FORMATS = ("table", "csv", "json")
MAX_ROWS = 40
DAYS = 28
_ALL = {**TABLES, LABELS.name: LABELS}
EXIT_QUERY = 1
HELP = """\
End a query with ; and it runs. Commands:
  .tables          the tables, and what a row of each is
  .columns TABLE   its columns, with their types and descriptions
  .queries         the ready queries; @name; runs one
  .quit            leave (or Ctrl-D)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Answer the query, or prompt for queries; the exit status."""
    arguments = _arguments(argv)
    try:
        session = published_session(arguments)
    except JobError as error:
        return _say(str(error), EXIT_PERMANENT)
    query = " ".join(arguments.query).strip()
    if not query:
        return prompt(session, arguments.format)
    return answer(session, query, arguments.format)


class Session:
    """DuckDB with a view of every published table, as the warehouse was at the last refresh.

    Parameters
    ----------
    storage
        The warehouse.

    Raises
    ------
    StorageError, StorageAccessDenied
        Where the warehouse cannot be read.
    """

    def __init__(self, storage: Storage) -> None:
        import duckdb

        from jobs.labels import Labels
        from jobs.warehouse import Warehouse

        self._warehouse = Warehouse(storage)
        self._labels = Labels(storage)
        # Without these, a name that is no table may be taken for a variable of Python, or starts a download.
        settings = {"python_enable_replacements": False, "autoinstall_known_extensions": False}
        self._duckdb = duckdb.connect(config={**settings, "TimeZone": "UTC"})
        self._snapshot: Snapshot | None = None
        self.refresh()

    @property
    def call_dates(self) -> list[date]:
        """The days that were published, in order."""
        return [] if self._snapshot is None else self._snapshot.call_dates

    @property
    def tables(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with the views."""
        return self._duckdb

    def refresh(self) -> bool:
        """Take the tables as they are now; whether anything but labels had changed."""
        self._duckdb.register(LABELS.name, self._labels.read())
        snapshot = self._warehouse.snapshot()
        if snapshot == self._snapshot:
            return False
        self._snapshot = snapshot
        for table in TABLES:
            self._duckdb.register(table, snapshot.dataset(table))
        return True

    def answer(self, query: str, style: str) -> None:
        """Run a query and print what it gives.

        A query that fails because a day was replaced meanwhile is run again on the new tables.

        Raises
        ------
        duckdb.Error
            Where it is no query, or fails.
        """
        import duckdb

        try:
            found = self._run(query)
        except duckdb.Error:
            if not self.refresh():
                raise
            found = self._run(query)
        if found is not None:
            show(found, style)

    def _run(self, query: str) -> duckdb.DuckDBPyRelation | None:
        found = self._duckdb.sql(query)
        return None if found is None else found.materialize()


def answer(session: Session, query: str, style: str) -> int:
    """Print the answer to a query or to a ready one, or in one line why there is none; the exit status."""
    import duckdb

    try:
        session.answer(READY[name].sql if (name := _name(query)) else query, style)
    except (duckdb.Error, JobError, UnknownQuery) as error:
        lines = str(error).partition("\n\nLINE")[0].splitlines()
        return _say(" ".join(line.strip() for line in lines if line.strip()), EXIT_QUERY)
    return 0


def _name(query: str) -> str | None:
    return query[1:].rstrip("; \n") if query.startswith("@") else None


def prompt(session: Session, style: str) -> int:
    """Read queries until the end of the input, and answer each; the exit status."""
    import readline  # noqa: F401 - gives input() its line editing and history

    interactive = sys.stdin.isatty()
    if interactive:
        print(f"Tables: {', '.join(_ALL)}. End a query with ; or type .help")
    status = 0
    try:
        for statement in _statements(interactive):
            command, _, argument = statement.partition(" ")
            if command in {".quit", ".exit"}:
                break
            if statement.startswith("."):
                print(_describe(command, argument.strip()))
            else:
                status = answer(session, statement, style)
    except UnicodeDecodeError:
        return _say("what was typed is not UTF-8", EXIT_QUERY)
    return 0 if interactive else status


def _statements(interactive: bool) -> Iterator[str]:
    """Yield what is typed: a line that starts with a dot, or all lines up to a semicolon."""
    lines: list[str] = []
    while True:
        try:
            line = input(("callmood> ", "     ...> ")[bool(lines)] if interactive else "")
        except KeyboardInterrupt:
            lines = []
            print()
            continue
        except EOFError:
            if interactive:
                print()
            elif any(line.strip() for line in lines):
                yield "\n".join(lines)
            return
        if not lines and line.startswith("."):
            yield line.strip()
        elif lines or line.strip():
            lines.append(line)
            if line.rstrip().endswith(";"):
                yield "\n".join(lines)
                lines = []


def _describe(command: str, name: str) -> str:
    if command == ".tables":
        return "\n".join(f"{table.name:<20}{table.description}" for table in _ALL.values())
    if command == ".queries":
        return "\n".join(f"@{query.name:<34}{query.question}" for query in READY.values())
    if command == ".columns" and name in _ALL:
        return "\n".join(
            textwrap.fill(
                f"{field.name:<26}{field.type!s:<24}{field.metadata[b'description'].decode()}",
                width=max(80, _terminal_width()),
                subsequent_indent=" " * 50,
            )
            for field in _ALL[name].schema
        )
    if command == ".columns":
        return f"there is no table {name!r}; the tables are {', '.join(_ALL)}"
    return HELP


def show(found: duckdb.DuckDBPyRelation, style: str) -> None:
    """Print rows as a table for people, as CSV or as JSON."""
    if style == "table":
        terminal = sys.stdout.isatty()
        width, rows = (_terminal_width(), MAX_ROWS) if terminal else (100_000, 1_000_000)
        found.show(max_width=width, max_rows=rows)
    elif style == "csv":
        as_text = found.project("columns(*)::varchar")
        csv.writer(sys.stdout, lineterminator="\n").writerows([found.columns, *as_text.fetchall()])
    else:
        objects = found.set_alias("answer").project("to_json(answer)::varchar").fetchall()
        print("[" + ",\n ".join(text for (text,) in objects) + "]")


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def published_session(arguments: argparse.Namespace) -> Session:
    """Open the warehouse that `add_warehouse_options` lets one name, by default that of the settings.

    Raises
    ------
    JobError
        Where it cannot be read, or nothing is published in it.
    """
    if arguments.warehouse is None:
        settings = load_store_settings()
        storage = open_storage(settings.warehouse, settings)
    else:
        storage = storage_from_options(
            {"location": arguments.warehouse, "endpoint": arguments.s3_endpoint, "region": arguments.s3_region}
        )
    session = Session(storage)
    if not session.call_dates:
        raise NotPublished(
            f"nothing is published in {storage.location} yet: make demo or make run DATE=YYYY-MM-DD does"
        )
    return session


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.sql", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("query", nargs="*", help="the query, or @name of a ready one; without one there is a prompt")
    add_warehouse_options(parser)
    return parser.parse_args(argv)


def add_warehouse_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the tables are and how answers are printed."""
    parser.add_argument("--format", choices=FORMATS, default="table", help="how answers are printed")
    parser.add_argument("--warehouse", help="a folder or s3://bucket/prefix, instead of the setting")
    parser.add_argument("--s3-endpoint", default="", help="for --warehouse: the server where it is not AWS")
    parser.add_argument("--s3-region", default="us-east-1", help="with --warehouse: the bucket's region")


@contextmanager
def reading() -> Iterator[None]:
    """Say what DuckDB says of tables that cannot be read as the error of a storage.

    Raises
    ------
    StorageError
        Where a file is damaged, or has gone since the session looked.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"the published tables cannot be read ({reason}); where a day was replaced meanwhile, ask again"
        ) from None


def add_day_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which days an answer is of: `asked_days`."""
    parser.add_argument("--from", dest="first", type=call_date, help=f"default: {DAYS} days up to the last")
    parser.add_argument("--to", dest="last", type=call_date, help="default: the last published day")


def asked_days(arguments: argparse.Namespace, session: Session) -> tuple[date, date]:
    """The first and the last day that `add_day_options` lets one ask for.

    Raises
    ------
    SettingsError
        Where the first is after the last.
    """
    last = arguments.last or session.call_dates[-1]
    first = arguments.first or last - timedelta(days=DAYS - 1)
    if first > last:
        raise SettingsError(f"the first day, {first}, is after the last, {last}")
    return first, last


if __name__ == "__main__":
    run_command(main)
