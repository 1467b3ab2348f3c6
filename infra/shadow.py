"""``make shadow``: scores a published day's recordings with another model, publishes nothing, and prints what changes.

The night's own steps read, classify and summarize into a run's staging, which is deleted in the end, whatever comes;
the steps that validate and publish are not run, and publish_tables refuses a run without them. The recordings have to
be where the night read them.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from infra.night import unwind_on_signals
from jobs.command import EXIT_INTERRUPTED, EXIT_PERMANENT, call_date
from jobs.errors import JobError
from jobs.settings import ROOT, Settings, load_settings
from jobs.staging import RunStaging, new_run_id
from jobs.storage import open_storage
from jobs.warehouse import Snapshot, Warehouse
from reporting import words
from reporting.shadow import CALL_COLUMNS, SEGMENT_COLUMNS, CallChange, Comparison, Estimate, compare
from schemas import TABLES

STEPS: Final = ("plan_recordings", "extract_features", "classify_emotions", "summarize_calls")
COLUMNS: Final = {"emotion_log": SEGMENT_COLUMNS, "calls": CALL_COLUMNS}
CALLS_SHOWN = 20
ID_WIDTH = 36


class ShadowFailed(Exception):
    """There is nothing to compare with, or a step did not get to its end; the message says which and why."""


def shadow(settings: Settings, call_date: date, model: Path, say: Console) -> Comparison:
    """Score a published day with another model, and compare.

    Parameters
    ----------
    model
        The candidate's folder.
    say
        Where the steps are named as they end.

    Raises
    ------
    ShadowFailed
        Where the day is not published, or a step failed.
    """
    warehouse = Warehouse(open_storage(settings.warehouse, settings))
    published = warehouse.view(lambda view: _published(view, call_date), [*COLUMNS, "runs"])
    staging = RunStaging(open_storage(settings.staging, settings), call_date, new_run_id())
    try:
        for step in STEPS:
            _run(step, staging, ["--model", str(model.absolute())] if step == STEPS[0] else [])
            say.print(f"{step} done")
        return compare(published, {name: staging.read_table(TABLES[name], each) for name, each in COLUMNS.items()})
    finally:
        staging.storage.delete_below(staging.folder)


def _published(view: Snapshot, call_date: date) -> Mapping[str, pa.Table]:
    if not view.files["runs"].get(call_date):
        raise ShadowFailed(f"{call_date} was never published, so there is nothing to compare with; run its night first")
    return {name: view.dataset(name, call_date).to_table(columns=list(each)) for name, each in COLUMNS.items()}


def _run(step: str, staging: RunStaging, more: Sequence[str]) -> None:
    """Run a step as a process of its own, as a night does, and judge it by its marker."""
    command = [sys.executable, "-m", f"jobs.{step}", "--call-date", staging.call_date.isoformat()]
    ended = subprocess.run(
        [*command, "--run-id", staging.run_id, *more], cwd=ROOT, capture_output=True, text=True, check=False
    )
    marker = staging.marker(step)
    if marker is None or marker.status != "done":
        reason = ended.stderr.strip()[-2000:] if marker is None else marker.reason
        raise ShadowFailed(f"{step}: {reason}")


def in_words(found: Comparison, console: Console) -> None:
    """Print what changes: all calls and the queues, then the calls that change most."""
    shown = found.calls[:CALLS_SHOWN]
    console.print(f"{found.candidate} in place of {found.model}; nothing was published.\n")
    groups = Table(
        "calls of",
        *(
            Column(name, justify="right")
            for name in ("calls", "segments", "another emotion", "index by", "newly flagged", "no longer flagged")
        ),
        box=SIMPLE_HEAD,
    )
    for group in found.groups:
        shares, change = _interval(group.changed_share, 100, "%"), _interval(group.index_change, 1, "")
        counts = (group.newly_flagged, group.no_longer_flagged)
        figures = (group.calls, group.segments, shares, change, *counts)
        groups.add_row(
            words.printable(group.name), *(each if isinstance(each, str) else f"{each:,}" for each in figures)
        )
    console.print(groups)
    # Whole ids, by which the calls are found in the dashboard and in the recordings' keys.
    calls = Table(
        Column("contact, and the flags that come (+) and go (-)", min_width=ID_WIDTH, overflow="fold"),
        "queue",
        Column("another emotion", justify="right", min_width=10),
        Column("index", justify="right", min_width=8),
        box=SIMPLE_HEAD,
    )
    for call in shown:
        index = f"{words.number(call.index)} to {words.number(call.index_after)}"
        named, queue = words.printable(call.contact_id), words.printable(call.queue or "")
        calls.add_row(f"{named}{_flags(call)}", queue, f"{call.changed} of {call.segments}", index)
    console.print(calls)
    if len(found.calls) > CALLS_SHOWN:
        console.print(f"and {len(found.calls) - CALLS_SHOWN:,} more calls: FORMAT=csv")
    left_out = [
        words.count(amount, *noun)
        for amount, noun in (
            (found.only_published, ("call that only the published day has", "calls that only the published day has")),
            (found.only_candidate, ("call that only the candidate scored", "calls that only the candidate scored")),
            (found.unmatched_segments, ("segment that only one has", "segments that only one has")),
        )
        if amount
    ]
    if left_out:
        console.print(f"Left out: {words.listing(left_out)}.")


def _flags(call: CallChange) -> str:
    came = [f"+{each}" for each in call.reasons_after if each not in call.reasons]
    gone = [f"-{each}" for each in call.reasons if each not in call.reasons_after]
    return f"\n{call.flagged + ' flagged: ' if call.flagged else ''}{' '.join([*came, *gone])}" if came or gone else ""


def _interval(found: Estimate | None, times: float, unit: str) -> str:
    if found is None:
        return words.NONE
    ends = "" if found.low is None or found.high is None else f" ({times * found.low:.1f} to {times * found.high:.1f})"
    return f"{times * found.value:.1f}{unit}{ends}"


def _row(call: CallChange) -> dict[str, Any]:
    return {**asdict(call), "index_change": call.index_change, "flagged": call.flagged}


def main(argv: Sequence[str] | None = None) -> int:
    """Score the day and print what changes; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.shadow", description=__doc__)
    parser.add_argument("--call-date", required=True, type=call_date, help="a published day, YYYY-MM-DD")
    parser.add_argument("--model", required=True, type=Path, help="the folder of the candidate")
    parser.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="csv: a row a call; json: everything"
    )
    arguments = parser.parse_args(argv)
    # What is asked for goes to where it can be piped from, all else beside it.
    console = Console(markup=False, highlight=False)
    aside = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    unwind_on_signals()
    try:
        found = shadow(load_settings(), arguments.call_date, arguments.model, aside)
    except (JobError, ShadowFailed) as error:
        aside.print(str(error))
        return EXIT_PERMANENT
    except KeyboardInterrupt:
        aside.print("stopped; nothing was published")
        return EXIT_INTERRUPTED
    if arguments.format == "table":
        in_words(found, console)
    elif arguments.format == "json":
        everything = {**asdict(found), "calls": [_row(call) for call in found.calls]}
        print(json.dumps(everything, indent=1))  # noqa: T201 - the answer
    else:
        rows = [_row(call) for call in found.calls]
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_row(CallChange("", None, 0, 0, None, None, (), ())))
        writer.writerows([" ".join(each) if isinstance(each, tuple) else each for each in row.values()] for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
