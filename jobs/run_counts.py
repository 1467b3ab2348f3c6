"""What a run had counted until it stopped: ``python -m jobs.run_counts --call-date 2026-11-20 --run-id ID``.

Prints JSON: the counts of its steps that are done, and the most frequent reasons for which recordings are not scored,
as far as the run got. Reads staging alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jobs.command import call_date, exit_status, run_command, run_name
from jobs.errors import JobError, StepOrderError
from jobs.settings import load_settings
from jobs.staging import RunStaging
from jobs.storage import open_storage
from schemas import TABLES
from schemas.staging import CALL_AUDIO, PLAN
from schemas.table import Table

FIRST_REASONS = 5


def run_counts(staging: RunStaging) -> dict[str, Any]:
    """The counts: ``steps``, by step, and ``reasons``, by reason code, the most frequent first."""
    done = {step: dict(marker.counts) for step, marker in staging.markers().items() if marker.status == "done"}
    return {"steps": done, "reasons": dict(_reasons(staging).most_common(FIRST_REASONS))}


def _reasons(staging: RunStaging) -> Counter[str]:
    found = _codes(staging, TABLES["recordings"])
    # Until all outcomes are settled: what the plan left out, and what could not be read.
    return found or _codes(staging, PLAN) + _codes(staging, CALL_AUDIO)


def _codes(staging: RunStaging, table: Table) -> Counter[str]:
    try:
        codes = staging.read_table(table, ["reason_code"])["reason_code"]
    except StepOrderError:  # the run did not get there
        return Counter()
    return Counter(codes.drop_null().to_pylist())


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts; the exit status is 0, 2 where that failed for good, 75 where another try may help."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.run_counts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date)
    parser.add_argument("--run-id", required=True, type=run_name)
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings()
        staging = RunStaging(open_storage(settings.staging, settings), arguments.call_date, arguments.run_id)
        found = run_counts(staging)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return exit_status(permanent=error.permanent)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
