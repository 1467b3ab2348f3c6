"""``make chaos``: injects faults, every one of them, and prints a table of what came of it.

The faults are tests of the suite, which ``make test`` runs as well, some of them at fewer points. Exits with 1 where
one of them fails. Beside the seconds that passed stand those of a processor, which say more on a machine that does
other things, too: without those of processes that nobody waited for.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field

import pytest
from rich.console import Console
from rich.table import Table

FAULTS: dict[str, tuple[str, ...]] = {
    "a publisher killed (SIGKILL) before, during and after each change": ("tests/integration/test_killed.py",),
    "the other steps killed (SIGKILL) at their writes and deletions": ("tests/integration/test_killed_steps.py",),
    "a publisher that fails at any change, on a folder and on S3": (
        "tests/integration/test_publish.py::test_killed_at_any_change_the_next_run_heals_it",
        "tests/integration/test_publish.py::test_a_copy_that_goes_wrong_changes_nothing_and_leaves_nothing",
        "tests/integration/test_publish.py::test_an_intent_whose_files_are_gone_is_not_committed",
    ),
    "damaged staging: types, columns, rows, bytes, missing files": (
        "tests/integration/test_publish.py::test_a_file_that_is_not_the_tables_is_refused_before_anything_is_placed",
    ),
    "publishers of one day, of many days, and one taken for dead": (
        "tests/integration/test_publish.py::test_days_are_published_side_by_side",
        "tests/integration/test_publish.py::test_a_second_run_of_the_day_is_kept_out",
        "tests/integration/test_publish.py::test_two_runs_of_a_day_at_once_leave_one_of_them_whole",
        "tests/integration/test_publish.py::test_the_loser_of_a_race_of_commits_tries_again",
        "tests/integration/test_publish.py::test_a_publisher_taken_for_dead_that_comes_back_changes_nothing",
        "tests/integration/test_publish.py::test_what_was_made_of_rows_that_were_replaced_since_is_refused",
        "tests/unit/test_day_lock.py",
    ),
    "recordings that kill, hang or fill whatever reads them": ("tests/integration/test_poison.py",),
    "processes that die by signals, exits, time and memory": ("tests/unit/test_own_process.py",),
    "a store that breaks off, refuses or answers wrongly": ("tests/unit/test_extract_features.py",),
    "S3 behind a faulty proxy: refused, reset, cut short, damaged, slow": (
        "tests/integration/test_faulty_s3.py",
        "tests/integration/test_faulty_tables.py",
    ),
    "a disk that is full, and a file system that is": (
        "tests/unit/test_full_disk.py",
        "tests/integration/test_full_mount.py",
    ),
    "a killed executor, a task that fails thrice, one that never ends": ("tests/integration/test_spark_cluster.py",),
    "an erasure that begins while its day is published": (
        "tests/integration/test_erasure_race.py",
        "tests/integration/test_erase.py::test_a_run_that_was_planned_before_is_not_published",
    ),
    "clocks that contradict each other": (
        "tests/unit/test_plan_recordings.py::test_times_that_contradict_each_other",
        "tests/unit/test_plan_recordings.py::test_a_call_whose_key_has_no_time_is_judged_by_its_record",
    ),
    "any bytes as audio, table, record, key, model card or network": (
        "tests/unit/test_any_input.py",
        "tests/unit/test_formats.py::test_a_damaged_file_ends_in_a_reason",
    ),
    "outcomes that contradict the plan, and broken tables": ("tests/unit/test_expectations.py",),
    "late, changed and vanished recordings; releases raced by nights": ("tests/integration/test_due_days.py",),
    "an undo of what is gone or damaged, and one that is to stand": ("tests/integration/test_republish.py",),
    "nights that scored too little": (
        "tests/unit/test_coverage.py",
        "tests/unit/test_publish_tables.py::test_a_night_that_scored_too_little_stops_and_asks",
        "tests/unit/test_publish_tables.py::test_a_day_of_calls_is_emptied_by_opt_outs_alone",
    ),
}
"""Kinds of faults, and the tests that inject them."""


@dataclass(eq=False)
class Tally:
    """What came of the faults of one kind; a plugin of pytest's."""

    injected: int = 0
    held: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test; one that injects several faults says how many."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            faults = next((int(str(value)) for name, value in report.user_properties if name == "faults"), 1)
            self.seconds += report.duration
            if report.skipped:
                self.skipped += 1
                return
            self.injected += faults
            if report.passed:
                self.held += faults
            else:
                self.failed.append(report.nodeid)


def processor_s() -> float:
    """Seconds of processor time of this process and of those below it that have ended."""
    return sum(os.times()[:4])


def main() -> int:
    """Inject all faults, kind by kind, and print the table; with words, the kinds that have one of them."""
    started = time.monotonic()
    console = Console(markup=False, highlight=False, width=120)
    table = Table("fault", "injected", "held", "failed", "skipped", "seconds", "of a processor")
    words = sys.argv[1:]
    failed: list[str] = []
    for kind, tests in FAULTS.items():
        if words and not any(word in kind for word in words):
            continue
        console.print(f"{kind} ...")
        tally, before = Tally(), processor_s()
        status = pytest.main(
            ["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-n", "0", "--every-fault", *tests],
            plugins=[tally],
        )
        if status != pytest.ExitCode.OK and not tally.failed:
            tally.failed.append(f"{kind}: pytest ended with {status!r}")
        failed += tally.failed
        lost = tally.injected - tally.held
        counts = (tally.injected, tally.held, lost, tally.skipped)
        seconds = (tally.seconds, processor_s() - before)
        table.add_row(kind, *(f"{each:,}" for each in counts), *(f"{each:.0f}" for each in seconds))
    console.print(table)
    for test in failed:
        console.print(f"failed: {test}")
    console.print(f"{time.monotonic() - started:.0f} s in all, {processor_s():.0f} of a processor")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
